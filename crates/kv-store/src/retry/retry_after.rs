//! The `Retry-After` field (RFC 9110 §10.2.3).

use http_semantics::http_date;

/// Returns how long a server asks to wait, in milliseconds: whole seconds, or the time until a
/// date in one of the three formats of RFC 9110 §5.6.7, which is zero if the date has passed.
/// `None` for anything else. `now_ms` is milliseconds since the Unix epoch.
#[must_use]
pub fn retry_after_ms(field: &str, now_ms: u64) -> Option<u64> {
    let field = field.trim();
    if !field.is_empty() && field.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number with too many digits is still a very long time.
        return Some(field.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(1000));
    }
    Some(http_date::parse_ms(field)?.saturating_sub(now_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_in_three_forms() {
        // Sun, 06 Nov 1994 08:49:37 GMT, the RFC's example.
        let now_ms = 784_111_777_000;
        for (field, wait_ms) in [
            ("0", Some(0)),
            ("120", Some(120_000)),
            (" 2 ", Some(2000)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10_000)),
            ("Sunday, 06-Nov-94 08:49:38 GMT", Some(1000)),
            ("Sun Nov  6 08:49:37 1994", Some(0)),
            ("Sun, 06 Nov 1994 08:49:36 GMT", Some(0)),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("soon", None),
            ("Sun, 06 Nov 1994", None),
        ] {
            assert_eq!(retry_after_ms(field, now_ms), wait_ms, "{field}");
        }
    }
}
