//! Bodies of requests that are read whole.

use http_semantics::request_body::{self, NoBody};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;

use crate::platform::deadline;

/// What reading a body of so many bytes comes to. No body that is read whole is read without a deadline.
pub(crate) async fn whole(reading: js_sys::Promise, bytes: u64) -> Result<JsValue, NoBody> {
    let read = deadline::within(request_body::deadline(bytes), JsFuture::from(reading)).await;
    read.ok_or(NoBody::Late)?.map_err(|_| NoBody::Broken)
}
