//! The precedence of versions, and texts that are not versions.

use proptest::prelude::*;

use super::*;

fn version(text: &str) -> Version<'_> {
    Version::parse(text).unwrap_or_else(|| panic!("{text}"))
}

#[test]
fn versions_are_ordered_as_semantic_versioning_2_0_0_section_11_says() {
    for ascending in [
        // §11.2
        &["1.0.0", "2.0.0", "2.1.0", "2.1.1"][..],
        // §11.3
        &["1.0.0-alpha", "1.0.0"],
        // §11.4
        &[
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
        ],
        // Numbers are compared numerically; those of a pre-release may have any length.
        &["1.9.0", "1.10.0", "1.11.0", "1.18446744073709551615.0"],
        &[
            "1.0.0-2",
            "1.0.0-10",
            "1.0.0-99999999999999999999",
            "1.0.0-100000000000000000000",
            "1.0.0-A",
            "1.0.0-a",
            "1.0.0-a-b",
        ],
        &["0", "0.0.1", "0.1", "v1-rc", "1", "v1.0.1"],
    ] {
        for (index, one) in ascending.iter().enumerate() {
            for (other_index, other) in ascending.iter().enumerate() {
                let expected = index.cmp(&other_index);
                assert_eq!(version(one).precedence(&version(other)), expected, "{one} and {other}");
            }
        }
    }
}

#[test]
fn build_metadata_a_leading_v_and_missing_zeros_do_not_change_precedence() {
    // §10: build metadata does not count. The `v` and missing zeros are beyond the standard.
    for (one, other) in [
        ("1.0.0+20130313144700", "1.0.0"),
        ("1.0.0-beta+exp.sha.5114f85", "1.0.0-beta+21AF26D3---117B344092BD"),
        ("v1.2.3", "1.2.3"),
        ("1.2", "1.2.0"),
        ("v1", "1.0.0"),
        ("1-rc.1", "1.0.0-rc.1"),
    ] {
        assert_eq!(version(one).precedence(&version(other)), Ordering::Equal, "{one} and {other}");
    }
}

#[test]
fn invalid_versions_are_refused() {
    for text in [
        "",
        "v",
        "V1.0.0",
        "vv1",
        " 1.0.0",
        "1.0.0 ",
        "1.",
        ".1",
        "1..0",
        "1.0.0.0",
        "01.0.0",
        "1.01.0",
        "1.0.00",
        "-1.0.0",
        "+1.0.0",
        "1.0.0-",
        "1.0.0-a..b",
        "1.0.0-01",
        "1.0.0-a.00",
        "1.0.0-é",
        "1.0.0-a_b",
        "1.0.0+",
        "1.0.0+a..b",
        "1.0.0+a+b",
        "1.x",
        "*",
        "18446744073709551616.0.0",
        "１.0.0",
    ] {
        assert_eq!(Version::parse(text), None, "{text}");
    }
    // §2, §9: the numbers of the version and of a pre-release have no leading zeros. Other
    // identifiers of a pre-release, and all of build metadata (§10), may have them.
    for text in ["1.0.0-0", "1.0.0-0a", "1.0.0-0-0", "1.0.0--", "1.0.0-a+001", "0.0.0"] {
        assert!(Version::parse(text).is_some(), "{text}");
    }
}

proptest! {
    #[test]
    fn precedence_is_an_order(texts in prop::array::uniform3("[0-2](\\.[0-2]){0,2}(-[0-2ab]{1,2}(\\.[0-2ab]){0,2})?")) {
        let parsed = texts.each_ref().map(|text| Version::parse(text));
        prop_assume!(parsed.iter().all(Option::is_some));
        let [a, b, c] = parsed.map(Option::unwrap);
        prop_assert_eq!(a.precedence(&b), b.precedence(&a).reverse());
        if a.precedence(&b).is_le() && b.precedence(&c).is_le() {
            prop_assert!(a.precedence(&c).is_le());
        }
    }
}
