//! What was found in the files, as lines for people and as JSON for programs.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};

use kv_edge_core::schema::Fault;
use serde::Serialize;

use crate::Outcome;
use crate::json::{SyntaxError, member_path};

/// Something wrong in a file, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// The key of the record; none for a file that is one record, and outside of records.
    key: Option<String>,
    /// The place in the record, or in the file where there is no key; empty for the whole.
    path: String,
    problem: Cow<'static, str>,
    /// Where the JSON ends to be any.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    position: Option<Position>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Position {
    line: usize,
    column: usize,
}

/// What was found in a file.
#[derive(Debug, Default, Serialize)]
pub(super) struct FileReport {
    pub(super) file: String,
    /// How many it holds.
    pub(super) storefronts: usize,
    pub(super) faults: Vec<Finding>,
    /// What the Worker takes, but may not be what was meant.
    pub(super) warnings: Vec<Finding>,
    /// Why it could not be read at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

/// What was found in all files.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    files: Vec<FileReport>,
    valid: bool,
}

impl Finding {
    /// Something about a record.
    pub(super) fn of_record(key: Option<&str>, path: &str, problem: impl Into<Cow<'static, str>>) -> Self {
        Self { key: key.map(str::to_owned), path: path.to_owned(), problem: problem.into(), position: None }
    }

    /// Something about what stands around the records.
    pub(super) fn of_file(path: &str, problem: impl Into<Cow<'static, str>>) -> Self {
        Self::of_record(None, path, problem)
    }

    pub(super) fn of_fault(key: Option<&str>, fault: Fault) -> Self {
        Self::of_record(key, &fault.path, fault.problem)
    }

    pub(super) fn of_syntax(error: SyntaxError) -> Self {
        let position = Some(Position { line: error.line, column: error.column });
        Self { position, ..Self::of_file("", error.problem) }
    }

    /// The key and the place in its record in one: `storefrontA.routes[1].origin`.
    fn place(&self) -> String {
        let Some(key) = &self.key else { return self.path.clone() };
        let key = member_path("", key);
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        format!("{key}{dot}{}", self.path)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.place();
        if !place.is_empty() {
            write!(formatter, "{place}: ")?;
        }
        formatter.write_str(&self.problem)
    }
}

impl Report {
    pub(super) fn new(files: Vec<FileReport>) -> Self {
        let valid = files.iter().all(|file| file.faults.is_empty() && file.error.is_none());
        Self { files, valid }
    }

    pub(super) fn outcome(&self) -> Outcome {
        let of = |file: &FileReport| match file {
            FileReport { error: Some(_), .. } => Outcome::Failed,
            FileReport { faults, .. } if !faults.is_empty() => Outcome::Faulty,
            _ => Outcome::Good,
        };
        self.files.iter().map(of).max().unwrap_or(Outcome::Good)
    }

    /// Writes a line for each fault and each warning, and one that sums up.
    pub(super) fn write_lines(&self, out: &mut impl Write) -> io::Result<()> {
        for FileReport { file, faults, warnings, .. } in &self.files {
            for fault in faults {
                match fault.position {
                    Some(Position { line, column }) => writeln!(out, "{file}:{line}:{column}: {fault}")?,
                    None => writeln!(out, "{file}: {fault}")?,
                }
            }
            for warning in warnings {
                writeln!(out, "{file}: warning: {warning}")?;
            }
        }
        writeln!(out, "{}", self.summary())
    }

    /// Writes everything as one line of JSON.
    pub(super) fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, self)?;
        writeln!(out)
    }

    fn summary(&self) -> String {
        let sum = |count: fn(&FileReport) -> usize| self.files.iter().map(count).sum::<usize>();
        let storefronts = sum(|file| file.storefronts);
        let files = if self.files.len() > 1 { format!(" in {} files", self.files.len()) } else { String::new() };
        let mut parts = vec![format!("{}{files}", counted(storefronts, "storefront"))];
        match (sum(|file| file.faults.len()), storefronts) {
            (0, 0) => {}
            (0, _) if !self.valid => parts.push("no fault".to_owned()),
            (0, 1) => parts.push("valid".to_owned()),
            (0, _) => parts.push("all valid".to_owned()),
            (faults, _) => parts.push(counted(faults, "fault")),
        }
        let others =
            [(sum(|file| file.warnings.len()), "warning"), (sum(|file| file.error.iter().count()), "unreadable file")];
        parts.extend(others.iter().filter(|(count, _)| *count > 0).map(|(count, name)| counted(*count, name)));
        parts.join(", ")
    }
}

/// `1 fault`, `2 faults`
fn counted(count: usize, name: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {name}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_starts_with_the_key_quoted_where_it_is_not_plain() {
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
        let file = |storefronts, faults, warnings, error: Option<&str>| {
            let findings = |count| vec![Finding::of_file("", ""); count];
            let (faults, warnings) = (findings(faults), findings(warnings));
            FileReport { file: "f".into(), storefronts, faults, warnings, error: error.map(str::to_owned) }
        };
        for (files, expected, outcome) in [
            (vec![file(2, 0, 0, None)], "2 storefronts, all valid", Outcome::Good),
            (vec![file(1, 0, 0, None)], "1 storefront, valid", Outcome::Good),
            (vec![file(3, 1, 0, None)], "3 storefronts, 1 fault", Outcome::Faulty),
            (vec![file(0, 1, 0, None)], "0 storefronts, 1 fault", Outcome::Faulty),
            (vec![file(0, 0, 1, None)], "0 storefronts, 1 warning", Outcome::Good),
            (vec![file(0, 0, 0, Some(""))], "0 storefronts, 1 unreadable file", Outcome::Failed),
            (
                vec![file(2, 0, 2, None), file(0, 0, 0, Some(""))],
                "2 storefronts in 2 files, no fault, 2 warnings, 1 unreadable file",
                Outcome::Failed,
            ),
            (vec![file(2, 0, 0, None), file(1, 2, 0, None)], "3 storefronts in 2 files, 2 faults", Outcome::Faulty),
        ] {
            let report = Report::new(files);
            assert_eq!((report.summary().as_str(), report.outcome()), (expected, outcome));
            assert_eq!(report.valid, outcome == Outcome::Good);
        }
    }
}
