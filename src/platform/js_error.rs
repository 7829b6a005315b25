//! Exceptions that JavaScript throws, and those that are thrown to it.

#[cfg(feature = "durable-objects")]
use std::fmt::Display;

use wasm_bindgen::{JsCast, JsValue};

/// Returns the message of an exception, without its stack.
pub(crate) fn message_of(thrown: &JsValue) -> String {
    match thrown.dyn_ref::<js_sys::Error>() {
        Some(error) => error.message().into(),
        None => thrown.as_string().unwrap_or_else(|| "an exception without a message".to_owned()),
    }
}

/// Returns the text of an error, for a Durable Object to throw. It is for the log; no client sees
/// it.
#[cfg(feature = "durable-objects")]
pub(crate) fn exception(error: &dyn Display) -> JsValue {
    JsValue::from_str(&error.to_string())
}
