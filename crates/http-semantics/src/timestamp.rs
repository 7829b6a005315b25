//! Times in JSON (RFC 3339).

/// The days from 0000-03-01 to 1970-01-01.
const DAYS_BEFORE_EPOCH: u64 = 719_468;

/// Returns a time in seconds since the Unix epoch as RFC 3339 has it, in UTC. The calendar is
/// counted from 1 March, so that a leap day is the last of its year ("`chrono`-Compatible
/// Low-Level Date Algorithms", `civil_from_days`).
///
/// # Examples
///
/// ```
/// use http_semantics::timestamp::rfc_3339;
///
/// assert_eq!(rfc_3339(1_764_424_800), "2025-11-29T14:00:00Z");
/// ```
#[must_use]
pub fn rfc_3339(unix_seconds: u64) -> String {
    let (days, seconds) = (unix_seconds / 86_400 + DAYS_BEFORE_EPOCH, unix_seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (unix_seconds, time) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc_3339(unix_seconds), time);
        }
    }
}
