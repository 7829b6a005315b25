//! The `env` object of the runtime: where bindings, vars and secrets are found by name.

use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// The `env` object. A missing binding is `undefined`; a call on it throws an exception, which
    /// becomes an error of KV, or of the Durable Object that it names.
    pub(crate) type RuntimeEnv;

    /// Returns what has this name; `undefined` if nothing has.
    #[wasm_bindgen(method, structural, indexing_getter)]
    pub(super) fn get(this: &RuntimeEnv, name: &str) -> JsValue;
}

impl RuntimeEnv {
    /// Returns a var or a secret as text; empty if it is not set. wrangler passes numbers and
    /// booleans of `wrangler.toml` as such.
    #[expect(clippy::expect_used, reason = "a number that is set must not look like a var that is not")]
    pub(super) fn text(&self, name: &str) -> String {
        let var = self.get(name);
        var.as_string()
            .or_else(|| {
                let number = var.dyn_ref::<js_sys::Number>()?;
                Some(number.to_string_with_radix(10).expect("10 is a radix").into())
            })
            .or_else(|| var.as_bool().map(|flag| flag.to_string()))
            .unwrap_or_default()
    }
}
