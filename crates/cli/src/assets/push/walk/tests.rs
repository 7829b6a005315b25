use super::*;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn paths(folder: &Path) -> Vec<String> {
    walk(folder).unwrap().into_iter().map(|source| source.path).collect()
}

#[test]
fn all_files_are_pushed_except_those_ignored_by_default() {
    let folder = folder(&[
        ("index.html", "12"),
        ("a b/ä #%?.txt", ""),
        ("a.txt", ""),
        (".well-known/security.txt", ""),
        ("_headers", ""),
        ("_redirects", ""),
        ("docs/_headers", ""),
        (".assetsignore", ""),
        (".git/HEAD", ""),
        ("sub/.git/HEAD", ""),
        ("node_modules/a/index.js", ""),
        (".DS_Store", ""),
        ("sub/.DS_Store", ""),
        (".dev.vars", ""),
        (".dev.vars.production", ""),
        (".env", ""),
        (".env.local", ""),
        (".envrc", ""),
        ("sub/.env-prod", ""),
    ]);
    // Sorted by bytes, as the manifest must be: a space comes before a dot.
    let expected = ["/.well-known/security.txt", "/a b/ä #%?.txt", "/a.txt", "/docs/_headers", "/index.html"];
    assert_eq!(paths(folder.path()), expected);
    let sources = walk(folder.path()).unwrap();
    assert_eq!(sources.last().map(|source| source.length), Some(2));
}

#[test]
fn assetsignore_has_the_patterns_of_gitignore_but_cannot_include_what_is_never_served() {
    let patterns = "\u{feff}# maps\n*.map\n!keep.map\n/drafts/\nnested/**/secret\n!node_modules\n!_headers\n!.env.example\n!.dev.vars\n\n";
    let folder = folder(&[
        (".assetsignore", patterns),
        ("a.js", ""),
        ("a.js.map", ""),
        ("keep.map", ""),
        ("drafts/a.html", ""),
        ("docs/drafts/a.html", ""),
        ("nested/a/b/secret", ""),
        ("node_modules/a.js", ""),
        ("_headers", ""),
        (".env.example", ""),
        (".dev.vars", ""),
        // Only the file at the root counts.
        ("docs/.assetsignore", "drafts"),
    ]);
    let expected = ["/a.js", "/docs/.assetsignore", "/docs/drafts/a.html", "/keep.map", "/node_modules/a.js"];
    assert_eq!(paths(folder.path()), expected);
}

/// Canonically equivalent names have one path, in Form C, whatever form the disk has (UAX #15).
#[test]
fn names_are_in_normalization_form_c() {
    let files = [
        ("u\u{308}ber/ka\u{308}se.html", ""),
        ("\u{1112}\u{1161}\u{11ab}.txt", ""),
        ("é.txt", ""),
        ("\u{212b}.txt", ""),
    ];
    let disk = folder(&files);
    let expected = ["/\u{c5}.txt", "/\u{e9}.txt", "/\u{fc}ber/k\u{e4}se.html", "/\u{d55c}.txt"];
    assert_eq!(paths(disk.path()), expected);
    assert!(walk(disk.path()).unwrap().iter().all(|source| source.file.exists()));

    // The Worker has no table of Unicode. It may take a name in Form C for a decomposed one, but
    // never the other way round.
    let passes_for_form_c = |text: &str| !static_assets::may_be_decomposed(text);
    let mut characters = (0..0x300).filter_map(char::from_u32).map(String::from);
    assert!(characters.all(|text| passes_for_form_c(&text) && form_c(&text) == text));
    assert!(files.iter().all(|(name, _)| !passes_for_form_c(name) || form_c(name) == *name));

    // Two folders whose names are equal in Form C are merged. Two such files are a fault.
    let twins = folder(&[("u\u{308}/a", ""), ("\u{fc}/b", "")]);
    assert_eq!(paths(twins.path()), ["/\u{fc}/a", "/\u{fc}/b"]);
    let twins = folder(&[("u\u{308}.html", ""), ("\u{fc}.html", ""), ("a", "")]);
    let [fault] = walk(twins.path()).unwrap_err().try_into().unwrap();
    assert!(fault.ends_with("and both would be /\u{fc}.html; rename one"), "{fault}");

    // A pattern matches a name in either form.
    for (pattern, name) in [("entwu\u{308}rfe/", "entw\u{fc}rfe"), ("/entw\u{fc}rfe", "entwu\u{308}rfe")] {
        let ignored = folder(&[(".assetsignore", pattern), (&format!("{name}/secret"), ""), ("a", "")]);
        assert_eq!(paths(ignored.path()), ["/a"], "{pattern}");
    }
}

#[test]
fn each_kind_of_fault_is_reported_with_its_place() {
    let folder = folder(&[(".assetsignore", "good\n[z-a]\n{\n"), ("a.txt", "")]);
    let faults = walk(folder.path()).unwrap_err();
    assert!(faults[0].starts_with(".assetsignore line 2: "), "{faults:?}");

    let folder = self::folder(&[(".assetsignore", "*.map\n/drafts/[a\n"), ("a.txt", "")]);
    assert_eq!(
        walk(folder.path()).unwrap_err(),
        [".assetsignore line 2: a [ is not closed; write \\[ for the character itself"]
    );
    let folder = self::folder(&[(".assetsignore/a", ""), ("a.txt", "")]);
    assert_eq!(walk(folder.path()).unwrap_err(), [".assetsignore: it is a folder, but must be a file; rename it"]);

    let folder = self::folder(&[("kv-edge:blob", ""), ("kv-edge:current", ""), ("a.txt", "")]);
    let faults = walk(folder.path()).unwrap_err();
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].contains("kv-edge:blob: no URL can have this path"), "{faults:?}");

    let folder = self::folder(&[("_headers", "")]);
    assert!(walk(folder.path()).unwrap_err()[0].starts_with("there is no file in "));
    assert!(walk(&folder.path().join("nowhere")).is_err());
    assert!(
        walk(&folder.path().join("_headers")).unwrap_err()[0].contains("is a file; give the folder that contains it")
    );
}

#[cfg(unix)]
#[test]
fn links_are_followed_within_the_folder() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    let folder = folder(&[("a/file.txt", "abc")]);
    symlink("a", folder.path().join("b")).unwrap();
    symlink("a/file.txt", folder.path().join("c.txt")).unwrap();
    assert_eq!(paths(folder.path()), ["/a/file.txt", "/b/file.txt", "/c.txt"]);
    assert_eq!(walk(folder.path()).unwrap()[2].length, 3);

    // The folder itself may be a link.
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(folder.path(), elsewhere.path().join("site")).unwrap();
    assert_eq!(paths(&elsewhere.path().join("site")).len(), 3);

    symlink("/", folder.path().join("root")).unwrap();
    symlink("nowhere", folder.path().join("broken")).unwrap();
    symlink("..", folder.path().join("a/up")).unwrap();
    fs::write(folder.path().join(OsStr::from_bytes(b"\xff.txt")), "").unwrap();
    let faults = walk(folder.path()).unwrap_err();
    // The faults of all files come at once, that of the loop for `a/up` and for `b/up`.
    assert_eq!(faults.len(), 5, "{faults:?}");
    for (name, part) in [
        ("root", "the link leads out of the folder, to /;"),
        ("broken", "No such file"),
        ("up", "loop"),
        (".txt", "not UTF-8"),
    ] {
        assert!(faults.iter().any(|fault| fault.contains(name) && fault.contains(part)), "{name}: {faults:?}");
    }
}
