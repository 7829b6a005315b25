//! Where an error becomes a response. A failed write of `/writes` has its report as the body, with
//! the status and fields from here; all other errors are rendered here. Status, code and sentence
//! stand beside each type of errors.

#[cfg(test)]
#[cfg(feature = "default")]
mod errors_md;

use std::borrow::Cow;

use http_semantics::authorization::NotAuthorized;
use http_semantics::error_response::{ErrorResponse, HttpError};
use http_semantics::problem::{ProblemDetails, wants_json};
use http_semantics::request_body::RequestBodyError;
use http_semantics::request_target::BadPercentEncoding;
use http_semantics::status::Status;
use kv_store::key_writer::{NotWritten, WriterUnavailable};
use kv_store::limits::KeyError;
use kv_store::store_error::{StoreError, ValueNotFound};
use kv_store::writes::{ReadError, WriteError};
#[cfg(feature = "assets")]
use static_assets::{
    header_rules::HeaderChanges,
    response::{FieldLines, change_error},
};
use wasm_bindgen::JsValue;
use worker::web_sys;

use crate::http::response;
use crate::platform::js_error::message_of;
use crate::platform::log::RequestLog;
use crate::routes::{MethodNotAllowed, Route};

/// An error that replaces the response of a job.
#[derive(Debug)]
pub(crate) struct RequestError {
    response: ErrorResponse,
    /// The body in the JSON form of a protocol that does not use problem details.
    json: Option<String>,
    /// What `_headers` changes in the response, if a release of files gives it.
    #[cfg(feature = "assets")]
    changes: Option<Box<HeaderChanges>>,
}

/// Lists the errors that end a request with `?`. Each of their kinds has a row in
/// `docs/errors.md`.
macro_rules! errors {
    ($($(#[$built:meta])? $error:ty),+ $(,)?) => {
        $($(#[$built])? impl From<$error> for RequestError {
            fn from(error: $error) -> Self {
                Self::of(&error)
            }
        })+

        #[cfg(test)]
        #[cfg(feature = "default")]
        fn all_rows() -> Vec<(ErrorResponse, &'static str)> {
            [errors_md::rows::<InternalError>(), $($(#[$built])? errors_md::rows::<$error>()),+].concat()
        }
    };
}

errors! {
    BadPercentEncoding, KeyError, MethodNotAllowed, RequestBodyError, NotAuthorized, StoreError,
    WriteError, ReadError, NotWritten, WriterUnavailable, ValueNotFound,
    #[cfg(feature = "assets")] static_assets::AssetError,
    #[cfg(feature = "assets")] static_assets::FileError,
    #[cfg(all(feature = "assets", feature = "console"))] static_assets::rollback::RollbackError,
    #[cfg(feature = "cache")] http_cache::error::CacheError,
    #[cfg(feature = "cache")] http_cache::purge::PurgeError,
    #[cfg(feature = "console")] crate::jobs::console::error::ConsoleError,
    #[cfg(feature = "flags")] feature_flags::config::ConfigError,
    #[cfg(feature = "flags")] feature_flags::config::user_id::InvalidUserIdFrom,
    #[cfg(feature = "kv-api")] kv_api::error::KvApiError,
    #[cfg(feature = "metrics")] metrics::error::MetricsError,
    #[cfg(feature = "storefronts")] tenant_router::TenantError,
    #[cfg(not(feature = "assets"))] crate::routes::RouteNotFound,
}

/// A failure that should be impossible, such as an exception of the runtime.
struct InternalError(String);

impl HttpError for InternalError {
    fn response(&self) -> ErrorResponse {
        let sentence = "Something went wrong on our side.";
        ErrorResponse::new(Status::InternalServerError, "internal_error", sentence).because(&self.0)
    }

    fn examples() -> Vec<(Self, &'static str)> {
        vec![(Self("Illegal invocation".to_owned()), "A fault of this service. The log says what happened.")]
    }
}

impl From<JsValue> for RequestError {
    fn from(thrown: JsValue) -> Self {
        Self::internal(&thrown)
    }
}

impl RequestError {
    pub(crate) fn of(error: &impl HttpError) -> Self {
        Self {
            response: error.response(),
            json: None,
            #[cfg(feature = "assets")]
            changes: None,
        }
    }

    /// Returns the failure for something that the runtime threw although it never should.
    pub(crate) fn internal(thrown: &JsValue) -> Self {
        Self::of(&InternalError(message_of(thrown)))
    }

    /// Sets what happened, for the log.
    #[cfg(feature = "json-api")]
    pub(crate) fn because(self, cause: &impl ToString) -> Self {
        Self { response: self.response.because(cause), ..self }
    }

    /// Names the place of the failure before its cause, for the log.
    #[cfg(feature = "forwarding")]
    pub(crate) fn at(self, place: &str) -> Self {
        Self { response: self.response.at(place), ..self }
    }

    /// Adds a header field to the response.
    #[cfg(any(feature = "assets", feature = "cache", feature = "flags", feature = "storefronts"))]
    pub(crate) fn with_field(self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        Self { response: self.response.with_field(name, value), ..self }
    }

    /// Replaces the body by the JSON of a protocol that does not use problem details.
    #[cfg(feature = "json-api")]
    pub(crate) fn with_json(self, json: String) -> Self {
        Self { json: Some(json), ..self }
    }

    /// Sets the body to the JSON of a protocol that does not use problem details, unless the error
    /// has such a body.
    #[cfg(feature = "kv-api")]
    pub(crate) fn or_json(self, json: impl FnOnce(&ErrorResponse) -> String) -> Self {
        let json = self.json.unwrap_or_else(|| json(&self.response));
        Self { json: Some(json), ..self }
    }

    /// Adds what `_headers` changes in the response. A 5xx is not a response of the site, so it
    /// stays as it is.
    #[cfg(feature = "assets")]
    pub(crate) fn changed(self, changes: HeaderChanges) -> Self {
        if self.response.status().is_server_error() { self } else { Self { changes: Some(Box::new(changes)), ..self } }
    }

    /// Returns the status of the response.
    pub(crate) fn status(&self) -> u16 {
        self.response.status().code()
    }

    /// Returns the header fields of the error, with the id of its log line if there is one.
    pub(crate) fn fields<'f>(&'f self, request_id: Option<&'f str>) -> impl Iterator<Item = (&'static str, &'f str)> {
        request_id.map(|id| ("x-request-id", id)).into_iter().chain(self.response.fields())
    }

    /// Returns what happened, for the log.
    pub(crate) fn cause(&self) -> &str {
        self.response.cause()
    }

    /// Writes the log line of a 5xx and returns its id, which the response names; `None` for
    /// any other status.
    pub(crate) fn log<'l>(&self, log: &'l RequestLog) -> Option<&'l str> {
        let status = self.response.status();
        if !status.is_server_error() {
            return None;
        }
        log.error(self.response.code(), status.code(), self.cause());
        Some(log.id())
    }

    /// Returns the response to a request for this route with this method and `Accept`. Logs a 5xx.
    pub(crate) fn render(
        &self,
        route: &Route<'_>,
        method: &str,
        accept: Option<&str>,
        log: &RequestLog,
    ) -> Result<web_sys::Response, JsValue> {
        let error = &self.response;
        let request_id = self.log(log);
        let mut problem = ProblemDetails::new(error.status(), error.code(), error.sentence());
        problem.request_id = request_id;
        let (content_type, body) = match &self.json {
            Some(json) => ("application/json", Cow::Borrowed(json.as_str())),
            None => problem.render(route.is_api(method) || wants_json(accept)),
        };
        // A compression on the way would weaken the entity tag, and `If-Match` needs a strong one
        // (RFC 9110 §8.8.1).
        let cache_control = if error.field("ETag").is_some() { response::NO_STORE_NO_TRANSFORM } else { "no-store" };
        let fields = [("content-type", content_type), ("cache-control", cache_control)];
        let fields: Vec<(&str, &str)> = fields.into_iter().chain(self.fields(request_id)).collect();
        #[cfg(feature = "assets")]
        let lines = self.changed_lines(&fields);
        #[cfg(feature = "assets")]
        let fields: Vec<(&str, &str)> = lines.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
        response::with_status(self.status(), &JsValue::from_str(&body), &fields)
    }

    /// Returns these fields as `_headers` changes them.
    #[cfg(feature = "assets")]
    fn changed_lines<'f>(&self, fields: &[(&'f str, &'f str)]) -> FieldLines<'f> {
        let mut lines = fields.iter().map(|&(name, value)| (name.into(), value.into())).collect();
        if let Some(changes) = &self.changes {
            change_error(&mut lines, HeaderChanges::clone(changes));
        }
        lines
    }
}
