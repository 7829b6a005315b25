//! The keys of releases in the `assets` namespace.

use kv_store::limits::Key;

/// The prefix of all keys of releases. No path of a request reaches them.
pub const PREFIX: &str = "kv-edge:";
/// The prefix of the keys of files' bytes; their hash follows.
pub const BLOBS: &str = "kv-edge:blob:";
/// The prefix of the keys of manifests; the id of the release follows.
pub const MANIFESTS: &str = "kv-edge:release:";
/// The prefix of the keys that mark a push that is under way. They expire by themselves.
pub const PUSHES: &str = "kv-edge:push:";
/// The key of the [`Pointer`](crate::release::Pointer).
pub const POINTER: Key<'static> = Key::literal("kv-edge:current");
