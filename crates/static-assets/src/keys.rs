//! The keys in the `assets` namespace that are not names of files.

use kv_store::limits::Key;

/// All keys of releases begin so; no visitor reaches them by a path.
pub const PREFIX: &str = "kv-edge:";
/// Keys of bytes begin so.
pub const BLOBS: &str = "kv-edge:blob:";
/// Keys of manifests begin so.
pub const MANIFESTS: &str = "kv-edge:release:";
/// Keys that say that a push is under way begin so; they expire by themselves.
pub const PUSHES: &str = "kv-edge:push:";
/// The key of the [`Pointer`](crate::release::Pointer).
pub const POINTER: Key<'static> = Key::literal("kv-edge:current");
