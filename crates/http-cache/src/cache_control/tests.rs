//! `Cache-Control` (RFC 9111) and targeted fields (RFC 9213, dictionaries of RFC 8941),
//! well-formed and malformed.

use proptest::prelude::*;

use super::*;
use http_semantics::fields::HeaderSection;

fn named(names: &[&str]) -> Qualified {
    Qualified::Fields(names.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn seconds_are_digits_and_at_most_two_to_the_31() {
    // RFC 9111 §1.2.2: "delta-seconds = 1*DIGIT". "If a cache receives a delta-seconds value
    // greater than the greatest integer it can represent … the cache MUST consider the value to
    // be 2147483648".
    for (text, seconds) in [
        ("0", Some(0)),
        ("003600", Some(3600)),
        ("2147483647", Some(2_147_483_647)),
        ("2147483648", Some(SECONDS_MAX)),
        ("99999999999", Some(SECONDS_MAX)),
        ("99999999999999999999999999", Some(SECONDS_MAX)),
        ("", None),
        ("-1", None),
        ("+1", None),
        ("1.0", None),
        ("1a", None),
        (" 1", None),
        ("١", None),
    ] {
        assert_eq!(delta_seconds(text), seconds, "{text}");
    }
}

#[test]
fn a_malformed_lifetime_is_stale() {
    // RFC 9111 §4.2.1: "Caches are encouraged to consider responses that have invalid freshness
    // information (e.g., a max-age directive with non-integer content) to be stale." §5.2: a
    // recipient "ought to accept both forms" of an argument.
    for (argument, seconds) in [
        ("=3600", 3600),
        ("=\"3600\"", 3600),
        ("=\"36\\00\"", 3600),
        ("=3600 ", 3600),
        ("=\"3600\" ", 3600),
        ("='3600'", 0),
        ("=3600.0", 0),
        ("=a3600", 0),
        ("=3600a", 0),
        ("=-3600", 0),
        (" =3600", 0),
        ("= 3600", 0),
        ("=\t\"3600\"", 0),
        ("=\"3600\"1", 0),
        ("=\"3600", 0),
        ("=3600 1", 0),
        ("=3600;a", 0),
        ("=", 0),
        ("", 0),
        ("=\"\"", 0),
    ] {
        for name in ["max-age", "MaX-AgE"] {
            let directives = CacheControl { max_age: Some(seconds), ..CacheControl::default() };
            assert_eq!(CacheControl::parse(&format!("{name}{argument}")), directives, "{name}{argument}");
            assert_eq!(CacheControl::parse(&format!("a, {name}{argument},b=c")), directives, "{name}{argument}");
        }
        let directives = CacheControl { s_maxage: Some(seconds), ..CacheControl::default() };
        assert_eq!(CacheControl::parse(&format!("s-maxage{argument}")), directives, "{argument}");
    }
    // No known directive.
    for field in
        ["", ",", " , ,\t", "max-age3600", "max age=3600", "x-max-age=3600", "=3600", "\"max-age=3600\"", "é=1"]
    {
        assert_eq!(CacheControl::parse(field), CacheControl::default(), "{field}");
    }
}

#[test]
fn the_first_of_duplicates_counts() {
    // RFC 9111 §4.2.1: "either the first occurrence should be used or the response should be
    // considered stale".
    for (field, seconds) in [
        ("max-age=1, max-age=1800", 1),
        ("max-age=1800, max-age=1", 1800),
        ("max-age=a, max-age=1800", 0),
        ("max-age=1800, max-age=a", 1800),
        ("extension=\"max-age=3600\", max-age=1", 1),
        ("max-age=\"1\", extension=\"max-age=3600, max-age=3600\"", 1),
    ] {
        assert_eq!(CacheControl::parse(field).max_age, Some(seconds), "{field}");
    }
}

#[test]
fn directives_without_an_argument_are_case_insensitive() {
    // RFC 9111 §5.2: "Cache directives are identified by a token, to be compared
    // case-insensitively".
    let field = "No-Store,\tPUBLIC ,must-revalidate,, proxy-revalidate, must-understand, only-if-cached, immutable";
    let directives = CacheControl {
        no_store: true,
        public: true,
        must_revalidate: true,
        proxy_revalidate: true,
        must_understand: true,
        only_if_cached: true,
        ..CacheControl::default()
    };
    assert_eq!(CacheControl::parse(field), directives);
    // None of them takes an argument. With one, those that restrict count all the same.
    let directives = CacheControl::parse("no-store=1, must-revalidate=\"a\", public=1");
    assert!(directives.no_store && directives.must_revalidate && !directives.public);
}

#[test]
fn no_store_no_cache_and_private_are_found_in_malformed_fields() {
    let (all, absent) = (Qualified::All, Qualified::Absent);
    for (field, no_store, no_cache, private) in [
        ("private max-age=60", false, &absent, &all),
        ("max-age=60 private", false, &absent, &all),
        ("private; max-age=600", false, &absent, &all),
        ("no-cache no-store", true, &all, &absent),
        ("x=\"a, No-Store, y=\"b", true, &absent, &absent),
        ("x=\"a\\, no-cache", false, &all, &absent),
        ("x=\"no-store\"", false, &absent, &absent),
        ("x=\"a, private\", y=no-store", false, &absent, &absent),
    ] {
        let directives = CacheControl::parse(field);
        assert_eq!(
            (directives.no_store, &directives.no_cache, &directives.private),
            (no_store, no_cache, private),
            "{field}"
        );
    }
}

#[test]
fn no_cache_and_private_apply_to_the_message_or_to_fields() {
    // RFC 9111 §5.2.2.4: "The qualified form … with an argument that lists one or more field
    // names"; a sender SHOULD NOT use the token form, so some do.
    for (argument, expected) in [
        ("", Qualified::All),
        ("=\"Set-Cookie\"", named(&["set-cookie"])),
        ("=\"a, B ,,c\"", named(&["a", "b", "c"])),
        ("=a", named(&["a"])),
        ("=\"\"", Qualified::All),
        ("=\"a b\"", Qualified::All),
        ("=\"a\"b", Qualified::All),
        ("=", Qualified::All),
    ] {
        assert_eq!(CacheControl::parse(&format!("x, no-cache{argument}, y")).no_cache, expected, "{argument}");
        assert_eq!(CacheControl::parse(&format!("x, Private{argument}, y")).private, expected, "{argument}");
    }
    assert_eq!(CacheControl::parse("no-cache=\"a\", no-cache").no_cache, Qualified::All);
    assert_eq!(CacheControl::parse("no-cache, no-cache=\"a\"").no_cache, Qualified::All);
    assert_eq!(CacheControl::parse("no-cache=\"a\", no-cache=b").no_cache, named(&["a", "b"]));
    assert!(named(&["a"]).names("a") && !named(&["a"]).names("b") && !Qualified::All.names("a"));
}

#[test]
fn malformed_seconds_that_are_not_a_lifetime_are_ignored() {
    // RFC 9111 §5.2.1.2: "If no value is assigned to max-stale, then the client will accept a
    // stale response of any age."
    for (argument, max_stale, seconds) in [
        ("", Some(MaxStale::Any), None),
        ("=60", Some(MaxStale::Seconds(60)), Some(60)),
        ("=\"60\"", Some(MaxStale::Seconds(60)), Some(60)),
        ("=a", None, None),
        ("= 60", None, None),
    ] {
        let field = ["max-stale", "min-fresh", "stale-if-error", "stale-while-revalidate"]
            .map(|name| [name, argument].concat());
        let directives = CacheControl {
            max_stale,
            min_fresh: seconds,
            stale_if_error: seconds,
            stale_while_revalidate: seconds,
            ..CacheControl::default()
        };
        assert_eq!(CacheControl::parse(&field.join(",")), directives, "{argument}");
    }
    assert_eq!(CacheControl::parse("max-stale=1, max-stale").max_stale, Some(MaxStale::Seconds(1)));
}

#[test]
fn pragma_counts_if_a_request_has_no_cache_control() {
    // RFC 9111 §5.4: "the Pragma request header field was defined for HTTP/1.0 caches, so that
    // clients could specify a "no-cache" request".
    let of = |fields: &[(&'static str, &str)]| CacheControl::of_request(&HeaderSection::from(fields));
    let no_cache = CacheControl { no_cache: Qualified::All, ..CacheControl::default() };
    assert_eq!(of(&[("pragma", "No-Cache")]), no_cache);
    assert_eq!(of(&[("pragma", "a=\"b\", no-cache")]), no_cache);
    for pragma in ["a", "no-store", "max-age=0", "x=no-cache", ""] {
        assert_eq!(of(&[("pragma", pragma)]), CacheControl::default(), "{pragma}");
    }
    assert_eq!(of(&[("pragma", "no-cache"), ("cache-control", "")]), CacheControl::default());
    assert!(of(&[("cache-control", "no-cache"), ("cache-control", "no-store")]).no_store);
    // "the meaning of "Pragma: no-cache" in responses was never specified".
    assert_eq!(
        CacheControl::of_response(&HeaderSection::from(&[("pragma", "no-cache")])),
        (CacheControl::default(), false)
    );
}

#[test]
fn a_targeted_field_overrides_cache_control_if_it_is_valid_and_not_empty() {
    // RFC 9213 §2.2: "the cache MUST select the first … field with a valid, non-empty value …
    // and it MUST ignore the Cache-Control and Expires header fields in that response, unless no
    // valid, non-empty value is available".
    for (targeted, is_used) in [
        ("max-age=60", true),
        ("foobar", true),
        ("", false),
        ("  ", false),
        ("max-age =60", false),
        ("max-age= 60", false),
        ("MaX-aGe=60", false),
        ("max-age=60, &&&&&", false),
        ("max-age=60,", false),
        ("max-age=60, , a", false),
        ("max-age=\"60\"", false),
    ] {
        let fields = HeaderSection::from(&[("cdn-cache-control", targeted), ("cache-control", "no-store")]);
        let (directives, is_targeted) = CacheControl::of_response(&fields);
        assert_eq!((is_targeted, directives.no_store), (is_used, !is_used), "{targeted}");
    }
    let (directives, is_targeted) = CacheControl::of_response(&HeaderSection::from(&[("cdn-cache-control", "")]));
    assert_eq!((directives, is_targeted), (CacheControl::default(), false));
}

#[test]
fn a_value_of_another_type_makes_a_targeted_field_invalid() {
    // RFC 9213 §2.1: an absent value is "mapped to a Boolean", "a quoted-string … to a String", a
    // token to "a Token, an Integer or a Decimal"; "no-store … always has a Boolean true value".
    // "Implementations SHOULD NOT consume values that violate these inferred constraints."
    for wrong in [
        "max-age",
        "max-age=1.5",
        "max-age=a",
        "max-age=?1",
        "max-age=(1)",
        "max-age=:MQ==:",
        "s-maxage=\"1\"",
        "stale-while-revalidate=\"1\"",
        "stale-if-error=1.0",
        "no-store=1",
        "public=\"a\"",
        "must-revalidate=a",
        "proxy-revalidate=1",
        "must-understand=()",
        "no-cache=1",
        "private=(a)",
        "no-store=?0",
        "no-cache=?0",
    ] {
        assert_eq!(CacheControl::parse_targeted(&format!("a, {wrong}")), None, "{wrong}");
    }
}

#[test]
fn a_targeted_field_has_the_response_directives_of_cache_control() {
    let field = "max-age=1;p=\"x\", s-maxage=2, stale-while-revalidate=3, stale-if-error=4, no-cache=\"A, b\", private=c, no-store, \
                 public, must-revalidate, proxy-revalidate, must-understand, only-if-cached, max-stale=5, min-fresh=6";
    let directives = CacheControl {
        no_store: true,
        no_cache: named(&["a", "b"]),
        private: named(&["c"]),
        public: true,
        must_revalidate: true,
        proxy_revalidate: true,
        must_understand: true,
        only_if_cached: false,
        max_age: Some(1),
        s_maxage: Some(2),
        min_fresh: None,
        max_stale: None,
        stale_while_revalidate: Some(3),
        stale_if_error: Some(4),
    };
    assert_eq!(CacheControl::parse_targeted(field), Some(directives));
    let parse = |field: &str| CacheControl::parse_targeted(field).unwrap();
    assert_eq!(parse("private, no-cache").private, Qualified::All);
    // RFC 8941 §4.2.2: "when duplicate Dictionary keys are encountered, all but the last
    // instance are ignored."
    assert_eq!(parse("max-age=1, max-age=2").max_age, Some(2));
    assert_eq!(parse("max-age=a, max-age=2").max_age, Some(2));
    assert_eq!(parse("no-cache=1, max-age=1, x, no-cache, max-age=a, max-age=3").max_age, Some(3));
    assert_eq!(CacheControl::parse_targeted("max-age=2, max-age=a, b"), None);
    // A negative integer means stale.
    assert_eq!(parse("max-age=-1").max_age, Some(0));
    assert_eq!(parse("max-age=99999999999").max_age, Some(SECONDS_MAX));
}

#[test]
fn dictionaries_are_parsed_as_in_rfc_8941() {
    use dictionary::MemberValue::{Boolean, Integer, Other, Text};
    let text = |text: &str| Text(text.to_owned());
    for (field, value) in [
        ("a", Boolean(true)),
        ("  a  ", Boolean(true)),
        ("a;b;c=1; d=\"x\"", Boolean(true)),
        ("a=?0", Boolean(false)),
        ("a=-0", Integer(0)),
        ("a=999999999999999", Integer(999_999_999_999_999)),
        ("a=-1;x=?1", Integer(-1)),
        ("a=123456789012.123", Other),
        ("a=\"\"", text("")),
        ("a=\"b\\\"\\\\c, d\"", text("b\"\\c, d")),
        ("a=*b:/!#", text("*b:/!#")),
        ("a=:YQ==:", Other),
        ("a=::", Other),
        ("a=()", Other),
        ("a=( 1  b;c \"d\" );e=2.5", Other),
    ] {
        assert_eq!(dictionary::parse(field), Some(vec![("a", value)]), "{field}");
    }
    assert_eq!(dictionary::parse(""), Some(vec![]));
    assert_eq!(dictionary::parse("*a_-.*9=1\t,\t b"), Some(vec![("*a_-.*9", Integer(1)), ("b", Boolean(true))]));
    assert_eq!(dictionary::parse("a=1,a"), Some(vec![("a", Integer(1)), ("a", Boolean(true))]));
    for broken in [
        "A",
        "1",
        "_a",
        "a=",
        "a =1",
        "a= 1",
        "a b",
        "a,",
        ",a",
        "a,,b",
        "a;",
        "a;B",
        "a;b=",
        "a;b=()",
        "a=?2",
        "a=?",
        "a=-",
        "a=--1",
        "a=1000000000000000",
        "a=1.",
        "a=.1",
        "a=1.1234",
        "a=1234567890123.1",
        "a=\"",
        "a=\"\\b\"",
        "a=\"\\",
        "a=\"\t\"",
        "a=\"é\"",
        "a=:a",
        "a=:a-:",
        "a=(",
        "a=(1",
        "a=(1,2)",
        "a=(1\t2)",
        "a=(1\"b\")",
        "a=((1))",
        "a=@1",
        "a=&",
        "\ta",
        "a\n",
    ] {
        assert_eq!(dictionary::parse(broken), None, "{broken}");
    }
}

proptest! {
    #[test]
    fn parsing_never_panics(field in "\\PC*", directive_like in "[a-z0-9=\"\\\\,;:?()*@. \t-]{0,40}") {
        for field in [field, directive_like] {
            let _ = CacheControl::parse(&field);
            let _ = CacheControl::parse_targeted(&field);
        }
    }

    #[test]
    fn the_text_around_a_directive_does_not_change_it(
        seconds in 0..SECONDS_MAX,
        before in proptest::collection::vec("[a-z]{1,5}(=([a-z0-9]{1,5}|\"[a-z0-9=, ]{0,9}\"))?", 0..4),
        after in "[a-z=\", -]{0,20}",
        space in "[ \t]{0,2}",
    ) {
        let field = format!("{}{space},{space}max-age={seconds}{space},{after}", before.join(","));
        prop_assert_eq!(CacheControl::parse(&field).max_age, Some(seconds), "{}", field);
    }

    #[test]
    fn no_store_is_never_lost(before in "[a-z=\\\\, ]{0,20}", broken in "\"?[a-z=\\\\, ]{0,20}", after in "[a-z=, ]{0,20}") {
        // An unclosed quote swallows nothing.
        let field = format!("{before},{broken},no-store,{after}");
        prop_assert!(CacheControl::parse(&field).no_store, "{}", field);
    }

    #[test]
    fn both_fields_have_one_meaning_if_both_are_well_formed(
        members in proptest::collection::btree_map(
            prop_oneof![Just("max-age"), Just("s-maxage"), Just("stale-if-error"), Just("x")], 0..SECONDS_MAX, 1..4),
        flags in proptest::collection::btree_set(
            prop_oneof![Just("no-store"), Just("public"), Just("no-cache"), Just("y")], 0..4),
    ) {
        let members = members.iter().map(|(name, seconds)| format!("{name}={seconds}"));
        let field = members.chain(flags.iter().map(ToString::to_string)).collect::<Vec<_>>().join(", ");
        prop_assert_eq!(CacheControl::parse_targeted(&field), Some(CacheControl::parse(&field)), "{}", field);
    }
}
