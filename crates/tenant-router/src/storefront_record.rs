//! A storefront's record in `ROUTING_CONFIG`: its upstreams, and how requests are sent to them.
//!
//! The shortest form is `{"origin": "https://storefront-a.example.com"}`. Every other member
//! is optional; `docs/storefronts.md` describes them. A record is parsed as a whole, and one
//! fault invalidates all of it, because a part of a record could send visitors to the wrong place.

mod parse;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use super::TenantError;
use super::access::AccessRules;
use super::upstream::Upstream;
use http_semantics::origin::OriginAllowList;
use http_semantics::request_target::normalize_escapes;
use http_semantics::upstream_timeout::UpstreamTimeout;
use kv_store::limits::Key;
use kv_store::schema::{self, Fault};

/// The longest record, in bytes of JSON.
pub const RECORD_BYTES_MAX: usize = 128 * 1024;

/// Which origins a record may name: the vars `ROUTING_ORIGINS` and `ROUTING_INSECURE`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OriginPolicy {
    /// The origins of `ROUTING_ORIGINS`.
    pub allowed: OriginAllowList,
    /// True if http origins are admitted, as the local demo needs.
    pub insecure: bool,
}

/// The value of a key of `ROUTING_CONFIG`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoutingEntry {
    /// The record of a storefront.
    Record(Box<StorefrontRecord>),
    /// `{"storefront": "id"}` under the key of a custom domain: the key of the storefront that
    /// the domain belongs to.
    CustomDomain(Key<'static>),
}

/// The record of a storefront.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorefrontRecord {
    /// The upstream of all paths that no route and no variant serves.
    origin: Option<Upstream>,
    /// Sorted by the length of the path, the longest first.
    routes: Vec<PathRoute>,
    variants: Vec<SplitVariant>,
    active: Option<usize>,
    /// What decides which variant a visitor gets.
    pub split: Split,
    /// The edits of the request's header fields.
    pub request_fields: FieldEdits,
    /// The edits of the response's header fields.
    pub response_fields: FieldEdits,
    /// The time until a response must have begun, as in
    /// [`RequestPlan::timeout`](crate::request_plan::RequestPlan::timeout).
    pub timeout: Option<UpstreamTimeout>,
    /// What serves a request if the upstreams fail.
    pub fallback: Option<Fallback>,
    /// Which visitors are admitted.
    pub access: Option<AccessRules>,
}

/// A part of a storefront that an upstream of its own serves.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PathRoute {
    /// The path of the route: it starts with `/` and does not end with it, or is empty for all
    /// paths.
    path: String,
    upstream: Upstream,
}

/// One of several upstreams between which visitors are split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitVariant {
    /// The name, as in `X-Variant`.
    pub name: String,
    /// The upstream.
    pub upstream: Upstream,
    /// The weight. The share of the visitors is the weight divided by the sum of all weights.
    pub weight: u32,
}

/// What decides which variant a visitor gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Split {
    /// A signed cookie that kv-edge sets.
    #[default]
    Cookie,
    /// The name of a variant in this header field. If the field names no variant with a weight,
    /// the cookie decides.
    Header(String),
    /// The user id in this header field. Without one, the cookie decides.
    UserHeader(String),
    /// The user id in this cookie. Without one, kv-edge's own cookie decides.
    UserCookie(String),
}

/// The header fields that a record sets and removes. Names are in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldEdits {
    /// Names and values of the fields that are set.
    pub set: Vec<(String, String)>,
    /// Names of the fields that are removed.
    pub remove: Vec<String>,
}

/// What serves a request if the upstreams fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fallback {
    /// Another upstream.
    Upstream(Upstream),
    /// The key of a page in `assets`, which is served with status 503.
    Page(Key<'static>),
}

/// What serves a path of a storefront.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serving<'r> {
    /// One upstream.
    One(&'r Upstream),
    /// The visitor's variant.
    Variants,
}

/// Why a record cannot be used. `Display` shows the first five faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordError {
    /// The faults; there is at least one.
    pub faults: Vec<Fault>,
    /// True if the only faults are origins that `ROUTING_ORIGINS` or `ROUTING_INSECURE` does
    /// not admit.
    pub only_origins_not_admitted: bool,
}

impl std::error::Error for RecordError {}

impl fmt::Display for RecordError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().take(5).enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(formatter, "{separator}{fault}")?;
        }
        Ok(())
    }
}

impl RoutingEntry {
    /// Parses the value of a key. Without a policy, every valid origin is admitted.
    ///
    /// # Errors
    /// [`RecordError`] with the faults, at most 100.
    ///
    /// # Examples
    ///
    /// ```
    /// use tenant_router::storefront_record::{OriginPolicy, RoutingEntry};
    ///
    /// let policy = OriginPolicy::parse("*.shops.example", false);
    /// let parse = |json| RoutingEntry::parse("tea", json, Some(&policy));
    /// assert!(parse(r#"{"origin": "https://tea.shops.example", "timeoutMs": 2000}"#).is_ok());
    /// let error = parse(r#"{"origin": "https://evil.example", "timeout": 2000}"#).unwrap_err();
    /// let faults: Vec<&str> = error.faults.iter().map(|fault| fault.path.as_str()).collect();
    /// assert_eq!(faults, ["timeout", "origin"]);
    /// ```
    pub fn parse(key: &str, json: &str, policy: Option<&OriginPolicy>) -> Result<Self, RecordError> {
        if json.len() > RECORD_BYTES_MAX {
            let problem = format!("it has {} bytes; at most {RECORD_BYTES_MAX} are allowed", json.len());
            let faults = vec![Fault { path: String::new(), problem: Cow::Owned(problem) }];
            return Err(RecordError { faults, only_origins_not_admitted: false });
        }
        schema::read(json, |root| parse::stored(key, root, policy)).map_err(|faults| {
            let only_origins_not_admitted = faults.iter().all(|fault| fault.problem == parse::NOT_ADMITTED);
            RecordError { faults, only_origins_not_admitted }
        })
    }
}

impl StorefrontRecord {
    /// Returns what serves a path below the storefront (empty, or starting with `/`), or `None`
    /// if nothing does.
    ///
    /// The route with the longest path wins, and paths match whole segments. Percent-encoded
    /// unreserved characters are decoded first (RFC 3986 §6.2.2.2): `/%61dmin` is `/admin`. A path
    /// without a route is served by the variants if one is active or has a weight, or else by the
    /// origin.
    #[must_use]
    pub fn serving(&self, rest: &str) -> Option<Serving<'_>> {
        if !self.routes.is_empty() {
            let rest = normalize_escapes(rest);
            let is_below = |route: &&PathRoute| {
                rest.strip_prefix(route.path.as_str()).is_some_and(|after| after.is_empty() || after.starts_with('/'))
            };
            if let Some(route) = self.routes.iter().find(is_below) {
                return Some(Serving::One(&route.upstream));
            }
        }
        if self.active.is_some() || self.variants.iter().any(|variant| variant.weight > 0) {
            return Some(Serving::Variants);
        }
        self.origin.as_ref().map(Serving::One)
    }

    /// Returns the variants in the order of the record.
    #[must_use]
    pub fn variants(&self) -> &[SplitVariant] {
        &self.variants
    }

    /// Returns the variant that the record names for all visitors, if it names one. It serves the
    /// paths without a route, unless a request forces another.
    #[must_use]
    pub fn active(&self) -> Option<&SplitVariant> {
        self.variants.get(self.active?)
    }

    /// Returns all upstreams except the fallback.
    pub fn upstreams(&self) -> impl Iterator<Item = &Upstream> {
        let routes = self.routes.iter().map(|route| &route.upstream);
        let variants = self.variants.iter().map(|variant| &variant.upstream);
        routes.chain(variants).chain(&self.origin)
    }
}

impl OriginPolicy {
    /// Parses the vars. `ROUTING_INSECURE` is on for `true` in any case of letters.
    #[must_use]
    pub fn of_vars(routing_origins: &str, routing_insecure: &str) -> Self {
        Self::parse(routing_origins, routing_insecure.trim().eq_ignore_ascii_case("true"))
    }

    /// Parses a list of origins. An entry without a scheme means https, and http as well if
    /// `insecure` is true.
    ///
    /// [`RoutingEntry::parse`] has an example.
    #[must_use]
    pub fn parse(routing_origins: &str, insecure: bool) -> Self {
        let bare: &[&str] = if insecure { &["https", "http"] } else { &["https"] };
        Self { allowed: OriginAllowList::parse(routing_origins, bare), insecure }
    }

    fn admits(&self, upstream: &Upstream) -> bool {
        self.allowed.admits(upstream.origin()) && (self.insecure || upstream.origin().is_secure())
    }
}

impl From<RecordError> for TenantError {
    fn from(error: RecordError) -> Self {
        if error.only_origins_not_admitted {
            Self::NotAllowed(error.to_string())
        } else {
            Self::BrokenRecord(error.to_string())
        }
    }
}
