//! The platform's `HTMLRewriter` reads the page: a streaming HTML parser, not a regular expression.

use kv_edge_core::cache::{CacheError, PAGE_BYTES_MAX, Page};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::web_sys::Response;

use crate::error::message_of;

#[wasm_bindgen(module = "/src/cache/page_text.js")]
extern "C" {
    #[wasm_bindgen(js_name = collectText)]
    fn collect_text(response: &Response, bytes_max: u32) -> js_sys::Promise;

    type PageText;
    #[wasm_bindgen(method, getter)]
    fn title(this: &PageText) -> Option<String>;
    #[wasm_bindgen(method, getter)]
    fn content(this: &PageText) -> Option<String>;
    #[wasm_bindgen(method, getter, js_name = tooLong)]
    fn too_long(this: &PageText) -> bool;
}

/// Reads title and text of a page, up to [`PAGE_BYTES_MAX`].
pub(super) async fn read_page(response: &Response) -> Result<Page<'static>, CacheError> {
    let text = JsFuture::from(collect_text(response, PAGE_BYTES_MAX))
        .await
        .map_err(|thrown| CacheError::Upstream(message_of(&thrown)))?
        .unchecked_into::<PageText>();
    if text.too_long() {
        return Err(CacheError::TooLong);
    }
    let now = String::from(js_sys::Date::new_0().to_iso_string());
    Ok(Page::from_text(text.title().as_deref(), text.content().as_deref(), now))
}
