//! RFC 9110 §8.4, §12.5.3 and §12.5.5: the negotiation of encodings, and `Vary`.

use super::*;

const TEXT: &str = "a text that is long enough to be worth it, a text that is long enough";

fn release() -> TestRelease {
    // With their lengths: of encodings that are equally welcome, the shortest is sent.
    let codings = [(ContentCoding::Br, 20), (ContentCoding::Zstd, 25), (ContentCoding::Gzip, 30)];
    TestRelease::of(&[("/a.txt", TEXT), ("/b.png", "pixels"), ("/404.html", TEXT)])
        .encoded("/a.txt", &codings)
        .encoded("/404.html", &codings)
}

/// §12.5.3, the rules for "whether a content coding for a given representation is acceptable".
#[test]
fn the_best_accepted_encoding_is_sent() {
    for (accepted, coding) in [
        (None, None),
        (Some(""), None),
        (Some("gzip, deflate, br, zstd"), Some("br")),
        (Some("gzip"), Some("gzip")),
        (Some("br;q=0.5, zstd;q=0.9, gzip;q=0.8"), Some("zstd")),
        (Some("br;q=0, *"), Some("zstd")),
        (Some("*"), Some("br")),
        (Some("identity, br;q=0.5"), None),
        (Some("deflate"), None),
        (Some("identity;q=0, x-gzip"), Some("gzip")),
    ] {
        let fields: Vec<_> = accepted.map(|accepted| ("accept-encoding", accepted)).into_iter().collect();
        let response = release().get("/a.txt", &fields);
        assert_eq!((response.status, response.field("content-encoding")), (200, coding), "{accepted:?}");
        // The bytes are those of the encoding.
        let is_text = response.text() == TEXT;
        assert_eq!(is_text, coding.is_none(), "{accepted:?}");
        let head = release().head("/a.txt", &fields);
        assert_eq!(head.field("content-length"), Some(response.body.len().to_string().as_str()), "{accepted:?}");
        assert_eq!(head.field("content-encoding"), coding, "{accepted:?}");
        assert_eq!(response.field("content-type"), Some("text/plain; charset=utf-8"), "{accepted:?}");
    }
}

/// §15.5.7: 406 if every encoding is refused.
#[test]
fn a_file_with_encodings_that_are_all_refused_is_406() {
    for accepted in ["identity;q=0", "*;q=0", "identity;q=0, deflate", "br;q=0, gzip;q=0, zstd;q=0, identity;q=0"] {
        let fields = [("accept-encoding", accepted)];
        assert_eq!(release().get("/a.txt", &fields).status, 406, "{accepted}");
        assert_eq!(release().head("/a.txt", &fields).status, 406, "{accepted}");
        // A file without encodings is sent to everybody. §12.4.1: an origin server can
        // "disregard the header field".
        assert_eq!(release().get("/b.png", &fields).status, 200, "{accepted}");
        // A 406 would say less than the page of the 404.
        let none = release().get("/none", &fields);
        assert_eq!((none.status, none.text()), (404, TEXT), "{accepted}");
    }
}

/// §12.5.5: "an origin server SHOULD generate a Vary header field on a cacheable response when
/// it wishes that response to be selectively reused".
#[test]
fn negotiated_responses_have_vary() {
    let release = release();
    for accepted in ["", "br", "gzip", "identity", "br, identity;q=0"] {
        let encoding = ("accept-encoding", accepted);
        let whole = release.get("/a.txt", &[encoding]);
        let responses = [
            release.head("/a.txt", &[encoding]),
            release.get("/a.txt", &[encoding, ("if-none-match", whole.etag())]),
            release.get("/a.txt", &[encoding, ("range", "bytes=0-1")]),
            whole,
        ];
        // A client that accepts JSON gets no page.
        assert_eq!(release.get("/none", &[encoding]).field("vary"), Some("Accept-Encoding, Accept"), "{accepted}");
        for response in responses {
            assert_eq!(response.field("vary"), Some("Accept-Encoding"), "{} {accepted}", response.status);
        }
        for response in [release.get("/b.png", &[encoding]), release.head("/b.png", &[encoding])] {
            assert_eq!((response.status, response.field("vary")), (200, None), "{accepted}");
        }
    }
}
