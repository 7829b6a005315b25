//! Responses, made with as few calls into the runtime as it takes.

use std::cell::RefCell;
use std::collections::BTreeMap;

use wasm_bindgen::prelude::*;
use worker::web_sys;

use crate::error::Failure;

#[wasm_bindgen]
extern "C" {
    /// The runtime's `Response`, whose constructor takes any body.
    #[wasm_bindgen(js_name = Response)]
    type AnyResponse;
    #[wasm_bindgen(constructor, catch, js_class = "Response")]
    fn new(body: &JsValue, init: &Init) -> Result<AnyResponse, JsValue>;

    /// The options of a response.
    #[wasm_bindgen(extends = js_sys::Object)]
    #[derive(Clone)]
    type Init;
    #[wasm_bindgen(method, setter)]
    fn set_status(this: &Init, status: u16);
    #[wasm_bindgen(method, setter)]
    fn set_headers(this: &Init, headers: &web_sys::Headers);
}

/// `Cache-Control` of an answer whose entity tag must arrive as it is (RFC 9111 §5.2.2.6).
pub(crate) const KEPT_AS_IT_IS: &str = "no-store, no-transform";

/// Header fields of an answer.
pub(crate) type Fields<'a> = [(&'a str, &'a str)];

/// 200 with fields of which there are few different sets: the runtime's form of a set is made once and kept.
pub(crate) fn ok(body: &JsValue, fields: &Fields<'_>) -> Result<web_sys::Response, Failure> {
    respond(body, &kept_init(fields)?).map_err(|thrown| Failure::internal(&thrown))
}

/// An answer with fields that are not worth keeping.
pub(crate) fn with_status(status: u16, body: &JsValue, fields: &Fields<'_>) -> Result<web_sys::Response, JsValue> {
    respond(body, &init(status, fields)?)
}

/// A body of bytes; UTF-8 need not become UTF-16 and back.
pub(crate) fn bytes(body: &[u8]) -> JsValue {
    js_sys::Uint8Array::from(body).into()
}

fn respond(body: &JsValue, init: &Init) -> Result<web_sys::Response, JsValue> {
    AnyResponse::new(body, init).map(JsCast::unchecked_into)
}

fn init(status: u16, fields: &Fields<'_>) -> Result<Init, JsValue> {
    // Not a plain object: the runtime copies its own `Headers` much faster than it reads the members of an object.
    let headers = web_sys::Headers::new()?;
    // No browser shall take an answer for something else than it says (Fetch Standard, "nosniff").
    headers.set("x-content-type-options", "nosniff")?;
    for (name, value) in fields {
        headers.set(name, value)?;
    }
    let init: Init = js_sys::Object::new().unchecked_into();
    init.set_status(status);
    init.set_headers(&headers);
    Ok(init)
}

/// More sets than the jobs have; past it a set is made anew each time.
const KEPT_MAX: usize = 128;

fn kept_init(fields: &Fields<'_>) -> Result<Init, Failure> {
    thread_local!(static KEPT: RefCell<BTreeMap<String, Init>> = RefCell::default());
    let mut name = String::with_capacity(64);
    for (field, value) in fields {
        name.push_str(field);
        name.push(':');
        name.push_str(value);
        name.push('\n');
    }
    KEPT.with_borrow_mut(|kept| {
        if let Some(init) = kept.get(&name) {
            return Ok(init.clone());
        }
        let init = init(200, fields).map_err(|thrown| Failure::internal(&thrown))?;
        if kept.len() < KEPT_MAX {
            kept.insert(name, init.clone());
        }
        Ok(init)
    })
}
