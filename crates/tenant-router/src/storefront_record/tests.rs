//! Records as a whole: members, admitted origins, custom domains, and what serves a path.

use super::*;
use crate::access::{Country, IpRange, VisitorSet};

fn policy() -> OriginPolicy {
    OriginPolicy::parse("a.example, https://b.example:8443, *.shops.example, http://127.0.0.1:8788", false)
}

pub(super) fn parsed(key: &str, json: &str) -> Result<RoutingEntry, RecordError> {
    RoutingEntry::parse(key, json, Some(&policy()))
}

fn record(json: &str) -> StorefrontRecord {
    match parsed("shop", json) {
        Ok(RoutingEntry::Record(record)) => *record,
        other => panic!("{json}: {other:?}"),
    }
}

pub(super) fn faults(key: &str, json: &str) -> Vec<String> {
    parsed(key, json).map_or_else(|error| error.faults.iter().map(ToString::to_string).collect(), |_| Vec::new())
}

fn upstream(url: &str) -> Upstream {
    Upstream::parse(url).unwrap()
}

const BARE: StorefrontRecord = StorefrontRecord {
    origin: None,
    routes: Vec::new(),
    variants: Vec::new(),
    active: None,
    split: Split::Cookie,
    request_fields: FieldEdits { set: Vec::new(), remove: Vec::new() },
    response_fields: FieldEdits { set: Vec::new(), remove: Vec::new() },
    timeout: None,
    fallback: None,
    access: None,
};

#[test]
fn the_documented_form_is_a_record() {
    let bare = StorefrontRecord { origin: Some(upstream("https://a.example")), ..BARE };
    assert_eq!(record(r#"{"origin": "https://a.example"}"#), bare);
    assert_eq!(record(r#" {"$schema": 7, "origin": "HTTPS://A.example:443/"} "#), bare);
}

#[test]
fn every_member_is_read() {
    let full = record(
        r#"{
            "$schema": "https://a.example/schema",
            "origin": "https://a.example/base/",
            "routes": [
                {"path": "/a", "origin": "https://b.example:8443"},
                {"path": "/%61dmin/", "origin": "https://x.shops.example/y"}
            ],
            "variants": [
                {"name": "blue", "origin": "https://blue.shops.example", "weight": 1000000},
                {"name": "G.r_e-2", "origin": "https://green.shops.example"}
            ],
            "active": "G.r_e-2",
            "split": {"by": "header", "name": "X-Group"},
            "headers": {
                "request": {"set": {"X-A": "1 2"}, "remove": ["Cookie", "authorization"]},
                "response": {"set": {"X-B": ""}, "remove": ["Set-Cookie"]}
            },
            "timeoutMs": 60000,
            "fallback": {"asset": "maintenance.html"},
            "access": {
                "allow": {"countries": ["ch"], "ips": ["10.0.0.0/8"]},
                "deny": {"countries": ["T1"], "ips": ["2001:db8::1"]}
            }
        }"#,
    );
    let variant = |name: &str, url: &str, weight| SplitVariant { name: name.into(), upstream: upstream(url), weight };
    let who = |country: &str, ips: &str| VisitorSet {
        countries: vec![Country::parse(country).unwrap()],
        ranges: vec![IpRange::parse(ips).unwrap()],
    };
    let expected = StorefrontRecord {
        origin: Some(upstream("https://a.example/base")),
        routes: vec![
            PathRoute { path: "/admin".into(), upstream: upstream("https://x.shops.example/y") },
            PathRoute { path: "/a".into(), upstream: upstream("https://b.example:8443") },
        ],
        variants: vec![
            variant("blue", "https://blue.shops.example", 1_000_000),
            variant("G.r_e-2", "https://green.shops.example", 0),
        ],
        active: Some(1),
        split: Split::Header("x-group".into()),
        request_fields: FieldEdits {
            set: vec![("x-a".into(), "1 2".into())],
            remove: vec!["cookie".into(), "authorization".into()],
        },
        response_fields: FieldEdits { set: vec![("x-b".into(), String::new())], remove: vec!["set-cookie".into()] },
        timeout: Some(UpstreamTimeout::from_milliseconds(60_000)),
        fallback: Some(Fallback::Page(Key::literal("maintenance.html"))),
        access: Some(AccessRules { allow: Some(who("CH", "10.0.0.0/8")), deny: who("T1", "2001:db8::1") }),
    };
    assert_eq!(full, expected);
    let upstreams: Vec<_> = full.upstreams().map(|upstream| upstream.origin().as_str()).collect();
    assert_eq!(
        upstreams,
        [
            "https://x.shops.example",
            "https://b.example:8443",
            "https://blue.shops.example",
            "https://green.shops.example",
            "https://a.example"
        ]
    );
}

#[test]
fn each_split_is_parsed() {
    for (split, expected) in [
        (r#"{"by": "cookie"}"#, Split::Cookie),
        (r#"{"by": "header", "name": "X-Group"}"#, Split::Header("x-group".into())),
        (r#"{"by": "user", "header": "X-User-ID"}"#, Split::UserHeader("x-user-id".into())),
        (r#"{"by": "user", "cookie": "Uid"}"#, Split::UserCookie("Uid".into())),
    ] {
        let json = format!(r#"{{"origin": "https://a.example", "split": {split}}}"#);
        assert_eq!(record(&json).split, expected, "{split}");
    }
}

#[test]
fn null_is_a_fault_everywhere() {
    for (member, path) in [
        (r#""routes": null"#, "routes"),
        (r#""active": null"#, "active"),
        (r#""split": {"by": "cookie", "name": null}"#, "split.name"),
        (r#""headers": {"request": null}"#, "headers.request"),
        (r#""headers": {"response": {"set": null}}"#, "headers.response.set"),
        (r#""timeoutMs": null"#, "timeoutMs"),
        (r#""fallback": null"#, "fallback"),
        (r#""access": null"#, "access"),
        (r#""access": {"allow": null}"#, "access.allow"),
        (r#""access": {"deny": {"countries": null}}"#, "access.deny.countries"),
        (r#""variants": [{"name": "a", "origin": "https://a.example", "weight": null}]"#, "variants[0].weight"),
    ] {
        let json = format!(r#"{{"origin": "https://a.example", {member}}}"#);
        assert_eq!(faults("shop", &json), [format!("{path}: it must not be null; leave it out")], "{member}");
    }
    assert_eq!(faults("shop", r#"{"origin": null}"#), ["origin: it must not be null; leave it out"]);
}

#[test]
fn a_record_is_refused_as_a_whole_if_an_origin_is_not_admitted() {
    let places = [
        (r#"{"origin": "#, "}", "origin"),
        (r#"{"origin": "https://a.example", "fallback": "#, "}", "fallback"),
        (r#"{"origin": "https://a.example", "routes": [{"path": "/a", "origin": "#, "}]}", "routes[0].origin"),
        (r#"{"variants": [{"name": "a", "weight": 1, "origin": "#, "}]}", "variants[0].origin"),
        (r#"{"active": "a", "variants": [{"name": "a", "origin": "#, "}]}", "variants[0].origin"),
    ];
    for (before, after, place) in places {
        for origin in [
            "https://evil.example",
            "http://a.example",
            "http://x.shops.example",
            "https://a.example:8443",
            "https://a.example.evil.example",
            "https://a.example.",
            "https://shops.example",
            "https://evilshops.example",
            "https://b.example",
            "http://127.0.0.1:8788",
            "https://127.0.0.1",
            "https://10.0.0.1",
            "https://2130706433",
            "https://0x7f.1",
            "https://[::1]",
            "https://[::ffff:127.0.0.1]:8443",
            "https://localhost",
            "http://localhost:8787",
            "https://metadata.internal",
        ] {
            let error = parsed("shop", &format!("{before}\"{origin}\"{after}")).unwrap_err();
            assert!(error.only_origins_not_admitted, "{origin}: {error}");
            let text = format!("{place}: ROUTING_ORIGINS and ROUTING_INSECURE do not admit this origin");
            assert_eq!(error.to_string(), text, "{origin}");
            assert_eq!(TenantError::from(error), TenantError::NotAllowed(text));
        }
    }
}

#[test]
fn only_true_switches_routing_insecure_on() {
    let is_on = |var| OriginPolicy::of_vars("a.example", var).insecure;
    assert!(is_on("true") && is_on("True"));
    assert!(!is_on("") && !is_on("false") && !is_on("1") && !is_on("yes"));
}

#[test]
fn http_is_admitted_with_routing_insecure_only() {
    let is_admitted = |list: &str, insecure: bool, origin: &str| {
        let json = format!(r#"{{"origin": "{origin}"}}"#);
        RoutingEntry::parse("shop", &json, Some(&OriginPolicy::parse(list, insecure))).is_ok()
    };
    for (list, origin, secure, insecure) in [
        ("http://127.0.0.1:8788", "http://127.0.0.1:8788", false, true),
        ("127.0.0.1:8788", "http://127.0.0.1:8788/x", false, true),
        ("localhost:8788", "http://localhost:8788", false, true),
        ("a.example", "http://a.example", false, true),
        ("https://a.example", "http://a.example", false, false),
        ("*.shops.example", "http://a.shops.example", false, true),
        ("127.0.0.1:8788", "https://127.0.0.1:8788", true, true),
        ("[::1]:8788", "https://[0:0::1]:8788", true, true),
        ("", "https://a.example", false, false),
        ("*", "https://a.example", false, false),
    ] {
        assert_eq!(is_admitted(list, false, origin), secure, "{list} {origin}");
        assert_eq!(is_admitted(list, true, origin), insecure, "{list} {origin}, ROUTING_INSECURE");
    }
}

#[test]
fn a_record_with_other_faults_too_is_broken_and_not_refused() {
    let error = parsed("shop", r#"{"origin": "https://evil.example", "timeoutMs": 0}"#).unwrap_err();
    assert!(!error.only_origins_not_admitted);
    assert_eq!(
        TenantError::from(error),
        TenantError::BrokenRecord(
            "origin: ROUTING_ORIGINS and ROUTING_INSECURE do not admit this origin; \
             timeoutMs: it must be a whole number from 1 to 60000"
                .into()
        )
    );
}

#[test]
fn without_a_policy_every_valid_origin_is_admitted() {
    let json = r#"{"origin": "http://127.0.0.1:1", "fallback": "https://[::1]"}"#;
    assert!(RoutingEntry::parse("shop", json, None).is_ok());
    assert!(
        !RoutingEntry::parse("shop", r#"{"origin": "ftp://a.example"}"#, None).unwrap_err().only_origins_not_admitted
    );
}

#[test]
fn a_custom_domain_names_a_storefront_or_has_a_record_of_its_own() {
    let stored = parsed("domain:www.a.example", r#"{"storefront": "shop"}"#);
    assert_eq!(stored, Ok(RoutingEntry::CustomDomain(Key::literal("shop"))));
    let with_origin = parsed("domain:www.a.example", r#"{"origin": "https://a.example"}"#);
    assert!(matches!(with_origin, Ok(RoutingEntry::Record(_))), "{with_origin:?}");
    let elsewhere =
        "storefront: only a custom domain, under a key that starts with \"domain:\", names another storefront";
    for (key, json, expected) in [
        ("shop", r#"{"storefront": "shop2"}"#, elsewhere),
        ("Domain:a.example", r#"{"storefront": "shop2"}"#, elsewhere),
        ("domain:a", r#"{"storefront": 7}"#, "storefront: it must be a string"),
        ("domain:a", r#"{"storefront": ""}"#, "storefront: The key is empty; Workers KV needs at least one byte."),
        (
            "domain:a",
            r#"{"storefront": "domain:b"}"#,
            "storefront: it names a custom domain; name the storefront itself",
        ),
        (
            "domain:a",
            r#"{"storefront": "shop", "origin": "https://a.example"}"#,
            "a record that names another storefront has no other member",
        ),
    ] {
        assert_eq!(faults(key, json), [expected], "{key} {json}");
    }
}

#[test]
fn a_record_has_128_kib_at_most() {
    let padded = |length: usize| {
        let json = r#"{"origin": "https://a.example"}"#;
        [json, &" ".repeat(length - json.len())].concat()
    };
    assert_eq!(faults("shop", &padded(131_072)), [""; 0]);
    let error = parsed("shop", &padded(131_073)).unwrap_err();
    assert_eq!(error.to_string(), "it has 131073 bytes; at most 131072 are allowed");
    assert!(!error.only_origins_not_admitted);
}

/// Returns what serves a path: host (without `.shops.example`) and base path of an upstream,
/// `variants`, or `none`.
fn serving(record: &StorefrontRecord, rest: &str) -> String {
    match record.serving(rest) {
        Some(Serving::One(upstream)) => {
            let url = [upstream.origin().as_str(), upstream.base()].concat();
            url.trim_start_matches("https://").trim_end_matches(".shops.example").to_owned()
        }
        Some(Serving::Variants) => "variants".to_owned(),
        None => "none".to_owned(),
    }
}

const ROUTES: [(&str, &str); 5] =
    [("/admin", "admin"), ("/admin/api/", "api"), ("/stat", "stat"), ("/a%2Fb", "escaped"), ("/a//b", "empty")];

fn routed(routes: impl Iterator<Item = (&'static str, &'static str)>, others: &str) -> StorefrontRecord {
    let routes =
        routes.map(|(path, host)| format!(r#"{{"path": "{path}", "origin": "https://{host}.shops.example"}}"#));
    record(&format!(r#"{{"routes": [{}], {others}}}"#, routes.collect::<Vec<_>>().join(",")))
}

#[test]
fn the_longest_route_of_whole_segments_wins_in_any_order() {
    let origin = r#""origin": "https://origin.shops.example""#;
    let (forth, back) = (routed(ROUTES.into_iter(), origin), routed(ROUTES.into_iter().rev(), origin));
    for (rest, server) in [
        ("", "origin"),
        ("/", "origin"),
        ("/admin", "admin"),
        ("/admin/", "admin"),
        ("/admin/x", "admin"),
        ("/admin//api", "admin"),
        ("/admin/api", "api"),
        ("/admin/api/", "api"),
        ("/admin/api/x", "api"),
        ("/admin/apis", "admin"),
        ("/administrator", "origin"),
        ("/Admin", "origin"),
        ("//admin", "origin"),
        ("/x/admin", "origin"),
        ("/stat", "stat"),
        ("/stat/us", "stat"),
        ("/status", "origin"),
        ("/stat;v=1", "origin"),
        // Percent-encoded unreserved characters are decoded, and no others.
        ("/%61dmin", "admin"),
        ("/%61%64%6d%69%6E/%61pi", "api"),
        ("/%2561dmin", "origin"),
        ("/admin%2Fapi", "origin"),
        ("/admin/%2e%2E%2Fx", "admin"),
        ("/a%2Fb/c", "escaped"),
        ("/a/b", "origin"),
        ("/a//b", "empty"),
    ] {
        assert_eq!(serving(&forth, rest), server, "{rest}");
        assert_eq!(serving(&back, rest), server, "{rest}, the other way round");
    }
}

#[test]
fn a_route_of_all_paths_comes_after_other_routes_and_before_variants() {
    let all = ROUTES.into_iter().chain([("/", "all")]);
    let record = routed(all, r#""variants": [{"name": "a", "origin": "https://a.example", "weight": 1}]"#);
    for (rest, server) in [("", "all"), ("/", "all"), ("/x", "all"), ("/administrator", "all"), ("/admin", "admin")] {
        assert_eq!(serving(&record, rest), server, "{rest}");
    }
}

#[test]
fn variants_serve_if_one_is_active_or_has_a_weight_and_otherwise_the_origin_does() {
    let variants = |weights: [u32; 2]| {
        let variant =
            |(name, weight)| format!(r#"{{"name": "{name}", "origin": "https://a.example", "weight": {weight}}}"#);
        format!(
            r#""variants": [{}]"#,
            ["blue", "green"].into_iter().zip(weights).map(variant).collect::<Vec<_>>().join(",")
        )
    };
    let origin = r#", "origin": "https://origin.shops.example""#;
    for (weights, more, server, active) in [
        ([1, 0], "", "variants", None),
        ([1, 0], origin, "variants", None),
        ([0, 0], origin, "origin", None),
        ([0, 0], r#", "active": "green""#, "variants", Some("green")),
        ([9, 0], r#", "active": "green""#, "variants", Some("green")),
    ] {
        let record = routed(ROUTES.into_iter(), &format!("{}{more}", variants(weights)));
        assert_eq!(serving(&record, "/x"), server, "{weights:?}{more}");
        assert_eq!(serving(&record, "/admin/x"), "admin", "routes come first");
        assert_eq!(record.active().map(|variant| variant.name.as_str()), active, "{weights:?}{more}");
    }
}
