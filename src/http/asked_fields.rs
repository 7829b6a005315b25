//! The header fields of a request, each asked for when it matters.

use std::cell::OnceCell;

use http_semantics::fields::{Fields, Lines};
use wasm_bindgen::prelude::*;
use worker::web_sys;

use super::incoming::Incoming;

#[wasm_bindgen(module = "/src/platform/glue/incoming.js")]
extern "C" {
    /// Those of these header fields that a request has, as [`Lines`] reads them.
    fn found(request: &web_sys::Request, names: &str) -> String;
    /// `Accept-Encoding` as the client sent it.
    #[wasm_bindgen(js_name = acceptEncoding)]
    fn accept_encoding(request: &web_sys::Request) -> Option<String>;
}

#[wasm_bindgen(module = "/src/platform/glue/message.js")]
extern "C" {
    fn names(message: &JsValue) -> String;
}

impl Incoming {
    /// The header fields, each asked for when it matters. For these, separated by commas, the
    /// request is looked through at once.
    pub(crate) fn asked(&self, at_once: &'static str) -> AskedFields<'_> {
        let lines = if at_once.is_empty() { Lines::default() } else { Lines::parse(found(self.request(), at_once)) };
        AskedFields { incoming: self, at_once, lines, names: OnceCell::new() }
    }
}

/// The header fields of a request. `Accept-Encoding` is the client's own: the platform puts
/// another in its place.
pub(crate) struct AskedFields<'a> {
    incoming: &'a Incoming,
    at_once: &'static str,
    /// Those of `at_once` that are there.
    lines: Lines,
    /// Of all fields, for who asks.
    names: OnceCell<String>,
}

impl Fields for AskedFields<'_> {
    fn names(&self) -> &str {
        self.names.get_or_init(|| names(self.incoming.request()))
    }

    fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn get(&self, name: &str) -> Option<String> {
        match name {
            _ if self.at_once.split(',').any(|looked_for| looked_for == name) => self.lines.get(name),
            "accept-encoding" => accept_encoding(self.incoming.request()),
            _ => self.incoming.header(name),
        }
    }

    fn set_cookies(&self) -> Vec<String> {
        // No request has more than a stray one.
        self.get("set-cookie").into_iter().collect()
    }
}
