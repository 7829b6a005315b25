//! What the upstreams of the simulation have: pages, redirects and their versions.

use http_cache::cached_url::CachedUrl;
use http_cache::stored_response::StoredMetadata;
use http_semantics::fields::{Fields, HeaderSection};

/// Pages, and after them those resources that are redirects now and then.
pub(crate) const PAGES: usize = 24;
pub(crate) const RESOURCES: usize = PAGES + 16;

/// `Cache-Control`, and its seconds: those of `max-age`, `stale-while-revalidate` and
/// `stale-if-error`.
pub(crate) const POLICIES: [(&str, u64, u64, u64); 6] = [
    ("max-age=2", 2, 0, 0),
    ("max-age=30", 30, 0, 0),
    ("max-age=1, stale-while-revalidate=5", 1, 5, 0),
    ("max-age=1, stale-if-error=10", 1, 0, 10),
    ("max-age=2, must-revalidate", 2, 0, 0),
    ("no-cache", 0, 0, 0),
];
/// The policy of variants in a single isolate. With several, one that does not know of a write may
/// put what it has into KV again, so that variants from before the write are used as long as they
/// are fresh.
pub(crate) const LONG_POLICY: (&str, u64, u64, u64) = ("max-age=600", 600, 0, 0);

/// The same for resources that redirect. Without `Cache-Control` the view is fresh for a minute.
pub(crate) const REDIRECT_POLICIES: [(&str, u64, u64, u64); 6] = [
    ("max-age=2", 2, 0, 0),
    ("max-age=40", 40, 0, 0),
    ("", 0, 0, 0),
    ("max-age=1, stale-if-error=10", 1, 0, 10),
    ("max-age=5, stale-while-revalidate=5", 5, 5, 0),
    ("max-age=10", 10, 0, 0),
];

/// Where a version of a resource redirects to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// Nowhere: it is a page.
    Page,
    Resource(usize),
    /// An origin that is not allowed, or no URL.
    Outside,
}

/// Returns where a version of a resource redirects to, with which status and `Location`.
pub(crate) fn target_of(resource: usize, version: u64) -> (Target, u16, String) {
    if resource < PAGES {
        return (Target::Page, 200, String::new());
    }
    let mut hash =
        (resource as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ version.wrapping_mul(0xD6E8_FEB8_6659_FD93);
    hash = (hash ^ (hash >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    hash ^= hash >> 29;
    let mut draw = |bound: usize| {
        let drawn = usize::try_from(hash % bound as u64).unwrap();
        hash /= bound as u64;
        drawn
    };
    let status = [301, 302, 303, 307, 308][draw(5)];
    let other = match draw(10) {
        0..3 => draw(PAGES),
        // Chains, some of them too long.
        3..7 => PAGES + (resource + 1 - PAGES) % (RESOURCES - PAGES),
        // Loops.
        7 => PAGES + draw(RESOURCES - PAGES),
        8 => return (Target::Page, 200, String::new()),
        _ => {
            let outside = ["https://c.example/1", "http://a.example/1", "//c.example/1", "http://[", "data:,1"];
            return (Target::Outside, status, outside[draw(outside.len())].to_owned());
        }
    };
    let (here, there) = (origin_of(resource), origin_of(other));
    let location = match draw(3) {
        0 if here == there => other.to_string(),
        1 if here == there => format!("/./{other}#fragment"),
        2 => format!("//{}/{other}", there.trim_start_matches("https://")),
        _ => url_of(other),
    };
    (Target::Resource(other), status, location)
}

/// Returns true if no cache may store a version of a redirect, because it says `private` or
/// `no-store`.
pub(crate) fn is_unstorable(resource: usize, version: u64) -> bool {
    resource >= PAGES && (resource as u64 + version).is_multiple_of(11)
}

pub(crate) fn resolve(reference: &str, base: &str) -> Option<String> {
    Some(url::Url::parse(base).ok()?.join(reference).ok()?.into())
}

/// Returns the request fields that select a version of a resource. They change from one to the
/// next now and then.
pub(crate) fn selecting_names(resource: usize, version: u64) -> &'static [&'static str] {
    match (resource.is_multiple_of(3), version / 3 % 4) {
        (false, _) => &[],
        (true, 0 | 2) => &["x-variant"],
        (true, 1) => &["x-other", "x-variant"],
        (true, _) => &["x-other"],
    }
}

/// Returns true if the response to a POST may be stored for GET (RFC 9110 §9.3.3).
pub(crate) fn stores_writes(resource: usize) -> bool {
    resource < PAGES && resource % 4 == 1
}

/// Returns what the upstream takes for the value of a request's field.
pub(crate) fn value_of(request: &HeaderSection, name: &str) -> String {
    request.get(name).unwrap_or_default()
}

/// What an upstream sent, or what was made of that for the view of a page.
#[derive(Debug, Clone)]
pub(crate) struct UpstreamContent {
    pub(crate) resource: usize,
    /// The request fields that selected it, and their values.
    pub(crate) selected_by: Vec<(&'static str, String)>,
    pub(crate) version: u64,
    /// The only exchange that may get it, if it was made for one.
    pub(crate) only_for: Option<usize>,
    pub(crate) length: u64,
    /// What a view was made of: the redirects, and the page.
    pub(crate) chain: Vec<Link>,
}

/// A response on the way to a page, or the page.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) resource: usize,
    pub(crate) version: u64,
    pub(crate) metadata: StoredMetadata,
}

fn origin_of(resource: usize) -> &'static str {
    if resource % 5 == 4 { "https://b.example" } else { "https://a.example" }
}

pub(crate) fn url_of(resource: usize) -> String {
    format!("{}/{resource}", origin_of(resource))
}

/// Returns the resource of a URL, whose origin must be allowed.
pub(crate) fn resource_of(url: &CachedUrl) -> usize {
    let path = url.as_str().rsplit('/').next().unwrap();
    let resource = path.parse().unwrap();
    assert_eq!(url.as_str(), url_of(resource), "not a URL of the upstreams");
    resource
}
