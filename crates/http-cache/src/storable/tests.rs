//! What may be stored, rule by rule.

use super::*;
use http_semantics::fields::HeaderSection;

const URL: &str = "https://api.example.com/a?b=c";
const NOW_MS: u64 = 784_111_777_000;
const TIMES: ExchangeTimes = ExchangeTimes { requested_ms: NOW_MS, received_ms: NOW_MS };

fn check(
    method: &str,
    request: &[(&'static str, &str)],
    status: u16,
    response: &[(&'static str, &str)],
) -> Result<(), NoCacheReason> {
    let (request, credentials, response) =
        (&HeaderSection::from(request), &CredentialFields::default(), &HeaderSection::from(response));
    StorageCandidate { method, ..candidate(request, credentials, status, response) }.check()
}

/// A response to a `GET`.
fn candidate<'a>(
    request: &'a HeaderSection,
    credentials: &'a CredentialFields,
    status: u16,
    response: &'a HeaderSection,
) -> StorageCandidate<'a, HeaderSection, HeaderSection> {
    let default_lifetime_ms = None;
    StorageCandidate {
        method: "GET",
        url: URL,
        request,
        credentials,
        status,
        response,
        times: TIMES,
        default_lifetime_ms,
    }
}

/// A `GET` without fields.
fn got(status: u16, response: &[(&'static str, &str)]) -> Result<(), NoCacheReason> {
    check("GET", &[], status, response)
}

/// A `GET` without fields, and a 200 with this `Cache-Control`.
fn said(cache_control: &str) -> Result<(), NoCacheReason> {
    got(200, &[("cache-control", cache_control)])
}

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

#[test]
fn of_methods_other_than_post_only_get_has_responses_that_are_stored() {
    // RFC 9111 §3: "the request method is understood by the cache". RFC 9110 §9.3.2: the
    // response to a HEAD has no content to store.
    assert_eq!(check("GET", &[], 200, &[FRESH]), Ok(()));
    for method in ["HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "QUERY", ""] {
        assert_eq!(check(method, &[], 200, &[FRESH]), Err(NoCacheReason::Method), "{method}");
    }
}

#[test]
fn a_response_to_post_is_stored_if_it_states_that_it_is_the_resource_and_for_how_long() {
    // RFC 9110 §9.3.3: "Responses to POST requests are only cacheable when they include explicit
    // freshness information … and a Content-Location header field that has the same value as the
    // POST's target URI".
    for (location, expected) in [
        (URL, Ok(())),
        ("/a?b=c", Ok(())),
        (" /a?b=c ", Ok(())),
        ("/a", Err(NoCacheReason::Method)),
        ("a?b=c", Err(NoCacheReason::Method)),
        ("", Err(NoCacheReason::Method)),
        ("https://other.example.com/a?b=c", Err(NoCacheReason::Method)),
        ("//api.example.com/a?b=c", Err(NoCacheReason::Method)),
    ] {
        assert_eq!(check("POST", &[], 200, &[FRESH, ("content-location", location)]), expected, "{location}");
    }
    let location = ("content-location", URL);
    let expires = [("expires", "Sun, 06 Nov 1994 09:49:37 GMT"), location];
    assert_eq!(check("POST", &[], 200, &expires), Ok(()));
    assert_eq!(check("POST", &[], 200, &[FRESH]), Err(NoCacheReason::Method));
    let heuristic = [("last-modified", "Sun, 06 Nov 1984 09:49:37 GMT"), location];
    assert_eq!(check("POST", &[], 200, &heuristic), Err(NoCacheReason::Method));
    assert_eq!(
        check("POST", &[], 404, &[FRESH, location]),
        Err(NoCacheReason::Method),
        "what failed is not what a GET gets"
    );
    assert_eq!(
        check("POST", &[], 200, &[("cache-control", "max-age=60, private"), location]),
        Err(NoCacheReason::Private)
    );
}

#[test]
fn a_response_with_a_status_that_is_not_final_partial_or_forbidden_is_not_stored() {
    // RFC 9111 §3: "the response status code is final". §3.3: partial responses only if they are
    // understood. RFC 6585: "Responses with the 428 status code MUST NOT be stored by a cache"
    // (429, 431 and 511 too).
    for (status, expected) in [
        (100, Err(NoCacheReason::Status)),
        (199, Err(NoCacheReason::Status)),
        (428, Err(NoCacheReason::Status)),
        (429, Err(NoCacheReason::Status)),
        (431, Err(NoCacheReason::Status)),
        (511, Err(NoCacheReason::Status)),
        (206, Err(NoCacheReason::Partial)),
        (304, Err(NoCacheReason::Partial)),
        (412, Err(NoCacheReason::Partial)),
        (416, Err(NoCacheReason::Partial)),
    ] {
        assert_eq!(got(status, &[FRESH]), expected, "{status}");
    }
    for status in
        [200, 201, 203, 204, 299, 301, 302, 303, 307, 308, 400, 401, 403, 404, 410, 499, 500, 502, 503, 504, 599]
    {
        assert_eq!(got(status, &[FRESH]), Ok(()), "explicit freshness: {status}");
    }
}

#[test]
fn must_understand_needs_a_known_status_and_then_overrides_no_store() {
    // RFC 9111 §5.2.2.3: "limits caching of the response to a cache that understands and
    // conforms to the requirements for that response's status code"; such a cache "SHOULD ignore
    // the no-store directive".
    let field = ("cache-control", "max-age=60, must-understand, no-store");
    for status in [200, 203, 301, 308, 404, 410, 451, 500, 501, 503] {
        assert_eq!(got(status, &[field]), Ok(()), "{status}");
    }
    for status in [299, 399, 418, 499, 506, 599] {
        assert_eq!(got(status, &[field]), Err(NoCacheReason::NotUnderstood), "{status}");
        assert_eq!(
            got(status, &[("cache-control", "max-age=60, must-understand")]),
            Err(NoCacheReason::NotUnderstood),
            "{status}"
        );
    }
}

#[test]
fn no_store_counts_in_request_and_response() {
    // RFC 9111 §5.2.1.5, §5.2.2.5: a cache "MUST NOT store any part of either this request or
    // any response to it", "… of either the immediate request or the response".
    for field in ["no-store", "No-StOrE", "max-age=10000, no-store", "no-store, public, s-maxage=1"] {
        assert_eq!(said(field), Err(NoCacheReason::NoStore), "{field}");
    }
    let request = [("cache-control", "no-store")];
    assert_eq!(check("GET", &request, 200, &[FRESH]), Err(NoCacheReason::NoStore));
    // must-understand overrides only the no-store of the response.
    assert_eq!(
        check("GET", &request, 200, &[("cache-control", "max-age=60, must-understand")]),
        Err(NoCacheReason::NoStore)
    );
    assert_eq!(check("GET", &[("pragma", "no-cache")], 200, &[FRESH]), Ok(()));
}

#[test]
fn private_is_not_for_a_shared_cache() {
    for malformed in ["private: true", "'private'", "private/*x*/", "\u{a0}private", "private;x"] {
        assert_eq!(said(&format!("max-age=60, {malformed}")), Err(NoCacheReason::Private), "{malformed}");
    }
    assert_eq!(said("max-age=60, no_store"), Err(NoCacheReason::NoStore));
    // RFC 9111 §5.2.2.7: "a shared cache MUST NOT store the response"; of the qualified form,
    // "the listed header fields".
    assert_eq!(said("private, max-age=60"), Err(NoCacheReason::Private));
    assert_eq!(said("max-age=60 private"), Err(NoCacheReason::Private), "a comma is missing");
    assert_eq!(said("max-age=60, private=\"set-cookie\""), Ok(()));
    for hidden in ["vary", "cache-control", "Expires", "a, date", "Cache-Tag", "surrogate-key", "content-encoding"] {
        assert_eq!(said(&format!("max-age=60, private=\"{hidden}\"")), Err(NoCacheReason::Private), "{hidden}");
        assert_eq!(said(&format!("max-age=60, no-cache=\"{hidden}\"")), Err(NoCacheReason::Private), "{hidden}");
    }
}

#[test]
fn a_response_to_authorization_is_stored_only_if_a_directive_permits_sharing() {
    // RFC 9111 §3.5: "A shared cache MUST NOT use a cached response to a request with an
    // Authorization header field … unless the response contains a Cache-Control field with a
    // response directive … that allows it to be stored by a shared cache".
    let request = [("authorization", "Basic Zm9v")];
    for (field, expected) in [
        ("max-age=60", Err(NoCacheReason::Authorization)),
        ("max-age=60, proxy-revalidate", Err(NoCacheReason::Authorization)),
        ("max-age=60, public", Ok(())),
        ("max-age=60, must-revalidate", Ok(())),
        ("s-maxage=60", Ok(())),
    ] {
        assert_eq!(check("GET", &request, 200, &[("cache-control", field)]), expected, "{field}");
    }
    let targeted = [("cdn-cache-control", "max-age=60"), ("cache-control", "public")];
    assert_eq!(
        check("GET", &request, 200, &targeted),
        Err(NoCacheReason::Authorization),
        "Cache-Control is ignored (RFC 9213 §2.2)"
    );
}

#[test]
fn vary_star_is_not_stored() {
    // RFC 9111 §4.1: "A stored response with a Vary header field value containing a member "*"
    // always fails to match."
    for (vary, expected) in
        [("*", Err(NoCacheReason::VaryStar)), ("a, *", Err(NoCacheReason::VaryStar)), ("a", Ok(())), ("", Ok(()))]
    {
        assert_eq!(got(200, &[FRESH, ("vary", vary)]), expected, "{vary}");
    }
}

#[test]
fn a_response_is_stored_if_it_may_be_and_can_be_used() {
    // RFC 9111 §3: "the response contains at least one of the following: a public response
    // directive …; an Expires header field; a max-age response directive; … an s-maxage response
    // directive …; or a status code that is defined as heuristically cacheable." And: "some
    // caches will not store a response that has neither a cache validator nor an explicit
    // expiration time".
    let none = Err(NoCacheReason::NoFreshness);
    let (etag, modified) = (("etag", "\"a\""), ("last-modified", "Sat, 05 Nov 1994 08:49:37 GMT"));
    let cases: [(u16, &[(&str, &str)], _); 17] = [
        (200, &[], none),
        (200, &[etag], Ok(())),
        (200, &[modified], Ok(())),
        (404, &[etag], Ok(())),
        (500, &[etag], none),
        (500, &[modified], none),
        (599, &[("cache-control", "public"), modified], Ok(())),
        (200, &[("cache-control", "public")], none),
        (200, &[("expires", "Sun, 06 Nov 1994 09:49:37 GMT")], Ok(())),
        (200, &[("expires", "0")], none),
        (500, &[("expires", "0"), etag], Ok(())),
        (200, &[("cache-control", "max-age=0")], none),
        (200, &[("cache-control", "max-age=0"), etag], Ok(())),
        (200, &[("cache-control", "max-age=60"), ("age", "100")], Ok(())),
        (200, &[("cache-control", "max-age=0, stale-while-revalidate=60")], Ok(())),
        (200, &[("cache-control", "max-age=0, stale-if-error=60, must-revalidate")], none),
        (200, &[("cdn-cache-control", "a"), ("cache-control", "max-age=60")], none),
    ];
    for (status, fields, expected) in cases {
        assert_eq!(got(status, fields), expected, "{status} {fields:?}");
    }
    let default = |status, fields: &[(&'static str, &str)]| {
        let (request, credentials, response) =
            (&HeaderSection::default(), &CredentialFields::default(), &HeaderSection::from(fields));
        let candidate = candidate(request, credentials, status, response);
        StorageCandidate { default_lifetime_ms: Some(60_000), ..candidate }.check()
    };
    assert_eq!((default(200, &[]), default(201, &[])), (Ok(()), Ok(())));
    assert_eq!(default(200, &[("cache-control", "max-age=0")]), none);
}

#[test]
fn no_cache_is_stored_for_its_validator() {
    // RFC 9111 §5.2.2.4: "the response MUST NOT be used to satisfy any other request without
    // forwarding it for validation".
    assert_eq!(said("no-cache, max-age=60"), Err(NoCacheReason::NoFreshness));
    assert_eq!(got(200, &[("cache-control", "no-cache, max-age=60"), ("etag", "\"a\"")]), Ok(()));
    assert_eq!(got(200, &[("cache-control", "no-cache"), ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")]), Ok(()));
    assert_eq!(said("no-cache=\"a\", max-age=60"), Ok(()));
}

#[test]
fn a_head_of_more_than_32_kib_is_not_stored() {
    let rest = HEAD_BYTES_MAX - "cache-control\nmax-age=60\na\n\n".len();
    let (fits, too_long) = ("x".repeat(rest), "x".repeat(rest + 1));
    let fields = |long: &str| -> HeaderSection { [FRESH, ("a", long)].into_iter().collect() };
    assert_eq!(fields(&fits).as_str().len(), HEAD_BYTES_MAX);
    for (long, expected) in [(fits, Ok(())), (too_long, Err(NoCacheReason::HeadTooLarge))] {
        let (request, credentials) = (&HeaderSection::default(), &CredentialFields::default());
        assert_eq!(candidate(request, credentials, 200, &fields(&long)).check(), expected);
    }
}

fn stored(fields: &[(&'static str, &'static str)], with_cookies: bool) -> Vec<String> {
    let response: HeaderSection = fields.iter().copied().collect();
    stored_fields(&response, with_cookies).iter().map(|(name, value)| format!("{name}: {value}")).collect()
}

#[test]
fn all_fields_are_stored_but_those_of_the_connection_and_for_a_proxy() {
    // RFC 9111 §3.1: "Caches MUST include all received response header fields -- including
    // unrecognized ones", but not "the Connection header field and fields whose names are listed
    // in it", "Header fields that are specific to the proxy", and what "no-cache and private
    // cache directives … prevent storage of". If `Connection` lists `Cache-Control`, `Vary` or
    // `Content-Length`, they are stored all the same.
    let fields = [
        ("date", "d"),
        ("x-unknown", "1"),
        ("x-unknown", "2"),
        ("proxy-status", "a"),
        ("age", "7"),
        ("connection", "X-Listed, cache-control, Vary"),
        ("connection", "content-length, Close"),
        ("x-listed", "3"),
        ("cache-control", "max-age=1"),
        ("vary", "a"),
        ("content-length", "4"),
        ("keep-alive", "timeout=5"),
        ("transfer-encoding", "chunked"),
        ("trailer", "a"),
        ("te", "trailers"),
        ("upgrade", "h2c"),
        ("proxy-connection", "a"),
        ("proxy-authenticate", "Basic"),
        ("proxy-authentication-info", "a"),
        ("proxy-authorization", "Basic"),
    ];
    let expected = [
        "date: d",
        "x-unknown: 1",
        "x-unknown: 2",
        "proxy-status: a",
        "age: 7",
        "cache-control: max-age=1",
        "vary: a",
        "content-length: 4",
    ];
    assert_eq!(stored(&fields, true), expected);
}

#[test]
fn fields_that_no_cache_or_private_names_are_not_stored() {
    let of = |name: &'static str, directives: &'static str| {
        stored(&[(name, directives), ("a", "1"), ("b", "2"), ("c", "3")], true).split_off(1).join(", ")
    };
    assert_eq!(of("cache-control", "no-cache=\"A, b\", max-age=60"), "c: 3");
    assert_eq!(of("cache-control", "private=a, no-cache=\"c\""), "b: 2");
    assert_eq!(of("cdn-cache-control", "private=\"a\""), "b: 2, c: 3");
    assert_eq!(of("cache-control", "no-cache"), "a: 1, b: 2, c: 3");
}

#[test]
fn a_cookie_is_stored_only_with_a_response_for_shared_caches() {
    // RFC 9111 §7.3: the Set-Cookie field "does not inhibit caching". But frameworks add one to
    // any response.
    let shares = |fields: &[(&'static str, &str)]| {
        let fields = HeaderSection::from(fields);
        let (directives, is_targeted) = CacheControl::of_response(&fields);
        let freshness = Freshness::of(200, &fields, &directives, is_targeted, TIMES, None);
        stores_cookies(&directives, is_targeted, &freshness)
    };
    let modified = ("last-modified", "Sat, 05 Nov 1994 08:49:37 GMT");
    for control in ["public, max-age=60", "s-maxage=60", "max-age=0, s-maxage=60"] {
        assert!(shares(&[("cache-control", control), modified]), "{control}");
    }
    for control in ["", "max-age=60", "public", "public, max-age=0", "s-maxage=0", "public, max-age=60, no-cache"] {
        assert!(!shares(&[("cache-control", control), modified]), "{control}");
    }
    assert!(shares(&[("cdn-cache-control", "max-age=60"), ("cache-control", "private")]));
    assert!(!shares(&[("cdn-cache-control", "max-age=0"), ("cache-control", "public, max-age=60")]));
    assert!(!shares(&[("expires", "Sun, 06 Nov 1994 09:49:37 GMT")]));
    let fields = [("set-cookie", "a=1"), ("set-cookie", "b=2"), ("etag", "\"a\"")];
    assert_eq!((stored(&fields, true).len(), stored(&fields, false).len()), (3, 1));
}

/// Request fields that identify the client. The last one is among them only if a site says so.
const CREDENTIALS: [(&str, &str); 3] = [("cookie", "session=alice"), ("x-api-key", "alice"), ("x-session", "alice")];

#[test]
fn a_response_to_credentials_is_stored_only_if_explicitly_fresh_for_shared_caches() {
    let further = CredentialFields::parse("X-Session");
    let metadata = |request: &[(&'static str, &str)], response: &[(&'static str, &str)]| {
        candidate(&HeaderSection::from(request), &further, 200, &HeaderSection::from(response)).check()
    };
    let (etag, modified) = (("etag", "\"a\""), ("last-modified", "Sat, 05 Nov 1994 08:49:37 GMT"));
    let implicit: [&[(&str, &str)]; 11] = [
        &[etag],
        &[modified],
        &[("expires", "0"), etag],
        &[("cache-control", "max-age=0"), etag],
        &[("pragma", "no-cache"), etag],
        &[("cache-control", "no-cache=\"set-cookie\""), etag],
        &[("cache-control", "no-cache, max-age=60"), etag],
        &[("cache-control", "public"), modified],
        &[("cache-control", "max-age=0, stale-if-error=60, stale-while-revalidate=60"), etag],
        // Not explicitly fresh, so a client's `max-stale` could otherwise retrieve it.
        &[("cache-control", "max-age=60"), ("age", "60"), etag],
        &[("expires", "Sun, 06 Nov 1994 08:40:00 GMT"), ("date", "Sun, 06 Nov 1994 08:39:00 GMT"), etag],
    ];
    let explicit: [&[(&str, &str)]; 4] = [
        &[("cache-control", "max-age=60"), etag],
        &[("cache-control", "max-age=0, s-maxage=60")],
        &[("expires", "Sun, 06 Nov 1994 09:49:37 GMT")],
        &[("cdn-cache-control", "max-age=60"), ("cache-control", "private")],
    ];
    for credentials in CREDENTIALS {
        for response in implicit {
            assert_eq!(
                metadata(&[credentials], response),
                Err(NoCacheReason::Credentials),
                "{credentials:?} {response:?}"
            );
            assert_eq!(metadata(&[], response), Ok(()), "without credentials {response:?}");
            // The stored response stays current for others.
            let storable =
                candidate(&HeaderSection::from(&[credentials]), &further, 200, &HeaderSection::from(response))
                    .storable();
            assert_eq!(storable, Storable::No(NoCacheReason::Credentials), "{response:?}");
        }
        for response in explicit {
            assert_eq!(metadata(&[credentials], response), Ok(()), "{credentials:?} {response:?}");
        }
    }
    let shared = [("cache-control", "must-revalidate"), etag];
    assert_eq!(
        metadata(&[("authorization", "Basic Zm9v")], &shared),
        Err(NoCacheReason::Credentials),
        "RFC 9111 §3.5 too"
    );
}

#[test]
fn a_304_to_credentials_updates_only_if_explicitly_fresh_for_shared_caches() {
    // RFC 9111 §3.2 stores the fields of a 304, which may be meant for the client of the
    // request: a name, a nonce.
    let merged = HeaderSection::from(&[("cache-control", "max-age=60"), ("etag", "\"a\""), ("x-name", "alice")]);
    let none = CredentialFields::default();
    let storable = |request: &[(&'static str, &str)], update: &[(&'static str, &str)]| {
        candidate(&HeaderSection::from(request), &none, 200, &merged).storable_update(&HeaderSection::from(update))
    };
    let (silent, fresh) = ([("x-name", "alice")], [("x-name", "alice"), ("cache-control", "max-age=60")]);
    assert_eq!(storable(&[], &silent), Storable::Yes, "an anonymous request");
    for credentials in CREDENTIALS.into_iter().take(2) {
        assert_eq!(storable(&[credentials], &silent), Storable::No(NoCacheReason::Credentials), "{credentials:?}");
        assert_eq!(storable(&[credentials], &fresh), Storable::Yes, "{credentials:?}");
    }
}

#[test]
fn obs_text_is_not_stored() {
    // RFC 9110 §5.5: obs-text = %x80-FF. The runtime reads fields as UTF-8.
    let lossy = ("content-disposition", "attachment; filename=\"M\u{fffd}rz.pdf\"");
    let utf8 = ("content-disposition", "attachment; filename=\"März.pdf\"");
    assert_eq!((got(200, &[FRESH, lossy]), got(200, &[FRESH, utf8])), (Err(NoCacheReason::ObsText), Ok(())));
    let request = [("x-name", "M\u{fffd}rz")];
    assert_eq!(check("GET", &request, 200, &[FRESH]), Ok(()), "it selects nothing");
    assert_eq!(check("GET", &request, 200, &[FRESH, ("vary", "accept, X-Name")]), Err(NoCacheReason::ObsText));
}
