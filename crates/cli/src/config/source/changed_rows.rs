//! Collects which rows changed, from notifications.

use std::collections::BTreeSet;

/// The most keys for which only their rows are read. With more, everything is compared.
pub(in crate::config) const KEYS_MAX: usize = 1000;

#[derive(Clone, PartialEq, Eq)]
pub(in crate::config) enum ChangedRows {
    /// The rows with these keys; the set may be empty.
    Keys(BTreeSet<String>),
    /// Everything may have changed, or more than [`KEYS_MAX`] keys have.
    Everything,
}

/// Shows no keys: they may be personal data.
impl std::fmt::Debug for ChangedRows {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Keys(keys) => write!(formatter, "{} keys", keys.len()),
            Self::Everything => formatter.write_str("everything"),
        }
    }
}

impl ChangedRows {
    pub(in crate::config) fn nothing() -> Self {
        Self::Keys(BTreeSet::new())
    }

    pub(in crate::config) fn is_nothing(&self) -> bool {
        matches!(self, Self::Keys(keys) if keys.is_empty())
    }

    /// Adds the payload of a notification: a key, or an empty text, which means all rows.
    pub(in crate::config) fn add(&mut self, payload: &str) {
        if let Self::Keys(keys) = self {
            if !payload.is_empty() {
                keys.insert(payload.to_owned());
            }
            if payload.is_empty() || keys.len() > KEYS_MAX {
                *self = Self::Everything;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notifications_are_collected() {
        let keys = |keys: &[&str]| ChangedRows::Keys(keys.iter().map(|key| (*key).to_owned()).collect());
        for (payloads, expected) in [
            (&[][..], ChangedRows::nothing()),
            (&["b", "a", "b"], keys(&["a", "b"])),
            (&["a", ""], ChangedRows::Everything),
            (&["", "a"], ChangedRows::Everything),
        ] {
            let mut changed = ChangedRows::nothing();
            for payload in payloads {
                changed.add(payload);
            }
            assert_eq!(changed, expected, "{payloads:?}");
        }
    }

    #[test]
    fn too_many_keys_count_as_everything() {
        let mut changed = ChangedRows::nothing();
        (0..KEYS_MAX).chain(0..KEYS_MAX).for_each(|key| changed.add(&key.to_string()));
        assert!(matches!(&changed, ChangedRows::Keys(keys) if keys.len() == KEYS_MAX));
        changed.add("one more");
        assert_eq!(changed, ChangedRows::Everything);
    }
}
