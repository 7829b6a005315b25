//! The results of lookups that an isolate has made, each used for 30 seconds.

use kv_store::lru::Lru;

/// Results by key. What a lookup returns may be older than a change that was made meanwhile, so
/// such a result is not stored.
///
/// # Examples
///
/// ```
/// use kv_api::lookup_cache::LookupCache;
///
/// let mut cache = LookupCache::new(1024);
/// let lookup = cache.begin("key", 0);
/// cache.remove("key"); // The key was changed.
/// cache.finish(&lookup, "key", "old value", 9);
/// assert_eq!(cache.get("key", 0), None);
/// ```
#[derive(Debug)]
pub struct LookupCache<T> {
    entries: Lru<LookupEntry<T>>,
    lookups: u64,
}

/// A lookup that has begun.
#[derive(Debug)]
pub struct PendingLookup {
    key: String,
    id: u64,
    began_ms: u64,
}

#[derive(Debug)]
enum LookupEntry<T> {
    /// Lookups with this id are under way.
    Pending(u64),
    Found {
        value: T,
        began_ms: u64,
    },
}

impl<T> LookupCache<T> {
    /// How long a result is used, in milliseconds. The result itself may be older, since Workers
    /// KV caches, too.
    const FRESH_MS: u64 = 30_000;

    /// Returns an empty cache of at most `bytes_max` bytes.
    #[must_use]
    pub const fn new(bytes_max: usize) -> Self {
        Self { entries: Lru::new(bytes_max), lookups: 0 }
    }

    /// Returns the limit in bytes.
    #[must_use]
    pub const fn bytes_max(&self) -> usize {
        self.entries.bytes_max()
    }

    /// Returns the result for a key if it is fresh.
    pub fn get(&mut self, key: &str, now_ms: u64) -> Option<&T> {
        self.entries.touch(key);
        match self.entries.get(key) {
            Some(LookupEntry::Found { value, began_ms }) if now_ms.abs_diff(*began_ms) <= Self::FRESH_MS => Some(value),
            _ => None,
        }
    }

    /// Notes that a key is looked up. `now_ms` is in milliseconds since the Unix epoch.
    pub fn begin(&mut self, key: &str, now_ms: u64) -> PendingLookup {
        let pending = match self.entries.get(key) {
            Some(LookupEntry::Pending(id)) => Some(*id),
            _ => None,
        };
        let id = pending.unwrap_or_else(|| {
            self.lookups += 1;
            self.entries.insert(key, LookupEntry::Pending(self.lookups), 0);
            self.lookups
        });
        PendingLookup { key: key.to_owned(), id, began_ms: now_ms }
    }

    /// Stores a result of `bytes` bytes under `key`, which may be another key than the one that
    /// was looked up. A result is not stored if the key that was looked up was removed meanwhile,
    /// or if another lookup was faster.
    pub fn finish(&mut self, lookup: &PendingLookup, key: &str, value: T, bytes: usize) {
        if matches!(self.entries.get(&lookup.key), Some(LookupEntry::Pending(id)) if *id == lookup.id) {
            self.entries.remove(&lookup.key);
            self.entries.insert(key, LookupEntry::Found { value, began_ms: lookup.began_ms }, bytes);
        }
    }

    /// Removes the result for a key, because the key was changed.
    pub fn remove(&mut self, key: &str) {
        self.entries.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "k";
    const NOW_MS: u64 = 100_000;

    fn cache() -> LookupCache<u8> {
        LookupCache::new(1024)
    }

    #[test]
    fn a_result_is_used_for_at_most_30_seconds_even_if_the_clock_is_set_back() {
        let mut cache = cache();
        let lookup = cache.begin(KEY, NOW_MS);
        assert_eq!(cache.get(KEY, NOW_MS), None, "a lookup is not its result");
        cache.finish(&lookup, KEY, 1, 0);
        for (now_ms, value) in
            [(100_000, Some(&1)), (130_000, Some(&1)), (130_001, None), (70_000, Some(&1)), (69_999, None)]
        {
            assert_eq!(cache.get(KEY, now_ms), value, "{now_ms}");
        }
    }

    #[test]
    fn the_result_of_a_lookup_that_began_before_a_change_is_not_stored_even_if_another_began_after_it() {
        for is_old_last in [false, true] {
            let mut cache = cache();
            let old = cache.begin(KEY, NOW_MS);
            cache.remove(KEY);
            let new = cache.begin(KEY, NOW_MS);
            let mut results = [(&old, 1), (&new, 2)];
            if is_old_last {
                results.reverse();
            }
            for (lookup, value) in results {
                cache.finish(lookup, KEY, value, 0);
            }
            assert_eq!(cache.get(KEY, NOW_MS), Some(&2), "{is_old_last}");
            cache.remove(KEY);
            cache.finish(&new, KEY, 2, 0);
            assert_eq!(cache.get(KEY, NOW_MS), None);
        }
    }

    #[test]
    fn of_lookups_at_the_same_time_the_fastest_is_stored() {
        let mut cache = cache();
        let lookups = [(); 2].map(|()| cache.begin(KEY, NOW_MS));
        cache.finish(&lookups[1], KEY, 2, 0);
        cache.finish(&lookups[0], KEY, 1, 0);
        assert_eq!(cache.get(KEY, NOW_MS), Some(&2));
    }

    #[test]
    fn a_result_may_be_stored_under_another_key_than_the_one_looked_up() {
        let mut cache = cache();
        let by_title = [(); 2].map(|()| cache.begin("title", NOW_MS));
        cache.finish(&by_title[0], "id", 1, 0);
        assert_eq!(cache.get("title", NOW_MS), None);
        assert_eq!(cache.get("id", NOW_MS), Some(&1));
        cache.remove("id");
        cache.finish(&by_title[1], "id", 1, 0);
        assert_eq!(cache.get("id", NOW_MS), None, "it began before the change");
    }
}
