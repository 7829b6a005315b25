//! A row of the source.

/// What the query says of one key.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// The first column as text; none where it is SQL's NULL.
    pub(super) key: Option<String>,
    /// The other columns: a JSON object.
    pub(super) value: String,
}

/// Shows no contents: what a row holds belongs in no log.
impl std::fmt::Debug for Row {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Row").field("bytes", &self.value.len()).finish_non_exhaustive()
    }
}
