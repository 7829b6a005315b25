//! Bindings of `/writes` and `/get-started`.

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

    /// `KEY_WRITER`: a Durable Object for each key of `WRITES`.
    #[wasm_bindgen(method, getter, js_name = "KEY_WRITER")]
    pub(crate) fn key_writers(this: &Bindings) -> KeyWriters;
}

impl Bindings {
    /// `WRITES`: the keys of the concurrent-write example.
    pub(crate) fn hot_keys(&self) -> Store {
        Store::new(self.writes())
    }

    /// `USERS_NOTIFICATION_CONFIG`: the namespace of the documented first steps.
    pub(crate) fn notifications(&self) -> Store {
        Store::new(self.users_notification_config())
    }
}
