//! The KV port: the one place that reads and writes Workers KV.
//!
//! The bindings are declared here, not taken from `worker`, whose `KvStore` looks its methods up by reflection and builds
//! options through serde on every call. Every read passes through [`Store`], those of small
//! records through the isolate's memory in front of it ([`keyspace::Keyspace`]).

mod assembled;
pub(crate) mod asset_store;
pub(crate) mod flags;
mod headed;
pub(crate) mod key_writers;
pub(crate) mod keyspace;
pub(crate) mod keyspaces;
pub(crate) mod users;

use std::thread::LocalKey;
use std::time::Duration;

use kv_store::limits::{BULK_READ_KEYS_MAX, Key};
use kv_store::retry::{self, Backoff, Retried, Time, Try};
use kv_store::store::StoreError;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::web_sys::ReadableStream;

pub(crate) use self::assembled::sliced;
pub(crate) use self::headed::{Body, to_put};
use crate::isolate::Isolate;
use crate::platform::clock::Clock;
use crate::platform::deadline;

#[wasm_bindgen]
extern "C" {
    /// A KV namespace as the runtime hands it over.
    #[derive(Clone)]
    pub(crate) type KvNamespace;

    #[wasm_bindgen(method, catch)]
    fn get(this: &KvNamespace, key: &str, value_type: &JsValue) -> Result<js_sys::Promise, JsValue>;
    #[wasm_bindgen(method, catch, js_name = get)]
    fn get_many(this: &KvNamespace, keys: &js_sys::Array, value_type: &JsValue) -> Result<js_sys::Promise, JsValue>;
    #[wasm_bindgen(method, catch, js_name = getWithMetadata)]
    fn get_with_metadata(this: &KvNamespace, key: &str, value_type: &JsValue) -> Result<js_sys::Promise, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn put(this: &KvNamespace, key: &str, value: &JsValue, options: &JsValue) -> Result<js_sys::Promise, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn delete(this: &KvNamespace, key: &str) -> Result<js_sys::Promise, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn list(this: &KvNamespace, options: &ListOptions) -> Result<js_sys::Promise, JsValue>;

    /// The options of `put` ("Write key-value pairs").
    #[wasm_bindgen(extends = js_sys::Object)]
    #[derive(Clone)]
    pub(crate) type PutOptions;
    #[wasm_bindgen(method, setter, js_name = expirationTtl)]
    fn set_expiration_ttl(this: &PutOptions, seconds: u32);
    #[wasm_bindgen(method, setter)]
    fn set_metadata(this: &PutOptions, metadata: &JsValue);

    /// The options of `get` ("Read key-value pairs").
    #[wasm_bindgen(extends = js_sys::Object)]
    type GetOptions;
    #[wasm_bindgen(method, setter, js_name = type)]
    fn set_value_type(this: &GetOptions, value_type: &str);
    #[wasm_bindgen(method, setter, js_name = cacheTtl)]
    fn set_cache_ttl(this: &GetOptions, seconds: u32);

    /// The options of `list` ("List keys").
    #[wasm_bindgen(extends = js_sys::Object)]
    type ListOptions;
    #[wasm_bindgen(method, setter)]
    fn set_prefix(this: &ListOptions, prefix: &str);
    #[wasm_bindgen(method, setter)]
    fn set_cursor(this: &ListOptions, cursor: &str);

    /// A page of what `list` gives ("List keys").
    type ListPage;
    #[wasm_bindgen(method, getter)]
    fn keys(this: &ListPage) -> js_sys::Array;
    #[wasm_bindgen(method, getter, js_name = list_complete)]
    fn is_complete(this: &ListPage) -> bool;
    #[wasm_bindgen(method, getter)]
    fn cursor(this: &ListPage) -> Option<String>;

    /// A key of such a page.
    type ListedKey;
    #[wasm_bindgen(method, getter, js_name = metadata)]
    fn listed_metadata(this: &ListedKey) -> JsValue;

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
        options.and_metadata(json)
    }

    /// This JSON, 1024 bytes at most, stands beside the value.
    pub(crate) fn and_metadata(self, json: &str) -> Result<Self, JsValue> {
        self.set_metadata(&js_sys::JSON::parse(json)?);
        Ok(self)
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

/// A read that takes longer has failed.
pub(crate) const READ_DEADLINE: Duration = Duration::from_secs(5);

thread_local! {
    static TEXT: JsValue = JsValue::from_str("text");
    static STREAM: JsValue = JsValue::from_str("stream");
    static LASTING_BYTES: JsValue = lasting("arrayBuffer");
    static LASTING_STREAM: JsValue = lasting("stream");
}

/// How a value is read.
pub(crate) struct Form(&'static LocalKey<JsValue>);

impl Form {
    /// As the runtime's own stream, to be handed through untouched.
    pub(crate) const STREAM: Self = Self(&STREAM);
    /// As text.
    pub(crate) const TEXT: Self = Self(&TEXT);
    /// As an `ArrayBuffer`, of a key that never changes.
    pub(crate) const LASTING_BYTES: Self = Self(&LASTING_BYTES);
    /// As a stream, of a key that never changes.
    pub(crate) const LASTING_STREAM: Self = Self(&LASTING_STREAM);
}

/// The options of `get` for a key that is written once: the location keeps it for five minutes without asking the central store ("Read
/// key-value pairs", `cacheTtl`). Not for longer: it would also keep for so long that the key was not there.
fn lasting(value_type: &str) -> JsValue {
    let options: GetOptions = js_sys::Object::new().unchecked_into();
    options.set_value_type(value_type);
    options.set_cache_ttl(300);
    options.into()
}

/// The metadata of keys.
pub(crate) struct Listed {
    /// As JSON.
    pub(crate) metadata: Vec<String>,
    /// False where there are more.
    pub(crate) is_complete: bool,
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

    /// A value, read once more where that fails; `None` where the key does not exist.
    pub(crate) async fn read_with_retry(&self, key: &Key<'_>, form: &Form) -> Result<Option<JsValue>, StoreError> {
        let value = twice(|| form.0.with(|options| self.namespace.get(key.as_str(), options))).await?;
        Ok((!value.is_null()).then_some(value))
    }

    /// Small values as text, in the order of their keys, which differ; `None` where a key does not exist. By bulk reads of 100 keys, each
    /// made once more where it fails, and by fewer at a time where their values are too long together ("Read key-value pairs", bulk).
    pub(crate) async fn texts(&self, keys: &[&Key<'_>]) -> Vec<Result<Option<String>, StoreError>> {
        let mut texts = Vec::with_capacity(keys.len());
        let mut chunks: Vec<&[&Key<'_>]> = keys.chunks(BULK_READ_KEYS_MAX).rev().collect();
        while let Some(keys) = chunks.pop() {
            let names: js_sys::Array = keys.iter().map(|key| JsValue::from_str(key.as_str())).collect();
            let values = twice(|| TEXT.with(|kind| self.namespace.get_many(&names, kind))).await;
            if values.as_ref().is_err_and(StoreError::is_too_large)
                && keys.len() > 1
                && let Some((first, second)) = keys.split_at_checked(keys.len() / 2)
            {
                chunks.extend([second, first]);
                continue;
            }
            let values = values.map(JsCast::unchecked_into::<js_sys::Map>);
            let of = |name: &JsValue| values.as_ref().map(|values| values.get(name).as_string()).map_err(Clone::clone);
            texts.extend(names.iter().map(|name| of(&name)));
        }
        texts
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

    /// The metadata of all keys with a prefix, as JSON, in up to `pages_max` pages of 1000 ("List keys": only `list_complete` ends
    /// a listing, and each page needs the prefix again).
    pub(crate) async fn listed_metadata(&self, prefix: &str, pages_max: u32) -> Result<Listed, StoreError> {
        let mut metadata = Vec::new();
        let options: ListOptions = js_sys::Object::new().unchecked_into();
        options.set_prefix(prefix);
        for _ in 0..pages_max {
            let page = deadline::within(READ_DEADLINE, settled(self.namespace.list(&options)));
            let page: ListPage = page.await.unwrap_or_else(|| Err(StoreError::read_timeout()))?.unchecked_into();
            metadata.extend(page.keys().iter().filter_map(|key| {
                let metadata = key.unchecked_into::<ListedKey>().listed_metadata();
                js_sys::JSON::stringify(&metadata).ok()?.as_string()
            }));
            let cursor = page.cursor().filter(|_| !page.is_complete());
            let Some(cursor) = cursor else { return Ok(Listed { metadata, is_complete: true }) };
            options.set_cursor(&cursor);
        }
        Ok(Listed { metadata, is_complete: false })
    }

    /// Deletes a key, again and again as the policy and the isolate's budget allow. One that does not exist is no failure.
    pub(crate) async fn delete_with_retry(&self, key: &Key<'_>, backoff: &Backoff) -> Retried<(), StoreError> {
        retry::retry(backoff, &Isolate::current().retry_budget, &Clock, async |left_ms| {
            let delete = settled(self.namespace.delete(key.as_str()));
            let outcome = deadline::within(Duration::from_millis(left_ms), delete).await;
            outcome.unwrap_or_else(|| Err(StoreError::put_timeout())).map(|_| ())
        })
        .await
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
        retry::retry(backoff, &Isolate::current().retry_budget, &Clock, async |left_ms| {
            let started_ms = Clock.now_ms();
            let outcome = self.put_within(Duration::from_millis(left_ms), key, value, options).await;
            note(Try { started_ms, ended_ms: Clock.now_ms(), taken: outcome.is_ok() });
            outcome
        })
        .await
    }
}

/// Reads, and once more where that fails.
async fn twice(read: impl Fn() -> Result<js_sys::Promise, JsValue>) -> Result<JsValue, StoreError> {
    let read = retry::retry(&Backoff::READ, &Isolate::current().retry_budget, &Clock, async |left_ms| {
        let outcome = deadline::within(Duration::from_millis(left_ms), settled(read())).await;
        outcome.unwrap_or_else(|| Err(StoreError::read_timeout()))
    });
    read.await.outcome.map_err(|(error, _)| error)
}

async fn settled(promise: Result<js_sys::Promise, JsValue>) -> Result<JsValue, StoreError> {
    match promise {
        Ok(promise) => JsFuture::from(promise)
            .await
            .map_err(|rejected| StoreError::from_message(crate::platform::js_error::message_of(&rejected))),
        Err(thrown) => Err(StoreError::not_asked(crate::platform::js_error::message_of(&thrown))),
    }
}
