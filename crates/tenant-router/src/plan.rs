//! The plan of a request to a storefront: its upstreams, the edits of its header fields, its
//! deadline, and whether it may be sent again.

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::Duration;

use super::address::Address;
use super::backend::Backend;
use super::record::{Record, Serving, Split, Variant};
use super::visitor::{Visitor, VisitorKey};
use super::{TenantError, forwarded, split};
use circuit_breaker::{RequestKey, client_address};
use http_semantics::authorization;
use http_semantics::cookie;
use http_semantics::fields::{Fields, HeaderEdits};
use http_semantics::request_target::RequestTarget;
use http_semantics::upstream_timeout::UpstreamTimeout;

/// The longest body that is buffered, in bytes. Longer ones are streamed.
pub const KEPT_BODY_BYTES_MAX: u64 = 64 * 1024;

/// The request field that forces a variant for one request, whatever the visitor's own is. It
/// needs [`FORCE_TOKEN`].
const FORCE: &str = "x-force-variant";

/// The request field for the token that [`FORCE`] needs, `API_TOKEN`. `Authorization` is left
/// to the origin.
const FORCE_TOKEN: &str = "x-force-variant-token";

/// The parts of a request that the plan depends on.
pub struct Asked<'a, F> {
    /// The method, as it was sent.
    pub method: &'a str,
    /// The URL.
    pub target: &'a RequestTarget<'a>,
    /// The header fields.
    pub fields: &'a F,
    /// True if the runtime has a body. It is not looked at for `GET` and `HEAD`.
    pub has_body: bool,
}

/// The settings of the deployment.
pub struct Settings<'a> {
    /// The secret `API_TOKEN`.
    pub token: Option<&'a str>,
    /// The key that signs the visitors' cookies.
    pub visitor_key: Option<&'a VisitorKey>,
    /// `UPSTREAM_TIMEOUT_MS`.
    pub timeout: UpstreamTimeout,
}

/// An upstream to send a request to, and the variant that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'r> {
    /// The name of the variant, if variants serve the path.
    pub variant: Option<&'r str>,
    /// The address.
    pub backend: &'r Backend,
}

/// How the body of a request is sent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// The request has no body, or an empty one.
    None,
    /// The body is short and is read before the request is sent. So it can be sent again, and
    /// an upload that breaks off is not taken for a failure of the origin.
    Kept,
    /// The body is streamed.
    Streamed,
}

/// How a request is sent on.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan<'a> {
    /// The method, as it was sent.
    pub method: &'a str,
    /// The path below the storefront: empty, or starting with `/`.
    pub rest: &'a str,
    /// The query, without `?`.
    pub query: Option<&'a str>,
    /// The address of the visitor, if Cloudflare names it.
    pub client: Option<IpAddr>,
    /// The upstream that the request is for.
    pub target: Target<'a>,
    /// Upstreams that may serve it if that one fails, best first.
    pub others: Vec<Target<'a>>,
    /// The edits of the request's header fields.
    pub edits: HeaderEdits<'a>,
    /// The `Set-Cookie` for a new visitor.
    pub set_cookie: Option<String>,
    /// The time until a response must have begun, for all tries together.
    pub timeout: Duration,
    /// How the body is sent.
    pub body: Body,
    /// True if the request may be sent again: its method is idempotent (RFC 9110 §9.2.2), and
    /// its body is not streamed.
    pub may_resend: bool,
}

impl<'a> Plan<'a> {
    /// Plans a request. `random` is called for the id of a new visitor; 48 of its bits at least
    /// must be random.
    ///
    /// # Errors
    /// [`TenantError`] if the request is refused, and so is sent to no upstream.
    pub fn new<F: Fields>(
        asked: &Asked<'a, F>,
        address: &Address<'a>,
        record: &'a Record,
        settings: &Settings<'_>,
        random: impl FnOnce() -> u64,
    ) -> Result<Self, TenantError> {
        // A TRACE would show the visitor fields that kv-edge added (RFC 9110 §9.3.8).
        if asked.method == "TRACE" {
            return Err(TenantError::Trace);
        }
        address.check(asked.target)?;
        if !is_admitted(record, asked.fields) {
            return Err(TenantError::AccessDenied);
        }
        let body = body(asked)?;
        let forced = forced(record, asked.fields, settings.token)?;
        let mut set_cookie = None;
        let (target, others) = match record.serving(address.rest) {
            None => return Err(address.not_found()),
            Some(Serving::One(backend)) => (Target { variant: None, backend }, Vec::new()),
            Some(Serving::Variants) => {
                if let Some(variant) = forced.or_else(|| record.active()) {
                    (variant.into(), Vec::new())
                } else {
                    let (visitor, is_new) = Chosen::of(record, asked.fields, address, settings.visitor_key, random)?;
                    if is_new
                        && let Chosen::Visitor(visitor) = &visitor
                        && let Some(key) = settings.visitor_key
                    {
                        let path = if address.prefix.is_empty() { "/" } else { address.prefix };
                        set_cookie = Some(visitor.set_cookie(address.key.as_str(), path, key));
                    }
                    ranked(record, address.key.as_str(), &visitor).ok_or_else(|| address.not_found())?
                }
            }
        };
        let client = client_address(asked.fields.get("cf-connecting-ip").as_deref());
        Ok(Self {
            method: asked.method,
            rest: address.rest,
            query: asked.target.query,
            client,
            target,
            others,
            edits: forwarded::edits(
                asked.fields,
                asked.target,
                address,
                client,
                &record.request_fields,
                asked.method == "GET",
            )?,
            set_cookie,
            // A streamed body has more time, because the visitor may send it slowly.
            timeout: record.timeout.unwrap_or(settings.timeout).of_request(body == Body::Streamed),
            body,
            may_resend: body != Body::Streamed && is_idempotent(asked.method),
        })
    }
}

impl<'a> Plan<'a> {
    /// Returns all upstreams that may serve the request, in the order in which they are tried.
    pub fn targets(&self) -> impl Iterator<Item = Target<'a>> {
        std::iter::once(self.target).chain(self.others.iter().copied())
    }

    /// Returns the key of the request for circuit breakers, if it is sent to this upstream.
    #[must_use]
    pub fn request_key(&self, target: Target<'_>) -> RequestKey {
        RequestKey::new(self.method, &target.backend.join(self.rest, self.query), self.client)
    }
}

impl<'r> From<&'r Variant> for Target<'r> {
    fn from(variant: &'r Variant) -> Self {
        Self { variant: Some(&variant.name), backend: &variant.backend }
    }
}

fn is_admitted(record: &Record, fields: &impl Fields) -> bool {
    record.access.as_ref().is_none_or(|access| {
        let ip = if access.needs_ip() { fields.get("cf-connecting-ip") } else { None };
        let country = if access.needs_country() { fields.get("cf-ipcountry") } else { None };
        access.admits(ip.as_deref(), country.as_deref())
    })
}

/// Returns the variant that the request forces.
fn forced<'r>(
    record: &'r Record,
    fields: &impl Fields,
    token: Option<&str>,
) -> Result<Option<&'r Variant>, TenantError> {
    let Some(name) = fields.get(FORCE) else { return Ok(None) };
    let token = token.ok_or(TenantError::ForceClosed)?;
    if !authorization::is_token(fields.get(FORCE_TOKEN).as_deref(), token) {
        return Err(TenantError::ForceUnauthorized);
    }
    let variant = record.variants().iter().find(|variant| variant.name == name.trim());
    variant.map(Some).ok_or(TenantError::UnknownVariant)
}

/// What decides which variant a request gets.
enum Chosen<'r> {
    Named(&'r Variant),
    User(String),
    Visitor(Visitor),
}

impl<'r> Chosen<'r> {
    /// Returns what decides; the second part is true for a visitor without a cookie.
    fn of(
        record: &'r Record,
        fields: &impl Fields,
        address: &Address<'_>,
        key: Option<&VisitorKey>,
        random: impl FnOnce() -> u64,
    ) -> Result<(Self, bool), TenantError> {
        let cookies = || fields.get("cookie").unwrap_or_default();
        match &record.split {
            Split::Cookie => {}
            Split::Header(name) => {
                let value = fields.get(name).unwrap_or_default();
                let is_named = |variant: &&Variant| variant.weight > 0 && variant.name == value.trim();
                if let Some(variant) = record.variants().iter().find(is_named) {
                    return Ok((Self::Named(variant), false));
                }
            }
            Split::UserHeader(name) => {
                if let Some(user) = fields.get(name).filter(|user| !user.trim().is_empty()) {
                    return Ok((Self::User(user), false));
                }
            }
            Split::UserCookie(name) => {
                if let Some(user) = cookie::values(&cookies(), name).find(|user| !user.is_empty()) {
                    return Ok((Self::User(user.to_owned()), false));
                }
            }
        }
        let key = key.ok_or(TenantError::NoVisitorKey)?;
        let known = Visitor::read(&cookies(), address.key.as_str(), key);
        let is_new = known.is_none();
        Ok((Self::Visitor(known.unwrap_or_else(|| Visitor::new(random()))), is_new))
    }
}

/// Returns the chosen variant, and the others with a weight in the order in which they would be
/// chosen without it.
fn ranked<'r>(record: &'r Record, tenant: &str, chosen: &Chosen<'r>) -> Option<(Target<'r>, Vec<Target<'r>>)> {
    let visitor = match chosen {
        Chosen::Named(variant) => variant.name.as_str(),
        Chosen::User(user) => user,
        Chosen::Visitor(visitor) => visitor.id(),
    };
    let variants = record.variants();
    let order = split::rank(tenant, visitor, variants.iter().map(|variant| (variant.name.as_str(), variant.weight)));
    let named = if let Chosen::Named(named) = chosen { Some(*named) } else { None };
    let others = order.iter().filter_map(|index| variants.get(*index));
    let others = others.filter(|variant| named.is_none_or(|named| named.name != variant.name));
    let mut ranked = named.into_iter().chain(others).map(Target::from);
    Some((ranked.next()?, ranked.collect()))
}

/// Decides how the body is sent.
///
/// # Errors
/// [`TenantError::UnexpectedBody`] if a `GET` or `HEAD` has one, because the runtime cannot
/// send it (Fetch Standard, "Request").
fn body<F: Fields>(asked: &Asked<'_, F>) -> Result<Body, TenantError> {
    let length = asked.fields.get("content-length").and_then(|length| length.trim().parse::<u64>().ok());
    let has_body = match asked.method {
        "GET" | "HEAD" if length.is_some_and(|length| length > 0) || asked.fields.has("transfer-encoding") => {
            return Err(TenantError::UnexpectedBody);
        }
        "GET" | "HEAD" => false,
        _ => asked.has_body && length != Some(0),
    };
    Ok(match length {
        _ if !has_body => Body::None,
        Some(length) if length <= KEPT_BODY_BYTES_MAX => Body::Kept,
        _ => Body::Streamed,
    })
}

fn is_idempotent(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE")
}
