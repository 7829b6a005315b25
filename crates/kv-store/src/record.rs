//! JSON records in KV. Anyone with access to KV may write one, so each read checks it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A record that is not a JSON object of the expected form. Its text is for the log: it names
/// the place and never shows the content, which may be a user's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at line {line}, column {column}")]
pub struct BrokenRecord {
    kind: &'static str,
    line: usize,
    column: usize,
}

impl BrokenRecord {
    /// Returns the error for a record that is broken as a whole.
    #[must_use]
    pub fn of_kind(kind: &'static str) -> Self {
        Self { kind, line: 1, column: 1 }
    }
}

/// Parses a JSON object. An array is an error, although serde would read it as the members in
/// their order.
///
/// # Errors
/// [`BrokenRecord`] if the text is not a JSON object, or a member is missing or of another type.
///
/// # Examples
///
/// ```
/// use kv_store::record;
///
/// #[derive(serde::Deserialize)]
/// struct User {
///     preview: bool,
/// }
///
/// let user: User = record::parse(r#"{"preview": true}"#)?;
/// assert!(user.preview);
/// # Ok::<(), record::BrokenRecord>(())
/// ```
pub fn parse<'a, T: Deserialize<'a>>(json: &'a (impl AsRef<[u8]> + ?Sized)) -> Result<T, BrokenRecord> {
    let json = json.as_ref();
    if !json.trim_ascii_start().starts_with(b"{") {
        return Err(BrokenRecord::of_kind("not a JSON object"));
    }
    from_json(json)
}

/// Parses a JSON array.
///
/// # Errors
/// [`BrokenRecord`] if the text is not a JSON array, or an element is not as expected.
///
/// # Examples
///
/// ```
/// use kv_store::record::parse_list;
///
/// let names: Vec<String> = parse_list(r#"["ci", "laptop"]"#)?;
/// assert_eq!(names, ["ci", "laptop"]);
/// assert!(parse_list::<String>(r#"{"names": ["ci"]}"#).is_err());
/// # Ok::<(), kv_store::record::BrokenRecord>(())
/// ```
pub fn parse_list<'a, T: Deserialize<'a>>(json: &'a (impl AsRef<[u8]> + ?Sized)) -> Result<Vec<T>, BrokenRecord> {
    from_json(json.as_ref())
}

fn from_json<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, BrokenRecord> {
    serde_json::from_slice(json).map_err(|error| BrokenRecord {
        kind: if error.is_data() {
            "missing or mistyped member"
        } else {
            exceeded_limit(&error).unwrap_or("invalid JSON")
        },
        line: error.line(),
        column: error.column(),
    })
}

/// Returns which limit a text exceeds that is JSON; `None` if it is not JSON. A parser may limit
/// the range of numbers, the depth, and the characters of strings (RFC 8259 §9). `serde_json`
/// classes all of these as syntax errors, so only its text tells them apart.
///
/// # Examples
///
/// ```
/// use kv_store::record::exceeded_limit;
/// use serde_json::{Value, from_str};
///
/// let limit = |json| exceeded_limit(&from_str::<Value>(json).unwrap_err());
/// assert_eq!(limit("1e999"), Some("a number beyond 1.8e308"));
/// assert_eq!(limit("1e"), None);
/// ```
#[must_use]
pub fn exceeded_limit(error: &serde_json::Error) -> Option<&'static str> {
    const UNPAIRED: &str = "half of a surrogate pair, such as \\ud800";
    const LIMITS: [(&str, &str); 4] = [
        ("number out of range", "a number beyond 1.8e308"),
        ("recursion limit exceeded", "more than 127 levels"),
        ("lone leading surrogate in hex escape", UNPAIRED),
        ("unexpected end of hex escape", UNPAIRED),
    ];
    let text = error.to_string();
    LIMITS.iter().find(|(begins, _)| text.starts_with(begins)).map(|(_, limit)| *limit)
}

/// Returns a record as JSON.
///
/// # Panics
/// The type cannot be JSON, such as a map whose keys are not text. That is a fault of the type,
/// whatever its values are.
#[expect(clippy::expect_used, reason = "text, numbers, and lists and structs of them are always JSON")]
#[must_use]
pub fn to_json(record: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(record).expect("a record is made of text and numbers")
}

/// Returns JSON without the white space between its tokens (RFC 8259 §2). Everything else stays as
/// it is written, such as `1.50` and members that occur twice.
///
/// # Examples
///
/// ```
/// use kv_store::record::without_white_space;
///
/// assert_eq!(without_white_space("{ \"a b\": [1.50, 1e9] }\n"), r#"{"a b":[1.50,1e9]}"#);
/// ```
#[must_use]
pub fn without_white_space(json: &str) -> String {
    let (mut is_in_string, mut is_escaped) = (false, false);
    let is_kept = |character: &char| {
        let is_end = *character == '"' && !is_escaped;
        is_escaped = *character == '\\' && !is_escaped;
        is_in_string ^= is_end;
        is_in_string || !matches!(character, ' ' | '\t' | '\n' | '\r')
    };
    json.chars().filter(is_kept).collect()
}

/// Returns a record as a JSON value.
///
/// # Panics
/// As [`to_json`].
#[expect(clippy::expect_used, reason = "text, numbers, and lists and structs of them are always JSON")]
#[must_use]
pub fn to_value(record: &impl Serialize) -> Value {
    serde_json::to_value(record).expect("a record is made of text and numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Record {
        #[serde(default)]
        a: u8,
    }

    #[test]
    fn the_error_names_the_place_and_not_the_value() {
        let error = parse::<Record>("{\n\"a\": \"secret\"}").unwrap_err();
        assert_eq!(error.to_string(), "missing or mistyped member at line 2, column 13");
    }

    #[test]
    fn json_that_exceeds_a_limit_is_not_called_invalid() {
        let nested = |levels: usize| format!(r#"{{"a":{}1{}}}"#, "[".repeat(levels), "]".repeat(levels));
        for (json, expected) in [
            (r#"{"a": -1e999}"#, "a number beyond 1.8e308 at line 1, column 12"),
            (&nested(127), "more than 127 levels at line 1, column 132"),
            (r#"{"a": "\ud800"}"#, "half of a surrogate pair, such as \\ud800 at line 1, column 14"),
            (r#"{"a": "\ud800\n"}"#, "half of a surrogate pair, such as \\ud800 at line 1, column 15"),
            (r#"{"a": "\ude00"}"#, "half of a surrogate pair, such as \\ud800 at line 1, column 13"),
            (r#"{"a": 1e}"#, "invalid JSON at line 1, column 9"),
            (r#"{"a": "\ud8"}"#, "invalid JSON at line 1, column 13"),
        ] {
            assert_eq!(parse::<serde_json::Map<String, Value>>(json).unwrap_err().to_string(), expected, "{json}");
        }
        assert!(parse::<serde_json::Map<String, Value>>(&nested(126)).is_ok());
    }

    #[test]
    fn only_an_object_is_a_record() {
        assert_eq!(parse(" \n{\"a\": 1, \"b\": 2}"), Ok(Record { a: 1 }));
        for json in ["", "{", "[]", "[1]", "null", "1", "\"a\"", "{\"a\": true}", "{} {}"] {
            assert!(parse::<Record>(json).is_err(), "{json}");
        }
    }
}
