//! Where a user's configuration comes from, and how responses say so in `Config-Source`.

use kv_store::record_cache::RecordState;

/// Where a user's configuration comes from.
///
/// # Examples
///
/// ```
/// use feature_flags::config::config_source::ConfigSource;
/// use kv_store::record_cache::RecordState;
///
/// // KV fails, and memory still has the user's record.
/// assert_eq!(ConfigSource::of_record(RecordState::Stale).field(), Some("stale"));
/// // KV has a broken record, and memory none: nothing is known of the user.
/// assert_eq!(ConfigSource::of_no_record(RecordState::LastKnownGood), ConfigSource::Default);
/// // The usual case is not worth a header field.
/// assert_eq!(ConfigSource::of_record(RecordState::Current).field(), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigSource {
    /// The user's own record.
    Record,
    /// The snapshot: no valid record of the user's own can be read.
    Snapshot,
    /// The last valid record in memory, of the user or in the snapshot, because KV now holds an
    /// invalid one.
    LastKnownGood,
    /// What memory has, a stale record or that there was none, because reading KV fails.
    Stale,
    /// Nothing: KV has no record of the user.
    NoRecord,
    /// Defaults: KV has, or may have, a record of the user that cannot be read.
    Default,
}

impl ConfigSource {
    /// Returns the source of a configuration that is a user's own record.
    #[must_use]
    pub fn of_record(record_state: RecordState) -> Self {
        match record_state {
            RecordState::Current => Self::Record,
            RecordState::LastKnownGood => Self::LastKnownGood,
            RecordState::Stale => Self::Stale,
        }
    }

    /// Returns the source of a configuration that is in the snapshot.
    #[must_use]
    pub fn of_snapshot(record_state: RecordState) -> Self {
        match record_state {
            RecordState::Current => Self::Snapshot,
            record_state => Self::of_record(record_state),
        }
    }

    /// Returns the source for a user without a record.
    #[must_use]
    pub fn of_no_record(record_state: RecordState) -> Self {
        match record_state {
            RecordState::Current => Self::NoRecord,
            // There is a record now, but it is invalid, and no valid one is in memory.
            RecordState::LastKnownGood => Self::Default,
            RecordState::Stale => Self::Stale,
        }
    }

    /// Returns the name of the source in JSON: the member `source` of `POST /config`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Snapshot => "snapshot",
            Self::LastKnownGood => "last-good",
            Self::Stale => "stale",
            Self::NoRecord => "none",
            Self::Default => "default",
        }
    }

    /// Returns the value of `Config-Source`, or `None` in the usual cases: the user's own
    /// record, or none in KV.
    #[must_use]
    pub fn field(self) -> Option<&'static str> {
        (!matches!(self, Self::Record | Self::NoRecord)).then(|| self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_source_tells_what_is_not_as_usual() {
        for (source, field) in [
            (ConfigSource::of_record(RecordState::Current), None),
            (ConfigSource::of_record(RecordState::LastKnownGood), Some("last-good")),
            (ConfigSource::of_record(RecordState::Stale), Some("stale")),
            (ConfigSource::of_no_record(RecordState::Current), None),
            (ConfigSource::of_no_record(RecordState::LastKnownGood), Some("default")),
            (ConfigSource::of_no_record(RecordState::Stale), Some("stale")),
            (ConfigSource::of_snapshot(RecordState::Current), Some("snapshot")),
            (ConfigSource::of_snapshot(RecordState::LastKnownGood), Some("last-good")),
            (ConfigSource::of_snapshot(RecordState::Stale), Some("stale")),
            (ConfigSource::Default, Some("default")),
        ] {
            assert_eq!(source.field(), field, "{source:?}");
        }
    }
}
