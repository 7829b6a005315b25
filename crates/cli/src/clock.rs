//! The clock of the machine, and waiting on it.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
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

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// How long it may go unseen that a wait is over, in milliseconds.
const SLICE_MS: u64 = 100;

/// What ends the waits of this program.
static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on nobody waits for another try once this is true.
pub(crate) fn stop_on(stop: Arc<AtomicBool>) {
    // There is one way to stop a program.
    let _first = STOP.set(stop);
}

/// True once the program is to end.
pub(crate) fn is_stopping() -> bool {
    STOP.get().is_some_and(|stop| stop.load(Ordering::Relaxed))
}

/// Time for what blocks its thread; it tells how long, before it waits. It waits as long as somebody wants what comes of it, and the
/// program is not to end; after that no time is left for another try.
pub(crate) struct Blocking<F, G> {
    tell: F,
    is_wanted: G,
    is_over: Cell<bool>,
}

impl<F: Fn(u64), G: Fn() -> bool> Blocking<F, G> {
    pub(crate) fn new(tell: F, is_wanted: G) -> Self {
        Self { tell, is_wanted, is_over: Cell::new(false) }
    }
}

impl<F: Fn(u64), G: Fn() -> bool> Time for Blocking<F, G> {
    fn now_ms(&self) -> u64 {
        if self.is_over.get() { u64::MAX } else { now_ms() }
    }

    fn random(&self) -> f64 {
        fastrand::f64()
    }

    async fn sleep(&self, milliseconds: u64) {
        (self.tell)(milliseconds);
        let end_ms = now_ms().saturating_add(milliseconds);
        while now_ms() < end_ms {
            if is_stopping() || !(self.is_wanted)() {
                return self.is_over.set(true);
            }
            thread::sleep(Duration::from_millis(end_ms.saturating_sub(now_ms()).min(SLICE_MS)));
        }
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
    fn a_wait_that_is_cut_short_leaves_no_time_for_another_try() {
        let start_ms = now_ms();
        let time = Blocking::new(|_| {}, || true);
        run(time.sleep(20));
        assert!(now_ms() >= start_ms + 20 && time.now_ms() < u64::MAX);
        let time = Blocking::new(|_| {}, || now_ms() < start_ms + 40);
        run(time.sleep(60_000));
        assert!(now_ms() < start_ms + 30_000);
        assert_eq!(time.now_ms(), u64::MAX);
    }
}
