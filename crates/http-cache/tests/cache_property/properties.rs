//! The properties of reuse. They parse the fields themselves, by a few simple rules, not with the
//! code that is tested.

use http_cache::cache_status::CacheStatus;
use http_cache::client_response::{BodyPart, Diagnostics, from_stored};
use http_cache::freshness::ExchangeTimes;
use http_cache::stored_response::StoredResponse;
use http_semantics::fields::{Fields, HeaderSection};
use http_semantics::http_date;
use proptest::prelude::*;

use crate::SimulatedCache;
use crate::input::RequestStep;

/// A body that the upstream sent, and what it said about it.
#[derive(Debug)]
pub(crate) struct UpstreamBody {
    pub(crate) url: &'static str,
    pub(crate) status: u16,
    /// Its fields with those of later validations.
    pub(crate) fields: HeaderSection,
    pub(crate) times: ExchangeTimes,
    /// The requests that it is meant for, as the upstream said.
    pub(crate) requests: Vec<HeaderSection>,
    pub(crate) must_not_be_stored: bool,
    /// Who contributed to it: the visitor it was made for, and those whose validations changed
    /// its fields.
    pub(crate) contributions: Vec<Contribution>,
    /// True if its `Set-Cookie` may be sent to everybody.
    pub(crate) stores_cookies: bool,
}

/// How one visitor contributed to a stored response.
#[derive(Debug)]
pub(crate) struct Contribution {
    /// The visitor's credentials; empty for none.
    pub(crate) credentials: String,
    /// True if the upstream said explicitly that this response was fresh for shared caches.
    pub(crate) was_fresh_for_all: bool,
}

/// Why a stored body may be served.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum ServedAs {
    /// Without asking the upstream.
    FromStore,
    /// In place of an error of the upstream.
    InPlaceOfError,
    /// After the upstream confirmed that it is current.
    Validated,
}

pub(crate) type ReuseResult = Result<(), TestCaseError>;
impl SimulatedCache {
    /// Checks the properties of reuse for a stored body that is served.
    pub(crate) fn check_reuse(
        &mut self,
        step: &RequestStep,
        stored: &StoredResponse,
        id: usize,
        served: ServedAs,
    ) -> ReuseResult {
        self.hits += 1;
        let (body, request, now_ms) = (&self.bodies[id], &step.request, self.now_ms);
        let said = |directive: &str| has(&body.fields, directive);
        prop_assert!(!body.must_not_be_stored, "private, no-store or a 206 (RFC 9111 §5.2.2.5, §5.2.2.7)");
        prop_assert_eq!(body.url, step.url);
        let is_shared = ["public", "must-revalidate", "s-maxage"].into_iter().any(said);
        let is_for_all = body.requests.iter().any(|request| !request.has("authorization"));
        prop_assert!(is_for_all || is_shared, "credentials (§3.5)");
        let credentials = credentials_of(request);
        let is_foreign = |one: &&Contribution| !one.credentials.is_empty() && one.credentials != credentials;
        let has_leaked = body.contributions.iter().filter(is_foreign).any(|one| !one.was_fresh_for_all);
        prop_assert!(!has_leaked, "what was made for another visitor's credentials, and not said to be for all");
        if served == ServedAs::Validated {
            return Ok(());
        }
        prop_assert!(body.stores_cookies || !stored.metadata.fields.has("set-cookie"), "another visitor's cookie");
        let vary = body.fields.get("vary").unwrap_or_default().to_lowercase();
        let names_only_fields = vary.split(", ").all(|name| name != "*" && !name.contains(' '));
        let is_wanted = |name: &str| {
            name == "accept-language"
                && body.fields.has("content-language")
                && wanted(request) == body.fields.get("content-language")
        };
        let is_like = |given: &&HeaderSection| {
            vary.split(", ")
                .all(|name| name.is_empty() || sorted(given, name) == sorted(request, name) || is_wanted(name))
        };
        prop_assert!(names_only_fields && body.requests.iter().any(|given| is_like(&given)), "Vary (§4.1)");
        if !is_wanted("accept-language")
            && let Some(newest) = self.newest.get(&(step.url, who(request)))
        {
            prop_assert!(id >= *newest, "an older body after a newer one (§4)");
        }
        let (age_ms, lifetime_ms, is_error) =
            (age_ms(body, now_ms), lifetime_ms(body), served == ServedAs::InPlaceOfError);
        prop_assert!(!said("no-cache"), "not without validation (§5.2.2.4)");
        prop_assert!(is_error || !has(request, "no-cache"), "the request demands validation (§5.2.1.4)");
        prop_assert!(
            is_error || directive_ms(request, "max-age").is_none_or(|most_ms| age_ms <= most_ms),
            "too old (§5.2.1.1)"
        );
        prop_assert!(!has(request, "no-store"));
        if let Some(stale_ms) = age_ms.checked_sub(lifetime_ms) {
            let forbidden = ["must-revalidate", "proxy-revalidate", "s-maxage"];
            prop_assert!(!forbidden.into_iter().any(said), "never stale (§4.2.4)");
            let within = |fields, directive| directive_ms(fields, directive).is_some_and(|most_ms| stale_ms <= most_ms);
            let is_if_error = within(&body.fields, "stale-if-error") || within(request, "stale-if-error");
            let is_accepted = within(request, "max-stale")
                || (has(request, "max-stale") && directive_ms(request, "max-stale").is_none());
            let is_failing = is_error || step.is_backing_off;
            let is_allowed =
                is_accepted || within(&body.fields, "stale-while-revalidate") || (is_failing && is_if_error);
            prop_assert!(is_allowed, "stale by {stale_ms} ms without a reason (RFC 5861)");
        }
        let diagnostics =
            Diagnostics { cache_status: CacheStatus::Hit { ttl: 0, detail: None }, kv_ms: None, upstream_ms: None };
        let response = from_stored(step.method, request, stored, None, &diagnostics, now_ms);
        prop_assert!(!response.fields.has("x-secret") || !said("private=\"x-secret\""), "a private field (§5.2.2.7)");
        let age = response.edits.set.iter().find(|(name, _)| name == "age").map(|(_, value)| value.to_string());
        prop_assert_eq!(age, Some((age_ms / 1000).to_string()), "Age (§5.1)");
        let tag = |fields: &HeaderSection, name| fields.get(name).map(|tag| tag.trim_start_matches("W/").to_owned());
        let is_same = request.has("if-none-match") && tag(request, "if-none-match") == tag(&body.fields, "etag");
        prop_assert_eq!(response.status == 304, is_same && body.status < 300, "If-None-Match (RFC 9110 §13.1.2)");
        prop_assert_eq!(response.part == BodyPart::Nothing, response.status == 304 || step.method == "HEAD");
        Ok(())
    }
}

/// Returns the directives of `CDN-Cache-Control`, or else of `Cache-Control`.
fn directives(fields: &HeaderSection) -> Vec<String> {
    let field = fields.get("cdn-cache-control").or_else(|| fields.get("cache-control")).unwrap_or_default();
    field.split(", ").map(str::to_owned).collect()
}

pub(crate) fn has(fields: &HeaderSection, name: &str) -> bool {
    directives(fields).iter().any(|directive| {
        directive == name
            || directive.split_once('=').is_some_and(|(left, value)| left == name && !value.starts_with('"'))
    })
}

fn directive_ms(fields: &HeaderSection, name: &str) -> Option<u64> {
    let found = directives(fields)
        .into_iter()
        .find_map(|directive| directive.strip_prefix(&format!("{name}="))?.parse::<u64>().ok());
    found.map(|seconds| seconds * 1000)
}

/// Returns everything that identifies the client, as text; empty for an anonymous request.
pub(crate) fn credentials_of(request: &HeaderSection) -> String {
    ["cookie", "authorization", "x-api-key", "x-session"].into_iter().filter_map(|name| request.get(name)).collect()
}

/// Returns true if the upstream says that shared caches may use the response for a while without
/// asking.
pub(crate) fn is_fresh_for_all(fields: &HeaderSection) -> bool {
    explicit_ms(fields).is_some_and(|lifetime_ms| lifetime_ms > 0) && !has(fields, "no-cache")
}

/// Returns true if the `Set-Cookie` of a response may be stored: the request is anonymous, and the
/// upstream says explicitly that the response is fresh for shared caches.
pub(crate) fn stores_cookies(request: &HeaderSection, fields: &HeaderSection) -> bool {
    let speaks = fields.has("cdn-cache-control") || has(fields, "public") || has(fields, "s-maxage");
    credentials_of(request).is_empty() && speaks && is_fresh_for_all(fields)
}

/// Returns the lifetime that a response states (RFC 9111 §4.2.1): `s-maxage`, `max-age`,
/// `Expires`.
fn explicit_ms(fields: &HeaderSection) -> Option<u64> {
    let date = |name| fields.get(name).as_deref().and_then(http_date::parse_ms);
    let expires = fields.get("expires").filter(|_| !fields.has("cdn-cache-control"));
    let until_expiry = || {
        let at_ms = http_date::parse_ms(&expires?).unwrap_or(0);
        Some(at_ms.saturating_sub(date("date").expect("all responses are dated")))
    };
    directive_ms(fields, "s-maxage").or_else(|| directive_ms(fields, "max-age")).or_else(until_expiry)
}

/// Returns true if the response must not be stored. `must-understand` overrides `no-store` (RFC
/// 9111 §5.2.2.3), because all statuses here are understood.
pub(crate) fn must_not_be_stored(status: u16, request: &HeaderSection, fields: &HeaderSection) -> bool {
    let is_no_store = has(fields, "no-store") && !has(fields, "must-understand");
    status == 206 || has(fields, "private") || is_no_store || has(request, "no-store")
}

fn lifetime_ms(body: &UpstreamBody) -> u64 {
    let heuristic = [200, 203, 301, 404].contains(&body.status) || has(&body.fields, "public");
    let date = |name| body.fields.get(name).as_deref().and_then(http_date::parse_ms);
    let since = date("last-modified").filter(|_| heuristic).map_or(0, |at_ms| date("date").unwrap_or(at_ms) - at_ms);
    explicit_ms(&body.fields).unwrap_or(since / 10)
}

fn age_ms(body: &UpstreamBody, now_ms: u64) -> u64 {
    let age_seconds: u64 = body.fields.get("age").map_or(0, |age| age.parse().unwrap_or(0));
    age_seconds * 1000 + now_ms - body.times.requested_ms
}

fn sorted(request: &HeaderSection, name: &str) -> Option<Vec<String>> {
    let mut members: Vec<String> = request.get(name)?.split(", ").map(str::to_owned).collect();
    members.sort();
    Some(members)
}

/// Returns the language that the request prefers.
fn wanted(request: &HeaderSection) -> Option<String> {
    let accepted = request.get("accept-language")?;
    Some(if accepted.contains("de") { "de" } else { "en" }.to_owned())
}

/// Returns the request fields that responses may vary by here, as text.
pub(crate) fn who(request: &HeaderSection) -> String {
    format!("{:?}", ["cookie", "accept-language", "authorization"].map(|name| sorted(request, name)))
}
