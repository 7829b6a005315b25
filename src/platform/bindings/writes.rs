//! The bindings of `/writes` and `/get-started`.

use wasm_bindgen::prelude::*;

use super::Bindings;
use crate::kv::key_writers::KeyWriters;
use crate::kv::{KvNamespace, Store};
use crate::platform::durable_objects::DurableObjectNamespace;
use crate::platform::env::RuntimeEnv;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(method, getter, js_name = "WRITES")]
    fn writes(this: &RuntimeEnv) -> KvNamespace;
    #[wasm_bindgen(method, getter, js_name = "USERS_NOTIFICATION_CONFIG")]
    fn users_notification_config(this: &RuntimeEnv) -> KvNamespace;
    #[wasm_bindgen(method, getter, js_name = "KEY_WRITER")]
    fn key_writer_objects(this: &RuntimeEnv) -> DurableObjectNamespace;
}

impl Bindings {
    /// Returns the namespace `WRITES`, whose keys many clients write at the same time.
    pub(crate) fn hot_keys(&self) -> Store {
        self.store(self.env.writes())
    }

    /// Returns `KEY_WRITER`, with one Durable Object per key of `WRITES`.
    pub(crate) fn key_writers(&self) -> KeyWriters {
        KeyWriters(self.objects(self.env.key_writer_objects()))
    }

    /// Returns the namespace `USERS_NOTIFICATION_CONFIG` of the KV documentation ("Get started").
    pub(crate) fn notifications(&self) -> Store {
        self.store(self.env.users_notification_config())
    }
}
