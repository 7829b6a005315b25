//! What an object stores: one record, and the value while KV does not have it.

use kv_store::key_writer::KeyState;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

#[wasm_bindgen]
extern "C" {
    /// The state that the runtime hands to a Durable Object.
    pub(crate) type DurableObjectState;
    #[wasm_bindgen(method, getter, js_name = storage)]
    fn raw_storage(this: &DurableObjectState) -> DurableObjectStorage;

    /// Its storage, of the kind that stands on `SQLite`.
    type DurableObjectStorage;
    #[wasm_bindgen(method, getter)]
    fn kv(this: &DurableObjectStorage) -> SyncKv;
    #[wasm_bindgen(method, catch, js_name = setAlarm)]
    fn set_alarm(this: &DurableObjectStorage, unix_ms: f64) -> Result<js_sys::Promise, JsValue>;
    #[wasm_bindgen(method, catch, js_name = deleteAlarm)]
    fn delete_alarm(this: &DurableObjectStorage) -> Result<js_sys::Promise, JsValue>;
    #[wasm_bindgen(method, catch, js_name = transactionSync)]
    fn transaction_sync(
        this: &DurableObjectStorage,
        work: &mut dyn FnMut() -> Result<JsValue, JsValue>,
    ) -> Result<JsValue, JsValue>;

    /// The synchronous key-value side of that storage.
    type SyncKv;
    #[wasm_bindgen(method, catch)]
    fn get(this: &SyncKv, key: &str) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn put(this: &SyncKv, key: &str, value: &JsValue) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch)]
    fn delete(this: &SyncKv, key: &str) -> Result<bool, JsValue>;
}

/// A stored value may have 2 MiB with its key; a longer one of ours is cut into parts of this many bytes.
const PART_BYTES: u32 = 1024 * 1024;

const RECORD: &str = "record";

/// The storage of one object. Each method leaves all of its changes behind or none.
pub(crate) struct Storage {
    storage: DurableObjectStorage,
    kv: SyncKv,
}

impl Storage {
    pub(crate) fn new(state: &DurableObjectState) -> Self {
        let storage = state.raw_storage();
        let kv = storage.kv();
        Self { storage, kv }
    }

    /// The record; `None` where nothing was ever accepted.
    pub(crate) fn state(&self) -> Result<Option<KeyState>, JsValue> {
        let Some(record) = self.kv.get(RECORD)?.as_string() else { return Ok(None) };
        serde_json::from_str(&record).map(Some).map_err(|error| broken(&error))
    }

    /// Stores the record alone.
    pub(crate) fn keep(&self, state: &KeyState) -> Result<(), JsValue> {
        let record = serde_json::to_string(state).map_err(|error| broken(&error))?;
        self.kv.put(RECORD, &JsValue::from_str(&record))
    }

    /// Stores the record with a new value in place of the one before.
    pub(crate) fn keep_with_value(&self, state: &KeyState, value: &js_sys::ArrayBuffer) -> Result<(), JsValue> {
        self.together(|| {
            self.keep(state)?;
            let length = value.byte_length();
            let mut parts: u32 = 0;
            let mut start: u32 = 0;
            while start < length || parts == 0 {
                let end = start.saturating_add(PART_BYTES).min(length);
                // A value of one part need not be copied.
                let part = if parts == 0 && end == length { value.clone() } else { value.slice_with_end(start, end) };
                self.kv.put(&part_name(parts), &part)?;
                parts = parts.saturating_add(1);
                start = end;
            }
            self.delete_parts_from(parts)
        })
    }

    /// Stores the record and drops the value.
    pub(crate) fn keep_without_value(&self, state: &KeyState) -> Result<(), JsValue> {
        self.together(|| {
            self.keep(state)?;
            self.delete_parts_from(0)
        })
    }

    /// The value, whole: an `ArrayBuffer`, or a `Uint8Array` where it has several parts.
    pub(crate) fn value(&self) -> Result<JsValue, JsValue> {
        let mut parts = Vec::new();
        loop {
            let part = self.kv.get(&part_name(u32::try_from(parts.len()).unwrap_or(u32::MAX)))?;
            match part.dyn_into::<js_sys::ArrayBuffer>() {
                Ok(part) => parts.push(part),
                Err(_) => break,
            }
        }
        match parts.as_slice() {
            [] => Err(JsValue::from_str("the value is missing from the object's storage")),
            [whole] => Ok(whole.into()),
            parts => {
                let length = parts.iter().map(js_sys::ArrayBuffer::byte_length).fold(0, u32::saturating_add);
                let whole = js_sys::Uint8Array::new_with_length(length);
                let mut start: u32 = 0;
                for part in parts {
                    whole.set(&js_sys::Uint8Array::new(part), start);
                    start = start.saturating_add(part.byte_length());
                }
                Ok(whole.into())
            }
        }
    }

    /// Sets the alarm, in milliseconds since the Unix epoch, in place of the one before.
    pub(crate) async fn set_alarm(&self, unix_ms: u64) -> Result<(), JsValue> {
        // Exact: 53 bits last for 285,000 years.
        #[allow(clippy::cast_precision_loss)]
        JsFuture::from(self.storage.set_alarm(unix_ms as f64)?).await.map(|_| ())
    }

    /// Takes the alarm away.
    pub(crate) async fn delete_alarm(&self) -> Result<(), JsValue> {
        JsFuture::from(self.storage.delete_alarm()?).await.map(|_| ())
    }

    fn delete_parts_from(&self, first: u32) -> Result<(), JsValue> {
        let mut part = first;
        while self.kv.delete(&part_name(part))? {
            part = part.saturating_add(1);
        }
        Ok(())
    }

    fn together(&self, work: impl Fn() -> Result<(), JsValue>) -> Result<(), JsValue> {
        self.storage.transaction_sync(&mut || work().map(|()| JsValue::UNDEFINED)).map(|_| ())
    }
}

fn part_name(part: u32) -> String {
    format!("value/{part}")
}

/// Says where, not what: the record holds the key.
fn broken(error: &serde_json::Error) -> JsValue {
    let (line, column) = (error.line(), error.column());
    JsValue::from_str(&format!("the object's record is broken at line {line}, column {column}"))
}
