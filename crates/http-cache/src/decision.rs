//! Whether a stored response may be used for a request, from the directives of both and the time
//! (RFC 9111 §4, §5.2.1; RFC 5861).

use crate::cache_control::{CacheControl, MaxStale, Qualified};
use crate::cache_status::{ForwardReason, IF_ERROR, MAX_STALE, SOFT_PURGE, WHILE_REVALIDATE};
use crate::stale;
use crate::stored_response::StoredResponse;
use crate::upstream_request::NOT_OF_REFRESH;
use crate::validation;
use crate::vary;
use http_semantics::fields::Fields;

/// What a request means for the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheRequest {
    /// True for `GET` and `HEAD`. Requests with any other method never use a stored response.
    pub is_get_or_head: bool,
    /// The directives of `Cache-Control`, or else of `Pragma`.
    pub directives: CacheControl,
    /// True if there is an `If-Match` or `If-Unmodified-Since`, which only the origin
    /// server can evaluate (RFC 9111 §4.3.2).
    pub has_origin_condition: bool,
}

/// Returns true if a `GET` or `HEAD` has a body (RFC 9112 §6.3).
#[must_use]
pub fn has_unexpected_body(method: &str, fields: &impl Fields) -> bool {
    let is_long = || fields.get("content-length").is_some_and(|length| length.trim() != "0");
    matches!(method, "GET" | "HEAD") && (fields.has("transfer-encoding") || is_long())
}

impl CacheRequest {
    /// Reads the fields of a request that matter to the cache.
    ///
    /// # Examples
    ///
    /// ```
    /// use http_cache::decision::CacheRequest;
    /// use http_semantics::fields::HeaderSection;
    ///
    /// let fields = HeaderSection::from(&[("cache-control", "max-age=10")]);
    /// assert_eq!(CacheRequest::of("GET", &fields).directives.max_age, Some(10));
    /// // Only the upstream knows whether the page changed since.
    /// let fields = HeaderSection::from(&[("if-match", "\"v1\"")]);
    /// assert!(!CacheRequest::of("GET", &fields).permits_lookup());
    /// ```
    #[must_use]
    pub fn of(method: &str, fields: &impl Fields) -> Self {
        let has_origin_condition = ["if-match", "if-unmodified-since"].into_iter().any(|name| fields.has(name));
        Self {
            is_get_or_head: matches!(method, "GET" | "HEAD"),
            directives: CacheControl::of_request(fields),
            has_origin_condition,
        }
    }

    /// Returns true if a stored response could be used at all. If not, KV need not be read.
    #[must_use]
    pub fn permits_lookup(&self) -> bool {
        self.is_get_or_head && !self.directives.no_store && !self.has_origin_condition
    }
}

/// The stored response that was selected for a request (RFC 9111 §4.1).
#[derive(Debug, Clone, Copy)]
pub struct SelectedResponse<'a> {
    /// The stored response.
    pub stored: &'a StoredResponse,
    /// True if the last refresh failed and the backoff after it has not ended.
    pub is_backing_off: bool,
    /// True if a soft purge covers it, so that it is stale.
    pub is_soft_purged: bool,
}

/// What to do with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Respond with the stored response (RFC 9111 §4).
    Serve {
        /// Why a stale response may be used, as the `detail` of `Cache-Status`; `None` for a
        /// fresh one.
        stale: Option<&'static str>,
        /// True if it is to be refreshed in the background.
        refresh: bool,
    },
    /// Forward the request to the upstream.
    Forward {
        /// Why.
        fwd: ForwardReason,
        /// The fields that make the request conditional; empty if there is nothing to validate.
        conditions: Vec<(&'static str, String)>,
    },
    /// Respond with 504: a `GET` or `HEAD` says `only-if-cached`, and no stored response may be
    /// used (RFC 9111 §5.2.1.7).
    NotCached,
}

/// Decides what to do with a request. `miss_reason` is the reason to give if `selected` is
/// `None`; `random` returns 52 random bits, for the early refresh ([`stale::is_early_refresh`]).
///
/// # Examples
///
/// ```
/// use http_cache::cache_status::ForwardReason;
/// use http_cache::decision::{CacheRequest, Decision, SelectedResponse, decide};
/// use http_cache::stored_response::{StoredMetadata, StoredResponse};
/// use http_semantics::fields::HeaderSection;
///
/// let control = ("cache-control", "max-age=60, stale-while-revalidate=30");
/// let fields = HeaderSection::from(&[control, ("etag", "\"v1\"")]);
/// let metadata = StoredMetadata { fields, ..StoredMetadata::unknown(0) };
/// let stored = &StoredResponse::new(metadata, None);
/// let decide_after_70_s = |request: &HeaderSection| {
///     let selected = SelectedResponse { stored, is_backing_off: false, is_soft_purged: false };
///     let request = CacheRequest::of("GET", request);
///     decide(&request, Some(selected), ForwardReason::UriMiss, 70_000, || 0)
/// };
///
/// // It has been stale for 10 s: it is served, and refreshed in the background.
/// let stale = Some("stale-while-revalidate");
/// let decision = decide_after_70_s(&HeaderSection::default());
/// assert_eq!(decision, Decision::Serve { stale, refresh: true });
///
/// // This client accepts nothing that is older than a minute.
/// let decision = decide_after_70_s(&HeaderSection::from(&[("cache-control", "max-age=60")]));
/// let conditions = vec![("if-none-match", "\"v1\"".to_owned())];
/// assert_eq!(decision, Decision::Forward { fwd: ForwardReason::Stale, conditions });
/// ```
pub fn decide(
    cache_request: &CacheRequest,
    selected: Option<SelectedResponse<'_>>,
    miss_reason: ForwardReason,
    now_ms: u64,
    random: impl FnOnce() -> u64,
) -> Decision {
    let forward = |fwd, conditions| Decision::Forward { fwd, conditions };
    if !cache_request.is_get_or_head {
        return forward(ForwardReason::Method, Vec::new());
    }
    let Some(selected) = selected.filter(|_| cache_request.permits_lookup()) else {
        let fwd = if cache_request.permits_lookup() { miss_reason } else { ForwardReason::Bypass };
        return if cache_request.directives.only_if_cached { Decision::NotCached } else { forward(fwd, Vec::new()) };
    };
    let stored = selected.stored;
    let ttl_ms = stored.freshness.ttl_ms(now_ms);
    if let Some(decision) = from_store(&cache_request.directives, selected, now_ms, ttl_ms, random) {
        return decision;
    }
    if cache_request.directives.only_if_cached {
        return Decision::NotCached;
    }
    let is_fresh = ttl_ms > 0 && !selected.is_soft_purged && stored.directives.no_cache != Qualified::All;
    forward(
        if is_fresh { ForwardReason::Request } else { ForwardReason::Stale },
        validation::conditions(&stored.metadata.fields),
    )
}

/// Decides whether the stored response may be used without asking the upstream (RFC 9111 §4,
/// §5.2.1). Returns `None` if it may not.
fn from_store(
    request: &CacheControl,
    SelectedResponse { stored, is_backing_off, is_soft_purged }: SelectedResponse<'_>,
    now_ms: u64,
    ttl_ms: i64,
    random: impl FnOnce() -> u64,
) -> Option<Decision> {
    let serve = |stale, refresh| Some(Decision::Serve { stale, refresh });
    // A refresh in the background, which lacks these fields, would replace another response.
    let is_selected_by = |name: &&str| vary::is_selected_by(&stored.metadata.selecting_fields, name);
    let is_refreshable = !NOT_OF_REFRESH.iter().any(is_selected_by);
    // §5.2.1.4, §5.2.2.4: "MUST NOT be used … without successful validation".
    if request.no_cache != Qualified::Absent || stored.directives.no_cache == Qualified::All {
        return None;
    }
    if is_soft_purged && ttl_ms > 0 {
        // A client that limits the age wants what is current.
        let is_limited = request.max_age.is_some() || request.min_fresh.is_some();
        return if is_limited || !is_refreshable { None } else { serve(Some(SOFT_PURGE), !is_backing_off) };
    }
    // §5.2.1.1: "an age … less than or equal to the specified number of seconds".
    if request.max_age.is_some_and(|seconds| stored.freshness.age_ms(now_ms) > seconds.saturating_mul(1000)) {
        return None;
    }
    if let Ok(left_ms) = u64::try_from(ttl_ms)
        && left_ms > 0
    {
        // §5.2.1.3: "no less than its current age plus the specified time".
        if request.min_fresh.is_some_and(|seconds| left_ms < seconds.saturating_mul(1000)) {
            return None;
        }
        let cost_ms = stored.metadata.times.response_delay_ms();
        let is_early = is_refreshable && !is_backing_off && stale::is_early_refresh(cost_ms, left_ms, random);
        return serve(None, is_early);
    }
    let stale_ms = ttl_ms.unsigned_abs();
    let accepts_stale = match request.max_stale {
        None => false,
        Some(MaxStale::Any) => true,
        Some(MaxStale::Seconds(seconds)) => stale_ms <= seconds.saturating_mul(1000),
    };
    // `max-stale` counts only for a response that was explicitly fresh. Any other may have been
    // stored for validation alone.
    if accepts_stale && stored.freshness.is_explicit() && !stored.directives.forbids_stale() {
        return serve(Some(MAX_STALE), false);
    }
    // §5.2.1.1, §5.2.1.3: a client that limits the age accepts no stale response unless it says
    // so; §5.2.1.2: one that limits the staleness accepts none that is staler.
    if request.max_age.is_some() || request.min_fresh.is_some() || request.max_stale.is_some() {
        return None;
    }
    if is_refreshable && stale::may_serve_while_revalidating(&stored.directives, stale_ms) {
        return serve(Some(WHILE_REVALIDATE), !is_backing_off);
    }
    if is_backing_off && stale::may_serve_on_error(stored, request, stale_ms) {
        return serve(Some(IF_ERROR), false);
    }
    None
}

#[cfg(test)]
mod tests;
