//! The cache in the memory of one isolate, in front of Workers KV.
//!
//! It holds stored responses with short bodies, the times of invalidations, the state of
//! background refreshes, the keys that are being fetched, and what selects the variants of a URL.
//! KV needs up to 60 seconds to show a write or a delete everywhere, so an isolate must itself
//! remember what it invalidated: until then an older response read from KV is not used.
//!
//! Times are milliseconds since the Unix epoch. Concurrent requests see slightly different
//! clocks, and a clock can be set back, so whatever must end after a while compares the distance
//! of two times.

#[cfg(test)]
mod tests;

use std::rc::Rc;

use crate::stored_response::{StoredMetadata, StoredResponse};
use crate::vary::SelectingFields;
use http_semantics::fields::Fields;
use kv_store::lru::Lru;

/// The longest body that is held in memory, in bytes.
pub const BODY_BYTES_MAX: u32 = 64 * 1024;
/// How long an invalidation is remembered, unless more keys are invalidated than there is room
/// for: longer than KV may still show the old value (60 s), and longer than a request takes that
/// began before the invalidation. A response whose body takes longer is not stored.
const INVALIDATED_MS: u64 = 2 * 60 * 1000;
/// A refresh that has not ended this long after its begin never will: the runtime ended its
/// request.
const REFRESH_LOST_MS: u64 = 30_000;
/// The backoff after the first failure; each further one doubles it.
const BACKOFF_MS: u64 = 1000;
const BACKOFF_MAX_MS: u64 = 60_000;

/// Returns true if invalidations since `requested_ms` may be forgotten: that is more than two
/// minutes ago.
#[must_use]
pub fn may_have_forgotten(requested_ms: u64, now_ms: u64) -> bool {
    requested_ms.abs_diff(now_ms) > INVALIDATED_MS
}

/// A stored response in memory.
#[derive(Debug, Clone)]
pub struct MemoryEntry<B> {
    /// The response without its body.
    pub stored: Rc<StoredResponse>,
    /// The body.
    pub body: B,
}

/// The in-memory cache of one isolate, bounded in bytes; the least recently used entries are
/// evicted first. `B` is a handle to a body, and its clones share the bytes.
///
/// # Examples
///
/// ```
/// use http_cache::memory_cache::{MemoryCache, MemoryEntry};
/// use http_cache::stored_response::{StoredMetadata, StoredResponse};
///
/// let response = |requested_ms| {
///     let stored = StoredResponse::new(StoredMetadata::unknown(requested_ms), None);
///     MemoryEntry { stored: stored.into(), body: "<p>Tea</p>" }
/// };
/// let mut memory = MemoryCache::new(65_536, 4096, 4096);
/// let (key, lifetime_ms) = ("GET https://example.com/", 5000);
/// memory.insert(key, response(1000), 1100);
/// assert!(memory.get(key, lifetime_ms, 6099).is_some());
///
/// // A write to the URL succeeds. KV still shows the older response, which is not used.
/// memory.invalidate(key, 6100);
/// memory.insert(key, response(6000), 6200);
/// assert!(memory.get(key, lifetime_ms, 6200).is_none());
/// ```
#[derive(Debug)]
pub struct MemoryCache<B> {
    entries: Lru<TimedEntry<B>>,
    /// When each key was invalidated.
    invalidated: Lru<u64>,
    refreshes: Lru<RefreshState>,
    /// When the request for each key began that other requests wait for.
    fetches: Lru<u64>,
    /// The selecting fields of the response under each URL's key, if it has any.
    selecting_fields: Lru<SelectingFields>,
}

#[derive(Debug)]
struct TimedEntry<B> {
    entry: MemoryEntry<B>,
    inserted_ms: u64,
}

#[derive(Debug, Default)]
struct RefreshState {
    /// When the refresh began that is in progress.
    began_ms: Option<u64>,
    /// How many requests to the upstream failed in a row, those during a backoff not counted.
    failures: u32,
    /// When the last of these failed.
    failed_ms: u64,
}

impl<B: Clone> MemoryCache<B> {
    /// Creates an empty cache with these bounds in bytes: for responses with their bodies, for
    /// invalidations, and for the state of refreshes. The last one also bounds, separately, the
    /// list of fetches that other requests wait for, and the list of selecting fields.
    #[must_use]
    pub const fn new(entries_bytes: usize, invalidated_bytes: usize, refreshes_bytes: usize) -> Self {
        Self {
            entries: Lru::new(entries_bytes),
            invalidated: Lru::new(invalidated_bytes),
            refreshes: Lru::new(refreshes_bytes),
            fetches: Lru::new(refreshes_bytes),
            selecting_fields: Lru::new(refreshes_bytes),
        }
    }

    /// Returns the sum of its bounds, in bytes.
    #[must_use]
    pub const fn bytes_max(&self) -> usize {
        self.entries.bytes_max()
            + self.invalidated.bytes_max()
            + self.refreshes.bytes_max()
            + self.fetches.bytes_max()
            + self.selecting_fields.bytes_max()
    }

    /// Returns the response under this key if it was inserted less than `lifetime_ms`
    /// milliseconds ago; removes it otherwise.
    pub fn get(&mut self, key: &str, lifetime_ms: u64, now_ms: u64) -> Option<MemoryEntry<B>> {
        self.drop_old_invalidations(now_ms);
        let timed = self.entries.get(key)?;
        // `None` if the clock was set back: then the age of the entry is unknown.
        if now_ms.checked_sub(timed.inserted_ms).is_some_and(|age_ms| age_ms < lifetime_ms) {
            let entry = timed.entry.clone();
            self.entries.touch(key);
            Some(entry)
        } else {
            self.entries.remove(key);
            None
        }
    }

    /// Returns the selecting fields that the response under this URL's key had when it was last
    /// read. They outlive the response in memory: they say what to read from KV, not what to use.
    #[must_use]
    pub fn selecting_fields(&self, key: &str) -> Option<&SelectingFields> {
        self.selecting_fields.get(key)
    }

    /// Remembers the selecting fields of the response under this URL's key.
    pub fn remember_selecting_fields(&mut self, key: &str, selecting_fields: &SelectingFields) {
        if selecting_fields.is_empty() {
            self.selecting_fields.remove(key);
        } else if self.selecting_fields.get(key) == Some(selecting_fields) {
            self.selecting_fields.touch(key);
        } else {
            let bytes = selecting_fields_size(selecting_fields);
            self.selecting_fields.insert(key, selecting_fields.clone(), bytes);
        }
    }

    /// Inserts a response, whose body the caller has found to be no longer than
    /// [`BODY_BYTES_MAX`].
    ///
    /// Nothing changes if the response was requested before the key was invalidated, or before
    /// the response that is in memory: KV shows older values for a while.
    pub fn insert(&mut self, key: &str, entry: MemoryEntry<B>, now_ms: u64) {
        self.drop_old_invalidations(now_ms);
        let requested_ms = entry.stored.metadata.times.requested_ms;
        let newer = self.entries.get(key).filter(|timed| timed.entry.stored.metadata.times.requested_ms > requested_ms);
        if newer.is_some() || self.is_invalidated(key, requested_ms) {
            return;
        }
        let bytes = size(&entry);
        self.entries.insert(key, TimedEntry { entry, inserted_ms: now_ms }, bytes);
    }

    /// Removes the response under this key if it was requested before that time.
    pub fn remove_older(&mut self, key: &str, requested_ms: u64) {
        if self.entries.get(key).is_some_and(|timed| timed.entry.stored.metadata.times.requested_ms < requested_ms) {
            self.entries.remove(key);
        }
    }

    /// Removes the response under this key and, for two minutes, rejects all responses that were
    /// requested before or at `now_ms` (RFC 9111 §4.4, "invalidate").
    ///
    /// The next invalidation of a key counts as later, even in the same millisecond. So if two
    /// writes end together, the response to neither of them stays.
    pub fn invalidate(&mut self, key: &str, now_ms: u64) {
        self.drop_old_invalidations(now_ms);
        self.entries.remove(key);
        let at_ms = self.invalidated.get(key).map_or(now_ms, |at_ms| now_ms.max(at_ms + 1));
        self.invalidated.insert(key, at_ms, 0);
    }

    /// Returns true if a response requested at `requested_ms` is older than the key's last
    /// invalidation.
    #[must_use]
    pub fn is_invalidated(&self, key: &str, requested_ms: u64) -> bool {
        self.invalidated.get(key).is_some_and(|at_ms| requested_ms <= *at_ms)
    }

    /// Returns true if a response requested at `requested_ms` must not be stored any more: the
    /// key was invalidated since, or a newer response is in memory.
    #[must_use]
    pub fn is_outdated(&self, key: &str, requested_ms: u64) -> bool {
        let newest = self.entries.get(key).map(|timed| timed.entry.stored.metadata.times.requested_ms);
        newest.is_some_and(|newest_ms| newest_ms > requested_ms) || self.is_invalidated(key, requested_ms)
    }

    /// Returns true if the caller is to refresh this key now. Returns false while another
    /// refresh is in progress, or during the backoff. The caller must report the end with
    /// [`MemoryCache::record_refresh_outcome`]. If it never does, the next refresh has to wait
    /// 30 s.
    pub fn try_begin_refresh(&mut self, key: &str, now_ms: u64) -> bool {
        if self.is_backing_off(key, now_ms) {
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

    /// Records how the refresh of this key ended. After a failure there is a backoff of 1 s, which
    /// each further failure doubles, up to a minute. Failures during the backoff do not prolong
    /// it, because their requests began before.
    pub fn record_refresh_outcome(&mut self, key: &str, has_failed: bool, now_ms: u64) {
        let refresh = self.refreshes.remove(key).unwrap_or_default();
        self.update_backoff(key, RefreshState { began_ms: None, ..refresh }, has_failed, now_ms);
    }

    /// Records how another request to the upstream for this key ended. It counts for the backoff
    /// like a refresh; one that is in progress goes on.
    pub fn record_upstream_outcome(&mut self, key: &str, has_failed: bool, now_ms: u64) {
        let refresh = self.refreshes.remove(key).unwrap_or_default();
        self.update_backoff(key, refresh, has_failed, now_ms);
    }

    fn update_backoff(&mut self, key: &str, mut refresh: RefreshState, has_failed: bool, now_ms: u64) {
        if !has_failed {
            (refresh.failures, refresh.failed_ms) = (0, 0);
        } else if !refresh.is_backing_off(now_ms) {
            refresh.failures += 1;
            refresh.failed_ms = now_ms;
        }
        if refresh.failures > 0 || refresh.began_ms.is_some() {
            self.refreshes.insert(key, refresh, 0);
        }
    }

    /// Returns true if the caller is to fetch this key now, and false if another request does so
    /// already. The caller reports the end with [`MemoryCache::record_fetch_end`]. If it never
    /// does, because the runtime ended its request, the fetch counts as lost `lost_ms`
    /// milliseconds after its begin.
    pub fn try_begin_fetch(&mut self, key: &str, lost_ms: u64, now_ms: u64) -> bool {
        let is_first = !self.is_fetching(key, lost_ms, now_ms);
        if is_first {
            self.fetches.insert(key, now_ms, 0);
        }
        is_first
    }

    /// Returns true if a request fetches this key, which began less than `lost_ms` milliseconds
    /// ago.
    #[must_use]
    pub fn is_fetching(&self, key: &str, lost_ms: u64, now_ms: u64) -> bool {
        self.fetches.get(key).is_some_and(|began_ms| began_ms.abs_diff(now_ms) < lost_ms)
    }

    /// Records the end of the fetch of this key that began at this time.
    pub fn record_fetch_end(&mut self, key: &str, began_ms: u64) {
        // Another request may have taken over a lost one.
        if self.fetches.get(key) == Some(&began_ms) {
            self.fetches.remove(key);
        }
    }

    /// Returns true during the backoff: a refresh, or another request to the upstream for this
    /// key, has failed.
    #[must_use]
    pub fn is_backing_off(&self, key: &str, now_ms: u64) -> bool {
        self.refreshes.get(key).is_some_and(|refresh| refresh.is_backing_off(now_ms))
    }

    fn drop_old_invalidations(&mut self, now_ms: u64) {
        while self.invalidated.oldest().is_some_and(|(_, at_ms)| at_ms.abs_diff(now_ms) > INVALIDATED_MS) {
            self.invalidated.remove_oldest();
        }
    }
}

impl RefreshState {
    fn is_backing_off(&self, now_ms: u64) -> bool {
        let Some(doublings) = self.failures.checked_sub(1) else { return false };
        let lasts_ms = BACKOFF_MS.saturating_mul(2_u64.saturating_pow(doublings)).min(BACKOFF_MAX_MS);
        self.failed_ms.abs_diff(now_ms) < lasts_ms
    }
}

/// Returns the size in bytes of an entry without its key: its metadata as it lies in memory, and
/// its body.
#[expect(clippy::expect_used, reason = "no stored response is longer than a value of Workers KV")]
fn size<B>(entry: &MemoryEntry<B>) -> usize {
    // Without `..`, so that the compiler asks whether a new member takes memory of its own.
    let StoredMetadata { status: _, fields, times: _, length, selecting_fields, epoch_ms: _ } = &entry.stored.metadata;
    let body = usize::try_from(*length).expect("25 MiB fit an address");
    let head = size_of::<StoredResponse>() + fields.as_str().len() + fields.names().len();
    head + selecting_fields_size(selecting_fields) + body
}

/// Returns the length of all names and values in bytes.
fn selecting_fields_size(selecting_fields: &SelectingFields) -> usize {
    selecting_fields.iter().map(|(name, value)| name.len() + value.len()).sum()
}
