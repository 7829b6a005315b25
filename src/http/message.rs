//! Requests that are passed on and answers that are passed back: header fields are read one by one and changed in one go, and
//! never cross into WebAssembly as a whole.

use std::borrow::Cow;
use std::time::Duration;

#[cfg(feature = "cache")]
use http_semantics::fields::Lines;
use http_semantics::fields::{Edits, Fields};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::web_sys::{Headers, Request, Response};

use crate::http::stream;

#[wasm_bindgen(module = "/src/platform/glue/message.js")]
extern "C" {
    fn names(message: &JsValue) -> String;
    fn status(answer: &Response, names: &str) -> String;
    fn field(message: &JsValue, name: &str) -> Option<String>;
    #[wasm_bindgen(js_name = send, catch)]
    fn send_to(
        url: &str,
        request: Option<&Request>,
        method: &str,
        body: &JsValue,
        edits: &str,
        milliseconds: f64,
        encode_response_body: Option<&str>,
    ) -> Result<js_sys::Promise, JsValue>;
    #[wasm_bindgen(js_name = lines)]
    fn all_lines(message: &Response) -> String;
    #[wasm_bindgen(js_name = answer, catch)]
    fn answer_with(status: u16, lines: &str, edits: &str, body: &JsValue) -> Result<Response, JsValue>;
    #[wasm_bindgen(js_name = passedOn, catch)]
    fn pass_on(received: &Response, edits: &str, body: &JsValue) -> Result<Response, JsValue>;
    #[wasm_bindgen(js_name = changed, catch)]
    fn change(received: &Response, edits: &str) -> Result<Response, JsValue>;
}

#[wasm_bindgen]
extern "C" {
    /// A request or an answer.
    type Message;
    #[wasm_bindgen(method, getter)]
    fn headers(this: &Message) -> CookieHeaders;

    /// What `web_sys` does not know of `Headers`.
    #[wasm_bindgen(extends = Headers)]
    type CookieHeaders;
    #[wasm_bindgen(method, js_name = getSetCookie)]
    fn get_set_cookie(this: &CookieHeaders) -> js_sys::Array;
}

/// The header fields of a request or an answer that are named here.
pub(crate) struct MessageFields<'a> {
    message: &'a JsValue,
    names: Cow<'a, str>,
}

impl<'a> MessageFields<'a> {
    /// All fields of a request.
    pub(crate) fn of_request(request: &'a Request) -> Self {
        Self { message: request, names: Cow::Owned(names(request)) }
    }

    /// The fields of a request whose names are known already.
    #[cfg(feature = "cache")]
    pub(crate) fn with_names(request: &'a Request, names: &'a str) -> Self {
        Self { message: request, names: Cow::Borrowed(names) }
    }
}

/// All header fields of an answer.
#[cfg(feature = "cache")]
pub(crate) fn lines(answer: &Response) -> Lines {
    Lines::parse(all_lines(answer))
}

/// An answer with these header fields, changed, and a body that is encoded already as they say.
#[cfg(feature = "cache")]
pub(crate) fn answer(status: u16, fields: &Lines, edits: &Edits<'_>, body: &JsValue) -> Result<Response, JsValue> {
    answer_with(status, fields.as_str(), &edits.to_lines(), body)
}

/// Returns an answer of another server with its own header fields, changed, and a body that is encoded already as they say. Bytes
/// over 0x7F in fields that are not changed stay what they are.
#[cfg(feature = "cache")]
pub(crate) fn passed_on(received: &Response, edits: &Edits<'_>, body: &JsValue) -> Result<Response, JsValue> {
    pass_on(received, &edits.to_lines(), body)
}

/// Ends an answer that nobody reads, so that its connection is free.
pub(crate) fn discard(answer: &Response) {
    if let Some(body) = answer.body() {
        stream::end(&body);
    }
}

/// An answer of another server: its status, and those of its fields that matter.
#[cfg(feature = "storefronts")]
pub(crate) struct Received {
    response: Response,
    /// The status, as HTTP has it.
    pub(crate) status: u16,
    names: String,
}

#[cfg(feature = "storefronts")]
impl Received {
    /// Looks at an answer for these fields, which are separated by commas.
    #[expect(clippy::expect_used, reason = "an answer without its status could be taken for any other one")]
    fn new(response: Response, fields: &str) -> Self {
        let found = status(&response, fields);
        let (status, names) = found.split_once(',').unwrap_or((&found, ""));
        let status = status.parse().expect("`status` of message.js begins with a number");
        Self { status, names: names.to_owned(), response }
    }

    /// The fields that were looked for.
    pub(crate) fn fields(&self) -> MessageFields<'_> {
        MessageFields { message: &self.response, names: Cow::Borrowed(&self.names) }
    }

    /// The answer with changed header fields; its own are immutable, so the runtime copies them. Body and WebSocket are passed
    /// on.
    pub(crate) fn changed(&self, edits: &Edits<'_>) -> Result<Response, JsValue> {
        change(&self.response, &edits.to_lines())
    }

    /// Ends an answer that nobody reads, so that its connection is free.
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

    fn set_cookies(&self) -> Vec<String> {
        let lines = self.message.unchecked_ref::<Message>().headers().get_set_cookie();
        lines.iter().filter_map(|line| line.as_string()).collect()
    }
}

/// A request that goes to another server.
pub(crate) struct Sent<'a> {
    /// The request to send on, for its header fields; `None` for one that kv-edge makes itself. Redirects are left to the caller.
    pub(crate) request: Option<&'a Request>,
    /// The method.
    pub(crate) method: &'a str,
    /// Its body: a stream, or bytes that were read before, or `undefined`.
    pub(crate) body: &'a JsValue,
    /// What is changed in its header fields.
    pub(crate) edits: &'a Edits<'a>,
}

impl Sent<'_> {
    /// Sends it. `None` where no answer has begun by the deadline; the error is what the runtime threw. `looked_for` are the
    /// fields of the answer that matter, separated by commas.
    #[cfg(feature = "storefronts")]
    pub(crate) async fn to(
        &self,
        url: &str,
        deadline: Duration,
        looked_for: &str,
    ) -> Result<Option<Received>, JsValue> {
        let answer = self.send(url, deadline, None).await?;
        Ok(answer.map(|answer| Received::new(answer, looked_for)))
    }

    /// The same for the answer alone, with its body as the server encoded it.
    #[cfg(feature = "cache")]
    pub(crate) async fn to_encoded(&self, url: &str, deadline: Duration) -> Result<Option<Response>, JsValue> {
        self.send(url, deadline, Some("manual")).await
    }

    async fn send(&self, url: &str, deadline: Duration, encoding: Option<&str>) -> Result<Option<Response>, JsValue> {
        let milliseconds = deadline.as_secs_f64() * 1000.0;
        let edits = self.edits.to_lines();
        let answer = send_to(url, self.request, self.method, self.body, &edits, milliseconds, encoding)?;
        let answer = JsFuture::from(answer).await?;
        Ok((!answer.is_null()).then(|| answer.unchecked_into()))
    }
}
