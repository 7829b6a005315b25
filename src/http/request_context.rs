//! The request as a job sees it. Apart from method and URL, nothing crosses from JavaScript before
//! it is asked for.

use std::rc::Rc;

#[cfg(feature = "bearer")]
use http_semantics::authorization::{NotAuthorized, is_bearer};
use wasm_bindgen::prelude::*;
use worker::{Context, web_sys};

use crate::platform::bindings::Bindings;
use crate::platform::env::RuntimeEnv;
use crate::platform::log::RequestLog;
use crate::platform::meter::Meter;
#[cfg(any(feature = "forwarding", feature = "request-bodies"))]
use crate::platform::promise::Deadlines;
use crate::platform::vars::Vars;

#[wasm_bindgen(module = "/src/platform/glue/request.js")]
extern "C" {
    /// Returns method and URL of a request, with a space between them.
    pub(crate) fn head(request: &web_sys::Request) -> String;
}

/// One request, with the bindings, the log and the runtime's context that serve it.
pub(crate) struct RequestContext {
    request: Rc<web_sys::Request>,
    method: String,
    env: Bindings,
    vars: Rc<Vars>,
    #[cfg_attr(not(feature = "background"), expect(dead_code))]
    ctx: Context,
    log: RequestLog,
}

impl RequestContext {
    /// Returns the context of a request. The log and the metrics name its route, which holds
    /// nothing that the visitor wrote.
    pub(crate) fn new(
        request: web_sys::Request,
        method: String,
        env: RuntimeEnv,
        vars: Rc<Vars>,
        ctx: Context,
        route: &'static str,
    ) -> Self {
        let request = Rc::new(request);
        let log = RequestLog::new(&request, route);
        let env = Bindings::of_request(env, Meter::of_route(&vars, route));
        Self { request, method, env, vars, ctx, log }
    }

    /// Returns the method, as it was sent.
    pub(crate) fn method(&self) -> &str {
        &self.method
    }

    /// Returns a header field, its lines joined with commas (RFC 9110 §5.3).
    #[expect(clippy::expect_used, reason = "a failure must not look like a missing field")]
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.request.headers().get(name).expect("the name is a token")
    }

    /// Returns true if the request has a body, even an empty one.
    #[cfg(any(feature = "storefronts", feature = "writes"))]
    pub(crate) fn has_body(&self) -> bool {
        self.request.body().is_some()
    }

    /// Returns the body as a stream, to be passed on untouched; `null` if there is none.
    #[cfg(feature = "forwarding")]
    pub(crate) fn body(&self) -> JsValue {
        self.request.body().map_or(JsValue::NULL, Into::into)
    }

    /// Checks that the request carries the secret `API_TOKEN`. Routes that take signed tokens as
    /// well ask [`access`](crate::http::access::access).
    #[cfg(feature = "bearer")]
    pub(crate) fn authorize(&self) -> Result<(), NotAuthorized> {
        let vars = self.vars();
        let token = vars.token.as_deref().ok_or(NotAuthorized::NotConfigured)?;
        if is_bearer(self.header("authorization").as_deref(), token) {
            Ok(())
        } else {
            Err(NotAuthorized::InvalidToken)
        }
    }

    /// Returns the bindings.
    pub(crate) fn env(&self) -> &Bindings {
        &self.env
    }

    /// Returns the meter that counts for this route.
    #[cfg(feature = "background")]
    pub(crate) fn meter(&self) -> Meter {
        self.env.meter()
    }

    /// Returns the deadlines of the request.
    #[cfg(any(feature = "forwarding", feature = "request-bodies"))]
    pub(crate) fn deadlines(&self) -> &Deadlines {
        self.env.deadlines()
    }

    /// Returns the vars, which are read once for each isolate.
    pub(crate) fn vars(&self) -> Rc<Vars> {
        Rc::clone(&self.vars)
    }

    /// Returns the runtime's `Request`.
    pub(crate) fn request(&self) -> &web_sys::Request {
        &self.request
    }

    /// Returns the log, for lines of this request.
    pub(crate) fn log(&self) -> &RequestLog {
        &self.log
    }

    /// Runs work that may outlive the response.
    #[cfg(feature = "background")]
    pub(crate) fn wait_until(&self, work: impl Future<Output = ()> + 'static) {
        self.ctx.wait_until(work);
    }
}
