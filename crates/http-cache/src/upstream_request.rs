//! The request that goes to the upstream: what changes in the client's header fields.

use crate::client_response::VIA;
use crate::error::CacheError;
use http_semantics::cdn_loop;
use http_semantics::fields::{Fields, HeaderEdits, remove_hop_by_hop, with_member};
use http_semantics::forwarding_fields::{is_set_by_cloudflare, is_stripped};

/// The fields of conditions and ranges (RFC 9110 §13.1, §14.2).
const CONDITIONS_AND_RANGES: [&str; 6] =
    ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "range"];

/// The client's header fields that the request of a refresh in the background does not have. The
/// stored response is for everybody, and so must be the one that replaces it; and what this client
/// accepts from a cache, such as `only-if-cached`, says nothing about a request that serves all
/// others.
pub const NOT_OF_REFRESH: [&str; 3] = ["authorization", "cache-control", "pragma"];

/// Returns the changes to the client's header fields for a request to the upstream.
///
/// If a response is stored (`is_stored`), a `GET` or `HEAD` asks for the whole representation
/// under the cache's own `conditions` (RFC 9111 §4.3.1); otherwise the client's conditions and
/// ranges are passed on.
///
/// Fields in which proxies state host, path, method or client are not part of the cache key. A
/// response that depends on one would be stored for everybody, so they are all removed.
///
/// # Errors
/// [`CacheError::Loop`] if the request has passed through kv-edge before (RFC 8586).
///
/// # Examples
///
/// ```
/// use http_cache::upstream_request::edits;
/// use http_semantics::fields::HeaderSection;
///
/// // A visitor forges the host, and the cache validates what it has stored.
/// let forged = ("x-forwarded-host", "evil.example");
/// let request = HeaderSection::from(&[forged, ("if-none-match", "\"theirs\"")]);
/// let conditions = vec![("if-none-match", "\"stored\"".to_owned())];
/// let edits = edits("GET", &request, conditions, true)?;
/// assert_eq!(edits.remove, ["x-forwarded-host", "if-none-match"]);
/// assert!(edits.set.contains(&("if-none-match".into(), "\"stored\"".into())));
/// # Ok::<(), http_cache::error::CacheError>(())
/// ```
pub fn edits(
    method: &str,
    request: &impl Fields,
    conditions: Vec<(&'static str, String)>,
    is_stored: bool,
) -> Result<HeaderEdits<'static>, CacheError> {
    let mut edits = HeaderEdits::default();
    remove_hop_by_hop(request, false, &mut edits);
    let is_get_or_head = matches!(method, "GET" | "HEAD");
    for name in request.names().split(',') {
        // A `GET` or `HEAD` is sent without a body (RFC 9110 §9.3.1, §9.3.2), and so without the
        // fields that frame one.
        let is_framing = is_get_or_head && matches!(name, "content-length" | "transfer-encoding");
        let condition_or_range = CONDITIONS_AND_RANGES.into_iter().find(|field| *field == name);
        if let Some(name) = condition_or_range.filter(|_| is_stored && is_get_or_head) {
            edits.remove(name);
        } else if is_framing || is_stripped(name) || is_set_by_cloudflare(name) {
            edits.remove(name.to_owned());
        }
    }
    let cdn_loop = cdn_loop::append_cdn_id(request.get("cdn-loop")).ok_or(CacheError::Loop)?;
    edits.set("cdn-loop", cdn_loop);
    edits.set("via", with_member(request.get("via"), VIA));
    for (name, value) in conditions {
        edits.set(name, value);
    }
    Ok(edits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_semantics::fields::HeaderSection;

    fn changed(method: &str, fields: &[(&'static str, &str)], is_stored: bool) -> (Vec<String>, Vec<String>) {
        let conditions = if is_stored { vec![("if-none-match", "\"stored\"".to_owned())] } else { Vec::new() };
        let edits = edits(method, &HeaderSection::from(fields), conditions, is_stored).unwrap();
        let set = edits.set.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        (edits.remove.iter().map(ToString::to_string).collect(), set)
    }

    #[test]
    fn a_validation_replaces_the_clients_conditions_and_range() {
        let fields = [("if-none-match", "\"a\""), ("if-range", "\"a\""), ("range", "bytes=0-1"), ("accept", "*/*")];
        let added = ["cdn-loop: kv-edge", "via: 1.1 kv-edge"];
        assert_eq!(changed("GET", &fields, false), (vec![], added.map(str::to_owned).to_vec()));
        let (removed, set) = changed("GET", &fields, true);
        assert_eq!(removed, ["if-none-match", "if-range", "range"]);
        assert_eq!(set, [added[0], added[1], "if-none-match: \"stored\""]);
    }

    #[test]
    fn a_write_retains_conditions_and_framing_and_a_get_has_no_body() {
        let fields = [("if-match", "\"a\""), ("content-length", "0"), ("transfer-encoding", "chunked")];
        assert_eq!(changed("PUT", &fields, false).0, [""; 0]);
        assert_eq!(changed("GET", &fields, false).0, ["content-length", "transfer-encoding"]);
    }

    #[test]
    fn fields_that_are_not_part_of_the_cache_key_do_not_reach_the_upstream() {
        for name in [
            "x-forwarded-host",
            "x-forwarded-for",
            "forwarded",
            "x-host",
            "x-original-url",
            "x-rewrite-url",
            "x-http-method-override",
            "x-force-variant-token",
            "cf-connecting-ip",
        ] {
            for method in ["GET", "HEAD", "POST"] {
                assert_eq!(changed(method, &[(name, "evil.example"), ("accept", "*/*")], false).0, [name], "{method}");
            }
        }
    }

    #[test]
    fn a_request_that_passed_through_before_is_a_loop() {
        let fields = HeaderSection::from(&[("cdn-loop", "a, kv-edge")]);
        assert_eq!(edits("GET", &fields, Vec::new(), false), Err(CacheError::Loop));
        let (_, set) = changed("GET", &[("cdn-loop", "a"), ("via", "1.0 b")], false);
        assert_eq!(set, ["cdn-loop: a, kv-edge", "via: 1.0 b, 1.1 kv-edge"]);
    }
}
