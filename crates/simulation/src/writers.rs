//! The simulation: many writers of one key, one strategy, and a KV that accepts one put per
//! second. `examples/writers.rs` prints a table of the results.
//!
//! The KV documentation says "1 write per second", but not how the second is counted. Here, KV
//! accepts a put if the last one that it accepted arrived at least a second earlier. A refused
//! put does not count.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::Poll;

use futures_channel::oneshot;

use crate::virtual_time::{VirtualTime, block_on, join_all};
use http_semantics::conditional::Preconditions;
use kv_store::key_writer::{Due, KeyState, WRITE_INTERVAL_MS};
use kv_store::retry::{Backoff, Budget, Classify, Time, retry};
use kv_store::store_error::StoreError;
use kv_store::write_coalescer::{CoalescedPut, WriteCoalescer};

/// The time from the call of a put to its arrival, and from its arrival to its response, in
/// milliseconds.
const ONE_WAY_MS: u64 = 10;

/// Concurrent requests arrive at the object at random times within this many milliseconds.
const ARRIVAL_SPREAD_MS: f64 = 1000.0;

/// The tries of the documented retry, the first included, and its first wait in milliseconds. Each
/// further wait is twice as long.
const DOCUMENTED_TRIES: u32 = 5;
const DOCUMENTED_FIRST_MS: u64 = 1000;

/// The strategy of the writers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimulatedStrategy {
    /// Each writer puts once, all at the same time.
    Direct,
    /// `retryWithBackoff` of the KV documentation ("Limits to KV writes to the same key"): five
    /// tries with waits of 1, 2, 4 and 8 seconds, without jitter.
    Documented,
    /// [`retry`] with this backoff and one budget for all writers, as in one isolate.
    Backoff(Backoff),
    /// The writers share requests. [`WriteCoalescer`] sends the last write of each request to the
    /// key's Durable Object, which puts the last value to KV.
    Coalesce {
        /// The most requests; 0 counts as 1. Each carries equally many writes, the last perhaps
        /// fewer.
        requests_max: u32,
    },
}

/// The result of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimulationResult {
    /// The number of writers whose write succeeded: KV accepted their value, or a later one with
    /// [`SimulatedStrategy::Coalesce`].
    pub acknowledged: u32,
    /// The number of puts to KV, refused ones included.
    pub puts: u32,
    /// The time until every writer has its response, in milliseconds.
    pub elapsed_ms: u64,
    /// True if KV ends with the last value: the last that the object accepted with
    /// [`SimulatedStrategy::Coalesce`], and otherwise that of the last writer.
    pub last_write_won: bool,
}

/// Returns the result of one run. All writers start at once, except that several coalesced
/// requests arrive within a second, at random. The same seed gives the same result.
#[must_use]
pub fn simulate(strategy: SimulatedStrategy, writers: u32, seed: u64) -> SimulationResult {
    let time = VirtualTime::new(seed);
    let kv = SimulatedKv { time: &time, value: Cell::new(None), last_accepted_ms: Cell::new(None), puts: Cell::new(0) };
    let values = 1..=writers;
    let (acknowledged, last_value) = match strategy {
        SimulatedStrategy::Direct => {
            (write_each(&time, values, async |value| kv.put(value).await.is_ok()), Some(writers))
        }
        SimulatedStrategy::Documented => {
            (write_each(&time, values, async |value| put_with_documented_retry(&kv, value).await), Some(writers))
        }
        SimulatedStrategy::Backoff(backoff) => {
            let budget = RefCell::new(Budget::new());
            let write = async |value| {
                retry(&backoff, &budget, &time, async |_left_ms| kv.put(value).await).await.outcome.is_ok()
            };
            (write_each(&time, values, write), Some(writers))
        }
        SimulatedStrategy::Coalesce { requests_max } => {
            let values: Vec<u32> = values.collect();
            let size = writers.div_ceil(requests_max.max(1)).max(1);
            let requests: Vec<&[u32]> = values.chunks(usize::try_from(size).unwrap_or(usize::MAX)).collect();
            let object = SimulatedObject::new(&kv, requests.len());
            let acknowledged = block_on(&time, object.serve(&requests));
            (acknowledged, object.value.get())
        }
    };
    let acknowledged = u32::try_from(acknowledged).unwrap_or(u32::MAX);
    SimulationResult {
        acknowledged,
        puts: kv.puts.get(),
        elapsed_ms: time.now_ms(),
        last_write_won: kv.value.get() == last_value,
    }
}

/// Makes all writes concurrently, each on its own. Returns how many are acknowledged.
fn write_each(time: &VirtualTime, values: impl Iterator<Item = u32>, write: impl AsyncFn(u32) -> bool) -> usize {
    let acknowledged = block_on(time, join_all(values.map(async |value| write(value).await)));
    acknowledged.into_iter().filter(|is_acknowledged| *is_acknowledged).count()
}

/// Puts with the documented retry, which retries 429 only. Returns true if KV accepted the value.
async fn put_with_documented_retry(kv: &SimulatedKv<'_>, value: u32) -> bool {
    let mut wait_ms = DOCUMENTED_FIRST_MS;
    for attempt in 1..=DOCUMENTED_TRIES {
        match kv.put(value).await {
            Ok(()) => return true,
            Err(error) if error.is_rate_limited() && attempt < DOCUMENTED_TRIES => kv.time.sleep(wait_ms).await,
            Err(_) => return false,
        }
        wait_ms *= 2;
    }
    false
}

/// One key of Workers KV.
struct SimulatedKv<'a> {
    time: &'a VirtualTime,
    value: Cell<Option<u32>>,
    /// The arrival of the last put that KV accepted.
    last_accepted_ms: Cell<Option<u64>>,
    puts: Cell<u32>,
}

impl SimulatedKv<'_> {
    async fn put(&self, value: u32) -> Result<(), StoreError> {
        self.puts.set(self.puts.get() + 1);
        self.time.sleep(ONE_WAY_MS).await;
        let now_ms = self.time.now_ms();
        let is_accepted =
            self.last_accepted_ms.get().is_none_or(|accepted_ms| now_ms - accepted_ms >= WRITE_INTERVAL_MS);
        if is_accepted {
            self.last_accepted_ms.set(Some(now_ms));
            self.value.set(Some(value));
        }
        self.time.sleep(ONE_WAY_MS).await;
        if is_accepted { Ok(()) } else { Err(StoreError::from_message("KV PUT failed: 429 Too Many Requests")) }
    }
}

/// The Durable Object of the key, with its pending requests.
struct SimulatedObject<'a> {
    kv: &'a SimulatedKv<'a>,
    writer: RefCell<KeyState>,
    /// The last accepted value.
    value: Cell<Option<u32>>,
    budget: RefCell<Budget>,
    /// Writes that wait until KV has their version.
    pending: RefCell<Vec<(u64, oneshot::Sender<()>)>>,
    /// The number of requests without a response.
    open_requests: Cell<usize>,
}

impl<'a> SimulatedObject<'a> {
    fn new(kv: &'a SimulatedKv<'a>, request_count: usize) -> Self {
        Self {
            kv,
            writer: RefCell::new(KeyState::new("hot")),
            value: Cell::new(None),
            budget: RefCell::new(Budget::new()),
            pending: RefCell::default(),
            open_requests: Cell::new(request_count),
        }
    }

    /// Serves all requests, each given as the values of its writers. Returns how many writers are
    /// acknowledged.
    async fn serve(&self, requests: &[&[u32]]) -> usize {
        // The alarm is polled last, so it sees every write that arrives at the same time.
        let tasks = requests.iter().map(Some).chain([None]).map(async |request| match request {
            Some(values) => self.request(values, requests.len()).await,
            None => self.alarm().await,
        });
        join_all(tasks).await.into_iter().sum()
    }

    /// Serves one request, which waits until KV has its last value or a later one. Returns how
    /// many of its writers are acknowledged.
    async fn request(&self, values: &[u32], request_count: usize) -> usize {
        let time = self.kv.time;
        if request_count > 1 {
            // Always from 0 to 1000.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let delay_ms = (time.random() * ARRIVAL_SPREAD_MS) as u64;
            time.sleep(delay_ms).await;
        }
        let coalescer = WriteCoalescer::new();
        let write = async |value| self.write(value).await;
        let outcomes = join_all(values.iter().map(|value| coalescer.put(*value, write))).await;
        self.open_requests.set(self.open_requests.get() - 1);
        outcomes
            .iter()
            .filter(|outcome| matches!(outcome, Some(CoalescedPut::Sent(true) | CoalescedPut::Superseded(true))))
            .count()
    }

    /// Accepts a value and waits until KV has it or a later one. Returns true if it does.
    async fn write(&self, value: u32) -> bool {
        // The real object passes a SHA-256; nothing here compares it.
        let accepted = self.writer.borrow_mut().accept(value.to_string(), &Preconditions::default());
        let Ok(version) = accepted else { return false };
        self.value.set(Some(value));
        let (sender, receiver) = oneshot::channel();
        self.pending.borrow_mut().push((version, sender));
        receiver.await.is_ok()
    }

    /// Runs the alarm whenever something is due, until every request has its response. Returns
    /// 0, as it acknowledges no writer itself.
    async fn alarm(&self) -> usize {
        let time = self.kv.time;
        loop {
            // `join_all` polls this again whenever the clock advances.
            let due = poll_fn(|_| match self.writer.borrow().due(time.now_ms()) {
                Due::Nothing if self.open_requests.get() == 0 => Poll::Ready(None),
                Due::Nothing => Poll::Pending,
                due => Poll::Ready(Some(due)),
            });
            match due.await {
                Some(Due::Put(version)) => self.flush(version).await,
                Some(Due::Later(at_ms)) => time.sleep(at_ms.saturating_sub(time.now_ms())).await,
                Some(Due::Nothing) | None => return 0,
            }
        }
    }

    /// Puts the last value, whose version this is, and acknowledges the writes that KV has then.
    async fn flush(&self, version: u64) {
        let Some(value) = self.value.get() else { return };
        let outcome = self.kv.put(value).await;
        let now_ms = self.kv.time.now_ms();
        let mut writer = self.writer.borrow_mut();
        match outcome {
            Ok(()) => writer.put_succeeded(version, now_ms),
            Err(error) => {
                let random = self.kv.time.random();
                writer.put_failed(version, error.class(), now_ms, random, &mut self.budget.borrow_mut());
            }
        }
        for (_, sender) in self.pending.borrow_mut().extract_if(.., |(version, _)| writer.has_flushed(*version)) {
            assert!(sender.send(()).is_ok(), "each writer waits until its value is in KV");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEDS: u64 = 300;
    const BACKOFF: SimulatedStrategy = SimulatedStrategy::Backoff(Backoff::PUT);

    /// Runs the simulation once for each seed.
    fn results(strategy: SimulatedStrategy, writers: u32) -> impl Iterator<Item = SimulationResult> {
        (0..SEEDS).map(move |seed| simulate(strategy, writers, seed))
    }

    #[test]
    fn without_retries_only_the_first_write_succeeds() {
        let expected = SimulationResult { acknowledged: 1, puts: 20, elapsed_ms: 20, last_write_won: false };
        assert_eq!(simulate(SimulatedStrategy::Direct, 20, 1), expected);
        assert!(simulate(SimulatedStrategy::Direct, 1, 1).last_write_won);
    }

    #[test]
    fn the_documented_retry_acknowledges_one_writer_per_try() {
        // 20 + 19 + 18 + 17 + 16 puts, at 0, 1, 3, 7 and 15 s plus the round trips before.
        let expected = SimulationResult { acknowledged: 5, puts: 90, elapsed_ms: 15_100, last_write_won: false };
        assert_eq!(simulate(SimulatedStrategy::Documented, 20, 1), expected);
        assert_eq!(simulate(SimulatedStrategy::Documented, 5, 1).acknowledged, 5);
    }

    #[test]
    fn backoff_acknowledges_at_least_19_of_20_writers_within_a_minute() {
        for (seed, result) in results(BACKOFF, 20).enumerate() {
            assert!(result.acknowledged >= 19 && result.elapsed_ms <= 60_000, "seed {seed}: {result:?}");
        }
    }

    #[test]
    fn the_budget_bounds_the_puts_of_100_writers() {
        for (seed, result) in results(BACKOFF, 100).take(30).enumerate() {
            // The first tries, a full budget, five tokens per second, and one for each success.
            assert!(result.puts <= 100 + 500 + 60 * 5 + result.acknowledged, "seed {seed}: {result:?}");
        }
    }

    #[test]
    fn coalesce_acknowledges_20_writers_of_one_request_with_one_put() {
        for result in results(SimulatedStrategy::Coalesce { requests_max: 1 }, 20) {
            assert_eq!(result, SimulationResult { acknowledged: 20, puts: 1, elapsed_ms: 20, last_write_won: true });
        }
    }

    #[test]
    fn coalesce_acknowledges_20_writers_in_20_requests_with_at_most_3_puts() {
        for (seed, result) in results(SimulatedStrategy::Coalesce { requests_max: 20 }, 20).enumerate() {
            assert!(result.last_write_won && result.puts <= 3, "seed {seed}: {result:?}");
            assert_eq!(result.acknowledged, 20, "seed {seed}");
        }
    }

    #[test]
    fn coalesce_acknowledges_200_writers_in_10_requests_with_at_most_5_puts() {
        for (seed, result) in results(SimulatedStrategy::Coalesce { requests_max: 10 }, 200).enumerate() {
            assert!(result.last_write_won && result.puts <= 5, "seed {seed}: {result:?}");
            assert_eq!(result.acknowledged, 200, "seed {seed}");
        }
    }

    #[test]
    fn the_object_retries_a_refused_put() {
        let time = VirtualTime::new(1);
        let kv =
            SimulatedKv { time: &time, value: Cell::new(None), last_accepted_ms: Cell::new(None), puts: Cell::new(0) };
        let object = SimulatedObject::new(&kv, 1);
        let acknowledged = block_on(&time, async {
            // A write that bypasses the object.
            kv.put(99).await.unwrap();
            object.serve(&[&[1, 2, 3]]).await
        });
        assert_eq!((acknowledged, kv.value.get()), (3, Some(3)));
        assert!(kv.puts.get() >= 3 && time.now_ms() > 1000, "{} puts, {} ms", kv.puts.get(), time.now_ms());
    }

    #[test]
    fn the_same_seed_gives_the_same_run() {
        assert_eq!(simulate(BACKOFF, 20, 5), simulate(BACKOFF, 20, 5));
        assert_ne!(simulate(BACKOFF, 20, 5), simulate(BACKOFF, 20, 6));
    }
}
