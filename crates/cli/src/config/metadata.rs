//! The metadata that the sync writes: it tells a later run which keys are the sync's own, what value each has, and where a snapshot
//! stands.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::json;

/// What the sync writes as the metadata of a key. Who finds it there with the same prefix may change and delete the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct RowMetadata {
    sync: SyncMark,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SyncMark {
    prefix: String,
    /// Of the bytes of the value.
    hash: String,
}

/// The metadata of a value.
pub(super) fn of_row(prefix: &str, hash: &str) -> Value {
    let sync = SyncMark { prefix: prefix.to_owned(), hash: hash.to_owned() };
    json::value(&RowMetadata { sync })
}

/// The hash in the metadata of a key that is the sync's own.
pub(super) fn hash_in(metadata: &Value, prefix: &str) -> Option<String> {
    let RowMetadata { sync } = RowMetadata::deserialize(metadata).ok()?;
    (sync.prefix == prefix).then_some(sync.hash)
}

/// The prefix of the sync whose row stands under a key with this metadata.
pub(super) fn prefix_in(metadata: &Value) -> Option<String> {
    RowMetadata::deserialize(metadata).ok().map(|metadata| metadata.sync.prefix)
}

/// The metadata of a snapshot. Only the sync writes it, and a row of a table has other metadata, so that this tells every run, whatever
/// its flags, which keys are no user's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SnapshotMetadata {
    snapshot: Told,
}

/// What its metadata says of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    /// Milliseconds since the Unix epoch; always more than the one before.
    pub(super) version: u64,
    /// Of the bytes of the records; empty where nobody knows whether it was written.
    pub(super) hash: String,
    pub(super) count: u64,
}

/// The metadata of a snapshot.
pub(super) fn of_snapshot(snapshot: &Told) -> Value {
    json::value(&SnapshotMetadata { snapshot: snapshot.clone() })
}

/// The snapshot that stands under a key with this metadata; none where something else does.
pub(super) fn snapshot_in(metadata: &Value) -> Option<Told> {
    SnapshotMetadata::deserialize(metadata).ok().map(|metadata| metadata.snapshot)
}
