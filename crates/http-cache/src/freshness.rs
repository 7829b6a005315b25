//! How old a response is, and how long it is fresh (RFC 9111 §4.2).
//!
//! ```text
//!     freshness lifetime   s-maxage, max-age, Expires - Date, a default, or a heuristic
//!   - current age          how old it was when it was received + the time since then
//!   = ttl                  fresh while it is above 0
//! ```
//!
//! ```
//! use http_cache::cache_control::CacheControl;
//! use http_cache::freshness::{Freshness, ExchangeTimes};
//! use http_semantics::fields::HeaderSection;
//!
//! let fields = HeaderSection::from(&[("cache-control", "max-age=60"), ("age", "10")]);
//! let (directives, is_targeted) = CacheControl::of_response(&fields);
//! let times = ExchangeTimes { requested_ms: 1_000, received_ms: 1_200 };
//! let freshness = Freshness::of(200, &fields, &directives, is_targeted, times, None);
//! assert_eq!(freshness.age_ms(1_200), 10_200, "10 s in other caches, 200 ms on the way here");
//! assert_eq!(freshness.ttl_ms(1_200), 49_800);
//! ```

#[cfg(test)]
mod tests;

use crate::cache_control::{CacheControl, delta_seconds};
use http_semantics::fields::{self, Fields};
use http_semantics::http_date;
use http_semantics::status as status_code;

/// The longest heuristic lifetime. RFC 9111 §4.2.2 sets none; a day limits the harm of a wrong
/// guess.
const HEURISTIC_MAX_MS: u64 = 24 * 60 * 60 * 1000;
/// §4.2.2: "A typical setting of this fraction might be 10%."
const HEURISTIC_DIVISOR: u64 = 10;

/// When a request was sent to the upstream and when its response arrived, in milliseconds since
/// the Unix epoch (RFC 9111 §4.2.3, `request_time` and `response_time`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExchangeTimes {
    /// When the request was sent.
    pub requested_ms: u64,
    /// When the head of the response arrived.
    pub received_ms: u64,
}

impl ExchangeTimes {
    /// Returns `response_delay` (RFC 9111 §4.2.3): how long the response took, in milliseconds;
    /// 0 if the clock was set back in the meantime.
    #[must_use]
    pub fn response_delay_ms(self) -> u64 {
        self.received_ms.saturating_sub(self.requested_ms)
    }
}

/// Where a freshness lifetime comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LifetimeSource {
    /// The response states it (RFC 9111 §4.2.1).
    Explicit,
    /// A tenth of the time since the last modification, at most a day (§4.2.2).
    Heuristic,
    /// A default of the caller, which is a heuristic too (§4.2.2).
    Default,
    /// There is none: the lifetime is 0.
    None,
}

/// The lifetime and age of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freshness {
    /// `freshness_lifetime` (RFC 9111 §4.2.1), in milliseconds.
    pub lifetime_ms: u64,
    /// Where the lifetime comes from.
    pub basis: LifetimeSource,
    /// `corrected_initial_age` (§4.2.3), in milliseconds: the age at the time it was received.
    pub initial_age_ms: u64,
    /// When it was received, in milliseconds since the Unix epoch.
    pub received_ms: u64,
}

impl Freshness {
    /// Reads a response. `directives` and `is_targeted` are those of
    /// [`CacheControl::of_response`]. The default lifetime takes the place of the heuristic, for
    /// any status: the caller knows which ones it is meant for.
    ///
    /// [The module](self) has an example.
    #[must_use]
    pub fn of(
        status: u16,
        fields: &impl Fields,
        directives: &CacheControl,
        is_targeted: bool,
        times: ExchangeTimes,
        default_lifetime_ms: Option<u64>,
    ) -> Self {
        let received_ms = times.received_ms;
        // RFC 9110 §6.6.1: a response without a date counts as dated when it was received.
        let date_ms = fields.get("date").and_then(|date| date_of_lines(&date)).unwrap_or(received_ms);
        let (lifetime_ms, basis) = if let Some(seconds) = directives.s_maxage.or(directives.max_age) {
            (seconds.saturating_mul(1000), LifetimeSource::Explicit)
        } else if let Some(expires) = if is_targeted { None } else { fields.get("expires") } {
            // RFC 9111 §5.3: "MUST interpret invalid date formats, especially the value "0", as
            // … already expired".
            (date_of_lines(&expires).unwrap_or(0).saturating_sub(date_ms), LifetimeSource::Explicit)
        } else if let Some(lifetime_ms) = default_lifetime_ms {
            (lifetime_ms, LifetimeSource::Default)
        } else if !directives.public && !status_code::is_heuristically_cacheable(status) {
            (0, LifetimeSource::None)
        } else if let Some(modified_ms) = fields.get("last-modified").and_then(|date| date_of_lines(&date)) {
            let part_ms = date_ms.saturating_sub(modified_ms) / HEURISTIC_DIVISOR;
            (part_ms.min(HEURISTIC_MAX_MS), LifetimeSource::Heuristic)
        } else {
            (0, LifetimeSource::None)
        };
        // A date has whole seconds, so it is compared with whole seconds: a response of this
        // very second is 0 s old.
        let received_second_ms = received_ms / 1000 * 1000;
        let apparent_age_ms = received_second_ms.saturating_sub(date_ms);
        let age_ms = fields.get("age").map_or(0, |age| age_of_lines(&age)).saturating_mul(1000);
        let initial_age_ms = apparent_age_ms.max(age_ms.saturating_add(times.response_delay_ms()));
        Self { lifetime_ms, basis, initial_age_ms, received_ms }
    }

    /// Returns `current_age` (RFC 9111 §4.2.3), in milliseconds. It never falls below the
    /// initial age, even if the clock was set back.
    #[must_use]
    pub fn age_ms(&self, now_ms: u64) -> u64 {
        self.initial_age_ms.saturating_add(now_ms.saturating_sub(self.received_ms))
    }

    /// Returns true if the response states a lifetime of its own and was fresh when it was
    /// received (RFC 9111 §4.2.1). A heuristic or a default does not show that the response is
    /// meant for other clients.
    #[must_use]
    pub fn is_explicit(&self) -> bool {
        self.basis == LifetimeSource::Explicit && self.lifetime_ms > self.initial_age_ms
    }

    /// Returns how long the response stays fresh, in milliseconds. A negative number says how
    /// long it has been stale.
    #[must_use]
    pub fn ttl_ms(&self, now_ms: u64) -> i64 {
        let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        signed(self.lifetime_ms).saturating_sub(signed(self.age_ms(now_ms)))
    }

    /// Returns true if the response is fresh: `freshness_lifetime > current_age` (RFC 9111
    /// §4.2).
    #[must_use]
    pub fn is_fresh(&self, now_ms: u64) -> bool {
        self.lifetime_ms > self.age_ms(now_ms)
    }
}

/// Returns the seconds of an `Age` field, 0 if it is invalid: "SHOULD use the first member of
/// the field value … If the field value … is invalid … a cache SHOULD ignore the field" (RFC
/// 9111 §5.1).
fn age_of_lines(lines: &str) -> u64 {
    fields::list(lines).next().and_then(delta_seconds).unwrap_or(0)
}

/// Returns the date of a field in milliseconds since the Unix epoch. Two lines count if they are
/// the same. Otherwise the field is invalid, which is the safer of the two ways that RFC 9111
/// §4.2.1 permits for "more than one value".
fn date_of_lines(lines: &str) -> Option<u64> {
    http_date::parse_ms(lines).or_else(|| {
        let length = lines.len().checked_sub(2)? / 2;
        let (first, second) = (lines.get(..length)?, lines.get(length..)?.strip_prefix(", ")?);
        if first == second { http_date::parse_ms(first) } else { None }
    })
}
