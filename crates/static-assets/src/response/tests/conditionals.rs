//! RFC 9110 §8.8 and §13: validators and preconditions.

use super::*;

/// The header fields of a request, and the status of its response.
type PreconditionCase<'a> = (&'a [(&'static str, &'a str)], u16);

fn release() -> TestRelease {
    TestRelease::of(&[("/a.txt", "a text"), ("/b.html", "<title>b</title>"), ("/404.html", "no")])
}

/// §13.2.2: "a recipient cache or origin server MUST evaluate the received request preconditions
/// … in the following order".
#[test]
fn preconditions_are_evaluated_in_their_order_of_precedence() {
    let release = release();
    let tag = release.get("/a.txt", &[]).etag().to_owned();
    let weak = format!("W/{tag}");
    let list = format!("\"other\", {weak}");
    let (tag, weak, list) = (tag.as_str(), weak.as_str(), list.as_str());
    let tables: [&[PreconditionCase<'_>]; 5] = [
        // 1. "When recipient is the origin server and If-Match is present": 412 if false.
        &[
            (&[("if-match", tag)], 200),
            (&[("if-match", "*")], 200),
            (&[("if-match", "\"other\"")], 412),
            // §13.1.1: "MUST use the strong comparison function".
            (&[("if-match", weak)], 412),
            (&[("if-match", list)], 412),
        ],
        // 2. "If-Match is not present, and If-Unmodified-Since is present".
        &[
            (&[("if-unmodified-since", MODIFIED)], 200),
            (&[("if-unmodified-since", AFTER)], 200),
            (&[("if-unmodified-since", BEFORE)], 412),
            // §13.1.4: "MUST ignore the If-Unmodified-Since header field if the received field
            // value is not a valid HTTP-date".
            (&[("if-unmodified-since", "yesterday")], 200),
            (&[("if-match", tag), ("if-unmodified-since", BEFORE)], 200),
            (&[("if-match", "\"other\""), ("if-unmodified-since", AFTER)], 412),
        ],
        // 3. "When If-None-Match is present": true, go on; "if false for GET/HEAD, respond 304".
        &[
            (&[("if-none-match", tag)], 304),
            // §13.1.2: "MUST use the weak comparison function".
            (&[("if-none-match", weak)], 304),
            (&[("if-none-match", list)], 304),
            (&[("if-none-match", "*")], 304),
            (&[("if-none-match", "\"other\", \"another\"")], 200),
            (&[("if-match", tag), ("if-none-match", tag)], 304),
            (&[("if-match", "\"other\""), ("if-none-match", tag)], 412),
            (&[("if-unmodified-since", BEFORE), ("if-none-match", tag)], 412),
        ],
        // 4. "If-None-Match is not present, and If-Modified-Since is present".
        &[
            (&[("if-modified-since", MODIFIED)], 304),
            (&[("if-modified-since", AFTER)], 304),
            (&[("if-modified-since", BEFORE)], 200),
            // §13.1.3: "MUST ignore … if the received field value is not a valid HTTP-date", or
            // if there is If-None-Match.
            (&[("if-modified-since", "tomorrow")], 200),
            (&[("if-modified-since", "Sunday, 06-Nov-94 08:49:37 GMT")], 304),
            (&[("if-modified-since", "Sun Nov  6 08:49:37 1994")], 304),
            (&[("if-none-match", "\"other\""), ("if-modified-since", AFTER)], 200),
            (&[("if-none-match", tag), ("if-modified-since", BEFORE)], 304),
            (&[("if-unmodified-since", MODIFIED), ("if-modified-since", MODIFIED)], 304),
        ],
        &[(&[], 200), (&[("if-range", tag)], 200)],
    ];
    for (fields, status) in tables.into_iter().flatten() {
        assert_eq!(release.get("/a.txt", fields).status, *status, "{fields:?}");
        assert_eq!(release.head("/a.txt", fields).status, *status, "HEAD {fields:?}");
    }
}

/// 5. "When the method is GET and both Range and If-Range are present": after all others.
#[test]
fn a_range_comes_after_the_other_preconditions() {
    let release = release();
    let tag = release.get("/a.txt", &[]).etag().to_owned();
    for (fields, status) in [
        (&[("range", "bytes=0-1"), ("if-none-match", tag.as_str())][..], 304),
        (&[("range", "bytes=0-1"), ("if-modified-since", MODIFIED)], 304),
        (&[("range", "bytes=0-1"), ("if-match", "\"other\"")], 412),
        (&[("range", "bytes=0-1"), ("if-unmodified-since", BEFORE)], 412),
        (&[("range", "bytes=0-1"), ("if-match", &tag)], 206),
        (&[("range", "bytes=0-1"), ("if-none-match", "\"other\"")], 206),
        (&[("range", "bytes=99-"), ("if-none-match", &tag)], 304),
        (&[("range", "bytes=99-"), ("if-match", &tag)], 416),
        (&[("range", "bytes=0-1"), ("if-range", "\"other\""), ("if-none-match", &tag)], 304),
        (&[("range", "bytes=0-1"), ("if-range", "\"other\""), ("if-match", &tag)], 200),
    ] {
        assert_eq!(release.get("/a.txt", fields).status, status, "{fields:?}");
    }
}

/// §14.2: if Range is ignored, preconditions are for the representation that is sent.
#[test]
fn an_ignored_range_changes_no_precondition() {
    let release = release().encoded("/a.txt", &[(ContentCoding::Br, 2)]);
    let [identity, br] =
        ["", "br"].map(|accepted| release.get("/a.txt", &[("accept-encoding", accepted)]).etag().to_owned());
    for range in ["bytes=x", "seconds=0-1", "bytes=2-1"] {
        for (name, tag, status) in [
            ("if-match", &br, 200),
            ("if-match", &identity, 412),
            ("if-none-match", &br, 304),
            ("if-none-match", &identity, 200),
        ] {
            let fields = [("accept-encoding", "br"), (name, tag.as_str())];
            assert_eq!(release.get("/a.txt", &fields).status, status, "{name}");
            let [accepted, condition] = fields;
            assert_eq!(
                release.get("/a.txt", &[accepted, condition, ("range", range)]).status,
                status,
                "{range} {name}"
            );
        }
    }
}

/// §13.2.1: "MUST ignore all received preconditions if its response to the same request without
/// those conditions … would have been a status code other than a 2xx".
#[test]
fn preconditions_are_for_responses_that_would_be_a_success() {
    let release = release().redirects("/old /new 301").encoded("/a.txt", &[(ContentCoding::Br, 2)]);
    for (path, status) in [("/none", 404), ("/old", 301), ("/b.html", 307)] {
        for condition in [
            ("if-match", "\"other\""),
            ("if-none-match", "*"),
            ("if-modified-since", AFTER),
            ("if-unmodified-since", BEFORE),
        ] {
            assert_eq!(release.get(path, &[condition]).status, status, "{path} {condition:?}");
        }
    }
    let refused = [("accept-encoding", "identity;q=0"), ("if-none-match", "*")];
    assert_eq!(release.get("/a.txt", &refused).status, 406);
}

/// §15.4.5: "The server generating a 304 response MUST generate any of the following header
/// fields that would have been sent in a 200 (OK) response to the same request:
/// Content-Location, Date, `ETag`, and Vary; Cache-Control and Expires". No other metadata of
/// the representation "unless said metadata exists for the purpose of guiding cache updates".
#[test]
fn a_304_has_the_fields_that_it_must_have_and_none_of_the_body() {
    let release =
        TestRelease::of(&[("/p.html", "<title>p</title>"), ("/p.de.html", "<title>de</title>"), ("/a.bin", "aaaa")])
            .language("/p.html", "en")
            .translated("/p.html", &["de"])
            .encoded("/p.de.html", &[(ContentCoding::Br, 2)])
            .headers("/*\n  Expires: Sun, 06 Nov 1994 08:49:37 GMT\n  Content-Disposition: inline");
    for (url, fields) in [
        ("/p", &[("accept-language", "de"), ("accept-encoding", "br")][..]),
        ("/p", &[("accept-language", "en")]),
        ("/p?lang=de", &[]),
        ("/a.bin", &[]),
    ] {
        let whole = release.get(url, fields);
        assert_eq!(whole.status, 200, "{url}");
        let condition = [("if-none-match", whole.etag())];
        let same = release.get(url, &[fields, &condition].concat());
        assert_eq!((same.status, same.body.len()), (304, 0), "{url}");
        for name in ["content-location", "etag", "vary", "cache-control", "expires"] {
            assert_eq!(same.field(name), whole.field(name), "{url} {name}");
        }
        for name in
            ["content-type", "content-encoding", "content-language", "content-length", "last-modified", "accept-ranges"]
        {
            assert_eq!(same.field(name), None, "{url} {name}");
        }
        assert_eq!(release.head(url, &[fields, &condition].concat()), same, "{url}");
    }
}

/// §15.4.5: "Last-Modified might be useful if the response does not have an `ETag` field".
#[test]
fn a_304_without_an_etag_has_last_modified() {
    let release = release().headers("/a.txt\n  ! ETag");
    let same = release.get("/a.txt", &[("if-modified-since", MODIFIED)]);
    assert_eq!((same.status, same.field("etag"), same.field("last-modified")), (304, None, Some(MODIFIED)));
}

/// §8.8.3.3: one for each content coding; §8.8.1: "A strong validator is unique across all
/// versions of all representations associated with a particular resource over time."
#[test]
fn each_encoding_and_each_language_has_an_entity_tag_of_its_own() {
    // All languages have the same bytes.
    let codings = [(ContentCoding::Br, 30), (ContentCoding::Zstd, 31), (ContentCoding::Gzip, 32)];
    let mut release = TestRelease::of(&[("/p.html", "same"), ("/p.de.html", "same"), ("/p.de-AT.html", "same")])
        .translated("/p.html", &["de", "de-AT"])
        .encoded("/p.html", &codings);
    for path in ["/p.de.html", "/p.de-AT.html"] {
        release.file(path).encoded = release.file("/p.html").encoded.clone();
    }
    let mut tags: Vec<(&str, &str, String)> = Vec::new();
    for language in ["en", "de", "de-AT"] {
        for coding in ["identity", "br", "zstd", "gzip"] {
            let response = release.get("/p", &[("accept-encoding", coding), ("accept-language", language)]);
            let tag = response.etag();
            // §8.8.3: a strong tag, of characters that a tag may have.
            assert!(
                tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"') && tag.matches('"').count() == 2,
                "{tag}"
            );
            assert!(tags.iter().all(|(.., other)| other != tag), "{language} {coding} {tag}");
            tags.push((language, coding, tag.to_owned()));
        }
    }
    for (language, coding, _) in &tags {
        for (of_language, of_coding, tag) in &tags {
            let is_same = (language, coding) == (of_language, of_coding);
            let fields = [("accept-encoding", *coding), ("accept-language", *language)];
            let [encoding, accepted] = fields;
            let status = release.get("/p", &[encoding, accepted, ("if-none-match", tag)]).status;
            assert_eq!(
                status,
                if is_same { 304 } else { 200 },
                "{language} {coding} with the tag of {of_language} {of_coding}"
            );
            let status = release.get("/p", &[encoding, accepted, ("if-match", tag)]).status;
            assert_eq!(
                status,
                if is_same { 200 } else { 412 },
                "{language} {coding} with the tag of {of_language} {of_coding}"
            );
        }
    }
}

/// §8.8.2: the date of the file, or that of the rollback if it is later.
#[test]
fn last_modified_is_not_before_the_last_rollback() {
    for (modified_seconds, rolled_back_ms, expected) in [
        (MODIFIED_SECONDS, None, MODIFIED),
        (MODIFIED_SECONDS, Some(MODIFIED_SECONDS * 1000 - 1), MODIFIED),
        (MODIFIED_SECONDS, Some(MODIFIED_SECONDS * 1000 + 1999), AFTER),
        (0, None, "Thu, 01 Jan 1970 00:00:00 GMT"),
        // §5.6.7 has four digits for the year.
        (u64::MAX, None, "Fri, 31 Dec 9999 23:59:59 GMT"),
        (0, Some(u64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT"),
    ] {
        let mut release = release();
        release.file("/a.txt").modified_seconds = modified_seconds;
        release.pointer.rolled_back_ms = rolled_back_ms;
        assert_eq!(release.get("/a.txt", &[]).field("last-modified"), Some(expected));
    }
    let mut release = release();
    release.pointer.rolled_back_ms = Some((MODIFIED_SECONDS + 1) * 1000);
    for (fields, status) in [
        // A client that has the newer release's bytes does not have what is served now.
        ([("if-modified-since", MODIFIED)], 200),
        ([("if-modified-since", AFTER)], 304),
        ([("if-unmodified-since", MODIFIED)], 412),
    ] {
        assert_eq!(release.get("/a.txt", &fields).status, status, "{fields:?}");
    }
    let tag = release.get("/a.txt", &[]).etag().to_owned();
    assert_eq!(release.get("/a.txt", &[("if-none-match", &tag)]).status, 304, "the bytes say more than the date");
    let part = [("range", "bytes=0-0"), ("if-range", MODIFIED)];
    assert_eq!(release.get("/a.txt", &part).status, 200);
}
