//! Remembers what this process wrote and deleted lately, because KV's list does not show it yet.
//!
//! A change may take 60 seconds or more until KV's list shows it (KV documentation, "How KV
//! works"). A pass that relied on the list would take a row that changed and changed back within
//! that time for unchanged. So `--watch` remembers what it did and believes that instead.
//! Separate runs cannot do this: the second of two runs within that time may leave such a row as
//! it was, and a third run corrects it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::metadata::Told;
use super::stored::Stored;

/// How long the list is not trusted, in milliseconds: twice the 60 seconds of the documentation.
const LAG_MS: u64 = 120_000;
/// The most keys that are remembered, some 20 MB.
const KEYS_MAX: usize = 100_000;
/// How long a deletion counts for the guard against mass deletions, in milliseconds: an hour.
const GUARD_MS: u64 = 3_600_000;
/// Deletions within so many milliseconds are counted together: a minute.
const GUARD_STEP_MS: u64 = 60_000;

/// What happened to a key.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Lately {
    /// It was written, with a value that has this hash.
    Written(Box<str>),
    Deleted,
    /// A call failed that was to change it; it may have had its effect all the same.
    Unknown,
}

/// Shows no contents.
impl fmt::Debug for Lately {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Written(_) => "Written",
            Self::Deleted => "Deleted",
            Self::Unknown => "Unknown",
        })
    }
}

/// The recent changes of this process, and what the guard against mass deletions counts.
///
/// `--watch` creates one with [`Recent::new`], keeps it for as long as it runs, reconnects
/// included, and passes it to every [`run`](super::sync::run), [`apply`](super::sync::apply) and
/// [`snapshot`](super::sync::snapshot), which read and update it. A command that makes a single
/// pass passes [`Recent::nothing`]. One `Recent` is for one prefix of one namespace.
///
/// `--watch` itself only calls [`unsure_until`](Self::unsure_until): if it returns a time, a
/// comparison is due then.
pub(super) struct Recent {
    keys_max: usize,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    /// The changes by full key, with their time.
    keys: BTreeMap<Box<str>, (Lately, u64)>,
    snapshot: Option<(Told, u64)>,
    /// The keys that held snapshots at the last comparison, in order.
    snapshots: Vec<Stored>,
    unsure_until: Option<u64>,
    /// How many keys were deleted, and when, in steps of a minute.
    deleted: VecDeque<(u64, u64)>,
    /// How many keys the sync owns, as far as known.
    own: u64,
    /// True if the last comparison would have deleted too many keys.
    is_refused: bool,
}

/// Shows no keys.
impl fmt::Debug for Recent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Recent").field("keys", &self.memory().keys.len()).finish_non_exhaustive()
    }
}

impl Recent {
    /// For a process that makes many passes.
    pub(super) fn new() -> Self {
        Self { keys_max: KEYS_MAX, memory: Mutex::default() }
    }

    /// For a single pass: remembers nothing.
    pub(super) fn nothing() -> Self {
        Self { keys_max: 0, memory: Mutex::default() }
    }

    /// Returns when the list can be trusted again, in milliseconds since the Unix epoch, if more
    /// was written than can be remembered. A comparison before that time may leave a row as it
    /// was. Returns None if everything is remembered, or that time has passed.
    pub(super) fn unsure_until(&self, now_ms: u64) -> Option<u64> {
        self.memory().unsure_until.filter(|until| *until > now_ms)
    }

    /// Returns true if changes are remembered.
    pub(super) fn remembers(&self) -> bool {
        self.keys_max > 0
    }

    /// Records what a call did to keys that begin with the prefix.
    pub(super) fn note(&self, keys: impl IntoIterator<Item = (String, Lately)>, now_ms: u64) {
        if !self.remembers() {
            return;
        }
        let mut memory = self.memory();
        memory.forget_old(now_ms);
        for (key, lately) in keys {
            if memory.keys.len() < self.keys_max || memory.keys.contains_key(key.as_str()) {
                memory.keys.insert(key.into(), (lately, now_ms));
            } else {
                memory.unsure_until = Some(now_ms.saturating_add(LAG_MS));
            }
        }
    }

    /// Returns what happened to keys lately, by id (the key without the prefix), in the order of
    /// bytes.
    pub(super) fn keys(&self, prefix: &str, now_ms: u64) -> Vec<(String, Lately)> {
        let mut memory = self.memory();
        memory.forget_old(now_ms);
        let ids = memory.keys.iter().filter_map(|(key, (lately, _))| Some((key.strip_prefix(prefix)?, lately)));
        ids.map(|(id, lately)| (id.to_owned(), lately.clone())).collect()
    }

    /// Returns what happened to a key lately.
    pub(super) fn key(&self, key: &str, now_ms: u64) -> Option<Lately> {
        let memory = self.memory();
        memory.keys.get(key).filter(|(_, at)| is_fresh(*at, now_ms)).map(|(lately, _)| lately.clone())
    }

    /// Records the snapshot that was written; with an empty hash if it is unknown whether it was.
    pub(super) fn note_snapshot(&self, told: Told, now_ms: u64) {
        if self.remembers() {
            self.memory().snapshot = Some((told, now_ms));
        }
    }

    /// Returns the snapshot that was written lately.
    pub(super) fn snapshot(&self, now_ms: u64) -> Option<Told> {
        self.memory().snapshot.as_ref().filter(|(_, at)| is_fresh(*at, now_ms)).map(|(told, _)| told.clone())
    }

    /// Records which keys held snapshots during a comparison, in order, those of other runs
    /// included.
    pub(super) fn note_snapshots(&self, snapshots: Vec<Stored>) {
        self.memory().snapshots = snapshots;
    }

    /// Returns the keys that held snapshots at the last comparison, in order. No row replaces
    /// them, not even in a pass that does not list the keys of KV.
    pub(super) fn snapshots(&self) -> Vec<Stored> {
        self.memory().snapshots.clone()
    }

    /// Records that so many keys were deleted.
    pub(super) fn note_deleted(&self, count: u64, now_ms: u64) {
        if count == 0 {
            return;
        }
        let mut memory = self.memory();
        memory.own = memory.own.saturating_sub(count);
        match memory.deleted.back_mut() {
            Some((at, deleted)) if now_ms.saturating_sub(*at) < GUARD_STEP_MS => {
                *deleted += count;
            }
            _ => memory.deleted.push_back((now_ms, count)),
        }
    }

    /// Returns how many keys the sync owns: exact after a comparison, later without those that
    /// [`apply`] may have added.
    ///
    /// [`apply`]: super::sync::apply
    pub(super) fn own(&self) -> u64 {
        self.memory().own
    }

    /// Records the result of a comparison: how many keys the sync owns, and whether it would have
    /// deleted too many.
    pub(super) fn note_compared(&self, own: u64, is_refused: bool) {
        let mut memory = self.memory();
        (memory.own, memory.is_refused) = (own, is_refused);
    }

    /// Returns true if the last comparison would have deleted too many keys.
    pub(super) fn is_refused(&self) -> bool {
        self.memory().is_refused
    }

    /// Returns how many keys were deleted within the last hour. The guard counts them too;
    /// otherwise many small passes could delete everything.
    pub(super) fn deleted(&self, now_ms: u64) -> u64 {
        let mut memory = self.memory();
        while memory.deleted.front().is_some_and(|(at, _)| now_ms.saturating_sub(*at) >= GUARD_MS) {
            memory.deleted.pop_front();
        }
        memory.deleted.iter().map(|(_, count)| count).sum()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn forget_old(&mut self, now_ms: u64) {
        self.keys.retain(|_, (_, at)| is_fresh(*at, now_ms));
    }
}

fn is_fresh(at_ms: u64, now_ms: u64) -> bool {
    now_ms.saturating_sub(at_ms) < LAG_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(hash: &str) -> Lately {
        Lately::Written(hash.into())
    }

    fn note(recent: &Recent, key: &str, lately: Lately, now_ms: u64) {
        recent.note([(key.to_owned(), lately)], now_ms);
    }

    #[test]
    fn the_last_that_became_of_a_key_is_remembered_for_two_minutes() {
        let recent = Recent::new();
        note(&recent, "p:b", written("1"), 1000);
        note(&recent, "p:a", Lately::Deleted, 1000);
        note(&recent, "p:b", written("2"), 2000);
        note(&recent, "other", written("3"), 2000);
        assert_eq!(recent.keys("p:", 2000), [("a".to_owned(), Lately::Deleted), ("b".to_owned(), written("2"))]);
        assert_eq!(recent.key("p:a", 120_999), Some(Lately::Deleted));
        assert_eq!(recent.key("p:a", 121_000), None);
        assert_eq!(recent.keys("p:", 121_000), [("b".to_owned(), written("2"))]);
        assert_eq!(recent.keys("p:", 122_000), []);
        assert_eq!(recent.unsure_until(0), None);
    }

    #[test]
    fn a_snapshot_is_remembered_for_two_minutes() {
        let told = Told { version: 5, hash: "h".to_owned(), count: 2 };
        for (recent, now_ms, expected) in [
            (Recent::new(), 1000, true),
            (Recent::new(), 120_999, true),
            (Recent::new(), 121_000, false),
            (Recent::nothing(), 1000, false),
        ] {
            recent.note_snapshot(told.clone(), 1000);
            assert_eq!(recent.snapshot(now_ms).is_some(), expected, "{now_ms}");
        }
    }

    #[test]
    fn more_than_is_remembered_makes_it_unsure_for_two_minutes() {
        let recent = Recent { keys_max: 2, ..Recent::new() };
        for key in ["a", "b", "b"] {
            note(&recent, key, written("1"), 1000);
        }
        assert_eq!(recent.unsure_until(1000), None);
        note(&recent, "c", written("1"), 2000);
        assert_eq!((recent.unsure_until(2000), recent.unsure_until(122_000)), (Some(122_000), None));
        // Old entries make room.
        note(&recent, "d", written("1"), 122_000);
        assert_eq!((recent.keys("", 122_000).len(), recent.unsure_until(122_000)), (1, None));
    }

    #[test]
    fn what_remembers_nothing_holds_nothing() {
        let recent = Recent::nothing();
        note(&recent, "a", written("1"), 1000);
        assert_eq!((recent.key("a", 1000), recent.unsure_until(1000)), (None, None));
    }

    #[test]
    fn the_guard_counts_the_deletions_of_an_hour() {
        let minutes = |count: u64| count * 60_000;
        for (deleted, now, expected) in [
            (&[][..], 0, 0),
            (&[(0, 20)], 0, 20),
            (&[(0, 5), (1, 5), (2, 10)], 59, 20),
            (&[(0, 5), (1, 5), (2, 10)], 60, 15),
            (&[(0, 5), (1, 5), (2, 10)], 62, 0),
        ] {
            let recent = Recent::new();
            recent.note_compared(100, false);
            for (minute, count) in deleted {
                recent.note_deleted(*count, minutes(*minute));
            }
            assert_eq!(recent.deleted(minutes(now)), expected, "{deleted:?} {now}");
            let sum = deleted.iter().map(|(_, count)| count).sum::<u64>();
            assert_eq!(recent.own(), 100 - sum, "{deleted:?}");
        }
    }
}
