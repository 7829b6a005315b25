//! The request as a job sees it: nothing is copied across the JavaScript boundary before a job asks for it.

use std::future::Future;
use std::rc::Rc;

use kv_edge_core::fields::Lines;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use worker::{Context, web_sys};

use crate::bindings::{Bindings, Vars};
use crate::message::{self, MessageFields};

/// One request, with the bindings and the context it runs in.
pub(crate) struct Incoming {
    request: web_sys::Request,
    method: String,
    env: Bindings,
    context: Context,
}

impl Incoming {
    pub(crate) fn new(request: web_sys::Request, method: String, env: Bindings, context: Context) -> Self {
        Self { request, method, env, context }
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

    /// Those of some header fields that are there; `names` are separated by commas.
    pub(crate) fn found(&self, names: &str) -> Lines {
        Lines::parse(message::found(&self.request, names))
    }

    /// `Accept-Encoding` of the client: the platform puts another in its place, and says what it was.
    pub(crate) fn accept_encoding(&self) -> Option<String> {
        message::accept_encoding(&self.request)
    }

    /// True where the platform has a body of the request, be it an empty one.
    pub(crate) fn has_body(&self) -> bool {
        self.request.body().is_some()
    }

    /// The body as a stream, to be handed on untouched; `null` where there is none.
    pub(crate) fn body(&self) -> JsValue {
        self.request.body().map_or(JsValue::NULL, Into::into)
    }

    /// The whole body, in memory: for those whose length is known and bounded. Fails where it ends early.
    pub(crate) async fn body_bytes(&self) -> Result<js_sys::ArrayBuffer, JsValue> {
        JsFuture::from(self.request.array_buffer()?).await.map(JsCast::unchecked_into)
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

    /// Goes on with work after the response is sent.
    pub(crate) fn wait_until(&self, work: impl Future<Output = ()> + 'static) {
        self.context.wait_until(work);
    }
}
