//! An iterator that is a step ahead of whoever takes from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{IntoIter, sync_channel};
use std::thread;

/// What an iterator gives that works on a thread of its own. Dropping this waits for nobody: the thread is told to stop and left behind.
#[derive(Debug)]
pub(crate) struct Ahead<T> {
    items: IntoIter<T>,
    stop: Arc<AtomicBool>,
}

impl<T: Send + 'static> Ahead<T> {
    /// `items` are to end soon once `stop` is true.
    pub(super) fn new(items: impl Iterator<Item = T> + Send + 'static, stop: Arc<AtomicBool>) -> Self {
        let (sender, receiver) = sync_channel(1);
        thread::spawn(move || {
            let mut items = items;
            // Until nobody takes any more.
            let _taken = items.try_for_each(|item| sender.send(item));
        });
        Self { items: receiver.into_iter(), stop }
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
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::now_ms;

    #[test]
    fn it_gives_what_the_iterator_gives() {
        assert_eq!(Ahead::new(0..1000, Arc::default()).collect::<Vec<_>>(), (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn dropping_it_waits_for_nobody_and_tells_to_stop() {
        let stop = Arc::new(AtomicBool::new(false));
        let begun_ms = now_ms();
        let slow = std::iter::from_fn(|| {
            thread::sleep(Duration::from_secs(3600));
            Some(())
        });
        drop(Ahead::new(slow, Arc::clone(&stop)));
        assert!(stop.load(Ordering::Relaxed) && now_ms() < begun_ms + 60_000);
    }
}
