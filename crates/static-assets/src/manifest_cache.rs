//! The cache of manifests that an isolate has.

use std::rc::Rc;

use kv_store::limits::VALUE_BYTES_MAX;

use crate::manifest::Manifest;
use crate::release::Pointer;

/// The most bytes of memory that the manifest of the release that is served takes: twice the JSON
/// of one value of Workers KV ([`Manifest::memory_bytes`]).
#[allow(clippy::cast_possible_truncation)] // 50 MiB.
pub const SERVED_BYTES_MAX: usize = 2 * VALUE_BYTES_MAX as usize;

/// A cache of the manifests that one pointer names. The manifest of the release that is served
/// stays, whatever it takes. Previous ones stay as long as they fit into a bound in bytes of
/// memory. One that does not fit serves the request that read it, and is then marked as unusable
/// until the pointer changes: if it evicted another, both would be parsed again and again.
#[derive(Debug)]
pub struct ManifestCache {
    entries: Vec<CachedManifest>,
    previous_bytes_max: usize,
}

#[derive(Debug)]
struct CachedManifest {
    id: String,
    /// `None` for a manifest that is missing, broken, or too long beside the others.
    manifest: Option<Rc<Manifest>>,
    /// The bytes of memory that it takes.
    bytes: usize,
}

impl ManifestCache {
    /// Returns an empty cache. It holds the manifest of the release that is served, and previous
    /// ones that take at most this many bytes.
    #[must_use]
    pub const fn new(previous_bytes_max: usize) -> Self {
        Self { entries: Vec::new(), previous_bytes_max }
    }

    /// Returns the bound for previous manifests and the largest manifest of a release that is
    /// served, in bytes.
    #[must_use]
    pub const fn bytes_max(&self) -> usize {
        SERVED_BYTES_MAX + self.previous_bytes_max
    }

    /// Returns the cached manifest of a release: `None` if it has not been read, `Some(None)` if
    /// it cannot be used.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Option<Rc<Manifest>>> {
        self.entries.iter().find(|entry| entry.id == id).map(|entry| entry.manifest.clone())
    }

    /// Caches a manifest; `None` if it cannot be used.
    pub fn insert(&mut self, id: &str, manifest: Option<Rc<Manifest>>) {
        let bytes = manifest.as_deref().map_or(0, Manifest::memory_bytes);
        self.entries.retain(|entry| entry.id != id);
        self.entries.push(CachedManifest { id: id.to_owned(), manifest, bytes });
    }

    /// Removes the manifests that the pointer does not name, and those that could not be used.
    pub fn retain_named_by(&mut self, pointer: &Pointer) {
        self.entries.retain(|entry| {
            entry.manifest.is_some() && (entry.id == pointer.current || pointer.previous.contains(&entry.id))
        });
    }

    /// Marks a previous manifest as unusable if the previous ones exceed the bound with it.
    /// `served` is the id of the release that is served.
    pub fn enforce_bound(&mut self, id: &str, served: &str) {
        let others = self.entries.iter().filter(|entry| entry.id != served);
        if others.map(|entry| entry.bytes).sum::<usize>() > self.previous_bytes_max {
            self.insert(id, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointer(current: &str, previous: &[&str]) -> Pointer {
        let previous = previous.iter().map(|id| (*id).to_owned()).collect();
        Pointer { current: current.to_owned(), previous, switched_ms: 0, rolled_back_ms: None }
    }

    fn manifest(id: &str) -> Rc<Manifest> {
        Rc::new(Manifest::parse(&format!(r#"{{"version":1,"id":"{id}","createdMs":0,"files":[]}}"#)).unwrap())
    }

    fn ids(manifests: &ManifestCache) -> Vec<(&str, bool)> {
        manifests.entries.iter().map(|entry| (entry.id.as_str(), entry.manifest.is_some())).collect()
    }

    #[test]
    fn a_previous_manifest_beyond_the_bound_is_marked_as_unusable() {
        let bytes = manifest("a").memory_bytes();
        let mut manifests = ManifestCache::new(2 * bytes - 1);
        for id in ["c", "b", "a"] {
            manifests.insert(id, Some(manifest(id)));
            manifests.enforce_bound(id, "c");
        }
        assert_eq!(ids(&manifests), [("c", true), ("b", true), ("a", false)]);
        assert!(manifests.get("a").is_some_and(|entry| entry.is_none()), "it is not read again and again");
        assert!(manifests.get("d").is_none());
        assert_eq!(manifests.bytes_max(), 50 * 1024 * 1024 + 2 * bytes - 1);
    }

    #[test]
    fn a_new_pointer_removes_unnamed_and_unusable_manifests() {
        let mut manifests = ManifestCache::new(100);
        for id in ["a", "b", "c"] {
            manifests.insert(id, Some(manifest(id)));
        }
        manifests.insert("d", None);
        manifests.retain_named_by(&pointer("c", &["b", "d"]));
        assert_eq!(ids(&manifests), [("b", true), ("c", true)]);
    }
}
