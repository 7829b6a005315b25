//! The writer of one key: keeps the latest value durably, brings it to Workers KV at most once a second, and does not stop before
//! KV has it. The Durable Object `KEY_WRITER` is this, with storage and an alarm.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::conditional::{PreconditionFailed, Preconditions};
use crate::retry::{Backoff, Budget, FailureClass, Try};

/// Workers KV takes one write a second to a key ("Limits to KV writes to the same key"), in milliseconds.
pub const WRITE_INTERVAL_MS: u64 = 1000;

/// Where KV shows another value than the one that was put, it may still be the one before: for this long, in milliseconds
/// ("How KV works": changes may take up to 60 seconds to be seen).
pub const VISIBLE_WITHIN_MS: u64 = 60_000;

/// A value that KV refuses for good (for a quota, say) is put again this often, in milliseconds: it is promised.
const REFUSED_RETRY_MS: u64 = 300_000;

/// How the object goes on trying. It never gives up: only the waits count.
const FLUSH: Backoff = Backoff { cap_ms: 30_000, tries_max: u32::MAX, deadline_ms: u64::MAX, ..Backoff::PUT };

/// What the object knows of its key. This, and the value while KV does not have it, is all it stores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyWriter {
    /// The key in `WRITES`.
    key: String,
    /// The number of the last write that was accepted; the first is 1.
    version: u64,
    /// SHA-256 of its value, in hex.
    sha256: String,
    /// The last version that KV took.
    flushed: u64,
    /// When KV took it, in milliseconds since the Unix epoch.
    flushed_ms: u64,
    /// No put begins before this, in milliseconds since the Unix epoch.
    not_before_ms: u64,
    /// Puts that failed since one succeeded.
    failures: u32,
    /// When KV refused the last accepted value for good, in milliseconds since the Unix epoch.
    #[serde(default)]
    refused_ms: Option<u64>,
}

/// What the alarm finds to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// KV has the last version: no alarm.
    Nothing,
    /// Too early: the alarm again, at this time in milliseconds since the Unix epoch.
    Later(u64),
    /// Put this version now.
    Put(u64),
}

/// The SHA-256 of a value that comes in parts, in hex.
#[must_use]
pub fn sha256(parts: impl IntoIterator<Item = Vec<u8>>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    format!("{:x}", hash.finalize())
}

/// What the object answers to a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What became of it.
    pub outcome: Outcome,
    /// The puts made for its value, in milliseconds from its arrival.
    pub tries: Vec<Try>,
}

/// What became of a write at its object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Stored as this version; KV will have it or a later one.
    Stored(u64),
    /// KV has this version or a later one.
    InKv(u64),
    /// It is not in KV, or not even stored.
    NotWritten(NotWritten),
}

/// Why KV does not have a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotWritten {
    /// The key is not at the version that the request asks for. Nothing is stored.
    #[error("{}", current(*version))]
    PreconditionFailed {
        /// The version that the key is at; `None` where its object has not written it.
        version: Option<u64>,
    },
    /// KV has not taken the value by the deadline.
    #[error("Workers KV has not taken the value in time. It is stored as version {version} and will reach KV.")]
    TimedOut {
        /// The version of the value.
        version: u64,
    },
    /// KV refuses the value for reasons that waiting does not mend soon.
    #[error("Workers KV refuses the value for now. It is stored as version {version} and is tried again.")]
    Refused {
        /// The version of the value.
        version: u64,
        /// KV's message, for the log.
        cause: String,
    },
}

/// An answer as it travels from the object to the Worker: status, version (as `ETag`) and body.
pub type Wire = (u16, Option<u64>, String);

impl Answer {
    /// An answer without puts.
    #[must_use]
    pub fn of(outcome: Outcome) -> Self {
        Self { outcome, tries: Vec::new() }
    }

    /// As the object sends it.
    ///
    /// # Errors
    /// None that can happen: numbers can always be written as JSON.
    pub fn to_wire(&self) -> Result<Wire, serde_json::Error> {
        let (status, version, cause) = match &self.outcome {
            Outcome::InKv(version) => (200, Some(*version), None),
            Outcome::Stored(version) => (202, Some(*version), None),
            Outcome::NotWritten(NotWritten::PreconditionFailed { version }) => (412, *version, None),
            Outcome::NotWritten(NotWritten::Refused { version, cause }) => (503, Some(*version), Some(cause)),
            Outcome::NotWritten(NotWritten::TimedOut { version }) => (504, Some(*version), None),
        };
        let tries: Vec<_> = self.tries.iter().map(|tried| (tried.started_ms, tried.ended_ms, tried.taken)).collect();
        Ok((status, version, serde_json::to_string(&(tries, cause))?))
    }

    /// As the Worker reads it; `None` where it is no such answer.
    #[must_use]
    pub fn from_wire((status, version, body): &Wire) -> Option<Self> {
        let (tries, cause): (Vec<(u64, u64, bool)>, Option<String>) = serde_json::from_str(body).ok()?;
        let outcome = match (status, version) {
            (200, Some(version)) => Outcome::InKv(*version),
            (202, Some(version)) => Outcome::Stored(*version),
            (412, version) => Outcome::NotWritten(NotWritten::PreconditionFailed { version: *version }),
            (503, Some(version)) => {
                Outcome::NotWritten(NotWritten::Refused { version: *version, cause: cause.unwrap_or_default() })
            }
            (504, Some(version)) => Outcome::NotWritten(NotWritten::TimedOut { version: *version }),
            _ => return None,
        };
        let tries = tries.into_iter().map(|(started_ms, ended_ms, taken)| Try { started_ms, ended_ms, taken });
        Some(Self { outcome, tries: tries.collect() })
    }
}

fn current(version: Option<u64>) -> String {
    match version {
        Some(version) => format!("The key is at version {version}, not at the one that the request asks for."),
        None => "The key has no version yet: nothing was written to it with strategy=coalesce.".to_owned(),
    }
}

/// The metadata of a value in KV that an object wrote: how a reader knows which version it sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The version of the value.
    pub version: u64,
    /// SHA-256 of the value, in hex.
    pub sha256: String,
}

/// Where the newest value of a key is, as its object knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Newest {
    /// In the object's storage.
    Here(u64),
    /// In KV, if what KV shows is this version.
    InKv(u64),
    /// The object has never written the key: whatever KV shows.
    Unwritten,
}

/// What the object makes of a value that KV shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// The version that the object put last.
    Newest(u64),
    /// Perhaps the value before it; KV may take a minute to show the new one.
    PerhapsStale,
    /// Somebody wrote the key past its object.
    Foreign,
}

impl KeyWriter {
    /// A key that its object has not written yet.
    #[must_use]
    pub fn new(key: &str) -> Self {
        Self {
            key: key.to_owned(),
            version: 0,
            sha256: String::new(),
            flushed: 0,
            flushed_ms: 0,
            not_before_ms: 0,
            failures: 0,
            refused_ms: None,
        }
    }

    /// The key in `WRITES`.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Accepts a value: the last write wins, in the order of these calls. Gives its version.
    ///
    /// # Errors
    /// [`PreconditionFailed`]: nothing has changed.
    pub fn accept(&mut self, sha256: String, preconditions: &Preconditions) -> Result<u64, PreconditionFailed> {
        preconditions.check(self.written())?;
        self.version = self.version.saturating_add(1);
        self.sha256 = sha256;
        // What KV has against the value before need not hold for this one.
        if let Some(refused_ms) = self.refused_ms.take() {
            self.not_before_ms = refused_ms.saturating_add(WRITE_INTERVAL_MS);
        }
        Ok(self.version)
    }

    /// The last accepted version; `None` before the first.
    #[must_use]
    pub fn written(&self) -> Option<u64> {
        (self.version > 0).then_some(self.version)
    }

    /// True where KV has this version or a later one.
    #[must_use]
    pub fn has_flushed(&self, version: u64) -> bool {
        self.flushed >= version
    }

    /// What there is to do at this time, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn due(&self, now_ms: u64) -> Due {
        if self.has_flushed(self.version) {
            Due::Nothing
        } else if now_ms < self.not_before_ms {
            Due::Later(self.not_before_ms)
        } else {
            Due::Put(self.version)
        }
    }

    /// What KV is to hold beside the last accepted value.
    #[must_use]
    pub fn metadata(&self) -> Metadata {
        Metadata { version: self.version, sha256: self.sha256.clone() }
    }

    /// KV took a version. The interval counts from the end of the put, so that two never arrive within one second.
    pub fn took(&mut self, version: u64, now_ms: u64) {
        self.flushed = self.flushed.max(version);
        self.flushed_ms = now_ms;
        self.failures = 0;
        self.refused_ms = None;
        self.not_before_ms = now_ms.saturating_add(WRITE_INTERVAL_MS);
    }

    /// KV did not take a version. It stays promised: the next put follows after the backoff, and after the longest wait where
    /// the isolate's budget is used up.
    pub fn refused(&mut self, version: u64, class: FailureClass, now_ms: u64, random: f64, budget: &mut Budget) {
        self.failures = self.failures.saturating_add(1);
        let wait_ms = match FLUSH.next_wait_ms(class, self.failures, u64::MAX, random) {
            Ok(wait_ms) if budget.spend(class, now_ms) => wait_ms.max(WRITE_INTERVAL_MS),
            Ok(_) => FLUSH.cap_ms.into(),
            Err(_) if version == self.version => {
                self.refused_ms = Some(now_ms);
                REFUSED_RETRY_MS
            }
            Err(_) => WRITE_INTERVAL_MS,
        };
        self.not_before_ms = now_ms.saturating_add(wait_ms);
    }

    /// Where to read the newest value.
    #[must_use]
    pub fn newest(&self) -> Newest {
        match self.written() {
            None => Newest::Unwritten,
            Some(version) if self.has_flushed(version) => Newest::InKv(version),
            Some(version) => Newest::Here(version),
        }
    }

    /// Judges what KV shows for a key whose last version is flushed.
    #[must_use]
    pub fn judge(&self, shown: Option<&Metadata>, now_ms: u64) -> Seen {
        if shown.is_some_and(|shown| shown.version == self.version && shown.sha256 == self.sha256) {
            Seen::Newest(self.version)
        } else if now_ms.saturating_sub(self.flushed_ms) < VISIBLE_WITHIN_MS {
            Seen::PerhapsStale
        } else {
            Seen::Foreign
        }
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)] // Small numbers.
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BUSY: FailureClass = FailureClass::RateLimited { retry_after_ms: None };
    const DOWN: FailureClass = FailureClass::Unavailable { retry_after_ms: None };

    fn accept(writer: &mut KeyWriter, value: &str) -> u64 {
        writer.accept(value.to_owned(), &Preconditions::default()).unwrap()
    }

    #[test]
    fn a_first_write_is_due_at_once_and_then_nothing_is() {
        let mut writer = KeyWriter::new("hot");
        assert_eq!((writer.due(0), writer.newest()), (Due::Nothing, Newest::Unwritten));
        assert_eq!(accept(&mut writer, "a"), 1);
        assert_eq!((writer.due(5), writer.newest()), (Due::Put(1), Newest::Here(1)));
        writer.took(1, 9);
        assert_eq!((writer.due(10), writer.newest()), (Due::Nothing, Newest::InKv(1)));
    }

    #[test]
    fn writes_within_a_second_become_one_put_of_the_last() {
        let mut writer = KeyWriter::new("hot");
        accept(&mut writer, "a");
        writer.took(1, 1000);
        for value in ["b", "c", "d"] {
            accept(&mut writer, value);
        }
        assert_eq!(writer.due(1001), Due::Later(2000));
        assert_eq!(writer.due(2000), Due::Put(4));
        assert_eq!(writer.metadata(), Metadata { version: 4, sha256: "d".to_owned() });
    }

    #[test]
    fn a_value_accepted_during_a_put_is_due_after_it() {
        let mut writer = KeyWriter::new("hot");
        accept(&mut writer, "a");
        accept(&mut writer, "b");
        writer.took(1, 500);
        assert!(writer.has_flushed(1) && !writer.has_flushed(2));
        assert_eq!(writer.due(500), Due::Later(1500));
        assert_eq!(writer.due(1500), Due::Put(2));
    }

    #[test]
    fn a_refused_put_is_made_again_until_kv_takes_it() {
        let mut writer = KeyWriter::new("hot");
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
            writer.refused(1, class, 50, random, &mut budget);
            assert_eq!(writer.due(51), Due::Later(50 + wait_ms));
        }
        writer.took(1, 99);
        assert_eq!(writer.due(99), Due::Nothing);
    }

    #[test]
    fn what_kv_has_against_one_value_does_not_hold_up_the_next() {
        let mut writer = KeyWriter::new("hot");
        let mut budget = Budget::new();
        accept(&mut writer, "bad");
        writer.refused(1, FailureClass::Permanent, 50, 0.0, &mut budget);
        assert_eq!(writer.due(51), Due::Later(300_050));
        accept(&mut writer, "good");
        assert_eq!(writer.due(60), Due::Later(1050));
        // Accepted while the refused put was under way.
        accept(&mut writer, "better");
        writer.refused(2, FailureClass::Permanent, 2000, 0.0, &mut budget);
        assert_eq!(writer.due(2001), Due::Later(3000));
    }

    #[test]
    fn in_an_outage_of_the_whole_isolate_a_key_waits_its_longest() {
        let mut writer = KeyWriter::new("hot");
        let mut budget = Budget::new();
        accept(&mut writer, "a");
        while budget.spend(DOWN, 0) {}
        writer.refused(1, DOWN, 0, 0.0, &mut budget);
        assert_eq!(writer.due(1), Due::Later(30_000));
    }

    #[test]
    fn compare_and_set_takes_the_last_version_only() {
        let mut writer = KeyWriter::new("hot");
        let at = |version: &str| Preconditions::parse(Some(version), None);
        assert_eq!(writer.accept("a".into(), &at("\"1\"")), Err(PreconditionFailed));
        assert_eq!(writer.accept("a".into(), &Preconditions::parse(None, Some("*"))), Ok(1));
        assert_eq!(writer.accept("b".into(), &at("\"1\"")), Ok(2));
        assert_eq!(writer.accept("c".into(), &at("\"1\"")), Err(PreconditionFailed));
        assert_eq!(writer.metadata().sha256, "b");
        writer.took(2, 0);
        assert_eq!(writer.accept("c".into(), &at("\"2\"")), Ok(3));
    }

    #[test]
    fn what_kv_shows_is_the_newest_value_perhaps_an_old_one_or_somebody_elses() {
        let mut writer = KeyWriter::new("hot");
        accept(&mut writer, "a");
        accept(&mut writer, "b");
        writer.took(2, 1000);
        let shown = |version, sha256: &str| Metadata { version, sha256: sha256.into() };
        for (metadata, now_ms, seen) in [
            (Some(shown(2, "b")), 1001, Seen::Newest(2)),
            (Some(shown(2, "b")), 999_999, Seen::Newest(2)),
            (Some(shown(1, "a")), 60_999, Seen::PerhapsStale),
            (None, 60_999, Seen::PerhapsStale),
            (None, 61_000, Seen::Foreign),
            (Some(shown(2, "x")), 61_000, Seen::Foreign),
        ] {
            assert_eq!(writer.judge(metadata.as_ref(), now_ms), seen, "{metadata:?} {now_ms}");
        }
    }

    #[test]
    fn what_is_stored_can_be_read_again() {
        let mut writer = KeyWriter::new("ключ");
        accept(&mut writer, "a");
        writer.refused(1, BUSY, 1_763_700_000_000, 0.5, &mut Budget::new());
        let stored = serde_json::to_string(&writer).unwrap();
        assert_eq!(serde_json::from_str::<KeyWriter>(&stored).unwrap(), writer);
    }

    #[test]
    fn an_answer_arrives_as_it_was_sent() {
        let tries = vec![
            Try { started_ms: 1, ended_ms: 20, taken: false },
            Try { started_ms: 900, ended_ms: 901, taken: true },
        ];
        for outcome in [
            Outcome::Stored(1),
            Outcome::InKv(u64::MAX),
            Outcome::NotWritten(NotWritten::PreconditionFailed { version: None }),
            Outcome::NotWritten(NotWritten::PreconditionFailed { version: Some(3) }),
            Outcome::NotWritten(NotWritten::TimedOut { version: 4 }),
            Outcome::NotWritten(NotWritten::Refused { version: 5, cause: "a \"reason\"".into() }),
        ] {
            let answer = Answer { outcome, tries: tries.clone() };
            assert_eq!(Answer::from_wire(&answer.to_wire().unwrap()), Some(answer));
        }
        assert_eq!(Answer::from_wire(&(500, None, "[[],null]".into())), None);
        assert_eq!(Answer::from_wire(&(200, Some(1), "oh".into())), None);
    }

    /// What happens to an object, in any order.
    #[derive(Debug, Clone)]
    enum Event {
        Write,
        /// So many milliseconds later the alarm rings and KV takes the put, or not.
        Alarm(u64, bool),
        /// The object is evicted, or crashes, after its put reached KV and before it noted that.
        CrashAfterPut(u64),
        Evicted,
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        proptest::collection::vec(
            prop_oneof![
                Just(Event::Write),
                (0_u64..5000, any::<bool>()).prop_map(|(later_ms, takes)| Event::Alarm(later_ms, takes)),
                (0_u64..5000).prop_map(Event::CrashAfterPut),
                Just(Event::Evicted),
            ],
            0..60,
        )
    }

    proptest! {
        #[test]
        fn whatever_happens_kv_ends_with_the_last_accepted_value_and_never_goes_back(events in events()) {
            let mut writer = KeyWriter::new("hot");
            let mut budget = Budget::new();
            let (mut now_ms, mut in_kv, mut last_put_ms) = (10_000_u64, 0_u64, None);
            let mut accepted = 0;
            // After the events the faults stop and the alarm rings until nothing is due.
            let quiet = std::iter::repeat_n(Event::Alarm(400_000, true), 2);
            for event in events.into_iter().chain(quiet) {
                let (later_ms, takes, crashes) = match event {
                    Event::Write => {
                        accepted = accept(&mut writer, "v");
                        continue;
                    }
                    Event::Evicted => {
                        writer = serde_json::from_str(&serde_json::to_string(&writer).unwrap()).unwrap();
                        continue;
                    }
                    Event::Alarm(later_ms, takes) => (later_ms, takes, false),
                    Event::CrashAfterPut(later_ms) => (later_ms, true, true),
                };
                now_ms += later_ms;
                let Due::Put(version) = writer.due(now_ms) else { continue };
                if takes {
                    prop_assert!(version >= in_kv, "an earlier value replaced {in_kv}");
                    in_kv = version;
                }
                if crashes {
                    continue;
                }
                prop_assert!(last_put_ms.is_none_or(|last_ms| now_ms - last_ms >= WRITE_INTERVAL_MS));
                last_put_ms = Some(now_ms);
                if takes {
                    writer.took(version, now_ms);
                } else {
                    writer.refused(version, DOWN, now_ms, 0.3, &mut budget);
                }
                // What a `wait=kv` answers 200 by is true.
                prop_assert!((1..=accepted).all(|version| !writer.has_flushed(version) || in_kv >= version));
            }
            prop_assert_eq!(in_kv, accepted);
            prop_assert_eq!(writer.due(now_ms), Due::Nothing);
        }
    }
}
