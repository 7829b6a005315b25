//! The request as a job sees it: nothing is copied across the JavaScript boundary before a job asks for it.

use std::future::Future;
use std::rc::Rc;

use http_semantics::authorization::{NotAuthorized, is_bearer};
use http_semantics::fields::{Fields, Lines};
use http_semantics::request_body::NoBody;
use wasm_bindgen::prelude::*;
use worker::{Context, web_sys};

use crate::http::message::MessageFields;
use crate::http::request_body::whole;
use crate::platform::bindings::{Bindings, Vars};
use crate::platform::log::RequestLog;

#[wasm_bindgen(module = "/src/http/incoming.js")]
extern "C" {
    /// Method and URL of a request, with a space between them.
    pub(crate) fn head(request: &web_sys::Request) -> String;
    /// Those of these header fields that a request has, as [`Lines`] reads them.
    fn found(request: &web_sys::Request, names: &str) -> String;
    /// `Accept-Encoding` as the client sent it.
    #[wasm_bindgen(js_name = acceptEncoding)]
    fn accept_encoding(request: &web_sys::Request) -> Option<String>;
    /// The body of a request as an `ArrayBuffer`; `null` where it has more than so many bytes. Rejects where it breaks off.
    fn bytes(request: &web_sys::Request, most: f64) -> js_sys::Promise;
}

/// One request, with the bindings and the context it runs in.
pub(crate) struct Incoming {
    request: Rc<web_sys::Request>,
    method: String,
    env: Bindings,
    context: Context,
    log: RequestLog,
}

impl Incoming {
    pub(crate) fn new(request: web_sys::Request, method: String, env: Bindings, context: Context) -> Self {
        let request = Rc::new(request);
        let log = RequestLog::new(&request);
        Self { request, method, env, context, log }
    }

    /// The method, as it was sent.
    pub(crate) fn method(&self) -> &str {
        &self.method
    }

    /// The header fields, with their names.
    pub(crate) fn fields(&self) -> MessageFields<'_> {
        MessageFields::of_request(&self.request)
    }

    /// A header field, its lines joined with commas (RFC 9110 §5.3).
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.request.headers().get(name).ok().flatten()
    }

    /// The header fields, each asked for when it matters. For these, separated by commas, the request is looked through at once.
    pub(crate) fn asked(&self, at_once: &'static str) -> AskedFields<'_> {
        let lines = if at_once.is_empty() { Lines::default() } else { Lines::parse(found(&self.request, at_once)) };
        AskedFields { incoming: self, at_once, lines }
    }

    /// True where the platform has a body of the request, be it an empty one.
    pub(crate) fn has_body(&self) -> bool {
        self.request.body().is_some()
    }

    /// The body as a stream, to be handed on untouched; `null` where there is none.
    pub(crate) fn body(&self) -> JsValue {
        self.request.body().map_or(JsValue::NULL, Into::into)
    }

    /// The whole body, in memory: for those whose length is known and at most this one.
    pub(crate) async fn body_bytes(&self, length: u64) -> Result<js_sys::ArrayBuffer, NoBody> {
        let reading = self.request.array_buffer().map_err(|_| NoBody::Broken)?;
        whole(reading, length).await.map(JsCast::unchecked_into)
    }

    /// Checks that the request has the token, as all that changes something or tells of users asks for.
    pub(crate) fn authorize(&self) -> Result<(), NotAuthorized> {
        let vars = self.vars();
        let token = vars.token.as_deref().ok_or(NotAuthorized::NoToken)?;
        if is_bearer(self.header("authorization").as_deref(), token) { Ok(()) } else { Err(NotAuthorized::WrongToken) }
    }

    /// The whole body, of up to so many bytes, whether or not its length is known.
    pub(crate) async fn short_body(&self, bytes_max: u32) -> Result<Vec<u8>, NoBody> {
        let reading = bytes(&self.request, f64::from(bytes_max));
        let body = whole(reading, u64::from(bytes_max)).await?;
        if body.is_null() { Err(NoBody::TooLong) } else { Ok(js_sys::Uint8Array::new(&body).to_vec()) }
    }

    /// The bindings.
    pub(crate) fn env(&self) -> &Bindings {
        &self.env
    }

    /// The vars, read once an isolate.
    pub(crate) fn vars(&self) -> Rc<Vars> {
        Vars::of(&self.env)
    }

    /// The request itself, to be sent on.
    pub(crate) fn request(&self) -> &web_sys::Request {
        &self.request
    }

    /// The log, for the lines of this request.
    pub(crate) fn log(&self) -> &RequestLog {
        &self.log
    }

    /// Goes on with work after the response is sent.
    pub(crate) fn wait_until(&self, work: impl Future<Output = ()> + 'static) {
        self.context.wait_until(work);
    }
}

/// The header fields of a request. `Accept-Encoding` is the client's own: the platform puts another in its place.
pub(crate) struct AskedFields<'a> {
    incoming: &'a Incoming,
    at_once: &'static str,
    /// Those of `at_once` that are there.
    lines: Lines,
}

impl Fields for AskedFields<'_> {
    fn names(&self) -> &str {
        self.lines.names()
    }

    fn has(&self, name: &str) -> bool {
        // What was not looked for may be there.
        !self.at_once.split(',').any(|looked_for| looked_for == name) || self.lines.has(name)
    }

    fn get(&self, name: &str) -> Option<String> {
        match self.lines.get(name) {
            Some(value) => Some(value),
            None if name == "accept-encoding" => accept_encoding(&self.incoming.request),
            None => self.incoming.header(name),
        }
    }

    fn set_cookies(&self) -> Vec<String> {
        Vec::new()
    }
}
