//! Several writes of one request to the same key become one, the last, as the KV documentation advises ("Limits to KV writes to
//! the same key").

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::Poll;

use futures_channel::oneshot;

/// The writes of one request to one key. Those that are made before the first of them is sent become one, the last; so do
/// those that are made while one is under way. Never are two under way at once.
#[derive(Debug)]
pub struct WriteCoalescer<V, O> {
    /// The last value that is not sent yet.
    latest: RefCell<Option<V>>,
    /// Who waits for the write that carries it, in the order of their values.
    waiting: RefCell<Vec<oneshot::Sender<CoalescedPut<O>>>>,
    is_sending: Cell<bool>,
}

/// What became of a caller's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoalescedPut<O> {
    /// It was sent, with this outcome.
    Sent(O),
    /// A later one was sent in its place, with this outcome.
    Superseded(O),
}

impl<V, O: Clone> WriteCoalescer<V, O> {
    /// Nothing is written yet.
    #[must_use]
    pub fn new() -> Self {
        Self { latest: RefCell::new(None), waiting: RefCell::default(), is_sending: Cell::new(false) }
    }

    /// Writes a value: by `send`, or by that of a caller beside this one. Gives the outcome of the write that carried the value
    /// or superseded it; `None` where the caller that was sending is dropped before its end.
    pub async fn put(&self, value: V, send: impl AsyncFn(V) -> O) -> Option<CoalescedPut<O>> {
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
                let last = carried.pop().map(|sender| sender.send(CoalescedPut::Sent(outcome.clone())));
                debug_assert!(last.is_some(), "each value has a caller");
                for sender in carried {
                    let _gone = sender.send(CoalescedPut::Superseded(outcome.clone()));
                }
            }
        }
        outcome.await.ok()
    }

    fn take(&self) -> Option<V> {
        self.latest.borrow_mut().take()
    }
}

impl<V, O: Clone> Default for WriteCoalescer<V, O> {
    fn default() -> Self {
        Self::new()
    }
}

/// Held while one caller sends. Where that caller is dropped, those who wait for it are told, and another may send.
struct Sending<'a, V, O>(&'a WriteCoalescer<V, O>);

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
