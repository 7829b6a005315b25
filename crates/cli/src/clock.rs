//! The clock of the machine, and waiting.

use std::future::Future;
use std::pin::pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kv_store::retry::Time;

/// The first reading of the clock. Later times are counted from there with a monotonic clock, so
/// that they never go back, even if the system clock does.
static START: OnceLock<(Instant, u64)> = OnceLock::new();

/// Returns milliseconds since the Unix epoch.
#[allow(clippy::disallowed_methods)] // The rule is for code in workerd.
pub(crate) fn now_ms() -> u64 {
    let (instant, unix_ms) = START.get_or_init(|| {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        (Instant::now(), milliseconds(since_epoch))
    });
    unix_ms + milliseconds(instant.elapsed())
}

/// Returns whole milliseconds, at most `u64::MAX`.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// How long a cancelled wait may go on, in milliseconds.
const SLICE_MS: u64 = 100;

/// A [`Time`] for blocking code. It reports each wait to `report_wait`, and a wait ends soon after
/// it is cancelled.
pub(crate) struct BlockingTime<F, G> {
    report_wait: F,
    is_cancelled: G,
}

impl<F: Fn(u64), G: Fn() -> bool> BlockingTime<F, G> {
    pub(crate) fn new(report_wait: F, is_cancelled: G) -> Self {
        Self { report_wait, is_cancelled }
    }
}

impl<F: Fn(u64), G: Fn() -> bool> Time for BlockingTime<F, G> {
    fn now_ms(&self) -> u64 {
        now_ms()
    }

    fn random(&self) -> f64 {
        fastrand::f64()
    }

    async fn sleep(&self, milliseconds: u64) {
        (self.report_wait)(milliseconds);
        sleep(milliseconds, &self.is_cancelled);
    }
}

/// Blocks for this time, or until `is_cancelled` returns true.
pub(crate) fn sleep(milliseconds: u64, is_cancelled: impl Fn() -> bool) {
    let end_ms = now_ms().saturating_add(milliseconds);
    while now_ms() < end_ms && !is_cancelled() {
        thread::sleep(Duration::from_millis(end_ms.saturating_sub(now_ms()).min(SLICE_MS)));
    }
}

/// Runs a future that blocks instead of waiting, so that its first poll completes it.
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
    fn a_wait_takes_its_time_or_ends_when_it_is_cancelled() {
        let start_ms = now_ms();
        run(BlockingTime::new(|_| {}, || false).sleep(20));
        assert!(now_ms() >= start_ms + 20);
        run(BlockingTime::new(|_| {}, || now_ms() >= start_ms + 40).sleep(60_000));
        assert!(now_ms() < start_ms + 30_000);
    }
}
