//! When a stale response may be served (RFC 9111 §4.2.4, RFC 5861), when a fresh one is
//! refreshed early, and how long KV keeps a response.
//!
//! ```text
//!   received          stale                       + stale-while-revalidate
//!      |---- fresh ---->|---- served, refreshed ---->|     + stale-if-error
//!      |            ^   |---- served if the upstream fails ---->|
//!      |      early refresh
//! ```

use crate::cache_control::CacheControl;
use crate::freshness::LifetimeSource;
use crate::stored_response::StoredResponse;
use crate::validation::has_validator;
use kv_store::limits::EXPIRATION_TTL_MIN_SECONDS;

/// How long KV keeps a response after it can no longer be served, in seconds. It is useless then;
/// this allows for differences between clocks.
const MARGIN_SECONDS: u64 = 60;
/// The same for a response with a validator, which can still be validated.
const VALIDATED_MARGIN_SECONDS: u64 = 60 * 60;

/// The longest time for which KV keeps a response, in seconds.
pub const EXPIRATION_TTL_MAX_SECONDS: u32 = 30 * 24 * 60 * 60;

/// Returns true for a status in whose place a stale response may be served (RFC 5861 §4).
#[must_use]
pub fn is_error(status: u16) -> bool {
    matches!(status, 500 | 502 | 503 | 504)
}

/// Returns true if a stale response may be served while it is refreshed (RFC 5861 §3).
/// `stale_ms` is how long it has been stale, in milliseconds.
#[must_use]
pub fn may_serve_while_revalidating(directives: &CacheControl, stale_ms: u64) -> bool {
    !directives.forbids_stale() && is_within(directives.stale_while_revalidate, stale_ms)
}

/// Returns true if a stale response may be served in place of an error, or if the upstream
/// cannot be reached or does not respond (RFC 5861 §4). `stale_ms` is how long it has been stale,
/// in milliseconds.
///
/// This requires a directive. RFC 9111 §4.2.4 lets a disconnected cache do without one, but a
/// single failed request does not make a cache disconnected. The request may allow it, too, but
/// only for a response that was explicitly fresh.
#[must_use]
pub fn may_serve_on_error(stored: &StoredResponse, request: &CacheControl, stale_ms: u64) -> bool {
    let directives = &stored.directives;
    let is_asked_for = stored.freshness.is_explicit() && is_within(request.stale_if_error, stale_ms);
    !directives.forbids_stale() && (is_asked_for || is_within(directives.stale_if_error, stale_ms))
}

fn is_within(seconds: Option<u64>, stale_ms: u64) -> bool {
    seconds.is_some_and(|seconds| stale_ms <= seconds.saturating_mul(1000))
}

/// If expiry is further away than this many times the cost of a refresh, [`is_early_refresh`]
/// returns false without a random number: the chance would be below e^-30.
const EARLY_FACTOR: u64 = 30;

/// Returns true if a fresh response is to be refreshed now, before it expires. This is the more
/// likely the nearer its expiry and the longer a refresh takes. So mostly one visitor refreshes a
/// popular response, instead of all of them at the moment when it expires (`XFetch`: Vattani,
/// Chierichetti and Lowenstein, "Optimal Probabilistic Cache Stampede Prevention", 2015, with β
/// = 1).
///
/// `cost_ms` is how long the last refresh took, in milliseconds. `random` returns 52 random bits
/// and is only called if they matter.
pub fn is_early_refresh(cost_ms: u64, ttl_ms: u64, random: impl FnOnce() -> u64) -> bool {
    if ttl_ms > cost_ms.saturating_mul(EARLY_FACTOR) {
        return false;
    }
    #[allow(clippy::cast_precision_loss)] // Times of hours and 52 bits fit.
    let (draw, cost, ttl) = (((random() + 1) as f64) / 4_503_599_627_370_496.0, cost_ms as f64, ttl_ms as f64);
    -draw.ln() * cost >= ttl
}

/// Returns the number of seconds for which KV keeps a response, its `expirationTtl`: as long as
/// it is fresh, as long as it may be served stale, and a margin, between KV's minimum (KV
/// documentation, "Write key-value pairs") and 30 days. A response that is fresh only by the
/// default lifetime gets no margin.
///
/// # Examples
///
/// ```
/// use http_cache::stale::expiration_ttl_seconds;
/// use http_cache::stored_response::{StoredMetadata, StoredResponse};
/// use http_semantics::fields::HeaderSection;
///
/// let control = "max-age=600, stale-while-revalidate=30, stale-if-error=3600";
/// let fields = HeaderSection::from(&[("cache-control", control)]);
/// let metadata = StoredMetadata { fields, ..StoredMetadata::unknown(0) };
/// let stored = StoredResponse::new(metadata, None);
/// // Half of its lifetime, the longer time for which it may be stale, and a margin.
/// assert_eq!(expiration_ttl_seconds(&stored, 300_000), 300 + 3600 + 60);
/// ```
#[must_use]
pub fn expiration_ttl_seconds(stored: &StoredResponse, now_ms: u64) -> u32 {
    let directives = &stored.directives;
    let fresh_ms = u64::try_from(stored.freshness.ttl_ms(now_ms)).unwrap_or(0);
    let windows = [directives.stale_while_revalidate, directives.stale_if_error];
    let window_seconds = if directives.forbids_stale() { 0 } else { windows.into_iter().flatten().max().unwrap_or(0) };
    let margin_seconds = if stored.freshness.basis == LifetimeSource::Default {
        0
    } else if has_validator(&stored.metadata.fields) {
        VALIDATED_MARGIN_SECONDS
    } else {
        MARGIN_SECONDS
    };
    let seconds = fresh_ms.div_ceil(1000).saturating_add(window_seconds).saturating_add(margin_seconds);
    u32::try_from(seconds).unwrap_or(u32::MAX).clamp(EXPIRATION_TTL_MIN_SECONDS, EXPIRATION_TTL_MAX_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::CredentialFields;
    use crate::freshness::ExchangeTimes;
    use crate::stored_response::StoredMetadata;
    use http_semantics::fields::HeaderSection;

    #[test]
    fn stale_while_revalidate_lasts_for_its_seconds() {
        let directives = CacheControl::parse("max-age=1, stale-while-revalidate=10");
        assert!(
            may_serve_while_revalidating(&directives, 0)
                && may_serve_while_revalidating(&directives, 10_000)
                && !may_serve_while_revalidating(&directives, 10_001)
        );
        assert!(!may_serve_while_revalidating(&CacheControl::parse("max-age=1"), 0));
    }

    /// A stored response with this `Cache-Control`, and a `Last-Modified` of the day before.
    fn stored(control: &str) -> StoredResponse {
        let fields: HeaderSection =
            [("cache-control", control), ("last-modified", "Thu, 01 Jan 1970 00:00:00 GMT")].into_iter().collect();
        let times = ExchangeTimes { requested_ms: 86_400_000, received_ms: 86_400_000 };
        let metadata = StoredMetadata::of_plain_request(200, &fields, times);
        StoredResponse::new(metadata, None)
    }

    #[test]
    fn stale_if_error_of_response_or_request_lasts_for_its_seconds() {
        let response = stored("max-age=1, stale-if-error=10");
        let request = CacheControl::parse("stale-if-error=20");
        let none = CacheControl::default();
        assert!(may_serve_on_error(&response, &none, 10_000) && !may_serve_on_error(&response, &none, 10_001));
        assert!(may_serve_on_error(&response, &request, 20_000) && !may_serve_on_error(&response, &request, 20_001));
        assert!(!may_serve_on_error(&stored("max-age=1"), &none, 0), "not without a directive");
    }

    #[test]
    fn a_clients_stale_if_error_counts_only_for_an_explicitly_fresh_response() {
        let (request, none) = (CacheControl::parse("stale-if-error=20"), CacheControl::default());
        for control in ["", "max-age=0", "no-cache=\"set-cookie\"", "max-age=x"] {
            assert!(!may_serve_on_error(&stored(control), &request, 0), "{control}");
        }
        assert!(may_serve_on_error(&stored("max-age=1"), &request, 0));
        assert!(
            may_serve_on_error(&stored("max-age=0, stale-if-error=10"), &none, 0),
            "the response's own directive counts"
        );
    }

    #[test]
    fn the_errors_are_those_of_rfc_5861() {
        // §4: "an error is any situation that would result in a 500, 502, 503, or 504 HTTP
        // response status code".
        let errors: Vec<u16> = (100..600).filter(|status| is_error(*status)).collect();
        assert_eq!(errors, [500, 502, 503, 504]);
    }

    #[test]
    fn nothing_is_served_stale_if_a_directive_forbids_it() {
        // RFC 9111 §5.2.2.2: "must-revalidate" … "MUST NOT reuse that response … until it has
        // been successfully validated". §5.2.2.8 proxy-revalidate, §5.2.2.10 s-maxage: the same
        // for a shared cache. §5.2.2.4 no-cache.
        for forbids in ["must-revalidate", "proxy-revalidate", "s-maxage=1", "no-cache"] {
            let directives = CacheControl::parse(&format!("{forbids}, stale-while-revalidate=60, stale-if-error=60"));
            assert!(!may_serve_while_revalidating(&directives, 0), "{forbids}");
            let stored = stored(&format!("{forbids}, max-age=1, stale-while-revalidate=60, stale-if-error=60"));
            assert!(!may_serve_on_error(&stored, &directives, 0), "{forbids}");
        }
        let qualified = CacheControl::parse("no-cache=\"a\", stale-while-revalidate=60");
        assert!(may_serve_while_revalidating(&qualified, 0), "the qualified form speaks of the field only (§5.2.2.4)");
    }

    #[test]
    fn an_early_refresh_is_likelier_near_expiry_and_if_it_takes_long() {
        let most: u64 = (1 << 52) - 1;
        assert!(is_early_refresh(100, 0, || most), "expired");
        assert!(!is_early_refresh(100, 10, || most) && is_early_refresh(100, 10, || 0));
        assert!(!is_early_refresh(0, 1, || 0), "what costs nothing is never early");
        assert!(!is_early_refresh(100, 3001, || panic!("not drawn far from expiry")));
        // P(early) = e^(-ttl/cost).
        let hits = |cost_ms: u64, ttl_ms: u64| {
            (0..1000_u64).filter(|at| is_early_refresh(cost_ms, ttl_ms, || at * (most / 1000))).count()
        };
        for (cost_ms, ttl_ms, expected) in [(100, 100, 355..=380), (100, 50, 595..=617), (200, 100, 595..=617)] {
            let hits = hits(cost_ms, ttl_ms);
            assert!(expected.contains(&hits), "{cost_ms} {ttl_ms}: {hits}");
        }
    }

    #[test]
    fn kv_keeps_a_response_past_its_stale_windows_within_limits() {
        let stored = |control: &str, etag: Option<&str>, default_ms, now_ms| {
            let fields: HeaderSection =
                [("cache-control", control)].into_iter().chain(etag.map(|etag| ("etag", etag))).collect();
            let metadata = StoredMetadata::from_response(
                &HeaderSection::default(),
                &CredentialFields::default(),
                200,
                &fields,
                ExchangeTimes { requested_ms: 0, received_ms: 0 },
                default_ms,
            );
            expiration_ttl_seconds(&StoredResponse::new(metadata, default_ms), now_ms)
        };
        assert_eq!(stored("max-age=10", None, None, 0), 70);
        assert_eq!(stored("max-age=10", Some("\"a\""), None, 0), 3610);
        assert_eq!(stored("max-age=10", Some("\"a\""), None, 4_000), 3606);
        assert_eq!(stored("max-age=10", None, None, 60_000), 60, "stale already");
        assert_eq!(stored("max-age=10, stale-while-revalidate=20, stale-if-error=7200", None, None, 0), 7270);
        assert_eq!(stored("max-age=10, stale-if-error=7200, must-revalidate", None, None, 0), 70);
        assert_eq!(stored("max-age=99999999999", None, None, 0), EXPIRATION_TTL_MAX_SECONDS);
        assert_eq!(stored("", Some("\"a\""), Some(60_000), 0), 60, "a default lifetime has no margin");
    }
}
