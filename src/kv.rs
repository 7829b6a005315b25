//! The KV port: the one place that reads and writes Workers KV.
//!
//! The bindings are declared here, not taken from `worker`, whose `KvStore` looks its methods up by reflection and builds
//! options through serde on every call. Every read passes through [`Store`], those of small
//! records through the memory tier in front of it, [`Remembered`].

mod remembered;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use kv_edge_core::limits::Key;
use kv_edge_core::retry::{self, Backoff, Budget, Retried, Time, Try};
use kv_edge_core::store::StoreError;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::web_sys::ReadableStream;

pub(crate) use self::remembered::{NotRead, Remembered};
use crate::clock::Clock;
use crate::deadline;

#[wasm_bindgen]
extern "C" {
    /// A KV namespace as the runtime hands it over.
    #[derive(Clone)]
    pub(crate) type KvNamespace;

    #[wasm_bindgen(method, catch)]
    fn get(this: &KvNamespace, key: &str, value_type: &JsValue) -> Result<js_sys::Promise, JsValue>;
    #[wasm_bindgen(method, catch, js_name = getWithMetadata)]
    fn get_with_metadata(this: &KvNamespace, key: &str, value_type: &JsValue) -> Result<js_sys::Promise, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn put(this: &KvNamespace, key: &str, value: &JsValue, options: &JsValue) -> Result<js_sys::Promise, JsValue>;

    /// The options of `put` ("Write key-value pairs").
    #[wasm_bindgen(extends = js_sys::Object)]
    #[derive(Clone)]
    pub(crate) type PutOptions;
    #[wasm_bindgen(method, setter, js_name = expirationTtl)]
    fn set_expiration_ttl(this: &PutOptions, seconds: u32);
    #[wasm_bindgen(method, setter)]
    fn set_metadata(this: &PutOptions, metadata: &JsValue);

    /// What `getWithMetadata` gives ("Read key-value pairs").
    type WithMetadata;
    #[wasm_bindgen(method, getter)]
    fn value(this: &WithMetadata) -> JsValue;
    #[wasm_bindgen(method, getter)]
    fn metadata(this: &WithMetadata) -> JsValue;
}

impl PutOptions {
    /// The value is dropped after so many seconds, 60 at least.
    pub(crate) fn expiring(seconds: u32) -> Self {
        let options: Self = js_sys::Object::new().unchecked_into();
        options.set_expiration_ttl(seconds);
        options
    }

    /// The value is put with this JSON, 1024 bytes at most, beside it.
    pub(crate) fn with_metadata(json: &str) -> Result<Self, JsValue> {
        let options: Self = js_sys::Object::new().unchecked_into();
        options.set_metadata(&js_sys::JSON::parse(json)?);
        Ok(options)
    }
}

/// A value to put. Never a stream: a put of one cannot be tried again, and where it breaks off KV may keep what came.
#[derive(Clone)]
pub(crate) struct Value(JsValue);

impl Value {
    /// A text.
    pub(crate) fn text(text: &str) -> Self {
        Self(JsValue::from_str(text))
    }

    /// Bytes: an `ArrayBuffer` or a view of one.
    pub(crate) fn bytes(bytes: impl Into<JsValue>) -> Self {
        Self(bytes.into())
    }

    /// The value as the runtime takes it for a body.
    pub(crate) fn body(&self) -> &JsValue {
        &self.0
    }
}

/// The retries of this isolate, for everything that it tries again.
pub(crate) fn retry_budget() -> Rc<RefCell<Budget>> {
    thread_local!(static BUDGET: Rc<RefCell<Budget>> = Rc::new(RefCell::new(Budget::new())));
    BUDGET.with(Rc::clone)
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

    /// A value as a stream, with its metadata as JSON where it has any.
    pub(crate) async fn stream_with_metadata(
        &self,
        key: &Key<'_>,
    ) -> Result<(Option<ReadableStream>, Option<String>), StoreError> {
        let promise = STREAM.with(|kind| self.namespace.get_with_metadata(key.as_str(), kind));
        let found: WithMetadata = settled(promise).await?.unchecked_into();
        let (value, metadata) = (found.value(), found.metadata());
        let metadata = js_sys::JSON::stringify(&metadata).ok().and_then(|json| json.as_string());
        Ok(((!value.is_null()).then(|| value.unchecked_into()), metadata))
    }

    /// Puts a value, once.
    pub(crate) async fn put(
        &self,
        key: &Key<'_>,
        value: &Value,
        options: Option<&PutOptions>,
    ) -> Result<(), StoreError> {
        let options = options.map_or(JsValue::UNDEFINED, |options| options.clone().into());
        settled(self.namespace.put(key.as_str(), &value.0, &options)).await.map(|_| ())
    }

    /// Puts a value, once; a put that has not ended by the deadline has failed.
    pub(crate) async fn put_within(
        &self,
        deadline: Duration,
        key: &Key<'_>,
        value: &Value,
        options: Option<&PutOptions>,
    ) -> Result<(), StoreError> {
        deadline::within(deadline, self.put(key, value, options))
            .await
            .unwrap_or_else(|| Err(StoreError::put_timeout()))
    }

    /// Puts a value, again and again as the policy and the isolate's budget allow. `note` is told each try, in milliseconds
    /// since the Unix epoch.
    pub(crate) async fn put_with_retry(
        &self,
        key: &Key<'_>,
        value: &Value,
        options: Option<&PutOptions>,
        backoff: &Backoff,
        mut note: impl FnMut(Try),
    ) -> Retried<(), StoreError> {
        retry::retry(backoff, &retry_budget(), &Clock, async |left_ms| {
            let started_ms = Clock.now_ms();
            let outcome = self.put_within(Duration::from_millis(left_ms), key, value, options).await;
            note(Try { started_ms, ended_ms: Clock.now_ms(), taken: outcome.is_ok() });
            outcome
        })
        .await
    }
}

async fn settled(promise: Result<js_sys::Promise, JsValue>) -> Result<JsValue, StoreError> {
    match promise {
        Ok(promise) => JsFuture::from(promise)
            .await
            .map_err(|rejected| StoreError::from_message(crate::error::message_of(&rejected))),
        Err(thrown) => Err(StoreError::not_asked(crate::error::message_of(&thrown))),
    }
}
