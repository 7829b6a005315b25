//! The clock of the machine, and waiting on it.

use std::future::Future;
use std::pin::pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kv_store::retry::Time;

/// When the program first looked at the clock: later times are counted from there, so that they never go back when somebody sets it.
static START: OnceLock<(Instant, u64)> = OnceLock::new();

/// Milliseconds since the Unix epoch.
#[allow(clippy::disallowed_methods)] // The rule is for what runs in workerd, which this program never does.
pub(crate) fn now_ms() -> u64 {
    let (instant, unix_ms) = START.get_or_init(|| {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        (Instant::now(), milliseconds(since_epoch))
    });
    unix_ms.saturating_add(milliseconds(instant.elapsed()))
}

/// As many as there are, or as 64 bits hold.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// How long it may go unseen that a wait is over, in milliseconds.
const SLICE_MS: u64 = 100;

/// Time for what blocks its thread; it tells how long, before it waits. A wait ends at once when it is cancelled.
pub(crate) struct Blocking<F, G> {
    tell: F,
    is_cancelled: G,
}

impl<F: Fn(u64), G: Fn() -> bool> Blocking<F, G> {
    pub(crate) fn new(tell: F, is_cancelled: G) -> Self {
        Self { tell, is_cancelled }
    }
}

impl<F: Fn(u64), G: Fn() -> bool> Time for Blocking<F, G> {
    fn now_ms(&self) -> u64 {
        now_ms()
    }

    fn random(&self) -> f64 {
        fastrand::f64()
    }

    async fn sleep(&self, milliseconds: u64) {
        (self.tell)(milliseconds);
        sleep(milliseconds, &self.is_cancelled);
    }
}

/// Waits so long, or until it is cancelled.
pub(crate) fn sleep(milliseconds: u64, is_cancelled: impl Fn() -> bool) {
    let end_ms = now_ms().saturating_add(milliseconds);
    while now_ms() < end_ms && !is_cancelled() {
        thread::sleep(Duration::from_millis(end_ms.saturating_sub(now_ms()).min(SLICE_MS)));
    }
}

/// The outcome of a future that blocks instead of waiting, so that the first poll ends it.
pub(crate) fn run<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_takes_its_time_or_ends_once_it_is_cancelled() {
        let start_ms = now_ms();
        run(Blocking::new(|_| {}, || false).sleep(20));
        assert!(now_ms() >= start_ms + 20);
        run(Blocking::new(|_| {}, || now_ms() >= start_ms + 40).sleep(60_000));
        assert!(now_ms() < start_ms + 30_000);
    }
}
