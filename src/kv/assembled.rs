//! Bodies that are assembled from several values of KV, or from parts of them.

use wasm_bindgen::prelude::*;
use worker::web_sys::ReadableStream;

use super::{KvNamespace, Store};

#[wasm_bindgen(module = "/src/platform/glue/assembled.js")]
extern "C" {
    #[wasm_bindgen(js_name = assembled)]
    fn assemble(namespace: &KvNamespace, pieces: &str, first: &JsValue, total: f64) -> ReadableStream;
    /// Returns the pieces of one value that is in memory.
    #[wasm_bindgen(catch)]
    pub(crate) fn sliced(bytes: &js_sys::ArrayBuffer, pieces: &str, total: f64) -> Result<JsValue, JsValue>;
}

impl Store {
    /// Returns a stream of `total` bytes, assembled from these pieces (JSON). `first` is the
    /// stream of the first value among them. If a value cannot be read, even with a retry, the
    /// stream breaks off.
    pub(crate) fn assembled(&self, pieces: &str, first: &JsValue, total: f64) -> ReadableStream {
        assemble(&self.namespace, pieces, first, total)
    }
}
