//! `kv-edge config validate`: checks definitions of flags with the parser of the Worker.

use std::io::{self, Write};
use std::path::PathBuf;

use feature_flags::flags::DefinitionsCheck;
use kv_store::json_tree::JsonTree;

use crate::ExitStatus;
use crate::validation_report::{FileReport, Finding, ValidationReport};

const EXAMPLES: &str = r#"A FILE holds the value of the key `flags`:
  {"flags": {"new-checkout": {"default": "off", "rules": [{"percentage": 25, "variant": "on"}]}}}

Examples:
  kv-edge config validate flags.json && npx wrangler kv key put flags --path flags.json --binding USER_CONFIGURATION --remote
  npx wrangler kv key get flags --binding USER_CONFIGURATION --remote --text | kv-edge config validate -

With --json:
  {"files": [{"file", "flags", "faults": [{"key": null, "path", "problem"}], "warnings": […], "moreFaults"?, "error"?}], "valid"}
  "flags" is the number of flags; a fault of the JSON itself also has "line" and "column". "moreFaults" is true if there may be more
  faults than those that are listed.

Without --json, the same problem is shown at most 20 times, and at most 200 faults and 200 warnings are shown.

Exit code: 0 if everything is valid, 1 if there are faults, 2 if a file cannot be read or the command line has a mistake."#;

/// Checks definitions of flags before they are uploaded
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ConfigValidateArguments {
    /// JSON files with definitions; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Write one line of JSON, for programs
    #[arg(long)]
    json: bool,
}

impl ConfigValidateArguments {
    pub(super) fn run(self, out: &mut impl Write) -> io::Result<ExitStatus> {
        ValidationReport::of_files("flag", self.files, check).write(self.json, out)
    }
}

/// Checks definitions with the parser of the Worker.
fn check(text: &str) -> FileReport {
    let tree = match JsonTree::parse(text) {
        Ok(tree) => tree,
        Err(error) => return FileReport { faults: vec![Finding::of_syntax(error)], ..FileReport::default() },
    };
    let DefinitionsCheck { names, faults, warnings, is_truncated } = DefinitionsCheck::of(text, &tree);
    let found = |faults: Vec<_>| faults.into_iter().map(|fault| Finding::of_fault(None, fault)).collect();
    let (faults, warnings) = (found(faults), found(warnings));
    FileReport { count: names.len(), faults, warnings, is_truncated, ..FileReport::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> (usize, Vec<String>, Vec<String>) {
        let report = check(text);
        let shown = |findings: Vec<Finding>| findings.iter().map(ToString::to_string).collect();
        (report.count, shown(report.faults), shown(report.warnings))
    }

    #[test]
    fn valid_definitions_have_no_fault() {
        let valid = r#"{"flags": {"a": {"default": "off"}, "b": {"variants": {"x": 1, "y": 2}, "default": "x", "rules": [{"percentage": 5, "variant": "y"}]}}}"#;
        assert_eq!(lines(valid), (2, Vec::new(), Vec::new()));
        assert_eq!(lines(r#"{"flags": {}}"#), (0, Vec::new(), vec!["there is no flag in it".to_owned()]));
    }

    #[test]
    fn each_of_several_faults_is_reported_with_its_path() {
        let (count, faults, _) = lines(
            r#"{"flags": {
                "a": {"default": "maybe", "on": true, "on": false},
                "a b": {"default": "off"},
                "c": {"default": "off", "rules": [{"percentage": 101, "variant": "on"}]}
            }}"#,
        );
        assert_eq!(count, 3);
        for place in [
            "flags.a.on: it occurs more than once",
            "flags.a.default: ",
            "flags[\"a b\"]",
            "flags.c.rules[0].percentage: ",
        ] {
            assert!(faults.iter().any(|fault| fault.starts_with(place)), "{place}: {faults:?}");
        }
    }

    #[test]
    fn broken_json_is_one_fault() {
        let (_, faults, _) = lines("{\"flags\": {}");
        assert!(matches!(faults.as_slice(), [fault] if fault.starts_with("not JSON: ")), "{faults:?}");
    }

    #[test]
    fn a_probable_mistake_is_a_warning() {
        let rules = r#"[{"percentage": 100, "variant": "on"}, {"percentage": 50, "variant": "on"}]"#;
        let (_, faults, warnings) = lines(&format!(r#"{{"flags": {{"a": {{"default": "off", "rules": {rules}}}}}}}"#));
        assert!(faults.is_empty(), "{faults:?}");
        assert!(warnings.iter().any(|warning| warning.starts_with("flags.a.rules[1]")), "{warnings:?}");
    }
}
