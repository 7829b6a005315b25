//! Who may do what: the credentials of a request, and the scope of a token.

use std::borrow::Cow;

use crate::call::NamespaceCall;
use crate::error::{KvApiError, Operation};
use crate::namespace::ApiNamespace;
use crate::token::{AccessToken, REVOKED_KEY};

/// Expands to the names of [`CREDENTIAL_FIELDS`] as a literal, which `concat!` needs.
macro_rules! credential_fields {
    () => {
        "authorization,x-auth-key,x-auth-user-service-key"
    };
}

/// The header fields with credentials, separated by commas.
pub const CREDENTIAL_FIELDS: &str = credential_fields!();

/// The header fields that most calls need, separated by commas: credentials, conditions and
/// ranges.
pub const CALL_FIELDS: &str = concat!(credential_fields!(), ",if-match,if-none-match,if-range,range");

/// Returns the token of a request: `Authorization: Bearer <token>`, or the key of the older
/// schemes in its place. Their e-mail address is a label that nothing checks.
///
/// # Errors
/// [`KvApiError::NoCredentials`] if there is none, and [`KvApiError::MalformedCredentials`] if
/// there is only an `Authorization` without one.
///
/// # Examples
///
/// ```
/// use kv_api::access::presented_token;
/// use kv_api::error::KvApiError;
///
/// assert_eq!(presented_token(Some("Bearer eyJhbGci"), None, None).as_deref(), Ok("eyJhbGci"));
/// // `X-Auth-Key`, as clients send it that know only Cloudflare's older scheme.
/// assert_eq!(presented_token(None, Some("eyJhbGci"), None).as_deref(), Ok("eyJhbGci"));
/// let basic = presented_token(Some("Basic YTpi"), None, None);
/// assert_eq!(basic, Err(KvApiError::MalformedCredentials));
/// ```
pub fn presented_token(
    authorization: Option<&str>,
    auth_key: Option<&str>,
    user_service_key: Option<&str>,
) -> Result<String, KvApiError> {
    let given = |field: Option<&str>| field.map(|field| field.trim().to_owned()).filter(|token| !token.is_empty());
    let bearer = authorization.and_then(|field| {
        let (scheme, token) = field.trim().split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token)
    });
    // Another scheme may be for a proxy in front.
    let token = given(bearer).or_else(|| given(auth_key)).or_else(|| given(user_service_key));
    token.ok_or(if authorization.is_some() { KvApiError::MalformedCredentials } else { KvApiError::NoCredentials })
}

/// What a caller may do.
///
/// # Examples
///
/// ```
/// use kv_api::access::Access;
/// use kv_api::call::NamespaceCall;
/// use kv_api::error::KvApiError;
/// use kv_api::namespace::ApiNamespace;
/// use kv_api::token::AccessToken;
///
/// let (name, namespace, prefix) = ("ci".into(), "assets".into(), "site/".into());
/// let token = AccessToken { name, namespace, prefix, write: false, expires: 1_900_000_000 };
/// let access = Access::Scoped(token);
/// let check = |call| access.check(&ApiNamespace::of_binding("assets"), &call);
/// assert_eq!(check(NamespaceCall::GetValue("site/a".into())), Ok(()));
/// assert_eq!(check(NamespaceCall::PutValue("site/a".into())), Err(KvApiError::OutOfScope));
/// // A list of all keys becomes one of those within the scope.
/// assert_eq!(access.listed_prefix("").as_deref(), Some("site/"));
/// assert_eq!(access.listed_prefix("users/"), None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Everything: the secret `API_TOKEN`.
    Everything,
    /// What a signed token allows.
    Scoped(AccessToken),
}

impl Access {
    /// Returns the name of the token.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Everything => "API_TOKEN",
            Self::Scoped(token) => &token.name,
        }
    }

    /// Checks that the caller may make, rename and delete namespaces.
    ///
    /// # Errors
    /// [`KvApiError::OutOfScope`].
    pub fn check_administration(&self) -> Result<(), KvApiError> {
        match self {
            Self::Everything => Ok(()),
            Self::Scoped(_) => Err(KvApiError::OutOfScope),
        }
    }

    /// Returns true if the caller sees this namespace.
    #[must_use]
    pub fn sees(&self, namespace: &ApiNamespace) -> bool {
        match self {
            Self::Everything => true,
            Self::Scoped(token) => namespace.is_named(&token.namespace),
        }
    }

    /// Returns the error for a namespace that does not exist. A caller who may not see it gets the
    /// same for one that does.
    #[must_use]
    pub fn not_found(&self, operation: Operation) -> KvApiError {
        match self {
            Self::Everything => KvApiError::NamespaceNotFound(operation),
            Self::Scoped(_) => KvApiError::OutOfScope,
        }
    }

    /// Checks a call on a namespace. The keys in a body are checked with
    /// [`check_read`](Self::check_read) and [`check_change`](Self::check_change).
    ///
    /// # Errors
    /// [`KvApiError::OutOfScope`].
    pub fn check(&self, namespace: &ApiNamespace, call: &NamespaceCall<'_>) -> Result<(), KvApiError> {
        let Self::Scoped(token) = self else { return Ok(()) };
        let is_allowed = self.sees(namespace)
            && match call {
                NamespaceCall::Get | NamespaceCall::ListKeys(_) | NamespaceCall::BulkGet => true,
                NamespaceCall::Rename | NamespaceCall::Delete => false,
                NamespaceCall::GetValue(key) | NamespaceCall::GetMetadata(key) => token.reaches(key),
                NamespaceCall::PutValue(key) | NamespaceCall::DeleteValue(key) => token.may_change(key),
                NamespaceCall::BulkPut | NamespaceCall::BulkDelete => token.write,
            };
        if is_allowed { Ok(()) } else { Err(KvApiError::OutOfScope) }
    }

    /// Checks the keys of a bulk read.
    ///
    /// # Errors
    /// [`KvApiError::OutOfScope`] if the caller may not read one of them.
    pub fn check_read<'k>(&self, mut keys: impl Iterator<Item = &'k str>) -> Result<(), KvApiError> {
        let Self::Scoped(token) = self else { return Ok(()) };
        if keys.all(|key| token.reaches(key)) { Ok(()) } else { Err(KvApiError::OutOfScope) }
    }

    /// Checks the keys of a bulk write or delete.
    ///
    /// # Errors
    /// [`KvApiError::OutOfScope`] if the caller may not change one of them.
    pub fn check_change<'k>(&self, mut keys: impl Iterator<Item = &'k str>) -> Result<(), KvApiError> {
        let Self::Scoped(token) = self else { return Ok(()) };
        if keys.all(|key| token.may_change(key)) { Ok(()) } else { Err(KvApiError::OutOfScope) }
    }

    /// Returns the prefix to list in place of the one that was asked for, so that the list has
    /// only keys within the scope; `None` if there can be none.
    #[must_use]
    pub fn listed_prefix<'p>(&'p self, prefix: &'p str) -> Option<Cow<'p, str>> {
        match self {
            Self::Everything => Some(Cow::Borrowed(prefix)),
            Self::Scoped(token) if prefix.starts_with(&token.prefix) => Some(Cow::Borrowed(prefix)),
            Self::Scoped(token) if token.prefix.starts_with(prefix) => Some(Cow::Borrowed(&token.prefix)),
            Self::Scoped(_) => None,
        }
    }
}

impl AccessToken {
    /// Returns true if a key is within the scope.
    fn reaches(&self, key: &str) -> bool {
        key.starts_with(&self.prefix)
    }

    /// Returns true if the token may change a key. None may change the list of revoked tokens.
    fn may_change(&self, key: &str) -> bool {
        self.write && self.reaches(key) && key != REVOKED_KEY.as_str()
    }
}

#[cfg(test)]
mod tests {
    use http_semantics::request_target::RequestTarget;
    use proptest::prelude::*;

    use super::*;
    use crate::call::Call;

    fn scoped(prefix: &str, write: bool) -> Access {
        Access::Scoped(AccessToken {
            name: "ci".into(),
            namespace: "assets".into(),
            prefix: prefix.into(),
            write,
            expires: u64::MAX,
        })
    }

    #[test]
    fn a_token_comes_as_bearer_or_as_the_older_key() {
        for (authorization, key, service, token) in [
            (Some("Bearer t"), None, None, Ok("t")),
            (Some("bearer  t "), Some("k"), None, Ok("t")),
            (None, Some(" k "), None, Ok("k")),
            (None, Some(""), Some("s"), Ok("s")),
            (None, None, None, Err(KvApiError::NoCredentials)),
            (Some("Basic x"), None, None, Err(KvApiError::MalformedCredentials)),
            (Some("Basic x"), Some("k"), None, Ok("k")),
            (Some("t"), None, None, Err(KvApiError::MalformedCredentials)),
            (Some("Bearer "), None, None, Err(KvApiError::MalformedCredentials)),
        ] {
            let given = presented_token(authorization, key, service);
            assert_eq!(given, token.map(str::to_owned), "{authorization:?} {key:?} {service:?}");
        }
    }

    #[test]
    fn a_list_has_the_prefix_of_the_scope_or_a_longer_one() {
        let access = scoped("site/", false);
        for (asked, listed) in [
            ("", Some("site/")),
            ("s", Some("site/")),
            ("site/", Some("site/")),
            ("site/a", Some("site/a")),
            ("sitemap", None),
            ("other", None),
        ] {
            assert_eq!(access.listed_prefix(asked).as_deref(), listed, "{asked}");
        }
        assert_eq!(Access::Everything.listed_prefix("x").as_deref(), Some("x"));
    }

    #[test]
    fn no_signed_token_revokes_or_restores_another() {
        let namespace = ApiNamespace::of_binding("assets");
        let revoked = REVOKED_KEY;
        let key = revoked.as_str();
        let access = scoped("", true);
        assert!(access.check(&namespace, &NamespaceCall::GetValue(key.into())).is_ok());
        assert!(access.check(&namespace, &NamespaceCall::PutValue(key.into())).is_err());
        assert!(access.check(&namespace, &NamespaceCall::DeleteValue(key.into())).is_err());
        assert!(access.check_change([key].into_iter()).is_err());
        assert!(Access::Everything.check_change([key].into_iter()).is_ok());
    }

    proptest! {
        /// Whatever the encoding of the path, a call passes only if its key, decoded once, is
        /// within the scope.
        #[test]
        fn no_path_reaches_a_key_outside_the_scope(
            path in "(values|metadata|keys|bulk|bulk/get|x)/?([a-c/.%2F5]|%2e|%2F|%61|%25|//){0,12}",
            method in "GET|HEAD|PUT|DELETE|POST|PATCH",
            namespace in "assets|other|%61ssets",
            write in any::<bool>(),
        ) {
            let url = format!("https://edge.example/client/v4/accounts/a/storage/kv/namespaces/{namespace}/{path}");
            let target = RequestTarget::parse(&url);
            let Ok(Call::Namespace { namespace, call }) = Call::parse(&method, &target) else { return Ok(()) };
            let namespace = ApiNamespace::of_binding(&namespace);
            if scoped("a/", write).check(&namespace, &call).is_ok() {
                prop_assert_eq!(&namespace.title, "assets");
                prop_assert!(write || !call.is_write());
                prop_assert!(!matches!(call, NamespaceCall::Rename | NamespaceCall::Delete));
                if let NamespaceCall::GetValue(key) | NamespaceCall::PutValue(key) | NamespaceCall::DeleteValue(key) | NamespaceCall::GetMetadata(key) = call {
                    prop_assert!(key.starts_with("a/"), "{}", key);
                }
            }
        }

        #[test]
        fn no_list_and_no_batch_leaves_the_scope(prefix in "[ab/]{0,3}", asked in "[ab/]{0,4}", keys in proptest::collection::vec("[ab/]{0,4}", 0..4)) {
            let access = scoped(&prefix, true);
            if let Some(listed) = access.listed_prefix(&asked) {
                prop_assert!(listed.starts_with(&prefix) && listed.starts_with(&asked));
            }
            let within = keys.iter().all(|key| key.starts_with(&prefix));
            prop_assert_eq!(access.check_read(keys.iter().map(String::as_str)).is_ok(), within);
            prop_assert_eq!(access.check_change(keys.iter().map(String::as_str)).is_ok(), within);
            let reader = scoped(&prefix, false);
            prop_assert_eq!(reader.check_change(keys.iter().map(String::as_str)).is_ok(), keys.is_empty());
        }
    }
}
