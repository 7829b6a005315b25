//! Several calls at a time: one thread reads what to send and waits while all calls are busy.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// The number of calls in flight. Each holds up to 80 MB: values and their JSON.
const CALLS: usize = 3;

/// The sending end of the queue of calls.
#[derive(Debug)]
pub(crate) struct CallQueue<'t, B> {
    batches: SyncSender<B>,
    has_failed: &'t AtomicBool,
}

impl<B> CallQueue<'_, B> {
    /// Hands a batch over to the next free call, waiting for one. Returns false if a call has
    /// failed and no more are made.
    pub(crate) fn push(&self, batch: B) -> bool {
        !self.is_closed() && self.batches.send(batch).is_ok()
    }

    /// Returns true once a call has failed: no more calls are made, so reading on is useless.
    pub(crate) fn is_closed(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }
}

/// Makes a call for each batch that `read` hands over, a few at a time. Once a call has failed,
/// no further calls are made. A call that fails without ending the others must return `Ok`.
///
/// # Errors
/// The error of a call, or else the error of `read`.
pub(crate) fn concurrent_calls<B: Send, E: Send>(
    read: impl FnOnce(&CallQueue<'_, B>) -> Result<(), E>,
    call: impl Fn(B) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let (sender, receiver) = sync_channel::<B>(0);
    let (receiver, has_failed) = (Mutex::new(Some(receiver)), AtomicBool::new(false));
    thread::scope(|scope| {
        let calls: Vec<_> = (0..CALLS).map(|_| scope.spawn(|| run_calls(&receiver, &has_failed, &call))).collect();
        let queue = CallQueue { batches: sender, has_failed: &has_failed };
        let mut result = read(&queue);
        drop(queue);
        for call in calls {
            let called = call.join().unwrap_or_else(|panicked| std::panic::resume_unwind(panicked));
            result = called.and(result);
        }
        result
    })
}

/// Makes calls until there are no more batches.
fn run_calls<B, E>(
    batches: &Mutex<Option<Receiver<B>>>,
    has_failed: &AtomicBool,
    call: impl Fn(B) -> Result<(), E>,
) -> Result<(), E> {
    let locked = || batches.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let next = locked().as_ref().and_then(|batches| batches.recv().ok());
        let Some(batch) = next.filter(|_| !has_failed.load(Ordering::Relaxed)) else { return Ok(()) };
        if let Err(error) = call(batch) {
            // Set before locking: another thread may hold the lock until the next batch comes.
            has_failed.store(true, Ordering::Relaxed);
            // Dropping the receiver wakes up a reader that waits to hand over.
            *locked() = None;
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::clock::now_ms;

    #[test]
    fn each_batch_gets_its_call() {
        let sum = AtomicUsize::new(0);
        let result = concurrent_calls(
            |queue| {
                assert!((1..=100).all(|batch| queue.push(batch)) && !queue.is_closed());
                Ok::<_, ()>(())
            },
            |batch| {
                sum.fetch_add(batch, Ordering::Relaxed);
                Ok(())
            },
        );
        assert_eq!((result, sum.into_inner()), (Ok(()), 5050));
    }

    #[test]
    fn a_failed_call_ends_the_reading_and_its_error_takes_precedence() {
        let mut taken = 0;
        let result = concurrent_calls(
            |queue| {
                taken = (0..1000).take_while(|batch| queue.push(*batch)).count();
                Err("read")
            },
            |batch| if batch == 5 { Err("call") } else { Ok(()) },
        );
        assert_eq!(result, Err("call"));
        assert!((5..1000).contains(&taken), "{taken}");
        assert_eq!(concurrent_calls(|_| Err("read"), |(): ()| Ok(())), Err("read"));
    }

    #[test]
    fn a_slow_reader_sees_that_a_call_failed() {
        let result = concurrent_calls(
            |queue| {
                queue.push(());
                let begun_ms = now_ms();
                while !queue.is_closed() {
                    assert!(now_ms() < begun_ms + 60_000);
                    thread::yield_now();
                }
                Ok(())
            },
            |()| Err("call"),
        );
        assert_eq!(result, Err("call"));
    }
}
