//! Decides which pass of `kv-edge config sync --watch` is due, and when. There are three kinds: a
//! comparison of everything, the rows that have changed, and the snapshot. It has no clock: times
//! are parameters, in milliseconds.

use std::collections::BTreeMap;

use kv_store::retry::{Backoff, FailureClass};

use crate::config::source::ChangedRows;

/// How long notifications are gathered, in milliseconds. Workers KV accepts one write per second
/// to a key ("Limits").
const GATHER_MS: u64 = 1000;
/// The least time from the end of a comparison or snapshot pass to the next snapshot pass, in
/// milliseconds, because each reads all rows.
const SNAPSHOT_PAUSE_MS: u64 = 10_000;
/// When to check an id again whose key may exist without being listed yet, in milliseconds. KV's
/// list usually shows a new key within 60 seconds (KV documentation, "How KV works").
const RECHECK_AFTER_MS: u64 = 60_000;
/// If more keys than this are to be checked again, everything is compared instead.
const RECHECKS_MAX: usize = 1000;
/// The waits after failed passes: they grow to five minutes. The number of tries is not limited.
const BACKOFF: Backoff =
    Backoff { first_ms: 2000, cap_ms: 300_000, retry_after_cap_ms: 0, tries_max: u32::MAX, deadline_ms: u64::MAX };
/// The waits between attempts to reconnect: at most 30 seconds, because an attempt costs nothing.
const RECONNECT: Backoff = Backoff { cap_ms: 30_000, ..BACKOFF };

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ScheduledAction {
    /// Compare everything, and write the snapshot.
    Compare,
    /// Write the rows of these ids, or delete their keys if they have none.
    Apply(Vec<String>),
    /// Write the snapshot.
    Snapshot,
    /// Wait for notifications, at most this many milliseconds.
    Wait(u64),
    /// Wait for notifications: nothing is due.
    WaitForChanges,
}

/// The result of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PassResult {
    /// Everything that the pass was about is in KV.
    Complete,
    /// Something is not in KV, and repeating the pass would not change that, such as a row that KV
    /// cannot hold, or deletions that the guard against mass deletions refused.
    Incomplete,
    /// The database or the API failed.
    Failed,
}

/// The passes that are due, and when.
pub(super) struct PassSchedule {
    full_every_ms: Option<u64>,
    has_snapshot: bool,
    compare_at: Option<u64>,
    /// When KV's list is reliable again, and everything must be compared: the last comparison
    /// could not rely on it, or too many ids are to be checked again.
    list_reliable_at: Option<u64>,
    snapshot_at: Option<u64>,
    /// When the last comparison or snapshot pass ended, whatever its result.
    snapshot_pass_ended_at: u64,
    changed: ChangedRows,
    /// When the first of the changes was notified.
    changed_at: u64,
    /// Ids without a row, whose keys may exist although KV does not list them yet, and when to
    /// check each again.
    recheck: BTreeMap<String, u64>,
    /// The pass that is running, and when it started.
    running: Option<(PassKind, u64)>,
    /// The ids that the running pass checks again, for the last time.
    final_recheck: Vec<String>,
    /// When the last comparison ended, and how long it took.
    last_comparison: Option<(u64, u64)>,
    failures: u32,
    /// True if a row is not in KV as it should be, or may not be.
    is_behind: bool,
    /// True if the snapshot is not in KV as it should be.
    snapshot_is_behind: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PassKind {
    Compare,
    Apply,
    Snapshot,
}

impl PassSchedule {
    /// Begins with a comparison.
    pub(super) fn new(now: u64, full_every_ms: Option<u64>, has_snapshot: bool) -> Self {
        Self {
            full_every_ms,
            has_snapshot,
            compare_at: Some(now),
            list_reliable_at: None,
            snapshot_at: None,
            snapshot_pass_ended_at: 0,
            changed: ChangedRows::nothing(),
            changed_at: now,
            recheck: BTreeMap::new(),
            running: None,
            final_recheck: Vec::new(),
            last_comparison: None,
            failures: 0,
            is_behind: false,
            snapshot_is_behind: false,
        }
    }

    /// Adds changes that were notified.
    pub(super) fn add_changes(&mut self, changed: ChangedRows, now: u64) {
        if changed.is_nothing() {
            return;
        }
        if self.changed.is_nothing() {
            self.changed_at = now;
        }
        match changed {
            ChangedRows::Everything => self.changed = ChangedRows::Everything,
            ChangedRows::Keys(keys) => keys.iter().for_each(|key| self.changed.add(key)),
        }
    }

    /// Schedules one more check of the ids for which the pass that has just ended found neither a
    /// row nor a listed key: KV's list lags, so a key may be there all the same. Must be called
    /// after every pass.
    pub(super) fn recheck_later(&mut self, keys: Vec<String>, now: u64) {
        let at = now + RECHECK_AFTER_MS;
        let final_recheck = std::mem::take(&mut self.final_recheck);
        self.recheck
            .extend(keys.into_iter().filter(|key| final_recheck.binary_search(key).is_err()).map(|key| (key, at)));
        if self.recheck.len() > RECHECKS_MAX {
            self.recheck.clear();
            self.list_reliable_at = Some(at);
        }
    }

    /// Makes another comparison due at that time, when KV's list is reliable again: the last one
    /// could not rely on it.
    pub(super) fn compare_when_list_is_reliable(&mut self, at: u64) {
        self.list_reliable_at = Some(at);
    }

    /// Returns what to do now. Unless it is to wait, the pass counts as started, and
    /// [`pass_ended`](Self::pass_ended) must be called after it.
    pub(super) fn next(&mut self, now: u64) -> ScheduledAction {
        let recheck_at = self.recheck.values().min().copied();
        let apply_at = match &self.changed {
            // After a failure, the comparison that is scheduled writes the changed rows, too.
            _ if self.failures > 0 => None,
            // If there are changes, ids are checked again together with them.
            ChangedRows::Keys(keys) if keys.is_empty() => recheck_at,
            ChangedRows::Keys(_) => Some(self.changed_at + GATHER_MS),
            ChangedRows::Everything => {
                // After a comparison, the pause is as long as it took.
                let rested = self.last_comparison.map_or(0, |(ended, length)| ended + length);
                let due = (self.changed_at + GATHER_MS).max(rested);
                self.compare_at = Some(self.compare_at.map_or(due, |at| at.min(due)));
                None
            }
        };
        let list_reliable_at = self.list_reliable_at.filter(|_| self.failures == 0);
        let due = [
            (self.compare_at, PassKind::Compare),
            (list_reliable_at, PassKind::Compare),
            (apply_at, PassKind::Apply),
            (self.snapshot_at, PassKind::Snapshot),
        ];
        let due = due.into_iter().filter_map(|(at, pass)| at.map(|at| (at, pass)));
        // If several passes are due, a comparison comes first, because it does the work of the
        // others: `min_by_key` returns the first of equals.
        let Some((at, pass)) = due.min_by_key(|(at, _)| (*at).max(now)) else { return ScheduledAction::WaitForChanges };
        if at > now {
            return ScheduledAction::Wait(at - now);
        }
        self.running = Some((pass, now));
        match pass {
            PassKind::Snapshot => ScheduledAction::Snapshot,
            PassKind::Compare => {
                // This pass covers all changes that were notified so far.
                self.changed = ChangedRows::nothing();
                self.list_reliable_at = self.list_reliable_at.filter(|at| *at > now);
                ScheduledAction::Compare
            }
            PassKind::Apply => {
                let ChangedRows::Keys(mut keys) = std::mem::replace(&mut self.changed, ChangedRows::nothing()) else {
                    unreachable!("if everything may have changed, a comparison is due");
                };
                let again = std::mem::take(&mut self.recheck).into_iter().filter(|(key, _)| !keys.contains(key));
                let (last, later): (BTreeMap<_, _>, _) = again.partition(|(_, at)| *at <= now);
                (self.final_recheck, self.recheck) = (last.into_keys().collect(), later);
                keys.extend(self.final_recheck.iter().cloned());
                ScheduledAction::Apply(keys.into_iter().collect())
            }
        }
    }

    /// Records that the running pass has ended. `random` is uniformly distributed from 0 to 1.
    #[expect(clippy::expect_used, reason = "`next` has started the pass that ends")]
    pub(super) fn pass_ended(&mut self, now: u64, result: PassResult, random: f64) {
        let (pass, since) = self.running.take().expect("a pass was started");
        if pass == PassKind::Compare {
            self.last_comparison = Some((now, now - since));
        }
        if pass != PassKind::Apply {
            (self.snapshot_at, self.snapshot_pass_ended_at) = (None, now);
        }
        if result == PassResult::Failed {
            self.failures += 1;
            self.compare_at = Some(now + wait(&BACKOFF, self.failures, random));
            return;
        }
        let is_behind = result == PassResult::Incomplete;
        match pass {
            PassKind::Compare => {
                (self.failures, self.is_behind, self.snapshot_is_behind) = (0, is_behind, false);
                self.compare_at = self.full_every_ms.map(|every| now.saturating_add(every));
            }
            // Other rows may still be missing.
            PassKind::Apply => self.is_behind |= is_behind,
            PassKind::Snapshot => self.snapshot_is_behind = is_behind,
        }
        if pass == PassKind::Apply && self.has_snapshot {
            let at = (self.snapshot_pass_ended_at + SNAPSHOT_PAUSE_MS).max(now);
            self.snapshot_at = Some(self.snapshot_at.map_or(at, |before| before.min(at)));
        }
    }

    /// Makes a comparison due now, because something may have been missed. Until it is complete,
    /// KV counts as behind.
    pub(super) fn compare_now(&mut self, now: u64) {
        (self.compare_at, self.is_behind) = (Some(now), true);
    }

    /// Returns true if something is not in KV yet, or may not be.
    pub(super) fn is_behind(&self) -> bool {
        let lacks = self.last_comparison.is_none() || self.failures > 0 || self.is_behind || self.snapshot_is_behind;
        let is_more_due = self.list_reliable_at.is_some() || self.snapshot_at.is_some() || !self.recheck.is_empty();
        lacks || is_more_due || !self.changed.is_nothing()
    }
}

/// Returns how long to wait before the next attempt to reconnect, in milliseconds.
pub(super) fn reconnect_wait_ms(tries: u32, random: f64) -> u64 {
    wait(&RECONNECT, tries, random)
}

/// Returns a wait with jitter: at least a quarter of `first_ms`, so that what has just failed is
/// not asked at once.
fn wait(backoff: &Backoff, tries: u32, random: f64) -> u64 {
    let class = FailureClass::Unavailable { retry_after_ms: None };
    let wait = backoff.next_wait_ms(class, tries, u64::MAX, random);
    #[expect(clippy::expect_used, reason = "`BACKOFF` and `RECONNECT` limit neither tries nor time")]
    wait.expect("tries and time are unlimited").max(u64::from(backoff.first_ms) / 4)
}

#[cfg(test)]
mod tests;
