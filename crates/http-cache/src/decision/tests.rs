//! Which requests a stored response may serve, by the directives of both and the time.

use super::*;
use crate::freshness::ExchangeTimes;
use crate::stored_response::StoredMetadata;
use http_semantics::fields::HeaderSection;

/// When the stored response was received. If it took no time, nothing is refreshed early, and no
/// random bits are drawn.
const RECEIVED_MS: u64 = 784_111_777_000;

/// A 200 received at [`RECEIVED_MS`], after `cost_ms`, with an entity tag.
fn stored(cache_control: &str, cost_ms: u64) -> StoredResponse {
    let fields: HeaderSection = [("cache-control", cache_control), ("etag", "\"a\"")].into_iter().collect();
    let times = ExchangeTimes { requested_ms: RECEIVED_MS - cost_ms, received_ms: RECEIVED_MS };
    StoredResponse::new(StoredMetadata::of_plain_request(200, &fields, times), None)
}

/// A decision as text: `hit` or why a stale response is served, with ` refresh`; `fwd=` and the
/// reason, with the conditions; `504`.
fn as_text(decision: Decision) -> String {
    match decision {
        Decision::Serve { stale, refresh } => {
            format!("{}{}", stale.unwrap_or("hit"), if refresh { " refresh" } else { "" })
        }
        Decision::Forward { fwd, conditions } => {
            let conditions = conditions.iter().map(|(name, value)| format!(" {name}: {value}"));
            format!("fwd={fwd}{}", conditions.collect::<String>())
        }
        Decision::NotCached => "504".to_owned(),
    }
}

fn cache_request(method: &str, cache_control: &str) -> CacheRequest {
    CacheRequest::of(method, &HeaderSection::from(&[("cache-control", cache_control)]))
}

/// The decision on a GET with this `Cache-Control`, this many milliseconds after a response with
/// that one was received.
fn decision_after(request: &str, response: &str, after_ms: u64, is_backing_off: bool) -> String {
    let stored = stored(response, 0);
    let selected = SelectedResponse { stored: &stored, is_backing_off, is_soft_purged: false };
    let never = || unreachable!("no random bits are needed");
    as_text(decide(
        &cache_request("GET", request),
        Some(selected),
        ForwardReason::UriMiss,
        RECEIVED_MS + after_ms,
        never,
    ))
}

/// The rule, the request's `Cache-Control`, the stored one, milliseconds since the response was
/// received, and the decision.
type DecisionCase = (&'static str, &'static str, &'static str, u64, &'static str);

fn check(is_backing_off: bool, rows: &[DecisionCase]) {
    for (rule, request, response, after_ms, expected) in rows {
        assert_eq!(
            decision_after(request, response, *after_ms, is_backing_off),
            *expected,
            "{rule}: {request:?} asks for {response:?} after {after_ms} ms"
        );
    }
}

const SENT: &str = "fwd=stale if-none-match: \"a\"";
const AGAIN: &str = "fwd=request if-none-match: \"a\"";

#[test]
fn a_fresh_response_is_served_and_a_stale_one_is_validated() {
    // RFC 9111 §4: "the stored response is one of the following: fresh …, allowed to be served
    // stale …, or successfully validated". §4.2: "response_is_fresh = (freshness_lifetime >
    // current_age)". RFC 9211 §2.2: "stale: The cache was able to select a response for the
    // request, but it was stale."
    check(
        false,
        &[
            ("just come", "", "max-age=60", 0, "hit"),
            ("the last millisecond", "", "max-age=60", 59_999, "hit"),
            ("as old as its lifetime", "", "max-age=60", 60_000, SENT),
            ("older", "", "max-age=60", 60_001, SENT),
            ("never fresh", "", "max-age=0", 0, SENT),
            ("no freshness at all", "", "", 0, SENT),
            ("a directive that is not known", "x=1", "max-age=60, x", 59_999, "hit"),
            ("a shared cache's lifetime goes first", "", "s-maxage=1, max-age=60", 1000, SENT),
            ("must-revalidate is about stale ones", "", "max-age=60, must-revalidate", 59_999, "hit"),
        ],
    );
    let came_old: HeaderSection =
        [("cache-control", "max-age=60"), ("age", "59"), ("etag", "\"a\"")].into_iter().collect();
    let times = ExchangeTimes { requested_ms: RECEIVED_MS - 300, received_ms: RECEIVED_MS };
    let stored = StoredResponse::new(StoredMetadata::of_plain_request(200, &came_old, times), None);
    let selected = SelectedResponse { stored: &stored, is_backing_off: true, is_soft_purged: false };
    for (after_ms, expected) in [(699, "hit"), (700, SENT)] {
        // §4.2.3: "corrected_age_value = age_value + response_delay".
        let decision =
            decide(&cache_request("GET", ""), Some(selected), ForwardReason::UriMiss, RECEIVED_MS + after_ms, || 0);
        assert_eq!(as_text(decision), expected, "a response received 59.3 s old, after {after_ms} ms");
    }
}

#[test]
fn max_age_of_a_request_bounds_the_age() {
    // RFC 9111 §5.2.1.1: "the client prefers a response whose age is less than or equal to the
    // specified number of seconds. Unless the max-stale request directive is also present, the
    // client does not wish to receive a stale response." RFC 9211 §2.2: "request: The cache was
    // able to select a fresh response for the request, but the request's semantics … did not
    // allow its use."
    let stale_ok = "max-age=60, stale-while-revalidate=60";
    check(
        false,
        &[
            ("equal", "max-age=10", "max-age=60", 10_000, "hit"),
            ("greater", "max-age=10", "max-age=60", 10_001, AGAIN),
            ("none older than this moment", "max-age=0", "max-age=60", 0, "hit"),
            ("reload", "max-age=0", "max-age=60", 1, AGAIN),
            ("invalid: 0", "max-age=a", "max-age=60", 1, AGAIN),
            ("wider than the response's own", "max-age=100", "max-age=60", 60_000, SENT),
            ("no stale one without max-stale", "max-age=100", stale_ok, 60_000, SENT),
            ("with max-stale, within both", "max-age=100, max-stale=40", "max-age=60", 100_000, "max-stale"),
            ("with max-stale, too old", "max-age=99, max-stale=60", "max-age=60", 99_001, SENT),
            ("with max-stale, too stale", "max-age=120, max-stale=40", "max-age=60", 100_001, SENT),
        ],
    );
}

#[test]
fn max_stale_accepts_a_stale_response_unless_a_directive_forbids_it() {
    // RFC 9111 §5.2.1.2: "the client will accept a response that has exceeded its freshness
    // lifetime. If a value is present, then the client is willing to accept a response that has
    // exceeded its freshness lifetime by no more than the specified number of seconds. If no
    // value is assigned to max-stale, then the client will accept a stale response of any age."
    check(
        false,
        &[
            ("fresh all the same", "max-stale=10", "max-age=60", 59_999, "hit"),
            ("stale from now on", "max-stale=0", "max-age=60", 60_000, "max-stale"),
            ("0 is no more than 0", "max-stale=0", "max-age=60", 60_001, SENT),
            ("the last millisecond", "max-stale=10", "max-age=60", 70_000, "max-stale"),
            ("by more", "max-stale=10", "max-age=60", 70_001, SENT),
            ("any age", "max-stale", "max-age=60", 86_400_000, "max-stale"),
            ("not a number: allows nothing", "max-stale=a", "max-age=60", 60_000, SENT),
        ],
    );
    // §4.2.4: "A cache MUST NOT generate a stale response if it is prohibited by an explicit
    // in-protocol directive (e.g., by a no-cache response directive, a must-revalidate response
    // directive, or an applicable s-maxage or proxy-revalidate response directive)", whatever
    // else would permit it.
    let windows = "stale-while-revalidate=60, stale-if-error=60";
    for forbids in ["must-revalidate", "proxy-revalidate", "s-maxage=60", "no-cache"] {
        for (request, is_backing_off) in
            [("max-stale", false), ("max-stale=60", true), ("stale-if-error=60", true), ("", false), ("", true)]
        {
            let response = format!("max-age=60, {windows}, {forbids}");
            assert_eq!(decision_after(request, &response, 60_000, is_backing_off), SENT, "{forbids}, {request}");
        }
    }
}

#[test]
fn min_fresh_asks_for_freshness_that_lasts() {
    // RFC 9111 §5.2.1.3: "the client prefers a response whose freshness lifetime is no less than
    // its current age plus the specified time in seconds."
    check(
        false,
        &[
            ("no less: equal", "min-fresh=10", "max-age=60", 50_000, "hit"),
            ("less", "min-fresh=10", "max-age=60", 50_001, AGAIN),
            ("longer than any", "min-fresh=61", "max-age=60", 0, AGAIN),
            ("0: fresh", "min-fresh=0", "max-age=60", 59_999, "hit"),
            ("0: stale", "min-fresh=0", "max-age=60, stale-while-revalidate=60", 60_000, SENT),
            ("invalid", "min-fresh=a", "max-age=60", 59_999, "hit"),
            ("with max-age, one of them fails", "max-age=10, min-fresh=10", "max-age=60", 10_001, AGAIN),
            ("with max-age, both hold", "max-age=10, min-fresh=50", "max-age=60", 10_000, "hit"),
        ],
    );
}

#[test]
fn no_cache_asks_for_validation_on_either_side_unless_a_response_names_fields_with_it() {
    // RFC 9111 §5.2.1.4: "the client prefers stored response not be used to satisfy the request
    // without successful validation on the origin server." §5.2.2.4: "in its unqualified form …
    // the response MUST NOT be used to satisfy any other request without forwarding it for
    // validation and receiving a successful response"; qualified: "a cache MUST exclude the
    // listed header fields", and that is all.
    check(
        false,
        &[
            ("of the request", "no-cache", "max-age=60", 0, AGAIN),
            ("of the request, stale", "no-cache", "max-age=60, stale-while-revalidate=60", 60_000, SENT),
            ("of the request, ahead of max-stale", "no-cache, max-stale", "max-age=60", 60_000, SENT),
            ("of the response", "", "no-cache, max-age=60", 0, SENT),
            ("of the response, ahead of max-stale", "max-stale", "no-cache, max-age=60", 0, SENT),
            ("of the response, with field names", "", "no-cache=\"x-a\", max-age=60", 59_999, "hit"),
            ("of the response, with no names", "", "no-cache=\"\", max-age=60", 0, SENT),
        ],
    );
    let stored = stored("max-age=60, stale-if-error=60", 0);
    let selected = Some(SelectedResponse { stored: &stored, is_backing_off: false, is_soft_purged: false });
    // §5.4: Pragma: no-cache counts if there is no Cache-Control.
    for (fields, expected) in [
        (&[("pragma", "no-cache")][..], AGAIN),
        (&[("pragma", "no-cache"), ("cache-control", "max-stale=1")], "hit"),
        (&[("pragma", "x")], "hit"),
    ] {
        let cache_request = CacheRequest::of("GET", &HeaderSection::from(fields));
        assert_eq!(
            as_text(decide(&cache_request, selected, ForwardReason::UriMiss, RECEIVED_MS, || 0)),
            expected,
            "{fields:?}"
        );
    }
}

#[test]
fn no_store_of_a_request_takes_no_part_in_the_cache() {
    // RFC 9111 §5.2.1.5. RFC 9211 §2.2: "bypass: The cache was configured to not handle this
    // request."
    check(false, &[("no-store", "no-store", "max-age=60", 0, "fwd=bypass")]);
    assert!(!cache_request("GET", "no-store").permits_lookup() && cache_request("GET", "no-cache").permits_lookup());
    assert_eq!(as_text(decide(&cache_request("GET", "no-store"), None, ForwardReason::UriMiss, 0, || 0)), "fwd=bypass");
}

#[test]
fn a_get_or_head_that_says_only_if_cached_gets_a_stored_response_or_a_504() {
    // RFC 9111 §5.2.1.7: "the client only wishes to obtain a stored response. Caches that honor
    // this request directive SHOULD, upon receiving it, respond with either a stored response
    // consistent with the other constraints of the request or a 504".
    check(
        false,
        &[
            ("fresh", "only-if-cached", "max-age=60", 59_999, "hit"),
            ("stale", "only-if-cached", "max-age=60", 60_000, "504"),
            ("not validated", "only-if-cached", "no-cache, max-age=60", 0, "504"),
            ("other constraints", "only-if-cached, max-age=0", "max-age=60", 1, "504"),
            ("other constraints", "only-if-cached, max-stale", "max-age=60", 60_000, "max-stale"),
            (
                "allowed to be stale",
                "only-if-cached",
                "max-age=60, stale-while-revalidate=1",
                61_000,
                "stale-while-revalidate refresh",
            ),
        ],
    );
    for missing in [ForwardReason::UriMiss, ForwardReason::VaryMiss, ForwardReason::Miss] {
        assert_eq!(
            as_text(decide(&cache_request("HEAD", "only-if-cached"), None, missing, 0, || 0)),
            "504",
            "{missing}"
        );
    }
}

#[test]
fn only_if_cached_applies_to_a_get_that_bypasses_the_cache() {
    // RFC 9111 §5.2.1.7, as above: "a 504 (Gateway Timeout) status code" in place of a request
    // to the upstream.
    assert_eq!(
        as_text(decide(&cache_request("GET", "only-if-cached, no-store"), None, ForwardReason::UriMiss, 0, || 0)),
        "504",
        "no-store"
    );
    let fields = [("cache-control", "only-if-cached"), ("if-match", "\"a\"")];
    let conditional = CacheRequest::of("GET", &HeaderSection::from(&fields));
    assert_eq!(as_text(decide(&conditional, None, ForwardReason::UriMiss, 0, || 0)), "504", "with If-Match");
}

#[test]
fn stale_while_revalidate_serves_at_once_and_refreshes() {
    // RFC 5861 §3: "caches MAY serve the response in which it appears after it becomes stale, up
    // to the indicated number of seconds … the cache SHOULD attempt to revalidate it while still
    // serving stale responses".
    let (response, refreshed) = ("max-age=60, stale-while-revalidate=10", "stale-while-revalidate refresh");
    check(
        false,
        &[
            ("fresh: nothing to do", "", response, 59_999, "hit"),
            ("the first millisecond", "", response, 60_000, refreshed),
            ("the last millisecond", "", response, 70_000, refreshed),
            ("over", "", response, 70_001, SENT),
            ("0", "", "max-age=60, stale-while-revalidate=0", 60_000, refreshed),
            ("0, over", "", "max-age=60, stale-while-revalidate=0", 60_001, SENT),
            ("invalid", "", "max-age=60, stale-while-revalidate=a", 60_000, SENT),
            ("of a request: means nothing", "stale-while-revalidate=60", "max-age=60", 60_000, SENT),
            ("stale-if-error alone needs an error", "", "max-age=60, stale-if-error=60", 60_000, SENT),
        ],
    );
    // During the backoff after a failed refresh, no other begins.
    check(
        true,
        &[
            ("during the backoff", "", response, 60_000, "stale-while-revalidate"),
            ("after the backoff", "", response, 70_001, SENT),
        ],
    );
}

#[test]
fn stale_if_error_applies_during_the_backoff() {
    // RFC 5861 §4: "when an error is encountered, a cached stale response MAY be used to satisfy
    // the request, regardless of other freshness information. When used as a request
    // Cache-Control extension, its scope of application is the request it appears in".
    let response = "max-age=60, stale-if-error=10";
    check(
        true,
        &[
            ("fresh", "", response, 59_999, "hit"),
            ("the first millisecond", "", response, 60_000, IF_ERROR),
            ("the last millisecond", "", response, 70_000, IF_ERROR),
            ("over", "", response, 70_001, SENT),
            ("the request's is longer", "stale-if-error=20", response, 80_000, IF_ERROR),
            ("the request's is over, too", "stale-if-error=20", response, 80_001, SENT),
            ("the request's alone", "stale-if-error=1", "max-age=60", 61_000, IF_ERROR),
            ("no directive, no stale response", "", "max-age=60", 60_000, SENT),
            ("the request demands validation", "no-cache", response, 60_000, SENT),
            ("only stored responses", "only-if-cached", response, 70_000, IF_ERROR),
        ],
    );
}

#[test]
fn a_fresh_response_is_refreshed_early_if_the_draw_says_so() {
    let most: u64 = (1 << 53) - 1;
    let early = |cost_ms: u64, left_ms: u64, is_backing_off: bool, random: Option<u64>| {
        let stored = stored("max-age=60", cost_ms);
        let selected = SelectedResponse { stored: &stored, is_backing_off, is_soft_purged: false };
        // The time that the response took to arrive is part of its age.
        let now_ms = RECEIVED_MS + 60_000 - cost_ms - left_ms;
        let random = || random.expect("no random bits are needed");
        as_text(decide(&cache_request("GET", ""), Some(selected), ForwardReason::UriMiss, now_ms, random))
    };
    assert_eq!(early(100, 1, false, Some(0)), "hit refresh", "drawn");
    assert_eq!(early(100, 1, false, Some(most)), "hit", "not drawn");
    assert_eq!(early(100, 3000, false, Some(0)), "hit refresh", "as early as it gets");
    assert_eq!(early(100, 3001, false, None), "hit", "far from its expiry");
    assert_eq!(early(0, 1, false, None), "hit", "what costs nothing can wait");
    assert_eq!(early(100, 1, true, None), "hit", "during the backoff");
    assert_eq!(early(100, 0, false, None), SENT, "expired");
}

#[test]
fn a_miss_is_forwarded_with_its_reason() {
    // RFC 9211 §2.2: "uri-miss: The cache did not contain any responses that matched the request
    // URI. vary-miss: The cache contained a response that matched the request URI, but it could
    // not select a response based upon this request's header fields". Nothing is validated.
    for missing in [ForwardReason::UriMiss, ForwardReason::VaryMiss, ForwardReason::Miss] {
        for request in ["", "no-cache", "max-age=0", "max-stale", "min-fresh=1"] {
            let decision = decide(&cache_request("GET", request), None, missing, 0, || 0);
            assert_eq!(decision, Decision::Forward { fwd: missing, conditions: Vec::new() }, "{request}");
        }
    }
}

#[test]
fn other_methods_and_origin_conditions_are_forwarded() {
    // RFC 9111 §4: "a cache MUST write through requests with methods that are unsafe". RFC 9211
    // §2.2: "method: The request method's semantics require the request to be forwarded." RFC
    // 9111 §4.3.2: a cache "MUST NOT evaluate conditional header fields that only apply to an
    // origin server": If-Match and If-Unmodified-Since.
    let stored = stored("max-age=60", 0);
    let selected = Some(SelectedResponse { stored: &stored, is_backing_off: false, is_soft_purged: false });
    for (method, name, expected) in [
        ("GET", "if-none-match", "hit"),
        ("GET", "if-modified-since", "hit"),
        ("GET", "range", "hit"),
        ("GET", "if-range", "hit"),
        ("HEAD", "if-none-match", "hit"),
        ("GET", "if-match", "fwd=bypass"),
        ("GET", "if-unmodified-since", "fwd=bypass"),
        ("HEAD", "if-match", "fwd=bypass"),
        ("POST", "range", "fwd=method"),
        ("PUT", "if-match", "fwd=method"),
        ("DELETE", "accept", "fwd=method"),
        ("OPTIONS", "accept", "fwd=method"),
        ("get", "accept", "fwd=method"),
    ] {
        let cache_request = CacheRequest::of(method, &HeaderSection::from(&[(name, "x")]));
        assert_eq!(cache_request.permits_lookup(), expected == "hit", "{method}, {name}");
        assert_eq!(
            as_text(decide(&cache_request, selected, ForwardReason::UriMiss, RECEIVED_MS, || 0)),
            expected,
            "{method}, {name}"
        );
    }
}

#[test]
fn a_stale_response_is_validated_with_all_its_validators() {
    // RFC 9111 §4.3.1: a cache "MUST send the relevant entity tags … SHOULD send the
    // Last-Modified value".
    let modified = "Sun, 06 Nov 1994 08:00:00 GMT";
    let cases: [(&[(&str, &str)], String); 3] = [
        (
            &[("etag", "\"a\""), ("last-modified", modified)],
            format!("fwd=stale if-none-match: \"a\" if-modified-since: {modified}"),
        ),
        (&[("last-modified", modified)], format!("fwd=stale if-modified-since: {modified}")),
        (&[], "fwd=stale".to_owned()),
    ];
    for (fields, expected) in cases {
        let fields: HeaderSection = fields.iter().copied().chain([("cache-control", "max-age=0")]).collect();
        let times = ExchangeTimes { requested_ms: RECEIVED_MS, received_ms: RECEIVED_MS };
        let stored = StoredResponse::new(StoredMetadata::of_plain_request(200, &fields, times), None);
        let selected = Some(SelectedResponse { stored: &stored, is_backing_off: false, is_soft_purged: false });
        assert_eq!(
            as_text(decide(&cache_request("GET", ""), selected, ForwardReason::UriMiss, RECEIVED_MS, || 0)),
            expected
        );
    }
}

#[test]
fn a_soft_purged_response_that_has_not_expired_is_served_while_it_is_refreshed_unless_a_directive_forbids_it() {
    let decide_on = |request: &str, response: &str, after_ms: u64, is_backing_off: bool| {
        let stored = stored(response, 0);
        let selected = SelectedResponse { stored: &stored, is_backing_off, is_soft_purged: true };
        let never = || unreachable!("no random bits are needed");
        let now_ms = RECEIVED_MS + after_ms;
        decide(&cache_request("GET", request), Some(selected), ForwardReason::UriMiss, now_ms, never)
    };
    let serve = |refresh| Decision::Serve { stale: Some(SOFT_PURGE), refresh };
    assert_eq!(decide_on("", "max-age=10", 5000, false), serve(true));
    assert_eq!(decide_on("", "max-age=10, must-revalidate", 5000, false), serve(true), "it is not expired");
    assert_eq!(decide_on("", "max-age=10", 5000, true), serve(false), "while the upstream is down");
    for (request, response, after_ms) in [
        ("max-age=100", "max-age=10", 5000),
        ("min-fresh=1", "max-age=10", 5000),
        ("no-cache", "max-age=10", 5000),
        ("", "max-age=10, no-cache", 5000),
        ("", "max-age=10", 10_000),
    ] {
        let decision = decide_on(request, response, after_ms, false);
        assert!(matches!(decision, Decision::Forward { .. }), "{request}, {response}: {decision:?}");
    }
    let swr = decide_on("", "max-age=10, stale-while-revalidate=10", 15_000, false);
    assert_eq!(swr, Decision::Serve { stale: Some(WHILE_REVALIDATE), refresh: true }, "after its lifetime as without");
}

#[test]
fn what_a_field_selects_that_a_refresh_lacks_is_validated_by_a_client_since_a_refresh_would_not_replace_it() {
    let present = [("x-a", true), ("authorization", false), ("cache-control", false), ("pragma", false)];
    let cases = present.map(|(name, is_refreshed)| (name, Some("a"), is_refreshed));
    for (name, value, is_refreshed) in cases.into_iter().chain([("authorization", None, true)]) {
        let request: HeaderSection = value.map(|value| (name, value)).into_iter().collect();
        let fields =
            HeaderSection::from(&[("cache-control", "public, max-age=10, stale-while-revalidate=10"), ("vary", name)]);
        let selecting_fields = vary::selecting_fields(&[name.to_owned()], &request);
        let times = ExchangeTimes { requested_ms: RECEIVED_MS, received_ms: RECEIVED_MS };
        let metadata = StoredMetadata { selecting_fields, ..StoredMetadata::of_plain_request(200, &fields, times) };
        let stored = StoredResponse::new(metadata, None);
        for (is_soft_purged, after_ms) in [(true, 5000), (false, 15_000)] {
            let selected = SelectedResponse { stored: &stored, is_backing_off: false, is_soft_purged };
            let now_ms = RECEIVED_MS + after_ms;
            let decision = decide(&cache_request("GET", ""), Some(selected), ForwardReason::UriMiss, now_ms, || 0);
            let serves = matches!(decision, Decision::Serve { refresh: true, .. });
            assert_eq!(serves, is_refreshed, "{name}: {value:?}, {after_ms} ms: {decision:?}");
        }
        let selected = SelectedResponse { stored: &stored, is_backing_off: false, is_soft_purged: false };
        let now_ms = RECEIVED_MS + 9999;
        let fresh = decide(&cache_request("GET", ""), Some(selected), ForwardReason::UriMiss, now_ms, || 0);
        assert_eq!(fresh, Decision::Serve { stale: None, refresh: false }, "{name}: {value:?}");
    }
}
