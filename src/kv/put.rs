//! Puts into KV: their values and options, a deadline, and retries.

use std::time::Duration;

use kv_store::limits::Key;
use kv_store::retry::{self, Backoff, Retried, Time, Try};
use kv_store::store_error::StoreError;
use wasm_bindgen::prelude::*;

#[cfg(feature = "writes")]
use super::await_call;
use super::{KvCall, KvNamespace, Store};
use crate::isolate::Isolate;
use crate::platform::clock::Clock;
use crate::platform::meter::Metered;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(method, catch)]
    fn put(this: &KvNamespace, key: &str, value: &JsValue, options: &JsValue) -> Result<js_sys::Promise, JsValue>;

    /// The options of `put` (KV documentation, "Write key-value pairs").
    #[wasm_bindgen(extends = js_sys::Object)]
    #[derive(Clone)]
    pub(crate) type PutOptions;
    #[wasm_bindgen(method, setter, js_name = expirationTtl)]
    fn set_expiration_ttl(this: &PutOptions, seconds: f64);
    #[wasm_bindgen(method, setter)]
    fn set_expiration(this: &PutOptions, unix_seconds: f64);
    #[wasm_bindgen(method, setter)]
    fn set_metadata(this: &PutOptions, metadata: &JsValue);
}

impl PutOptions {
    /// Returns empty options.
    pub(crate) fn new() -> Self {
        js_sys::Object::new().unchecked_into()
    }

    /// Returns options for a value that expires after this many seconds, at least 60.
    #[cfg(feature = "cache")]
    pub(crate) fn expiring(seconds: u32) -> Self {
        let options = Self::new();
        options.set_expiration_ttl(seconds.into());
        options
    }

    /// Returns options for a value that expires after this many seconds, at least 60.
    #[cfg(feature = "kv-api")]
    #[expect(clippy::cast_precision_loss, reason = "whole seconds below 2^53 are exact")]
    pub(crate) fn expiring_after(seconds: u64) -> Self {
        let options = Self::new();
        options.set_expiration_ttl(seconds as f64);
        options
    }

    /// Returns options for a value that expires at this time, in seconds since the Unix epoch.
    #[cfg(feature = "kv-api")]
    #[expect(clippy::cast_precision_loss, reason = "whole seconds below 2^53 are exact")]
    pub(crate) fn expiring_at(unix_seconds: u64) -> Self {
        let options = Self::new();
        options.set_expiration(unix_seconds as f64);
        options
    }

    /// Returns options with this metadata: JSON of at most 1024 bytes.
    #[cfg(feature = "writes")]
    pub(crate) fn with_metadata(json: &str) -> Result<Self, JsValue> {
        Self::new().and_metadata(json)
    }

    /// Adds this metadata: JSON of at most 1024 bytes.
    pub(crate) fn and_metadata(self, json: &str) -> Result<Self, JsValue> {
        self.set_metadata(&js_sys::JSON::parse(json)?);
        Ok(self)
    }
}

/// A value to put. It is never a stream, because the put of a stream cannot be retried, and KV
/// may store the first part of a stream that breaks off.
#[derive(Clone)]
pub(crate) struct PutValue(JsValue);

impl PutValue {
    /// A text.
    pub(crate) fn text(text: &str) -> Self {
        Self(JsValue::from_str(text))
    }

    /// Bytes: an `ArrayBuffer` or a view of one.
    pub(crate) fn bytes(bytes: impl Into<JsValue>) -> Self {
        Self(bytes.into())
    }

    /// Returns the value as a body.
    #[cfg(feature = "writes")]
    pub(crate) fn body(&self) -> &JsValue {
        &self.0
    }
}

impl Store {
    /// Puts a value without retries.
    #[cfg(feature = "writes")]
    pub(crate) async fn put(
        &self,
        key: &Key<'_>,
        value: &PutValue,
        options: Option<&PutOptions>,
    ) -> Result<(), StoreError> {
        await_call(self.call_put(key, value, options)).await.map(|_| ())
    }

    fn call_put(&self, key: &Key<'_>, value: &PutValue, options: Option<&PutOptions>) -> KvCall {
        let put = match options {
            Some(options) => self.namespace.put(key.as_str(), &value.0, options),
            None => self.namespace.put(key.as_str(), &value.0, &JsValue::UNDEFINED),
        };
        self.counted(Metered::Write, put)
    }

    /// Puts a value without retries. A put that does not end by the deadline counts as
    /// failed, and may take effect all the same.
    pub(crate) async fn put_within(
        &self,
        deadline: Duration,
        key: &Key<'_>,
        value: &PutValue,
        options: Option<&PutOptions>,
    ) -> Result<(), StoreError> {
        let put = self.call_put(key, value, options);
        self.await_call_within(deadline, put, StoreError::put_timeout).await.map(|_| ())
    }

    /// Puts a value, with retries as the policy and the isolate's budget allow. `note` gets each
    /// try; its times are milliseconds since the Unix epoch.
    pub(crate) async fn put_with_retry(
        &self,
        key: &Key<'_>,
        value: &PutValue,
        options: Option<&PutOptions>,
        backoff: &Backoff,
        mut note: impl FnMut(Try),
    ) -> Retried<(), StoreError> {
        retry::retry(backoff, &Isolate::current().retry_budget, &Clock, async |left_ms| {
            let started_ms = Clock.now_ms();
            let outcome = self.put_within(Duration::from_millis(left_ms), key, value, options).await;
            note(Try { started_ms, ended_ms: Clock.now_ms(), is_accepted: outcome.is_ok() });
            outcome
        })
        .await
    }
}
