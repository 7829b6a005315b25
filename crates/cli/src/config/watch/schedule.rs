//! When which pass is due. It looks at no clock: times, in milliseconds, come from outside.

use kv_edge_core::retry::{Backoff, FailureClass};

use crate::config::source::Changed;

/// How long notices are gathered. Workers KV takes one write a second to a key ("Limits").
const GATHER_MS: u64 = 1000;
/// The least time from snapshot to snapshot: each reads all rows.
const SNAPSHOT_MS: u64 = 10_000;
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

/// What is due when.
#[derive(Debug)]
pub(super) struct Schedule {
    full_every_ms: Option<u64>,
    has_snapshot: bool,
    compare_at: Option<u64>,
    snapshot_at: Option<u64>,
    /// When the last snapshot was made.
    snapshot_made: u64,
    changed: Changed,
    /// When the first of the changes was heard of.
    changed_at: u64,
    /// The pass under way, and since when.
    under_way: Option<(Pass, u64)>,
    /// When and how long the last comparison was.
    compared: (u64, u64),
    failures: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
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
            snapshot_at: None,
            snapshot_made: 0,
            changed: Changed::nothing(),
            changed_at: now,
            under_way: None,
            compared: (0, 0),
            failures: 0,
        }
    }

    /// Takes what was heard.
    pub(super) fn heard(&mut self, changed: Changed, now: u64, keys_max: usize) {
        if changed.is_nothing() {
            return;
        }
        if self.changed.is_nothing() {
            self.changed_at = now;
        }
        match changed {
            Changed::Everything => self.changed = Changed::Everything,
            Changed::Keys(keys) => keys.iter().for_each(|key| self.changed.add(key, keys_max)),
        }
    }

    /// What to do now; whatever it is but waiting, it has begun, and [`ended`](Self::ended) is to be told.
    pub(super) fn next(&mut self, now: u64) -> Todo {
        let apply_at = match &self.changed {
            // After a failure a comparison makes all of it good.
            _ if self.failures > 0 => None,
            Changed::Keys(keys) if keys.is_empty() => None,
            Changed::Keys(_) => Some(self.changed_at.saturating_add(GATHER_MS)),
            Changed::Everything => {
                // Not more than half of the time is spent with comparing.
                let (ended, length) = self.compared;
                let due = self.changed_at.saturating_add(GATHER_MS).max(ended.saturating_add(length));
                self.compare_at = Some(self.compare_at.map_or(due, |at| at.min(due)));
                None
            }
        };
        let due = [(self.compare_at, Pass::Compare), (apply_at, Pass::Apply), (self.snapshot_at, Pass::Snapshot)];
        let due = due.into_iter().filter_map(|(at, pass)| at.map(|at| (at, pass)));
        // Of what is due a comparison comes first: it does the others' work.
        let Some((at, pass)) = due.min_by_key(|(at, _)| (*at).max(now)) else { return Todo::Wait(u64::MAX) };
        if at > now {
            return Todo::Wait(at.saturating_sub(now));
        }
        self.under_way = Some((pass, now));
        match pass {
            Pass::Snapshot => Todo::Snapshot,
            Pass::Compare => {
                // What is heard from now on is of later.
                self.changed = Changed::nothing();
                Todo::Compare
            }
            Pass::Apply => match std::mem::replace(&mut self.changed, Changed::nothing()) {
                Changed::Keys(keys) => Todo::Apply(keys.into_iter().collect()),
                Changed::Everything => Todo::Compare,
            },
        }
    }

    /// The pass under way has ended. `random` is drawn evenly from 0 to 1.
    pub(super) fn ended(&mut self, now: u64, failed: bool, random: f64) {
        let Some((pass, since)) = self.under_way.take() else { return };
        if pass == Pass::Compare {
            self.compared = (now, now.saturating_sub(since));
        }
        if pass != Pass::Apply {
            (self.snapshot_at, self.snapshot_made) = (None, now);
        }
        if failed {
            self.failures = self.failures.saturating_add(1);
            self.compare_at = Some(now.saturating_add(wait(&BACKOFF, self.failures, random)));
        } else if pass == Pass::Compare {
            self.failures = 0;
            self.compare_at = self.full_every_ms.map(|every| now.saturating_add(every));
        } else if pass == Pass::Apply && self.has_snapshot {
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
        let none_was_made = self.compared == (0, 0);
        none_was_made || self.failures > 0 || !self.changed.is_nothing() || self.snapshot_at.is_some()
    }
}

/// How long to wait for the server after so many failed tries.
pub(super) fn wait_ms(tries: u32, random: f64) -> u64 {
    wait(&RECONNECT, tries, random)
}

fn wait(backoff: &Backoff, tries: u32, random: f64) -> u64 {
    let class = FailureClass::Unavailable { retry_after_ms: None };
    // It never gives up.
    let wait = backoff.next_wait_ms(class, tries, u64::MAX, random);
    wait.unwrap_or(backoff.cap_ms.into()).max(u64::from(backoff.first_ms) / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(keys: &[&str]) -> Changed {
        Changed::Keys(keys.iter().map(|key| (*key).to_owned()).collect())
    }

    fn apply(keys: &[&str]) -> Todo {
        Todo::Apply(keys.iter().map(|key| (*key).to_owned()).collect())
    }

    /// A schedule whose first comparison took from 0 to 100.
    fn begun(full_every_ms: Option<u64>, has_snapshot: bool) -> Schedule {
        let mut schedule = Schedule::new(0, full_every_ms, has_snapshot);
        assert!(schedule.is_behind());
        assert_eq!(schedule.next(0), Todo::Compare);
        schedule.ended(100, false, 1.0);
        assert!(!schedule.is_behind());
        schedule
    }

    #[test]
    fn it_begins_with_a_comparison_and_makes_one_every_so_often() {
        let mut schedule = begun(Some(5000), false);
        assert_eq!(schedule.next(100), Todo::Wait(5000));
        assert_eq!(schedule.next(5100), Todo::Compare);
        schedule.ended(5200, false, 1.0);
        assert_eq!(schedule.next(5200), Todo::Wait(5000));
        assert_eq!(begun(None, false).next(100), Todo::Wait(u64::MAX));
    }

    #[test]
    fn changes_are_gathered_for_a_second() {
        let mut schedule = begun(None, false);
        schedule.heard(keys(&["b"]), 200, 9);
        schedule.heard(Changed::nothing(), 300, 9);
        schedule.heard(keys(&["a", "b"]), 900, 9);
        assert!(schedule.is_behind());
        assert_eq!(schedule.next(900), Todo::Wait(300));
        assert_eq!(schedule.next(1200), apply(&["a", "b"]));
        schedule.heard(keys(&["a"]), 1250, 9);
        schedule.ended(1300, false, 1.0);
        assert_eq!(schedule.next(1300), Todo::Wait(950));
        assert_eq!(schedule.next(2250), apply(&["a"]));
        schedule.ended(2300, false, 1.0);
        assert!(!schedule.is_behind());
    }

    #[test]
    fn many_changes_are_one_comparison_that_leaves_time_for_others() {
        for changed in [Changed::Everything, keys(&["a", "b", "c"])] {
            let mut schedule = begun(Some(60_000), false);
            schedule.heard(changed, 200, 2);
            assert_eq!(schedule.next(200), Todo::Wait(1000));
            assert_eq!(schedule.next(1200), Todo::Compare);
            schedule.heard(Changed::Everything, 1300, 2);
            schedule.ended(9200, false, 1.0);
            // It took 8 seconds.
            assert_eq!(schedule.next(9200), Todo::Wait(8000));
            assert_eq!(schedule.next(17_200), Todo::Compare);
            schedule.ended(17_300, false, 1.0);
            assert_eq!(schedule.next(17_300), Todo::Wait(60_000));
        }
    }

    #[test]
    fn a_comparison_that_is_due_does_the_work_of_the_others() {
        let mut schedule = begun(Some(1000), true);
        schedule.heard(keys(&["a"]), 100, 9);
        assert_eq!(schedule.next(1100), Todo::Compare);
        schedule.ended(1200, false, 1.0);
        assert!(!schedule.is_behind());
        assert_eq!(schedule.next(1200), Todo::Wait(1000));
    }

    #[test]
    fn a_failure_is_made_good_by_a_comparison_and_waits_grow() {
        let mut schedule = begun(None, false);
        schedule.heard(keys(&["a"]), 100, 9);
        assert_eq!(schedule.next(1100), apply(&["a"]));
        schedule.ended(1100, true, 1.0);
        let mut now = 1100;
        for wait in [2000, 4000, 8000] {
            assert!(schedule.is_behind());
            schedule.heard(keys(&["b"]), now, 9);
            assert_eq!(schedule.next(now), Todo::Wait(wait));
            now += wait;
            assert_eq!(schedule.next(now), Todo::Compare);
            schedule.ended(now, true, 1.0);
        }
        schedule.compare_now(now);
        assert_eq!(schedule.next(now), Todo::Compare);
        schedule.ended(now, false, 1.0);
        assert!(!schedule.is_behind());
        assert_eq!(schedule.next(now), Todo::Wait(u64::MAX));
    }

    #[test]
    fn snapshots_follow_changes_ten_seconds_apart() {
        let mut schedule = begun(None, true);
        for (heard, now) in [(100, 1100), (1200, 2200)] {
            schedule.heard(keys(&["a"]), heard, 9);
            assert_eq!(schedule.next(now), apply(&["a"]));
            schedule.ended(now, false, 1.0);
            assert_eq!(schedule.next(now), Todo::Wait(10_100 - now));
        }
        assert!(schedule.is_behind());
        assert_eq!(schedule.next(10_100), Todo::Snapshot);
        schedule.ended(10_200, false, 1.0);
        assert!(!schedule.is_behind());
        assert_eq!(schedule.next(10_200), Todo::Wait(u64::MAX));
    }

    #[test]
    fn waits_for_the_server_grow_to_half_a_minute_and_are_never_none() {
        for (tries, random, expected) in [(1, 0.0, 500), (1, 1.0, 2000), (3, 0.5, 4000), (99, 1.0, 30_000)] {
            assert_eq!(wait_ms(tries, random), expected, "{tries} {random}");
        }
    }
}
