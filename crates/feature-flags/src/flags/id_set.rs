//! A read-only set of strings, such as the user ids of a rule.

/// Strings in a sorted slice: a look-up is a binary search.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct IdSet(Box<[Box<str>]>);

impl IdSet {
    /// Returns true if the set has exactly this string.
    pub(super) fn contains(&self, id: &str) -> bool {
        self.0.binary_search_by(|known| (**known).cmp(id)).is_ok()
    }

    /// Returns true if the set is empty.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true if the set has all strings of the other one.
    pub(super) fn is_superset(&self, other: &Self) -> bool {
        other.0.iter().all(|id| self.contains(id))
    }
}

impl FromIterator<Box<str>> for IdSet {
    fn from_iter<I: IntoIterator<Item = Box<str>>>(ids: I) -> Self {
        let mut ids: Vec<Box<str>> = ids.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        Self(ids.into())
    }
}
