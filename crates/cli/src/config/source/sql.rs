//! Wraps a query into the statements that are sent: PostgreSQL itself converts each row into a
//! key and a JSON value.

use tokio_postgres::types::{Kind, Type};

use super::error::SourceError;

/// A query and its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QueryShape {
    /// The query without a `;` at its end.
    query: String,
    /// The names of all columns, the key first.
    names: Vec<String>,
    key: KeyColumnType,
    /// False if the database's encoding is not UTF-8, so that its bytes may sort differently.
    is_utf8: bool,
}

/// The type of the key. An index is only used if the comparison is in the type of the column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyColumnType {
    Text,
    Int2,
    Int4,
    Int8,
    Uuid,
    Other,
}

impl QueryShape {
    /// Checks the columns that PostgreSQL describes.
    pub(super) fn new(query: &str, columns: &[(String, Type)], is_utf8: bool) -> Result<Self, SourceError> {
        let query = without_end(query).to_owned();
        let (key, values) = match columns {
            [] => {
                return Err(SourceError::new("the query returns no rows; write a SELECT with the key and the values"));
            }
            [(key, _)] => {
                return Err(SourceError::new(format!(
                    "the query has only one column, {key:?}, which is the key; also select the columns of the value"
                )));
            }
            [key, values @ ..] => (key, values),
        };
        for (index, (name, _)) in values.iter().enumerate() {
            let number = index + 2;
            if name == "?column?" {
                return Err(SourceError::new(format!("column {number} of the query has no name; give it one with AS")));
            }
            if values.iter().take(index).any(|(other, _)| other == name) {
                return Err(SourceError::new(format!(
                    "the query has two columns {name:?}; give column {number} another name with AS"
                )));
            }
        }
        let key_type = KeyColumnType::of(&key.1).ok_or_else(|| {
            SourceError::new(format!(
                "the first column, {:?}, has the type {}, which cannot be a key; select a column with an id first \
                 (or one member, as in id->>'name')",
                key.0, key.1
            ))
        })?;
        let names = columns.iter().map(|(name, _)| name.clone()).collect();
        Ok(Self { query, names, key: key_type, is_utf8 })
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns the statement for all rows, in the order of the UTF-8 bytes of their keys, rows
    /// without a key last.
    pub(super) fn all(&self) -> String {
        format!("{} ORDER BY {} NULLS LAST", self.select(), self.order("q.c0"))
    }

    /// Returns how the author of the query finds a row by its number in the order of
    /// [`all`](Self::all), counted from 1. Quotes nothing of the row.
    pub(super) fn how_to_find(&self, row: u64) -> String {
        #[expect(clippy::expect_used, reason = "`new` takes no query without a key")]
        let (key, values) = self.names.split_first().expect("a query has columns");
        let mut name = key.clone();
        while values.contains(&name) {
            name.push('_');
        }
        let named = if name == *key { String::new() } else { format!("({})", quoted(&name)) };
        let order = self.order(&format!("q.{}", quoted(&name)));
        let offset = row - 1;
        format!("SELECT * FROM (the query) AS q{named} ORDER BY {order} OFFSET {offset} LIMIT 1")
    }

    /// Returns the statement for the rows of the keys in `$1` (`text[]`), in the same order.
    pub(super) fn some(&self) -> String {
        // The first condition can use an index; the second one is exact (a collation may equate
        // "a" with "A", and 007 is 7).
        let by_index = match self.key.cast() {
            Some(cast) => format!("q.c0 = ANY($1::text[]{cast}) AND "),
            None => String::new(),
        };
        let (select, order) = (self.select(), self.order("q.c0"));
        format!("{select} WHERE {by_index}(q.c0)::text COLLATE \"C\" = ANY($1::text[]) ORDER BY {order}")
    }

    fn order(&self, key: &str) -> String {
        // `COLLATE "C"` sorts by the bytes of the database, which are UTF-8 nearly everywhere.
        if self.is_utf8 { format!("({key})::text COLLATE \"C\"") } else { format!("convert_to(({key})::text, 'UTF8')") }
    }

    /// Returns the keys that a row can have. The cast in [`some`](Self::some) would fail on
    /// others.
    pub(super) fn possible<'k>(&self, keys: &'k [String]) -> Vec<&'k str> {
        keys.iter().map(String::as_str).filter(|key| self.key.can_be(key)).collect()
    }

    fn select(&self) -> String {
        let columns: Vec<String> = (0..self.names.len()).map(|index| format!("c{index}")).collect();
        let named = columns.iter().zip(&self.names).skip(1);
        let values: Vec<String> = named.map(|(column, name)| format!("q.{column} AS {}", quoted(name))).collect();
        // A column with this name would be used instead of the row.
        let mut row = String::from("r");
        while self.names.contains(&row) {
            row.push('_');
        }
        // The line break ends a comment at the end of the query.
        format!(
            "SELECT (q.c0)::text, row_to_json((SELECT {row} FROM (SELECT {}) AS {row}))::text FROM (\n{}\n) AS q({})",
            values.join(", "),
            self.query,
            columns.join(", ")
        )
    }
}

impl KeyColumnType {
    /// Returns `None` if values of the type are not scalars.
    fn of(key: &Type) -> Option<Self> {
        match *key {
            Type::TEXT | Type::VARCHAR => return Some(Self::Text),
            Type::INT2 => return Some(Self::Int2),
            Type::INT4 => return Some(Self::Int4),
            Type::INT8 => return Some(Self::Int8),
            Type::UUID => return Some(Self::Uuid),
            Type::JSON | Type::JSONB | Type::XML | Type::BYTEA | Type::RECORD => return None,
            _ => {}
        }
        match key.kind() {
            Kind::Simple | Kind::Enum(_) => Some(Self::Other),
            Kind::Domain(inner) => Self::of(inner).map(|_| Self::Other),
            _ => None,
        }
    }

    fn cast(self) -> Option<&'static str> {
        match self {
            Self::Text => Some(""),
            Self::Int2 => Some("::int2[]"),
            Self::Int4 => Some("::int4[]"),
            Self::Int8 => Some("::int8[]"),
            Self::Uuid => Some("::uuid[]"),
            Self::Other => None,
        }
    }

    fn can_be(self, key: &str) -> bool {
        match self {
            // PostgreSQL has no NUL in texts.
            Self::Text | Self::Other => !key.contains('\0'),
            Self::Int2 => key.parse::<i16>().is_ok(),
            Self::Int4 => key.parse::<i32>().is_ok(),
            Self::Int8 => key.parse::<i64>().is_ok(),
            Self::Uuid => {
                key.len() == 36 && key.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()) && {
                    let lengths: Vec<usize> = key.split('-').map(str::len).collect();
                    lengths == [8, 4, 4, 4, 12]
                }
            }
        }
    }
}

/// Returns a quoted identifier ("Identifiers and Key Words").
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns the query without the `;` at its end, and without comments after that ("Lexical
/// Structure").
fn without_end(query: &str) -> &str {
    let mut end = query.len();
    let mut rest = query;
    while let Some(first) = rest.chars().next() {
        let at = query.len() - rest.len();
        let length = token(rest, &query[..at]).max(first.len_utf8());
        match first {
            ';' if end == query.len() => end = at,
            // A `;` with something after it is left to PostgreSQL, which reports it.
            _ if !first.is_whitespace() && first != ';' && !is_comment(rest) => end = query.len(),
            _ => {}
        }
        rest = &rest[length..];
    }
    &query[..end]
}

fn is_comment(text: &str) -> bool {
    text.starts_with("--") || text.starts_with("/*")
}

/// Returns the length of the comment, string or quoted name that the text begins with, in bytes:
/// a `;` in it ends no statement. Returns 0 for anything else.
fn token(text: &str, before: &str) -> usize {
    let until = |end: &str, skip: usize| text[skip..].find(end).map_or(text.len(), |index| skip + index + end.len());
    let in_word = |character: char| character.is_alphanumeric() || character == '_' || character == '$';
    if text.starts_with("--") {
        text.find(['\n', '\r']).unwrap_or(text.len())
    } else if text.starts_with("/*") {
        block_comment(text)
    } else if text.starts_with('"') {
        // A doubled quote ends one name and begins the next, which makes no difference here.
        until("\"", 1)
    } else if text.starts_with('\'') {
        let mut letters = before.chars().rev();
        let escapes = matches!(letters.next(), Some('e' | 'E')) && !letters.next().is_some_and(in_word);
        if escapes { escaped(text) } else { until("'", 1) }
    } else if text.starts_with('$') && !before.chars().next_back().is_some_and(in_word) {
        let tag = text[1..].split_once('$').map_or("", |(tag, _)| tag);
        let is_tag = tag.chars().all(|letter| letter.is_alphanumeric() || letter == '_')
            && !tag.starts_with(|letter: char| letter.is_ascii_digit());
        let length = tag.len() + 2;
        match text.get(..length) {
            Some(opening) if is_tag && opening.ends_with('$') => until(opening, length),
            _ => 0,
        }
    } else {
        0
    }
}

/// Returns the length of a block comment. They nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut rest = text;
    while !rest.is_empty() {
        let length = if rest.starts_with("/*") {
            depth += 1;
            2
        } else if rest.starts_with("*/") {
            depth -= 1;
            2
        } else {
            rest.chars().next().map_or(1, char::len_utf8)
        };
        rest = &rest[length..];
        if depth == 0 {
            break;
        }
    }
    text.len() - rest.len()
}

/// Returns the length of a string with escapes, `E'…'`.
fn escaped(text: &str) -> usize {
    let mut characters = text.char_indices().skip(1);
    while let Some((index, character)) = characters.next() {
        match character {
            '\\' => drop(characters.next()),
            '\'' => return index + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests;
