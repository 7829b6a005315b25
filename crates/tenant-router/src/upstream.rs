//! An upstream of a storefront: an origin, and the base path below which all requests go.

use http_semantics::origin::{Origin, OriginError, same_host};
use http_semantics::request_target::has_dot_segments;

/// The address of an upstream, as a record names it: `https://a.example/shop/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    origin: Origin,
    /// The path of the address, less one trailing slash if it has any: empty, or starting with
    /// `/`.
    base: String,
}

/// Why a string is not the address of an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUpstream {
    /// The string does not start with an http(s) origin.
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// The path cannot be a base path.
    #[error(
        "its path has a query, a fragment, a dot segment, a backslash, a space, or a character that is not printable ASCII"
    )]
    Base,
}

impl Upstream {
    /// Parses `https://host:port/base/path`.
    ///
    /// [`join`](Self::join) has an example.
    ///
    /// # Errors
    /// [`InvalidUpstream`] if the origin is invalid, or the path has a query, a fragment, a dot
    /// segment, a backslash, a space, or a character that is not printable ASCII.
    pub fn parse(url: &str) -> Result<Self, InvalidUpstream> {
        let (origin, path) = Origin::split(url)?;
        let is_clean = path.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'\\'));
        if !is_clean || has_dot_segments(path) {
            return Err(InvalidUpstream::Base);
        }
        Ok(Self { origin, base: path.strip_suffix('/').unwrap_or(path).to_owned() })
    }

    /// Returns the origin, without the base path.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Returns the base path: the path of the address, less one trailing slash if it has any. It
    /// is empty, or starts with `/`.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Returns the URL for a path below the storefront (empty, or starting with `/`) and a
    /// query.
    ///
    /// Both are kept byte for byte: empty segments, a trailing slash, percent-encoding; only an
    /// empty path becomes `/`. Nothing in them can change the host, because the origin ends
    /// before the path, which starts with `/`, and nothing can leave the base path, because dot
    /// segments have been resolved before ([`http_semantics::request_target`]).
    ///
    /// # Examples
    ///
    /// ```
    /// use tenant_router::upstream::Upstream;
    ///
    /// let upstream = Upstream::parse("https://tea.example/shop/")?;
    /// assert_eq!(upstream.join("//a%2Fb/", Some("x=1")), "https://tea.example/shop//a%2Fb/?x=1");
    /// assert_eq!(upstream.join("", None), "https://tea.example/shop/");
    /// # Ok::<(), tenant_router::upstream::InvalidUpstream>(())
    /// ```
    #[must_use]
    pub fn join(&self, rest: &str, query: Option<&str>) -> String {
        let (mark, query) = query.map_or(("", ""), |query| ("?", query));
        [self.origin.as_str(), &self.path(rest), mark, query].concat()
    }

    /// Returns the path of that URL.
    pub(crate) fn path(&self, rest: &str) -> String {
        [self.base.as_str(), if rest.is_empty() { "/" } else { rest }].concat()
    }

    /// Returns the part of a path after the base path: empty for the base path itself, otherwise
    /// starting with `/`. Returns `None` if the path is neither the base path nor below it.
    #[must_use]
    pub fn strip<'p>(&self, path: &'p str) -> Option<&'p str> {
        path.strip_prefix(self.base.as_str()).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Returns true if `origin` is the upstream's origin, or its http origin if the upstream is
    /// https and both use the default port of their scheme. A server behind TLS termination
    /// names itself that way. The reverse does not hold: if an http server redirects to https,
    /// the target is another origin.
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
        for (upstream, rest, query, url) in [
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
            ("https://a.example/shop//", "/x", None, "https://a.example/shop//x"),
            ("https://a.example/x/http://y", "/x", None, "https://a.example/x/http://y/x"),
            ("https://a.example/shop", "/x", Some("http://b.example/"), "https://a.example/shop/x?http://b.example/"),
        ] {
            assert_eq!(Upstream::parse(upstream).unwrap().join(rest, query), url, "{upstream} {rest}");
        }
    }

    #[test]
    fn an_invalid_origin_or_base_path_is_refused() {
        for url in ["/x?y", "#f", "/a/../x", "/%2e%2e/x", "/a b", "/a\\b", "/é"] {
            assert_eq!(Upstream::parse(&format!("https://a.example{url}")), Err(InvalidUpstream::Base), "{url}");
        }
        assert_eq!(Upstream::parse("a.example"), Err(InvalidUpstream::Origin(OriginError::Scheme)));
        assert_eq!(Upstream::parse("https://u@a.example"), Err(InvalidUpstream::Origin(OriginError::UserInfo)));
    }

    #[test]
    fn the_base_path_is_stripped_only_from_itself_and_paths_below_it() {
        let shop = Upstream::parse("https://a.example/shop/").unwrap();
        for (path, rest) in
            [("/shop", Some("")), ("/shop/", Some("/")), ("/shop//x", Some("//x")), ("/shops", None), ("/", None)]
        {
            assert_eq!(shop.strip(path), rest, "{path}");
        }
    }

    #[test]
    fn an_https_server_is_at_its_http_origin_too() {
        let is_at =
            |upstream: &str, url: &str| Upstream::parse(upstream).unwrap().is_at(&Origin::split(url).unwrap().0);
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
            base in "(/[!-.0-9A-Z_a-z]{0,6}){0,3}/?",
            rest in "(/[!-~]{0,8}){0,4}",
        ) {
            if let Ok(upstream) = Upstream::parse(&format!("https://a.example{base}")) {
                let url = upstream.join(&rest, None);
                let (origin, path) = Origin::split(&url).unwrap();
                prop_assert!(upstream.is_at(&origin));
                prop_assert_eq!(upstream.strip(path), Some(if rest.is_empty() { "/" } else { rest.as_str() }));
            }
        }
    }
}
