//! The request target: path and query of a URL that the platform hands over. Both stay encoded
//! until somebody asks for a part, which is decoded once, and strictly.
//!
//! ```
//! use http_semantics::request_target::RequestTarget;
//!
//! let target = RequestTarget::parse("https://example.com/a/../b?lang=de");
//! assert_eq!((target.path.as_ref(), target.query), ("/b", Some("lang=de")));
//! assert_eq!(target.parameter("lang").unwrap().as_deref(), Some("de"));
//! ```

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::error_response::{ErrorResponse, HttpError};
use crate::status::Status;

/// The parts of the URL of a request (RFC 9110 §7.1).
///
/// The path is as the URL Standard leaves it: dot segments are resolved (`%2e` counts as a dot)
/// and `\` is read as `/`. Everything else stays byte for byte. Nothing is copied if the platform
/// has done this already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestTarget<'a> {
    /// The scheme, `http` or `https`.
    pub scheme: &'a str,
    /// Host and port, as the client named them (RFC 9110 §7.2).
    pub authority: &'a str,
    /// The path, always starting with `/`.
    pub path: Cow<'a, str>,
    /// The query without its `?`; `None` if the URL has no `?`.
    pub query: Option<&'a str>,
}

/// A part of the URL has a `%` without two hex digits after it, or its decoded bytes are not
/// UTF-8 (RFC 3986 §2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("The URL has a percent-encoding that is broken or is not UTF-8.")]
pub struct BadPercentEncoding;

impl HttpError for BadPercentEncoding {
    fn response(&self) -> ErrorResponse {
        ErrorResponse::new(Status::BadRequest, "bad_percent_encoding", self.to_string())
    }

    fn examples() -> Vec<(Self, &'static str)> {
        vec![(
            Self,
            "An id or a key in the path, or a parameter, cannot be decoded: `%` without two hex digits, or bytes that are not UTF-8.",
        )]
    }
}

impl<'a> RequestTarget<'a> {
    /// Splits the absolute URL of a request, such as `https://example.com/a?b=c`. This cannot
    /// fail: a missing scheme or authority is empty, a missing path is `/`, and a missing query is
    /// `None`. The fragment is dropped.
    ///
    /// [The module](self) has an example.
    #[must_use]
    pub fn parse(url: &'a str) -> Self {
        let (scheme, after_scheme) = url.split_once("://").unwrap_or(("", url));
        let without_fragment = after_scheme.split_once('#').map_or(after_scheme, |(head, _)| head);
        let (authority_and_path, query) = match without_fragment.split_once('?') {
            Some((head, query)) => (head, Some(query)),
            None => (without_fragment, None),
        };
        let start = authority_and_path.find(['/', '\\']).unwrap_or(authority_and_path.len());
        let (authority, path) = authority_and_path.split_at(start);
        let path = if path.is_empty() { "/" } else { path };
        Self { scheme, authority, path: resolve_dot_segments(path), query }
    }

    /// Returns the host, in the form of [`host_of`].
    #[must_use]
    pub fn host(&self) -> String {
        host_of(self.authority)
    }

    /// Returns the first value of a query parameter, decoded as
    /// `application/x-www-form-urlencoded`: `+` is a space.
    ///
    /// The crate `form_urlencoded` is not used, because it decodes `%zz` and broken UTF-8 to
    /// something: two broken ids would become the same id.
    ///
    /// # Errors
    ///
    /// [`BadPercentEncoding`] if the value of this parameter cannot be decoded. Other parameters
    /// are not checked.
    ///
    /// # Examples
    ///
    /// ```
    /// use http_semantics::request_target::RequestTarget;
    ///
    /// let target = RequestTarget::parse("https://edge.example/config?userId=ann+lee&x=50%");
    /// assert_eq!(target.parameter("userId")?.as_deref(), Some("ann lee"));
    /// assert_eq!(target.parameter("userid")?, None);
    /// assert!(target.parameter("x").is_err());
    /// # Ok::<(), http_semantics::request_target::BadPercentEncoding>(())
    /// ```
    pub fn parameter(&self, name: &str) -> Result<Option<Cow<'a, str>>, BadPercentEncoding> {
        self.query
            .unwrap_or_default()
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .find(|(key, _)| form_decode(key).is_ok_and(|key| key == name))
            .map(|(_, value)| form_decode(value))
            .transpose()
    }

    /// Returns the name of the first parameter that is not in `known`, as it was sent.
    ///
    /// # Examples
    ///
    /// ```
    /// use http_semantics::request_target::RequestTarget;
    ///
    /// let target = RequestTarget::parse("https://edge.example/writes/a?n=2&stategy=coalesce");
    /// assert_eq!(target.unknown_parameter(&["n", "strategy"]), Some("stategy"));
    /// ```
    #[must_use]
    pub fn unknown_parameter(&self, known: &[&str]) -> Option<&'a str> {
        let names = self.query?.split('&').map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name));
        names
            .filter(|name| !name.is_empty())
            .find(|name| !known.iter().any(|known| form_decode(name).as_deref() == Ok(*known)))
    }
}

/// Returns the host of an authority in lower case, without a port and without a dot at its end.
///
/// # Examples
///
/// ```
/// use http_semantics::request_target::host_of;
///
/// assert_eq!(host_of("Tea.Shops.Example.:8443"), "tea.shops.example");
/// assert_eq!(host_of("[::1]:8787"), "[::1]");
/// ```
#[must_use]
pub fn host_of(authority: &str) -> String {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => authority,
    };
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Decodes percent-encoding once, strictly (RFC 3986 §2.1).
///
/// # Errors
///
/// [`BadPercentEncoding`] for a `%` without two hex digits, and for bytes that are not UTF-8.
///
/// # Examples
///
/// ```
/// use http_semantics::request_target::percent_decode;
///
/// assert_eq!(percent_decode("a%2Fb%2520c")?, "a/b%20c", "once, and a slash is no separator");
/// assert!(percent_decode("50%").is_err() && percent_decode("caf%E9").is_err());
/// # Ok::<(), http_semantics::request_target::BadPercentEncoding>(())
/// ```
pub fn percent_decode(encoded: &str) -> Result<Cow<'_, str>, BadPercentEncoding> {
    let broken = encoded
        .split('%')
        .skip(1)
        .any(|after| !after.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)));
    if broken {
        return Err(BadPercentEncoding);
    }
    percent_decode_str(encoded).decode_utf8().map_err(|_| BadPercentEncoding)
}

fn form_decode(encoded: &str) -> Result<Cow<'_, str>, BadPercentEncoding> {
    if encoded.contains('+') {
        percent_decode(&encoded.replace('+', " ")).map(|decoded| Cow::Owned(decoded.into_owned()))
    } else {
        percent_decode(encoded)
    }
}

/// Normalizes the escapes in a path or a query, for keys and comparisons: hex digits in upper case
/// (RFC 3986 §6.2.2.1), unreserved characters decoded (§6.2.2.2). A second pass changes nothing:
/// an escape right after one that is cut off, such as `%` or `%6`, is not decoded. Otherwise
/// `%%36%31` would become `%61`, and then `a`.
#[must_use]
pub fn normalize_escapes(text: &str) -> Cow<'_, str> {
    let Some((before, escapes)) = text.split_once('%') else { return Cow::Borrowed(text) };
    let mut normal = before.to_owned();
    let mut follows_broken = false;
    for part in escapes.split('%') {
        match part.split_at_checked(2).and_then(|(digits, rest)| Some((escaped_byte(digits)?, digits, rest))) {
            Some((byte, _, rest)) if is_unreserved(byte) && !follows_broken => {
                normal.push(char::from(byte));
                normal.push_str(rest);
            }
            Some((_, digits, rest)) => normal.extend(["%", &digits.to_ascii_uppercase(), rest]),
            None => normal.extend(["%", part]),
        }
        follows_broken = part.len() < 2;
    }
    Cow::Owned(normal)
}

/// Returns the byte that two hex digits stand for. `from_str_radix` alone would accept a sign.
fn escaped_byte(digits: &str) -> Option<u8> {
    if digits.bytes().all(|digit| digit.is_ascii_hexdigit()) { u8::from_str_radix(digits, 16).ok() } else { None }
}

/// RFC 3986 §2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// Returns true if a text ends within an escape: in `%`, or in `%` and one character.
#[must_use]
pub fn ends_within_escape(text: &str) -> bool {
    text.ends_with('%') || text.rsplit_once('%').is_some_and(|(_, digit)| digit.len() == 1)
}

/// Returns true if a path has a `.` or `..` segment, also one that is written with `%2e`. Only `/`
/// separates segments here.
#[must_use]
pub fn has_dot_segments(path: &str) -> bool {
    path.split('/').any(|segment| dots(segment) > 0)
}

/// Removes `.` and `..` segments as the URL Standard does ("path state"), also those that are
/// written with `%2e`. A `\` counts as `/`. The path starts with one of them.
#[must_use]
pub fn resolve_dot_segments(path: &str) -> Cow<'_, str> {
    if !path.contains('\\') && !has_dot_segments(path) {
        return Cow::Borrowed(path);
    }
    let path = path.replace('\\', "/");
    let mut resolved: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match dots(segment) {
            0 => resolved.push(segment),
            dots => {
                if dots == 2 {
                    resolved.pop();
                }
                // `/a/.` and `/a/b/..` name a folder, so they end in `/`.
                if is_last {
                    resolved.push("");
                }
            }
        }
    }
    Cow::Owned(format!("/{}", resolved.join("/")))
}

/// Returns 1 for a single-dot segment, 2 for a double-dot segment, 0 for any other.
fn dots(segment: &str) -> u8 {
    const ENCODED_DOT: &str = "%2e";
    let mut rest = segment;
    let mut count: u8 = 0;
    while !rest.is_empty() {
        let after = if let Some(after) = rest.strip_prefix('.') {
            after
        } else if let Some((head, after)) = rest.split_at_checked(ENCODED_DOT.len())
            && head.eq_ignore_ascii_case(ENCODED_DOT)
        {
            after
        } else {
            return 0;
        };
        if count == 2 {
            return 0;
        }
        count += 1;
        rest = after;
    }
    count
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn url_splits_into_path_and_query() {
        for (url, path, query) in [
            ("https://example.com/a/b?c=d", "/a/b", Some("c=d")),
            ("https://example.com", "/", None),
            ("https://example.com?x", "/", Some("x")),
            ("https://example.com/?", "/", Some("")),
            ("https://example.com/a?b=http://c/d?e", "/a", Some("b=http://c/d?e")),
            ("https://example.com/a#f?g", "/a", None),
            ("https://example.com//a//b/", "//a//b/", None),
        ] {
            let target = RequestTarget::parse(url);
            assert_eq!((target.path.as_ref(), target.query), (path, query), "{url}");
        }
    }

    #[test]
    fn dot_segments_resolve_as_in_the_url_standard() {
        for (raw, path) in [
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/%2E%2e/b", "/b"),
            ("/a/.%2e/b", "/b"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/..", "/"),
            ("/../../a", "/a"),
            ("/a\\..\\b", "/b"),
            ("/a//../b", "/a/b"),
            ("/a/.../b", "/a/.../b"),
            ("/a/.b/%2ec", "/a/.b/%2ec"),
            ("/a/%252e%252e/b", "/a/%252e%252e/b"),
        ] {
            let url = format!("http://h{raw}");
            assert_eq!(RequestTarget::parse(&url).path, path, "{raw}");
        }
    }

    #[test]
    fn an_escape_that_the_end_of_the_text_cuts_is_found() {
        for (text, expected) in
            [("%", true), ("a%", true), ("a%c", true), ("a%c3", false), ("a%g", true), ("", false), ("c3", false)]
        {
            assert_eq!(ends_within_escape(text), expected, "{text}");
        }
    }

    #[test]
    fn parameter_is_the_first_value_form_decoded() {
        let target = RequestTarget::parse("http://h/?a=1&b=x+y%26&a=2&c&%64=4&bad=%zz&euro=%E2%82%AC");
        assert_eq!(target.parameter("a"), Ok(Some("1".into())));
        assert_eq!(target.parameter("b"), Ok(Some("x y&".into())));
        assert_eq!(target.parameter("c"), Ok(Some("".into())));
        assert_eq!(target.parameter("d"), Ok(Some("4".into())));
        assert_eq!(target.parameter("euro"), Ok(Some("€".into())));
        assert_eq!(target.parameter("none"), Ok(None));
        assert_eq!(target.parameter("bad"), Err(BadPercentEncoding));
    }

    #[test]
    fn the_first_unknown_parameter_is_found() {
        for (query, other) in [
            ("", None),
            ("?", None),
            ("?a=1&b", None),
            ("?%61=1&&b=&", None),
            ("?a=1&B=2", Some("B")),
            ("?bb", Some("bb")),
            ("?a&%zz=1", Some("%zz")),
        ] {
            let url = format!("http://h/{query}");
            assert_eq!(RequestTarget::parse(&url).unknown_parameter(&["a", "b"]), other, "{query}");
        }
    }

    #[test]
    fn percent_decoding_is_strict_and_happens_once() {
        assert_eq!(percent_decode("a%20b%2520"), Ok("a b%20".into()));
        for broken in ["%", "%1", "%zz", "a%2", "%ff", "%c3%28", "%+1"] {
            assert_eq!(percent_decode(broken), Err(BadPercentEncoding), "{broken}");
        }
    }

    #[test]
    fn equivalent_escapes_are_normalized_to_one_form() {
        for (path, decoded) in [
            ("", ""),
            ("/admin", "/admin"),
            ("/%61dmin", "/admin"),
            ("/%41%5A%5a%30%39%2D%2e%5F%7e", "/AZZ09-._~"),
            ("/%2F%2f%3F%23%25%20%3B%c3%a9%00", "/%2F%2F%3F%23%25%20%3B%C3%A9%00"),
            ("/%2561", "/%2561"),
            ("/%25%36%31", "/%2561"),
            ("/%2e%2E%2f", "/..%2F"),
            ("/%", "/%"),
            ("/%6", "/%6"),
            ("/%6g%61", "/%6ga"),
            ("/%+1", "/%+1"),
            ("/%é%61é", "/%éaé"),
            ("/%%61", "/%%61"),
            ("/%%36%31", "/%%361"),
            ("/%6%31", "/%6%31"),
        ] {
            assert_eq!(normalize_escapes(path), decoded, "{path}");
        }
    }

    proptest! {
        #[test]
        fn normalizing_twice_changes_nothing_and_moves_no_delimiter(
            path in "(/|\\?|%|%2[Ff5eE]|%3[0-9Ff]|%6[0-9]|[0-9a-f]|é|.){0,12}"
        ) {
            let once = normalize_escapes(&path);
            prop_assert_eq!(normalize_escapes(&once), &*once);
            for border in ["/", "?", "#"] {
                prop_assert_eq!(once.matches(border).count(), path.matches(border).count());
            }
            let slashes = |path: &str| path.to_ascii_lowercase().matches("%2f").count();
            prop_assert_eq!(slashes(&once), slashes(&path));
            if let (Ok(before), Ok(after)) = (percent_decode(&path), percent_decode(&once)) {
                prop_assert_eq!(before, after);
            }
        }

        #[test]
        fn any_url_parses_to_a_path_without_dot_segments(url in "(http://h)?[a-z./%2eE\\\\?#]{0,40}") {
            let target = RequestTarget::parse(&url);
            prop_assert!(target.path.starts_with('/'));
            prop_assert!(target.path.split('/').all(|segment| dots(segment) == 0));
        }

        #[test]
        fn resolving_twice_changes_nothing(path in "/[a./%2e\\\\]{0,40}") {
            let once = resolve_dot_segments(&path);
            let twice = resolve_dot_segments(&once);
            prop_assert_eq!(&twice, &once);
        }
    }
}
