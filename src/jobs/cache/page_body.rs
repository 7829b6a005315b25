//! Reads the body of a page as text: without its content codings, and decoded from its character
//! encoding.

use std::time::Duration;

use http_cache::error::CacheError;
use http_cache::page_view::charset::{self, UTF_8};
use http_cache::page_view::{PAGE_BYTES_MAX, PageCoding};
use http_semantics::fields::{Fields, HeaderSection};
use wasm_bindgen::prelude::*;
use worker::web_sys::ReadableStream;

use crate::http::stream;
use crate::platform::js_error::message_of;
use crate::platform::promise::Deadlines;

#[wasm_bindgen(module = "/src/platform/glue/page_body.js")]
extern "C" {
    /// Resolves to a `Uint8Array`, or to `null` if the page has more than `bytes_max` bytes.
    #[wasm_bindgen(js_name = readPage)]
    fn read_page(body: &JsValue, codings: &str, length: &str, bytes_max: u32) -> js_sys::Promise;
    #[wasm_bindgen(js_name = encodingOf)]
    fn encoding_of(label: &str) -> Option<String>;
    fn decode(bytes: &js_sys::Uint8Array, encoding: &str) -> String;
}

/// Reads the body of a page with these header fields as text. The body is a stream, an
/// `ArrayBuffer`, or `null`. The fields or its first bytes say its character encoding.
///
/// # Errors
/// - [`CacheError::ContentCoding`] if a content coding is unknown.
/// - [`CacheError::TooLong`] if the body has more than [`PAGE_BYTES_MAX`] bytes, with its content
///   codings or without.
/// - [`CacheError::Timeout`] if reading takes longer than `timeout`.
/// - [`CacheError::Upstream`] if the body breaks off, or is not encoded as its codings say.
pub(super) async fn read_text(
    body: &JsValue,
    fields: &HeaderSection,
    deadlines: &Deadlines,
    timeout: Duration,
) -> Result<String, CacheError> {
    if body.is_null() {
        return Ok(String::new());
    }
    let codings = PageCoding::of_page(fields.get("content-encoding").as_deref())
        .inspect_err(|_| body.dyn_ref::<ReadableStream>().into_iter().for_each(stream::cancel))?;
    let bytes = match body.dyn_ref::<js_sys::ArrayBuffer>() {
        Some(bytes) if codings.is_empty() => js_sys::Uint8Array::new(bytes),
        _ => {
            let codings = codings.into_iter().map(PageCoding::name).collect::<Vec<_>>().join(",");
            let length = fields.get("content-length").unwrap_or_default();
            let reading = read_page(body, &codings, length.trim(), PAGE_BYTES_MAX);
            let bytes = deadlines.settled_within(timeout, reading).await.ok_or(CacheError::Timeout)?;
            let bytes = bytes.map_err(|thrown| CacheError::Upstream(message_of(&thrown)))?;
            bytes.dyn_into().map_err(|_| CacheError::TooLong)?
        }
    };
    if bytes.length() > PAGE_BYTES_MAX {
        return Err(CacheError::TooLong);
    }
    let page = bytes.to_vec();
    let encoding = charset::sniff(&page, fields.get("content-type").as_deref(), encoding_of);
    Ok(if encoding == UTF_8 { charset::decode_utf_8(page) } else { decode(&bytes, &encoding) })
}
