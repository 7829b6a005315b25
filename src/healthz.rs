//! `GET /healthz`: the Worker runs, and which build it is.

use wasm_bindgen::JsValue;
use worker::web_sys;

use crate::error::Failure;
use crate::response;

const HEALTH: &str = concat!("{\"status\":\"ok\",\"version\":\"", env!("CARGO_PKG_VERSION"), "\"}");

/// Answers without touching KV.
pub(crate) fn answer() -> Result<web_sys::Response, Failure> {
    response::ok(&JsValue::from_str(HEALTH), &[("content-type", "application/json"), ("cache-control", "no-store")])
}
