//! What an error is answered with: each crate says it of its own errors, beside their variants.

use std::borrow::Cow;

use crate::status::Status;

/// What a visitor reads who need not know more: nothing is wrong with the request.
pub const UNAVAILABLE: &str = "The service is not available at the moment. Please try again.";

/// The same of an answer that another server should have given.
pub const BAD_GATEWAY: &str = "The server behind this page did not give a usable answer.";

/// An error that a request can end with.
pub trait HttpError: Sized {
    /// Returns what the visitor and the log are told.
    fn response(&self) -> ErrorResponse;

    /// Returns one of each kind, with what it means to whoever meets it: the rows of `docs/errors.md`.
    /// [`one_of_each`](crate::one_of_each) sees to it that an `enum` leaves out no variant.
    fn examples() -> Vec<(Self, &'static str)>;
}

/// One example of each variant of `Self`, with what it means: `pattern => example, meaning;`. A variant without an
/// example does not compile.
#[macro_export]
macro_rules! one_of_each {
    ($($variant:pat_param => $example:expr, $meaning:literal;)+) => {{
        let _names_every_variant = |error: &Self| match error {
            $($variant)|+ => {}
        };
        vec![$(($example, $meaning)),+]
    }};
}

/// The answer to a request that ends with an error, and what the log says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorResponse {
    status: Status,
    code: &'static str,
    sentence: Cow<'static, str>,
    cause: Option<Box<str>>,
    fields: Vec<(&'static str, Cow<'static, str>)>,
}

impl ErrorResponse {
    /// `code` is a name for programs, which does not change between releases. The visitor reads the sentence: that of a
    /// 5xx says nothing internal, which [`because`](Self::because) is for.
    #[must_use]
    pub fn new(status: Status, code: &'static str, sentence: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, sentence: sentence.into(), cause: None, fields: Vec::new() }
    }

    /// What happened, for the log alone. Where this is not called, the sentence says it.
    #[must_use]
    pub fn because(self, cause: &(impl ToString + ?Sized)) -> Self {
        Self { cause: Some(cause.to_string().into()), ..self }
    }

    /// One more field, such as those that the status asks for.
    #[must_use]
    pub fn with_field(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// `Retry-After` (RFC 9110 §10.2.3).
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.with_field("Retry-After", seconds.to_string())
    }

    /// Says in the log where it happened.
    #[must_use]
    pub fn at(self, place: &str) -> Self {
        Self { cause: self.cause.map(|cause| format!("{place}: {cause}").into()), ..self }
    }

    /// Returns the status.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// Returns the name for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// Returns what the visitor reads.
    #[must_use]
    pub fn sentence(&self) -> &str {
        &self.sentence
    }

    /// Returns what happened, for the log.
    #[must_use]
    pub fn cause(&self) -> &str {
        self.cause.as_deref().unwrap_or(&self.sentence)
    }

    /// Returns the value of a field, by its name as it was given.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields().find(|(given, _)| *given == name).map(|(_, value)| value)
    }

    /// Returns the fields beside those that every error has.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.fields.iter().map(|(name, value)| (*name, value.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_says_the_cause_and_its_place_or_else_the_sentence() {
        let told = ErrorResponse::new(Status::BadGateway, "x", BAD_GATEWAY);
        assert_eq!(told.clone().at("tea").cause(), BAD_GATEWAY);
        let told = told.because("Network connection lost.").at("tea");
        assert_eq!((told.cause(), told.sentence()), ("tea: Network connection lost.", BAD_GATEWAY));
    }

    #[test]
    fn a_field_is_found_by_its_name() {
        let told = ErrorResponse::new(Status::ServiceUnavailable, "x", UNAVAILABLE).with_field("A", "b").retry_after(5);
        assert_eq!((told.field("Retry-After"), told.field("ETag")), (Some("5"), None));
        assert_eq!(told.fields().collect::<Vec<_>>(), [("A", "b"), ("Retry-After", "5")]);
    }
}
