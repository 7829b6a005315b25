//! The result of a pass of the sync, for people and for programs, and why one is aborted.

use std::fmt;
use std::io::{self, Write};

use kv_store::limits::KeyError;
use serde::{Serialize, Serializer};

use super::source::SourceError;
use crate::ExitStatus;
use crate::api::ApiError;
use crate::progress::print_line;

/// The most problems that are listed; of the others only the number is.
const PROBLEMS_MAX: usize = 20;

/// Why a pass was aborted.
#[derive(Debug, thiserror::Error)]
pub(super) enum PassError {
    /// The database failed; `--watch` connects again if the connection is lost.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The API failed.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// A key is invalid for Workers KV.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// KV's list is unreliable: one of its keys could be taken for one without a row.
    #[error("the API lists {0}; nothing was deleted, run this again")]
    UnreliableList(&'static str),
    /// The row with this number, counted from 1, sorts before the one that came before it.
    #[error(
        "the database returns rows that are not in the order of their keys (row {0}); nothing was deleted, \
     run this again"
    )]
    Unordered(u64),
    /// KV cannot hold a row, and `--strict` allows no exceptions.
    #[error("--strict stops at the first row that Workers KV cannot store; nothing was deleted")]
    Strict,
    /// A call failed, so no more are made. The error of that call is returned instead of this
    /// one.
    #[error("a call failed")]
    CallFailed,
}

/// The result of the snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum SnapshotOutcome {
    Written,
    Unchanged,
    /// It would have lost too many records, or deletions were refused: the one before stays.
    Refused,
    Failed,
}

/// The result of a pass, or what it would be with `--dry-run`. Shows no contents of rows.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PassSummary {
    pub(super) dry_run: bool,
    /// Rows that the query returned.
    pub(super) read: u64,
    pub(super) written: u64,
    /// How many of the rows to write have no key yet; only with `--dry-run`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) new: Option<u64>,
    pub(super) unchanged: u64,
    pub(super) deleted: u64,
    /// Rows and keys that are not in KV as they should be.
    pub(super) failed: u64,
    /// Deletions that the guard against mass deletions refused.
    pub(super) refused: u64,
    /// `None` if there is no snapshot to write, or the pass is not about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) snapshot: Option<SnapshotOutcome>,
    pub(super) calls: u64,
    pub(super) seconds: f64,
    /// What failed: the first problems, as sentences.
    pub(super) problems: Vec<String>,
    /// How many more problems there were.
    pub(super) more_problems: u64,
    /// Why the pass was aborted.
    #[serde(rename = "error", skip_serializing_if = "Option::is_none", serialize_with = "sentence")]
    pub(super) stopped: Option<PassError>,
    /// True if a call failed that may succeed later.
    #[serde(skip)]
    pub(super) call_failed: bool,
    /// Requested ids that have no row. KV's list may lack their keys, so they are checked again.
    #[serde(skip)]
    pub(super) unlisted: RedactedIds,
}

/// Ids that `Debug` hides.
#[derive(Default)]
pub(super) struct RedactedIds(pub(super) Vec<String>);

impl fmt::Debug for RedactedIds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ids", self.0.len())
    }
}

#[allow(clippy::ref_option)] // The signature that serde calls.
fn sentence<S: Serializer>(stopped: &Option<PassError>, serializer: S) -> Result<S::Ok, S::Error> {
    stopped.as_ref().map(ToString::to_string).serialize(serializer)
}

impl PassSummary {
    /// Records a problem, as a sentence without contents.
    pub(super) fn problem(&mut self, sentence: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(sentence);
        } else {
            self.more_problems += 1;
        }
    }

    /// Returns success only if everything is in KV.
    pub(super) fn exit_status(&self) -> ExitStatus {
        let is_good = self.problems.is_empty() && self.failed == 0 && self.stopped.is_none();
        if is_good { ExitStatus::Success } else { ExitStatus::Failure }
    }

    /// Writes lines for people, or one line of JSON for programs. Problems go to stderr.
    pub(super) fn write(&self, json: bool, out: &mut impl Write) -> io::Result<()> {
        for problem in &self.problems {
            print_line(&format!("error: {problem}"));
        }
        if self.more_problems > 0 {
            print_line(&format!("error: … and {} more", self.more_problems));
        }
        if let Some(stopped) = &self.stopped {
            print_line(&format!("error: {stopped}"));
        }
        if json {
            serde_json::to_writer(&mut *out, self)?;
            writeln!(out)?;
        } else {
            self.write_lines(out)?;
        }
        // With --watch, passes are read as they end.
        out.flush()
    }

    fn write_lines(&self, out: &mut impl Write) -> io::Result<()> {
        let [write, delete] = if self.dry_run { ["to write", "to delete"] } else { ["written", "deleted"] };
        let new = self.new.map(|new| format!(" ({new} new)")).unwrap_or_default();
        writeln!(out, "read       {}", self.read)?;
        writeln!(out, "{write:<10} {}{new}", self.written)?;
        writeln!(out, "unchanged  {}", self.unchanged)?;
        writeln!(out, "{delete:<10} {}", self.deleted)?;
        if self.refused > 0 {
            writeln!(out, "refused    {}", self.refused)?;
        }
        writeln!(out, "failed     {}", self.failed)?;
        if let Some(snapshot) = self.snapshot {
            let snapshot = match snapshot {
                SnapshotOutcome::Written if self.dry_run => "to write",
                SnapshotOutcome::Written => "written",
                SnapshotOutcome::Unchanged => "unchanged",
                SnapshotOutcome::Refused => "refused",
                SnapshotOutcome::Failed => "failed",
            };
            writeln!(out, "snapshot   {snapshot}")?;
        }
        writeln!(out, "took       {:.1} s, {} calls", self.seconds, self.calls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(summary: &PassSummary) -> String {
        let mut out = Vec::new();
        summary.write_lines(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_pass_succeeds_only_if_everything_is_in_kv() {
        let stopped = Some(PassError::CallFailed);
        for (summary, expected) in [
            (PassSummary::default(), ExitStatus::Success),
            (PassSummary { failed: 1, ..PassSummary::default() }, ExitStatus::Failure),
            (PassSummary { problems: vec!["no".to_owned()], ..PassSummary::default() }, ExitStatus::Failure),
            (PassSummary { stopped, ..PassSummary::default() }, ExitStatus::Failure),
        ] {
            assert_eq!(summary.exit_status(), expected, "{summary:?}");
        }
    }

    #[test]
    fn the_lines_have_the_figures_and_omit_refusals_and_snapshot_if_there_are_none() {
        let summary = PassSummary {
            read: 9,
            written: 1,
            unchanged: 8,
            deleted: 2,
            calls: 5,
            seconds: 1.25,
            ..PassSummary::default()
        };
        assert_eq!(
            lines(&summary),
            "read       9\nwritten    1\nunchanged  8\ndeleted    2\nfailed     0\ntook       1.2 s, 5 calls\n"
        );
        let planned = PassSummary {
            dry_run: true,
            new: Some(1),
            refused: 3,
            snapshot: Some(SnapshotOutcome::Written),
            ..summary
        };
        assert_eq!(
            lines(&planned),
            "read       9\nto write   1 (1 new)\nunchanged  8\nto delete  2\nrefused    3\nfailed     0\nsnapshot   to write\n\
             took       1.2 s, 5 calls\n"
        );
    }

    #[test]
    fn programs_get_one_object() {
        let mut summary = PassSummary { stopped: Some(PassError::CallFailed), ..PassSummary::default() };
        (0..25).for_each(|row| summary.problem(format!("row {row}")));
        let json = serde_json::to_value(&summary).unwrap();
        assert_eq!(
            (&json["error"], &json["moreProblems"], &json["dryRun"]),
            (&"a call failed".into(), &5.into(), &false.into())
        );
        assert_eq!(json["problems"].as_array().map(Vec::len), Some(PROBLEMS_MAX));
        assert!(json.get("snapshot").is_none(), "{json}");
    }
}
