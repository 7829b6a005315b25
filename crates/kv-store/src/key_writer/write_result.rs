//! The result of a write to a key's Durable Object.

use http_semantics::conditional::entity_tag;
use http_semantics::error_response::{ErrorResponse, HttpError};
use http_semantics::one_of_each;
use http_semantics::status::Status;
use serde::{Deserialize, Serialize};

use crate::retry::Try;

/// The result of a write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WriteResult {
    /// The object stored the value as this version. It, or a later one, will reach KV.
    Stored(u64),
    /// KV has the value, or a later one.
    InKv {
        /// The version of the value.
        version: u64,
        /// The puts of this value, in milliseconds from its arrival.
        tries: Vec<Try>,
    },
    /// KV does not have the value, and the object may not have stored it.
    NotWritten(NotWritten),
}

/// Why KV does not have a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum NotWritten {
    /// The key is not at the version that the request demands. Nothing is stored.
    #[error("{}", current(*version))]
    PreconditionFailed {
        /// The key's version; `None` if its object has not written it.
        version: Option<u64>,
    },
    /// KV has not accepted the value by the deadline.
    #[error("Workers KV has not accepted the value in time. It is stored as version {version} and will reach KV.")]
    TimedOut {
        /// The version of the value.
        version: u64,
    },
    /// KV refuses the value for a reason that waiting does not solve soon.
    #[error("Workers KV refuses the value for now. It is stored as version {version} and is tried again.")]
    Refused {
        /// The version of the value.
        version: u64,
        /// KV's message, for the log.
        cause: String,
    },
}

impl HttpError for NotWritten {
    /// Each response has the key's version as its `ETag`.
    fn response(&self) -> ErrorResponse {
        let response = |status, code| ErrorResponse::new(status, code, self.to_string());
        let (response, version) = match self {
            Self::PreconditionFailed { version } => {
                (response(Status::PreconditionFailed, "precondition_failed"), *version)
            }
            Self::TimedOut { version } => {
                let cause = "KV did not take the value within timeoutMs";
                (response(Status::GatewayTimeout, "kv_timeout").because(cause), Some(*version))
            }
            Self::Refused { version, cause } => {
                (response(Status::ServiceUnavailable, "kv_refused").because(cause).retry_after(300), Some(*version))
            }
        };
        match version {
            Some(version) => response.with_field("ETag", entity_tag(version)),
            None => response,
        }
    }

    fn examples() -> Vec<(Self, &'static str)> {
        one_of_each! {
            Self::PreconditionFailed { .. } => Self::PreconditionFailed { version: Some(7) },
                "`If-Match` or `If-None-Match` does not hold for the key's newest version. Nothing is stored.";
            Self::TimedOut { .. } => Self::TimedOut { version: 7 },
                "Workers KV has not accepted the value within `timeoutMs`. It is stored, and will reach Workers KV.";
            Self::Refused { .. } => Self::Refused { version: 7, cause: "KV PUT failed: 400 Bad Request".to_owned() },
                "Workers KV refuses the value, for example because a quota is used up. It is stored, and tried again.";
        }
    }
}

/// The key's Durable Object gave no usable reply. It may or may not have stored the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterUnavailable(
    /// The message of the runtime, for the log.
    pub String,
);

impl HttpError for WriterUnavailable {
    fn response(&self) -> ErrorResponse {
        let sentence = "The key's writer does not respond. A value sent to it may or may not be stored.";
        let response = ErrorResponse::new(Status::ServiceUnavailable, "writer_unavailable", sentence);
        response.because(&self.0).retry_after(5)
    }

    fn examples() -> Vec<(Self, &'static str)> {
        vec![(
            Self("no response in time".to_owned()),
            "The Durable Object of the key does not respond. Read the key with `consistent=1` before you write it again.",
        )]
    }
}

fn current(version: Option<u64>) -> String {
    match version {
        Some(version) => format!("The key is at version {version}, which is not what the request asks for."),
        None => "The key has no version yet: nothing was written to it with strategy=coalesce.".to_owned(),
    }
}
