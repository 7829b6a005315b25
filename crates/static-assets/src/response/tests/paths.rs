//! Which file a path means: `html_handling`, `_redirects`, previous releases, and paths without a
//! file (Workers static assets).

use proptest::prelude::*;
use url::Url;

use super::*;

const MODES: [HtmlHandling; 4] = [
    HtmlHandling::AutoTrailingSlash,
    HtmlHandling::ForceTrailingSlash,
    HtmlHandling::DropTrailingSlash,
    HtmlHandling::None,
];

/// 307 keeps the method (RFC 9110 §15.4.8); the query is kept, too.
#[test]
fn a_redirect_to_the_canonical_path_keeps_the_query() {
    let files = [("/index.html", "root"), ("/about.html", "about"), ("/docs/index.html", "docs"), ("/ä b.html", "ä")];
    for (mode, url, location) in [
        (MODES[0], "/about.html", "/about"),
        (MODES[0], "/about.html?", "/about?"),
        (MODES[0], "/about/?a=b&c=%2F%0D", "/about?a=b&c=%2F%0D"),
        (MODES[0], "/docs?a=//evil.example", "/docs/?a=//evil.example"),
        (MODES[0], "/docs/index.html?a?b", "/docs/?a?b"),
        (MODES[0], "/index.html", "/"),
        (MODES[0], "/%C3%A4%20b.html?%C3%A4", "/%C3%A4%20b?%C3%A4"),
        (MODES[0], "//about?a", "/about?a"),
        (MODES[0], "//", "/"),
        (MODES[1], "/about?a", "/about/?a"),
        (MODES[2], "/docs/?a", "/docs?a"),
        (MODES[3], "//about.html?a", "/about.html?a"),
    ] {
        let release = TestRelease::of(&files).html_handling(mode);
        for method in ["GET", "HEAD"] {
            let response = release.ask(method, url, &[("if-none-match", "*"), ("range", "bytes=0-0")]);
            assert_eq!((response.status, response.field("location")), (307, Some(location)), "{mode:?} {url}");
        }
        assert_eq!(release.get(location, &[]).status, 200, "{mode:?} {location}");
    }
}

/// Redirects come before files, rewrites are served under the path of the request, and neither
/// leads to another.
#[test]
fn redirects_come_before_files_and_rewrites_keep_the_path_of_the_request() {
    let release = TestRelease::of(&[("/index.html", "root"), ("/about.html", "about"), ("/app.js", "app"), ("/404.html", "no"), ("/old.html", "old")])
        .redirects(
            "/old /about 301\n/old.html /about\n/see /about?x=1 303\n/out https://example.org/a 308\n/kept /about#b 307\n\
             /blog/* /posts/:splat 302\n/us /about 200\n/us.html /about.html 200\n/js/* /:splat 200\n/home / 200\n/lost /nowhere 200",
        );
    for (url, status, location) in [
        ("/old", 301, "/about"),
        ("/old?a=b", 301, "/about?a=b"),
        ("/old.html", 302, "/about"),
        ("/see?a=b", 303, "/about?x=1"),
        ("/out?a=b", 308, "https://example.org/a?a=b"),
        ("/kept?a=b", 307, "/about?a=b#b"),
        ("/blog/a%20b/c", 302, "/posts/a%20b/c"),
        ("/blog//evil.example/", 302, "/posts/evil.example/"),
    ] {
        let response = release.get(url, &[("range", "bytes=0-0"), ("if-match", "\"x\"")]);
        assert_eq!((response.status, response.field("location")), (status, Some(location)), "{url}");
    }
    for (url, status, text) in [
        ("/us", 200, "about"),
        // `/about.html` alone would redirect to `/about`, a rewrite does not.
        ("/us.html?a=b", 200, "about"),
        ("/js/app.js", 200, "app"),
        ("/home", 200, "root"),
        ("/lost", 404, "no"),
        ("/js/none.js", 404, "no"),
        ("/js/kv-edge:current", 404, "no"),
    ] {
        let response = release.get(url, &[]);
        assert_eq!((response.status, response.text(), response.field("location")), (status, text, None), "{url}");
    }
    let tag = release.get("/about", &[]).etag().to_owned();
    assert_eq!(release.get("/us", &[("if-none-match", &tag)]).status, 304);
    assert_eq!(release.get("/us", &[("range", "bytes=0-0")]).text(), "a");
}

/// Paths that cannot be decoded, or cannot name a file when they are: [`crate::decode`] has the
/// reasons.
const NO_FILES: [&str; 12] = [
    "/50%",
    "/%",
    "/%zz",
    "/caf%E9",
    "/%ff",
    "/a%00",
    "/%5C",
    "/..%2f",
    "/a%2f%2e",
    "/kv-edge:current",
    "/%6bv-edge:blob:0",
    "//kv-edge:push:a",
];

/// A path that cannot name a file gets what every missing file gets: the nearest page, looked
/// for in the folders that can be decoded.
#[test]
fn a_path_that_names_no_file_gets_the_nearest_page() {
    let release =
        TestRelease::of(&[("/index.html", "root"), ("/404.html", "no"), ("/a/404.html", "a"), ("/ä/404.html", "ä")]);
    for path in NO_FILES {
        for html in [&[][..], &[("accept", "text/html")]] {
            let response = release.get(path, html);
            assert_eq!((response.status, response.text()), (404, "no"), "{path}");
            assert_eq!(response.field("cache-control"), Some("no-cache"), "{path}");
            assert_eq!(release.head(path, html).field("content-length"), Some("2"), "{path}");
        }
        let json = release.get(path, &[("accept", "application/json")]);
        assert_eq!((json.status, json.text()), (404, ""), "{path}");
    }
    for (path, text) in [
        ("/a/50%", "a"),
        ("/a/b/50%/c", "a"),
        ("/a/50%/a/x", "a"),
        ("/a%2Fb/50%", "a"),
        ("/%C3%A4/caf%E9", "ä"),
        ("/%E4/caf%E9", "no"),
        ("/50%/a/x", "no"),
        ("/a%00/x", "no"),
        ("/kv-edge:blob/a", "no"),
        ("//a//50%", "a"),
        ("//", "root"),
        ("///none", "no"),
    ] {
        let response = release.get(path, &[]);
        let found = response
            .field("location")
            .map_or_else(|| response.text().to_owned(), |to| release.get(to, &[]).text().to_owned());
        assert_eq!(found, text, "{path}");
    }
    let long = format!("/{}", "%61".repeat(5000));
    assert_eq!(release.get(&long, &[]).text(), "no");
    let slashes = format!("/{}%", "%2F/".repeat(5000));
    assert_eq!(release.get(&slashes, &[]).status, 404);
    let none = TestRelease::of(&[("/a.txt", "a")]).get("/50%", &[]);
    assert_eq!((none.status, none.text()), (404, ""));
}

/// A single-page application parses its path itself, and may know what `/search/50%` is.
#[test]
fn a_path_that_names_no_file_is_one_of_a_single_page_application() {
    let release = TestRelease::of(&[("/index.html", "app"), ("/404.html", "no")])
        .not_found(NotFoundHandling::SinglePageApplication);
    for path in NO_FILES.into_iter().chain(["/search/50%", "/search/caf%E9?q=%"]) {
        let response = release.get(path, &[("sec-fetch-mode", "navigate"), ("accept", "text/html")]);
        assert_eq!((response.status, response.text()), (200, "app"), "{path}");
        let script = release.get(path, &[("sec-fetch-mode", "cors"), ("accept", "*/*")]);
        assert_eq!((script.status, script.text()), (404, ""), "{path}");
    }
}

/// Rules with placeholders, also those of `_headers`, are compared with any path. A path that
/// cannot be decoded keeps its escapes, except those of unreserved characters.
#[test]
fn rules_with_placeholders_match_a_path_that_names_no_file() {
    let release = TestRelease::of(&[("/index.html", "root"), ("/404.html", "no"), ("/app.html", "app"), ("/x%.html", "x")])
        .redirects(
            "/caf%C3%A9 /found\n/old/* https://new.example/:splat 301\n/by/:id /to?id=:id#:id 302\n/app/* /app 200\n/js/* /:splat 200\n\
             /own/* /:splat",
        )
        .headers("/*\n  X-Frame-Options: DENY\n/old/*\n  X-A: :splat\n/b%C3%A9/*\n  X-B: 1");
    for (path, location) in [
        ("/old/caf%E9", "https://new.example/caf%E9"),
        ("/old/a%20b/50%", "https://new.example/a%20b/50%"),
        ("/%6fld/%7e50%", "https://new.example/~50%"),
        ("/old/a%5Cb?c=%", "https://new.example/a%5Cb?c=%"),
        ("/old/..%2f%zz", "https://new.example/..%2F%zz"),
        ("/by/50%", "/to?id=50%#50%"),
        ("/own//%5Cevil.example", "/%5Cevil.example"),
        ("/own/%2F%2Fevil.example%00", "/%2F%2Fevil.example%00"),
    ] {
        let response = release.get(path, &[]);
        assert_eq!(response.field("location"), Some(location), "{path}");
        assert_eq!(response.field("x-frame-options"), Some("DENY"), "{path}");
    }
    assert_eq!(release.get("/old/caf%E9", &[]).field("x-a"), Some("caf%E9"));
    // The text of a rule is decoded, so `é` in it does not match an escape that stays.
    for (path, expected) in [("/b%C3%A9/50", Some("1")), ("/b%C3%A9/50%", None)] {
        assert_eq!(release.get(path, &[]).field("x-b"), expected, "{path}");
    }
    for (path, status, text) in [
        // A rule without placeholders matches decoded paths only.
        ("/caf%E9", 404, "no"),
        ("/app/50%", 200, "app"),
        // The rewrite would name a file.
        ("/js/x%", 404, "no"),
        ("/js/caf%E9", 404, "no"),
    ] {
        let response = release.get(path, &[]);
        assert_eq!((response.status, response.text(), response.field("location")), (status, text, None), "{path}");
        assert_eq!(response.field("x-frame-options"), Some("DENY"), "{path}");
    }
}

/// The nearest `404.html`, with 404; a client that wants JSON gets no page.
#[test]
fn the_nearest_404_page_is_served() {
    let files = [("/404.html", "root"), ("/a/404.html", "a"), ("/a/b/c/404.html", "c"), ("/style.css", "x")];
    let release = TestRelease::of(&files);
    let html = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
    for (path, text) in [
        ("/x", "root"),
        ("/x.css", "root"),
        ("/a", "root"),
        ("/a/", "a"),
        ("/a/b/x", "a"),
        ("/a/b/c/d/e", "c"),
        ("/ab/x", "root"),
    ] {
        for fields in [&[][..], &[html], &[("accept", "*/*"), ("sec-fetch-mode", "cors")]] {
            let response = release.get(path, fields);
            assert_eq!((response.status, response.text()), (404, text), "{path} {fields:?}");
            assert_eq!(response.field("cache-control"), Some("no-cache"), "{path}");
            for name in ["etag", "last-modified", "accept-ranges"] {
                assert_eq!(response.field(name), None, "{path} {name}");
            }
            let head = release.head(path, fields);
            assert_eq!((head.status, head.field("content-length")), (404, Some(text.len().to_string().as_str())));
        }
        for json in ["application/json", "text/html, application/problem+json;q=0.5"] {
            let response = release.get(path, &[("accept", json)]);
            assert_eq!((response.status, response.text(), response.fields.len()), (404, "", 0), "{path} {json}");
        }
    }
    let response = TestRelease::of(&files).not_found(NotFoundHandling::None).get("/a/x", &[]);
    assert_eq!((response.status, response.text()), (404, ""));
    assert_eq!(TestRelease::of(&[("/a/404.html", "a")]).get("/b/x", &[]).text(), "");
}

/// `not_found_handling` as `single-page-application` is for navigations: `Sec-Fetch-Mode` says
/// what is one (Fetch Metadata), or `Accept` if it is missing.
#[test]
fn a_single_page_application_is_for_navigations_only() {
    let files = [("/index.html", "app"), ("/app.js", "script"), ("/404.html", "no")];
    let release = TestRelease::of(&files).not_found(NotFoundHandling::SinglePageApplication);
    let html = "text/html,application/xhtml+xml,*/*;q=0.8";
    for (fields, status) in [
        (&[("sec-fetch-mode", "navigate"), ("accept", html)][..], 200),
        (&[("sec-fetch-mode", "navigate")], 200),
        (&[("accept", html)], 200),
        (&[("sec-fetch-mode", "cors"), ("accept", html)], 404),
        (&[("sec-fetch-mode", "no-cors"), ("accept", "*/*")], 404),
        (&[("accept", "application/json")], 404),
        (&[("accept", "text/html, application/json")], 404),
        (&[("accept", "text/html;q=0")], 404),
        (&[("accept", "*/*")], 404),
        (&[], 404),
    ] {
        for url in ["/some/route?a=b", "/route.with.dots", "/none.js"] {
            let response = release.get(url, fields);
            assert_eq!(response.status, status, "{url} {fields:?}");
            assert_eq!(response.text(), if status == 200 { "app" } else { "" }, "{url} {fields:?}");
        }
        assert_eq!(release.get("/app.js", fields).text(), "script");
    }
    let navigate = ("sec-fetch-mode", "navigate");
    let response = release.get("/some/route", &[navigate]);
    assert_eq!(
        (response.field("cache-control"), response.field("content-type")),
        (Some("no-cache"), Some("text/html; charset=utf-8"))
    );
    assert_eq!(release.get("/some/route", &[navigate, ("if-none-match", response.etag())]).status, 304);
    let empty = TestRelease::of(&[("/a.txt", "a")]).not_found(NotFoundHandling::SinglePageApplication);
    assert_eq!(empty.get("/route", &[navigate]).status, 404);
}

/// A page of a previous release requests its own files; pages themselves are those of the
/// release that is served.
#[test]
fn previous_releases_serve_files_with_a_content_hash() {
    for (path, expected) in [
        ("/app.3f2a1b9c.js", true),
        ("/a/photo.JPG", true),
        ("/model.3f2a1b9c.unknown", true),
        ("/a.html", false),
        ("/a.HTM", false),
        ("/a.xhtml", false),
        ("/a", false),
        ("/", false),
        ("/a.js/", false),
        ("/a.js/b", false),
        ("/a.", false),
    ] {
        assert_eq!(may_be_in_previous_release(&AssetPath::Decoded(path.into())), expected, "{path}");
    }
    let before = TestRelease::of(&[
        ("/app.1.js", "one"),
        ("/both.css", "old"),
        ("/gone.html", "gone"),
        ("/plain", "plain"),
        ("/gone-DiwrgTda.css", "a{}"),
        ("/sw.js", "work"),
        ("/gone.pdf", "%PDF"),
    ])
    .headers("/app.1.js\n  X-Release: before")
    .immutable("/app.1.js")
    .encoded("/app.1.js", &[(ContentCoding::Br, 2)]);
    let release = TestRelease::of(&[("/app.2.js", "two"), ("/both.css", "new"), ("/404.html", "no")])
        .redirects("/moved.js /app.2.js")
        .after(before);
    for (path, status, text) in [
        ("/app.1.js", 200, "one"),
        ("/app.2.js", 200, "two"),
        ("/both.css", 200, "new"),
        ("/gone.html", 404, "no"),
        ("/gone", 404, "no"),
        ("/gone-DiwrgTda.css", 200, "a{}"),
        // A file without a content hash that was removed stays removed.
        ("/sw.js", 404, "no"),
        ("/gone.pdf", 404, "no"),
        ("/plain", 404, "no"),
        ("/app.3.js", 404, "no"),
        ("/moved.js", 302, ""),
    ] {
        let response = release.get(path, &[]);
        assert_eq!((response.status, response.text()), (status, text), "{path}");
    }
    let response = release.get("/app.1.js", &[("accept-encoding", "br")]);
    assert_eq!((response.field("x-release"), response.field("content-encoding")), (Some("before"), Some("br")));
    assert_eq!(response.field("cache-control"), Some("public, max-age=31536000, immutable"));
    assert_eq!(release.get("/app.1.js", &[("range", "bytes=0-1")]).text(), "on");
    assert_eq!(release.get("/app.1.js", &[("if-none-match", "*")]).status, 304);
}

fn names() -> impl Strategy<Value = String> {
    "(/|//|\\\\|%5[cC]|%2[fF]|%09|%0[aAdD]|[a-c]|\\.|%2[eE]|:|@|%40|;|%3[fF]|%23|%25|evil\\.example|index|\\.html|%C3%A4){0,9}"
}

proptest! {
    /// RFC 3986 §4.2: two slashes at the start name a host. Browsers read `\` as a slash and
    /// remove tabs.
    #[test]
    fn no_redirect_to_a_path_leads_to_another_host(
        path in names(),
        query in proptest::option::of("[a-c/?%=.:@\\\\]{0,6}"),
        mode in prop::sample::select(MODES.to_vec()),
    ) {
        let origin = Url::parse("https://example.com/").unwrap();
        let url = format!("https://example.com/{path}{}", query.as_deref().map(|query| format!("?{query}")).unwrap_or_default());
        let target = RequestTarget::parse(&url);
        let path = AssetPath::parse(&target.path);
        // Every file that the path could mean: as it is, without runs of slashes, and as a page
        // or a folder.
        let mut one = path.file().unwrap_or("/x").to_owned();
        while one.contains("//") {
            one = one.replace("//", "/");
        }
        let name = one.trim_end_matches('/').trim_end_matches(".html").trim_end_matches("/index");
        for file in [format!("{name}.html"), format!("{name}/index.html"), one.clone()] {
            // Not the path of a file, or a page that no URL can name because of a dot segment.
            let has_dots = file.split('/').any(|name| matches!(name, "." | ".."));
            if file.ends_with('/') || !file.starts_with('/') || file.contains("//") || has_dots {
                continue;
            }
            for rules in ["", "/* /:splat 302", "/:a/* /:splat/:a 301", "/* /x/../:splat 302"] {
                // The last one is refused when it is pushed, or harmless.
                let Ok(redirects) = RedirectRules::parse(rules) else { continue };
                let mut release = TestRelease::of(&[(&file, "x")]).html_handling(mode);
                release.manifest.redirects = redirects;
                let response = release.get(&url, &[]);
                let Some(location) = response.field("location") else { continue };
                let to = origin.join(location).unwrap();
                prop_assert_eq!(to.host_str(), Some("example.com"), "{} {}", file, location);
                prop_assert!(location.starts_with('/') && !location[1..].starts_with(['/', '\\']), "{}", location);
                let request = Url::parse(&url).unwrap();
                prop_assert_eq!(to.query().unwrap_or_default(), request.query().unwrap_or_default());
                if rules.is_empty() && path.file().is_some() {
                    let there = release.get(to.as_str(), &[]);
                    prop_assert_eq!((there.status, there.text()), (200, "x"), "{} {}", file, location);
                }
            }
        }
    }
}
