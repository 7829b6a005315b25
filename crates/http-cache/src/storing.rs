//! Whether an answer is kept, and which of its fields (RFC 9111 §3).

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::cache_control::{CacheControl, Qualified};
use crate::credentials::CredentialFields;
use crate::freshness::{Basis, Freshness, Times};
use crate::validation::has_validator;
use crate::vary::Vary;
use http_semantics::fields::{self, Fields, Lines};
use http_semantics::status as status_code;

/// An answer with a longer head is not kept, in bytes of [`Lines`].
pub const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Why an answer is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotStored {
    /// Its method is not one whose answers are kept (RFC 9110 §9.2.3, §9.3.3).
    Method,
    /// Its status forbids it (RFC 6585), or is not a final one.
    Status,
    /// `no-store` in the request or the answer.
    NoStore,
    /// `private`.
    Private,
    /// The request has `Authorization`, and the answer does not say that it is for everybody
    /// (RFC 9111 §3.5).
    Authorization,
    /// The request has credentials, and the answer does not say explicitly that it is fresh for
    /// shared caches. RFC 9111 would permit to store it, and a heuristic or a client's `max-stale`
    /// would then show one visitor what was made for another.
    Credentials,
    /// A field has bytes over 0x7F that are no UTF-8 (obs-text, RFC 9110 §5.5). The runtime shows
    /// them as U+FFFD, so the stored field would be another one.
    ObsText,
    /// `Vary: *`, or one that cannot be read (§4.1): it would match no request.
    VaryStar,
    /// It could neither be used nor validated.
    NoFreshness,
    /// It is an answer to a range or a condition, not to the request without them (§3.3).
    Partial,
    /// `must-understand` with a status that is not known (§5.2.2.3).
    NotUnderstood,
    /// Its head is longer than [`HEAD_BYTES_MAX`].
    HeadTooLarge,
    /// The request's `Connection` lists a field that selects the answer: the upstream did not see it.
    Connection,
}

impl NotStored {
    /// Returns what `Cache-Status` says of it, if the reason is a rule of this cache and not one of RFC 9111.
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

/// What an answer means for the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is kept.
    Keep,
    /// It is passed on.
    Pass(NotStored),
    /// It is passed on, and what is kept for the request is out of date: an answer for everybody would not be kept either.
    Forget(NotStored),
}

/// A request and its answer, as far as storing depends on them.
#[derive(Debug)]
pub struct Answered<'a, Q, R> {
    /// The request's method.
    pub method: &'a str,
    /// The absolute URL that was asked for.
    pub url: &'a str,
    /// The request's fields.
    pub request: &'a Q,
    /// Which of these say who asks.
    pub credentials: &'a CredentialFields,
    /// The answer's status.
    pub status: u16,
    /// The answer's fields.
    pub response: &'a R,
    /// When it came.
    pub times: Times,
    /// For how long it is fresh if it says nothing, in milliseconds.
    pub default_lifetime_ms: Option<u64>,
}

impl<Q: Fields, R: Fields> Answered<'_, Q, R> {
    /// Decides what becomes of an answer. One that is not kept for reasons of the request, such as
    /// its credentials, or that refuses this client or this moment (4xx but 404 and 410, 5xx),
    /// says nothing of what is kept for others.
    #[must_use]
    pub fn fate(&self) -> Fate {
        let Err(why) = self.storable() else { return Fate::Keep };
        let Self { url, credentials, status, response, times, default_lifetime_ms, .. } = *self;
        let (method, request) = ("GET", &Lines::default());
        let alone = Answered { method, url, request, credentials, status, response, times, default_lifetime_ms };
        let is_of_the_resource =
            self.method == "GET" && matches!(status, 200..=205 | 300..=303 | 307 | 308 | 404 | 410);
        if is_of_the_resource && alone.storable().is_err() { Fate::Forget(why) } else { Fate::Pass(why) }
    }

    /// Decides what becomes of a stored answer to `GET` whose fields a 304 or a HEAD updates (RFC
    /// 9111 §4.3.4, §4.3.5). The answer's fields are those after the update, `update` those of the
    /// 304 or HEAD alone.
    ///
    /// The freshness of the fields may come from the stored answer. So if the request has
    /// credentials, `update` itself has to say that it is fresh for shared caches: it may have
    /// fields that are for this visitor only.
    #[must_use]
    pub fn fate_of_update(&self, update: &impl Fields) -> Fate {
        let fate = self.fate();
        if fate != Fate::Keep || !self.credentials.are_in(self.request) {
            return fate;
        }
        let (directives, is_targeted) = CacheControl::of_response(update);
        let freshness = Freshness::of(self.status, update, &directives, is_targeted, self.times, None);
        if is_for_everybody(&directives, &freshness) { fate } else { Fate::Pass(NotStored::Credentials) }
    }

    /// Says whether an answer may be kept (RFC 9111 §3) and is worth it.
    ///
    /// # Errors
    /// Says why it is not kept.
    pub fn storable(&self) -> Result<(), NotStored> {
        let Self { method, url, request, credentials, status, response, times, default_lifetime_ms } = *self;
        if !matches!(method, "GET" | "POST") {
            return Err(NotStored::Method);
        }
        if !(200..=599).contains(&status) || is_never_stored(status) {
            return Err(NotStored::Status);
        }
        if is_partial(status) {
            return Err(NotStored::Partial);
        }
        let (directives, is_targeted) = CacheControl::of_response(response);
        if directives.must_understand && !status_code::is_understood(status) {
            return Err(NotStored::NotUnderstood);
        }
        // §5.2.2.3: "SHOULD ignore the no-store directive if it understands and implements the
        // status code's caching requirements".
        let is_no_store = directives.no_store && !directives.must_understand;
        if is_no_store || CacheControl::of_request(request).no_store {
            return Err(NotStored::NoStore);
        }
        if directives.private == Qualified::All || hides_what_steers(&directives) {
            return Err(NotStored::Private);
        }
        if request.has("authorization") && !allows_sharing(&directives) {
            return Err(NotStored::Authorization);
        }
        if let Some(vary) = response.get("vary") {
            if Vary::parse(Some(&vary)) == Vary::Star {
                return Err(NotStored::VaryStar);
            }
            let connection = request.get("connection").unwrap_or_default();
            let is_unseen = |name: &str| fields::list(&vary).any(|field| field.eq_ignore_ascii_case(name));
            if fields::list(&connection).any(is_unseen) {
                return Err(NotStored::Connection);
            }
            // Other bytes would look the same, and select this answer.
            if fields::list(&vary.to_ascii_lowercase())
                .any(|name| request.get(name).is_some_and(|value| is_obs_text(&value)))
            {
                return Err(NotStored::ObsText);
            }
        }
        let freshness = Freshness::of(status, response, &directives, is_targeted, times, default_lifetime_ms);
        if method == "POST" && !answers_get(url, status, response, freshness.basis) {
            return Err(NotStored::Method);
        }
        if !is_useful(status, response, &directives, &freshness) {
            return Err(NotStored::NoFreshness);
        }
        if credentials.are_in(request) && !is_for_everybody(&directives, &freshness) {
            return Err(NotStored::Credentials);
        }
        check_head(response)
    }
}

/// The fields of an answer that are kept (RFC 9111 §3.1): all but those of the connection it came over, those of the proxy,
/// those that `no-cache` and `private` name, and `Set-Cookie` unless `keeps_cookies`.
#[must_use]
pub fn kept_fields(response: &Lines, keeps_cookies: bool) -> Lines {
    let (CacheControl { no_cache, private, .. }, _) = CacheControl::of_response(response);
    let connection = response.get("connection").unwrap_or_default().to_ascii_lowercase();
    let is_kept = |name: &str| {
        let is_of_connection = fields::is_hop_by_hop(name)
            || name == "proxy-authentication-info"
            || (fields::list(&connection).any(|listed| listed == name) && !steers(name) && name != "content-length");
        let is_hidden = no_cache.names(name) || private.names(name);
        !is_of_connection && !is_hidden && (keeps_cookies || name != "set-cookie")
    };
    response.iter().filter(|(name, _)| is_kept(name)).collect()
}

/// Returns true if `Set-Cookie` is stored with the answer: the answer speaks to shared caches, with
/// `CDN-Cache-Control`, `s-maxage` or `public`, and says explicitly that it is fresh. `max-age` alone
/// does not do: frameworks add a session cookie to any answer. RFC 9111 §7.3 leaves it to the server
/// to say so, and many do not know.
#[must_use]
pub fn shares_cookies(directives: &CacheControl, is_targeted: bool, freshness: &Freshness) -> bool {
    let is_for_shared_caches = is_targeted || directives.s_maxage.is_some() || directives.public;
    is_for_shared_caches && is_for_everybody(directives, freshness)
}

/// Returns true if the answer says explicitly that shared caches may use it without asking again.
fn is_for_everybody(directives: &CacheControl, freshness: &Freshness) -> bool {
    freshness.is_explicit() && directives.no_cache != Qualified::All
}

/// Returns true if a value has what the runtime shows for bytes over 0x7F that are no UTF-8
/// (obs-text, RFC 9110 §5.5).
#[must_use]
pub fn is_obs_text(value: &str) -> bool {
    value.contains(char::REPLACEMENT_CHARACTER)
}

/// RFC 6585 §3 to §6: "Responses with the 428 status code MUST NOT be stored by a cache", and so 429, 431 and 511.
fn is_never_stored(status: u16) -> bool {
    matches!(status, 428 | 429 | 431 | 511)
}

/// Answers to `Range` and to the client's conditions: no other request has them.
fn is_partial(status: u16) -> bool {
    matches!(status, 206 | 304 | 412 | 416)
}

/// Fields that say how an answer may be used. RFC 9110 §7.6.1: "Cache-Control is never appropriate as a connection option".
fn steers(name: &str) -> bool {
    matches!(name, "age" | "cache-control" | "cdn-cache-control" | "date" | "expires" | "vary")
}

/// True where such a field must not be kept: the rest must not be used without it.
fn hides_what_steers(directives: &CacheControl) -> bool {
    let hides = |list: &Qualified| matches!(list, Qualified::Fields(names) if names.iter().any(|name| steers(name)));
    hides(&directives.no_cache) || hides(&directives.private)
}

/// RFC 9111 §3.5: "In this specification, the following response directives have such an effect: must-revalidate, public,
/// and s-maxage."
fn allows_sharing(directives: &CacheControl) -> bool {
    directives.must_revalidate || directives.public || directives.s_maxage.is_some()
}

/// RFC 9110 §9.3.3: "Responses to POST requests are only cacheable when they include explicit freshness information … and a
/// Content-Location header field that has the same value as the POST's target URI". Only a success is what a GET would get.
fn answers_get(url: &str, status: u16, response: &impl Fields, basis: Basis) -> bool {
    let path = url.split_once("://").and_then(|(_, rest)| rest.get(rest.find('/')?..));
    let is_same = |location: &str| location == url || path == Some(location);
    (200..300).contains(&status)
        && basis == Basis::Explicit
        && response.get("content-location").is_some_and(|location| is_same(location.trim()))
}

/// True where RFC 9111 §3 lets the answer be kept ("the response contains at least one of the following …"), and it can be
/// used later: fresh, stale, or validated.
fn is_useful(status: u16, response: &impl Fields, directives: &CacheControl, freshness: &Freshness) -> bool {
    let may_be_kept =
        freshness.basis != Basis::None || directives.public || status_code::is_heuristically_cacheable(status);
    let may_be_stale = !directives.forbids_stale()
        && [directives.stale_while_revalidate, directives.stale_if_error]
            .into_iter()
            .flatten()
            .any(|seconds| seconds > 0);
    let can_be_used = directives.no_cache != Qualified::All && (freshness.lifetime_ms > 0 || may_be_stale);
    may_be_kept && (can_be_used || has_validator(response))
}

/// Checks that the fields, as [`Lines`], can be stored as they are and are no longer than
/// [`HEAD_BYTES_MAX`].
fn check_head(response: &impl Fields) -> Result<(), NotStored> {
    let names: BTreeSet<&str> = response.names().split(',').collect();
    let mut bytes = 0;
    for name in names {
        let value = response.get(name).unwrap_or_default();
        if is_obs_text(&value) {
            return Err(NotStored::ObsText);
        }
        bytes += name.len() + value.len() + 2;
        if bytes > HEAD_BYTES_MAX {
            return Err(NotStored::HeadTooLarge);
        }
    }
    Ok(())
}
