//! Parts of streams, and streams that nobody reads.

use wasm_bindgen::prelude::*;
use worker::web_sys::ReadableStream;

#[wasm_bindgen(module = "/src/platform/glue/stream.js")]
extern "C" {
    /// Returns `length` bytes of a stream from position `start` on, as a stream of known length.
    pub(crate) fn part(stream: &ReadableStream, start: f64, length: f64) -> ReadableStream;
}

#[wasm_bindgen(module = "/src/platform/glue/stream_cancel.js")]
extern "C" {
    /// Cancels a stream that nobody reads, so that its connection is free again.
    pub(crate) fn cancel(stream: &ReadableStream);
}
