//! Reads many items several at a time, and returns the results in the order of the items.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// How many reads are made at the same time, and how many are requested ahead; the parts of a
/// divided read come on top. Each has one value of up to 25 MiB, or the texts of up to a hundred
/// keys.
const READS: usize = 8;
/// How many parts a read is divided into if its items cannot be read together.
const PARTS: usize = 10;
/// After how many items the reads become larger again, at first and at most.
const ITEMS_TO_GROW: usize = 50;
const ITEMS_TO_GROW_MAX: usize = 3200;

/// The result of a read.
pub(super) enum GroupRead<T> {
    /// One result for each item, in their order.
    Values(Vec<T>),
    /// The items cannot be read together; read fewer. Never the result for a single item.
    Divide,
}

type ReadResult<K, T, E> = (Vec<K>, Result<GroupRead<T>, E>);
type ReadRequest<K, T, E> = (Vec<K>, SyncSender<ReadResult<K, T, E>>);

/// The results for the items of an iterator, in their order. Ends after an error.
pub(super) struct OrderedReads<I, K, T, E> {
    items: I,
    items_error: Option<E>,
    is_finished: bool,
    requests: Sender<ReadRequest<K, T, E>>,
    reads: VecDeque<Receiver<ReadResult<K, T, E>>>,
    values: std::vec::IntoIter<T>,
    /// The most items of a read.
    together_max: usize,
    group: GroupSize,
}

/// How many items are read together. A read that has to be divided was in vain, so if two in a row
/// are, the next ones are smaller for a while.
#[derive(Debug)]
struct GroupSize {
    size: usize,
    /// How many items reads of this size have read since the last division or growth; `None` if
    /// there was none.
    items: Option<usize>,
    /// After how many items the size grows. It doubles with each read that was in vain.
    items_to_grow: usize,
}

impl GroupSize {
    fn new(size: usize) -> Self {
        Self { size, items: None, items_to_grow: ITEMS_TO_GROW }
    }

    fn divided(&mut self, items: usize) {
        // Other reads of a larger size began before this one ended.
        if items == self.size {
            let is_frequent = self.items.is_some_and(|read| read < items);
            let size = if is_frequent { (self.size / PARTS).max(1) } else { self.size };
            let items_to_grow = (self.items_to_grow * 2).min(ITEMS_TO_GROW_MAX);
            *self = Self { size, items: Some(0), items_to_grow };
        }
    }

    fn read(&mut self, items: usize, items_max: usize) {
        // The parts of a divided read say nothing about reads of this size.
        if items == self.size
            && let Some(read) = &mut self.items
        {
            *read += items;
        }
        if items == items_max {
            self.items_to_grow = ITEMS_TO_GROW;
        } else if self.size < items_max && self.items.is_some_and(|read| read >= self.items_to_grow) {
            self.size = (self.size * PARTS).min(items_max);
            self.items = Some(0);
        }
    }
}

impl<I, K, T, E> OrderedReads<I, K, T, E>
where
    I: Iterator<Item = Result<K, E>>,
    K: Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    /// Starts the threads. `together_max` is how many items a read may have, `read` makes one.
    pub(super) fn new(
        items: I,
        together_max: usize,
        read: impl Fn(&[K]) -> Result<GroupRead<T>, E> + Send + Sync + 'static,
    ) -> Self {
        let (requests, queue) = channel::<ReadRequest<K, T, E>>();
        let (queue, read) = (Arc::new(Mutex::new(queue)), Arc::new(read));
        for _ in 0..READS {
            let (queue, read) = (Arc::clone(&queue), Arc::clone(&read));
            thread::spawn(move || {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((items, result)) = next else { break };
                    let read = read(&items);
                    // If the consumer is gone, nobody needs the result.
                    drop(result.send((items, read)));
                }
            });
        }
        Self {
            items,
            items_error: None,
            is_finished: false,
            requests,
            reads: VecDeque::new(),
            values: Vec::new().into_iter(),
            together_max,
            group: GroupSize::new(together_max),
        }
    }

    fn request(&self, items: Vec<K>) -> Receiver<ReadResult<K, T, E>> {
        let (sender, receiver) = sync_channel(1);
        // The threads end only after the sender of requests is dropped.
        drop(self.requests.send((items, sender)));
        receiver
    }

    /// Requests reads until enough are in progress.
    fn request_more(&mut self) {
        while self.reads.len() < READS && !self.is_finished {
            let mut items = Vec::new();
            while items.len() < self.group.size && !self.is_finished {
                match self.items.next() {
                    Some(Ok(item)) => items.push(item),
                    Some(Err(error)) => {
                        self.items_error = Some(error);
                        self.is_finished = true;
                    }
                    None => self.is_finished = true,
                }
            }
            if !items.is_empty() {
                let read = self.request(items);
                self.reads.push_back(read);
            }
        }
    }

    /// Requests the items of a read again, in parts that take its place.
    fn divide(&mut self, items: Vec<K>) {
        let size = items.len().div_ceil(PARTS).max(1);
        let mut items = items.into_iter().peekable();
        let mut at = 0;
        while items.peek().is_some() {
            let part = self.request(items.by_ref().take(size).collect());
            self.reads.insert(at, part);
            at += 1;
        }
    }
}

impl<I, K, T, E> Iterator for OrderedReads<I, K, T, E>
where
    I: Iterator<Item = Result<K, E>>,
    K: Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    type Item = Result<T, E>;

    fn next(&mut self) -> Option<Result<T, E>> {
        loop {
            if let Some(value) = self.values.next() {
                return Some(Ok(value));
            }
            self.request_more();
            let Some(read) = self.reads.pop_front() else { return self.items_error.take().map(Err) };
            #[expect(clippy::expect_used, reason = "a read thread ends without a result only if it panics")]
            let (items, result) = read.recv().expect("each request gets a result");
            match result {
                Ok(GroupRead::Values(values)) => {
                    self.group.read(items.len(), self.together_max);
                    self.values = values.into_iter();
                }
                Ok(GroupRead::Divide) => {
                    self.group.divided(items.len());
                    self.divide(items);
                }
                Err(error) => {
                    self.is_finished = true;
                    self.items_error = None;
                    self.reads.clear();
                    return Some(Err(error));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn results_come_in_the_order_of_the_items_whatever_cannot_be_read_together(
            binary in proptest::collection::vec(any::<bool>(), 0..400), fails_at in proptest::option::of(0_usize..500)
        ) {
            let items = binary.clone().into_iter().enumerate();
            let items = items.map(move |(at, is_binary)| if Some(at) == fails_at { Err("list") } else { Ok((at, is_binary)) });
            let reads = OrderedReads::new(items, 100, |items: &[(usize, bool)]| {
                thread::sleep(Duration::from_micros(fastrand::u64(..50)));
                if items.len() > 1 && items.iter().any(|(_, is_binary)| *is_binary) {
                    return Ok(GroupRead::Divide);
                }
                Ok(GroupRead::Values(items.iter().map(|(at, _)| *at).collect()))
            });
            let results: Vec<_> = reads.collect();
            let ok: Vec<_> = results.iter().filter_map(|result| result.ok()).collect();
            let count = fails_at.map_or(binary.len(), |at| at.min(binary.len()));
            prop_assert_eq!(ok, (0..count).collect::<Vec<_>>());
            prop_assert_eq!(results.iter().any(Result::is_err), count < binary.len());
        }
    }

    #[test]
    fn a_read_that_fails_ends_the_results_in_its_place() {
        let items = (0..1000).map(Ok::<usize, &str>);
        let reads = OrderedReads::new(items, 1, |items: &[usize]| {
            if items[0] == 20 { Err("read") } else { Ok(GroupRead::Values(items.to_vec())) }
        });
        let results: Vec<_> = reads.collect();
        assert_eq!(results.len(), 21);
        assert_eq!(results[20], Err("read"));
    }

    #[test]
    fn items_that_cannot_be_read_together_take_few_reads_in_vain() {
        for (every, reads_max) in [(usize::MAX, 100), (1000, 320), (50, 3500), (1, 10_400)] {
            let count = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&count);
            let reads = OrderedReads::new((1..=10_000).map(Ok::<usize, ()>), 100, move |items: &[usize]| {
                counted.fetch_add(1, Ordering::Relaxed);
                if items.len() > 1 && items.iter().any(|item| item % every == 0) {
                    return Ok(GroupRead::Divide);
                }
                Ok(GroupRead::Values(items.to_vec()))
            });
            assert_eq!(reads.count(), 10_000);
            assert!(count.load(Ordering::Relaxed) <= reads_max, "{every}: {count:?}");
        }
    }

    #[test]
    fn only_a_few_results_wait_for_a_slow_consumer() {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let mut reads = OrderedReads::new((0..1000).map(Ok::<usize, ()>), 1, move |items: &[usize]| {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(GroupRead::Values(items.to_vec()))
        });
        assert_eq!(reads.next(), Some(Ok(0)));
        thread::sleep(Duration::from_millis(100));
        assert!(count.load(Ordering::Relaxed) <= READS + 1, "{count:?}");
    }
}
