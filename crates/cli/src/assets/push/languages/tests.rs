use static_assets::manifest::FileBody;

use super::*;

fn file(path: &str) -> File {
    File {
        path: path.into(),
        body: FileBody { hash: "0".repeat(32).into(), length: 1, chunks: Vec::new() },
        media_type: if path.contains(".html") { "text/html; charset=utf-8" } else { "text/plain" }.into(),
        modified_seconds: 0,
        is_immutable: false,
        encoded: Vec::new(),
        language: None,
        translations: Vec::new(),
    }
}

#[test]
fn a_translation_belongs_to_the_page_beside_it() {
    let paths = [
        "/.de.html",
        "/.html",
        "/about.DE.html",
        "/about.de-AT.html",
        "/about.de.html",
        "/about.fil.html",
        "/about.html",
        "/about.v2.html",
        "/about.zh-Hant.html",
        "/alone.de.html",
        "/docs/index.de.html",
        "/docs/index.html",
        "/index.de.html",
        "/notes.de.txt",
        "/notes.txt",
        "/shop.main.html",
        "/shop.html",
    ];
    let mut files: Vec<File> = paths.iter().map(|path| file(path)).collect();
    files.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    let declared: Vec<Option<String>> =
        files.iter().map(|file| (*file.path == *"/about.html").then(|| "en-GB".to_owned())).collect();
    describe(&mut files, &declared, Some("fr")).unwrap();
    let found = |path: &str| {
        let file = files.iter().find(|file| *file.path == *path).unwrap();
        let translations: Vec<String> =
            file.translations.iter().map(|other| format!("{} {}", other.language, other.path)).collect();
        (file.language.as_deref(), translations)
    };
    for (path, language, translations) in [
        // Its language is the declared one. Its translations are sorted by tag. Of two whose tags
        // differ only in case, the first one counts.
        (
            "/about.html",
            Some("en-GB"),
            &["DE /about.DE.html", "de-AT /about.de-AT.html", "fil /about.fil.html", "zh-Hant /about.zh-Hant.html"]
                as &[&str],
        ),
        ("/about.de-AT.html", Some("de-AT"), &[]),
        // Not languages: `v2` has a digit, `main` has four letters.
        ("/about.v2.html", Some("fr"), &[]),
        ("/shop.html", Some("fr"), &[]),
        // `/alone.html` and `/index.html` do not exist, so these are no translations.
        ("/alone.de.html", Some("fr"), &[]),
        ("/index.de.html", Some("fr"), &[]),
        ("/docs/index.html", Some("fr"), &["de /docs/index.de.html"]),
        ("/docs/index.de.html", Some("de"), &[]),
        // `/.de.html` is no translation, because a page whose whole name is `.html` has none.
        ("/.html", Some("fr"), &[]),
        // Only pages have languages.
        ("/notes.txt", None, &[]),
        ("/notes.de.txt", None, &[]),
    ] {
        let expected = (language, translations.iter().map(|&translation| translation.to_owned()).collect());
        assert_eq!(found(path), expected, "{path}");
    }
}

#[test]
fn a_page_has_no_translation_into_its_own_language() {
    for (declared, default_language, other, is_accepted) in [
        (Some("en"), None, "/about.en.html", false),
        (Some("EN"), None, "/about.en.html", false),
        (None, Some("en"), "/about.en.html", false),
        (Some("en-GB"), None, "/about.en.html", true),
        (Some("en"), None, "/about.de.html", true),
        (None, None, "/about.en.html", true),
    ] {
        let mut files = [file(other), file("/about.html")];
        let described = describe(&mut files, &[None, declared.map(str::to_owned)], default_language);
        assert_eq!(described.is_ok(), is_accepted, "{declared:?} {default_language:?} {other}");
        if let Err(error) = described {
            let sentence = error.to_string();
            assert!(sentence.contains("/about.html") && sentence.contains("/about.en.html"), "{sentence}");
        }
    }
}

#[test]
fn a_page_declares_its_language_in_its_html_tag() {
    let far = format!("<!-- {} --><html lang=de>", "x".repeat(HEAD_BYTES));
    let cut = format!("{}<html lang=\"de", " ".repeat(HEAD_BYTES - 14));
    for (page, expected) in [
        ("<!doctype html><html lang=\"de-CH\"><body>", Some("de-CH")),
        ("<!DOCTYPE html>\n<HTML class=a LANG='fr'>", Some("fr")),
        ("<html lang=pt-BR>", Some("pt-BR")),
        ("<html dir = \"rtl\" hidden lang = \" he \" >", Some("he")),
        ("<html data-lang=\"x\" xml:lang=\"y\" lang=\"en\">", Some("en")),
        ("<html title=\"a > lang=b\" lang=en>", Some("en")),
        ("<!--[if IE]><html lang=\"it\"><![endif]--><html lang=\"es\">", Some("es")),
        ("<html><p lang=\"de\">", None),
        ("<html\n>", None),
        ("<html lang>", None),
        ("<html lang=\"\">", None),
        ("<html lang=\"de\r\nx-evil: 1\">", None),
        ("<htmlx lang=de><html lang=nl>", Some("nl")),
        ("text < html lang=de>", None),
        ("<html lang=\"de", None),
        ("", None),
        (far.as_str(), None),
        (cut.as_str(), None),
    ] {
        assert_eq!(declared_language(page.as_bytes()).as_deref(), expected, "{page}");
    }
    assert_eq!(declared_language(b"\xff\xfe<html lang=\"de\xff\">"), None);
}

proptest::proptest! {
    #[test]
    fn no_page_makes_it_panic(head in ".*", tag in "<(html|!--)? *(lang)? *[=\"'> /a]{0,9}") {
        let _language = declared_language(format!("{tag}{head}{tag}").as_bytes());
    }
}
