//! The header fields of a request that the Worker itself answers: some are read from JavaScript in
//! one call in advance, any other when a decision needs it. Fields of a request that may be
//! forwarded are read as `MessageFields`.

use std::cell::OnceCell;

use http_semantics::fields::{Fields, HeaderSection};
use wasm_bindgen::prelude::*;
use worker::web_sys;

use super::request_context::RequestContext;

#[wasm_bindgen(module = "/src/platform/glue/request.js")]
extern "C" {
    /// Returns the fields of these names that a request has, in the form that
    /// [`HeaderSection::parse`] reads.
    fn found(request: &web_sys::Request, names: &str) -> String;
    /// `Accept-Encoding` as the client sent it.
    #[wasm_bindgen(js_name = acceptEncoding)]
    fn accept_encoding(request: &web_sys::Request) -> Option<String>;
}

#[wasm_bindgen(module = "/src/platform/glue/forwarding.js")]
extern "C" {
    fn names(message: &JsValue) -> String;
}

impl RequestContext {
    /// Returns the header fields. Those that `prefetched` lists, separated by commas, are read in
    /// one call; any other is read when a decision asks for it.
    pub(crate) fn headers(&self, prefetched: &'static str) -> RequestHeaders<'_> {
        let lines = if prefetched.is_empty() {
            HeaderSection::default()
        } else {
            HeaderSection::parse(found(self.request(), prefetched))
        };
        RequestHeaders { context: self, prefetched, lines, names: OnceCell::new() }
    }
}

/// The header fields of a request. `Accept-Encoding` is the one that the client sent, because the
/// platform replaces the field; it is never one of `prefetched`.
pub(crate) struct RequestHeaders<'a> {
    context: &'a RequestContext,
    prefetched: &'static str,
    /// Those of `prefetched` that the request has.
    lines: HeaderSection,
    /// The names of all fields, if a caller asked for them.
    names: OnceCell<String>,
}

impl Fields for RequestHeaders<'_> {
    fn names(&self) -> &str {
        self.names.get_or_init(|| names(self.context.request()))
    }

    fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn get(&self, name: &str) -> Option<String> {
        match name {
            _ if self.prefetched.split(',').any(|listed| listed == name) => self.lines.get(name),
            "accept-encoding" => accept_encoding(self.context.request()),
            _ => self.context.header(name),
        }
    }

    fn set_cookies(&self) -> Vec<String> {
        // A response has this field; a request has it at most by mistake.
        self.get("set-cookie").into_iter().collect()
    }
}
