//! Ranges by the rules and examples of RFC 9110.

use proptest::prelude::*;

use super::*;

const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const MODIFIED_MS: u64 = 784_111_777_000;

/// What a field gives without `If-Range`.
fn ranged(field: &str, length: u64) -> Range {
    Range::of(Some(field), None, &Validators { etag: None, last_modified_ms: None, received_ms: 0 }, length)
}

/// Parts as first and last position.
fn parts(range: &Range) -> Option<Vec<(u64, u64)>> {
    match range {
        Range::Satisfiable(parts) => Some(parts.iter().map(|part| (part.start, part.end - 1)).collect()),
        Range::Whole | Range::Unsatisfiable => None,
    }
}

/// RFC 9110 §14.1.2, its examples "assuming a representation of length 10000" among them.
#[test]
fn byte_ranges_select_the_parts_of_rfc_9110_14_1_2() {
    for (field, satisfied) in [
        ("bytes=0-499", vec![(0, 499)]),
        ("bytes=500-999", vec![(500, 999)]),
        ("bytes=-500", vec![(9500, 9999)]),
        ("bytes=9500-", vec![(9500, 9999)]),
        ("bytes=0-0,-1", vec![(0, 0), (9999, 9999)]),
        ("bytes= 0-999, 4500-5499, -1000", vec![(0, 999), (4500, 5499), (9000, 9999)]),
        ("bytes=500-600,601-999", vec![(500, 999)]),
        ("bytes=500-700,601-999", vec![(500, 999)]),
        // "if the last-pos value is absent, or if the value is greater than or equal to the
        // current length … the byte range is interpreted as the remainder of the representation".
        ("bytes=0-", vec![(0, 9999)]),
        ("bytes=9999-10000", vec![(9999, 9999)]),
        ("bytes=1-99999999999999999999999999", vec![(1, 9999)]),
        // "If the selected representation is shorter than the specified suffix-length, the entire
        // representation is used."
        ("bytes=-10001", vec![(0, 9999)]),
        ("bytes=-99999999999999999999999999", vec![(0, 9999)]),
        // Some are satisfiable.
        ("bytes=10000-,5-5", vec![(5, 5)]),
        ("bytes=-0,5-5", vec![(5, 5)]),
        // §14.1: "All range unit names are case-insensitive"; §5.6.1.2: empty list members are
        // ignored; §5.6.3.
        ("Bytes=,1-2 ,\t,4-5,", vec![(1, 2), (4, 5)]),
        ("bytes=007-08", vec![(7, 8)]),
        // §15.3.7.2: "a server MAY coalesce any of the ranges that overlap".
        ("bytes=5-9,0-2,1-3,4-4", vec![(0, 9)]),
        ("bytes=5-5,5-5,5-5", vec![(5, 5)]),
        ("bytes=0-9,2-3,12-", vec![(0, 9), (12, 9999)]),
    ] {
        assert_eq!(parts(&ranged(field, 10_000)), Some(satisfied), "{field}");
    }
}

#[test]
fn a_malformed_range_is_ignored_and_one_beyond_the_end_is_not_satisfiable() {
    for (field, length, range) in [
        // §14.2: "An origin server MUST ignore a Range header field that contains a range unit it
        // does not understand."
        ("seconds=0-1", 10, Range::Whole),
        ("0-1", 10, Range::Whole),
        ("", 10, Range::Whole),
        ("bytes", 10, Range::Whole),
        ("bytes =0-1", 10, Range::Whole),
        // §14.1.1: "An int-range is invalid if the last-pos value is present and less than
        // first-pos."
        ("bytes=2-1", 10, Range::Whole),
        ("bytes=0-1,2-1", 10, Range::Whole),
        // §14.2: "MAY ignore or reject a Range header field that contains an invalid
        // ranges-specifier".
        ("bytes=", 10, Range::Whole),
        ("bytes=,", 10, Range::Whole),
        ("bytes=-", 10, Range::Whole),
        ("bytes=1", 10, Range::Whole),
        ("bytes=+1-2", 10, Range::Whole),
        ("bytes=1-+2", 10, Range::Whole),
        ("bytes=1 - 2", 10, Range::Whole),
        ("bytes=1--2", 10, Range::Whole),
        ("bytes=--2", 10, Range::Whole),
        ("bytes=0x1-2", 10, Range::Whole),
        ("bytes=1.0-2", 10, Range::Whole),
        ("bytes=0-1;2-3", 10, Range::Whole),
        ("bytes=0-1,a", 10, Range::Whole),
        // Two lines of the field.
        ("bytes=0-1, bytes=2-3", 10, Range::Whole),
        // §14.1.2: "An int-range is satisfiable if it has a first-pos that is less than the
        // current length".
        ("bytes=10-", 10, Range::Unsatisfiable),
        ("bytes=10-11,99999999999999999999999999-", 10, Range::Unsatisfiable),
        ("bytes=0-", 0, Range::Unsatisfiable),
        // "a suffix-range … is satisfiable if the suffix-length is non-zero".
        ("bytes=-0", 10, Range::Unsatisfiable),
        ("bytes=-0", 0, Range::Unsatisfiable),
        ("bytes=-1", 0, Range::Whole),
        ("bytes=0-,-1", 0, Range::Whole),
    ] {
        assert_eq!(ranged(field, length), range, "{field}");
    }
    let validators = Validators { etag: None, last_modified_ms: None, received_ms: 0 };
    assert_eq!(Range::of(None, None, &validators, 10), Range::Whole);
}

/// RFC 9110 §14.2: "a set of many small ranges … indications of either a broken client or a
/// deliberate denial-of-service attack".
#[test]
fn more_than_16_parts_select_the_whole() {
    let field = |count: u64, step: u64| {
        let specs: Vec<String> = (0..count).map(|at| format!("{0}-{0}", at * step)).collect();
        format!("bytes={}", specs.join(","))
    };
    assert_eq!(parts(&ranged(&field(16, 2), 100)).unwrap().len(), 16);
    assert_eq!(ranged(&field(17, 2), 100), Range::Whole);
    assert_eq!(parts(&ranged(&field(17, 2), 32)).unwrap().len(), 16, "one is beyond the end");
    assert_eq!(parts(&ranged(&field(90, 1), 100)), Some(vec![(0, 89)]), "side by side, they are one");
}

#[test]
fn if_range_must_equal_a_strong_validator() {
    let later = MODIFIED_MS + 1000;
    for (if_range, etag, modified, received_ms, is_partial) in [
        // "compare the entity-tag with the ETag field value … using the strong comparison
        // function".
        ("\"a\"", Some("\"a\""), None, later, true),
        (" \"a,b\" ", Some("\"a,b\""), None, later, true),
        ("\"a\"", Some("\"b\""), None, later, false),
        ("\"a\"", Some("W/\"a\""), None, later, false),
        ("W/\"a\"", Some("W/\"a\""), None, later, false),
        ("W/\"a\"", Some("\"a\""), None, later, false),
        ("\"a\"", None, Some(MODIFIED_MS), later, false),
        ("\"a\", \"a\"", Some("\"a\", \"a\""), None, later, false),
        ("\"a", Some("\"a"), None, later, false),
        ("a", Some("a"), None, later, false),
        ("a", Some("\"a\""), None, later, false),
        ("*", Some("\"a\""), None, later, false),
        ("", Some("\"a\""), None, later, false),
        // "If it exactly matches the Last-Modified field value for the selected representation,
        // the condition is true."
        (MODIFIED, None, Some(MODIFIED_MS), later, true),
        (MODIFIED, Some("\"a\""), Some(MODIFIED_MS), later, true),
        ("Sunday, 06-Nov-94 08:49:37 GMT", None, Some(MODIFIED_MS), later, true),
        ("Sun, 06 Nov 1994 08:49:38 GMT", None, Some(MODIFIED_MS), later, false),
        ("Sun, 06 Nov 1994 08:49:36 GMT", None, Some(MODIFIED_MS), later, false),
        (MODIFIED, None, None, later, false),
        ("yesterday", None, None, later, false),
        ("yesterday", None, Some(MODIFIED_MS), later, false),
        // "If the HTTP-date validator provided is not a strong validator in the sense defined by
        // Section 8.8.2.2, the condition is false": "a Date value which is at least one second
        // after the Last-Modified value".
        (MODIFIED, None, Some(MODIFIED_MS), later - 1, false),
        (MODIFIED, None, Some(MODIFIED_MS), 0, false),
        (MODIFIED, None, Some(MODIFIED_MS), u64::MAX, true),
    ] {
        let validators = Validators { etag, last_modified_ms: modified, received_ms };
        let range = |field| Range::of(Some(field), Some(if_range), &validators, 10);
        let note = format!("{if_range} {etag:?} {modified:?} {received_ms}");
        assert_eq!(parts(&range("bytes=1-2")), is_partial.then(|| vec![(1, 2)]), "{note}");
        // "MUST ignore the Range header field if the If-Range condition evaluates as false."
        assert_eq!(range("bytes=10-"), if is_partial { Range::Unsatisfiable } else { Range::Whole }, "{note}");
    }
}

/// RFC 9110 §14.4, its examples among them.
#[test]
fn content_range_is_written_as_in_rfc_9110_14_4() {
    assert_eq!(content_range(&(42..1234), 1234), "bytes 42-1233/1234");
    assert_eq!(content_range(&(0..1), 1), "bytes 0-0/1");
    assert_eq!(unsatisfied_range(1234), "bytes */1234");
}

fn spec() -> impl Strategy<Value = String> {
    let number = prop_oneof![0_u64..120, any::<u64>()];
    (number.clone(), number, 0..3).prop_map(|(a, b, form)| match form {
        0 => format!("{}-{}", a.min(b), a.max(b)),
        1 => format!("{a}-"),
        _ => format!("-{a}"),
    })
}

proptest! {
    #[test]
    fn parts_lie_within_the_length_in_order_and_apart(
        specs in proptest::collection::vec(spec(), 1..24),
        length in prop_oneof![0_u64..150, Just(u64::MAX)],
    ) {
        let field = format!("bytes={}", specs.join(", "));
        if let Range::Satisfiable(parts) = ranged(&field, length) {
            prop_assert!((1..=PARTS_MAX).contains(&parts.len()));
            prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= length), "{field} {parts:?}");
            prop_assert!(parts.windows(2).all(|pair| pair[0].end < pair[1].start), "{field} {parts:?}");
        }
    }

    #[test]
    fn parts_are_the_requested_bytes(specs in proptest::collection::vec(spec(), 1..8), length in 1_u64..100) {
        let is_requested = |at: u64| specs.iter().any(|spec| match spec.split_once('-').unwrap() {
            ("", last) => at >= length.saturating_sub(last.parse().unwrap()),
            (first, "") => at >= first.parse().unwrap(),
            (first, last) => (first.parse().unwrap()..=last.parse().unwrap()).contains(&at),
        });
        let bytes: Vec<u64> = match ranged(&format!("bytes={}", specs.join(",")), length) {
            Range::Satisfiable(parts) => parts.into_iter().flatten().collect(),
            Range::Unsatisfiable => Vec::new(),
            Range::Whole => (0..length).collect(),
        };
        prop_assert_eq!(bytes, (0..length).filter(|at| is_requested(*at)).collect::<Vec<_>>());
    }

    #[test]
    fn any_field_can_be_parsed(field in "(bytes=)?[0-9,\t a=-]{0,30}", if_range in "[\"W/a,GMT0-9 ]{0,20}", length in any::<u64>()) {
        let validators = Validators { etag: Some("\"a\""), last_modified_ms: Some(u64::MAX), received_ms: u64::MAX };
        let _ = Range::of(Some(&field), Some(&if_range), &validators, length);
    }
}
