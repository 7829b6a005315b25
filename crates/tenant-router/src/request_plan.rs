//! The plan of a request to a storefront: its upstreams, the edits of its header fields, its
//! deadline, and whether it may be sent again.

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::Duration;

use super::storefront_address::StorefrontAddress;
use super::storefront_record::{Serving, Split, SplitVariant, StorefrontRecord};
use super::upstream::Upstream;
use super::visitor::{Visitor, VisitorKey};
use super::{TenantError, rendezvous_hashing, request_edits};
use circuit_breaker::{RequestKey, client_address};
use http_semantics::authorization;
use http_semantics::cookie;
use http_semantics::fields::{Fields, HeaderEdits};
use http_semantics::request_target::RequestTarget;
use http_semantics::upstream_timeout::UpstreamTimeout;

/// The longest body that is buffered, in bytes. Longer ones are streamed.
pub const BUFFERED_BODY_BYTES_MAX: u64 = 64 * 1024;

/// The request field that forces a variant for one request, whatever the visitor's own variant is.
/// It needs [`FORCE_TOKEN`].
const FORCE: &str = "x-force-variant";

/// The request field for the token that [`FORCE`] needs, `API_TOKEN`. `Authorization` is left
/// to the upstream.
const FORCE_TOKEN: &str = "x-force-variant-token";

/// The parts of a request that the plan depends on.
pub struct RoutedRequest<'a, F> {
    /// The method, as it was sent.
    pub method: &'a str,
    /// The URL.
    pub target: &'a RequestTarget<'a>,
    /// The header fields.
    pub fields: &'a F,
    /// True if the runtime has a body. It is ignored for `GET` and `HEAD`.
    pub has_body: bool,
}

/// The settings of the deployment.
pub struct RoutingSettings<'a> {
    /// The secret `API_TOKEN`.
    pub token: Option<&'a str>,
    /// The key that signs the visitors' cookies.
    pub visitor_key: Option<&'a VisitorKey>,
    /// `UPSTREAM_TIMEOUT_MS`.
    pub timeout: UpstreamTimeout,
}

/// An upstream to send a request to, and the variant that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteTarget<'r> {
    /// The name of the variant, if variants serve the path.
    pub variant: Option<&'r str>,
    /// The address.
    pub upstream: &'r Upstream,
}

/// How the body of a request is sent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyMode {
    /// The request has no body, or an empty one.
    None,
    /// The body is short and is read before the request is sent. So it can be sent again, and
    /// an upload that breaks off is not taken for a failure of the upstream.
    Buffered,
    /// The body is streamed.
    Streamed,
}

/// How a request is sent on.
#[derive(Debug, PartialEq, Eq)]
pub struct RequestPlan<'a> {
    /// The method, as it was sent.
    pub method: &'a str,
    /// The path below the storefront: empty, or starting with `/`.
    pub rest: &'a str,
    /// The query, without `?`.
    pub query: Option<&'a str>,
    /// The address of the visitor, if Cloudflare names it.
    pub client: Option<IpAddr>,
    /// The upstream that the request is for.
    pub target: RouteTarget<'a>,
    /// Upstreams that may serve it if that one fails, best first.
    pub others: Vec<RouteTarget<'a>>,
    /// The edits of the request's header fields.
    pub edits: HeaderEdits<'a>,
    /// The `Set-Cookie` for a new visitor.
    pub set_cookie: Option<String>,
    /// The time until a response must have begun, for a try and the second one together. An
    /// upstream that was passed over, the fallback, and an outlier that is tried at last have this
    /// time again.
    pub timeout: Duration,
    /// How the body is sent.
    pub body: BodyMode,
    /// True if the request may be sent again: its method is idempotent (RFC 9110 §9.2.2), and
    /// its body is not streamed.
    pub may_resend: bool,
}

impl<'a> RequestPlan<'a> {
    /// Plans a request. `random` is called for the id of a new visitor; 48 of its bits at least
    /// must be random.
    ///
    /// # Errors
    /// [`TenantError`] if the request is refused, and so is sent to no upstream.
    ///
    /// # Examples
    ///
    /// ```
    /// use http_semantics::fields::HeaderSection;
    /// use http_semantics::request_target::RequestTarget;
    /// use http_semantics::upstream_timeout::UpstreamTimeout;
    /// use tenant_router::request_plan::{BodyMode, RequestPlan, RoutedRequest, RoutingSettings};
    /// use tenant_router::storefront_address::{HostMatch, StorefrontAddress};
    /// use tenant_router::storefront_record::RoutingEntry;
    /// use tenant_router::visitor::VisitorKey;
    ///
    /// let json = r#"{"variants": [
    ///     {"name": "blue", "origin": "https://blue.example", "weight": 90},
    ///     {"name": "green", "origin": "https://green.example", "weight": 10}
    /// ]}"#;
    /// let entry = RoutingEntry::parse("tea", json, None)?;
    /// let RoutingEntry::Record(record) = entry else { panic!("it is a storefront") };
    /// let target = &RequestTarget::parse("https://edge.example/stores/tea/cart");
    /// let address = StorefrontAddress::of(&HostMatch::Platform, target)?;
    /// let fields = &HeaderSection::from(&[("content-length", "20")]);
    /// let request = RoutedRequest { method: "POST", target, fields, has_body: true };
    /// let (visitor_key, timeout) =
    ///     (Some(&VisitorKey::derive("secret")), UpstreamTimeout::from_milliseconds(10_000));
    /// let settings = RoutingSettings { token: None, visitor_key, timeout };
    /// let plan = RequestPlan::new(&request, &address, &record, &settings, || 7)?;
    ///
    /// // A new visitor gets a variant, and a cookie that will give them the same one again.
    /// assert_eq!((plan.target.variant, plan.others[0].variant), (Some("blue"), Some("green")));
    /// assert!(plan.set_cookie.unwrap().starts_with("kv-edge-visitor=0000000000000007."));
    /// // A `POST` is not idempotent, so no other variant gets it if this one fails.
    /// assert_eq!((plan.body, plan.may_resend), (BodyMode::Buffered, false));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new<F: Fields>(
        request: &RoutedRequest<'a, F>,
        address: &StorefrontAddress<'a>,
        record: &'a StorefrontRecord,
        settings: &RoutingSettings<'_>,
        random: impl FnOnce() -> u64,
    ) -> Result<Self, TenantError> {
        // A TRACE would show the visitor fields that kv-edge added (RFC 9110 §9.3.8).
        if request.method == "TRACE" {
            return Err(TenantError::Trace);
        }
        address.check(request.target)?;
        if !is_admitted(record, request.fields) {
            return Err(TenantError::AccessDenied);
        }
        let body = body(request)?;
        let RouteChoice { target, others, new_visitor } =
            RouteChoice::of(request.fields, address, record, settings, random)?;
        let set_cookie = new_visitor.zip(settings.visitor_key).map(|(visitor, key)| {
            let path = if address.prefix.is_empty() { "/" } else { address.prefix };
            visitor.set_cookie(address.key.as_str(), path, key)
        });
        let client = client_address(request.fields.get("cf-connecting-ip").as_deref());
        Ok(Self {
            method: request.method,
            rest: address.rest,
            query: request.target.query,
            client,
            target,
            others,
            edits: request_edits::edits(
                request.fields,
                request.target,
                address,
                client,
                &record.request_fields,
                request.method == "GET",
            )?,
            set_cookie,
            // A streamed body has more time, because the visitor may send it slowly.
            timeout: record.timeout.unwrap_or(settings.timeout).of_request(body == BodyMode::Streamed),
            body,
            may_resend: body != BodyMode::Streamed && is_idempotent(request.method),
        })
    }
}

impl<'a> RequestPlan<'a> {
    /// Returns the request's own upstream and the others that may serve it, best first. The
    /// record's fallback is not among them.
    ///
    /// [`RequestPlan::new`] has an example: `target`, and then `others`.
    pub fn targets(&self) -> impl Iterator<Item = RouteTarget<'a>> {
        std::iter::once(self.target).chain(self.others.iter().copied())
    }

    /// Returns the key of the request for circuit breakers, if it is sent to this upstream.
    #[must_use]
    pub fn request_key(&self, target: RouteTarget<'_>) -> RequestKey {
        RequestKey::new(self.method, &target.upstream.join(self.rest, self.query), self.client)
    }
}

impl<'r> From<&'r SplitVariant> for RouteTarget<'r> {
    fn from(variant: &'r SplitVariant) -> Self {
        Self { variant: Some(&variant.name), upstream: &variant.upstream }
    }
}

/// Which upstream an admitted request is for.
pub(super) struct RouteChoice<'r> {
    /// The upstream.
    pub(super) target: RouteTarget<'r>,
    /// Upstreams that may serve the request if that one fails, best first.
    others: Vec<RouteTarget<'r>>,
    /// The visitor, if they need a cookie.
    new_visitor: Option<Visitor>,
}

impl<'r> RouteChoice<'r> {
    /// Chooses the upstream. `random` is called for the id of a new visitor.
    ///
    /// # Errors
    /// [`TenantError`] if there is none, the request forces a variant that it may not or that does
    /// not exist, or no key signs the cookie of the visitor.
    pub(super) fn of(
        fields: &impl Fields,
        address: &StorefrontAddress<'_>,
        record: &'r StorefrontRecord,
        settings: &RoutingSettings<'_>,
        random: impl FnOnce() -> u64,
    ) -> Result<Self, TenantError> {
        let only = |target| Ok(Self { target, others: Vec::new(), new_visitor: None });
        let forced = forced(record, fields, settings.token)?;
        match record.serving(address.rest) {
            None => return Err(address.not_found()),
            Some(Serving::One(upstream)) => return only(RouteTarget { variant: None, upstream }),
            Some(Serving::Variants) => {}
        }
        if let Some(variant) = forced.or_else(|| record.active()) {
            return only(variant.into());
        }
        let (choice, is_new) = VariantChoice::of(record, fields, address, settings.visitor_key, random)?;
        let (target, others) = ranked(record, address.key.as_str(), &choice).ok_or_else(|| address.not_found())?;
        let new_visitor = if let VariantChoice::Visitor(visitor) = choice { Some(visitor) } else { None };
        Ok(Self { target, others, new_visitor: new_visitor.filter(|_| is_new) })
    }
}

fn is_admitted(record: &StorefrontRecord, fields: &impl Fields) -> bool {
    record.access.as_ref().is_none_or(|access| {
        let ip = if access.needs_ip() { fields.get("cf-connecting-ip") } else { None };
        let country = if access.needs_country() { fields.get("cf-ipcountry") } else { None };
        access.admits(ip.as_deref(), country.as_deref())
    })
}

/// Returns the variant that the request forces.
fn forced<'r>(
    record: &'r StorefrontRecord,
    fields: &impl Fields,
    token: Option<&str>,
) -> Result<Option<&'r SplitVariant>, TenantError> {
    let Some(name) = fields.get(FORCE) else { return Ok(None) };
    let token = token.ok_or(TenantError::ForceClosed)?;
    if !authorization::is_token(fields.get(FORCE_TOKEN).as_deref(), token) {
        return Err(TenantError::ForceUnauthorized);
    }
    let variant = record.variants().iter().find(|variant| variant.name == name.trim());
    variant.map(Some).ok_or(TenantError::UnknownVariant)
}

/// What decides which variant a request gets.
enum VariantChoice<'r> {
    Named(&'r SplitVariant),
    User(String),
    Visitor(Visitor),
}

impl<'r> VariantChoice<'r> {
    /// Returns what decides; the second part is true for a visitor without a cookie.
    fn of(
        record: &'r StorefrontRecord,
        fields: &impl Fields,
        address: &StorefrontAddress<'_>,
        key: Option<&VisitorKey>,
        random: impl FnOnce() -> u64,
    ) -> Result<(Self, bool), TenantError> {
        let cookies = || fields.get("cookie").unwrap_or_default();
        match &record.split {
            Split::Cookie => {}
            Split::Header(name) => {
                let value = fields.get(name).unwrap_or_default();
                let is_named = |variant: &&SplitVariant| variant.weight > 0 && variant.name == value.trim();
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
fn ranked<'r>(
    record: &'r StorefrontRecord,
    tenant: &str,
    choice: &VariantChoice<'r>,
) -> Option<(RouteTarget<'r>, Vec<RouteTarget<'r>>)> {
    let visitor = match choice {
        VariantChoice::Named(variant) => variant.name.as_str(),
        VariantChoice::User(user) => user,
        VariantChoice::Visitor(visitor) => visitor.id(),
    };
    let variants = record.variants();
    let order = rendezvous_hashing::rank(
        tenant,
        visitor,
        variants.iter().map(|variant| (variant.name.as_str(), variant.weight)),
    );
    let named = if let VariantChoice::Named(named) = choice { Some(*named) } else { None };
    let others = order.iter().filter_map(|index| variants.get(*index));
    let others = others.filter(|variant| named.is_none_or(|named| named.name != variant.name));
    let mut ranked = named.into_iter().chain(others).map(RouteTarget::from);
    Some((ranked.next()?, ranked.collect()))
}

/// Decides how the body is sent.
///
/// # Errors
/// [`TenantError::UnexpectedBody`] if a `GET` or `HEAD` has one, because the runtime cannot
/// send it (Fetch Standard, "Request").
fn body<F: Fields>(request: &RoutedRequest<'_, F>) -> Result<BodyMode, TenantError> {
    let length = request.fields.get("content-length").and_then(|length| length.trim().parse::<u64>().ok());
    let has_body = match request.method {
        "GET" | "HEAD" if length.is_some_and(|length| length > 0) || request.fields.has("transfer-encoding") => {
            return Err(TenantError::UnexpectedBody);
        }
        "GET" | "HEAD" => false,
        _ => request.has_body && length != Some(0),
    };
    Ok(match length {
        _ if !has_body => BodyMode::None,
        Some(length) if length <= BUFFERED_BODY_BYTES_MAX => BodyMode::Buffered,
        _ => BodyMode::Streamed,
    })
}

fn is_idempotent(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE")
}
