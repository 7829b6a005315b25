//! What the Durable Object stores: minutes for a day, hours for 31 days, and totals for ever.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::collector::HandOver;
use crate::counts::{RouteCounts, add_all};

/// The key of the totals.
const TOTAL: &str = "total";

/// The key of the hour in which expired records were deleted last.
const LAST_CLEANED: &str = "cleaned";

/// For how long the object remembers an isolate that hands nothing over, in seconds. A hand-over
/// that is repeated later than that counts again.
const ISOLATE_SECONDS: u64 = 2 * 86_400;

const HOUR_SECONDS: u64 = 3600;

/// How far apart the points of a series are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resolution {
    /// A minute; kept for a day.
    Minute,
    /// An hour; kept for 31 days.
    Hour,
}

impl Resolution {
    /// Returns the resolution of this name, `minute` or `hour`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "minute" => Some(Self::Minute),
            "hour" => Some(Self::Hour),
            _ => None,
        }
    }

    /// Returns the time between two points, in seconds.
    #[must_use]
    pub fn seconds(self) -> u64 {
        match self {
            Self::Minute => 60,
            Self::Hour => HOUR_SECONDS,
        }
    }

    /// Returns for how long a point is kept, in seconds.
    #[must_use]
    pub fn retention_seconds(self) -> u64 {
        match self {
            Self::Minute => 86_400,
            Self::Hour => 31 * 86_400,
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Minute => "minute/",
            Self::Hour => "hour/",
        }
    }

    /// Returns the key of the point at a time. Keys sort as their times do.
    fn key(self, unix_seconds: u64) -> String {
        format!("{}{:010}", self.prefix(), unix_seconds / self.seconds() * self.seconds())
    }

    /// Returns the key of the oldest point that is kept.
    fn oldest_key(self, now_seconds: u64) -> String {
        self.key(now_seconds.saturating_sub(self.retention_seconds()))
    }

    /// Returns the period of this text, in seconds: from one to the time that a point is kept.
    #[must_use]
    pub fn parse_period(self, text: &str) -> Option<u64> {
        text.parse().ok().filter(|seconds| (1..=self.retention_seconds()).contains(seconds))
    }
}

/// The storage of the object: records of JSON by key. All calls of one [`History::accept`] must
/// take effect together or not at all.
pub trait HistoryStorage {
    /// Why the storage failed.
    type Error;

    /// Returns a record; `None` if there is none.
    ///
    /// # Errors
    /// The storage failed.
    fn get(&self, key: &str) -> Result<Option<String>, Self::Error>;

    /// Stores a record.
    ///
    /// # Errors
    /// The storage failed.
    fn put(&self, key: &str, json: &str) -> Result<(), Self::Error>;

    /// Deletes a record.
    ///
    /// # Errors
    /// The storage failed.
    fn delete(&self, key: &str) -> Result<(), Self::Error>;

    /// Returns the records from one key (inclusive) to another (exclusive), sorted by key.
    ///
    /// # Errors
    /// The storage failed.
    fn range(&self, from: &str, to: &str) -> Result<Vec<(String, String)>, Self::Error>;
}

/// Why the history can be neither read nor extended.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError<E> {
    /// The storage failed.
    #[error("the storage failed")]
    Storage(E),
    /// A record is not what this build or an earlier one stored.
    #[error("the record {key} is broken: {cause}")]
    Broken {
        /// Its key.
        key: String,
        /// What is wrong with it.
        cause: String,
    },
}

/// The last hand-over of an isolate.
#[derive(Serialize, Deserialize)]
struct LastHandOver {
    sequence: u64,
    unix_seconds: u64,
}

/// The counts of all isolates.
///
/// # Examples
///
/// ```
/// # use metrics::history::HistoryStorage;
/// # use std::cell::RefCell;
/// # use std::collections::BTreeMap;
/// # use std::convert::Infallible;
/// #
/// # #[derive(Default)]
/// # struct Memory(RefCell<BTreeMap<String, String>>);
/// #
/// # impl HistoryStorage for Memory {
/// #     type Error = Infallible;
/// #     fn get(&self, key: &str) -> Result<Option<String>, Infallible> {
/// #         Ok(self.0.borrow().get(key).cloned())
/// #     }
/// #     fn put(&self, key: &str, json: &str) -> Result<(), Infallible> {
/// #         self.0.borrow_mut().insert(key.to_owned(), json.to_owned());
/// #         Ok(())
/// #     }
/// #     fn delete(&self, key: &str) -> Result<(), Infallible> {
/// #         self.0.borrow_mut().remove(key);
/// #         Ok(())
/// #     }
/// #     fn range(&self, from: &str, to: &str) -> Result<Vec<(String, String)>, Infallible> {
/// #         let (records, range) = (self.0.borrow(), from.to_owned()..to.to_owned());
/// #         Ok(records.range(range).map(|(key, json)| (key.clone(), json.clone())).collect())
/// #     }
/// # }
/// use metrics::collector::{HandOver, MinuteCounts};
/// use metrics::counts::Counts;
/// use metrics::history::{History, Resolution};
///
/// let counts = Counts { writes: 3, ..Counts::default() };
/// let routes = [("/cache".into(), counts)].into();
/// let minute = MinuteCounts { unix_seconds: 1_764_424_860, routes };
/// let hand_over = HandOver { isolate: "a".into(), sequence: 1, minutes: vec![minute] };
///
/// // `Memory` implements `HistoryStorage` with a map.
/// let history = History(Memory::default());
/// let now_seconds = 1_764_424_925;
/// history.accept(&hand_over, now_seconds)?;
/// // The isolate saw a failure and hands the same counts over again: they count once.
/// history.accept(&hand_over, now_seconds)?;
/// assert_eq!(history.totals()?["/cache"].writes, 3);
/// let minutes = history.points(Resolution::Minute, 3600, now_seconds)?;
/// assert_eq!((minutes.len(), minutes[0].0), (1, 1_764_424_860));
/// # Ok::<(), metrics::history::HistoryError<Infallible>>(())
/// ```
#[derive(Debug)]
pub struct History<S>(pub S);

impl<S: HistoryStorage> History<S> {
    /// Adds what an isolate hands over, at this time in seconds since the Unix epoch. If its
    /// number or a later one of the isolate arrived in the last two days, nothing changes.
    ///
    /// # Errors
    /// [`HistoryError`]; then nothing may be stored of the hand-over.
    pub fn accept(&self, hand_over: &HandOver, now_seconds: u64) -> Result<(), HistoryError<S::Error>> {
        let isolate = format!("isolate/{}", hand_over.isolate);
        let last: Option<LastHandOver> = self.record(&isolate)?;
        if last.is_some_and(|last| last.sequence >= hand_over.sequence) {
            return Ok(());
        }
        self.store(&isolate, &LastHandOver { sequence: hand_over.sequence, unix_seconds: now_seconds })?;
        let mut points: BTreeMap<String, RouteCounts> = BTreeMap::new();
        for minute in &hand_over.minutes {
            for resolution in [Resolution::Minute, Resolution::Hour] {
                add_all(points.entry(resolution.key(minute.unix_seconds)).or_default(), &minute.routes);
            }
            add_all(points.entry(TOTAL.to_owned()).or_default(), &minute.routes);
        }
        for (key, counts) in points {
            let mut stored: RouteCounts = self.record(&key)?.unwrap_or_default();
            add_all(&mut stored, &counts);
            self.store(&key, &stored)?;
        }
        // Counts of an earlier hour may arrive in this one, so its point does not tell.
        let hour = now_seconds / HOUR_SECONDS;
        if self.record(LAST_CLEANED)? == Some(hour) {
            return Ok(());
        }
        self.store(LAST_CLEANED, &hour)?;
        self.delete_expired(now_seconds)
    }

    /// Returns the points of the last `period_seconds`, the oldest first: the time in seconds
    /// since the Unix epoch, and the counts. The first is the point in which the period begins. A
    /// time without counts has no point.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn points(
        &self,
        resolution: Resolution,
        period_seconds: u64,
        now_seconds: u64,
    ) -> Result<Vec<(u64, RouteCounts)>, HistoryError<S::Error>> {
        let first = resolution.key(now_seconds.saturating_sub(period_seconds));
        let stored = self.range(&first, resolution.prefix())?;
        let point = |(key, json): (String, String)| {
            let time = key.strip_prefix(resolution.prefix()).and_then(|time| time.parse().ok());
            let time = time.ok_or_else(|| broken(&key, "its key has no time"))?;
            Ok((time, parse(&key, &json)?))
        };
        stored.into_iter().map(point).collect()
    }

    /// Returns all counts since the first hand-over.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn totals(&self) -> Result<RouteCounts, HistoryError<S::Error>> {
        Ok(self.record(TOTAL)?.unwrap_or_default())
    }

    fn delete_expired(&self, now_seconds: u64) -> Result<(), HistoryError<S::Error>> {
        for resolution in [Resolution::Minute, Resolution::Hour] {
            let oldest = resolution.oldest_key(now_seconds);
            let expired = self.0.range(resolution.prefix(), &oldest).map_err(HistoryError::Storage)?;
            for (key, _) in expired {
                self.0.delete(&key).map_err(HistoryError::Storage)?;
            }
        }
        for (key, json) in self.range("isolate/", "isolate/")? {
            let last: LastHandOver = parse(&key, &json)?;
            if last.unix_seconds + ISOLATE_SECONDS < now_seconds {
                self.0.delete(&key).map_err(HistoryError::Storage)?;
            }
        }
        Ok(())
    }

    /// Returns the records with a prefix from a key on.
    fn range(&self, from: &str, prefix: &str) -> Result<Vec<(String, String)>, HistoryError<S::Error>> {
        // The character after the slash.
        let end = prefix.replace('/', "0");
        self.0.range(from, &end).map_err(HistoryError::Storage)
    }

    fn record<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, HistoryError<S::Error>> {
        let json = self.0.get(key).map_err(HistoryError::Storage)?;
        json.map(|json| parse(key, &json)).transpose()
    }

    fn store(&self, key: &str, record: &impl Serialize) -> Result<(), HistoryError<S::Error>> {
        let json = serde_json::to_string(record).map_err(|error| broken(key, &error))?;
        self.0.put(key, &json).map_err(HistoryError::Storage)
    }
}

fn parse<T: DeserializeOwned, E>(key: &str, json: &str) -> Result<T, HistoryError<E>> {
    serde_json::from_str(json).map_err(|error| broken(key, &error))
}

fn broken<E>(key: &str, cause: &(impl ToString + ?Sized)) -> HistoryError<E> {
    HistoryError::Broken { key: key.to_owned(), cause: cause.to_string() }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::convert::Infallible;

    use super::*;
    use crate::collector::MinuteCounts;
    use crate::counts::Counts;

    #[derive(Default)]
    struct Memory(RefCell<BTreeMap<String, String>>);

    impl HistoryStorage for Memory {
        type Error = Infallible;

        fn get(&self, key: &str) -> Result<Option<String>, Infallible> {
            Ok(self.0.borrow().get(key).cloned())
        }

        fn put(&self, key: &str, json: &str) -> Result<(), Infallible> {
            self.0.borrow_mut().insert(key.to_owned(), json.to_owned());
            Ok(())
        }

        fn delete(&self, key: &str) -> Result<(), Infallible> {
            self.0.borrow_mut().remove(key);
            Ok(())
        }

        fn range(&self, from: &str, to: &str) -> Result<Vec<(String, String)>, Infallible> {
            let records = self.0.borrow();
            let range = records.range(from.to_owned()..to.to_owned());
            Ok(range.map(|(key, json)| (key.clone(), json.clone())).collect())
        }
    }

    const NOW: u64 = 1_764_424_800;

    fn hand_over(isolate: &str, sequence: u64, unix_seconds: u64, reads: u64) -> HandOver {
        let counts = Counts { reads, statuses: [(200, reads)].into(), ..Counts::default() };
        let minute = MinuteCounts { unix_seconds, routes: [("/a".into(), counts)].into() };
        HandOver { isolate: isolate.to_owned(), sequence, minutes: vec![minute] }
    }

    fn accept(history: &History<Memory>, hand_over: &HandOver, now_seconds: u64) {
        history.accept(hand_over, now_seconds).expect("the storage does not fail");
    }

    fn points(history: &History<Memory>, resolution: Resolution, now_seconds: u64) -> Vec<(u64, u64)> {
        let points =
            history.points(resolution, resolution.retention_seconds(), now_seconds).expect("the records are whole");
        let reads = |routes: &RouteCounts| routes.values().map(|counts| counts.reads).sum();
        points.iter().map(|(time, routes)| (*time, reads(routes))).collect()
    }

    #[test]
    fn counts_of_isolates_add_up_by_minute_by_hour_and_in_total() {
        let history = History(Memory::default());
        accept(&history, &hand_over("i", 1, NOW, 1), NOW);
        accept(&history, &hand_over("j", 1, NOW, 2), NOW + 5);
        accept(&history, &hand_over("i", 2, NOW + 60, 4), NOW + 65);
        accept(&history, &hand_over("i", 3, NOW + 3600, 8), NOW + 3605);
        let now = NOW + 3610;
        assert_eq!(points(&history, Resolution::Minute, now), [(NOW, 3), (NOW + 60, 4), (NOW + 3600, 8)]);
        assert_eq!(points(&history, Resolution::Hour, now), [(NOW, 7), (NOW + 3600, 8)]);
        let totals = history.totals().expect("the record is whole");
        assert_eq!((totals["/a"].reads, totals["/a"].requests()), (15, 15));
    }

    #[test]
    fn a_period_has_the_point_in_which_it_begins_and_later_ones() {
        let history = History(Memory::default());
        for minute in 0..10 {
            accept(&history, &hand_over("i", minute + 1, NOW + 60 * minute, 1), NOW + 60 * minute);
        }
        let now = NOW + 9 * 60 + 30;
        let points = history.points(Resolution::Minute, 120, now).expect("the records are whole");
        let times: Vec<u64> = points.iter().map(|(time, _)| *time).collect();
        assert_eq!(times, [NOW + 7 * 60, NOW + 8 * 60, NOW + 9 * 60]);
        for (text, expected) in
            [("3600", Some(3600)), ("86400", Some(86_400)), ("86401", None), ("0", None), ("1h", None)]
        {
            assert_eq!(Resolution::Minute.parse_period(text), expected, "{text}");
        }
    }

    #[test]
    fn a_hand_over_that_is_repeated_counts_once() {
        let history = History(Memory::default());
        for sequence in [1, 1, 2, 1, 2, 3, 3] {
            accept(&history, &hand_over("i", sequence, NOW, 1), NOW);
        }
        assert_eq!(points(&history, Resolution::Minute, NOW), [(NOW, 3)]);
    }

    #[test]
    fn minutes_are_kept_for_a_day_and_hours_for_31_days() {
        let history = History(Memory::default());
        accept(&history, &hand_over("i", 1, NOW, 1), NOW);
        let day = 86_400;
        assert_eq!(points(&history, Resolution::Minute, NOW + day + 59), [(NOW, 1)]);
        assert_eq!(points(&history, Resolution::Minute, NOW + day + 60), []);
        assert_eq!(points(&history, Resolution::Hour, NOW + 31 * day), [(NOW, 1)]);
        // What is no longer shown is deleted with the first hand-over of an hour.
        accept(&history, &hand_over("j", 1, NOW + 32 * day, 2), NOW + 32 * day);
        let keys: Vec<String> = history.0.0.borrow().keys().cloned().collect();
        let at = |prefix: &str| format!("{prefix}/{}", NOW + 32 * day);
        assert_eq!(keys, [LAST_CLEANED.to_owned(), at("hour"), "isolate/j".to_owned(), at("minute"), TOTAL.to_owned()]);
        assert_eq!(history.totals().expect("the record is whole")["/a"].reads, 3);
    }

    #[test]
    fn an_isolate_is_remembered_for_two_days() {
        let history = History(Memory::default());
        let after_two_days = NOW + ISOLATE_SECONDS;
        for (isolate, now_seconds, is_known) in
            [("i", NOW, true), ("j", after_two_days, true), ("k", after_two_days + 3600, false)]
        {
            accept(&history, &hand_over(isolate, 1, now_seconds, 1), now_seconds);
            let first = history.0.get("isolate/i").expect("the storage does not fail");
            assert_eq!(first.is_some(), is_known, "{isolate}");
        }
    }

    #[test]
    fn expired_records_are_deleted_once_an_hour_even_if_only_counts_of_an_earlier_one_arrive() {
        let history = History(Memory::default());
        let expired = Resolution::Minute.key(NOW - 2 * 86_400);
        let is_deleted = |isolate: &str, now_seconds: u64| {
            history.0.put(&expired, "{}").expect("the storage does not fail");
            accept(&history, &hand_over(isolate, 1, NOW - 60, 1), now_seconds);
            history.0.get(&expired).expect("the storage does not fail").is_none()
        };
        assert!(is_deleted("i", NOW));
        assert!(!is_deleted("j", NOW + 5));
        assert!(is_deleted("k", NOW + 3600));
    }

    #[test]
    fn a_broken_record_is_an_error_that_names_it() {
        let history = History(Memory::default());
        history.0.put(TOTAL, "{").expect("the storage does not fail");
        let error = history.totals().expect_err("the record is broken");
        assert!(error.to_string().starts_with("the record total is broken: "), "{error}");
    }
}
