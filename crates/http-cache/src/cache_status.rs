//! The fields that say how the cache handled a request: `Cache-Status` (RFC 9211) and
//! `Server-Timing`.

use std::fmt;

use crate::stored_response::StoredResponse;

/// The largest integer of a structured field (RFC 8941 §3.3.1).
const INTEGER_MAX: i64 = 999_999_999_999_999;

/// `detail` of a response that is served stale while it is refreshed (RFC 5861 §3).
pub const WHILE_REVALIDATE: &str = "stale-while-revalidate";
/// `detail` of a response that is served stale in place of an error (RFC 5861 §4).
pub const IF_ERROR: &str = "stale-if-error";
/// `detail` of a response that is served after a soft purge, while it is refreshed.
pub const SOFT_PURGE: &str = "soft-purge";
/// `detail` of a response that is served stale because the client accepts that (RFC 9111
/// §5.2.1.2).
pub const MAX_STALE: &str = "max-stale";

/// Why a request was forwarded to the upstream (RFC 9211 §2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardReason {
    /// Nothing is stored for the URL.
    UriMiss,
    /// Responses are stored for the URL, but none matches the request's fields.
    VaryMiss,
    /// No usable response is stored, and the cache cannot tell which of the two reasons above
    /// applies.
    Miss,
    /// The stored response is stale, or must be validated.
    Stale,
    /// The stored response is fresh, but the request does not accept it.
    Request,
    /// The method always goes to the upstream.
    Method,
    /// The cache does not take part in this request.
    Bypass,
}

impl fmt::Display for ForwardReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Miss => "miss",
            Self::Stale => "stale",
            Self::Request => "request",
            Self::Method => "method",
            Self::Bypass => "bypass",
        })
    }
}

/// The member that kv-edge adds to `Cache-Status`; `Display` writes it. A `detail` is a token
/// (RFC 8941 §3.3.4). A `ttl` is in seconds and negative if the response is stale (RFC 9211
/// §2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheStatus {
    /// A stored response is served (RFC 9211 §2.1): without asking the upstream, or in place of
    /// its error.
    Hit {
        /// Seconds until the response becomes stale.
        ttl: i64,
        /// Why a stale response was used; `None` for a fresh one.
        detail: Option<&'static str>,
    },
    /// The request went to the upstream.
    Forwarded {
        /// Why.
        fwd: ForwardReason,
        /// The status of the upstream's response (RFC 9211 §2.3); `None` if there was none.
        status: Option<u16>,
        /// True if the response is stored (RFC 9211 §2.5).
        is_stored: bool,
        /// Seconds until the stored response becomes stale.
        ttl: Option<i64>,
        /// What went wrong in the cache, that what is stored was purged, or the rule of kv-edge
        /// that prevented storing.
        detail: Option<&'static str>,
    },
}

impl CacheStatus {
    /// Returns the status of a stored response that is served. One that a soft purge covers is not
    /// fresh any more.
    #[must_use]
    pub fn hit(stored: &StoredResponse, is_soft_purged: bool, detail: Option<&'static str>, now_ms: u64) -> Self {
        let ttl = stored.ttl_seconds(now_ms);
        Self::Hit { ttl: if is_soft_purged { ttl.min(0) } else { ttl }, detail }
    }

    /// Returns true if the response is stored and fresh.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        match self {
            Self::Hit { ttl, .. } => *ttl > 0,
            Self::Forwarded { is_stored, ttl, .. } => *is_stored && *ttl > Some(0),
        }
    }

    /// Returns true if a stored response was served in place of an error (RFC 5861 §4).
    #[must_use]
    pub fn is_in_place_of_error(&self) -> bool {
        matches!(self, Self::Hit { detail: Some(IF_ERROR), .. })
    }

    /// Returns the status of a view that was made just now: that of its page, and whether the view
    /// is stored.
    ///
    /// # Examples
    ///
    /// ```
    /// use http_cache::cache_status::{CacheStatus, ForwardReason};
    ///
    /// let (fwd, status) = (ForwardReason::UriMiss, Some(200));
    /// let view =
    ///     CacheStatus::Forwarded { fwd, status, is_stored: true, ttl: Some(60), detail: None };
    /// // The page was in the cache, so no upstream was asked to make the view.
    /// let page = CacheStatus::Hit { ttl: 60, detail: None };
    /// assert_eq!(CacheStatus::of_view(page, view).to_string(), "kv-edge; hit; ttl=60");
    /// ```
    #[must_use]
    pub fn of_view(page: Self, view: Self) -> Self {
        match (page, view) {
            (Self::Forwarded { fwd, status, detail, .. }, Self::Forwarded { is_stored, ttl, detail: of_view, .. }) => {
                Self::Forwarded { fwd, status, is_stored, ttl, detail: detail.or(of_view) }
            }
            (page, _) => page,
        }
    }
}

impl fmt::Display for CacheStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ttl, detail) = match *self {
            Self::Hit { ttl, detail } => {
                formatter.write_str("kv-edge; hit")?;
                (Some(ttl), detail)
            }
            Self::Forwarded { fwd, status, is_stored, ttl, detail } => {
                write!(formatter, "kv-edge; fwd={fwd}")?;
                if let Some(status) = status {
                    write!(formatter, "; fwd-status={status}")?;
                }
                if is_stored {
                    formatter.write_str("; stored")?;
                }
                (ttl, detail)
            }
        };
        if let Some(ttl) = ttl {
            write!(formatter, "; ttl={}", ttl.clamp(-INTEGER_MAX, INTEGER_MAX))?;
        }
        detail.map_or(Ok(()), |detail| write!(formatter, "; detail={detail}"))
    }
}

/// Returns `Server-Timing` with the durations that are known, in milliseconds; `None` if none
/// is.
#[must_use]
pub fn server_timing(kv_ms: Option<u64>, upstream_ms: Option<u64>) -> Option<String> {
    match (kv_ms, upstream_ms) {
        (Some(kv_ms), Some(upstream_ms)) => Some(format!("kv;dur={kv_ms}, upstream;dur={upstream_ms}")),
        (Some(kv_ms), None) => Some(format!("kv;dur={kv_ms}")),
        (None, Some(upstream_ms)) => Some(format!("upstream;dur={upstream_ms}")),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hit_states_its_ttl() {
        // RFC 9211 §2.4: the number is negative if the response is stale.
        for (ttl, detail, member) in [
            (17, None, "kv-edge; hit; ttl=17"),
            (0, None, "kv-edge; hit; ttl=0"),
            (-3, Some("stale-while-revalidate"), "kv-edge; hit; ttl=-3; detail=stale-while-revalidate"),
            (i64::MAX, None, "kv-edge; hit; ttl=999999999999999"),
            (i64::MIN, None, "kv-edge; hit; ttl=-999999999999999"),
        ] {
            assert_eq!(CacheStatus::Hit { ttl, detail }.to_string(), member);
        }
    }

    #[test]
    fn a_forwarded_request_states_the_reason_and_the_result() {
        let status = |fwd, status, is_stored, ttl, detail| {
            CacheStatus::Forwarded { fwd, status, is_stored, ttl, detail }.to_string()
        };
        assert_eq!(
            status(ForwardReason::UriMiss, Some(200), true, Some(60), None),
            "kv-edge; fwd=uri-miss; fwd-status=200; stored; ttl=60"
        );
        assert_eq!(
            status(ForwardReason::Stale, Some(304), true, Some(-1), None),
            "kv-edge; fwd=stale; fwd-status=304; stored; ttl=-1"
        );
        assert_eq!(
            status(ForwardReason::Miss, Some(200), false, None, Some("kv-unavailable")),
            "kv-edge; fwd=miss; fwd-status=200; detail=kv-unavailable"
        );
        for (fwd, name) in [
            (ForwardReason::UriMiss, "uri-miss"),
            (ForwardReason::VaryMiss, "vary-miss"),
            (ForwardReason::Miss, "miss"),
            (ForwardReason::Stale, "stale"),
            (ForwardReason::Request, "request"),
            (ForwardReason::Method, "method"),
            (ForwardReason::Bypass, "bypass"),
        ] {
            assert_eq!(status(fwd, None, false, None, None), format!("kv-edge; fwd={name}"));
        }
    }

    #[test]
    fn a_view_that_was_made_just_now_has_the_status_of_its_page() {
        let status =
            |fwd, status, is_stored, ttl, detail| CacheStatus::Forwarded { fwd, status, is_stored, ttl, detail };
        let view = status(ForwardReason::UriMiss, Some(200), true, Some(9), Some("purged"));
        let page = status(ForwardReason::Stale, Some(304), true, Some(60), None);
        let both = status(ForwardReason::Stale, Some(304), true, Some(9), Some("purged"));
        assert_eq!(CacheStatus::of_view(page, view), both);
        let hit = CacheStatus::Hit { ttl: 5, detail: None };
        assert_eq!(CacheStatus::of_view(hit, view), hit);
    }

    #[test]
    fn server_timing_has_only_the_parts_that_happened() {
        assert_eq!(server_timing(None, None), None);
        assert_eq!(server_timing(Some(0), None).as_deref(), Some("kv;dur=0"));
        assert_eq!(server_timing(None, Some(12)).as_deref(), Some("upstream;dur=12"));
        assert_eq!(server_timing(Some(3), Some(12)).as_deref(), Some("kv;dur=3, upstream;dur=12"));
    }
}
