//! How releases stand in the `assets` namespace: bytes under their hash, a manifest for each release, and one key that says which
//! release is served.

use serde::{Deserialize, Serialize};

use super::keys::{BLOBS, MANIFESTS};
use super::manifest::File;
use kv_store::limits::{Key, KeyError};
use kv_store::record::{self, BrokenRecord};

/// Longer files are stored in chunks, in bytes: with what the REST API adds, a value stays below 25 MiB ("Limits").
pub const WHOLE_BYTES_MAX: u64 = 24 * 1024 * 1024;
/// The length of a chunk, in bytes. Short enough that seeking in a film reads little.
pub const CHUNK_BYTES: usize = 8 * 1024 * 1024;

/// Which release is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pointer {
    /// The release that is served.
    pub current: String,
    /// Releases that were served before, the last one first: their hashed files still answer.
    #[serde(default)]
    pub previous: Vec<String>,
    /// When it was written, in milliseconds since the Unix epoch.
    pub switched_ms: u64,
    /// When it last went back to an earlier release. Files of that release have changed then, as far as `Last-Modified` tells: whoever has
    /// the bytes of the later one must not be told that he is up to date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_back_ms: Option<u64>,
}

/// What stands in the metadata of a value in KV.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlobMetadata {
    /// When it was uploaded, in milliseconds since the Unix epoch.
    pub uploaded_ms: u64,
}

/// What stands in the metadata of a manifest, for lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestMetadata {
    /// When the release was pushed, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// How many files it has.
    pub files: u64,
    /// How many bytes these have, as they are.
    pub bytes: u64,
}

/// The key of bytes.
///
/// # Errors
/// [`KeyError`] where the hash is none.
pub fn blob_key(hash: &str) -> Result<Key<'static>, KeyError> {
    Key::new(format!("{BLOBS}{hash}"))
}

/// The key of a manifest.
///
/// # Errors
/// [`KeyError`] where the release's name is too long to be one.
pub fn manifest_key(id: &str) -> Result<Key<'static>, KeyError> {
    Key::new(format!("{MANIFESTS}{id}"))
}

impl Pointer {
    /// Reads the pointer.
    ///
    /// # Errors
    /// [`BrokenRecord`] where it is none.
    pub fn parse(json: &str) -> Result<Self, BrokenRecord> {
        record::parse(json)
    }

    /// The pointer that switches to a release: what was served goes to the front of what was before, of which `previous_max` stay.
    #[must_use]
    pub fn switched(before: Option<&Self>, to: &str, previous_max: usize, now_ms: u64) -> Self {
        let was = before.into_iter().flat_map(|before| std::iter::once(&before.current).chain(&before.previous));
        let previous = was.filter(|id| *id != to).take(previous_max).cloned().collect();
        Self { current: to.to_owned(), previous, switched_ms: now_ms, rolled_back_ms: None }
    }

    /// The pointer that goes back to an earlier release.
    #[must_use]
    pub fn rolled_back(before: &Self, to: &str, previous_max: usize, now_ms: u64) -> Self {
        Self { rolled_back_ms: Some(now_ms), ..Self::switched(Some(before), to, previous_max, now_ms) }
    }

    /// When a file was last modified as visitors see it, in seconds since the Unix epoch.
    #[must_use]
    pub fn modified_seconds(&self, file: &File) -> u64 {
        file.modified_seconds.max(self.rolled_back_ms.unwrap_or_default() / 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_keeps_what_was_served_before_once_each_and_the_last_one_first() {
        let first = Pointer::switched(None, "a", 2, 1);
        assert_eq!((first.current.as_str(), first.previous.len()), ("a", 0));
        let second = Pointer::switched(Some(&first), "b", 2, 2);
        let third = Pointer::switched(Some(&second), "c", 2, 3);
        assert_eq!(third.previous, ["b", "a"]);
        let back = Pointer::rolled_back(&third, "b", 2, 4);
        assert_eq!((back.current.as_str(), back.switched_ms, back.rolled_back_ms), ("b", 4, Some(4)));
        assert_eq!(back.previous, ["c", "a"]);
        assert_eq!(Pointer::switched(Some(&third), "d", 2, 5).previous, ["c", "b"]);
        assert_eq!(Pointer::switched(Some(&third), "c", 2, 5).previous, ["b", "a"]);
    }
}
