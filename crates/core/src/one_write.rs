//! Several writes of one request to the same key become one, the last, as the KV documentation advises ("Limits to KV writes to
//! the same key").

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::Poll;

use futures_channel::oneshot;

/// The writes of one request to one key. Those that are made before the first of them is sent become one, the last; so do
/// those that are made while one is under way. Never are two under way at once.
#[derive(Debug)]
pub struct OneWrite<V, O> {
    /// The last value that is not sent yet.
    latest: RefCell<Option<V>>,
    /// Who waits for the write that carries it, in the order of their values.
    waiting: RefCell<Vec<oneshot::Sender<Carried<O>>>>,
    is_sending: Cell<bool>,
}

/// What became of a caller's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carried<O> {
    /// It was sent, with this outcome.
    Sent(O),
    /// A later one was sent in its place, with this outcome.
    Superseded(O),
}

impl<V, O: Clone> OneWrite<V, O> {
    /// Nothing is written yet.
    #[must_use]
    pub fn new() -> Self {
        Self { latest: RefCell::new(None), waiting: RefCell::default(), is_sending: Cell::new(false) }
    }

    /// Writes a value: by `send`, or by that of a caller beside this one. Gives the outcome of the write that carried the value
    /// or superseded it; `None` where the caller that was sending is dropped before its end.
    pub async fn put(&self, value: V, send: impl AsyncFn(V) -> O) -> Option<Carried<O>> {
        let (sender, outcome) = oneshot::channel();
        self.latest.replace(Some(value));
        self.waiting.borrow_mut().push(sender);
        if !self.is_sending.replace(true) {
            let _sending = Sending(self);
            next_turn().await;
            while let Some(value) = self.take() {
                let mut carried = self.waiting.take();
                let outcome = send(value).await;
                // A caller that is gone needs no outcome.
                let last = carried.pop().map(|sender| sender.send(Carried::Sent(outcome.clone())));
                debug_assert!(last.is_some(), "each value has a caller");
                for sender in carried {
                    let _gone = sender.send(Carried::Superseded(outcome.clone()));
                }
            }
        }
        outcome.await.ok()
    }

    fn take(&self) -> Option<V> {
        self.latest.borrow_mut().take()
    }
}

impl<V, O: Clone> Default for OneWrite<V, O> {
    fn default() -> Self {
        Self::new()
    }
}

/// Held while one caller sends. Where that caller is dropped, those who wait for it are told, and another may send.
struct Sending<'a, V, O>(&'a OneWrite<V, O>);

impl<V, O> Drop for Sending<'_, V, O> {
    fn drop(&mut self) {
        self.0.is_sending.set(false);
        self.0.waiting.borrow_mut().clear();
    }
}

/// Lets all others that are ready go first.
async fn next_turn() {
    let mut was_asked = false;
    poll_fn(|context| {
        if std::mem::replace(&mut was_asked, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};

    use futures_util::future::select;

    use super::*;
    use crate::retry::Time;
    use crate::virtual_time::{VirtualTime, block_on, join_all};

    /// Writes values at given times, each write taking 100 ms; what was sent, and what each caller was told.
    fn run(writes: &[(u64, u32)]) -> (Vec<u32>, Vec<Option<Carried<u32>>>) {
        let time = VirtualTime::new(0);
        let one = OneWrite::new();
        let values = RefCell::new(Vec::new());
        let send = async |value| {
            values.borrow_mut().push(value);
            time.sleep(100).await;
            value
        };
        let callers = writes.iter().map(async |(at_ms, value)| {
            // The clock moves only when everybody sleeps.
            time.sleep(*at_ms).await;
            one.put(*value, send).await
        });
        let told = block_on(&time, join_all(callers));
        (values.into_inner(), told)
    }

    #[test]
    fn writes_before_the_first_is_sent_become_the_last() {
        let (sent, told) = run(&[(0, 1), (0, 2), (0, 3)]);
        assert_eq!(sent, [3]);
        assert_eq!(told, [Some(Carried::Superseded(3)), Some(Carried::Superseded(3)), Some(Carried::Sent(3))]);
    }

    #[test]
    fn writes_while_one_is_under_way_become_one_more() {
        let (sent, told) = run(&[(1, 10), (20, 20), (50, 30), (400, 40)]);
        assert_eq!(sent, [10, 30, 40]);
        assert_eq!(
            told,
            [Some(Carried::Sent(10)), Some(Carried::Superseded(30)), Some(Carried::Sent(30)), Some(Carried::Sent(40))]
        );
    }

    #[test]
    fn a_sender_that_is_dropped_leaves_nobody_waiting() {
        let time = VirtualTime::new(0);
        let one = OneWrite::<u32, ()>::new();
        let slow = async |_| time.sleep(1000).await;
        let given_up = async {
            let first = pin!(one.put(1, slow));
            let _not_yet = select(first, pin!(time.sleep(10))).await;
            None
        };
        let second = async {
            time.sleep(5).await;
            one.put(2, slow).await
        };
        let third = async {
            time.sleep(50).await;
            one.put(3, slow).await
        };
        let callers: [Pin<Box<dyn Future<Output = _>>>; 3] = [Box::pin(given_up), Box::pin(second), Box::pin(third)];
        let told = block_on(&time, join_all(callers));
        assert_eq!(told, [None, None, Some(Carried::Sent(()))]);
    }
}
