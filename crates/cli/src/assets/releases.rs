//! The releases in a namespace, and which of them is served.

use kv_store::limits::KeyError;
use static_assets::keys::{MANIFESTS, POINTER};
use static_assets::manifest::Manifest;
use static_assets::release::{ManifestMetadata, Pointer, manifest_key};

use crate::api::{ApiError, Namespace, NamespaceKey};

/// A release that has a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Release {
    pub(super) id: String,
    /// None if the metadata of the manifest is missing or unreadable: another tool wrote it.
    pub(super) metadata: Option<ManifestMetadata>,
}

/// Why the pointer or a manifest cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReleaseError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("{0}; push again, which replaces it")]
    Pointer(#[from] UnreadablePointer),
    #[error("the manifest of the release {id} cannot be read: {why}")]
    Manifest { id: String, why: String },
    #[error("the manifest of the release {0} does not exist")]
    NotFound(String),
}

/// The value of the pointer is not a pointer.
#[derive(Debug, thiserror::Error)]
#[error("{key:?}, which names the release that is served, cannot be read ({0})", key = POINTER.as_str())]
pub(super) struct UnreadablePointer(String);

/// Returns all releases, the newest first.
pub(super) fn all(namespace: &Namespace) -> Result<Vec<Release>, ApiError> {
    Ok(newest_first(namespace.list(MANIFESTS)?))
}

/// Sorts releases, the newest first. An id begins with its second; within a second, the metadata
/// decides.
fn newest_first(listed: Vec<NamespaceKey>) -> Vec<Release> {
    let mut all: Vec<_> = listed.into_iter().filter_map(Release::of).collect();
    all.sort_by(|one, other| other.pushed().cmp(&one.pushed()));
    all
}

impl Release {
    /// Returns when the release was pushed, as a key to sort by.
    fn pushed(&self) -> (&str, u64, &str) {
        let second = self.id.split_once('-').map_or(self.id.as_str(), |(second, _)| second);
        (second, self.metadata.as_ref().map_or(0, |metadata| metadata.created_ms), &self.id)
    }

    fn of(listed: NamespaceKey) -> Option<Self> {
        let id = listed.name.strip_prefix(MANIFESTS)?.to_owned();
        let metadata = listed.metadata.and_then(|metadata| serde_json::from_value(metadata).ok());
        Some(Self { id, metadata })
    }
}

/// Returns the pointer to the release that is served, or None if nothing was pushed yet.
pub(super) fn pointer(namespace: &Namespace) -> Result<Option<Pointer>, ReleaseError> {
    let value = namespace.get(&POINTER)?;
    Ok(value.map(|value| read_pointer(&value)).transpose()?)
}

fn read_pointer(value: &[u8]) -> Result<Pointer, UnreadablePointer> {
    Pointer::parse(&String::from_utf8_lossy(value)).map_err(|error| UnreadablePointer(error.to_string()))
}

/// Returns the manifest of a release, or None if there is none.
pub(super) fn manifest(namespace: &Namespace, id: &str) -> Result<Option<Manifest>, ReleaseError> {
    namespace.get(&manifest_key(id)?)?.map(|value| read_manifest(id, &value)).transpose()
}

/// Reads a manifest as the Worker does.
fn read_manifest(id: &str, value: &[u8]) -> Result<Manifest, ReleaseError> {
    let unreadable = |why: String| ReleaseError::Manifest { id: id.to_owned(), why };
    let json = String::from_utf8_lossy(value);
    let manifest = Manifest::parse(&json).map_err(|error| unreadable(error.to_string()))?;
    if manifest.id == id { Ok(manifest) } else { Err(unreadable(format!("it belongs to the release {}", manifest.id))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(name: &str, metadata: Option<serde_json::Value>) -> NamespaceKey {
        NamespaceKey { name: format!("{MANIFESTS}{name}"), metadata, expiration: None }
    }

    #[test]
    fn releases_are_listed_the_newest_first() {
        let metadata = serde_json::json!({"createdMs": 7, "files": 2, "bytes": 9});
        let later = serde_json::json!({"createdMs": 8, "files": 2, "bytes": 9});
        let all = newest_first(vec![
            listed("20261120T000000Z-aaaaaaaa", Some(metadata)),
            listed("20261121T000000Z-bbbbbbbb", None),
            listed("20261119T000000Z-cccccccc", Some(serde_json::json!("odd"))),
            listed("20261120T000000Z-00000000", Some(later)),
        ]);
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
    }

    #[test]
    fn an_unreadable_manifest_is_reported() {
        for (value, expected) in [
            ("", "the manifest of the release r cannot be read: "),
            ("{}", "the manifest of the release r cannot be read: "),
            (
                r#"{"version": 9, "id": "r", "createdMs": 1, "files": []}"#,
                "the manifest of the release r cannot be read: ",
            ),
            (
                r#"{"version": 1, "id": "s", "createdMs": 1, "files": []}"#,
                "the manifest of the release r cannot be read: it belongs to the release s",
            ),
        ] {
            let sentence = read_manifest("r", value.as_bytes()).unwrap_err().to_string();
            assert!(sentence.starts_with(expected), "{sentence}");
        }
        assert!(read_manifest("r", br#"{"version": 1, "id": "r", "createdMs": 1, "files": []}"#).is_ok());
    }

    #[test]
    fn an_unreadable_pointer_is_reported() {
        let sentence = read_pointer(b"[]").unwrap_err().to_string();
        assert!(sentence.contains(", which names the release that is served, cannot be read"), "{sentence}");
        assert!(read_pointer(br#"{"current": "a", "switchedMs": 1}"#).is_ok());
    }
}
