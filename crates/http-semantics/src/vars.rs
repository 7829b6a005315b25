//! What the vars of `wrangler.toml` mean.

use std::time::Duration;

/// The deadline where `UPSTREAM_TIMEOUT_MS` says nothing usable, in milliseconds.
const UPSTREAM_TIMEOUT_MS_DEFAULT: u64 = 10_000;

/// No deadline is longer, in milliseconds.
const UPSTREAM_TIMEOUT_MS_MAX: u64 = 60_000;

/// A request with a body may take so many times the deadline: the time to send the body is the visitor's, not the origin's.
const UPLOAD_FACTOR: u32 = 10;

/// `UPSTREAM_TIMEOUT_MS`: how long an upstream or an origin may take to begin its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamTimeout(Duration);

impl UpstreamTimeout {
    /// Reads the var: whole milliseconds, 1 to 60000. What is no number gives the default, what is out of range its end.
    #[must_use]
    pub fn parse(var: &str) -> Self {
        let milliseconds = var.trim().parse().unwrap_or(UPSTREAM_TIMEOUT_MS_DEFAULT);
        Self(Duration::from_millis(milliseconds.clamp(1, UPSTREAM_TIMEOUT_MS_MAX)))
    }

    /// A deadline out of a record, 1 to 60000 milliseconds.
    #[must_use]
    pub fn from_milliseconds(milliseconds: u32) -> Self {
        Self(Duration::from_millis(u64::from(milliseconds).clamp(1, UPSTREAM_TIMEOUT_MS_MAX)))
    }

    /// The deadline of a request; ten times as long where it carries a body.
    #[must_use]
    pub fn of_request(self, has_body: bool) -> Duration {
        if has_body { self.0.saturating_mul(UPLOAD_FACTOR) } else { self.0 }
    }
}

/// `ROUTING_REFRESH` and `CACHE_REFRESH` where they say nothing usable, in seconds.
pub const REFRESH_SECONDS: u64 = 10;

/// `ASSETS_REFRESH` where it says nothing usable, in seconds.
pub const ASSETS_REFRESH_SECONDS: u64 = 30;

/// `CONFIG_REFRESH` where it says nothing usable, in seconds.
pub const CONFIG_REFRESH_SECONDS: u64 = 30;

/// Nothing is taken for fresh longer, in seconds.
const REFRESH_SECONDS_MAX: u64 = 3600;

/// Reads `ROUTING_REFRESH` and its like: for how long something is taken out of memory before KV is asked again,
/// whole seconds from 0 to 3600. What is no number gives the default, in seconds, what is more the most. In milliseconds.
#[must_use]
pub fn refresh_ms(var: &str, default_seconds: u64) -> u64 {
    let seconds: u64 = var.trim().parse().unwrap_or(default_seconds);
    seconds.min(REFRESH_SECONDS_MAX).saturating_mul(1000)
}

/// True for a var that switches something on: `true`.
#[must_use]
pub fn is_true(var: &str) -> bool {
    var.trim().eq_ignore_ascii_case("true")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstream_timeout_is_1_to_60000_milliseconds_and_ten_seconds_by_default() {
        for (var, milliseconds) in
            [("500", 500), (" 500 ", 500), ("0", 1), ("60001", 60_000), ("", 10_000), ("soon", 10_000), ("-1", 10_000)]
        {
            let timeout = UpstreamTimeout::parse(var);
            assert_eq!(timeout.of_request(false), Duration::from_millis(milliseconds), "{var}");
            assert_eq!(timeout.of_request(true), Duration::from_millis(milliseconds * 10), "{var}");
        }
    }

    #[test]
    fn a_refresh_time_is_up_to_an_hour_and_ten_seconds_by_default() {
        for (var, milliseconds) in
            [("5", 5000), (" 0 ", 0), ("3601", 3_600_000), ("", 10_000), ("soon", 10_000), ("-1", 10_000)]
        {
            assert_eq!(refresh_ms(var, REFRESH_SECONDS), milliseconds, "{var}");
        }
    }

    #[test]
    fn only_true_switches_on() {
        assert!(is_true("true") && is_true("True"));
        assert!(!is_true("") && !is_true("false") && !is_true("1") && !is_true("yes"));
    }
}
