//! `GET /get-started`: the documented first steps (KV documentation, "Getting started").

use std::time::Duration;

use kv_store::limits::Key;
use kv_store::retry::Backoff;
use kv_store::store_error::ValueNotFound;
use wasm_bindgen::JsValue;
use worker::web_sys;

use crate::http::error::RequestError;
use crate::http::request_context::RequestContext;
use crate::http::response;
use crate::kv::ReadOptions;
use crate::kv::put::PutValue;

const USER: Key<'static> = Key::literal("user_2");

const DISABLED: &str = "disabled";

/// Puts `user_2` = `disabled`, reads it back and responds with the value. HEAD is safe (RFC 9110
/// §9.2.1): it writes nothing, and responds as GET would, as long as KV can be read.
pub(crate) async fn handle(context: &RequestContext) -> Result<web_sys::Response, RequestError> {
    let store = context.env().notifications();
    // Each request must write, so no cache may respond.
    let mut fields = vec![("content-type", "text/plain; charset=utf-8"), ("cache-control", "no-store")];
    if context.method() == "HEAD" {
        store.read_with_retry(&USER, &ReadOptions::TEXT).await?;
        let length = DISABLED.len().to_string();
        fields.push(("content-length", &length));
        return Ok(response::ok(&JsValue::NULL, &fields)?);
    }
    let put_deadline = Duration::from_millis(Backoff::PUT_OF_CLIENT.deadline_ms);
    store.put_within(put_deadline, &USER, &PutValue::text(DISABLED), None).await?;
    let value = store.read_with_retry(&USER, &ReadOptions::TEXT).await?.ok_or(ValueNotFound)?;
    Ok(response::ok(&value, &fields)?)
}
