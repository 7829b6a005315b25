//! The results of checking files, as lines for people and as JSON for programs.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;

use kv_store::json_tree::{JsonSyntaxError, member_path};
use kv_store::schema::Fault;
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::ExitStatus;
use crate::input_file::InputFile;
use crate::progress::print_line;

/// The most lines that show the same problem.
pub(crate) const EQUAL_LINES_MAX: usize = 20;
/// The most lines for faults, and for warnings.
const LINES_MAX: usize = 200;

/// A problem in a file, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Finding {
    /// The key of the record; `None` for a file that is a single record, and outside of records.
    key: Option<String>,
    /// The path in the record, or in the file if there is no key; empty for the whole.
    path: String,
    problem: Cow<'static, str>,
    /// The place of the error in a file that is not JSON.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    position: Option<TextPosition>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
struct TextPosition {
    line: usize,
    column: usize,
}

/// The results for one file.
#[derive(Debug, Default)]
pub(crate) struct FileReport {
    pub(crate) file: String,
    /// The number of storefronts or flags in the file, valid or not.
    pub(crate) count: usize,
    pub(crate) faults: Vec<Finding>,
    /// What the Worker accepts, but is probably a mistake.
    pub(crate) warnings: Vec<Finding>,
    /// True if there may be more faults: the search ends at a number of them.
    pub(crate) is_truncated: bool,
    /// Why the file cannot be read.
    pub(crate) error: Option<String>,
}

/// Limits the lines that are shown: in a generated file, thousands of records may have the same
/// mistake.
#[derive(Debug, Default)]
struct LineLimit<'r> {
    /// How often each problem was shown.
    equal: HashMap<&'r str, usize>,
    count: usize,
    /// How many lines are not shown.
    hidden: usize,
}

impl<'r> LineLimit<'r> {
    /// Returns true if a line is to be shown, and counts it.
    fn show(&mut self, problem: &'r str) -> bool {
        let equal = self.equal.entry(problem).or_default();
        let is_shown = *equal < EQUAL_LINES_MAX && self.count < LINES_MAX;
        *equal += 1;
        let counter = if is_shown { &mut self.count } else { &mut self.hidden };
        *counter += 1;
        is_shown
    }
}

/// Returns `… and 2880 more faults; --json shows all`, or `None` if there are none.
pub(crate) fn more(hidden: usize, name: &str) -> Option<String> {
    let ending = if hidden == 1 { "" } else { "s" };
    (hidden > 0).then(|| format!("… and {hidden} more {name}{ending}; --json shows all"))
}

/// The results for all files.
#[derive(Debug)]
pub(crate) struct ValidationReport {
    /// What the files hold, in the singular: "storefront".
    noun: &'static str,
    files: Vec<FileReport>,
    valid: bool,
}

/// A file in the JSON output, where the plural of `noun` is the name of the count.
struct FileReportJson<'r> {
    noun: &'static str,
    file: &'r FileReport,
}

impl Serialize for ValidationReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let files: Vec<_> = self.files.iter().map(|file| FileReportJson { noun: self.noun, file }).collect();
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("files", &files)?;
        map.serialize_entry("valid", &self.valid)?;
        map.end()
    }
}

impl Serialize for FileReportJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let FileReport { file, count, faults, warnings, is_truncated, error } = self.file;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("file", file)?;
        map.serialize_entry(&format!("{}s", self.noun), count)?;
        map.serialize_entry("faults", faults)?;
        map.serialize_entry("warnings", warnings)?;
        if *is_truncated {
            map.serialize_entry("moreFaults", is_truncated)?;
        }
        if let Some(error) = error {
            map.serialize_entry("error", error)?;
        }
        map.end()
    }
}

impl Finding {
    /// Returns a problem in a record.
    pub(crate) fn of_record(key: Option<&str>, path: &str, problem: impl Into<Cow<'static, str>>) -> Self {
        Self { key: key.map(str::to_owned), path: path.to_owned(), problem: problem.into(), position: None }
    }

    /// Returns a problem outside of the records.
    pub(crate) fn of_file(path: &str, problem: impl Into<Cow<'static, str>>) -> Self {
        Self::of_record(None, path, problem)
    }

    pub(crate) fn of_fault(key: Option<&str>, fault: Fault) -> Self {
        Self::of_record(key, &fault.path, fault.problem)
    }

    pub(crate) fn of_syntax(error: JsonSyntaxError) -> Self {
        let position = Some(TextPosition { line: error.line, column: error.column });
        Self { position, ..Self::of_file("", error.problem) }
    }

    /// Returns the key and the path in its record as one path: `storefrontA.routes[1].origin`.
    fn path_in_file(&self) -> String {
        let Some(key) = &self.key else { return self.path.clone() };
        let key = member_path("", key);
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        format!("{key}{dot}{}", self.path)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path_in_file = self.path_in_file();
        if !path_in_file.is_empty() {
            write!(formatter, "{path_in_file}: ")?;
        }
        formatter.write_str(&self.problem)
    }
}

impl ValidationReport {
    fn new(noun: &'static str, files: Vec<FileReport>) -> Self {
        let valid = files.iter().all(|file| file.faults.is_empty() && file.error.is_none());
        Self { noun, files, valid }
    }

    /// Checks the text of each file; the path `-` is standard input. `noun` is what the files
    /// hold, in the singular.
    pub(crate) fn of_files(
        noun: &'static str,
        files: impl IntoIterator<Item = PathBuf>,
        check: impl Fn(&str) -> FileReport,
    ) -> Self {
        let mut unreadable = 0_usize;
        let files = files.into_iter().map(InputFile::from);
        let files = files.map(|source| match source.read() {
            Ok(text) => FileReport { file: source.to_string(), ..check(&text) },
            Err(error) => {
                unreadable += 1;
                if unreadable <= EQUAL_LINES_MAX {
                    print_line(&format!("error: {source}: {error}"));
                }
                FileReport { file: source.to_string(), error: Some(error.to_string()), ..FileReport::default() }
            }
        });
        let files = files.collect::<Vec<_>>();
        if let Some(more) = more(unreadable.saturating_sub(EQUAL_LINES_MAX), "unreadable file") {
            print_line(&more);
        }
        Self::new(noun, files)
    }

    /// Writes lines for people, or one line of JSON for programs.
    pub(crate) fn write(&self, json: bool, out: &mut impl Write) -> io::Result<ExitStatus> {
        if json {
            serde_json::to_writer(&mut *out, self)?;
            writeln!(out)?;
        } else {
            self.write_lines(out)?;
        }
        Ok(self.exit_status())
    }

    fn exit_status(&self) -> ExitStatus {
        let of = |file: &FileReport| match file {
            FileReport { error: Some(_), .. } => ExitStatus::CannotRun,
            FileReport { faults, .. } if !faults.is_empty() => ExitStatus::Failure,
            _ => ExitStatus::Success,
        };
        self.files.iter().map(of).max().unwrap_or(ExitStatus::Success)
    }

    /// Writes a line per fault and per warning, up to the limits, and a line that sums up.
    fn write_lines(&self, out: &mut impl Write) -> io::Result<()> {
        let (mut fault_limit, mut warning_limit) = (LineLimit::default(), LineLimit::default());
        for FileReport { file, faults, warnings, is_truncated, .. } in &self.files {
            for fault in faults.iter().filter(|fault| fault_limit.show(&fault.problem)) {
                match fault.position {
                    Some(TextPosition { line, column }) => writeln!(out, "{file}:{line}:{column}: {fault}")?,
                    None => writeln!(out, "{file}: {fault}")?,
                }
            }
            for warning in warnings.iter().filter(|warning| warning_limit.show(&warning.problem)) {
                writeln!(out, "{file}: warning: {warning}")?;
            }
            if *is_truncated {
                writeln!(out, "{file}: there may be more faults; mend these first")?;
            }
        }
        for more in [more(fault_limit.hidden, "fault"), more(warning_limit.hidden, "warning")].into_iter().flatten() {
            writeln!(out, "{more}")?;
        }
        writeln!(out, "{}", self.summary())
    }

    fn summary(&self) -> String {
        let sum = |count: fn(&FileReport) -> usize| self.files.iter().map(count).sum::<usize>();
        let total = sum(|file| file.count);
        let files = if self.files.len() > 1 { format!(" in {} files", self.files.len()) } else { String::new() };
        let mut parts = vec![format!("{}{files}", counted(total, self.noun))];
        match (sum(|file| file.faults.len()), total) {
            (0, 0) => {}
            (0, _) if !self.valid => parts.push("no fault".to_owned()),
            (0, 1) => parts.push("valid".to_owned()),
            (0, _) => parts.push("all valid".to_owned()),
            (faults, _) if self.files.iter().any(|file| file.is_truncated) => {
                parts.push(format!("{} or more", counted(faults, "fault")));
            }
            (faults, _) => parts.push(counted(faults, "fault")),
        }
        let others =
            [(sum(|file| file.warnings.len()), "warning"), (sum(|file| file.error.iter().count()), "unreadable file")];
        parts.extend(others.iter().filter(|(count, _)| *count > 0).map(|(count, name)| counted(*count, name)));
        parts.join(", ")
    }
}

/// Returns a number with its noun: `1 fault`, `2 faults`.
fn counted(count: usize, name: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {name}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_starts_with_the_key_quoted_if_necessary() {
        for (key, path, expected) in [
            (None, "", ": no"),
            (None, "routes[1].origin", "routes[1].origin: no"),
            (Some("a"), "", "a: no"),
            (Some("a"), "origin", "a.origin: no"),
            (Some("a"), "[\"x y\"]", "a[\"x y\"]: no"),
            (Some("domain:a.example"), "origin", "[\"domain:a.example\"].origin: no"),
            (Some("\u{1b}"), "", "[\"\\u{1b}\"]: no"),
        ] {
            let line = Finding::of_record(key, path, "no").to_string();
            assert_eq!(line, expected.trim_start_matches(": "), "{key:?} {path}");
        }
    }

    #[test]
    fn the_last_line_sums_up() {
        let file = |count, faults, warnings, error: Option<&str>| {
            let findings = |count| vec![Finding::of_file("", ""); count];
            let (faults, warnings) = (findings(faults), findings(warnings));
            FileReport {
                file: "f".into(),
                count,
                faults,
                warnings,
                error: error.map(str::to_owned),
                ..FileReport::default()
            }
        };
        for (files, expected, outcome) in [
            (vec![file(2, 0, 0, None)], "2 storefronts, all valid", ExitStatus::Success),
            (vec![file(1, 0, 0, None)], "1 storefront, valid", ExitStatus::Success),
            (vec![file(3, 1, 0, None)], "3 storefronts, 1 fault", ExitStatus::Failure),
            (vec![file(0, 1, 0, None)], "0 storefronts, 1 fault", ExitStatus::Failure),
            (vec![file(0, 0, 1, None)], "0 storefronts, 1 warning", ExitStatus::Success),
            (vec![file(0, 0, 0, Some(""))], "0 storefronts, 1 unreadable file", ExitStatus::CannotRun),
            (
                vec![file(2, 0, 2, None), file(0, 0, 0, Some(""))],
                "2 storefronts in 2 files, no fault, 2 warnings, 1 unreadable file",
                ExitStatus::CannotRun,
            ),
            (vec![file(2, 0, 0, None), file(1, 2, 0, None)], "3 storefronts in 2 files, 2 faults", ExitStatus::Failure),
        ] {
            let report = ValidationReport::new("storefront", files);
            assert_eq!((report.summary().as_str(), report.exit_status()), (expected, outcome));
            assert_eq!(report.valid, outcome == ExitStatus::Success);
        }
    }

    fn lines(files: Vec<FileReport>) -> Vec<String> {
        let mut out = Vec::new();
        ValidationReport::new("flag", files).write_lines(&mut out).unwrap();
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    fn with_faults(count: usize, problem: impl Fn(usize) -> String) -> FileReport {
        let faults = (0..count).map(|n| Finding::of_file(&format!("f{n}"), problem(n))).collect();
        FileReport { file: "f".into(), count, faults, ..FileReport::default() }
    }

    #[test]
    fn the_same_problem_is_shown_20_times_and_others_stay_visible() {
        let same = || with_faults(2900, |_| "no".to_owned());
        let mut file = same();
        file.faults.push(Finding::of_file("last", "something else"));
        let shown = lines(vec![file]);
        assert_eq!(shown.len(), 20 + 1 + 2, "{shown:?}");
        assert_eq!(
            &shown[20..],
            ["f: last: something else", "… and 2880 more faults; --json shows all", "2900 flags, 2901 faults"]
        );
        // Counted over all files; other limits hold if all problems differ.
        assert_eq!(lines(vec![same(), same()])[20], "… and 5780 more faults; --json shows all");
        assert_eq!(lines(vec![with_faults(201, |n| n.to_string())])[200], "… and 1 more fault; --json shows all");
        let warnings = FileReport { warnings: same().faults, ..FileReport::default() };
        assert_eq!(lines(vec![warnings])[20], "… and 2880 more warnings; --json shows all");
        let json = serde_json::to_value(ValidationReport::new("flag", vec![same()])).unwrap();
        assert_eq!(json["files"][0]["faults"].as_array().unwrap().len(), 2900);
    }

    #[test]
    fn a_report_says_that_faults_may_be_missing() {
        let cut = FileReport { is_truncated: true, ..with_faults(100, |n| n.to_string()) };
        let json = serde_json::to_value(ValidationReport::new("flag", vec![cut])).unwrap();
        assert_eq!(json["files"][0]["moreFaults"], true);
        let cut = FileReport { is_truncated: true, ..with_faults(100, |n| n.to_string()) };
        assert_eq!(
            &lines(vec![cut])[100..],
            ["f: there may be more faults; mend these first", "100 flags, 100 faults or more"]
        );
    }

    #[test]
    fn in_json_the_count_has_the_name_of_what_is_counted() {
        let file = FileReport {
            file: "f".into(),
            count: 2,
            faults: vec![Finding::of_file("a", "no")],
            ..FileReport::default()
        };
        let unreadable = FileReport { file: "g".into(), error: Some("no".into()), ..FileReport::default() };
        let json = serde_json::to_string(&ValidationReport::new("flag", vec![file, unreadable])).unwrap();
        assert_eq!(
            json,
            r#"{"files":[{"file":"f","flags":2,"faults":[{"key":null,"path":"a","problem":"no"}],"warnings":[]},{"file":"g","flags":0,"faults":[],"warnings":[],"error":"no"}],"valid":false}"#
        );
    }
}
