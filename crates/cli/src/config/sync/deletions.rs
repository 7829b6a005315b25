//! Deletes keys without a row: only keys that the sync owns, not too many at once, and only if
//! the row is still gone.

use std::collections::HashSet;
use std::iter;
use std::ops::ControlFlow;

use super::SyncPass;
use crate::clock::now_ms;
use crate::config::merge::{self, UnmatchedKeys};
use crate::config::pass_summary::PassError;
use crate::config::recent_changes::RecentChange;
use crate::config::row_plan::is_mass_delete;
use crate::config::source::PostgresSource;
use crate::config::stored_keys;
use crate::config::sync_target::SyncTarget;
use crate::progress::Unit;

/// The most ids in one query of the source.
const IDS_PER_QUERY: usize = 1000;

impl SyncPass<'_> {
    /// Notes ids without a row whose keys KV's list may not show yet, so that a later pass checks
    /// them again. Those whose keys are to be deleted, and those that changed lately, are not
    /// among them.
    pub(super) fn note_unlisted(&self, mut without_row: Vec<String>, unmatched: &UnmatchedKeys) {
        let to_delete: HashSet<&str> = unmatched.gone.iter().map(String::as_str).collect();
        without_row.retain(|id| !to_delete.contains(id.as_str()) && self.recent_change(id).is_none());
        self.summary.change(|summary| summary.unlisted.0.extend(without_row));
    }

    /// Looks up an id in the recent changes and in KV's list. Returns true if the sync owns its
    /// key or may have written it, false if the key is another's or was deleted, and `None` if
    /// neither has it.
    pub(super) fn look_up(&self, id: &str) -> Result<Option<bool>, PassError> {
        let recent_change = self.recent_change(id);
        let listed = match recent_change {
            Some(RecentChange::Written(_)) => return Ok(Some(true)),
            Some(RecentChange::Deleted) => return Ok(Some(false)),
            _ => self.target.namespace.find(&self.keys.key(id))?,
        };
        let page = iter::once(Ok::<_, PassError>(listed.into_iter().collect()));
        let stored = stored_keys::stored_keys(page, &self.target.prefix, |key| self.keys.is_reserved(key));
        let recent_changes = recent_change.map(|change| (id.to_owned(), change)).into_iter().collect();
        let stored = merge::with_recent_changes(stored, recent_changes).next().transpose()?;
        Ok(stored.map(|stored| stored.hash.is_some()))
    }

    /// Returns true if this many deletions need `--allow-mass-delete`, and it is not given.
    pub(super) fn exceeds_allowed_deletions(&self, count: u64, owned: u64) -> bool {
        !self.target.allow_mass_delete && is_mass_delete(count, owned, self.recent.deleted(now_ms()))
    }

    /// Reports deletions that need `--allow-mass-delete`, and returns true if there are any.
    pub(super) fn refuses_deletions(&self, unmatched: &UnmatchedKeys) -> bool {
        let count = unmatched.gone.len() as u64;
        let is_refused = self.target.delete && self.exceeds_allowed_deletions(count, unmatched.owned);
        if is_refused {
            let recently = match self.recent.deleted(now_ms()) {
                0 => String::new(),
                recent_deletions => format!(", together with the {recent_deletions} deleted within the last hour,"),
            };
            self.summary.change(|summary| {
                summary.refused = count;
                summary.problem(format!(
                    "{count} of {} keys have no row any more, which{recently} is more than 20 %: none of them was \
                     deleted, and the snapshot, if there is one, was not changed; check that the query returns \
                     all rows, and use --allow-mass-delete if it does",
                    unmatched.owned
                ));
            });
        }
        is_refused
    }

    /// Deletes the keys that no row matched, if they still have none.
    pub(super) fn delete(&self, source: &mut PostgresSource, unmatched: UnmatchedKeys) -> Result<(), PassError> {
        let SyncTarget { progress, delete, dry_run, .. } = self.target;
        if !delete || unmatched.gone.is_empty() {
            return Ok(());
        }
        let gone = still_gone(source, unmatched.gone)?;
        let count = gone.len() as u64;
        if *dry_run {
            self.summary.change(|summary| summary.deleted = count);
            return Ok(());
        }
        let keys: Vec<String> = gone.iter().map(|id| self.keys.key(id)).collect();
        let phase = progress.phase("deleting", count, Unit::Keys);
        let result = self.sync_writer().delete(&keys, &phase);
        let deleted = self.summary.change(|summary| summary.deleted);
        self.recent.note_deleted(deleted, now_ms());
        phase.done(&format!("{deleted} keys"));
        result
    }

    pub(super) fn recent_change(&self, id: &str) -> Option<RecentChange> {
        self.recent.key(&self.keys.key(id), now_ms())
    }
}

/// Queries the rows once more: a row may have been added since the merge passed it, and its key
/// written by another run.
fn still_gone(source: &mut PostgresSource, gone: Vec<String>) -> Result<Vec<String>, PassError> {
    let mut there = HashSet::new();
    for ids in gone.chunks(IDS_PER_QUERY) {
        source.rows_of(ids, &mut |row| {
            there.extend(row.key);
            ControlFlow::Continue(())
        })?;
    }
    Ok(gone.into_iter().filter(|id| !there.contains(id)).collect())
}
