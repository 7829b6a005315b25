//! The response to the client, made from a stored response or passed on from the upstream.
//!
//! A stored response is complete, so conditions (`If-None-Match`) and ranges of the client are
//! evaluated here. A response that is passed on is as the upstream sent it: either the upstream
//! evaluated them, or the cache asked for the whole response to replace a stored one.

use std::borrow::Cow;
use std::ops;

use crate::cache_status::{CacheStatus, server_timing};
use crate::stored_response::StoredResponse;
use crate::validation::not_modified_fields;
use http_semantics::conditional::{PreconditionResult, Validators, evaluate};
use http_semantics::fields::{Fields, HeaderEdits, HeaderSection, remove_hop_by_hop, with_member};
use http_semantics::http_date;
use http_semantics::range::{Range, content_range, unsatisfied_range};
use http_semantics::workers_cache;

/// How kv-edge names itself in `Via` (RFC 9110 §7.6.3).
pub const VIA: &str = "1.1 kv-edge";

/// What a response says about how the cache handled the request, in `Cache-Status` and
/// `Server-Timing`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics {
    /// How the cache handled the request.
    pub cache_status: CacheStatus,
    /// How long KV took, in milliseconds; `None` if it was not read.
    pub kv_ms: Option<u64>,
    /// How long the upstream took, in milliseconds; `None` if it did not respond.
    pub upstream_ms: Option<u64>,
}

/// Which part of the body is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyPart {
    /// All of it.
    Whole,
    /// Nothing.
    Nothing,
    /// These bytes of it.
    Bytes(ops::Range<u64>),
}

/// A response to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientResponse<'a> {
    /// The status.
    pub status: u16,
    /// Its header fields.
    pub fields: Cow<'a, HeaderSection>,
    /// The changes to those fields.
    pub edits: HeaderEdits<'static>,
    /// Which part of the body is sent with it.
    pub part: BodyPart,
}

/// Returns the response to a request that a stored response answers. The request's conditions and
/// ranges are evaluated (RFC 9111 §4, §4.3.2), so it may be a 304, 206 or 416.
///
/// `received` has all fields of a response that has only just been stored or validated, also those
/// that are not stored, such as a cookie for this client.
///
/// # Examples
///
/// ```
/// use http_cache::cache_status::CacheStatus;
/// use http_cache::client_response::{BodyPart, Diagnostics, from_stored};
/// use http_cache::stored_response::{StoredMetadata, StoredResponse};
/// use http_semantics::fields::HeaderSection;
///
/// let fields = HeaderSection::from(&[("cache-control", "max-age=60"), ("etag", "\"v1\"")]);
/// let metadata = StoredMetadata { fields, length: 1000, ..StoredMetadata::unknown(0) };
/// let stored = StoredResponse::new(metadata, None);
/// let now_ms = 30_000;
/// let cache_status = CacheStatus::hit(&stored, false, None, now_ms);
/// let diagnostics = Diagnostics { cache_status, kv_ms: None, upstream_ms: None };
///
/// let request = HeaderSection::from(&[("range", "bytes=0-99")]);
/// let response = from_stored("GET", &request, &stored, None, &diagnostics, now_ms);
/// assert_eq!((response.status, response.part), (206, BodyPart::Bytes(0..100)));
/// assert!(response.edits.set.contains(&("age".into(), "30".into())));
///
/// let request = HeaderSection::from(&[("if-none-match", "\"v1\"")]);
/// let response = from_stored("GET", &request, &stored, None, &diagnostics, now_ms);
/// assert_eq!((response.status, response.part), (304, BodyPart::Nothing));
/// ```
#[must_use]
pub fn from_stored<'a>(
    method: &str,
    request: &impl Fields,
    stored: &'a StoredResponse,
    received: Option<&'a HeaderSection>,
    diagnostics: &Diagnostics,
    now_ms: u64,
) -> ClientResponse<'a> {
    let metadata = &stored.metadata;
    let fields = received.unwrap_or(&metadata.fields);
    let mut edits = HeaderEdits::default();
    if received.is_some() {
        remove_connection(fields, &mut edits);
    }
    let etag = metadata.fields.get("etag");
    let validators = Validators {
        etag: etag.as_deref(),
        last_modified_ms: metadata.fields.get("last-modified").as_deref().and_then(http_date::parse_ms),
        received_ms: metadata
            .fields
            .get("date")
            .as_deref()
            .and_then(http_date::parse_ms)
            .unwrap_or(metadata.times.received_ms),
    };
    let has_body = method != "HEAD" && !is_null_body(metadata.status);
    let part = if has_body { BodyPart::Whole } else { BodyPart::Nothing };
    let mut response = ClientResponse { status: metadata.status, fields: Cow::Borrowed(fields), edits, part };
    // RFC 9110 §13.2.1: conditions are ignored if the response without them is not 2xx. §14.2: a
    // range applies only if the response to a GET would be a 200.
    if (200..300).contains(&metadata.status)
        && evaluate(method, request, &validators) == PreconditionResult::NotModified
    {
        response.status = 304;
        response.fields = Cow::Owned(not_modified_fields(fields));
        response.part = BodyPart::Nothing;
    } else if metadata.status == 200 && method == "GET" {
        response.apply_range(request, &validators, metadata.length);
    }
    // RFC 9111 §5.1: `Age` says that the origin server did not generate or validate the
    // response for this request.
    if matches!(diagnostics.cache_status, CacheStatus::Hit { .. }) {
        response.edits.set("age", stored.freshness.age_ms(now_ms).div_euclid(1000).to_string());
    }
    response.add_common_fields(diagnostics, fields);
    response
}

/// Returns the upstream's response as it is passed on.
///
/// # Examples
///
/// ```
/// use http_cache::cache_status::{CacheStatus, ForwardReason};
/// use http_cache::client_response::{Diagnostics, from_upstream};
/// use http_semantics::fields::HeaderSection;
///
/// let (fwd, status) = (ForwardReason::UriMiss, Some(200));
/// let cache_status =
///     CacheStatus::Forwarded { fwd, status, is_stored: false, ttl: None, detail: None };
/// let diagnostics = Diagnostics { cache_status, kv_ms: Some(4), upstream_ms: Some(90) };
/// let fields = HeaderSection::from(&[("etag", "\"v1\""), ("keep-alive", "timeout=5")]);
/// let response = from_upstream("GET", 200, &fields, &diagnostics);
/// assert_eq!(response.edits.remove, ["keep-alive"]);
/// // Without `Cache-Control`, a cache in front could store the response for everybody.
/// assert!(response.edits.set.contains(&("cache-control".into(), "private".into())));
/// ```
#[must_use]
pub fn from_upstream<'a>(
    method: &str,
    status: u16,
    fields: &'a HeaderSection,
    diagnostics: &Diagnostics,
) -> ClientResponse<'a> {
    let mut edits = HeaderEdits::default();
    remove_connection(fields, &mut edits);
    let part = if method == "HEAD" || is_null_body(status) { BodyPart::Nothing } else { BodyPart::Whole };
    let mut response = ClientResponse { status, fields: Cow::Borrowed(fields), edits, part };
    response.add_common_fields(diagnostics, fields);
    response
}

impl ClientResponse<'_> {
    fn apply_range(&mut self, request: &impl Fields, validators: &Validators<'_>, length: u64) {
        let Some(range) = request.get("range") else { return };
        match Range::of(Some(&range), request.get("if-range").as_deref(), validators, length) {
            Range::Satisfiable(ranges) => {
                // A server may ignore a request for several ranges (§14.2). Such a request
                // reaches the upstream only if nothing is stored.
                let [range] = ranges.as_slice() else { return };
                self.status = 206;
                self.edits.remove("content-length");
                self.edits.set("content-range", content_range(range, length));
                self.part = BodyPart::Bytes(range.clone());
            }
            Range::Unsatisfiable => {
                self.status = 416;
                self.fields = Cow::Owned(HeaderSection::default());
                self.edits.set("content-range", unsatisfied_range(length));
                self.part = BodyPart::Nothing;
            }
            Range::Whole => {}
        }
    }

    fn add_common_fields(&mut self, diagnostics: &Diagnostics, fields: &HeaderSection) {
        // Another cache in front could store a response without `Cache-Control` (RFC 9111
        // §4.2.2), although it may be for one client only.
        if !self.fields.has("cache-control") {
            self.edits.set("cache-control", "private");
        }
        // This cache has rules that one in front does not know, such as those for credentials.
        // That one would take a soft-purged response for a fresh one, and keep one that states no
        // lifetime.
        if !diagnostics.cache_status.is_fresh() {
            let (name, no_store) = workers_cache::NO_STORE;
            self.edits.set(name, no_store);
        }
        self.edits.set("via", with_member(fields.get("via"), VIA));
        let cache_status = diagnostics.cache_status.to_string();
        self.edits.set(
            "cache-status",
            match fields.get("cache-status") {
                Some(others) => format!("{others}, {cache_status}"),
                None => cache_status,
            },
        );
        if let Some(timing) = server_timing(diagnostics.kv_ms, diagnostics.upstream_ms) {
            self.edits.append("server-timing", timing);
        }
    }
}

/// Removes the fields of the connection to the upstream, also the three that
/// [`remove_hop_by_hop`] leaves: the runtime frames a response that is built here anew.
fn remove_connection(fields: &HeaderSection, edits: &mut HeaderEdits<'_>) {
    remove_hop_by_hop(fields, false, edits);
    for name in ["connection", "keep-alive", "transfer-encoding"] {
        if fields.has(name) {
            edits.remove(name);
        }
    }
}

/// Returns true if a response with this status has no body (RFC 9110 §6.4.1; Fetch Standard,
/// "null body status").
#[must_use]
pub fn is_null_body(status: u16) -> bool {
    matches!(status, 204 | 205 | 304)
}

/// Returns the fields with a `Date`: the upstream's, or else the time at which the response was
/// received (RFC 9110 §6.6.1).
///
/// # Examples
///
/// ```
/// use http_cache::client_response::with_date;
/// use http_semantics::fields::{Fields, HeaderSection};
///
/// let fields = with_date(HeaderSection::default(), 784_111_777_000);
/// assert_eq!(fields.get("date").as_deref(), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
/// ```
#[must_use]
pub fn with_date(fields: HeaderSection, received_ms: u64) -> HeaderSection {
    if fields.has("date") {
        return fields;
    }
    HeaderSection::parse([fields.as_str(), "date\n", &http_date::format(received_ms), "\n"].concat())
}

#[cfg(test)]
mod tests;
