//! Which user a request is for. The var `USER_ID_FROM` says where a request carries the user
//! id.

use std::borrow::Cow;

use super::ConfigError;
use http_semantics::cookie;
use http_semantics::error_response::{ErrorResponse, HttpError, UNAVAILABLE};
use http_semantics::fields::{Fields, is_name};
use http_semantics::request_target::RequestTarget;
use http_semantics::status::Status;
use kv_store::limits::{Key, KeyError};

/// The documented query parameter.
const PARAMETER: &str = "userId";

/// Where a request carries the user id: the value of the var `USER_ID_FROM`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserIdFrom {
    /// `query`: the parameter `userId`, as documented.
    Query,
    /// `header:NAME`: a header field that a proxy in front of the Worker sets after it has
    /// authenticated the user. The name is in lower case.
    Header(String),
    /// `cookie:NAME`.
    Cookie(String),
}

/// `USER_ID_FROM` has another value. There is no default for it, because a typing error must
/// not decide whose configuration a request gets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("USER_ID_FROM is {0:?}; write query, header:NAME or cookie:NAME")]
pub struct InvalidUserIdFrom(String);

impl HttpError for InvalidUserIdFrom {
    fn response(&self) -> ErrorResponse {
        ErrorResponse::new(Status::ServiceUnavailable, "not_configured", UNAVAILABLE).because(self).retry_after(60)
    }

    fn examples() -> Vec<(Self, &'static str)> {
        vec![(
            Self("path".to_owned()),
            "A var says nothing that can be used, such as `USER_ID_FROM`. The log names it.",
        )]
    }
}

impl UserIdFrom {
    /// Parses the var. An empty value means `query`.
    ///
    /// [`id`](Self::id) has an example.
    ///
    /// # Errors
    /// [`InvalidUserIdFrom`] if the value is neither `query`, `header:NAME` nor `cookie:NAME`.
    pub fn parse(var: &str) -> Result<Self, InvalidUserIdFrom> {
        let var = var.trim();
        match var.split_once(':').map(|(kind, name)| (kind.trim_end(), name.trim_start())) {
            Some(("header", name)) if is_name(name) => Ok(Self::Header(name.to_ascii_lowercase())),
            // RFC 6265 §4.1.1: a cookie's name is a token, too.
            Some(("cookie", name)) if is_name(name) => Ok(Self::Cookie(name.to_owned())),
            None if matches!(var, "" | "query") => Ok(Self::Query),
            _ => Err(InvalidUserIdFrom(var.to_owned())),
        }
    }

    /// Returns the id of the user that a request is for.
    ///
    /// # Errors
    /// [`ConfigError::MissingUserId`] if there is none or it is empty, and
    /// [`ConfigError::Encoding`] if the percent-encoding of the query parameter is invalid.
    ///
    /// # Examples
    ///
    /// ```
    /// use feature_flags::config::user_id::UserIdFrom;
    /// use http_semantics::fields::HeaderSection;
    /// use http_semantics::request_target::RequestTarget;
    ///
    /// let target = RequestTarget::parse("https://edge.example/config?userId=ben");
    /// let fields = HeaderSection::from(&[("x-user", "ann")]);
    /// let from_query = UserIdFrom::parse("query").unwrap();
    /// assert_eq!(from_query.id(&target, &fields).unwrap(), "ben");
    ///
    /// // A proxy in front has authenticated the user, so the query does not count.
    /// let from_header = UserIdFrom::parse("header:X-User").unwrap();
    /// assert_eq!(from_header.id(&target, &fields).unwrap(), "ann");
    /// ```
    pub fn id<'a>(&self, target: &RequestTarget<'a>, fields: &impl Fields) -> Result<Cow<'a, str>, ConfigError> {
        let id = match self {
            Self::Query => target.parameter(PARAMETER)?,
            Self::Header(name) => fields.get(name).map(Cow::Owned),
            Self::Cookie(name) => {
                let field = fields.get("cookie").unwrap_or_default();
                cookie::values(&field, name).find(|id| !id.is_empty()).map(|id| Cow::Owned(id.to_owned()))
            }
        };
        id.filter(|id| !id.is_empty()).ok_or_else(|| ConfigError::MissingUserId(self.clone()))
    }

    /// Returns the name of the request field that the response depends on, for `Vary` (RFC 9110
    /// §12.5.5), or `None` if the URL says it all.
    #[must_use]
    pub fn vary(&self) -> Option<&str> {
        match self {
            Self::Query => None,
            Self::Header(name) => Some(name),
            Self::Cookie(_) => Some("Cookie"),
        }
    }

    /// Returns the error message for a request without a user id. For the query parameter it is
    /// the documented one.
    pub(super) fn missing(&self) -> String {
        match self {
            Self::Query => format!("Please provide a {PARAMETER} query parameter"),
            Self::Header(name) => format!("Please provide the user's id in the header {name}"),
            Self::Cookie(name) => format!("Please provide the user's id in the cookie {name}"),
        }
    }
}

/// Returns the key of a user's record: `prefix` (the var `CONFIG_PREFIX`) and the id.
///
/// # Errors
/// [`KeyError`] if Workers KV does not accept such a key.
///
/// # Examples
///
/// ```
/// use feature_flags::config::user_id::key;
/// use kv_store::limits::KeyError;
///
/// assert_eq!(key("users/", "ann")?.as_str(), "users/ann");
/// assert_eq!(key("", ""), Err(KeyError::Empty));
/// # Ok::<(), KeyError>(())
/// ```
pub fn key<'a>(prefix: &str, id: impl Into<Cow<'a, str>>) -> Result<Key<'a>, KeyError> {
    let id = id.into();
    Key::new(if prefix.is_empty() { id } else { Cow::Owned(format!("{prefix}{id}")) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_semantics::fields::HeaderSection;
    use http_semantics::request_target::BadPercentEncoding;

    fn id(var: &str, url: &str, fields: &[(&str, &str)]) -> Result<String, ConfigError> {
        let fields: HeaderSection = fields.iter().copied().collect();
        let from = UserIdFrom::parse(var).unwrap();
        from.id(&RequestTarget::parse(url), &fields).map(Cow::into_owned)
    }

    #[test]
    fn by_default_the_user_is_the_query_parameter_user_id() {
        for var in ["", "query", " query "] {
            assert_eq!(id(var, "http://h/config?userId=user-id-abc", &[]), Ok("user-id-abc".into()));
        }
        assert_eq!(id("query", "http://h/config?x=1&userId=a%2Fb+c", &[]), Ok("a/b c".into()));
        for url in ["http://h/config", "http://h/config?userId=", "http://h/config?userid=a"] {
            assert_eq!(id("query", url, &[]), Err(ConfigError::MissingUserId(UserIdFrom::Query)), "{url}");
        }
        let broken = Err(ConfigError::Encoding(BadPercentEncoding));
        assert_eq!(id("query", "http://h/config?userId=%zz", &[]), broken);
    }

    #[test]
    fn a_header_or_a_cookie_may_name_the_user_and_the_query_does_not_then() {
        let fields = [("x-user", "ann"), ("cookie", "a=1; uid=\"bob\"; uid=eve"), ("x-empty", "")];
        for (var, expected) in [
            ("header:X-User", Some("ann")),
            ("header: x-user", Some("ann")),
            ("cookie:uid", Some("bob")),
            ("header:x-other", None),
            ("header:x-empty", None),
            ("cookie:UID", None),
        ] {
            let given = id(var, "http://h/config?userId=eve", &fields);
            assert_eq!(given.ok().as_deref(), expected, "{var}");
        }
    }

    /// As for the variants of a storefront.
    #[test]
    fn of_several_cookies_of_the_name_the_first_that_is_not_empty_counts() {
        for (cookies, expected) in [("uid=; uid=bob; uid=eve", Some("bob")), ("uid=; uid=\"\"", None)] {
            let given = id("cookie:uid", "http://h/config", &[("cookie", cookies)]);
            assert_eq!(given.ok().as_deref(), expected, "{cookies}");
        }
    }

    #[test]
    fn the_sentence_and_vary_name_the_place() {
        for (var, sentence, vary) in [
            ("query", "Please provide a userId query parameter", None),
            ("header:X-User", "Please provide the user's id in the header x-user", Some("x-user")),
            ("cookie:uid", "Please provide the user's id in the cookie uid", Some("Cookie")),
        ] {
            let from = UserIdFrom::parse(var).unwrap();
            assert_eq!((from.missing().as_str(), from.vary()), (sentence, vary));
        }
    }

    #[test]
    fn another_word_is_no_default() {
        for var in ["querry", "header", "header:", "header:a b", "cookie:a=b", "cookie:", "query:userId", "jwt:sub"] {
            assert!(UserIdFrom::parse(var).is_err(), "{var}");
        }
    }

    #[test]
    fn an_id_is_a_key_of_kv_with_the_prefix() {
        assert_eq!(key("", "ann").unwrap().as_str(), "ann");
        assert_eq!(key("user:", "..").unwrap().as_str(), "user:..");
        assert_eq!(key("", ".."), Err(KeyError::Dots));
        assert_eq!(key("u:", "a".repeat(511)), Err(KeyError::TooLong(513)));
    }
}
