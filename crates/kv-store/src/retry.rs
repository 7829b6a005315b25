//! When to try again, and how long to wait before it: one policy for everything that is tried again.
//!
//! Clock, sleep and chance come from the caller ([`Time`]), so a run under a virtual clock and a seeded rng is exact.

mod backoff;
mod budget;
mod retry_after;

use std::cell::RefCell;
use std::future::Future;

use serde::{Deserialize, Serialize};

pub use backoff::Backoff;
pub use budget::Budget;
pub use retry_after::retry_after_ms;

/// What a failure means for another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureClass {
    /// 429: too much was asked. A later try may be taken.
    RateLimited {
        /// How long the other side asked to be left alone ([`retry_after_ms`]).
        retry_after_ms: Option<u64>,
    },
    /// 5xx, or no answer at all: the other side is in trouble, and each try adds to it.
    Unavailable {
        /// How long the other side asked to be left alone ([`retry_after_ms`]).
        retry_after_ms: Option<u64>,
    },
    /// The same request will fail again: 400, 401, 403, 413, 414 and every other 4xx, or a quota used up for the day.
    Permanent,
}

impl FailureClass {
    /// Classifies by the status of the answer; `None` where there was no answer (RFC 9110 §15.5, §15.6; RFC 6585 §4).
    #[must_use]
    pub fn of_status(status: Option<u16>, retry_after_ms: Option<u64>) -> Self {
        match status {
            Some(429) => Self::RateLimited { retry_after_ms },
            None | Some(500..=599) => Self::Unavailable { retry_after_ms },
            Some(_) => Self::Permanent,
        }
    }
}

/// An error that says what it means for another try.
pub trait Classify {
    /// The class of the failure.
    fn class(&self) -> FailureClass;
}

/// Clock, sleep and chance.
pub trait Time {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;
    /// Drawn evenly from 0 (included) to 1.
    fn random(&self) -> f64;
    /// Waits so many milliseconds.
    fn sleep(&self, milliseconds: u64) -> impl Future<Output = ()>;
}

/// Why there is no other try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GaveUp {
    /// Another try would fail in the same way.
    Permanent,
    /// [`Backoff::tries_max`] is reached.
    Tries,
    /// The wait before the next try would end behind the deadline.
    Deadline,
    /// The isolate's [`Budget`] is used up.
    Budget,
}

/// One try that was made, in milliseconds from a start that its holder names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Try {
    /// When it began.
    pub started_ms: u64,
    /// When it ended.
    pub ended_ms: u64,
    /// True where it succeeded.
    pub taken: bool,
}

impl Try {
    /// The same try, its times counted from another start: `from_ms` is when the old one was, in the new count.
    #[must_use]
    pub fn counted_from(self, from_ms: u64) -> Self {
        Self {
            started_ms: self.started_ms.saturating_add(from_ms),
            ended_ms: self.ended_ms.saturating_add(from_ms),
            ..self
        }
    }
}

impl GaveUp {
    /// In a word, for machines.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Permanent => "permanent",
            Self::Tries => "tries",
            Self::Deadline => "deadline",
            Self::Budget => "budget",
        }
    }
}

/// The outcome of an operation that may have been tried more than once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retried<T, E> {
    /// Of the last try; an error with the reason why none followed.
    pub outcome: Result<T, (E, GaveUp)>,
    /// Tries made, at least 1.
    pub tries: u32,
}

/// Makes an operation, again and again until it succeeds or [`Backoff::next_wait_ms`] gives up. The operation is told how many
/// milliseconds are left until the deadline, and must itself end by then.
///
/// Give it only what can be sent again: a stream can be read once, so a try that fails has used it up.
pub async fn retry<T, E: Classify>(
    backoff: &Backoff,
    budget: &RefCell<Budget>,
    time: &impl Time,
    mut operation: impl AsyncFnMut(u64) -> Result<T, E>,
) -> Retried<T, E> {
    let deadline_ms = time.now_ms() + backoff.deadline_ms;
    let mut tries: u32 = 0;
    loop {
        let outcome = operation(deadline_ms.saturating_sub(time.now_ms())).await;
        tries += 1;
        let now_ms = time.now_ms();
        let error = match outcome {
            Ok(value) => {
                budget.borrow_mut().succeeded(now_ms);
                return Retried { outcome: Ok(value), tries };
            }
            Err(error) => error,
        };
        let left_ms = deadline_ms.saturating_sub(now_ms);
        let wait = backoff.next_wait_ms(error.class(), tries, left_ms, time.random()).and_then(|wait_ms| {
            if budget.borrow_mut().spend(error.class(), now_ms) { Ok(wait_ms) } else { Err(GaveUp::Budget) }
        });
        match wait {
            Ok(wait_ms) => time.sleep(wait_ms).await,
            Err(gave_up) => return Retried { outcome: Err((error, gave_up)), tries },
        }
    }
}
