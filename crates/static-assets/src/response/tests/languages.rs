//! RFC 9110 §8.5, §8.7 and §12.5.4, RFC 4647 §3.4, RFC 8288: languages of a page.

use super::*;

const LINK: &str = "</about.de>; rel=\"alternate\"; hreflang=\"de\", </about.pt-BR>; rel=\"alternate\"; hreflang=\"pt-BR\", \
                    </about?lang=en>; rel=\"alternate\"; hreflang=\"en\", </about>; rel=\"alternate\"; hreflang=\"x-default\"";

fn release() -> TestRelease {
    let files = [
        ("/about.html", "about"),
        ("/about.de.html", "über"),
        ("/about.pt-BR.html", "sobre"),
        ("/alone.html", "alone"),
    ];
    TestRelease::of(&files).language("/about.html", "en").translated("/about.html", &["de", "pt-BR"])
}

/// The order of precedence: `?lang=`, the cookie `lang`, `Accept-Language`, and the page itself.
#[test]
fn the_query_comes_before_the_cookie_and_accept_language() {
    for (query, cookie, accepted, text, varies) in [
        ("", None, None, "about", true),
        ("", None, Some("de"), "über", true),
        ("", None, Some("de-CH, en;q=0.9"), "über", true),
        ("", None, Some("pt"), "sobre", true),
        ("", None, Some("de;q=0.1, pt-BR;q=0.2"), "sobre", true),
        ("", None, Some("de;q=0"), "about", true),
        ("", None, Some("de;q=2"), "about", true),
        ("", None, Some("fr"), "about", true),
        ("", None, Some("*"), "about", true),
        ("", None, Some("*, de;q=0.1"), "über", true),
        ("", Some("lang=de"), Some("pt-BR"), "über", true),
        ("", Some("a=b; lang=\"pt-BR\"; c=d"), Some("de"), "sobre", true),
        // A cookie that names no translation.
        ("", Some("lang=fr"), Some("de"), "über", true),
        ("", Some("lang="), Some("de"), "über", true),
        ("", Some("lang=*"), Some("de"), "über", true),
        ("", Some("LANG=pt"), Some("de"), "über", true),
        ("", Some("lang=fr; lang=pt"), Some("de"), "sobre", true),
        ("?lang=de", Some("lang=pt"), Some("en"), "über", false),
        ("?lang=DE-at", None, None, "über", false),
        ("?lang=en", Some("lang=pt"), Some("de"), "about", false),
        ("?a=b&lang=pt%2DBR&lang=de", None, None, "sobre", false),
        // A query that names no translation, or is broken, is ignored.
        ("?lang=fr", Some("lang=pt"), Some("de"), "sobre", true),
        ("?lang=", None, Some("de"), "über", true),
        ("?lang=%zz", None, Some("de"), "über", true),
        ("?lang=*", None, Some("de"), "über", true),
        ("?Lang=pt", None, Some("de"), "über", true),
    ] {
        let cookie = cookie.map(|cookie| ("cookie", cookie));
        let fields: Vec<_> = cookie.into_iter().chain(accepted.map(|field| ("accept-language", field))).collect();
        let response = release().get(&format!("/about{query}"), &fields);
        assert_eq!((response.status, response.text()), (200, text), "{query} {fields:?}");
        assert_eq!(response.field("vary"), varies.then_some("Accept-Language, Cookie"), "{query} {fields:?}");
        assert_eq!(response.field("link"), Some(LINK), "{query} {fields:?}");
    }
}

/// §8.5: "the natural language(s) of the intended audience"; §8.7: the translation's own URL.
#[test]
fn a_negotiated_page_names_its_language_and_its_own_url() {
    for (url, accepted, language, location) in [
        ("/about", "de", "de", Some("/about.de")),
        ("/about", "pt", "pt-BR", Some("/about.pt-BR")),
        ("/about", "en", "en", Some("/about?lang=en")),
        ("/about", "fr", "en", Some("/about?lang=en")),
        ("/about?lang=de", "en", "de", Some("/about.de")),
        // The URL is the one that was requested.
        ("/about?lang=en", "de", "en", None),
        ("/about.de", "en", "de", None),
    ] {
        let response = release().get(url, &[("accept-language", accepted)]);
        assert_eq!((response.status, response.field("content-language")), (200, Some(language)), "{url} {accepted}");
        assert_eq!(response.field("content-location"), location, "{url} {accepted}");
        let Some(location) = location else { continue };
        // Nothing is negotiated under that URL.
        let there = release().get(location, &[("accept-language", "xx"), ("cookie", "lang=xx")]);
        assert_eq!((there.status, &there.body, there.field("vary")), (200, &response.body, None), "{location}");
    }
}

/// A translation has a URL of its own, under which nothing is negotiated.
#[test]
fn a_translation_has_a_path_of_its_own() {
    let fields = [("accept-language", "pt-BR"), ("cookie", "lang=en")];
    let response = release().get("/about.de?lang=en", &fields);
    assert_eq!(
        (response.status, response.text(), response.field("vary"), response.field("link")),
        (200, "über", None, Some(LINK))
    );
    let file = release().get("/about.de.html?a", &fields);
    assert_eq!((file.status, file.field("location")), (307, Some("/about.de?a")));
    let alone = release().get("/alone?lang=de", &fields);
    let names = ["vary", "link", "content-location", "content-language"];
    assert_eq!((alone.status, names.map(|name| alone.field(name))), (200, [None; 4]));
}

/// A page of unknown language is the fallback, even if the client accepts any language.
#[test]
fn a_page_of_unknown_language_is_the_fallback() {
    let mut release = release();
    release.file("/about.html").language = None;
    for (accepted, text) in
        [("*", "about"), ("en, *;q=0.5", "about"), ("fr", "about"), ("de, *;q=0.5", "über"), ("*;q=0, de", "über")]
    {
        let response = release.get("/about", &[("accept-language", accepted)]);
        assert_eq!(response.text(), text, "{accepted}");
        assert_eq!(response.field("vary"), Some("Accept-Language, Cookie"), "{accepted}");
        assert_eq!(response.field("content-location").is_some(), text == "über", "{accepted}");
        assert!(!response.field("link").unwrap().contains("lang=en"), "{accepted}");
    }
}

/// Ranges, `If-Range` and encodings are for the translation that is selected.
#[test]
fn ranges_and_encodings_are_of_the_selected_translation() {
    let release = release().encoded("/about.de.html", &[(ContentCoding::Gzip, 3)]);
    let german = release.get("/about", &[("accept-language", "de"), ("accept-encoding", "gzip")]);
    assert_eq!(german.field("content-encoding"), Some("gzip"));
    assert_eq!(german.field("vary"), Some("Accept-Encoding, Accept-Language, Cookie"));
    let part = release.get("/about", &[("accept-language", "de"), ("range", "bytes=2-")]);
    assert_eq!((part.status, part.text(), part.field("content-language")), (206, "ber", Some("de")));
    for if_range in [part.etag(), german.etag(), MODIFIED] {
        let english = [("accept-language", "en"), ("range", "bytes=0-0"), ("if-range", if_range)];
        assert_eq!(release.get("/about", &english).status, 200, "{if_range} is no part of the English page");
    }
    let by_url = release.get("/about?lang=de", &[("accept-encoding", "gzip")]);
    assert_eq!((by_url.field("vary"), by_url.etag()), (Some("Accept-Encoding"), german.etag()));
    let refused = [("accept-language", "de"), ("accept-encoding", "identity;q=0")];
    assert_eq!(release.get("/about", &refused).status, 406);
}

/// Paths are percent-encoded in `Link` and `Content-Location`.
#[test]
fn paths_in_fields_are_percent_encoded() {
    let release = TestRelease::of(&[
        ("/ä \">, b.html", "x"),
        ("/ä \">, b.de.html", "y"),
        ("/i/index.html", "x"),
        ("/i/index.de.html", "y"),
    ])
    .translated("/ä \">, b.html", &["de"])
    .translated("/i/index.html", &["de"]);
    for (path, german, plain) in
        [("/%C3%A4%20%22%3E,%20b", "/%C3%A4%20%22%3E,%20b.de", "/%C3%A4%20%22%3E,%20b"), ("/i/", "/i/index.de", "/i/")]
    {
        let response = release.get(path, &[("accept-language", "de")]);
        let link = format!(
            "<{german}>; rel=\"alternate\"; hreflang=\"de\", <{plain}>; rel=\"alternate\"; hreflang=\"x-default\""
        );
        assert_eq!(
            (response.text(), response.field("content-location"), response.field("link")),
            ("y", Some(german), Some(link.as_str()))
        );
        assert_eq!(release.get(german, &[]).text(), "y");
    }
}
