//! Header fields of files, and how `_headers` changes them (Workers static assets, "Headers").

use super::*;

fn release() -> TestRelease {
    let files = [
        ("/index.html", "root"),
        ("/app.3f2a1b9c.js", "app"),
        ("/a.txt", "a"),
        ("/404.html", "no"),
        ("/b.svg", "<svg/>"),
    ];
    TestRelease::of(&files).immutable("/app.3f2a1b9c.js").encoded("/a.txt", &[(ContentCoding::Br, 3)])
}

/// RFC 9111 §5.2.2, RFC 8246, Fetch Standard "nosniff", Content Security Policy Level 3,
/// Referrer Policy.
#[test]
fn without_rules_the_fields_follow_from_name_and_media_type() {
    for (path, cache_control, media_type) in [
        ("/", "no-cache", "text/html; charset=utf-8"),
        ("/app.3f2a1b9c.js", "public, max-age=31536000, immutable", "text/javascript; charset=utf-8"),
        ("/a.txt", "public, max-age=0, must-revalidate", "text/plain; charset=utf-8"),
        ("/b.svg", "public, max-age=0, must-revalidate", "image/svg+xml"),
        ("/none", "no-cache", "text/html; charset=utf-8"),
    ] {
        let response = release().get(path, &[]);
        assert_eq!(
            (response.field("cache-control"), response.field("content-type")),
            (Some(cache_control), Some(media_type)),
            "{path}"
        );
        assert_eq!(response.field("x-content-type-options"), Some("nosniff"), "{path}");
        let is_html = media_type.starts_with("text/html");
        for name in ["content-security-policy", "referrer-policy"] {
            assert_eq!(response.field(name).is_some(), is_html, "{path} {name}");
        }
    }
    let policy = release().get("/", &[]).field("content-security-policy").unwrap().to_owned();
    for directive in
        ["default-src 'self'", "object-src 'none'", "base-uri 'self'", "frame-ancestors 'self'", "form-action 'self'"]
    {
        assert!(policy.split("; ").any(|present| present == directive), "{directive}");
    }
    assert!(!policy.contains("script-src") && !policy.contains("unsafe-eval"));
}

/// A rule replaces a default field, and `! Name` removes it, or what earlier rules have set. The
/// values of several rules are joined with commas. Rules match paths, with placeholders, and
/// hosts.
#[test]
fn rules_replace_remove_and_add() {
    for (rules, url, name, expected) in [
        ("/a.txt\n  Cache-Control: public, max-age=60", "/a.txt", "cache-control", Some("public, max-age=60")),
        (
            "/*\n  CONTENT-SECURITY-POLICY: default-src 'none'",
            "/",
            "content-security-policy",
            Some("default-src 'none'"),
        ),
        ("/*\n  ! Content-Security-Policy", "/", "content-security-policy", None),
        ("/*\n  X-A: 1\n/a.txt\n  X-A: 2", "/a.txt", "x-a", Some("1, 2")),
        ("/*\n  X-A: 1\n/a.txt\n  ! X-A", "/a.txt", "x-a", None),
        ("/*\n  X-A: 1\n/a.txt\n  ! X-A", "/", "x-a", Some("1")),
        ("/:name.txt\n  X-A: is :name", "/a.txt", "x-a", Some("is a")),
        ("https://example.com/*\n  X-A: 1", "/a.txt", "x-a", Some("1")),
        ("https://example.com/*\n  X-A: 1", "https://EXAMPLE.com.:8080/a.txt", "x-a", Some("1")),
        ("https://:any.workers.dev/*\n  X-Robots-Tag: noindex", "/a.txt", "x-robots-tag", None),
        (
            "https://:any.workers.dev/*\n  X-Robots-Tag: noindex",
            "https://a.workers.dev/a.txt",
            "x-robots-tag",
            Some("noindex"),
        ),
        ("/a.txt\n  X-A: 1", "/A.txt", "x-a", None),
        ("/a.txt\n  X-A: 1", "/%61.txt?b", "x-a", Some("1")),
        // RFC 9110 §12.5.5: the response still depends on what it depended on.
        ("/*\n  Vary: Origin", "/a.txt", "vary", Some("Accept-Encoding, Origin")),
        ("/*\n  Vary: Origin", "/b.svg", "vary", Some("Origin")),
        ("/*\n  ! ETag", "/b.svg", "etag", None),
        ("/*\n  ! Last-Modified", "/b.svg", "last-modified", None),
    ] {
        let release = release().headers(rules);
        assert_eq!(release.get(url, &[]).field(name), expected, "{rules} {url}");
        assert_eq!(release.head(url, &[]).field(name), expected, "HEAD {rules} {url}");
    }
}

/// As on Workers static assets, rules apply to every status: also to a part, a 304, a redirect and
/// an error. The tests below show which fields of a redirect and of an error no rule changes.
#[test]
fn rules_apply_to_every_status() {
    let release = release()
        .headers("/*\n  X-A: 1\n  Cache-Control: public, max-age=60\n  Vary: Origin")
        .redirects("/old /a.txt 301");
    for (path, fields, status) in [
        ("/a.txt", &[][..], 200),
        ("/a.txt", &[("if-none-match", "*")], 304),
        ("/a.txt", &[("range", "bytes=0-0")], 206),
    ] {
        let response = release.get(path, fields);
        let names = ["x-a", "cache-control", "vary"];
        assert_eq!(response.status, status);
        assert_eq!(
            names.map(|name| response.field(name)),
            [Some("1"), Some("public, max-age=60"), Some("Accept-Encoding, Origin")]
        );
    }
    let bare = TestRelease::of(&[("/a.txt", "a")]).headers("/*\n  X-A: 1").encoded("/a.txt", &[(ContentCoding::Br, 3)]);
    for (release, path, fields, status) in [
        (&release, "/none", &[][..], 404),
        (&release, "/50%", &[], 404),
        (&release, "/old", &[], 301),
        (&release, "/index.html", &[], 307),
        (&release, "//a.txt", &[], 307),
        (&bare, "/none", &[], 404),
        (&bare, "/50%", &[("accept", "application/json")], 404),
        (&bare, "/a.txt", &[("if-match", "\"other\"")], 412),
        (&bare, "/a.txt", &[("range", "bytes=9-")], 416),
        (&bare, "/a.txt", &[("accept-encoding", "identity;q=0")], 406),
    ] {
        for method in ["GET", "HEAD"] {
            let response = release.ask(method, path, fields);
            // RFC 9110 §14.2: a range has a meaning for GET only, so HEAD gets 200.
            if method == "HEAD" && status == 416 {
                continue;
            }
            assert_eq!((response.status, response.field("x-a")), (status, Some("1")), "{method} {path} {fields:?}");
        }
    }
}

/// RFC 9111 §4.2.2: without `Cache-Control` a cache may store a 301 for as long as it likes.
/// Rules may change that for redirects of `_redirects`; if they remove it, `no-cache` stays. They
/// do not change it for redirects to the path that shows a file, which change with the files.
#[test]
fn only_redirects_of_redirect_rules_take_cache_control_from_header_rules() {
    let ask = "public, max-age=0, must-revalidate";
    let (long, redirects) = ("public, max-age=31536000, immutable", "/old /a.txt 301\n/away https://example.org/ 302");
    for (rules, path, expected) in [
        ("", "/old", Some(ask)),
        ("", "/away", Some(ask)),
        ("", "/index.html", Some(ask)),
        (long, "/old", Some(long)),
        (long, "/away", Some(long)),
        (long, "/index.html", Some(ask)),
        (long, "//a.txt", Some(ask)),
    ] {
        let rules = if rules.is_empty() { String::new() } else { format!("/*\n  Cache-Control: {rules}") };
        let response = release().redirects(redirects).headers(&rules).get(path, &[]);
        assert!(response.field("location").is_some(), "{path}");
        assert_eq!(response.field("cache-control"), expected, "{rules} {path}");
    }
    let removed = release().redirects(redirects).headers("/*\n  ! Cache-Control");
    assert_eq!(removed.get("/old", &[]).names(), ["cache-control", "location"]);
    assert_eq!(removed.get("/old", &[]).field("cache-control"), Some("no-cache"));
    assert_eq!(removed.get("/index.html", &[]).names(), ["cache-control", "location"]);
}

/// RFC 9110 §8: the content of an error is a sentence, whatever the file would have been.
#[test]
fn no_rule_describes_an_error_as_a_file() {
    let rules = "/*\n  Content-Type: application/pdf\n  Content-Disposition: attachment\n  Content-Language: de\n  \
                 Cache-Control: public, max-age=60\n  Vary: Origin\n  Access-Control-Allow-Origin: *";
    let response = TestRelease::of(&[("/a.pdf", "a")]).headers(rules).get("/none.pdf", &[]);
    assert_eq!((response.status, response.names()), (404, vec!["access-control-allow-origin", "vary"]));
    let mut error = vec![("Content-Type".into(), "text/plain".into()), ("Vary".into(), "Accept-Encoding".into())];
    let changes = HeaderRules::parse(rules).unwrap().changes("example.com", &AssetPath::parse("/none.pdf"));
    change_error(&mut error, changes);
    assert_eq!(
        error[..2],
        [("Content-Type".into(), "text/plain".into()), ("Vary".into(), "Accept-Encoding, Origin".into())]
    );
}

/// RFC 9110 §15.5.5: a 404 "is heuristically cacheable", but the file may be there in a moment.
#[test]
fn no_rule_makes_a_404_cacheable() {
    let long = "public, max-age=31536000, immutable";
    for name in ["Cache-Control", "CDN-Cache-Control", "Cloudflare-CDN-Cache-Control", "Expires"] {
        let release = release().headers(&format!("/*\n  {name}: {long}"));
        let lower = name.to_lowercase();
        assert_eq!(release.get("/a.txt", &[]).field(&lower), Some(long), "{name}");
        let none = release.get("/none.3f2a1b9c.js", &[]);
        assert_eq!((none.status, none.field("cache-control")), (404, Some("no-cache")), "{name}");
        assert!(none.fields.iter().all(|(_, value)| value != long), "{name}");
    }
    let removed = release().headers("/*\n  ! Cache-Control").get("/none", &[]);
    assert_eq!(removed.field("cache-control"), Some("no-cache"));
}

#[test]
fn files_whose_fields_depend_on_the_host_stay_out_of_workers_cache() {
    const NAME: &str = "cloudflare-cdn-cache-control";
    let of_host = "https://a.example/*\n  X-Robots-Tag: noindex";
    for (rules, expected) in [
        ("/*\n  X-A: 1".to_owned(), None),
        (format!("/*\n  {NAME}: max-age=60"), Some("max-age=60")),
        (of_host.to_owned(), Some("no-store")),
        (format!("/*\n  {NAME}: max-age=60\n{of_host}"), Some("no-store")),
        (format!("/*\n  ! {NAME}\n{of_host}"), Some("no-store")),
    ] {
        let release = release().headers(&rules);
        for url in ["/a.txt", "https://a.example/a.txt", "https://b.example/none"] {
            // A 404 needs none: no rule changes its `no-cache`.
            let expected = expected.filter(|_| !url.ends_with("/none"));
            assert_eq!(release.get(url, &[]).field(NAME), expected, "{rules} {url}");
        }
    }
}
