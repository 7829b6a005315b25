//! Which keys without a row are deleted: the sync's own, not too many at once, and only where the row is still gone.

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

/// The most ids that the source is asked for at once.
const ASKED_MAX: usize = 1000;

impl Pass<'_> {
    /// Notes which ids are in no list, and may be in KV all the same.
    pub(super) fn note_unlisted(&self, mut gone: Vec<String>, left: &Left) {
        let listed: HashSet<&str> = left.gone.iter().map(String::as_str).collect();
        gone.retain(|id| !listed.contains(id.as_str()) && self.lately(id).is_none());
        self.tally.change(|summary| summary.unlisted.0.extend(gone));
    }

    /// True for an id whose key is the sync's own, false for one whose key is not, or was deleted; none where KV's list has no such key.
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

    /// True where so many keys are more than may be deleted without being told to.
    pub(super) fn is_mass(&self, count: u64, own: u64) -> bool {
        !self.target.allow_mass_delete && is_mass(count, own, self.recent.deleted(now_ms()))
    }

    /// Tells of deletions that are suspiciously many, if they are.
    pub(super) fn is_refused(&self, left: &Left) -> bool {
        let count = left.gone.len() as u64;
        let is_refused = self.target.delete && self.is_mass(count, left.own);
        if is_refused {
            let lately = match self.recent.deleted(now_ms()) {
                0 => String::new(),
                lately => format!(" with the {lately} that were deleted within the last hour"),
            };
            self.tally.change(|summary| {
                summary.refused = count;
                summary.problem(format!(
                    "{count} of {} keys have no row any more, which{lately} is more than 20 %: none of them was deleted, and the snapshot, if \
                     there is one, stays as it is; see whether the query gives all rows, and say --allow-mass-delete if it does",
                    left.own
                ));
            });
        }
        is_refused
    }

    /// Deletes what is left without a row.
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

/// Asks the source once more: the walk took a while, and a row may have come since, which somebody else has written already.
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
