//! The writer of one key, as a state machine. It decides when the latest value is put into Workers
//! KV: at most once a second, and again until KV has it.
//!
//! The Durable Object `KEY_WRITER` adds the durable storage, the alarm and the puts.

pub mod message;
#[cfg(test)]
mod schedules;
mod write_result;

use serde::{Deserialize, Serialize};

pub use write_result::{NotWritten, WriteResult, WriterUnavailable};

use crate::retry::{Backoff, Budget, FailureClass};
use http_semantics::conditional::{PreconditionFailed, Preconditions};

/// The shortest time between two puts of a key, in milliseconds. Workers KV allows one write a
/// second to a key ("Limits to KV writes to the same key").
pub const WRITE_INTERVAL_MS: u64 = 1000;

/// How long KV usually may still show the previous value after a put, in milliseconds ("How KV
/// works": changes may take up to 60 seconds or more to be visible).
pub const VISIBLE_WITHIN_MS: u64 = 60_000;

/// How long after a refusal a value is put again, in milliseconds. No wait is longer. The value
/// was acknowledged, and KV may have refused it only because a quota is used up.
const REFUSED_RETRY_MS: u64 = 300_000;

/// The waits after failed puts. An object never gives up.
const FLUSH: Backoff = Backoff { cap_ms: 30_000, tries_max: u32::MAX, deadline_ms: u64::MAX, ..Backoff::PUT };

/// What the object knows about its key. It stores this, and the value until KV has it.
///
/// A later version of the Worker may add fields. A missing field has its default.
///
/// # Examples
///
/// ```
/// use http_semantics::conditional::Preconditions;
/// use kv_store::key_writer::{Due, KeyState, Newest};
///
/// let mut state = KeyState::new("users/ann");
/// let always = Preconditions::default();
/// state.accept("hash of a".to_owned(), &always)?;
/// assert_eq!(state.due(0), Due::Put(1));
/// state.put_succeeded(1, 5);
///
/// // Two writes less than a second later become one put of the last.
/// state.accept("hash of b".to_owned(), &always)?;
/// let version = state.accept("hash of c".to_owned(), &always)?;
/// assert_eq!((state.due(10), state.due(1005)), (Due::Later(1005), Due::Put(version)));
/// // Until then, a reader gets the newest value from the object.
/// assert_eq!(state.newest(None, 10), Newest::InStorage(version));
/// # Ok::<(), http_semantics::conditional::PreconditionFailed>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KeyState {
    /// The key in the namespace `WRITES`.
    key: String,
    /// The number of the last accepted write. The first one is 1.
    version: u64,
    /// The SHA-256 of its value, in hexadecimal.
    sha256: String,
    /// The last version that KV accepted.
    flushed: u64,
    /// When KV accepted it, in milliseconds since the Unix epoch.
    flushed_ms: u64,
    /// The earliest time of the next put, in milliseconds since the Unix epoch.
    not_before_ms: u64,
    /// How many puts have failed since the last one that succeeded.
    failures: u32,
    /// When KV refused the last accepted value, or when the object woke up after that, in
    /// milliseconds since the Unix epoch.
    refused_ms: Option<u64>,
}

/// What an alarm has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing: KV has the last version. No further alarm is needed.
    Nothing,
    /// Nothing yet: the alarm must be set again for this time, in milliseconds since the Unix
    /// epoch.
    Later(u64),
    /// Put this version now.
    Put(u64),
}

/// The metadata that an object puts beside a value, which tells readers the version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The version of the value.
    pub version: u64,
    /// The SHA-256 of the value, in hexadecimal.
    pub sha256: String,
}

/// Where the newest value of a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Newest {
    /// In the object's storage, as this version.
    InStorage(u64),
    /// In KV, as this version.
    InKv(u64),
    /// Nowhere that can be read: KV does not show the value yet that the object has put.
    NotVisibleYet,
    /// In KV, as far as the object knows: it never wrote the key, or another writer wrote or
    /// deleted it directly.
    Unknown,
}

impl KeyState {
    /// Returns the state of a key that its object has not written yet.
    #[must_use]
    pub fn new(key: &str) -> Self {
        Self { key: key.to_owned(), ..Self::default() }
    }

    /// Returns the key in the namespace `WRITES`.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Accepts a value and returns its version. The last call wins.
    ///
    /// # Errors
    /// [`PreconditionFailed`] if the key is not at the version that the request demands. Nothing
    /// changes.
    pub fn accept(&mut self, sha256: String, preconditions: &Preconditions) -> Result<u64, PreconditionFailed> {
        preconditions.check(self.accepted())?;
        self.version += 1;
        self.sha256 = sha256;
        // The reason for refusing the previous value may not apply to this one.
        if let Some(refused_ms) = self.refused_ms.take() {
            self.not_before_ms = refused_ms + WRITE_INTERVAL_MS;
        }
        Ok(self.version)
    }

    /// Returns the last accepted version; `None` before the first.
    #[must_use]
    pub fn accepted(&self) -> Option<u64> {
        (self.version > 0).then_some(self.version)
    }

    /// Returns true if KV has this version or a later one.
    #[must_use]
    pub fn has_flushed(&self, version: u64) -> bool {
        self.flushed >= version
    }

    /// Returns what to do at this time, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn due(&self, now_ms: u64) -> Due {
        if self.has_flushed(self.version) {
            Due::Nothing
        } else {
            self.wait_end_ms(now_ms).map_or(Due::Put(self.version), Due::Later)
        }
    }

    /// Returns the earliest time of the next put if it is still to come. A time that is further
    /// ahead than the longest wait is from before the clock was set back, and does not count.
    fn wait_end_ms(&self, now_ms: u64) -> Option<u64> {
        let ahead_ms = self.not_before_ms.checked_sub(now_ms)?;
        (1..=REFUSED_RETRY_MS).contains(&ahead_ms).then_some(self.not_before_ms)
    }

    /// Returns the metadata for the last accepted value.
    #[must_use]
    pub fn metadata(&self) -> Metadata {
        Metadata { version: self.version, sha256: self.sha256.clone() }
    }

    /// Records that KV accepted a version. The interval starts at the end of the put, so that
    /// two puts never arrive within a second.
    pub fn put_succeeded(&mut self, version: u64, now_ms: u64) {
        self.flushed = self.flushed.max(version);
        self.flushed_ms = now_ms;
        self.failures = 0;
        self.refused_ms = None;
        self.not_before_ms = now_ms + WRITE_INTERVAL_MS;
    }

    /// Records that KV did not accept a version. The next put follows after the backoff, or
    /// after its longest wait if the isolate's budget is used up. A value that KV refuses is put
    /// again after five minutes; a newer one does not wait for that.
    pub fn put_failed(&mut self, version: u64, class: FailureClass, now_ms: u64, random: f64, budget: &mut Budget) {
        self.failures += 1;
        let wait_ms = match FLUSH.next_wait_ms(class, self.failures, u64::MAX, random) {
            Ok(wait_ms) if budget.spend(class, now_ms) => wait_ms.max(WRITE_INTERVAL_MS),
            Ok(_) => FLUSH.cap_ms.into(),
            Err(_) if version == self.version => {
                self.refused_ms = Some(now_ms);
                REFUSED_RETRY_MS
            }
            Err(_) => WRITE_INTERVAL_MS,
        };
        self.not_before_ms = now_ms + wait_ms;
    }

    /// Returns the version whose value is in the object's storage and not in KV yet.
    #[must_use]
    pub fn unflushed(&self) -> Option<u64> {
        (!self.has_flushed(self.version)).then_some(self.version)
    }

    /// Returns where the newest value is, given what KV shows.
    #[must_use]
    pub fn newest(&self, shown: Option<&Metadata>, now_ms: u64) -> Newest {
        if let Some(version) = self.unflushed() {
            return Newest::InStorage(version);
        }
        if self.version == 0 {
            return Newest::Unknown;
        }
        match shown {
            Some(shown) if shown.version == self.version && shown.sha256 == self.sha256 => Newest::InKv(self.version),
            // An older version of this object is not the newest, however long KV shows it.
            Some(shown) if shown.version < self.version => Newest::NotVisibleYet,
            // The distance counts: a clock that was set back extends the minute to two at most.
            _ if now_ms.abs_diff(self.flushed_ms) < VISIBLE_WITHIN_MS => Newest::NotVisibleYet,
            _ => Newest::Unknown,
        }
    }

    /// Records that the object woke up. If it was evicted or crashed during a put, KV may have
    /// just accepted the value or may still do so, so the next put keeps its distance.
    pub fn wake_up(&mut self, now_ms: u64) {
        if self.unflushed().is_some() {
            self.not_before_ms = self.wait_end_ms(now_ms).unwrap_or(now_ms).max(now_ms + WRITE_INTERVAL_MS);
            // A new value need not wait five minutes, but must not follow that put too closely.
            self.refused_ms = self.refused_ms.map(|_| now_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUSY: FailureClass = FailureClass::RateLimited { retry_after_ms: None };
    const DOWN: FailureClass = FailureClass::Unavailable { retry_after_ms: None };

    fn accept(writer: &mut KeyState, value: &str) -> u64 {
        writer.accept(value.to_owned(), &Preconditions::default()).unwrap()
    }

    #[test]
    fn a_first_write_is_due_at_once_and_then_nothing_is() {
        let mut writer = KeyState::new("hot");
        assert_eq!((writer.due(0), writer.newest(None, 0)), (Due::Nothing, Newest::Unknown));
        assert_eq!(accept(&mut writer, "a"), 1);
        assert_eq!((writer.due(5), writer.newest(None, 5)), (Due::Put(1), Newest::InStorage(1)));
        writer.put_succeeded(1, 9);
        assert_eq!((writer.due(10), writer.unflushed()), (Due::Nothing, None));
    }

    #[test]
    fn writes_within_a_second_become_one_put_of_the_last() {
        let mut writer = KeyState::new("hot");
        accept(&mut writer, "a");
        writer.put_succeeded(1, 1000);
        for value in ["b", "c", "d"] {
            accept(&mut writer, value);
        }
        assert_eq!(writer.due(1001), Due::Later(2000));
        assert_eq!(writer.due(2000), Due::Put(4));
        assert_eq!(writer.metadata(), Metadata { version: 4, sha256: "d".to_owned() });
    }

    #[test]
    fn a_value_accepted_during_a_put_is_due_after_it() {
        let mut writer = KeyState::new("hot");
        accept(&mut writer, "a");
        accept(&mut writer, "b");
        writer.put_succeeded(1, 500);
        assert!(writer.has_flushed(1) && !writer.has_flushed(2));
        assert_eq!(writer.due(500), Due::Later(1500));
        assert_eq!(writer.due(1500), Due::Put(2));
    }

    #[test]
    fn a_failed_put_is_retried_until_kv_accepts_it() {
        let mut writer = KeyState::new("hot");
        let mut budget = Budget::new();
        accept(&mut writer, "a");
        for (class, random, wait_ms) in [
            (BUSY, 0.0, 1000),
            (BUSY, 1.0, 2000),
            (DOWN, 1.0, 4000),
            (DOWN, 1.0, 8000),
            (DOWN, 1.0, 16_000),
            (DOWN, 1.0, 30_000),
            (DOWN, 1.0, 30_000),
            (FailureClass::Permanent, 1.0, 300_000),
        ] {
            writer.put_failed(1, class, 50, random, &mut budget);
            assert_eq!(writer.due(51), Due::Later(50 + wait_ms));
        }
        writer.put_succeeded(1, 99);
        assert_eq!(writer.due(99), Due::Nothing);
    }

    #[test]
    fn a_refused_value_delays_the_next_one_by_no_more_than_a_second() {
        let mut writer = KeyState::new("hot");
        let mut budget = Budget::new();
        accept(&mut writer, "bad");
        writer.put_failed(1, FailureClass::Permanent, 50, 0.0, &mut budget);
        assert_eq!(writer.due(51), Due::Later(300_050));
        accept(&mut writer, "good");
        assert_eq!(writer.due(60), Due::Later(1050));
        // Accepted during the put that KV refused.
        accept(&mut writer, "better");
        writer.put_failed(2, FailureClass::Permanent, 2000, 0.0, &mut budget);
        assert_eq!(writer.due(2001), Due::Later(3000));
    }

    #[test]
    fn with_the_budget_used_up_a_key_waits_for_the_longest_backoff() {
        let mut writer = KeyState::new("hot");
        let mut budget = Budget::new();
        accept(&mut writer, "a");
        while budget.spend(DOWN, 0) {}
        writer.put_failed(1, DOWN, 0, 0.0, &mut budget);
        assert_eq!(writer.due(1), Due::Later(30_000));
    }

    #[test]
    fn compare_and_set_takes_the_last_version_only() {
        let mut writer = KeyState::new("hot");
        let at = |version: &str| Preconditions::parse(Some(version), None);
        assert_eq!(writer.accept("a".into(), &at("\"1\"")), Err(PreconditionFailed));
        assert_eq!(writer.accept("a".into(), &Preconditions::parse(None, Some("*"))), Ok(1));
        assert_eq!(writer.accept("b".into(), &at("\"1\"")), Ok(2));
        assert_eq!(writer.accept("c".into(), &at("\"1\"")), Err(PreconditionFailed));
        assert_eq!(writer.metadata().sha256, "b");
        writer.put_succeeded(2, 0);
        assert_eq!(writer.accept("c".into(), &at("\"2\"")), Ok(3));
    }

    #[test]
    fn the_version_that_kv_shows_tells_where_the_newest_value_is() {
        let mut writer = KeyState::new("hot");
        accept(&mut writer, "a");
        accept(&mut writer, "b");
        writer.put_succeeded(2, 1000);
        let shown = |version, sha256: &str| Metadata { version, sha256: sha256.into() };
        for (metadata, now_ms, expected) in [
            (Some(shown(2, "b")), 1001, Newest::InKv(2)),
            (Some(shown(2, "b")), 999_999, Newest::InKv(2)),
            (Some(shown(1, "a")), 60_999, Newest::NotVisibleYet),
            (Some(shown(1, "a")), 999_999, Newest::NotVisibleYet),
            (None, 60_999, Newest::NotVisibleYet),
            (None, 61_000, Newest::Unknown),
            (Some(shown(2, "x")), 61_000, Newest::Unknown),
        ] {
            assert_eq!(writer.newest(metadata.as_ref(), now_ms), expected, "{metadata:?} {now_ms}");
        }
    }

    #[test]
    fn a_clock_set_back_by_a_minute_ends_the_wait_for_a_value() {
        let mut writer = KeyState::new("hot");
        accept(&mut writer, "a");
        writer.put_succeeded(1, 1_000_000);
        assert_eq!(writer.newest(None, 940_001), Newest::NotVisibleYet);
        assert_eq!(writer.newest(None, 940_000), Newest::Unknown);
    }

    #[test]
    fn what_is_stored_can_be_read_again() {
        let mut writer = KeyState::new("ключ");
        accept(&mut writer, "a");
        writer.put_failed(1, BUSY, 1_763_700_000_000, 0.5, &mut Budget::new());
        let stored = serde_json::to_string(&writer).unwrap();
        assert_eq!(serde_json::from_str::<KeyState>(&stored).unwrap(), writer);
        let first_release =
            r#"{"key":"k","version":3,"sha256":"ab","flushed":2,"flushedMs":5,"notBeforeMs":6,"failures":1}"#;
        assert_eq!(serde_json::from_str::<KeyState>(first_release).unwrap().due(7), Due::Put(3));
    }

    #[test]
    fn an_object_that_wakes_up_keeps_its_distance_from_a_put_that_may_be_under_way() {
        let mut writer = KeyState::new("hot");
        accept(&mut writer, "a");
        writer.wake_up(500);
        assert_eq!(writer.due(500), Due::Later(1500));
        writer.put_succeeded(1, 1500);
        writer.wake_up(9000);
        assert_eq!(writer.due(9000), Due::Nothing);

        // The put five minutes after a refusal may be under way when a new value comes.
        accept(&mut writer, "refused");
        writer.put_failed(2, FailureClass::Permanent, 10_000, 0.0, &mut Budget::new());
        writer.wake_up(310_500);
        accept(&mut writer, "new");
        assert_eq!(writer.due(310_600), Due::Later(311_500));
    }

    #[test]
    fn a_clock_set_back_delays_a_put_by_no_more_than_the_longest_wait() {
        const START_MS: u64 = 90_000_000;
        for set_back_ms in [0, 500, 60_000, 299_000, 299_001, 3_600_000, START_MS] {
            for wakes_up in [false, true] {
                let mut writer = KeyState::new("hot");
                accept(&mut writer, "a");
                writer.put_succeeded(1, START_MS);
                accept(&mut writer, "b");
                let set_ms = START_MS - set_back_ms;
                let mut now_ms = set_ms;
                if wakes_up {
                    writer.wake_up(now_ms);
                    assert_ne!(writer.due(now_ms), Due::Put(2), "a put may be under way: {set_back_ms}");
                }
                let mut alarms = 0;
                while let Due::Later(at_ms) = writer.due(now_ms) {
                    assert!(alarms < 3, "{set_back_ms} {wakes_up}: due at {at_ms}");
                    (now_ms, alarms) = (at_ms, alarms + 1);
                }
                assert_eq!(writer.due(now_ms), Due::Put(2), "{set_back_ms} {wakes_up}");
                assert!(now_ms - set_ms <= REFUSED_RETRY_MS, "{set_back_ms} {wakes_up}: {now_ms}");
            }
        }
    }
}
