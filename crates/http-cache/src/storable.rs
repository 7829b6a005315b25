//! Whether a response may be stored, and which of its fields (RFC 9111 §3).
//!
//! This cache is stricter than the RFC. Above all, if a request carries credentials, its response
//! is stored only if the response says explicitly that it is fresh for shared caches
//! ([`NoCacheReason::Credentials`]).

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::cache_control::{CacheControl, Qualified};
use crate::credentials::CredentialFields;
use crate::freshness::{ExchangeTimes, Freshness, LifetimeSource};
use crate::validation::has_validator;
use crate::vary::Vary;
use http_semantics::fields::{self, Fields, HeaderSection};
use http_semantics::status as status_code;

/// The longest head of a stored response, in bytes of [`HeaderSection`].
pub const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Why a response is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoCacheReason {
    /// Responses to this method are not stored (RFC 9110 §9.2.3, §9.3.3).
    Method,
    /// The status forbids it (RFC 6585), or is not a final one.
    Status,
    /// The request says `no-store`, or the response does, without `must-understand`.
    NoStore,
    /// The response says `private`, or its `private` or `no-cache` names a field that controls
    /// reuse.
    Private,
    /// The request has `Authorization`, and the response does not permit sharing (RFC 9111
    /// §3.5).
    Authorization,
    /// The request has credentials, and the response does not say explicitly that it is fresh
    /// for shared caches. RFC 9111 would permit storing it, and then a heuristic or a client's
    /// `max-stale` could show one visitor what was made for another.
    Credentials,
    /// A field has bytes over 0x7F that are not UTF-8 (obs-text, RFC 9110 §5.5). The runtime
    /// shows them as U+FFFD, so a different field would be stored.
    ObsText,
    /// `Vary` is `*` or malformed (§4.1): no request would match.
    VaryStar,
    /// The response could be neither reused nor validated.
    NoFreshness,
    /// The response is to a range or a condition, not to the request without them (§3.3).
    Partial,
    /// The response says `must-understand`, and its status is unknown (§5.2.2.3).
    NotUnderstood,
    /// The head is longer than [`HEAD_BYTES_MAX`].
    HeadTooLarge,
    /// The request's `Connection` lists a field that `Vary` names, so the upstream did not see
    /// that field.
    Connection,
}

impl NoCacheReason {
    /// Returns the `detail` for `Cache-Status` if the reason is a rule of this cache and not of
    /// RFC 9111.
    #[must_use]
    pub fn detail(self) -> Option<&'static str> {
        match self {
            Self::HeadTooLarge => Some("head-too-large"),
            Self::Credentials => Some("credentials"),
            Self::ObsText => Some("obs-text"),
            _ => None,
        }
    }
}

/// Whether a response is stored, and what that means for the stored one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storable {
    /// Store it.
    Yes,
    /// Pass it on without storing it.
    No(NoCacheReason),
    /// Pass it on, and invalidate the stored response: it is out of date, and its successor may
    /// not be stored for anybody.
    Invalidate(NoCacheReason),
}

/// A request and its response, as far as storing depends on them.
#[derive(Debug)]
pub struct StorageCandidate<'a, Q, R> {
    /// The request's method.
    pub method: &'a str,
    /// The absolute URL of the request.
    pub url: &'a str,
    /// The request's fields.
    pub request: &'a Q,
    /// Which of these fields identify the client.
    pub credentials: &'a CredentialFields,
    /// The status of the response.
    pub status: u16,
    /// The fields of the response.
    pub response: &'a R,
    /// When it was requested and received.
    pub times: ExchangeTimes,
    /// Its lifetime if it states none, in milliseconds.
    pub default_lifetime_ms: Option<u64>,
}

impl<Q: Fields, R: Fields> StorageCandidate<'_, Q, R> {
    /// Decides what to do with a response.
    ///
    /// A stored response is invalidated only if the new one shows that it is out of date. If the
    /// reason not to store lies in the request, such as its credentials, or if the new response
    /// only refuses this client or this moment (4xx other than 404 and 410, 5xx), the stored one
    /// stays.
    ///
    /// # Examples
    ///
    /// ```
    /// use http_cache::credentials::CredentialFields;
    /// use http_cache::freshness::ExchangeTimes;
    /// use http_cache::storable::{NoCacheReason, StorageCandidate, Storable};
    /// use http_semantics::fields::HeaderSection;
    ///
    /// // The client has a session, so the page may be made for them alone.
    /// let request = &HeaderSection::from(&[("cookie", "session=7")]);
    /// let storable = |response: &HeaderSection| {
    ///     let candidate = StorageCandidate {
    ///         method: "GET",
    ///         url: "https://shop.example/",
    ///         request,
    ///         credentials: &CredentialFields::default(),
    ///         status: 200,
    ///         response,
    ///         times: ExchangeTimes { requested_ms: 0, received_ms: 40 },
    ///         default_lifetime_ms: None,
    ///     };
    ///     candidate.storable()
    /// };
    /// let date = ("last-modified", "Wed, 31 Dec 1969 00:00:00 GMT");
    /// let of_one_client = storable(&HeaderSection::from(&[date]));
    /// assert_eq!(of_one_client, Storable::No(NoCacheReason::Credentials));
    /// // The server says how long it is fresh, so it is meant to be stored.
    /// let control = ("cache-control", "max-age=60");
    /// assert_eq!(storable(&HeaderSection::from(&[date, control])), Storable::Yes);
    /// ```
    #[must_use]
    pub fn storable(&self) -> Storable {
        let Err(why) = self.check() else { return Storable::Yes };
        let Self { url, credentials, status, response, times, default_lifetime_ms, .. } = *self;
        let (method, request) = ("GET", &HeaderSection::default());
        let anonymous =
            StorageCandidate { method, url, request, credentials, status, response, times, default_lifetime_ms };
        let is_about_resource = self.method == "GET" && matches!(status, 200..=205 | 300..=303 | 307 | 308 | 404 | 410);
        if is_about_resource && anonymous.check().is_err() { Storable::Invalidate(why) } else { Storable::No(why) }
    }

    /// Decides what to do with a stored response to `GET` whose fields are updated by a 304 or
    /// by a response to HEAD (RFC 9111 §4.3.4, §4.3.5). The candidate has the fields after the
    /// update; `update` are those of the 304 or of the response to HEAD alone.
    ///
    /// The updated fields may take their freshness from the stored response. So if the request
    /// has credentials, `update` itself has to say that it is fresh for shared caches: its
    /// fields may be for this visitor only.
    #[must_use]
    pub fn storable_update(&self, update: &impl Fields) -> Storable {
        let storable = self.storable();
        if storable != Storable::Yes || !self.credentials.are_in(self.request) {
            return storable;
        }
        let (directives, is_targeted) = CacheControl::of_response(update);
        let freshness = Freshness::of(self.status, update, &directives, is_targeted, self.times, None);
        if is_for_everybody(&directives, &freshness) { storable } else { Storable::No(NoCacheReason::Credentials) }
    }

    /// Checks that a response may be stored (RFC 9111 §3) and is worth storing.
    ///
    /// [`storable`](Self::storable) has an example.
    ///
    /// # Errors
    /// The reason not to store it.
    pub fn check(&self) -> Result<(), NoCacheReason> {
        let Self { method, url, request, credentials, status, response, times, default_lifetime_ms } = *self;
        if !matches!(method, "GET" | "POST") {
            return Err(NoCacheReason::Method);
        }
        if !(200..=599).contains(&status) || is_never_stored(status) {
            return Err(NoCacheReason::Status);
        }
        if is_partial(status) {
            return Err(NoCacheReason::Partial);
        }
        let (directives, is_targeted) = CacheControl::of_response(response);
        if directives.must_understand && !status_code::is_understood(status) {
            return Err(NoCacheReason::NotUnderstood);
        }
        // §5.2.2.3: "SHOULD ignore the no-store directive if it understands and implements the
        // status code's caching requirements".
        let is_no_store = directives.no_store && !directives.must_understand;
        if is_no_store || CacheControl::of_request(request).no_store {
            return Err(NoCacheReason::NoStore);
        }
        if directives.private == Qualified::All || hides_needed_field(&directives) {
            return Err(NoCacheReason::Private);
        }
        if request.has("authorization") && !allows_sharing(&directives) {
            return Err(NoCacheReason::Authorization);
        }
        if let Some(vary) = response.get("vary") {
            if Vary::parse(Some(&vary)) == Vary::Star {
                return Err(NoCacheReason::VaryStar);
            }
            let connection = request.get("connection").unwrap_or_default();
            let is_unseen = |name: &str| fields::list(&vary).any(|field| field.eq_ignore_ascii_case(name));
            if fields::list(&connection).any(is_unseen) {
                return Err(NoCacheReason::Connection);
            }
            // Different bytes would look the same and select this response.
            if fields::list(&vary.to_ascii_lowercase())
                .any(|name| request.get(name).is_some_and(|value| is_obs_text(&value)))
            {
                return Err(NoCacheReason::ObsText);
            }
        }
        let freshness = Freshness::of(status, response, &directives, is_targeted, times, default_lifetime_ms);
        if method == "POST" && !is_response_to_get(url, status, response, freshness.basis) {
            return Err(NoCacheReason::Method);
        }
        if !is_useful(status, response, &directives, &freshness) {
            return Err(NoCacheReason::NoFreshness);
        }
        if credentials.are_in(request) && !is_for_everybody(&directives, &freshness) {
            return Err(NoCacheReason::Credentials);
        }
        check_head(response)
    }
}

/// Returns the fields of a response that are stored (RFC 9111 §3.1): all but those of the
/// connection and for a proxy, those that `no-cache` or `private` name, and `Set-Cookie` unless
/// `with_cookies`. Those that control reuse, and `Content-Length`, are stored even if `Connection`
/// lists them.
///
/// # Examples
///
/// ```
/// use http_cache::storable::stored_fields;
/// use http_semantics::fields::HeaderSection;
///
/// let response = HeaderSection::from(&[
///     ("etag", "\"v1\""),
///     ("set-cookie", "session=7"),
///     ("connection", "x-trace"),
///     ("x-trace", "a1"),
/// ]);
/// let stored = stored_fields(&response, false);
/// assert_eq!(stored, HeaderSection::from(&[("etag", "\"v1\"")]));
/// ```
#[must_use]
pub fn stored_fields(response: &HeaderSection, with_cookies: bool) -> HeaderSection {
    let (CacheControl { no_cache, private, .. }, _) = CacheControl::of_response(response);
    let connection = response.get("connection").unwrap_or_default().to_ascii_lowercase();
    let is_stored = |name: &str| {
        let is_of_connection = fields::is_hop_by_hop(name)
            || name == "proxy-authentication-info"
            || (fields::list(&connection).any(|listed| listed == name)
                && !fields::controls_reuse(name)
                && name != "content-length");
        let is_hidden = no_cache.names(name) || private.names(name);
        !is_of_connection && !is_hidden && (with_cookies || name != "set-cookie")
    };
    response.iter().filter(|(name, _)| is_stored(name)).collect()
}

/// Returns true if `Set-Cookie` is stored with the response: it addresses shared caches, with
/// `CDN-Cache-Control`, `s-maxage` or `public`, and is explicitly fresh. `max-age` alone is not
/// enough, because frameworks add a session cookie to any response. RFC 9111 §7.3 leaves it to
/// servers to prevent that, and many do not.
#[must_use]
pub fn stores_cookies(directives: &CacheControl, is_targeted: bool, freshness: &Freshness) -> bool {
    let is_for_shared_caches = is_targeted || directives.s_maxage.is_some() || directives.public;
    is_for_shared_caches && is_for_everybody(directives, freshness)
}

/// Returns true if the response says explicitly that it is fresh, and may be reused without
/// validation.
fn is_for_everybody(directives: &CacheControl, freshness: &Freshness) -> bool {
    freshness.is_explicit() && directives.no_cache != Qualified::All
}

/// Returns true if a value has the character that the runtime shows for bytes over 0x7F that are
/// not UTF-8 (obs-text, RFC 9110 §5.5).
#[must_use]
pub fn is_obs_text(value: &str) -> bool {
    value.contains(char::REPLACEMENT_CHARACTER)
}

/// Returns true for a status that is never stored (RFC 6585 §3 to §6: "Responses with the 428
/// status code MUST NOT be stored by a cache", and likewise 429, 431 and 511).
fn is_never_stored(status: u16) -> bool {
    matches!(status, 428 | 429 | 431 | 511)
}

/// Returns true for a status that answers a range or a condition, and so suits no request without
/// them.
fn is_partial(status: u16) -> bool {
    matches!(status, 206 | 304 | 412 | 416)
}

/// Returns true if a field that controls reuse, or says how to read the body, must not be stored.
/// The response must not be used without it.
fn hides_needed_field(directives: &CacheControl) -> bool {
    let is_needed = |name: &String| fields::controls_reuse(name) || name == "content-encoding";
    let hides = |list: &Qualified| matches!(list, Qualified::Fields(names) if names.iter().any(is_needed));
    hides(&directives.no_cache) || hides(&directives.private)
}

/// Returns true if a directive permits sharing the response to a request with `Authorization`.
/// RFC 9111 §3.5: "In this specification, the following response directives have such an effect:
/// must-revalidate, public, and s-maxage."
fn allows_sharing(directives: &CacheControl) -> bool {
    directives.must_revalidate || directives.public || directives.s_maxage.is_some()
}

/// Returns true if the response to a POST is what a GET would receive. RFC 9110 §9.3.3:
/// "Responses to POST requests are only cacheable when they include explicit freshness
/// information … and a Content-Location header field that has the same value as the POST's
/// target URI". Only a 2xx is.
fn is_response_to_get(url: &str, status: u16, response: &impl Fields, basis: LifetimeSource) -> bool {
    let path = url.split_once("://").and_then(|(_, rest)| rest.get(rest.find('/')?..));
    let is_same = |location: &str| location == url || path == Some(location);
    (200..300).contains(&status)
        && basis == LifetimeSource::Explicit
        && response.get("content-location").is_some_and(|location| is_same(location.trim()))
}

/// Returns true if RFC 9111 §3 permits storing the response ("the response contains at least one
/// of the following …"), and it can be used later: fresh, stale, or validated.
fn is_useful(status: u16, response: &impl Fields, directives: &CacheControl, freshness: &Freshness) -> bool {
    let may_be_stored =
        freshness.basis != LifetimeSource::None || directives.public || status_code::is_heuristically_cacheable(status);
    let may_be_stale = !directives.forbids_stale()
        && [directives.stale_while_revalidate, directives.stale_if_error]
            .into_iter()
            .flatten()
            .any(|seconds| seconds > 0);
    let can_be_used = directives.no_cache != Qualified::All && (freshness.lifetime_ms > 0 || may_be_stale);
    may_be_stored && (can_be_used || has_validator(response))
}

/// Checks that the fields can be stored unchanged, and take no more than [`HEAD_BYTES_MAX`] as
/// [`HeaderSection`].
fn check_head(response: &impl Fields) -> Result<(), NoCacheReason> {
    let names: BTreeSet<&str> = response.names().split(',').collect();
    let mut bytes = 0;
    for name in names {
        let value = response.get(name).unwrap_or_default();
        if is_obs_text(&value) {
            return Err(NoCacheReason::ObsText);
        }
        bytes += name.len() + value.len() + 2;
        if bytes > HEAD_BYTES_MAX {
            return Err(NoCacheReason::HeadTooLarge);
        }
    }
    Ok(())
}
