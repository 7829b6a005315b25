//! Which request fields identify the client.
//!
//! The response to a request with such fields may be made for that visitor alone, even if the
//! upstream does not say so: a page that reads a session cookie but sends no `Cache-Control`, for
//! example.

use http_semantics::fields::{self, Fields};

/// Fields that always carry credentials, in lower case: cookies (RFC 6265), HTTP authentication
/// (RFC 9110 §11.6.2), and the usual names for API keys and tokens.
const ALWAYS: [&str; 4] = ["cookie", "authorization", "x-api-key", "x-auth-token"];

/// The names of the request fields that identify the client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CredentialFields {
    /// The names in `CACHE_CREDENTIALS`, normalized.
    further: Vec<String>,
}

impl CredentialFields {
    /// Parses the var `CACHE_CREDENTIALS`: names of further fields, separated by commas, in any
    /// case. A name that is not a field name matches nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use http_cache::credentials::CredentialFields;
    /// use http_semantics::fields::HeaderSection;
    ///
    /// let credentials = CredentialFields::parse("X-Session");
    /// let are_in = |field| credentials.are_in(&HeaderSection::from(&[field]));
    /// assert!(are_in(("cookie", "a=b")));
    /// assert!(are_in(("x-session", "7")) && are_in(("x_session", "7")));
    /// assert!(!are_in(("accept-language", "de")));
    /// ```
    #[must_use]
    pub fn parse(var: &str) -> Self {
        Self { further: fields::list(var).map(normalized).collect() }
    }

    /// Returns true if the request has at least one of the fields, even an empty one.
    #[must_use]
    pub fn are_in(&self, request: &impl Fields) -> bool {
        let further = || self.further.iter().map(String::as_str);
        request
            .names()
            .split(',')
            .any(|name| ALWAYS.into_iter().chain(further()).any(|known| is_normalized(name, known)))
    }
}

/// Returns a name in lower case and with `-` for `_`, because many servers pass both to an
/// application under one name (RFC 3875 §4.1.18).
fn normalized(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

/// Returns true if `normalized(name)` is `known`. It makes no text, because a request asks this of
/// each of its fields.
fn is_normalized(name: &str, known: &str) -> bool {
    let normalized = name.bytes().map(|byte| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() });
    name.len() == known.len() && normalized.eq(known.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_semantics::fields::HeaderSection;

    #[test]
    fn cookies_authentication_and_the_usual_keys_are_always_credentials() {
        let none = CredentialFields::parse("");
        for name in ALWAYS {
            assert!(none.are_in(&HeaderSection::from(&[("accept", "*/*"), (name, "")])), "{name}");
        }
        for fields in [&[][..], &[("accept", "cookie")], &[("x-cookie", "a")], &[("x-session", "a")]] {
            assert!(!none.are_in(&HeaderSection::from(fields)), "{fields:?}");
        }
    }

    #[test]
    fn a_var_adds_names_in_any_case() {
        for var in ["X-Session", " x-a, X-SESSION,,", "x-session,"] {
            let fields = CredentialFields::parse(var);
            for name in ["x-session", "x_session"] {
                assert!(fields.are_in(&HeaderSection::from(&[(name, "a")])), "{var} {name}");
            }
            assert!(fields.are_in(&HeaderSection::from(&[("x_api_key", "a")])), "{var}");
            assert!(fields.are_in(&HeaderSection::from(&[("cookie", "a")])), "{var}: cookies too");
            assert!(!fields.are_in(&HeaderSection::from(&[("x-other", "a")])), "{var}");
        }
    }
}
