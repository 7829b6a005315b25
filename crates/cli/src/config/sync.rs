//! A pass of the sync: makes KV hold what the table holds.
//!
//! Rows and keys are merged ([`plan`](super::plan)), and what differs is written as it is found,
//! a few calls at a time ([`upload`](super::upload)). Deletions come after all rows were seen,
//! the snapshot last. If a pass dies at any point, it has written some rows, each as it is in the
//! table, and the next pass does the rest.

mod deletions;

use std::collections::HashSet;
use std::ops::ControlFlow;

use kv_store::limits::Key;

use super::merge::{self, Left};
use super::metadata;
use super::plan::{Fault, Kept, Keys, Plan, State, Step};
use super::recent::{Lately, Recent};
use super::row::Row;
use super::snapshot::{self, Records, SnapshotError};
use super::source::{Source, SourceError};
use super::stored::{self, Stored};
use super::summary::{SnapshotOutcome, Stopped, Summary};
use super::target::Target;
use super::upload::{Outbox, Tally, Uploader};
use crate::api::KeyValuePair;
use crate::clock::now_ms;
use crate::progress::Unit;

/// The most keys that [`apply`] looks up one by one: each takes a call, and an account may make
/// 1,200 in five minutes.
const LOOKED_UP_MAX: u64 = 100;
/// The number of keys on a page of KV's list.
const PAGE: u64 = 1000;
/// If deletions are guarded, a snapshot that is written on its own must have this percentage of
/// the records before.
const RECORDS_LEAST: u64 = 80;

/// Compares everything: all rows, all keys, then the snapshot.
pub(super) fn run(source: &mut Source, target: &Target, recent: &Recent) -> Summary {
    let pass = Pass::begin(target, recent);
    let ended = pass.compare(source);
    pass.end(ended, target.snapshot.is_some())
}

/// Writes the rows of some ids, and deletes the keys of those that have no row, if the sync owns
/// them. Leaves the snapshot as it is. Falls back to comparing everything, as [`run`] does, if
/// too many keys are gone to be looked up one by one, or to be deleted without knowing exactly
/// how many there are.
pub(super) fn apply(source: &mut Source, target: &Target, recent: &Recent, keys: &[String]) -> Summary {
    let pass = Pass::begin(target, recent);
    let (ended, is_whole) = match pass.apply(source, keys) {
        Ok(None) => (Ok(()), false),
        Ok(Some(gone)) => (pass.compare_after(source, gone), true),
        Err(stopped) => (Err(stopped), false),
    };
    pass.end(ended, is_whole && target.snapshot.is_some())
}

/// Writes the snapshot, as [`run`] does at its end.
pub(super) fn snapshot(source: &mut Source, target: &Target, recent: &Recent) -> Summary {
    let pass = Pass::begin(target, recent);
    let ended = pass.snapshot_alone(source);
    pass.end(ended, target.snapshot.is_some())
}

struct Pass<'t> {
    target: &'t Target,
    recent: &'t Recent,
    keys: Keys,
    tally: Tally,
    started_ms: u64,
}

impl<'t> Pass<'t> {
    fn begin(target: &'t Target, recent: &'t Recent) -> Self {
        let keys = Keys { prefix: target.prefix.clone(), snapshot: target.snapshot.clone() };
        let tally = Tally::default();
        tally.change(|summary| summary.dry_run = target.dry_run);
        Self { target, recent, keys, tally, started_ms: now_ms() }
    }

    fn end(self, ended: Result<(), Stopped>, has_snapshot: bool) -> Summary {
        let calls = self.target.namespace.calls();
        #[allow(clippy::cast_precision_loss)] // Nobody waits for 2^53 milliseconds.
        let seconds = now_ms().saturating_sub(self.started_ms) as f64 / 1000.0;
        let mut summary = self.tally.into_inner();
        if has_snapshot {
            summary.snapshot.get_or_insert(SnapshotOutcome::Failed);
        }
        let calls = calls.saturating_sub(self.target.summed_calls.replace(calls));
        Summary { calls, seconds, stopped: ended.err(), ..summary }
    }

    fn uploader(&self) -> Uploader<'_> {
        let Target { namespace, prefix, .. } = self.target;
        Uploader { namespace, prefix, recent: self.recent, tally: &self.tally }
    }

    fn compare(&self, source: &mut Source) -> Result<(), Stopped> {
        self.compare_after(source, Vec::new())
    }

    /// Compares everything. `gone` are ids that had no row a moment ago.
    fn compare_after(&self, source: &mut Source, gone: Vec<String>) -> Result<(), Stopped> {
        let Target { namespace, prefix, progress, .. } = self.target;
        let phase = progress.phase("comparing", source.estimate().unwrap_or_default(), Unit::Keys);
        let mut records = self.keys.snapshot.as_ref().map(|_| Records::default());
        let (mut left, mut more_own) = (Left::default(), 0_u64);
        let lately = self.recent.keys(prefix, now_ms());
        let mut snapshots = Vec::new();
        let listed = stored::stored(namespace.key_pages(prefix), prefix, |key| self.keys.is_reserved(key));
        let listed = listed
            .inspect(|stored| snapshots.extend(stored.as_ref().ok().filter(|stored| stored.is_snapshot).cloned()));
        self.uploader().write(|outbox| {
            left = self.walk(source, merge::believed(listed, lately), |kept| {
                phase.add(1);
                if let Some(records) = &mut records {
                    records.push(&kept.id, &kept.value);
                }
                let becomes_own = !matches!(kept.state, State::Unchanged | State::Changed { was_own: true });
                more_own += u64::from(becomes_own);
                self.keep(kept, outbox)
            })?;
            Ok(())
        })?;
        phase.done(&format!("{} rows", self.tally.change(|summary| summary.read)));
        self.recent.note_snapshots(snapshots);
        self.note_unlisted(gone, &left);
        let is_refused = self.is_refused(&left);
        self.recent.note_compared(left.own + more_own, is_refused);
        if is_refused {
            self.tally.change(|summary| summary.snapshot = records.map(|_| SnapshotOutcome::Refused));
            return Ok(());
        }
        self.delete(source, left)?;
        self.put_snapshot(records, None)
    }

    /// Returns None if it is done, or the ids without a row if everything has to be compared
    /// instead.
    fn apply(&self, source: &mut Source, ids: &[String]) -> Result<Option<Vec<String>>, Stopped> {
        let mut there = HashSet::new();
        self.uploader().write(|outbox| {
            let mut plan = Plan::new(&self.keys, self.recent.snapshots().into_iter().map(Ok));
            let mut steps = |step| match step {
                Step::Keep(kept) => self.keep(kept, outbox),
                Step::Fault(Fault { why, .. }) => self.fault(format!(
                    "a changed row: {why}; `kv-edge config sync --dry-run` with the same options shows how to find it"
                )),
            };
            self.read(
                |each| source.rows_of(ids, each),
                |row| {
                    there.extend(row.key.clone());
                    plan.row(row, &mut steps)
                },
            )?;
            plan.finish(&mut steps).map(drop)
        })?;
        // An invalid key is in no list.
        let can_be = |id: &&String| Key::new(self.keys.key(id)).is_ok_and(|key| !self.keys.is_reserved(key.as_str()));
        let gone: Vec<String> = ids.iter().filter(|id| !there.contains(*id)).filter(can_be).cloned().collect();
        if !self.target.delete || gone.is_empty() {
            return Ok(None);
        }
        let unknown = gone.iter().filter(|id| !matches!(self.lately(id), Some(Lately::Written(_) | Lately::Deleted)));
        // A comparison takes one call per page.
        let own = self.recent.own();
        let look_ups_max = (own / PAGE + 1).min(LOOKED_UP_MAX);
        // The number of keys is exact only after a comparison.
        if unknown.count() as u64 > look_ups_max || self.is_mass(gone.len() as u64, own) {
            self.tally.change(|summary| {
                // The comparison counts all rows again.
                let Summary { dry_run, written, .. } = *summary;
                *summary = Summary { dry_run, read: written, written, ..Summary::default() };
            });
            return Ok(Some(gone));
        }
        let (mut left, mut unlisted) = (Left { gone: Vec::new(), own }, Vec::new());
        for id in gone {
            match self.look_up(&id)? {
                Some(true) => left.gone.push(id),
                Some(false) => {}
                None => unlisted.push(id),
            }
        }
        self.tally.change(|summary| summary.unlisted.0 = unlisted);
        self.delete(source, left)?;
        Ok(None)
    }

    fn snapshot_alone(&self, source: &mut Source) -> Result<(), Stopped> {
        let is_guarded = self.target.delete && !self.target.allow_mass_delete;
        if is_guarded && self.recent.is_refused() {
            self.refuse_snapshot("deletions were refused");
            return Ok(());
        }
        let mut records = Records::default();
        let mut plan = Plan::new(&self.keys, self.recent.snapshots().into_iter().map(Ok));
        // The pass that wrote the rows has reported their faults.
        let mut steps = |step| {
            if let Step::Keep(kept) = step {
                records.push(&kept.id, &kept.value);
            }
            Ok(())
        };
        self.read(|each| source.rows(each), |row| plan.row(row, &mut steps))?;
        plan.finish(&mut steps)?;
        self.put_snapshot(Some(records), is_guarded.then_some(RECORDS_LEAST))
    }

    /// Merges all rows with the keys of KV.
    fn walk(
        &self,
        source: &mut Source,
        stored: impl Iterator<Item = Result<Stored, Stopped>>,
        mut keep: impl FnMut(Kept) -> Result<(), Stopped>,
    ) -> Result<Left, Stopped> {
        let mut plan = Plan::new(&self.keys, stored);
        let how_to_find = source.how_to_find();
        let mut steps = |step| match step {
            Step::Keep(kept) => keep(kept),
            Step::Fault(Fault { row, why }) => self.fault(format!("row {row}: {why} ({})", how_to_find(row))),
        };
        self.read(|each| source.rows(each), |row| plan.row(row, &mut steps))?;
        plan.finish(&mut steps)
    }

    /// Reads rows and counts them; `give` streams them.
    fn read(
        &self,
        give: impl FnOnce(&mut dyn FnMut(Row) -> ControlFlow<()>) -> Result<(), SourceError>,
        mut each: impl FnMut(Row) -> Result<(), Stopped>,
    ) -> Result<(), Stopped> {
        let (mut read, mut outcome) = (0_u64, Ok(()));
        let streamed = give(&mut |row| {
            read += 1;
            outcome = each(row);
            if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        self.tally.change(|summary| summary.read += read);
        outcome.and(streamed.map_err(Stopped::from))
    }

    /// Writes a row if it differs from KV.
    fn keep(&self, kept: Kept, outbox: &mut Outbox<'_>) -> Result<(), Stopped> {
        if outbox.is_over() {
            return Err(Stopped::CallFailed);
        }
        let Kept { id, value, hash, state } = kept;
        if state == State::Unchanged {
            self.tally.change(|summary| summary.unchanged += 1);
            return Ok(());
        }
        if self.target.dry_run {
            self.tally.change(|summary| {
                summary.written += 1;
                let new = summary.new.get_or_insert_default();
                *new += u64::from(state == State::New);
            });
            return Ok(());
        }
        let metadata = Some(metadata::of_row(&self.keys.prefix, &hash));
        let item = KeyValuePair { key: self.keys.key(&id), value: value.into_bytes(), metadata, expiration_ttl: None };
        outbox.push(item)
    }

    /// Records a row that KV cannot hold.
    fn fault(&self, sentence: String) -> Result<(), Stopped> {
        self.tally.change(|summary| {
            summary.failed += 1;
            summary.problem(sentence);
            if self.target.strict { Err(Stopped::Strict) } else { Ok(()) }
        })
    }

    fn put_snapshot(&self, records: Option<Records>, least: Option<u64>) -> Result<(), Stopped> {
        let (Some(key), Some(records)) = (self.keys.snapshot.as_deref(), records) else { return Ok(()) };
        let key = Key::new(key)?;
        match snapshot::put(self.target, self.recent, &key, records, now_ms(), least) {
            Ok(outcome) => self.tally.change(|summary| summary.snapshot = Some(outcome)),
            Err(few @ SnapshotError::TooFew { .. }) => self.refuse_snapshot(&few.to_string()),
            Err(SnapshotError::Api(error)) if error.affects_all_calls() => return Err(error.into()),
            Err(error) => self.tally.change(|summary| {
                summary.snapshot = Some(SnapshotOutcome::Failed);
                summary.call_failed |= matches!(error, SnapshotError::Api(_));
                summary.problem(error.to_string());
            }),
        }
        Ok(())
    }

    fn refuse_snapshot(&self, why: &str) {
        self.tally.change(|summary| {
            summary.snapshot = Some(SnapshotOutcome::Refused);
            summary.problem(format!(
                "the snapshot was not changed: {why}; check that the query returns all rows, and use \
                 --allow-mass-delete if it does"
            ));
        });
    }
}
