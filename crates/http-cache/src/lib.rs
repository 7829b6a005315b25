//! A shared HTTP cache (RFC 9111) with both extensions of RFC 5861, kept in Workers KV.
//!
//! | module | decides |
//! |---|---|
//! | [`address`] | which URL is meant, whether it may be fetched, and under which key it is kept |
//! | [`answer`] | the answer to the client |
//! | [`cache_control`] | what a `Cache-Control` or `CDN-Cache-Control` field says |
//! | [`credentials`] | which request fields say who asks |
//! | [`freshness`] | how old an answer is, and for how long it is fresh (RFC 9111 §4.2) |
//! | [`storing`] | whether an answer is kept, and which of its fields (RFC 9111 §3) |
//! | [`vary`] | whether a kept answer is the one that a request asks for (RFC 9111 §4.1) |
//! | [`stored`] | what is kept of an answer beside its body |
//! | [`validation`] | what is asked of the upstream about a stale answer, and what comes of it (RFC 9111 §4.3) |
//! | [`stale`] | when a stale answer may be used, and when a fresh one is refreshed early (RFC 5861) |
//! | [`decision`] | what is done with a request |
//! | [`hot`] | what an isolate remembers |
//! | [`purge`] | what is no longer to be used, by URL, prefix or tag |
//! | [`cache_status`] | what the answer says of all this (RFC 9211) |
//! | [`upstream`] | the request to the upstream |
//! | [`page`] | the documented JSON view of a page |
//!
//! Why not the crate `http-cache-semantics` (3.0.0 was looked at): it adds 54 KB of gzip to the Worker (with `http` and `time`), reading its
//! policy costs four times what [`stored`] costs, and that JSON, 1147 bytes for a plain request, holds the client's header fields, cookies
//! included, and does not fit beside the body in KV. It reads directives by their case, so `No-Store` is stored; splits quoted commas; keeps
//! one line of a field of several; panics on a huge `Age`; and knows neither RFC 5861, RFC 9213, variants, ranges nor invalidation.

#![forbid(unsafe_code)]

pub mod address;
pub mod answer;
pub mod cache_control;
pub mod cache_status;
pub mod credentials;
pub mod decision;
pub mod freshness;
pub mod hot;
pub mod page;
pub mod purge;
pub mod stale;
pub mod stored;
pub mod storing;
pub mod upstream;
pub mod validation;
pub mod vary;
