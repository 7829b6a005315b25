//! What an isolate remembers of stored answers, of what was invalidated, and of refreshes that are under way or failed.
//!
//! A time is milliseconds since the Unix epoch. As in circuits, requests that run side by side have clocks
//! that differ a little, and a clock can be set back, so what must end counts the distance of two times.

#[cfg(test)]
mod tests;

use std::rc::Rc;

use crate::stored::{Kept, Stored};
use http_semantics::fields::Fields;
use kv_store::lru::Lru;

/// The longest body that is remembered, in bytes.
pub const BODY_BYTES_MAX: u32 = 64 * 1024;
/// How long an invalidation counts at least: for longer than KV still shows what was overwritten (60 s), and than a request
/// that began before it takes.
const INVALIDATED_MS: u64 = 2 * 60 * 1000;
/// A refresh that has not ended by then never will: its request was ended.
const REFRESH_LOST_MS: u64 = 30_000;
/// How long a key is left alone after a failed refresh; each further failure doubles it.
const LEFT_ALONE_MS: u64 = 1000;
const LEFT_ALONE_MAX_MS: u64 = 60_000;

/// A stored answer in memory.
#[derive(Debug, Clone)]
pub struct Entry<B> {
    /// All but the body.
    pub kept: Rc<Kept>,
    /// The body.
    pub body: B,
}

/// What one isolate remembers, bounded in bytes: what was not used for the longest time goes
/// first. `B` is a handle of a body, which a clone shares.
#[derive(Debug)]
pub struct Hot<B> {
    entries: Lru<Held<B>>,
    /// When each key was invalidated.
    invalidated: Lru<u64>,
    refreshes: Lru<Refresh>,
}

#[derive(Debug)]
struct Held<B> {
    entry: Entry<B>,
    inserted_ms: u64,
}

#[derive(Debug, Default)]
struct Refresh {
    /// When the one that is under way began.
    began_ms: Option<u64>,
    /// How many failed in a row.
    failures: u32,
    /// When the last of them failed.
    failed_ms: u64,
}

impl<B: Clone> Hot<B> {
    /// Remembers nothing, and later no more than so many bytes: of answers with their bodies, of
    /// invalidations, and of refreshes.
    #[must_use]
    pub const fn new(entries_bytes: usize, invalidated_bytes: usize, refreshes_bytes: usize) -> Self {
        Self {
            entries: Lru::new(entries_bytes),
            invalidated: Lru::new(invalidated_bytes),
            refreshes: Lru::new(refreshes_bytes),
        }
    }

    /// Returns the most bytes that this remembers.
    #[must_use]
    pub const fn bytes_max(&self) -> usize {
        self.entries.bytes_max() + self.invalidated.bytes_max() + self.refreshes.bytes_max()
    }

    /// The answer under this key, where it was put here less than `kept_ms` milliseconds ago.
    pub fn get(&mut self, key: &str, kept_ms: u64, now_ms: u64) -> Option<Entry<B>> {
        self.forget_invalidations(now_ms);
        let held = self.entries.get(key)?;
        // `None` where the clock was set back: how old the answer is cannot be known then.
        if now_ms.checked_sub(held.inserted_ms).is_some_and(|age_ms| age_ms < kept_ms) {
            let entry = held.entry.clone();
            self.entries.touch(key);
            Some(entry)
        } else {
            self.entries.remove(key);
            None
        }
    }

    /// Remembers an answer whose body is no longer than [`BODY_BYTES_MAX`]. What was asked for before the key was invalidated, or
    /// before the answer that is remembered, changes nothing: KV shows an older copy for a while.
    pub fn insert(&mut self, key: &str, entry: Entry<B>, now_ms: u64) {
        self.forget_invalidations(now_ms);
        let requested_ms = entry.kept.stored.times.requested_ms;
        let newer = self.entries.get(key).filter(|held| held.entry.kept.stored.times.requested_ms > requested_ms);
        if newer.is_some() || self.is_invalidated(key, requested_ms) {
            return;
        }
        let bytes = size(&entry);
        self.entries.insert(key, Held { entry, inserted_ms: now_ms }, bytes);
    }

    /// Forgets the answer under this key where it was asked for before then.
    pub fn forget_older(&mut self, key: &str, requested_ms: u64) {
        if self.entries.get(key).is_some_and(|held| held.entry.kept.stored.times.requested_ms < requested_ms) {
            self.entries.remove(key);
        }
    }

    /// Forgets the answer under this key, and for two minutes at least all that was asked for until now
    /// (RFC 9111 §4.4, "invalidate").
    pub fn invalidate(&mut self, key: &str, now_ms: u64) {
        self.forget_invalidations(now_ms);
        self.entries.remove(key);
        let at_ms = self.invalidated.get(key).map_or(now_ms, |at_ms| now_ms.max(*at_ms));
        self.invalidated.insert(key, at_ms, 0);
    }

    /// True where an answer that was asked for at `requested_ms` is older than the key's invalidation.
    #[must_use]
    pub fn is_invalidated(&self, key: &str, requested_ms: u64) -> bool {
        self.invalidated.get(key).is_some_and(|at_ms| requested_ms <= *at_ms)
    }

    /// True where an answer that was asked for at `requested_ms` must not be kept any more: the key was invalidated since, or a
    /// newer answer is remembered.
    #[must_use]
    pub fn is_outdated(&self, key: &str, requested_ms: u64) -> bool {
        let newest = self.entries.get(key).map(|held| held.entry.kept.stored.times.requested_ms);
        newest.is_some_and(|newest_ms| newest_ms > requested_ms) || self.is_invalidated(key, requested_ms)
    }

    /// Asks for a refresh of this key. False where one is under way, or where the key is left alone. How it ends must be told
    /// to [`Hot::end_refresh`]; otherwise the next one has to wait 30 s.
    pub fn begin_refresh(&mut self, key: &str, now_ms: u64) -> bool {
        if self.is_left_alone(key, now_ms) {
            return false;
        }
        let mut refresh = self.refreshes.remove(key).unwrap_or_default();
        let is_under_way = refresh.began_ms.is_some_and(|began_ms| began_ms.abs_diff(now_ms) < REFRESH_LOST_MS);
        if !is_under_way {
            refresh.began_ms = Some(now_ms);
        }
        self.refreshes.insert(key, refresh, 0);
        !is_under_way
    }

    /// Notes how a refresh ended, or any other request to the key's upstream. After a failure the key is left alone for 1 s,
    /// after each further one for twice as long, a minute at most. Failures that come in while it is left alone make that no
    /// longer: their requests began before.
    pub fn end_refresh(&mut self, key: &str, has_failed: bool, now_ms: u64) {
        let refresh = self.refreshes.remove(key);
        if !has_failed {
            return;
        }
        let mut refresh = refresh.unwrap_or_default();
        refresh.began_ms = None;
        if !refresh.is_left_alone(now_ms) {
            refresh.failures = refresh.failures.saturating_add(1);
            refresh.failed_ms = now_ms;
        }
        self.refreshes.insert(key, refresh, 0);
    }

    /// True where the last refresh failed so lately that none is to begin.
    #[must_use]
    pub fn is_left_alone(&self, key: &str, now_ms: u64) -> bool {
        self.refreshes.get(key).is_some_and(|refresh| refresh.is_left_alone(now_ms))
    }

    fn forget_invalidations(&mut self, now_ms: u64) {
        while self.invalidated.oldest().is_some_and(|(_, at_ms)| at_ms.abs_diff(now_ms) > INVALIDATED_MS) {
            self.invalidated.remove_oldest();
        }
    }
}

impl Refresh {
    fn is_left_alone(&self, now_ms: u64) -> bool {
        let Some(doublings) = self.failures.checked_sub(1) else { return false };
        let lasts_ms = LEFT_ALONE_MS.saturating_mul(2_u64.saturating_pow(doublings)).min(LEFT_ALONE_MAX_MS);
        self.failed_ms.abs_diff(now_ms) < lasts_ms
    }
}

/// Returns the bytes of an entry beside its key: its head as it lies in memory, and its body.
fn size<B>(entry: &Entry<B>) -> usize {
    let Stored { fields, selecting, length, .. } = &entry.kept.stored;
    let selecting = selecting.iter().flat_map(|(name, value)| [name.len(), value.len()]);
    let body = usize::try_from(*length).unwrap_or(usize::MAX);
    let head = size_of::<Kept>() + fields.as_str().len() + fields.names().len();
    [head, body].into_iter().chain(selecting).fold(0, usize::saturating_add)
}
