//! The binding and the var of files and translations.

use wasm_bindgen::prelude::*;

use super::{Bindings, vars};
use crate::kv::{KvNamespace, Store};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(method, getter, js_name = "assets")]
    fn assets(this: &Bindings) -> KvNamespace;
}

impl Bindings {
    /// Returns the namespace `assets`.
    pub(crate) fn files(&self) -> Store {
        Store::new(self.assets())
    }
}

pub(crate) struct AssetsVars {
    /// `ASSETS_REFRESH`, in milliseconds.
    pub(crate) refresh_ms: u64,
}

impl AssetsVars {
    pub(super) fn read(env: &Bindings) -> Self {
        Self { refresh_ms: vars::ASSETS_REFRESH.read_ms(env) }
    }
}
