//! Preconditions of a request (RFC 9110 §13.1) on a resource whose validator is a number: the version of a key.

/// `If-Match` and `If-None-Match` of a request that writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preconditions {
    /// RFC 9110 §13.1.1: the resource is still what the client saw last.
    pub if_match: Option<EntityTags>,
    /// RFC 9110 §13.1.2: as `*`, there is none yet.
    pub if_none_match: Option<EntityTags>,
}

/// What `If-Match` or `If-None-Match` lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntityTags {
    /// `*`: whatever there is.
    Any,
    /// Entity tags as they were sent; those that are none match nothing.
    List(Vec<EntityTag>),
}

/// One entity tag (RFC 9110 §8.8.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityTag {
    is_weak: bool,
    opaque: String,
}

/// The resource is not what the request says it must be: 412.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("A precondition failed.")]
pub struct PreconditionFailed;

impl Preconditions {
    /// Reads both fields.
    #[must_use]
    pub fn parse(if_match: Option<&str>, if_none_match: Option<&str>) -> Self {
        Self { if_match: if_match.map(EntityTags::parse), if_none_match: if_none_match.map(EntityTags::parse) }
    }

    /// True where the request has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.if_match.is_none() && self.if_none_match.is_none()
    }

    /// Holds the request against the current version; `None` where there is nothing yet. `If-Match` compares strongly,
    /// `If-None-Match` weakly (RFC 9110 §13.1.1, §13.1.2).
    ///
    /// # Errors
    /// [`PreconditionFailed`] where the write must not be made.
    pub fn check(&self, version: Option<u64>) -> Result<(), PreconditionFailed> {
        let matches = self.if_match.as_ref().is_none_or(|tags| tags.name(version, Compare::Strongly));
        let is_new = self.if_none_match.as_ref().is_none_or(|tags| !tags.name(version, Compare::Weakly));
        if matches && is_new { Ok(()) } else { Err(PreconditionFailed) }
    }
}

/// How entity tags are compared (RFC 9110 §8.8.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compare {
    Strongly,
    Weakly,
}

impl EntityTags {
    fn name(&self, version: Option<u64>, compare: Compare) -> bool {
        match (self, version) {
            (_, None) => false,
            (Self::Any, Some(_)) => true,
            (Self::List(tags), Some(version)) => {
                let opaque = version.to_string();
                tags.iter().any(|tag| tag.opaque == opaque && (compare == Compare::Weakly || !tag.is_weak))
            }
        }
    }

    fn parse(field: &str) -> Self {
        if field.trim() == "*" {
            return Self::Any;
        }
        // A version has no comma in it, so a tag that holds one is not ours, and its halves match nothing.
        Self::List(field.split(',').filter_map(EntityTag::parse).collect())
    }
}

impl EntityTag {
    /// Quotes may be missing: `If-Match: 7`, typed by hand, can mean nothing but version 7.
    fn parse(tag: &str) -> Option<Self> {
        let tag = tag.trim();
        let (is_weak, tag) = tag.strip_prefix("W/").map_or((false, tag), |rest| (true, rest));
        let opaque = match tag.strip_prefix('"') {
            Some(rest) => rest.strip_suffix('"')?,
            None if is_weak => return None,
            None => tag,
        };
        Some(Self { is_weak, opaque: opaque.to_owned() })
    }
}

/// True where a client that sends this `If-None-Match` has the version already: 304 (RFC 9110 §13.1.2).
#[must_use]
pub fn is_not_modified(if_none_match: Option<&str>, version: u64) -> bool {
    if_none_match.is_some_and(|field| EntityTags::parse(field).name(Some(version), Compare::Weakly))
}

/// The entity tag of a version: `"7"`.
#[must_use]
pub fn entity_tag(version: u64) -> String {
    format!("\"{version}\"")
}

/// The version of an entity tag that [`entity_tag`] made.
#[must_use]
pub fn version(entity_tag: &str) -> Option<u64> {
    entity_tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_match_and_if_none_match_of_rfc_9110() {
        for (if_match, if_none_match, version, passes) in [
            (None, None, None, true),
            (None, None, Some(7), true),
            (Some("\"7\""), None, Some(7), true),
            (Some("7"), None, Some(7), true),
            (Some("\"6\""), None, Some(7), false),
            (Some("\"77\""), None, Some(7), false),
            (Some("\"6\", \"7\""), None, Some(7), true),
            (Some("W/\"7\""), None, Some(7), false),
            (Some("\"7"), None, Some(7), false),
            (Some(""), None, Some(7), false),
            (Some("*"), None, Some(7), true),
            (Some("*"), None, None, false),
            (Some("\"0\""), None, None, false),
            (None, Some("*"), None, true),
            (None, Some("*"), Some(1), false),
            (None, Some("\"7\""), Some(7), false),
            (None, Some("W/\"7\""), Some(7), false),
            (None, Some("\"6\""), Some(7), true),
            (Some("\"7\""), Some("*"), Some(7), false),
        ] {
            let passed = Preconditions::parse(if_match, if_none_match).check(version).is_ok();
            assert_eq!(passed, passes, "{if_match:?} {if_none_match:?} {version:?}");
        }
    }

    #[test]
    fn the_tag_of_a_version_matches_it() {
        let preconditions = Preconditions::parse(Some(&entity_tag(12)), None);
        assert_eq!(preconditions.check(Some(12)), Ok(()));
        assert_eq!(preconditions.check(Some(13)), Err(PreconditionFailed));
        assert_eq!(version(&entity_tag(12)), Some(12));
        assert_eq!(version("12"), None);
        assert!(!preconditions.is_empty() && Preconditions::default().is_empty());
    }

    #[test]
    fn who_has_the_version_need_not_get_it_again() {
        assert!(is_not_modified(Some("\"7\""), 7) && is_not_modified(Some("W/\"7\", \"9\""), 7));
        assert!(is_not_modified(Some("*"), 7));
        assert!(!is_not_modified(Some("\"6\""), 7) && !is_not_modified(None, 7));
    }
}
