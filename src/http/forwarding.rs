//! Requests to other servers, and their responses passed back. Header fields are read one by one
//! and changed in one call. A whole header section crosses into WebAssembly only for the responses
//! to requests of the cache, whether they are stored or not.

use std::borrow::Cow;
use std::time::Duration;

#[cfg(feature = "cache")]
use http_semantics::fields::HeaderSection;
use http_semantics::fields::{Fields, HeaderEdits};
use wasm_bindgen::prelude::*;
use worker::web_sys::{Headers, Request, Response};

use crate::http::request_context::RequestContext;
#[cfg(feature = "cache")]
use crate::http::response;
use crate::http::stream;
use crate::platform::meter::Metered;
#[cfg(feature = "cache")]
use crate::platform::promise::Deadlines;

#[wasm_bindgen(module = "/src/platform/glue/forwarding.js")]
extern "C" {
    fn names(message: &JsValue) -> String;
    fn status(response: &Response, names: &str) -> String;
    fn field(message: &JsValue, name: &str) -> Option<String>;
    #[wasm_bindgen(js_name = send, catch)]
    fn send_to(
        url: &str,
        request: Option<&Request>,
        method: &str,
        body: &JsValue,
        edits: &str,
        keeps_coding: bool,
    ) -> Result<js_sys::Promise, JsValue>;
    #[wasm_bindgen(js_name = discardLate)]
    fn discard_late(response: &js_sys::Promise);
    fn head(response: &Response) -> String;
    #[wasm_bindgen(js_name = respond, catch)]
    fn respond_with(status: u16, lines: &str, edits: &str, body: &JsValue) -> Result<Response, JsValue>;
    #[wasm_bindgen(js_name = passBack, catch)]
    fn pass_back_with(received: &Response, edits: &str, body: &JsValue) -> Result<Response, JsValue>;
    #[wasm_bindgen(js_name = changed, catch)]
    fn change(received: &Response, edits: &str) -> Result<Response, JsValue>;
}

#[wasm_bindgen]
extern "C" {
    /// A request or a response.
    type HttpMessage;
    #[wasm_bindgen(method, getter)]
    fn headers(this: &HttpMessage) -> CookieHeaders;

    /// A method of `Headers` that `web_sys` does not have.
    #[wasm_bindgen(extends = Headers)]
    type CookieHeaders;
    #[wasm_bindgen(method, js_name = getSetCookie)]
    fn get_set_cookie(this: &CookieHeaders) -> js_sys::Array;
}

/// The header fields of a request or a response, restricted to `names`.
pub(crate) struct MessageFields<'a> {
    message: &'a JsValue,
    names: Cow<'a, str>,
}

impl<'a> MessageFields<'a> {
    /// Returns all fields of a request.
    pub(crate) fn of_request(request: &'a Request) -> Self {
        Self { message: request, names: Cow::Owned(names(request)) }
    }

    /// Returns the fields of a request that have these names.
    #[cfg(feature = "cache")]
    pub(crate) fn with_names(request: &'a Request, names: &'a str) -> Self {
        Self { message: request, names: Cow::Borrowed(names) }
    }
}

/// A response without its body.
#[cfg(feature = "cache")]
pub(crate) struct ResponseHead {
    /// The status code.
    pub(crate) status: u16,
    /// True if there is a body, however short.
    pub(crate) has_body: bool,
    /// All header fields.
    pub(crate) fields: HeaderSection,
}

#[cfg(feature = "cache")]
impl ResponseHead {
    /// Reads the head of a response.
    #[expect(clippy::expect_used, reason = "a response without its status could be taken for any other one")]
    pub(crate) fn of(response: &Response) -> Self {
        let text = head(response);
        let (line, fields) = text.split_once('\n').expect("`head` of forwarding.js ends its first line");
        let (status, has_body) = line.split_once(' ').expect("`head` of forwarding.js writes two words");
        let status = status.parse().expect("the first word is the status");
        Self { status, has_body: has_body == "body", fields: HeaderSection::parse(fields.to_owned()) }
    }
}

/// Returns a response with these header fields after the edits. The body has the content coding
/// that they name.
#[cfg(feature = "cache")]
pub(crate) fn respond(
    status: u16,
    fields: &HeaderSection,
    edits: &HeaderEdits<'_>,
    body: &JsValue,
) -> Result<Response, JsValue> {
    respond_with(status, fields.as_str(), &lines_of_response(edits), body)
}

/// Returns a response of another server with its own header fields after the edits. The body has
/// the content coding that they name. Bytes above 0x7F in fields that are not changed arrive as
/// they are.
#[cfg(feature = "cache")]
pub(crate) fn pass_back(received: &Response, edits: &HeaderEdits<'_>, body: &JsValue) -> Result<Response, JsValue> {
    pass_back_with(received, &lines_of_response(edits), body)
}

/// Returns the edits of a response as text, with the field that every response has for Workers
/// Cache.
#[cfg(feature = "cache")]
fn lines_of_response(edits: &HeaderEdits<'_>) -> String {
    match response::for_workers_cache() {
        Some((name, value)) => {
            let mut edits = edits.clone();
            edits.set(name, value);
            edits.to_lines()
        }
        None => edits.to_lines(),
    }
}

/// Returns the body of a response, read to its end; `None` if that takes longer than the deadline.
/// The error is what the runtime threw.
#[cfg(feature = "cache")]
pub(crate) async fn read_body(
    response: &Response,
    deadlines: &Deadlines,
    deadline: Duration,
) -> Result<Option<js_sys::ArrayBuffer>, JsValue> {
    let body = deadlines.settled_within(deadline, response.array_buffer()?).await.transpose()?;
    Ok(body.map(JsCast::unchecked_into))
}

/// Cancels the body of a response that nobody reads, so that its connection is free again.
pub(crate) fn discard(response: &Response) {
    if let Some(body) = response.body() {
        stream::cancel(&body);
    }
}

/// A response of another server: its status, and the fields that a decision needs.
#[cfg(feature = "storefronts")]
pub(crate) struct UpstreamResponse {
    response: Response,
    /// The status code.
    pub(crate) status: u16,
    names: String,
}

#[cfg(feature = "storefronts")]
impl UpstreamResponse {
    /// Reads the status, and which of these fields the response has. `fields` are separated by
    /// commas.
    #[expect(clippy::expect_used, reason = "a response without its status could be taken for any other one")]
    fn new(response: Response, fields: &str) -> Self {
        let found = status(&response, fields);
        let (status, names) = found.split_once(',').unwrap_or((&found, ""));
        let status = status.parse().expect("`status` of forwarding.js begins with a number");
        Self { status, names: names.to_owned(), response }
    }

    /// Returns the fields that were asked for when the request was sent.
    pub(crate) fn fields(&self) -> MessageFields<'_> {
        MessageFields { message: &self.response, names: Cow::Borrowed(&self.names) }
    }

    /// Returns the response with changed header fields; the runtime copies the fields, because
    /// those of a received response are immutable. Body and WebSocket are passed on untouched.
    pub(crate) fn changed(&self, edits: &HeaderEdits<'_>) -> Result<Response, JsValue> {
        change(&self.response, &edits.to_lines())
    }

    /// Cancels the body of a response that nobody reads, so that its connection is free again.
    pub(crate) fn discard(&self) {
        discard(&self.response);
    }
}

impl Fields for MessageFields<'_> {
    fn names(&self) -> &str {
        &self.names
    }

    fn get(&self, name: &str) -> Option<String> {
        if self.has(name) { field(self.message, name) } else { None }
    }

    #[expect(clippy::expect_used, reason = "a cookie that is left out would log a visitor out")]
    fn set_cookies(&self) -> Vec<String> {
        let lines = self.message.unchecked_ref::<HttpMessage>().headers().get_set_cookie();
        lines.iter().map(|line| line.as_string().expect("`getSetCookie` returns strings")).collect()
    }
}

/// A request to another server. Redirects are not followed, but returned.
pub(crate) struct UpstreamRequest<'a> {
    /// The context of the request for which this one is sent.
    pub(crate) context: &'a RequestContext,
    /// The request whose header fields are forwarded; `None` for a request that kv-edge makes
    /// itself.
    pub(crate) request: Option<&'a Request>,
    /// The method.
    pub(crate) method: &'a str,
    /// The body: a stream, bytes, or `undefined`.
    pub(crate) body: &'a JsValue,
    /// The changes to the header fields.
    pub(crate) edits: &'a HeaderEdits<'a>,
}

impl UpstreamRequest<'_> {
    /// Sends the request. Returns `None` if no response has begun by the deadline. `fields` are
    /// the names of the response's fields that a decision needs, separated by commas. The error is
    /// what the runtime threw.
    #[cfg(feature = "storefronts")]
    pub(crate) async fn send(
        &self,
        url: &str,
        deadline: Duration,
        fields: &str,
    ) -> Result<Option<UpstreamResponse>, JsValue> {
        let response = self.fetch(url, deadline, false).await?;
        Ok(response.map(|response| UpstreamResponse::new(response, fields)))
    }

    /// Sends the request as `send` does, but returns the runtime's response, whose body keeps the
    /// content coding that the server gave it.
    #[cfg(feature = "cache")]
    pub(crate) async fn send_encoded(&self, url: &str, deadline: Duration) -> Result<Option<Response>, JsValue> {
        self.fetch(url, deadline, true).await
    }

    async fn fetch(&self, url: &str, deadline: Duration, keeps_coding: bool) -> Result<Option<Response>, JsValue> {
        let edits = self.edits.to_lines();
        let response = send_to(url, self.request, self.method, self.body, &edits, keeps_coding)?;
        self.context.meter().count(Metered::UpstreamCall);
        let Some(settled) = self.context.deadlines().settled_within(deadline, response.clone()).await else {
            discard_late(&response);
            return Ok(None);
        };
        Ok(Some(settled?.unchecked_into()))
    }
}
