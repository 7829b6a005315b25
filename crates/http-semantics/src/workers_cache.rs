//! Workers Cache, the cache that may stand in front of a Worker (Workers documentation, "Workers
//! Cache").
//!
//! It keys a response by path and query, not by host, and follows the most specific of three
//! fields (RFC 9213): `Cloudflare-CDN-Cache-Control`, which only Cloudflare reads, then
//! `CDN-Cache-Control`, then `Cache-Control`.

/// Keeps a response out of Workers Cache. For browsers and other caches, `Cache-Control` still
/// counts.
pub const NO_STORE: (&str, &str) = ("cloudflare-cdn-cache-control", "no-store");
