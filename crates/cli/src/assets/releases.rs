//! The releases in a namespace, and which of them is served.

use kv_store::limits::KeyError;
use static_assets::keys::{MANIFESTS, POINTER, manifest_key};
use static_assets::manifest::Manifest;
use static_assets::release::{self, Pointer, Release};

use crate::api::{ApiError, MetadataJson, Namespace, NamespaceKey};

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
    let listed = namespace.list(MANIFESTS)?;
    let release =
        |key: &NamespaceKey| Release::of_listed(&key.name, key.metadata.as_ref().and_then(MetadataJson::read));
    let mut all: Vec<_> = listed.iter().filter_map(release).collect();
    release::sort_newest_first(&mut all);
    Ok(all)
}

/// Returns the pointer to the release that is served, or `None` if nothing has been pushed yet.
pub(super) fn pointer(namespace: &Namespace) -> Result<Option<Pointer>, ReleaseError> {
    let value = namespace.get(&POINTER)?;
    Ok(value.map(|value| read_pointer(&value)).transpose()?)
}

fn read_pointer(value: &[u8]) -> Result<Pointer, UnreadablePointer> {
    Pointer::parse(&String::from_utf8_lossy(value)).map_err(|error| UnreadablePointer(error.to_string()))
}

/// Returns the manifest of a release, or `None` if there is none.
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
