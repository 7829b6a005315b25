//! What each strategy makes of many writers of one key, in virtual time: the real retry policy, the real writer of a key and the
//! real joining of a request's writes, against a KV that takes one put a second. `examples/writers.rs` prints the outcomes.
//!
//! The documentation says "1 write per second" and not how a second is counted. Here a put is taken if the last one that was
//! taken arrived at least a second before it, and one that is refused does not count.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::Poll;

use futures_channel::oneshot;

use crate::virtual_time::{VirtualTime, block_on, join_all};
use http_semantics::conditional::Preconditions;
use kv_store::key_writer::{Due, KeyState, WRITE_INTERVAL_MS};
use kv_store::retry::{Backoff, Budget, Classify, Time, retry};
use kv_store::store::StoreError;
use kv_store::write_coalescer::{CoalescedPut, WriteCoalescer};

/// From the call of a put to its arrival, and from there to its answer, in milliseconds.
const ONE_WAY_MS: u64 = 10;

/// Requests that are made together reach the object spread over this, in milliseconds.
const ARRIVALS_MS: f64 = 1000.0;

/// The documented retry: tries in all, and its first wait in milliseconds, which then doubles.
const DOCUMENTED_TRIES: u32 = 5;
const DOCUMENTED_FIRST_MS: u64 = 1000;

/// How the writers go about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimulatedStrategy {
    /// Each write is put once, all in the same moment.
    Direct,
    /// `retryWithBackoff` of the KV documentation ("Limits to KV writes to the same key"): five tries, with waits of 1, 2, 4 and
    /// 8 seconds, the same for all.
    Documented,
    /// [`retry`] with these figures and one budget for all, as in one isolate.
    Backoff(Backoff),
    /// The writes come in so many requests, those of one request become one, and the key's object brings the last to KV.
    Coalesce {
        /// How many requests the writers are spread over, at least 1.
        requests: u32,
    },
}

/// What became of the writers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimulationResult {
    /// Writers that were told, truly, that KV has their value or a later one.
    pub acknowledged: u32,
    /// Puts that were made.
    pub puts: u32,
    /// Until every writer had its answer, in milliseconds.
    pub elapsed_ms: u64,
    /// True where KV ends with the value that was given last: with [`SimulatedStrategy::Coalesce`] to the object, otherwise that of the
    /// last writer.
    pub is_last_kept: bool,
}

/// Lets so many writers write to one key, beginning together. The same seed gives the same run.
#[must_use]
pub fn simulate(strategy: SimulatedStrategy, writers: u32, seed: u64) -> SimulationResult {
    let time = VirtualTime::new(seed);
    let kv = SimulatedKv { time: &time, value: Cell::new(None), taken_ms: Cell::new(None), puts: Cell::new(0) };
    let values = 1..=writers;
    let (acknowledged, last) = match strategy {
        SimulatedStrategy::Direct => (beside(&time, values, async |value| kv.put(value).await.is_ok()), Some(writers)),
        SimulatedStrategy::Documented => {
            (beside(&time, values, async |value| documented(&kv, value).await), Some(writers))
        }
        SimulatedStrategy::Backoff(backoff) => {
            let budget = RefCell::new(Budget::new());
            let write = async |value| {
                retry(&backoff, &budget, &time, async |_left_ms| kv.put(value).await).await.outcome.is_ok()
            };
            (beside(&time, values, write), Some(writers))
        }
        SimulatedStrategy::Coalesce { requests } => {
            let values: Vec<u32> = values.collect();
            let size = writers.div_ceil(requests.max(1)).max(1);
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
        is_last_kept: kv.value.get() == last,
    }
}

/// Makes all writes beside each other, each on its own; how many were acknowledged.
fn beside(time: &VirtualTime, values: impl Iterator<Item = u32>, write: impl AsyncFn(u32) -> bool) -> usize {
    let acknowledged = block_on(time, join_all(values.map(async |value| write(value).await)));
    acknowledged.into_iter().filter(|is_acknowledged| *is_acknowledged).count()
}

/// As documented: only 429 is tried again.
async fn documented(kv: &SimulatedKv<'_>, value: u32) -> bool {
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
    /// When the last put that was taken arrived.
    taken_ms: Cell<Option<u64>>,
    puts: Cell<u32>,
}

impl SimulatedKv<'_> {
    async fn put(&self, value: u32) -> Result<(), StoreError> {
        self.puts.set(self.puts.get() + 1);
        self.time.sleep(ONE_WAY_MS).await;
        let now_ms = self.time.now_ms();
        let takes = self.taken_ms.get().is_none_or(|taken_ms| now_ms - taken_ms >= WRITE_INTERVAL_MS);
        if takes {
            self.taken_ms.set(Some(now_ms));
            self.value.set(Some(value));
        }
        self.time.sleep(ONE_WAY_MS).await;
        if takes { Ok(()) } else { Err(StoreError::from_message("KV PUT failed: 429 Too Many Requests")) }
    }
}

/// The Durable Object of the key, and those who wait for it.
struct SimulatedObject<'a> {
    kv: &'a SimulatedKv<'a>,
    writer: RefCell<KeyState>,
    /// The last accepted value.
    value: Cell<Option<u32>>,
    budget: RefCell<Budget>,
    /// Who waits for KV to have this version.
    waiting: RefCell<Vec<(u64, oneshot::Sender<()>)>>,
    /// Requests that have no answer yet.
    open: Cell<usize>,
}

impl<'a> SimulatedObject<'a> {
    fn new(kv: &'a SimulatedKv<'a>, requests: usize) -> Self {
        Self {
            kv,
            writer: RefCell::new(KeyState::new("hot")),
            value: Cell::new(None),
            budget: RefCell::new(Budget::new()),
            waiting: RefCell::default(),
            open: Cell::new(requests),
        }
    }

    /// Serves all requests, each the values of its writers; how many of these were acknowledged.
    async fn serve(&self, requests: &[&[u32]]) -> usize {
        // The alarm comes last, so that it is asked after all that arrives in the same moment.
        let parts = requests.iter().map(Some).chain([None]).map(async |part| match part {
            Some(values) => self.request(values, requests.len()).await,
            None => self.alarm().await,
        });
        join_all(parts).await.into_iter().sum()
    }

    /// One request, which waits until KV has the last of its values.
    async fn request(&self, values: &[u32], requests: usize) -> usize {
        let time = self.kv.time;
        if requests > 1 {
            // In range by construction: from zero to a second.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let arrives_ms = (time.random() * ARRIVALS_MS) as u64;
            time.sleep(arrives_ms).await;
        }
        let one = WriteCoalescer::new();
        let told = join_all(values.iter().map(|value| one.put(*value, async |value| self.write(value).await))).await;
        self.open.set(self.open.get() - 1);
        told.iter()
            .filter(|told| matches!(told, Some(CoalescedPut::Sent(true) | CoalescedPut::Superseded(true))))
            .count()
    }

    /// Accepts a value and waits until KV has it or a later one.
    async fn write(&self, value: u32) -> bool {
        // A SHA-256 in the real object; nothing here compares it.
        let accepted = self.writer.borrow_mut().accept(value.to_string(), &Preconditions::default());
        let Ok(version) = accepted else { return false };
        self.value.set(Some(value));
        let (sender, answer) = oneshot::channel();
        self.waiting.borrow_mut().push((version, sender));
        answer.await.is_ok()
    }

    /// Rings whenever something is due, until no request is open. Acknowledges nothing itself.
    async fn alarm(&self) -> usize {
        let time = self.kv.time;
        loop {
            // Asked again at every turn of the clock.
            let due = poll_fn(|_| match self.writer.borrow().due(time.now_ms()) {
                Due::Nothing if self.open.get() == 0 => Poll::Ready(None),
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

    /// Puts the last value, which has this version.
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
        for (_, sender) in self.waiting.borrow_mut().extract_if(.., |(version, _)| writer.has_flushed(*version)) {
            assert!(sender.send(()).is_ok(), "each writer waits until its value is in KV");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEDS: u64 = 300;
    const BACKOFF: SimulatedStrategy = SimulatedStrategy::Backoff(Backoff::PUT);

    /// The outcomes of all seeds.
    fn outcomes(strategy: SimulatedStrategy, writers: u32) -> impl Iterator<Item = SimulationResult> {
        (0..SEEDS).map(move |seed| simulate(strategy, writers, seed))
    }

    #[test]
    fn of_writers_that_do_not_try_again_the_first_is_kept() {
        let outcome = SimulationResult { acknowledged: 1, puts: 20, elapsed_ms: 20, is_last_kept: false };
        assert_eq!(simulate(SimulatedStrategy::Direct, 20, 1), outcome);
        assert!(simulate(SimulatedStrategy::Direct, 1, 1).is_last_kept);
    }

    #[test]
    fn the_documented_retry_keeps_one_writer_a_try() {
        // 20 + 19 + 18 + 17 + 16 puts, at 0, 1, 3, 7 and 15 s, each a round trip later than the one before.
        let outcome = SimulationResult { acknowledged: 5, puts: 90, elapsed_ms: 15_100, is_last_kept: false };
        assert_eq!(simulate(SimulatedStrategy::Documented, 20, 1), outcome);
        assert_eq!(simulate(SimulatedStrategy::Documented, 5, 1).acknowledged, 5);
    }

    #[test]
    fn backoff_keeps_at_least_19_of_20_writers_within_a_minute() {
        for (seed, outcome) in outcomes(BACKOFF, 20).enumerate() {
            assert!(outcome.acknowledged >= 19 && outcome.elapsed_ms <= 60_000, "seed {seed}: {outcome:?}");
        }
    }

    #[test]
    fn the_budget_bounds_what_many_writers_put() {
        for (seed, outcome) in outcomes(BACKOFF, 100).take(30).enumerate() {
            // A full budget, five tokens a second, and one for each success.
            assert!(outcome.puts <= 100 + 500 + 60 * 5 + outcome.acknowledged, "seed {seed}: {outcome:?}");
        }
    }

    #[test]
    fn coalesce_keeps_all_of_20_writers_and_the_last_value_with_one_put() {
        for outcome in outcomes(SimulatedStrategy::Coalesce { requests: 1 }, 20) {
            assert_eq!(outcome, SimulationResult { acknowledged: 20, puts: 1, elapsed_ms: 20, is_last_kept: true });
        }
    }

    #[test]
    fn coalesce_keeps_all_of_20_writers_in_20_requests_with_at_most_3_puts() {
        for (seed, outcome) in outcomes(SimulatedStrategy::Coalesce { requests: 20 }, 20).enumerate() {
            assert!(outcome.is_last_kept && outcome.puts <= 3, "seed {seed}: {outcome:?}");
            assert_eq!(outcome.acknowledged, 20, "seed {seed}");
        }
    }

    #[test]
    fn coalesce_keeps_all_of_200_writers_in_10_requests_with_at_most_5_puts() {
        for (seed, outcome) in outcomes(SimulatedStrategy::Coalesce { requests: 10 }, 200).enumerate() {
            assert!(outcome.is_last_kept && outcome.puts <= 5, "seed {seed}: {outcome:?}");
            assert_eq!(outcome.acknowledged, 200, "seed {seed}");
        }
    }

    #[test]
    fn a_put_that_kv_refuses_to_the_object_is_made_again() {
        let time = VirtualTime::new(1);
        let kv = SimulatedKv { time: &time, value: Cell::new(None), taken_ms: Cell::new(None), puts: Cell::new(0) };
        let object = SimulatedObject::new(&kv, 1);
        let acknowledged = block_on(&time, async {
            // Somebody wrote the key past its object.
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
