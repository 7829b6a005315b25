//! Bearer tokens (RFC 6750 §2.1): how one is compared with the secret, and the error for a wrong
//! one.

use subtle::ConstantTimeEq;

use crate::error_response::{ErrorResponse, HttpError};
use crate::one_of_each;
use crate::status::Status;

/// Why a request that needs the token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAuthorized {
    /// The Worker has no secret to check a token with.
    NotConfigured,
    /// The request has no token, or another one.
    InvalidToken,
}

impl HttpError for NotAuthorized {
    fn response(&self) -> ErrorResponse {
        match self {
            Self::NotConfigured => ErrorResponse::new(
                Status::ServiceUnavailable,
                "not_configured",
                "This route is closed until the secret API_TOKEN is set.",
            )
            .because("the secret API_TOKEN is not set")
            .retry_after(60),
            // RFC 6750 §3.
            Self::InvalidToken => ErrorResponse::new(
                Status::Unauthorized,
                "unauthorized",
                "This needs the header Authorization: Bearer <API_TOKEN>.",
            )
            .with_field("WWW-Authenticate", "Bearer"),
        }
    }

    fn examples() -> Vec<(Self, &'static str)> {
        one_of_each! {
            Self::NotConfigured => Self::NotConfigured, "The route needs a token, and the Worker has no secret to check it with.";
            Self::InvalidToken => Self::InvalidToken, "The request has no bearer token, or another one than the secret `API_TOKEN`.";
        }
    }
}

/// Returns a secret; `None` if it is empty, as one that is not set is.
#[must_use]
pub fn secret(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Returns true if an `Authorization` field is `Bearer <token>`. The case of the scheme does not
/// matter (RFC 9110 §11.1). The comparison takes constant time: its duration reveals at most the
/// length of the token, never how much of a guess is right.
///
/// # Examples
///
/// ```
/// use http_semantics::authorization::is_bearer;
///
/// let given = |field| is_bearer(Some(field), "c2VjcmV0");
/// assert!(given("Bearer c2VjcmV0") && given("bearer c2VjcmV0"));
/// assert!(!given("Basic c2VjcmV0") && !given("c2VjcmV0"));
/// assert!(!is_bearer(Some("Bearer "), ""), "no request has a token that is not set");
/// ```
#[must_use]
pub fn is_bearer(authorization: Option<&str>, token: &str) -> bool {
    let Some((scheme, given)) = authorization.and_then(|value| value.trim().split_once(' ')) else {
        return false;
    };
    let is_right = is_token(Some(given), token);
    scheme.eq_ignore_ascii_case("bearer") && is_right
}

/// Returns true if a field is the token, apart from white space around it. The comparison takes
/// constant time. An empty token matches nothing.
///
/// [`is_bearer`] has an example.
#[must_use]
pub fn is_token(given: Option<&str>, token: &str) -> bool {
    let given = given.unwrap_or_default().trim();
    let is_right: bool = given.as_bytes().ct_eq(token.as_bytes()).into();
    is_right && !token.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_token_under_the_bearer_scheme_passes() {
        for (field, token, passes) in [
            (Some("Bearer secret"), "secret", true),
            (Some("bearer secret"), "secret", true),
            (Some("BEARER  secret"), "secret", true),
            (Some("Bearer Secret"), "secret", false),
            (Some("Bearer secre"), "secret", false),
            (Some("Bearer secret2"), "secret", false),
            (Some("Bearer "), "secret", false),
            (Some("Bearer "), "", false),
            (Some("Basic secret"), "secret", false),
            (Some("secret"), "secret", false),
            (None, "secret", false),
        ] {
            assert_eq!(is_bearer(field, token), passes, "{field:?}");
        }
    }

    #[test]
    fn a_field_is_the_token_apart_from_white_space_around_it() {
        for (field, token, passes) in [
            (Some("secret"), "secret", true),
            (Some(" secret\t"), "secret", true),
            (Some("Secret"), "secret", false),
            (Some("secre"), "secret", false),
            (Some("secret2"), "secret", false),
            (Some("se cret"), "secret", false),
            (Some("Bearer secret"), "secret", false),
            (Some(""), "secret", false),
            (Some(""), "", false),
            (None, "secret", false),
            (None, "", false),
        ] {
            assert_eq!(is_token(field, token), passes, "{field:?}");
        }
    }
}
