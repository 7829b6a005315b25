//! The binding of files and translations: for `/{key}`, `/hello-world`, maintenance pages of
//! storefronts, and the console.

use wasm_bindgen::prelude::*;

use super::Bindings;
use crate::kv::{KvNamespace, Store};
use crate::platform::env::RuntimeEnv;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(method, getter, js_name = "assets")]
    fn assets(this: &RuntimeEnv) -> KvNamespace;
}

impl Bindings {
    /// Returns the namespace `assets`: releases of files, and unversioned keys.
    pub(crate) fn files(&self) -> Store {
        self.store(self.env.assets())
    }
}
