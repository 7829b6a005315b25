//! The KV port: the one place that reads and writes Workers KV, with JavaScript of
//! `platform/glue` for lists, envelopes and assembled bodies.
//!
//! The bindings are declared here instead of taken from `worker`, whose `KvStore` looks its
//! methods up by reflection and passes options through serde at each call. Every read goes through
//! [`Store`]. Jobs read records through a [`keyspace::Keyspace`], which has them in memory; the
//! console also reads some anew.

#[cfg(feature = "assets")]
pub(crate) mod asset_store;
#[cfg(feature = "assets")]
mod body_assembly;
#[cfg(feature = "cache")]
pub(crate) mod envelope;
#[cfg(feature = "flags")]
pub(crate) mod flags;
#[cfg(feature = "assets")]
mod immutable_read_options;
#[cfg(feature = "cache")]
pub(crate) mod key_metadata;
#[cfg(feature = "writes")]
pub(crate) mod key_writers;
#[cfg(feature = "keyspaces")]
pub(crate) mod keyspace;
#[cfg(any(feature = "assets", feature = "flags", feature = "kv-api", feature = "storefronts"))]
pub(crate) mod keyspaces;
#[cfg(feature = "kv-api")]
pub(crate) mod list;
#[cfg(feature = "kv-api")]
pub(crate) mod namespaces;
#[cfg(feature = "cache")]
pub(crate) mod purges;
#[cfg(feature = "puts")]
pub(crate) mod put;
#[cfg(feature = "assets")]
pub(crate) mod release;
#[cfg(feature = "flags")]
pub(crate) mod users;

use std::time::Duration;

use kv_store::limits::Key;
use kv_store::retry::{self, Backoff};
use kv_store::store_error::StoreError;
use wasm_bindgen::prelude::*;

use crate::isolate::Isolate;
use crate::platform::clock::Clock;
use crate::platform::js_error::message_of;
use crate::platform::meter::{Meter, Metered};
use crate::platform::promise::Deadlines;
#[cfg(feature = "writes")]
use crate::platform::promise::settled;

#[wasm_bindgen]
extern "C" {
    /// A KV namespace of the runtime.
    #[derive(Clone)]
    pub(crate) type KvNamespace;

    #[wasm_bindgen(method, catch)]
    fn get(this: &KvNamespace, key: &str, options: &JsValue) -> Result<js_sys::Promise, JsValue>;
    #[wasm_bindgen(method, catch, js_name = get)]
    fn get_many(this: &KvNamespace, keys: &js_sys::Array, options: &JsValue) -> Result<js_sys::Promise, JsValue>;
    #[wasm_bindgen(method, catch, js_name = getWithMetadata)]
    fn get_many_with_metadata(
        this: &KvNamespace,
        keys: &js_sys::Array,
        options: &JsValue,
    ) -> Result<js_sys::Promise, JsValue>;
    #[wasm_bindgen(method, catch, js_name = getWithMetadata)]
    fn get_with_metadata(this: &KvNamespace, key: &str, options: &JsValue) -> Result<js_sys::Promise, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn delete(this: &KvNamespace, key: &str) -> Result<js_sys::Promise, JsValue>;

    /// The result of `getWithMetadata` ("Read key-value pairs").
    type WithMetadata;
    #[wasm_bindgen(method, getter)]
    fn value(this: &WithMetadata) -> JsValue;
    #[wasm_bindgen(method, getter)]
    fn metadata(this: &WithMetadata) -> JsValue;
}

/// A list, or the read of an envelope, that takes longer than this has failed. Other reads have
/// the deadline of [`Backoff::READ`].
#[cfg(feature = "lists")]
pub(crate) const READ_DEADLINE: Duration = Duration::from_secs(5);

thread_local! {
    static TEXT: JsValue = JsValue::from_str("text");
    static STREAM: JsValue = JsValue::from_str("stream");
    static BYTES: JsValue = JsValue::from_str("arrayBuffer");
}

/// The options of a read: the type of the value, or an object that has it.
#[cfg(feature = "reads")]
pub(crate) struct ReadOptions(&'static std::thread::LocalKey<JsValue>);

#[cfg(feature = "reads")]
impl ReadOptions {
    /// As the runtime's own stream, which is passed through untouched.
    #[cfg(any(feature = "assets", feature = "kv-api", feature = "writes"))]
    pub(crate) const STREAM: Self = Self(&STREAM);
    /// As bytes, whole.
    #[cfg(feature = "kv-api")]
    pub(crate) const BYTES: Self = Self(&BYTES);
    /// As text.
    #[cfg(any(feature = "keyspaces", feature = "writes"))]
    pub(crate) const TEXT: Self = Self(&TEXT);
}

/// A text with its metadata as JSON.
#[cfg(feature = "kv-api")]
pub(crate) type TextWithMetadata = (String, Option<String>);

/// A KV namespace with the operations that the Worker needs.
#[derive(Clone)]
pub(crate) struct Store {
    namespace: KvNamespace,
    meter: Meter,
    deadlines: Deadlines,
}

/// The promise of a call, or the error if the call threw.
type KvCall = Result<js_sys::Promise, JsValue>;

impl Store {
    pub(crate) fn new(namespace: KvNamespace, meter: Meter, deadlines: Deadlines) -> Self {
        Self { namespace, meter, deadlines }
    }

    /// Counts a call, if it was made.
    fn counted(&self, what: Metered, call: KvCall) -> KvCall {
        if call.is_ok() {
            self.meter.count(what);
        }
        call
    }

    /// Counts a read of one key.
    fn counted_read(&self, call: KvCall) -> KvCall {
        self.counted(Metered::Read { keys: 1 }, call)
    }

    /// Returns a value, with one retry if the read fails; `None` if the key does not exist.
    #[cfg(feature = "reads")]
    pub(crate) async fn read_with_retry(
        &self,
        key: &Key<'_>,
        options: &ReadOptions,
    ) -> Result<Option<JsValue>, StoreError> {
        let read = || options.0.with(|options| self.namespace.get(key.as_str(), options));
        let value = self.retry_read(|| self.counted_read(read())).await?;
        Ok((!value.is_null()).then_some(value))
    }

    /// Returns a value as text, with one retry if the read fails; `None` if the key does not
    /// exist.
    #[cfg(feature = "keyspaces")]
    pub(crate) async fn text_with_retry(&self, key: &Key<'_>) -> Result<Option<String>, StoreError> {
        self.read_with_retry(key, &ReadOptions::TEXT).await?.map(text).transpose()
    }

    /// Returns small values as text, in the order of their keys, which must differ; `None` if a
    /// key does not exist. They come through bulk reads of up to 100 keys, with one retry if one
    /// fails. One is split if its values are too long together ("Read key-value pairs", bulk).
    #[cfg(feature = "flags")]
    pub(crate) async fn texts(&self, keys: &[&Key<'_>]) -> Vec<Result<Option<String>, StoreError>> {
        let mut texts = Vec::with_capacity(keys.len());
        let mut chunks: Vec<&[&Key<'_>]> = keys.chunks(kv_store::limits::BULK_READ_KEYS_MAX).rev().collect();
        while let Some(keys) = chunks.pop() {
            let names: js_sys::Array = keys.iter().map(|key| JsValue::from_str(key.as_str())).collect();
            let read = || TEXT.with(|options| self.namespace.get_many(&names, options));
            let values = self.retry_read(|| self.counted(Metered::Read { keys: keys.len() }, read())).await;
            if values.as_ref().is_err_and(StoreError::is_too_large)
                && keys.len() > 1
                && let Some((first, second)) = keys.split_at_checked(keys.len() / 2)
            {
                chunks.extend([second, first]);
                continue;
            }
            let values = values.map(JsCast::unchecked_into::<js_sys::Map>);
            let of = |name: JsValue| {
                let value = values.as_ref().map_err(Clone::clone)?.get(&name);
                (!value.is_null()).then(|| text(value)).transpose()
            };
            texts.extend(names.iter().map(of));
        }
        texts
    }

    /// Returns values as text, each with its metadata as JSON, in the order of their keys, which
    /// must differ: at most 100. It is one operation of KV ("Read key-value pairs", bulk), and
    /// another one if it is retried.
    #[cfg(feature = "kv-api")]
    pub(crate) async fn texts_with_metadata(
        &self,
        keys: &[Key<'_>],
    ) -> Result<Vec<Option<TextWithMetadata>>, StoreError> {
        let names: js_sys::Array = keys.iter().map(|key| JsValue::from_str(key.as_str())).collect();
        let read = || TEXT.with(|options| self.namespace.get_many_with_metadata(&names, options));
        let found = self.retry_read(|| self.counted(Metered::Read { keys: keys.len() }, read())).await?;
        let found: js_sys::Map = found.unchecked_into();
        let of = |name: JsValue| {
            let found = found.get(&name);
            if found.is_null() || found.is_undefined() {
                return Ok(None);
            }
            let found: WithMetadata = found.unchecked_into();
            let value = found.value();
            if value.is_null() {
                return Ok(None);
            }
            Ok(Some((text(value)?, json(&found.metadata())?)))
        };
        names.iter().map(of).collect()
    }

    /// Returns a value as a stream, `None` if the key does not exist, and its metadata as JSON,
    /// `None` if it has none, with one retry if the read fails.
    #[cfg(feature = "values")]
    pub(crate) async fn stream_with_metadata(
        &self,
        key: &Key<'_>,
    ) -> Result<(Option<web_sys::ReadableStream>, Option<String>), StoreError> {
        let read = || STREAM.with(|options| self.namespace.get_with_metadata(key.as_str(), options));
        let found: WithMetadata = self.retry_read(|| self.counted_read(read())).await?.unchecked_into();
        let (value, metadata) = (found.value(), found.metadata());
        Ok(((!value.is_null()).then(|| value.unchecked_into()), json(&metadata)?))
    }

    /// Deletes a key, with retries as the policy and the isolate's budget allow. Deleting a key
    /// that does not exist succeeds.
    #[cfg(feature = "lists")]
    pub(crate) async fn delete_with_retry(&self, key: &Key<'_>, backoff: &Backoff) -> retry::Retried<(), StoreError> {
        retry::retry(backoff, &Isolate::current().retry_budget, &Clock, async |left_ms| {
            let delete = self.counted(Metered::Delete, self.namespace.delete(key.as_str()));
            self.await_call_within(Duration::from_millis(left_ms), delete, StoreError::delete_timeout).await.map(|_| ())
        })
        .await
    }

    /// Reads, with one retry if the read fails, unless the failure is permanent or the isolate's
    /// budget of retries is used up.
    #[cfg(feature = "reads")]
    async fn retry_read(&self, read: impl Fn() -> KvCall) -> Result<JsValue, StoreError> {
        let read = retry::retry(&Backoff::READ, &Isolate::current().retry_budget, &Clock, async |left_ms| {
            self.await_call_within(Duration::from_millis(left_ms), read(), StoreError::read_timeout).await
        });
        read.await.outcome.map_err(|(error, _)| error)
    }

    /// Awaits a call, which fails with `late` if it takes longer than the deadline.
    async fn await_call_within(
        &self,
        deadline: Duration,
        call: KvCall,
        late: impl FnOnce() -> StoreError,
    ) -> Result<JsValue, StoreError> {
        let outcome = self.deadlines.settled_within(deadline, made(call)?).await.ok_or_else(late)?;
        outcome.map_err(|rejected| rejection(&rejected))
    }
}

/// Returns a value that was read as text. It is an error if it is anything else, which must not
/// look like a key that does not exist.
#[cfg(feature = "keyspaces")]
#[expect(clippy::needless_pass_by_value, reason = "it is the result of a read, which nobody needs any more")]
fn text(value: JsValue) -> Result<String, StoreError> {
    value.as_string().ok_or_else(|| StoreError::permanent("KV GET did not return a text"))
}

/// Returns metadata as JSON; `None` if there is none.
#[cfg(feature = "puts")]
fn json(metadata: &JsValue) -> Result<Option<String>, StoreError> {
    match js_sys::JSON::stringify(metadata) {
        Ok(json) => Ok(json.as_string().filter(|json| json != "null")),
        Err(thrown) => Err(StoreError::from_message(message_of(&thrown))),
    }
}

#[cfg(feature = "writes")]
async fn await_call(call: KvCall) -> Result<JsValue, StoreError> {
    settled(made(call)?).await.map_err(|rejected| rejection(&rejected))
}

fn made(call: KvCall) -> Result<js_sys::Promise, StoreError> {
    call.map_err(|thrown| StoreError::permanent(message_of(&thrown)))
}

fn rejection(rejected: &JsValue) -> StoreError {
    StoreError::from_message(message_of(rejected))
}
