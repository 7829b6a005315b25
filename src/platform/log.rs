//! The log: one line of JSON for each event. An event outside of a request, such as an alarm of a
//! Durable Object, has no request id. The callers put no secret into a line and nothing that a
//! visitor sent; the request id is the `CF-Ray` if that looks like one of Cloudflare's, which the
//! visitor may have made up if Cloudflare is not in front.

use std::cell::OnceCell;
use std::fmt::Display;
use std::rc::Rc;

use http_semantics::problem::ray_id;
use kv_store::record;
use serde::Serialize;
use worker::web_sys;

use crate::platform::clock::Clock;

/// One line of the log.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LogLine<'a> {
    level: LogLevel,
    /// The id of the request, which a 5xx carries as `X-Request-Id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    /// The name of the error.
    code: &'a str,
    /// The status of the response.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// The route, without anything that the visitor wrote.
    route: &'a str,
    /// What happened, for the operator.
    detail: &'a str,
}

/// How much an event matters.
#[derive(Serialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum LogLevel {
    /// The response is a 5xx: `console.error`.
    Error,
    /// Something failed, and the work went on without it: `console.warn`.
    Warning,
}

impl LogLine<'_> {
    fn write(&self) {
        let line = record::to_json(self);
        match self.level {
            LogLevel::Error => worker::console_error!("{line}"),
            LogLevel::Warning => worker::console_warn!("{line}"),
        }
    }
}

/// Writes the log lines of one request, including those of work after its response.
#[derive(Clone)]
pub(crate) struct RequestLog(Rc<RequestLogState>);

struct RequestLogState {
    request: Rc<web_sys::Request>,
    id: OnceCell<String>,
    /// The name of the route, without anything that the visitor wrote.
    route: &'static str,
}

impl RequestLog {
    pub(crate) fn new(request: &Rc<web_sys::Request>, route: &'static str) -> Self {
        Self(Rc::new(RequestLogState { request: Rc::clone(request), id: OnceCell::new(), route }))
    }

    /// Returns the id of the request: its `CF-Ray` if that looks like an id of Cloudflare's, else
    /// random bits. It need not be secret.
    #[expect(clippy::expect_used, reason = "with another id, Cloudflare's own logs would not lead to the line")]
    pub(crate) fn id(&self) -> &str {
        self.0.id.get_or_init(|| {
            let ray = self.0.request.headers().get("cf-ray").expect("the name is a token");
            ray_id(ray).unwrap_or_else(|| format!("{:013x}", Clock.random_bits()))
        })
    }

    /// Logs the error behind a response with this status, a 5xx.
    pub(crate) fn error(&self, code: &str, status: u16, detail: &str) {
        let (level, request_id, route) = (LogLevel::Error, Some(self.id()), self.0.route);
        LogLine { level, request_id, code, status: Some(status), route, detail }.write();
    }

    /// Logs something that failed without failing the request.
    #[cfg(feature = "memory")]
    pub(crate) fn warning(&self, code: &str, detail: &dyn Display) {
        let (level, request_id, detail) = (LogLevel::Warning, Some(self.id()), &*detail.to_string());
        let route = self.0.route;
        LogLine { level, request_id, code, status: None, route, detail }.write();
    }
}

/// Logs a failure in work that belongs to no request, such as an alarm of a Durable Object.
#[cfg(feature = "durable-objects")]
pub(crate) fn background_warning(route: &str, code: &str, detail: &dyn Display) {
    LogLine { level: LogLevel::Warning, request_id: None, code, status: None, route, detail: &detail.to_string() }
        .write();
}
