//! Tests that run the built `kv-edge routes validate`.

// All of this is test code; Clippy recognizes only functions with `#[test]`.
#![allow(clippy::unwrap_used)]

mod test_folder;

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use test_folder::TestFolder;

const VALID: &str =
    r#"{"storefrontA": {"origin": "https://a.example"}, "storefrontB": {"origin": "http://b.example/shop"}}"#;

fn validate(folder: &TestFolder, arguments: &[&str]) -> (i32, String, String) {
    folder.run(&[&["routes", "validate"], arguments].concat(), b"")
}

#[test]
fn the_demo_is_valid() {
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../demo/storefronts.json");
    let (code, stdout, stderr) = validate(&TestFolder::new("demo", &[]), &[demo]);
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (0, "4 storefronts, all valid\n", ""));
}

#[test]
fn each_form_of_a_file_is_read() {
    let folder = TestFolder::new(
        "forms",
        &[
            ("record.json", br#"{"origin": "https://a.example"}"#),
            ("map.json", VALID.as_bytes()),
            (
                "bulk.json",
                br#"[{"key": "a", "value": "{\"origin\": \"https://a.example\"}", "metadata": {"by": "me"}}]"#,
            ),
        ],
    );
    for (files, summary) in [
        (&["record.json"][..], "1 storefront, valid\n"),
        (&["map.json"], "2 storefronts, all valid\n"),
        (&["bulk.json"], "1 storefront, valid\n"),
        (&["record.json", "map.json", "bulk.json"], "4 storefronts in 3 files, all valid\n"),
    ] {
        assert_eq!(validate(&folder, files), (0, summary.to_owned(), String::new()), "{files:?}");
    }
}

#[test]
fn each_fault_is_a_line_that_names_its_place() {
    let folder = TestFolder::new(
        "faults",
        &[
            ("one.json", br#"{"origin": "https://a.example", "timeoutMs": 0}"#),
            (
                "map.json",
                br#"{"b": {"origin": "https://b.example", "routes": [{"path": "/x", "origin": "x"}]}, "a-1": {}, "b": {"storefront": "c"}}"#,
            ),
            ("bulk.json", br#"[{"key": "a", "value": "{"}, {"key": "b", "value": "e30=", "base64": true}]"#),
            ("syntax.json", b"{\n  \"a\": {\"origin\": \"https://a.example\"},\n}"),
            ("range.json", br#"{"origin": "https://a.example", "timeoutMs": 1e999}"#),
        ],
    );
    for (file, expected) in [
        ("one.json", &["one.json: timeoutMs: it must be a whole number from 1 to 60000", "1 storefront, 1 fault"][..]),
        (
            "map.json",
            &[
                "map.json: b: the file has this key more than once; only the last one counts",
                "map.json: b.routes[0].origin: it does not start with http:// or https://",
                "map.json: [\"a-1\"].origin: it is missing",
                "map.json: b.storefront: only a custom domain, under a key that starts with \"domain:\", names another storefront",
                "3 storefronts, 4 faults",
            ],
        ),
        (
            "bulk.json",
            &[
                "bulk.json: [1].base64: base64 is not supported; write the record as JSON text and leave base64 out",
                "bulk.json: a: invalid JSON at line 1, column 1",
                "2 storefronts, 2 faults",
            ],
        ),
        ("syntax.json", &["syntax.json:3:1: not JSON: trailing comma", "0 storefronts, 1 fault"]),
        ("range.json", &["range.json:1:50: it has a number beyond 1.8e308", "0 storefronts, 1 fault"]),
    ] {
        let (code, stdout, stderr) = validate(&folder, &[file]);
        assert_eq!((code, stdout.lines().collect::<Vec<_>>(), stderr.as_str()), (1, expected.to_vec(), ""), "{file}");
    }
}

#[test]
fn an_unreadable_file_is_reported_in_one_sentence_and_the_others_are_checked() {
    let folder = TestFolder::new(
        "unreadable",
        &[
            ("good.json", VALID.as_bytes()),
            ("empty.json", b""),
            ("bom.json", b"\xEF\xBB\xBF{}"),
            ("utf16.json", b"\xFF\xFE{\0}\0"),
            ("latin1.json", b"{\"\xE4\": {}}"),
        ],
    );
    std::fs::create_dir_all(folder.0.join("folder")).unwrap();
    for (file, expected) in [
        ("missing.json", "there is no such file; check the path, which is relative to "),
        ("/missing.json", "there is no such file; check the path\n"),
        ("folder", "this is a directory; give the files in it\n"),
        ("empty.json", "it is empty; "),
        ("bom.json", "it starts with a byte order mark, "),
        ("utf16.json", "it is UTF-16, "),
        ("latin1.json", "it is not UTF-8 from byte 3 on; "),
    ] {
        let (code, stdout, stderr) = validate(&folder, &[file, "good.json"]);
        assert_eq!((code, stdout.as_str()), (2, "2 storefronts in 2 files, no fault, 1 unreadable file\n"), "{file}");
        assert!(stderr.starts_with(&format!("error: {file}: {expected}")), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn a_hyphen_is_standard_input() {
    let folder = TestFolder::new("stdin", &[]);
    let (code, stdout, _) = folder.run(&["routes", "validate", "-"], VALID.as_bytes());
    assert_eq!((code, stdout.as_str()), (0, "2 storefronts, all valid\n"));
    let (code, stdout, _) = folder.run(&["routes", "validate", "-"], br#"{"origin": "a"}"#);
    assert_eq!(code, 1);
    assert!(stdout.starts_with("stdin: origin: it does not start with"), "{stdout}");
    let (code, _, stderr) = folder.run(&["routes", "validate", "-"], b"");
    assert_eq!((code, stderr.as_str()), (2, "error: stdin: it is empty; check the program that writes it\n"));
}

#[test]
fn options_set_the_allowed_origins_and_the_key() {
    let folder =
        TestFolder::new("options", &[("map.json", VALID.as_bytes()), ("alias.json", br#"{"storefront": "tea"}"#)]);
    for (arguments, code) in [
        (&["--origins", "a.example,b.example", "--insecure", "map.json"][..], 0),
        (&["--origins", "a.example,b.example", "map.json"], 1),
        (&["--origins", "*.shops.example", "--insecure", "map.json"], 1),
        (&["--key", "domain:tea.example", "alias.json"], 0),
        (&["--key", "tea", "alias.json"], 1),
        (&["alias.json"], 1),
        (&["--origins", "a.example,ftp://b", "map.json"], 2),
        (&["--insecure", "map.json"], 2),
        (&["--key", "..", "alias.json"], 2),
        (&["--key", "a", "alias.json", "alias.json"], 2),
        (&["--unknown", "map.json"], 2),
        (&[], 2),
    ] {
        let (is, stdout, stderr) = validate(&folder, arguments);
        assert_eq!(is, code, "{arguments:?}\n{stdout}{stderr}");
        assert_eq!(stderr.is_empty(), code < 2, "{arguments:?}\n{stderr}");
    }
}

#[test]
fn warnings_do_not_make_a_file_faulty() {
    let records = br#"{"domain:tea.example": {"storefront": "tea"}}"#;
    let (code, stdout, _) = validate(&TestFolder::new("warnings", &[("map.json", records)]), &["map.json"]);
    assert_eq!(code, 0);
    assert_eq!(
        stdout,
        "map.json: warning: [\"domain:tea.example\"].storefront: tea has no record in this file\n\
         1 storefront, valid, 1 warning\n"
    );
}

#[test]
fn json_lists_faults_warnings_and_unreadable_files() {
    let folder = TestFolder::new(
        "json",
        &[
            ("good.json", VALID.as_bytes()),
            ("bad.json", br#"{"a": {"origin": "x"}, "domain:b.example": {"storefront": "b"}}"#),
            ("syntax.json", b"{\n1}"),
        ],
    );
    let read = |arguments: &[&str]| {
        let (code, stdout, _) = validate(&folder, arguments);
        (code, serde_json::from_str::<Value>(&stdout).unwrap())
    };
    let good = json!({"file": "good.json", "storefronts": 2, "faults": [], "warnings": []});
    assert_eq!(read(&["--json", "good.json"]), (0, json!({"files": [good], "valid": true})));
    let bad = json!({
        "file": "bad.json",
        "storefronts": 2,
        "faults": [{"key": "a", "path": "origin", "problem": "it does not start with http:// or https://"}],
        "warnings": [{"key": "domain:b.example", "path": "storefront", "problem": "b has no record in this file"}],
    });
    assert_eq!(read(&["--json", "good.json", "bad.json"]), (1, json!({"files": [good, bad], "valid": false})));
    let (code, syntax) = read(&["--json", "syntax.json"]);
    let fault = &syntax["files"][0]["faults"][0];
    assert_eq!((code, &fault["key"], &fault["line"], &fault["column"]), (1, &Value::Null, &json!(2), &json!(1)));
    let (code, missing) = read(&["--json", "missing.json"]);
    assert_eq!((code, &missing["valid"]), (2, &json!(false)));
    assert!(missing["files"][0]["error"].as_str().unwrap().starts_with("there is no such file"));
}

#[test]
fn a_closed_pipe_causes_no_panic() {
    let folder = TestFolder::new("pipe", &[("map.json", VALID.as_bytes())]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_kv-edge"));
    command.args(["routes", "validate", "map.json"]).current_dir(&folder.0).stderr(Stdio::piped());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command.stdout(writer).output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}
