//! Generates the inputs of the properties: pieces that have a meaning somewhere, combined and
//! damaged at random.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};
use url::Url;

use crate::damage::{damage, damaged};

/// A request, the record of the storefront, and the response of its upstream.
#[derive(Debug)]
pub(crate) struct Case {
    /// Usually normalized, as the runtime does it.
    pub url: String,
    pub method: &'static str,
    pub request: Vec<(String, String)>,
    pub has_body: bool,
    /// A record without a fault.
    pub good: String,
    /// The same record, usually damaged.
    pub damaged: String,
    pub insecure: bool,
    pub response: Vec<(String, String)>,
    pub is_fallback: bool,
    pub served: Index,
    pub random: u64,
}

pub(crate) const TENANT_DOMAIN: &str = "shops.example.com";
pub(crate) const ROUTING_ORIGINS: &str = "a.example, https://api.example:8443, *.shops.test, http://local.test:8080";

const HOSTS: &[&str] = &[
    "v.example.workers.dev",
    "localhost:8787",
    "[::1]:8787",
    "127.0.0.1",
    "shops.example.com",
    "tea.shops.example.com",
    "TEA.shops.example.com.:8443",
    "a.b.shops.example.com",
    "www.tea.example",
    "evilshops.example.com",
];
const HOST_PIECES: &[&str] =
    &[".", ":", "@", "[", "]", "::1", "%", "%2e", "shops.example.com", "tea", "\"", "\\", "0x7f", "é", "-", "_"];
const IDS: &[&str] =
    &["tea", "sh%6Fp", "a%20b", "caf%C3%A9", "a%2Fb", "a;b", "..;", "%2e%2e%2f", "domain:x", "it's", "%E2%82%AC"];
pub(crate) const PATH_PIECES: &[&str] = &[
    "/",
    "//",
    "/..",
    "/.",
    "/%2e%2E",
    "..",
    "\\",
    "/admin",
    "/%61dmin",
    "/api",
    "/x",
    "%2F",
    "%5C",
    "%",
    "%zz",
    "%00",
    ";v=1",
    ":80",
    "@evil.example",
    "//evil.example",
    "/http://evil.example",
    "/stores/b",
    "?",
    "?q=1",
    "#",
    "&",
    " ",
    "\t",
    "\n",
    "%25",
    "%%36%31",
    "é",
];
const VALUE_PIECES: &[&str] = &[
    "kv-edge",
    "kv-edge;x",
    ",",
    ", ",
    "; ",
    "=",
    "\"",
    "close",
    "websocket",
    "trailers",
    "x-a",
    "host",
    "set-cookie",
    "192.0.2.1",
    "::1",
    "10.0.0.1",
    "CH",
    "blue",
    "green",
    "token",
    "kv-edge-visitor=",
    "0000000000000002.",
    "65536",
    "99999999999999999999",
    "cookie",
    "\t",
];
pub(crate) const URL_PIECES: &[&str] = &[
    "https:",
    "http:",
    "HTTPS://",
    "//",
    "/",
    "\\",
    "a.example",
    "https://a.example",
    "https://a.example/shop",
    "api.example:8443",
    "https://b.shops.test",
    "/shop",
    "/admin",
    "/stores",
    "/tea",
    "/stores/b",
    "/..",
    "/.",
    "..",
    "%2e%2e",
    "@",
    ":",
    "?",
    "#",
    ";",
    "\t",
    " ",
    "v.example.workers.dev",
    "localhost:8787",
    "javascript:",
    "evil.example",
    "//evil.example",
    "x",
    "é",
    "'",
    "\"",
];
const COOKIE_PIECES: &[&str] = &[
    "a",
    "=",
    "b",
    ";",
    "; ",
    "Path",
    "path=",
    "Path=/",
    "Domain=",
    "domain = .example",
    "Domain",
    "/shop",
    "/",
    "/stores/b",
    "..",
    "Secure",
    "HttpOnly",
    "Expires=Wed, 01 Jan 2030 00:00:00 GMT",
    ",",
    "\t",
    "__Host-x=1",
    "kv-edge-visitor=1",
    "é",
];
pub(crate) const ORIGINS: &[&str] = &[
    "https://a.example",
    "https://A.example:443",
    "https://api.example:8443",
    "https://b.shops.test",
    "https://c.d.shops.test",
];
pub(crate) const BASES: &[&str] =
    &["", "/", "/shop", "/shop/", "/shop/x", "//", "/a//b", "/%2F", "/..%2F", "/a;b@c:d", "/stores/tea", "/{\"}"];
const ROUTES: &[&str] = &["/", "/admin", "/admin/", "/admin/x", "/api", "/x", "/%61", "/a%2Fb", "//", "/stores"];

pub(crate) fn mixed(pieces: &'static [&'static str], most: usize) -> BoxedStrategy<String> {
    let piece = prop_oneof![
        20 => select(pieces).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
        1 => "[ -~]{1,4}",
    ];
    vec(piece, 0..=most).prop_map(|pieces| pieces.concat()).boxed()
}

fn url() -> impl Strategy<Value = String> {
    let host = prop_oneof![8 => select(HOSTS).prop_map(str::to_owned), 1 => mixed(HOST_PIECES, 4)];
    let id = prop_oneof![4 => select(IDS).prop_map(str::to_owned), 1 => mixed(PATH_PIECES, 3)];
    let storefront = prop_oneof![5 => id.prop_map(|id| ["/stores/", &id].concat()), 1 => Just(String::new())];
    let parts = (select(&["https", "http"][..]), host, storefront, mixed(PATH_PIECES, 6), prop::bool::weighted(0.8));
    let url = parts.prop_map(|(scheme, host, storefront, path, is_parsed)| {
        let raw = [scheme, "://", &host, &storefront, &path].concat();
        if is_parsed { Url::parse(&raw).map_or(raw, String::from) } else { raw }
    });
    prop_oneof![30 => url, 1 => any::<String>()]
}

/// Fields as the runtime accepts them: without line endings and NUL, and without white space
/// around a value.
fn fields(
    names: &'static [&'static str],
    value: BoxedStrategy<String>,
    most: usize,
) -> impl Strategy<Value = Vec<(String, String)>> {
    let name = prop_oneof![12 => select(names).prop_map(str::to_owned), 1 => "[a-z0-9!#$%&'*+.^_`|~-]{1,9}"];
    let value = value.prop_map(|value| value.replace(['\r', '\n', '\0'], "").trim().to_owned());
    vec((name, value), 0..=most)
}

fn request() -> impl Strategy<Value = Vec<(String, String)>> {
    const NAMES: &[&str] = &[
        "connection",
        "te",
        "upgrade",
        "cookie",
        "x-group",
        "x-user",
        "x-forwarded-for",
        "x-forwarded-zork",
        "x-original-url",
        "x_http_method_override",
        "forwarded",
        "via",
        "cdn-loop",
        "cf-connecting-ip",
        "cf-ipcountry",
        "content-length",
        "proxy-authorization",
        "x-force-variant",
        "x-force-variant-token",
        "x-a",
    ];
    fields(NAMES, mixed(VALUE_PIECES, 4), 6)
}

fn response() -> impl Strategy<Value = Vec<(String, String)>> {
    const NAMES: &[&str] = &["connection", "upgrade", "alt-svc", "trailer", "x-variant", "routing-source"];
    let urls = prop_oneof![
        mixed(URL_PIECES, 6),
        (select(ORIGINS), select(BASES), mixed(URL_PIECES, 4))
            .prop_map(|(origin, base, rest)| [origin, base, &rest].concat())
    ];
    let urls = urls.boxed();
    let refresh = urls.clone().prop_map(|url| ["5; url=", &url].concat()).boxed();
    let parts = (
        fields(&["location"], urls.clone(), 1),
        fields(&["content-location"], urls, 1),
        fields(&["refresh"], refresh, 1),
        fields(&["set-cookie"], mixed(COOKIE_PIECES, 8), 3),
        fields(NAMES, mixed(VALUE_PIECES, 3), 3),
    );
    parts.prop_map(|(location, content_location, refresh, cookies, others)| {
        [location, content_location, refresh, cookies, others].concat()
    })
}

/// A valid record.
fn record() -> impl Strategy<Value = Value> {
    let upstream = || (select(ORIGINS), select(BASES)).prop_map(|(origin, base)| [origin, base].concat());
    let routes = vec((select(ROUTES), upstream()), 0..4).prop_map(|routes| {
        let mut distinct: Vec<(&str, String)> = Vec::new();
        for (path, origin) in routes {
            if distinct.iter().all(|(other, _)| other.trim_end_matches('/') != path.trim_end_matches('/')) {
                distinct.push((path, origin));
            }
        }
        distinct.into_iter().map(|(path, origin)| json!({"path": path, "origin": origin})).collect::<Vec<_>>()
    });
    let variants = vec((upstream(), select(&[0, 1, 10, 1_000_000][..])), 0..4).prop_map(|variants| {
        let named = ["blue", "green", "v.3", "v_4"].into_iter().zip(variants);
        named
            .map(|(name, (origin, weight))| json!({"name": name, "origin": origin, "weight": weight}))
            .collect::<Vec<_>>()
    });
    let of = |values: Value| select(values.as_array().cloned().unwrap_or_default());
    let split = of(
        json!([null, {"by": "cookie"}, {"by": "header", "name": "X-Group"}, {"by": "user", "header": "x-user"}, {"by": "user", "cookie": "uid"}]),
    );
    let headers = of(json!([
        null, null, {"request": {"set": {"X-A": "1"}, "remove": ["cookie", "x-b"]}}, {"response": {"set": {"X-A": "1"}, "remove": ["etag"]}},
        {"response": {"remove": ["Set-Cookie"]}}, {"response": {"set": {"location": "/x"}, "remove": ["refresh"]}},
    ]));
    let fallback = of(json!([null, "https://backup.shops.test/copy", {"asset": "maintenance.html"}]));
    let access = of(
        json!([null, null, null, {"deny": {"countries": ["CH"]}}, {"allow": {"countries": ["CH"], "ips": ["192.0.2.0/24", "::/0"]}}]),
    );
    let timeout = option::of(1..=60_000_u32);
    (upstream(), routes, variants, option::of(any::<Index>()), split, headers, fallback, access, timeout).prop_map(
        |(origin, routes, variants, active, split, headers, fallback, access, timeout)| {
            let active = active.filter(|_| !variants.is_empty()).map(|active| active.get(&variants)["name"].clone());
            let mut record = json!({
                "origin": origin, "routes": routes, "variants": variants, "active": active, "split": split,
                "headers": headers, "fallback": fallback, "access": access, "timeoutMs": timeout,
            });
            if let Value::Object(members) = &mut record {
                members.retain(|_, value| !value.is_null());
            }
            record
        },
    )
}

pub(crate) fn cases() -> impl Strategy<Value = Case> {
    const METHODS: &[&str] = &["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "POST", "PATCH", "TRACE", "x"];
    let method = prop_oneof![4 => Just("GET"), 1 => select(METHODS)];
    let more = (any::<bool>(), any::<bool>(), any::<bool>(), any::<Index>(), any::<u64>());
    (url(), method, request(), record(), vec(damage(), 0..3), response(), more).prop_map(
        |(url, method, request, record, damages, response, (has_body, insecure, is_fallback, served, random))| {
            let good = record.to_string();
            let damaged = damaged(record, damages);
            Case { url, method, request, has_body, good, damaged, insecure, response, is_fallback, served, random }
        },
    )
}
