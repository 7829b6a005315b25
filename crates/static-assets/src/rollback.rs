//! Going back to an earlier release.

use http_semantics::error_response::{ErrorResponse, HttpError};
use http_semantics::one_of_each;
use http_semantics::status::Status;

use crate::lease::GcRunning;
use crate::manifest::Manifest;
use crate::release::{Pointer, Release};

/// Why a rollback is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RollbackError {
    /// There is no pointer, so nothing is served that could be replaced.
    #[error("nothing was pushed yet; `kv-edge assets push DIR` creates a release")]
    NothingPushed,
    /// No release is named, and none was served before this one.
    #[error("no release was served before {0}; give one that `kv-edge assets list` shows")]
    NoneBefore(String),
    /// No release has this id.
    #[error("the release {0} does not exist")]
    NotFound(String),
    /// The manifest of the release cannot be read, or is that of another one, so it must not be
    /// served. The second text says why, for the log.
    #[error("the manifest of the release {0} cannot be read: {1}")]
    Unreadable(String, String),
    /// The pointer names the second release, not the first, which the caller expects.
    #[error("{1} is served, not {0}")]
    Switched(String, String),
    /// What the release needs may be deleted at this moment.
    #[error(transparent)]
    GcRunning(#[from] GcRunning),
}

/// Returns the current pointer and the release to go back to: the given one, or the one that was
/// served before.
///
/// # Errors
/// [`RollbackError::NothingPushed`] without a pointer, [`RollbackError::NoneBefore`] if it has no
/// previous release, and [`RollbackError::NotFound`] if `releases` lacks the one to go back to.
pub fn target<'a>(
    pointer: Option<&'a Pointer>,
    to: Option<&'a str>,
    releases: &[Release],
) -> Result<(&'a Pointer, &'a str), RollbackError> {
    let pointer = pointer.ok_or(RollbackError::NothingPushed)?;
    let previous = || pointer.previous.first().map(String::as_str);
    let to = to.or_else(previous).ok_or_else(|| RollbackError::NoneBefore(pointer.current.clone()))?;
    if releases.iter().any(|release| release.id == to) {
        Ok((pointer, to))
    } else {
        Err(RollbackError::NotFound(to.to_owned()))
    }
}

/// Returns the pointer to go back from, after a check that it names the `expected` release, if one
/// is given.
///
/// # Errors
/// [`RollbackError`] if nothing was pushed, or another release is served.
pub fn served(pointer: Option<Pointer>, expected: Option<&str>) -> Result<Pointer, RollbackError> {
    let pointer = pointer.ok_or(RollbackError::NothingPushed)?;
    match expected {
        Some(expected) if expected != pointer.current => {
            Err(RollbackError::Switched(expected.to_owned(), pointer.current))
        }
        _ => Ok(pointer),
    }
}

/// Parses the manifest of the release with this id.
///
/// # Errors
/// [`RollbackError::Unreadable`] if it is broken, or that of another release.
pub fn readable(id: &str, json: &str) -> Result<Manifest, RollbackError> {
    let unreadable = |why: String| RollbackError::Unreadable(id.to_owned(), why);
    let manifest = Manifest::parse(json).map_err(|broken| unreadable(broken.to_string()))?;
    if manifest.id == id { Ok(manifest) } else { Err(unreadable(format!("it belongs to the release {}", manifest.id))) }
}

impl HttpError for RollbackError {
    fn response(&self) -> ErrorResponse {
        match self {
            Self::NothingPushed | Self::NoneBefore(_) => {
                ErrorResponse::new(Status::NotFound, "release_not_found", "There is no release to go back to.")
            }
            Self::NotFound(id) => {
                let sentence = format!("The release {id:?} does not exist.");
                ErrorResponse::new(Status::NotFound, "release_not_found", sentence)
            }
            Self::Unreadable(id, _) => {
                let sentence = format!("The manifest of the release {id:?} cannot be read.");
                ErrorResponse::new(Status::Conflict, "release_unreadable", sentence).because(self)
            }
            Self::Switched(expected, current) => {
                let sentence = format!(
                    "Somebody has switched the release in the meantime: {current:?} is served, not {expected:?}. \
                     Nothing was changed."
                );
                ErrorResponse::new(Status::Conflict, "release_switched", sentence)
            }
            Self::GcRunning(GcRunning(name)) => {
                let sentence = format!(
                    "`kv-edge assets gc` is running ({name}), so nothing was switched. Try again when it has finished."
                );
                ErrorResponse::new(Status::Conflict, "gc_running", sentence)
            }
        }
    }

    fn examples() -> Vec<(Self, &'static str)> {
        one_of_each! {
            Self::NothingPushed => Self::NothingPushed, "No release was pushed yet.";
            Self::NoneBefore(_) => Self::NoneBefore("b".to_owned()), "No release was served before the current one.";
            Self::NotFound(_) => Self::NotFound("a".to_owned()), "No release has this id.";
            Self::Unreadable(..) => Self::Unreadable("a".to_owned(), "invalid JSON".to_owned()),
                "The manifest of the release is broken, of another version, or that of another release.";
            Self::Switched(..) => Self::Switched("a".to_owned(), "b".to_owned()),
                "A push or a rollback has moved the pointer since the caller read which release is served.";
            Self::GcRunning(_) => Self::GcRunning(GcRunning("gc-1795261475000".to_owned())),
                "`kv-edge assets gc` may be deleting what the release needs. If it has died, its lease expires after an hour, or later with a long `--deadline`.";
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollback_goes_to_the_previous_release_or_to_the_given_one() {
        let all: Vec<_> = ["d", "c", "a"].map(|id| Release { id: id.to_owned(), metadata: None }).into();
        let pointer = |current: &str, previous: &[&str]| Pointer {
            previous: previous.iter().map(|id| (*id).to_owned()).collect(),
            ..Pointer::switched(None, current, 3, 1)
        };
        for (before, release, expected) in [
            (Some(pointer("d", &["c", "a"])), None, Ok("c")),
            (Some(pointer("d", &["c", "a"])), Some("a"), Ok("a")),
            (Some(pointer("d", &["c"])), Some("d"), Ok("d")),
            // A rollback of a rollback.
            (Some(pointer("c", &["d"])), None, Ok("d")),
            (Some(pointer("d", &["b", "c"])), None, Err(RollbackError::NotFound("b".to_owned()))),
            (Some(pointer("d", &["c"])), Some("x"), Err(RollbackError::NotFound("x".to_owned()))),
            (Some(pointer("d", &[])), None, Err(RollbackError::NoneBefore("d".to_owned()))),
            (None, None, Err(RollbackError::NothingPushed)),
            (None, Some("d"), Err(RollbackError::NothingPushed)),
        ] {
            let found = target(before.as_ref(), release, &all).map(|(_, to)| to);
            assert_eq!(found, expected, "{before:?} {release:?}");
        }
    }

    #[test]
    fn whoever_says_what_is_served_replaces_nothing_else() {
        let pointer = || Some(Pointer::switched(None, "b", 3, 1));
        for (pointer, expected, result) in [
            (pointer(), None, Ok("b")),
            (pointer(), Some("b"), Ok("b")),
            (pointer(), Some("a"), Err(RollbackError::Switched("a".to_owned(), "b".to_owned()))),
            (None, None, Err(RollbackError::NothingPushed)),
            (None, Some("a"), Err(RollbackError::NothingPushed)),
        ] {
            let found = served(pointer, expected).map(|pointer| pointer.current);
            assert_eq!(found, result.map(str::to_owned), "{expected:?}");
        }
    }
}
