//! A clock that stands still until everybody sleeps, then jumps to the first who wakes: hours of waiting in a moment, and the
//! same run each time. For the simulation and the tests.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use kv_store::retry::Time;

/// Virtual time, from zero, with chance from a seed.
#[derive(Debug)]
pub struct VirtualTime {
    now_ms: Cell<u64>,
    sleepers: RefCell<BTreeSet<u64>>,
    seed: Cell<u64>,
}

impl VirtualTime {
    /// Time zero.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { now_ms: Cell::new(0), sleepers: RefCell::default(), seed: Cell::new(seed) }
    }

    /// Jumps to the first who wakes; false where nobody sleeps.
    fn advance(&self) -> bool {
        let next = self.sleepers.borrow_mut().pop_first();
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
        let state = self.seed.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.seed.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        // 32 of the bits, which an f64 holds exactly.
        let bits = u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or(0);
        f64::from(bits) / 4_294_967_296.0
    }

    async fn sleep(&self, milliseconds: u64) {
        let wakes_ms = self.now_ms.get() + milliseconds;
        poll_fn(|_| {
            if self.now_ms.get() >= wakes_ms {
                return Poll::Ready(());
            }
            self.sleepers.borrow_mut().insert(wakes_ms);
            Poll::Pending
        })
        .await;
    }
}

/// Notes that somebody can go on without the clock.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs a future that waits for nothing but this clock.
///
/// # Panics
/// Where it waits for something else: it would wait for ever.
pub fn block_on<T>(time: &VirtualTime, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        let goes_on = woken.0.swap(false, Ordering::Relaxed) || time.advance();
        assert!(goes_on, "the future waits for something that is not this clock");
    }
}

/// Runs futures beside each other; each is asked again at every turn of the clock. Gives their values in order.
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
