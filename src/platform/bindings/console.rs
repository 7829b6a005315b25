//! The binding of the files of the console's page.

use wasm_bindgen::prelude::*;
use worker::web_sys::{Request, Response};

use super::Bindings;
use crate::platform::env::RuntimeEnv;
use crate::platform::promise::settled;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(method, getter, js_name = "CONSOLE")]
    fn console(this: &RuntimeEnv) -> JsValue;

    /// The binding of Workers static assets.
    pub(crate) type StaticFiles;
    #[wasm_bindgen(method, catch)]
    fn fetch(this: &StaticFiles, request: &Request) -> Result<js_sys::Promise, JsValue>;
}

impl Bindings {
    /// Returns `CONSOLE`: the files of build/console. `None` if there is no such binding.
    pub(crate) fn console_files(&self) -> Option<StaticFiles> {
        let binding = self.env.console();
        binding.is_object().then(|| binding.unchecked_into())
    }
}

impl StaticFiles {
    /// Returns the response to a request for one of the files. The error is what the runtime
    /// threw.
    pub(crate) async fn send(&self, request: &Request) -> Result<Response, JsValue> {
        Ok(settled(self.fetch(request)?).await?.unchecked_into())
    }
}
