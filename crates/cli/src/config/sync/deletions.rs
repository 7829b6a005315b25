//! Deletes keys without a row: only keys that the sync owns, not too many at once, and only if
//! the row is still gone.

use std::collections::HashSet;
use std::iter;
use std::ops::ControlFlow;

use super::Pass;
use crate::clock::now_ms;
use crate::config::merge::{self, Left};
use crate::config::plan::is_mass;
use crate::config::recent::Lately;
use crate::config::source::Source;
use crate::config::stored;
use crate::config::summary::Stopped;
use crate::config::target::Target;
use crate::progress::Unit;

/// The most ids in one query of the source.
const ASKED_MAX: usize = 1000;

impl Pass<'_> {
    /// Records which ids are not in KV's list, but may be in KV.
    pub(super) fn note_unlisted(&self, mut gone: Vec<String>, left: &Left) {
        let listed: HashSet<&str> = left.gone.iter().map(String::as_str).collect();
        gone.retain(|id| !listed.contains(id.as_str()) && self.lately(id).is_none());
        self.tally.change(|summary| summary.unlisted.0.extend(gone));
    }

    /// Looks up an id in KV. Returns true if the sync owns its key, false if not or if the key
    /// was deleted, and None if KV's list has no such key.
    pub(super) fn look_up(&self, id: &str) -> Result<Option<bool>, Stopped> {
        let lately = self.lately(id);
        let listed = match lately {
            Some(Lately::Written(_)) => return Ok(Some(true)),
            Some(Lately::Deleted) => return Ok(Some(false)),
            _ => self.target.namespace.find(&self.keys.key(id))?,
        };
        let page = iter::once(Ok::<_, Stopped>(listed.into_iter().collect()));
        let stored = stored::stored(page, &self.target.prefix, |key| self.keys.is_reserved(key));
        let lately = lately.map(|lately| (id.to_owned(), lately)).into_iter().collect();
        let stored = merge::believed(stored, lately).next().transpose()?;
        Ok(stored.map(|stored| stored.hash.is_some()))
    }

    /// Returns true if so many deletions need `--allow-mass-delete`.
    pub(super) fn is_mass(&self, count: u64, own: u64) -> bool {
        !self.target.allow_mass_delete && is_mass(count, own, self.recent.deleted(now_ms()))
    }

    /// Reports deletions that need `--allow-mass-delete`, and returns true if there are any.
    pub(super) fn is_refused(&self, left: &Left) -> bool {
        let count = left.gone.len() as u64;
        let is_refused = self.target.delete && self.is_mass(count, left.own);
        if is_refused {
            let lately = match self.recent.deleted(now_ms()) {
                0 => String::new(),
                lately => format!(", together with the {lately} deleted within the last hour,"),
            };
            self.tally.change(|summary| {
                summary.refused = count;
                summary.problem(format!(
                    "{count} of {} keys have no row any more, which{lately} is more than 20 %: none of them was \
                     deleted, and the snapshot, if there is one, was not changed; check that the query returns \
                     all rows, and use --allow-mass-delete if it does",
                    left.own
                ));
            });
        }
        is_refused
    }

    /// Deletes the keys that remained without a row.
    pub(super) fn delete(&self, source: &mut Source, left: Left) -> Result<(), Stopped> {
        let Target { progress, delete, dry_run, .. } = self.target;
        if !delete || left.gone.is_empty() {
            return Ok(());
        }
        let gone = still_gone(source, left.gone)?;
        let count = gone.len() as u64;
        if *dry_run {
            self.tally.change(|summary| summary.deleted = count);
            return Ok(());
        }
        let keys: Vec<String> = gone.iter().map(|id| self.keys.key(id)).collect();
        let phase = progress.phase("deleting", count, Unit::Keys);
        let made = self.uploader().delete(&keys, &phase);
        let deleted = self.tally.change(|summary| summary.deleted);
        self.recent.note_deleted(deleted, now_ms());
        phase.done(&format!("{deleted} keys"));
        made
    }

    pub(super) fn lately(&self, id: &str) -> Option<Lately> {
        self.recent.key(&self.keys.key(id), now_ms())
    }
}

/// Queries the rows once more: a row may have been added since the merge passed it, and its key
/// written by another run.
fn still_gone(source: &mut Source, gone: Vec<String>) -> Result<Vec<String>, Stopped> {
    let mut there = HashSet::new();
    for ids in gone.chunks(ASKED_MAX) {
        source.rows_of(ids, &mut |row| {
            there.extend(row.key);
            ControlFlow::Continue(())
        })?;
    }
    Ok(gone.into_iter().filter(|id| !there.contains(id)).collect())
}
