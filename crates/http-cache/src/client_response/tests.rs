//! The response to the client: header fields, conditions and ranges.

use super::*;
use crate::cache_status::{ForwardReason, IF_ERROR, MAX_STALE, SOFT_PURGE};
use crate::freshness::ExchangeTimes;
use crate::stored_response::StoredMetadata;
use http_semantics::fields::HeaderSection;

/// Sun, 06 Nov 1994 08:49:37 GMT.
const RECEIVED_MS: u64 = 784_111_777_000;
const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const MODIFIED: &str = "Sun, 06 Nov 1994 08:00:00 GMT";

const HIT: Diagnostics =
    Diagnostics { cache_status: CacheStatus::Hit { ttl: 17, detail: None }, kv_ms: Some(3), upstream_ms: None };
const MISS: Diagnostics = Diagnostics {
    cache_status: CacheStatus::Forwarded {
        fwd: ForwardReason::UriMiss,
        status: Some(200),
        is_stored: true,
        ttl: Some(60),
        detail: None,
    },
    kv_ms: Some(3),
    upstream_ms: Some(20),
};

type Pairs<'a> = &'a [(&'static str, &'a str)];

fn lines(fields: Pairs<'_>) -> HeaderSection {
    fields.iter().map(|(name, value)| (*name, *value)).collect()
}

/// A stored response with a body of ten bytes.
fn stored_response(status: u16, fields: Pairs<'_>) -> StoredResponse {
    let times = ExchangeTimes { requested_ms: RECEIVED_MS, received_ms: RECEIVED_MS };
    StoredResponse::new(
        StoredMetadata { length: 10, ..StoredMetadata::of_plain_request(status, &lines(fields), times) },
        None,
    )
}

/// The fields as they are sent: removed, set, appended.
fn sent(response: &ClientResponse<'_>) -> Vec<String> {
    let HeaderEdits { remove, set, append } = &response.edits;
    let is_gone = |name: &str| remove.iter().any(|gone| gone == name) || set.iter().any(|(gone, _)| gone == name);
    let fields = response.fields.iter().filter(|(name, _)| !is_gone(name));
    let added = set.iter().chain(append).map(|(name, value)| (&**name, &**value));
    fields.chain(added).map(|(name, value)| format!("{name}: {value}")).collect()
}

/// The single line of a field; empty if there is none.
fn field(response: &ClientResponse<'_>, name: &str) -> String {
    let start = format!("{name}: ");
    let lines: Vec<String> =
        sent(response).iter().filter_map(|line| line.strip_prefix(&start).map(str::to_owned)).collect();
    assert!(lines.len() <= 1, "{lines:?}");
    lines.concat()
}

#[test]
fn a_hit_has_age_via_and_cache_status() {
    // RFC 9111 §4: "When a stored response is used to satisfy a request without validation, a
    // cache MUST generate an Age header field, replacing any present in the response with a
    // value equal to the stored response's current_age". RFC 9110 §7.6.3: a proxy "MUST send an
    // appropriate Via header field". RFC 9211 §2: "cache closest to the origin" first.
    let fields = [
        ("date", DATE),
        ("age", "5"),
        ("via", "1.0 origin"),
        ("cache-status", "Origin; hit"),
        ("server-timing", "db;dur=7"),
        ("x-a", "1"),
        ("x-a", "2"),
        ("cache-control", "max-age=60"),
    ];
    let stored = stored_response(200, &fields);
    let response = from_stored("GET", &HeaderSection::from(&[]), &stored, None, &HIT, RECEIVED_MS + 1999);
    assert_eq!((response.status, &response.part), (200, &BodyPart::Whole));
    let expected = [
        "date: Sun, 06 Nov 1994 08:49:37 GMT",
        "server-timing: db;dur=7",
        "x-a: 1",
        "x-a: 2",
        "cache-control: max-age=60",
        "age: 6",
        "via: 1.0 origin, 1.1 kv-edge",
        "cache-status: Origin; hit, kv-edge; hit; ttl=17",
        "server-timing: kv;dur=3",
    ];
    assert_eq!(sent(&response), expected);
    let silent = Diagnostics { kv_ms: None, ..HIT };
    let first = [("cache-control", "max-age=60")];
    let stored = stored_response(200, &first);
    let response = from_stored("GET", &HeaderSection::from(&[]), &stored, None, &silent, RECEIVED_MS);
    let expected = ["cache-control: max-age=60", "age: 0", "via: 1.1 kv-edge", "cache-status: kv-edge; hit; ttl=17"];
    assert_eq!(sent(&response), expected);
}

#[test]
fn a_hit_has_its_current_age_and_a_response_just_received_the_age_that_the_upstream_sent() {
    // RFC 9111 §5.1: "The presence of an Age header field implies that the response was not
    // generated or validated by the origin server for this request." A response just received
    // keeps the upstream's Age, if it has one.
    for (received_age, expected) in [(None, ""), (Some("30"), "30")] {
        let mut fields = vec![("cache-control", "max-age=60"), ("connection", "x-hop"), ("x-hop", "1"), ("x-a", "1")];
        fields.extend(received_age.map(|age| ("age", age)));
        let (received, stored) = (lines(&fields), stored_response(200, &fields));
        let response =
            from_stored("GET", &HeaderSection::from(&[]), &stored, Some(&received), &MISS, RECEIVED_MS + 5000);
        assert_eq!(field(&response, "age"), expected, "stored just now");
        let response = from_upstream("GET", 200, &received, &MISS);
        assert_eq!(field(&response, "age"), expected, "passed on");
        let response = from_stored("GET", &HeaderSection::from(&[]), &stored, None, &HIT, RECEIVED_MS + 5000);
        assert_eq!(field(&response, "age"), (received_age.map_or(0, |_| 30) + 5).to_string(), "a hit");
    }
    let stored = stored_response(200, &[("cache-control", "max-age=1")]);
    let stale = CacheStatus::Hit { ttl: -3, detail: Some("stale-if-error") };
    let response = from_stored(
        "GET",
        &HeaderSection::from(&[]),
        &stored,
        None,
        &Diagnostics { cache_status: stale, ..MISS },
        RECEIVED_MS + 4000,
    );
    assert_eq!(field(&response, "age"), "4", "in place of an error");
    assert_eq!(field(&response, "cache-status"), "kv-edge; hit; ttl=-3; detail=stale-if-error");
    assert_eq!(field(&response, "server-timing"), "kv;dur=3, upstream;dur=20");
}

#[test]
fn a_response_just_received_keeps_all_but_hop_by_hop_fields() {
    // RFC 9110 §7.6.1: "Intermediaries MUST parse a received Connection header field before a
    // message is forwarded and, for each connection-option in this field, remove any header or
    // trailer field(s) from the message with the same name".
    let fields = [
        ("connection", "X-Listed, close"),
        ("x-listed", "1"),
        ("keep-alive", "timeout=5"),
        ("transfer-encoding", "chunked"),
        ("proxy-authenticate", "Basic"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
        ("trailer", "x-b"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("x-private", "1"),
        ("cache-control", "private=\"x-private\""),
        ("last-modified", MODIFIED),
    ];
    let (received, stored) = (lines(&fields), stored_response(200, &fields));
    let added = [
        "via: 1.1 kv-edge",
        "cache-status: kv-edge; fwd=uri-miss; fwd-status=200; stored; ttl=60",
        "server-timing: kv;dur=3, upstream;dur=20",
    ];
    let of_upstream = [
        "set-cookie: a=1",
        "set-cookie: b=2",
        "x-private: 1",
        "cache-control: private=\"x-private\"",
        "last-modified: Sun, 06 Nov 1994 08:00:00 GMT",
    ];
    let all: Vec<&str> = of_upstream.iter().chain(&added).copied().collect();
    let request = HeaderSection::from(&[]);
    assert_eq!(sent(&from_upstream("GET", 200, &received, &MISS)), all);
    assert_eq!(sent(&from_stored("GET", &request, &stored, Some(&received), &MISS, RECEIVED_MS)), all);
    // RFC 9111 §3.1: another client receives only what is stored.
    let hit = from_stored("GET", &request, &stored, None, &Diagnostics { kv_ms: None, ..HIT }, RECEIVED_MS);
    let expected = [of_upstream[3], of_upstream[4], "age: 0", added[0], "cache-status: kv-edge; hit; ttl=17"];
    assert_eq!(sent(&hit), expected);
}

#[test]
fn a_304_has_the_fields_of_a_200_that_guide_caches() {
    // RFC 9110 §15.4.5: "The server generating a 304 response MUST generate any of the following
    // header fields that would have been sent in a 200 (OK) response to the same request:
    // Content-Location, Date, ETag, and Vary; Cache-Control and Expires … a sender SHOULD NOT
    // generate representation metadata other than the above … unless said metadata exists for the
    // purpose of guiding cache updates (e.g., Last-Modified might be useful if the response does
    // not have an ETag field)".
    let fields = [
        ("date", DATE),
        ("etag", "W/\"a\""),
        ("last-modified", MODIFIED),
        ("content-type", "text/html"),
        ("content-length", "10"),
        ("content-encoding", "gzip"),
        ("content-location", "/b"),
        ("cache-control", "max-age=60"),
        ("cdn-cache-control", "max-age=70"),
        ("expires", DATE),
        ("vary", "accept"),
        ("set-cookie", "a=1"),
        ("x-a", "1"),
    ];
    let stored = stored_response(200, &fields);
    let names = |response: &ClientResponse<'_>| {
        let lines = sent(response);
        lines.iter().map(|line| line.split_once(':').unwrap().0.to_owned()).collect::<Vec<_>>().join(" ")
    };
    let request = HeaderSection::from(&[("if-none-match", "\"b\", \"a\"")]);
    let hit = from_stored("GET", &request, &stored, None, &HIT, RECEIVED_MS);
    assert_eq!((hit.status, &hit.part), (304, &BodyPart::Nothing));
    let guiding = "date etag content-location cache-control cdn-cache-control expires vary";
    assert_eq!(names(&hit), format!("{guiding} age via cache-status server-timing"));
    let received = lines(&fields);
    let miss = from_stored("HEAD", &request, &stored, Some(&received), &MISS, RECEIVED_MS);
    assert_eq!((miss.status, &miss.part), (304, &BodyPart::Nothing));
    assert_eq!(names(&miss), format!("{guiding} via cache-status server-timing"), "just received, without an Age");
    let untagged = stored_response(200, &[("last-modified", MODIFIED), ("cache-control", "max-age=60")]);
    let request = HeaderSection::from(&[("if-modified-since", MODIFIED)]);
    let hit = from_stored("GET", &request, &untagged, None, &HIT, RECEIVED_MS);
    assert_eq!(names(&hit), "last-modified cache-control age via cache-status server-timing");
}

const PART: [(&str, &str); 4] =
    [("etag", "\"a\""), ("last-modified", MODIFIED), ("date", DATE), ("cache-control", "max-age=60")];

/// Status, bytes and `Content-Range` of the response to a request, from a stored one.
fn part(method: &str, stored: &StoredResponse, request: Pairs<'_>) -> (u16, String, String) {
    let response = from_stored(method, &HeaderSection::from(request), stored, None, &HIT, RECEIVED_MS);
    let bytes = match &response.part {
        BodyPart::Whole => "all".to_owned(),
        BodyPart::Nothing => String::new(),
        BodyPart::Bytes(bytes) => format!("{bytes:?}"),
    };
    (response.status, bytes, field(&response, "content-range"))
}

#[test]
fn preconditions_go_in_the_order_of_rfc_9110() {
    // RFC 9110 §13.2.2: "When If-None-Match is present, evaluate the If-None-Match precondition:
    // … if false for GET/HEAD, respond 304"; "When … If-None-Match is not present, and
    // If-Modified-Since is present"; "When the method is GET and both Range and If-Range are
    // present". §13.1.3: "A recipient MUST ignore If-Modified-Since if the request contains an
    // If-None-Match".
    let (stored, later, earlier) =
        (stored_response(200, &PART), "Sun, 06 Nov 1994 08:00:01 GMT", "Sun, 06 Nov 1994 07:59:59 GMT");
    let (same, other, range) = (("if-none-match", "\"a\""), ("if-none-match", "\"b\""), ("range", "bytes=0-1"));
    let rows: [(&str, Pairs<'_>, u16); 14] = [
        ("names it", &[same], 304),
        ("names it weakly", &[("if-none-match", "W/\"a\"")], 304),
        ("names anything", &[("if-none-match", "*")], 304),
        ("names another", &[other], 200),
        ("since it was modified", &[("if-modified-since", MODIFIED)], 304),
        ("since later", &[("if-modified-since", later)], 304),
        ("since before", &[("if-modified-since", earlier)], 200),
        ("no date", &[("if-modified-since", "yesterday")], 200),
        ("the tag decides", &[other, ("if-modified-since", later)], 200),
        ("the tag decides", &[same, ("if-modified-since", earlier)], 304),
        ("the condition before the range", &[same, range], 304),
        ("the condition before a bad range", &[same, ("range", "bytes=10-")], 304),
        ("the range after the condition", &[other, range], 206),
        ("the condition before If-Range", &[("if-modified-since", later), range, ("if-range", "\"a\"")], 304),
    ];
    for (rule, request, status) in rows {
        assert_eq!(part("GET", &stored, request).0, status, "{rule}: {request:?}");
        let of_head = if status == 206 { 200 } else { status };
        assert_eq!(part("HEAD", &stored, request).0, of_head, "HEAD, {rule}: {request:?}");
    }
    // RFC 9111 §4.3.2: without Last-Modified, the Date or the time of arrival.
    for (fields, since, status) in [
        (&[("date", DATE)][..], DATE, 304),
        (&[("date", DATE)], MODIFIED, 200),
        (&[], DATE, 304),
        (&[], "Sun, 06 Nov 1994 08:49:36 GMT", 200),
    ] {
        let stored = stored_response(200, fields);
        assert_eq!(part("GET", &stored, &[("if-modified-since", since)]).0, status, "{fields:?} {since}");
    }
}

#[test]
fn a_range_is_part_of_the_stored_response() {
    // RFC 9110 §14.2: "the server … SHOULD send a 206 (Partial Content) response with content
    // containing one or more partial representations that correspond to the satisfiable
    // range-spec(s)". §15.5.17: 416 "SHOULD generate a Content-Range header field specifying the
    // current length".
    let stored = stored_response(200, &PART);
    let strong = ("if-range", "\"a\"");
    let rows: [(&str, Pairs<'_>, u16, &str, &str); 15] = [
        ("first bytes", &[("range", "bytes=0-3")], 206, "0..4", "bytes 0-3/10"),
        ("the last byte", &[("range", "bytes=9-9")], 206, "9..10", "bytes 9-9/10"),
        ("it ends after the last byte", &[("range", "bytes=8-20")], 206, "8..10", "bytes 8-9/10"),
        ("open", &[("range", "bytes=4-")], 206, "4..10", "bytes 4-9/10"),
        ("suffix", &[("range", "bytes=-3")], 206, "7..10", "bytes 7-9/10"),
        ("it starts after the last byte", &[("range", "bytes=10-")], 416, "", "bytes */10"),
        ("suffix of nothing", &[("range", "bytes=-0")], 416, "", "bytes */10"),
        ("two that touch are one", &[("range", "bytes=0-1, 2-3")], 206, "0..4", "bytes 0-3/10"),
        ("one of two is there", &[("range", "bytes=0-1, 10-11")], 206, "0..2", "bytes 0-1/10"),
        ("several that do not touch: all of it", &[("range", "bytes=0-1, 8-9")], 200, "all", ""),
        ("another unit", &[("range", "lines=0-1")], 200, "all", ""),
        ("malformed", &[("range", "bytes=3-1")], 200, "all", ""),
        ("If-Range names it", &[("range", "bytes=0-3"), strong], 206, "0..4", "bytes 0-3/10"),
        ("If-Range names another", &[("range", "bytes=0-3"), ("if-range", "\"b\"")], 200, "all", ""),
        ("If-Range without a range", &[strong], 200, "all", ""),
    ];
    for (rule, request, status, bytes, content_range) in rows {
        let expected = (status, bytes.to_owned(), content_range.to_owned());
        assert_eq!(part("GET", &stored, request), expected, "{rule}: {request:?}");
    }
    // §13.1.5: if If-Range is false, the range is ignored, even one that would cause a 416.
    // A date must be equal and strong: "at least one second later" (§8.8.2.2).
    for (if_range, status) in [("\"b\"", 200), ("W/\"a\"", 200), (DATE, 200), (MODIFIED, 416), ("\"a\"", 416)] {
        assert_eq!(part("GET", &stored, &[("range", "bytes=10-"), ("if-range", if_range)]).0, status, "{if_range}");
    }
    let same_second = stored_response(200, &[("last-modified", DATE), ("date", DATE)]);
    assert_eq!(part("GET", &same_second, &[("range", "bytes=0-1"), ("if-range", DATE)]).0, 200, "a weak date");
}

#[test]
fn a_206_and_a_416_have_the_fields_of_rfc_9110() {
    // RFC 9110 §15.3.7: "MUST generate … Date, Cache-Control, ETag, Expires, Content-Location, and
    // Vary" in a 206. The stored Content-Length is left out, because it is not that of the part. A
    // 416 does not carry the representation.
    let fields: Vec<_> = PART.into_iter().chain([("content-length", "10"), ("via", "1.1 a"), ("vary", "x")]).collect();
    let stored = stored_response(200, &fields);
    let of =
        |range| from_stored("GET", &HeaderSection::from(&[("range", range)]), &stored, None, &HIT, RECEIVED_MS + 1000);
    let partial = of("bytes=0-1");
    for name in ["date", "cache-control", "etag", "vary", "last-modified"] {
        assert_eq!(field(&partial, name), stored.metadata.fields.get(name).unwrap(), "{name}");
    }
    assert_eq!((field(&partial, "content-length"), field(&partial, "age")), (String::new(), "1".to_owned()));
    let expected = [
        "content-range: bytes */10",
        "age: 1",
        "cache-control: private",
        "via: 1.1 a, 1.1 kv-edge",
        "cache-status: kv-edge; hit; ttl=17",
        "server-timing: kv;dur=3",
    ];
    assert_eq!(sent(&of("bytes=10-")), expected);
}

#[test]
fn conditions_apply_to_a_2xx_and_ranges_to_a_200_only() {
    // RFC 9110 §13.2.1: "A server MUST ignore all received preconditions if its response to the
    // same request without those conditions … would have been a status code other than a 2xx
    // (Successful) or 412". §14.2: a range applies if "the result … without the Range header
    // field … would be a 200 (OK)". §9.3.2: HEAD without content; §14.2: Range is for GET only.
    let request: Pairs<'_> = &[("if-none-match", "\"a\"")];
    let range: Pairs<'_> = &[("range", "bytes=0-1")];
    for (status, to_condition, to_range) in [
        (200, (304, ""), (206, "0..2")),
        (203, (304, ""), (203, "all")),
        (204, (304, ""), (204, "")),
        (205, (304, ""), (205, "")),
        (301, (301, "all"), (301, "all")),
        (404, (404, "all"), (404, "all")),
        (503, (503, "all"), (503, "all")),
    ] {
        let stored = stored_response(status, &PART);
        for (request, (expected, bytes)) in [(request, to_condition), (range, to_range)] {
            let (status, body, _) = part("GET", &stored, request);
            assert_eq!((status, body.as_str()), (expected, bytes), "{status} to {request:?}");
        }
    }
    let stored = stored_response(200, &[("content-length", "10"), ("cache-control", "max-age=60")]);
    for range in ["bytes=0-1", "bytes=10-"] {
        let response = from_stored("HEAD", &HeaderSection::from(&[("range", range)]), &stored, None, &HIT, RECEIVED_MS);
        assert_eq!((response.status, &response.part), (200, &BodyPart::Nothing), "HEAD");
        assert_eq!(field(&response, "content-length"), "10");
    }
}

#[test]
fn the_upstreams_response_is_passed_on_with_its_fields_and_those_that_every_response_has() {
    let fields = lines(&[("content-length", "4"), ("content-range", "bytes 0-3/10"), ("via", "1.1 a"), ("age", "3")]);
    for (method, status, expected) in [
        ("GET", 200, BodyPart::Whole),
        ("GET", 206, BodyPart::Whole),
        ("POST", 201, BodyPart::Whole),
        ("GET", 416, BodyPart::Whole),
        ("HEAD", 200, BodyPart::Nothing),
        ("GET", 204, BodyPart::Nothing),
        ("GET", 205, BodyPart::Nothing),
        ("GET", 304, BodyPart::Nothing),
    ] {
        let response = from_upstream(method, status, &fields, &Diagnostics { kv_ms: None, upstream_ms: None, ..MISS });
        assert_eq!((response.status, &response.part), (status, &expected), "{method} {status}");
        let expected = [
            "content-length: 4",
            "content-range: bytes 0-3/10",
            "age: 3",
            // The upstream says nothing about caching, and another cache may be in front of
            // kv-edge.
            "cache-control: private",
            "via: 1.1 a, 1.1 kv-edge",
            "cache-status: kv-edge; fwd=uri-miss; fwd-status=200; stored; ttl=60",
        ];
        assert_eq!(sent(&response), expected);
    }
    assert!((100..600).filter(|status| is_null_body(*status)).eq([204, 205, 304]));
}

#[test]
fn what_is_not_stored_stays_out_of_workers_cache() {
    let fields = lines(&[("cache-control", "public"), ("cloudflare-cdn-cache-control", "max-age=60")]);
    let CacheStatus::Forwarded { fwd, status, ttl, detail, .. } = MISS.cache_status else { unreachable!() };
    for (is_stored, expected) in [(true, "max-age=60"), (false, "no-store")] {
        let cache_status = CacheStatus::Forwarded { fwd, status, is_stored, ttl, detail };
        let response = from_upstream("GET", 200, &fields, &Diagnostics { cache_status, ..MISS });
        assert_eq!(field(&response, "cloudflare-cdn-cache-control"), expected);
        assert_eq!(field(&response, "cache-control"), "public");
    }
    let hit = stored_response(200, &[("cache-control", "max-age=60")]);
    let response = from_stored("GET", &HeaderSection::default(), &hit, None, &HIT, RECEIVED_MS);
    assert_eq!(field(&response, "cloudflare-cdn-cache-control"), "");
}

#[test]
fn a_response_without_a_date_is_dated_when_it_is_received() {
    // RFC 9110 §6.6.1: "A recipient with a clock that receives a response message without a Date
    // header field MUST record the time it was received and append a corresponding Date header
    // field to the message's header section if it is cached or forwarded downstream."
    let fields = lines(&[("etag", "\"a\"")]);
    assert_eq!(with_date(fields.clone(), RECEIVED_MS + 999), lines(&[("etag", "\"a\""), ("date", DATE)]));
    assert_eq!(with_date(HeaderSection::default(), 0).get("date").as_deref(), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
    for date in [MODIFIED, "yesterday"] {
        let fields = lines(&[("date", date)]);
        assert_eq!(with_date(fields.clone(), RECEIVED_MS), fields, "it has one");
    }
}

#[test]
fn a_response_that_is_not_fresh_stays_out_of_workers_cache_which_may_take_it_for_fresh() {
    let stored = stored_response(200, &[("cache-control", "max-age=60")]);
    let (fwd, status) = (ForwardReason::UriMiss, Some(200));
    let forwarded = |ttl| CacheStatus::Forwarded { fwd, status, is_stored: true, ttl: Some(ttl), detail: None };
    for (cache_status, expected) in [
        (CacheStatus::Hit { ttl: 1, detail: None }, ""),
        (CacheStatus::Hit { ttl: 0, detail: Some(SOFT_PURGE) }, "no-store"),
        (CacheStatus::Hit { ttl: 0, detail: Some(IF_ERROR) }, "no-store"),
        (CacheStatus::Hit { ttl: -1, detail: Some(MAX_STALE) }, "no-store"),
        (forwarded(1), ""),
        // It states no lifetime, and is stored only to be validated.
        (forwarded(0), "no-store"),
    ] {
        let diagnostics = Diagnostics { cache_status, kv_ms: None, upstream_ms: None };
        let response = from_stored("GET", &HeaderSection::default(), &stored, None, &diagnostics, RECEIVED_MS + 1000);
        assert_eq!(field(&response, "cloudflare-cdn-cache-control"), expected, "{cache_status}");
    }
}
