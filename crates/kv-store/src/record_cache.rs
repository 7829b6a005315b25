//! What an isolate remembers of Workers KV: small records, parsed, for a short time, and for
//! longer only for the case that KV fails or holds something broken. And for a few seconds, which
//! keys gave nothing that could be used.

use crate::lru::Lru;
use crate::store::StoreError;

/// How long a record is served while KV fails, in milliseconds since it was last read.
const STALE_MS: u64 = 60 * 60 * 1000;

/// A background read that has not ended after this time is taken for lost, in milliseconds.
const REFRESH_LOST_MS: u64 = 30_000;

/// How long a key that gave nothing that can be used is not read again, in milliseconds; never for
/// longer than a record is fresh.
const NEGATIVE_MS: u64 = 5000;

/// Records of one kind by their keys, bounded in bytes: the one that was not read for the longest
/// time goes first.
#[derive(Debug)]
pub struct RecordCache<T, E> {
    records: Lru<CacheEntry<T>>,
    /// Keys that KV does not have, in a room of their own: anybody can ask for keys that they made
    /// up.
    absent: Lru<CacheEntry<T>>,
    /// Why keys gave nothing, and until when they are not read again.
    unread: Lru<(u64, ReadFailure<E>)>,
}

#[derive(Debug)]
struct CacheEntry<T> {
    value: T,
    source: RecordSource,
    /// When KV was asked the last time that it answered, in milliseconds since the Unix epoch.
    answered_ms: u64,
    /// When KV was last asked, whatever came of it.
    asked_ms: u64,
    standing: RecordState,
    /// When a background read began that has not ended.
    refresh_ms: Option<u64>,
}

/// What a record was made of: what did not change need not be parsed again.
#[derive(Debug, PartialEq, Eq)]
enum RecordSource {
    /// The text that KV holds, or what stands for it.
    Text(Box<str>),
    /// KV has no such key, which is worth remembering, too.
    Absent,
    /// Nothing that KV may hold.
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

/// Why a key gave no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadFailure<E> {
    /// KV failed, and no record is remembered.
    Store(StoreError),
    /// What KV holds does not parse, and no record from before is remembered.
    Broken(E),
}

/// How a remembered record stands to what KV holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordState {
    /// As KV held it when it was last asked.
    Current,
    /// KV holds something broken now.
    LastKnownGood,
    /// KV did not answer.
    Stale,
}

/// A record out of memory, and how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedRecord<T> {
    /// The record.
    pub value: T,
    /// How it stands to what KV holds.
    pub standing: RecordState,
}

/// For how long a record is used without a look at KV, in milliseconds since KV was last asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// So long it is fresh.
    pub fresh_ms: u64,
    /// So long it is used while it is read anew in the background. Whoever asks later waits for KV.
    pub usable_ms: u64,
}

impl Lifetime {
    /// Returns the lifetime of a record that is read before it is used if nobody asked for it
    /// lately.
    #[must_use]
    pub const fn of_rare(fresh_ms: u64) -> Self {
        Self { fresh_ms, usable_ms: fresh_ms.saturating_mul(2) }
    }

    /// Returns the lifetime of the one record that many requests need: nobody waits for it but
    /// after a long silence.
    #[must_use]
    pub const fn of_shared(fresh_ms: u64) -> Self {
        Self { fresh_ms, usable_ms: fresh_ms.saturating_mul(20) }
    }
}

/// What to do about a record that is needed.
#[derive(Debug, PartialEq, Eq)]
pub enum RecordLookup<T, E> {
    /// Take it; KV need not be asked.
    Fresh(CachedRecord<T>),
    /// Take it, and read it anew in the background. Said once for each background read.
    Refresh(CachedRecord<T>),
    /// Read KV.
    Read,
    /// KV was asked a moment ago, and this is why there is no record.
    Failed(ReadFailure<E>),
}

impl<T: Clone, E: Clone> RecordCache<T, E> {
    /// Remembers nothing, and later no more than so many bytes: of records, of keys that KV does
    /// not have, and of keys that gave nothing that can be used. Without room for the last, each
    /// request reads them again.
    #[must_use]
    pub const fn new(records_bytes: usize, absent_bytes: usize, unread_bytes: usize) -> Self {
        Self { records: Lru::new(records_bytes), absent: Lru::new(absent_bytes), unread: Lru::new(unread_bytes) }
    }

    /// Returns the most bytes that this remembers.
    #[must_use]
    pub const fn bytes_max(&self) -> usize {
        self.records.bytes_max() + self.absent.bytes_max() + self.unread.bytes_max()
    }

    /// Looks a record up.
    pub fn look(&mut self, key: &str, lifetime: Lifetime, now_ms: u64) -> RecordLookup<T, E> {
        let Some(entry) = self.get_mut(key) else { return self.look_up_failure(key, now_ms) };
        let age_ms = now_ms.saturating_sub(entry.asked_ms);
        // A clock that was put back makes nothing fresh for ever.
        if now_ms < entry.asked_ms || age_ms >= lifetime.usable_ms {
            self.look_up_failure(key, now_ms)
        } else if age_ms < lifetime.fresh_ms
            || entry.refresh_ms.is_some_and(|began_ms| now_ms.saturating_sub(began_ms) < REFRESH_LOST_MS)
        {
            RecordLookup::Fresh(entry.held())
        } else {
            entry.refresh_ms = Some(now_ms);
            RecordLookup::Refresh(entry.held())
        }
    }

    fn look_up_failure(&self, key: &str, now_ms: u64) -> RecordLookup<T, E> {
        match self.unread.get(key) {
            // A clock that was put back keeps nothing from being read for long.
            Some((until_ms, why)) if now_ms < *until_ms && *until_ms - now_ms <= NEGATIVE_MS => {
                RecordLookup::Failed(why.clone())
            }
            _ => RecordLookup::Read,
        }
    }

    /// KV holds this text, or no such key. The record if that is what is remembered; else it must
    /// be parsed. Here and below, `asked_ms` is when KV was asked: what a read says that began
    /// before the last one is passed over.
    pub fn unchanged(&mut self, key: &str, source: Option<&str>, asked_ms: u64) -> Option<CachedRecord<T>> {
        let entry = self.get_mut(key)?;
        if entry.asked_ms <= asked_ms && !entry.source.is(source) {
            return None;
        }
        self.note(key, asked_ms, RecordState::Current)
    }

    /// KV holds this text, or no such key, and a record of so many bytes was made of it.
    pub fn store(
        &mut self,
        key: &str,
        source: Option<String>,
        value: T,
        bytes: usize,
        asked_ms: u64,
    ) -> CachedRecord<T> {
        if let Some(newer) = self.get_mut(key).filter(|entry| entry.asked_ms > asked_ms) {
            return newer.held();
        }
        self.forget(key);
        let bytes = bytes.saturating_add(source.as_ref().map_or(0, String::len));
        let lru = if source.is_some() { &mut self.records } else { &mut self.absent };
        let entry = CacheEntry {
            value: value.clone(),
            source: source.map_or(RecordSource::Absent, |text| RecordSource::Text(text.into())),
            answered_ms: asked_ms,
            asked_ms,
            standing: RecordState::Current,
            refresh_ms: None,
        };
        lru.insert(key, entry, bytes);
        CachedRecord { value, standing: RecordState::Current }
    }

    /// What the record was made of is not all there yet: the next read makes it anew, whatever KV holds.
    pub fn mark_incomplete(&mut self, key: &str) {
        if let Some(entry) = self.get_mut(key) {
            entry.source = RecordSource::Incomplete;
        }
    }

    /// KV has no such key. That is not remembered: a key that is made is found at once.
    pub fn remove(&mut self, key: &str, asked_ms: u64) {
        if self.get_mut(key).is_some_and(|entry| entry.asked_ms <= asked_ms) {
            self.forget(key);
        }
    }

    /// KV gave nothing that can be used. The record as it was known: for ever if what KV holds now
    /// is broken, for an hour since its last answer if it gives none.
    ///
    /// # Errors
    /// Nothing is known. The key is not read again for a while, at most for `fresh_ms`
    /// milliseconds.
    pub fn failed(
        &mut self,
        key: &str,
        why: ReadFailure<E>,
        fresh_ms: u64,
        asked_ms: u64,
    ) -> Result<CachedRecord<T>, ReadFailure<E>> {
        let standing = match why {
            ReadFailure::Broken(_) => RecordState::LastKnownGood,
            ReadFailure::Store(_) => RecordState::Stale,
        };
        let is_usable = |entry: &mut CacheEntry<T>| {
            standing == RecordState::LastKnownGood || asked_ms.saturating_sub(entry.answered_ms) < STALE_MS
        };
        if self.get_mut(key).is_some_and(is_usable)
            && let Some(held) = self.note(key, asked_ms, standing)
        {
            return Ok(held);
        }
        self.unread.insert(
            key,
            (asked_ms.saturating_add(fresh_ms.min(NEGATIVE_MS)), why.clone()),
            size_of::<ReadFailure<E>>(),
        );
        Err(why)
    }

    /// Returns true if it is remembered for a while which keys gave nothing that can be used.
    #[must_use]
    pub const fn has_negative_cache(&self) -> bool {
        self.unread.bytes_max() > 0
    }

    /// Notes what KV said of a record that is known, unless a later read said something.
    fn note(&mut self, key: &str, asked_ms: u64, standing: RecordState) -> Option<CachedRecord<T>> {
        self.records.touch(key);
        self.absent.touch(key);
        let entry = self.get_mut(key)?;
        if entry.asked_ms <= asked_ms {
            entry.asked_ms = asked_ms;
            entry.standing = standing;
            entry.refresh_ms = None;
            if standing != RecordState::Stale {
                entry.answered_ms = asked_ms;
            }
        }
        Some(entry.held())
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
    fn held(&self) -> CachedRecord<T> {
        CachedRecord { value: self.value.clone(), standing: self.standing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFRESH: u64 = 10_000;
    const LIFETIME: Lifetime = Lifetime::of_rare(REFRESH);

    fn memory() -> RecordCache<u32, ()> {
        RecordCache::new(1000 * 200, 1000 * 200, 1000)
    }

    fn store(memory: &mut RecordCache<u32, ()>, key: &str, text: &str, value: u32, asked_ms: u64) -> CachedRecord<u32> {
        memory.store(key, Some(text.to_owned()), value, text.len(), asked_ms)
    }

    fn broken(memory: &mut RecordCache<u32, ()>, key: &str, asked_ms: u64) -> Option<CachedRecord<u32>> {
        memory.failed(key, ReadFailure::Broken(()), REFRESH, asked_ms).ok()
    }

    fn failed(memory: &mut RecordCache<u32, ()>, key: &str, asked_ms: u64) -> Option<CachedRecord<u32>> {
        memory.failed(key, ReadFailure::Store(StoreError::missing()), REFRESH, asked_ms).ok()
    }

    fn current(value: u32) -> CachedRecord<u32> {
        CachedRecord { value, standing: RecordState::Current }
    }

    #[test]
    fn a_record_is_fresh_then_read_once_in_the_background_then_read_first() {
        let mut memory = memory();
        assert_eq!(memory.look("a", LIFETIME, 0), RecordLookup::Read);
        store(&mut memory, "a", "1", 1, 1000);
        assert_eq!(memory.look("a", LIFETIME, 10_999), RecordLookup::Fresh(current(1)));
        assert_eq!(memory.look("a", LIFETIME, 11_000), RecordLookup::Refresh(current(1)));
        assert_eq!(
            memory.look("a", LIFETIME, 11_001),
            RecordLookup::Fresh(current(1)),
            "one background read is enough"
        );
        assert_eq!(memory.look("a", LIFETIME, 21_000), RecordLookup::Read, "it did not end in time");
        assert_eq!(memory.unchanged("a", Some("1"), 21_000), Some(current(1)));
        assert_eq!(memory.look("a", LIFETIME, 21_001), RecordLookup::Fresh(current(1)));
        assert_eq!(memory.unchanged("a", Some("2"), 21_002), None);
        store(&mut memory, "a", "2", 2, 21_002);
        assert_eq!(memory.look("a", LIFETIME, 21_003), RecordLookup::Fresh(current(2)));
    }

    #[test]
    fn a_background_read_that_was_lost_is_begun_again() {
        let mut memory = memory();
        store(&mut memory, "a", "1", 1, 0);
        assert_eq!(memory.look("a", Lifetime::of_rare(60_000), 60_000), RecordLookup::Refresh(current(1)));
        assert_eq!(memory.look("a", Lifetime::of_rare(60_000), 89_999), RecordLookup::Fresh(current(1)));
        assert_eq!(memory.look("a", Lifetime::of_rare(60_000), 90_000), RecordLookup::Refresh(current(1)));
    }

    #[test]
    fn without_a_refresh_time_kv_is_read_each_time_and_the_last_good_record_is_still_known() {
        let mut memory = memory();
        store(&mut memory, "a", "1", 1, 1000);
        assert_eq!(memory.look("a", Lifetime::of_rare(0), 1000), RecordLookup::Read);
        assert_eq!(
            broken(&mut memory, "a", 1000),
            Some(CachedRecord { value: 1, standing: RecordState::LastKnownGood })
        );
    }

    #[test]
    fn a_clock_that_was_put_back_reads_kv() {
        let mut memory = memory();
        store(&mut memory, "a", "1", 1, 100_000);
        assert_eq!(memory.look("a", LIFETIME, 1000), RecordLookup::Read);
    }

    #[test]
    fn a_broken_record_leaves_the_last_good_one_for_ever_and_a_failing_kv_for_an_hour() {
        let mut memory = memory();
        assert_eq!(broken(&mut memory, "a", 0), None);
        assert_eq!(failed(&mut memory, "a", 0), None);
        store(&mut memory, "a", "1", 1, 0);
        assert_eq!(
            broken(&mut memory, "a", 1000),
            Some(CachedRecord { value: 1, standing: RecordState::LastKnownGood })
        );
        let last_good = CachedRecord { value: 1, standing: RecordState::LastKnownGood };
        assert_eq!(
            memory.look("a", LIFETIME, 2000),
            RecordLookup::Fresh(last_good),
            "it says so as long as it is served"
        );
        assert_eq!(
            failed(&mut memory, "a", STALE_MS - 1),
            Some(CachedRecord { value: 1, standing: RecordState::Stale })
        );
        assert_eq!(failed(&mut memory, "a", STALE_MS + 1000), None);
        assert_eq!(
            broken(&mut memory, "a", 9 * STALE_MS),
            Some(CachedRecord { value: 1, standing: RecordState::LastKnownGood })
        );
        assert_eq!(
            failed(&mut memory, "a", 10 * STALE_MS - 1),
            Some(CachedRecord { value: 1, standing: RecordState::Stale }),
            "KV answered"
        );
        store(&mut memory, "a", "2", 2, 10 * STALE_MS);
        assert_eq!(memory.look("a", LIFETIME, 10 * STALE_MS), RecordLookup::Fresh(current(2)));
    }

    #[test]
    fn a_read_that_began_before_the_last_one_changes_nothing() {
        let mut memory = memory();
        store(&mut memory, "a", "2", 2, 1000);
        assert_eq!(store(&mut memory, "a", "1", 1, 999), current(2));
        assert_eq!(memory.unchanged("a", Some("1"), 999), Some(current(2)));
        assert_eq!(broken(&mut memory, "a", 999), Some(current(2)));
        assert_eq!(failed(&mut memory, "a", 999), Some(current(2)));
        memory.remove("a", 999);
        assert_eq!(memory.look("a", LIFETIME, 1000), RecordLookup::Fresh(current(2)));
    }

    #[test]
    fn a_record_may_be_good_enough_for_longer() {
        let mut memory = memory();
        store(&mut memory, "a", "1", 1, 0);
        assert_eq!(
            memory.look("a", Lifetime { fresh_ms: REFRESH, usable_ms: 10 * REFRESH }, 3 * REFRESH),
            RecordLookup::Refresh(current(1))
        );
        assert_eq!(
            memory.look("a", Lifetime { fresh_ms: REFRESH, usable_ms: 10 * REFRESH }, 10 * REFRESH),
            RecordLookup::Read
        );
        assert_eq!(memory.look("a", Lifetime { fresh_ms: 0, usable_ms: 0 }, 0), RecordLookup::Read);
    }

    #[test]
    fn a_record_that_is_not_all_there_is_made_anew() {
        let mut memory = memory();
        store(&mut memory, "a", "1", 1, 0);
        memory.mark_incomplete("a");
        assert_eq!(memory.look("a", LIFETIME, 1), RecordLookup::Fresh(current(1)));
        assert_eq!(memory.unchanged("a", Some("1"), 1), None);
        store(&mut memory, "a", "1", 2, 1);
        assert_eq!(memory.unchanged("a", Some("1"), 2), Some(current(2)));
        memory.remove("a", 2);
        assert!(memory.records.is_empty());
    }

    #[test]
    fn that_there_is_none_is_not_an_empty_text() {
        let mut memory = memory();
        memory.store("a", None, 1, 0, 0);
        assert_eq!(memory.unchanged("a", None, 1), Some(current(1)));
        assert_eq!(memory.unchanged("a", Some(""), 2), None);
        memory.mark_incomplete("a");
        assert_eq!((memory.unchanged("a", None, 3), memory.unchanged("a", Some(""), 3)), (None, None));
    }

    #[test]
    fn keys_that_are_not_there_push_no_record_out() {
        let mut memory = memory();
        store(&mut memory, "real", "x", 7, 0);
        for index in 0..5000 {
            memory.store(&format!("made up {index}"), None, 0, 0, 1 + index);
        }
        assert_eq!(memory.look("real", LIFETIME, 1), RecordLookup::Fresh(current(7)));
        assert!(memory.absent.len() < 5000);
        assert_eq!(memory.look("made up 4999", LIFETIME, 5000), RecordLookup::Fresh(current(0)));
    }

    #[test]
    fn a_key_that_gave_nothing_is_not_read_again_for_five_seconds_or_as_long_as_a_record_is_fresh() {
        let why = ReadFailure::Broken(());
        for (fresh_ms, for_ms) in [(60_000, 5000), (2000, 2000)] {
            let mut memory = memory();
            assert_eq!(memory.failed("a", why.clone(), fresh_ms, 1000), Err(why.clone()));
            assert_eq!(memory.look("a", LIFETIME, 1000 + for_ms - 1), RecordLookup::Failed(why.clone()));
            assert_eq!(memory.look("a", LIFETIME, 1000 + for_ms), RecordLookup::Read);
            assert_eq!(memory.look("b", LIFETIME, 1000), RecordLookup::Read);
            store(&mut memory, "a", "1", 1, 1001);
            assert_eq!(memory.look("a", LIFETIME, 1001), RecordLookup::Fresh(current(1)));
        }
        let mut memory = memory();
        memory.failed("a", why.clone(), REFRESH, 1_000_000).unwrap_err();
        assert_eq!(memory.look("a", LIFETIME, 1000), RecordLookup::Read, "the clock was put back");
        let mut forgetful: RecordCache<u32, ()> = RecordCache::new(1000, 0, 0);
        forgetful.failed("a", why, REFRESH, 1000).unwrap_err();
        assert_eq!(forgetful.look("a", LIFETIME, 1000), RecordLookup::Read);
        assert!(memory.has_negative_cache() && !forgetful.has_negative_cache());
    }

    #[test]
    fn a_key_that_is_gone_is_forgotten() {
        let mut memory = memory();
        store(&mut memory, "a", "1", 1, 0);
        memory.remove("a", 0);
        assert_eq!(memory.look("a", LIFETIME, 1), RecordLookup::Read);
        assert_eq!(broken(&mut memory, "a", 1), None);
        assert!(memory.records.is_empty());
    }

    #[test]
    fn memory_is_bounded_and_the_longest_unread_record_goes_first() {
        let mut memory: RecordCache<u32, ()> = RecordCache::new(3 * (crate::lru::ENTRY_BYTES + 5), 0, 0);
        for (index, key) in ["a", "b", "c"].into_iter().enumerate() {
            store(&mut memory, key, "x", 0, index as u64);
        }
        memory.unchanged("a", Some("x"), 3);
        store(&mut memory, "d", "x", 0, 4);
        assert_eq!(memory.look("b", LIFETIME, 4), RecordLookup::Read);
        assert_eq!(memory.look("a", LIFETIME, 4), RecordLookup::Fresh(current(0)));
        let long = "x".repeat(200);
        assert_eq!(store(&mut memory, "too long", &long, 7, 5), current(7));
        assert_eq!(memory.look("too long", LIFETIME, 5), RecordLookup::Read);
        assert_eq!(memory.bytes_max(), 3 * (crate::lru::ENTRY_BYTES + 5));
    }
}
