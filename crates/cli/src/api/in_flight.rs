//! Several calls at a time: one thread reads what to send and waits while all calls are busy.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// The number of calls in flight. Each holds up to 80 MB: values and their JSON.
const CALLS: usize = 3;

/// The sending end of the queue of calls.
#[derive(Debug)]
pub(crate) struct Taker<'t, G> {
    groups: SyncSender<G>,
    has_failed: &'t AtomicBool,
}

impl<G> Taker<'_, G> {
    /// Hands a batch over to the next free call, waiting for one. Returns false if a call has
    /// failed and no more are made.
    pub(crate) fn take(&self, group: G) -> bool {
        !self.is_over() && self.groups.send(group).is_ok()
    }

    /// Returns true once a call has failed: no more calls are made, so reading on is useless.
    pub(crate) fn is_over(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }
}

/// Makes a call for each batch that `read` hands over, a few at a time. Once a call has failed,
/// no further calls are made. A call that fails without ending the others must return `Ok`.
///
/// # Errors
/// The error of a call, or else the error of `read`.
pub(crate) fn in_flight<G: Send, E: Send>(
    read: impl FnOnce(&Taker<'_, G>) -> Result<(), E>,
    call: impl Fn(G) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let (sender, receiver) = sync_channel::<G>(0);
    let (receiver, has_failed) = (Mutex::new(Some(receiver)), AtomicBool::new(false));
    thread::scope(|scope| {
        let calls: Vec<_> = (0..CALLS).map(|_| scope.spawn(|| make(&receiver, &has_failed, &call))).collect();
        let taker = Taker { groups: sender, has_failed: &has_failed };
        let mut outcome = read(&taker);
        drop(taker);
        for call in calls {
            let made = call.join().unwrap_or_else(|panicked| std::panic::resume_unwind(panicked));
            outcome = made.and(outcome);
        }
        outcome
    })
}

/// Makes calls until there are no more batches.
fn make<G, E>(
    groups: &Mutex<Option<Receiver<G>>>,
    has_failed: &AtomicBool,
    call: impl Fn(G) -> Result<(), E>,
) -> Result<(), E> {
    let locked = || groups.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let next = locked().as_ref().and_then(|groups| groups.recv().ok());
        let Some(group) = next.filter(|_| !has_failed.load(Ordering::Relaxed)) else { return Ok(()) };
        if let Err(error) = call(group) {
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
    fn each_group_gets_its_call() {
        let sum = AtomicUsize::new(0);
        let made = in_flight(
            |taker| {
                assert!((1..=100).all(|group| taker.take(group)) && !taker.is_over());
                Ok::<_, ()>(())
            },
            |group| {
                sum.fetch_add(group, Ordering::Relaxed);
                Ok(())
            },
        );
        assert_eq!((made, sum.into_inner()), (Ok(()), 5050));
    }

    #[test]
    fn a_call_that_fails_ends_the_reading_and_wins_over_its_error() {
        let mut taken = 0;
        let made = in_flight(
            |taker| {
                taken = (0..1000).take_while(|group| taker.take(*group)).count();
                Err("read")
            },
            |group| if group == 5 { Err("call") } else { Ok(()) },
        );
        assert_eq!(made, Err("call"));
        assert!((5..1000).contains(&taken), "{taken}");
        assert_eq!(in_flight(|_| Err("read"), |(): ()| Ok(())), Err("read"));
    }

    #[test]
    fn who_reads_for_long_before_it_hands_over_again_sees_that_a_call_failed() {
        let made = in_flight(
            |taker| {
                taker.take(());
                let begun_ms = now_ms();
                while !taker.is_over() {
                    assert!(now_ms() < begun_ms + 60_000);
                    thread::yield_now();
                }
                Ok(())
            },
            |()| Err("call"),
        );
        assert_eq!(made, Err("call"));
    }
}
