//! The binding and the var of files and translations.

use wasm_bindgen::prelude::*;

use super::{Bindings, RuntimeEnv, vars};
use crate::kv::{KvNamespace, Store};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(method, getter, js_name = "assets")]
    fn assets(this: &RuntimeEnv) -> KvNamespace;
}

impl Bindings {
    /// Returns the namespace `assets`.
    pub(crate) fn files(&self) -> Store {
        self.store(self.env.assets())
    }
}

pub(crate) struct AssetsVars {
    /// `ASSETS_REFRESH`, in milliseconds.
    pub(crate) refresh_ms: u64,
}

impl AssetsVars {
    pub(super) fn read(env: &RuntimeEnv) -> Self {
        Self { refresh_ms: vars::ASSETS_REFRESH.read_ms(env) }
    }
}
