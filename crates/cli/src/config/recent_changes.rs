//! Remembers what this process wrote and deleted lately, because KV's list does not show it yet,
//! and what the guard against mass deletions counts
//! ([`is_mass_delete`](super::row_plan::is_mass_delete)).
//!
//! KV's list may show a change 60 seconds after it was made, or later (KV documentation, "How KV
//! works"). Suppose that a row changes, is written, and changes back. As long as the list shows
//! what was there before, a pass that relied on it would find the row unchanged, and KV would keep
//! the value in between. So `--watch` remembers what it did and believes that instead. Separate
//! runs cannot do this: the second of two runs within that time may leave such a value in KV, and
//! a later run corrects it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::metadata::SnapshotInfo;
use super::stored_keys::StoredKey;

/// How long the list is not trusted, in milliseconds: twice the 60 seconds of the documentation.
const LAG_MS: u64 = 120_000;
/// The most keys that are remembered, some 20 MB.
const KEYS_MAX: usize = 100_000;
/// How long a deletion counts for the guard against mass deletions, in milliseconds: an hour.
const GUARD_MS: u64 = 3_600_000;
/// Deletions within this many milliseconds are counted together: a minute.
const GUARD_STEP_MS: u64 = 60_000;

/// What happened to a key.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum RecentChange {
    /// It was written, with a value that has this hash.
    Written(Box<str>),
    Deleted,
    /// A call that was to change it failed, but may have had its effect.
    Unknown,
}

/// Shows no contents.
impl fmt::Debug for RecentChange {
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
/// `--watch` creates one with [`RecentChanges::new`], keeps it for as long as it runs, reconnects
/// included, and passes it to every [`run`](super::sync::run), [`apply`](super::sync::apply) and
/// [`snapshot`](super::sync::snapshot), which read and update it. A command that makes a single
/// pass passes [`RecentChanges::disabled`]. One `RecentChanges` is for one prefix of one
/// namespace.
///
/// `--watch` itself only calls [`list_unreliable_until`](Self::list_unreliable_until): if it
/// returns a time, a comparison is due then.
pub(super) struct RecentChanges {
    keys_max: usize,
    state: Mutex<RecentState>,
}

#[derive(Default)]
struct RecentState {
    /// The changes by full key, with their time.
    keys: BTreeMap<Box<str>, (RecentChange, u64)>,
    written_snapshot: Option<(SnapshotInfo, u64)>,
    /// The keys that held snapshots at the last comparison, in order.
    snapshot_keys: Vec<StoredKey>,
    list_unreliable_until: Option<u64>,
    /// When keys were deleted, in steps of a minute, and how many.
    deleted: VecDeque<(u64, u64)>,
    /// How many keys the sync owned at the last comparison, without those deleted since.
    owned: u64,
    /// True if the last comparison would have deleted too many keys.
    has_refused_deletions: bool,
}

/// Shows no keys.
impl fmt::Debug for RecentChanges {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RecentChanges").field("keys", &self.state().keys.len()).finish_non_exhaustive()
    }
}

impl RecentChanges {
    /// For a process that makes many passes.
    pub(super) fn new() -> Self {
        Self { keys_max: KEYS_MAX, state: Mutex::default() }
    }

    /// For a single pass, which goes by KV's list: does not remember which keys were written or
    /// deleted, nor the snapshot. What the guard counts is remembered.
    pub(super) fn disabled() -> Self {
        Self { keys_max: 0, state: Mutex::default() }
    }

    /// Returns `None` if all changes are remembered that the list may not show yet. Otherwise
    /// there were too many, and a comparison may take a changed row for unchanged until the time
    /// that is returned, in milliseconds since the Unix epoch.
    pub(super) fn list_unreliable_until(&self, now_ms: u64) -> Option<u64> {
        self.state().list_unreliable_until.filter(|until| *until > now_ms)
    }

    /// Returns true if changes are remembered.
    pub(super) fn is_enabled(&self) -> bool {
        self.keys_max > 0
    }

    /// Records what a call did to keys that begin with the prefix.
    pub(super) fn note(&self, keys: impl IntoIterator<Item = (String, RecentChange)>, now_ms: u64) {
        if !self.is_enabled() {
            return;
        }
        let mut state = self.state();
        state.forget_expired(now_ms);
        for (key, recent_change) in keys {
            if state.keys.len() < self.keys_max || state.keys.contains_key(key.as_str()) {
                state.keys.insert(key.into(), (recent_change, now_ms));
            } else {
                state.list_unreliable_until = Some(now_ms + LAG_MS);
            }
        }
    }

    /// Returns what happened to keys lately, by id (the key without the prefix), in the order of
    /// bytes.
    pub(super) fn keys(&self, prefix: &str, now_ms: u64) -> Vec<(String, RecentChange)> {
        let mut state = self.state();
        state.forget_expired(now_ms);
        let ids =
            state.keys.iter().filter_map(|(key, (recent_change, _))| Some((key.strip_prefix(prefix)?, recent_change)));
        ids.map(|(id, recent_change)| (id.to_owned(), recent_change.clone())).collect()
    }

    /// Returns what happened to a key lately.
    pub(super) fn key(&self, key: &str, now_ms: u64) -> Option<RecentChange> {
        let state = self.state();
        state.keys.get(key).filter(|(_, at)| is_fresh(*at, now_ms)).map(|(recent_change, _)| recent_change.clone())
    }

    /// Records the snapshot that was written; with an empty hash if it is unknown whether it was.
    pub(super) fn note_written_snapshot(&self, info: SnapshotInfo, now_ms: u64) {
        if self.is_enabled() {
            self.state().written_snapshot = Some((info, now_ms));
        }
    }

    /// Returns the snapshot that was written lately.
    pub(super) fn written_snapshot(&self, now_ms: u64) -> Option<SnapshotInfo> {
        self.state().written_snapshot.as_ref().filter(|(_, at)| is_fresh(*at, now_ms)).map(|(info, _)| info.clone())
    }

    /// Records which keys held snapshots during a comparison, in order, those of other runs
    /// included.
    pub(super) fn note_snapshot_keys(&self, snapshots: Vec<StoredKey>) {
        self.state().snapshot_keys = snapshots;
    }

    /// Returns the keys that held snapshots at the last comparison, in order. No row replaces
    /// them, not even in a pass that does not list the keys of KV.
    pub(super) fn snapshot_keys(&self) -> Vec<StoredKey> {
        self.state().snapshot_keys.clone()
    }

    /// Records that this many keys were deleted.
    pub(super) fn note_deleted(&self, count: u64, now_ms: u64) {
        if count == 0 {
            return;
        }
        let mut state = self.state();
        state.owned = state.owned.saturating_sub(count);
        match state.deleted.back_mut() {
            Some((at, deleted)) if now_ms.saturating_sub(*at) < GUARD_STEP_MS => {
                *deleted += count;
            }
            _ => state.deleted.push_back((now_ms, count)),
        }
    }

    /// Returns how many keys the sync owns. Right after a comparison that is exact; later it lacks
    /// the keys that [`apply`] has added.
    ///
    /// [`apply`]: super::sync::apply
    pub(super) fn owned_keys(&self) -> u64 {
        self.state().owned
    }

    /// Records the result of a comparison: how many keys the sync owns, and whether it would have
    /// deleted too many.
    pub(super) fn note_compared(&self, owned: u64, has_refused_deletions: bool) {
        let mut state = self.state();
        (state.owned, state.has_refused_deletions) = (owned, has_refused_deletions);
    }

    /// Returns true if the last comparison would have deleted too many keys.
    pub(super) fn has_refused_deletions(&self) -> bool {
        self.state().has_refused_deletions
    }

    /// Returns how many keys were deleted within the last hour. The guard counts them too;
    /// otherwise many small passes could delete everything.
    pub(super) fn deleted(&self, now_ms: u64) -> u64 {
        let mut state = self.state();
        while state.deleted.front().is_some_and(|(at, _)| now_ms.saturating_sub(*at) >= GUARD_MS) {
            state.deleted.pop_front();
        }
        state.deleted.iter().map(|(_, count)| count).sum()
    }

    fn state(&self) -> MutexGuard<'_, RecentState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RecentState {
    fn forget_expired(&mut self, now_ms: u64) {
        self.keys.retain(|_, (_, at)| is_fresh(*at, now_ms));
    }
}

fn is_fresh(at_ms: u64, now_ms: u64) -> bool {
    now_ms.saturating_sub(at_ms) < LAG_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(hash: &str) -> RecentChange {
        RecentChange::Written(hash.into())
    }

    fn note(recent: &RecentChanges, key: &str, recent_change: RecentChange, now_ms: u64) {
        recent.note([(key.to_owned(), recent_change)], now_ms);
    }

    #[test]
    fn the_last_change_of_a_key_is_remembered_for_two_minutes() {
        let recent = RecentChanges::new();
        note(&recent, "p:b", written("1"), 1000);
        note(&recent, "p:a", RecentChange::Deleted, 1000);
        note(&recent, "p:b", written("2"), 2000);
        note(&recent, "other", written("3"), 2000);
        assert_eq!(recent.keys("p:", 2000), [("a".to_owned(), RecentChange::Deleted), ("b".to_owned(), written("2"))]);
        assert_eq!(recent.key("p:a", 120_999), Some(RecentChange::Deleted));
        assert_eq!(recent.key("p:a", 121_000), None);
        assert_eq!(recent.keys("p:", 121_000), [("b".to_owned(), written("2"))]);
        assert_eq!(recent.keys("p:", 122_000), []);
        assert_eq!(recent.list_unreliable_until(0), None);
    }

    #[test]
    fn a_snapshot_is_remembered_for_two_minutes() {
        let info = SnapshotInfo { version: 5, hash: "h".to_owned(), count: 2 };
        for (recent, now_ms, expected) in [
            (RecentChanges::new(), 1000, true),
            (RecentChanges::new(), 120_999, true),
            (RecentChanges::new(), 121_000, false),
            (RecentChanges::disabled(), 1000, false),
        ] {
            recent.note_written_snapshot(info.clone(), 1000);
            assert_eq!(recent.written_snapshot(now_ms).is_some(), expected, "{now_ms}");
        }
    }

    #[test]
    fn with_more_changes_than_fit_the_list_is_unreliable_for_two_minutes() {
        let recent = RecentChanges { keys_max: 2, ..RecentChanges::new() };
        for key in ["a", "b", "b"] {
            note(&recent, key, written("1"), 1000);
        }
        assert_eq!(recent.list_unreliable_until(1000), None);
        note(&recent, "c", written("1"), 2000);
        assert_eq!((recent.list_unreliable_until(2000), recent.list_unreliable_until(122_000)), (Some(122_000), None));
        // Old entries make room.
        note(&recent, "d", written("1"), 122_000);
        assert_eq!((recent.keys("", 122_000).len(), recent.list_unreliable_until(122_000)), (1, None));
    }

    #[test]
    fn disabled_it_remembers_no_change_of_a_key() {
        let recent = RecentChanges::disabled();
        note(&recent, "a", written("1"), 1000);
        assert_eq!((recent.key("a", 1000), recent.list_unreliable_until(1000)), (None, None));
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
            let recent = RecentChanges::new();
            recent.note_compared(100, false);
            for (minute, count) in deleted {
                recent.note_deleted(*count, minutes(*minute));
            }
            assert_eq!(recent.deleted(minutes(now)), expected, "{deleted:?} {now}");
            let sum = deleted.iter().map(|(_, count)| count).sum::<u64>();
            assert_eq!(recent.owned_keys(), 100 - sum, "{deleted:?}");
        }
    }
}
