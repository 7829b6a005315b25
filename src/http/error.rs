//! The one place where an error becomes a response: status, a code for machines, a sentence for people.

use std::borrow::Cow;
use std::time::Duration;

use feature_flags::config::ConfigError;
use feature_flags::ofrep::{self, OfrepError};
use http_cache::address::CacheError;
use http_cache::purge::PurgeError;
use http_semantics::authorization::NotAuthorized;
use http_semantics::conditional::entity_tag;
use http_semantics::problem::{Problem, wants_json};
use http_semantics::range;
use http_semantics::request_target::BadPercentEncoding;
use kv_store::key_writer::NotWritten;
use kv_store::limits::{Key, KeyError};
use kv_store::store::StoreError;
use kv_store::writes::WriteError;
use static_assets::AssetError;
use static_assets::answer::{FieldLines, change_error};
use static_assets::header_rules::HeaderChanges;
use tenant_router::TenantError;
use wasm_bindgen::JsValue;
use worker::web_sys;

use crate::http::request_body::NoBody;
use crate::http::response;
use crate::platform::js_error::message_of;
use crate::platform::log::RequestLog;
use crate::routes::{MethodNotAllowed, Route};

/// Why a request gets no answer from its job.
#[derive(Debug)]
pub(crate) struct Failure {
    status: u16,
    code: &'static str,
    /// What the visitor reads.
    sentence: Cow<'static, str>,
    /// What the log says; only for a 5xx.
    cause: Option<Box<str>>,
    /// JSON of a protocol that has its own form of errors, instead of problem details.
    body: Option<String>,
    /// Fields that the status asks for.
    fields: Vec<(&'static str, Cow<'static, str>)>,
    /// What `_headers` says of the answer, where a release of files gives it.
    changes: Option<Box<HeaderChanges>>,
}

const UNAVAILABLE: &str = "The service is not available at the moment. Please try again.";
const BAD_GATEWAY: &str = "The server behind this page did not give a usable answer.";

impl Failure {
    fn new(status: u16, code: &'static str, sentence: impl Into<Cow<'static, str>>) -> Self {
        let (fields, changes) = (Vec::new(), None);
        Self { status, code, sentence: sentence.into(), cause: None, body: None, fields, changes }
    }

    pub(crate) fn because(mut self, cause: &(impl ToString + ?Sized)) -> Self {
        self.cause = Some(cause.to_string().into());
        self
    }

    /// One more field of the answer.
    pub(crate) fn with_field(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// The same as `_headers` has it. A 5xx is not the site's answer, and stays as it is.
    pub(crate) fn changed(self, changes: HeaderChanges) -> Self {
        if self.status < 500 { Self { changes: Some(Box::new(changes)), ..self } } else { self }
    }

    /// A var says nothing that can be used.
    pub(crate) fn bad_var(cause: &impl ToString) -> Self {
        Self::new(503, "not_configured", UNAVAILABLE).because(cause).with_field("Retry-After", "60")
    }

    /// An error in the words of the OpenFeature Remote Evaluation Protocol: of a flag, or of all.
    pub(crate) fn of_ofrep(flag: Option<&str>, error: &OfrepError) -> Self {
        let body = Some(ofrep::error_json(flag, error));
        let failure = Self { body, ..Self::new(error.status, error.code.as_str(), error.details.clone()) };
        if error.status == 503 { failure.with_field("Retry-After", "5") } else { failure }
    }

    /// The bearer token is missing or wrong (RFC 6750 §3).
    pub(crate) fn unauthorized() -> Self {
        Self::new(401, "unauthorized", "This needs the header Authorization: Bearer <API_TOKEN>.")
            .with_field("WWW-Authenticate", "Bearer")
    }

    /// A secret is not set: the route stays closed.
    pub(crate) fn not_configured(secret: &'static str) -> Self {
        Self::new(503, "not_configured", format!("This route is closed until the secret {secret} is set."))
            .because(&format!("the secret {secret} is not set"))
            .with_field("Retry-After", "60")
    }

    /// The documented answer of `/get-started` where the read gives nothing.
    pub(crate) fn value_not_found() -> Self {
        Self::new(404, "value_not_found", "Value not found")
    }

    /// KV holds no such key.
    pub(crate) fn key_not_found() -> Self {
        Self::new(404, "key_not_found", "Workers KV holds no such key.")
    }

    /// The request's body ended before its length was reached.
    pub(crate) fn body_broken() -> Self {
        Self::new(400, "body_broken", "The body could not be read to its end.")
    }

    /// The request's body took too long (RFC 9110 §15.5.9).
    pub(crate) fn body_timeout() -> Self {
        Self::new(408, "body_timeout", "The body took too long.")
    }

    /// KV does not show the newest value of a key yet.
    pub(crate) fn not_visible_yet() -> Self {
        Self::new(
            503,
            "not_visible_yet",
            "Workers KV does not show the newest value yet. Please try again; write it again if that lasts.",
        )
        .because("KV shows another value than the one that the key's object has put")
        .with_field("Retry-After", "5")
    }

    /// The key's Durable Object gave no usable answer. Whether it stored a value is not known.
    pub(crate) fn writer_unavailable(cause: &str) -> Self {
        Self::new(
            503,
            "writer_unavailable",
            "The key's writer does not answer. A value sent to it may or may not be stored.",
        )
        .because(cause)
        .with_field("Retry-After", "5")
    }

    /// An origin did not answer (RFC 9110 §15.6.3).
    pub(crate) fn origin_failed(cause: &JsValue) -> Self {
        Self::new(502, "origin_failed", BAD_GATEWAY).because(&message_of(cause))
    }

    /// An origin did not answer in time (RFC 9110 §15.6.5).
    pub(crate) fn origin_timeout(deadline: Duration) -> Self {
        Self::new(504, "origin_timeout", "The server behind this page did not answer in time.")
            .because(&format!("no answer had begun after {} ms", deadline.as_millis()))
    }

    /// The runtime takes an upstream's answer for none.
    pub(crate) fn upstream_failed(thrown: &JsValue) -> Self {
        CacheError::Upstream(message_of(thrown)).into()
    }

    /// A file, or what says which files there are, cannot be read.
    pub(crate) fn file_unavailable(cause: &impl ToString) -> Self {
        Self::new(503, "kv_unavailable", UNAVAILABLE).because(cause).with_field("Retry-After", "5")
    }

    /// The bytes of a file are not in KV although its release has it.
    pub(crate) fn file_missing(key: &Key<'_>) -> Self {
        Self::new(503, "file_missing", UNAVAILABLE)
            .because(&format!("{} is not there, or not whole", key.as_str()))
            .with_field("Retry-After", "30")
    }

    /// The runtime refused something that it never refuses.
    pub(crate) fn internal(thrown: &JsValue) -> Self {
        Self::new(500, "internal_error", "Something went wrong on our side.").because(&message_of(thrown))
    }

    /// The status and `Retry-After` of the answer.
    pub(crate) fn status(&self) -> (u16, Option<&str>) {
        let retry_after = self.fields.iter().find(|(name, _)| *name == "Retry-After");
        (self.status, retry_after.map(|(_, seconds)| seconds.as_ref()))
    }

    /// Writes the line in the log that a 5xx names; its id, for the answer to carry.
    pub(crate) fn log<'l>(&self, log: &'l RequestLog, route: &Route<'_>) -> Option<&'l str> {
        if self.status < 500 {
            return None;
        }
        log.error(route.name(), self.code, self.status, self.cause());
        Some(log.id())
    }

    /// Says in the log where it happened.
    pub(crate) fn at(mut self, place: &str) -> Self {
        self.cause = self.cause.map(|cause| format!("{place}: {cause}").into());
        self
    }

    /// What happened, for the log.
    pub(crate) fn cause(&self) -> &str {
        self.cause.as_deref().unwrap_or(&self.sentence)
    }

    /// The response to a request of this route with this method and `Accept`.
    pub(crate) fn render(
        &self,
        route: &Route<'_>,
        method: &str,
        accept: Option<&str>,
        log: &RequestLog,
    ) -> Result<web_sys::Response, JsValue> {
        let is_json = route.is_api(method) || wants_json(accept);
        let request_id = self.log(log, route);
        let mut problem = Problem::new(self.status, self.code, &self.sentence);
        problem.request_id = request_id;
        let (content_type, body) = match &self.body {
            Some(body) => ("application/json", Cow::Borrowed(body.as_str())),
            None => problem.render(is_json),
        };
        // A compression on the way would weaken the tag, which `If-Match` could not use then (RFC 9110 §8.8.1).
        let has_tag = self.fields.iter().any(|(name, _)| *name == "ETag");
        let cache_control = if has_tag { response::KEPT_AS_IT_IS } else { "no-store" };
        let mut fields = vec![("content-type", content_type), ("cache-control", cache_control)];
        fields.extend(request_id.map(|id| ("x-request-id", id)));
        fields.extend(self.fields.iter().map(|(name, value)| (*name, value.as_ref())));
        let mut lines: FieldLines<'_> = fields.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        if let Some(changes) = &self.changes {
            change_error(&mut lines, HeaderChanges::clone(changes));
        }
        let fields: Vec<(&str, &str)> = lines.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
        response::with_status(self.status, &JsValue::from_str(&body), &fields)
    }
}

/// The runtime refused to make a response, which it never does.
impl From<JsValue> for Failure {
    fn from(thrown: JsValue) -> Self {
        Self::internal(&thrown)
    }
}

impl From<NotAuthorized> for Failure {
    fn from(error: NotAuthorized) -> Self {
        match error {
            NotAuthorized::NoToken => Self::not_configured("API_TOKEN"),
            NotAuthorized::WrongToken => Self::unauthorized(),
        }
    }
}

impl From<MethodNotAllowed> for Failure {
    fn from(error: MethodNotAllowed) -> Self {
        Self::new(405, "method_not_allowed", format!("Method not allowed; use {}.", error.allow))
            .with_field("Allow", error.allow)
    }
}

impl From<NoBody> for Failure {
    fn from(error: NoBody) -> Self {
        match error {
            NoBody::TooLong => Self::new(413, "body_too_large", "The body is too long."),
            NoBody::Broken => Self::body_broken(),
            NoBody::Late => Self::body_timeout(),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        if error.is_rate_limited() {
            Self::new(
                429,
                "kv_rate_limited",
                "Workers KV is asked too often; a key takes one write a second. Please try again.",
            )
            .with_field("Retry-After", "1")
        } else {
            Self::new(503, "kv_unavailable", UNAVAILABLE).because(&error).with_field("Retry-After", "5")
        }
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        Self::new(400, "invalid_key", error.to_string())
    }
}

impl From<BadPercentEncoding> for Failure {
    fn from(error: BadPercentEncoding) -> Self {
        Self::new(400, "bad_percent_encoding", error.to_string())
    }
}

impl From<AssetError> for Failure {
    fn from(error: AssetError) -> Self {
        match error {
            AssetError::Key(error) => error.into(),
            AssetError::NotFound => Self::new(404, "not_found", error.to_string()),
            AssetError::NotAcceptable => {
                Self::new(406, "not_acceptable", error.to_string()).with_field("Vary", "Accept-Encoding")
            }
            AssetError::PreconditionFailed => Self::new(412, "precondition_failed", error.to_string()),
            AssetError::RangeNotSatisfiable(length) => Self::new(416, "range_not_satisfiable", error.to_string())
                .with_field("Content-Range", range::unsatisfied(length)),
        }
    }
}

impl From<CacheError> for Failure {
    fn from(error: CacheError) -> Self {
        let sentence = error.to_string();
        match error {
            CacheError::MissingUrl => Self::new(400, "missing_url", sentence),
            CacheError::Encoding(error) => error.into(),
            CacheError::NotAUrl | CacheError::Unusable(_) => Self::new(400, "invalid_url", sentence),
            CacheError::UrlTooLong => Self::new(414, "url_too_long", sentence),
            CacheError::NotAllowed(_) => Self::new(403, "upstream_not_allowed", sentence),
            CacheError::Loop => Self::new(508, "loop_detected", sentence),
            CacheError::UnexpectedBody => Self::new(400, "unexpected_body", sentence),
            CacheError::NotCached => Self::new(504, "not_cached", sentence),
            CacheError::CircuitOpen { retry_after_seconds } => Self::new(502, "circuit_open", BAD_GATEWAY)
                .because(&sentence)
                .with_field("Retry-After", retry_after_seconds.to_string()),
            CacheError::Redirect => Self::new(502, "upstream_redirect", sentence),
            CacheError::TooLong => Self::new(502, "upstream_failed", sentence),
            CacheError::Coding => Self::new(502, "unreadable_page", sentence),
            CacheError::Upstream(cause) => Self::new(502, "upstream_failed", BAD_GATEWAY).because(&cause),
            CacheError::Timeout => Self::new(504, "upstream_timeout", sentence),
        }
    }
}

impl From<PurgeError> for Failure {
    fn from(error: PurgeError) -> Self {
        let sentence = error.to_string();
        match error {
            PurgeError::LengthRequired => Self::new(411, "length_required", sentence),
            PurgeError::TooLong => Self::new(413, "purge_too_large", sentence),
            PurgeError::Invalid(_) => Self::new(400, "invalid_purge", sentence),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::MissingUserId(_) => Self::new(400, "missing_user_id", error.to_string()),
            ConfigError::BatchKey { .. } => Self::new(400, "invalid_key", error.to_string()),
            ConfigError::InvalidBatch(_) => Self::new(400, "invalid_user_ids", error.to_string()),
            ConfigError::BatchAnswerTooLong => Self::new(400, "answer_too_large", error.to_string()),
            ConfigError::BatchTooLong => Self::new(413, "user_ids_too_large", error.to_string()),
            ConfigError::Encoding(error) => error.into(),
        }
    }
}

impl From<TenantError> for Failure {
    fn from(error: TenantError) -> Self {
        let text = error.to_string();
        match error {
            TenantError::MissingId => Self::new(400, "missing_storefront_id", text),
            TenantError::Encoding(error) => error.into(),
            TenantError::Key(error) => error.into(),
            TenantError::Whitespace => Self::new(400, "invalid_path", text),
            TenantError::Host => Self::new(400, "invalid_host", text),
            TenantError::NotFound(_) => Self::new(404, "storefront_not_found", text),
            TenantError::Loop => Self::new(508, "loop_detected", text),
            TenantError::UnexpectedBody => Self::new(400, "unexpected_body", text),
            TenantError::Trace => Self::new(405, "method_not_allowed", text)
                .with_field("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
            TenantError::AccessDenied => Self::new(403, "access_denied", text),
            TenantError::ForceUnauthorized => {
                Self::new(401, "unauthorized", text).with_field("WWW-Authenticate", "X-Force-Variant-Token")
            }
            TenantError::ForceClosed => Self::new(503, "not_configured", text).with_field("Retry-After", "60"),
            TenantError::UnknownVariant => Self::new(400, "unknown_variant", text),
            TenantError::NoVisitorKey => {
                Self::new(503, "not_configured", UNAVAILABLE).because(&text).with_field("Retry-After", "60")
            }
            TenantError::CircuitOpen { retry_after_seconds } => Self::new(502, "circuit_open", BAD_GATEWAY)
                .because(&text)
                .with_field("Retry-After", retry_after_seconds.to_string()),
            TenantError::NotAllowed(_) => {
                Self::new(502, "origin_not_allowed", "The storefront's origin is not one this service may reach.")
                    .because(&text)
            }
            TenantError::DanglingDomain(_) => {
                Self::new(502, "broken_record", "The storefront of this domain has no record.").because(&text)
            }
            TenantError::BrokenRecord(_) => {
                Self::new(502, "broken_record", "The storefront's record is broken.").because(&text)
            }
        }
    }
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        let sentence = error.to_string();
        match error {
            WriteError::Encoding(error) => error.into(),
            WriteError::Key(error) => error.into(),
            WriteError::Count | WriteError::CountAndBody => Self::new(400, "invalid_n", sentence),
            WriteError::Strategy => Self::new(400, "unknown_strategy", sentence),
            WriteError::Wait => Self::new(400, "unknown_wait", sentence),
            WriteError::WaitUnused => Self::new(400, "wait_unsupported", sentence),
            WriteError::Parameter(_) => Self::new(400, "unknown_parameter", sentence),
            WriteError::Timeout => Self::new(400, "invalid_timeout", sentence),
            WriteError::Conditional => Self::new(400, "precondition_unsupported", sentence),
            WriteError::Consistent => Self::new(400, "invalid_consistent", sentence),
            WriteError::LengthRequired => Self::new(411, "length_required", sentence),
            WriteError::TooLarge(_) => Self::new(413, "value_too_large", sentence),
        }
    }
}

impl From<NotWritten> for Failure {
    fn from(error: NotWritten) -> Self {
        let sentence = error.to_string();
        let (failure, version) = match error {
            NotWritten::PreconditionFailed { version } => (Self::new(412, "precondition_failed", sentence), version),
            NotWritten::TimedOut { version } => (
                Self::new(504, "kv_timeout", sentence).because("KV did not take the value within timeoutMs"),
                Some(version),
            ),
            NotWritten::Refused { version, cause } => {
                (Self::new(503, "kv_refused", sentence).because(&cause).with_field("Retry-After", "300"), Some(version))
            }
        };
        match version {
            Some(version) => failure.with_field("ETag", entity_tag(version)),
            None => failure,
        }
    }
}
