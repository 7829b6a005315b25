//! `Set-Cookie` (RFC 6265), rewritten so that the cookies of an upstream are sent back to its
//! storefront and to no other.

use super::{VisitorView, escaped};
use http_semantics::request_target::has_dot_segments;

/// Browsers ignore an attribute whose value is longer than this, in bytes (RFC 6265bis §5.6).
const ATTRIBUTE_BYTES_MAX: usize = 1024;

/// The kinds of attributes that are treated differently.
#[derive(PartialEq, Eq)]
enum CookieAttribute<'a> {
    Domain,
    /// The trimmed value of `Path`.
    Path(&'a str),
    Other,
}

impl VisitorView<'_> {
    /// Returns the visitor's value of one `Set-Cookie` line.
    ///
    /// - `Domain` is removed, because the cookie belongs to the visitor's host.
    /// - Of several `Path` attributes the last one counts (§5.3). It is rewritten in its place;
    ///   the others are removed.
    /// - If that one is absent or does not start with `/`, the default path of the request to the
    ///   upstream (§5.1.4) is written out under a prefix: for `/stores/a` the browser's default
    ///   would be `/stores`, which all storefronts share. Without a prefix, it is removed, and the
    ///   browser's default counts.
    /// - Everything else stays as it is, byte for byte.
    ///
    /// A `;` in the prefix becomes `%3B`, so that it cannot begin an attribute. Browsers do not
    /// send such a cookie back. A `__Host-` cookie gets the prefix like any other, and browsers
    /// then refuse it.
    #[must_use]
    pub fn set_cookie(&self, value: &str) -> String {
        let (pair, attributes) = value.split_once(';').map_or((value, None), |(pair, rest)| (pair, Some(rest)));
        let attributes =
            || attributes.into_iter().flat_map(|attributes| attributes.split(';').map(CookieAttribute::of));
        let last =
            attributes().enumerate().filter_map(|(place, (_, kind))| kind.path().map(|path| (place, path))).last();
        let sent = last.map(|(_, path)| path).filter(|path| path.starts_with('/'));
        let path = match sent {
            Some(path) => Some(self.cookie_path(path)),
            None => (!self.prefix.is_empty()).then(|| self.cookie_path(default_path(self.path))),
        };
        let is_as_sent = path.as_deref() == sent;
        let mut cookie = pair.to_owned();
        for (place, (attribute, kind)) in attributes().enumerate() {
            let is_last_path = last.is_some_and(|(last, _)| last == place);
            match (&kind, &path) {
                (CookieAttribute::Path(_), Some(path)) if is_last_path && !is_as_sent => {
                    cookie.extend(["; Path=", path]);
                }
                (CookieAttribute::Path(_), Some(_)) if is_last_path => cookie.extend([";", attribute]),
                (CookieAttribute::Other, _) => cookie.extend([";", attribute]),
                (CookieAttribute::Domain | CookieAttribute::Path(_), _) => {}
            }
        }
        if let (None, Some(path)) = (last, &path) {
            cookie.extend(["; Path=", path]);
        }
        cookie
    }

    /// Returns the visitor's path for the path of a cookie at the upstream.
    fn cookie_path(&self, path: &str) -> String {
        if self.is_visitors(path) && path.len() <= ATTRIBUTE_BYTES_MAX && !has_dot_segments(path) {
            return path.to_owned();
        }
        let base = self.upstream.base();
        let is_above = base.strip_prefix(path).is_some_and(|after| path.ends_with('/') || after.starts_with('/'));
        let rest = match self.upstream.strip(path) {
            Some("/") => "",
            Some(rest) => rest,
            None if is_above => "",
            None => path,
        };
        let prefix = escaped(self.prefix, &[';']);
        // The browser ignores a path that is too long and takes its own default, which may be
        // the path that all storefronts share.
        let is_ignored = prefix.len() + rest.len() > ATTRIBUTE_BYTES_MAX;
        match (prefix.as_str(), rest) {
            ("", "") => "/".to_owned(),
            ("", rest) => rest.to_owned(),
            (prefix, _) if is_ignored => prefix.to_owned(),
            (prefix, rest) => [prefix, rest].concat(),
        }
    }
}

impl<'a> CookieAttribute<'a> {
    /// Parses an attribute (RFC 6265 §5.2): name and value are trimmed, and the name is
    /// case-insensitive.
    fn of(attribute: &'a str) -> (&'a str, Self) {
        let (name, value) = attribute.split_once('=').unwrap_or((attribute, ""));
        let trim = |text: &'a str| text.trim_matches(|character| character <= ' ');
        let kind = match trim(name) {
            name if name.eq_ignore_ascii_case("domain") => Self::Domain,
            name if name.eq_ignore_ascii_case("path") => Self::Path(trim(value)),
            _ => Self::Other,
        };
        (attribute, kind)
    }

    fn path(&self) -> Option<&'a str> {
        if let Self::Path(path) = self { Some(path) } else { None }
    }
}

/// Returns true if a `Set-Cookie` line has a `Domain`, and so may reach other hosts.
#[must_use]
pub fn has_domain(value: &str) -> bool {
    value.split(';').skip(1).any(|attribute| CookieAttribute::of(attribute).1 == CookieAttribute::Domain)
}

/// Returns the default path of a cookie for the path of a request (RFC 6265 §5.1.4).
fn default_path(path: &str) -> &str {
    path.rsplit_once('/').map(|(folder, _)| folder).filter(|folder| folder.starts_with('/')).unwrap_or("/")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{Storefront, view};
    use super::*;

    fn cookie(upstream: &str, prefix: &str, path: &str, value: &str) -> String {
        let storefront = Storefront::of(upstream, &[]);
        VisitorView { path, ..view(&storefront, prefix) }.set_cookie(value)
    }

    #[test]
    fn under_a_prefix_every_cookie_has_a_path_at_or_below_it_and_no_domain() {
        for (value, expected) in [
            ("a=b", "a=b; Path=/stores/a/x"),
            ("a=b; Path=/shop", "a=b; Path=/stores/a"),
            ("a=b; Path=/shop/", "a=b; Path=/stores/a"),
            ("a=b; Path=/shop/cart", "a=b; Path=/stores/a/cart"),
            ("a=b; Path=/shop/cart/", "a=b; Path=/stores/a/cart/"),
            ("a=b; Path=/", "a=b; Path=/stores/a"),
            ("a=b; Path=/shops", "a=b; Path=/stores/a/shops"),
            ("a=b; Path=/sh", "a=b; Path=/stores/a/sh"),
            ("a=b; Path=/stores/b", "a=b; Path=/stores/a/stores/b"),
            ("a=b; Path=/shop/../../b", "a=b; Path=/stores/a/../../b"),
            ("a=b; Path=//x", "a=b; Path=/stores/a//x"),
            ("a=b; Path=shop", "a=b; Path=/stores/a/x"),
            ("a=b; Path=\"/shop\"", "a=b; Path=/stores/a/x"),
            ("a=b; Path", "a=b; Path=/stores/a/x"),
            ("a=b; Path=", "a=b; Path=/stores/a/x"),
            ("a=b; Path=/shop/y; Path=/", "a=b; Path=/stores/a"),
            ("a=b; Path=/; Path=y", "a=b; Path=/stores/a/x"),
            ("a=b; Domain=v.example; Secure", "a=b; Secure; Path=/stores/a/x"),
            ("a=b; dOMAIN =.example;\tpAtH\t= /shop \t;HttpOnly", "a=b; Path=/stores/a;HttpOnly"),
            ("a=b; Domain=x; domain; DOMAIN=", "a=b; Path=/stores/a/x"),
            (
                "a=\"b,=\";  Expires=Wed, 01 Jan 2030 00:00:00 GMT;path=/shop/c; SameSite=None;; Partitioned;x=€",
                "a=\"b,=\";  Expires=Wed, 01 Jan 2030 00:00:00 GMT; Path=/stores/a/c; SameSite=None;; Partitioned;x=€",
            ),
            ("__Host-a=b; Secure; Path=/", "__Host-a=b; Secure; Path=/stores/a"),
            ("Path=/; Secure", "Path=/; Secure; Path=/stores/a/x"),
            ("domain=x", "domain=x; Path=/stores/a/x"),
            ("a", "a; Path=/stores/a/x"),
            ("", "; Path=/stores/a/x"),
            (";", ";; Path=/stores/a/x"),
            ("=", "=; Path=/stores/a/x"),
        ] {
            assert_eq!(cookie("https://a.example/shop", "/stores/a", "/shop/x/y", value), expected, "{value}");
        }
    }

    #[test]
    fn a_storefront_with_its_own_host_sets_cookies_for_that_host() {
        for (upstream, value, expected) in [
            ("https://a.example", "a=b", "a=b"),
            ("https://a.example", "a=b; path=/; HttpOnly", "a=b; path=/; HttpOnly"),
            ("https://a.example", "a=b; Path=/x; Domain=a.example", "a=b; Path=/x"),
            ("https://a.example", "a=b; Path=x; Secure", "a=b; Secure"),
            ("https://a.example", "a=b; Path=/x; Path=", "a=b"),
            ("https://a.example", "__Host-a=b; Secure; Path=/", "__Host-a=b; Secure; Path=/"),
            ("https://a.example/shop", "__Host-a=b; Secure; Path=/", "__Host-a=b; Secure; Path=/"),
            ("https://a.example/shop", "a=b; Path=/shop; Secure", "a=b; Path=/; Secure"),
            ("https://a.example/shop", "a=b; Path=/shop/x", "a=b; Path=/x"),
            ("https://a.example/shop", "a=b; Path=/other", "a=b; Path=/other"),
            ("https://a.example/shop/de", "a=b; Path=/shop", "a=b; Path=/"),
            ("https://a.example/shop/de", "a=b; Path=/shop/", "a=b; Path=/"),
            ("https://a.example/shop/de", "a=b", "a=b"),
        ] {
            assert_eq!(cookie(upstream, "", "/shop/de/x", value), expected, "{upstream} {value}");
        }
    }

    #[test]
    fn the_default_path_is_that_of_the_request_to_the_upstream() {
        for (upstream, path, expected) in [
            ("https://a.example", "/", "/stores/a"),
            ("https://a.example", "/x", "/stores/a"),
            ("https://a.example", "/x/", "/stores/a/x"),
            ("https://a.example", "/x/y", "/stores/a/x"),
            ("https://a.example", "//x", "/stores/a"),
            ("https://a.example", "", "/stores/a"),
            ("https://a.example/shop", "/shop/", "/stores/a"),
            ("https://a.example/shop", "/shop/x/", "/stores/a/x"),
        ] {
            assert_eq!(
                cookie(upstream, "/stores/a", path, "a=b"),
                format!("a=b; Path={expected}"),
                "{upstream} {path}"
            );
        }
    }

    #[test]
    fn a_prefix_can_neither_end_the_attribute_nor_make_it_too_long() {
        let path = |prefix: &str, value: &str| cookie("https://a.example", prefix, "/x", value);
        assert_eq!(path("/stores/a;Domain=x\u{1}", "a=b"), "a=b; Path=/stores/a%3BDomain=x%01");
        let long = format!("a=b; Path=/{}", "x".repeat(1024));
        assert_eq!(path("/stores/a", &long), "a=b; Path=/stores/a");
        assert_eq!(path("", &long), long);
    }

    proptest! {
        #[test]
        fn no_cookie_is_for_another_storefront(
            value in "[a-c]{0,2}=?[a-c]{0,2}(;[ \t]?([Pp]ath|[Dd]omain|Secure|x)[ \t]?(=[ \t]?(/?(shop|stores|b|\\.\\.)){0,4}/?[ \t]?)?){0,4};?",
            base in "(/shop|/shop/b)?",
            request in "(/[a-z]{0,3}){0,4}",
        ) {
            let upstream = format!("https://a.example{base}");
            let cookie = cookie(&upstream, "/stores/a", &format!("{base}/{request}"), &value);
            let sent: Vec<_> = value.split(';').skip(1).map(CookieAttribute::of).collect();
            let seen: Vec<_> = cookie.split(';').skip(1).map(CookieAttribute::of).collect();
            prop_assert_eq!(cookie.split(';').next(), value.split(';').next());
            prop_assert!(seen.iter().all(|(_, kind)| *kind != CookieAttribute::Domain));
            let paths: Vec<_> = seen.iter().filter_map(|(_, kind)| kind.path()).collect();
            prop_assert_eq!(paths.len(), 1);
            prop_assert!(paths[0] == "/stores/a" || paths[0].starts_with("/stores/a/"), "{}", cookie);
            let others = |all: &[(&str, CookieAttribute<'_>)]| -> Vec<String> {
                all.iter().filter(|(_, kind)| *kind == CookieAttribute::Other).map(|(text, _)| (*text).to_owned()).collect()
            };
            prop_assert_eq!(others(&seen), others(&sent));
        }

        #[test]
        fn any_text_is_a_cookie_that_can_be_rewritten(value in any::<String>(), prefix in "(/stores/a)?") {
            let cookie = cookie("https://a.example/shop", &prefix, "/shop/x", &value);
            prop_assert_eq!(cookie.split(';').next(), value.split(';').next());
        }
    }
}
