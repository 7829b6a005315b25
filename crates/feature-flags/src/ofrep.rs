//! The OpenFeature Remote Evaluation Protocol: what a request asks, and the JSON of the answer
//! (<https://github.com/open-feature/protocol>, `service/openapi.yaml`).

mod answer;
mod request;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::flags::TargetingKeyMissing;
use http_semantics::error_response::{ErrorResponse, HttpError};
use http_semantics::status::Status;
use kv_store::limits::KeyError;

pub use self::answer::{Bulk, bulk, error_json, is_not_modified, single};
pub use self::request::parse_request;

/// What a request says of the user: the schema `context`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Context {
    /// The user's id: a key of Workers KV, never empty.
    pub targeting_key: Option<String>,
    /// Everything else.
    pub attributes: Map<String, Value>,
}

/// Why there is no answer (OpenFeature specification, "Types", error code).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// The request's body or the definitions are not what they should be.
    ParseError,
    /// The flag needs a targeting key.
    TargetingKeyMissing,
    /// The context does not meet the requirements.
    InvalidContext,
    /// There is no such flag.
    FlagNotFound,
    /// Anything else.
    General,
}

/// Why there is no answer, in the protocol's words and in a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{details}")]
pub struct OfrepError {
    /// The protocol's word.
    pub code: ErrorCode,
    /// A sentence for people. It names no value of the request.
    pub details: Cow<'static, str>,
    /// The status of the answer.
    pub status: Status,
}

impl ErrorCode {
    /// The code as the specification writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ParseError => "PARSE_ERROR",
            Self::TargetingKeyMissing => "TARGETING_KEY_MISSING",
            Self::InvalidContext => "INVALID_CONTEXT",
            Self::FlagNotFound => "FLAG_NOT_FOUND",
            Self::General => "GENERAL",
        }
    }
}

impl OfrepError {
    /// The request is at fault: 404 for a flag that is not there, else 400.
    #[must_use]
    pub fn of_request(code: ErrorCode, details: impl Into<Cow<'static, str>>) -> Self {
        let status = if code == ErrorCode::FlagNotFound { Status::NotFound } else { Status::BadRequest };
        Self { code, details: details.into(), status }
    }

    /// The definitions have no flag of the name that is asked for.
    #[must_use]
    pub fn flag_not_found() -> Self {
        Self::of_request(ErrorCode::FlagNotFound, "there is no flag of this name")
    }

    /// The request's body is longer than it may be (RFC 9110 §15.5.14).
    #[must_use]
    pub fn too_long(bytes_max: u32) -> Self {
        Self {
            status: Status::ContentTooLarge,
            ..Self::of_request(ErrorCode::General, format!("the body may have {bytes_max} bytes"))
        }
    }

    /// The request's body took too long (RFC 9110 §15.5.9).
    #[must_use]
    pub fn too_late() -> Self {
        Self { status: Status::RequestTimeout, ..Self::of_request(ErrorCode::General, "the body took too long") }
    }

    /// KV holds definitions that are broken, and none before them are known.
    #[must_use]
    pub fn broken_definitions() -> Self {
        Self {
            status: Status::InternalServerError,
            ..Self::of_request(ErrorCode::ParseError, "the definitions of the flags are broken")
        }
    }

    /// KV does not answer, and no definitions are known.
    #[must_use]
    pub fn no_definitions() -> Self {
        let details = "the flags cannot be read at the moment; please try again";
        Self { status: Status::ServiceUnavailable, ..Self::of_request(ErrorCode::General, details) }
    }
}

impl HttpError for OfrepError {
    fn response(&self) -> ErrorResponse {
        let told = ErrorResponse::new(self.status, self.code.as_str(), self.details.clone());
        if self.status == Status::ServiceUnavailable { told.retry_after(5) } else { told }
    }

    fn examples() -> Vec<(Self, &'static str)> {
        vec![
            (
                Self::of_request(ErrorCode::ParseError, "the body is no JSON"),
                "The request's body is not what the protocol asks for.",
            ),
            (KeyError::TooLong(513).into(), "The `targetingKey` is not one that a user can have."),
            (
                TargetingKeyMissing.into(),
                "The flag goes to a share of the users, and the request does not say which user it is for.",
            ),
            (Self::flag_not_found(), "The definitions have no such flag."),
            (Self::too_long(65_536), "The request's body is too long."),
            (Self::too_late(), "The request's body took longer than 20 s and a second more for each 64 KiB."),
            (
                Self::broken_definitions(),
                "The definitions in Workers KV are broken, and none before them are remembered. The log says where.",
            ),
            (Self::no_definitions(), "Workers KV does not answer, and no definitions are remembered."),
        ]
    }
}

impl From<KeyError> for OfrepError {
    fn from(error: KeyError) -> Self {
        Self::of_request(ErrorCode::InvalidContext, format!("the targetingKey cannot be a user's id: {error}"))
    }
}
