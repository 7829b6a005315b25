//! Plans of requests: upstreams, cookie, body, deadline, and requests that are refused.

mod variants;

use std::cell::Cell;

use proptest::prelude::*;

use super::*;
use crate::storefront_address::HostMatch;
use crate::storefront_record::RoutingEntry;
use http_semantics::fields::HeaderSection;
use http_semantics::origin::Origin;
use kv_store::limits::Key;

const TOKEN: &str = "token of the deployment";

/// Of ten visitors, nine get blue, one gets green, and none gets red.
const VARIANTS: &str = r#""variants": [
    {"name": "blue", "origin": "https://blue.example", "weight": 90},
    {"name": "green", "origin": "https://green.example", "weight": 10},
    {"name": "red", "origin": "https://red.example"}
]"#;

type FieldSlice<'a> = &'a [(&'static str, &'a str)];

fn record(members: &str) -> StorefrontRecord {
    match RoutingEntry::parse("shop", &format!("{{{members}}}"), None).unwrap() {
        RoutingEntry::Record(record) => *record,
        RoutingEntry::CustomDomain(_) => unreachable!(),
    }
}

fn key() -> VisitorKey {
    VisitorKey::derive("secret")
}

/// One request. `planned` sends it to `/stores/shop/x`.
struct TestRequest<'a> {
    method: &'a str,
    fields: FieldSlice<'a>,
    has_body: bool,
    token: Option<&'a str>,
    has_key: bool,
    random: u64,
}

const GET: TestRequest<'static> =
    TestRequest { method: "GET", fields: &[], has_body: false, token: Some(TOKEN), has_key: true, random: 7 };

/// The parts of a plan that the tests compare.
#[derive(Debug, PartialEq, Eq)]
struct PlanSummary {
    target: String,
    others: Vec<String>,
    set_cookie: Option<String>,
    timeout: Duration,
    body: BodyMode,
    may_resend: bool,
}

impl TestRequest<'_> {
    fn planned(&self, record: &StorefrontRecord) -> Result<PlanSummary, TenantError> {
        self.planned_at("https://v.example/stores/shop/x", record)
    }

    fn planned_at(&self, url: &str, record: &StorefrontRecord) -> Result<PlanSummary, TenantError> {
        let (target, fields, key) = (RequestTarget::parse(url), HeaderSection::from(self.fields), key());
        let address = StorefrontAddress::by_path(&target.path).unwrap();
        let request = RoutedRequest { method: self.method, target: &target, fields: &fields, has_body: self.has_body };
        let settings = RoutingSettings {
            token: self.token,
            visitor_key: Some(&key).filter(|_| self.has_key),
            timeout: UpstreamTimeout::from_milliseconds(5000),
        };
        let plan = RequestPlan::new(&request, &address, record, &settings, || self.random)?;
        let name = |target: &RouteTarget<'_>| match target.variant {
            Some(variant) => {
                assert_eq!(target.upstream.origin().as_str(), format!("https://{variant}.example"));
                variant.to_owned()
            }
            None => target.upstream.origin().as_str().to_owned(),
        };
        let (target, others) = (name(&plan.target), plan.others.iter().map(name).collect());
        Ok(PlanSummary {
            target,
            others,
            set_cookie: plan.set_cookie,
            timeout: plan.timeout,
            body: plan.body,
            may_resend: plan.may_resend,
        })
    }
}

fn target(record: &StorefrontRecord, fields: FieldSlice<'_>) -> Result<String, TenantError> {
    TestRequest { fields, ..GET }.planned(record).map(|summary| summary.target)
}

#[test]
fn a_record_with_one_origin_needs_neither_cookie_nor_key() {
    let record = record(r#""origin": "https://a.example""#);
    let summary = TestRequest { has_key: false, token: None, ..GET }.planned(&record).unwrap();
    let expected = PlanSummary {
        target: "https://a.example".into(),
        others: Vec::new(),
        set_cookie: None,
        timeout: Duration::from_secs(5),
        body: BodyMode::None,
        may_resend: true,
    };
    assert_eq!(summary, expected);
}

#[test]
fn a_route_comes_before_the_variants_and_sets_no_cookie() {
    let record = record(&format!(r#""routes": [{{"path": "/x", "origin": "https://a.example"}}], {VARIANTS}"#));
    let summary = GET.planned(&record).unwrap();
    assert_eq!((summary.target.as_str(), summary.others.len(), summary.set_cookie), ("https://a.example", 0, None));
    assert!(GET.planned_at("https://v.example/stores/shop/y", &record).unwrap().set_cookie.is_some());
}

#[test]
fn the_cookie_is_for_the_storefront_as_the_visitor_addresses_it() {
    let record = record(VARIANTS);
    for (url, path) in [
        ("https://v.example/stores/shop/x", "; Path=/stores/shop;"),
        ("https://v.example/stores/sh%6fp", "; Path=/stores/sh%6fp;"),
        ("https://v.example/stores/a;b/", "; Path=/stores/a%3Bb;"),
    ] {
        let cookie = GET.planned_at(url, &record).unwrap().set_cookie.unwrap();
        assert!(cookie.contains(path), "{url}: {cookie}");
    }
    let target = RequestTarget::parse("https://shop.example/x");
    let (fields, key) = (HeaderSection::from(&[]), key());
    let address = StorefrontAddress { key: Key::literal("shop"), prefix: "", rest: &target.path };
    let request = RoutedRequest { method: "GET", target: &target, fields: &fields, has_body: false };
    let settings =
        RoutingSettings { token: None, visitor_key: Some(&key), timeout: UpstreamTimeout::from_milliseconds(10_000) };
    let plan = RequestPlan::new(&request, &address, &record, &settings, || 7).unwrap();
    assert!(plan.set_cookie.unwrap().contains("; Path=/;"));
}

#[test]
fn without_a_key_the_cookie_cannot_decide() {
    let by = |split: &str| record(&format!(r#""split": {split}, {VARIANTS}"#));
    for (record, fields, expected) in [
        (record(VARIANTS), &[] as FieldSlice<'_>, Err(TenantError::NoVisitorKey)),
        (by(r#"{"by": "header", "name": "x-group"}"#), &[], Err(TenantError::NoVisitorKey)),
        (by(r#"{"by": "header", "name": "x-group"}"#), &[("x-group", "green")], Ok("green".to_owned())),
        (by(r#"{"by": "user", "header": "x-user"}"#), &[], Err(TenantError::NoVisitorKey)),
        (by(r#"{"by": "user", "header": "x-user"}"#), &[("x-user", "u2")], Ok("green".to_owned())),
    ] {
        let summary = TestRequest { fields, has_key: false, token: None, ..GET }.planned(&record);
        assert_eq!(summary.map(|summary| summary.target), expected, "{fields:?}");
    }
}

#[test]
fn only_a_new_visitor_needs_a_random_number() {
    let target = RequestTarget::parse("https://v.example/stores/shop/x");
    let (address, key) = (StorefrontAddress::by_path(&target.path).unwrap(), key());
    let cookie = Visitor::new(2).set_cookie("shop", "/", &key);
    for (members, fields, drawn) in [
        (VARIANTS, &[] as FieldSlice<'_>, 1),
        (VARIANTS, &[("cookie", cookie.as_str())], 0),
        (r#""origin": "https://a.example""#, &[], 0),
    ] {
        let (record, fields, count) = (record(members), HeaderSection::from(fields), Cell::new(0));
        let request = RoutedRequest { method: "GET", target: &target, fields: &fields, has_body: false };
        let settings = RoutingSettings {
            token: None,
            visitor_key: Some(&key),
            timeout: UpstreamTimeout::from_milliseconds(10_000),
        };
        let random = || {
            count.set(count.get() + 1);
            7
        };
        RequestPlan::new(&request, &address, &record, &settings, random).unwrap();
        assert_eq!(count.get(), drawn, "{members}");
    }
}

#[test]
fn a_short_body_is_buffered_and_an_idempotent_request_is_resent_unless_its_body_is_streamed() {
    let record = record(r#""origin": "https://a.example""#);
    for (method, is_idempotent) in [
        ("OPTIONS", true),
        ("PUT", true),
        ("DELETE", true),
        ("POST", false),
        ("PATCH", false),
        ("CONNECT", false),
        ("PROPFIND", false),
        ("get", false),
        ("QUERY", false),
    ] {
        let body = |has_body, length: Option<&str>| {
            let fields: Vec<_> = length.map(|length| ("content-length", length)).into_iter().collect();
            let summary = TestRequest { method, has_body, fields: &fields, ..GET }.planned(&record).unwrap();
            (summary.body, summary.may_resend)
        };
        assert_eq!(body(false, None), (BodyMode::None, is_idempotent), "{method}");
        for length in ["0", "00"] {
            assert_eq!(body(true, Some(length)), (BodyMode::None, is_idempotent), "{method} {length}");
        }
        for length in ["1", "65536", " 65536 ", "00065536"] {
            assert_eq!(body(true, Some(length)), (BodyMode::Buffered, is_idempotent), "{method} {length:?}");
        }
        for length in ["65537", "99999999999999999999999", "-1", "1.5", "0x10", "1, 1", "many", ""] {
            assert_eq!(body(true, Some(length)), (BodyMode::Streamed, false), "{method} {length:?}");
        }
        assert_eq!(body(true, None), (BodyMode::Streamed, false), "{method}, of unknown length");
    }
}

#[test]
fn a_get_or_head_has_no_body() {
    let record = record(r#""origin": "https://a.example""#);
    for method in ["GET", "HEAD"] {
        for (fields, body) in [
            (&[] as FieldSlice<'_>, Ok(BodyMode::None)),
            (&[("content-length", "0")], Ok(BodyMode::None)),
            (&[("content-length", "1")], Err(TenantError::UnexpectedBody)),
            (&[("transfer-encoding", "chunked")], Err(TenantError::UnexpectedBody)),
        ] {
            for has_body in [false, true] {
                let summary = TestRequest { method, fields, has_body, ..GET }.planned(&record);
                assert_eq!(summary.map(|summary| summary.body), body, "{method} {fields:?}");
            }
        }
    }
}

#[test]
fn the_records_timeout_counts_or_the_deployments_and_a_streamed_body_has_ten_times_that() {
    let (buffered, streamed): (FieldSlice<'_>, FieldSlice<'_>) =
        (&[("content-length", "9")], &[("content-length", "65537")]);
    for (members, method, fields, milliseconds) in [
        ("", "GET", &[] as FieldSlice<'_>, 5000),
        ("", "PUT", buffered, 5000),
        ("", "PUT", streamed, 50_000),
        ("", "POST", buffered, 5000),
        ("", "POST", streamed, 50_000),
        (r#", "timeoutMs": 1"#, "GET", &[], 1),
        (r#", "timeoutMs": 7"#, "PUT", buffered, 7),
        (r#", "timeoutMs": 60000"#, "POST", streamed, 600_000),
    ] {
        let record = record(&format!(r#""origin": "https://a.example"{members}"#));
        let timeout =
            TestRequest { method, fields, has_body: method != "GET", ..GET }.planned(&record).unwrap().timeout;
        assert_eq!(timeout, Duration::from_millis(milliseconds), "{members} {method} {fields:?}");
    }
}

#[test]
fn a_refused_request_says_why() {
    let open = r#""origin": "https://a.example""#;
    let closed = &format!(r#"{open}, "access": {{"deny": {{"countries": ["KP"], "ips": ["203.0.113.0/24"]}}}}"#);
    let some = &format!(r#"{open}, "access": {{"allow": {{"countries": ["CH"]}}}}"#);
    let looped: FieldSlice<'_> = &[("cdn-loop", "kv-edge")];
    for (method, members, fields, error) in [
        ("TRACE", open, &[] as FieldSlice<'_>, Some(TenantError::Trace)),
        ("GET", open, looped, Some(TenantError::Loop)),
        ("GET", closed, &[("cf-ipcountry", "KP")], Some(TenantError::AccessDenied)),
        ("GET", closed, &[("cf-connecting-ip", "203.0.113.9")], Some(TenantError::AccessDenied)),
        ("GET", closed, &[("cf-connecting-ip", "192.0.2.1"), ("cf-ipcountry", "CH")], None),
        // A field that the visitor sets does not count.
        ("GET", closed, &[("x-forwarded-for", "203.0.113.9"), ("cf-ipcountry", "CH")], None),
        ("GET", some, &[("cf-ipcountry", "ch")], None),
        ("GET", some, &[("x-forwarded-for", "192.0.2.1")], Some(TenantError::AccessDenied)),
        ("GET", some, &[], Some(TenantError::AccessDenied)),
        // A visitor who is refused learns nothing else.
        ("GET", some, &[("x-force-variant", "blue")], Some(TenantError::AccessDenied)),
    ] {
        let summary = TestRequest { method, fields, ..GET }.planned(&record(members));
        assert_eq!(summary.err(), error, "{method} {members} {fields:?}");
    }
    let summary = GET.planned_at("https://v.example/stores/shop/a b", &record(open));
    assert_eq!(summary.err(), Some(TenantError::Whitespace));
    let summary = GET.planned_at("https://v\".example/stores/shop/", &record(open));
    assert_eq!(summary.err(), Some(TenantError::Host));
}

#[test]
fn twenty_thousand_new_visitors_are_split_within_one_percentage_point_of_the_weights() {
    const VISITORS: u32 = 20_000;
    let record = record(VARIANTS);
    let target = RequestTarget::parse("https://v.example/stores/shop/x");
    let (address, key, fields) = (StorefrontAddress::by_path(&target.path).unwrap(), key(), HeaderSection::from(&[]));
    let request = RoutedRequest { method: "GET", target: &target, fields: &fields, has_body: false };
    let settings =
        RoutingSettings { token: None, visitor_key: Some(&key), timeout: UpstreamTimeout::from_milliseconds(10_000) };
    let is_green = |visitor: u32| {
        let plan = RequestPlan::new(&request, &address, &record, &settings, || visitor.into()).unwrap();
        plan.target.variant == Some("green")
    };
    let greens = (0..VISITORS).filter(|visitor| is_green(*visitor)).count();
    let share = f64::from(u32::try_from(greens).unwrap()) / f64::from(VISITORS);
    assert!((share - 0.1).abs() < 0.01, "{share}");
}

proptest! {
    #[test]
    fn a_planned_request_stays_at_the_upstreams_origin_below_its_base_path_and_keeps_its_path(
        path in "(/(\\.\\.?|%2[eEfF]|%2e%2e|@|:|;|\\\\|admin|%61dmin|[!-~]{0,4})?){0,6}",
        query in proptest::option::of("[!-\"$-~]{0,9}"),
        base in "(/[a-z%@:;.]{1,4}){0,2}/?",
        host_mode in any::<bool>(),
    ) {
        let Ok(admin_upstream) = Upstream::parse(&format!("https://admin.example{base}")) else { return Ok(()) };
        let members = format!(
            r#""origin": "https://a.example:8443{base}", "routes": [{{"path": "/admin", "origin": "https://admin.example{base}"}}]"#
        );
        let record = record(&members);
        let path = path.replace(['?', '#'], "");
        let prefix = if host_mode { "" } else { "/stores/shop" };
        let query_part = query.as_ref().map_or(String::new(), |query| format!("?{query}"));
        let url = format!("https://v.example{prefix}{path}{query_part}");
        let target = RequestTarget::parse(&url);
        let host = if host_mode { HostMatch::Storefront(Key::literal("shop")) } else { HostMatch::Platform };
        let Ok(address) = StorefrontAddress::of(&host, &target) else { return Ok(()) };
        let (fields, key) = (HeaderSection::from(&[]), key());
        let request = RoutedRequest { method: "GET", target: &target, fields: &fields, has_body: false };
        let settings = RoutingSettings { token: None, visitor_key: Some(&key), timeout: UpstreamTimeout::from_milliseconds(10_000) };
        let plan = RequestPlan::new(&request, &address, &record, &settings, || 7).unwrap();

        let upstream = plan.target.upstream;
        let sent = upstream.join(address.rest, target.query);
        let (origin, after) = Origin::split(&sent).unwrap();
        prop_assert_eq!(&origin, upstream.origin());
        prop_assert!(["https://a.example:8443", "https://admin.example"].contains(&origin.as_str()));
        // The next parser has nothing left to resolve.
        let again = RequestTarget::parse(&sent);
        prop_assert_eq!(again.query, query.as_deref());
        prop_assert!(matches!(again.path, std::borrow::Cow::Borrowed(_)), "{}", again.path);
        prop_assert_eq!(&*again.path, after.split_once('?').map_or(after, |(path, _)| path));
        // The base path comes first, and then what followed the prefix.
        let rest = upstream.strip(&again.path).unwrap();
        prop_assert_eq!(rest, if address.rest.is_empty() { "/" } else { address.rest });
        prop_assert_eq!([address.prefix, address.rest].concat(), &*target.path);
        let normalized = http_semantics::request_target::normalize_escapes(rest);
        let is_admin = normalized == "/admin" || normalized.starts_with("/admin/");
        prop_assert_eq!(is_admin, *upstream == admin_upstream);
    }
}
