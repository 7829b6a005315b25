//! `Location` and `Content-Location`: which URLs belong to the storefront, and what they are
//! for the visitor.

use std::iter;

use super::{ReachableUpstreams, VisitorView, escaped};
use crate::upstream::Upstream;
use http_semantics::origin::Origin;
use http_semantics::request_target::resolve_dot_segments;

/// A URL reference (RFC 3986 §4.1) without query and fragment, as far as rewriting needs it.
enum UrlReference<'r> {
    /// The scheme, and the part after `//`: `https://host/path`, `//host/path`.
    Url(&'static str, &'r str),
    /// An absolute or relative path, which is not empty.
    Path(&'r str),
}

impl VisitorView<'_> {
    /// Returns the visitor's value of `Location` (RFC 9110 §10.2.2) or `Content-Location`
    /// (§8.7), or `None` if it stays as it is.
    ///
    /// A URL is rewritten if requesting the rewritten path from the storefront reaches just
    /// that URL: it is at the origin of an upstream and below its base path, and
    /// [`ReachableUpstreams::reaches`] returns true. The latter is checked for the upstream that
    /// responded, too, because a route may precede it. A URL stays a URL, and a path stays a
    /// path. A path that the visitor cannot reach becomes a URL at the upstream, unless it begins
    /// with the storefront's prefix: the upstream has applied `X-Forwarded-Prefix`. Every other
    /// URL stays as it is, as does a reference to the same document (`?page=2`, `#top`).
    ///
    /// The value is parsed as browsers do (URL Standard): `\` is `/`, `%2e` is a dot, tabs and
    /// line endings are ignored, and `https:x` is a path. In a rewritten value, spaces and control
    /// characters are percent-encoded; the rest of the path, the query and the fragment are
    /// kept byte for byte.
    #[must_use]
    pub fn location(&self, value: &str, upstreams: &impl ReachableUpstreams) -> Option<String> {
        let value = value.trim_matches(|character| character <= ' ');
        let read = value.replace(['\t', '\r', '\n'], "");
        let (head, tail) = read.split_at(read.find(['?', '#']).unwrap_or(read.len()));
        let head = head.replace('\\', "/");
        let mapped = match UrlReference::read(&head, self.upstream)? {
            UrlReference::Url(scheme, after) => {
                let url = [scheme, "://", after].concat();
                let (origin, path) = Origin::split(&url).ok()?;
                let path = resolve_dot_segments(if path.is_empty() { "/" } else { path });
                self.url(self.below_storefront(&origin, &path, upstreams)?)
            }
            UrlReference::Path(path) => {
                let is_absolute = path.starts_with('/');
                let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
                let path = if is_absolute { path.to_owned() } else { [folder, "/", path].concat() };
                let path = resolve_dot_segments(&path);
                match self.below_storefront(self.upstream.origin(), &path, upstreams) {
                    _ if is_absolute && self.is_visitors(&path) => path.into_owned(),
                    None => [self.upstream.origin().as_str(), &path].concat(),
                    // As a path, it would name a host (RFC 3986 §4.2).
                    Some(rest) if self.prefix.is_empty() && rest.starts_with("//") => self.url(rest),
                    Some(rest) => [self.prefix, rest].concat(),
                }
            }
        };
        Some(escaped(&[&mapped, tail].concat(), &[])).filter(|mapped| mapped != value)
    }

    /// Returns the path below the storefront that reaches this path of this origin.
    fn below_storefront<'p>(
        &self,
        origin: &Origin,
        path: &'p str,
        upstreams: &impl ReachableUpstreams,
    ) -> Option<&'p str> {
        iter::once(self.upstream).chain(upstreams.all()).filter(|upstream| upstream.is_at(origin)).find_map(
            |upstream| {
                let rest = match upstream.strip(path)? {
                    // The path of an http URL is never empty.
                    "" if self.prefix.is_empty() => "/",
                    rest => rest,
                };
                upstreams.reaches(rest, upstream).then_some(rest)
            },
        )
    }

    fn url(&self, rest: &str) -> String {
        [self.scheme, "://", self.host, self.prefix, rest].concat()
    }
}

impl<'r> UrlReference<'r> {
    /// Parses the part before query and fragment. Returns `None` if it is empty or a URL of
    /// another scheme.
    fn read(head: &'r str, upstream: &Upstream) -> Option<Self> {
        let (scheme, after) = match split_scheme(head) {
            None if upstream.origin().is_secure() => ("https", head),
            None => ("http", head),
            Some((scheme, after)) if scheme.eq_ignore_ascii_case("https") => ("https", after),
            Some((scheme, after)) if scheme.eq_ignore_ascii_case("http") => ("http", after),
            Some(_) => return None,
        };
        match after.strip_prefix("//") {
            Some(after) => Some(Self::Url(scheme, after)),
            None => Some(after).filter(|path| !path.is_empty()).map(Self::Path),
        }
    }
}

/// Splits the scheme off (RFC 3986 §3.1).
fn split_scheme(head: &str) -> Option<(&str, &str)> {
    let is_of_scheme = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    head.split_once(':').filter(|(scheme, _)| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(is_of_scheme)
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Storefront, view};
    use super::*;

    #[test]
    fn a_url_of_the_server_becomes_the_visitors() {
        for (value, below_prefix, at_host) in [
            (
                "https://a.example/shop/z?q=/../#f",
                Some("https://v.example/stores/a/z?q=/../#f"),
                Some("https://v.example/z?q=/../#f"),
            ),
            ("HTTPS://A.Example:443/shop/z", Some("https://v.example/stores/a/z"), Some("https://v.example/z")),
            ("http://a.example/shop/z", Some("https://v.example/stores/a/z"), Some("https://v.example/z")),
            ("https://a.example/shop", Some("https://v.example/stores/a"), Some("https://v.example/")),
            ("https://a.example/shop?q", Some("https://v.example/stores/a?q"), Some("https://v.example/?q")),
            ("https://a.example/shop/", Some("https://v.example/stores/a/"), Some("https://v.example/")),
            ("https://a.example/shop//z", Some("https://v.example/stores/a//z"), Some("https://v.example//z")),
            ("//a.example/shop/z", Some("https://v.example/stores/a/z"), Some("https://v.example/z")),
            (
                "https:\\\\a.example\\shop\\z?\\",
                Some("https://v.example/stores/a/z?\\"),
                Some("https://v.example/z?\\"),
            ),
            ("\\/a.example/shop/z", Some("https://v.example/stores/a/z"), Some("https://v.example/z")),
            (
                "https://a.example/admin/../shop/%2e/z",
                Some("https://v.example/stores/a/z"),
                Some("https://v.example/z"),
            ),
            (" ht\ttps://a.example/shop/z ", Some("https://v.example/stores/a/z"), Some("https://v.example/z")),
            ("/shop/z?q#f", Some("/stores/a/z?q#f"), Some("/z?q#f")),
            ("/shop", Some("/stores/a"), Some("/")),
            ("/shop#f", Some("/stores/a#f"), Some("/#f")),
            ("/shop/", Some("/stores/a/"), Some("/")),
            ("/shop//evil.example/z", Some("/stores/a//evil.example/z"), Some("https://v.example//evil.example/z")),
            ("/shop/\\evil.example", Some("/stores/a//evil.example"), Some("https://v.example//evil.example")),
            ("/shop/\t/evil.example", Some("/stores/a//evil.example"), Some("https://v.example//evil.example")),
            ("/shop/%2Fz%20;v=1/%2e%2e%2fz", Some("/stores/a/%2Fz%20;v=1/%2e%2e%2fz"), Some("/%2Fz%20;v=1/%2e%2e%2fz")),
            ("/shop/a b\u{1}\u{7f}é?c d", Some("/stores/a/a%20b%01%7Fé?c%20d"), Some("/a%20b%01%7Fé?c%20d")),
            ("next", Some("/stores/a/x/next"), Some("/x/next")),
            ("next/?q#f", Some("/stores/a/x/next/?q#f"), Some("/x/next/?q#f")),
            ("./", Some("/stores/a/x/"), Some("/x/")),
            ("..", Some("/stores/a/"), Some("/")),
            ("../z", Some("/stores/a/z"), Some("/z")),
            ("..//z", Some("/stores/a//z"), Some("https://v.example//z")),
            ("./a:b", Some("/stores/a/x/a:b"), Some("/x/a:b")),
            ("1:b", Some("/stores/a/x/1:b"), Some("/x/1:b")),
            ("java script:b", Some("/stores/a/x/java%20script:b"), Some("/x/java%20script:b")),
            ("https:next", Some("/stores/a/x/next"), Some("/x/next")),
            ("https:/shop/z", Some("/stores/a/z"), Some("/z")),
        ] {
            let shop = Storefront::shop();
            assert_eq!(view(&shop, "/stores/a").location(value, &shop).as_deref(), below_prefix, "{value:?}");
            assert_eq!(view(&shop, "").location(value, &shop).as_deref(), at_host, "{value:?}");
        }
    }

    #[test]
    fn a_path_outside_the_base_path_becomes_a_url_at_the_server() {
        for (value, expected) in [
            ("/admin?q#f", "https://a.example/admin?q#f"),
            ("/", "https://a.example/"),
            ("/shops", "https://a.example/shops"),
            ("/shop/../admin", "https://a.example/admin"),
            ("/shop/.%2E/admin", "https://a.example/admin"),
            ("/shop\\..\\admin", "https://a.example/admin"),
            ("../../admin", "https://a.example/admin"),
            ("../../..//evil.example", "https://a.example//evil.example"),
            ("/stores/b/x", "https://a.example/stores/b/x"),
            ("/.//evil.example", "https://a.example//evil.example"),
        ] {
            let shop = Storefront::shop();
            for prefix in ["/stores/a", ""] {
                assert_eq!(view(&shop, prefix).location(value, &shop).as_deref(), Some(expected), "{value}");
            }
        }
    }

    #[test]
    fn a_path_with_the_forwarded_prefix_stays_as_it_is() {
        let root = Storefront::of("https://a.example", &[]);
        let shop = Storefront::shop();
        for (value, at_root, at_shop) in [
            ("/stores/a", None, None),
            ("/stores/a/x?q", None, None),
            ("/stores/a/../b", Some("/stores/a/stores/b"), Some("https://a.example/stores/b")),
            ("/stores/a/%2e%2e/b", Some("/stores/a/stores/b"), Some("https://a.example/stores/b")),
            ("/stores/ab", Some("/stores/a/stores/ab"), Some("https://a.example/stores/ab")),
            ("/stores/a/./x", Some("/stores/a/x"), Some("/stores/a/x")),
            ("/shop/stores/a", Some("/stores/a/shop/stores/a"), Some("/stores/a/stores/a")),
        ] {
            assert_eq!(view(&root, "/stores/a").location(value, &root).as_deref(), at_root, "{value}");
            assert_eq!(view(&shop, "/stores/a").location(value, &shop).as_deref(), at_shop, "{value}");
        }
        // A path below the upstream's own base path is the upstream's.
        let same = Storefront::of("https://a.example/stores", &[]);
        assert_eq!(view(&same, "/stores/a").location("/stores/a/x", &same).as_deref(), Some("/stores/a/a/x"));
    }

    #[test]
    fn every_other_url_stays_as_it_is() {
        for value in [
            "",
            " ",
            "?page=2",
            "#top",
            "?a#b",
            "https:",
            "mailto:a@a.example",
            "ftp://a.example/shop/x",
            "data:,/shop",
            "https://other.example/shop/x",
            "https://a.example:8443/shop/x",
            "https://a.example.evil.example/shop/x",
            "https://a.example/admin",
            "https://a.example/shops",
            "https://a.example/",
            "https://a.example",
            "https://a.example/shop/../admin",
            "https://a.example/shop/%2e%2E/admin",
            "https://a.example\\shop\\..\\admin",
            "https://u@a.example/shop/x",
            "//u:p@a.example/shop/x",
            "https://a.example\\@b/shop/x",
            "//other.example/shop",
            "///a.example/shop",
            "https:///a.example/shop",
            "https://a.exa mple/shop",
            "https://ä.example/shop",
            "https://a.example:/shop",
            "https://v.example/stores/a/x",
            "https://v.example/stores/b",
        ] {
            let shop = Storefront::shop();
            for prefix in ["/stores/a", ""] {
                assert_eq!(view(&shop, prefix).location(value, &shop), None, "{value:?}");
            }
        }
        let root = Storefront::of("https://a.example", &[]);
        let root = (VisitorView { path: "/x/y", ..view(&root, "") }, &root);
        assert_eq!(root.0.location("/x?y#z", root.1), None);
        assert_eq!(root.0.location("next", root.1).as_deref(), Some("/x/next"));
        assert_eq!(root.0.location("https://a.example?q", root.1).as_deref(), Some("https://v.example/?q"));
    }

    #[test]
    fn a_url_is_rewritten_only_if_a_request_for_it_reaches_its_upstream() {
        for (value, expected) in [
            ("https://a.example/admin/x", Some("https://v.example/stores/a/admin/x")),
            ("/admin/x", Some("/stores/a/admin/x")),
            ("https://api.example:8443/api", Some("https://v.example/stores/a/api")),
            // A route precedes it, or the path leads elsewhere.
            ("/shop/admin/x", Some("https://a.example/shop/admin/x")),
            ("old/z", Some("https://a.example/shop/x/old/z")),
            ("https://a.example/shop/x/old", None),
            ("https://a.example/other", None),
            ("https://api.example:8443/x", None),
            ("https://api.example/api", None),
            ("https://old.example/admin", None),
        ] {
            let routed = Storefront::routed();
            assert_eq!(view(&routed, "/stores/a").location(value, &routed).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn a_url_without_a_scheme_has_the_upstreams_and_gets_the_visitors() {
        let shop = Storefront::of("http://a.example:8080/shop", &[]);
        let view = VisitorView { scheme: "http", host: "localhost:8787", ..view(&shop, "/stores/a") };
        for (value, expected) in [
            ("//a.example:8080/shop/x", Some("http://localhost:8787/stores/a/x")),
            ("https://a.example:8080/shop/x", None),
            ("/x", Some("http://a.example:8080/x")),
        ] {
            assert_eq!(view.location(value, &shop).as_deref(), expected, "{value}");
        }
    }
}
