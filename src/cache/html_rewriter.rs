//! The platform's `HTMLRewriter` reads the page: a streaming HTML parser, not a regular expression.

use kv_edge_core::cache::address::CacheError;
use kv_edge_core::cache::page::{PAGE_BYTES_MAX, Page};
use kv_edge_core::fields::{Fields, Lines};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use crate::error::message_of;

#[wasm_bindgen(module = "/src/cache/page_text.js")]
extern "C" {
    #[wasm_bindgen(js_name = collectText)]
    fn collect_text(body: &JsValue, encoding: &str, length: &str, bytes_max: u32) -> js_sys::Promise;

    type PageText;
    #[wasm_bindgen(method, getter)]
    fn title(this: &PageText) -> Option<String>;
    #[wasm_bindgen(method, getter)]
    fn content(this: &PageText) -> Option<String>;
    #[wasm_bindgen(method, getter, js_name = tooLong)]
    fn too_long(this: &PageText) -> bool;
}

/// Reads title and text of a page, up to [`PAGE_BYTES_MAX`]: a stream, bytes, or `null`, encoded as the header fields say. `updated_ms`
/// is when it came, in milliseconds since the Unix epoch.
pub(super) async fn read_page(body: &JsValue, fields: &Lines, updated_ms: u64) -> Result<Page<'static>, CacheError> {
    let field = |name| fields.get(name).unwrap_or_default();
    let (encoding, length) = (field("content-encoding"), field("content-length"));
    let text = JsFuture::from(collect_text(body, encoding.trim(), length.trim(), PAGE_BYTES_MAX))
        .await
        .map_err(|thrown| CacheError::Upstream(message_of(&thrown)))?
        .unchecked_into::<PageText>();
    if text.too_long() {
        return Err(CacheError::TooLong);
    }
    #[allow(clippy::cast_precision_loss)] // A date.
    let updated = js_sys::Date::new(&JsValue::from_f64(updated_ms as f64));
    let updated = String::from(updated.to_iso_string());
    Ok(Page::from_text(text.title().as_deref(), text.content().as_deref(), updated))
}
