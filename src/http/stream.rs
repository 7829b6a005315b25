//! Parts of streams, and streams that nobody reads.

use wasm_bindgen::prelude::*;
use worker::web_sys::ReadableStream;

#[wasm_bindgen(module = "/src/platform/glue/stream.js")]
extern "C" {
    /// `length` bytes of a stream from `start` on, with that length.
    pub(crate) fn part(stream: &ReadableStream, start: f64, length: f64) -> ReadableStream;
}

#[wasm_bindgen(module = "/src/platform/glue/unread.js")]
extern "C" {
    /// Ends a stream that nobody reads, so that its connection is free.
    pub(crate) fn end(stream: &ReadableStream);
}
