//! What an isolate remembers for a short while.

/// A value that was read, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known<T> {
    /// The value.
    pub value: T,
    /// When it was read, in milliseconds since the Unix epoch.
    pub read_ms: u64,
}

impl<T> Known<T> {
    /// How long it is used, in milliseconds. What Workers KV returns may be older.
    const FRESH_MS: u64 = 30_000;

    /// Returns the value if it may still be used.
    #[must_use]
    pub fn fresh(&self, now_ms: u64) -> Option<&T> {
        (now_ms.abs_diff(self.read_ms) <= Self::FRESH_MS).then_some(&self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_used_for_30_seconds_also_if_the_clock_is_set_back() {
        let known = Known { value: "v", read_ms: 100_000 };
        for (now_ms, value) in
            [(100_000, Some(&"v")), (130_000, Some(&"v")), (130_001, None), (70_000, Some(&"v")), (69_999, None)]
        {
            assert_eq!(known.fresh(now_ms), value, "{now_ms}");
        }
    }
}
