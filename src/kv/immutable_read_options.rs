//! The options for reading keys whose values never change.

use wasm_bindgen::prelude::*;

use super::ReadOptions;

#[wasm_bindgen]
extern "C" {
    /// The options of `get` ("Read key-value pairs").
    #[wasm_bindgen(extends = js_sys::Object)]
    type GetOptions;
    #[wasm_bindgen(method, setter, js_name = type)]
    fn set_value_type(this: &GetOptions, value_type: &str);
    #[wasm_bindgen(method, setter, js_name = cacheTtl)]
    fn set_cache_ttl(this: &GetOptions, seconds: u32);
}

thread_local! {
    static BYTES_OPTIONS: JsValue = immutable("arrayBuffer");
    static STREAM_OPTIONS: JsValue = immutable("stream");
}

impl ReadOptions {
    /// As an `ArrayBuffer`, for a key whose value never changes.
    pub(crate) const IMMUTABLE_BYTES: Self = Self(&BYTES_OPTIONS);
    /// As a stream, for a key whose value never changes.
    pub(crate) const IMMUTABLE_STREAM: Self = Self(&STREAM_OPTIONS);
}

/// Returns the options of `get` for a key that is written once. Each of Cloudflare's locations
/// caches it for five minutes ("Read key-value pairs", `cacheTtl`), and no longer, because a
/// cached "not found" lives as long.
fn immutable(value_type: &str) -> JsValue {
    let options: GetOptions = js_sys::Object::new().unchecked_into();
    options.set_value_type(value_type);
    options.set_cache_ttl(300);
    options.into()
}
