//! What an isolate remembers of Workers KV: small records, parsed, for a short time, and for longer only for the case that KV
//! fails or holds something broken.

use crate::by_name::ByName;

/// How long a record is served while KV fails, in milliseconds since it was last read.
const KEPT_MS: u64 = 60 * 60 * 1000;

/// A background read that has not ended after this time is taken for lost, in milliseconds.
const REFRESH_LOST_MS: u64 = 30_000;

/// Records of one kind by their keys, bounded in number and bytes of what they were made of. Those that are not there go first, then the one
/// that was not read for the longest time.
#[derive(Debug)]
pub struct Memory<T> {
    entries: ByName<Entry<T>>,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Entry<T> {
    value: T,
    source: Source,
    /// When KV was asked the last time that it answered, in milliseconds since the Unix epoch.
    answered_ms: u64,
    /// When KV was last asked, whatever came of it.
    asked_ms: u64,
    standing: Standing,
    /// When a background read began that has not ended.
    refresh_ms: Option<u64>,
}

/// What a record was made of: what did not change need not be parsed again.
#[derive(Debug, PartialEq, Eq)]
enum Source {
    /// The text that KV holds, or what stands for it.
    Text(Box<str>),
    /// KV has no such key, which is worth remembering, too.
    Absent,
    /// Nothing that KV may hold.
    Unsettled,
}

impl Source {
    fn is(&self, text: Option<&str>) -> bool {
        match (self, text) {
            (Self::Text(known), Some(text)) => **known == *text,
            (Self::Absent, None) => true,
            _ => false,
        }
    }

    fn len(&self) -> usize {
        if let Self::Text(text) = self { text.len() } else { 0 }
    }
}

/// How a remembered record stands to what KV holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// As KV held it when it was last asked.
    Current,
    /// KV holds something broken now.
    LastGood,
    /// KV did not answer.
    Stale,
}

/// A record out of memory, and how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held<T> {
    /// The record.
    pub value: T,
    /// How it stands to what KV holds.
    pub standing: Standing,
}

/// What to do about a record that is needed.
#[derive(Debug, PartialEq, Eq)]
pub enum Look<T> {
    /// Take it; KV need not be asked.
    Fresh(Held<T>),
    /// Take it, and read it anew in the background. Said once for each background read.
    Refresh(Held<T>),
    /// Read KV.
    Read,
}

impl<T: Clone> Memory<T> {
    /// The most records that are remembered.
    const ENTRIES_MAX: usize = 1000;
    /// The most bytes of JSON that are remembered.
    const BYTES_MAX: usize = 4 * 1024 * 1024;

    /// Remembers nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self::bounded(Self::BYTES_MAX)
    }

    /// Remembers nothing, and later no more than so many bytes.
    #[must_use]
    pub const fn bounded(bytes_max: usize) -> Self {
        Self { entries: ByName::new(), bytes: 0, bytes_max }
    }

    /// Looks a record up. It is fresh for `refresh_ms` milliseconds, then for as long again good enough until a background
    /// read has ended. A record that is asked for more rarely is read from KV, so nobody is served one of long ago.
    pub fn look(&mut self, key: &str, refresh_ms: u64, now_ms: u64) -> Look<T> {
        self.look_within(key, refresh_ms, refresh_ms.saturating_mul(2), now_ms)
    }

    /// The same for a record that is good enough for so long as `good_ms` says, from when it was last read, in milliseconds.
    pub fn look_within(&mut self, key: &str, refresh_ms: u64, good_ms: u64, now_ms: u64) -> Look<T> {
        let Some(entry) = self.entries.get_mut(key) else { return Look::Read };
        let age_ms = now_ms.saturating_sub(entry.asked_ms);
        // A clock that was put back makes nothing fresh for ever.
        if now_ms < entry.asked_ms || age_ms >= good_ms {
            Look::Read
        } else if age_ms < refresh_ms
            || entry.refresh_ms.is_some_and(|began| now_ms.saturating_sub(began) < REFRESH_LOST_MS)
        {
            Look::Fresh(entry.held())
        } else {
            entry.refresh_ms = Some(now_ms);
            Look::Refresh(entry.held())
        }
    }

    /// KV holds this text, or no such key. The record where that is what is remembered; else it must be parsed. Here and below,
    /// `asked_ms` is when KV was asked: what a read says that began before the last one is not heeded.
    pub fn unchanged(&mut self, key: &str, source: Option<&str>, asked_ms: u64) -> Option<Held<T>> {
        let entry = self.entries.get_mut(key)?;
        if entry.asked_ms <= asked_ms {
            if !entry.source.is(source) {
                return None;
            }
            entry.asked(asked_ms, Standing::Current);
        }
        Some(entry.held())
    }

    /// KV holds this text, or no such key, and a record was made of it.
    pub fn store(&mut self, key: &str, source: Option<String>, value: T, asked_ms: u64) -> Held<T> {
        if let Some(newer) = self.entries.get(key).filter(|entry| entry.asked_ms > asked_ms) {
            return newer.held();
        }
        self.remove(key, asked_ms);
        let source = source.map_or(Source::Absent, |text| Source::Text(text.into()));
        let size = key.len().saturating_add(source.len());
        if size <= self.bytes_max {
            self.make_room(size);
            self.bytes = self.bytes.saturating_add(size);
            let entry = Entry {
                value: value.clone(),
                source,
                answered_ms: asked_ms,
                asked_ms,
                standing: Standing::Current,
                refresh_ms: None,
            };
            self.entries.insert(key.into(), entry);
        }
        Held { value, standing: Standing::Current }
    }

    /// What the record was made of is not all there yet: the next read makes it anew, whatever KV holds.
    pub fn unsettle(&mut self, key: &str) {
        if let Some(entry) = self.entries.get_mut(key) {
            self.bytes = self.bytes.saturating_sub(entry.source.len());
            entry.source = Source::Unsettled;
        }
    }

    /// KV has no such key. That is not remembered: a key that is made is found at once.
    pub fn remove(&mut self, key: &str, asked_ms: u64) {
        if self.entries.get(key).is_some_and(|entry| entry.asked_ms <= asked_ms) {
            self.forget(key);
        }
    }

    /// What KV holds is broken: the last record that was not, if it is remembered.
    pub fn broken(&mut self, key: &str, asked_ms: u64) -> Option<Held<T>> {
        let entry = self.entries.get_mut(key)?;
        if entry.asked_ms <= asked_ms {
            entry.asked(asked_ms, Standing::LastGood);
        }
        Some(entry.held())
    }

    /// KV did not answer: the record as it was known, if KV's last answer is not longer ago than an hour.
    pub fn failed(&mut self, key: &str, asked_ms: u64) -> Option<Held<T>> {
        let entry = self.entries.get_mut(key)?;
        if asked_ms.saturating_sub(entry.answered_ms) >= KEPT_MS {
            return None;
        }
        if entry.asked_ms <= asked_ms {
            entry.asked(asked_ms, Standing::Stale);
        }
        Some(entry.held())
    }

    fn forget(&mut self, key: &str) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes = self.bytes.saturating_sub(key.len()).saturating_sub(entry.source.len());
        }
    }

    fn make_room(&mut self, size: usize) {
        while self.entries.len() >= Self::ENTRIES_MAX || self.bytes.saturating_add(size) > self.bytes_max {
            // That a key is not there is worth least: anybody can ask for keys that he made up.
            let worth = |entry: &Entry<T>| (entry.source != Source::Absent, entry.asked_ms);
            let oldest =
                self.entries.iter().min_by_key(|(_, entry)| worth(entry)).map(|(key, _)| std::rc::Rc::clone(key));
            let Some(oldest) = oldest else { return };
            self.forget(&oldest);
        }
    }
}

impl<T: Clone> Entry<T> {
    fn asked(&mut self, asked_ms: u64, standing: Standing) {
        self.asked_ms = asked_ms;
        self.standing = standing;
        self.refresh_ms = None;
        if standing != Standing::Stale {
            self.answered_ms = asked_ms;
        }
    }

    fn held(&self) -> Held<T> {
        Held { value: self.value.clone(), standing: self.standing }
    }
}

impl<T: Clone> Default for Memory<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)] // Small numbers.
mod tests {
    use super::*;

    const REFRESH: u64 = 10_000;

    fn current(value: u32) -> Held<u32> {
        Held { value, standing: Standing::Current }
    }

    #[test]
    fn a_record_is_fresh_then_read_once_in_the_background_then_read_first() {
        let mut memory = Memory::new();
        assert_eq!(memory.look("a", REFRESH, 0), Look::Read);
        memory.store("a", Some("1".into()), 1, 1000);
        assert_eq!(memory.look("a", REFRESH, 10_999), Look::Fresh(current(1)));
        assert_eq!(memory.look("a", REFRESH, 11_000), Look::Refresh(current(1)));
        assert_eq!(memory.look("a", REFRESH, 11_001), Look::Fresh(current(1)), "one background read is enough");
        assert_eq!(memory.look("a", REFRESH, 21_000), Look::Read, "it did not end in time");
        assert_eq!(memory.unchanged("a", Some("1"), 21_000), Some(current(1)));
        assert_eq!(memory.look("a", REFRESH, 21_001), Look::Fresh(current(1)));
        assert_eq!(memory.unchanged("a", Some("2"), 21_002), None);
        memory.store("a", Some("2".into()), 2, 21_002);
        assert_eq!(memory.look("a", REFRESH, 21_003), Look::Fresh(current(2)));
    }

    #[test]
    fn a_background_read_that_was_lost_is_begun_again() {
        let mut memory = Memory::new();
        memory.store("a", Some("1".into()), 1, 0);
        assert_eq!(memory.look("a", 60_000, 60_000), Look::Refresh(current(1)));
        assert_eq!(memory.look("a", 60_000, 89_999), Look::Fresh(current(1)));
        assert_eq!(memory.look("a", 60_000, 90_000), Look::Refresh(current(1)));
    }

    #[test]
    fn without_a_refresh_time_kv_is_read_each_time_and_the_last_good_record_is_still_known() {
        let mut memory = Memory::new();
        memory.store("a", Some("1".into()), 1, 1000);
        assert_eq!(memory.look("a", 0, 1000), Look::Read);
        assert_eq!(memory.broken("a", 1000), Some(Held { value: 1, standing: Standing::LastGood }));
    }

    #[test]
    fn a_clock_that_was_put_back_reads_kv() {
        let mut memory = Memory::new();
        memory.store("a", Some("1".into()), 1, 100_000);
        assert_eq!(memory.look("a", REFRESH, 1000), Look::Read);
    }

    #[test]
    fn a_broken_record_leaves_the_last_good_one_for_ever_and_a_failing_kv_for_an_hour() {
        let mut memory = Memory::new();
        assert_eq!(memory.broken("a", 0), None);
        assert_eq!(memory.failed("a", 0), None);
        memory.store("a", Some("1".into()), 1, 0);
        assert_eq!(memory.broken("a", 1000), Some(Held { value: 1, standing: Standing::LastGood }));
        let last_good = Held { value: 1, standing: Standing::LastGood };
        assert_eq!(memory.look("a", REFRESH, 2000), Look::Fresh(last_good), "it says so as long as it is served");
        assert_eq!(memory.failed("a", KEPT_MS - 1), Some(Held { value: 1, standing: Standing::Stale }));
        assert_eq!(memory.failed("a", KEPT_MS + 1000), None);
        assert_eq!(memory.broken("a", 9 * KEPT_MS), Some(Held { value: 1, standing: Standing::LastGood }));
        assert_eq!(
            memory.failed("a", 10 * KEPT_MS - 1),
            Some(Held { value: 1, standing: Standing::Stale }),
            "KV answered"
        );
        memory.store("a", Some("2".into()), 2, 10 * KEPT_MS);
        assert_eq!(memory.look("a", REFRESH, 10 * KEPT_MS), Look::Fresh(current(2)));
    }

    #[test]
    fn a_read_that_began_before_the_last_one_changes_nothing() {
        let mut memory = Memory::new();
        memory.store("a", Some("2".into()), 2, 1000);
        assert_eq!(memory.store("a", Some("1".into()), 1, 999), current(2));
        assert_eq!(memory.unchanged("a", Some("1"), 999), Some(current(2)));
        assert_eq!(memory.broken("a", 999), Some(current(2)));
        assert_eq!(memory.failed("a", 999), Some(current(2)));
        memory.remove("a", 999);
        assert_eq!(memory.look("a", REFRESH, 1000), Look::Fresh(current(2)));
    }

    #[test]
    fn a_record_may_be_good_enough_for_longer() {
        let mut memory = Memory::new();
        memory.store("a", Some("1".into()), 1, 0);
        assert_eq!(memory.look_within("a", REFRESH, 10 * REFRESH, 3 * REFRESH), Look::Refresh(current(1)));
        assert_eq!(memory.look_within("a", REFRESH, 10 * REFRESH, 10 * REFRESH), Look::Read);
        assert_eq!(memory.look_within("a", 0, 0, 0), Look::Read);
    }

    #[test]
    fn a_record_that_is_not_all_there_is_made_anew() {
        let mut memory = Memory::new();
        memory.store("a", Some("1".into()), 1, 0);
        memory.unsettle("a");
        assert_eq!(memory.look("a", REFRESH, 1), Look::Fresh(current(1)));
        assert_eq!(memory.unchanged("a", Some("1"), 1), None);
        memory.store("a", Some("1".into()), 2, 1);
        assert_eq!(memory.unchanged("a", Some("1"), 2), Some(current(2)));
        memory.remove("a", 2);
        assert_eq!(memory.bytes, 0);
    }

    #[test]
    fn that_there_is_none_is_not_an_empty_text() {
        let mut memory = Memory::new();
        memory.store("a", None, 1, 0);
        assert_eq!(memory.unchanged("a", None, 1), Some(current(1)));
        assert_eq!(memory.unchanged("a", Some(""), 2), None);
        memory.unsettle("a");
        assert_eq!((memory.unchanged("a", None, 3), memory.unchanged("a", Some(""), 3)), (None, None));
    }

    #[test]
    fn keys_that_are_not_there_go_before_records() {
        let mut memory = Memory::new();
        memory.store("real", Some("x".into()), 7, 0);
        for index in 0..2 * Memory::<u32>::ENTRIES_MAX {
            memory.store(&format!("made up {index}"), None, 0, 1 + index as u64);
        }
        assert_eq!(memory.look("real", REFRESH, 1), Look::Fresh(current(7)));
        assert_eq!(memory.entries.len(), Memory::<u32>::ENTRIES_MAX);
    }

    #[test]
    fn a_key_that_is_gone_is_forgotten() {
        let mut memory = Memory::new();
        memory.store("a", Some("1".into()), 1, 0);
        memory.remove("a", 0);
        assert_eq!(memory.look("a", REFRESH, 1), Look::Read);
        assert_eq!(memory.broken("a", 1), None);
        assert_eq!(memory.bytes, 0);
    }

    #[test]
    fn memory_is_bounded_and_the_longest_unread_record_goes_first() {
        let mut memory = Memory::new();
        for index in 0..=Memory::<u32>::ENTRIES_MAX {
            memory.store(&format!("{index}"), Some("x".into()), 0, index as u64);
        }
        assert_eq!(memory.entries.len(), Memory::<u32>::ENTRIES_MAX);
        assert_eq!(memory.look("0", REFRESH, 1001), Look::Read);
        assert_eq!(memory.look("1", REFRESH, 1001), Look::Fresh(current(0)));
        memory.store("large", Some("x".repeat(Memory::<u32>::BYTES_MAX - 5)), 7, 2000);
        assert_eq!(memory.entries.len(), 1);
        memory.store("too large", Some("x".repeat(Memory::<u32>::BYTES_MAX)), 7, 2000);
        assert_eq!(memory.look("too large", REFRESH, 2000), Look::Read);
        assert_eq!(memory.look("large", REFRESH, 2000), Look::Fresh(current(7)));
    }
}
