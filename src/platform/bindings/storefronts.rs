//! The binding of storefronts: for `/stores`, the hosts of storefronts, and the console.

use wasm_bindgen::prelude::*;

use super::Bindings;
use crate::kv::{KvNamespace, Store};
use crate::platform::env::RuntimeEnv;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(method, getter, js_name = "ROUTING_CONFIG")]
    fn routing_config(this: &RuntimeEnv) -> KvNamespace;
}

impl Bindings {
    /// Returns `ROUTING_CONFIG`: a record for each storefront, and for each custom domain the id
    /// of its storefront or a record of its own.
    pub(crate) fn storefronts(&self) -> Store {
        self.store(self.env.routing_config())
    }
}
