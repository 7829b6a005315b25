//! The waits between tries.

use super::{FailureClass, GaveUp};

/// Exponential backoff with full jitter: each wait is a random time up to a ceiling, which
/// doubles with each try. If the server asked for a wait, a random time comes on top of that.
/// Writers that failed together then do not return together, as they would after waits of a fixed
/// length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The ceiling of the first wait, in milliseconds.
    pub first_ms: u32,
    /// The highest ceiling, in milliseconds.
    pub cap_ms: u32,
    /// The longest wait for a `Retry-After`, in milliseconds, before jitter. A longer one is cut.
    pub retry_after_cap_ms: u32,
    /// The number of tries, including the first one.
    pub tries_max: u32,
    /// The deadline in milliseconds from the start of the first try. A wait must end before it.
    pub deadline_ms: u64,
}

impl Backoff {
    /// For puts to one key. Workers KV accepts one a second, so parallel writers need short
    /// waits and many tries. With the documented five tries, whose waits double without a limit,
    /// most of 20 parallel writes are lost ("Limits to KV writes to the same key"). The crate
    /// `simulation` compares such policies.
    pub const PUT: Self =
        Self { first_ms: 1000, cap_ms: 8000, retry_after_cap_ms: 30_000, tries_max: 20, deadline_ms: 60_000 };

    /// For puts and deletes that must end soon: after a response, because the runtime ends that
    /// work after 30 seconds, and in a purge, because its client waits.
    pub const PUT_WITHIN_20_S: Self = Self { tries_max: 3, deadline_ms: 20_000, ..Self::PUT };

    /// For puts and deletes of a client that tries again itself if it gets a 429: a few tries.
    pub const PUT_OF_CLIENT: Self = Self { tries_max: 4, deadline_ms: 10_000, ..Self::PUT };

    /// For reads during a request: one retry, almost at once.
    pub const READ: Self = Self { first_ms: 50, cap_ms: 50, retry_after_cap_ms: 0, tries_max: 2, deadline_ms: 5000 };

    /// Returns how long to wait after this many failed tries, in milliseconds. `left_ms` is the
    /// time until the deadline, `random` a uniformly distributed number from 0 to 1.
    ///
    /// # Errors
    /// The reason for giving up. It is never [`GaveUp::Budget`], which the caller decides.
    ///
    /// # Examples
    ///
    /// ```
    /// use kv_store::retry::{Backoff, FailureClass, GaveUp};
    ///
    /// let class = FailureClass::Unavailable { retry_after_ms: None };
    /// // The ceilings are 1, 2 and 4 seconds; the waits are random parts of them.
    /// let waits = [1, 2, 3].map(|tries| Backoff::PUT.next_wait_ms(class, tries, 60_000, 0.5));
    /// assert_eq!(waits, [Ok(500), Ok(1000), Ok(2000)]);
    /// let wait = Backoff::PUT.next_wait_ms(class, 4, 1000, 0.5);
    /// assert_eq!(wait, Err(GaveUp::Deadline), "it would end after the deadline");
    /// ```
    pub fn next_wait_ms(&self, class: FailureClass, tries: u32, left_ms: u64, random: f64) -> Result<u64, GaveUp> {
        let retry_after_ms = match class {
            FailureClass::Permanent => return Err(GaveUp::Permanent),
            FailureClass::RateLimited { retry_after_ms } | FailureClass::Unavailable { retry_after_ms } => {
                retry_after_ms
            }
        };
        if tries >= self.tries_max {
            return Err(GaveUp::Tries);
        }
        let wait_ms = match retry_after_ms {
            None => jittered(self.ceiling_ms(tries), random),
            // All clients of a rejected burst got the same time, so each adds a random wait to
            // it.
            Some(asked_ms) => asked_ms.min(self.retry_after_cap_ms.into()) + jittered(self.first_ms, random),
        };
        if wait_ms < left_ms { Ok(wait_ms) } else { Err(GaveUp::Deadline) }
    }

    /// Returns the longest wait after this many failed tries without a `Retry-After`, in
    /// milliseconds.
    #[must_use]
    pub fn ceiling_ms(&self, tries: u32) -> u32 {
        let doublings = tries.saturating_sub(1);
        2_u32.saturating_pow(doublings).saturating_mul(self.first_ms).min(self.cap_ms)
    }
}

/// Returns a random wait up to the ceiling.
fn jittered(ceiling_ms: u32, random: f64) -> u64 {
    // A fraction of a u32 is in range.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let wait_ms = (f64::from(ceiling_ms) * random.clamp(0.0, 1.0)) as u64;
    wait_ms
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BUSY: FailureClass = FailureClass::RateLimited { retry_after_ms: None };
    const BACKOFF: Backoff =
        Backoff { first_ms: 1000, cap_ms: 5000, retry_after_cap_ms: 30_000, tries_max: 10, deadline_ms: 60_000 };

    fn asked(retry_after_ms: u64) -> FailureClass {
        FailureClass::Unavailable { retry_after_ms: Some(retry_after_ms) }
    }

    #[test]
    fn ceiling_doubles_from_the_first_to_the_cap() {
        let ceilings: Vec<_> = (1..=5).map(|tries| BACKOFF.next_wait_ms(BUSY, tries, 60_000, 1.0)).collect();
        assert_eq!(ceilings, [Ok(1000), Ok(2000), Ok(4000), Ok(5000), Ok(5000)]);
    }

    #[test]
    fn full_jitter_is_uniform_from_zero_to_the_ceiling() {
        let mut buckets = [0_u32; 8];
        for step in 0..8000 {
            let wait_ms = BACKOFF.next_wait_ms(BUSY, 3, 60_000, f64::from(step) / 8000.0).unwrap();
            buckets[usize::try_from(wait_ms / 500).unwrap()] += 1;
        }
        assert_eq!(buckets, [1000; 8]);
    }

    #[test]
    fn retry_after_is_the_least_wait_and_is_capped() {
        for (class, random, wait_ms) in [
            (asked(3000), 0.0, 3000),
            (asked(3000), 0.5, 3500),
            (asked(0), 0.5, 500),
            (asked(86_400_000), 0.0, 30_000),
            (asked(u64::MAX), 1.0, 31_000),
        ] {
            assert_eq!(BACKOFF.next_wait_ms(class, 1, 60_000, random), Ok(wait_ms), "{class:?}");
        }
    }

    #[test]
    fn giving_up_says_why() {
        assert_eq!(BACKOFF.next_wait_ms(FailureClass::Permanent, 1, 60_000, 0.0), Err(GaveUp::Permanent));
        assert_eq!(BACKOFF.next_wait_ms(BUSY, 10, 60_000, 0.0), Err(GaveUp::Tries));
        assert_eq!(BACKOFF.next_wait_ms(BUSY, 1, 500, 0.5), Err(GaveUp::Deadline));
        assert_eq!(BACKOFF.next_wait_ms(asked(5000), 1, 5000, 0.0), Err(GaveUp::Deadline));
    }

    proptest! {
        #[test]
        fn no_wait_without_a_retry_after_is_above_the_cap(tries in 0_u32..9, random in proptest::num::f64::ANY, first_ms: u32, cap_ms: u32) {
            let backoff = Backoff { first_ms, cap_ms, ..BACKOFF };
            let wait = backoff.next_wait_ms(BUSY, tries, u64::MAX, random);
            prop_assert!(wait.is_ok_and(|wait_ms| wait_ms <= cap_ms.into()));
        }

        #[test]
        fn a_retry_after_is_cut_to_its_cap_and_jitter_comes_on_top(retry_after_ms: u64, random in 0.0..1.0_f64) {
            let wait = BACKOFF.next_wait_ms(asked(retry_after_ms), 1, u64::MAX, random);
            let capped_ms = retry_after_ms.min(30_000);
            prop_assert!(wait.is_ok_and(|wait_ms| (capped_ms..=capped_ms + 1000).contains(&wait_ms)));
        }

        #[test]
        fn no_wait_reaches_the_deadline(left_ms: u64, retry_after_ms: Option<u64>, random in 0.0..1.0_f64) {
            let class = FailureClass::RateLimited { retry_after_ms };
            let wait = BACKOFF.next_wait_ms(class, 1, left_ms, random);
            prop_assert!(wait.is_err() || wait.is_ok_and(|wait_ms| wait_ms < left_ms));
        }
    }
}
