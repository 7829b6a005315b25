//! An iterator that computes its next items on another thread.

use std::sync::mpsc::{IntoIter, sync_channel};
use std::thread;

use tokio_util::sync::CancellationToken;

/// The items of an iterator that runs on a thread of its own, up to two items ahead.
/// Dropping it does not wait: it cancels the token and leaves the thread to end by itself.
#[derive(Debug)]
pub(crate) struct Prefetch<T> {
    items: IntoIter<T>,
    token: CancellationToken,
}

impl<T: Send + 'static> Prefetch<T> {
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

impl<T> Iterator for Prefetch<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.items.next()
    }
}

impl<T> Drop for Prefetch<T> {
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
    fn it_yields_the_items_of_the_iterator() {
        assert_eq!(Prefetch::new(0..1000, CancellationToken::new()).collect::<Vec<_>>(), (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn dropping_it_cancels_the_token_without_waiting_for_the_thread() {
        let token = CancellationToken::new();
        let begun_ms = now_ms();
        let slow = std::iter::from_fn(|| {
            thread::sleep(Duration::from_secs(3600));
            Some(())
        });
        drop(Prefetch::new(slow, token.clone()));
        assert!(token.is_cancelled() && now_ms() < begun_ms + 60_000);
    }
}
