//! How long a request may take to send a body that is read whole before anything is done with it.

use std::time::Duration;

/// How long even the shortest body may take.
const LEAST_SECONDS: u64 = 20;
/// Who sends more slowly than this holds a request open that nobody waits for.
const BYTES_PER_SECOND: u64 = 64 * 1024;

/// How long a body of so many bytes may take: 20 s, and one more for each 64 KiB. Whoever takes longer is told 408
/// (RFC 9110 §15.5.9). For a body whose length nobody has said, `bytes` is what it may have.
#[must_use]
pub const fn deadline(bytes: u64) -> Duration {
    Duration::from_secs(LEAST_SECONDS.saturating_add(bytes / BYTES_PER_SECOND))
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
