//! A limit for the retries of an isolate, or of one call of the tool.

use super::FailureClass;

/// A token bucket for retries, shared by everything that one isolate, or one call of the tool,
/// retries. During an outage, after the 50 retries of a full bucket, they stay below about a tenth
/// of the successful calls plus half a call a second, so they do not multiply the load.
///
/// # Examples
///
/// ```
/// use kv_store::retry::{Budget, FailureClass};
///
/// let outage = FailureClass::Unavailable { retry_after_ms: None };
/// let mut budget = Budget::new();
/// assert_eq!((0..1000).filter(|_| budget.spend(outage, 0)).count(), 50);
/// // Two seconds later there is one retry more.
/// assert_eq!((0..1000).filter(|_| budget.spend(outage, 2000)).count(), 1);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    tokens: u32,
    /// The time until which tokens were refilled, in milliseconds since the Unix epoch.
    refilled_ms: u64,
}

impl Budget {
    /// A full budget: 50 retries in an outage, or 500 if a key is rate limited.
    const TOKENS_MAX: u32 = 500;
    /// A server in trouble is spared ten times as much as a busy key.
    const UNAVAILABLE_COST: u32 = 10;
    const RATE_LIMITED_COST: u32 = 1;
    /// Each success returns one token, and so does every fifth of a second.
    const REFILL_INTERVAL_MS: u64 = 200;

    /// Returns a full budget.
    #[must_use]
    pub const fn new() -> Self {
        Self { tokens: Self::TOKENS_MAX, refilled_ms: 0 }
    }

    /// Spends the tokens for one retry after such a failure. Returns false if there are not
    /// enough, or if the failure is permanent. `now_ms` is milliseconds since the Unix epoch.
    pub fn spend(&mut self, class: FailureClass, now_ms: u64) -> bool {
        self.refill(now_ms);
        let cost = match class {
            FailureClass::RateLimited { .. } => Self::RATE_LIMITED_COST,
            FailureClass::Unavailable { .. } => Self::UNAVAILABLE_COST,
            FailureClass::Permanent => return false,
        };
        match self.tokens.checked_sub(cost) {
            Some(left) => {
                self.tokens = left;
                true
            }
            None => false,
        }
    }

    /// Records a successful call.
    pub fn succeeded(&mut self, now_ms: u64) {
        self.refill(now_ms);
        self.add(1);
    }

    fn refill(&mut self, now_ms: u64) {
        // If the clock was set back, the budget does not wait until it has caught up.
        self.refilled_ms = self.refilled_ms.min(now_ms);
        let gained = (now_ms - self.refilled_ms) / Self::REFILL_INTERVAL_MS;
        self.refilled_ms += gained * Self::REFILL_INTERVAL_MS;
        self.add(u32::try_from(gained).unwrap_or(Self::TOKENS_MAX).min(Self::TOKENS_MAX));
    }

    fn add(&mut self, tokens: u32) {
        self.tokens = (self.tokens + tokens).min(Self::TOKENS_MAX);
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BUSY: FailureClass = FailureClass::RateLimited { retry_after_ms: None };
    const DOWN: FailureClass = FailureClass::Unavailable { retry_after_ms: None };

    /// Returns how many retries are left if all happen at once.
    fn retries(budget: &mut Budget, class: FailureClass, now_ms: u64) -> u32 {
        (0..9999).take_while(|_| budget.spend(class, now_ms)).count().try_into().unwrap()
    }

    #[test]
    fn a_full_budget_has_50_retries_for_an_outage_and_500_for_busy_keys() {
        assert_eq!(retries(&mut Budget::new(), DOWN, 0), 50);
        assert_eq!(retries(&mut Budget::new(), BUSY, 0), 500);
        assert_eq!(retries(&mut Budget::new(), FailureClass::Permanent, 0), 0);
    }

    #[test]
    fn ten_successes_pay_for_one_retry_in_an_outage() {
        let mut budget = Budget::new();
        retries(&mut budget, DOWN, 0);
        for _ in 0..20 {
            budget.succeeded(0);
        }
        assert_eq!(retries(&mut budget, DOWN, 0), 2);
    }

    #[test]
    fn a_used_up_budget_comes_back_with_time_and_never_above_full() {
        let mut budget = Budget::new();
        retries(&mut budget, DOWN, 1_000_000);
        assert_eq!(retries(&mut budget, DOWN, 1_001_999), 0);
        assert_eq!(retries(&mut budget, DOWN, 1_002_000), 1);
        assert_eq!(retries(&mut budget, DOWN, 9_000_000), 50);
    }

    #[test]
    fn a_clock_that_was_set_back_refills_the_budget_from_then_on() {
        let mut budget = Budget::new();
        retries(&mut budget, DOWN, 9_000_000);
        assert_eq!(retries(&mut budget, DOWN, 1_000_000), 0);
        assert_eq!(retries(&mut budget, DOWN, 1_002_000), 1);
    }

    proptest! {
        #[test]
        fn within_any_span_retries_in_an_outage_are_bounded(
            calls in proptest::collection::vec((0_u64..500, any::<bool>()), 1..400)
        ) {
            let mut budget = Budget::new();
            let (mut now_ms, mut successes, mut retried) = (1_000_000, 0, 0);
            for (wait_ms, succeeds) in calls {
                now_ms += wait_ms;
                if succeeds {
                    budget.succeeded(now_ms);
                    successes += 1;
                } else if budget.spend(DOWN, now_ms) {
                    retried += 1;
                }
            }
            let elapsed_ms = now_ms - 1_000_000;
            prop_assert!(retried * 10 <= 500 + successes + elapsed_ms / 200 + 1);
        }
    }
}
