//! Validation: asking the upstream whether a stored response is still current (RFC 9111 §4.3).
//!
//! The request carries the validators of the stored response as conditions. A 304 means that it
//! is current: its fields update the stored ones, and its age begins anew ("freshening").

#[cfg(test)]
mod tests;

use http_semantics::conditional::{EntityTag, EntityTagComparison};
use http_semantics::fields::{Fields, HeaderSection, is_hop_by_hop, list};
use http_semantics::http_date;

/// What the response to a HEAD means for a stored response to GET (RFC 9111 §4.3.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeadRequestEffect {
    /// The stored response is current, and these are its new fields.
    Update(HeaderSection),
    /// The stored response is out of date.
    Invalidate,
}

/// Returns the fields that make a request conditional, with each validator that can be compared,
/// as the upstream wrote it (RFC 9111 §4.3.1).
///
/// [`freshened`] has an example.
#[must_use]
pub fn conditions(stored: &impl Fields) -> Vec<(&'static str, String)> {
    // An `ETag` that is not a single tag is not sent: in `If-None-Match`, a `*` or a list has
    // another meaning.
    let etag = stored.get("etag").filter(|etag| EntityTag::parse(etag).is_some());
    let modified = stored.get("last-modified").filter(|date| http_date::parse_ms(date).is_some());
    let both = [("if-none-match", etag), ("if-modified-since", modified)];
    both.into_iter().filter_map(|(name, value)| Some((name, value?.trim().to_owned()))).collect()
}

/// Returns true if a response can be validated: it has an `ETag` or a `Last-Modified` that
/// parses.
#[must_use]
pub fn has_validator(fields: &impl Fields) -> bool {
    tag_of(fields).is_some() || modified_ms(fields).is_some()
}

/// Returns the fields of a stored response after a newer one, a 304 or a 200 to HEAD, that is
/// about it (RFC 9111 §3.2, §4.3.5). Those of the newer one replace the stored ones, except those
/// that describe the stored bytes, the `ETag` if one is stored, those of the connection, and those
/// for this client alone (`Set-Cookie`, `Proxy-Authentication-Info`). They may include some that
/// the new `Cache-Control` forbids to store (§3.1), so the caller applies
/// [`crate::storable::stored_fields`].
///
/// The old `Age` is dropped, and so is the old `Date`: if the newer response has none, the time at
/// which it was received counts. A stored `Set-Cookie` is dropped if the newer response has one.
///
/// # Examples
///
/// ```
/// use http_cache::validation::{conditions, freshened};
/// use http_semantics::fields::{Fields, HeaderSection};
///
/// let stored =
///     HeaderSection::from(&[("etag", "\"v1\""), ("cache-control", "max-age=60"), ("age", "9")]);
/// assert_eq!(conditions(&stored), [("if-none-match", "\"v1\"".to_owned())]);
///
/// // The upstream responds 304, with a weak tag and a new lifetime.
/// let newer = HeaderSection::from(&[("etag", "W/\"v1\""), ("cache-control", "max-age=120")]);
/// let fields = freshened(&stored, &newer);
/// assert_eq!(fields.get("etag").as_deref(), Some("\"v1\""));
/// assert_eq!(fields.get("cache-control").as_deref(), Some("max-age=120"));
/// assert!(!fields.has("age"));
/// ```
#[must_use]
pub fn freshened(stored: &HeaderSection, newer: &HeaderSection) -> HeaderSection {
    let connection = newer.get("connection").unwrap_or_default();
    let is_taken = |name: &str| {
        // The stored tag is that of the stored bytes. The newer one may match it only weakly.
        let is_stored_etag = name == "etag" && stored.has("etag");
        !(is_of_the_body(name)
            || is_stored_etag
            || is_hop_by_hop(name)
            // A cookie is for this client.
            || matches!(name, "proxy-authentication-info" | "set-cookie")
            || list(&connection).any(|listed| listed.eq_ignore_ascii_case(name)))
    };
    let is_replaced =
        |name: &str| matches!(name, "age" | "date") || ((is_taken(name) || name == "set-cookie") && newer.has(name));
    let retained = stored.iter().filter(|(name, _)| !is_replaced(name));
    retained.chain(newer.iter().filter(|(name, _)| is_taken(name))).collect()
}

/// Returns true for a field that describes the stored bytes: how to decode them or their length or
/// digest. After a weak match, the upstream's representation may have other bytes, so the values
/// of a 304 need not be those of the stored ones. RFC 9111 §3.2: `Content-Length` is never
/// updated; the others may be left out "to ensure integrity of the stored response".
/// `Content-Type` is updated, because it does not change the bytes.
fn is_of_the_body(name: &str) -> bool {
    matches!(
        name,
        "content-length"
            | "content-encoding"
            | "content-range"
            | "content-md5"
            | "content-digest"
            | "repr-digest"
            | "digest"
    )
}

/// Returns true if a 304 is about this stored response (RFC 9111 §4.3.4). If both have an entity
/// tag, that decides, otherwise `Last-Modified` does; for a 304 with a strong tag, it must be a
/// strong validator, too. A 304 without validators is about the one response that the request
/// named.
#[must_use]
pub fn is_selected_for_update(stored: &impl Fields, not_modified: &impl Fields) -> bool {
    match (tag_of(stored), tag_of(not_modified)) {
        // "If the 304 response contains one or more strong validators": the same one.
        (Some(stored), Some(tag)) => {
            stored.equals(&tag, if tag.is_weak() { EntityTagComparison::Weak } else { EntityTagComparison::Strong })
        }
        (None, Some(tag)) => {
            let is_strong = modified_ms(stored).is_some_and(|at| date_of(stored) >= Some(at.saturating_add(1000)));
            has_same_last_modified(stored, not_modified) && (tag.is_weak() || is_strong)
        }
        (_, None) => modified_ms(not_modified).is_none() || has_same_last_modified(stored, not_modified),
    }
}

/// Returns what the response to a HEAD means for the stored 200 to GET (RFC 9111 §4.3.5). A
/// status other than 200 means that GET would get another response, too (RFC 9110 §9.3.2).
///
/// The caller must not pass in a response that says nothing about the stored one: a 5xx, or a
/// 304 to the client's own condition.
#[must_use]
pub fn head_request_effect(
    stored: &HeaderSection,
    stored_length: u64,
    status: u16,
    head: &HeaderSection,
) -> HeadRequestEffect {
    if status == 200 && matches_head(stored, stored_length, head) {
        HeadRequestEffect::Update(freshened(stored, head))
    } else {
        HeadRequestEffect::Invalidate
    }
}

/// "matching values for any received validator fields (`ETag` and `Last-Modified`) and, if the
/// HEAD response has a Content-Length header field, the value of Content-Length matches that of
/// the stored response".
fn matches_head(stored: &HeaderSection, stored_length: u64, head: &HeaderSection) -> bool {
    let has_same_tag = !head.has("etag") || (tag_of(head).is_some() && tag_of(stored) == tag_of(head));
    let has_same_modified = !head.has("last-modified") || has_same_last_modified(stored, head);
    let has_same_length = head.get("content-length").is_none_or(|length| length.trim().parse() == Ok(stored_length));
    has_same_tag && has_same_modified && has_same_length
}

/// Returns the fields of a 304 to the client (RFC 9110 §15.4.5), including `Via` and the targeted
/// fields, which guide the updates of caches as `Cache-Control` does (RFC 9213). `Age` is left to
/// the caller.
#[must_use]
pub fn not_modified_fields(stored: &HeaderSection) -> HeaderSection {
    let has_etag = stored.has("etag");
    let is_sent = |name: &str| match name {
        "cache-control"
        | "cdn-cache-control"
        | "cloudflare-cdn-cache-control"
        | "content-location"
        | "date"
        | "etag"
        | "expires"
        | "vary"
        | "via" => true,
        // "Last-Modified might be useful if the response does not have an ETag field".
        "last-modified" => !has_etag,
        _ => false,
    };
    stored.iter().filter(|(name, _)| is_sent(name)).collect()
}

fn tag_of(fields: &impl Fields) -> Option<EntityTag> {
    fields.get("etag").and_then(|etag| EntityTag::parse(&etag))
}

fn modified_ms(fields: &impl Fields) -> Option<u64> {
    fields.get("last-modified").and_then(|date| http_date::parse_ms(&date))
}

fn date_of(fields: &impl Fields) -> Option<u64> {
    fields.get("date").and_then(|date| http_date::parse_ms(&date))
}

/// Returns true if both have the same `Last-Modified`.
fn has_same_last_modified(stored: &impl Fields, other: &impl Fields) -> bool {
    modified_ms(stored).is_some_and(|at| modified_ms(other) == Some(at))
}
