//! Preconditions by the rules and examples of RFC 9110.

use proptest::prelude::*;

use super::*;
use crate::fields::HeaderSection;

#[test]
fn a_write_passes_if_its_preconditions_hold_for_the_version() {
    for (if_match, if_none_match, version, passes) in [
        (None, None, None, true),
        (None, None, Some(7), true),
        (Some("\"7\""), None, Some(7), true),
        (Some("7"), None, Some(7), true),
        (Some("\"6\""), None, Some(7), false),
        (Some("\"77\""), None, Some(7), false),
        (Some("\"6\", \"7\""), None, Some(7), true),
        (Some("W/\"7\""), None, Some(7), false),
        (Some("\"7"), None, Some(7), false),
        (Some(""), None, Some(7), false),
        (Some("*"), None, Some(7), true),
        (Some("*"), None, None, false),
        (Some("\"0\""), None, None, false),
        (None, Some("*"), None, true),
        (None, Some("*"), Some(1), false),
        (None, Some("\"7\""), Some(7), false),
        (None, Some("W/\"7\""), Some(7), false),
        (None, Some("\"6\""), Some(7), true),
        (Some("\"7\""), Some("*"), Some(7), false),
    ] {
        let passed = Preconditions::parse(if_match, if_none_match).check(version).is_ok();
        assert_eq!(passed, passes, "{if_match:?} {if_none_match:?} {version:?}");
    }
}

#[test]
fn the_tag_of_a_version_matches_it() {
    let preconditions = Preconditions::parse(Some(&entity_tag(12)), None);
    assert_eq!(preconditions.check(Some(12)), Ok(()));
    assert_eq!(preconditions.check(Some(13)), Err(PreconditionFailed));
    assert!(!preconditions.is_empty() && Preconditions::default().is_empty());
}

#[test]
fn a_client_that_has_the_version_gets_304() {
    assert!(is_not_modified(Some("\"7\""), 7) && is_not_modified(Some("W/\"7\", \"9\""), 7));
    assert!(is_not_modified(Some("*"), 7));
    assert!(!is_not_modified(Some("\"6\""), 7) && !is_not_modified(None, 7));
}

const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const MODIFIED_MS: u64 = 784_111_777_000;
const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

fn tags(field: &str) -> Vec<String> {
    let written = |tag: EntityTag| format!("{}{}", if tag.is_weak { "W:" } else { "" }, tag.opaque);
    match EntityTags::parse(field) {
        EntityTags::Any => vec!["any".to_owned()],
        EntityTags::List(tags) => tags.into_iter().map(written).collect(),
    }
}

/// RFC 9110 §8.8.3: entity-tag = [ weak ] opaque-tag; opaque-tag = DQUOTE *etagc DQUOTE; etagc =
/// %x21 / %x23-7E / obs-text.
#[test]
fn a_list_of_entity_tags_may_have_commas_within_tags() {
    for (field, list) in [
        ("\"a\"", vec!["a"]),
        ("\"a,b\"", vec!["a,b"]),
        ("\"a,b\",W/\"c,\" , \"\"", vec!["a,b", "W:c,", ""]),
        (" , \"a\",, \"b\" ,", vec!["a", "b"]),
        ("\"a\\\", \"b\"", vec!["a\\", "b"]),
        ("\"ü\"", vec!["ü"]),
        ("*", vec!["any"]),
        (" * ", vec!["any"]),
        ("\"*\"", vec!["*"]),
        // Not of the grammar, but clear.
        ("w/\"a\"", vec!["W:a"]),
        ("a, b", vec!["a", "b"]),
        // Not clear.
        ("", vec![]),
        (",", vec![]),
        ("\"a\", *", vec!["a"]),
        ("W/a, w/a, W/", vec![]),
        ("\"a, \"b\"", vec!["b"]),
        ("\"a\"b, \"c\"", vec!["c"]),
        ("\"a", vec![]),
        ("\"", vec![]),
        ("a b", vec![]),
    ] {
        assert_eq!(tags(field), list, "{field}");
    }
}

#[test]
fn an_etag_field_is_one_entity_tag() {
    for field in ["\"a\"", "W/\"a\"", "w/\"a,b\"", " \"a\" ", "\"\"", "a"] {
        assert!(EntityTag::parse(field).is_some(), "{field}");
    }
    for field in ["", "*", "\"a\", \"b\"", "\"a\",", "a,b", "\"a", "W/a", "a b", "\"a\" \"b\""] {
        assert_eq!(EntityTag::parse(field), None, "{field}");
    }
}

/// RFC 9110 §8.8.3.2, the table of "Example Comparison Results".
#[test]
fn entity_tags_compare_strongly_and_weakly_as_in_rfc_9110_8_8_3_2() {
    for (one, other, strongly, weakly) in [
        ("W/\"1\"", "W/\"1\"", false, true),
        ("W/\"1\"", "W/\"2\"", false, false),
        ("W/\"1\"", "\"1\"", false, true),
        ("\"1\"", "\"1\"", true, true),
        ("\"a\"", "\"A\"", false, false),
    ] {
        let [a, b] = [one, other].map(|tag| EntityTag::parse(tag).unwrap());
        assert_eq!(
            (a.equals(&b, EntityTagComparison::Strong), a.equals(&b, EntityTagComparison::Weak)),
            (strongly, weakly),
            "{one} {other}"
        );
        assert_eq!(
            a.equals(&b, EntityTagComparison::Strong),
            b.equals(&a, EntityTagComparison::Strong),
            "{one} {other}"
        );
    }
}

fn evaluated(
    method: &str,
    fields: &[(&'static str, &str)],
    etag: Option<&str>,
    modified: Option<u64>,
) -> PreconditionResult {
    evaluate(
        method,
        &HeaderSection::from(fields),
        &Validators { etag, last_modified_ms: modified, received_ms: MODIFIED_MS + 60_000 },
    )
}

#[test]
fn if_match_and_if_none_match_are_evaluated_by_rfc_9110_13_1_1_and_13_1_2() {
    use PreconditionResult::{Failed, Holds, NotModified};
    for (name, value, etag, get, post) in [
        // "If the field value is "*", the condition is true if the origin server has a current
        // representation".
        ("if-match", "*", Some("\"a\""), Holds, Holds),
        ("if-match", "*", None, Holds, Holds),
        // "An origin server MUST use the strong comparison function when comparing entity tags for
        // If-Match".
        ("if-match", "\"a\"", Some("\"a\""), Holds, Holds),
        ("if-match", "\"b\", \"a\"", Some("\"a\""), Holds, Holds),
        ("if-match", "\"a\"", Some("W/\"a\""), Failed, Failed),
        ("if-match", "W/\"a\"", Some("\"a\""), Failed, Failed),
        ("if-match", "w/\"a\"", Some("\"a\""), Failed, Failed),
        // "Otherwise, the condition is false."
        ("if-match", "\"b\"", Some("\"a\""), Failed, Failed),
        ("if-match", "\"a\"", None, Failed, Failed),
        ("if-match", "", Some("\"a\""), Failed, Failed),
        // "If the field value is "*", the condition is false if the origin server has a current
        // representation".
        ("if-none-match", "*", Some("\"a\""), NotModified, Failed),
        ("if-none-match", "*", None, NotModified, Failed),
        // "A recipient MUST use the weak comparison function when comparing entity tags for
        // If-None-Match".
        ("if-none-match", "\"a\"", Some("\"a\""), NotModified, Failed),
        ("if-none-match", "W/\"a\"", Some("\"a\""), NotModified, Failed),
        ("if-none-match", "\"a\"", Some("W/\"a\""), NotModified, Failed),
        ("if-none-match", "w/\"a\"", Some("w/\"a\""), NotModified, Failed),
        ("if-none-match", "\"b\", \"a,c\"", Some("\"a,c\""), NotModified, Failed),
        ("if-none-match", "a", Some("\"a\""), NotModified, Failed),
        ("if-none-match", "\"a\"", Some("a"), NotModified, Failed),
        // "Otherwise, the condition is true."
        ("if-none-match", "\"b\"", Some("\"a\""), Holds, Holds),
        ("if-none-match", "\"a,c\"", Some("\"a\""), Holds, Holds),
        ("if-none-match", "\"a\"", None, Holds, Holds),
        ("if-none-match", "", Some("\"a\""), Holds, Holds),
        ("if-none-match", "\"*\"", Some("\"a\""), Holds, Holds),
    ] {
        let note = format!("{name}: {value} {etag:?}");
        assert_eq!(evaluated("GET", &[(name, value)], etag, None), get, "{note}");
        assert_eq!(evaluated("HEAD", &[(name, value)], etag, None), get, "{note}");
        assert_eq!(evaluated("POST", &[(name, value)], etag, None), post, "{note}");
        // §13.2.1: "MUST ignore … when received with a request method that does not involve the
        // selection or modification".
        for method in ["OPTIONS", "TRACE", "CONNECT"] {
            assert_eq!(evaluated(method, &[(name, value)], etag, None), Holds, "{note}");
        }
    }
}

#[test]
fn dates_are_evaluated_by_rfc_9110_13_1_3_and_13_1_4() {
    use PreconditionResult::{Failed, Holds, NotModified};
    let modified = Some(MODIFIED_MS);
    for (name, date, modified, get, post) in [
        // "If the selected representation's last modification date is earlier or equal to the date
        // provided in the field value, the condition is false."
        ("if-modified-since", MODIFIED, modified, NotModified, Holds),
        ("if-modified-since", AFTER, modified, NotModified, Holds),
        ("if-modified-since", BEFORE, modified, Holds, Holds),
        // §5.6.7: "A recipient that parses a timestamp value in an HTTP field MUST accept all
        // three HTTP-date formats."
        ("if-modified-since", "Sunday, 06-Nov-94 08:49:37 GMT", modified, NotModified, Holds),
        ("if-modified-since", "Sun Nov  6 08:49:37 1994", modified, NotModified, Holds),
        // "A recipient MUST ignore the If-Modified-Since header field if the received field value
        // is not a valid HTTP-date, the field value has more than one member, or if the request
        // method is neither GET nor HEAD."
        ("if-modified-since", "yesterday", modified, Holds, Holds),
        ("if-modified-since", "", modified, Holds, Holds),
        ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT", modified, Holds, Holds),
        // RFC 9111 §4.3.2: "a cache SHOULD use the stored response's Date field value (or … the
        // time that the stored response was received)"; here a minute later.
        ("if-modified-since", AFTER, None, Holds, Holds),
        ("if-modified-since", "Sun, 06 Nov 1994 08:50:37 GMT", None, NotModified, Holds),
        // "If the selected representation's last modification date is earlier than or equal to the
        // date provided in the field value, the condition is true."
        ("if-unmodified-since", MODIFIED, modified, Holds, Holds),
        ("if-unmodified-since", AFTER, modified, Holds, Holds),
        ("if-unmodified-since", BEFORE, modified, Failed, Failed),
        // "A recipient MUST ignore the If-Unmodified-Since header field if the received field
        // value is not a valid HTTP-date", and "if the resource does not have a modification date
        // available".
        ("if-unmodified-since", "yesterday", modified, Holds, Holds),
        ("if-unmodified-since", BEFORE, None, Holds, Holds),
    ] {
        let note = format!("{name}: {date} {modified:?}");
        assert_eq!(evaluated("GET", &[(name, date)], None, modified), get, "{note}");
        assert_eq!(evaluated("HEAD", &[(name, date)], None, modified), get, "{note}");
        assert_eq!(evaluated("PUT", &[(name, date)], None, modified), post, "{note}");
        assert_eq!(evaluated("OPTIONS", &[(name, date)], None, modified), Holds, "{note}");
    }
    let fraction = Validators { etag: None, last_modified_ms: None, received_ms: MODIFIED_MS + 999 };
    assert_eq!(
        evaluate("GET", &HeaderSection::from(&[("if-modified-since", MODIFIED)]), &fraction),
        NotModified,
        "whole seconds"
    );
    let undated = Validators { received_ms: u64::MAX, ..fraction };
    assert_eq!(
        evaluate("GET", &HeaderSection::from(&[("if-modified-since", AFTER)]), &undated),
        Holds,
        "no time counts"
    );
}

/// RFC 9110 §13.2.2: "a recipient cache or origin server MUST evaluate received request
/// preconditions … in the following order".
#[test]
fn preconditions_are_evaluated_in_the_order_of_rfc_9110() {
    use PreconditionResult::{Failed, Holds, NotModified};
    for (fields, get, post) in [
        (vec![], Holds, Holds),
        // Step 1 before step 3.
        (vec![("if-match", "\"b\""), ("if-none-match", "\"a\"")], Failed, Failed),
        (vec![("if-match", "\"a\""), ("if-none-match", "\"a\"")], NotModified, Failed),
        // Step 2 "When recipient is the origin server, If-Match is not present, and
        // If-Unmodified-Since is present".
        (vec![("if-match", "\"a\""), ("if-unmodified-since", BEFORE)], Holds, Holds),
        (vec![("if-unmodified-since", BEFORE), ("if-none-match", "\"b\"")], Failed, Failed),
        (vec![("if-unmodified-since", AFTER), ("if-none-match", "\"a\"")], NotModified, Failed),
        // Step 4 "When the method is GET or HEAD, If-None-Match is not present, and
        // If-Modified-Since is present".
        (vec![("if-none-match", "\"b\""), ("if-modified-since", AFTER)], Holds, Holds),
        (vec![("if-none-match", "\"a\""), ("if-modified-since", BEFORE)], NotModified, Failed),
        (vec![("if-match", "\"a\""), ("if-modified-since", AFTER)], NotModified, Holds),
    ] {
        assert_eq!(evaluated("GET", &fields, Some("\"a\""), Some(MODIFIED_MS)), get, "{fields:?}");
        assert_eq!(evaluated("DELETE", &fields, Some("\"a\""), Some(MODIFIED_MS)), post, "{fields:?}");
    }
}

proptest! {
    #[test]
    fn an_etag_that_the_client_sends_back_is_not_modified(
        opaque in "[!#-~]{0,12}",
        others in proptest::collection::vec("(W/)?\"[!#-~]{0,6}\"", 0..3),
        is_weak in any::<bool>(),
    ) {
        let tag = format!("{}\"{opaque}\"", if is_weak { "W/" } else { "" });
        let mut list = others;
        list.push(tag.clone());
        list.rotate_right(1);
        let joined = list.join(",");
        prop_assert_eq!(tags(&joined).len(), list.len());
        let validators = Validators { etag: Some(&tag), last_modified_ms: None, received_ms: 0 };
        prop_assert_eq!(evaluate("GET", &HeaderSection::from(&[("if-none-match", joined.as_str())]), &validators), PreconditionResult::NotModified);
    }

    #[test]
    fn any_list_is_read_to_its_end(list in "[\"W/a*, \\\\]{0,40}", name in "if-(none-)?match") {
        let name = if name == "if-match" { "if-match" } else { "if-none-match" };
        let validators = Validators { etag: Some("\"a\""), last_modified_ms: None, received_ms: 0 };
        let _ = evaluate("GET", &HeaderSection::from(&[(name, list.as_str())]), &validators);
        prop_assert!(tags(&list).len() <= list.split(',').count());
    }
}
