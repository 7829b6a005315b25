//! What the `assets` namespace serves: a release, or only files under unversioned keys.

use std::fmt;
use std::rc::Rc;

use kv_store::limits::Key;
use kv_store::record::BrokenRecord;

use crate::manifest::Manifest;
use crate::release::Pointer;
use crate::response::ServedRelease;

/// The longest body that an isolate caches, in bytes.
pub const CACHED_BODY_BYTES_MAX: u64 = 128 * 1024;

/// What the `assets` namespace serves.
#[derive(Debug)]
pub enum AssetStore {
    /// There is no pointer: no release was pushed. Each file is stored under its own name.
    UnversionedKeys,
    /// The release that the pointer names, or one before it. Its manifest says whether files under
    /// unversioned keys are served as well.
    Release(LoadedRelease),
}

/// A release in memory.
#[derive(Debug)]
pub struct LoadedRelease {
    /// The pointer that names this release or, if [`is_behind`](LoadedRelease::is_behind), a later
    /// one.
    pub pointer: Pointer,
    /// The manifest of this release.
    pub manifest: Rc<Manifest>,
}

impl LoadedRelease {
    /// Returns true if this is an earlier release than the pointer names. A manifest is written
    /// before the pointer that names it, but another of Cloudflare's locations may see the
    /// pointer first.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.manifest.id != self.pointer.current
    }

    /// Returns the view of this release that responses are made from.
    #[must_use]
    pub fn served(&self) -> ServedRelease<'_> {
        ServedRelease { pointer: &self.pointer, manifest: &self.manifest }
    }

    /// Returns a previous release of the same pointer, with this manifest.
    #[must_use]
    pub fn with_manifest(&self, manifest: Rc<Manifest>) -> Self {
        Self { pointer: self.pointer.clone(), manifest }
    }
}

/// Why no release can be loaded: the pointer or a manifest is broken, or no manifest is there.
#[derive(Debug, Clone)]
pub enum BrokenRelease {
    /// The value under this key cannot be parsed.
    Record(Key<'static>, BrokenRecord),
    /// KV has no manifest for any release that the pointer names; the id of the current one.
    NoManifest(String),
}

impl fmt::Display for BrokenRelease {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(key, broken) => write!(formatter, "{}: {broken}", key.as_str()),
            Self::NoManifest(id) => write!(formatter, "neither the release {id} nor a previous one has a manifest"),
        }
    }
}
