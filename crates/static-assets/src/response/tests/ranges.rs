//! RFC 9110 §13.1.5, §14 and §15.3.7: parts of files.

use super::*;

const ALPHABET: &str = "abcdefghijklmnopqrstuvwxyz";

/// A text in three chunks, an empty file, and a file with encodings.
fn release() -> TestRelease {
    let mut release =
        TestRelease::of(&[("/empty.bin", ""), ("/c.txt", ALPHABET)]).encoded("/c.txt", &[(ContentCoding::Br, 12)]);
    release.add("/a.bin", ALPHABET.as_bytes(), 10);
    release
}

/// §14.1.2 and §15.3.7.1.
#[test]
fn a_single_range_has_content_range() {
    for (range, content_range, text, values) in [
        ("bytes=0-4", "bytes 0-4/26", "abcde", 1),
        ("bytes=24-", "bytes 24-25/26", "yz", 1),
        ("bytes=-3", "bytes 23-25/26", "xyz", 1),
        ("bytes=-99", "bytes 0-25/26", ALPHABET, 3),
        ("bytes=0-99999999999999999999", "bytes 0-25/26", ALPHABET, 3),
        ("bytes=25-25", "bytes 25-25/26", "z", 1),
        // Across the borders of chunks; only chunks that overlap are read.
        ("bytes=9-10", "bytes 9-10/26", "jk", 2),
        ("bytes=10-19", "bytes 10-19/26", "klmnopqrst", 1),
        ("bytes=9-20", "bytes 9-20/26", "jklmnopqrstu", 3),
        // §15.3.7.2: "A server MUST NOT generate a multipart response to a request for a single
        // range", and ranges that are coalesced are one.
        ("bytes=0-4,5-6", "bytes 0-6/26", "abcdefg", 1),
        ("bytes=3-6,0-4,99-", "bytes 0-6/26", "abcdefg", 1),
    ] {
        let response = release().get("/a.bin", &[("range", range)]);
        assert_eq!(
            (response.status, response.text(), response.field("content-range")),
            (206, text, Some(content_range)),
            "{range}"
        );
        assert_eq!(response.field("content-type"), Some("application/octet-stream"), "{range}");
        assert_eq!(response.read.len(), values, "{range}");
    }
}

/// §15.3.7.2 and §14.6: "multipart/byteranges".
#[test]
fn several_ranges_that_are_apart_are_multipart() {
    let response = release().get("/a.bin", &[("range", "bytes=-1, 0-1, 8-11, 50-")]);
    let boundary = format!("kv-edge-{}", hash(ALPHABET.as_bytes()));
    assert_eq!(response.status, 206);
    assert_eq!(response.field("content-type"), Some(format!("multipart/byteranges; boundary={boundary}").as_str()));
    // "a server MUST NOT generate a Content-Range header field in the HTTP header section of a
    // multiple part response".
    assert_eq!(response.field("content-range"), None);
    let part = |range: &str, text: &str| {
        format!(
            "--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {range}/26\r\n\r\n{text}\r\n"
        )
    };
    let expected =
        [part("0-1", "ab"), part("8-11", "ijkl"), part("25-25", "z"), format!("--{boundary}--\r\n")].concat();
    assert_eq!(response.text(), expected);
    // RFC 2046 §5.1.1: "Boundary delimiters must not appear within the encapsulated material",
    // and have 70 characters at most.
    assert!(boundary.len() <= 70);
}

/// §14.6: each part has the type that the whole would have, even if `_headers` changes or
/// removes it.
#[test]
fn parts_have_the_type_that_the_whole_has() {
    for (rules, expected) in [
        ("/a.bin\n  Content-Type: text/x-letters", Some("Content-Type: text/x-letters\r\n")),
        ("/a.bin\n  ! Content-Type", None),
    ] {
        let response = release().headers(rules).get("/a.bin", &[("range", "bytes=0-0,2-2")]);
        assert!(response.field("content-type").unwrap().starts_with("multipart/byteranges; boundary="));
        assert_eq!(
            response.text().matches("Content-Type: ").count(),
            if expected.is_some() { 2 } else { 0 },
            "{rules}"
        );
        assert!(response.text().contains(expected.unwrap_or_default()), "{rules}");
    }
}

/// §14.2: "A server MAY ignore the Range header field"; it "MUST ignore" unknown units.
#[test]
fn an_invalid_range_is_ignored_and_so_are_more_than_16() {
    let many = |ranges: usize| (0..ranges).map(|at| format!("{}-{}", at * 2, at * 2)).collect::<Vec<_>>().join(",");
    let long = "x".repeat(100);
    let mut release = release();
    release.add("/long.bin", long.as_bytes(), 7);
    for range in
        ["", "bytes", "bytes=", "bytes=a-b", "bytes=2-1", "bytes=0-1,x", "bytes=-", "seconds=0-1", "0-1", "bytes 0-1"]
    {
        let response = release.get("/a.bin", &[("range", range)]);
        assert_eq!(
            (response.status, response.text(), response.field("content-range")),
            (200, ALPHABET, None),
            "{range}"
        );
    }
    assert_eq!(release.get("/long.bin", &[("range", &format!("bytes={}", many(16)))]).status, 206);
    let response = release.get("/long.bin", &[("range", &format!("bytes={}", many(17)))]);
    assert_eq!((response.status, response.text()), (200, long.as_str()), "more than 16");
}

/// §15.5.17: "SHOULD generate a Content-Range header field specifying the current length".
#[test]
fn a_range_beyond_the_end_is_416() {
    for (path, range, status, content_range) in [
        ("/a.bin", "bytes=26-", 416, Some("bytes */26")),
        ("/a.bin", "bytes=26-30,99-", 416, Some("bytes */26")),
        ("/a.bin", "bytes=-0", 416, Some("bytes */26")),
        ("/empty.bin", "bytes=0-", 416, Some("bytes */0")),
        // §14.1.2: a suffix of an empty file is satisfiable, but `Content-Range` cannot express
        // it.
        ("/empty.bin", "bytes=-1", 200, None),
    ] {
        let response = release().get(path, &[("range", range)]);
        assert_eq!((response.status, response.field("content-range")), (status, content_range), "{path} {range}");
    }
}

/// §14.2: "A server MUST ignore a Range header field received with a request method that is
/// unrecognized or for which range handling is not defined. For this specification, GET is the
/// only method".
#[test]
fn range_is_ignored_for_head() {
    for range in ["bytes=0-1", "bytes=0-0,2-2", "bytes=99-", "x"] {
        let response = release().head("/a.bin", &[("range", range)]);
        assert_eq!(
            (response.status, response.body.len(), response.field("content-length")),
            (200, 0, Some("26")),
            "{range}"
        );
    }
}

/// §13.1.5: a tag is compared strongly, and a date as it stands.
#[test]
fn if_range_compares_strongly() {
    let release = release();
    let tag = release.get("/a.bin", &[]).etag().to_owned();
    let weak = format!("W/{tag}");
    for (if_range, status) in [
        (tag.as_str(), 206),
        (MODIFIED, 206),
        ("\"other\"", 200),
        (&weak, 200),
        // Neither a list, nor `*`, nor a tag without quotes.
        (&format!("{tag}, {tag}"), 200),
        ("*", 200),
        (tag.trim_matches('"'), 200),
        // "exactly matches": neither an earlier nor a later date.
        (BEFORE, 200),
        (AFTER, 200),
        ("", 200),
    ] {
        let response = release.get("/a.bin", &[("range", "bytes=0-1"), ("if-range", if_range)]);
        assert_eq!(response.status, status, "{if_range}");
        assert_eq!(response.text(), if status == 206 { "ab" } else { ALPHABET }, "{if_range}");
        // A range beyond the end of another version is not the client's error.
        let beyond = release.get("/a.bin", &[("range", "bytes=99-"), ("if-range", if_range)]);
        assert_eq!(beyond.status, if status == 206 { 416 } else { 200 }, "{if_range}");
    }
}

/// §14.2: ranges are of the selected representation. Here that is always the one without an
/// encoding.
#[test]
fn ranges_are_of_the_unencoded_representation() {
    let release = release();
    let identity = release.get("/c.txt", &[]);
    let br = release.get("/c.txt", &[("accept-encoding", "br")]);
    assert_eq!(br.field("content-encoding"), Some("br"));
    let (identity, br) = (identity.etag(), br.etag());
    for (fields, status, coding) in [
        (&[("accept-encoding", "br")][..], 206, None),
        (&[("accept-encoding", "br, identity;q=0.1")], 206, None),
        (&[("accept-encoding", "br"), ("if-range", identity)], 206, None),
        (&[("accept-encoding", "br"), ("if-match", identity)], 206, None),
        (&[("accept-encoding", "br"), ("if-match", br)], 412, None),
        // A client that has a part of the encoded bytes gets all of them.
        (&[("accept-encoding", "br"), ("if-range", br)], 200, Some("br")),
        // A client that refuses `identity` gets no part of it.
        (&[("accept-encoding", "br, identity;q=0")], 200, Some("br")),
        (&[("accept-encoding", "br, *;q=0")], 200, Some("br")),
        (&[("accept-encoding", "gzip, identity;q=0")], 406, None),
        // §8.8.1: "a validator is weak if it is shared by two or more representations of a given
        // resource at the same time".
        (&[("accept-encoding", "br"), ("if-range", MODIFIED)], 200, Some("br")),
        (&[("if-range", MODIFIED)], 200, None),
    ] {
        let response = release.get("/c.txt", &[fields, &[("range", "bytes=1-2")]].concat());
        assert_eq!((response.status, response.field("content-encoding")), (status, coding), "{fields:?}");
        if status == 206 {
            assert_eq!((response.text(), response.etag()), ("bc", identity), "{fields:?}");
        }
        if status < 400 {
            assert_eq!(response.field("vary"), Some("Accept-Encoding"), "{fields:?}");
        }
    }
}

/// §15.3.7: Cache-Control, `ETag`, Expires, Content-Location and Vary are those of the 200.
#[test]
fn a_206_has_the_fields_of_the_200() {
    let release = release().headers("/*\n  Expires: 0");
    let whole = release.get("/c.txt", &[]);
    let part = release.get("/c.txt", &[("range", "bytes=0-0")]);
    let parts = release.get("/c.txt", &[("range", "bytes=0-0,2-2")]);
    for name in ["cache-control", "etag", "expires", "last-modified", "vary", "accept-ranges", "x-content-type-options"]
    {
        assert!(whole.field(name).is_some(), "{name}");
        assert_eq!(part.field(name), whole.field(name), "{name}");
        assert_eq!(parts.field(name), whole.field(name), "{name}");
    }
    assert_eq!(whole.field("accept-ranges"), Some("bytes"));
}

/// The page of a 404 has no ranges.
#[test]
fn a_404_page_has_no_ranges() {
    let release = TestRelease::of(&[("/404.html", "no such page")]);
    for fields in [&[("range", "bytes=0-1")][..], &[("range", "bytes=99-")], &[]] {
        let response = release.get("/none", fields);
        assert_eq!((response.status, response.text(), response.field("accept-ranges")), (404, "no such page", None));
    }
}
