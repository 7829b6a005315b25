//! What is wrong in a file of rules.

/// What is wrong in a line of `_redirects` or `_headers`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct LineError {
    /// Counted from 1.
    pub line: usize,
    /// A sentence or more.
    pub problem: String,
}
