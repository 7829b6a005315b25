//! Which file or redirect a path means in each mode of `html_handling`, and which pages of a 404
//! are tried.

use proptest::prelude::*;

use super::HtmlHandling::{AutoTrailingSlash, DropTrailingSlash, ForceTrailingSlash, None};
use super::*;

/// Each line is a path and what it means: `> path` is a redirect, `-` nothing, anything else a
/// file.
fn check(mode: HtmlHandling, files: &[&str], lines: &[(&str, &str)]) {
    for (path, expected) in lines {
        let expected = match (expected.strip_prefix("> "), *expected) {
            (Some(to), _) => PathResolution::Redirect(to.to_owned()),
            (_, "-") => PathResolution::NotFound,
            (_, file) => PathResolution::File(file.to_owned()),
        };
        assert_eq!(mode.resolve(path, |file| files.contains(&file)), expected, "{mode:?} {files:?} {path}");
    }
}

/// The files of the documentation's example. It has four tables, which are the next four tests.
const DOCUMENTED: [&str; 2] = ["/file.html", "/folder/index.html"];

#[test]
fn auto_trailing_slash_follows_the_documented_table() {
    check(
        AutoTrailingSlash,
        &DOCUMENTED,
        &[
            ("/file", "/file.html"),
            ("/file.html", "> /file"),
            ("/file/", "> /file"),
            ("/file/index", "> /file"),
            ("/file/index.html", "> /file"),
            ("/folder", "> /folder/"),
            // In the documentation these three redirect to `/folder`, which redirects to
            // `/folder/`.
            ("/folder.html", "> /folder/"),
            ("/folder/index", "> /folder/"),
            ("/folder/index.html", "> /folder/"),
            ("/folder/", "/folder/index.html"),
        ],
    );
}

#[test]
fn force_trailing_slash_follows_the_documented_table() {
    check(
        ForceTrailingSlash,
        &DOCUMENTED,
        &[
            ("/file", "> /file/"),
            ("/file.html", "> /file/"),
            ("/file/", "/file.html"),
            ("/file/index", "> /file/"),
            ("/file/index.html", "> /file/"),
            ("/folder", "> /folder/"),
            ("/folder.html", "> /folder/"),
            ("/folder/", "/folder/index.html"),
            ("/folder/index", "> /folder/"),
            ("/folder/index.html", "> /folder/"),
        ],
    );
}

#[test]
fn drop_trailing_slash_follows_the_documented_table() {
    check(
        DropTrailingSlash,
        &DOCUMENTED,
        &[
            ("/file", "/file.html"),
            ("/file.html", "> /file"),
            ("/file/", "> /file"),
            ("/file/index", "> /file"),
            ("/file/index.html", "> /file"),
            ("/folder", "/folder/index.html"),
            ("/folder.html", "> /folder"),
            ("/folder/", "> /folder"),
            ("/folder/index", "> /folder"),
            ("/folder/index.html", "> /folder"),
        ],
    );
}

#[test]
fn without_html_handling_only_exact_paths_are_files() {
    check(
        None,
        &DOCUMENTED,
        &[
            ("/file", "-"),
            ("/file.html", "/file.html"),
            ("/file/", "-"),
            ("/file/index", "-"),
            ("/file/index.html", "-"),
            ("/folder", "-"),
            ("/folder.html", "-"),
            ("/folder/", "-"),
            ("/folder/index", "-"),
            ("/folder/index.html", "/folder/index.html"),
        ],
    );
    check(None, &["/index.html"], &[("/", "-"), ("/index", "-"), ("/index.html", "/index.html")]);
}

#[test]
fn with_html_handling_the_root_is_a_slash() {
    for mode in [AutoTrailingSlash, ForceTrailingSlash, DropTrailingSlash] {
        let lines =
            [("/", "/index.html"), ("/index", "> /"), ("/index.html", "> /"), ("/index/", "> /"), ("/other", "-")];
        check(mode, &["/index.html"], &lines);
        check(mode, &[], &[("/", "-"), ("/index", "-"), ("/index.html", "-")]);
    }
}

#[test]
fn a_page_and_a_folder_of_the_same_name_are_both_served() {
    let files = ["/both.html", "/both/index.html"];
    let lines = [
        ("/both", "/both.html"),
        ("/both.html", "> /both"),
        ("/both/", "/both/index.html"),
        ("/both/index", "> /both/"),
        ("/both/index.html", "> /both/"),
    ];
    check(AutoTrailingSlash, &files, &lines);
    // One path cannot serve two files, so the other file is served under its full name.
    let lines = [
        ("/both", "> /both/"),
        ("/both.html", "/both.html"),
        ("/both/", "/both/index.html"),
        ("/both/index", "> /both/"),
        ("/both/index.html", "> /both/"),
    ];
    check(ForceTrailingSlash, &files, &lines);
    let lines = [
        ("/both", "/both.html"),
        ("/both.html", "> /both"),
        ("/both/", "> /both"),
        ("/both/index", "> /both"),
        ("/both/index.html", "/both/index.html"),
    ];
    check(DropTrailingSlash, &files, &lines);
    let lines = [("/both", "-"), ("/both.html", "/both.html"), ("/both/", "-"), ("/both/index", "-")];
    check(None, &files, &lines);
}

#[test]
fn an_exact_name_takes_precedence() {
    let files = ["/cgi", "/cgi.html"];
    let lines = [("/cgi", "/cgi"), ("/cgi.html", "/cgi.html"), ("/cgi/", "-"), ("/cgi/index", "-")];
    check(AutoTrailingSlash, &files, &lines);
    check(DropTrailingSlash, &files, &lines);
    let lines = [("/cgi", "/cgi"), ("/cgi.html", "> /cgi/"), ("/cgi/", "/cgi.html"), ("/cgi/index", "> /cgi/")];
    check(ForceTrailingSlash, &files, &lines);
    for mode in [AutoTrailingSlash, DropTrailingSlash, ForceTrailingSlash, None] {
        check(mode, &["/app.js", "/a/index"], &[("/app.js", "/app.js"), ("/a/index", "/a/index"), ("/app.js/", "-")]);
    }
}

#[test]
fn a_hidden_html_file_is_not_the_page_of_its_folder() {
    for mode in [AutoTrailingSlash, ForceTrailingSlash, DropTrailingSlash] {
        check(
            mode,
            &["/.html", "/a/.html"],
            &[("/", "-"), ("/.html", "/.html"), ("/a/", "-"), ("/a/.html", "/a/.html")],
        );
    }
}

#[test]
fn a_name_loses_only_its_last_html_or_index_html() {
    check(AutoTrailingSlash, &["/a.html.html"], &[("/a.html", "/a.html.html"), ("/a.html.html", "> /a.html")]);
    check(AutoTrailingSlash, &["/index/index.html"], &[("/index", "> /index/"), ("/index/", "/index/index.html")]);
    check(AutoTrailingSlash, &["/ü b/index.html"], &[("/ü b", "> /ü b/"), ("/ü b.html", "> /ü b/")]);
    // The translations of a page are pages too.
    check(
        AutoTrailingSlash,
        &["/about.de.html"],
        &[("/about.de", "/about.de.html"), ("/about.de.html", "> /about.de")],
    );
}

#[test]
fn slashes_in_a_row_count_as_one() {
    let files = ["/file.html", "/folder/index.html", "/a.js"];
    let lines = [
        ("//file", "> /file"),
        ("///file.html", "> /file"),
        ("/folder//", "> /folder/"),
        ("//folder", "> /folder/"),
        ("//a.js", "> /a.js"),
        ("//", "-"),
        ("//example.com/", "-"),
    ];
    check(AutoTrailingSlash, &files, &lines);
    check(None, &files, &[("//a.js", "> /a.js"), ("//file", "-")]);
}

#[test]
fn not_found_pages_are_nearest_first() {
    for (path, pages) in [
        ("/", &["/404.html"][..]),
        ("/a", &["/404.html"]),
        ("/a/b", &["/a/404.html", "/404.html"]),
        ("/a/b/", &["/a/b/404.html", "/a/404.html", "/404.html"]),
    ] {
        assert_eq!(not_found_pages(path).collect::<Vec<_>>(), pages, "{path}");
    }
    assert_eq!(not_found_pages(&"/".repeat(16_384)).count(), FOLDERS_MAX);
    assert_eq!(not_found_pages(&"/a".repeat(8_192)).last().as_deref(), Some("/404.html"));
}

#[test]
fn modes_are_named_as_in_wrangler() {
    let modes = ["auto-trailing-slash", "force-trailing-slash", "drop-trailing-slash", "none"];
    for (mode, name) in [AutoTrailingSlash, ForceTrailingSlash, DropTrailingSlash, None].into_iter().zip(modes) {
        assert_eq!(serde_json::to_string(&mode).unwrap(), format!("\"{name}\""));
    }
    assert_eq!(HtmlHandling::default(), AutoTrailingSlash);
}

fn modes() -> impl Strategy<Value = HtmlHandling> {
    prop_oneof![Just(AutoTrailingSlash), Just(ForceTrailingSlash), Just(DropTrailingSlash), Just(None)]
}

/// Few names, so that they collide.
fn name() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("a"),
        Just("b"),
        Just("index"),
        Just("a.html"),
        Just("index.html"),
        Just(".html"),
        Just("a.html.html"),
        Just("index.html.html")
    ]
}

proptest! {
    #[test]
    fn a_redirect_ends_at_a_file_and_every_file_is_reached(
        mode in modes(),
        files in prop::collection::vec(prop::collection::vec(name(), 1..4), 0..6),
        path in "(/(a|b|index|a\\.html|index\\.html|\\.html)?){1,4}",
    ) {
        let files: Vec<String> = files.iter().map(|names| format!("/{}", names.join("/"))).collect();
        let exists = |file: &str| files.iter().any(|one| one == file);
        match mode.resolve(&path, exists) {
            PathResolution::File(file) => prop_assert!(exists(&file)),
            PathResolution::Redirect(to) => {
                prop_assert!(to != path && to.starts_with('/') && !to.starts_with("//"), "{} to {}", path, to);
                prop_assert!(matches!(mode.resolve(&to, exists), PathResolution::File(_)), "{} to {}", path, to);
            }
            PathResolution::NotFound => prop_assert!(!exists(&path)),
        }
        for file in &files {
            let shown = match mode.resolve(file, exists) {
                PathResolution::Redirect(to) => {
                    prop_assert_eq!(&to, &mode.canonical(file));
                    mode.resolve(&to, exists)
                }
                other => other,
            };
            prop_assert_eq!(shown, PathResolution::File(file.clone()));
        }
    }
}
