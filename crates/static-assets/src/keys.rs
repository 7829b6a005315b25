//! The keys of releases and leases in the `assets` namespace.

use kv_store::limits::{Key, KeyError};

/// The prefix of all keys of releases. No request for a file reaches them.
pub const PREFIX: &str = "kv-edge:";
/// The prefix of the keys of files' bytes; their hash follows.
pub const BLOBS: &str = "kv-edge:blob:";
/// The prefix of the keys of manifests; the id of the release follows.
pub const MANIFESTS: &str = "kv-edge:release:";
/// The prefix of the keys of leases ([`lease`](crate::lease)): of pushes, rollbacks and `assets
/// gc` that are under way.
pub const LEASES: &str = "kv-edge:push:";
/// The key of the [`Pointer`](crate::release::Pointer).
pub const POINTER: Key<'static> = Key::literal("kv-edge:current");

/// The most characters of a hash: a boundary of several ranges has it, and 70 at most (RFC 2046
/// §5.1.1).
const HASH_CHARACTERS_MAX: usize = 62;

/// Returns true if a text may be the hash of a file's bytes: letters, digits, `-` and `_`, which
/// are safe in header fields and keys. Those of
/// [`hash`](http_semantics::content_hash::hash) are hex digits.
pub(crate) fn is_blob_hash(text: &str) -> bool {
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=HASH_CHARACTERS_MAX).contains(&text.len()) && text.bytes().all(is_safe)
}

/// Returns the key of a file's bytes. Its hash is that of a manifest, which is checked as it is
/// parsed, or a [`hash`](http_semantics::content_hash::hash).
///
/// # Panics
/// If the text is too long for a key of Workers KV, which no hash is.
#[expect(clippy::expect_used, reason = "under another key are other bytes, or none")]
#[must_use]
pub fn blob_key(hash: &str) -> Key<'static> {
    Key::new(format!("{BLOBS}{hash}")).expect("a hash has at most 62 characters")
}

/// Returns the key of a manifest.
///
/// # Errors
/// [`KeyError`] if the id of the release is too long for a key of Workers KV.
pub fn manifest_key(id: &str) -> Result<Key<'static>, KeyError> {
    Key::new(format!("{MANIFESTS}{id}"))
}
