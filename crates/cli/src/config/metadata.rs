//! The metadata that the sync writes. It tells a later run which keys the sync owns, which value
//! each of them has, and which keys hold a snapshot.

use serde::{Deserialize, Serialize};

use crate::api::MetadataJson;

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
pub(super) fn of_row(prefix: &str, hash: &str) -> MetadataJson {
    let sync = SyncMetadata { prefix: prefix.to_owned(), hash: hash.to_owned() };
    MetadataJson::of(&RowMetadata { sync })
}

/// Returns the hash in the metadata of a key, if a sync with this prefix owns it.
pub(super) fn hash_in(metadata: &MetadataJson, prefix: &str) -> Option<String> {
    let RowMetadata { sync } = metadata.read()?;
    (sync.prefix == prefix).then_some(sync.hash)
}

/// Returns the prefix of the sync that owns a key with this metadata.
pub(super) fn prefix_in(metadata: &MetadataJson) -> Option<String> {
    metadata.read().map(|RowMetadata { sync }| sync.prefix)
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
pub(super) fn of_snapshot(snapshot: &SnapshotInfo) -> MetadataJson {
    MetadataJson::of(&SnapshotMetadata { snapshot: snapshot.clone() })
}

/// Returns the description of the snapshot in this metadata, or `None` if it is not that of a
/// snapshot.
pub(super) fn snapshot_in(metadata: &MetadataJson) -> Option<SnapshotInfo> {
    metadata.read().map(|SnapshotMetadata { snapshot }| snapshot)
}
