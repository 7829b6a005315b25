//! A server behind a storefront: its origin and the path that everything sent there stands below.

use http_semantics::origin::{Origin, OriginError, same_host};
use http_semantics::request_target::has_dot_segments;

/// Origin and base path of a server, as a record names them: `https://a.example/shop/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    origin: Origin,
    /// Without the slash at its end; empty, or starts with `/`.
    base: String,
}

/// Why a string names no server that requests can be sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// The string does not start with an http(s) origin.
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// The path is not one to put paths behind.
    #[error("its path has a query, a fragment, a space or a dot segment")]
    Base,
}

impl Backend {
    /// Reads `https://host:port/base/path`.
    ///
    /// # Errors
    /// [`BackendError`] says what is wrong. Dot segments, `\`, a query or a fragment in a record are a mistake.
    pub fn parse(url: &str) -> Result<Self, BackendError> {
        let (origin, path) = Origin::split(url)?;
        let is_clean = path.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'\\'));
        if !is_clean || has_dot_segments(path) {
            return Err(BackendError::Base);
        }
        Ok(Self { origin, base: path.strip_suffix('/').unwrap_or(path).to_owned() })
    }

    /// Scheme, host and port.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The path before everything that is sent there: empty, or starts with `/` and does not end with one.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The URL for a path below a storefront (empty, or starting with `/`) and a query. All of it stays byte for byte: empty
    /// segments, a trailing slash, percent escapes. Nothing in it can change the host, because the origin ends before the
    /// first slash, nor leave the base path, because dot segments are resolved before ([`http_semantics::request_target`]).
    #[must_use]
    pub fn join(&self, rest: &str, query: Option<&str>) -> String {
        let rest = if rest.is_empty() { "/" } else { rest };
        let (mark, query) = query.map_or(("", ""), |query| ("?", query));
        [self.origin.as_str(), &self.base, rest, mark, query].concat()
    }

    /// The path below a storefront that [`join`](Self::join) would make this path of the server from: empty for the base path
    /// itself, else starting with `/`. `None` for a path that is not below the base path.
    #[must_use]
    pub fn strip<'p>(&self, path: &'p str) -> Option<&'p str> {
        path.strip_prefix(self.base.as_str()).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// True where an origin is this server's, or is http where this one is https, both with their scheme's default port: what a
    /// server behind TLS termination says of itself. Not the other way round: an http server that redirects to https means it.
    #[must_use]
    pub fn is_at(&self, origin: &Origin) -> bool {
        self.origin == *origin || (self.origin.is_secure() && same_host(&self.origin, origin))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_is_joined_behind_the_base_path_byte_for_byte() {
        for (backend, rest, query, url) in [
            ("https://a.example", "", None, "https://a.example/"),
            ("https://a.example/", "/", None, "https://a.example/"),
            ("https://a.example", "/x/y", Some("q=1&r=%20"), "https://a.example/x/y?q=1&r=%20"),
            ("https://a.example", "/x/", Some(""), "https://a.example/x/?"),
            ("https://a.example", "//x//y/", None, "https://a.example//x//y/"),
            ("https://a.example", "/%2Fx%20%2E%2E%2Fy;v=1", None, "https://a.example/%2Fx%20%2E%2E%2Fy;v=1"),
            ("https://a.example", "//evil.example/x", None, "https://a.example//evil.example/x"),
            ("https://a.example", "/@evil.example", None, "https://a.example/@evil.example"),
            ("https://a.example", "/:80", None, "https://a.example/:80"),
            ("https://a.example/shop/", "", None, "https://a.example/shop/"),
            ("https://a.example/shop", "//x", None, "https://a.example/shop//x"),
            ("https://a.example/x/http://y", "/x", None, "https://a.example/x/http://y/x"),
            ("https://a.example/shop", "/x", Some("http://b.example/"), "https://a.example/shop/x?http://b.example/"),
        ] {
            assert_eq!(Backend::parse(backend).unwrap().join(rest, query), url, "{backend} {rest}");
        }
    }

    #[test]
    fn a_base_path_with_a_query_a_fragment_or_dot_segments_is_a_mistake() {
        for url in ["/x?y", "#f", "/a/../x", "/%2e%2e/x", "/a b", "/a\\b"] {
            assert_eq!(Backend::parse(&format!("https://a.example{url}")), Err(BackendError::Base), "{url}");
        }
        assert_eq!(Backend::parse("a.example"), Err(BackendError::Origin(OriginError::Scheme)));
        assert_eq!(Backend::parse("https://u@a.example"), Err(BackendError::Origin(OriginError::UserInfo)));
    }

    #[test]
    fn only_a_path_below_the_base_path_is_stripped() {
        let shop = Backend::parse("https://a.example/shop/").unwrap();
        for (path, rest) in
            [("/shop", Some("")), ("/shop/", Some("/")), ("/shop//x", Some("//x")), ("/shops", None), ("/", None)]
        {
            assert_eq!(shop.strip(path), rest, "{path}");
        }
    }

    #[test]
    fn an_https_server_is_at_its_http_origin_too() {
        let is_at = |backend: &str, url: &str| Backend::parse(backend).unwrap().is_at(&Origin::split(url).unwrap().0);
        assert!(is_at("https://a.example", "https://A.example:443"));
        assert!(is_at("https://a.example", "http://a.example"));
        assert!(is_at("http://a.example:8080", "http://a.example:8080"));
        assert!(!is_at("http://a.example", "https://a.example"));
        assert!(!is_at("http://a.example:8080", "https://a.example:8080"));
        assert!(!is_at("https://a.example", "https://a.example:8443"));
        assert!(!is_at("https://a.example", "https://b.example"));
    }

    proptest! {
        #[test]
        fn joining_then_stripping_gives_the_path_back(
            base in "(/[!-.0-9A-Z_a-z]{1,6}){0,3}/?",
            rest in "(/[!-~]{0,8}){0,4}",
        ) {
            if let Ok(backend) = Backend::parse(&format!("https://a.example{base}")) {
                let url = backend.join(&rest, None);
                let (origin, path) = Origin::split(&url).unwrap();
                prop_assert!(backend.is_at(&origin));
                prop_assert_eq!(backend.strip(path), Some(if rest.is_empty() { "/" } else { rest.as_str() }));
            }
        }
    }
}
