//! When which pass is due. It looks at no clock: times, in milliseconds, come from outside.

use std::collections::BTreeMap;

use kv_store::retry::{Backoff, FailureClass};

use crate::config::source::Changed;

/// How long notices are gathered. Workers KV takes one write a second to a key ("Limits").
const GATHER_MS: u64 = 1000;
/// The least time from snapshot to snapshot: each reads all rows.
const SNAPSHOT_MS: u64 = 10_000;
/// How long KV's list may lack a key that is there (KV documentation, "How KV works").
const LAG_MS: u64 = 60_000;
/// More keys than this are not looked at again one by one.
const AGAIN_MAX: usize = 1000;
/// After a failure, for ever, up to five minutes apart.
const BACKOFF: Backoff =
    Backoff { first_ms: 2000, cap_ms: 300_000, retry_after_cap_ms: 0, tries_max: u32::MAX, deadline_ms: u64::MAX };
/// A server that is down is asked more often: it costs nothing.
const RECONNECT: Backoff = Backoff { cap_ms: 30_000, ..BACKOFF };

/// What is to be done now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Todo {
    /// Compare all rows.
    Compare,
    /// Bring the rows of these keys into KV.
    Apply(Vec<String>),
    /// Make the snapshot anew.
    Snapshot,
    /// Listen for so long, at most.
    Wait(u64),
}

/// How a pass ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// All that it was about is in KV.
    Good,
    /// Something is not, and to try again would not change that: a row that KV cannot take, deletions that the guard refuses.
    Behind,
    /// The database or the API failed.
    Failed,
}

/// What is due when.
pub(super) struct Schedule {
    full_every_ms: Option<u64>,
    has_snapshot: bool,
    compare_at: Option<u64>,
    /// When KV's list can be believed again, where the comparison before could not rely on it.
    sure_at: Option<u64>,
    snapshot_at: Option<u64>,
    /// When the last snapshot was made.
    snapshot_made: u64,
    changed: Changed,
    /// When the first of the changes was heard of.
    changed_at: u64,
    /// Keys without a row that KV's list may lack yet, and when to look at them again.
    again: BTreeMap<String, u64>,
    /// The pass under way, and since when.
    under_way: Option<(PassKind, u64)>,
    /// Those of its keys that it looks at again, for the last time.
    last_look: Vec<String>,
    /// When and how long the last comparison was.
    compared: Option<(u64, u64)>,
    failures: u32,
    /// True where a row is not in KV as it should be.
    is_behind: bool,
    /// The same of the snapshot.
    snapshot_is_behind: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PassKind {
    Compare,
    Apply,
    Snapshot,
}

impl Schedule {
    /// Begins with a comparison.
    pub(super) fn new(now: u64, full_every_ms: Option<u64>, has_snapshot: bool) -> Self {
        Self {
            full_every_ms,
            has_snapshot,
            compare_at: Some(now),
            sure_at: None,
            snapshot_at: None,
            snapshot_made: 0,
            changed: Changed::nothing(),
            changed_at: now,
            again: BTreeMap::new(),
            under_way: None,
            last_look: Vec::new(),
            compared: None,
            failures: 0,
            is_behind: false,
            snapshot_is_behind: false,
        }
    }

    /// Takes what was heard.
    pub(super) fn heard(&mut self, changed: Changed, now: u64) {
        if changed.is_nothing() {
            return;
        }
        if self.changed.is_nothing() {
            self.changed_at = now;
        }
        match changed {
            Changed::Everything => self.changed = Changed::Everything,
            Changed::Keys(keys) => keys.iter().for_each(|key| self.changed.add(key)),
        }
    }

    /// Takes keys of the pass that has just ended, which have no row, and are not in KV's list either. They may be in KV all the same.
    pub(super) fn look_again(&mut self, keys: Vec<String>, now: u64) {
        let at = now.saturating_add(LAG_MS);
        let last_look = std::mem::take(&mut self.last_look);
        self.again.extend(keys.into_iter().filter(|key| last_look.binary_search(key).is_err()).map(|key| (key, at)));
        if self.again.len() > AGAIN_MAX {
            self.again.clear();
            self.sure_at = Some(at);
        }
    }

    /// A comparison could not rely on KV's list, which can be believed from then on.
    pub(super) fn unsure_until(&mut self, at: u64) {
        self.sure_at = Some(at);
    }

    /// What to do now; whatever it is but waiting, it has begun, and [`ended`](Self::ended) is to be told.
    pub(super) fn next(&mut self, now: u64) -> Todo {
        let again_at = self.again.values().min().copied();
        let apply_at = match &self.changed {
            // After a failure a comparison makes all of it good.
            _ if self.failures > 0 => None,
            Changed::Keys(keys) if keys.is_empty() => again_at,
            Changed::Keys(_) => Some(self.changed_at.saturating_add(GATHER_MS)),
            Changed::Everything => {
                // Not more than half of the time is spent with comparing.
                let rested = self.compared.map_or(0, |(ended, length)| ended.saturating_add(length));
                let due = self.changed_at.saturating_add(GATHER_MS).max(rested);
                self.compare_at = Some(self.compare_at.map_or(due, |at| at.min(due)));
                None
            }
        };
        let sure_at = self.sure_at.filter(|_| self.failures == 0);
        let due = [
            (self.compare_at, PassKind::Compare),
            (sure_at, PassKind::Compare),
            (apply_at, PassKind::Apply),
            (self.snapshot_at, PassKind::Snapshot),
        ];
        let due = due.into_iter().filter_map(|(at, pass)| at.map(|at| (at, pass)));
        // Of what is due a comparison comes first: it does the others' work.
        let Some((at, pass)) = due.min_by_key(|(at, _)| (*at).max(now)) else { return Todo::Wait(u64::MAX) };
        if at > now {
            return Todo::Wait(at.saturating_sub(now));
        }
        self.under_way = Some((pass, now));
        match pass {
            PassKind::Snapshot => Todo::Snapshot,
            PassKind::Compare => {
                // What is heard from now on is of later.
                self.changed = Changed::nothing();
                self.sure_at = self.sure_at.filter(|at| *at > now);
                Todo::Compare
            }
            PassKind::Apply => match std::mem::replace(&mut self.changed, Changed::nothing()) {
                Changed::Keys(mut keys) => {
                    let again = std::mem::take(&mut self.again).into_iter().filter(|(key, _)| !keys.contains(key));
                    let (last, later): (BTreeMap<_, _>, _) = again.partition(|(_, at)| *at <= now);
                    (self.last_look, self.again) = (last.into_keys().collect(), later);
                    keys.extend(self.last_look.iter().cloned());
                    Todo::Apply(keys.into_iter().collect())
                }
                Changed::Everything => Todo::Compare,
            },
        }
    }

    /// The pass under way has ended. `random` is drawn evenly from 0 to 1.
    pub(super) fn ended(&mut self, now: u64, ended: Ended, random: f64) {
        let Some((pass, since)) = self.under_way.take() else { return };
        if pass == PassKind::Compare {
            self.compared = Some((now, now.saturating_sub(since)));
        }
        if pass != PassKind::Apply {
            (self.snapshot_at, self.snapshot_made) = (None, now);
        }
        if ended == Ended::Failed {
            self.failures += 1;
            self.compare_at = Some(now.saturating_add(wait(&BACKOFF, self.failures, random)));
            return;
        }
        let is_behind = ended == Ended::Behind;
        match pass {
            PassKind::Compare => {
                (self.failures, self.is_behind, self.snapshot_is_behind) = (0, is_behind, false);
                self.compare_at = self.full_every_ms.map(|every| now.saturating_add(every));
            }
            // The rows of other keys may still be wanting.
            PassKind::Apply => self.is_behind |= is_behind,
            PassKind::Snapshot => self.snapshot_is_behind = is_behind,
        }
        if pass == PassKind::Apply && self.has_snapshot {
            let at = self.snapshot_made.saturating_add(SNAPSHOT_MS).max(now);
            self.snapshot_at = Some(self.snapshot_at.map_or(at, |before| before.min(at)));
        }
    }

    /// Something may have been missed.
    pub(super) fn compare_now(&mut self, now: u64) {
        self.compare_at = Some(now);
    }

    /// True where not all that was heard of is in KV.
    pub(super) fn is_behind(&self) -> bool {
        let lacks = self.compared.is_none() || self.failures > 0 || self.is_behind || self.snapshot_is_behind;
        let is_more_due = self.sure_at.is_some() || self.snapshot_at.is_some() || !self.again.is_empty();
        lacks || is_more_due || !self.changed.is_nothing()
    }
}

/// How long to wait for the server after so many failed tries.
pub(super) fn wait_ms(tries: u32, random: f64) -> u64 {
    wait(&RECONNECT, tries, random)
}

fn wait(backoff: &Backoff, tries: u32, random: f64) -> u64 {
    let class = FailureClass::Unavailable { retry_after_ms: None };
    let wait = backoff.next_wait_ms(class, tries, u64::MAX, random);
    #[expect(clippy::expect_used, reason = "neither tries nor time have an end in `BACKOFF`")]
    wait.expect("it never gives up").max(u64::from(backoff.first_ms) / 4)
}

#[cfg(test)]
mod tests;
