//! Lifetime and age by the formulas of RFC 9111 §4.2.

use proptest::prelude::*;

use super::*;
use http_semantics::fields::HeaderSection;

/// Sun, 06 Nov 1994 08:49:37 GMT.
const NOW_MS: u64 = 784_111_777_000;
const AT_ONCE: ExchangeTimes = ExchangeTimes { requested_ms: NOW_MS, received_ms: NOW_MS };
const DAY_S: u64 = 24 * 60 * 60;

type Field<'a> = (&'static str, &'a str);

/// A date this many seconds before or after [`NOW_MS`].
fn date(seconds: i64) -> String {
    let ms = NOW_MS.checked_add_signed(seconds * 1000).unwrap();
    http_date::format(ms)
}

fn of_times(status: u16, fields: &[Field<'_>], times: ExchangeTimes, default_ms: Option<u64>) -> Freshness {
    let fields = HeaderSection::from(fields);
    let (directives, is_targeted) = CacheControl::of_response(&fields);
    Freshness::of(status, &fields, &directives, is_targeted, times, default_ms)
}

/// The lifetime in seconds and its source.
fn lifetime(status: u16, fields: &[Field<'_>]) -> (u64, LifetimeSource) {
    let freshness = of_times(status, fields, AT_ONCE, None);
    assert_eq!(freshness.lifetime_ms % 1000, 0);
    (freshness.lifetime_ms / 1000, freshness.basis)
}

fn age_ms(fields: &[Field<'_>], times: ExchangeTimes) -> u64 {
    of_times(200, fields, times, None).initial_age_ms
}

#[test]
fn the_lifetime_is_that_of_the_first_rule_that_fits() {
    // RFC 9111 §4.2.1: "If the cache is shared and the s-maxage response directive is present,
    // use its value, or if the max-age response directive is present, use its value, or if the
    // Expires response header field is present, use its value minus the value of the Date
    // response header field … Otherwise, no explicit expiration time is present in the
    // response."
    let (now, later, before) = (date(0), date(100), date(-100));
    let cases: [(&[Field<'_>], (u64, LifetimeSource)); 14] = [
        (&[("cache-control", "max-age=10, s-maxage=20"), ("expires", &later)], (20, LifetimeSource::Explicit)),
        (&[("cache-control", "s-maxage=0, max-age=10")], (0, LifetimeSource::Explicit)),
        (&[("cache-control", "max-age=10"), ("expires", &before), ("date", &now)], (10, LifetimeSource::Explicit)),
        (&[("cache-control", "max-age=10"), ("expires", "0")], (10, LifetimeSource::Explicit)),
        (&[("cache-control", "max-age=a"), ("expires", &later), ("date", &now)], (0, LifetimeSource::Explicit)),
        (&[("expires", &later), ("date", &now)], (100, LifetimeSource::Explicit)),
        (&[("expires", &later), ("date", &before)], (200, LifetimeSource::Explicit)),
        (&[("expires", &later)], (100, LifetimeSource::Explicit)),
        (&[("expires", &later), ("date", "yesterday")], (100, LifetimeSource::Explicit)),
        (&[("expires", &before), ("date", &now)], (0, LifetimeSource::Explicit)),
        (&[("expires", &now), ("date", &now), ("last-modified", &before)], (0, LifetimeSource::Explicit)),
        (
            &[("cdn-cache-control", "max-age=10"), ("cache-control", "max-age=20"), ("expires", &later)],
            (10, LifetimeSource::Explicit),
        ),
        // RFC 9213 §2.2: "MUST ignore the Cache-Control and Expires header fields".
        (
            &[("cdn-cache-control", "a"), ("cache-control", "max-age=20"), ("expires", &later)],
            (0, LifetimeSource::None),
        ),
        (&[("etag", "\"a\"")], (0, LifetimeSource::None)),
    ];
    for (fields, expected) in cases {
        assert_eq!(lifetime(200, fields), expected, "{fields:?}");
        assert_eq!(lifetime(500, fields), expected, "an explicit one holds for any status: {fields:?}");
    }
}

#[test]
fn an_invalid_expires_has_passed() {
    // RFC 9111 §5.3: "A cache recipient MUST interpret invalid date formats, especially the
    // value "0", as representing a time in the past (i.e., "already expired")." §4.2.1: of more
    // than one value, "the response should be considered stale".
    let (a, b) = (date(100), date(200));
    let (same, different) = ([&a, &a].map(String::as_str).join(", "), [&a, &b].map(String::as_str).join(", "));
    for (expires, seconds) in [
        ("0", 0),
        ("", 0),
        ("-1", 0),
        ("100", 0),
        (&different, 0),
        (&same, 100),
        (a.trim_end_matches(" GMT"), 0),
        ("é", 0),
        (", é", 0),
    ] {
        assert_eq!(
            lifetime(200, &[("expires", expires), ("date", &date(0))]),
            (seconds, LifetimeSource::Explicit),
            "{expires}"
        );
    }
}

#[test]
fn a_heuristic_lifetime_is_a_tenth_of_the_time_since_the_last_change_up_to_a_day() {
    // RFC 9111 §4.2.2: "caches are encouraged to use a heuristic expiration value that is no
    // more than some fraction of the interval since that time. A typical setting of this
    // fraction might be 10%."
    for (modified_s, seconds) in
        [(5, 0), (10, 1), (3600, 360), (10 * 24 * 3600, DAY_S), (1000 * 24 * 3600, DAY_S), (-10, 0)]
    {
        let modified = date(-modified_s);
        let freshness = of_times(200, &[("last-modified", &modified), ("date", &date(0))], AT_ONCE, None);
        assert_eq!(
            (freshness.lifetime_ms / 1000, freshness.basis),
            (seconds, LifetimeSource::Heuristic),
            "{modified_s}"
        );
    }
    assert_eq!(lifetime(200, &[("last-modified", "a")]), (0, LifetimeSource::None));
    let before = [("last-modified", "Thu, 01 Jan 1959 00:00:00 GMT")];
    assert_eq!(lifetime(200, &before), (DAY_S, LifetimeSource::Heuristic));
}

#[test]
fn a_heuristic_needs_a_status_that_allows_it_or_public() {
    // RFC 9111 §4.2.2: "a cache MUST NOT use heuristics to determine freshness when an explicit
    // expiration time is present"; "can only be used on responses without explicit freshness
    // whose status codes are defined as heuristically cacheable … and on responses without
    // explicit freshness that have been marked as explicitly cacheable (e.g., with a public
    // response directive)".
    let modified = date(-1000);
    for (status, is_heuristic) in [
        (200, true),
        (201, false),
        (202, false),
        (203, true),
        (204, true),
        (300, true),
        (301, true),
        (302, false),
        (307, false),
        (308, true),
        (403, false),
        (404, true),
        (405, true),
        (410, true),
        (414, true),
        (451, true),
        (500, false),
        (501, true),
        (502, false),
        (503, false),
        (504, false),
        (599, false),
    ] {
        let expected = if is_heuristic { (100, LifetimeSource::Heuristic) } else { (0, LifetimeSource::None) };
        assert_eq!(lifetime(status, &[("last-modified", &modified)]), expected, "{status}");
        let public = [("last-modified", &*modified), ("cache-control", "public")];
        assert_eq!(lifetime(status, &public), (100, LifetimeSource::Heuristic), "{status}");
        let default = of_times(status, &[("last-modified", &modified)], AT_ONCE, Some(60_000));
        assert_eq!((default.lifetime_ms, default.basis), (60_000, LifetimeSource::Default), "{status}");
    }
    let explicit = of_times(200, &[("cache-control", "max-age=1")], AT_ONCE, Some(60_000));
    assert_eq!((explicit.lifetime_ms, explicit.basis), (1000, LifetimeSource::Explicit));
}

#[test]
fn the_initial_age_is_the_greater_of_apparent_age_and_corrected_age() {
    // RFC 9111 §4.2.3: "apparent_age = max(0, response_time - date_value); response_delay =
    // response_time - request_time; corrected_age_value = age_value + response_delay;
    // corrected_initial_age = max(apparent_age, corrected_age_value)".
    let times = |delay_ms: u64| ExchangeTimes { requested_ms: NOW_MS - delay_ms, received_ms: NOW_MS };
    let (now, before, after) = (date(0), date(-7200), date(100));
    for (fields, delay_ms, expected_ms) in [
        (&[("date", &*now), ("age", "0")], 0, 0),
        (&[("date", &*now), ("age", "30")], 0, 30_000),
        (&[("date", &*now), ("age", "30")], 2500, 32_500),
        (&[("date", &*before), ("age", "30")], 2500, 7_200_000),
        (&[("date", &*before), ("age", "7300")], 0, 7_300_000),
        (&[("date", &*after), ("age", "0")], 10, 10),
        (&[("date", "a"), ("age", "1")], 0, 1000),
        (&[("etag", "\"a\""), ("age", "1")], 5, 1005),
    ] {
        assert_eq!(age_ms(fields, times(delay_ms)), expected_ms, "{fields:?} {delay_ms}");
    }
    // The clock is compared in whole seconds, too.
    let late = ExchangeTimes { requested_ms: NOW_MS + 999, received_ms: NOW_MS + 999 };
    assert_eq!(age_ms(&[("date", &now)], late), 0);
    let next = ExchangeTimes { requested_ms: NOW_MS + 1000, received_ms: NOW_MS + 1000 };
    assert_eq!(age_ms(&[("date", &now)], next), 1000);
    // The clock was set back between the two.
    let set_back = ExchangeTimes { requested_ms: NOW_MS + 5000, received_ms: NOW_MS };
    assert_eq!(age_ms(&[("date", &now)], set_back), 0);
}

#[test]
fn of_several_ages_the_first_counts_and_an_invalid_one_is_ignored() {
    // RFC 9111 §5.1: "a cache encountering a message with a list-based Age field value SHOULD
    // use the first member … If the field value (after discarding additional members, as per
    // above) is invalid …, a cache SHOULD ignore the field."
    for (age, seconds) in [
        ("7200", 7200),
        ("7200,0", 7200),
        ("0, 7200", 0),
        (" 10 ", 10),
        (",10", 10),
        ("", 0),
        ("abc", 0),
        ("abc, 7200", 0),
        ("-7200", 0),
        ("7200.0", 0),
        ("7200;foo=bar", 0),
        ("99999999999999999999", 1 << 31),
    ] {
        assert_eq!(age_ms(&[("age", age)], AT_ONCE), seconds * 1000, "{age}");
    }
}

#[test]
fn a_response_is_fresh_while_its_lifetime_is_greater_than_its_age() {
    // RFC 9111 §4.2: "response_is_fresh = (freshness_lifetime > current_age)".
    let freshness = of_times(200, &[("cache-control", "max-age=60"), ("age", "50")], AT_ONCE, None);
    for (after_ms, ttl_ms, is_fresh) in [(0, 10_000, true), (9_999, 1, true), (10_000, 0, false), (10_001, -1, false)] {
        let now_ms = NOW_MS + after_ms;
        assert_eq!((freshness.ttl_ms(now_ms), freshness.is_fresh(now_ms)), (ttl_ms, is_fresh), "{after_ms}");
        assert_eq!(freshness.age_ms(now_ms), 50_000 + after_ms);
    }
    assert_eq!(freshness.age_ms(0), 50_000, "a clock set back");
    let longest = of_times(200, &[], AT_ONCE, Some(u64::MAX));
    assert_eq!(longest.ttl_ms(NOW_MS), i64::MAX);
    assert_eq!(longest.ttl_ms(u64::MAX), i64::MAX - i64::try_from(u64::MAX - NOW_MS).unwrap_or(i64::MAX));
}

proptest! {
    #[test]
    fn ttl_and_age_add_up_to_the_lifetime(
        max_age in 0..(1_u64 << 31),
        age in 0..(1_u64 << 31),
        delay_ms in 0..100_000_u64,
        skew_s in -100_000..100_000_i64,
        after_ms in 0..(1_u64 << 45),
    ) {
        let times = ExchangeTimes { requested_ms: NOW_MS, received_ms: NOW_MS + delay_ms };
        let fields =
            [("cache-control", &*format!("max-age={max_age}")), ("age", &*age.to_string()), ("date", &*date(skew_s))];
        let freshness = of_times(200, &fields, times, None);
        let now_ms = times.received_ms + after_ms;
        let lifetime_ms = i64::try_from(freshness.lifetime_ms).unwrap();
        prop_assert_eq!(freshness.ttl_ms(now_ms) + i64::try_from(freshness.age_ms(now_ms)).unwrap(), lifetime_ms);
        prop_assert_eq!(freshness.is_fresh(now_ms), freshness.ttl_ms(now_ms) > 0);
        prop_assert!(freshness.age_ms(now_ms) >= age * 1000 + delay_ms + after_ms, "no part of the age is forgotten");
        prop_assert_eq!(freshness.lifetime_ms, max_age * 1000);
    }

    #[test]
    fn no_response_panics(
        status in 0..1000_u16,
        cache_control in "\\PC{0,20}",
        expires in "\\PC{0,20}",
        age in "[0-9]{0,25}",
        requested_ms: u64,
        received_ms: u64,
        now_ms: u64,
        default_lifetime_ms: Option<u64>,
    ) {
        let fields = [("cache-control", &*cache_control), ("expires", &*expires), ("age", &*age)];
        let freshness = of_times(status, &fields, ExchangeTimes { requested_ms, received_ms }, default_lifetime_ms);
        prop_assert_eq!(freshness.is_fresh(now_ms), freshness.lifetime_ms > freshness.age_ms(now_ms));
        let _ = freshness.ttl_ms(now_ms);
    }
}
