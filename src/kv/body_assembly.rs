//! Bodies that are assembled from values of KV, or from parts of them, and the texts between
//! parts.

use wasm_bindgen::prelude::*;
use worker::web_sys::ReadableStream;

use super::{KvNamespace, Store};
#[cfg(feature = "metrics")]
use crate::platform::meter::Metered;

#[wasm_bindgen(module = "/src/platform/glue/body_assembly.js")]
extern "C" {
    #[wasm_bindgen(js_name = assembled)]
    fn assemble(
        namespace: &KvNamespace,
        pieces: &str,
        first: &JsValue,
        total: f64,
        count_read: &JsValue,
    ) -> ReadableStream;
    /// Returns the bytes of these pieces (JSON), out of one value that is in memory.
    #[wasm_bindgen(catch)]
    pub(crate) fn sliced(bytes: &js_sys::ArrayBuffer, pieces: &str, total: f64) -> Result<JsValue, JsValue>;
}

impl Store {
    /// Returns a stream of `total` bytes, assembled from these pieces (JSON). `first` is the
    /// stream of the first value among them; `undefined` if all are texts. If another value cannot
    /// be read, even with a retry, the stream breaks off.
    pub(crate) fn assembled(&self, pieces: &str, first: &JsValue, total: f64) -> ReadableStream {
        assemble(&self.namespace, pieces, first, total, &self.count_read())
    }

    /// Returns a function that counts a read of one key; `undefined` if nothing counts.
    #[cfg(feature = "metrics")]
    fn count_read(&self) -> JsValue {
        let meter = self.meter;
        if !meter.is_on() {
            return JsValue::UNDEFINED;
        }
        // The garbage collector of JavaScript frees the closure with the stream.
        Closure::<dyn Fn()>::new(move || meter.count(Metered::Read { keys: 1 })).into_js_value()
    }

    #[cfg(not(feature = "metrics"))]
    #[expect(clippy::unused_self, reason = "the build with metrics counts here")]
    fn count_read(&self) -> JsValue {
        JsValue::UNDEFINED
    }
}
