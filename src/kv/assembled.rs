//! Bodies that are put together of several values, or of parts of them.

use wasm_bindgen::prelude::*;
use worker::web_sys::ReadableStream;

use super::{KvNamespace, Store};

#[wasm_bindgen(module = "/src/platform/glue/assembled.js")]
extern "C" {
    #[wasm_bindgen(js_name = assembled)]
    fn assemble(namespace: &KvNamespace, pieces: &str, first: &JsValue, total: f64) -> ReadableStream;
    /// The pieces of one value that is in memory.
    #[wasm_bindgen(catch)]
    pub(crate) fn sliced(bytes: &js_sys::ArrayBuffer, pieces: &str, total: f64) -> Result<JsValue, JsValue>;
}

impl Store {
    /// A stream of `total` bytes out of these pieces, as JSON; `first` is the stream of the first value among them. A value that cannot be
    /// read, twice, breaks it off.
    pub(crate) fn assembled(&self, pieces: &str, first: &JsValue, total: f64) -> ReadableStream {
        assemble(&self.namespace, pieces, first, total)
    }
}
