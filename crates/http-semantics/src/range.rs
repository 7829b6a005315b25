//! Which parts of a representation a request asks for (RFC 9110 §14).
//!
//! ```
//! use http_semantics::conditional::Validators;
//! use http_semantics::range::{Range, content_range};
//!
//! let etag = Some("\"a\"");
//! let validators = Validators { etag, last_modified_ms: None, received_ms: u64::MAX };
//! let range = Range::of(Some("bytes=-5"), etag, &validators, 10);
//! assert_eq!(range, Range::Satisfiable(vec![5..10]));
//! assert_eq!(Range::of(Some("bytes=-5"), Some("\"b\""), &validators, 10), Range::Whole);
//! assert_eq!(content_range(&(5..10), 10), "bytes 5-9/10");
//! ```

#[cfg(test)]
mod tests;

use std::ops;

use crate::conditional::{EntityTag, Validators};
use crate::fields::list;
use crate::http_date;

/// A request for more parts than these, counted after those that touch are merged, gets the whole
/// representation. RFC 9110 §14.2 warns of "a set of many small ranges".
pub const PARTS_MAX: usize = 16;

/// What the `Range` field of a request comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Range {
    /// The whole representation: there is no `Range`, or it is ignored.
    Whole,
    /// These parts, as byte positions: 206. None is empty; they are in ascending order, with bytes
    /// between them (RFC 9110 §15.3.7.2).
    Satisfiable(Vec<ops::Range<u64>>),
    /// No part of the field lies within the representation: 416.
    Unsatisfiable,
}

/// One part, as the field says it (RFC 9110 §14.1.2).
#[derive(Debug, Clone, Copy)]
enum RangeSpec {
    /// `1-` or `1-2`: first and last position.
    From(u64, Option<u64>),
    /// `-5`: that many bytes at the end.
    Last(u64),
}

impl Range {
    /// Evaluates the `Range` of a GET whose preconditions hold, for a representation of `length`
    /// bytes. The field is ignored if it is malformed, if its unit is not bytes, if it asks for
    /// more than [`PARTS_MAX`] parts, or if `If-Range` says that the client has parts of another
    /// representation (RFC 9110 §13.1.5, §14.2).
    ///
    /// [The module](self) has an example.
    #[must_use]
    pub fn of(field: Option<&str>, if_range: Option<&str>, validators: &Validators<'_>, length: u64) -> Self {
        let Some(specs) = field.and_then(specs) else { return Self::Whole };
        if if_range.is_some_and(|if_range| !if_range_holds(if_range, validators)) {
            return Self::Whole;
        }
        // §14.1.2: a suffix of an empty representation is satisfiable, but `Content-Range` cannot
        // express it.
        if length == 0 && specs.iter().any(|spec| matches!(spec, RangeSpec::Last(1..))) {
            return Self::Whole;
        }
        let parts = coalesce(specs.into_iter().filter_map(|spec| spec.resolve(length)).collect());
        match parts.len() {
            0 => Self::Unsatisfiable,
            1..=PARTS_MAX => Self::Satisfiable(parts),
            _ => Self::Whole,
        }
    }
}

impl RangeSpec {
    fn parse(spec: &str) -> Option<Self> {
        let (first, last) = spec.split_once('-')?;
        match (first, last) {
            ("", length) => Some(Self::Last(position(length)?)),
            (first, "") => Some(Self::From(position(first)?, None)),
            (first, last) => {
                let (first, last) = (position(first)?, position(last)?);
                // §14.1.1: "invalid if the last-pos value is present and less than first-pos".
                (first <= last).then_some(Self::From(first, Some(last)))
            }
        }
    }

    /// Returns the positions within a representation of `length` bytes; `None` if there are none.
    fn resolve(self, length: u64) -> Option<ops::Range<u64>> {
        let part = match self {
            Self::From(first, last) => first..last.map_or(length, |last| last.saturating_add(1).min(length)),
            Self::Last(bytes) => length.saturating_sub(bytes)..length,
        };
        (!part.is_empty()).then_some(part)
    }
}

/// Parses the field; returns `None` if the unit is not bytes, a part is malformed, or there is no
/// part.
fn specs(field: &str) -> Option<Vec<RangeSpec>> {
    let (unit, set) = field.trim().split_once('=')?;
    // §14.1: "Range units are case-insensitive".
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let specs: Option<Vec<RangeSpec>> = list(set).map(RangeSpec::parse).collect();
    specs.filter(|specs| !specs.is_empty())
}

/// Parses a position. One that does not fit into 64 bits lies beyond any representation, like
/// `u64::MAX`.
fn position(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// Sorts the parts and merges those that overlap or touch.
fn coalesce(mut parts: Vec<ops::Range<u64>>) -> Vec<ops::Range<u64>> {
    parts.sort_unstable_by_key(|part| part.start);
    let mut merged: Vec<ops::Range<u64>> = Vec::new();
    for part in parts {
        match merged.last_mut() {
            Some(last) if part.start <= last.end => last.end = last.end.max(part.end),
            _ => merged.push(part),
        }
    }
    merged
}

/// Returns true if `If-Range` names this representation, byte for byte (RFC 9110 §13.1.5). No
/// fault of a tag is forgiven here, because the client would join parts of two representations.
fn if_range_holds(if_range: &str, validators: &Validators<'_>) -> bool {
    let if_range = if_range.trim();
    if if_range.starts_with('"') {
        let is_tag = EntityTag::parse(if_range).is_some();
        return is_tag && validators.etag.is_some_and(|etag| etag.trim() == if_range);
    }
    // §8.8.2.2: a date is a strong validator if the response is dated at least a second later.
    let strong = validators.last_modified_ms.filter(|at| at.saturating_add(1000) <= validators.received_ms);
    strong.is_some() && http_date::parse_ms(if_range) == strong
}

/// Returns `Content-Range` for a part of a representation of `length` bytes (RFC 9110 §14.4). The
/// part is not empty.
///
/// [The module](self) has an example.
#[must_use]
pub fn content_range(range: &ops::Range<u64>, length: u64) -> String {
    format!("bytes {}-{}/{length}", range.start, range.end - 1)
}

/// Returns `Content-Range` for a 416 (RFC 9110 §14.4, §15.5.17).
#[must_use]
pub fn unsatisfied_range(length: u64) -> String {
    format!("bytes */{length}")
}
