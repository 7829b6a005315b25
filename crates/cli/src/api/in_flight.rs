//! Several calls at a time: one thread reads what is to be sent, and waits while there is no room for more.

use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Calls in flight. Each holds up to 80 MB: values, and the JSON of them.
const CALLS: usize = 3;

/// Makes a call for each group that `read` hands over, a few at a time. What takes a group says whether anybody still does: once a call
/// has failed, nobody does, and the others find nothing more to do. So a call whose failure is not to end the others gives `Ok`.
///
/// # Errors
/// That of a call, or else that of `read`.
pub(crate) fn in_flight<G: Send, E: Send>(
    read: impl FnOnce(&mut dyn FnMut(G) -> bool) -> Result<(), E>,
    call: impl Fn(G) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let (sender, receiver) = sync_channel::<G>(0);
    let receiver = Mutex::new(Some(receiver));
    thread::scope(|scope| {
        let calls: Vec<_> = (0..CALLS).map(|_| scope.spawn(|| take(&receiver, &call))).collect();
        let mut outcome = read(&mut |group| sender.send(group).is_ok());
        drop(sender);
        for call in calls {
            let made = call.join().unwrap_or_else(|panicked| std::panic::resume_unwind(panicked));
            outcome = made.and(outcome);
        }
        outcome
    })
}

/// Makes calls until there are no more groups.
fn take<G, E>(groups: &Mutex<Option<Receiver<G>>>, call: impl Fn(G) -> Result<(), E>) -> Result<(), E> {
    let locked = || groups.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let next = locked().as_ref().and_then(|groups| groups.recv().ok());
        let Some(group) = next else { return Ok(()) };
        if let Err(error) = call(group) {
            // Without a receiver the reading ends too.
            *locked() = None;
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn each_group_gets_its_call() {
        let sum = AtomicUsize::new(0);
        let made = in_flight(
            |hand_over| {
                assert!((1..=100).all(hand_over));
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
            |hand_over| {
                taken = (0..1000).take_while(|group| hand_over(*group)).count();
                Err("read")
            },
            |group| if group == 5 { Err("call") } else { Ok(()) },
        );
        assert_eq!(made, Err("call"));
        assert!((5..1000).contains(&taken), "{taken}");
        assert_eq!(in_flight(|_| Err("read"), |(): ()| Ok(())), Err("read"));
    }
}
