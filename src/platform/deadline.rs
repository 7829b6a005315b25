//! Deadlines for work of several steps, such as a call of a Durable Object. That of one promise is
//! in `promise.rs`.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};

/// Returns the outcome of some work, or `None` if it takes longer than the deadline. Unfinished
/// work is dropped; the runtime aborts its fetches when the request ends.
pub(crate) async fn within<T>(deadline: Duration, work: impl Future<Output = T>) -> Option<T> {
    match select(pin!(work), worker::Delay::from(deadline)).await {
        Either::Left((outcome, _)) => Some(outcome),
        Either::Right(_) => None,
    }
}
