//! The OpenFeature Remote Evaluation Protocol (OFREP): parsing its requests and writing the
//! JSON of its responses (<https://github.com/open-feature/protocol>, `service/openapi.yaml`).

mod request;
mod response;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::flags::TargetingKeyMissing;
use http_semantics::error_response::{ErrorResponse, HttpError};
use http_semantics::status::Status;
use kv_store::limits::KeyError;

pub use self::request::{parse_context, parse_request};
pub use self::response::{BulkEvaluation, bulk, error_json, is_not_modified, single};

/// The evaluation context of a request: the protocol's schema `context`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EvaluationContext {
    /// The targeting key, which is the user's id. It is valid in a key of Workers KV and never
    /// empty.
    pub targeting_key: Option<String>,
    /// All other members.
    pub attributes: Map<String, Value>,
}

/// Why a flag could not be evaluated (OpenFeature specification, "Types", error code).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// The request's body or the definitions of the flags cannot be parsed.
    ParseError,
    /// The flag needs a targeting key, and the context has none.
    TargetingKeyMissing,
    /// The context does not meet the requirements.
    InvalidContext,
    /// There is no such flag.
    FlagNotFound,
    /// Anything else.
    General,
}

/// An error of the protocol: its code, a message and the HTTP status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{details}")]
pub struct OfrepError {
    /// The error code.
    pub code: ErrorCode,
    /// The message for people. It quotes no value of the request.
    pub details: Cow<'static, str>,
    /// The status of the response.
    pub status: Status,
}

impl ErrorCode {
    /// Returns the code as the specification writes it, such as `PARSE_ERROR`.
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
    /// Returns an error of the request: 404 for [`ErrorCode::FlagNotFound`], and 400 otherwise.
    #[must_use]
    pub fn of_request(code: ErrorCode, details: impl Into<Cow<'static, str>>) -> Self {
        let status = if code == ErrorCode::FlagNotFound { Status::NotFound } else { Status::BadRequest };
        Self { code, details: details.into(), status }
    }

    /// Returns the error for a flag that the definitions do not have.
    #[must_use]
    pub fn flag_not_found() -> Self {
        Self::of_request(ErrorCode::FlagNotFound, "there is no flag of this name")
    }

    /// Returns the error for a body of more than `bytes_max` bytes (RFC 9110 §15.5.14).
    #[must_use]
    pub fn too_long(bytes_max: u32) -> Self {
        Self {
            status: Status::ContentTooLarge,
            ..Self::of_request(ErrorCode::General, format!("the body may have at most {bytes_max} bytes"))
        }
    }

    /// Returns the error for a body that did not arrive in time (RFC 9110 §15.5.9).
    #[must_use]
    pub fn too_late() -> Self {
        Self { status: Status::RequestTimeout, ..Self::of_request(ErrorCode::General, "the body took too long") }
    }

    /// Returns the error for invalid definitions in KV with no valid ones in memory.
    #[must_use]
    pub fn broken_definitions() -> Self {
        Self {
            status: Status::InternalServerError,
            ..Self::of_request(ErrorCode::ParseError, "the definitions of the flags are broken")
        }
    }

    /// Returns the error for a failed read of KV with no definitions in memory.
    #[must_use]
    pub fn no_definitions() -> Self {
        let details = "the flags cannot be read at the moment; please try again";
        Self { status: Status::ServiceUnavailable, ..Self::of_request(ErrorCode::General, details) }
    }
}

impl HttpError for OfrepError {
    fn response(&self) -> ErrorResponse {
        let response = ErrorResponse::new(self.status, self.code.as_str(), self.details.clone());
        if self.status == Status::ServiceUnavailable { response.retry_after(5) } else { response }
    }

    fn examples() -> Vec<(Self, &'static str)> {
        vec![
            (
                Self::of_request(ErrorCode::ParseError, "the body is not JSON"),
                "The request's body is not what the protocol asks for.",
            ),
            (
                KeyError::TooLong(513).into(),
                "The `targetingKey` cannot be the id of a user, because it cannot be in a key of Workers KV.",
            ),
            (
                TargetingKeyMissing.into(),
                "The flag goes to a share of the users, and the request does not say which user it is for.",
            ),
            (Self::flag_not_found(), "The definitions have no such flag."),
            (Self::too_long(65_536), "The request's body is too long."),
            (Self::too_late(), "The request's body took longer than 20 s and a second more for each 64 KiB."),
            (
                Self::broken_definitions(),
                "The definitions in Workers KV are broken, and no earlier valid ones are in memory. The log says where.",
            ),
            (Self::no_definitions(), "Workers KV fails or does not respond, and no definitions are in memory."),
        ]
    }
}

impl From<KeyError> for OfrepError {
    fn from(error: KeyError) -> Self {
        Self::of_request(ErrorCode::InvalidContext, format!("the targetingKey cannot be a user's id: {error}"))
    }
}
