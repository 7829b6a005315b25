//! A storefront's record in `ROUTING_CONFIG`: where its requests go, and how.
//!
//! The documented form is `{"origin": "https://storefront-a.example.com"}`; every other member is optional. A record is data,
//! not trust: it is read whole, and one fault anywhere refuses all of it.

mod read;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use super::TenantError;
use super::access::Access;
use super::backend::Backend;
use http_semantics::origin::OriginAllowList;
use http_semantics::request_target::normalize_escapes;
use http_semantics::upstream_timeout::UpstreamTimeout;
use kv_store::limits::Key;
use kv_store::schema::{self, Fault};

/// The longest record, in bytes of JSON.
pub const RECORD_BYTES_MAX: usize = 128 * 1024;

/// Where requests may be sent: the vars `ROUTING_ORIGINS` and `ROUTING_INSECURE`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OriginPolicy {
    /// The origins that a record may name.
    pub allowed: OriginAllowList,
    /// Admits http origins; for the local demo.
    pub insecure: bool,
}

/// What stands under a key of `ROUTING_CONFIG`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// A storefront.
    Record(Box<Record>),
    /// `{"storefront": "id"}` under the key of a custom domain: the storefront that it belongs to.
    Storefront(Key<'static>),
}

/// A storefront.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Serves what no route and no variant takes.
    origin: Option<Backend>,
    /// The longest path first.
    routes: Vec<PathRoute>,
    variants: Vec<Variant>,
    active: Option<usize>,
    /// What decides between the variants.
    pub split: Split,
    /// What is changed in the request on its way to the origin.
    pub request_fields: FieldEdits,
    /// What is changed in the answer on its way back.
    pub response_fields: FieldEdits,
    /// How long all tries together may take until an answer begins.
    pub timeout: Option<UpstreamTimeout>,
    /// What answers where the origins do not.
    pub fallback: Option<Fallback>,
    /// Who may come in.
    pub access: Option<Access>,
}

/// A part of a storefront that another server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PathRoute {
    /// Starts with `/` and does not end with it; empty for all paths.
    path: String,
    backend: Backend,
}

/// One of several servers between which visitors are split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// Its name, as `X-Variant` says it.
    pub name: String,
    /// Its server.
    pub backend: Backend,
    /// Its share of the visitors, in proportion to the sum of all weights.
    pub weight: u32,
}

/// What decides which variant a visitor gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Split {
    /// A signed cookie that kv-edge sets.
    #[default]
    Cookie,
    /// The value of this header field names the variant; where it names none, the cookie decides.
    Header(String),
    /// The user id in this header field; without one, the cookie decides.
    UserHeader(String),
    /// The user id in this cookie; without one, kv-edge's own cookie decides.
    UserCookie(String),
}

/// Header fields that a record sets and removes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldEdits {
    /// Names and values.
    pub set: Vec<(String, String)>,
    /// Names.
    pub remove: Vec<String>,
}

/// What answers where the origins do not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fallback {
    /// Another server.
    Backend(Backend),
    /// A page in `assets`, answered with 503.
    Page(Key<'static>),
}

/// What serves a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serving<'r> {
    /// One server.
    One(&'r Backend),
    /// The variant that is chosen for the visitor.
    Variants,
}

/// Why a record cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordError {
    /// What is wrong, one fault at least.
    pub faults: Vec<Fault>,
    /// True where nothing else is wrong than origins that `ROUTING_ORIGINS` or `ROUTING_INSECURE` does not admit.
    pub is_refused: bool,
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

impl Stored {
    /// Reads what stands under a key. Without a policy, origins are only checked for being some.
    ///
    /// # Errors
    /// [`RecordError`] with every fault.
    pub fn parse(key: &str, json: &str, policy: Option<&OriginPolicy>) -> Result<Self, RecordError> {
        if json.len() > RECORD_BYTES_MAX {
            let problem = format!("it has {} bytes; {RECORD_BYTES_MAX} are the most", json.len());
            let faults = vec![Fault { path: String::new(), problem: Cow::Owned(problem) }];
            return Err(RecordError { faults, is_refused: false });
        }
        schema::read(json, |root| read::stored(key, root, policy)).map_err(|faults| {
            let is_refused = faults.iter().all(|fault| fault.problem == read::NOT_ADMITTED);
            RecordError { faults, is_refused }
        })
    }
}

impl Record {
    /// What serves a path below the storefront: empty, or starting with `/`. The longest path of a route wins, on the borders
    /// of segments. Escapes of unreserved characters count as these (RFC 3986 §6.2.2.2): `/%61dmin` is `/admin`.
    #[must_use]
    pub fn serving(&self, rest: &str) -> Option<Serving<'_>> {
        if !self.routes.is_empty() {
            let rest = normalize_escapes(rest);
            let is_below = |route: &&PathRoute| {
                rest.strip_prefix(route.path.as_str()).is_some_and(|after| after.is_empty() || after.starts_with('/'))
            };
            if let Some(route) = self.routes.iter().find(is_below) {
                return Some(Serving::One(&route.backend));
            }
        }
        if self.active.is_some() || self.variants.iter().any(|variant| variant.weight > 0) {
            return Some(Serving::Variants);
        }
        self.origin.as_ref().map(Serving::One)
    }

    /// The variants, in the order of the record.
    #[must_use]
    pub fn variants(&self) -> &[Variant] {
        &self.variants
    }

    /// The variant that all visitors get, where there is such a one.
    #[must_use]
    pub fn active(&self) -> Option<&Variant> {
        self.variants.get(self.active?)
    }

    /// Every server that requests of visitors go to; not the fallback.
    pub fn backends(&self) -> impl Iterator<Item = &Backend> {
        let routes = self.routes.iter().map(|route| &route.backend);
        let variants = self.variants.iter().map(|variant| &variant.backend);
        routes.chain(variants).chain(&self.origin)
    }
}

impl OriginPolicy {
    /// Reads the vars. An entry of `ROUTING_ORIGINS` without a scheme is https, and http as well where that is admitted.
    #[must_use]
    pub fn parse(routing_origins: &str, insecure: bool) -> Self {
        let bare: &[&str] = if insecure { &["https", "http"] } else { &["https"] };
        Self { allowed: OriginAllowList::parse(routing_origins, bare), insecure }
    }

    fn admits(&self, backend: &Backend) -> bool {
        self.allowed.admits(backend.origin()) && (self.insecure || backend.origin().is_secure())
    }
}

impl From<RecordError> for TenantError {
    fn from(error: RecordError) -> Self {
        if error.is_refused { Self::NotAllowed(error.to_string()) } else { Self::BrokenRecord(error.to_string()) }
    }
}
