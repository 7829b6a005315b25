//! Where the parsers of `_redirects` and `_headers` found an error.

/// What is wrong, and in which line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct LineError {
    /// The number of the line, counted from 1.
    pub line: usize,
    /// What is wrong with the line: a sentence or more.
    pub problem: String,
}
