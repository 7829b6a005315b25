//! The one retry policy: whether to try again, and how long to wait before it.
//!
//! The clock, the sleep and the randomness come from the caller ([`Time`]), so a test with a
//! virtual clock and a seeded generator is exact.

mod backoff;
mod budget;
mod retry_after;

use std::cell::RefCell;
use std::future::Future;

use serde::{Deserialize, Serialize};

pub use backoff::Backoff;
pub use budget::Budget;
pub use retry_after::retry_after_ms;

/// What a failure means for a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureClass {
    /// 429: too many requests. A later try may succeed.
    RateLimited {
        /// How long the server asked to wait ([`retry_after_ms`]).
        retry_after_ms: Option<u64>,
    },
    /// 5xx, or no response. The server is in trouble, and each retry adds to it.
    Unavailable {
        /// How long the server asked to wait ([`retry_after_ms`]).
        retry_after_ms: Option<u64>,
    },
    /// The same request will fail again: any 4xx except 429, or a daily quota that is used up, for
    /// example.
    Permanent,
}

impl FailureClass {
    /// Returns the class of a failure by its response status (RFC 9110 §15.5, §15.6; RFC 6585 §4).
    /// `status` is `None` if there was no response.
    #[must_use]
    pub fn of_status(status: Option<u16>, retry_after_ms: Option<u64>) -> Self {
        match status {
            Some(429) => Self::RateLimited { retry_after_ms },
            None | Some(500..=599) => Self::Unavailable { retry_after_ms },
            Some(_) => Self::Permanent,
        }
    }
}

/// An error that knows whether a retry makes sense.
pub trait Classify {
    /// Returns the class of the failure.
    fn class(&self) -> FailureClass;
}

/// A clock, a sleep and a source of randomness.
pub trait Time {
    /// Returns the time in milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;
    /// Returns a uniformly distributed number from 0 (inclusive) to 1 (exclusive).
    fn random(&self) -> f64;
    /// Waits for this many milliseconds.
    fn sleep(&self, milliseconds: u64) -> impl Future<Output = ()>;
}

/// Why there was no further try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GaveUp {
    /// A retry would fail in the same way.
    Permanent,
    /// [`Backoff::tries_max`] is reached.
    Tries,
    /// The next try would begin after the deadline.
    Deadline,
    /// The caller's [`Budget`] is used up: one for each isolate, or for each call of `kv-edge`.
    Budget,
}

/// One try. Its times are milliseconds since a common start, such as that of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Try {
    /// When it began.
    pub started_ms: u64,
    /// When it ended.
    pub ended_ms: u64,
    /// True if KV accepted the value.
    // During a deployment, the build on the other side may know only this name.
    #[serde(rename = "taken")]
    pub is_accepted: bool,
}

impl Try {
    /// Returns the same try with times from another start. `from_ms` is the old start, counted
    /// from the new one.
    #[must_use]
    pub fn counted_from(self, from_ms: u64) -> Self {
        Self { started_ms: self.started_ms + from_ms, ended_ms: self.ended_ms + from_ms, ..self }
    }
}

impl GaveUp {
    /// Returns the name of the reason in JSON and in the log.
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

/// The outcome of an operation with retries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retried<T, E> {
    /// The outcome of the last try; an error has the reason why no other try followed.
    pub outcome: Result<T, (E, GaveUp)>,
    /// The number of tries, at least 1.
    pub tries: u32,
}

/// Runs an operation until it succeeds, [`Backoff::next_wait_ms`] gives up, or the budget is used
/// up. The deadline only limits when the next try begins: nothing here ends a try. The operation
/// gets the milliseconds that are left, and has to end by then itself.
///
/// The operation must be repeatable: it cannot send a stream as the body of a request, for
/// example, because a stream can be read only once.
///
/// # Examples
///
/// ```
/// use std::cell::RefCell;
/// use std::pin::pin;
/// use std::task::{Context, Poll, Waker};
///
/// use kv_store::retry::{Backoff, Budget, Time, retry};
/// use kv_store::store_error::StoreError;
///
/// struct FrozenTime;
///
/// impl Time for FrozenTime {
///     fn now_ms(&self) -> u64 {
///         0
///     }
///     fn random(&self) -> f64 {
///         0.5
///     }
///     async fn sleep(&self, _: u64) {}
/// }
///
/// let mut outcomes = vec![Ok("value"), Err(StoreError::read_timeout())];
/// let budget = RefCell::new(Budget::new());
/// let operation = async |_left_ms: u64| outcomes.pop().unwrap();
/// let retried = pin!(retry(&Backoff::READ, &budget, &FrozenTime, operation));
/// let mut cx = Context::from_waker(Waker::noop());
/// let Poll::Ready(retried) = retried.poll(&mut cx) else { panic!("nothing waits") };
/// assert_eq!((retried.outcome, retried.tries), (Ok("value"), 2));
/// ```
pub async fn retry<T, E: Classify>(
    backoff: &Backoff,
    budget: &RefCell<Budget>,
    time: &impl Time,
    mut operation: impl AsyncFnMut(u64) -> Result<T, E>,
) -> Retried<T, E> {
    let mut now_ms = time.now_ms();
    let deadline_ms = now_ms + backoff.deadline_ms;
    let mut tries: u32 = 0;
    loop {
        let outcome = operation(deadline_ms.saturating_sub(now_ms)).await;
        tries += 1;
        now_ms = time.now_ms();
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
            Ok(wait_ms) => {
                time.sleep(wait_ms).await;
                now_ms = time.now_ms();
            }
            Err(gave_up) => return Retried { outcome: Err((error, gave_up)), tries },
        }
    }
}
