//! The days that are asked for.

use chrono::{DateTime, Days as DayCount, NaiveDate};

use crate::duration;

/// How many days Cloudflare keeps, today included ("Metrics and analytics" in the KV
/// documentation).
pub(super) const DAYS_MAX: u64 = 31;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Days in UTC, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Days {
    pub(super) first: NaiveDate,
    pub(super) last: NaiveDate,
}

/// Why days cannot be asked for, as a sentence that says what people can do.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DaysError {
    #[error("--to {last} is before --from {first}; exchange them")]
    Backwards { first: NaiveDate, last: NaiveDate },
    #[error("--to {0} is in the future; omit it for today, {1} in UTC")]
    Future(NaiveDate, NaiveDate),
    #[error("--from {0} is too long ago: Cloudflare keeps 31 days; the first that it still has is {1}")]
    TooOld(NaiveDate, NaiveDate),
}

impl Days {
    /// Returns the last `count` days, today included.
    pub(super) fn last(count: u64, today: NaiveDate) -> Self {
        Self { first: before(today, count.saturating_sub(1)), last: today }
    }

    /// Returns the days from one to another, which Cloudflare must still have.
    pub(super) fn between(first: NaiveDate, last: NaiveDate, today: NaiveDate) -> Result<Self, DaysError> {
        let oldest = before(today, DAYS_MAX - 1);
        if last > today {
            Err(DaysError::Future(last, today))
        } else if first > last {
            Err(DaysError::Backwards { first, last })
        } else if first < oldest {
            Err(DaysError::TooOld(first, oldest))
        } else {
            Ok(Self { first, last })
        }
    }

    pub(super) fn iter(self) -> impl Iterator<Item = NaiveDate> {
        self.first.iter_days().take_while(move |day| *day <= self.last)
    }
}

fn before(day: NaiveDate, days: u64) -> NaiveDate {
    day.checked_sub_days(DayCount::new(days)).unwrap_or(NaiveDate::MIN)
}

/// Returns the day of a time in milliseconds since the Unix epoch, in UTC.
#[expect(clippy::expect_used, reason = "a clock is not as far off as the year 262143")]
pub(super) fn date_of(now_ms: u64) -> NaiveDate {
    let time = i64::try_from(now_ms).ok().and_then(DateTime::from_timestamp_millis);
    time.expect("the time has a date").date_naive()
}

/// Parses a number of whole days: `7d`, `24h`.
pub(super) fn parse_age(text: &str) -> Result<u64, String> {
    let milliseconds = duration::parse(text)?;
    let days = milliseconds / DAY_MS;
    if milliseconds % DAY_MS == 0 && (1..=DAYS_MAX).contains(&days) {
        Ok(days)
    } else {
        Err(format!("write whole days from 1d to {DAYS_MAX}d: Cloudflare keeps {DAYS_MAX} days"))
    }
}

/// Parses a day.
pub(super) fn parse_date(text: &str) -> Result<NaiveDate, String> {
    text.parse().map_err(|_| "it is not a day; write one such as 2026-11-01".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> NaiveDate {
        parse_date(text).unwrap()
    }

    #[test]
    fn an_age_is_whole_days_that_cloudflare_keeps() {
        for (text, expected) in [
            ("1d", Some(1)),
            ("31d", Some(31)),
            ("48h", Some(2)),
            ("0", None),
            ("0d", None),
            ("32d", None),
            ("12h", None),
            ("week", None),
        ] {
            assert_eq!(parse_age(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn the_last_days_end_today() {
        let today = date_of(1_772_323_200_000 + 5);
        assert_eq!(today, date("2026-03-01"));
        assert_eq!(Days::last(1, today), Days { first: today, last: today });
        let days = Days::last(7, today);
        assert_eq!((days.first, days.last), (date("2026-02-23"), today));
        assert_eq!(days.iter().count(), 7);
    }

    #[test]
    fn days_are_in_order_not_in_the_future_and_still_kept() {
        let today = date("2026-11-29");
        for (first, last, expected) in [
            ("2026-11-29", "2026-11-29", None),
            ("2026-10-30", "2026-11-29", None),
            ("2026-10-29", "2026-11-01", Some("the first that it still has is 2026-10-30")),
            ("2026-11-02", "2026-11-01", Some("--to 2026-11-01 is before --from 2026-11-02; exchange them")),
            ("2026-11-02", "2026-11-30", Some("--to 2026-11-30 is in the future; omit it for today")),
        ] {
            let sentence = Days::between(date(first), date(last), today).err().map(|error| error.to_string());
            match expected {
                Some(part) => assert!(sentence.as_ref().is_some_and(|text| text.contains(part)), "{sentence:?}"),
                None => assert_eq!(sentence, None),
            }
        }
        for text in ["2026-02-30", "yesterday", "", "2026-11-01T00:00:00Z"] {
            assert!(parse_date(text).is_err(), "{text}");
        }
    }
}
