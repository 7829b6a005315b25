//! Durable Objects: calls to one, and the storage of one.

use wasm_bindgen::prelude::*;
use worker::web_sys::{Request, Response};

use crate::platform::meter::{Meter, Metered};
use crate::platform::promise::settled;

#[wasm_bindgen]
extern "C" {
    /// The binding of a class, with an object for each name.
    #[derive(Clone)]
    pub(crate) type DurableObjectNamespace;
    #[wasm_bindgen(method, catch, js_name = getByName)]
    fn get_by_name(this: &DurableObjectNamespace, name: &str) -> Result<Stub, JsValue>;

    type Stub;
    #[wasm_bindgen(method, catch)]
    fn fetch(this: &Stub, request: &Request) -> Result<js_sys::Promise, JsValue>;

    /// `DurableObjectState`, which the runtime passes to the constructor.
    pub(crate) type DurableObjectState;
    /// Returns the storage of the object.
    #[wasm_bindgen(method, getter)]
    pub(crate) fn storage(this: &DurableObjectState) -> DurableObjectStorage;

    /// `DurableObjectStorage` of a class with an `SQLite` backend.
    pub(crate) type DurableObjectStorage;
    /// Returns its synchronous key-value API.
    #[wasm_bindgen(method, getter)]
    pub(crate) fn kv(this: &DurableObjectStorage) -> SyncKv;
    #[wasm_bindgen(method, catch, js_name = setAlarm)]
    fn set_alarm_at(this: &DurableObjectStorage, unix_ms: f64) -> Result<js_sys::Promise, JsValue>;
    #[wasm_bindgen(method, catch, js_name = deleteAlarm)]
    fn remove_alarm(this: &DurableObjectStorage) -> Result<js_sys::Promise, JsValue>;
    #[wasm_bindgen(method, catch, js_name = transactionSync)]
    fn transaction_sync(
        this: &DurableObjectStorage,
        work: &mut dyn FnMut() -> Result<JsValue, JsValue>,
    ) -> Result<JsValue, JsValue>;

    /// The synchronous key-value API of that storage, `ctx.storage.kv`. A value with its key has
    /// at most 2 MB ("Limits" of Durable Objects).
    pub(crate) type SyncKv;
    #[wasm_bindgen(method, catch)]
    pub(crate) fn get(this: &SyncKv, key: &str) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(crate) fn put(this: &SyncKv, key: &str, value: &JsValue) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(crate) fn delete(this: &SyncKv, key: &str) -> Result<bool, JsValue>;
    #[cfg(feature = "metrics")]
    #[wasm_bindgen(method, catch)]
    fn list(this: &SyncKv, options: &SyncListOptions) -> Result<JsValue, JsValue>;

    /// The options of that `list`.
    #[cfg(feature = "metrics")]
    #[wasm_bindgen(extends = js_sys::Object)]
    type SyncListOptions;
    #[cfg(feature = "metrics")]
    #[wasm_bindgen(method, setter)]
    fn set_start(this: &SyncListOptions, key: &str);
    #[cfg(feature = "metrics")]
    #[wasm_bindgen(method, setter)]
    fn set_end(this: &SyncListOptions, key: &str);
}

/// The objects of a class.
#[derive(Clone)]
pub(crate) struct DurableObjects {
    namespace: DurableObjectNamespace,
    meter: Meter,
}

impl DurableObjects {
    pub(crate) fn new(namespace: DurableObjectNamespace, meter: Meter) -> Self {
        Self { namespace, meter }
    }

    /// Sends a request to the object with this name. The error is what the runtime threw.
    pub(crate) async fn send(&self, name: &str, request: &Request) -> Result<Response, JsValue> {
        let stub = self.namespace.get_by_name(name)?;
        self.meter.count(Metered::ObjectCall);
        Ok(settled(stub.fetch(request)?).await?.unchecked_into())
    }
}

impl SyncKv {
    /// Returns the text under a key; `None` if there is none. It is an error if there is anything
    /// but a text: as if it were missing, it would be replaced.
    pub(crate) fn text(&self, key: &str) -> Result<Option<String>, JsValue> {
        let stored = self.get(key)?;
        if stored.is_undefined() {
            return Ok(None);
        }
        let broken = || JsValue::from_str(&format!("what the object stores under {key} is not a text"));
        stored.as_string().map(Some).ok_or_else(broken)
    }
}

#[cfg(feature = "metrics")]
impl SyncKv {
    /// Returns the entries from one key (inclusive) to another (exclusive), sorted by key: each an
    /// array of key and value.
    pub(crate) fn entries(&self, start: &str, end: &str) -> Result<js_sys::IntoIter, JsValue> {
        let options: SyncListOptions = js_sys::Object::new().unchecked_into();
        options.set_start(start);
        options.set_end(end);
        let entries = js_sys::try_iter(&self.list(&options)?)?;
        entries.ok_or_else(|| JsValue::from_str("`list` did not return an iterable"))
    }
}

/// Resolves to what `text()` of a request or a response promises.
#[cfg(any(feature = "kv-api", feature = "metrics"))]
pub(crate) async fn text_of(promise: js_sys::Promise) -> Result<String, JsValue> {
    let text = settled(promise).await?.as_string();
    text.ok_or_else(|| JsValue::from_str("`text` did not resolve to a text"))
}

impl DurableObjectStorage {
    /// Sets the alarm to a time in milliseconds since the Unix epoch. It replaces the one before.
    pub(crate) async fn set_alarm(&self, unix_ms: u64) -> Result<(), JsValue> {
        // Exact: 53 bits of milliseconds last for 285,000 years.
        #[allow(clippy::cast_precision_loss)]
        settled(self.set_alarm_at(unix_ms as f64)?).await.map(|_| ())
    }

    /// Removes the alarm, if there is one.
    #[cfg(feature = "writes")]
    pub(crate) async fn delete_alarm(&self) -> Result<(), JsValue> {
        settled(self.remove_alarm()?).await.map(|_| ())
    }

    /// Does some work as a whole or not at all.
    #[cfg(any(feature = "metrics", feature = "writes"))]
    pub(crate) fn transaction(&self, work: impl Fn() -> Result<(), JsValue>) -> Result<(), JsValue> {
        self.transaction_sync(&mut || work().map(|()| JsValue::UNDEFINED)).map(|_| ())
    }
}
