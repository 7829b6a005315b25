//! A virtual clock with a small executor. The clock stands still while any task can run, and
//! jumps to the next wake-up when all of them sleep. So hours pass in a moment, and every run with
//! the same seed is the same.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use kv_store::retry::Time;

/// A virtual clock that starts at 0 ms, with random numbers from a seed.
#[derive(Debug)]
pub struct VirtualTime {
    now_ms: Cell<u64>,
    /// The times at which sleeping tasks wake up.
    wake_times_ms: RefCell<BTreeSet<u64>>,
    random_state: Cell<u64>,
}

impl VirtualTime {
    /// Returns a clock at 0 ms. The seed fixes its random numbers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { now_ms: Cell::new(0), wake_times_ms: RefCell::default(), random_state: Cell::new(seed) }
    }

    /// Jumps to the next wake-up. Returns false if no task sleeps.
    fn advance(&self) -> bool {
        let next = self.wake_times_ms.borrow_mut().pop_first();
        if let Some(next_ms) = next {
            self.now_ms.set(next_ms.max(self.now_ms.get()));
        }
        next.is_some()
    }
}

impl Time for VirtualTime {
    fn now_ms(&self) -> u64 {
        self.now_ms.get()
    }

    /// `SplitMix64` (Steele, Lea and Flood, 2014).
    fn random(&self) -> f64 {
        let state = self.random_state.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.random_state.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        // 32 of the bits, which an f64 holds exactly.
        let bits = u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or(0);
        f64::from(bits) / 4_294_967_296.0
    }

    async fn sleep(&self, milliseconds: u64) {
        let wake_ms = self.now_ms.get() + milliseconds;
        poll_fn(|_| {
            if self.now_ms.get() >= wake_ms {
                return Poll::Ready(());
            }
            self.wake_times_ms.borrow_mut().insert(wake_ms);
            Poll::Pending
        })
        .await;
    }
}

/// Set by a waker: a task can proceed before the clock advances.
#[derive(Default)]
struct WakeFlag(AtomicBool);

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs a future to its end and returns its value. The future may wait for this clock, and for
/// other futures that it runs itself.
///
/// # Panics
/// If the future waits for anything else: it would never end.
pub fn block_on<T>(time: &VirtualTime, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let wake_flag = Arc::new(WakeFlag::default());
    let waker = Waker::from(Arc::clone(&wake_flag));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        let can_proceed = wake_flag.0.swap(false, Ordering::Relaxed) || time.advance();
        assert!(can_proceed, "the future waits for something that is not this clock");
    }
}

/// Runs futures concurrently and returns their values in the order of the futures. Every pending
/// future is polled again whenever the clock advances, so none needs a waker.
pub async fn join_all<T>(futures: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut running: Vec<(Pin<Box<_>>, Option<T>)> =
        futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    poll_fn(|context| {
        let mut is_done = true;
        for (future, value) in &mut running {
            if value.is_none() {
                match future.as_mut().poll(context) {
                    Poll::Ready(ready) => *value = Some(ready),
                    Poll::Pending => is_done = false,
                }
            }
        }
        if is_done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    running.into_iter().filter_map(|(_, value)| value).collect()
}
