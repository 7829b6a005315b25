//! Rules of `_headers`: what they change, and which are refused.

use proptest::prelude::*;

use super::*;
use http_semantics::request_target::host_of;

/// The example of the documentation.
const EXAMPLE: &str = "# This is a comment
/secure/page
\tX-Frame-Options: DENY
\tX-Content-Type-Options: nosniff
\tReferrer-Policy: no-referrer

/static/*
\tAccess-Control-Allow-Origin: *
\tX-Robots-Tag: nosnippet

https://myworker.mysubdomain.workers.dev/*
\tX-Robots-Tag: noindex
";

fn parse(file: &str) -> HeaderRules {
    HeaderRules::parse(file).unwrap_or_else(|errors| panic!("{file}: {errors:?}"))
}

fn changes(file: &str, host: &str, path: &str) -> (Vec<String>, Vec<(String, String)>) {
    let changes = parse(file).changes(&host_of(host), &AssetPath::Decoded(path.into()));
    (changes.remove, changes.set)
}

fn set(file: &str, host: &str, path: &str) -> Vec<String> {
    changes(file, host, path).1.into_iter().map(|(name, value)| format!("{name}: {value}")).collect()
}

/// "An incoming request which matches multiple rules' URL patterns will inherit all rules'
/// headers."
#[test]
fn a_request_gets_the_headers_of_all_rules_that_match_it() {
    let (custom, worker) = ("custom.domain", "myworker.mysubdomain.workers.dev");
    let secure = ["x-frame-options: DENY", "x-content-type-options: nosniff", "referrer-policy: no-referrer"];
    for (host, path, expected) in [
        (custom, "/secure/page", secure.to_vec()),
        (custom, "/static/image.jpg", vec!["access-control-allow-origin: *", "x-robots-tag: nosnippet"]),
        (worker, "/home", vec!["x-robots-tag: noindex"]),
        (worker, "/secure/page", [secure.as_slice(), &["x-robots-tag: noindex"]].concat()),
        (worker, "/static/styles.css", vec!["access-control-allow-origin: *", "x-robots-tag: nosnippet, noindex"]),
        (custom, "/home", vec![]),
    ] {
        assert_eq!(set(EXAMPLE, host, path), expected, "{host}{path}");
    }
}

/// "`_headers` rules ignore the incoming request's port and protocol."
#[test]
fn the_port_of_a_request_is_ignored() {
    let file = "https://Example.com/path\n  A: b";
    for (host, is_match) in [
        ("example.com", true),
        ("example.com:1234", true),
        ("EXAMPLE.com", true),
        ("example.org", false),
        ("[::1]:80", false),
        ("", false),
    ] {
        assert_eq!(!set(file, host, "/path").is_empty(), is_match, "{host}");
    }
}

/// "You may wish to remove a default header or a header which has been added by a more pervasive
/// rule."
#[test]
fn a_field_can_be_removed() {
    let file = "/*\n  Content-Security-Policy: default-src 'self';\n\n/*.jpg\n  ! Content-Security-Policy";
    assert_eq!(
        changes(file, "", "/a.html"),
        (vec![], vec![("content-security-policy".into(), "default-src 'self';".into())])
    );
    assert_eq!(changes(file, "", "/a.jpg"), (vec!["content-security-policy".into()], vec![]));
    // Within a rule, removals come before additions; a later rule adds the field again.
    for again in ["/*\n  A: 1\n/a\n  A: 2\n  ! A", "/*\n  A: 1\n/a\n  ! A\n/*\n  A: 2"] {
        assert_eq!(changes(again, "", "/a"), (vec![], vec![("a".into(), "2".into())]), "{again}");
    }
    assert_eq!(changes("/*\n  ! A\n/a\n  ! a\n  ! A", "", "/a"), (vec!["a".into()], vec![]));
}

/// "If a header is applied twice in the `_headers` file, the values are joined with a comma
/// separator."
#[test]
fn a_field_that_is_set_twice_has_both_values() {
    assert_eq!(set("/*\n  A: 1\n  a: 2\n/a\n  B: x\n  A: 3", "", "/a"), ["a: 1, 2, 3", "b: x"]);
}

#[test]
fn placeholders_in_values_are_replaced() {
    for (file, host, path, expected) in [
        (
            "/movies/:title\n  x-movie-name: You are watching \":title\"",
            "",
            "/movies/alien 3",
            "x-movie-name: You are watching \"alien%203\"",
        ),
        (
            "https://:project.pages.dev/*\n  Access-Control-Allow-Origin: https://staging.:project.pages.dev/",
            "me.pages.dev",
            "/",
            "access-control-allow-origin: https://staging.me.pages.dev/",
        ),
        ("/faq/*\n  Link: </faqs/:splat>; rel=\"canonical\"", "", "/faq/a/b", "link: </faqs/a/b>; rel=\"canonical\""),
        // A name that the source does not have stays as it is.
        ("/*\n  A: img-src data:image :splat", "", "/a", "a: img-src data:image a"),
        // What a visitor sends cannot end the field value.
        ("/*\n  A: :splat", "", "/a\r\nB: c, \"d\"; e", "a: a%0D%0AB%3A%20c%2C%20%22d%22%3B%20e"),
        ("/*\n  A: b :splat", "", "/", "a: b"),
    ] {
        assert_eq!(set(file, host, path), [expected], "{file}");
    }
}

#[test]
fn comments_spaces_and_line_endings_are_accepted() {
    let file = "\u{feff}/a\r\n# comment\r\nA:b:c\r\n\r\n   B :  d  \r\n\t! C\r\n";
    assert_eq!(changes(file, "", "/a"), (vec!["c".into()], vec![("a".into(), "b:c".into()), ("b".into(), "d".into())]));
    assert_eq!(parse("# only this\n"), HeaderRules::default());
}

#[test]
fn errors_name_their_line() {
    for (file, expected) in [
        ("A: b", "line 1: It belongs to no source. Above it write a line that starts with `/` or `https://`."),
        ("/a", "line 1: It has no fields. Below it write `Name: value` or `! Name`."),
        ("/a\n\n/b\n  A: b", "line 1: It has no fields. Below it write `Name: value` or `! Name`."),
        ("http://a.de/\n  A: b", "line 1: The source starts neither with `/` nor with `https://`."),
        ("https://a.de:8443/\n  A: b", "line 1: The source has a port. Leave it out: any port matches."),
        ("/*/*\n  A: b\n  C: d", "line 1: The source has more than one `*`."),
        ("/a\n  A: b\n  what", "line 3: A field is `Name: value`, or `! Name` to remove it."),
        ("/a\n  A: b\n  !C", "line 3: A field is `Name: value`, or `! Name` to remove it."),
        ("/a\n  A: b\n  C d: e", "line 3: `C d` is not a valid field name."),
        ("/a\n  A: b\n  : e", "line 3: `` is not a valid field name."),
        ("/a\n  A: b\n  C:", "line 3: `C` has no value. To remove it, write `! C`."),
        ("/a\n  A: b\n  C: ü", "line 3: The value of `C` has a character that is not ASCII, or a control character."),
    ] {
        let errors: Vec<String> = HeaderRules::parse(file).unwrap_err().iter().map(LineError::to_string).collect();
        assert_eq!(errors, [expected], "{file}");
    }
}

#[test]
fn fields_of_the_message_cannot_be_changed() {
    for (field, is_allowed) in [
        ("Content-Type: text/plain", true),
        ("Cache-Control: public, max-age=31556952, immutable", true),
        ("Vary: Origin", true),
        ("! ETag", true),
        ("! X-Content-Type-Options", false),
        ("X-Content-Type-Options: none", false),
        ("X-Content-Type-Options: nosniff", true),
        ("Content-Length: 5", false),
        ("! Content-Length", false),
        ("Content-Encoding: br", false),
        ("Content-Range: bytes 0-1/2", false),
        ("Transfer-Encoding: chunked", false),
        ("Connection: close", false),
        ("Date: now", false),
        ("ETag: \"a\"", false),
        ("Last-Modified: now", false),
        ("Location: /", false),
        ("Set-Cookie: a=b", false),
        ("! Vary", false),
    ] {
        assert_eq!(HeaderRules::parse(&format!("/*\n  {field}")).is_ok(), is_allowed, "{field}");
    }
    assert_eq!(
        HeaderRules::parse("/*\n  Set-Cookie: a=b").unwrap_err()[0].to_string(),
        "line 2: `set-cookie` is not for `_headers` to change. Shared caches store files; everybody would get the cookie."
    );
}

/// "You may define up to 100 header rules. Each line in the `_headers` file has a 2,000
/// character limit. The entire line, including spacing, header name, and value, counts towards
/// this limit."
#[test]
fn rules_and_lines_are_limited() {
    let file = "/a\n  A: b\n".repeat(100);
    assert_eq!(set(&file, "", "/a").len(), 1);
    let errors = HeaderRules::parse(&format!("{file}/a\n  A: b")).unwrap_err();
    assert_eq!(errors, [LineError { line: 201, problem: "There are more than 100 rules.".into() }]);
    let line = |length: usize| format!("/a\n  A: {}", "b".repeat(length - 5));
    assert!(HeaderRules::parse(&line(2000)).is_ok());
    assert_eq!(
        HeaderRules::parse(&line(2001)).unwrap_err()[0].to_string(),
        "line 2: It has 2001 characters. At most 2000 are allowed."
    );
}

#[test]
fn json_is_a_list_of_rules() {
    let rules = parse("/*.jpg\n  ! Content-Security-Policy\n  A: b\n  A: c");
    let json = serde_json::to_string(&rules).unwrap();
    assert_eq!(json, r#"[["/*.jpg",["content-security-policy"],[["a","b, c"]]]]"#);
    assert_eq!(serde_json::from_str::<HeaderRules>(&json).unwrap(), rules);
    for broken in [
        r#"[["a",[],[["a","b"]]]]"#,
        r#"[["/a",["a b"],[]]]"#,
        r#"[["/a",[],[["a","b\r\nc: d"]]]]"#,
        r#"[["/a",[],[["content-length","1"]]]]"#,
        "{}",
    ] {
        assert!(serde_json::from_str::<HeaderRules>(broken).is_err(), "{broken}");
    }
}

proptest! {
    #[test]
    fn json_round_trips(
        file in "((/|https://a\\.de/)([ab]|:x-|/){0,4}[*]?\n(  (A|b|B): [a:x, ]{0,4}c\n|  ! [AbC]\n){1,3}){0,4}", path in "/[ab/-]{0,6}",
    ) {
        if let Ok(rules) = HeaderRules::parse(&file) {
            let read: HeaderRules = serde_json::from_str(&serde_json::to_string(&rules).unwrap()).unwrap();
            prop_assert_eq!(&read, &rules);
            let path = AssetPath::Decoded(path.into());
            prop_assert_eq!(read.changes("a.de", &path), rules.changes("a.de", &path));
        }
    }

    /// Each name occurs once, and each field can be sent.
    #[test]
    fn changes_are_valid_fields(
        blocks in prop::collection::vec(
            ("/(:x|a)?[*]?", prop::collection::vec("[ab]", 0..3), prop::collection::vec(("[abA]", "[a:x:splat, ]{0,9}"), 0..3)), 0..5,
        ),
        host in "\\PC{0,6}", path in "/.{0,8}",
    ) {
        if let Ok(rules) = serde_json::from_value::<HeaderRules>(serde_json::json!(blocks)) {
            let changes = rules.changes(&host, &AssetPath::parse(&path));
            let mut names: Vec<_> = changes.remove.iter().chain(changes.set.iter().map(|(name, _)| name)).collect();
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            prop_assert_eq!(names.len(), count);
            prop_assert!(changes.set.iter().all(|(name, value)| fields::is_name(name) && fields::is_value(value)));
        }
    }
}
