//! Request bodies that are read completely into memory.

use http_semantics::request_body::{self, RequestBodyError};
use wasm_bindgen::prelude::*;
use worker::web_sys;

use super::request_context::RequestContext;

#[wasm_bindgen(module = "/src/platform/glue/request.js")]
extern "C" {
    /// Reads the body of a request into an `ArrayBuffer`. Resolves to `null` if it has more than
    /// `bytes_max` bytes; rejects if it breaks off.
    fn bytes(request: &web_sys::Request, bytes_max: f64) -> js_sys::Promise;
}

impl RequestContext {
    /// Reads a whole body that is known to have at most `length` bytes. The time limit depends on
    /// `length`.
    #[cfg(any(feature = "cache", feature = "storefronts", feature = "writes"))]
    pub(crate) async fn body_bytes(&self, length: u64) -> Result<js_sys::ArrayBuffer, RequestBodyError> {
        let reading = self.request().array_buffer().map_err(|_| RequestBodyError::Incomplete)?;
        self.whole(reading, length).await.map(JsCast::unchecked_into)
    }

    /// Reads a whole body of at most `bytes_max` bytes into WebAssembly, whether or not its length
    /// is known.
    #[cfg(feature = "json-api")]
    pub(crate) async fn short_body(&self, bytes_max: u32) -> Result<Vec<u8>, RequestBodyError> {
        let body = self.body_up_to(bytes_max).await?;
        Ok(js_sys::Uint8Array::new(&body).to_vec())
    }

    /// Reads a whole body of at most `bytes_max` bytes, whether or not its length is known.
    #[cfg(feature = "json-api")]
    pub(crate) async fn body_up_to(&self, bytes_max: u32) -> Result<js_sys::ArrayBuffer, RequestBodyError> {
        let reading = bytes(self.request(), f64::from(bytes_max));
        let body = self.whole(reading, u64::from(bytes_max)).await?;
        if body.is_null() { Err(RequestBodyError::TooLong) } else { Ok(body.unchecked_into()) }
    }

    /// Awaits the reading of a body of at most this many bytes, for as long as
    /// [`request_body::deadline`] allows.
    async fn whole(&self, reading: js_sys::Promise, bytes: u64) -> Result<JsValue, RequestBodyError> {
        let read = self.deadlines().settled_within(request_body::deadline(bytes), reading).await;
        read.ok_or(RequestBodyError::TimedOut)?.map_err(|_| RequestBodyError::Incomplete)
    }
}
