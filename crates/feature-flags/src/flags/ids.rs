//! A set of texts that is read only: the ids of users, for one.

/// Texts in a sorted slice: with ten thousand of them, fourteen comparisons say whether one is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ids(Box<[Box<str>]>);

impl Ids {
    /// True where this text is one of them, as it is.
    pub(super) fn contains(&self, id: &str) -> bool {
        self.0.binary_search_by(|known| (**known).cmp(id)).is_ok()
    }

    /// True where there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True where all of the others are here, too.
    pub(super) fn has_all(&self, others: &Self) -> bool {
        others.0.iter().all(|id| self.contains(id))
    }
}

impl FromIterator<Box<str>> for Ids {
    fn from_iter<I: IntoIterator<Item = Box<str>>>(ids: I) -> Self {
        let mut ids: Vec<Box<str>> = ids.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        Self(ids.into())
    }
}
