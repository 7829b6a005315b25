//! The binding of users and flags: for `/config`, `/ofrep`, `/healthz` and the console.

use wasm_bindgen::prelude::*;

use super::Bindings;
use crate::kv::{KvNamespace, Store};
use crate::platform::env::RuntimeEnv;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(method, getter, js_name = "USER_CONFIGURATION")]
    fn user_configuration(this: &RuntimeEnv) -> KvNamespace;
}

impl Bindings {
    /// Returns `USER_CONFIGURATION`: a record for each user, their snapshot, the flag definitions,
    /// and the list of revoked tokens.
    pub(crate) fn users(&self) -> Store {
        self.store(self.env.user_configuration())
    }
}
