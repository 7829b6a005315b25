//! The storage of a key's Durable Object: one record, and the value until KV has it.

use kv_store::key_writer::KeyState;
use kv_store::record;
use wasm_bindgen::prelude::*;

use crate::platform::durable_objects::{DurableObjectState, DurableObjectStorage, SyncKv};

/// The longest part, in bytes: the storage accepts at most 2 MB for a key with its value
/// (Durable Objects documentation, "Limits"), so a longer value is split.
const PART_BYTES: u32 = 1024 * 1024;

const RECORD: &str = "record";

/// The storage of one object. Each method is atomic.
pub(crate) struct Storage {
    storage: DurableObjectStorage,
    kv: SyncKv,
}

impl Storage {
    pub(crate) fn new(state: &DurableObjectState) -> Self {
        let storage = state.storage();
        let kv = storage.kv();
        Self { storage, kv }
    }

    /// Returns the record; `None` if nothing was ever accepted. It is an error if the record is
    /// not a string, or does not parse; then the error gives the position.
    pub(crate) fn state(&self) -> Result<Option<KeyState>, JsValue> {
        let Some(record) = self.kv.text(RECORD)? else { return Ok(None) };
        serde_json::from_str(&record).map(Some).map_err(|error| invalid_record(&error))
    }

    /// Stores the record and leaves the value as it is.
    pub(crate) fn store(&self, state: &KeyState) -> Result<(), JsValue> {
        self.kv.put(RECORD, &JsValue::from_str(&record::to_json(state)))
    }

    /// Stores the record and replaces the value.
    pub(crate) fn store_with_value(&self, state: &KeyState, value: &js_sys::ArrayBuffer) -> Result<(), JsValue> {
        self.storage.transaction(|| {
            self.store(state)?;
            let length = value.byte_length();
            let mut parts: u32 = 0;
            let mut start: u32 = 0;
            while start < length || parts == 0 {
                let end = (start + PART_BYTES).min(length);
                // A value of one part is stored without a copy.
                let part = if parts == 0 && end == length { value.clone() } else { value.slice_with_end(start, end) };
                self.kv.put(&part_name(parts), &part)?;
                parts += 1;
                start = end;
            }
            self.delete_parts_from(parts)
        })
    }

    /// Stores the record and deletes the value.
    pub(crate) fn store_without_value(&self, state: &KeyState) -> Result<(), JsValue> {
        self.storage.transaction(|| {
            self.store(state)?;
            self.delete_parts_from(0)
        })
    }

    /// Returns the whole value: an `ArrayBuffer`, or a `Uint8Array` if it has several parts. It
    /// is an error if there is none, or if a part is not bytes. A missing last part would not be
    /// noticed; the transactions rule it out.
    pub(crate) fn value(&self) -> Result<JsValue, JsValue> {
        let mut parts = Vec::new();
        for number in 0.. {
            let name = part_name(number);
            let part = self.kv.get(&name)?;
            if part.is_undefined() {
                break;
            }
            let broken = |_| JsValue::from_str(&format!("what the object stores under {name} is not bytes"));
            parts.push(part.dyn_into::<js_sys::ArrayBuffer>().map_err(broken)?);
        }
        match parts.as_slice() {
            [] => Err(JsValue::from_str("the value is missing from the object's storage")),
            [whole] => Ok(whole.into()),
            parts => {
                let length = parts.iter().map(js_sys::ArrayBuffer::byte_length).sum();
                let whole = js_sys::Uint8Array::new_with_length(length);
                let mut start: u32 = 0;
                for part in parts {
                    whole.set(&js_sys::Uint8Array::new(part), start);
                    start += part.byte_length();
                }
                Ok(whole.into())
            }
        }
    }

    /// Sets the alarm to a time in milliseconds since the Unix epoch. It replaces the one before.
    pub(crate) async fn set_alarm(&self, unix_ms: u64) -> Result<(), JsValue> {
        self.storage.set_alarm(unix_ms).await
    }

    /// Removes the alarm, if there is one.
    pub(crate) async fn delete_alarm(&self) -> Result<(), JsValue> {
        self.storage.delete_alarm().await
    }

    fn delete_parts_from(&self, first: u32) -> Result<(), JsValue> {
        let mut part = first;
        while self.kv.delete(&part_name(part))? {
            part += 1;
        }
        Ok(())
    }
}

fn part_name(part: u32) -> String {
    format!("value/{part}")
}

/// Returns an error that gives the position only, because the record holds the key.
fn invalid_record(error: &serde_json::Error) -> JsValue {
    let (line, column) = (error.line(), error.column());
    JsValue::from_str(&format!("the object's record is broken at line {line}, column {column}"))
}
