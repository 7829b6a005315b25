//! The binding of stored responses and purges: for `/cache` and the console.

use wasm_bindgen::prelude::*;

use super::Bindings;
use crate::kv::{KvNamespace, Store};
use crate::platform::env::RuntimeEnv;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(method, getter, js_name = "CACHE_KV")]
    fn cache_kv(this: &RuntimeEnv) -> KvNamespace;
}

impl Bindings {
    /// Returns `CACHE_KV`, which holds the stored responses of `/cache`, the views (pages as
    /// JSON), and the purges.
    pub(crate) fn cache_store(&self) -> Store {
        self.store(self.env.cache_kv())
    }
}
