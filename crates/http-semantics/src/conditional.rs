//! Preconditions of a request (RFC 9110 §13.1): [`evaluate`] evaluates them against the validators
//! of a representation, [`Preconditions`] against the version of a key.
//!
//! ```
//! use http_semantics::conditional::{Preconditions, entity_tag};
//!
//! let unchanged = Preconditions::parse(Some(&entity_tag(7)), None);
//! assert!(unchanged.check(Some(7)).is_ok() && unchanged.check(Some(8)).is_err());
//! ```

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::fields::Fields;
use crate::http_date;

/// `If-Match` and `If-None-Match` of a request that writes a key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preconditions {
    /// RFC 9110 §13.1.1: the client overwrites only what it saw last; with `*`, only what exists.
    pub if_match: Option<EntityTags>,
    /// RFC 9110 §13.1.2: the client does not overwrite what it names; with `*`, it only creates.
    pub if_none_match: Option<EntityTags>,
}

/// The value of `If-Match` or `If-None-Match`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntityTags {
    /// `*`: any representation.
    Any,
    /// Entity tags, as they were sent. Members that are not entity tags are left out, so they
    /// match nothing.
    List(Vec<EntityTag>),
}

/// One entity tag (RFC 9110 §8.8.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntityTag {
    is_weak: bool,
    opaque: String,
}

/// The validators of a representation, which preconditions are evaluated against (RFC 9110 §8.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validators<'a> {
    /// The value of `ETag`.
    pub etag: Option<&'a str>,
    /// `Last-Modified`, in milliseconds since the Unix epoch.
    pub last_modified_ms: Option<u64>,
    /// `Date`, or without it the time when the response was received (RFC 9111 §4.3.2), in
    /// milliseconds since the Unix epoch. `u64::MAX` for a response that the caller
    /// generates itself: then, without `Last-Modified`, no date of a request is late enough to
    /// count.
    pub received_ms: u64,
}

/// The result of evaluating the preconditions of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreconditionResult {
    /// All hold, or there are none: the method is performed.
    Holds,
    /// The client has the representation already: 304 (RFC 9110 §15.4.5).
    NotModified,
    /// The resource is not in the state that the client expects: 412 (RFC 9110 §15.5.13).
    Failed,
}

/// The resource is not in the state that the request expects: 412.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("A precondition failed.")]
pub struct PreconditionFailed;

impl Preconditions {
    /// Parses the values of both fields.
    ///
    /// [The module](self) has an example.
    #[must_use]
    pub fn parse(if_match: Option<&str>, if_none_match: Option<&str>) -> Self {
        Self { if_match: if_match.map(EntityTags::parse), if_none_match: if_none_match.map(EntityTags::parse) }
    }

    /// Returns true if the request has no precondition.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.if_match.is_none() && self.if_none_match.is_none()
    }

    /// Compares the preconditions with the current version, which is `None` if nothing is stored.
    /// `If-Match` compares strongly, `If-None-Match` weakly (RFC 9110 §13.1.1, §13.1.2).
    ///
    /// [The module](self) has an example.
    ///
    /// # Errors
    /// [`PreconditionFailed`] if the write must not be made.
    pub fn check(&self, version: Option<u64>) -> Result<(), PreconditionFailed> {
        let tag = version.map(EntityTag::of_version);
        let names = |tags: &EntityTags, compare| tag.is_some() && tags.matches(tag.as_ref(), compare);
        let matches = self.if_match.as_ref().is_none_or(|tags| names(tags, EntityTagComparison::Strong));
        let is_new = self.if_none_match.as_ref().is_none_or(|tags| !names(tags, EntityTagComparison::Weak));
        if matches && is_new { Ok(()) } else { Err(PreconditionFailed) }
    }
}

/// How entity tags are compared (RFC 9110 §8.8.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntityTagComparison {
    /// Equal, and neither of them weak.
    Strong,
    /// Equal, whether weak or not.
    Weak,
}

impl EntityTags {
    /// Returns true if these tags name the current representation. It exists; `current` is its
    /// entity tag, if it has one.
    fn matches(&self, current: Option<&EntityTag>, compare: EntityTagComparison) -> bool {
        match (self, current) {
            (Self::Any, _) => true,
            (Self::List(_), None) => false,
            (Self::List(tags), Some(current)) => tags.iter().any(|tag| tag.equals(current, compare)),
        }
    }

    fn parse(field: &str) -> Self {
        if field.trim() == "*" {
            return Self::Any;
        }
        let (mut tags, mut rest) = (Vec::new(), field);
        while !rest.is_empty() {
            let (tag, after) = EntityTag::first(rest);
            tags.extend(tag);
            rest = after;
        }
        Self::List(tags)
    }
}

impl EntityTag {
    /// Parses an `ETag` field; returns `None` if it is not exactly one entity tag. A tag without
    /// its quotes is accepted.
    #[must_use]
    pub fn parse(field: &str) -> Option<Self> {
        let field = field.trim();
        match Self::first(field) {
            (tag, "") if !field.ends_with(',') => tag,
            _ => None,
        }
    }

    /// Returns true if both name the same representation (RFC 9110 §8.8.3.2).
    #[must_use]
    pub fn equals(&self, other: &Self, compare: EntityTagComparison) -> bool {
        self.opaque == other.opaque && (compare == EntityTagComparison::Weak || !(self.is_weak || other.is_weak))
    }

    /// Returns true if the tag starts with `W/`.
    #[must_use]
    pub fn is_weak(&self) -> bool {
        self.is_weak
    }

    fn of_version(version: u64) -> Self {
        Self { is_weak: false, opaque: version.to_string() }
    }

    /// Returns the first member of a list, or `None` if that is not an entity tag, and the rest
    /// after its comma. A comma within quotes belongs to the tag. If a quote is not closed
    /// properly, the member ends at the next comma.
    ///
    /// Two mistakes are forgiven, because they are not ambiguous: missing quotes (`If-Match: 7`,
    /// typed by hand), and `w/` for `W/`.
    fn first(list: &str) -> (Option<Self>, &str) {
        let list = list.trim_start();
        let weak = list.strip_prefix("W/").or_else(|| list.strip_prefix("w/"));
        let quoted = weak.unwrap_or(list).strip_prefix('"').and_then(|rest| rest.split_once('"'));
        if let Some((opaque, after)) = quoted {
            let after = after.trim_start();
            if after.is_empty() || after.starts_with(',') {
                let tag = Self { is_weak: weak.is_some(), opaque: opaque.to_owned() };
                return (Some(tag), after.strip_prefix(',').unwrap_or_default());
            }
        }
        let (member, after) = list.split_once(',').unwrap_or((list, ""));
        let member = member.trim();
        let is_tag = weak.is_none()
            && !(member.is_empty() || member == "*" || member.starts_with('"'))
            && !member.contains(char::is_whitespace);
        (is_tag.then(|| Self { is_weak: false, opaque: member.to_owned() }), after)
    }
}

/// Evaluates the preconditions of a request against the selected representation (§13.2.1), in the
/// order of RFC 9110 §13.2.2 without the last step, which is [`crate::range::Range::of`]. The
/// caller has made sure that the response without preconditions is a 2xx (§13.2.1).
///
/// # Examples
///
/// ```
/// use http_semantics::conditional::{PreconditionResult, Validators, evaluate};
/// use http_semantics::fields::HeaderSection;
///
/// let (etag, last_modified_ms) = (Some("\"v2\""), Some(784_111_777_000));
/// let validators = Validators { etag, last_modified_ms, received_ms: 784_111_800_000 };
/// let date = ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT");
/// let with_tags = |tags| evaluate("GET", &HeaderSection::from(&[tags, date]), &validators);
/// let result = with_tags(("if-none-match", "\"v1\", \"v2\""));
/// assert_eq!(result, PreconditionResult::NotModified);
/// // The date alone would mean 304, but entity tags take precedence (RFC 9110 §13.1.3).
/// assert_eq!(with_tags(("if-none-match", "\"v1\"")), PreconditionResult::Holds);
/// ```
#[must_use]
pub fn evaluate(method: &str, request: &impl Fields, validators: &Validators<'_>) -> PreconditionResult {
    // §13.2.1: methods without "the selection or modification of a selected representation".
    if matches!(method, "CONNECT" | "OPTIONS" | "TRACE") {
        return PreconditionResult::Holds;
    }
    let is_get_or_head = matches!(method, "GET" | "HEAD");
    let tag = validators.etag.and_then(EntityTag::parse);
    let names = |field: &str, compare| EntityTags::parse(field).matches(tag.as_ref(), compare);
    let date = |name| request.get(name).and_then(|date| http_date::parse_ms(&date));
    let modified_ms = validators.last_modified_ms.unwrap_or(validators.received_ms);
    let holds = match request.get("if-match") {
        Some(if_match) => names(&if_match, EntityTagComparison::Strong),
        // §13.1.4: ignored if there is no modification date.
        None => match (date("if-unmodified-since"), validators.last_modified_ms) {
            (Some(date), Some(modified)) => !is_later(modified, date),
            _ => true,
        },
    };
    if !holds {
        return PreconditionResult::Failed;
    }
    let is_new = match request.get("if-none-match") {
        Some(if_none_match) => !names(&if_none_match, EntityTagComparison::Weak),
        // §13.1.3: ignored for other methods.
        None if is_get_or_head => date("if-modified-since").is_none_or(|date| is_later(modified_ms, date)),
        None => true,
    };
    match (is_new, is_get_or_head) {
        (true, _) => PreconditionResult::Holds,
        (false, true) => PreconditionResult::NotModified,
        (false, false) => PreconditionResult::Failed,
    }
}

/// Compares whole seconds, because an HTTP date has no fraction.
fn is_later(time_ms: u64, date_ms: u64) -> bool {
    time_ms / 1000 > date_ms / 1000
}

/// Returns true if a client that sends this `If-None-Match` has the version already: 304 (RFC 9110
/// §13.1.2).
///
/// # Examples
///
/// ```
/// use http_semantics::conditional::{entity_tag, is_not_modified};
///
/// assert_eq!(entity_tag(7), "\"7\"");
/// assert!(is_not_modified(Some("\"6\", W/\"7\""), 7));
/// assert!(!is_not_modified(Some("\"6\""), 7) && !is_not_modified(None, 7));
/// ```
#[must_use]
pub fn is_not_modified(if_none_match: Option<&str>, version: u64) -> bool {
    let tag = EntityTag::of_version(version);
    if_none_match.is_some_and(|field| EntityTags::parse(field).matches(Some(&tag), EntityTagComparison::Weak))
}

/// Returns the entity tag of a version: `"7"`.
///
/// [`is_not_modified`] has an example.
#[must_use]
pub fn entity_tag(version: u64) -> String {
    format!("\"{version}\"")
}
