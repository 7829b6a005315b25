//! The configuration of users (KV documentation, "Build a distributed configuration store").
//!
//! [`user_id`] finds out which user a request is for. [`user_record`] and [`snapshot`] parse
//! what KV holds. [`config_source`] names where a user's configuration came from. [`page`] is
//! the documented page, and [`batch`] is the request for many users at once.

pub mod batch;
pub mod config_source;
pub mod page;
pub mod snapshot;
pub mod user_id;
pub mod user_record;

use crate::flags;
use http_semantics::error_response::{ErrorResponse, HttpError};
use http_semantics::one_of_each;
use http_semantics::request_target::BadPercentEncoding;
use http_semantics::status::Status;
use kv_store::limits::KeyError;

use user_id::UserIdFrom;

/// Why a request for configuration is refused. Each variant knows its HTTP status and code
/// ([`HttpError`]).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The request has no user id, or an empty one.
    #[error("{}", .0.missing())]
    MissingUserId(UserIdFrom),
    /// The percent-encoding of the id is invalid.
    #[error(transparent)]
    Encoding(#[from] BadPercentEncoding),
    /// An id of `POST /config` is not a valid key of Workers KV.
    #[error("userIds[{index}]: {error}")]
    BatchKey {
        /// The position of the id in `userIds`, from 0.
        index: usize,
        /// Why Workers KV does not accept it.
        error: KeyError,
    },
    /// The body of `POST /config` is not valid. The text says what is wrong.
    #[error("{0}")]
    InvalidBatch(String),
    /// The records together are longer than [`batch::RESPONSE_BYTES_MAX`].
    #[error("The records of these users are longer than {} bytes; ask for fewer at once.", batch::RESPONSE_BYTES_MAX)]
    BatchResponseTooLong,
    /// The body of the request is longer than [`batch::REQUEST_BYTES_MAX`].
    #[error("The body is longer than {} bytes.", batch::REQUEST_BYTES_MAX)]
    BatchTooLong,
}

impl HttpError for ConfigError {
    fn response(&self) -> ErrorResponse {
        let shown = |status, code| ErrorResponse::new(status, code, self.to_string());
        // The codes are public, so they stay if a variant is renamed.
        match self {
            Self::MissingUserId(_) => shown(Status::BadRequest, "missing_user_id"),
            Self::Encoding(error) => error.response(),
            Self::BatchKey { .. } => shown(Status::BadRequest, "invalid_key"),
            Self::InvalidBatch(_) => shown(Status::BadRequest, "invalid_user_ids"),
            Self::BatchResponseTooLong => shown(Status::BadRequest, "answer_too_large"),
            Self::BatchTooLong => shown(Status::ContentTooLarge, "user_ids_too_large"),
        }
    }

    fn examples() -> Vec<(Self, &'static str)> {
        one_of_each! {
            Self::MissingUserId(_) => Self::MissingUserId(UserIdFrom::Query),
                "The request does not say whose configuration it asks for. The var `USER_ID_FROM` says where it must.";
            Self::Encoding(_) => Self::Encoding(BadPercentEncoding), "The user's id cannot be decoded.";
            Self::BatchKey { .. } => Self::BatchKey { index: 3, error: KeyError::Empty },
                "One of the ids of `POST /config` is no key of Workers KV.";
            Self::InvalidBatch(_) => Self::InvalidBatch("The body must be JSON like {\"userIds\": [\"a\", \"b\"]}.".to_owned()),
                "The body of `POST /config` is not of [this form](config-and-flags.md#a-users-configuration).";
            Self::BatchResponseTooLong => Self::BatchResponseTooLong,
                "The records that `POST /config` asks for are too long together.";
            Self::BatchTooLong => Self::BatchTooLong, "The body of `POST /config` is too long.";
        }
    }
}

/// Returns true if the key belongs to no user: it holds the definitions of the flags or the
/// snapshot, whose key is `snapshot`.
///
/// # Examples
///
/// ```
/// use feature_flags::config::is_reserved;
///
/// assert!(is_reserved("flags", None) && is_reserved("all-users", Some("all-users")));
/// assert!(!is_reserved("user-id-abc", Some("all-users")));
/// ```
#[must_use]
pub fn is_reserved(key: &str, snapshot: Option<&str>) -> bool {
    key == flags::KEY.as_str() || snapshot == Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_flags_and_snapshot_belong_to_no_user() {
        assert!(is_reserved("flags", None) && is_reserved("all", Some("all")));
        assert!(!is_reserved("all", None) && !is_reserved("user:flags", Some("all")));
    }
}
