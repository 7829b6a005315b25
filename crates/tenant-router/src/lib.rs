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
pub mod circuit;
pub mod failover;
mod forwarded;
pub mod plan;
pub mod record;
mod split;
pub mod view;
pub mod visitor;

use http_semantics::request_target::BadPercentEncoding;
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
}
