//! The OpenFeature Remote Evaluation Protocol: what a request asks, and the JSON of the answer
//! (<https://github.com/open-feature/protocol>, `service/openapi.yaml`).

mod answer;
mod request;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use serde_json::{Map, Value};

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
    /// An error with its sentence.
    #[must_use]
    pub fn new(code: ErrorCode, details: impl Into<Cow<'static, str>>) -> Self {
        Self { code, details: details.into() }
    }

    /// The status of the answer where the request is at fault; 500 for [`ErrorCode::General`], which is not about the request.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self.code {
            ErrorCode::ParseError | ErrorCode::TargetingKeyMissing | ErrorCode::InvalidContext => 400,
            ErrorCode::FlagNotFound => 404,
            ErrorCode::General => 500,
        }
    }
}
