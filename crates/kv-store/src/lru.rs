//! An LRU cache that counts bytes. The least recently used value is evicted first.

use std::collections::BTreeMap;
use std::rc::Rc;

/// What an entry costs in bytes beside its key and value: nodes of two trees, a slot, and a
/// counted pointer to the key.
pub const ENTRY_BYTES: usize = 128;

/// The values by key, and the order of their last uses.
#[derive(Debug, Clone)]
pub struct Lru<V> {
    slots: Vec<Option<Slot<V>>>,
    keys: KeyIndex,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Debug, Clone)]
struct Slot<V> {
    value: V,
    bytes: usize,
}

/// The slot of each key, and when it was used. It is not generic over the type of values, so
/// its code is compiled once.
#[derive(Debug, Clone)]
struct KeyIndex {
    by_key: BTreeMap<Rc<str>, SlotUse>,
    by_use: BTreeMap<u64, Rc<str>>,
    uses: u64,
    free_slots: Vec<usize>,
}

#[derive(Debug, Clone, Copy)]
struct SlotUse {
    slot: usize,
    used: u64,
}

#[expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "keys, uses and slots change together: if they differed, values would be lost, or never be evicted"
)]
impl<V> Lru<V> {
    /// Returns an empty cache of at most `bytes_max` bytes. With 0 it never has a value.
    ///
    /// # Examples
    ///
    /// ```
    /// use kv_store::lru::{ENTRY_BYTES, Lru};
    ///
    /// let mut cache = Lru::new(2 * (ENTRY_BYTES + 100));
    /// cache.insert("a", 1, 90);
    /// cache.insert("b", 2, 90);
    /// cache.touch("a");
    /// cache.insert("c", 3, 90);
    /// assert_eq!((cache.get("a"), cache.get("b"), cache.get("c")), (Some(&1), None, Some(&3)));
    /// ```
    #[must_use]
    pub const fn new(bytes_max: usize) -> Self {
        Self { slots: Vec::new(), keys: KeyIndex::new(), bytes: 0, bytes_max }
    }

    /// Returns the number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.by_key.len()
    }

    /// Returns true if the cache is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.by_key.is_empty()
    }

    /// Returns the size of all keys and values in bytes, with [`ENTRY_BYTES`] for each.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the limit of [`bytes`](Self::bytes).
    #[must_use]
    pub const fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Returns the value of a key. This does not count as a use.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&V> {
        let place = self.keys.by_key.get(key)?;
        let slot = self.slots.get(place.slot).and_then(Option::as_ref);
        Some(&slot.expect("each key has a value").value)
    }

    /// Returns the value of a key for a change. This does not count as a use.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut V> {
        let place = self.keys.by_key.get(key)?;
        let slot = self.slots.get_mut(place.slot).and_then(Option::as_mut);
        Some(&mut slot.expect("each key has a value").value)
    }

    /// Returns all values, in no order.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.slots.iter().flatten().map(|slot| &slot.value)
    }

    /// Inserts a value of `bytes` bytes as the most recently used one, in place of the key's
    /// previous one. The least recently used ones are evicted to make room. A value that exceeds
    /// the limit by itself is dropped, with the key's previous one.
    pub fn insert(&mut self, key: &str, value: V, bytes: usize) {
        self.remove(key);
        // A sum that overflows exceeds every limit.
        let bytes = bytes.checked_add(key.len() + ENTRY_BYTES).filter(|bytes| *bytes <= self.bytes_max);
        let Some(bytes) = bytes else { return };
        while self.bytes > self.bytes_max - bytes {
            self.remove_oldest().expect("the bytes are those of values");
        }
        self.bytes += bytes;
        let slot = Some(Slot { value, bytes });
        let at = self.keys.insert(key, self.slots.len());
        match self.slots.get_mut(at) {
            Some(free) => *free = slot,
            None => self.slots.push(slot),
        }
    }

    /// Marks a key as the most recently used one.
    pub fn touch(&mut self, key: &str) {
        self.keys.touch(key);
    }

    /// Removes and returns the value of a key.
    pub fn remove(&mut self, key: &str) -> Option<V> {
        let at = self.keys.remove(key)?;
        let slot = self.slots.get_mut(at).and_then(Option::take).expect("each key has a value");
        self.bytes -= slot.bytes;
        Some(slot.value)
    }

    /// Returns the least recently used key and its value.
    #[must_use]
    pub fn oldest(&self) -> Option<(&Rc<str>, &V)> {
        let (_, key) = self.keys.by_use.first_key_value()?;
        Some((key, self.get(key).expect("each use is that of a key")))
    }

    /// Removes and returns the least recently used value.
    pub fn remove_oldest(&mut self) -> Option<V> {
        let key = Rc::clone(self.keys.by_use.first_key_value()?.1);
        Some(self.remove(&key).expect("each use is that of a key"))
    }
}

#[expect(clippy::expect_used, reason = "the two trees change together")]
impl KeyIndex {
    const fn new() -> Self {
        Self { by_key: BTreeMap::new(), by_use: BTreeMap::new(), uses: 0, free_slots: Vec::new() }
    }

    /// Adds a key as the most recently used one, and returns its slot: a free one, or `next`.
    fn insert(&mut self, key: &str, next: usize) -> usize {
        self.uses += 1;
        let key: Rc<str> = key.into();
        let slot = self.free_slots.pop().unwrap_or(next);
        self.by_use.insert(self.uses, Rc::clone(&key));
        self.by_key.insert(key, SlotUse { slot, used: self.uses });
        slot
    }

    fn touch(&mut self, key: &str) {
        let Some(place) = self.by_key.get_mut(key) else { return };
        let key = self.by_use.remove(&place.used).expect("each key has a use");
        self.uses += 1;
        place.used = self.uses;
        self.by_use.insert(self.uses, key);
    }

    /// Removes a key and returns its slot, which is free then.
    fn remove(&mut self, key: &str) -> Option<usize> {
        let SlotUse { slot, used } = self.by_key.remove(key)?;
        self.by_use.remove(&used).expect("each key has a use");
        self.free_slots.push(slot);
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_least_recently_used_values_are_evicted(steps in prop::collection::vec((0..4_u8, 0..9_u8, 0..40_usize), 0..80)) {
            const MAX: usize = 3 * (ENTRY_BYTES + 1) + 30;
            let mut lru: Lru<(u8, usize)> = Lru::new(MAX);
            // The most recently used one is at the end.
            let mut naive: Vec<(u8, usize)> = Vec::new();
            for (what, key, bytes) in steps {
                let name = format!("{key}");
                let known = naive.iter().position(|(known, _)| *known == key);
                match what {
                    0 => {
                        prop_assert_eq!(lru.remove(&name), known.map(|at| naive.remove(at)));
                    }
                    1 => {
                        lru.touch(&name);
                        if let Some(at) = known {
                            let value = naive.remove(at);
                            naive.push(value);
                        }
                    }
                    2 => {
                        let oldest = (!naive.is_empty()).then(|| naive.remove(0));
                        prop_assert_eq!(lru.remove_oldest(), oldest);
                    }
                    _ => {
                        lru.insert(&name, (key, bytes), bytes);
                        naive.retain(|(known, _)| *known != key);
                        naive.push((key, bytes));
                        let size = |all: &[(u8, usize)]| all.iter().map(|(_, bytes)| bytes + 1 + ENTRY_BYTES).sum::<usize>();
                        while size(&naive) > MAX {
                            naive.remove(0);
                        }
                    }
                }
                let order: Vec<_> = lru.keys.by_use.values().map(|key| *lru.get(key).unwrap()).collect();
                prop_assert_eq!(&order, &naive);
                prop_assert_eq!(lru.oldest().map(|(_, value)| *value), naive.first().copied());
                prop_assert_eq!(lru.bytes(), naive.iter().map(|(_, bytes)| bytes + 1 + ENTRY_BYTES).sum::<usize>());
                prop_assert_eq!((lru.len(), lru.is_empty(), lru.values().count()), (naive.len(), naive.is_empty(), naive.len()));
                prop_assert!(lru.slots.len() <= 4, "a free slot is used again");
            }
        }
    }

    #[test]
    fn a_value_over_the_limit_is_dropped_and_evicts_nothing() {
        let mut lru = Lru::new(2 * ENTRY_BYTES);
        lru.insert("a", 1, 10);
        lru.insert("b", 2, 2 * ENTRY_BYTES);
        lru.insert("c", 3, usize::MAX);
        assert_eq!((lru.get("a"), lru.get("b"), lru.get("c")), (Some(&1), None, None));
        lru.insert("a", 4, 2 * ENTRY_BYTES);
        assert_eq!(lru.get("a"), None, "the previous value is gone, too");
    }

    #[test]
    #[should_panic(expected = "the bytes are those of values")]
    fn bytes_without_values_panic_instead_of_evicting_endlessly() {
        let mut lru = Lru::new(ENTRY_BYTES);
        lru.bytes = 1;
        lru.insert("", 1, 0);
    }

    #[test]
    #[should_panic(expected = "each key has a use")]
    fn a_key_without_a_use_panics() {
        let mut lru = Lru::new(ENTRY_BYTES + 1);
        lru.insert("a", 1, 0);
        lru.keys.by_use.clear();
        lru.touch("a");
    }

    #[test]
    fn a_bound_of_0_holds_nothing() {
        let mut lru = Lru::new(0);
        lru.insert("", 1, 0);
        assert!(lru.is_empty());
    }
}
