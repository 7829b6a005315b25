//! An iterator that computes its next item on another thread.

use std::sync::mpsc::{IntoIter, sync_channel};
use std::thread;

use tokio_util::sync::CancellationToken;

/// The items of an iterator that runs on a thread of its own, one item ahead of the consumer.
/// Dropping it does not wait: it cancels the token and leaves the thread to end by itself.
#[derive(Debug)]
pub(crate) struct Ahead<T> {
    items: IntoIter<T>,
    token: CancellationToken,
}

impl<T: Send + 'static> Ahead<T> {
    /// Starts the thread. `items` must end soon after `token` is cancelled.
    pub(super) fn new(items: impl Iterator<Item = T> + Send + 'static, token: CancellationToken) -> Self {
        let (sender, receiver) = sync_channel(1);
        thread::spawn(move || {
            for item in items {
                if sender.send(item).is_err() {
                    break; // The consumer is gone.
                }
            }
        });
        Self { items: receiver.into_iter(), token }
    }
}

impl<T> Iterator for Ahead<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.items.next()
    }
}

impl<T> Drop for Ahead<T> {
    fn drop(&mut self) {
        self.token.cancel();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::now_ms;

    #[test]
    fn it_gives_what_the_iterator_gives() {
        assert_eq!(Ahead::new(0..1000, CancellationToken::new()).collect::<Vec<_>>(), (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn dropping_it_waits_for_nobody_and_cancels_what_it_does() {
        let token = CancellationToken::new();
        let begun_ms = now_ms();
        let slow = std::iter::from_fn(|| {
            thread::sleep(Duration::from_secs(3600));
            Some(())
        });
        drop(Ahead::new(slow, token.clone()));
        assert!(token.is_cancelled() && now_ms() < begun_ms + 60_000);
    }
}
