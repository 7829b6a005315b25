//! What there is to say about definitions before they are used: faults, repeated members, and
//! warnings.

use kv_store::json_tree::JsonTree;
use kv_store::schema::{FAULTS_MAX, Fault};

use super::Definitions;

/// Repeated members are reported until their paths have so many bytes together.
const REPEATED_BYTES_MAX: usize = 256 * 1024;

/// The result of checking the text of definitions.
#[derive(Debug, Clone, PartialEq)]
pub struct DefinitionsCheck {
    /// The names of the flags, valid or not, in their order.
    pub names: Vec<String>,
    /// What is wrong. A repeated member is a fault, although the Worker uses such definitions.
    pub faults: Vec<Fault>,
    /// What is probably a mistake. There are none beside a fault that keeps the definitions from
    /// being used.
    pub warnings: Vec<Fault>,
    /// True if there may be more faults than the ones that are listed, repeated members aside.
    pub is_cut: bool,
}

impl DefinitionsCheck {
    /// Checks definitions as the Worker reads them. `tree` is the same text.
    #[must_use]
    pub fn of(text: &str, tree: &JsonTree) -> Self {
        let members = tree.member("flags").map_or(&[][..], JsonTree::members);
        let names = members.iter().map(|(name, _)| name.clone()).collect();
        let mut faults: Vec<Fault> = tree.repeated(REPEATED_BYTES_MAX).into_iter().map(Fault::of_repeated).collect();
        match Definitions::parse(text) {
            Ok(definitions) => {
                let mut warnings = definitions.warnings();
                if definitions.is_empty() {
                    warnings.push(Fault { path: String::new(), problem: "there is no flag in it".into() });
                }
                Self { names, faults, warnings, is_cut: false }
            }
            Err(others) => {
                let is_cut = others.len() >= FAULTS_MAX;
                faults.extend(others);
                Self { names, faults, warnings: Vec::new(), is_cut }
            }
        }
    }
}
