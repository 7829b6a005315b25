//! A pass: KV becomes what the table is.
//!
//! Rows and keys are walked side by side ([`plan`](super::plan)), and what differs is written as it is found, a few calls at a time
//! ([`upload`](super::upload)). Deletions come when all rows were seen, the snapshot last. A pass that dies at any point has written
//! some rows, each as it is in the table; the next one finds the rest.

use std::cell::Cell;
use std::collections::HashSet;
use std::iter;
use std::ops::ControlFlow;
use std::sync::mpsc::sync_channel;
use std::thread::{self, Scope};

use kv_edge_core::limits::Key;

use super::merge::{self, Left, Stored};
use super::plan::{Fault, Kept, Keys, Plan, State, Step, is_mass};
use super::row::Row;
use super::snapshot::{self, Records};
use super::source::Source;
use super::summary::{SnapshotOutcome, Stopped, Summary};
use super::upload::{self, Outbox, Tally};
use crate::api::{Item, Namespace};
use crate::clock::now_ms;
use crate::progress::{Progress, Unit};

/// The most keys that [`apply`] looks up one by one. Each is a call, and an account may make 1,200 of them in five minutes.
const LOOKED_UP_MAX: usize = 100;

/// Where rows go, and how.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // Flags of a command line.
pub(super) struct Target {
    pub(super) namespace: Namespace,
    pub(super) prefix: String,
    /// The key of the snapshot.
    pub(super) snapshot: Option<String>,
    pub(super) delete: bool,
    pub(super) allow_mass_delete: bool,
    pub(super) strict: bool,
    pub(super) dry_run: bool,
    pub(super) progress: Progress,
    /// Calls that stand in a summary already.
    pub(super) summed_calls: Cell<u64>,
}

/// A full comparison: all rows, all keys, then the snapshot.
pub(super) fn run(source: &mut Source, target: &Target) -> Summary {
    let pass = Pass::begin(target);
    let stopped = pass.compare(source).err();
    let mut summary = pass.end(stopped);
    if target.snapshot.is_some() {
        summary.snapshot.get_or_insert(SnapshotOutcome::Failed);
    }
    summary
}

/// Brings the rows of some keys (without the prefix) into KV; deletes those that have no row and are the sync's own. `own` is what the
/// summary of the last pass said, for the guard. Does not touch the snapshot. Where too many keys are gone to be looked up one by one, it is
/// a [`run`].
pub(super) fn apply(source: &mut Source, target: &Target, keys: &[String], own: u64) -> Summary {
    let pass = Pass::begin(target);
    match pass.apply(source, keys, own) {
        Ok(true) => pass.end(None),
        Ok(false) => run(source, target),
        Err(stopped) => pass.end(Some(stopped)),
    }
}

/// Makes the snapshot anew, as [`run`] does at its end.
pub(super) fn snapshot(source: &mut Source, target: &Target) -> Summary {
    let pass = Pass::begin(target);
    let stopped = pass.snapshot_alone(source).err();
    let mut summary = pass.end(stopped);
    if target.snapshot.is_some() {
        summary.snapshot.get_or_insert(SnapshotOutcome::Failed);
    }
    summary
}

struct Pass<'t> {
    target: &'t Target,
    keys: Keys,
    tally: Tally,
    started_ms: u64,
}

impl<'t> Pass<'t> {
    fn begin(target: &'t Target) -> Self {
        let keys = Keys { prefix: target.prefix.clone(), snapshot: target.snapshot.clone() };
        let tally = Tally::default();
        tally.change(|summary| summary.dry_run = target.dry_run);
        Self { target, keys, tally, started_ms: now_ms() }
    }

    fn end(self, stopped: Option<Stopped>) -> Summary {
        let calls = self.target.namespace.calls();
        #[allow(clippy::cast_precision_loss)] // Nobody waits for 2^53 milliseconds.
        let seconds = now_ms().saturating_sub(self.started_ms) as f64 / 1000.0;
        let summary = self.tally.into_inner();
        let calls = calls.saturating_sub(self.target.summed_calls.replace(calls));
        Summary { calls, seconds, stopped, ..summary }
    }

    fn compare(&self, source: &mut Source) -> Result<(), Stopped> {
        let Target { namespace, prefix, progress, .. } = self.target;
        let phase = progress.phase("comparing", source.estimate().unwrap_or_default(), Unit::Keys);
        let mut records = self.keys.snapshot.as_ref().map(|_| Records::default());
        let (mut left, mut more_own) = (Left::default(), 0_u64);
        thread::scope(|scope| {
            let pages = ahead(scope, namespace.pages(prefix));
            let stored = merge::stored(pages, prefix, |key| self.keys.is_reserved(key));
            upload::write(namespace, &self.tally, |outbox| {
                left = self.walk(source, stored, |kept| {
                    phase.add(1);
                    if let Some(records) = &mut records {
                        records.push(&kept.id, &kept.value);
                    }
                    let becomes_own = !matches!(kept.state, State::Unchanged | State::Changed { was_own: true });
                    more_own = more_own.saturating_add(u64::from(becomes_own));
                    self.keep(kept, outbox)
                })?;
                Ok(())
            })
        })?;
        let read = self.tally.change(|summary| {
            summary.own = left.own.saturating_add(more_own);
            summary.read
        });
        phase.done(&format!("{read} rows"));
        self.delete(&left)?;
        self.put_snapshot(records)
    }

    /// True where it is done, false where all is to be compared instead.
    fn apply(&self, source: &mut Source, ids: &[String], own: u64) -> Result<bool, Stopped> {
        let Target { namespace, prefix, .. } = self.target;
        let mut rows = source.rows_of(ids)?;
        rows.sort_by(|one, other| one.key.cmp(&other.key));
        let there: HashSet<&str> = rows.iter().filter_map(|row| row.key.as_deref()).collect();
        let gone: HashSet<&str> = ids.iter().map(String::as_str).filter(|id| !there.contains(id)).collect();
        if self.target.delete && gone.len() > LOOKED_UP_MAX {
            return Ok(false);
        }
        let mut left = Left { gone: Vec::new(), own };
        if self.target.delete {
            // A key that can be no key is in no list.
            for id in gone.into_iter().filter(|id| Key::new(self.keys.key(id)).is_ok()) {
                let listed = namespace.find(&self.keys.key(id))?;
                let page = iter::once(Ok::<_, Stopped>(listed.into_iter().collect()));
                for stored in merge::stored(page, prefix, |key| self.keys.is_reserved(key)) {
                    let Stored { id, hash } = stored?;
                    left.gone.extend(hash.map(|_| id));
                }
            }
        }
        upload::write(namespace, &self.tally, |outbox| {
            let mut plan = Plan::new(&self.keys, iter::empty());
            let mut steps = |step| match step {
                Step::Keep(kept) => self.keep(kept, outbox),
                Step::Fault(Fault { why, .. }) => self.fault(format!("a row that has changed: {why}")),
            };
            self.tally.change(|summary| summary.read = rows.len() as u64);
            rows.into_iter().try_for_each(|row| plan.row(row, &mut steps))?;
            plan.finish(&mut steps).map(drop)
        })?;
        self.tally.change(|summary| summary.own = own);
        self.delete(&left)?;
        Ok(true)
    }

    fn snapshot_alone(&self, source: &mut Source) -> Result<(), Stopped> {
        let mut records = Records::default();
        let mut plan = Plan::new(&self.keys, iter::empty());
        // Faults were told by the pass that wrote the rows.
        let mut steps = |step| {
            if let Step::Keep(kept) = step {
                records.push(&kept.id, &kept.value);
            }
            Ok(())
        };
        self.read(source, |row| plan.row(row, &mut steps))?;
        plan.finish(&mut steps)?;
        self.put_snapshot(Some(records))
    }

    /// Walks all rows and keys.
    fn walk(
        &self,
        source: &mut Source,
        stored: impl Iterator<Item = Result<Stored, Stopped>>,
        mut keep: impl FnMut(Kept) -> Result<(), Stopped>,
    ) -> Result<Left, Stopped> {
        let column = source.columns().first().cloned().unwrap_or_default();
        let mut plan = Plan::new(&self.keys, stored);
        let mut steps = |step| match step {
            Step::Keep(kept) => keep(kept),
            Step::Fault(Fault { row, why }) => self.fault(format!("row {row}: {why} ({})", how_to_find(row, &column))),
        };
        self.read(source, |row| plan.row(row, &mut steps))?;
        plan.finish(&mut steps)
    }

    /// Reads all rows.
    fn read(&self, source: &mut Source, mut each: impl FnMut(Row) -> Result<(), Stopped>) -> Result<(), Stopped> {
        let (mut read, mut outcome) = (0_u64, Ok(()));
        let streamed = source.rows(&mut |row| {
            read = read.saturating_add(1);
            outcome = each(row);
            if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        self.tally.change(|summary| summary.read = read);
        outcome.and(streamed.map_err(Stopped::from))
    }

    /// Writes a row, if it differs.
    fn keep(&self, kept: Kept, outbox: &mut Outbox<'_>) -> Result<(), Stopped> {
        let Kept { id, value, hash, state } = kept;
        if state == State::Unchanged {
            self.tally.change(|summary| summary.unchanged = summary.unchanged.saturating_add(1));
            return Ok(());
        }
        if self.target.dry_run {
            self.tally.change(|summary| {
                summary.written = summary.written.saturating_add(1);
                let new = summary.new.get_or_insert_default();
                *new = new.saturating_add(u64::from(state == State::New));
            });
            return Ok(());
        }
        let metadata = Some(merge::metadata(&self.keys.prefix, &hash));
        let item = Item { key: self.keys.key(&id), value: value.into_bytes(), metadata, expiration_ttl: None };
        // The error of the call that failed stands before this one.
        if outbox.push(item) { Ok(()) } else { Err(Stopped::Told("a call failed".to_owned())) }
    }

    /// Notes a row that KV cannot take.
    fn fault(&self, sentence: String) -> Result<(), Stopped> {
        self.tally.change(|summary| {
            summary.failed = summary.failed.saturating_add(1);
            summary.problem(sentence);
            if self.target.strict {
                let sentence = "--strict stops at the first row that Workers KV cannot take; nothing was deleted";
                return Err(Stopped::Told(sentence.to_owned()));
            }
            Ok(())
        })
    }

    /// Deletes what is left without a row, unless that is suspiciously much.
    fn delete(&self, left: &Left) -> Result<(), Stopped> {
        let Target { namespace, progress, delete, allow_mass_delete, dry_run, .. } = self.target;
        let count = left.gone.len() as u64;
        if !delete || count == 0 {
            return Ok(());
        }
        if !allow_mass_delete && is_mass(count, left.own) {
            self.tally.change(|summary| {
                summary.refused = count;
                summary.problem(format!(
                    "{count} of {} keys have no row any more, which is more than 20 %: none of them was deleted; see whether the query \
                     gives all rows, and say --allow-mass-delete if it does",
                    left.own
                ));
            });
            return Ok(());
        }
        if *dry_run {
            self.tally.change(|summary| summary.deleted = count);
            return Ok(());
        }
        let keys: Vec<String> = left.gone.iter().map(|id| self.keys.key(id)).collect();
        let phase = progress.phase("deleting", count, Unit::Keys);
        let deleted = upload::delete(namespace, &self.tally, &keys, &phase);
        self.tally.change(|summary| {
            summary.own = summary.own.saturating_sub(summary.deleted);
            phase.done(&format!("{} keys", summary.deleted));
        });
        deleted
    }

    fn put_snapshot(&self, records: Option<Records>) -> Result<(), Stopped> {
        let Target { namespace, dry_run, .. } = self.target;
        let (Some(key), Some(records)) = (self.keys.snapshot.as_deref(), records) else { return Ok(()) };
        let key = Key::new(key).map_err(|error| Stopped::Told(error.to_string()))?;
        let put = snapshot::put(namespace, &key, records, now_ms(), *dry_run);
        self.tally.change(|summary| {
            summary.snapshot = Some(SnapshotOutcome::Failed);
            match put {
                Ok(Ok(outcome)) => summary.snapshot = Some(outcome),
                Ok(Err(length)) => summary.problem(format!(
                    "the snapshot would have {length} bytes or more, and Workers KV takes 25 MiB: leave --snapshot out, or let the query \
                     give less; the rows themselves are written"
                )),
                Err(error) if error.is_of_all_calls() => return Err(error.into()),
                Err(error) => summary.problem(format!("the snapshot is not written: {error}")),
            }
            Ok(())
        })
    }
}

/// How whoever runs it finds a row by its number. The row itself is never shown.
fn how_to_find(row: u64, column: &str) -> String {
    let column = column.replace('"', "\"\"");
    let offset = row.saturating_sub(1);
    format!("SELECT * FROM (the query) AS q ORDER BY q.\"{column}\"::text COLLATE \"C\" OFFSET {offset} LIMIT 1")
}

/// An iterator that is a step ahead of whoever takes from it, on a thread of its own.
fn ahead<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    items: impl Iterator<Item = T> + Send + 'scope,
) -> impl Iterator<Item = T> {
    let (sender, receiver) = sync_channel(1);
    scope.spawn(move || {
        let mut items = items;
        // Until nobody takes any more.
        let _taken = items.try_for_each(|item| sender.send(item));
    });
    receiver.into_iter()
}
