//! Why there are no rows, as sentences that name the way out.
//!
//! A sentence holds neither the password nor what a row holds: of what PostgreSQL says, only messages whose SQLSTATE cannot quote a
//! value are told (PostgreSQL manual, appendix A "PostgreSQL Error Codes").

use std::error::Error;
use std::io;

use tokio_postgres::error::{DbError, ErrorPosition, SqlState};

/// Why there are no rows, in a sentence.
#[derive(Debug, thiserror::Error)]
pub(in crate::config) enum SourceError {
    /// The connection is gone, or there was none; a new one may do better.
    #[error("{0}")]
    Lost(String),
    /// What a signal makes of a wait, or of rows that were not all read yet.
    #[error("it was stopped before all rows were read")]
    Stopped,
    /// A new connection would do no better.
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

    /// True where only a new connection helps.
    pub(in crate::config) fn is_lost(&self) -> bool {
        matches!(self, Self::Lost(_))
    }

    /// Of a statement that failed. `query` is the text that positions count in; none where it is not what somebody wrote.
    pub(super) fn of_statement(error: &tokio_postgres::Error, query: Option<&str>) -> Self {
        if let Some(error) = error.as_db_error() {
            let sentence = format!("PostgreSQL refuses the query: {}; {}", told(error, query), way_out(error.code()));
            return if ends_connection(error.code()) { Self::lost(sentence) } else { Self::new(sentence) };
        }
        let cause = cause(error);
        if error.is_closed() || error.source().is_some_and(<dyn Error>::is::<io::Error>) {
            return Self::lost(format!(
                "the connection to PostgreSQL is lost ({cause}); see the server's log, then run this again"
            ));
        }
        // A column that is no UTF-8, for one: the cause names no contents.
        Self::new(format!("what PostgreSQL answers cannot be read ({cause}); see if the database's encoding is UTF8"))
    }
}

/// True where the server ends the connection with this: class 57P (shutdown) and what it does to a session that it does not want.
fn ends_connection(code: &SqlState) -> bool {
    code.code().starts_with("57P")
        || code.code().starts_with("08")
        || *code == SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
}

/// True where the message names tables, columns, users or settings, but cannot quote a value.
fn is_told(code: &SqlState) -> bool {
    const CLASSES: [&str; 13] = ["08", "0A", "25", "28", "3D", "3F", "40", "42", "53", "54", "55", "57", "58"];
    code.code().get(..2).is_some_and(|class| CLASSES.contains(&class))
}

/// `relation "userz" does not exist (line 1, column 16, SQLSTATE 42P01)`
pub(super) fn told(error: &DbError, query: Option<&str>) -> String {
    let code = error.code().code();
    if !is_told(error.code()) {
        return format!(
            "it failed on what a row holds (SQLSTATE {code}, its message is not shown: it may quote the row)"
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

/// Line and column of a character, all counted from 1.
fn line_and_column(text: &str, position: u32) -> (usize, usize) {
    let before = text.chars().take((position as usize).saturating_sub(1));
    before.fold((1, 1), |(line, column), character| match character {
        '\n' => (line + 1, 1),
        _ => (line, column + 1),
    })
}

/// What somebody can do about it.
fn way_out(code: &SqlState) -> &'static str {
    match code.code() {
        "42P01" => {
            "correct the name in --query, name its schema (shop.users), or see that DATABASE_URL names the right database"
        }
        "42703" | "42883" | "42601" | "42702" | "42P18" => "correct --query; psql shows the same with \\gdesc",
        "42501" => "let the user of DATABASE_URL read it (GRANT SELECT ON … TO …), or use another user",
        "25006" => {
            "a query for this reads and changes nothing: no function in it may write, and no FOR UPDATE stand there"
        }
        "57014" | "40001" | "40P01" => "run it again",
        code if code.starts_with("53") => "run it again when the server has room",
        code if code.starts_with("57P") || code.starts_with("08") => "run it again when the server is back",
        code if code.starts_with("22") => "run the query in psql to see the row, and correct the row or --query",
        _ => "run the query in psql to see more",
    }
}

/// The innermost cause, without Rust's names.
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
    fn a_message_that_may_quote_a_row_is_not_told() {
        for (code, expected) in [
            (SqlState::UNDEFINED_TABLE, true),
            (SqlState::INSUFFICIENT_PRIVILEGE, true),
            (SqlState::INVALID_PASSWORD, true),
            (SqlState::INVALID_TEXT_REPRESENTATION, false),
            (SqlState::RAISE_EXCEPTION, false),
            (SqlState::UNIQUE_VIOLATION, false),
            (SqlState::INTERNAL_ERROR, false),
        ] {
            assert_eq!(is_told(&code), expected, "{}", code.code());
        }
    }
}
