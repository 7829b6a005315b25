//! Exceptions that JavaScript throws.

use wasm_bindgen::{JsCast, JsValue};

/// Returns the message of an exception, without its stack.
pub(crate) fn message_of(thrown: &JsValue) -> String {
    match thrown.dyn_ref::<js_sys::Error>() {
        Some(error) => error.message().into(),
        None => thrown.as_string().unwrap_or_else(|| "an exception without a message".to_owned()),
    }
}
