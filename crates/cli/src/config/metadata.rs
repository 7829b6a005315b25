//! The metadata that the sync writes. It tells a later run which keys the sync owns, which value
//! each of them has, and which keys hold a snapshot.

use kv_store::record;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The metadata of the key of a row. A sync with the same prefix owns the key: it may change and
/// delete it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct RowMetadata {
    sync: SyncMetadata,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SyncMetadata {
    prefix: String,
    /// The hash of the bytes of the value.
    hash: String,
}

/// Returns the metadata of the key of a row.
pub(super) fn of_row(prefix: &str, hash: &str) -> Value {
    let sync = SyncMetadata { prefix: prefix.to_owned(), hash: hash.to_owned() };
    record::to_value(&RowMetadata { sync })
}

/// Returns the hash in the metadata of a key, if a sync with this prefix owns it.
pub(super) fn hash_in(metadata: &Value, prefix: &str) -> Option<String> {
    let RowMetadata { sync } = RowMetadata::deserialize(metadata).ok()?;
    (sync.prefix == prefix).then_some(sync.hash)
}

/// Returns the prefix of the sync that owns a key with this metadata.
pub(super) fn prefix_in(metadata: &Value) -> Option<String> {
    RowMetadata::deserialize(metadata).ok().map(|metadata| metadata.sync.prefix)
}

/// The metadata of a snapshot. Rows have other metadata, so every run, whatever its arguments,
/// recognizes the keys that hold a snapshot and not the record of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SnapshotMetadata {
    snapshot: SnapshotInfo,
}

/// The description of a snapshot in its metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SnapshotInfo {
    /// Milliseconds since the Unix epoch, and larger than the previous version.
    pub(super) version: u64,
    /// The hash of the bytes of the records; empty if it is unknown whether the snapshot was
    /// written.
    pub(super) hash: String,
    pub(super) count: u64,
}

/// Returns the metadata of a snapshot.
pub(super) fn of_snapshot(snapshot: &SnapshotInfo) -> Value {
    record::to_value(&SnapshotMetadata { snapshot: snapshot.clone() })
}

/// Returns the description of the snapshot in this metadata, or None if it is not that of a
/// snapshot.
pub(super) fn snapshot_in(metadata: &Value) -> Option<SnapshotInfo> {
    SnapshotMetadata::deserialize(metadata).ok().map(|metadata| metadata.snapshot)
}
