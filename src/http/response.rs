//! Responses, made with as few calls into the runtime as possible.

use wasm_bindgen::prelude::*;
use worker::web_sys;

use crate::isolate::Isolate;

#[wasm_bindgen]
extern "C" {
    /// The runtime's `Response`, whose constructor accepts any body.
    #[wasm_bindgen(js_name = Response)]
    type AnyResponse;
    #[wasm_bindgen(constructor, catch, js_class = "Response")]
    fn new(body: &JsValue, options: &ResponseOptions) -> Result<AnyResponse, JsValue>;

    /// The options of that constructor.
    #[wasm_bindgen(extends = js_sys::Object)]
    #[derive(Clone)]
    type ResponseOptions;
    #[wasm_bindgen(method, setter)]
    fn set_status(this: &ResponseOptions, status: u16);
    #[wasm_bindgen(method, setter)]
    fn set_headers(this: &ResponseOptions, headers: &web_sys::Headers);
    #[wasm_bindgen(method, setter, js_name = encodeBody)]
    fn set_encode_body(this: &ResponseOptions, how: &str);
}

/// `Cache-Control` of a response whose entity tag must arrive unchanged (RFC 9111 §5.2.2.6).
pub(crate) const NO_STORE_NO_TRANSFORM: &str = "no-store, no-transform";

/// Returns a 200 whose fields are used again and again: the runtime's form of them is remembered.
/// If `fields` have no `Cache-Control`, the response says `no-cache`, so that a cache in front
/// of the Worker never uses a heuristic lifetime (RFC 9111 §4.2.2).
pub(crate) fn ok(body: &JsValue, fields: &[(&str, &str)]) -> Result<web_sys::Response, JsValue> {
    let is_silent = !fields.iter().any(|(name, _)| *name == "cache-control");
    let own =
        [("x-content-type-options", "nosniff")].into_iter().chain(is_silent.then_some(("cache-control", "no-cache")));
    encoded(200, body, own.chain(fields.iter().copied()))
}

/// Returns a response with exactly these fields, which are used again and again, and a body that
/// has the content coding they name already.
pub(crate) fn encoded<'f>(
    status: u16,
    body: &JsValue,
    fields: impl Iterator<Item = (&'f str, &'f str)> + Clone,
) -> Result<web_sys::Response, JsValue> {
    respond(body, &remembered_options(status, fields)?)
}

/// Returns a response whose fields are not worth remembering.
pub(crate) fn with_status(status: u16, body: &JsValue, fields: &[(&str, &str)]) -> Result<web_sys::Response, JsValue> {
    respond(body, &options(status, fields)?)
}

/// Returns a body of bytes, which saves the way from UTF-8 to UTF-16 and back.
pub(crate) fn bytes(body: &[u8]) -> JsValue {
    js_sys::Uint8Array::from(body).into()
}

fn respond(body: &JsValue, options: &ResponseOptions) -> Result<web_sys::Response, JsValue> {
    AnyResponse::new(body, options).map(JsCast::unchecked_into)
}

fn options(status: u16, fields: &[(&str, &str)]) -> Result<ResponseOptions, JsValue> {
    // Not a plain object: the runtime copies its own `Headers` much faster than it reads the
    // members of an object.
    let headers = web_sys::Headers::new()?;
    // No browser may guess another content type (Fetch Standard, "nosniff").
    headers.set("x-content-type-options", "nosniff")?;
    for (name, value) in fields {
        headers.set(name, value)?;
    }
    let options: ResponseOptions = js_sys::Object::new().unchecked_into();
    options.set_status(status);
    options.set_headers(&headers);
    Ok(options)
}

/// A longer list of fields, in bytes, is not remembered.
const REMEMBERED_BYTES_MAX: usize = 2048;

fn remembered_options<'f>(
    status: u16,
    fields: impl Iterator<Item = (&'f str, &'f str)> + Clone,
) -> Result<ResponseOptions, JsValue> {
    let mut name = status.to_string();
    name.reserve(512);
    for (field, value) in fields.clone() {
        name.extend(["\n", field, ":", value]);
    }
    let is_remembered = name.len() <= REMEMBERED_BYTES_MAX;
    let mut heads = Isolate::current().response_heads.borrow_mut();
    heads.touch(&name);
    if let Some(options) = heads.get(&name) {
        return Ok(options.unchecked_ref::<ResponseOptions>().clone());
    }
    let headers = web_sys::Headers::new()?;
    for (name, value) in fields {
        headers.append(name, value)?;
    }
    let options: ResponseOptions = js_sys::Object::new().unchecked_into();
    options.set_status(status);
    options.set_headers(&headers);
    options.set_encode_body("manual");
    if is_remembered {
        // The value is the runtime's copy of the same text, so it has about its length.
        heads.insert(&name, options.clone().unchecked_into(), name.len());
    }
    Ok(options)
}
