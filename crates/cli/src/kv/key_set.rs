//! A set of keys that takes about 32 bytes a key, whatever their length.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

/// A set of keys, of which only 128-bit hashes are in memory. A million keys take about 32 MB; the
/// probability that any two of them have the same hash is below 10⁻²⁶.
#[derive(Debug, Default)]
pub(super) struct KeySet {
    hashers: [RandomState; 2],
    hashes: HashSet<u128>,
}

impl KeySet {
    fn hash(&self, key: &str) -> u128 {
        let [high, low] = self.hashers.each_ref().map(|hasher| u128::from(hasher.hash_one(key)));
        high << 64 | low
    }

    /// Adds a key. Returns false if the set has it already.
    pub(super) fn insert(&mut self, key: &str) -> bool {
        self.hashes.insert(self.hash(key))
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        self.hashes.contains(&self.hash(key))
    }

    pub(super) fn len(&self) -> u64 {
        self.hashes.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_the_keys_that_were_added() {
        let mut keys = KeySet::default();
        assert!(keys.insert("a") && keys.insert("") && !keys.insert("a"));
        assert!(keys.contains("a") && keys.contains("") && !keys.contains("b"));
        assert_eq!(keys.len(), 2);
    }
}
