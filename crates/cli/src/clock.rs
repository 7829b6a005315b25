//! The clock of the machine, and waiting on it.

use std::future::Future;
use std::pin::pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kv_edge_core::retry::Time;

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

/// Time for what blocks its thread; it tells how long, before it waits.
pub(crate) struct Blocking<F>(pub(crate) F);

impl<F: Fn(u64)> Time for Blocking<F> {
    fn now_ms(&self) -> u64 {
        now_ms()
    }

    fn random(&self) -> f64 {
        fastrand::f64()
    }

    async fn sleep(&self, milliseconds: u64) {
        (self.0)(milliseconds);
        thread::sleep(Duration::from_millis(milliseconds));
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
