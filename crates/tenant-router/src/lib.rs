//! The tenant router: which origin serves a storefront's request, what is changed on the way there and back, and what happens
//! when it fails (KV documentation, "Route requests across various web servers").
//!
//! [`address`] finds the storefront, [`record`] says what is known of it, [`plan`] decides where the request goes, [`failover`]
//! who is asked when that fails, and [`answer`] what the visitor gets to see.

#![forbid(unsafe_code)]

pub mod access;
pub mod address;
pub mod answer;
pub mod backend;
pub mod failover;
mod forwarded;
pub mod plan;
pub mod record;
mod split;
pub mod view;
pub mod visitor;

use std::time::Duration;

use http_semantics::error_response::{BAD_GATEWAY, ErrorResponse, HttpError, UNAVAILABLE};
use http_semantics::one_of_each;
use http_semantics::request_target::BadPercentEncoding;
use http_semantics::status::Status;
use kv_store::limits::KeyError;

/// Why a request reaches no origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TenantError {
    /// The path names no storefront. The sentence is the documented one.
    #[error("Welcome to our multi-tenant platform. Please specify a storefront ID in the URL path.")]
    MissingId,
    /// The id's percent-encoding is broken.
    #[error(transparent)]
    Encoding(#[from] BadPercentEncoding),
    /// The id is no key of Workers KV.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// There is a control character or white space in the path or query, which a URL parser would drop.
    #[error("The path or query has a control character or a space; write it percent-encoded.")]
    Whitespace,
    /// The request's host has characters that no host has.
    #[error("The request names no valid host.")]
    Host,
    /// No record has this id or domain.
    #[error("Storefront \"{0}\" not found.")]
    NotFound(String),
    /// The record cannot be used, and none before it is remembered.
    #[error("the record is broken: {0}")]
    BrokenRecord(String),
    /// The record names an origin that is not on `ROUTING_ORIGINS`, or is http where `ROUTING_INSECURE` does not admit it.
    #[error("the record is refused: {0}")]
    NotAllowed(String),
    /// The record of a custom domain names a storefront that has no record.
    #[error("the domain's record names the storefront \"{0}\", which does not exist")]
    DanglingDomain(String),
    /// The request was here before (RFC 8586, RFC 5842 §7.2).
    #[error("The request came back to where it was: the storefront's origin leads to this service.")]
    Loop,
    /// A `GET` or `HEAD` has a body.
    #[error("A GET or HEAD with a body cannot be passed on.")]
    UnexpectedBody,
    /// A `TRACE` is not passed on (RFC 9110 §9.3.8).
    #[error("TRACE is not passed on.")]
    Trace,
    /// The record does not admit the visitor's country or address.
    #[error("This storefront is not open to visitors from here.")]
    AccessDenied,
    /// `X-Force-Variant` without the right token.
    #[error("X-Force-Variant needs the header X-Force-Variant-Token: <API_TOKEN>.")]
    ForceUnauthorized,
    /// `X-Force-Variant` where the secret `API_TOKEN` is not set.
    #[error("X-Force-Variant is closed until the secret API_TOKEN is set.")]
    ForceClosed,
    /// `X-Force-Variant` names none of the storefront's variants.
    #[error("The storefront has no variant of this name.")]
    UnknownVariant,
    /// Visitors are split by a signed cookie, and there is no secret to sign it with.
    #[error("neither VISITOR_SECRET nor API_TOKEN is set, which sign the visitors' cookies")]
    NoVisitorKey,
    /// The circuits of all origins that could answer are open.
    #[error("every origin of the storefront has failed too often lately")]
    CircuitOpen {
        /// When one of them is asked again, in seconds.
        retry_after_seconds: u64,
    },
    /// The origin did not answer (RFC 9110 §15.6.3), or what it answered is no HTTP. The text is for the log.
    #[error("{0}")]
    OriginFailed(String),
    /// The origin's answer had not begun after this long (RFC 9110 §15.6.5).
    #[error("no answer had begun after {} ms", .0.as_millis())]
    OriginTimeout(Duration),
}

impl HttpError for TenantError {
    fn response(&self) -> ErrorResponse {
        let told = |status, code| ErrorResponse::new(status, code, self.to_string());
        // The display of these is for the log.
        let hidden = |status, code, sentence: &'static str| ErrorResponse::new(status, code, sentence).because(self);
        match self {
            Self::MissingId => told(Status::BadRequest, "missing_storefront_id"),
            Self::Encoding(error) => error.response(),
            Self::Key(error) => error.response(),
            Self::Whitespace => told(Status::BadRequest, "invalid_path"),
            Self::Host => told(Status::BadRequest, "invalid_host"),
            Self::NotFound(_) => told(Status::NotFound, "storefront_not_found"),
            Self::BrokenRecord(_) => hidden(Status::BadGateway, "broken_record", "The storefront's record is broken."),
            Self::NotAllowed(_) => hidden(
                Status::BadGateway,
                "origin_not_allowed",
                "The storefront's origin is not one this service may reach.",
            ),
            Self::DanglingDomain(_) => {
                hidden(Status::BadGateway, "broken_record", "The storefront of this domain has no record.")
            }
            Self::Loop => told(Status::LoopDetected, "loop_detected"),
            Self::UnexpectedBody => told(Status::BadRequest, "unexpected_body"),
            Self::Trace => told(Status::MethodNotAllowed, "method_not_allowed")
                .with_field("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
            Self::AccessDenied => told(Status::Forbidden, "access_denied"),
            Self::ForceUnauthorized => {
                told(Status::Unauthorized, "unauthorized").with_field("WWW-Authenticate", "X-Force-Variant-Token")
            }
            Self::ForceClosed => told(Status::ServiceUnavailable, "not_configured").retry_after(60),
            Self::UnknownVariant => told(Status::BadRequest, "unknown_variant"),
            Self::NoVisitorKey => hidden(Status::ServiceUnavailable, "not_configured", UNAVAILABLE).retry_after(60),
            Self::CircuitOpen { retry_after_seconds } => {
                hidden(Status::BadGateway, "circuit_open", BAD_GATEWAY).retry_after(*retry_after_seconds)
            }
            Self::OriginFailed(_) => hidden(Status::BadGateway, "origin_failed", BAD_GATEWAY),
            Self::OriginTimeout(_) => {
                hidden(Status::GatewayTimeout, "origin_timeout", "The server behind this page did not answer in time.")
            }
        }
    }

    fn examples() -> Vec<(Self, &'static str)> {
        one_of_each! {
            Self::MissingId => Self::MissingId, "`/stores` is asked for without saying for which storefront.";
            Self::Encoding(_) => Self::Encoding(BadPercentEncoding), "The storefront's id cannot be decoded.";
            Self::Key(_) => Self::Key(KeyError::TooLong(513)), "The storefront's id is no key of Workers KV.";
            Self::Whitespace => Self::Whitespace, "The URL has characters that the origin would not get to see.";
            Self::Host => Self::Host, "`Host` holds something that is no host.";
            Self::NotFound(_) => Self::NotFound("tea".to_owned()), "No record in Workers KV has the id or the domain.";
            Self::BrokenRecord(_) => Self::BrokenRecord("origin: not a URL".to_owned()),
                "The storefront's record cannot be used, and none before it is remembered. The log says where it is wrong.";
            Self::NotAllowed(_) => Self::NotAllowed("https://other.example".to_owned()),
                "The vars `ROUTING_ORIGINS` and `ROUTING_INSECURE` do not admit the origin of the storefront's record.";
            Self::DanglingDomain(_) => Self::DanglingDomain("tea".to_owned()),
                "The record of the domain names a storefront that has no record.";
            Self::Loop => Self::Loop, "`CDN-Loop` shows that the origin sends the request back to where it comes from.";
            Self::UnexpectedBody => Self::UnexpectedBody, "A `GET` or `HEAD` comes with a body, which is not passed on.";
            Self::Trace => Self::Trace, "A storefront takes every method but `TRACE`.";
            Self::AccessDenied => Self::AccessDenied, "The storefront's record does not admit the visitor's country or address.";
            Self::ForceUnauthorized => Self::ForceUnauthorized,
                "`X-Force-Variant` comes without the token, or with another one than the secret `API_TOKEN`.";
            Self::ForceClosed => Self::ForceClosed, "`X-Force-Variant` needs the token, and the Worker has none to compare with.";
            Self::UnknownVariant => Self::UnknownVariant, "`X-Force-Variant` names no variant of the storefront's record.";
            Self::NoVisitorKey => Self::NoVisitorKey,
                "The storefront's visitors are split among variants, and neither `VISITOR_SECRET` nor `API_TOKEN` is set.";
            Self::CircuitOpen { .. } => Self::CircuitOpen { retry_after_seconds: 30 },
                "The storefront's origins failed again and again, and are not asked before `Retry-After` has passed.";
            Self::OriginFailed(_) => Self::OriginFailed("Network connection lost.".to_owned()),
                "The storefront's origin cannot be reached, or answers what is no HTTP. The log says what happened.";
            Self::OriginTimeout(_) => Self::OriginTimeout(Duration::from_secs(30)),
                "The storefront's origin took longer than its record or the var `UPSTREAM_TIMEOUT_MS` says.";
        }
    }
}
