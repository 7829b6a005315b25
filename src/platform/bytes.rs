//! Bytes of JavaScript, copied into WebAssembly.

use js_sys::{ArrayBuffer, Uint8Array};

/// Bytes are copied into WebAssembly in chunks of this length, because its memory never shrinks.
const CHUNK_BYTES: u32 = 1024 * 1024;

/// Returns copies of the bytes, in chunks.
pub(crate) fn chunks(bytes: &ArrayBuffer) -> impl Iterator<Item = Vec<u8>> {
    let length = bytes.byte_length();
    (0..length.div_ceil(CHUNK_BYTES)).map(move |number| {
        let start = number * CHUNK_BYTES;
        let chunk_length = CHUNK_BYTES.min(length - start);
        Uint8Array::new_with_byte_offset_and_length(bytes, start, chunk_length).to_vec()
    })
}
