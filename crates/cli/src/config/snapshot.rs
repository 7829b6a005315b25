//! The snapshot: all synced rows in one value of KV,
//! `{"format":1,"version":…,"hash":"…","count":…,"records":{"<id>":{…},…}}`. It is written in one
//! call, so its reader has the rows of one moment.

use std::fmt;

use feature_flags::config::snapshot::BYTES_MAX;
use http_semantics::content_hash::hash;
use kv_store::limits::Key;
use kv_store::record::to_json;

use super::metadata::{self, SnapshotInfo};
use super::pass_summary::SnapshotOutcome;
use super::recent_changes::RecentChanges;
use super::sync_target::SyncTarget;
use crate::api::{ApiError, MetadataJson};
use crate::clock;

/// Why a snapshot is not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SnapshotError {
    /// Its key holds a row of a sync with another prefix.
    #[error(
        "the snapshot was not written: its key holds a row of the sync with the prefix {prefix:?}; choose another \
         key with --snapshot"
    )]
    Row { prefix: String },
    /// It would have at least this many bytes.
    #[error(
        "the snapshot would have {0} bytes or more, but the Worker accepts at most {mib} MiB, which have to fit \
         into the memory of an isolate: omit --snapshot, or let the query return less; the rows themselves were \
         written",
        mib = BYTES_MAX / (1024 * 1024)
    )]
    TooLong(u64),
    /// It would have `count` records; the one before has `before`.
    #[error("it would have {count} records instead of {before}")]
    TooFew { count: u64, before: u64 },
    /// The call failed.
    #[error("the snapshot was not written: {0}")]
    Api(#[from] ApiError),
}

/// The longest snapshot that the Worker reads, in bytes.
const LENGTH_MAX: u64 = BYTES_MAX as u64;

/// The records of a snapshot, which are added in the order of their ids.
#[derive(Default)]
pub(super) struct SnapshotBuilder {
    /// The JSON without its brackets; empty once it is too long.
    json: String,
    /// The length of the JSON in bytes, which goes on counting once it is too long.
    length: u64,
    count: u64,
}

/// Shows no contents: they may be personal data.
impl fmt::Debug for SnapshotBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SnapshotBuilder")
            .field("count", &self.count)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl SnapshotBuilder {
    pub(super) fn push(&mut self, id: &str, value: &str) {
        let comma = if self.count > 0 { "," } else { "" };
        let id = to_json(id);
        self.length += (comma.len() + id.len() + 1 + value.len()) as u64;
        self.count += 1;
        if self.length > LENGTH_MAX {
            self.json = String::new();
        } else {
            for part in [comma, &id, ":", value] {
                self.json.push_str(part);
            }
        }
    }

    /// Returns the snapshot and its description, or `None` if the one before has the same records.
    ///
    /// # Errors
    /// [`SnapshotError::TooLong`]
    fn finish(
        mut self,
        before: Option<&SnapshotInfo>,
        now_ms: u64,
    ) -> Result<Option<(Vec<u8>, SnapshotInfo)>, SnapshotError> {
        if self.length > LENGTH_MAX {
            return Err(SnapshotError::TooLong(self.length));
        }
        self.json.insert(0, '{');
        self.json.push('}');
        let hash = hash(self.json.as_bytes());
        if before.is_some_and(|before| before.hash == hash) {
            return Ok(None);
        }
        let version = before.map_or(now_ms, |before| now_ms.max(before.version.saturating_add(1)));
        let Self { json: records, count, .. } = self;
        let json = format!(r#"{{"format":1,"version":{version},"hash":"{hash}","count":{count},"records":{records}}}"#);
        let length = json.len() as u64;
        if length > LENGTH_MAX {
            return Err(SnapshotError::TooLong(length));
        }
        Ok(Some((json.into_bytes(), SnapshotInfo { version, hash, count })))
    }
}

/// Writes the snapshot, if it has changed and its key holds no row of another sync; with
/// `dry_run` only says what it would do. With `min_percent`, it must have at least this percentage
/// of the records of the previous snapshot.
pub(super) fn put(
    target: &SyncTarget,
    recent: &RecentChanges,
    key: &Key<'_>,
    records: SnapshotBuilder,
    now_ms: u64,
    min_percent: Option<u64>,
) -> Result<SnapshotOutcome, SnapshotError> {
    let SyncTarget { namespace, prefix, dry_run, .. } = target;
    let before = match recent.written_snapshot(now_ms) {
        Some(info) => Some(info),
        None => before(namespace.find(key.as_str())?.and_then(|listed| listed.metadata).as_ref(), prefix)?,
    };
    let before = before.as_ref();
    let SnapshotBuilder { count, .. } = records;
    if let (Some(min_percent), Some(before)) = (min_percent, before)
        && count.saturating_mul(100) < before.count.saturating_mul(min_percent)
    {
        return Err(SnapshotError::TooFew { count, before: before.count });
    }
    let Some((json, snapshot)) = records.finish(before, now_ms)? else { return Ok(SnapshotOutcome::Unchanged) };
    if !dry_run {
        let metadata = Some(metadata::of_snapshot(&snapshot));
        let written = namespace.put(key, &json, metadata, None);
        // KV may have accepted a put that failed, so the next version must be higher all the same.
        let hash = if written.is_ok() { snapshot.hash } else { String::new() };
        recent.note_written_snapshot(SnapshotInfo { hash, ..snapshot }, clock::now_ms());
        written?;
    }
    Ok(SnapshotOutcome::Written)
}

/// Returns the snapshot that a key with this metadata holds, as far as KV's list shows it.
fn before(metadata: Option<&MetadataJson>, prefix: &str) -> Result<Option<SnapshotInfo>, SnapshotError> {
    let Some(metadata) = metadata else { return Ok(None) };
    match metadata::prefix_in(metadata).filter(|of_row| of_row != prefix) {
        Some(prefix) => Err(SnapshotError::Row { prefix }),
        None => Ok(metadata::snapshot_in(metadata)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn records(rows: &[(&str, &str)]) -> SnapshotBuilder {
        let mut records = SnapshotBuilder::default();
        for (id, value) in rows {
            records.push(id, value);
        }
        records
    }

    fn info(version: u64, hash: &str) -> SnapshotInfo {
        SnapshotInfo { version, hash: hash.to_owned(), count: 9 }
    }

    #[test]
    fn a_snapshot_is_one_object_with_its_records_in_order() {
        for (rows, text) in [
            (&[][..], "{}"),
            (&[("a", "{\"x\":1}")], r#"{"a":{"x":1}}"#),
            (&[("a\"\n", "{}"), ("b", "{}"), ("é", "{}")], r#"{"a\"\n":{},"b":{},"é":{}}"#),
        ] {
            let (json, info) = records(rows).finish(None, 7).unwrap().unwrap();
            let hash = hash(text.as_bytes());
            let count = rows.len() as u64;
            let expected = format!(r#"{{"format":1,"version":7,"hash":"{hash}","count":{count},"records":{text}}}"#);
            assert_eq!(String::from_utf8(json.clone()).unwrap(), expected);
            assert!(serde_json::from_slice::<serde_json::Value>(&json).is_ok());
            let metadata = metadata::of_snapshot(&info);
            assert_eq!(metadata.read(), Some(json!({"snapshot": {"version": 7, "hash": hash, "count": count}})));
        }
    }

    #[test]
    fn a_snapshot_takes_no_row_from_the_sync_with_another_prefix() {
        let of_another = Err(SnapshotError::Row { prefix: "q:".to_owned() });
        for (metadata, expected) in [
            (None, Ok(None)),
            (Some(MetadataJson::of(&())), Ok(None)),
            (Some(MetadataJson::of(&json!({"plan": "by hand"}))), Ok(None)),
            (Some(metadata::of_snapshot(&info(7, "h"))), Ok(Some(info(7, "h")))),
            (Some(metadata::of_row("p:", "h")), Ok(None)),
            (Some(metadata::of_row("q:", "h")), of_another),
        ] {
            assert_eq!(before(metadata.as_ref(), "p:"), expected, "{metadata:?}");
        }
    }

    #[test]
    fn a_version_is_larger_than_the_one_before_and_equal_records_make_no_snapshot() {
        for (before, now_ms, expected) in [
            (None, 5, Some(5)),
            (Some(info(4, "")), 5, Some(5)),
            (Some(info(5, "")), 5, Some(6)),
            (Some(info(9, "")), 5, Some(10)),
            (Some(info(4, &hash(b"{}"))), 5, None),
        ] {
            let finished = records(&[]).finish(before.as_ref(), now_ms).unwrap();
            assert_eq!(finished.map(|(_, info)| info.version), expected, "{before:?}");
        }
    }

    #[test]
    fn a_snapshot_has_10_mib_at_most() {
        let long = format!("{{\"x\":\"{}\"}}", "x".repeat(6 << 20));
        assert!(records(&[("a", &long)]).finish(None, 1).unwrap().is_some());
        let both = records(&[("a", &long), ("b", &long)]);
        assert!(both.json.is_empty(), "it holds no more than fits");
        assert_eq!(both.finish(None, 1), Err(SnapshotError::TooLong(2 * (long.len() as u64 + 4) + 1)));
        // The members around the records count, too.
        let nearly = format!("{{\"x\":\"{}\"}}", "x".repeat((10 << 20) - 20));
        assert!(records(&[("a", &nearly)]).finish(None, 1).is_err());
    }
}
