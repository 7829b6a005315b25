//! Deadlines: an upstream, an origin or an object that does not answer is given up. So is KV, by puts that are tried again, by listings
//! and by reads of what is remembered; `platform/glue/headed.js` keeps one of its own.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};

/// The outcome of some work, or `None` where it takes longer than the deadline. Work that is given up is dropped; the runtime
/// ends its fetches with the request.
pub(crate) async fn within<T>(deadline: Duration, work: impl Future<Output = T>) -> Option<T> {
    match select(pin!(work), worker::Delay::from(deadline)).await {
        Either::Left((outcome, _)) => Some(outcome),
        Either::Right(_) => None,
    }
}
