//! The properties that hold for every request, record and response.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::time::Duration;

use http_semantics::fields::{Fields, HeaderEdits, is_name};
use http_semantics::forwarding_fields::is_stripped;
use http_semantics::origin::Origin;
use http_semantics::request_target::{RequestTarget, has_dot_segments};
use http_semantics::upstream_timeout::UpstreamTimeout;
use kv_store::record_cache::RecordState;
use proptest::prelude::*;
use tenant_router::TenantError;
use tenant_router::request_plan::{RequestPlan, RouteTarget, RoutedRequest, RoutingSettings};
use tenant_router::response_edits::ProxiedResponse;
use tenant_router::storefront_address::{DOMAIN_KEY, HostMatch, Hosts, StorefrontAddress};
use tenant_router::storefront_record::{Fallback, OriginPolicy, RoutingEntry, StorefrontRecord};
use tenant_router::upstream::Upstream;
use tenant_router::visitor::VisitorKey;
use url::Url;

use crate::input::{Case, ROUTING_ORIGINS, TENANT_DOMAIN};

type PropertyResult = Result<(), TestCaseError>;

/// Counts how far the cases got. A property that no case reaches shows nothing.
#[derive(Default)]
pub(crate) struct Coverage {
    pub(crate) batches: u64,
    addressed: Cell<u64>,
    damaged_and_read: Cell<u64>,
    planned: Cell<u64>,
    split: Cell<u64>,
    rewritten: Cell<u64>,
    rewritten_to_visitor: Cell<u64>,
}

impl Coverage {
    /// Panics unless cases reached every property.
    pub(crate) fn assert_all(&self) {
        let Self { addressed, damaged_and_read, planned, split, rewritten, rewritten_to_visitor, .. } = self;
        let counts = [addressed, damaged_and_read, planned, split, rewritten, rewritten_to_visitor];
        assert!(counts.iter().all(|count| count.get() > 0), "{self}");
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { addressed, damaged_and_read, planned, split, rewritten, rewritten_to_visitor, .. } = self;
        write!(
            formatter,
            "{} named a storefront, {} had a damaged record that could be read, {} went to a server, {} set a cookie; {} URLs were \
             rewritten, {} of them to the visitor's",
            addressed.get(),
            damaged_and_read.get(),
            planned.get(),
            split.get(),
            rewritten.get(),
            rewritten_to_visitor.get()
        )
    }
}

fn count(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

struct FieldList<'a> {
    fields: &'a [(String, String)],
    names: String,
}

impl<'a> FieldList<'a> {
    fn new(fields: &'a [(String, String)]) -> Self {
        let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
        Self { fields, names: names.join(",") }
    }
}

impl Fields for FieldList<'_> {
    fn names(&self) -> &str {
        &self.names
    }

    fn get(&self, name: &str) -> Option<String> {
        let lines: Vec<&str> =
            self.fields.iter().filter(|(field, _)| field == name).map(|(_, value)| value.as_str()).collect();
        (!lines.is_empty()).then(|| lines.join(", "))
    }

    fn set_cookies(&self) -> Vec<String> {
        self.fields.iter().filter(|(field, _)| field == "set-cookie").map(|(_, value)| value.clone()).collect()
    }
}

fn is_control(byte: u8) -> bool {
    byte < b' ' || byte == 0x7f
}

pub(crate) fn hold(case: &Case, coverage: &Coverage) -> PropertyResult {
    let target = RequestTarget::parse(&case.url);
    prop_assert!(target.path.starts_with('/') && !has_dot_segments(&target.path), "{}", target.path);
    let hosts = Hosts::parse(TENANT_DOMAIN, "edge.example");
    let host = hosts.match_host(target.authority);
    let address = match StorefrontAddress::of(&host, &target) {
        Ok(address) => address,
        Err(error) => return refusal_has_a_message(&error),
    };
    count(&coverage.addressed);
    prop_assert_eq!([address.prefix, address.rest].concat(), &*target.path);
    prop_assert!(address.rest.is_empty() || address.rest.starts_with('/'));
    prop_assert_eq!(host == HostMatch::Platform, !address.prefix.is_empty());
    prop_assert!(host != HostMatch::Platform || !address.key.as_str().starts_with(DOMAIN_KEY));

    let policy = OriginPolicy::parse(ROUTING_ORIGINS, case.insecure);
    let good = RoutingEntry::parse("tea", &case.good, Some(&policy));
    let Ok(RoutingEntry::Record(good)) = &good else {
        return Err(TestCaseError::fail(format!("no good record: {good:?}")));
    };
    let damaged = damaged(case, address.key.as_str(), &policy)?;
    let record = damaged.as_ref().unwrap_or(good);
    if damaged.is_some() && case.damaged != case.good {
        count(&coverage.damaged_and_read);
    }

    let (fields, key) = (FieldList::new(&case.request), VisitorKey::derive("secret"));
    let request = RoutedRequest { method: case.method, target: &target, fields: &fields, has_body: case.has_body };
    let settings = RoutingSettings {
        token: Some("token"),
        visitor_key: Some(&key),
        timeout: UpstreamTimeout::from_milliseconds(10_000),
    };
    let plan = match RequestPlan::new(&request, &address, record, &settings, || case.random) {
        Ok(plan) => plan,
        Err(error) => return refusal_has_a_message(&error),
    };
    count(&coverage.planned);
    prop_assert!(case.method != "TRACE");
    prop_assert!(!plan.timeout.is_zero() && plan.timeout <= Duration::from_secs(600));
    request_edits(case, &plan.edits)?;
    for target_of_plan in std::iter::once(&plan.target).chain(&plan.others) {
        stays(target_of_plan.upstream, &address, target.query)?;
    }
    if let Some(Fallback::Upstream(upstream)) = &record.fallback {
        stays(upstream, &address, target.query)?;
    }
    if let Some(line) = &plan.set_cookie {
        count(&coverage.split);
        comes_back(case, line, &request, &address, record, &settings, &plan)?;
    }
    check_response(case, &plan, &target, &address, record, coverage)
}

fn refusal_has_a_message(error: &TenantError) -> PropertyResult {
    prop_assert!(!error.to_string().is_empty());
    Ok(())
}

/// Returns the damaged record if it is still valid. Then everything in it is admitted.
fn damaged(case: &Case, key: &str, policy: &OriginPolicy) -> Result<Option<Box<StorefrontRecord>>, TestCaseError> {
    match RoutingEntry::parse(key, &case.damaged, Some(policy)) {
        Ok(RoutingEntry::Record(record)) => {
            let fallback = match &record.fallback {
                Some(Fallback::Upstream(upstream)) => Some(upstream),
                _ => None,
            };
            for upstream in record.upstreams().chain(fallback) {
                prop_assert!(is_admitted(upstream.origin(), case.insecure), "{}", upstream.origin().as_str());
                prop_assert!(!has_dot_segments(upstream.base()));
            }
            for (name, value) in record.request_fields.set.iter().chain(&record.response_fields.set) {
                prop_assert!(is_name(name) && !value.bytes().any(|byte| is_control(byte) && byte != b'\t'));
            }
            Ok(Some(record))
        }
        Ok(RoutingEntry::CustomDomain(id)) => {
            prop_assert!(key.starts_with(DOMAIN_KEY) && !id.as_str().starts_with(DOMAIN_KEY));
            Ok(None)
        }
        Err(error) => {
            prop_assert!((1..=100).contains(&error.faults.len()) && !error.to_string().is_empty());
            Ok(None)
        }
    }
}

/// A second implementation of the policy.
fn is_admitted(origin: &Origin, insecure: bool) -> bool {
    let Some((scheme, host)) = origin.as_str().split_once("://") else { return false };
    let is_name = |label: &str| label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let subdomain = host.strip_suffix(".shops.test").is_some_and(|label| !label.is_empty() && is_name(label));
    let is_listed = host == "a.example" || (scheme == "https" && host == "api.example:8443") || subdomain;
    (is_listed && scheme == "https") || (insecure && (is_listed || (scheme == "http" && host == "local.test:8080")))
}

/// The URL for an upstream is below its origin and base path, both for kv-edge and for the URL
/// Standard.
fn stays(upstream: &Upstream, address: &StorefrontAddress<'_>, query: Option<&str>) -> PropertyResult {
    let sent = upstream.join(address.rest, query);
    let path = sent.strip_prefix(upstream.origin().as_str()).unwrap_or_default();
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    prop_assert_eq!(upstream.strip(path), Some(if address.rest.is_empty() { "/" } else { address.rest }));
    prop_assert_eq!(&*RequestTarget::parse(&sent).path, path, "nothing is left to resolve");

    let read = Url::parse(&sent).map_err(|error| TestCaseError::fail(format!("{sent}: {error}")))?;
    let base = Url::parse(&[upstream.origin().as_str(), upstream.base()].concat()).expect("a base");
    prop_assert_eq!(read.origin(), base.origin(), "{}", sent);
    prop_assert_eq!((read.username(), read.password(), read.fragment()), ("", None, None), "{}", sent);
    prop_assert_eq!(read.query().is_some(), query.is_some(), "{}", sent);
    let below =
        [base.path().strip_suffix('/').filter(|_| upstream.base().is_empty()).unwrap_or(base.path()), "/"].concat();
    prop_assert!(read.path().starts_with(&below), "{}: {} is not below {}", sent, read.path(), below);
    Ok(())
}

/// Each edit is serialized on lines of its own, and no value of one can add another.
fn lines(edits: &HeaderEdits<'_>) -> PropertyResult {
    let mut given: Vec<(&str, &str, &str)> = edits.remove.iter().map(|name| ("-", &**name, "")).collect();
    for (sign, fields) in [("=", &edits.set), ("+", &edits.append)] {
        given.extend(fields.iter().map(|(name, value): &(Cow<'_, str>, Cow<'_, str>)| (sign, &**name, &**value)));
    }
    prop_assert!(given.iter().all(|(_, name, _)| is_name(name)), "{:?}", given);
    let text = edits.to_lines();
    let mut lines = text.strip_suffix('\n').unwrap_or(&text).split('\n');
    let mut read = Vec::new();
    while let (Some(sign @ ("-" | "=" | "+")), Some(name)) = (lines.next(), lines.next()) {
        read.push((sign, name, if sign == "-" { "" } else { lines.next().unwrap_or_default() }));
    }
    prop_assert_eq!(read, given);
    Ok(())
}

fn last<'e>(edits: &'e HeaderEdits<'_>, name: &str) -> Option<&'e str> {
    edits.set.iter().rev().find(|(set, _)| set == name).map(|(_, value)| &**value)
}

/// The visitor's claims about proxies are removed or replaced, and the true ones have no control
/// characters.
fn request_edits(case: &Case, edits: &HeaderEdits<'_>) -> PropertyResult {
    lines(edits)?;
    for (name, value) in &edits.set {
        let is_own = name.starts_with("x-forwarded-") || name == "forwarded";
        prop_assert!(!is_own || !value.bytes().any(is_control), "{}: {:?}", name, value);
    }
    for (name, _) in &case.request {
        let is_a_claim = is_stripped(name);
        let is_of_connection =
            ["proxy-authorization", "proxy-connection", "proxy-authenticate", "trailer"].contains(&name.as_str());
        let is_gone = edits.remove.iter().any(|removed| removed == name) || last(edits, name).is_some();
        prop_assert!(!(is_a_claim || is_of_connection) || is_gone, "{} is left", name);
    }
    let loops = last(edits, "cdn-loop").unwrap_or_default();
    prop_assert!(loops.ends_with("kv-edge") && loops.matches("kv-edge").count() >= 1);
    prop_assert!(last(edits, "via").unwrap_or_default().ends_with("1.1 kv-edge"));
    Ok(())
}

/// A new visitor's cookie has its attributes and no others, and leads back to the same variant.
fn comes_back(
    case: &Case,
    line: &str,
    request: &RoutedRequest<'_, FieldList<'_>>,
    address: &StorefrontAddress<'_>,
    record: &StorefrontRecord,
    settings: &RoutingSettings<'_>,
    plan: &RequestPlan<'_>,
) -> PropertyResult {
    prop_assert!(!line.bytes().any(is_control));
    let attributes: Vec<&str> =
        line.split("; ").skip(1).map(|attribute| attribute.split('=').next().unwrap_or_default()).collect();
    prop_assert_eq!(attributes, ["Path", "Max-Age", "Secure", "HttpOnly", "SameSite"], "{}", line);
    let pair = line.split(';').next().unwrap_or_default();
    let known: Vec<_> = std::iter::once(("cookie".to_owned(), pair.to_owned()))
        .chain(case.request.iter().filter(|(name, _)| name != "cookie").cloned())
        .collect();
    let fields = FieldList::new(&known);
    let again =
        RoutedRequest { method: request.method, target: request.target, fields: &fields, has_body: request.has_body };
    let again = RequestPlan::new(&again, address, record, settings, || !case.random);
    let again = again.map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!((again.target, again.set_cookie), (plan.target, None));
    Ok(())
}

fn check_response(
    case: &Case,
    plan: &RequestPlan<'_>,
    request_target: &RequestTarget<'_>,
    address: &StorefrontAddress<'_>,
    record: &StorefrontRecord,
    coverage: &Coverage,
) -> PropertyResult {
    let targets: Vec<&RouteTarget<'_>> = std::iter::once(&plan.target).chain(&plan.others).collect();
    let (target, is_fallback) = match &record.fallback {
        Some(Fallback::Upstream(upstream)) if case.is_fallback => (RouteTarget { variant: None, upstream }, true),
        _ => (**case.served.get(&targets), false),
    };
    let fields = FieldList::new(&case.response);
    let set_cookie = plan.set_cookie.as_deref();
    let proxied =
        ProxiedResponse { fields: &fields, target, is_fallback, record_state: RecordState::Current, set_cookie };
    let edits = proxied.edits(request_target, address, record);
    lines(&edits)?;
    prop_assert_eq!(last(&edits, "x-served-by"), Some("Cloudflare Worker"));
    prop_assert!(last(&edits, "x-storefront-id").is_some_and(|id| id.bytes().all(|byte| byte.is_ascii_graphic())));
    prop_assert_eq!(last(&edits, "x-variant"), target.variant);
    prop_assert_eq!(last(&edits, "routing-source"), is_fallback.then_some("fallback"));
    for (name, _) in
        case.response.iter().filter(|(name, _)| ["x-variant", "routing-source", "alt-svc"].contains(&name.as_str()))
    {
        prop_assert!(
            edits.remove.iter().any(|removed| removed == name) || last(&edits, name).is_some(),
            "{} is left",
            name
        );
    }

    let record_edits = &record.response_fields;
    let is_of_record = |name: &str| {
        record_edits.remove.iter().chain(record_edits.set.iter().map(|(name, _)| name)).any(|edited| edited == name)
    };
    for (name, sent) in case.response.iter().filter(|(name, _)| !is_of_record(name)) {
        let rewritten = last(&edits, name);
        match name.as_str() {
            // The runtime shows bytes that are not UTF-8 as U+FFFD, and a URL with them is
            // passed on unchanged.
            _ if sent.contains(char::REPLACEMENT_CHARACTER) => {}
            "location" | "content-location" => location(case, sent, rewritten, target.upstream, address, coverage)?,
            "refresh" => {
                let url = |value: &str| value.strip_prefix("5; url=").map(|url| url.trim_start().to_owned());
                if let (Some(sent), Some(Some(rewritten))) = (url(sent), rewritten.map(url))
                    && !sent.starts_with(['"', '\''])
                {
                    location(case, &sent, Some(&rewritten), target.upstream, address, coverage)?;
                }
            }
            _ => {}
        }
    }
    for (_, cookie) in edits.append.iter().filter(|(name, _)| name == "set-cookie") {
        stays_in_storefront(cookie, address.prefix)?;
    }
    Ok(())
}

/// A rewritten URL leads to the storefront or to the upstream that responded, and so does a
/// path that was not rewritten. `Url` reads them as a browser would.
fn location(
    case: &Case,
    sent: &str,
    rewritten: Option<&str>,
    upstream: &Upstream,
    address: &StorefrontAddress<'_>,
    coverage: &Coverage,
) -> PropertyResult {
    if let Some(rewritten) = rewritten {
        count(&coverage.rewritten);
        prop_assert!(rewritten.bytes().all(|byte| byte > b' ' && byte != 0x7f), "{:?}", rewritten);
    }
    let Some(visitor) = Url::parse(&case.url).ok().filter(|url| url.as_str() == case.url) else { return Ok(()) };
    let Ok(seen) = visitor.join(rewritten.unwrap_or(sent)) else {
        prop_assert!(rewritten.is_none(), "{:?} is no URL", rewritten);
        return Ok(());
    };
    if seen.origin() != visitor.origin() {
        let origin = seen.origin().ascii_serialization();
        prop_assert!(
            rewritten.is_none() || origin == upstream.origin().as_str(),
            "{:?} leads to {}",
            rewritten,
            origin
        );
        return Ok(());
    }
    // A full URL at the visitor's host stays as it is.
    let mut elsewhere = visitor.clone();
    elsewhere.set_host(Some("elsewhere.invalid")).expect("a host");
    let is_in_full = rewritten.is_none() && elsewhere.join(sent).is_ok_and(|url| url.origin() == visitor.origin());
    let rest = seen.path().strip_prefix(address.prefix);
    let is_within = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    prop_assert!(is_in_full || is_within, "{:?} leads to {}", rewritten.unwrap_or(sent), seen);
    if rewritten.is_some() {
        count(&coverage.rewritten_to_visitor);
    }
    Ok(())
}

/// A cookie has no `Domain`, and under a prefix its last path is the prefix or below it.
fn stays_in_storefront(cookie: &str, prefix: &str) -> PropertyResult {
    let attributes = cookie.split(';').skip(1).map(|attribute| attribute.split_once('=').unwrap_or((attribute, "")));
    let trim = |text: &str| text.trim_matches(|character| character <= ' ').to_owned();
    let attributes: Vec<_> = attributes.map(|(name, value)| (trim(name).to_ascii_lowercase(), trim(value))).collect();
    prop_assert!(attributes.iter().all(|(name, _)| name != "domain"), "{:?}", cookie);
    // The runtime percent-encodes paths, so a prefix that is not ASCII does not occur.
    if prefix.is_empty() || !prefix.is_ascii() {
        return Ok(());
    }
    let path = attributes.iter().rev().find(|(name, _)| name == "path").map(|(_, path)| path.as_str());
    let prefix = prefix.replace(';', "%3B");
    let rest = path.and_then(|path| path.strip_prefix(&prefix));
    prop_assert!(rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')), "{:?}", cookie);
    Ok(())
}
