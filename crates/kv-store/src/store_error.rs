//! Failures of Workers KV, and what they mean.

use http_semantics::error_response::{ErrorResponse, HttpError, UNAVAILABLE};
use http_semantics::one_of_each;
use http_semantics::status::Status;

use crate::retry::{Classify, FailureClass};

/// A failed operation of Workers KV, with the runtime's message, such as `KV PUT failed: 429 Too
/// Many Requests`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    message: String,
    kind: StoreErrorKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StoreErrorKind {
    /// KV responded with this status.
    Status(u16),
    /// The daily operations of the free plan are used up ("Limits"; until 00:00 UTC).
    DailyQuota,
    /// Another try may succeed: KV did not respond, for example, or does not show a key yet.
    Unavailable,
    /// Another try would fail, too: the binding is missing, for example.
    Permanent,
}

impl StoreError {
    /// Classifies a message of the runtime by its status: `KV <operation> failed: <status>
    /// <reason>`, or `KV <operation>() limit exceeded for the day.` After `Too many …` another try
    /// fails, too; after any other message it may succeed.
    ///
    /// # Examples
    ///
    /// ```
    /// use kv_store::retry::{Classify, FailureClass};
    /// use kv_store::store_error::StoreError;
    ///
    /// let error = StoreError::from_message("KV PUT failed: 429 Too Many Requests");
    /// assert_eq!(error.class(), FailureClass::RateLimited { retry_after_ms: None });
    /// // The subrequests of this request are used up, so another try would fail, too.
    /// let error = StoreError::from_message("Too many API requests by single Worker invocation.");
    /// assert_eq!(error.class(), FailureClass::Permanent);
    /// ```
    #[must_use]
    pub fn from_message(message: impl Into<String>) -> Self {
        let message = message.into();
        let status = message
            .strip_prefix("KV ")
            .and_then(|rest| rest.split_once(" failed: "))
            .and_then(|(_, reason)| reason.get(..3))
            .and_then(|digits| digits.parse().ok());
        let kind = match status {
            Some(status) => StoreErrorKind::Status(status),
            None if message.starts_with("KV ") && message.contains("limit exceeded for the day") => {
                StoreErrorKind::DailyQuota
            }
            // The operations of an invocation are used up ("Limits").
            None if message.starts_with("Too many ") => StoreErrorKind::Permanent,
            None => StoreErrorKind::Unavailable,
        };
        Self { message, kind }
    }

    /// Returns an error after which another try fails, too, such as a call that the runtime
    /// refuses, or a value that is broken.
    #[must_use]
    pub fn permanent(message: impl Into<String>) -> Self {
        Self { message: message.into(), kind: StoreErrorKind::Permanent }
    }

    /// Returns an error after which another try may succeed, such as no response in time.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self { message: message.into(), kind: StoreErrorKind::Unavailable }
    }

    /// Returns the error for a put that did not end in time. KV may have accepted it.
    #[must_use]
    pub fn put_timeout() -> Self {
        Self::timeout("PUT")
    }

    /// Returns the error for a delete that did not end in time. KV may have deleted the key.
    #[must_use]
    pub fn delete_timeout() -> Self {
        Self::timeout("DELETE")
    }

    /// Returns the error for a read that did not end in time.
    #[must_use]
    pub fn read_timeout() -> Self {
        Self::timeout("GET")
    }

    /// Returns the error for a list that did not end in time.
    #[must_use]
    pub fn list_timeout() -> Self {
        Self::timeout("LIST")
    }

    fn timeout(operation: &str) -> Self {
        Self::unavailable(format!("KV {operation} did not end in time"))
    }

    /// Returns the error for a required key that KV does not have.
    #[must_use]
    pub fn missing() -> Self {
        Self::unavailable("KV GET found no value under a key that must exist")
    }

    /// Returns true for 429: the key accepts one write a second ("Limits to KV writes to the
    /// same key").
    #[must_use]
    pub fn is_rate_limited(&self) -> bool {
        self.kind == StoreErrorKind::Status(429)
    }

    /// Returns true for 400, 413 and 414: KV does not accept what it is given.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self.kind, StoreErrorKind::Status(400 | 413 | 414))
    }

    /// Returns true for 413: of a bulk read, that the values exceed 25 MB together.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        self.kind == StoreErrorKind::Status(413)
    }

    /// Returns what a client gets to see of a failed put. That is the message of KV, as in the
    /// documented example of concurrent writes. A message that is not KV's may show something
    /// internal: instead of it, this is `KV PUT failed`.
    #[must_use]
    pub fn public_message(&self) -> &str {
        match self.kind {
            StoreErrorKind::Status(_) | StoreErrorKind::DailyQuota => &self.message,
            StoreErrorKind::Unavailable | StoreErrorKind::Permanent => "KV PUT failed",
        }
    }
}

impl HttpError for StoreError {
    fn response(&self) -> ErrorResponse {
        if self.is_rate_limited() {
            let sentence = "Workers KV is asked too often; a key accepts one write a second. Please try again.";
            ErrorResponse::new(Status::TooManyRequests, "kv_rate_limited", sentence).retry_after(1)
        } else {
            ErrorResponse::new(Status::ServiceUnavailable, "kv_unavailable", UNAVAILABLE).because(self).retry_after(5)
        }
    }

    fn examples() -> Vec<(Self, &'static str)> {
        vec![
            (
                Self::from_message("KV PUT failed: 429 Too Many Requests"),
                "Workers KV accepts one write a second to a key, and this one came too early.",
            ),
            (
                Self::from_message("KV GET failed: 500 Internal Server Error"),
                "Workers KV fails or does not respond, and nothing that is remembered may be used in its place.",
            ),
        ]
    }
}

/// Workers KV has no value for the key of the documented first steps, although it was just
/// written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueNotFound;

impl HttpError for ValueNotFound {
    /// The sentence is the one in the documentation.
    fn response(&self) -> ErrorResponse {
        ErrorResponse::new(Status::NotFound, "value_not_found", "Value not found")
    }

    fn examples() -> Vec<(Self, &'static str)> {
        one_of_each! { Self => Self, "`/get-started` has written the value, and Workers KV does not show it here yet."; }
    }
}

impl Classify for StoreError {
    /// The binding does not pass `Retry-After` on.
    fn class(&self) -> FailureClass {
        match self.kind {
            StoreErrorKind::Status(status) => FailureClass::of_status(Some(status), None),
            StoreErrorKind::Unavailable => FailureClass::of_status(None, None),
            StoreErrorKind::DailyQuota | StoreErrorKind::Permanent => FailureClass::Permanent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtimes_message_says_what_happened_and_whether_to_try_again() {
        let busy = FailureClass::RateLimited { retry_after_ms: None };
        let down = FailureClass::Unavailable { retry_after_ms: None };
        for (message, class, public) in [
            ("KV PUT failed: 429 Too Many Requests", busy, "KV PUT failed: 429 Too Many Requests"),
            ("KV GET failed: 500 Internal Server Error", down, "KV GET failed: 500 Internal Server Error"),
            ("KV GET_BULK failed: 503 ", down, "KV GET_BULK failed: 503 "),
            ("KV PUT failed: 400 Bad Request", FailureClass::Permanent, "KV PUT failed: 400 Bad Request"),
            ("KV PUT failed: 413 Payload Too Large", FailureClass::Permanent, "KV PUT failed: 413 Payload Too Large"),
            ("KV put() limit exceeded for the day.", FailureClass::Permanent, "KV put() limit exceeded for the day."),
            ("Too many API requests by single worker invocation.", FailureClass::Permanent, "KV PUT failed"),
            ("a secret limit exceeded for the day", down, "KV PUT failed"),
            ("KV PUT failed: soon", down, "KV PUT failed"),
            ("KV PUT failed: 4é", down, "KV PUT failed"),
            ("Network connection lost.", down, "KV PUT failed"),
            ("429", down, "KV PUT failed"),
            ("", down, "KV PUT failed"),
        ] {
            let error = StoreError::from_message(message);
            assert_eq!(error.class(), class, "{message}");
            assert_eq!(error.is_rate_limited(), class == busy, "{message}");
            assert_eq!(error.public_message(), public, "{message}");
        }
    }

    #[test]
    fn a_permanent_failure_is_not_tried_again_and_a_call_without_a_response_is() {
        assert_eq!(StoreError::permanent("put is not a function").class(), FailureClass::Permanent);
        assert_eq!(StoreError::permanent("put is not a function").public_message(), "KV PUT failed");
        for (error, message) in [
            (StoreError::put_timeout(), "KV PUT did not end in time"),
            (StoreError::delete_timeout(), "KV DELETE did not end in time"),
            (StoreError::read_timeout(), "KV GET did not end in time"),
            (StoreError::list_timeout(), "KV LIST did not end in time"),
        ] {
            assert_eq!(error.to_string(), message);
        }
        assert_eq!(StoreError::put_timeout().class(), FailureClass::Unavailable { retry_after_ms: None });
    }
}
