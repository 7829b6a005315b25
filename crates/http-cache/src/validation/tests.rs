//! Conditions of requests, and what a 304 or the response to a HEAD does to a stored response.

use proptest::prelude::*;

use super::*;

const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const NEW: &str = "Mon, 07 Nov 1994 08:49:37 GMT";

fn lines(of: &[(&'static str, &'static str)]) -> HeaderSection {
    of.iter().copied().collect()
}

/// RFC 9111 §4.3.1: "MUST send the relevant entity tags", "SHOULD send the Last-Modified value
/// (using If-Modified-Since) if … a single stored response is being validated, and that response
/// contains a Last-Modified value".
#[test]
fn each_validator_that_can_be_compared_is_sent_as_the_upstream_wrote_it() {
    for (stored, tag, date) in [
        (vec![], None, None),
        (vec![("etag", "\"a,b\"")], Some("\"a,b\""), None),
        (vec![("etag", " W/\"a\" ")], Some("W/\"a\""), None),
        (vec![("etag", "\"\"")], Some("\"\""), None),
        (vec![("last-modified", OLD)], None, Some(OLD)),
        (vec![("last-modified", OLD), ("etag", "\"a\"")], Some("\"a\""), Some(OLD)),
        (vec![("last-modified", "Sunday, 06-Nov-94 08:49:37 GMT")], None, Some("Sunday, 06-Nov-94 08:49:37 GMT")),
        // A server that writes such tags also compares them.
        (vec![("etag", "a")], Some("a"), None),
        (vec![("etag", "w/\"a\"")], Some("w/\"a\""), None),
        // In `If-None-Match`, these would have another meaning.
        (vec![("etag", "*")], None, None),
        (vec![("etag", "\"a\", \"b\"")], None, None),
        (vec![("etag", "\"a\""), ("etag", "\"b\"")], None, None),
        (vec![("etag", "a,b")], None, None),
        (vec![("etag", "")], None, None),
        (vec![("last-modified", "yesterday")], None, None),
        (vec![("last-modified", OLD), ("last-modified", NEW)], None, None),
    ] {
        let both = [("if-none-match", tag), ("if-modified-since", date)];
        let expected: Vec<_> = both.into_iter().filter_map(|(name, value)| Some((name, value?.to_owned()))).collect();
        assert_eq!(conditions(&lines(&stored)), expected, "{stored:?}");
        assert_eq!(has_validator(&lines(&stored)), !expected.is_empty(), "{stored:?}");
    }
}

/// RFC 9111 §3.2: "the cache MUST add each header field in the provided response to the stored
/// response, replacing field values that are already present, with the following exceptions".
#[test]
fn a_304_replaces_the_fields_it_has_with_the_exceptions_of_the_rfc_and_of_cookies() {
    let retained = "kept";
    for (name, stored, from_304, result) in [
        ("x-a", Some("1"), Some("2"), Some("2")),
        ("x-a", Some("1"), None, Some("1")),
        ("x-a", None, Some("2"), Some("2")),
        ("cache-control", Some("max-age=1"), Some("max-age=3600"), Some("max-age=3600")),
        ("expires", Some(OLD), Some(NEW), Some(NEW)),
        ("last-modified", Some(OLD), Some(NEW), Some(NEW)),
        ("content-location", Some("/a"), Some("/b"), Some("/b")),
        ("content-security-policy", Some("a"), Some("b"), Some("b")),
        ("set-cookie", Some("a=1"), Some("a=2"), None),
        ("vary", Some("a"), Some("b"), Some("b")),
        // "the Content-* prefix is not a signal that a header field is omitted from update".
        ("content-type", Some("text/plain"), Some("text/html"), Some("text/html")),
        ("content-foo", Some("a"), Some("b"), Some("b")),
        // "The Content-Length header field."
        ("content-length", Some("5"), Some("0"), Some("5")),
        ("content-length", None, Some("0"), None),
        // "those fields necessary to ensure integrity of the stored response"
        ("content-encoding", Some("gzip"), Some("br"), Some("gzip")),
        ("content-encoding", None, Some("br"), None),
        ("content-range", None, Some("bytes 0-1/2"), None),
        ("content-md5", Some("a"), Some("b"), Some("a")),
        ("content-digest", Some("a"), Some("b"), Some("a")),
        ("repr-digest", Some("a"), Some("b"), Some("a")),
        ("digest", Some("a"), Some("b"), Some("a")),
        // The tag belongs to the stored bytes.
        ("etag", Some("\"a\""), Some("W/\"a\""), Some("\"a\"")),
        ("etag", None, Some("\"a\""), Some("\"a\"")),
        // "Header fields excepted from storage in Section 3.1"
        ("connection", None, Some("close"), None),
        ("keep-alive", None, Some("a"), None),
        ("transfer-encoding", None, Some("chunked"), None),
        ("proxy-authenticate", None, Some("a"), None),
        ("proxy-authentication-info", None, Some("a"), None),
        ("proxy-connection", None, Some("a"), None),
        ("te", None, Some("a"), None),
        ("trailer", None, Some("a"), None),
        ("upgrade", None, Some("a"), None),
        // Those of the latest response.
        ("age", Some("10"), Some("1"), Some("1")),
        ("age", Some("10"), None, None),
        ("date", Some(OLD), Some(NEW), Some(NEW)),
        ("date", Some(OLD), None, None),
    ] {
        let of = |value: Option<&'static str>| -> HeaderSection {
            [("x-kept", Some(retained)), (name, value)]
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)))
                .collect()
        };
        let fields = freshened(&of(stored), &of(from_304));
        assert_eq!(fields.get(name).as_deref(), result, "{name} {stored:?} {from_304:?}");
        assert_eq!(fields.get("x-kept").as_deref(), Some(retained), "{name}");
    }
}

#[test]
fn all_lines_of_a_field_are_replaced_and_what_connection_lists_stays_away() {
    let stored = lines(&[("link", "a1"), ("x-a", "1"), ("link", "b1"), ("x-b", "1")]);
    let from_304 = lines(&[("connection", "X-B, x-c"), ("link", "a2"), ("x-b", "2"), ("x-c", "2"), ("link", "c2")]);
    let fields = freshened(&stored, &from_304);
    assert_eq!(fields, lines(&[("x-a", "1"), ("x-b", "1"), ("link", "a2"), ("link", "c2")]));
}

/// RFC 9111 §4.3.4: "filtered by the first match of".
#[test]
fn a_304_selects_the_response_that_has_its_validator() {
    // The stored response's tag, date and `Date`; those of the 304.
    for (stored, from_304, is_same) in [
        // "If none of the initial set contains at least one of the same strong validators, then
        // the cache MUST NOT use the new response to update any stored responses."
        ((Some("\"a\""), None), (Some("\"a\""), None), true),
        ((Some("\"a\""), None), (Some("\"b\""), None), false),
        ((Some("\"a\""), Some(OLD)), (Some("\"b\""), Some(OLD)), false),
        ((Some("\"a\""), Some(OLD)), (Some("\"a\""), Some(NEW)), true),
        ((Some("W/\"a\""), None), (Some("\"a\""), None), false),
        ((None, Some(OLD)), (Some("\"a\""), Some(OLD)), true),
        ((None, Some(OLD)), (Some("\"a\""), Some(NEW)), false),
        ((None, Some(OLD)), (Some("\"a\""), None), false),
        ((Some("a"), None), (Some("a"), None), true),
        // "no strong validators but … one or more weak validators, and those validators
        // correspond to one of the initial set's stored responses".
        ((Some("W/\"a\""), None), (Some("W/\"a\""), None), true),
        ((Some("\"a\""), None), (Some("W/\"a\""), None), true),
        ((Some("\"a\""), None), (Some("W/\"b\""), None), false),
        ((None, Some(OLD)), (Some("W/\"a\""), Some(OLD)), true),
        ((None, Some(OLD)), (Some("W/\"a\""), None), false),
        ((None, Some(OLD)), (None, Some(OLD)), true),
        ((None, Some(OLD)), (None, Some("Sunday, 06-Nov-94 08:49:37 GMT")), true),
        ((None, Some(OLD)), (None, Some(NEW)), false),
        ((Some("\"a\""), Some(OLD)), (None, Some(OLD)), true),
        ((Some("\"a\""), Some(OLD)), (None, Some(NEW)), false),
        ((Some("\"a\""), None), (None, Some(OLD)), false),
        // "does not include any form of validator … and there is only one stored response in the
        // initial set": the one whose validator was sent. The RFC requires that one to have no
        // validator either, but many servers send no `Last-Modified` in a 304.
        ((None, None), (None, None), true),
        ((Some("\"a\""), None), (None, None), true),
        ((None, Some(OLD)), (None, None), true),
        ((Some("\"a\""), Some(OLD)), (Some("*"), Some("yesterday")), true),
    ] {
        let of = |(tag, date): (Option<&'static str>, Option<&'static str>)| -> HeaderSection {
            let fields = [("etag", tag), ("last-modified", date), ("date", Some(NEW))];
            fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
        };
        assert_eq!(is_selected_for_update(&of(stored), &of(from_304)), is_same, "{stored:?} {from_304:?}");
    }
    // RFC 9110 §8.8.2.2: a date is strong if "that cache entry includes a Date value which is at
    // least one second after".
    let from_304 = lines(&[("etag", "\"a\""), ("last-modified", OLD)]);
    for (stored, is_same) in [
        (vec![("last-modified", OLD), ("date", "Sun, 06 Nov 1994 08:49:38 GMT")], true),
        (vec![("last-modified", OLD), ("date", OLD)], false),
        (vec![("last-modified", OLD)], false),
    ] {
        assert_eq!(is_selected_for_update(&lines(&stored), &from_304), is_same, "{stored:?}");
    }
}

/// RFC 9111 §4.3.5: "if the stored response and HEAD response have matching values for any
/// received validator fields (`ETag` and Last-Modified) and, if the HEAD response has a
/// Content-Length header field, the value of Content-Length matches that of the stored response,
/// the cache SHOULD update the stored response …; otherwise, the cache SHOULD consider the
/// stored response to be stale".
#[test]
fn a_head_updates_the_response_that_has_its_validators() {
    let stored = lines(&[("etag", "\"a\""), ("last-modified", OLD), ("x-a", "1"), ("x-b", "1"), ("age", "9")]);
    for (head, is_same) in [
        (vec![], true),
        (vec![("etag", "\"a\"")], true),
        (vec![("last-modified", OLD)], true),
        (vec![("content-length", "5")], true),
        (vec![("etag", "\"a\""), ("last-modified", OLD), ("content-length", " 5 ")], true),
        (vec![("etag", "\"b\"")], false),
        (vec![("etag", "W/\"a\"")], false),
        (vec![("etag", "*")], false),
        (vec![("last-modified", NEW)], false),
        (vec![("last-modified", "yesterday")], false),
        (vec![("etag", "\"a\""), ("last-modified", NEW)], false),
        (vec![("content-length", "6")], false),
        (vec![("content-length", "5"), ("content-length", "5")], false),
        (vec![("etag", "\"a\""), ("content-length", "a")], false),
    ] {
        let mut head = head.clone();
        head.push(("x-a", "2"));
        let effect = head_request_effect(&stored, 5, 200, &lines(&head));
        let HeadRequestEffect::Update(fields) = effect else {
            assert!(!is_same && effect == HeadRequestEffect::Invalidate, "{head:?}");
            continue;
        };
        assert!(is_same, "{head:?}");
        assert_eq!(fields, freshened(&stored, &lines(&head)), "{head:?}");
        assert_eq!((fields.get("x-a").as_deref(), fields.get("x-b").as_deref()), (Some("2"), Some("1")), "{head:?}");
    }
    let without = lines(&[("x-a", "1")]);
    for head in [[("etag", "\"a\"")], [("last-modified", OLD)]] {
        assert_eq!(
            head_request_effect(&without, 5, 200, &lines(&head)),
            HeadRequestEffect::Invalidate,
            "it got a validator: {head:?}"
        );
    }
}

#[test]
fn a_head_with_another_status_than_200_invalidates() {
    let stored = lines(&[("etag", "\"a\"")]);
    for status in [203, 204, 206, 301, 302, 307, 403, 404, 410] {
        assert_eq!(head_request_effect(&stored, 5, status, &stored), HeadRequestEffect::Invalidate, "{status}");
    }
}

/// RFC 9110 §15.4.5: "Content-Location, Date, `ETag`, and Vary; Cache-Control and Expires";
/// "SHOULD NOT generate representation metadata other than the above listed fields unless said
/// metadata exists for the purpose of guiding cache updates (e.g., Last-Modified might be useful
/// if the response does not have an `ETag` field)".
#[test]
fn a_304_has_what_guides_the_updates_of_caches() {
    let sent = [
        ("cache-control", "max-age=1"),
        ("cdn-cache-control", "max-age=2"),
        ("cloudflare-cdn-cache-control", "max-age=3"),
        ("content-location", "/a"),
        ("date", NEW),
        ("expires", NEW),
        ("vary", "a"),
        ("vary", "b"),
        ("via", "1.1 a"),
    ];
    let others = [
        ("age", "1"),
        ("content-type", "text/html"),
        ("content-length", "5"),
        ("content-encoding", "gzip"),
        ("content-language", "de"),
        ("accept-ranges", "bytes"),
        ("set-cookie", "a=1"),
        ("x-a", "1"),
    ];
    let given = |validators: &[(&'static str, &'static str)]| lines(&[&sent[..], &others, validators].concat());
    let of = |validators: &[(&'static str, &'static str)]| lines(&[&sent[..], validators].concat());
    let (etag, modified) = (("etag", "\"a\""), ("last-modified", OLD));
    assert_eq!(not_modified_fields(&given(&[etag, modified])), of(&[etag]));
    assert_eq!(not_modified_fields(&given(&[modified])), of(&[modified]));
    assert_eq!(not_modified_fields(&given(&[])), of(&[]));
}

const NAMES: [&str; 9] =
    ["etag", "age", "date", "x-a", "x-b", "content-length", "content-encoding", "connection", "last-modified"];

fn some_lines() -> impl Strategy<Value = HeaderSection> {
    let line = (proptest::sample::select(&NAMES[..]), proptest::sample::select(&["x-a", "x-b", "1"][..]));
    proptest::collection::vec(line, 0..8).prop_map(|of| of.into_iter().collect())
}

proptest! {
    #[test]
    fn the_same_304_again_changes_nothing(stored in some_lines(), from_304 in some_lines()) {
        let sorted = |fields: &HeaderSection| {
            let mut lines: Vec<_> = fields.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            lines.sort();
            lines
        };
        let once = freshened(&stored, &from_304);
        prop_assert_eq!(sorted(&freshened(&once, &from_304)), sorted(&once));
    }

    #[test]
    fn a_304_selects_the_response_it_equals(stored in some_lines()) {
        prop_assert!(is_selected_for_update(&stored, &stored));
    }
}
