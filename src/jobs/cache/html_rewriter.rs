//! Reads a page with the runtime's `HTMLRewriter`, a streaming HTML parser.

use http_cache::error::CacheError;
use http_cache::page_view::charset::{Charset, HEAD_BYTES};
use http_cache::page_view::{PAGE_BYTES_MAX, PageCoding, PageView};
use http_semantics::fields::{Fields, HeaderSection};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use crate::platform::js_error::message_of;

#[wasm_bindgen(module = "/src/platform/glue/page_text.js")]
extern "C" {
    #[wasm_bindgen(js_name = openPage)]
    fn open_page(body: &JsValue, codings: &str, length: &str, bytes_max: u32, head_bytes: u32) -> js_sys::Promise;
    #[wasm_bindgen(js_name = encodingOf)]
    fn encoding_of(label: &str) -> Option<String>;
    #[wasm_bindgen(js_name = readText)]
    fn read_text(page: &OpenedPage, encoding: &str, is_decoded_before: bool) -> js_sys::Promise;

    type OpenedPage;
    #[wasm_bindgen(method, getter)]
    fn head(this: &OpenedPage) -> Vec<u8>;
    #[wasm_bindgen(method, getter)]
    fn title(this: &OpenedPage) -> Option<String>;
    #[wasm_bindgen(method, getter)]
    fn content(this: &OpenedPage) -> Option<String>;
    #[wasm_bindgen(method, getter, js_name = tooLong)]
    fn too_long(this: &OpenedPage) -> bool;
}

/// Reads title and text of a page of up to [`PAGE_BYTES_MAX`]. The body is a stream, bytes, or
/// `null`, encoded as its header fields and first bytes say. `updated_ms` is when it was
/// received, in milliseconds since the Unix epoch.
///
/// # Errors
/// [`CacheError::ContentCoding`], [`CacheError::TooLong`], and [`CacheError::Upstream`] if the
/// body breaks off or is not encoded as its content coding says.
pub(super) async fn read_page(
    body: &JsValue,
    fields: &HeaderSection,
    updated_ms: u64,
) -> Result<PageView<'static>, CacheError> {
    let broken = |thrown: JsValue| CacheError::Upstream(message_of(&thrown));
    let codings = PageCoding::of_page(fields.get("content-encoding").as_deref())?;
    let codings = codings.into_iter().map(PageCoding::name).collect::<Vec<_>>().join(",");
    let length = fields.get("content-length").unwrap_or_default();
    let opened = open_page(body, &codings, length.trim(), PAGE_BYTES_MAX, HEAD_BYTES);
    let page: OpenedPage = JsFuture::from(opened).await.map_err(broken)?.unchecked_into();
    if page.too_long() {
        return Err(CacheError::TooLong);
    }
    let charset = Charset::sniff(&page.head(), fields.get("content-type").as_deref(), encoding_of);
    let (encoding, is_decoded_before) = match &charset {
        Charset::Parser(encoding) => (encoding, false),
        Charset::Decoder(encoding) => (encoding, true),
    };
    JsFuture::from(read_text(&page, encoding, is_decoded_before)).await.map_err(broken)?;
    if page.too_long() {
        return Err(CacheError::TooLong);
    }
    #[allow(clippy::cast_precision_loss)] // A date.
    let updated = js_sys::Date::new(&JsValue::from_f64(updated_ms as f64));
    let updated = String::from(updated.to_iso_string());
    Ok(PageView::from_text(page.title().as_deref(), page.content().as_deref(), updated))
}
