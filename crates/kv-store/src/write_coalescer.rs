//! Coalesces the writes of one request to one key, as the KV documentation advises ("Limits to KV
//! writes to the same key"): of those that wait for their turn, only the last one is sent.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::Poll;

use futures_channel::oneshot;

/// The writes of one request to one key. Writes that arrive before the first one is sent, or
/// while one is under way, are coalesced into one with the last value. At most one write is
/// under way.
#[derive(Debug)]
pub struct WriteCoalescer<V, O> {
    /// The last value, until it is sent.
    latest: RefCell<Option<V>>,
    /// The callers whose values the next write covers, in the order of their values.
    waiting: RefCell<Vec<oneshot::Sender<CoalescedPut<O>>>>,
    is_sending: Cell<bool>,
}

/// The outcome of a caller's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoalescedPut<O> {
    /// It was sent, with this outcome.
    Sent(O),
    /// A later value was sent instead, with this outcome.
    Superseded(O),
}

impl<V, O: Clone> WriteCoalescer<V, O> {
    /// Returns a coalescer without writes.
    #[must_use]
    pub fn new() -> Self {
        Self { latest: RefCell::new(None), waiting: RefCell::default(), is_sending: Cell::new(false) }
    }

    /// Writes a value with `send`, or with the `send` of a concurrent caller. Returns the
    /// outcome of the write that had the value or replaced it; `None` if the sending caller was
    /// dropped before its end.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::pin::pin;
    /// use std::task::{Context, Poll, Waker};
    ///
    /// use kv_store::write_coalescer::{CoalescedPut, WriteCoalescer};
    ///
    /// let coalescer = WriteCoalescer::new();
    /// let put = async |value: &str| format!("KV has {value}");
    /// let mut first = pin!(coalescer.put("a", put));
    /// let mut second = pin!(coalescer.put("b", put));
    /// let mut cx = Context::from_waker(Waker::noop());
    /// // The first caller lets others come before it sends.
    /// assert!(first.as_mut().poll(&mut cx).is_pending());
    /// assert!(second.as_mut().poll(&mut cx).is_pending());
    /// let superseded = CoalescedPut::Superseded("KV has b".to_owned());
    /// assert_eq!(first.poll(&mut cx), Poll::Ready(Some(superseded)));
    /// let sent = CoalescedPut::Sent("KV has b".to_owned());
    /// assert_eq!(second.poll(&mut cx), Poll::Ready(Some(sent)));
    /// ```
    #[expect(clippy::missing_panics_doc, reason = "each value has a caller")]
    pub async fn put(&self, value: V, send: impl AsyncFn(V) -> O) -> Option<CoalescedPut<O>> {
        let (sender, outcome) = oneshot::channel();
        self.latest.replace(Some(value));
        self.waiting.borrow_mut().push(sender);
        if !self.is_sending.replace(true) {
            let _guard = SendGuard(self);
            next_turn().await;
            while let Some(value) = self.take() {
                let mut superseded = self.waiting.take();
                #[expect(clippy::expect_used, reason = "a caller adds its value and its sender together")]
                let last = superseded.pop().expect("each value has a caller");
                let outcome = send(value).await;
                // A caller may have been dropped, and then needs no outcome.
                let _gone = last.send(CoalescedPut::Sent(outcome.clone()));
                for sender in superseded {
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

/// Exists while one caller sends. If that caller is dropped, the waiting ones get `None`, and
/// another one may send.
struct SendGuard<'a, V, O>(&'a WriteCoalescer<V, O>);

impl<V, O> Drop for SendGuard<'_, V, O> {
    fn drop(&mut self) {
        self.0.is_sending.set(false);
        self.0.waiting.borrow_mut().clear();
    }
}

/// Lets every other task that is ready run first.
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
