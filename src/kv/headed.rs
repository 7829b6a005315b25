//! Values with a head: JSON beside the body, which is handed on as a stream, or as bytes where it is small. One read gives both.

use kv_store::limits::{Key, METADATA_BYTES_MAX};
use kv_store::store::StoreError;
use wasm_bindgen::prelude::*;
use worker::web_sys::ReadableStream;

use super::put::{PutOptions, Value};
use super::{KvNamespace, Store, settled};
use crate::kv::READ_DEADLINE;

#[wasm_bindgen(module = "/src/platform/glue/headed.js")]
extern "C" {
    #[wasm_bindgen(js_name = readHeaded, catch)]
    fn read_headed(
        namespace: &KvNamespace,
        key: &str,
        small_max: f64,
        milliseconds: f64,
    ) -> Result<js_sys::Promise, JsValue>;
    fn prefixed(head: &str, body: &js_sys::ArrayBuffer) -> Prefixed;

    type Found;
    #[wasm_bindgen(method, getter)]
    fn head(this: &Found) -> Option<String>;
    #[wasm_bindgen(method, getter)]
    fn bytes(this: &Found) -> Option<js_sys::ArrayBuffer>;
    #[wasm_bindgen(method, getter)]
    fn stream(this: &Found) -> Option<ReadableStream>;

    type Prefixed;
    #[wasm_bindgen(method, getter)]
    fn value(this: &Prefixed) -> js_sys::Uint8Array;
    #[wasm_bindgen(method, getter)]
    fn prefix(this: &Prefixed) -> u32;
}

/// A value out of KV.
pub(crate) struct Headed {
    /// The head; `None` where the value has none, or is not whole.
    pub(crate) head: Option<String>,
    /// What follows it.
    pub(crate) body: Body,
}

/// A body: in memory, or still to come.
pub(crate) enum Body {
    /// All of it.
    Bytes(js_sys::ArrayBuffer),
    /// The runtime's own stream, to be handed through untouched.
    Stream(ReadableStream),
}

impl Store {
    /// A value with a head; `None` where the key does not exist. Up to `small_max` bytes come as bytes, all of them without a limit. A
    /// read that takes longer than [`READ_DEADLINE`] has failed.
    pub(crate) async fn headed(&self, key: &Key<'_>, small_max: Option<u32>) -> Result<Option<Headed>, StoreError> {
        let small_max = small_max.map_or(f64::INFINITY, f64::from);
        let milliseconds = READ_DEADLINE.as_secs_f64() * 1000.0;
        let found = settled(read_headed(&self.namespace, key.as_str(), small_max, milliseconds)).await?;
        if found.is_null() {
            return Ok(None);
        }
        let found: Found = found.unchecked_into();
        let body = match (found.bytes(), found.stream()) {
            (Some(bytes), _) => Body::Bytes(bytes),
            (None, Some(stream)) => Body::Stream(stream),
            (None, None) => Body::Bytes(js_sys::ArrayBuffer::new(0)),
        };
        Ok(Some(Headed { head: found.head(), body }))
    }
}

/// A value and the options to put it with: head and body, dropped after so many seconds. Fails if the runtime refuses.
pub(crate) fn to_put(head: &str, body: &js_sys::ArrayBuffer, ttl_seconds: u32) -> Result<(Value, PutOptions), JsValue> {
    let length = body.byte_length();
    let beside = serde_json::json!({ "head": head, "length": length }).to_string();
    let (value, metadata) = if beside.len() <= METADATA_BYTES_MAX {
        (Value::bytes(body.clone()), beside)
    } else {
        let prefixed = prefixed(head, body);
        let metadata = serde_json::json!({ "prefix": prefixed.prefix(), "length": length }).to_string();
        (Value::bytes(prefixed.value()), metadata)
    };
    Ok((value, PutOptions::expiring(ttl_seconds).and_metadata(&metadata)?))
}
