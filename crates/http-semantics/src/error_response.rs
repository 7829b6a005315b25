//! The response to a request that ends with an error. Each crate implements [`HttpError`] for its
//! own errors, so that status, code and sentence are next to the variant; the Worker renders all
//! of them in one place.
//!
//! ```
//! use http_semantics::error_response::{ErrorResponse, HttpError};
//! use http_semantics::one_of_each;
//! use http_semantics::status::Status;
//!
//! enum LoanError {
//!     Lent { days: u64 },
//! }
//!
//! impl HttpError for LoanError {
//!     fn response(&self) -> ErrorResponse {
//!         match self {
//!             Self::Lent { days } => {
//!                 ErrorResponse::new(Status::ServiceUnavailable, "lent", "The book is lent.")
//!                     .because(&format!("back in {days} days"))
//!                     .retry_after(days * 86_400)
//!             }
//!         }
//!     }
//!
//!     fn examples() -> Vec<(Self, &'static str)> {
//!         one_of_each! { Self::Lent { .. } => Self::Lent { days: 1 }, "Somebody has the book."; }
//!     }
//! }
//!
//! let error = LoanError::Lent { days: 2 }.response();
//! assert_eq!((error.status().code(), error.field("Retry-After")), (503, Some("172800")));
//! ```

use std::borrow::Cow;

use crate::status::Status;

/// The sentence of a 5xx whose cause is of no use to the visitor.
pub const UNAVAILABLE: &str = "The service is not available at the moment. Please try again.";

/// The sentence of a 502: another server should have responded.
pub const BAD_GATEWAY: &str = "The server behind this page did not give a usable response.";

/// An error that a request can end with.
pub trait HttpError: Sized {
    /// Returns the response for the visitor, with the cause for the log.
    fn response(&self) -> ErrorResponse;

    /// Returns one example of each kind with its meaning: the rows of `docs/errors.md`. In an
    /// `enum`, [`one_of_each`](crate::one_of_each) makes sure that no variant is missing.
    fn examples() -> Vec<(Self, &'static str)>;
}

/// Builds the rows of [`HttpError::examples`]: `pattern => example, meaning;` for each variant of
/// `Self`. A variant without a row does not compile.
#[macro_export]
macro_rules! one_of_each {
    ($($variant:pat_param => $example:expr, $meaning:literal;)+) => {{
        let _names_every_variant = |error: &Self| match error {
            $($variant)|+ => {}
        };
        vec![$(($example, $meaning)),+]
    }};
}

/// The response to a request that ends with an error, and what the log says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorResponse {
    status: Status,
    code: &'static str,
    sentence: Cow<'static, str>,
    cause: Option<Box<str>>,
    fields: Vec<(&'static str, Cow<'static, str>)>,
}

impl ErrorResponse {
    /// Returns an error response without a cause and without extra fields. Programs read `code`,
    /// which does not change between releases; people read `sentence`. The sentence of a 5xx says
    /// nothing internal: that is for [`because`](Self::because).
    #[must_use]
    pub fn new(status: Status, code: &'static str, sentence: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, sentence: sentence.into(), cause: None, fields: Vec::new() }
    }

    /// Sets what happened, for the log alone. Without it the log repeats the sentence.
    #[must_use]
    pub fn because(self, cause: &(impl ToString + ?Sized)) -> Self {
        Self { cause: Some(cause.to_string().into()), ..self }
    }

    /// Adds a header field, such as one that the status requires.
    #[must_use]
    pub fn with_field(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// Adds `Retry-After`, in seconds (RFC 9110 §10.2.3).
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.with_field("Retry-After", seconds.to_string())
    }

    /// Names the place of the failure before its cause; does nothing without a cause.
    #[must_use]
    pub fn at(self, place: &str) -> Self {
        Self { cause: self.cause.map(|cause| format!("{place}: {cause}").into()), ..self }
    }

    /// Returns the status.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// Returns the name of the error for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// Returns the sentence for people.
    #[must_use]
    pub fn sentence(&self) -> &str {
        &self.sentence
    }

    /// Returns what happened, for the log: the cause, or else the sentence.
    #[must_use]
    pub fn cause(&self) -> &str {
        self.cause.as_deref().unwrap_or(&self.sentence)
    }

    /// Returns the value of an extra field. `name` is spelled as it was added.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields().find(|(given, _)| *given == name).map(|(_, value)| value)
    }

    /// Iterates over the extra fields.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.fields.iter().map(|(name, value)| (*name, value.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_says_the_cause_and_its_place_or_else_the_sentence() {
        let error = ErrorResponse::new(Status::BadGateway, "x", BAD_GATEWAY);
        assert_eq!(error.clone().at("tea").cause(), BAD_GATEWAY);
        let error = error.because("Network connection lost.").at("tea");
        assert_eq!((error.cause(), error.sentence()), ("tea: Network connection lost.", BAD_GATEWAY));
    }

    #[test]
    fn a_field_is_found_by_its_name() {
        let error =
            ErrorResponse::new(Status::ServiceUnavailable, "x", UNAVAILABLE).with_field("A", "b").retry_after(5);
        assert_eq!((error.field("Retry-After"), error.field("ETag")), (Some("5"), None));
        assert_eq!(error.fields().collect::<Vec<_>>(), [("A", "b"), ("Retry-After", "5")]);
    }
}
