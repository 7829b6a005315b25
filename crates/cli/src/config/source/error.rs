//! Errors of the database, as sentences that say what people can do, unless a signal is the
//! reason.
//!
//! A sentence contains neither the password nor the contents of a row: messages of PostgreSQL are
//! shown only if their SQLSTATE cannot quote a value (PostgreSQL manual, appendix A "PostgreSQL
//! Error Codes").

use std::error::Error;
use std::io;

use tokio_postgres::error::{DbError, ErrorPosition, SqlState};

/// Why rows cannot be read, as a sentence.
#[derive(Debug, thiserror::Error)]
pub(in crate::config) enum SourceError {
    /// The connection is lost, or was not established; a new one may work.
    #[error("{0}")]
    Lost(String),
    /// A signal ended a wait, or the reading of rows.
    #[error("it was stopped before all rows were read")]
    Stopped,
    /// A new connection would not help.
    #[error("{0}")]
    Other(String),
}

impl SourceError {
    pub(super) fn new(sentence: impl Into<String>) -> Self {
        Self::Other(sentence.into())
    }

    pub(super) fn lost(sentence: impl Into<String>) -> Self {
        Self::Lost(sentence.into())
    }

    /// Returns true if a new connection may help.
    pub(in crate::config) fn is_lost(&self) -> bool {
        matches!(self, Self::Lost(_))
    }

    /// Returns the error of a statement that failed. `query` is the text that positions refer to;
    /// `None` if the user did not write it.
    pub(super) fn of_statement(error: &tokio_postgres::Error, query: Option<&str>) -> Self {
        if let Some(error) = error.as_db_error() {
            let sentence =
                format!("PostgreSQL refuses the query: {}; {}", describe(error, query), advice(error.code()));
            return if ends_connection(error.code()) { Self::lost(sentence) } else { Self::new(sentence) };
        }
        let cause = cause(error);
        if error.is_closed() || error.source().is_some_and(<dyn Error>::is::<io::Error>) {
            return Self::lost(format!(
                "the connection to PostgreSQL is lost ({cause}); check the server's log, then run this again"
            ));
        }
        // For example a column that is not UTF-8; the cause quotes no contents.
        Self::new(format!(
            "the response of PostgreSQL cannot be read ({cause}); check that the encoding of the database is UTF8"
        ))
    }
}

/// Returns true if the server closes the connection after this error: the codes 57P… (such as a
/// shutdown), class 08, and the timeout of an idle transaction.
fn ends_connection(code: &SqlState) -> bool {
    code.code().starts_with("57P")
        || code.code().starts_with("08")
        || *code == SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
}

/// Returns true if the message may name tables, columns, users or settings, but cannot quote a
/// value.
fn may_be_shown(code: &SqlState) -> bool {
    const CLASSES: [&str; 13] = ["08", "0A", "25", "28", "3D", "3F", "40", "42", "53", "54", "55", "57", "58"];
    code.code().get(..2).is_some_and(|class| CLASSES.contains(&class))
}

/// Returns an error of PostgreSQL for messages: `relation "userz" does not exist (line 1, column
/// 16, SQLSTATE 42P01)`.
pub(super) fn describe(error: &DbError, query: Option<&str>) -> String {
    let code = error.code().code();
    if !may_be_shown(error.code()) {
        return format!(
            "it failed on the contents of a row (SQLSTATE {code}, its message is hidden because it may quote the row)"
        );
    }
    let place = match (error.position(), query) {
        (Some(ErrorPosition::Original(position)), Some(query)) => {
            let (line, column) = line_and_column(query, *position);
            format!("line {line}, column {column}, ")
        }
        _ => String::new(),
    };
    format!("{} ({place}SQLSTATE {code})", error.message())
}

/// Returns line and column of a character; everything is counted from 1.
fn line_and_column(text: &str, position: u32) -> (usize, usize) {
    let before = text.chars().take((position as usize).saturating_sub(1));
    before.fold((1, 1), |(line, column), character| match character {
        '\n' => (line + 1, 1),
        _ => (line, column + 1),
    })
}

/// Returns what people can do about it.
fn advice(code: &SqlState) -> &'static str {
    match code.code() {
        "42P01" => {
            "correct the name in --query, add its schema (shop.users), or check that DATABASE_URL has the right \
             database"
        }
        "42703" | "42883" | "42601" | "42702" | "42P18" => "correct --query; psql shows the same with \\gdesc",
        "42501" => "let the user of DATABASE_URL read it (GRANT SELECT ON … TO …), or use another user",
        "25006" => "the query must only read: no function in it may write, and FOR UPDATE is not allowed",
        "57014" | "40001" | "40P01" => "run it again",
        code if code.starts_with("53") => "run it again when the server has room",
        code if code.starts_with("57P") || code.starts_with("08") => "run it again when the server is back",
        code if code.starts_with("22") => "run the query in psql to see the row, and correct the row or --query",
        _ => "run the query in psql to see more",
    }
}

/// Returns the innermost cause of an error.
pub(super) fn cause(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_a_line_and_a_column() {
        for (text, position, expected) in
            [("SELECT", 1, (1, 1)), ("SELECT", 3, (1, 3)), ("é\nab", 4, (2, 2)), ("a", 9, (1, 2)), ("", 0, (1, 1))]
        {
            assert_eq!(line_and_column(text, position), expected, "{text:?} {position}");
        }
    }

    #[test]
    fn a_message_that_may_quote_a_row_is_not_shown() {
        for (code, expected) in [
            (SqlState::UNDEFINED_TABLE, true),
            (SqlState::INSUFFICIENT_PRIVILEGE, true),
            (SqlState::INVALID_PASSWORD, true),
            (SqlState::INVALID_TEXT_REPRESENTATION, false),
            (SqlState::RAISE_EXCEPTION, false),
            (SqlState::UNIQUE_VIOLATION, false),
            (SqlState::INTERNAL_ERROR, false),
        ] {
            assert_eq!(may_be_shown(&code), expected, "{}", code.code());
        }
    }
}
