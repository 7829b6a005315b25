//! The rules of HTTP that kv-edge decides by: RFC 9110 and related RFCs as plain functions over
//! text and numbers. Nothing here does I/O, reads a clock or knows Workers, so all of it runs in
//! native tests.
//!
//! # The concepts, in the order of a request
//!
//! 1. A message is a list of *header fields*. A decision reads them through the trait
//!    [`fields::Fields`], one field at a time, because the fields of a Worker's request live in
//!    JavaScript and each read is a call into it. [`fields::HeaderSection`] is a list of fields in
//!    memory; [`fields::HeaderEdits`] is a list of changes to make when a message is forwarded.
//! 2. The *request target* says which resource is meant: [`request_target::RequestTarget`] splits
//!    a URL, [`origin::Origin`] is its scheme, host and port.
//! 3. A resource may have several *representations*. [`accept_encoding`] negotiates the content
//!    coding, [`language`] the language.
//! 4. *Preconditions* ask whether the client has the representation already (304) or expects
//!    another one (412): [`conditional`].
//! 5. A *range* asks for a part of it (206, 416): [`range`].
//! 6. A request that cannot be fulfilled ends with an error. Each error type says its status, code
//!    and sentence through [`error_response::HttpError`]; [`problem`] renders them as a sentence
//!    or as problem details.
//!
//! ```text
//!               header fields of the request
//!                           |
//!  URL --> RequestTarget    |
//!               |           v
//!               |    AcceptEncoding, AcceptLanguage     which representation?   406
//!               v           |
//!           resource        v
//!               |    conditional::evaluate              is it needed?           304, 412
//!               |           |
//!               |           v
//!               '--> Range::of                          which part of it?       206, 416
//! ```
//!
//! The other modules are smaller: [`forwarding_fields`] and [`cdn_loop`] for requests to other
//! servers, [`cors`], [`cookie`], [`authorization`], [`signing_key`], [`http_date`],
//! [`timestamp`], [`status`], [`weight`], [`content_hash`], [`request_body`], [`upstream_timeout`]
//! and [`workers_cache`].
//!
//! # Example
//!
//! A client asks for the first half of a file, unless it has the current version, 7:
//!
//! ```
//! use http_semantics::conditional::{PreconditionResult, Validators, entity_tag, evaluate};
//! use http_semantics::fields::{Fields, HeaderSection};
//! use http_semantics::range::{Range, content_range};
//!
//! let etag = entity_tag(7);
//! let etag = Some(etag.as_str());
//! let validators = Validators { etag, last_modified_ms: None, received_ms: u64::MAX };
//!
//! let request = HeaderSection::from(&[("if-none-match", "\"7\""), ("range", "bytes=0-499")]);
//! assert_eq!(evaluate("GET", &request, &validators), PreconditionResult::NotModified);
//!
//! let request = HeaderSection::from(&[("if-none-match", "\"6\""), ("range", "bytes=0-499")]);
//! assert_eq!(evaluate("GET", &request, &validators), PreconditionResult::Holds);
//! let range = Range::of(request.get("range").as_deref(), None, &validators, 1000);
//! assert_eq!(range, Range::Satisfiable(vec![0..500]));
//! assert_eq!(content_range(&(0..500), 1000), "bytes 0-499/1000");
//! ```

#![forbid(unsafe_code)]

pub mod accept_encoding;
pub mod authorization;
pub mod cdn_loop;
pub mod conditional;
pub mod content_hash;
pub mod cookie;
pub mod cors;
pub mod error_response;
pub mod fields;
pub mod forwarding_fields;
pub mod http_date;
pub mod language;
pub mod origin;
pub mod problem;
pub mod range;
pub mod request_body;
pub mod request_target;
pub mod signing_key;
pub mod status;
pub mod timestamp;
pub mod upstream_timeout;
pub mod weight;
pub mod workers_cache;

// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
