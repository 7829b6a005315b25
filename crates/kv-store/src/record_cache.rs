//! A cache of parsed records in memory. It says when a record is to be refreshed in the
//! background, returns the last known good one if KV has a broken one, and a stale one for an hour
//! if KV fails. Keys that KV does not have and failed reads are cached, too (negative cache).

#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::lru::Lru;
use crate::store_error::StoreError;

/// How long a stale record is served while KV fails, in milliseconds since KV last responded.
const STALE_MS: u64 = 60 * 60 * 1000;

/// A background read that takes longer than this counts as lost, in milliseconds.
const REFRESH_LOST_MS: u64 = 30_000;

/// How long a failed read is cached, in milliseconds from its end, and never longer than a record
/// is fresh.
const FAILURE_MS: u64 = 5000;

/// The records of one kind by key, bounded in bytes. Those whose last read of KV is the oldest
/// are evicted first.
///
/// # Examples
///
/// A record that is fresh for ten seconds:
///
/// ```
/// use kv_store::record_cache::{Lifetime, ReadFailure, RecordCache, RecordLookup, RecordState};
///
/// let mut cache: RecordCache<u32, &str> = RecordCache::new(65_536, 4096, 4096);
/// let lifetime = Lifetime::of_rare(10_000);
/// assert_eq!(cache.look_up("limit", lifetime, 0), RecordLookup::Read);
/// cache.store("limit", Some("7".to_owned()), 7, 1, 0);
/// assert!(matches!(cache.look_up("limit", lifetime, 9_999), RecordLookup::Fresh(_)));
///
/// // One request refreshes it in the background. KV now has a text that is no number, so 7 stays.
/// assert!(matches!(cache.look_up("limit", lifetime, 10_000), RecordLookup::Refresh(_)));
/// let broken = ReadFailure::Broken("not a number");
/// let kept = cache.read_failed("limit", broken, lifetime.fresh_ms, 10_000..10_004).unwrap();
/// assert_eq!((kept.value, kept.record_state), (7, RecordState::LastKnownGood));
/// ```
#[derive(Debug)]
pub struct RecordCache<T, E> {
    records: Lru<CacheEntry<T>>,
    /// Keys that KV does not have. They are apart from the records, because anyone can ask for
    /// keys that they make up.
    absent: Lru<CacheEntry<T>>,
    /// Failed reads: until when they are cached, and why they failed.
    failures: Lru<(u64, ReadFailure<E>)>,
}

#[derive(Debug)]
struct CacheEntry<T> {
    value: T,
    source: RecordSource,
    /// When KV last responded, by the start of that read, in milliseconds since the Unix epoch.
    responded_ms: u64,
    /// When KV was last asked, whether or not it responded, in milliseconds since the Unix epoch.
    asked_ms: u64,
    /// From when the record's [`Lifetime`] counts, in milliseconds since the Unix epoch: the start
    /// of the last read, or the end of one that failed, because it may have hung for longer than
    /// a record is fresh.
    lifetime_start_ms: u64,
    record_state: RecordState,
    /// When a background read began, if one is under way.
    refresh_ms: Option<u64>,
}

/// What a record was parsed from. An unchanged text is not parsed again.
#[derive(Debug, PartialEq, Eq)]
enum RecordSource {
    /// The text in KV, or the part that identifies it.
    Text(Box<str>),
    /// KV has no such key.
    Absent,
    /// Equal to no text, so that the next read parses again.
    Incomplete,
}

impl RecordSource {
    fn is(&self, text: Option<&str>) -> bool {
        match (self, text) {
            (Self::Text(known), Some(text)) => **known == *text,
            (Self::Absent, None) => true,
            _ => false,
        }
    }
}

/// Why there is no record for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadFailure<E> {
    /// KV failed, and no record is in memory, or KV last responded more than an hour ago.
    Store(StoreError),
    /// The text in KV does not parse, and no earlier record is in memory.
    Broken(E),
}

/// How a record in memory relates to KV.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordState {
    /// The record is what KV had at the last read.
    Current,
    /// KV has a broken record now.
    LastKnownGood,
    /// The last read of KV failed.
    Stale,
}

/// A record in memory, and how it relates to KV.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedRecord<T> {
    /// The record.
    pub value: T,
    /// How it relates to KV.
    pub record_state: RecordState,
}

/// The longest time for which a record is fresh, in seconds.
const REFRESH_SECONDS_MAX: u64 = 3600;

/// Parses a var such as `CONFIG_REFRESH`: for how many seconds a record is fresh, an hour at most.
/// `default_seconds` replaces what is not a number. Returns milliseconds.
///
/// # Examples
///
/// ```
/// use kv_store::record_cache::refresh_ms;
///
/// assert_eq!(["10", "", "86400"].map(|var| refresh_ms(var, 30)), [10_000, 30_000, 3_600_000]);
/// ```
#[must_use]
pub fn refresh_ms(var: &str, default_seconds: u64) -> u64 {
    var.trim().parse().unwrap_or(default_seconds).min(REFRESH_SECONDS_MAX) * 1000
}

/// How long a record is used without a read of KV, in milliseconds since the last read: since its
/// start, or since its end if it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// How long the record is fresh.
    pub fresh_ms: u64,
    /// How long the record is used while it is refreshed in the background. After that a request
    /// waits for KV.
    pub usable_ms: u64,
}

impl Lifetime {
    /// Returns the lifetime of a record that few requests need. If none came lately, the next
    /// one waits for KV.
    #[must_use]
    pub const fn of_rare(fresh_ms: u64) -> Self {
        Self { fresh_ms, usable_ms: fresh_ms.saturating_mul(2) }
    }

    /// Returns the lifetime of a record that many requests need. They wait for KV only after a
    /// long silence.
    #[must_use]
    pub const fn of_shared(fresh_ms: u64) -> Self {
        Self { fresh_ms, usable_ms: fresh_ms.saturating_mul(20) }
    }
}

/// What a request should do to get a record.
#[derive(Debug, PartialEq, Eq)]
pub enum RecordLookup<T, E> {
    /// Use this record.
    Fresh(CachedRecord<T>),
    /// Use this record, and refresh it in the background. Only one request is asked to do so,
    /// until its read ends or counts as lost.
    Refresh(CachedRecord<T>),
    /// Read KV.
    Read,
    /// Do not read KV: a read failed a moment ago, for this reason.
    Failed(ReadFailure<E>),
}

impl<T: Clone, E: Clone> RecordCache<T, E> {
    /// Returns an empty cache with a limit in bytes for each of its parts: records, keys that KV
    /// does not have, and failed reads. Without room for failed reads, each request
    /// reads a failing key again.
    #[must_use]
    pub const fn new(records_bytes: usize, absent_bytes: usize, failures_bytes: usize) -> Self {
        Self { records: Lru::new(records_bytes), absent: Lru::new(absent_bytes), failures: Lru::new(failures_bytes) }
    }

    /// Returns the sum of the limits in bytes.
    #[must_use]
    pub const fn bytes_max(&self) -> usize {
        self.records.bytes_max() + self.absent.bytes_max() + self.failures.bytes_max()
    }

    /// Looks a record up and returns what to do.
    pub fn look_up(&mut self, key: &str, lifetime: Lifetime, now_ms: u64) -> RecordLookup<T, E> {
        let Some(entry) = self.get_mut(key) else { return self.look_up_failure(key, now_ms) };
        // If the clock was set back, a read that begins now is later than the last one, and the
        // record is not fresh for ever.
        entry.asked_ms = entry.asked_ms.min(now_ms);
        entry.responded_ms = entry.responded_ms.min(now_ms);
        let age_ms = now_ms.saturating_sub(entry.lifetime_start_ms);
        if now_ms < entry.lifetime_start_ms || age_ms >= lifetime.usable_ms {
            self.look_up_failure(key, now_ms)
        } else if age_ms < lifetime.fresh_ms
            || entry.refresh_ms.is_some_and(|began_ms| now_ms.saturating_sub(began_ms) < REFRESH_LOST_MS)
        {
            RecordLookup::Fresh(entry.cached())
        } else {
            entry.refresh_ms = Some(now_ms);
            RecordLookup::Refresh(entry.cached())
        }
    }

    fn look_up_failure(&self, key: &str, now_ms: u64) -> RecordLookup<T, E> {
        match self.failures.get(key) {
            // If the clock was set back, the entry does not block reads for long.
            Some((until_ms, why)) if now_ms < *until_ms && *until_ms - now_ms <= FAILURE_MS => {
                RecordLookup::Failed(why.clone())
            }
            _ => RecordLookup::Read,
        }
    }

    /// Records that KV has this text, or no such key. Returns the cached record if it was parsed
    /// from the same, or if a later read has stored it. `None` means that the text must be parsed.
    ///
    /// Here and below, `asked_ms` is when the read began. A read that began before the last one
    /// changes nothing.
    pub fn revalidate(&mut self, key: &str, source: Option<&str>, asked_ms: u64) -> Option<CachedRecord<T>> {
        let entry = self.get_mut(key)?;
        if entry.asked_ms <= asked_ms && !entry.source.is(source) {
            return None;
        }
        self.note(key, asked_ms, asked_ms, RecordState::Current)
    }

    /// Stores a record of `bytes` bytes that was parsed from this text, or from the absence of
    /// the key.
    pub fn store(
        &mut self,
        key: &str,
        source: Option<String>,
        value: T,
        bytes: usize,
        asked_ms: u64,
    ) -> CachedRecord<T> {
        if let Some(newer) = self.get_mut(key).filter(|entry| entry.asked_ms > asked_ms) {
            return newer.cached();
        }
        self.forget(key);
        let bytes = bytes + source.as_ref().map_or(0, String::len);
        let lru = if source.is_some() { &mut self.records } else { &mut self.absent };
        let entry = CacheEntry {
            value: value.clone(),
            source: source.map_or(RecordSource::Absent, |text| RecordSource::Text(text.into())),
            responded_ms: asked_ms,
            asked_ms,
            lifetime_start_ms: asked_ms,
            record_state: RecordState::Current,
            refresh_ms: None,
        };
        lru.insert(key, entry, bytes);
        CachedRecord { value, record_state: RecordState::Current }
    }

    /// Makes the next read parse the record again, because something it refers to was not
    /// visible in KV yet.
    pub fn mark_incomplete(&mut self, key: &str) {
        if let Some(entry) = self.get_mut(key) {
            entry.source = RecordSource::Incomplete;
        }
    }

    /// Removes the record, because KV has no such key. The absence is not cached, so a new key
    /// is found at once.
    pub fn remove(&mut self, key: &str, asked_ms: u64) {
        if self.get_mut(key).is_some_and(|entry| entry.asked_ms <= asked_ms) {
            self.forget(key);
        }
    }

    /// Records that a read failed, and returns the record in memory: for ever if KV has a broken
    /// one now, for an hour since KV's last response if KV fails. `read_ms` is when the read
    /// began and ended.
    ///
    /// # Errors
    /// No record is in memory, or KV failed and last responded more than an hour ago. The failure
    /// is cached for up to five seconds, and for at most `fresh_ms` milliseconds.
    pub fn read_failed(
        &mut self,
        key: &str,
        why: ReadFailure<E>,
        fresh_ms: u64,
        read_ms: Range<u64>,
    ) -> Result<CachedRecord<T>, ReadFailure<E>> {
        let record_state = match why {
            ReadFailure::Broken(_) => RecordState::LastKnownGood,
            ReadFailure::Store(_) => RecordState::Stale,
        };
        let is_usable = |entry: &mut CacheEntry<T>| {
            record_state == RecordState::LastKnownGood || read_ms.start.saturating_sub(entry.responded_ms) < STALE_MS
        };
        if self.get_mut(key).is_some_and(is_usable)
            && let Some(cached) = self.note(key, read_ms.start, read_ms.end, record_state)
        {
            return Ok(cached);
        }
        let until_ms = read_ms.end + fresh_ms.min(FAILURE_MS);
        self.failures.insert(key, (until_ms, why.clone()), size_of::<ReadFailure<E>>());
        Err(why)
    }

    /// Returns true if failed reads are cached.
    #[must_use]
    pub const fn caches_failures(&self) -> bool {
        self.failures.bytes_max() > 0
    }

    /// Updates an entry after a read, unless a later read did so before.
    fn note(
        &mut self,
        key: &str,
        asked_ms: u64,
        lifetime_start_ms: u64,
        record_state: RecordState,
    ) -> Option<CachedRecord<T>> {
        self.records.touch(key);
        self.absent.touch(key);
        let entry = self.get_mut(key)?;
        if entry.asked_ms <= asked_ms {
            (entry.asked_ms, entry.lifetime_start_ms) = (asked_ms, lifetime_start_ms);
            entry.record_state = record_state;
            entry.refresh_ms = None;
            if record_state != RecordState::Stale {
                entry.responded_ms = asked_ms;
            }
        }
        Some(entry.cached())
    }

    fn get_mut(&mut self, key: &str) -> Option<&mut CacheEntry<T>> {
        match self.records.get_mut(key) {
            Some(entry) => Some(entry),
            None => self.absent.get_mut(key),
        }
    }

    fn forget(&mut self, key: &str) {
        self.records.remove(key);
        self.absent.remove(key);
    }
}

impl<T: Clone> CacheEntry<T> {
    fn cached(&self) -> CachedRecord<T> {
        CachedRecord { value: self.value.clone(), record_state: self.record_state }
    }
}
