//! What the `assets` namespace serves: a release, or files under unversioned keys. And the cache
//! of manifests that an isolate has.

use std::fmt;
use std::rc::Rc;

use kv_store::limits::{Key, VALUE_BYTES_MAX};
use kv_store::record::BrokenRecord;

use crate::answer::Served;
use crate::manifest::Manifest;
use crate::release::Pointer;

/// The longest body that an isolate caches, in bytes.
pub const REMEMBERED_BODY_BYTES_MAX: u64 = 128 * 1024;

/// What the `assets` namespace serves.
#[derive(Debug)]
pub enum Site {
    /// No release was ever pushed. Each file is stored under its own name.
    PlainKeys,
    /// The release that the pointer names, or one before it.
    Release(Release),
}

/// A release in memory.
#[derive(Debug)]
pub struct Release {
    /// The pointer that names this release or, if [`is_behind`](Release::is_behind), a later
    /// one.
    pub pointer: Pointer,
    /// The manifest of this release.
    pub manifest: Rc<Manifest>,
}

impl Release {
    /// Returns true if this is an earlier release than the pointer names. A manifest is written
    /// before the pointer that names it, but another location may see the pointer first.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.manifest.id != self.pointer.current
    }

    /// Returns the view of this release that answers are made from.
    #[must_use]
    pub fn served(&self) -> Served<'_> {
        Served { pointer: &self.pointer, manifest: &self.manifest }
    }

    /// Returns a previous release of the same pointer, with this manifest.
    #[must_use]
    pub fn with_manifest(&self, manifest: Rc<Manifest>) -> Self {
        Self { pointer: self.pointer.clone(), manifest }
    }
}

/// Why no release can be loaded: the pointer or a manifest is broken.
#[derive(Debug, Clone)]
pub enum BrokenSite {
    /// The value under this key cannot be parsed.
    Record(Key<'static>, BrokenRecord),
    /// KV has no manifest for any release that the pointer names; the id of the current one.
    NoManifest(String),
}

impl fmt::Display for BrokenSite {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(key, broken) => write!(formatter, "{}: {broken}", key.as_str()),
            Self::NoManifest(id) => write!(formatter, "the release {id} has no manifest"),
        }
    }
}

/// A cache of the manifests that one pointer names. The manifest of the release that is served
/// always stays. Previous ones stay as long as their JSON fits into a bound in bytes. One that
/// does not fit is marked as unusable: if it evicted another, both would be parsed again and
/// again.
#[derive(Debug)]
pub struct Manifests {
    known: Vec<Known>,
    previous_bytes_max: usize,
}

#[derive(Debug)]
struct Known {
    id: String,
    /// `None` for a manifest that is missing, broken, or too long beside the others.
    manifest: Option<Rc<Manifest>>,
    /// The length of its JSON in bytes.
    bytes: usize,
}

impl Manifests {
    /// Returns an empty cache. It holds the manifest of the release that is served and previous
    /// ones of at most this many bytes of JSON.
    #[must_use]
    pub const fn new(previous_bytes_max: usize) -> Self {
        Self { known: Vec::new(), previous_bytes_max }
    }

    /// Returns the most bytes of JSON that the cached manifests come from: one whole value of
    /// Workers KV for the release that is served, and the bound for previous ones.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // 25 MiB.
    pub const fn bytes_max(&self) -> usize {
        VALUE_BYTES_MAX as usize + self.previous_bytes_max
    }

    /// Returns the cached manifest of a release: `None` if it has not been read, `Some(None)` if
    /// it cannot be used.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Option<Rc<Manifest>>> {
        self.known.iter().find(|known| known.id == id).map(|known| known.manifest.clone())
    }

    /// Caches a manifest and the length of its JSON in bytes; `None` if it cannot be used.
    pub fn insert(&mut self, id: &str, manifest: Option<Rc<Manifest>>, bytes: usize) {
        self.known.retain(|known| known.id != id);
        self.known.push(Known { id: id.to_owned(), manifest, bytes });
    }

    /// Removes the manifests that the pointer does not name, and those that could not be used.
    pub fn retain_of(&mut self, pointer: &Pointer) {
        self.known.retain(|known| {
            known.manifest.is_some() && (known.id == pointer.current || pointer.previous.contains(&known.id))
        });
    }

    /// Marks a previous manifest as unusable if the previous ones exceed the bound with it.
    /// `served` is the id of the release that is served.
    pub fn bound(&mut self, id: &str, served: &str) {
        let others = self.known.iter().filter(|known| known.id != served);
        if others.map(|known| known.bytes).sum::<usize>() > self.previous_bytes_max {
            self.insert(id, None, 0);
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

    fn ids(manifests: &Manifests) -> Vec<(&str, bool)> {
        manifests.known.iter().map(|known| (known.id.as_str(), known.manifest.is_some())).collect()
    }

    #[test]
    fn previous_manifests_that_are_too_long_together_are_passed_over() {
        let mut manifests = Manifests::new(100);
        manifests.insert("c", Some(manifest("c")), 1000);
        for id in ["b", "a"] {
            manifests.insert(id, Some(manifest(id)), 60);
            manifests.bound(id, "c");
        }
        assert_eq!(ids(&manifests), [("c", true), ("b", true), ("a", false)]);
        assert!(manifests.get("a").is_some_and(|known| known.is_none()), "it is not read again and again");
        assert!(manifests.get("d").is_none());
        assert_eq!(manifests.bytes_max(), 25 * 1024 * 1024 + 100);
    }

    #[test]
    fn a_new_pointer_leaves_what_it_names_and_what_can_be_used() {
        let mut manifests = Manifests::new(100);
        for id in ["a", "b", "c"] {
            manifests.insert(id, Some(manifest(id)), 1);
        }
        manifests.insert("d", None, 0);
        manifests.retain_of(&pointer("c", &["b", "d"]));
        assert_eq!(ids(&manifests), [("b", true), ("c", true)]);
    }
}
