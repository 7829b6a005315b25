//! Which header fields of an upstream response change for the visitor, and how.

use super::*;
use crate::storefront_record::{Fallback, RoutingEntry};
use http_semantics::fields::HeaderSection;

/// A route for `/admin`, two variants (`green` has the host of the route), and a fallback.
const RECORD: &str = r#"{
    "routes": [{"path": "/admin", "origin": "https://admin.example/panel"}],
    "variants": [
        {"name": "blue", "origin": "https://blue.example/shop", "weight": 1},
        {"name": "green", "origin": "https://admin.example/green", "weight": 1}
    ],
    "fallback": "https://backup.example/copy"
    HEADERS
}"#;

fn record(response: &str) -> StorefrontRecord {
    let headers =
        if response.is_empty() { String::new() } else { format!(r#", "headers": {{"response": {response}}}"#) };
    match RoutingEntry::parse("shop", &RECORD.replace("HEADERS", &headers), None).unwrap() {
        RoutingEntry::Record(record) => *record,
        RoutingEntry::CustomDomain(_) => unreachable!(),
    }
}

/// The upstream that responded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ServedBy {
    Blue,
    Admin,
    Fallback,
}

struct ResponseCase<'a> {
    by: ServedBy,
    url: &'a str,
    fields: &'a [(&'static str, &'a str)],
    record_state: RecordState,
    set_cookie: Option<&'a str>,
}

const BLUE: ResponseCase<'static> = ResponseCase {
    by: ServedBy::Blue,
    url: "https://v.example/stores/shop/x/y",
    fields: &[],
    record_state: RecordState::Current,
    set_cookie: None,
};

impl ResponseCase<'_> {
    /// Returns the edits in their order, as `-name`, `=name: value` and `+name: value`.
    fn edits(&self, record: &StorefrontRecord) -> Vec<String> {
        let (target, fields) = (RequestTarget::parse(self.url), HeaderSection::from(self.fields));
        let address = StorefrontAddress::by_path(&target.path).unwrap();
        let served = match (self.by, record.variants(), record.serving("/admin"), &record.fallback) {
            (ServedBy::Blue, [blue, ..], ..) => RouteTarget::from(blue),
            (ServedBy::Admin, _, Some(Serving::One(upstream)), _)
            | (ServedBy::Fallback, _, _, Some(Fallback::Upstream(upstream))) => RouteTarget { variant: None, upstream },
            _ => unreachable!(),
        };
        let proxied = ProxiedResponse {
            fields: &fields,
            target: served,
            is_fallback: self.by == ServedBy::Fallback,
            record_state: self.record_state,
            set_cookie: self.set_cookie,
        };
        let edits = proxied.edits(&target, &address, record);
        let fields = |sign: char, fields: &[(std::borrow::Cow<'_, str>, std::borrow::Cow<'_, str>)]| -> Vec<String> {
            fields.iter().map(|(name, value)| format!("{sign}{name}: {value}")).collect()
        };
        let removed = edits.remove.iter().map(|name| format!("-{name}"));
        removed.chain(fields('=', &edits.set)).chain(fields('+', &edits.append)).collect()
    }

    /// Returns the value that a field is set to. The last edit counts.
    fn set(&self, record: &StorefrontRecord, name: &str) -> Option<String> {
        let start = format!("={name}: ");
        self.edits(record).iter().rev().find_map(|edit| edit.strip_prefix(&start).map(str::to_owned))
    }
}

/// The edit of a response without `Cache-Control`.
const PRIVATE: &str = "=cache-control: private";
/// An edit of every response.
const NOT_IN_WORKERS_CACHE: &str = "=cloudflare-cdn-cache-control: no-store";

#[test]
fn a_response_without_cache_control_is_private() {
    let control = |record: &StorefrontRecord, fields| ResponseCase { fields, ..BLUE }.set(record, "cache-control");
    assert_eq!(control(&record(""), &[]).as_deref(), Some("private"));
    assert_eq!(control(&record(""), &[("cache-control", "public, max-age=60")]), None);
    let setting = record(r#"{"set": {"Cache-Control": "max-age=5"}}"#);
    assert_eq!(control(&setting, &[]).as_deref(), Some("max-age=5"), "the record's value is used");
    let without = record(r#"{"remove": ["Cache-Control"]}"#);
    for fields in [&[][..], &[("cache-control", "public, max-age=60")]] {
        assert_eq!(control(&without, fields).as_deref(), Some("private"), "{fields:?}");
    }
}

#[test]
fn a_variants_response_is_private_unless_its_origin_says_what_shared_caches_may_do() {
    for (own, replaced) in [
        ("max-age=60", Some("max-age=60, private")),
        ("no-cache", Some("no-cache, private")),
        ("max-age=60, community=\"public\"", Some("max-age=60, community=\"public\", private")),
        ("public, max-age=60", None),
        ("max-age=60,S-MaxAge = 5", None),
        ("private=\"set-cookie, x\", max-age=60", None),
        ("no-store", None),
    ] {
        let response = ResponseCase { fields: &[("cache-control", own)], ..BLUE };
        assert_eq!(response.set(&record(""), "cache-control").as_deref(), replaced, "{own}");
        let unsplit = ResponseCase { by: ServedBy::Admin, ..response };
        assert_eq!(unsplit.set(&record(""), "cache-control"), None, "{own}");
    }
}

#[test]
fn workers_cache_stores_no_response_whatever_origin_and_record_say() {
    const NAME: &str = "cloudflare-cdn-cache-control";
    for edits in ["", r#"{"set": {"Cloudflare-CDN-Cache-Control": "max-age=60"}}"#] {
        let response = ResponseCase { fields: &[("cache-control", "public"), (NAME, "max-age=60")], ..BLUE };
        assert_eq!(response.set(&record(edits), NAME).as_deref(), Some("no-store"));
    }
    let removed = record(r#"{"remove": ["Cloudflare-CDN-Cache-Control"]}"#);
    assert_eq!(BLUE.set(&removed, NAME).as_deref(), Some("no-store"), "fields are set after others are removed");
}

#[test]
fn every_response_says_who_served_it() {
    let all = record("");
    assert_eq!(
        BLUE.edits(&all),
        [
            PRIVATE,
            NOT_IN_WORKERS_CACHE,
            "=x-served-by: Cloudflare Worker",
            "=x-storefront-id: shop",
            "=x-variant: blue"
        ]
    );
    assert_eq!(
        ResponseCase { by: ServedBy::Admin, ..BLUE }.edits(&all),
        [PRIVATE, NOT_IN_WORKERS_CACHE, "=x-served-by: Cloudflare Worker", "=x-storefront-id: shop"]
    );
    assert_eq!(
        ResponseCase { by: ServedBy::Fallback, url: "https://v.example/stores/caf%C3%A9/", ..BLUE }.edits(&all),
        [
            PRIVATE,
            NOT_IN_WORKERS_CACHE,
            "=x-served-by: Cloudflare Worker",
            "=x-storefront-id: caf%C3%A9",
            "=routing-source: fallback"
        ]
    );
}

#[test]
fn routing_source_names_fallbacks_and_outdated_records() {
    for (record_state, by, source) in [
        (RecordState::Current, ServedBy::Blue, None),
        (RecordState::LastKnownGood, ServedBy::Blue, Some("last-good")),
        (RecordState::Stale, ServedBy::Blue, Some("stale")),
        (RecordState::Current, ServedBy::Fallback, Some("fallback")),
        (RecordState::LastKnownGood, ServedBy::Fallback, Some("fallback")),
        (RecordState::Stale, ServedBy::Fallback, Some("fallback")),
    ] {
        assert_eq!(ResponseCase { by, record_state, ..BLUE }.set(&record(""), ROUTING_SOURCE).as_deref(), source);
    }
}

#[test]
fn an_origin_cannot_say_which_variant_or_source_it_is() {
    let spoofed: &[_] = &[("x-variant", "green"), ("routing-source", "fallback"), ("x-served-by", "me")];
    let all = record("");
    assert_eq!(
        ResponseCase { by: ServedBy::Admin, fields: spoofed, ..BLUE }.edits(&all),
        [
            "-x-variant",
            "-routing-source",
            PRIVATE,
            NOT_IN_WORKERS_CACHE,
            "=x-served-by: Cloudflare Worker",
            "=x-storefront-id: shop"
        ]
    );
    let response = ResponseCase { fields: spoofed, record_state: RecordState::Stale, ..BLUE };
    assert_eq!(response.set(&all, "x-variant").as_deref(), Some("blue"));
    assert_eq!(response.set(&all, ROUTING_SOURCE).as_deref(), Some("stale"));
}

#[test]
fn fields_of_the_connection_and_alternative_services_are_removed() {
    let fields =
        &[("connection", "x-hop"), ("x-hop", "1"), ("alt-svc", "h3=\":443\""), ("trailer", "x"), ("etag", "\"e\"")];
    let edits = ResponseCase { fields, ..BLUE }.edits(&record(""));
    let removed: Vec<_> = edits.iter().filter(|edit| edit.starts_with('-')).collect();
    assert_eq!(removed, ["-trailer", "-x-hop", "-alt-svc"]);
}

#[test]
fn a_url_is_rewritten_if_a_request_for_it_reaches_its_target_and_is_absolute_otherwise() {
    let all = record("");
    for (by, location, seen) in [
        (ServedBy::Blue, "/shop/z?q#f", Some("/stores/shop/z?q#f")),
        (ServedBy::Blue, "z", Some("/stores/shop/x/z")),
        (ServedBy::Blue, "https://blue.example/shop", Some("https://v.example/stores/shop")),
        // A visitor keeps their variant: the rewritten URL of another one would lead to their own.
        (ServedBy::Blue, "https://admin.example/green/z", None),
        (ServedBy::Admin, "https://admin.example/green/z", Some("https://v.example/stores/shop/z")),
        // The request path, `/admin` included, follows the base path of the route.
        (ServedBy::Blue, "https://admin.example/panel/admin/z", Some("https://v.example/stores/shop/admin/z")),
        (ServedBy::Admin, "/panel/admin/z", Some("/stores/shop/admin/z")),
        (ServedBy::Admin, "https://blue.example/shop/", Some("https://v.example/stores/shop/")),
        // A request for these would reach another upstream.
        (ServedBy::Blue, "/shop/admin/z", Some("https://blue.example/shop/admin/z")),
        (ServedBy::Blue, "https://admin.example/panel/z", None),
        (ServedBy::Blue, "https://admin.example/green/admin", None),
        (ServedBy::Admin, "/panel/z", Some("https://admin.example/panel/z")),
        // Outside of the base path.
        (ServedBy::Blue, "/", Some("https://blue.example/")),
        (ServedBy::Blue, "/shops", Some("https://blue.example/shops")),
        // The fallback serves all paths, but only if it responded.
        (ServedBy::Fallback, "/copy/admin/z", Some("/stores/shop/admin/z")),
        (ServedBy::Fallback, "https://backup.example/copy/z", Some("https://v.example/stores/shop/z")),
        (ServedBy::Fallback, "https://blue.example/shop/z", Some("https://v.example/stores/shop/z")),
        (ServedBy::Blue, "https://backup.example/copy/z", None),
        (ServedBy::Blue, "https://other.example/", None),
    ] {
        for name in ["location", "content-location"] {
            assert_eq!(
                ResponseCase { by, fields: &[(name, location)], ..BLUE }.set(&all, name).as_deref(),
                seen,
                "{location}"
            );
        }
        let refresh = format!("5; url={location}");
        let seen = seen.map(|seen| format!("5; url={seen}"));
        assert_eq!(
            ResponseCase { by, fields: &[("refresh", &refresh)], ..BLUE }.set(&all, "refresh"),
            seen,
            "{location}"
        );
    }
}

#[test]
fn a_relative_url_is_resolved_against_the_upstream_url() {
    for (url, seen) in [
        ("https://v.example/stores/shop", "/stores/shop/z"),
        ("https://v.example/stores/shop/", "/stores/shop/z"),
        ("https://v.example/stores/shop/x/", "/stores/shop/x/z"),
        ("https://v.example/stores/sh%6Fp/x?y=/a/", "/stores/sh%6Fp/z"),
    ] {
        let response = ResponseCase { url, fields: &[("location", "z")], ..BLUE };
        assert_eq!(response.set(&record(""), "location").as_deref(), Some(seen), "{url}");
    }
}

#[test]
fn every_cookie_is_rewritten_on_its_own_and_the_visitors_comes_last() {
    let fields = &[
        ("set-cookie", "a=1; Path=/shop; Domain=blue.example"),
        ("set-cookie", "b=2, 3; Path=/"),
        ("set-cookie", "c"),
    ];
    let edits = ResponseCase { fields, set_cookie: Some("kv-edge-visitor=1"), ..BLUE }.edits(&record(""));
    assert!(edits.contains(&"-set-cookie".to_owned()), "{edits:?}");
    let appended: Vec<_> = edits.iter().filter(|edit| edit.starts_with('+')).collect();
    assert_eq!(
        appended,
        [
            "+set-cookie: a=1; Path=/stores/shop",
            "+set-cookie: b=2, 3; Path=/stores/shop",
            "+set-cookie: c; Path=/stores/shop/x",
            "+set-cookie: kv-edge-visitor=1",
        ]
    );
}

#[test]
fn the_records_edits_come_after_the_rewriting_and_before_the_fields_that_say_who_served_it() {
    let record =
        record(r#"{"set": {"Location": "/elsewhere", "X-A": "1", "ETag": ""}, "remove": ["Server", "refresh"]}"#);
    let fields = &[("location", "/shop/z"), ("refresh", "0; url=/shop/z"), ("x-variant", "spoofed")];
    assert_eq!(
        ResponseCase { fields, ..BLUE }.edits(&record),
        [
            "-server",
            "-refresh",
            "=location: /stores/shop/z",
            "=etag: ",
            "=location: /elsewhere",
            "=x-a: 1",
            PRIVATE,
            NOT_IN_WORKERS_CACHE,
            "=x-served-by: Cloudflare Worker",
            "=x-storefront-id: shop",
            "=x-variant: blue",
        ]
    );
}

#[test]
fn a_record_that_removes_cookies_removes_the_rewritten_ones_and_not_the_visitors() {
    let record = record(r#"{"remove": ["Set-Cookie"]}"#);
    let fields = &[("set-cookie", "a=1"), ("set-cookie", "b=2")];
    let edits = ResponseCase { fields, set_cookie: Some("kv-edge-visitor=1"), ..BLUE }.edits(&record);
    assert!(edits.contains(&"-set-cookie".to_owned()));
    let appended: Vec<_> = edits.iter().filter(|edit| edit.starts_with('+')).collect();
    assert_eq!(appended, ["+set-cookie: kv-edge-visitor=1"]);
}

#[test]
fn a_url_that_is_not_utf_8_is_passed_on_unchanged_and_so_is_a_lone_cookie_without_domain() {
    for (name, value) in [
        ("location", "/shop/caf\u{fffd}"),
        ("content-location", "https://blue.example/shop/caf\u{fffd}"),
        ("refresh", "0; url=/shop/caf\u{fffd}"),
        ("set-cookie", "n=J\u{fffd}rgen; Path=/"),
        ("set-cookie", "n=J\u{fffd}rgen"),
    ] {
        let edits = ResponseCase { fields: &[(name, value)], ..BLUE }.edits(&record(""));
        assert!(!edits.iter().any(|edit| edit[1..].starts_with(name)), "{edits:?}");
    }
    let utf8 = ResponseCase { fields: &[("location", "/shop/caf\u{e9}")], ..BLUE };
    assert_eq!(utf8.set(&record(""), "location").as_deref(), Some("/stores/shop/caf\u{e9}"));
}

#[test]
fn a_cookie_that_is_not_utf_8_is_rewritten_only_if_it_has_a_domain_or_another_cookie_is_rewritten() {
    for (fields, expected) in [
        (
            &[("set-cookie", "n=J\u{fffd}rgen; Domain=v.example; Path=/")] as &[_],
            &["+set-cookie: n=J\u{fffd}rgen; Path=/stores/shop"] as &[_],
        ),
        (
            &[("set-cookie", "n=J\u{fffd}rgen; Path=/"), ("set-cookie", "session=1; Path=/")],
            &["+set-cookie: n=J\u{fffd}rgen; Path=/stores/shop", "+set-cookie: session=1; Path=/stores/shop"],
        ),
        (&[("set-cookie", "n=J\u{fffd}rgen; Path=/"), ("set-cookie", "a=1; Path=/stores/shop")], &[]),
    ] {
        let edits = ResponseCase { fields, ..BLUE }.edits(&record(""));
        let appended: Vec<&str> = edits.iter().map(String::as_str).filter(|edit| edit.starts_with('+')).collect();
        assert_eq!(appended, expected);
    }
}
