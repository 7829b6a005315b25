//! Which requests a stored response matches.

use proptest::prelude::*;

use super::*;
use http_semantics::fields::HeaderSection;

fn names(of: &[&str]) -> Vec<String> {
    of.iter().map(|name| (*name).to_owned()).collect()
}

/// Returns true if a response stored for one value of a field matches another; `None` is a
/// request without the field.
fn is_match(name: &'static str, stored_value: Option<&str>, requested_value: Option<&str>) -> bool {
    let given =
        |value: Option<&str>| HeaderSection::from(&value.map(|value| (name, value)).into_iter().collect::<Vec<_>>());
    matches(
        &selecting_fields(&names(&[name]), &given(stored_value)),
        &HeaderSection::default(),
        &given(requested_value),
    )
}

/// RFC 9110 §12.5.5: Vary = #( "*" / field-name ).
#[test]
fn vary_names_fields_in_any_case_and_order() {
    for (field, vary) in [
        (None, Vary::Nothing),
        (Some(""), Vary::Nothing),
        (Some(" , ,"), Vary::Nothing),
        (Some("Accept"), Vary::Names(names(&["accept"]))),
        (Some("X-B,, Accept ,x-b,\tX-A"), Vary::Names(names(&["accept", "x-a", "x-b"]))),
        // "a member "*" … signals that other aspects of the request might have played a role".
        (Some("*"), Vary::Star),
        (Some("*, *"), Vary::Star),
        (Some(", *"), Vary::Star),
        (Some("*, Accept"), Vary::Star),
        (Some("Accept,*"), Vary::Star),
        // A malformed name cannot be compared.
        (Some("Accept Encoding"), Vary::Star),
        (Some("Accept; Cookie"), Vary::Star),
        (Some("\"Accept\""), Vary::Star),
        (Some("é"), Vary::Star),
    ] {
        assert_eq!(Vary::parse(field), vary, "{field:?}");
    }
}

/// RFC 9111 §4.1: "all the presented request header fields nominated by that Vary field value
/// match".
#[test]
fn every_field_that_vary_names_must_match() {
    let both = names(&["x-a", "x-b"]);
    let stored_for = selecting_fields(&both, &HeaderSection::from(&[("x-a", "1"), ("x-b", "2"), ("x-c", "3")]));
    for (fields, is_match) in [
        (vec![("x-a", "1"), ("x-b", "2")], true),
        (vec![("x-b", "2"), ("x-c", "other"), ("x-a", "1")], true),
        (vec![("x-a", "1"), ("x-b", "3")], false),
        (vec![("x-a", "2"), ("x-b", "1")], false),
        (vec![("x-a", "1")], false),
        (vec![], false),
    ] {
        assert_eq!(
            matches(&stored_for, &HeaderSection::default(), &HeaderSection::from(&fields)),
            is_match,
            "{fields:?}"
        );
    }
    assert!(matches(&Vec::new(), &HeaderSection::default(), &HeaderSection::from(&[("x-a", "1")])), "nothing varies");
}

/// RFC 9111 §4.1: "If (after any normalization that might take place) a header field is absent
/// from a request, it can only match another request if it is also absent there."
#[test]
fn an_absent_field_matches_only_an_absent_field_if_the_response_has_no_language() {
    for name in ["x-a", "accept-language", "accept-encoding", "accept"] {
        assert!(is_match(name, None, None), "{name}");
        for value in ["", "-", "a"] {
            assert!(is_match(name, Some(value), Some(value)), "{name} {value}");
            assert!(!is_match(name, None, Some(value)) && !is_match(name, Some(value), None), "{name} {value}");
        }
    }
}

/// RFC 9111 §4.1: "adding or removing whitespace, where allowed in the header field's syntax",
/// "combining multiple header field lines with the same field name", "normalizing both header
/// field values in a way that is known to have identical semantics".
#[test]
fn equivalent_values_match() {
    for (name, values) in [
        ("x-a", vec!["1,2", " 1, 2 ", "1 ,\t2"]),
        ("x-a", vec!["a;q=1, \"b, c\"", "a;q=1,\"b, c\""]),
        ("x-a", vec!["\"a\\\" , b\" , c", "\"a\\\" , b\",c"]),
        ("accept-language", vec!["en, de", "de,en", "eN , De", "en;q=1.000,de", "de, en, de,"]),
        ("accept-language", vec!["de-CH;q=0.5,*;q=0", "*;q=0.000 , DE-ch ; Q=0.50"]),
        ("accept-encoding", vec!["gzip, br", "br,GZIP", "x-gzip, br;q=1", "gzip;q=1.0,br,,x-gzip"]),
        ("accept-encoding", vec!["compress;q=0.1, identity;q=0", "identity;q=0.0, X-Compress;q=0.100"]),
        ("accept-charset", vec!["utf-8, ISO-8859-1;q=0.5", "iso-8859-1;q=0.5,UTF-8"]),
        ("accept", vec!["text/html, */*;q=0.1", "*/*; q=0.10,Text/HTML", "*/*;Q=0.1 , text/html;q=1"]),
        ("accept", vec!["text/html;Level=1;q=0.5", "TEXT/html; level=1 ;q=0.5"]),
        ("accept", vec!["a/b;c=\"d,e; f\", g/h", "g/h,A/B;C=\"d,e; f\""]),
    ] {
        for (one, other) in values.iter().flat_map(|one| values.iter().map(move |other| (one, other))) {
            assert!(is_match(name, Some(one), Some(other)), "{name}: {one} | {other}");
        }
    }
    let lines = |of: &[&'static str]| HeaderSection::from(&of.iter().map(|value| ("x-a", *value)).collect::<Vec<_>>());
    let name = names(&["x-a"]);
    assert_eq!(
        selecting_fields(&name, &lines(&["1", "2"])),
        selecting_fields(&name, &lines(&["1,2"])),
        "lines are joined"
    );
}

#[test]
fn other_values_do_not_match() {
    for (name, one, other) in [
        ("x-a", "1, 2", "2, 1"),
        ("x-a", "a", "A"),
        ("x-a", "a b", "ab"),
        ("x-a", "1", "1,"),
        ("x-a", "1", "1\u{a0}"),
        ("x-a", "\"a, b\"", "\"a,b\""),
        ("x-a", "\"a , b", "\"a,b"),
        ("cookie", "a=1; b=2", "b=2; a=1"),
        ("user-agent", "Mozilla/5.0 (X11)", "mozilla/5.0 (x11)"),
        ("accept-language", "de, en", "de, en;q=0.9"),
        ("accept-language", "de;q=0", "de;q=0.001"),
        ("accept-language", "de", "de-CH"),
        ("accept-language", "de;q=0.5", "de;q=500"),
        ("accept-encoding", "gzip", "gzip, br"),
        ("accept-encoding", "gzip", "gzip;q=0"),
        ("accept-encoding", "", "identity"),
        ("accept", "text/html;level=1", "text/html;level=2"),
        ("accept", "text/html;level=a", "text/html;level=A"),
        ("accept", "a/b;c=1;d=2", "a/b;d=2;c=1"),
        ("accept", "a/b;c=\"d, e\"", "a/b;c=\"d,e\""),
        ("accept", "a/b, \"c", "\"c, a/b"),
    ] {
        assert!(!is_match(name, Some(one), Some(other)), "{name}: {one} | {other}");
        assert!(is_match(name, Some(one), Some(one)), "{name}: {one}");
    }
}

/// RFC 9111 §4.1: "When a nominated request header field has a known mechanism for ranking
/// preference …, that mechanism MAY be used to choose a preferred response."
#[test]
fn a_response_in_the_most_preferred_language_matches() {
    let varies = names(&["accept-language", "x-a"]);
    let stored_for = selecting_fields(&varies, &HeaderSection::from(&[("accept-language", "en, de"), ("x-a", "1")]));
    for (language, accepted, is_match) in [
        ("de", "fr;q=0.5, de;q=1.0", true),
        ("de", "de", true),
        ("DE", "fr;q=0.5,de,De;q=1", true),
        (" de-CH ", "de-ch, de;q=0.9", true),
        ("de", "de;q=0.002, *;q=0.001", true),
        // It is not the most preferred one, or not the only one.
        ("de", "fr, de;q=0.9", false),
        ("de", "fr, de", false),
        ("de", "de, *", false),
        ("de", "*", false),
        ("de", "de-CH", false),
        ("de-CH", "de", false),
        ("de", "de;q=0", false),
        ("de", "de, de;q=0.5", false),
        ("de", "", false),
        // It is not one language.
        ("de, en", "de", false),
        ("*", "*", false),
        ("", "", false),
        ("", "de", false),
        // The preference is malformed.
        ("de", "de, fr;q=2", false),
        ("de", "de;q=1;x=1", false),
    ] {
        let stored = HeaderSection::from(&[("content-language", language)]);
        let requested_value = |a| HeaderSection::from(&[("accept-language", accepted), ("x-a", a)]);
        assert_eq!(matches(&stored_for, &stored, &requested_value("1")), is_match, "{language} | {accepted}");
        assert!(!matches(&stored_for, &stored, &requested_value("2")), "the other fields must match");
    }
    let without = HeaderSection::from(&[("x-a", "1")]);
    assert!(!matches(&stored_for, &HeaderSection::from(&[("content-language", "de")]), &without), "no wish");
    assert!(
        !matches(
            &stored_for,
            &HeaderSection::default(),
            &HeaderSection::from(&[("accept-language", "de"), ("x-a", "1")])
        ),
        "no language"
    );
    let by_other = selecting_fields(&names(&["x-a"]), &HeaderSection::from(&[("x-a", "1")]));
    assert!(!matches(
        &by_other,
        &HeaderSection::from(&[("content-language", "de")]),
        &HeaderSection::from(&[("accept-language", "de")])
    ));
}

#[test]
fn no_value_is_stored_in_plain_text() {
    let fields = HeaderSection::from(&[("cookie", "session=secret"), ("x-a", "secret")]);
    let selecting_fields = selecting_fields(&names(&["cookie", "x-a", "x-b"]), &fields);
    for (_, hash) in selecting_fields.iter().take(2) {
        let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        assert!(hash.len() == 22 && hash.bytes().all(is_digit), "{hash}");
    }
    assert_eq!(selecting_fields[2], ("x-b".to_owned(), "-".to_owned()));
    assert_eq!(hash("a"), hash("a"));
    assert_eq!(hash("").len(), 22);
}

/// These hashes are stored in KV with responses, so they must not change.
#[test]
fn the_hash_is_16_bytes_of_sha_256() {
    // SHA-256 of "" starts with e3b0c442 98fc1c14 9afbf4c8 996fb924; its last six bits are 0x24.
    assert!(hash("").starts_with('k'), "{}", hash(""));
    assert!(hash("").ends_with('D'), "{}", hash(""));
}

const NAMES: [&str; 5] = ["accept", "accept-encoding", "accept-language", "accept-charset", "x-a"];

proptest! {
    #[test]
    fn normalizing_twice_changes_nothing(
        value in prop_oneof!["[a-c/;=q01.,\"\\\\ \t*-]{0,40}", "([a-cA-C]{1,2}(;q=[01](\\.[0-9]{0,3})?)?[ ,]{0,3}){0,5}"],
        name in proptest::sample::select(&NAMES[..]),
    ) {
        let once = normalize(name, &value);
        prop_assert_eq!(normalize(name, &once), once);
    }

    #[test]
    fn equal_requests_select_the_same(value in "\\PC{0,30}", name in proptest::sample::select(&NAMES[..])) {
        prop_assert!(is_match(name, Some(&value), Some(&value)));
    }

    #[test]
    fn the_order_of_languages_changes_nothing(
        mut members in proptest::collection::vec("[a-c]{2}(;q=0\\.[0-9]{1,3})?", 0..6),
        by in 0_usize..6,
    ) {
        let before = members.join(",");
        let by = by.min(members.len());
        members.rotate_left(by);
        prop_assert!(is_match("accept-language", Some(&before), Some(&members.join(" , "))));
    }

    #[test]
    fn values_that_normalize_differently_do_not_match(one in "[a-c1,; ]{0,8}", other in "[a-c1,; ]{0,8}") {
        let is_same = normalize("x-a", &one) == normalize("x-a", &other);
        prop_assert_eq!(is_match("x-a", Some(&one), Some(&other)), is_same);
    }
}
