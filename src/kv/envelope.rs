//! Envelopes: values with a head of JSON and a body, which one read gets together. The head is in
//! the metadata, or before the body if it does not fit there. The body is a stream, or bytes if it
//! is short.

use kv_store::limits::{Key, METADATA_BYTES_MAX};
use kv_store::store_error::StoreError;
use wasm_bindgen::prelude::*;
use worker::web_sys::ReadableStream;

use super::put::{PutOptions, PutValue};
use super::{KvNamespace, Store};
use crate::kv::READ_DEADLINE;

#[wasm_bindgen(module = "/src/platform/glue/envelope.js")]
extern "C" {
    #[wasm_bindgen(js_name = readEnvelope)]
    fn read_envelope(namespace: &KvNamespace, key: &str, small_max: f64) -> js_sys::Promise;
    #[wasm_bindgen(js_name = envelope)]
    fn envelope_to_put(head: &str, body: &js_sys::ArrayBuffer, metadata_max: usize, ttl_seconds: u32) -> EnvelopeToPut;

    type EnvelopeParts;
    #[wasm_bindgen(method, getter)]
    fn head(this: &EnvelopeParts) -> Option<String>;
    #[wasm_bindgen(method, getter)]
    fn length(this: &EnvelopeParts) -> Option<f64>;
    #[wasm_bindgen(method, getter)]
    fn bytes(this: &EnvelopeParts) -> Option<js_sys::ArrayBuffer>;
    #[wasm_bindgen(method, getter)]
    fn stream(this: &EnvelopeParts) -> Option<ReadableStream>;

    type EnvelopeToPut;
    #[wasm_bindgen(method, getter)]
    fn value(this: &EnvelopeToPut) -> JsValue;
    #[wasm_bindgen(method, getter)]
    fn options(this: &EnvelopeToPut) -> PutOptions;
}

/// A value of KV with its head.
pub(crate) struct Envelope {
    /// The head; `None` if the value has none, or if its body is bytes of another length than its
    /// metadata says.
    pub(crate) head: Option<String>,
    /// The length of the body in bytes; 0 if the value has no head.
    pub(crate) length: u64,
    /// The body.
    pub(crate) body: EnvelopeBody,
}

/// The body of an envelope.
#[derive(Debug)]
pub(crate) enum EnvelopeBody {
    /// The whole body; empty if its length is not what its metadata says.
    Bytes(js_sys::ArrayBuffer),
    /// A stream of the runtime, whose bytes never enter WebAssembly. It ends with an error if its
    /// length is not what its metadata says.
    Stream(ReadableStream),
}

impl Store {
    /// Returns a value with its head; `None` if the key does not exist. The body is bytes if head
    /// and body have at most `small_max` bytes together, as the metadata says, and always without
    /// a limit. The read is not tried again, and fails after [`READ_DEADLINE`].
    pub(crate) async fn envelope(&self, key: &Key<'_>, small_max: Option<u32>) -> Result<Option<Envelope>, StoreError> {
        let small_max = small_max.map_or(f64::INFINITY, f64::from);
        let read = self.counted_read(Ok(read_envelope(&self.namespace, key.as_str(), small_max)));
        let found = self.await_call_within(READ_DEADLINE, read, StoreError::read_timeout).await?;
        if found.is_null() {
            return Ok(None);
        }
        let found: EnvelopeParts = found.unchecked_into();
        let body = match (found.bytes(), found.stream()) {
            (Some(bytes), _) => EnvelopeBody::Bytes(bytes),
            (None, Some(stream)) => EnvelopeBody::Stream(stream),
            (None, None) => EnvelopeBody::Bytes(js_sys::ArrayBuffer::new(0)),
        };
        // A safe integer, and not below 0.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let length = found.length().unwrap_or_default() as u64;
        Ok(Some(Envelope { head: found.head(), length, body }))
    }
}

/// Returns a value and the options for putting it with its head and an expiration.
pub(crate) fn to_put(head: &str, body: &js_sys::ArrayBuffer, ttl_seconds: u32) -> (PutValue, PutOptions) {
    let envelope = envelope_to_put(head, body, METADATA_BYTES_MAX, ttl_seconds);
    (PutValue::bytes(envelope.value()), envelope.options())
}
