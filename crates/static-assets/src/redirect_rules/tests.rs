//! Rules of `_redirects`: what they match and lead to, and which are refused.

use proptest::prelude::*;

use super::*;
use crate::keys::BLOBS;

/// The example of the documentation.
const EXAMPLE: &str = "
/home301 / 301
/home302 / 302
/querystrings /?query=string 301
/twitch https://twitch.tv
/trailing /trailing/ 301
/notrailing/ /nottrailing 301
/page/ /page2/#fragment 301
/blog/* https://blog.my.domain/:splat
/products/:code/:name /products?code=:code&name=:name
";

fn parse(file: &str) -> RedirectRules {
    RedirectRules::parse(file).unwrap_or_else(|errors| panic!("{file}: {errors:?}"))
}

/// Returns code and location for a path, perhaps with a query.
fn find(file: &str, target: &str) -> Option<(u16, String)> {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    parse(file).find(&AssetPath::Decoded(path.into()), query).map(|redirect| (redirect.status, redirect.location))
}

fn location(file: &str, target: &str) -> Option<String> {
    find(file, target).map(|(_, location)| location)
}

#[test]
fn a_path_is_redirected_as_the_example_of_the_documentation_says() {
    for (target, expected) in [
        ("/home301", Some((301, "/"))),
        ("/home302", Some((302, "/"))),
        ("/querystrings", Some((301, "/?query=string"))),
        ("/twitch", Some((302, "https://twitch.tv/"))),
        ("/trailing", Some((301, "/trailing/"))),
        ("/notrailing/", Some((301, "/nottrailing"))),
        ("/page/", Some((301, "/page2/#fragment"))),
        ("/blog/2026/a b", Some((302, "https://blog.my.domain/2026/a%20b"))),
        ("/products/12/shoe", Some((302, "/products?code=12&name=shoe"))),
        ("/", None),
        ("/home301/", None),
        ("/trailing/", None),
        ("/notrailing", None),
        ("/products/12", None),
    ] {
        let expected = expected.map(|(status, location)| (status, location.to_owned()));
        assert_eq!(find(EXAMPLE, target), expected, "{target}");
    }
}

#[test]
fn the_query_is_kept_if_the_destination_has_none() {
    for (rule, target, expected) in [
        ("/a /b", "/a?c=d", "/b?c=d"),
        ("/a /b#e", "/a?c=d", "/b?c=d#e"),
        ("/a /b?x=y", "/a?c=d", "/b?x=y"),
        ("/a https://example.com", "/a?c=d", "https://example.com/?c=d"),
        ("/a /b", "/a?", "/b"),
        ("/a /b", "/a?c={d}|%0D%0A", "/b?c={d}|%0D%0A"),
        ("/a /b", "/a?c\r\nd: e", "/b?c%0D%0Ad:%20e"),
    ] {
        assert_eq!(location(rule, target).as_deref(), Some(expected), "{rule} {target}");
    }
}

/// "If there are multiple redirects for the same `source` path, the top-most redirect is applied."
#[test]
fn the_first_rule_that_matches_is_applied() {
    let file = "/blog/new /1\n/blog/:slug /2\n/blog/* /3\n/:a/:b /4";
    for (path, expected) in
        [("/blog/new", "/1"), ("/blog/x", "/2"), ("/blog/x/y", "/3"), ("/blog/", "/3"), ("/x/y", "/4")]
    {
        assert_eq!(location(file, path).as_deref(), Some(expected), "{path}");
    }
}

/// "Only the first redirect in your file will apply": a rewrite is not followed by another one.
#[test]
fn a_rewrite_names_the_decoded_path_of_another_file() {
    for (rule, path, expected) in [
        ("/a /b 200\n/b /c 200", "/a", Some("/b")),
        ("/a /caf%C3%A9%20b 200", "/a", Some("/café b")),
        ("/blog/* /news/:splat 200", "/blog/a%b/ü", Some("/news/a%b/ü")),
        ("/a /b%3Ac 200", "/a", Some("/b:c")),
        ("/x/* /:splat 200", "/x//a//b", Some("/a/b")),
        // A rule does not reach what a request may not reach.
        ("/x/* /:splat 200", &format!("/x/{BLOBS}0"), None),
        ("/x/* /:splat 200", &format!("/x//{BLOBS}0"), None),
        ("/:a/:b /:a:b/c 200", "/./.", None),
        ("/x/* /:splat 200", "/x/a\u{0}", None),
    ] {
        assert_eq!(location(rule, path).as_deref(), expected, "{rule} {path}");
    }
}

#[test]
fn placeholders_cannot_leave_their_part_of_the_url() {
    for (rule, path, expected) in [
        ("/* /:splat", "//evil.example", Some("/evil.example")),
        ("/* /:splat", "/\\evil.example", Some("/%5Cevil.example")),
        ("/* /:splat", "/\t/evil.example", Some("/%09/evil.example")),
        ("/x* :splat", "/x/evil.example", None),
        ("/x/* /:splat", "/x//evil.example", Some("/evil.example")),
        ("/x/* /a/:splat", "/x//evil.example", Some("/a/evil.example")),
        ("/x/:a /:a", "/x/a\r\nSet-Cookie: b", Some("/a%0D%0ASet-Cookie:%20b")),
        ("/x/:a /:a", "/x/a?b#c%", Some("/a%3Fb%23c%25")),
        ("/x/:a /y?a=:a", "/x/1&b=2+3", Some("/y?a=1%26b%3D2%2B3")),
        ("/x/:a /y#:a", "/x/ü\"", Some("/y#%C3%BC%22")),
        ("/u/:name/* https://:name.blog.example.com/:splat", "/u/me/a", Some("https://me.blog.example.com/a")),
        ("/u/:name/* https://:name.blog.example.com/:splat", "/u/evil.example?/a", None),
        ("/u/:name/* https://:name.blog.example.com/:splat", "/u/evil.example\\/a", None),
        ("/u/:name/* https://:name.blog.example.com/:splat", "/u/a@b/a", None),
    ] {
        let redirects = RedirectRules::parse(rule);
        assert_eq!(
            redirects
                .ok()
                .and_then(|rules| rules.find(&AssetPath::Decoded(path.into()), None))
                .map(|it| it.location)
                .as_deref(),
            expected,
            "{rule} {path}"
        );
    }
}

#[test]
fn comments_spaces_and_line_endings_are_accepted() {
    let file = "\u{feff}# A comment\r\n\r\n  /a \t /b  301 # why\r\n/c /d # why\n/e /f#fragment\n/caf%C3%A9 /größe";
    for (path, expected) in
        [("/a", (301, "/b")), ("/c", (302, "/d")), ("/e", (302, "/f#fragment")), ("/café", (302, "/gr%C3%B6%C3%9Fe"))]
    {
        assert_eq!(find(file, path), Some((expected.0, expected.1.to_owned())), "{path}");
    }
    assert!(parse("# only this").is_empty());
}

#[test]
fn errors_name_their_line() {
    let no_rule = "line 1: A redirect is a source, a destination and perhaps a code, with spaces between them.";
    for (file, expected) in [
        ("/a", no_rule),
        // "Query Parameters", "Redirect by country or language": not supported.
        ("/shop id=:id /blog/:id 301", no_rule),
        ("/ /us 302 Country=us", no_rule),
        (
            "/blog/* /blog/404.html 404",
            "line 1: 404 is not the code of a redirect. Use 301, 302, 303, 307, 308 or 200.",
        ),
        ("/a /b 3x", "line 1: `3x` is not a valid code. Use 301, 302, 303, 307, 308 or 200."),
        ("workers.example.com/* /blog/:splat", "line 1: The source starts neither with `/` nor with `https://`."),
        ("https://example.com/a /b", "line 1: The source is absolute. A redirect is for all hosts: start with `/`."),
        ("/a b", "line 1: The destination starts neither with `/` nor with `https://`."),
        ("/a http://example.com", "line 1: The destination starts neither with `/` nor with `https://`."),
        (
            "/a //example.com",
            "line 1: The destination starts with two slashes, which is another host. Write `https://`.",
        ),
        ("/a https://", "line 1: The destination has no host, or no port after its colon."),
        ("/a https://example.com:/", "line 1: The destination has no host, or no port after its colon."),
        (
            "/a https://a@example.com/",
            "line 1: The host of the destination has a character that is not allowed in a host. Write international names in their ASCII form, `xn--…`.",
        ),
        (
            "/* https://:splat",
            "line 1: The destination has `:splat` in its host. Use a named placeholder: `:name.example.com`.",
        ),
        (
            "/:a https://example.com:a/",
            "line 1: Visitors could choose the domain of the destination. After the placeholder write the site: `.example.com`.",
        ),
        (
            "/:a https://:a.com/",
            "line 1: Visitors could choose the domain of the destination. After the placeholder write the site: `.example.com`.",
        ),
        (
            "/:a https://:a.0.0.1/",
            "line 1: Visitors could choose the domain of the destination. After the placeholder write the site: `.example.com`.",
        ),
        ("/a/* /b/:spalt", "line 1: The source has no `:spalt`. If no placeholder is meant, write `%3Aspalt`."),
        ("/a https://example.com/b 200", "line 1: With 200 the destination is a path: other sites are not fetched."),
        ("/a /b?c 200", "line 1: With 200 the destination is a path without query or fragment."),
        ("/a /%zz 200", "line 1: The destination has a broken percent-encoding."),
        ("/a /kv-edge%3Acurrent 200", "line 1: The destination cannot be the path of a file."),
        ("/a /b/../c 200", "line 1: The destination cannot be the path of a file."),
        (
            "/* /index.html 200",
            "line 1: One page would be served for all files, scripts and styles too. For a single-page application push with `--not-found single-page-application`.",
        ),
        ("/a /b\n\n/%61 /c", "line 3: Line 1 has the same source."),
        ("/a/* /b\n/a/* /c", "line 2: Line 1 has the same source."),
        ("/a/* /b\n/a/c /d", "line 2: It is never reached: line 1 matches its path too. Put it before that line."),
        ("/a /a", "line 1: It redirects to a path that it matches itself, without end."),
        ("/b /c\n/* /index.html", "line 2: It redirects to a path that it matches itself, without end."),
        (
            "/docs/ /docs/index.html",
            "line 1: The destination is the page that the source shows already, and redirects back to it.",
        ),
    ] {
        let errors: Vec<String> = RedirectRules::parse(file).unwrap_err().iter().map(LineError::to_string).collect();
        assert_eq!(errors, [expected], "{file}");
    }
    let errors = RedirectRules::parse("/a\n/b /c\n/d").unwrap_err();
    assert_eq!(errors.iter().map(|error| error.line).collect::<Vec<_>>(), [1, 3]);
}

/// All paths lead to the maintenance page; an earlier rule matches the page itself.
#[test]
fn an_earlier_rule_can_end_a_loop() {
    let file = "/maintenance /maintenance.html 200\n/* /maintenance 302";
    assert_eq!(find(file, "/a"), Some((302, "/maintenance".to_owned())));
    assert_eq!(find(file, "/maintenance"), Some((200, "/maintenance.html".to_owned())));
    // A rewrite is no loop.
    assert_eq!(find("/ /index.html 200", "/"), Some((200, "/index.html".to_owned())));
}

/// "limited to 2,000 static redirects and 100 dynamic redirects … Each redirect declaration
/// has a 1,000-character limit."
#[test]
fn rules_and_lines_are_limited() {
    use std::fmt::Write;

    let fixed = (0..2000).fold(String::new(), |mut file, n| {
        let _infallible = writeln!(file, "/s{n} /t");
        file
    });
    let full = (0..100).fold(fixed, |mut file, n| {
        let _infallible = writeln!(file, "/d{n}/* /t");
        file
    });
    assert_eq!(location(&full, "/s1999").as_deref(), Some("/t"));
    assert_eq!(location(&full, "/d99/x").as_deref(), Some("/t"));
    let errors = RedirectRules::parse(&format!("{full}/s2000 /t\n/d100/* /t")).unwrap_err();
    let errors: Vec<String> = errors.iter().map(LineError::to_string).collect();
    assert_eq!(
        errors,
        [
            "line 2101: There are more than 2000 redirects without placeholders.",
            "line 2102: There are more than 100 redirects with `*` or other placeholders.",
        ]
    );
    let line = |length: usize| format!("/a /{}", "ä".repeat(length - 4));
    assert!(RedirectRules::parse(&line(1000)).is_ok());
    let errors = RedirectRules::parse(&line(1001)).unwrap_err();
    assert_eq!(errors[0].to_string(), "line 1: It has 1001 characters. At most 1000 are allowed.");
}

#[test]
fn json_is_a_list_of_lines() {
    let redirects = parse("/c/* /d/:splat 301\n/e /f");
    let json = serde_json::to_string(&redirects).unwrap();
    assert_eq!(json, r#"[["/e","/f",302],["/c/*","/d/:splat",301]]"#);
    assert_eq!(serde_json::from_str::<RedirectRules>(&json).unwrap(), redirects);
    assert_eq!(serde_json::from_str::<RedirectRules>("[]").unwrap(), RedirectRules::default());
    for broken in
        [r#"[["a","/b",302]]"#, r#"[["/a","/b",404]]"#, r#"[["/a","/:b",302]]"#, r#"[["/a","//b",302]]"#, "{}"]
    {
        assert!(serde_json::from_str::<RedirectRules>(broken).is_err(), "{broken}");
    }
}

/// Lines that are valid rules more often than not.
fn line() -> impl Strategy<Value = (String, String, u16)> {
    let source = "/([a-c%é.]|/|:[xy]-|%41){0,5}[*]?";
    let destination = "(/|https://(:x\\.)?(e\\.de|e\\.co\\.uk)/)([a-cé.]|/|:[xy]-|:splat|%41|\\\\){0,4}([?]:x)?(#:y)?";
    (source, destination, prop::sample::select(vec![200, 301, 302, 303, 307, 308]))
}

proptest! {
    #[test]
    fn json_round_trips(lines in prop::collection::vec(line(), 0..6), path in "/[a-cé/\\\\ \r\n.-]{0,8}") {
        let rules = lines.iter().filter_map(|(source, destination, status)| {
            let rule = format!("{source} {destination} {status}\n");
            RedirectRules::parse(&rule).is_ok().then_some(rule)
        });
        if let Ok(redirects) = RedirectRules::parse(&rules.collect::<String>()) {
            let json = serde_json::to_string(&redirects).unwrap();
            let read: RedirectRules = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(&read, &redirects);
            let path = AssetPath::Decoded(path.into());
            prop_assert_eq!(read.find(&path, None), redirects.find(&path, None));
        }
    }

    /// The URL parser of browsers says which host the location has.
    #[test]
    fn a_visitor_chooses_at_most_the_subdomain(line in line(), path in "/[a-c:@?#%é/\\\\ \t\r\n.-]{0,12}") {
        let (source, destination, status) = line;
        if let Ok(redirects) = RedirectRules::parse(&format!("{source} {destination} {status}"))
            && let Some(redirect) = redirects.find(&AssetPath::Decoded(path.as_str().into()), Some(&path))
            && status != 200
        {
            let location = redirect.location;
            prop_assert!(location.bytes().all(|byte| byte.is_ascii_graphic()), "{location:?}");
            let url = url::Url::parse("https://here.example/a/b").unwrap().join(&location).unwrap();
            let host = url.host_str().unwrap_or_default();
            if destination.starts_with('/') {
                prop_assert_eq!(host, "here.example", "{}", location);
            } else {
                let fixed = destination.trim_start_matches("https://").trim_start_matches(":x.");
                let fixed = fixed.split('/').next().unwrap_or_default();
                prop_assert!(host == fixed || host.ends_with(&format!(".{fixed}")), "{location}");
            }
        }
    }

    #[test]
    fn no_json_panics(lines in prop::collection::vec((".{0,12}", ".{0,12}", any::<u16>()), 0..3), path in ".{0,12}") {
        if let Ok(redirects) = serde_json::from_value::<RedirectRules>(serde_json::json!(lines)) {
            let _ = redirects.find(&AssetPath::parse(&path), Some(&path));
        }
    }
}
