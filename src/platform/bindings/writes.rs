//! The bindings of `/writes` and `/get-started`.

use wasm_bindgen::prelude::*;

use super::Bindings;
use crate::kv::key_writers::KeyWriters;
use crate::kv::{KvNamespace, Store};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(method, getter, js_name = "WRITES")]
    fn writes(this: &Bindings) -> KvNamespace;
    #[wasm_bindgen(method, getter, js_name = "USERS_NOTIFICATION_CONFIG")]
    fn users_notification_config(this: &Bindings) -> KvNamespace;

    /// Returns the namespace `KEY_WRITER`, with one Durable Object per key of `WRITES`.
    #[wasm_bindgen(method, getter, js_name = "KEY_WRITER")]
    pub(crate) fn key_writers(this: &Bindings) -> KeyWriters;
}

impl Bindings {
    /// Returns the namespace `WRITES`, whose keys many clients write at the same time.
    pub(crate) fn hot_keys(&self) -> Store {
        Store::new(self.writes())
    }

    /// Returns the namespace `USERS_NOTIFICATION_CONFIG` of the KV documentation ("Get started").
    pub(crate) fn notifications(&self) -> Store {
        Store::new(self.users_notification_config())
    }
}
