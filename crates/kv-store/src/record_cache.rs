//! A cache of parsed records in memory. It says when a record is to be refreshed in the
//! background, returns the last known good one if KV has a broken one, and a stale one for an hour
//! if KV fails. Keys that KV does not have and failed reads are cached, too (negative cache).

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

#[cfg(test)]
mod tests {
    use super::*;

    const REFRESH: u64 = 10_000;
    const LIFETIME: Lifetime = Lifetime::of_rare(REFRESH);

    fn cache() -> RecordCache<u32, ()> {
        RecordCache::new(1000 * 200, 1000 * 200, 1000)
    }

    fn store(cache: &mut RecordCache<u32, ()>, key: &str, text: &str, value: u32, asked_ms: u64) -> CachedRecord<u32> {
        cache.store(key, Some(text.to_owned()), value, text.len(), asked_ms)
    }

    fn broken(cache: &mut RecordCache<u32, ()>, key: &str, asked_ms: u64) -> Option<CachedRecord<u32>> {
        cache.read_failed(key, ReadFailure::Broken(()), REFRESH, asked_ms..asked_ms).ok()
    }

    fn fail(cache: &mut RecordCache<u32, ()>, key: &str, asked_ms: u64) -> Option<CachedRecord<u32>> {
        cache.read_failed(key, ReadFailure::Store(StoreError::missing()), REFRESH, asked_ms..asked_ms).ok()
    }

    fn current(value: u32) -> CachedRecord<u32> {
        CachedRecord { value, record_state: RecordState::Current }
    }

    #[test]
    fn a_refresh_time_is_an_hour_at_most_and_an_invalid_one_is_the_default() {
        for (var, seconds) in [("5", 5), (" 0 ", 0), ("3601", 3600), ("", 10), ("soon", 10), ("-1", 10)] {
            assert_eq!(refresh_ms(var, 10), seconds * 1000, "{var}");
        }
    }

    #[test]
    fn a_record_is_fresh_then_read_once_in_the_background_then_read_first() {
        let mut cache = cache();
        assert_eq!(cache.look_up("a", LIFETIME, 0), RecordLookup::Read);
        store(&mut cache, "a", "1", 1, 1000);
        assert_eq!(cache.look_up("a", LIFETIME, 10_999), RecordLookup::Fresh(current(1)));
        assert_eq!(cache.look_up("a", LIFETIME, 11_000), RecordLookup::Refresh(current(1)));
        assert_eq!(
            cache.look_up("a", LIFETIME, 11_001),
            RecordLookup::Fresh(current(1)),
            "one background read is enough"
        );
        assert_eq!(cache.look_up("a", LIFETIME, 21_000), RecordLookup::Read, "it did not end in time");
        assert_eq!(cache.revalidate("a", Some("1"), 21_000), Some(current(1)));
        assert_eq!(cache.look_up("a", LIFETIME, 21_001), RecordLookup::Fresh(current(1)));
        assert_eq!(cache.revalidate("a", Some("2"), 21_002), None);
        store(&mut cache, "a", "2", 2, 21_002);
        assert_eq!(cache.look_up("a", LIFETIME, 21_003), RecordLookup::Fresh(current(2)));
    }

    #[test]
    fn a_background_read_that_was_lost_is_begun_again() {
        let mut cache = cache();
        store(&mut cache, "a", "1", 1, 0);
        assert_eq!(cache.look_up("a", Lifetime::of_rare(60_000), 60_000), RecordLookup::Refresh(current(1)));
        assert_eq!(cache.look_up("a", Lifetime::of_rare(60_000), 89_999), RecordLookup::Fresh(current(1)));
        assert_eq!(cache.look_up("a", Lifetime::of_rare(60_000), 90_000), RecordLookup::Refresh(current(1)));
    }

    #[test]
    fn without_a_refresh_time_kv_is_read_each_time_and_the_last_good_record_is_still_known() {
        let mut cache = cache();
        store(&mut cache, "a", "1", 1, 1000);
        assert_eq!(cache.look_up("a", Lifetime::of_rare(0), 1000), RecordLookup::Read);
        assert_eq!(
            broken(&mut cache, "a", 1000),
            Some(CachedRecord { value: 1, record_state: RecordState::LastKnownGood })
        );
    }

    #[test]
    fn after_the_clock_was_set_back_a_read_that_begins_counts() {
        let after = || {
            let mut cache = cache();
            store(&mut cache, "a", "1", 1, 100_000_000);
            assert_eq!(cache.look_up("a", LIFETIME, 1000), RecordLookup::Read);
            cache
        };
        let mut stored = after();
        assert_eq!(stored.revalidate("a", Some("2"), 1000), None);
        assert_eq!(store(&mut stored, "a", "2", 2, 1000), current(2));
        assert_eq!(stored.look_up("a", LIFETIME, 1001), RecordLookup::Fresh(current(2)));

        let mut unchanged = after();
        assert_eq!(unchanged.revalidate("a", Some("1"), 1000), Some(current(1)));
        assert_eq!(unchanged.look_up("a", LIFETIME, 1001), RecordLookup::Fresh(current(1)));

        let mut removed = after();
        removed.remove("a", 1000);
        assert!(removed.records.is_empty());

        let mut failed = after();
        let stale = CachedRecord { value: 1, record_state: RecordState::Stale };
        assert_eq!(fail(&mut failed, "a", 1000), Some(stale.clone()));
        assert_eq!(failed.look_up("a", LIFETIME, 1001), RecordLookup::Fresh(stale));
        assert_eq!(fail(&mut failed, "a", 1000 + STALE_MS), None, "KV has not responded for an hour");
    }

    #[test]
    fn the_last_good_record_is_served_without_limit_if_kv_has_a_broken_one_and_for_an_hour_if_kv_fails() {
        let mut cache = cache();
        assert_eq!(broken(&mut cache, "a", 0), None);
        assert_eq!(fail(&mut cache, "a", 0), None);
        store(&mut cache, "a", "1", 1, 0);
        assert_eq!(
            broken(&mut cache, "a", 1000),
            Some(CachedRecord { value: 1, record_state: RecordState::LastKnownGood })
        );
        let last_good = CachedRecord { value: 1, record_state: RecordState::LastKnownGood };
        assert_eq!(
            cache.look_up("a", LIFETIME, 2000),
            RecordLookup::Fresh(last_good),
            "it says so as long as it is served"
        );
        assert_eq!(
            fail(&mut cache, "a", STALE_MS - 1),
            Some(CachedRecord { value: 1, record_state: RecordState::Stale })
        );
        assert_eq!(fail(&mut cache, "a", STALE_MS + 1000), None);
        assert_eq!(
            broken(&mut cache, "a", 9 * STALE_MS),
            Some(CachedRecord { value: 1, record_state: RecordState::LastKnownGood })
        );
        assert_eq!(
            fail(&mut cache, "a", 10 * STALE_MS - 1),
            Some(CachedRecord { value: 1, record_state: RecordState::Stale }),
            "KV responded"
        );
        store(&mut cache, "a", "2", 2, 10 * STALE_MS);
        assert_eq!(cache.look_up("a", LIFETIME, 10 * STALE_MS), RecordLookup::Fresh(current(2)));
    }

    #[test]
    fn a_read_that_began_before_the_last_one_changes_nothing() {
        let mut cache = cache();
        store(&mut cache, "a", "2", 2, 1000);
        assert_eq!(store(&mut cache, "a", "1", 1, 999), current(2));
        assert_eq!(cache.revalidate("a", Some("1"), 999), Some(current(2)));
        assert_eq!(broken(&mut cache, "a", 999), Some(current(2)));
        assert_eq!(fail(&mut cache, "a", 999), Some(current(2)));
        cache.remove("a", 999);
        assert_eq!(cache.look_up("a", LIFETIME, 1000), RecordLookup::Fresh(current(2)));
    }

    #[test]
    fn usable_ms_may_exceed_twice_fresh_ms() {
        let mut cache = cache();
        store(&mut cache, "a", "1", 1, 0);
        assert_eq!(
            cache.look_up("a", Lifetime { fresh_ms: REFRESH, usable_ms: 10 * REFRESH }, 3 * REFRESH),
            RecordLookup::Refresh(current(1))
        );
        assert_eq!(
            cache.look_up("a", Lifetime { fresh_ms: REFRESH, usable_ms: 10 * REFRESH }, 10 * REFRESH),
            RecordLookup::Read
        );
        assert_eq!(cache.look_up("a", Lifetime { fresh_ms: 0, usable_ms: 0 }, 0), RecordLookup::Read);
    }

    #[test]
    fn an_incomplete_record_is_parsed_again() {
        let mut cache = cache();
        store(&mut cache, "a", "1", 1, 0);
        cache.mark_incomplete("a");
        assert_eq!(cache.look_up("a", LIFETIME, 1), RecordLookup::Fresh(current(1)));
        assert_eq!(cache.revalidate("a", Some("1"), 1), None);
        store(&mut cache, "a", "1", 2, 1);
        assert_eq!(cache.revalidate("a", Some("1"), 2), Some(current(2)));
        cache.remove("a", 2);
        assert!(cache.records.is_empty());
    }

    #[test]
    fn a_missing_value_is_not_an_empty_text() {
        let mut cache = cache();
        cache.store("a", None, 1, 0, 0);
        assert_eq!(cache.revalidate("a", None, 1), Some(current(1)));
        assert_eq!(cache.revalidate("a", Some(""), 2), None);
        cache.mark_incomplete("a");
        assert_eq!((cache.revalidate("a", None, 3), cache.revalidate("a", Some(""), 3)), (None, None));
    }

    #[test]
    fn absent_keys_evict_no_record() {
        let mut cache = cache();
        store(&mut cache, "real", "x", 7, 0);
        for index in 0..5000 {
            cache.store(&format!("made up {index}"), None, 0, 0, 1 + index);
        }
        assert_eq!(cache.look_up("real", LIFETIME, 1), RecordLookup::Fresh(current(7)));
        assert!(cache.absent.len() < 5000);
        assert_eq!(cache.look_up("made up 4999", LIFETIME, 5000), RecordLookup::Fresh(current(0)));
    }

    #[test]
    fn a_key_that_gave_nothing_is_not_read_again_for_five_seconds_but_no_longer_than_a_record_is_fresh() {
        let why = ReadFailure::Broken(());
        for (fresh_ms, for_ms) in [(60_000, 5000), (2000, 2000)] {
            let mut cache = cache();
            assert_eq!(cache.read_failed("a", why.clone(), fresh_ms, 500..1000), Err(why.clone()));
            assert_eq!(cache.look_up("a", LIFETIME, 1000 + for_ms - 1), RecordLookup::Failed(why.clone()));
            assert_eq!(cache.look_up("a", LIFETIME, 1000 + for_ms), RecordLookup::Read);
            assert_eq!(cache.look_up("b", LIFETIME, 1000), RecordLookup::Read);
            store(&mut cache, "a", "1", 1, 1001);
            assert_eq!(cache.look_up("a", LIFETIME, 1001), RecordLookup::Fresh(current(1)));
        }
        let mut cache = cache();
        cache.read_failed("a", why.clone(), REFRESH, 1_000_000..1_000_000).unwrap_err();
        assert_eq!(cache.look_up("a", LIFETIME, 1000), RecordLookup::Read, "the clock was set back");
        let mut forgetful: RecordCache<u32, ()> = RecordCache::new(1000, 0, 0);
        forgetful.read_failed("a", why, REFRESH, 1000..1000).unwrap_err();
        assert_eq!(forgetful.look_up("a", LIFETIME, 1000), RecordLookup::Read);
        assert!(cache.caches_failures() && !forgetful.caches_failures());
    }

    #[test]
    fn after_a_read_that_hung_kv_is_not_asked_for_as_long_as_after_one_that_failed_at_once() {
        let why = ReadFailure::Store(StoreError::read_timeout());
        let hung_ms = crate::retry::Backoff::READ.deadline_ms;
        let mut cache = cache();
        cache.read_failed("a", why.clone(), REFRESH, 0..hung_ms).unwrap_err();
        assert_eq!(cache.look_up("a", LIFETIME, hung_ms + FAILURE_MS - 1), RecordLookup::Failed(why.clone()));
        assert_eq!(cache.look_up("a", LIFETIME, hung_ms + FAILURE_MS), RecordLookup::Read);

        let short = Lifetime::of_rare(1000);
        store(&mut cache, "b", "1", 1, 0);
        let stale = CachedRecord { value: 1, record_state: RecordState::Stale };
        assert_eq!(cache.look_up("b", short, 2000), RecordLookup::Read);
        assert_eq!(cache.read_failed("b", why, short.fresh_ms, 2000..2000 + hung_ms), Ok(stale.clone()));
        assert_eq!(cache.look_up("b", short, 2000 + hung_ms + 999), RecordLookup::Fresh(stale));
        assert_eq!(store(&mut cache, "b", "2", 2, 2001), current(2), "a read that began while the other one hung");
    }

    #[test]
    fn a_deleted_key_is_removed() {
        let mut cache = cache();
        store(&mut cache, "a", "1", 1, 0);
        cache.remove("a", 0);
        assert_eq!(cache.look_up("a", LIFETIME, 1), RecordLookup::Read);
        assert_eq!(broken(&mut cache, "a", 1), None);
        assert!(cache.records.is_empty());
    }

    #[test]
    fn the_cache_is_bounded_and_the_longest_unread_record_goes_first() {
        let mut cache: RecordCache<u32, ()> = RecordCache::new(3 * (crate::lru::ENTRY_BYTES + 5), 0, 0);
        for (index, key) in ["a", "b", "c"].into_iter().enumerate() {
            store(&mut cache, key, "x", 0, index as u64);
        }
        cache.revalidate("a", Some("x"), 3);
        store(&mut cache, "d", "x", 0, 4);
        assert_eq!(cache.look_up("b", LIFETIME, 4), RecordLookup::Read);
        assert_eq!(cache.look_up("a", LIFETIME, 4), RecordLookup::Fresh(current(0)));
        let long = "x".repeat(200);
        assert_eq!(store(&mut cache, "too long", &long, 7, 5), current(7));
        assert_eq!(cache.look_up("too long", LIFETIME, 5), RecordLookup::Read);
        assert_eq!(cache.bytes_max(), 3 * (crate::lru::ENTRY_BYTES + 5));
    }
}
