//! When a value expires ("Expiring keys").

use kv_store::limits::EXPIRATION_TTL_MIN_SECONDS;

use crate::error::{KvApiError, Operation};

/// The latest time and the longest lifetime that the binding takes, in seconds: the runtime reads
/// both as 32 bits.
const SECONDS_MAX: u64 = i32::MAX as u64;

/// When a value expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiration {
    /// At this time, in seconds since the Unix epoch.
    At(u64),
    /// After this many seconds, at least 60.
    AfterSeconds(u64),
}

impl Expiration {
    /// Reads `expiration` and `expiration_ttl`. If both are given, the first one is ignored,
    /// valid or not ("Write key-value pairs"). `now` is in seconds since the Unix epoch.
    ///
    /// # Errors
    /// [`KvApiError`] if the time is not a whole number of seconds, less than 60 seconds ahead, or
    /// beyond 2147483647.
    ///
    /// # Examples
    ///
    /// ```
    /// use kv_api::error::Operation;
    /// use kv_api::expiration::Expiration;
    ///
    /// let now = 1_764_424_800;
    /// let parse = |expiration, ttl| Expiration::parse(expiration, ttl, now, Operation::Put);
    /// let at = Some("1764428400");
    /// assert_eq!(parse(at, None), Ok(Some(Expiration::At(1_764_428_400))));
    /// assert_eq!(parse(at, Some("300")), Ok(Some(Expiration::AfterSeconds(300))));
    /// assert!(parse(None, Some("59")).is_err(), "KV keeps a value for a minute at least");
    /// ```
    pub fn parse(
        expiration: Option<&str>,
        ttl: Option<&str>,
        now: u64,
        operation: Operation,
    ) -> Result<Option<Self>, KvApiError> {
        let least = u64::from(EXPIRATION_TTL_MIN_SECONDS);
        if let Some(ttl) = ttl.filter(|ttl| !ttl.is_empty()) {
            let seconds = ttl.parse::<u64>().ok();
            let bound = match seconds {
                Some(seconds) if seconds > SECONDS_MAX => format!("at most {SECONDS_MAX}"),
                _ => format!("at least {least}"),
            };
            let seconds = seconds.filter(|seconds| (least..=SECONDS_MAX).contains(seconds));
            let why = || format!("Invalid expiration_ttl of {ttl}. Expiration TTL must be {bound}.");
            return seconds
                .map(|seconds| Some(Self::AfterSeconds(seconds)))
                .ok_or_else(|| KvApiError::InvalidExpirationTtl(operation, why()));
        }
        let Some(expiration) = expiration.filter(|expiration| !expiration.is_empty()) else { return Ok(None) };
        let why = match expiration.parse::<u64>() {
            Ok(at) if at > SECONDS_MAX => "Expiration times after 2147483647 are not supported.",
            // KV checks the time again a moment later, but not a lifetime.
            Ok(at) if (now + least..now + 2 * least).contains(&at) => return Ok(Some(Self::AfterSeconds(at - now))),
            Ok(at) if at >= now + least => return Ok(Some(Self::At(at))),
            Ok(at) if at > now => "Expiration times must be at least 60 seconds in the future.",
            _ => "Please specify integer greater than the current number of seconds since the UNIX epoch.",
        };
        Err(KvApiError::InvalidExpiration(operation, format!("Invalid expiration of {expiration}. {why}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lifetime_wins_over_the_time() {
        let parse = |expiration, ttl| Expiration::parse(expiration, ttl, 1000, Operation::Put);
        for (expiration, ttl, expires) in [
            (None, None, None),
            (Some(""), Some(""), None),
            (Some("1060"), None, Some(Expiration::AfterSeconds(60))),
            (Some("1119"), None, Some(Expiration::AfterSeconds(119))),
            (Some("1120"), Some(""), Some(Expiration::At(1120))),
            (None, Some("60"), Some(Expiration::AfterSeconds(60))),
            (Some("1"), Some("60"), Some(Expiration::AfterSeconds(60))),
            (Some("None"), Some("600"), Some(Expiration::AfterSeconds(600))),
        ] {
            assert_eq!(parse(expiration, ttl), Ok(expires), "{expiration:?} {ttl:?}");
        }
        for (expiration, ttl) in
            [(Some("1060"), Some("59")), (None, Some("-1")), (None, Some("60s")), (None, Some("2147483648"))]
        {
            assert!(matches!(parse(expiration, ttl), Err(KvApiError::InvalidExpirationTtl(..))), "{ttl:?}");
        }
        for expiration in ["1", "1000", "1059", "soon", "1060.5", "-5", "2147483648"] {
            assert!(matches!(parse(Some(expiration), None), Err(KvApiError::InvalidExpiration(..))), "{expiration}");
        }
    }
}
