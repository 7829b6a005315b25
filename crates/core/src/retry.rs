//! When to try again, and how long to wait before it.

/// Exponential backoff with full jitter: each wait is drawn evenly from zero to a ceiling that doubles from try to try. So
/// writers that failed together do not come back together, which waits of a fixed length would make them do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The ceiling of the first wait, in milliseconds.
    pub first_ms: u32,
    /// No ceiling is above this, in milliseconds.
    pub cap_ms: u32,
    /// Tries in all, the first one included.
    pub tries_max: u32,
}

impl Backoff {
    /// For puts to one key: one write a second is what Workers KV takes, and the documentation starts at one second and
    /// stops after five tries ("Limits to KV writes to the same key").
    pub const PUT: Self = Self { first_ms: 1000, cap_ms: 16_000, tries_max: 5 };

    /// How long to wait after so many failed tries, in milliseconds; `None` when the tries are used up.
    ///
    /// `random` is drawn evenly from 0 to 1, by the caller: core has no source of chance.
    #[must_use]
    pub fn wait_ms(&self, tries: u32, random: f64) -> Option<u32> {
        if tries >= self.tries_max {
            return None;
        }
        let doublings = tries.saturating_sub(1);
        let ceiling = 2_u32.saturating_pow(doublings).saturating_mul(self.first_ms).min(self.cap_ms);
        // In range by construction: a fraction of a u32.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Some((f64::from(ceiling) * random.clamp(0.0, 1.0)) as u32)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ceiling_doubles_from_the_first_to_the_cap() {
        let backoff = Backoff { first_ms: 1000, cap_ms: 5000, tries_max: 10 };
        let ceilings: Vec<_> = (1..=5).map(|tries| backoff.wait_ms(tries, 1.0)).collect();
        assert_eq!(ceilings, [Some(1000), Some(2000), Some(4000), Some(5000), Some(5000)]);
    }

    #[test]
    fn full_jitter_reaches_from_zero_to_the_ceiling() {
        assert_eq!(Backoff::PUT.wait_ms(3, 0.0), Some(0));
        assert_eq!(Backoff::PUT.wait_ms(3, 0.5), Some(2000));
        assert_eq!(Backoff::PUT.wait_ms(3, 1.0), Some(4000));
    }

    #[test]
    fn the_last_try_is_not_followed_by_a_wait() {
        assert!(Backoff::PUT.wait_ms(4, 1.0).is_some());
        assert_eq!(Backoff::PUT.wait_ms(5, 1.0), None);
    }

    proptest! {
        #[test]
        fn no_wait_is_above_the_cap(tries in 0_u32.., random in proptest::num::f64::ANY, first_ms: u32, cap_ms: u32) {
            let backoff = Backoff { first_ms, cap_ms, tries_max: u32::MAX };
            prop_assert!(backoff.wait_ms(tries, random).is_none_or(|wait| wait <= cap_ms));
        }
    }
}
