//! A shared HTTP cache (RFC 9111) that stores responses in Workers KV.
//!
//! A *shared* cache serves one stored response to many clients. It saves requests to the
//! *upstream*, the server it caches for, and must never give one client what was made for
//! another. This crate decides; it does no I/O and has no clock. The Worker reads KV, asks the
//! upstream and stores responses as the crate decides.
//!
//! # Concepts, in the order in which a lookup needs them
//!
//! 1. The **cache key** is made of the method and the URL in canonical form ([`cached_url`]).
//! 2. A **stored response** is a body and its metadata: status, header fields, times
//!    ([`stored_response`]). Both are in KV, and if the body is short, in the memory of the
//!    isolate for a few seconds ([`memory_cache`]).
//! 3. One URL can have several **variants**, one for each language, say. `Vary` names the request
//!    fields that tell them apart ([`vary`]).
//! 4. A stored response is **fresh** until its lifetime is over, and **stale** after that
//!    ([`freshness`]). The lifetime comes from `Cache-Control` or `CDN-Cache-Control`
//!    ([`cache_control`]).
//! 5. A **purge** makes stored responses unusable, or a soft one stale: those of a URL, of a
//!    prefix or with a tag, or all ([`purge`]).
//! 6. A fresh response is served unless the request refuses it. A stale one is served only if a
//!    directive permits that, for example while it is refreshed or in place of an error
//!    ([`stale`]), or after a soft purge. [`decision`] decides between serving and forwarding.
//! 7. **Validation** asks the upstream, with the stored `ETag` or date as a condition, whether a
//!    stale response is still current. A 304 makes it fresh again ([`validation`]).
//!    [`upstream_request`] writes that request.
//! 8. A new response is stored only if nothing forbids it ([`storable`]): `no-store`, `private`,
//!    or credentials in the request ([`credentials`]), unless the response allows that.
//! 9. The client receives the whole response, a range of it, or a 304 ([`client_response`]), with
//!    a `Cache-Status` that says what happened ([`cache_status`]).
//!
//! [`exchange`] puts these steps together: the whole way of a request, as a state machine without
//! I/O.
//!
//! [`inspection`] describes what is stored for a URL, for somebody who looks.
//!
//! [`page_view`] is the title and the text of a web page as JSON, which is stored by an exchange
//! of its own.
//!
//! # The life of one lookup
//!
//! ```text
//!        request
//!           │ key
//!           v
//!   memory, else KV ────── nothing, no such variant, or purged ───────┐
//!           │                                                         │
//!    stored response                                                  │
//!           │                                                         v
//!   decision::decide ───── stale, or the request refuses it ───> upstream
//!           │                                                         │
//!           │                ┌──────────────────┬─────────────────────┤
//!           │                v                  v                     v
//!           │        304: update the     200 etc.: store it     error: serve the stored
//!           │        stored response     if that is allowed     response if that is allowed
//!           │        (validation)        (storable)             (stale)
//!           v                v                  v                     v
//!         hit              serve              serve               stale hit, or the error
//!    (early refresh?)
//! ```
//!
//! # Example
//!
//! ```
//! use http_cache::cache_status::ForwardReason;
//! use http_cache::credentials::CredentialFields;
//! use http_cache::decision::{CacheRequest, Decision, SelectedResponse, decide};
//! use http_cache::freshness::ExchangeTimes;
//! use http_cache::stored_response::{StoredResponse, StoredMetadata};
//! use http_cache::storable::{StorageCandidate, Storable};
//! use http_semantics::fields::HeaderSection;
//!
//! // The upstream responded to a GET at 1000 ms. May its response be stored?
//! let request = HeaderSection::from(&[("accept", "*/*")]);
//! let response = HeaderSection::from(&[("cache-control", "max-age=60"), ("etag", "\"v1\"")]);
//! let credentials = CredentialFields::default();
//! let times = ExchangeTimes { requested_ms: 1_000, received_ms: 1_000 };
//! let candidate = StorageCandidate {
//!     method: "GET",
//!     url: "https://example.com/",
//!     request: &request,
//!     credentials: &credentials,
//!     status: 200,
//!     response: &response,
//!     times,
//!     default_lifetime_ms: None,
//! };
//! assert_eq!(candidate.storable(), Storable::Yes);
//! let metadata =
//!     StoredMetadata::from_response(&request, &credentials, 200, &response, times, None);
//! let stored = StoredResponse::new(metadata, None);
//!
//! // Another client asks for the same URL, half a minute and two minutes later.
//! let cache_request = CacheRequest::of("GET", &HeaderSection::default());
//! let decide_at = |now_ms| {
//!     let (is_backing_off, is_soft_purged) = (false, false);
//!     let selected = SelectedResponse { stored: &stored, is_backing_off, is_soft_purged };
//!     decide(&cache_request, Some(selected), ForwardReason::UriMiss, now_ms, || 0)
//! };
//! assert_eq!(decide_at(31_000), Decision::Serve { stale: None, refresh: false });
//! let conditions = vec![("if-none-match", "\"v1\"".to_owned())];
//! assert_eq!(decide_at(121_000), Decision::Forward { fwd: ForwardReason::Stale, conditions });
//! ```
//!
//! # Why not the crate `http-cache-semantics`
//!
//! Version 3.0.0 was considered. It adds 54 KB of gzip to the Worker (with `http` and `time`).
//! Parsing its policy takes four times as long as [`stored_response`] does. That policy, 1147
//! bytes of JSON for a simple request, contains the client's header fields, cookies included,
//! and does not fit into the metadata of a value in KV. It compares directives case-sensitively,
//! so it stores a response with `No-Store`; it splits quoted strings at commas, keeps one line
//! of a repeated field, and panics on a huge `Age`. It does not implement RFC 5861, RFC 9213,
//! variants, ranges or invalidation.

#![forbid(unsafe_code)]

pub mod cache_control;
pub mod cache_status;
pub mod cached_url;
pub mod client_response;
pub mod credentials;
pub mod decision;
pub mod error;
pub mod exchange;
pub mod freshness;
pub mod inspection;
pub mod memory_cache;
pub mod page_view;
pub mod purge;
pub mod stale;
pub mod storable;
pub mod stored_response;
pub mod upstream_request;
pub mod validation;
pub mod vary;

// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
