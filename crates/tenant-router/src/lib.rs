//! The tenant router: a reverse proxy for many storefronts, each with upstreams of its own (KV
//! documentation, "Route requests across various web servers").
//!
//! The crate decides; it does no I/O and has no clock. The Worker reads the record, sends the
//! request, and passes the result of each try back.
//!
//! # Concepts, in the order in which a request meets them
//!
//! 1. Its **address**: the host or the path names the storefront ([`storefront_address`]).
//! 2. The storefront's **record** lists its upstreams and how they are used
//!    ([`storefront_record`], [`upstream`]).
//! 3. **Access rules** admit or refuse the visitor by country and IP address ([`access`]).
//! 4. A route serves a path, or the visitor gets one of several **variants**. A signed cookie
//!    ([`visitor`]), or a user id, gives a returning visitor the same one; a field may name one.
//! 5. The **plan** names the upstream, the others that may replace it, and the edits of the
//!    request's header fields ([`request_plan`]).
//! 6. **Failover** chooses the upstream that is tried, by the circuit breakers of all upstreams,
//!    and what follows a failure: a second try, the record's fallback, or an error
//!    ([`failover`]).
//! 7. The **response** is edited for the visitor: URLs and cookies of the upstream become those
//!    of the storefront ([`response_edits`], [`view`]).
//!
//! [`record_check`] and [`route_explanation`] are for people who write records: faults, where a
//! request would go, and how visitors are split.
//!
//! ```text
//! request ── address ── record ── plan ── failover ─┬─> upstream ── response edits ──> visitor
//!                                            ^      │      │
//!                                            └──────┼──────┘ it failed: a second try
//!                                                   └─> fallback, or an error
//! ```
//!
//! # Example
//!
//! ```
//! use http_semantics::fields::HeaderSection;
//! use http_semantics::request_target::RequestTarget;
//! use http_semantics::upstream_timeout::UpstreamTimeout;
//! use tenant_router::request_plan::{RequestPlan, RoutedRequest, RoutingSettings};
//! use tenant_router::storefront_address::{Hosts, StorefrontAddress};
//! use tenant_router::storefront_record::RoutingEntry;
//!
//! let target = RequestTarget::parse("https://shops.example/stores/tea/cart?step=1");
//! let host = Hosts::parse("", "").match_host(target.authority);
//! let address = StorefrontAddress::of(&host, &target).unwrap();
//!
//! let json = r#"{"origin": "https://tea.example/shop"}"#;
//! let entry = RoutingEntry::parse("tea", json, None).unwrap();
//! let RoutingEntry::Record(record) = entry else { panic!("it is a storefront") };
//! let fields = HeaderSection::from(&[("cf-connecting-ip", "192.0.2.1")]);
//! let (method, has_body) = ("GET", false);
//! let request = RoutedRequest { method, target: &target, fields: &fields, has_body };
//! let timeout = UpstreamTimeout::from_milliseconds(10_000);
//! let settings = RoutingSettings { token: None, visitor_key: None, timeout };
//! let plan = RequestPlan::new(&request, &address, &record, &settings, || 0).unwrap();
//!
//! let url = plan.target.upstream.join(plan.rest, plan.query);
//! assert_eq!(url, "https://tea.example/shop/cart?step=1");
//! assert!(plan.may_resend);
//! ```

#![forbid(unsafe_code)]

pub mod access;
pub mod failover;
pub mod record_check;
mod rendezvous_hashing;
mod request_edits;
pub mod request_plan;
pub mod response_edits;
pub mod route_explanation;
pub mod storefront_address;
pub mod storefront_record;
pub mod upstream;
pub mod view;
pub mod visitor;

use std::time::Duration;

use http_semantics::error_response::{BAD_GATEWAY, ErrorResponse, HttpError, UNAVAILABLE};
use http_semantics::one_of_each;
use http_semantics::request_target::BadPercentEncoding;
use http_semantics::status::Status;
use kv_store::limits::KeyError;

/// Why a request is not served by an upstream. Each variant knows its HTTP status and code
/// ([`HttpError`]).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TenantError {
    /// The path names no storefront. The message is the documented one.
    #[error("Welcome to our multi-tenant platform. Please specify a storefront ID in the URL path.")]
    MissingId,
    /// The percent-encoding of the id is invalid.
    #[error(transparent)]
    Encoding(#[from] BadPercentEncoding),
    /// The id is not a valid key of Workers KV.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The path or query has a control character or a space, which a URL parser would drop or
    /// encode.
    #[error("The path or query has a control character or a space; write it percent-encoded.")]
    Whitespace,
    /// The request's host has characters that a host cannot have.
    #[error("The request names no valid host.")]
    Host,
    /// No record has this id or domain.
    #[error("Storefront \"{0}\" not found.")]
    NotFound(String),
    /// The record is invalid, and no earlier one is in memory. The text is for the log.
    #[error("the record is broken: {0}")]
    BrokenRecord(String),
    /// The record names an origin that `ROUTING_ORIGINS` does not list, or an http origin
    /// without `ROUTING_INSECURE`.
    #[error("the record is refused: {0}")]
    NotAllowed(String),
    /// The record of a custom domain names a storefront that has no record.
    #[error("the domain's record names the storefront \"{0}\", which does not exist")]
    DanglingDomain(String),
    /// The request has passed through kv-edge before (RFC 8586, RFC 5842 §7.2).
    #[error("The request came back to where it was: the storefront's upstream leads to this service.")]
    Loop,
    /// A `GET` or `HEAD` has a body.
    #[error("A GET or HEAD with a body cannot be passed on.")]
    UnexpectedBody,
    /// A `TRACE` is not forwarded (RFC 9110 §9.3.8).
    #[error("TRACE is not passed on.")]
    Trace,
    /// The record does not admit the visitor's country or address.
    #[error("This storefront is not open to visitors from here.")]
    AccessDenied,
    /// `X-Force-Variant` is sent without the right token.
    #[error("X-Force-Variant needs the header X-Force-Variant-Token: <API_TOKEN>.")]
    ForceUnauthorized,
    /// `X-Force-Variant` is sent, but the secret `API_TOKEN` is not set.
    #[error("X-Force-Variant is closed until the secret API_TOKEN is set.")]
    ForceClosed,
    /// `X-Force-Variant` names none of the storefront's variants.
    #[error("The storefront has no variant of this name.")]
    UnknownVariant,
    /// Visitors are split by a signed cookie, and no secret is set to sign it with.
    #[error("neither VISITOR_SECRET nor API_TOKEN is set, which sign the visitors' cookies")]
    NoVisitorKey,
    /// The circuits of all upstreams that could serve the request are open.
    #[error("every upstream of the storefront has failed too often lately")]
    CircuitOpen {
        /// The time after which one of them is tried again, in seconds.
        retry_after_seconds: u64,
    },
    /// The upstream did not respond (RFC 9110 §15.6.3), or its response is not valid HTTP. The
    /// text is for the log.
    #[error("{0}")]
    UpstreamFailed(String),
    /// No response had begun after this time (RFC 9110 §15.6.5).
    #[error("no response had begun after {} ms", .0.as_millis())]
    UpstreamTimedOut(Duration),
}

impl HttpError for TenantError {
    fn response(&self) -> ErrorResponse {
        let shown = |status, code| ErrorResponse::new(status, code, self.to_string());
        // The text of these errors is for the log only.
        let hidden = |status, code, sentence: &'static str| ErrorResponse::new(status, code, sentence).because(self);
        match self {
            Self::MissingId => shown(Status::BadRequest, "missing_storefront_id"),
            Self::Encoding(error) => error.response(),
            Self::Key(error) => error.response(),
            Self::Whitespace => shown(Status::BadRequest, "invalid_path"),
            Self::Host => shown(Status::BadRequest, "invalid_host"),
            Self::NotFound(_) => shown(Status::NotFound, "storefront_not_found"),
            Self::BrokenRecord(_) => hidden(Status::BadGateway, "broken_record", "The storefront's record is broken."),
            Self::NotAllowed(_) => hidden(
                Status::BadGateway,
                "origin_not_allowed",
                "The storefront's upstream is not one that this service may reach.",
            ),
            Self::DanglingDomain(_) => {
                hidden(Status::BadGateway, "broken_record", "The storefront of this domain has no record.")
            }
            Self::Loop => shown(Status::LoopDetected, "loop_detected"),
            Self::UnexpectedBody => shown(Status::BadRequest, "unexpected_body"),
            Self::Trace => shown(Status::MethodNotAllowed, "method_not_allowed")
                .with_field("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
            Self::AccessDenied => shown(Status::Forbidden, "access_denied"),
            Self::ForceUnauthorized => {
                shown(Status::Unauthorized, "unauthorized").with_field("WWW-Authenticate", "X-Force-Variant-Token")
            }
            Self::ForceClosed => shown(Status::ServiceUnavailable, "not_configured").retry_after(60),
            Self::UnknownVariant => shown(Status::BadRequest, "unknown_variant"),
            Self::NoVisitorKey => hidden(Status::ServiceUnavailable, "not_configured", UNAVAILABLE).retry_after(60),
            Self::CircuitOpen { retry_after_seconds } => {
                hidden(Status::BadGateway, "circuit_open", BAD_GATEWAY).retry_after(*retry_after_seconds)
            }
            Self::UpstreamFailed(_) => hidden(Status::BadGateway, "origin_failed", BAD_GATEWAY),
            Self::UpstreamTimedOut(_) => {
                hidden(Status::GatewayTimeout, "origin_timeout", "The server behind this page did not respond in time.")
            }
        }
    }

    fn examples() -> Vec<(Self, &'static str)> {
        one_of_each! {
            Self::MissingId => Self::MissingId, "The path `/stores` does not name a storefront.";
            Self::Encoding(_) => Self::Encoding(BadPercentEncoding), "The storefront's id cannot be decoded.";
            Self::Key(_) => Self::Key(KeyError::TooLong(513)), "The storefront's id is not a valid key of Workers KV.";
            Self::Whitespace => Self::Whitespace, "The URL has characters that the upstream would not get to see.";
            Self::Host => Self::Host, "`Host` is not a valid host.";
            Self::NotFound(_) => Self::NotFound("tea".to_owned()), "No record in Workers KV has the id or the domain.";
            Self::BrokenRecord(_) => Self::BrokenRecord("origin: not a URL".to_owned()),
                "The storefront's record cannot be used, and no earlier one is in memory. The log says where it is wrong.";
            Self::NotAllowed(_) => Self::NotAllowed("https://other.example".to_owned()),
                "The vars `ROUTING_ORIGINS` and `ROUTING_INSECURE` do not admit the origin of the storefront's record.";
            Self::DanglingDomain(_) => Self::DanglingDomain("tea".to_owned()),
                "The record of the domain names a storefront that has no record.";
            Self::Loop => Self::Loop, "`CDN-Loop` shows that the upstream sends the request back to where it comes from.";
            Self::UnexpectedBody => Self::UnexpectedBody, "A `GET` or `HEAD` comes with a body, which is not passed on.";
            Self::Trace => Self::Trace, "A storefront allows every method but `TRACE`.";
            Self::AccessDenied => Self::AccessDenied, "The storefront's record does not admit the visitor's country or address.";
            Self::ForceUnauthorized => Self::ForceUnauthorized,
                "`X-Force-Variant` comes without the token, or with another one than the secret `API_TOKEN`.";
            Self::ForceClosed => Self::ForceClosed, "`X-Force-Variant` needs the token, and the Worker has none to compare with.";
            Self::UnknownVariant => Self::UnknownVariant, "`X-Force-Variant` names no variant of the storefront's record.";
            Self::NoVisitorKey => Self::NoVisitorKey,
                "The storefront's visitors are split among variants, and neither `VISITOR_SECRET` nor `API_TOKEN` is set.";
            Self::CircuitOpen { .. } => Self::CircuitOpen { retry_after_seconds: 30 },
                "The storefront's upstreams failed again and again, and get no requests before `Retry-After` has passed.";
            Self::UpstreamFailed(_) => Self::UpstreamFailed("Network connection lost.".to_owned()),
                "The storefront's upstream cannot be reached, or its response is not valid HTTP. The log says what happened.";
            Self::UpstreamTimedOut(_) => Self::UpstreamTimedOut(Duration::from_secs(30)),
                "The storefront's upstream took longer than its record or the var `UPSTREAM_TIMEOUT_MS` says.";
        }
    }
}

// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
