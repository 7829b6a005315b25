//! Dates in header fields (RFC 9110 §5.6.7).

use std::time::{Duration, UNIX_EPOCH};

/// The end of the year 9999, in seconds since the Unix epoch: an HTTP date has four digits for the
/// year.
const LAST_SECONDS: u64 = 253_402_300_799;

/// Formats a time in milliseconds since the Unix epoch as `IMF-fixdate`, in whole seconds. A time
/// after the year 9999 gives the last second of that year.
///
/// [`parse_ms`] has an example.
#[must_use]
pub fn format(at_ms: u64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs((at_ms / 1000).min(LAST_SECONDS)))
}

/// Parses a date in any of the three formats; returns milliseconds since the Unix epoch, 0 for a
/// date before it, and `None` if the text is not a date.
///
/// The case of letters does not matter, and `UTC` means `GMT`: RFC 9111 §4.2 asks caches for
/// both.
///
/// # Examples
///
/// ```
/// use http_semantics::http_date::{format, parse_ms};
///
/// assert_eq!(format(784_111_777_000), "Sun, 06 Nov 1994 08:49:37 GMT");
/// // The two obsolete formats name the same second.
/// let obsolete = ["Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"];
/// assert_eq!(obsolete.map(parse_ms), [Some(784_111_777_000); 2]);
/// assert_eq!(parse_ms("yesterday"), None);
/// ```
#[must_use]
pub fn parse_ms(text: &str) -> Option<u64> {
    strict_date_ms(text).or_else(|| unusual_date_ms(text))
}

fn strict_date_ms(text: &str) -> Option<u64> {
    let since = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

/// The longest form is `Wednesday, 06-Nov-94 08:49:37 GMT`.
const DATE_BYTES_MAX: usize = 40;

/// Parses a date in another case, in UTC, with a leap second, or before 1970.
fn unusual_date_ms(text: &str) -> Option<u64> {
    if text.len() > DATE_BYTES_MAX {
        return None;
    }
    let mut usual = String::with_capacity(DATE_BYTES_MAX);
    let mut is_in_word = false;
    for char in text.trim().chars() {
        let is_capital = !is_in_word && char.is_ascii_alphabetic();
        is_in_word = char.is_ascii_alphabetic();
        usual.push(if is_capital { char.to_ascii_uppercase() } else { char.to_ascii_lowercase() });
    }
    if let Some(date) = usual.strip_suffix(" Gmt").or_else(|| usual.strip_suffix(" Utc")) {
        usual = [date, " GMT"].concat();
    }
    // Unix time has no leap seconds. RFC 9111 §4.2 says what to take if a clock has "less
    // resolution" than a date: "the nearest time equal to or earlier than the received value".
    usual = usual.replace(":60 ", ":59 ");
    if let Some(ms) = strict_date_ms(&usual) {
        return Some(ms);
    }
    // The calendar repeats every 400 years, weekdays included. So a date before 1970 is valid if
    // the same date 2000 years later is.
    let year = usual.split([' ']).find(|part| part.len() == 4 && part.bytes().all(|byte| byte.is_ascii_digit()))?;
    let later = year.parse::<u16>().ok().filter(|year| *year < 1970)? + 2000;
    strict_date_ms(&usual.replacen(year, &later.to_string(), 1)).map(|_| 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT, the RFC's example.
    const NOW_MS: u64 = 784_111_777_000;

    #[test]
    fn dates_in_three_formats_any_case_and_utc_are_parsed() {
        // RFC 9110 §5.6.7: "A recipient that parses a timestamp value in an HTTP field MUST accept
        // all three HTTP-date formats." RFC 9111 §4.2: "a cache recipient SHOULD match the field
        // value case-insensitively" and "SHOULD consider a date with a zone abbreviation other
        // than "GMT" or "UTC" to be invalid".
        for (text, ms) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(NOW_MS)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(NOW_MS)),
            ("Sun Nov  6 08:49:37 1994", Some(NOW_MS)),
            (" Sun, 06 Nov 1994 08:49:37 GMT ", Some(NOW_MS)),
            ("SUN, 06 NOV 1994 08:49:37 gmt", Some(NOW_MS)),
            ("sunday, 06-nov-94 08:49:37 Gmt", Some(NOW_MS)),
            ("sun nov  6 08:49:37 1994", Some(NOW_MS)),
            ("Sun, 06 Nov 1994 08:49:37 UTC", Some(NOW_MS)),
            ("Sun, 06 Nov 1994 08:49:60 GMT", Some(NOW_MS + 22_000)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Wed, 31 Dec 1969 23:59:59 GMT", Some(0)),
            ("Mon, 01 Jan 0001 00:00:00 GMT", Some(0)),
            ("Fri Nov  6 08:49:37 1914", Some(0)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(253_402_300_799_000)),
            ("Sun, 06 Nov 1994 08:49:37 AEST", None),
            ("Sun, 06 Nov 1994 08:49:37", None),
            ("Sun, 06 Nov 94 08:49:37 GMT", None),
            ("Sun 06 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06  Nov  1994 08:49:37 GMT", None),
            ("Sun, 06-Nov-1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 08.49.37 GMT", None),
            ("Sun, 06 Nov 1994 8:49:37 GMT", None),
            ("Sun, 06 Nov 1994 08:60:37 GMT", None),
            ("Sun, 06 Nov 1994 24:00:00 GMT", None),
            ("Mon, 06 Nov 1994 08:49:37 GMT", None),
            ("Sun, 31 Feb 1994 08:49:37 GMT", None),
            ("Sun, 31 Feb 1914 08:49:37 GMT", None),
            ("0", None),
            ("", None),
            ("784111777", None),
        ] {
            assert_eq!(parse_ms(text), ms, "{text}");
        }
    }

    #[test]
    fn a_time_is_written_in_whole_seconds_up_to_the_year_9999() {
        for (at_ms, date) in [
            (NOW_MS + 999, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(format(at_ms), date);
        }
    }

    proptest! {
        #[test]
        fn dates_never_panic(
            text in "\\PC{0,45}",
            digits in "[A-Za-z]{3,9},? [0-9]{1,2}[ -][A-Z][a-z]{2}[ -][0-9]{2,4} [0-9:]{8} (GMT|UTC)",
        ) {
            for text in [text, digits] {
                let _ = parse_ms(&text);
            }
        }

        #[test]
        fn a_date_is_read_back_in_each_case(seconds in 0..253_402_300_799_u64) {
            let text = format(seconds * 1000);
            for text in [text.to_ascii_lowercase(), text.to_ascii_uppercase(), text.replace("GMT", "UTC"), text] {
                prop_assert_eq!(parse_ms(&text), Some(seconds * 1000), "{}", text);
            }
        }

    }
}
