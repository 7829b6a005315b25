//! A pass of the sync: makes KV hold what the table holds.
//!
//! Rows and keys are merged ([`row_plan`](super::row_plan)), and what differs is written as it is
//! found, a few calls at a time ([`batch_writer`](super::batch_writer)). Deletions come after all
//! rows were seen, the snapshot last. If a pass dies at any point, what it has written and deleted
//! is as in the table, and the next pass does the rest.

mod deletions;

use std::collections::HashSet;
use std::ops::ControlFlow;

use kv_store::limits::Key;

use super::batch_writer::{BatchWriter, SharedSummary, SyncWriter};
use super::merge::{self, UnmatchedKeys};
use super::metadata;
use super::pass_summary::{PassError, PassSummary, SnapshotOutcome};
use super::recent_changes::{RecentChange, RecentChanges};
use super::row_plan::{AcceptedRow, KeyRules, RowDecision, RowFault, RowPlan, RowState};
use super::snapshot::{self, SnapshotBuilder, SnapshotError};
use super::source::{PostgresSource, SourceError};
use super::source_row::SourceRow;
use super::stored_keys::{self, StoredKey};
use super::sync_target::SyncTarget;
use crate::api::KeyValuePair;
use crate::clock::now_ms;
use crate::progress::Unit;

/// The most keys that [`apply`] looks up one by one: each takes a call, and an account may make
/// 1,200 in five minutes.
const LOOK_UPS_MAX: u64 = 100;
/// The number of keys on a page of KV's list.
const KEYS_PER_PAGE: u64 = 1000;
/// If deletions are guarded, a snapshot that is written on its own must have at least this
/// percentage of the records of the one before.
const RECORDS_MIN_PERCENT: u64 = 80;

/// Compares all rows with all keys, writes and deletes what differs, then writes the snapshot. If
/// the guard refuses the deletions, nothing is deleted, and the snapshot stays as it is.
pub(super) fn run(source: &mut PostgresSource, target: &SyncTarget, recent: &RecentChanges) -> PassSummary {
    let pass = SyncPass::begin(target, recent);
    let ended = pass.compare(source);
    pass.end(ended, target.snapshot.is_some())
}

/// Writes the rows of some ids, and deletes the keys of those that have no row, if the sync owns
/// them. The snapshot stays as it is. If too many of the keys would have to be looked up, or the
/// guard against mass deletions might refuse them, which takes the exact number of all keys, does
/// all that [`run`] does instead.
pub(super) fn apply(
    source: &mut PostgresSource,
    target: &SyncTarget,
    recent: &RecentChanges,
    ids: &[String],
) -> PassSummary {
    let pass = SyncPass::begin(target, recent);
    let (ended, is_whole) = match pass.apply(source, ids) {
        Ok(None) => (Ok(()), false),
        Ok(Some(gone)) => (pass.compare_after(source, gone), true),
        Err(stopped) => (Err(stopped), false),
    };
    pass.end(ended, is_whole && target.snapshot.is_some())
}

/// Writes the snapshot alone. If deletions are guarded, it stays as it is after some were refused,
/// or if it would lose more than 20 % of its records.
pub(super) fn snapshot(source: &mut PostgresSource, target: &SyncTarget, recent: &RecentChanges) -> PassSummary {
    let pass = SyncPass::begin(target, recent);
    let ended = pass.snapshot_alone(source);
    pass.end(ended, target.snapshot.is_some())
}

struct SyncPass<'t> {
    target: &'t SyncTarget,
    recent: &'t RecentChanges,
    keys: KeyRules,
    summary: SharedSummary,
    started_ms: u64,
}

impl<'t> SyncPass<'t> {
    fn begin(target: &'t SyncTarget, recent: &'t RecentChanges) -> Self {
        let keys = KeyRules { prefix: target.prefix.clone(), snapshot: target.snapshot.clone() };
        let summary = SharedSummary::default();
        summary.change(|summary| summary.dry_run = target.dry_run);
        Self { target, recent, keys, summary, started_ms: now_ms() }
    }

    fn end(self, ended: Result<(), PassError>, has_snapshot: bool) -> PassSummary {
        let calls = self.target.namespace.calls();
        #[allow(clippy::cast_precision_loss)] // Nobody waits for 2^53 milliseconds.
        let seconds = (now_ms() - self.started_ms) as f64 / 1000.0;
        let mut summary = self.summary.into_inner();
        if has_snapshot {
            summary.snapshot.get_or_insert(SnapshotOutcome::Failed);
        }
        let calls = calls - self.target.summed_calls.replace(calls);
        PassSummary { calls, seconds, stopped: ended.err(), ..summary }
    }

    fn sync_writer(&self) -> SyncWriter<'_> {
        let SyncTarget { namespace, prefix, .. } = self.target;
        SyncWriter { namespace, prefix, recent: self.recent, summary: &self.summary }
    }

    fn compare(&self, source: &mut PostgresSource) -> Result<(), PassError> {
        self.compare_after(source, Vec::new())
    }

    /// Compares everything. `gone` are ids that had no row a moment ago.
    fn compare_after(&self, source: &mut PostgresSource, gone: Vec<String>) -> Result<(), PassError> {
        let SyncTarget { namespace, prefix, progress, .. } = self.target;
        let phase = progress.phase("comparing", source.estimate().unwrap_or_default(), Unit::Keys);
        let mut records = self.keys.snapshot.as_ref().map(|_| SnapshotBuilder::default());
        let (mut unmatched, mut newly_owned) = (UnmatchedKeys::default(), 0_u64);
        let recent_changes = self.recent.keys(prefix, now_ms());
        let mut snapshots = Vec::new();
        let listed = stored_keys::stored_keys(namespace.key_pages(prefix), prefix, |key| self.keys.is_reserved(key));
        let listed = listed
            .inspect(|stored| snapshots.extend(stored.as_ref().ok().filter(|stored| stored.is_snapshot).cloned()));
        self.sync_writer().write(|writer| {
            unmatched = self.walk(source, merge::with_recent_changes(listed, recent_changes), |row| {
                phase.add(1);
                if let Some(records) = &mut records {
                    records.push(&row.id, &row.value);
                }
                let becomes_own = !matches!(row.state, RowState::Unchanged | RowState::Changed { was_own: true });
                newly_owned += u64::from(becomes_own);
                self.write_row(row, writer)
            })?;
            Ok(())
        })?;
        phase.done(&format!("{} rows", self.summary.change(|summary| summary.read)));
        self.recent.note_snapshot_keys(snapshots);
        self.note_unlisted(gone, &unmatched);
        let is_refused = self.refuses_deletions(&unmatched);
        self.recent.note_compared(unmatched.owned + newly_owned, is_refused);
        if is_refused {
            self.summary.change(|summary| summary.snapshot = records.map(|_| SnapshotOutcome::Refused));
            return Ok(());
        }
        self.delete(source, unmatched)?;
        self.put_snapshot(records, None)
    }

    /// Returns `None` if it is done, or the ids without a row if everything has to be compared
    /// instead.
    fn apply(&self, source: &mut PostgresSource, ids: &[String]) -> Result<Option<Vec<String>>, PassError> {
        let mut found = HashSet::new();
        self.sync_writer().write(|writer| {
            let mut plan = RowPlan::new(&self.keys, self.recent.snapshot_keys().into_iter().map(Ok));
            let mut decisions = |decision| match decision {
                RowDecision::Accept(row) => self.write_row(row, writer),
                RowDecision::Reject(RowFault { why, .. }) => self.reject(format!(
                    "a changed row: {why}; `kv-edge config sync --dry-run` with the same options shows how to find it"
                )),
            };
            self.read(
                |each| source.rows_of(ids, each),
                |row| {
                    found.extend(row.key.clone());
                    plan.row(row, &mut decisions)
                },
            )?;
            plan.finish(&mut decisions).map(drop)
        })?;
        // An invalid key is in no list.
        let can_be = |id: &&String| Key::new(self.keys.key(id)).is_ok_and(|key| !self.keys.is_reserved(key.as_str()));
        let gone: Vec<String> = ids.iter().filter(|id| !found.contains(*id)).filter(can_be).cloned().collect();
        if !self.target.delete || gone.is_empty() {
            return Ok(None);
        }
        let unknown = gone
            .iter()
            .filter(|id| !matches!(self.recent_change(id), Some(RecentChange::Written(_) | RecentChange::Deleted)));
        // A comparison takes one call per page.
        let owned = self.recent.owned_keys();
        let look_ups_max = (owned / KEYS_PER_PAGE + 1).min(LOOK_UPS_MAX);
        // The number of keys is exact only after a comparison.
        if unknown.count() as u64 > look_ups_max || self.exceeds_allowed_deletions(gone.len() as u64, owned) {
            self.summary.change(|summary| {
                // The comparison counts all rows again, those just written as unchanged. `read`
                // begins with them, so that it stays the sum of the other counts.
                let PassSummary { dry_run, written, .. } = *summary;
                *summary = PassSummary { dry_run, read: written, written, ..PassSummary::default() };
            });
            return Ok(Some(gone));
        }
        let (mut unmatched, mut unlisted) = (UnmatchedKeys { gone: Vec::new(), owned }, Vec::new());
        for id in gone {
            match self.look_up(&id)? {
                Some(true) => unmatched.gone.push(id),
                Some(false) => {}
                None => unlisted.push(id),
            }
        }
        self.summary.change(|summary| summary.unlisted.0 = unlisted);
        self.delete(source, unmatched)?;
        Ok(None)
    }

    fn snapshot_alone(&self, source: &mut PostgresSource) -> Result<(), PassError> {
        let is_guarded = self.target.delete && !self.target.allow_mass_delete;
        if is_guarded && self.recent.has_refused_deletions() {
            self.refuse_snapshot("deletions were refused");
            return Ok(());
        }
        let mut records = SnapshotBuilder::default();
        let mut plan = RowPlan::new(&self.keys, self.recent.snapshot_keys().into_iter().map(Ok));
        // The pass that wrote the rows has reported their faults.
        let mut decisions = |decision| {
            if let RowDecision::Accept(row) = decision {
                records.push(&row.id, &row.value);
            }
            Ok(())
        };
        self.read(|each| source.rows(each), |row| plan.row(row, &mut decisions))?;
        plan.finish(&mut decisions)?;
        self.put_snapshot(Some(records), is_guarded.then_some(RECORDS_MIN_PERCENT))
    }

    /// Merges all rows with the keys of KV.
    fn walk(
        &self,
        source: &mut PostgresSource,
        stored: impl Iterator<Item = Result<StoredKey, PassError>>,
        mut accept: impl FnMut(AcceptedRow) -> Result<(), PassError>,
    ) -> Result<UnmatchedKeys, PassError> {
        let mut plan = RowPlan::new(&self.keys, stored);
        let how_to_find = source.how_to_find();
        let mut decisions = |decision| match decision {
            RowDecision::Accept(row) => accept(row),
            RowDecision::Reject(RowFault { row, why }) => {
                self.reject(format!("row {row}: {why} ({})", how_to_find(row)))
            }
        };
        self.read(|each| source.rows(each), |row| plan.row(row, &mut decisions))?;
        plan.finish(&mut decisions)
    }

    /// Reads rows and counts them; `give` streams them.
    fn read(
        &self,
        give: impl FnOnce(&mut dyn FnMut(SourceRow) -> ControlFlow<()>) -> Result<(), SourceError>,
        mut each: impl FnMut(SourceRow) -> Result<(), PassError>,
    ) -> Result<(), PassError> {
        let (mut read, mut outcome) = (0_u64, Ok(()));
        let streamed = give(&mut |row| {
            read += 1;
            outcome = each(row);
            if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        self.summary.change(|summary| summary.read += read);
        outcome.and(streamed.map_err(PassError::from))
    }

    /// Writes a row if it differs from KV.
    fn write_row(&self, row: AcceptedRow, writer: &mut BatchWriter<'_>) -> Result<(), PassError> {
        if writer.is_closed() {
            return Err(PassError::CallFailed);
        }
        let AcceptedRow { id, value, hash, state } = row;
        if state == RowState::Unchanged {
            self.summary.change(|summary| summary.unchanged += 1);
            return Ok(());
        }
        if self.target.dry_run {
            self.summary.change(|summary| {
                summary.written += 1;
                let new = summary.new.get_or_insert_default();
                *new += u64::from(state == RowState::New);
            });
            return Ok(());
        }
        let metadata = Some(metadata::of_row(&self.keys.prefix, &hash));
        let pair = KeyValuePair { key: self.keys.key(&id), value: value.into_bytes(), metadata, expiration: None };
        writer.push(pair)
    }

    /// Records a row that KV cannot hold.
    fn reject(&self, sentence: String) -> Result<(), PassError> {
        self.summary.change(|summary| {
            summary.failed += 1;
            summary.problem(sentence);
            if self.target.strict { Err(PassError::Strict) } else { Ok(()) }
        })
    }

    fn put_snapshot(&self, records: Option<SnapshotBuilder>, min_percent: Option<u64>) -> Result<(), PassError> {
        let (Some(key), Some(records)) = (self.keys.snapshot.as_deref(), records) else { return Ok(()) };
        let key = Key::new(key)?;
        match snapshot::put(self.target, self.recent, &key, records, now_ms(), min_percent) {
            Ok(outcome) => self.summary.change(|summary| summary.snapshot = Some(outcome)),
            Err(few @ SnapshotError::TooFew { .. }) => self.refuse_snapshot(&few.to_string()),
            Err(SnapshotError::Api(error)) if error.affects_all_calls() => return Err(error.into()),
            Err(error) => self.summary.change(|summary| {
                summary.snapshot = Some(SnapshotOutcome::Failed);
                summary.call_failed |= matches!(error, SnapshotError::Api(_));
                summary.problem(error.to_string());
            }),
        }
        Ok(())
    }

    fn refuse_snapshot(&self, why: &str) {
        self.summary.change(|summary| {
            summary.snapshot = Some(SnapshotOutcome::Refused);
            summary.problem(format!(
                "the snapshot was not changed: {why}; check that the query returns all rows, and use \
                 --allow-mass-delete if it does"
            ));
        });
    }
}
