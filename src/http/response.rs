//! Responses, made with as few calls into the runtime as possible. Those of the cache and of
//! upstreams are made in `forwarding.rs`.

use http_semantics::workers_cache;
use wasm_bindgen::prelude::*;
use worker::web_sys;

use crate::isolate::Isolate;
use crate::platform::vars::Vars;

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

/// `Cache-Control` of a response that caches may store, but that may change at any time (RFC 9111
/// §5.2.2.4).
#[cfg(feature = "assets")]
pub(crate) const NO_CACHE: (&str, &str) = ("cache-control", "no-cache");

/// Returns a 200 with these fields and `nosniff`. The fields recur, so the runtime's form of them
/// is remembered.
pub(crate) fn ok(body: &JsValue, fields: &[(&str, &str)]) -> Result<web_sys::Response, JsValue> {
    let nosniff = [("x-content-type-options", "nosniff")];
    encoded(200, body, nosniff.into_iter().chain(fields.iter().copied()))
}

/// Returns the field that keeps a response out of Workers Cache if hosts name storefronts: that
/// cache ignores the host, so a storefront's visitor would get the response of a platform host.
pub(crate) fn for_workers_cache() -> Option<(&'static str, &'static str)> {
    Vars::hosts_name_storefronts().then_some(workers_cache::NO_STORE)
}

/// Adds what every response says to caches. A cache may reuse a response without `Cache-Control`
/// for a heuristic time (RFC 9111 §4.2.2), so one that has none says `no-store`.
fn with_cache_fields<'f>(
    fields: impl Iterator<Item = (&'f str, &'f str)> + Clone,
) -> impl Iterator<Item = (&'f str, &'f str)> + Clone {
    let is_silent = !fields.clone().any(|(name, _)| name == "cache-control");
    let no_store = is_silent.then_some(("cache-control", "no-store"));
    let workers_cache_field = for_workers_cache();
    // `_headers` may set the same field.
    let others = fields.filter(move |(name, _)| workers_cache_field.is_none_or(|(replaced, _)| *name != replaced));
    others.chain(no_store).chain(workers_cache_field)
}

/// Returns a response with these fields, which recur and are remembered as those of [`ok`], and a
/// body that has the content coding they name already. It adds no `nosniff`: files bring their
/// own.
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
    for (name, value) in with_cache_fields(fields.iter().copied()) {
        headers.set(name, value)?;
    }
    let options: ResponseOptions = js_sys::Object::new().unchecked_into();
    options.set_status(status);
    options.set_headers(&headers);
    Ok(options)
}

/// The longest status and fields that are remembered, in bytes.
const REMEMBERED_BYTES_MAX: usize = 2048;

fn remembered_options<'f>(
    status: u16,
    fields: impl Iterator<Item = (&'f str, &'f str)> + Clone,
) -> Result<ResponseOptions, JsValue> {
    let fields = with_cache_fields(fields);
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
