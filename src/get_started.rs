//! `GET /get-started`: the documented first steps (KV documentation, "Getting started").

use kv_edge_core::limits::Key;
use wasm_bindgen::JsValue;
use worker::web_sys;

use crate::error::Failure;
use crate::incoming::Incoming;
use crate::kv::Value;
use crate::response;

const USER: Key<'static> = Key::literal("user_2");

/// Puts `user_2` = `disabled`, reads it back and answers the value.
pub(crate) async fn answer(incoming: &Incoming) -> Result<web_sys::Response, Failure> {
    let store = incoming.env().notifications();
    store.put(&USER, &Value::text("disabled"), None).await?;
    let value = store.text(&USER).await?.ok_or_else(Failure::value_not_found)?;
    response::ok(&JsValue::from_str(&value), &[("content-type", "text/plain; charset=utf-8")])
}
