//! The findings about what somebody types in the console, each with its place.

use std::borrow::Cow;

#[cfg(any(feature = "flags", feature = "storefronts"))]
use kv_store::json_tree::{JsonSyntaxError, JsonTree};
use kv_store::schema::Fault;
use serde::Serialize;

/// What the console shows below the editor.
#[derive(Debug, Default, Serialize)]
pub(super) struct Findings {
    /// What keeps the text from being used as it is meant.
    pub(super) faults: Vec<PlacedFinding>,
    /// What the Worker accepts, but is probably a mistake.
    pub(super) warnings: Vec<PlacedFinding>,
}

#[derive(Debug, Serialize)]
pub(super) struct PlacedFinding {
    /// The path of a value, such as `routes[1].origin`; empty for the whole.
    path: String,
    problem: Cow<'static, str>,
    /// The place of a syntax error, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    /// Counted from 1, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
}

#[cfg(any(feature = "flags", feature = "storefronts"))]
impl Findings {
    /// Checks a text. If it has more than `bytes_max` bytes or is not JSON, that is the one fault;
    /// otherwise `check` gets its tree.
    pub(super) fn of_json(text: &str, bytes_max: usize, check: impl FnOnce(&JsonTree) -> Self) -> Self {
        if text.len() > bytes_max {
            let problem = format!("it has {} bytes; at most {bytes_max} are allowed", text.len()).into();
            let fault = Fault { path: String::new(), problem };
            return Self { faults: vec![fault.into()], warnings: Vec::new() };
        }
        match JsonTree::parse(text) {
            Ok(tree) => check(&tree),
            Err(JsonSyntaxError { line, column, problem }) => {
                let fault = PlacedFinding {
                    path: String::new(),
                    problem: problem.into(),
                    line: Some(line),
                    column: Some(column),
                };
                Self { faults: vec![fault], warnings: Vec::new() }
            }
        }
    }
}

impl From<Fault> for PlacedFinding {
    fn from(Fault { path, problem }: Fault) -> Self {
        Self { path, problem, line: None, column: None }
    }
}
