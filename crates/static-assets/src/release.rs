//! How a release is stored in the `assets` namespace: the bytes of its files under their hash,
//! its manifest, and the pointer, one key that names the release that is served.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::keys::MANIFESTS;
use super::manifest::File;
use kv_store::record::{self, BrokenRecord};

/// The longest file that is stored as one value, in bytes. Longer ones are stored in chunks.
/// With what the REST API adds, an upload of this length stays below the limit of 25 MiB for a
/// value (KV documentation, "Limits").
pub const WHOLE_BYTES_MAX: u64 = 24 * 1024 * 1024;
/// The length of a chunk, in bytes: short, so that seeking in a film reads little.
pub const CHUNK_BYTES: usize = 8 * 1024 * 1024;

/// The most previous releases that a pointer has after a rollback, unless it had more before.
const PREVIOUS_MAX_AFTER_ROLLBACK: usize = 3;

/// The record that names the release that is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pointer {
    /// The id of the release that is served.
    pub current: String,
    /// The ids of the releases that were served before, the last one first. Their files that have,
    /// or may have, a content hash in the name are still served.
    #[serde(default)]
    pub previous: Vec<String>,
    /// When the pointer was written, in milliseconds since the Unix epoch.
    pub switched_ms: u64,
    /// The time of the rollback that wrote the pointer, in milliseconds since the Unix epoch;
    /// `None` if a push wrote it. No file counts as older than that: a visitor who has the newer
    /// release's bytes must not be told that they are up to date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_back_ms: Option<u64>,
}

/// The KV metadata of a file's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlobMetadata {
    /// When the bytes were uploaded, in milliseconds since the Unix epoch.
    pub uploaded_ms: u64,
}

/// The KV metadata of a manifest, so that releases can be listed without reading their
/// manifests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestMetadata {
    /// When the release was pushed, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// How many files it has.
    pub files: u64,
    /// The bytes of all files, not encoded.
    pub bytes: u64,
}

/// A release that has a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The id.
    pub id: String,
    /// `None` if the metadata of the manifest is missing or unreadable: another tool wrote it.
    pub metadata: Option<ManifestMetadata>,
}

impl Release {
    /// Reads a key of a list with its metadata. Returns `None` if it is not the key of a manifest.
    #[must_use]
    pub fn of_listed(key: &str, metadata: Option<Value>) -> Option<Self> {
        let id = key.strip_prefix(MANIFESTS)?.to_owned();
        Some(Self { id, metadata: metadata.and_then(|metadata| serde_json::from_value(metadata).ok()) })
    }

    /// Returns when the release was pushed, as a key to sort by.
    fn pushed(&self) -> (&str, u64, &str) {
        let timestamp = self.id.split_once('-').map_or(self.id.as_str(), |(timestamp, _)| timestamp);
        (timestamp, self.metadata.as_ref().map_or(0, |metadata| metadata.created_ms), &self.id)
    }
}

/// Sorts releases, the newest first. An id begins with its time, to the second; within one second,
/// the metadata decides.
pub fn sort_newest_first(releases: &mut [Release]) {
    releases.sort_by(|one, other| other.pushed().cmp(&one.pushed()));
}

impl Pointer {
    /// Parses the pointer.
    ///
    /// # Errors
    /// [`BrokenRecord`] if the text is not the JSON of a pointer.
    ///
    /// # Examples
    ///
    /// ```
    /// use static_assets::release::Pointer;
    ///
    /// let json = r#"{"current": "20261122T080000Z-2c26b46b",
    ///     "previous": ["20261121T114435Z-9f86d081"], "switchedMs": 1795334400000}"#;
    /// let pointer = Pointer::parse(json)?;
    /// let newest_first: Vec<_> = pointer.named().collect();
    /// assert_eq!(newest_first, ["20261122T080000Z-2c26b46b", "20261121T114435Z-9f86d081"]);
    /// # Ok::<(), kv_store::record::BrokenRecord>(())
    /// ```
    pub fn parse(json: &str) -> Result<Self, BrokenRecord> {
        record::parse(json)
    }

    /// Returns the ids of the release that is served and of the previous ones, the latest first.
    pub fn named(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.current).chain(&self.previous)
    }

    /// Returns the pointer that switches to a release. The release that was served becomes the
    /// first of the previous ones, of which at most `previous_max` stay.
    #[must_use]
    pub fn switched(before: Option<&Self>, to: &str, previous_max: usize, now_ms: u64) -> Self {
        let was = before.into_iter().flat_map(Self::named);
        let previous = was.filter(|id| *id != to).take(previous_max).cloned().collect();
        Self { current: to.to_owned(), previous, switched_ms: now_ms, rolled_back_ms: None }
    }

    /// Returns the pointer that rolls back to an earlier release.
    #[must_use]
    pub fn rolled_back(before: &Self, to: &str, now_ms: u64) -> Self {
        let previous_max = before.previous.len().max(PREVIOUS_MAX_AFTER_ROLLBACK);
        Self { rolled_back_ms: Some(now_ms), ..Self::switched(Some(before), to, previous_max, now_ms) }
    }

    /// Returns the `Last-Modified` of a file, in seconds since the Unix epoch: its own date, or
    /// that of the rollback that wrote the pointer if that is later.
    #[must_use]
    pub fn modified_seconds(&self, file: &File) -> u64 {
        file.modified_seconds.max(self.rolled_back_ms.unwrap_or_default() / 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_lists_previous_releases_once_each_latest_first() {
        let first = Pointer::switched(None, "a", 2, 1);
        assert_eq!((first.current.as_str(), first.previous.len()), ("a", 0));
        let second = Pointer::switched(Some(&first), "b", 2, 2);
        let third = Pointer::switched(Some(&second), "c", 2, 3);
        assert_eq!(third.previous, ["b", "a"]);
        let back = Pointer::rolled_back(&third, "b", 4);
        assert_eq!((back.current.as_str(), back.switched_ms, back.rolled_back_ms), ("b", 4, Some(4)));
        assert_eq!(back.previous, ["c", "a"]);
        assert_eq!(Pointer::switched(Some(&third), "d", 2, 5).previous, ["c", "b"]);
        assert_eq!(Pointer::switched(Some(&third), "c", 2, 5).previous, ["b", "a"]);
    }

    #[test]
    fn releases_are_sorted_the_newest_first() {
        let metadata = |created_ms: u64| serde_json::json!({"createdMs": created_ms, "files": 2, "bytes": 9});
        let listed = |id: &str, metadata| Release::of_listed(&format!("{MANIFESTS}{id}"), metadata).unwrap();
        let mut all = [
            listed("20261120T000000Z-aaaaaaaa", Some(metadata(7))),
            listed("20261121T000000Z-bbbbbbbb", None),
            listed("20261119T000000Z-cccccccc", Some(serde_json::json!("odd"))),
            listed("20261120T000000Z-00000000", Some(metadata(8))),
        ];
        sort_newest_first(&mut all);
        let read: Vec<_> = all.iter().map(|release| (release.id.as_str(), release.metadata.is_some())).collect();
        assert_eq!(
            read,
            [
                ("20261121T000000Z-bbbbbbbb", false),
                ("20261120T000000Z-00000000", true),
                ("20261120T000000Z-aaaaaaaa", true),
                ("20261119T000000Z-cccccccc", false)
            ]
        );
        assert_eq!(Release::of_listed("kv-edge:blob:1", None), None);
    }
}
