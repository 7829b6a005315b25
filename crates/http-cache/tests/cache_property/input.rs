//! Random requests and responses from few values, so that they collide.

use http_semantics::fields::HeaderSection;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

/// One request, and the response of the upstream if it is asked.
#[derive(Debug, Clone)]
pub(crate) struct RequestStep {
    /// How long after the request before it.
    pub(crate) wait_ms: u64,
    pub(crate) url: &'static str,
    pub(crate) method: &'static str,
    pub(crate) request: HeaderSection,
    /// The backoff after a failed refresh has not ended.
    pub(crate) is_backing_off: bool,
    /// True if a refresh is early by the draw.
    pub(crate) is_drawn: bool,
    pub(crate) takes_ms: u64,
    /// `None` if the upstream does not respond.
    pub(crate) status: Option<u16>,
    pub(crate) response: HeaderSection,
    /// True if the upstream responds to a condition with 304.
    pub(crate) validates: bool,
}

fn fields(names: Vec<(&'static str, Vec<&'static str>)>) -> impl Strategy<Value = HeaderSection> {
    let values: Vec<_> = names.iter().map(|(_, values)| select(values.clone())).collect();
    values.prop_map(move |values| {
        names.iter().map(|(name, _)| *name).zip(values).filter(|(_, value)| !value.is_empty()).collect()
    })
}

fn requests() -> impl Strategy<Value = HeaderSection> {
    let plain = ["", "", "", "", "", "no-cache", "no-store", "max-age=3", "max-age=3, max-stale", "min-fresh=5"];
    let control = plain.into_iter().chain(["max-stale", "max-stale=5", "only-if-cached", "stale-if-error=30"]);
    fields(vec![
        ("cache-control", control.collect()),
        ("cookie", vec!["", "a", "b"]),
        ("authorization", vec!["", "", "me"]),
        ("x-api-key", vec!["", "", "", "k"]),
        ("x-session", vec!["", "", "", "s", "t"]),
        ("accept-language", vec!["", "en", "de", "de, en;q=0.5", "en;q=0.5, de"]),
        ("if-none-match", vec!["", "", "\"a\"", "W/\"b\""]),
    ])
}

/// At most one lifetime, and up to two other directives.
fn controls() -> impl Strategy<Value = String> {
    let others = vec![
        // Before `private`, because the last member of a dictionary counts (RFC 8941 §3.2).
        "private=\"x-secret\"",
        "no-cache=\"set-cookie\"",
        "public",
        "private",
        "no-store",
        "no-cache",
        "must-revalidate",
        "proxy-revalidate",
        "s-maxage=10",
        "must-understand",
        "stale-while-revalidate=10",
        "stale-if-error=30",
    ];
    (select(vec!["x", "max-age=0", "max-age=5", "max-age=20"]), subsequence(others, 0..=2))
        .prop_map(|(lifetime, others)| [vec![lifetime], others].concat().join(", "))
}

fn responses() -> impl Strategy<Value = HeaderSection> {
    let others = fields(vec![
        ("vary", vec!["", "", "", "cookie", "cookie", "accept-language", "Accept-Language, Cookie", "*", "x y"]),
        ("etag", vec!["", "\"a\"", "\"a\"", "\"b\"", "W/\"a\""]),
        ("last-modified", vec!["", "", "Sun, 06 Nov 1994 08:49:00 GMT"]),
        ("content-language", vec!["", "", "en", "de"]),
        ("age", vec!["", "", "", "3"]),
        ("expires", vec!["", "", "0", "Sun, 06 Nov 1994 08:50:00 GMT", "Thu, 01 Jan 1970 00:00:00 GMT"]),
        ("pragma", vec!["", "", "", "no-cache"]),
        ("set-cookie", vec!["", "session=1"]),
        ("x-secret", vec!["1"]),
    ]);
    let targeted = prop_oneof![4 => Just(None), 1 => controls().prop_map(Some)];
    (controls(), targeted, others).prop_map(|(control, targeted, others)| {
        let targeted = targeted.as_deref().map(|targeted| ("cdn-cache-control", targeted));
        [("cache-control", &*control)].into_iter().chain(targeted).chain(others.iter()).collect()
    })
}

pub(crate) fn steps() -> impl Strategy<Value = RequestStep> {
    let times = (select(vec![0, 1, 900, 2000, 5000, 11_000, 31_000]), select(vec![0, 0, 0, 10, 2500]));
    let target = (
        select(vec!["https://a.example/", "https://a.example/b"]),
        select(vec!["GET", "GET", "GET", "GET", "GET", "GET", "HEAD", "POST"]),
    );
    let statuses =
        [200, 200, 200, 200, 200, 200, 203, 206, 301, 302, 404, 500, 503].map(Some).into_iter().chain([None]);
    let bools = (prop::bool::weighted(0.2), prop::bool::ANY, prop::bool::weighted(0.7));
    (times, target, bools, select(statuses.collect::<Vec<_>>()), requests(), responses()).prop_map(
        |((wait_ms, takes_ms), (url, method), (is_backing_off, is_drawn, validates), status, request, response)| {
            RequestStep {
                wait_ms,
                url,
                method,
                request,
                is_backing_off,
                is_drawn,
                takes_ms,
                status,
                response,
                validates,
            }
        },
    )
}
