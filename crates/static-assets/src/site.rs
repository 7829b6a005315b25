//! What visitors are served: a release, or files that stand under keys of their own. And which
//! manifests of releases an isolate remembers.

use std::fmt;
use std::rc::Rc;

use kv_store::limits::{Key, VALUE_BYTES_MAX};
use kv_store::record::BrokenRecord;

use crate::answer::Served;
use crate::manifest::Manifest;
use crate::release::Pointer;

/// The longest body that is remembered, in bytes.
pub const REMEMBERED_BODY_BYTES_MAX: u64 = 128 * 1024;

/// What visitors are served.
#[derive(Debug)]
pub enum Site {
    /// No release was ever pushed: each file stands under its own key.
    PlainKeys,
    /// A release.
    Release(Release),
}

/// A release that is served.
#[derive(Debug)]
pub struct Release {
    /// What names it, and those before it.
    pub pointer: Pointer,
    /// Its files.
    pub manifest: Rc<Manifest>,
}

impl Release {
    /// Returns true if a release before the one that the pointer names must serve: that one's
    /// manifest was written before the pointer, but another location may see the pointer first.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.manifest.id != self.pointer.current
    }

    /// Returns what an answer is made from.
    #[must_use]
    pub fn served(&self) -> Served<'_> {
        Served { pointer: &self.pointer, manifest: &self.manifest }
    }

    /// Returns another release of the same pointer.
    #[must_use]
    pub fn with_manifest(&self, manifest: Rc<Manifest>) -> Self {
        Self { pointer: self.pointer.clone(), manifest }
    }
}

/// The pointer or a manifest is not what it must be.
#[derive(Debug, Clone)]
pub enum BrokenSite {
    /// What stands under this key does not parse.
    Record(Key<'static>, BrokenRecord),
    /// The pointer names no release whose manifest is there.
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

/// The manifests of the releases that one pointer names. That of the release that is served is
/// always remembered, the others up to so many bytes of JSON.
#[derive(Debug)]
pub struct Manifests {
    known: Vec<Known>,
    previous_bytes_max: usize,
}

#[derive(Debug)]
struct Known {
    id: String,
    /// `None` for one that is not there, is broken, or is one too many.
    manifest: Option<Rc<Manifest>>,
    /// The bytes of its JSON.
    bytes: usize,
}

impl Manifests {
    /// Remembers none, and later up to so many bytes beside the manifest of the release that is
    /// served.
    #[must_use]
    pub const fn new(previous_bytes_max: usize) -> Self {
        Self { known: Vec::new(), previous_bytes_max }
    }

    /// Returns the most bytes that this remembers. A manifest is one value of Workers KV.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // 25 MiB.
    pub const fn bytes_max(&self) -> usize {
        VALUE_BYTES_MAX as usize + self.previous_bytes_max
    }

    /// Returns what is known of a manifest: `Some(None)` if it cannot be used.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Option<Rc<Manifest>>> {
        self.known.iter().find(|known| known.id == id).map(|known| known.manifest.clone())
    }

    /// Remembers a manifest of so many bytes of JSON, or that it cannot be used.
    pub fn insert(&mut self, id: &str, manifest: Option<Rc<Manifest>>, bytes: usize) {
        self.known.retain(|known| known.id != id);
        self.known.push(Known { id: id.to_owned(), manifest, bytes });
    }

    /// Forgets those that the pointer does not name, and those that could not be used.
    pub fn retain_of(&mut self, pointer: &Pointer) {
        self.known.retain(|known| {
            known.manifest.is_some() && (known.id == pointer.current || pointer.previous.contains(&known.id))
        });
    }

    /// Passes over this manifest from now on if those beside the one that is served are too long
    /// with it.
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
