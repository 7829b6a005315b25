//! Request bodies that are read completely before anything else happens: how long they may take,
//! and why one could not be read.

use std::time::Duration;

use crate::error_response::{ErrorResponse, HttpError};
use crate::one_of_each;
use crate::status::Status;

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestBodyError {
    /// It is longer than the route allows.
    TooLong,
    /// It ended before its length was reached.
    Incomplete,
    /// It took longer than its [`deadline`].
    TimedOut,
}

impl HttpError for RequestBodyError {
    fn response(&self) -> ErrorResponse {
        match self {
            Self::TooLong => ErrorResponse::new(Status::ContentTooLarge, "body_too_large", "The body is too long."),
            Self::Incomplete => {
                ErrorResponse::new(Status::BadRequest, "body_broken", "The body could not be read to its end.")
            }
            Self::TimedOut => ErrorResponse::new(Status::RequestTimeout, "body_timeout", "The body took too long."),
        }
    }

    fn examples() -> Vec<(Self, &'static str)> {
        one_of_each! {
            Self::TooLong => Self::TooLong, "The body is longer than this route reads.";
            Self::Incomplete => Self::Incomplete, "The body ended before its length was reached.";
            Self::TimedOut => Self::TimedOut, "The body took longer than 20 s and a second more for each 64 KiB.";
        }
    }
}

/// The time for the shortest body.
const LEAST_SECONDS: u64 = 20;
/// A client that sends more slowly than this holds a request open.
const BYTES_PER_SECOND: u64 = 64 * 1024;

/// Returns how long a body of this many bytes may take: 20 seconds, and one more for each 64 KiB.
/// A slower one gets 408 (RFC 9110 §15.5.9). For a body of unknown length, `bytes` is
/// the most that the route allows.
///
/// # Examples
///
/// ```
/// use http_semantics::request_body::deadline;
///
/// // 25 MiB, the longest value of Workers KV, at 64 KiB a second.
/// assert_eq!(deadline(25 * 1024 * 1024).as_secs(), 20 + 400);
/// ```
#[must_use]
pub const fn deadline(bytes: u64) -> Duration {
    Duration::from_secs(LEAST_SECONDS + bytes / BYTES_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_body_has_twenty_seconds_and_a_long_one_a_second_more_for_each_64_kib() {
        for (bytes, seconds) in
            [(0, 20), (1, 20), (64 * 1024, 21), (25 * 1024 * 1024, 420), (u64::MAX, u64::MAX / 65_536 + 20)]
        {
            assert_eq!(deadline(bytes), Duration::from_secs(seconds), "{bytes}");
        }
    }
}
