//! Small bodies that an isolate remembers. They stand under the hash of their bytes, so none of them is ever stale.

use kv_store::recent::Recent;

/// The longest body that is remembered, in bytes.
pub const BLOB_BYTES_MAX: u64 = 128 * 1024;
/// The most bytes that are remembered.
const BYTES_MAX: u64 = 8 * 1024 * 1024;
/// The most bodies that are remembered: a small one costs more than its bytes.
const BLOBS_MAX: usize = 2048;

/// Bodies by their hash; what was not asked for for the longest time goes first. `B` is a handle, which a clone shares.
#[derive(Debug, Default)]
pub struct Blobs<B> {
    recent: Recent<(u64, B)>,
    bytes: u64,
}

impl<B: Clone> Blobs<B> {
    /// Remembers nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { recent: Recent::new(), bytes: 0 }
    }

    /// The body with a hash.
    pub fn get(&mut self, hash: &str) -> Option<B> {
        self.recent.touch(hash);
        self.recent.get(hash).map(|(_, body)| body.clone())
    }

    /// Remembers a body of so many bytes, unless it is longer than [`BLOB_BYTES_MAX`].
    pub fn insert(&mut self, hash: &str, length: u64, body: B) {
        if length > BLOB_BYTES_MAX {
            return;
        }
        if let Some((replaced, _)) = self.recent.remove(hash) {
            self.bytes = self.bytes.saturating_sub(replaced);
        }
        self.recent.insert(hash, (length, body));
        self.bytes = self.bytes.saturating_add(length);
        while self.bytes > BYTES_MAX || self.recent.len() > BLOBS_MAX {
            let Some((_, (oldest, _))) = self.recent.oldest() else { break };
            self.bytes = self.bytes.saturating_sub(*oldest);
            self.recent.remove_oldest();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_found_by_its_hash_and_the_longest_unused_goes_first() {
        let mut blobs = Blobs::new();
        let most = BYTES_MAX / BLOB_BYTES_MAX;
        for hash in 0..most {
            blobs.insert(&hash.to_string(), BLOB_BYTES_MAX, hash);
        }
        assert_eq!(blobs.get("0"), Some(0));
        blobs.insert("one more", 1, 99);
        assert_eq!(
            (blobs.get("0"), blobs.get("1"), blobs.get("2"), blobs.get("one more")),
            (Some(0), None, Some(2), Some(99))
        );
        blobs.insert("one more", 2, 98);
        assert_eq!(blobs.get("one more"), Some(98));
        assert_eq!(blobs.bytes, (most - 1) * BLOB_BYTES_MAX + 2);
    }

    #[test]
    fn a_long_body_is_not_remembered_and_neither_are_too_many() {
        let mut blobs = Blobs::new();
        blobs.insert("long", BLOB_BYTES_MAX + 1, 0);
        assert_eq!(blobs.get("long"), None);
        for hash in 0..=BLOBS_MAX {
            blobs.insert(&hash.to_string(), 0, hash);
        }
        assert_eq!(blobs.recent.len(), BLOBS_MAX);
        assert_eq!(blobs.get("0"), None);
    }
}
