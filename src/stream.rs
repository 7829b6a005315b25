//! Parts of streams.

use wasm_bindgen::prelude::*;
use worker::web_sys::ReadableStream;

#[wasm_bindgen(module = "/src/stream.js")]
extern "C" {
    /// `length` bytes of a stream from `start` on, with that length.
    pub(crate) fn part(stream: &ReadableStream, start: f64, length: f64) -> ReadableStream;
}
