//! The rate limit that the API announces, so that calls wait before it refuses them.
//!
//! Cloudflare sends `Ratelimit: "default";r=50;t=30` with each response: 50 calls are left for the
//! next 30 seconds ("Rate limits" in the Cloudflare API documentation;
//! draft-ietf-httpapi-ratelimit-headers). An account that goes on at 0 is refused for five
//! minutes.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The longest wait, in milliseconds. Cloudflare counts calls in windows of five minutes.
const WAIT_MAX_MS: u64 = 300_000;

/// What is known of the rate limit. Several threads make calls.
#[derive(Debug, Default)]
pub(super) struct RateLimit(Mutex<RateLimitState>);

#[derive(Debug, Default)]
struct RateLimitState {
    /// `None` until the API announces a limit.
    window: Option<RateLimitWindow>,
    /// Calls without a response yet. The API may not have counted them when it sent a response to
    /// another call.
    calls_in_flight: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RateLimitWindow {
    calls_left: u64,
    /// In milliseconds since the Unix epoch.
    ends_ms: u64,
}

impl RateLimit {
    fn state(&self) -> MutexGuard<'_, RateLimitState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a call. Returns 0, or how long to wait before asking again, in milliseconds: then
    /// the call has not begun.
    pub(super) fn begin_call(&self, now_ms: u64) -> u64 {
        let mut state = self.state();
        match &mut state.window {
            Some(window) if window.ends_ms <= now_ms => state.window = None,
            Some(window) if window.calls_left == 0 => return window.ends_ms - now_ms,
            Some(window) => window.calls_left -= 1,
            None => {}
        }
        state.calls_in_flight += 1;
        0
    }

    /// Begins a call whatever the limit says.
    pub(super) fn begin_call_anyway(&self) {
        self.state().calls_in_flight += 1;
    }

    /// Ends a call. `field` is the `Ratelimit` field of its response.
    pub(super) fn end_call(&self, field: Option<&str>, now_ms: u64) {
        let mut state = self.state();
        state.calls_in_flight -= 1;
        if let Some((calls_left, seconds)) = field.and_then(parse) {
            let calls_left = calls_left.saturating_sub(state.calls_in_flight);
            let ends_ms = now_ms + seconds.saturating_mul(1000).min(WAIT_MAX_MS);
            state.window = Some(RateLimitWindow { calls_left, ends_ms });
        }
    }
}

/// Returns the calls that are left and the seconds until the window ends, of the limit that is
/// nearest. `None` if the field has no limit with both.
fn parse(field: &str) -> Option<(u64, u64)> {
    let parameter = |item: &str, name: char| {
        let mut parameters = item.split(';').skip(1).map(str::trim);
        parameters.find_map(|text| text.strip_prefix(name)?.strip_prefix('=')?.parse::<u64>().ok())
    };
    let limits = field.split(',').filter_map(|item| Some((parameter(item, 'r')?, parameter(item, 't')?)));
    limits.min_by_key(|&(calls_left, seconds)| (calls_left, std::cmp::Reverse(seconds)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_nearest_limit_counts() {
        for (field, expected) in [
            (r#""default";r=50;t=30"#, Some((50, 30))),
            (r#""default"; t=30; r=50"#, Some((50, 30))),
            (r#""burst";r=5;t=1, "daily";r=2;t=3600"#, Some((2, 3600))),
            (r#""burst";r=0;t=1, "daily";r=0;t=3600"#, Some((0, 3600))),
            (r#""default";r=50"#, None),
            (r#""default";r=-1;t=3"#, None),
            ("", None),
        ] {
            assert_eq!(parse(field), expected, "{field}");
        }
    }

    #[test]
    fn calls_wait_until_the_window_ends() {
        let limit = RateLimit::default();
        assert_eq!(limit.begin_call(1000), 0);
        limit.end_call(Some(r#""default";r=1;t=30"#), 1000);
        assert_eq!((limit.begin_call(2000), limit.begin_call(2000)), (0, 29_000));
        assert_eq!(limit.begin_call(31_000), 0);
    }

    proptest! {
        #[test]
        fn no_more_calls_begin_than_are_left(left in 0_u64..20, in_flight in 0_u64..8) {
            let limit = RateLimit::default();
            for _ in 0..=in_flight {
                prop_assert_eq!(limit.begin_call(0), 0);
            }
            limit.end_call(Some(&format!(r#""default";r={left};t=60"#)), 0);
            let begun = (0..30).filter(|_| limit.begin_call(1) == 0).count() as u64;
            prop_assert_eq!(begun, left.saturating_sub(in_flight));
        }
    }
}
