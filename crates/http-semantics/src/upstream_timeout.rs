//! How long another server may take to begin its response.

use std::time::Duration;

/// The longest timeout, in milliseconds.
const MILLISECONDS_MAX: u64 = 60_000;

/// The factor by which the timeout of a request with a body is longer, because it includes the
/// time that the visitor takes to send the body.
const UPLOAD_FACTOR: u32 = 10;

/// How long an upstream may take to begin its response: 1 to 60,000 milliseconds, and ten times as
/// long if the request has a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamTimeout(Duration);

impl UpstreamTimeout {
    /// Returns a timeout of this many milliseconds, clamped to 1 and 60,000.
    #[must_use]
    pub fn from_milliseconds(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds.clamp(1, MILLISECONDS_MAX)))
    }

    /// Parses the var `UPSTREAM_TIMEOUT_MS`, in milliseconds. `default_ms` replaces what is not a
    /// number.
    #[must_use]
    pub fn parse(var: &str, default_ms: u64) -> Self {
        Self::from_milliseconds(var.trim().parse().unwrap_or(default_ms))
    }

    /// Returns the timeout of one request: ten times as long if it has a body.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use http_semantics::upstream_timeout::UpstreamTimeout;
    ///
    /// let timeout = UpstreamTimeout::parse("2500", 10_000);
    /// assert_eq!(timeout.of_request(false), Duration::from_millis(2500));
    /// // The visitor has to send the body, too.
    /// assert_eq!(timeout.of_request(true), Duration::from_secs(25));
    /// ```
    #[must_use]
    pub fn of_request(self, has_body: bool) -> Duration {
        if has_body { self.0 * UPLOAD_FACTOR } else { self.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_1_to_60000_milliseconds_and_ten_times_as_long_with_a_body() {
        for (given, milliseconds) in [(500, 500), (0, 1), (60_001, 60_000), (u64::MAX, 60_000)] {
            let timeout = UpstreamTimeout::from_milliseconds(given);
            assert_eq!(timeout.of_request(false), Duration::from_millis(milliseconds), "{given}");
            assert_eq!(timeout.of_request(true), Duration::from_millis(milliseconds * 10), "{given}");
        }
    }

    #[test]
    fn an_invalid_var_is_the_default() {
        for (var, milliseconds) in [("500", 500), (" 500 ", 500), ("0", 1), ("", 10_000), ("-1", 10_000)] {
            let timeout = UpstreamTimeout::parse(var, 10_000).of_request(false);
            assert_eq!(timeout, Duration::from_millis(milliseconds), "{var}");
        }
    }
}
