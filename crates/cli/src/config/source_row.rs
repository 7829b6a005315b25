//! A row of the query.

/// A row of the query.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct SourceRow {
    /// The first column as text, or `None` if it is NULL.
    pub(super) key: Option<String>,
    /// The other columns, as a JSON object.
    pub(super) value: String,
}

/// Shows no contents: rows belong in no log.
impl std::fmt::Debug for SourceRow {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SourceRow").field("bytes", &self.value.len()).finish_non_exhaustive()
    }
}
