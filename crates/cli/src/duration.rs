//! Durations in the command line, such as `45s`, `30m`, `1h` and `2d`, and in messages, such as
//! `3 minutes`.

/// Parses a whole number with a unit, or 0 without one. Returns milliseconds.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let problem = || format!("{text:?} is not a duration; write one such as 45s, 30m, 1h or 2d");
    let digits = text.trim_end_matches(|character: char| !character.is_ascii_digit());
    let unit_ms: u64 = match text.strip_prefix(digits) {
        Some("s") => 1000,
        Some("m") => 60 * 1000,
        Some("h") => 60 * 60 * 1000,
        Some("d") => 24 * 60 * 60 * 1000,
        Some("") if digits == "0" => 0,
        _ => return Err(problem()),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(problem());
    }
    let count = digits.parse::<u64>().map_err(|_| problem())?;
    count.checked_mul(unit_ms).ok_or_else(problem)
}

/// Returns a duration in words, rounded down in the largest unit of which there is at least one:
/// `3 minutes`.
pub(crate) fn words(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    let (count, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_unit_unless_it_is_zero() {
        for (text, expected) in [
            ("0", Some(0)),
            ("0s", Some(0)),
            ("45s", Some(45_000)),
            ("30m", Some(1_800_000)),
            ("1h", Some(3_600_000)),
            ("2d", Some(172_800_000)),
            ("", None),
            ("h", None),
            ("1", None),
            ("1.5h", None),
            ("-1h", None),
            ("+1h", None),
            ("1 h", None),
            ("1h30m", None),
            ("1w", None),
            ("18446744073709551615s", None),
            ("99999999999999999999s", None),
        ] {
            assert_eq!(parse(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn words_use_the_largest_unit() {
        for (milliseconds, expected) in [
            (0, "0 seconds"),
            (1999, "1 second"),
            (119_000, "1 minute"),
            (3_599_999, "59 minutes"),
            (7_200_000, "2 hours"),
            (86_400_000, "1 day"),
            (1_000_000_000, "11 days"),
        ] {
            assert_eq!(words(milliseconds), expected);
        }
    }
}
