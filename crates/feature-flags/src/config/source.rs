//! Where a user's configuration comes from, and what is told of it.

use kv_store::memory::Standing;

/// Where a user's configuration comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// From his own record.
    Record,
    /// From the snapshot; he has no record of his own that can be read.
    Snapshot,
    /// From the last record that was good: KV holds a broken one now.
    LastGood,
    /// From memory: KV does not answer.
    Stale,
    /// From nowhere: KV knows nothing of him.
    Nobody,
    /// From nowhere: what KV knows of him cannot be read.
    Default,
}

impl Source {
    /// The source of a record that is remembered.
    #[must_use]
    pub fn of_record(standing: Standing) -> Self {
        match standing {
            Standing::Current => Self::Record,
            Standing::LastGood => Self::LastGood,
            Standing::Stale => Self::Stale,
        }
    }

    /// The source of what a snapshot says.
    #[must_use]
    pub fn of_snapshot(standing: Standing) -> Self {
        match standing {
            Standing::Current => Self::Snapshot,
            standing => Self::of_record(standing),
        }
    }

    /// The source where the user was known to have no record.
    #[must_use]
    pub fn of_no_record(standing: Standing) -> Self {
        match standing {
            Standing::Current => Self::Nobody,
            // There is one now, and none that was good is known.
            Standing::LastGood => Self::Default,
            Standing::Stale => Self::Stale,
        }
    }

    /// In a word, for machines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Snapshot => "snapshot",
            Self::LastGood => "last-good",
            Self::Stale => "stale",
            Self::Nobody => "none",
            Self::Default => "default",
        }
    }

    /// The value of `Config-Source`. The field is for what is not as usual.
    #[must_use]
    pub fn field(self) -> Option<&'static str> {
        (!matches!(self, Self::Record | Self::Nobody)).then(|| self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_source_tells_what_is_not_as_usual() {
        for (source, field) in [
            (Source::of_record(Standing::Current), None),
            (Source::of_record(Standing::LastGood), Some("last-good")),
            (Source::of_record(Standing::Stale), Some("stale")),
            (Source::of_no_record(Standing::Current), None),
            (Source::of_no_record(Standing::LastGood), Some("default")),
            (Source::of_no_record(Standing::Stale), Some("stale")),
            (Source::of_snapshot(Standing::Current), Some("snapshot")),
            (Source::of_snapshot(Standing::LastGood), Some("last-good")),
            (Source::of_snapshot(Standing::Stale), Some("stale")),
            (Source::Default, Some("default")),
        ] {
            assert_eq!(source.field(), field, "{source:?}");
        }
    }
}
