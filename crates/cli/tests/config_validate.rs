//! Tests that run the built `kv-edge config validate`.

mod test_folder;

use serde_json::{Value, json};
use test_folder::TestFolder;

#[test]
fn findings_and_a_summary_are_printed_and_the_exit_code_tells_the_result() {
    let folder = TestFolder::new(
        "flags",
        &[
            ("good.json", br#"{"flags": {"a": {"default": "off"}, "b": {"default": "on"}}}"#),
            ("bad.json", br#"{"flags": {"a": {"default": "maybe"}}}"#),
            ("broken.json", b"{\"flags\":\n {]"),
            ("range.json", br#"{"flags": {"a": {"default": 1e999}}}"#),
            ("none.json", br#"{"flags": {}}"#),
        ],
    );
    for (files, code, line, last) in [
        (&["good.json"][..], 0, "2 flags, all valid", "2 flags, all valid"),
        (&["good.json", "good.json"], 0, "4 flags in 2 files", "4 flags in 2 files, all valid"),
        (&["bad.json"], 1, "bad.json: flags.a.default: ", "1 flag, 1 fault"),
        (&["broken.json"], 1, "broken.json:2:3: not JSON: ", "0 flags, 1 fault"),
        (&["range.json"], 1, "range.json:1:33: it has a number beyond 1.8e308", "0 flags, 1 fault"),
        (&["none.json"], 0, "none.json: warning: there is no flag in it", "0 flags, 1 warning"),
        (&["good.json", "missing.json"], 2, "2 flags in 2 files", "2 flags in 2 files, no fault, 1 unreadable file"),
    ] {
        let (is, stdout, stderr) = folder.run(&[&["config", "validate"], files].concat(), b"");
        assert_eq!((is, stdout.lines().last()), (code, Some(last)), "{files:?}: {stdout}{stderr}");
        assert!(stdout.starts_with(line), "{files:?}: {stdout}");
        assert_eq!(stderr.is_empty(), code < 2, "{stderr}");
    }
    assert_eq!(folder.run(&["config", "validate"], b"").0, 2, "no file is named");
}

#[test]
fn standard_input_is_validated_and_reported_as_json() {
    let folder = TestFolder::new("flags-json", &[]);
    let input = br#"{"flags": {"a": {"default": "off", "rules": [{"percentage": 101, "variant": "on"}]}}}"#;
    let (code, stdout, _) = folder.run(&["config", "validate", "--json", "-"], input);
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &report["valid"]), (1, &json!(false)));
    let file = &report["files"][0];
    assert_eq!((&file["file"], &file["flags"], &file["warnings"]), (&json!("stdin"), &json!(1), &json!([])));
    assert_eq!(file["faults"][0]["path"], "flags.a.rules[0].percentage");
}
