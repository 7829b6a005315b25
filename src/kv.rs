//! The KV port: the one place that reads and writes Workers KV.
//!
//! The bindings are declared here, not taken from `worker`, whose `KvStore` looks its methods up by reflection and builds
//! options through serde on every call. Every read passes through [`Store`], so a memory tier in front of KV has one home.

use kv_edge_core::limits::Key;
use kv_edge_core::store::StoreError;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::web_sys::ReadableStream;

#[wasm_bindgen]
extern "C" {
    /// A KV namespace as the runtime hands it over.
    #[derive(Clone)]
    pub(crate) type KvNamespace;

    #[wasm_bindgen(method, catch)]
    fn get(this: &KvNamespace, key: &str, value_type: &JsValue) -> Result<js_sys::Promise, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn put(this: &KvNamespace, key: &str, value: &str, options: &JsValue) -> Result<js_sys::Promise, JsValue>;

    /// The options of `put` ("Write key-value pairs").
    #[wasm_bindgen(extends = js_sys::Object)]
    type PutOptions;
    #[wasm_bindgen(method, setter, js_name = expirationTtl)]
    fn set_expiration_ttl(this: &PutOptions, seconds: u32);
}

thread_local! {
    static TEXT: JsValue = JsValue::from_str("text");
    static BYTES: JsValue = JsValue::from_str("arrayBuffer");
    static STREAM: JsValue = JsValue::from_str("stream");
}

/// One namespace.
#[derive(Clone)]
pub(crate) struct Store {
    namespace: KvNamespace,
}

impl Store {
    pub(crate) fn new(namespace: KvNamespace) -> Self {
        Self { namespace }
    }

    /// A small value as text; `None` where the key does not exist.
    pub(crate) async fn text(&self, key: &Key<'_>) -> Result<Option<String>, StoreError> {
        let promise = TEXT.with(|kind| self.namespace.get(key.as_str(), kind));
        Ok(settled(promise).await?.as_string())
    }

    /// A value of some KiB as bytes, which skips the way through UTF-16; `None` where the key does not exist.
    pub(crate) async fn bytes(&self, key: &Key<'_>) -> Result<Option<Vec<u8>>, StoreError> {
        let promise = BYTES.with(|kind| self.namespace.get(key.as_str(), kind));
        let buffer = settled(promise).await?;
        Ok((!buffer.is_null()).then(|| js_sys::Uint8Array::new(&buffer).to_vec()))
    }

    /// A value as the runtime's own stream, to be handed through untouched; `None` where the key does not exist.
    pub(crate) async fn stream(&self, key: &Key<'_>) -> Result<Option<ReadableStream>, StoreError> {
        let promise = STREAM.with(|kind| self.namespace.get(key.as_str(), kind));
        let stream = settled(promise).await?;
        Ok((!stream.is_null()).then(|| stream.unchecked_into()))
    }

    /// Puts a value, to be dropped after so many seconds (60 at least) where a time is given.
    pub(crate) async fn put(
        &self,
        key: &Key<'_>,
        value: &str,
        expiration_ttl_seconds: Option<u32>,
    ) -> Result<(), StoreError> {
        let options = expiration_ttl_seconds.map_or(JsValue::UNDEFINED, |seconds| {
            let options: PutOptions = js_sys::Object::new().unchecked_into();
            options.set_expiration_ttl(seconds);
            options.into()
        });
        settled(self.namespace.put(key.as_str(), value, &options)).await.map(|_| ())
    }
}

async fn settled(promise: Result<js_sys::Promise, JsValue>) -> Result<JsValue, StoreError> {
    let outcome = match promise {
        Ok(promise) => JsFuture::from(promise).await,
        Err(thrown) => Err(thrown),
    };
    outcome.map_err(|thrown| StoreError::from_message(crate::error::message_of(&thrown)))
}
