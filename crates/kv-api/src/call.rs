//! The endpoints: from method, path and query to what the client wants.

use std::borrow::Cow;

use http_semantics::request_target::{RequestTarget, percent_decode};

use crate::error::{KvApiError, Operation};

/// The path under which the API is served. Clients append the rest to it.
pub const ROOT: &str = "/client/v4";

/// The namespaces of a page if the client does not say how many ("List namespaces").
const NAMESPACES_DEFAULT: u64 = 20;

/// The most namespaces of a page. The documentation says 100, and wrangler asks for 1000.
const NAMESPACES_MAX: u64 = 1000;

/// The fewest and the most keys of a page ("List a namespace's keys").
const KEYS_MIN: u32 = 10;
const KEYS_MAX: u32 = 1000;

/// A call of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call<'a> {
    /// `GET /user/tokens/verify`, `GET /accounts/{account}/tokens/verify`
    VerifyToken,
    /// `GET /user`
    User,
    /// `GET /memberships`; the number of the page
    Memberships(u64),
    /// `GET /accounts`; the number of the page
    Accounts(u64),
    /// `GET /accounts/{account}/workers/scripts/{name}/settings`
    ScriptSettings,
    /// `GET …/namespaces`
    ListNamespaces(NamespacesQuery),
    /// `POST …/namespaces`
    CreateNamespace,
    /// A call on one namespace.
    Namespace {
        /// The id or the title of the namespace.
        namespace: Cow<'a, str>,
        /// What to do with it.
        call: NamespaceCall<'a>,
    },
}

/// A call on one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamespaceCall<'a> {
    /// `GET /{namespace}`
    Get,
    /// `PUT /{namespace}`
    Rename,
    /// `DELETE /{namespace}`
    Delete,
    /// `GET /{namespace}/keys`
    ListKeys(KeysQuery<'a>),
    /// `GET /{namespace}/values/{key}`
    GetValue(Cow<'a, str>),
    /// `PUT /{namespace}/values/{key}`
    PutValue(Cow<'a, str>),
    /// `DELETE /{namespace}/values/{key}`
    DeleteValue(Cow<'a, str>),
    /// `GET /{namespace}/metadata/{key}`
    GetMetadata(Cow<'a, str>),
    /// `PUT /{namespace}/bulk`
    BulkPut,
    /// `POST /{namespace}/bulk/delete`, and its old form `DELETE /{namespace}/bulk`
    BulkDelete,
    /// `POST /{namespace}/bulk/get`
    BulkGet,
}

impl Call<'_> {
    /// Returns the id or title of the namespace that the call names; empty if it names none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        match self {
            Self::Namespace { namespace, .. } => namespace,
            _ => "",
        }
    }

    /// Returns the name of the endpoint, for statistics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::VerifyToken => "verify token",
            Self::User => "user",
            Self::Memberships(_) => "memberships",
            Self::Accounts(_) => "accounts",
            Self::ScriptSettings => "script settings",
            Self::ListNamespaces(_) => "list namespaces",
            Self::CreateNamespace => "create namespace",
            Self::Namespace { call, .. } => match call {
                NamespaceCall::Get => "get namespace",
                NamespaceCall::Rename => "rename namespace",
                NamespaceCall::Delete => "delete namespace",
                NamespaceCall::ListKeys(_) => "list keys",
                NamespaceCall::GetValue(_) => "get value",
                NamespaceCall::PutValue(_) => "put value",
                NamespaceCall::DeleteValue(_) => "delete value",
                NamespaceCall::GetMetadata(_) => "get metadata",
                NamespaceCall::BulkPut => "bulk put",
                NamespaceCall::BulkDelete => "bulk delete",
                NamespaceCall::BulkGet => "bulk get",
            },
        }
    }
}

impl NamespaceCall<'_> {
    /// Returns the operation that errors name.
    #[must_use]
    pub fn operation(&self) -> Operation {
        match self {
            Self::Get | Self::Rename | Self::Delete => Operation::Namespace,
            Self::ListKeys(_) => Operation::List,
            Self::GetValue(_) | Self::GetMetadata(_) => Operation::Get,
            Self::PutValue(_) => Operation::Put,
            Self::DeleteValue(_) => Operation::Delete,
            Self::BulkPut => Operation::BulkPut,
            Self::BulkDelete => Operation::BulkDelete,
            Self::BulkGet => Operation::BulkGet,
        }
    }

    /// Returns true if the call changes keys.
    #[must_use]
    pub fn is_write(&self) -> bool {
        matches!(self, Self::PutValue(_) | Self::DeleteValue(_) | Self::BulkPut | Self::BulkDelete)
    }
}

/// Which namespaces a page lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamespacesQuery {
    /// The number of the page, from 1.
    pub page: u64,
    /// The most namespaces of a page.
    pub per_page: u64,
    /// True if they are ordered by title, false if by id.
    pub by_title: bool,
    /// True for the reverse order.
    pub is_descending: bool,
}

/// Which keys a page lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysQuery<'a> {
    /// What the keys begin with.
    pub prefix: Cow<'a, str>,
    /// The most keys of the page.
    pub limit: u32,
    /// Where the page begins; `None` for the first one.
    pub cursor: Option<Cow<'a, str>>,
}

impl<'a> Call<'a> {
    /// Reads a request. What follows `/values/` and `/metadata/` is the key, decoded once. Empty
    /// segments of the path are ignored, because clients join a base URL that ends in `/`. But a
    /// path that ends with the slash after a namespace is an error: it may be what a parser of
    /// URLs made of `/values/..`, the value of the key `..`.
    ///
    /// # Errors
    /// [`KvApiError`] if no endpoint has this path, the path has other methods, or the path or the
    /// query cannot be read.
    ///
    /// # Examples
    ///
    /// ```
    /// use http_semantics::request_target::RequestTarget;
    /// use kv_api::call::{Call, KeysQuery, NamespaceCall};
    /// use kv_api::error::KvApiError;
    ///
    /// let path = "/client/v4/accounts/a/storage/kv/namespaces/USERS/keys?prefix=a%2F&limit=10";
    /// let url = format!("https://edge.example{path}");
    /// let target = RequestTarget::parse(&url);
    /// let query = KeysQuery { prefix: "a/".into(), limit: 10, cursor: None };
    /// let call = NamespaceCall::ListKeys(query);
    /// let expected = Call::Namespace { namespace: "USERS".into(), call };
    /// assert_eq!(Call::parse("GET", &target), Ok(expected));
    /// assert_eq!(Call::parse("POST", &target), Err(KvApiError::MethodNotAllowed("GET, HEAD")));
    /// ```
    pub fn parse(method: &str, target: &'a RequestTarget<'_>) -> Result<Self, KvApiError> {
        let path = target.path.strip_prefix(ROOT).ok_or(KvApiError::NoRoute)?;
        let mut segments = Segments(path);
        // A response to HEAD is that to GET without its body (RFC 9110 §9.3.2).
        let method = if method == "HEAD" { "GET" } else { method };
        match (segments.next(), segments.next(), segments.next()) {
            (Some("user"), None, None) => get(method, Self::User),
            (Some("user"), Some("tokens"), Some("verify")) if segments.is_empty() => get(method, Self::VerifyToken),
            (Some("memberships"), None, None) => get(method, Self::Memberships(page(target)?)),
            (Some("accounts"), None, None) => get(method, Self::Accounts(page(target)?)),
            (Some("accounts"), Some(_), Some("tokens")) => match segments.next() {
                Some("verify") if segments.is_empty() => get(method, Self::VerifyToken),
                _ => Err(KvApiError::NoRoute),
            },
            (Some("accounts"), Some(_), Some("workers")) => match (segments.next(), segments.next(), segments.next()) {
                (Some("scripts"), Some(_), Some("settings")) if segments.is_empty() => {
                    get(method, Self::ScriptSettings)
                }
                _ => Err(KvApiError::NoRoute),
            },
            (Some("accounts"), Some(_), Some("storage")) => match (segments.next(), segments.next()) {
                (Some("kv"), Some("namespaces")) => Self::of_namespaces(method, &mut segments, target),
                _ => Err(KvApiError::NoRoute),
            },
            _ => Err(KvApiError::NoRoute),
        }
    }

    fn of_namespaces(
        method: &str,
        segments: &mut Segments<'a>,
        target: &'a RequestTarget<'_>,
    ) -> Result<Self, KvApiError> {
        let Some(namespace) = segments.next() else {
            return match method {
                "GET" => Ok(Self::ListNamespaces(NamespacesQuery::parse(target)?)),
                "POST" => Ok(Self::CreateNamespace),
                _ => Err(KvApiError::MethodNotAllowed("GET, HEAD, POST")),
            };
        };
        let namespace = percent_decode(namespace)?;
        let is_followed_by_slash = !segments.0.is_empty();
        let call = match segments.next() {
            None if is_followed_by_slash => return Err(dots_as_key(method)),
            None => match method {
                "GET" => NamespaceCall::Get,
                "PUT" => NamespaceCall::Rename,
                "DELETE" => NamespaceCall::Delete,
                _ => return Err(KvApiError::MethodNotAllowed("GET, HEAD, PUT, DELETE")),
            },
            Some("keys") if segments.is_empty() => get(method, NamespaceCall::ListKeys(KeysQuery::parse(target)?))?,
            Some("values") => {
                let key = segments.key()?;
                match method {
                    "GET" => NamespaceCall::GetValue(key),
                    "PUT" => NamespaceCall::PutValue(key),
                    "DELETE" => NamespaceCall::DeleteValue(key),
                    _ => return Err(KvApiError::MethodNotAllowed("GET, HEAD, PUT, DELETE")),
                }
            }
            Some("metadata") => get(method, NamespaceCall::GetMetadata(segments.key()?))?,
            Some("bulk") => match (segments.next(), method) {
                (None, "PUT") => NamespaceCall::BulkPut,
                (None, "DELETE") => NamespaceCall::BulkDelete,
                (None, _) => return Err(KvApiError::MethodNotAllowed("PUT, DELETE")),
                (Some("delete"), "POST") if segments.is_empty() => NamespaceCall::BulkDelete,
                (Some("get"), "POST") if segments.is_empty() => NamespaceCall::BulkGet,
                (Some("delete" | "get"), _) if segments.is_empty() => return Err(KvApiError::MethodNotAllowed("POST")),
                _ => return Err(KvApiError::NoRoute),
            },
            Some(_) => return Err(KvApiError::NoRoute),
        };
        Ok(Self::Namespace { namespace, call })
    }
}

impl NamespacesQuery {
    fn parse(target: &RequestTarget<'_>) -> Result<Self, KvApiError> {
        let is = |name, value| Ok::<_, KvApiError>(target.parameter(name)?.is_some_and(|given| given == value));
        Ok(Self {
            page: page(target)?,
            per_page: number(target, "per_page")?.unwrap_or(NAMESPACES_DEFAULT).clamp(1, NAMESPACES_MAX),
            by_title: is("order", "title")?,
            is_descending: is("direction", "desc")?,
        })
    }
}

impl<'a> KeysQuery<'a> {
    fn parse(target: &RequestTarget<'a>) -> Result<Self, KvApiError> {
        let limit = match target.parameter("limit")?.filter(|limit| !limit.is_empty()) {
            None => KEYS_MAX,
            Some(limit) => {
                limit.parse().ok().filter(|limit| (KEYS_MIN..=KEYS_MAX).contains(limit)).ok_or_else(|| {
                    KvApiError::InvalidArgument(
                        Operation::List,
                        format!("limit {limit} is not within {KEYS_MIN} and {KEYS_MAX}"),
                    )
                })?
            }
        };
        Ok(Self {
            prefix: target.parameter("prefix")?.unwrap_or_default(),
            limit,
            cursor: target.parameter("cursor")?.filter(|cursor| !cursor.is_empty()),
        })
    }
}

/// Returns the error for a path that ends in the slash after a namespace. The URL Standard makes
/// that of `values/..`, so deleting the key `..` would delete the namespace.
fn dots_as_key(method: &str) -> KvApiError {
    let operation = match method {
        "PUT" => Operation::Put,
        "DELETE" => Operation::Delete,
        _ => Operation::Get,
    };
    KvApiError::InvalidKey(operation, "key cannot be \"..\", and no slash follows a namespace".to_owned())
}

fn get<T>(method: &str, call: T) -> Result<T, KvApiError> {
    if method == "GET" { Ok(call) } else { Err(KvApiError::MethodNotAllowed("GET, HEAD")) }
}

/// Returns the number of a page, which counts from 1.
fn page(target: &RequestTarget<'_>) -> Result<u64, KvApiError> {
    Ok(number(target, "page")?.unwrap_or(1).max(1))
}

fn number(target: &RequestTarget<'_>, name: &str) -> Result<Option<u64>, KvApiError> {
    let Some(text) = target.parameter(name)?.filter(|text| !text.is_empty()) else { return Ok(None) };
    let invalid = || KvApiError::InvalidArgument(Operation::Namespace, format!("{name} {text} is not a number"));
    text.parse().map(Some).map_err(|_| invalid())
}

/// The rest of a path.
struct Segments<'a>(&'a str);

impl<'a> Segments<'a> {
    /// Returns the next segment that is not empty.
    fn next(&mut self) -> Option<&'a str> {
        let rest = self.0.trim_start_matches('/');
        let (segment, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        self.0 = rest;
        (!segment.is_empty()).then_some(segment)
    }

    fn is_empty(&self) -> bool {
        self.0.trim_start_matches('/').is_empty()
    }

    /// Returns all that follows the slash, decoded once. Slashes may be encoded or not, and belong
    /// to the key.
    fn key(&mut self) -> Result<Cow<'a, str>, KvApiError> {
        let rest = std::mem::take(&mut self.0);
        Ok(percent_decode(rest.strip_prefix('/').unwrap_or(rest))?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMESPACES: &str = "/accounts/a/storage/kv/namespaces";

    /// Returns a call as text: its variant with its values.
    fn parsed(method: &str, path: &str) -> Result<String, KvApiError> {
        let url = format!("https://edge.example/client/v4{path}");
        Call::parse(method, &RequestTarget::parse(&url)).map(|call| format!("{call:?}"))
    }

    fn on_namespace(method: &str, rest: &str) -> String {
        let slash = if rest.is_empty() { "" } else { "/" };
        let call = parsed(method, &format!("{NAMESPACES}/n{slash}{rest}")).unwrap();
        let prefix = r#"Namespace { namespace: "n", call: "#;
        call.strip_prefix(prefix).unwrap().strip_suffix(" }").unwrap().to_owned()
    }

    #[test]
    fn every_endpoint_is_known() {
        for (method, path, call) in [
            ("GET", "/user/tokens/verify", "VerifyToken"),
            ("GET", "/accounts/a/tokens/verify", "VerifyToken"),
            ("GET", "/user", "User"),
            ("GET", "/accounts", "Accounts(1)"),
            ("GET", "/accounts?page=2", "Accounts(2)"),
            ("GET", "/memberships?page=1", "Memberships(1)"),
            ("GET", "/accounts/a/workers/scripts/kv-edge/settings", "ScriptSettings"),
            ("POST", "/accounts/a/storage/kv/namespaces", "CreateNamespace"),
            (
                "GET",
                "/accounts/a/storage/kv/namespaces",
                "ListNamespaces(NamespacesQuery { page: 1, per_page: 20, by_title: false, is_descending: false })",
            ),
            (
                "GET",
                "/accounts/a/storage/kv/namespaces?per_page=1000&order=title&direction=desc&page=3",
                "ListNamespaces(NamespacesQuery { page: 3, per_page: 1000, by_title: true, is_descending: true })",
            ),
        ] {
            assert_eq!(parsed(method, path).as_deref(), Ok(call), "{method} {path}");
        }
        for (method, rest, call) in [
            ("GET", "", "Get"),
            ("PUT", "", "Rename"),
            ("DELETE", "", "Delete"),
            ("GET", "keys", r#"ListKeys(KeysQuery { prefix: "", limit: 1000, cursor: None })"#),
            (
                "GET",
                "keys?prefix=a%2F+b&limit=10&cursor=c%3D",
                r#"ListKeys(KeysQuery { prefix: "a/ b", limit: 10, cursor: Some("c=") })"#,
            ),
            ("GET", "keys?prefix=&cursor=", r#"ListKeys(KeysQuery { prefix: "", limit: 1000, cursor: None })"#),
            ("GET", "values/k", r#"GetValue("k")"#),
            ("HEAD", "values/k", r#"GetValue("k")"#),
            ("PUT", "values/k?expiration_ttl=60", r#"PutValue("k")"#),
            ("DELETE", "values/k", r#"DeleteValue("k")"#),
            ("GET", "metadata/k", r#"GetMetadata("k")"#),
            ("PUT", "bulk", "BulkPut"),
            ("DELETE", "bulk", "BulkDelete"),
            ("POST", "bulk/delete", "BulkDelete"),
            ("POST", "bulk/get", "BulkGet"),
        ] {
            assert_eq!(on_namespace(method, rest), call, "{method} {rest}");
        }
    }

    #[test]
    fn a_key_is_all_that_follows_decoded_once() {
        for (path, key) in [
            ("values/a/b", "a/b"),
            ("values/a%2Fb", "a/b"),
            ("values//a", "/a"),
            ("values/%2Fa", "/a"),
            ("values/a/", "a/"),
            ("values/a//b", "a//b"),
            ("values/50%25", "50%"),
            ("values/%252F", "%2F"),
            ("values/a+b", "a+b"),
            ("values/a%20b%3F%23", "a b?#"),
            ("values/%F0%9F%8E%89", "🎉"),
            ("values/keys", "keys"),
            ("values/", ""),
        ] {
            assert_eq!(on_namespace("GET", path), format!("GetValue({key:?})"), "{path}");
        }
    }

    #[test]
    fn empty_segments_before_the_key_are_ignored() {
        for path in ["//accounts/a/storage/kv/namespaces/n/keys/", "/accounts//a/storage/kv/namespaces//n//keys"] {
            assert!(parsed("GET", path).is_ok_and(|call| call.contains("ListKeys")), "{path}");
        }
    }

    #[test]
    fn a_key_that_is_two_dots_never_means_its_namespace() {
        for rest in ["", "values/..", "metadata/..", "values/%2e%2E", "values/.%2e/", "/"] {
            for method in ["GET", "HEAD", "PUT", "DELETE"] {
                let error = parsed(method, &format!("{NAMESPACES}/n/{rest}")).unwrap_err();
                assert!(matches!(error, KvApiError::InvalidKey(..)), "{method} {rest}");
            }
        }
        assert_eq!(on_namespace("DELETE", "values/."), r#"DeleteValue("")"#);
    }

    #[test]
    fn what_is_no_endpoint_is_refused_by_name() {
        for (method, path, error) in [
            ("GET", "", KvApiError::NoRoute),
            ("GET", "/zones", KvApiError::NoRoute),
            ("GET", "/accounts/a", KvApiError::NoRoute),
            ("GET", "/accounts/a/storage/kv", KvApiError::NoRoute),
            ("GET", "/accounts/a/storage/kv/namespaces/n/other", KvApiError::NoRoute),
            ("GET", "/accounts/a/storage/kv/namespaces/n/keys/x", KvApiError::NoRoute),
            ("POST", "/accounts/a/storage/kv/namespaces/n/bulk/x", KvApiError::NoRoute),
            ("POST", "/accounts", KvApiError::MethodNotAllowed("GET, HEAD")),
            ("PATCH", "/accounts/a/storage/kv/namespaces", KvApiError::MethodNotAllowed("GET, HEAD, POST")),
            (
                "POST",
                "/accounts/a/storage/kv/namespaces/n/values/k",
                KvApiError::MethodNotAllowed("GET, HEAD, PUT, DELETE"),
            ),
            ("GET", "/accounts/a/storage/kv/namespaces/n/bulk/get", KvApiError::MethodNotAllowed("POST")),
            ("GET", "/accounts/a/storage/kv/namespaces/n/values/%zz", KvApiError::BadUrl),
            ("GET", "/accounts/a/storage/kv/namespaces/n/values/%ff", KvApiError::BadUrl),
        ] {
            assert_eq!(parsed(method, path), Err(error), "{method} {path}");
        }
        for limit in ["9", "1001", "-1", "ten", "1e2"] {
            let error = parsed("GET", &format!("{NAMESPACES}/n/keys?limit={limit}")).unwrap_err();
            assert!(matches!(error, KvApiError::InvalidArgument(Operation::List, _)), "{limit}");
        }
    }

    proptest! {
        #[test]
        fn any_key_that_a_client_encodes_arrives_as_it_was(key in ".{0,40}") {
            use std::fmt::Write as _;
            let mut encoded = String::new();
            for byte in key.bytes() {
                if byte.is_ascii_alphanumeric() { encoded.push(char::from(byte)) } else { write!(encoded, "%{byte:02X}").unwrap() }
            }
            // The URL Standard resolves these away; Workers KV accepts neither as a key.
            prop_assume!(key != "." && key != "..");
            prop_assert_eq!(on_namespace("GET", &format!("values/{encoded}")), format!("GetValue({key:?})"));
        }
    }
}
