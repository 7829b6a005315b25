//! What patterns match and capture, and which are refused.

use proptest::prelude::*;

use super::*;

/// Returns what the placeholders capture, sorted by name; `None` if the pattern does not match.
fn captured(pattern: &str, host: &str, path: &str) -> Option<Vec<(String, String)>> {
    let pattern = Pattern::parse(pattern).unwrap();
    let mut captures: Vec<_> = pattern
        .captures(host, path)?
        .texts
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    captures.sort();
    Some(captures)
}

/// A pattern, a path, and what is captured.
type PatternCase<'a> = (&'a str, &'a str, Option<&'a [(&'a str, &'a str)]>);

fn paths(rows: &[PatternCase<'_>]) {
    for (pattern, path, expected) in rows {
        let expected = expected
            .map(|expected| expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect());
        assert_eq!(captured(pattern, "example.com", path), expected, "{pattern} {path}");
    }
}

/// "a splat (asterisk, `*`) will greedily match all characters"
#[test]
fn a_splat_matches_any_text() {
    paths(&[
        ("/blog/*", "/blog/", Some(&[("splat", "")])),
        ("/blog/*", "/blog/a", Some(&[("splat", "a")])),
        ("/blog/*", "/blog/a/b/", Some(&[("splat", "a/b/")])),
        ("/blog/*", "/blog", None),
        ("/blog/*", "/blo/a", None),
        ("/*", "/", Some(&[("splat", "")])),
        ("/*", "//evil.example", Some(&[("splat", "/evil.example")])),
        ("/*.jpg", "/a/b.jpg", Some(&[("splat", "a/b")])),
        ("/*.jpg", "/.jpg", Some(&[("splat", "")])),
        ("/*.jpg", "/a.jpg/b", None),
        ("/a*a", "/a", None),
        ("/a*a", "/aa", Some(&[("splat", "")])),
        ("/a/*/z", "/a/b/c/z", Some(&[("splat", "b/c")])),
        ("/a/*/z", "/a//z", Some(&[("splat", "")])),
        ("/a/*/z", "/a/z", None),
        ("/a-*-z/b", "/a-1/2-z/b", Some(&[("splat", "1/2")])),
        ("/a-*-z/b", "/a-/-z/b", Some(&[("splat", "/")])),
        ("/ä*", "/äö", Some(&[("splat", "ö")])),
    ]);
}

/// "Placeholders match all characters apart from the delimiter, which … may only be a
/// forward-slash (`/`) when part of the path."
#[test]
fn a_placeholder_matches_a_part_of_a_segment() {
    paths(&[
        ("/movies/:title", "/movies/alien", Some(&[("title", "alien")])),
        ("/movies/:title", "/movies/", None),
        ("/movies/:title", "/movies/alien/", None),
        ("/movies/:title", "/movies/alien/3", None),
        ("/blog/:year/:month", "/blog/2026/11", Some(&[("month", "11"), ("year", "2026")])),
        ("/:file.html", "/a.b.html", Some(&[("file", "a.b")])),
        ("/v:n_1-rc", "/v2-rc", Some(&[("n_1", "2")])),
        // The first placeholder is as long as possible.
        ("/:a-:b", "/x-y-z", Some(&[("a", "x-y"), ("b", "z")])),
        ("/:a-:b", "/--", None),
        ("/:a-:b", "/---", Some(&[("a", "-"), ("b", "-")])),
        ("/:a:b", "/xyz", Some(&[("a", "xy"), ("b", "z")])),
        ("/:a:b", "/äö", Some(&[("a", "ä"), ("b", "ö")])),
        ("/:a:b", "/x", None),
        ("/:a/*", "/x/y/z", Some(&[("a", "x"), ("splat", "y/z")])),
        ("/:a*", "/xy/z", Some(&[("a", "xy"), ("splat", "/z")])),
        ("/*/:a", "/x/y/z", Some(&[("a", "z"), ("splat", "x/y")])),
        ("/*:a", "/xyz", Some(&[("a", "z"), ("splat", "xy")])),
        ("/:a-*-:b.js", "/1-2-3-4.js", Some(&[("a", "1-2"), ("b", "4"), ("splat", "3")])),
        ("/:a-*-:b.js", "/1-2/3-4.js", Some(&[("a", "1"), ("b", "4"), ("splat", "2/3")])),
        // A colon that no letter follows is a colon, and so is an escaped one.
        ("/a:1", "/a:1", Some(&[])),
        ("/a%3Ab/%2A", "/a:b/*", Some(&[])),
    ]);
}

#[test]
fn a_path_without_placeholders_is_compared_decoded() {
    paths(&[
        ("/", "/", Some(&[])),
        ("/a", "/a/", None),
        ("/a", "/A", None),
        ("/caf%C3%A9", "/café", Some(&[])),
        ("/café", "/café", Some(&[])),
        ("/a%2Fb", "/a/b", Some(&[])),
        ("/page/#fragment", "/page/", Some(&[])),
    ]);
    assert_eq!(Pattern::parse("/caf%C3%A9/b#c").unwrap().literal().as_deref(), Some("/café/b"));
    assert_eq!(Pattern::parse("/:a").unwrap().literal(), None);
}

/// "absolute URLs must begin with `https` and specifying a port is not supported"; the delimiter
/// "when part of the host, is a period (`.`) or a forward-slash (`/`)".
#[test]
fn an_absolute_source_is_for_its_host() {
    for (pattern, host, path, is_match) in [
        ("https://example.com/a", "example.com", "/a", true),
        ("https://Example.COM/a", "example.com", "/a", true),
        ("https://example.com/a", "www.example.com", "/a", false),
        ("https://example.com", "example.com", "/", true),
        ("https://example.com/*", "example.com", "/a/b", true),
        ("https://:version.:subdomain.workers.dev/*", "a1.me.workers.dev", "/a", true),
        ("https://:version.:subdomain.workers.dev/*", "me.workers.dev", "/a", false),
        ("https://:version.:subdomain.workers.dev/*", "x.a1.me.workers.dev", "/a", false),
        ("https://*.example.com/:page", "a.b.example.com", "/a", true),
        // The splat of a host ends with the host.
        ("https://*.example.com/a", "evil.org", "/x.example.com/a", false),
    ] {
        assert_eq!(captured(pattern, host, path).is_some(), is_match, "{pattern} {host} {path}");
    }
}

#[test]
fn an_invalid_pattern_says_why() {
    for (source, problem) in [
        ("", "The source starts neither with `/` nor with `https://`."),
        ("a", "The source starts neither with `/` nor with `https://`."),
        ("http://example.com/", "The source starts neither with `/` nor with `https://`."),
        ("/a?b=c", "The source has a query. Only paths are compared."),
        ("/a b", "The source has a space. Write it as `%20`."),
        ("/*/*", "The source has more than one `*`."),
        ("https://*.example.com/*", "The source has more than one `*`."),
        // "Every named placeholder can only be referenced once."
        ("/:a/:a", "The source has `:a` twice."),
        ("https://:a.example.com/:a", "The source has `:a` twice."),
        ("/*/:splat", "The source has `:splat` twice."),
        ("/%zz", "The source has a broken percent-encoding."),
        ("/%ff", "The source has a broken percent-encoding."),
        ("/a/../b", "The source has a segment `.` or `..`, which no request has."),
        ("/a/%2e", "The source has a segment `.` or `..`, which no request has."),
        ("https:///a", "The source has no host after `https://`."),
        ("https://example.com:8443/", "The source has a port. Leave it out: any port matches."),
        (
            "https://a@example.com/",
            "The host of the source has a character that is not allowed in a host. Write international names in their ASCII form, `xn--…`.",
        ),
    ] {
        assert_eq!(Pattern::parse(source), Err(problem.to_owned()), "{source}");
    }
}

#[test]
fn placeholders_are_replaced_in_one_pass() {
    let pattern = Pattern::parse("/:id/:id_2").unwrap();
    let captures = pattern.captures("", "/:id_2/a b").unwrap();
    // A name that is a prefix of another, a text that looks like a name, and a name that the
    // pattern does not have.
    assert_eq!(captures.fill(":id-:id_2-:other:", STRICT), "%3Aid_2-a%20b-:other:");
}

/// A regular expression with backtracking would take years.
#[test]
fn matching_does_not_take_exponential_time() {
    let names: Vec<String> = (0..60).map(|n| format!(":p{n}a")).collect();
    let pattern = format!("/{}!", names.concat());
    assert_eq!(captured(&pattern, "", &format!("/{}", "a".repeat(20_000))), None);
    assert!(captured(&pattern, "", &format!("/{}!", "a".repeat(20_000))).is_some());
}

/// The documentation's rule as a search with backtracking: the first placeholder is as long as
/// possible, then the next one.
fn backtrack(pattern: &str, text: &str, captures: &mut Vec<(String, String)>) -> bool {
    let placeholder = match pattern.strip_prefix('*') {
        Some(rest) => Some((SPLAT, rest, 0)),
        None => name(pattern).map(|(name, rest)| (name, rest, 1)),
    };
    let Some((name, rest, least)) = placeholder else {
        let (Some(first), Some(c)) = (pattern.chars().next(), text.chars().next()) else {
            return pattern.is_empty() && text.is_empty();
        };
        return first == c && backtrack(&pattern[first.len_utf8()..], &text[c.len_utf8()..], captures);
    };
    for end in (least..=text.len()).rev().filter(|end| text.is_char_boundary(*end)) {
        if name != SPLAT && text[..end].contains('/') {
            continue;
        }
        captures.push((name.to_owned(), text[..end].to_owned()));
        if backtrack(rest, &text[end..], captures) {
            return true;
        }
        captures.pop();
    }
    false
}

proptest! {
    #[test]
    fn captures_are_those_of_a_greedy_search(
        before in "/([ab/]|:[c-e]|-){0,6}", splat in "[*]?", after in "([ab/]|:[f-h]|-){0,6}", path in "/[ab/-]{0,12}",
    ) {
        let pattern = format!("{before}{splat}{after}");
        // `:ca` is one name: a hyphen ends it.
        if let Ok(parsed) = Pattern::parse(&pattern) {
            let mut expected = Vec::new();
            let is_match = backtrack(&pattern, &path, &mut expected);
            let captures = parsed.captures("", &path).map(|captures| {
                captures.texts.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<Vec<_>>()
            });
            expected.sort();
            let captures = captures.map(|mut captures| { captures.sort(); captures });
            prop_assert_eq!(captures, is_match.then_some(expected), "{} {}", pattern, path);
        }
    }

    #[test]
    fn no_source_and_no_path_panics(source in "(https://)?[a*:/.é%#-]{0,12}", host in "[a:.é]{0,6}", path in "[a:/.é%-]{0,12}") {
        if let Ok(pattern) = Pattern::parse(&source) {
            let _ = pattern.captures(&host, &path);
            prop_assert_eq!(Pattern::parse(pattern.text()), Ok(pattern.clone()));
        }
    }
}
