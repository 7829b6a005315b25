//! The one place where an error becomes a response. What that says stands beside each error, in its crate.

#[cfg(test)]
#[cfg(feature = "default")]
mod errors_md;

use std::borrow::Cow;

use http_semantics::authorization::NotAuthorized;
use http_semantics::error_response::{ErrorResponse, HttpError};
use http_semantics::problem::{Problem, wants_json};
use http_semantics::request_body::NoBody;
use http_semantics::request_target::BadPercentEncoding;
use http_semantics::status::Status;
use kv_store::key_writer::{NotWritten, WriterUnavailable};
use kv_store::limits::KeyError;
use kv_store::store::{StoreError, ValueNotFound};
use kv_store::writes::{ReadError, WriteError};
#[cfg(feature = "assets")]
use static_assets::{
    answer::{FieldLines, change_error},
    header_rules::HeaderChanges,
};
use wasm_bindgen::JsValue;
use worker::web_sys;

use crate::http::response;
use crate::platform::js_error::message_of;
use crate::platform::log::RequestLog;
use crate::routes::{MethodNotAllowed, Route};

/// Why a request gets no answer from its job.
#[derive(Debug)]
pub(crate) struct Failure {
    response: ErrorResponse,
    /// JSON of a protocol that has its own form of errors, instead of problem details.
    json: Option<String>,
    /// What `_headers` says of the answer, where a release of files gives it.
    #[cfg(feature = "assets")]
    changes: Option<Box<HeaderChanges>>,
}

/// The errors that end a request with `?`, and one row of `docs/errors.md` for each of their kinds.
macro_rules! errors {
    ($($(#[$built:meta])? $error:ty),+ $(,)?) => {
        $($(#[$built])? impl From<$error> for Failure {
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
    BadPercentEncoding, KeyError, MethodNotAllowed, NoBody, NotAuthorized, StoreError,
    WriteError, ReadError, NotWritten, WriterUnavailable, ValueNotFound,
    #[cfg(feature = "assets")] static_assets::AssetError,
    #[cfg(feature = "assets")] static_assets::FileError,
    #[cfg(feature = "cache")] http_cache::address::CacheError,
    #[cfg(feature = "cache")] http_cache::purge::PurgeError,
    #[cfg(feature = "flags")] feature_flags::config::ConfigError,
    #[cfg(feature = "flags")] feature_flags::config::user_id::NotUserIdFrom,
    #[cfg(feature = "storefronts")] tenant_router::TenantError,
    #[cfg(not(feature = "assets"))] crate::routes::NotFound,
}

/// The runtime refused something that it never refuses.
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

impl From<JsValue> for Failure {
    fn from(thrown: JsValue) -> Self {
        Self::internal(&thrown)
    }
}

impl Failure {
    pub(crate) fn of(error: &impl HttpError) -> Self {
        Self {
            response: error.response(),
            json: None,
            #[cfg(feature = "assets")]
            changes: None,
        }
    }

    /// The runtime refused something that it never refuses.
    pub(crate) fn internal(thrown: &JsValue) -> Self {
        Self::of(&InternalError(message_of(thrown)))
    }

    /// What happened, for the log.
    #[cfg(feature = "flags")]
    pub(crate) fn because(self, cause: &impl ToString) -> Self {
        Self { response: self.response.because(cause), ..self }
    }

    /// Says in the log where it happened.
    #[cfg(any(feature = "cache", feature = "storefronts"))]
    pub(crate) fn at(self, place: &str) -> Self {
        Self { response: self.response.at(place), ..self }
    }

    /// One more field of the answer.
    #[cfg(any(feature = "cache", feature = "flags", feature = "storefronts"))]
    pub(crate) fn with_field(self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        Self { response: self.response.with_field(name, value), ..self }
    }

    /// The same in the words of a protocol that has its own form of errors.
    #[cfg(feature = "flags")]
    pub(crate) fn with_json(self, json: String) -> Self {
        Self { json: Some(json), ..self }
    }

    /// The same as `_headers` has it. A 5xx is not the site's answer, and stays as it is.
    #[cfg(feature = "assets")]
    pub(crate) fn changed(self, changes: HeaderChanges) -> Self {
        if self.response.status().is_server_error() { self } else { Self { changes: Some(Box::new(changes)), ..self } }
    }

    /// The status and `Retry-After` of the answer.
    #[cfg(feature = "writes")]
    pub(crate) fn status(&self) -> (u16, Option<&str>) {
        (self.response.status().code(), self.response.field("Retry-After"))
    }

    /// What happened, for the log.
    pub(crate) fn cause(&self) -> &str {
        self.response.cause()
    }

    /// Writes the line in the log that a 5xx names; its id, for the answer to carry.
    pub(crate) fn log<'l>(&self, log: &'l RequestLog) -> Option<&'l str> {
        let status = self.response.status();
        if !status.is_server_error() {
            return None;
        }
        log.error(self.response.code(), status.code(), self.cause());
        Some(log.id())
    }

    /// The response to a request of this route with this method and `Accept`.
    pub(crate) fn render(
        &self,
        route: &Route<'_>,
        method: &str,
        accept: Option<&str>,
        log: &RequestLog,
    ) -> Result<web_sys::Response, JsValue> {
        let error = &self.response;
        let request_id = self.log(log);
        let mut problem = Problem::new(error.status(), error.code(), error.sentence());
        problem.request_id = request_id;
        let (content_type, body) = match &self.json {
            Some(json) => ("application/json", Cow::Borrowed(json.as_str())),
            None => problem.render(route.is_api(method) || wants_json(accept)),
        };
        // A compression on the way would weaken the tag, which `If-Match` could not use then (RFC 9110 §8.8.1).
        let cache_control = if error.field("ETag").is_some() { response::KEPT_AS_IT_IS } else { "no-store" };
        let fields = [("content-type", content_type), ("cache-control", cache_control)];
        let fields = fields.into_iter().chain(request_id.map(|id| ("x-request-id", id))).chain(error.fields());
        let fields: Vec<(&str, &str)> = fields.collect();
        #[cfg(feature = "assets")]
        let lines = self.changed_lines(&fields);
        #[cfg(feature = "assets")]
        let fields: Vec<(&str, &str)> = lines.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
        response::with_status(error.status().code(), &JsValue::from_str(&body), &fields)
    }

    /// These fields as `_headers` has them.
    #[cfg(feature = "assets")]
    fn changed_lines<'f>(&self, fields: &[(&'f str, &'f str)]) -> FieldLines<'f> {
        let mut lines = fields.iter().map(|&(name, value)| (name.into(), value.into())).collect();
        if let Some(changes) = &self.changes {
            change_error(&mut lines, HeaderChanges::clone(changes));
        }
        lines
    }
}
