//! Checks the text of definitions before they are used: for faults, which include repeated
//! members, and for probable mistakes.

use kv_store::json_tree::JsonTree;
use kv_store::schema::{FAULTS_MAX, Fault};

use super::Definitions;

/// Repeated members are reported until their paths have this many bytes together.
const REPEATED_BYTES_MAX: usize = 256 * 1024;

/// The result of checking the text of definitions.
#[derive(Debug, Clone, PartialEq)]
pub struct DefinitionsCheck {
    /// The names of the flags, valid or not, in the order of the text.
    pub names: Vec<String>,
    /// What is wrong. A repeated member is a fault, although the Worker uses such definitions.
    pub faults: Vec<Fault>,
    /// What is probably a mistake. Empty if a fault keeps the definitions from being used.
    pub warnings: Vec<Fault>,
    /// True if there may be more faults than the ones that are listed.
    pub is_truncated: bool,
}

impl DefinitionsCheck {
    /// Checks definitions as the Worker reads them. `tree` is the same text, parsed.
    #[must_use]
    pub fn of(text: &str, tree: &JsonTree) -> Self {
        let members = tree.member("flags").map_or(&[][..], JsonTree::members);
        let names = members.iter().map(|(name, _)| name.clone()).collect();
        let repeated = tree.repeated(REPEATED_BYTES_MAX);
        let is_truncated = repeated.iter().map(String::len).sum::<usize>() >= REPEATED_BYTES_MAX;
        let mut faults: Vec<Fault> = repeated.into_iter().map(Fault::of_repeated).collect();
        match Definitions::parse(text) {
            Ok(definitions) => {
                let mut warnings = definitions.warnings();
                if definitions.is_empty() {
                    warnings.push(Fault { path: String::new(), problem: "there is no flag in it".into() });
                }
                Self { names, faults, warnings, is_truncated }
            }
            Err(others) => {
                let is_truncated = is_truncated || others.len() >= FAULTS_MAX;
                faults.extend(others);
                Self { names, faults, warnings: Vec::new(), is_truncated }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_may_be_more_faults_if_repeated_members_are_cut_off() {
        let name = "m".repeat(100);
        for (count, is_truncated) in [(10, false), (3000, true)] {
            let flag =
                |number| format!(r#""f{number}": {{"default": "on", "metadata": {{"{name}": 1, "{name}": 2}}}}"#);
            let text = format!(r#"{{"flags": {{{}}}}}"#, (0..count).map(flag).collect::<Vec<_>>().join(","));
            let check = DefinitionsCheck::of(&text, &JsonTree::parse(&text).unwrap());
            assert_eq!((check.faults.len() < count, check.is_truncated), (is_truncated, is_truncated), "{count}");
        }
    }
}
