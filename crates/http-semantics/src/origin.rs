//! Origins (RFC 6454 §4), and lists of those that kv-edge may fetch from, or whose pages may read
//! its responses. An origin that is on no list is refused: kv-edge is never an open proxy.
//!
//! ```
//! use http_semantics::origin::{OriginAllowList, Origin};
//!
//! let list = OriginAllowList::parse("https://api.example, https://*.shops.example", &[]);
//! let (origin, path) = Origin::split("https://tea.shops.example/a?b").unwrap();
//! assert_eq!((list.admits(&origin), path), (true, "/a?b"));
//! ```

use std::net::Ipv6Addr;

/// Scheme, host and port of a URL in canonical form: lower case, without the default port of the
/// scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

/// Why a text is not an http(s) URL that kv-edge fetches from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// It does not start with `http://` or `https://`.
    #[error("it does not start with http:// or https://")]
    Scheme,
    /// It has a user name or a password. Credentials are never sent to a place that a record or a
    /// query names.
    #[error("it has a user name or password")]
    UserInfo,
    /// Its host or port is missing, or has characters that no host has.
    #[error("its host or port is not valid")]
    Authority,
}

impl Origin {
    /// Splits an absolute http(s) URL into its origin and the rest: path, query and fragment.
    ///
    /// The grammar is narrower than that of the URL Standard: ASCII host names (an
    /// internationalised name in its `xn--` form), IPv4 and bracketed IPv6 addresses, and decimal
    /// ports. So no text can name one host here and another one in the parser of the platform.
    ///
    /// [The module](self) has an example.
    ///
    /// # Errors
    /// [`OriginError`] says which part is not valid.
    pub fn split(url: &str) -> Result<(Self, &str), OriginError> {
        let (scheme, default_port, rest) = if let Some(rest) = strip_prefix_ignore_case(url, "https://") {
            ("https", "443", rest)
        } else if let Some(rest) = strip_prefix_ignore_case(url, "http://") {
            ("http", "80", rest)
        } else {
            return Err(OriginError::Scheme);
        };
        let (authority, after) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(OriginError::UserInfo);
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (authority, None),
        };
        if !is_host(host) || !port.is_none_or(is_port) {
            return Err(OriginError::Authority);
        }
        let mut origin = format!("{scheme}://{}", canonical(host));
        if let Some(port) = port.filter(|port| *port != default_port) {
            origin.push(':');
            origin.push_str(port);
        }
        Ok((Self(origin), after))
    }

    /// Returns the origin as text, without a slash at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true for `https`.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.0.starts_with("https://")
    }

    #[expect(clippy::expect_used, reason = "`split` makes each origin, and writes the scheme")]
    fn scheme_and_authority(&self) -> (&str, &str) {
        self.0.split_once("://").expect("an origin has a scheme")
    }
}

/// The origins that a var lists, separated by commas: exact ones such as
/// `https://api.example.com:8443`, or every subdomain of a host as `https://*.shops.example`,
/// which names neither `https://shops.example` itself nor an IP address. For an entry without a
/// scheme, such as `api.example.com` or `*.shops.example`, the caller says which schemes it stands
/// for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OriginAllowList {
    exact: Vec<Origin>,
    /// Scheme and suffix of the host: (`https://`, `.shops.example`).
    subdomains: Vec<(String, String)>,
}

impl OriginAllowList {
    /// Parses the list. An entry that is not an origin admits nothing. `bare` are the schemes of
    /// an entry without a scheme.
    ///
    /// [The module](self) has an example.
    #[must_use]
    pub fn parse(list: &str, bare: &[&str]) -> Self {
        let mut parsed = Self::default();
        for entry in list.split(',').map(str::trim) {
            match entry.split_once("://") {
                Some((scheme, host)) => parsed.add(scheme, host),
                None => bare.iter().for_each(|scheme| parsed.add(scheme, entry)),
            }
        }
        parsed
    }

    /// Parses a list whose entries each have a scheme. An entry without one admits nothing.
    #[must_use]
    pub fn of_origins(list: &str) -> Self {
        Self::parse(list, &[])
    }

    fn add(&mut self, scheme: &str, host: &str) {
        let (is_wildcard, host) = host.strip_prefix("*.").map_or((false, host), |suffix| (true, suffix));
        let Ok((origin, "" | "/")) = Origin::split(&format!("{scheme}://{host}")) else { return };
        if is_wildcard {
            let (scheme, host) = origin.scheme_and_authority();
            self.subdomains.push((format!("{scheme}://"), format!(".{host}")));
        } else {
            self.exact.push(origin);
        }
    }

    /// Returns true if the list names this origin. Scheme and port count.
    ///
    /// [The module](self) has an example.
    #[must_use]
    pub fn admits(&self, origin: &Origin) -> bool {
        self.exact.contains(origin) || self.subdomains_of(origin).is_some()
    }

    /// Returns the entry that names this origin: the origin itself, or `https://*.shops.example`.
    /// It is what the log may say about a host that a visitor wrote. Returns `None` if the list
    /// does not name the origin.
    ///
    /// # Examples
    ///
    /// ```
    /// use http_semantics::origin::{Origin, OriginAllowList};
    ///
    /// let list = OriginAllowList::of_origins("https://*.shops.example");
    /// let (origin, _) = Origin::split("https://whatever-a-visitor-wrote.shops.example/")?;
    /// assert_eq!(list.entry(&origin).as_deref(), Some("https://*.shops.example"));
    /// # Ok::<(), http_semantics::origin::OriginError>(())
    /// ```
    #[must_use]
    pub fn entry(&self, origin: &Origin) -> Option<String> {
        if self.exact.contains(origin) {
            return Some(origin.0.clone());
        }
        self.subdomains_of(origin).map(|(scheme, suffix)| [scheme, "*", suffix].concat())
    }

    fn subdomains_of(&self, origin: &Origin) -> Option<&(String, String)> {
        self.subdomains.iter().find(|(scheme, suffix)| {
            origin
                .0
                .strip_prefix(scheme.as_str())
                .and_then(|host| host.strip_suffix(suffix.as_str()))
                .is_some_and(|subdomain| !subdomain.is_empty())
                && !is_ip_literal(origin)
        })
    }
}

/// Returns true if two origins name the same host, each with the default port of its scheme.
#[must_use]
pub fn same_host(one: &Origin, other: &Origin) -> bool {
    let host = |origin: &Origin| {
        let (_, authority) = origin.scheme_and_authority();
        // The canonical form has a port only if it is not the default one.
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        (!has_port).then(|| authority.to_owned())
    };
    host(one).is_some_and(|name| host(other).is_some_and(|other| other == name))
}

/// Returns true if the host is an IP address in any form that the URL Standard accepts: its last
/// label is a number.
fn is_ip_literal(origin: &Origin) -> bool {
    let (_, authority) = origin.scheme_and_authority();
    let host = authority.split_once(':').map_or(authority, |(host, _)| host).trim_end_matches('.');
    let last = host.rsplit_once('.').map_or(host, |(_, label)| label);
    authority.starts_with('[') || last.starts_with("0x") || last.bytes().all(|byte| byte.is_ascii_digit())
}

fn strip_prefix_ignore_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn ipv6(host: &str) -> Option<Ipv6Addr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// Returns the host in lower case, or an IPv6 address in its short form (RFC 5952), as the parser
/// of the platform writes them.
fn canonical(host: &str) -> String {
    ipv6(host).map_or_else(|| host.to_ascii_lowercase(), |address| format!("[{address}]"))
}

fn is_host(host: &str) -> bool {
    if ipv6(host).is_some() {
        return true;
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    !host.is_empty() && host.bytes().all(is_name)
}

fn is_port(port: &str) -> bool {
    !port.starts_with('0') && port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn origin_is_scheme_host_and_port_in_canonical_form() {
        for (url, origin, after) in [
            ("https://example.com", "https://example.com", ""),
            ("HTTPS://Example.COM:443/a?b#c", "https://example.com", "/a?b#c"),
            ("http://example.com:80?b", "http://example.com", "?b"),
            ("http://example.com:8080/", "http://example.com:8080", "/"),
            ("https://example.com:80", "https://example.com:80", ""),
            ("http://127.0.0.1:8788/article", "http://127.0.0.1:8788", "/article"),
            ("http://[::1]:8788/", "http://[::1]:8788", "/"),
            ("http://[0:0:0:0:0:0:0:1]/", "http://[::1]", "/"),
        ] {
            let (parsed, rest) = Origin::split(url).unwrap();
            assert_eq!((parsed.as_str(), rest), (origin, after), "{url}");
        }
    }

    #[test]
    fn an_ambiguous_url_has_no_origin() {
        for (url, error) in [
            ("ftp://example.com", OriginError::Scheme),
            ("example.com", OriginError::Scheme),
            ("//example.com", OriginError::Scheme),
            ("https:/example.com", OriginError::Scheme),
            (" https://example.com", OriginError::Scheme),
            ("https://user@example.com", OriginError::UserInfo),
            ("https://user:pass@example.com/", OriginError::UserInfo),
            ("https://", OriginError::Authority),
            ("https:///path", OriginError::Authority),
            ("https://exa mple.com", OriginError::Authority),
            ("https://example.com\\evil.example", OriginError::Authority),
            ("https://example.com%2f.evil.example", OriginError::Authority),
            ("https://exämple.com", OriginError::Authority),
            ("https://example.com:", OriginError::Authority),
            ("https://example.com:0", OriginError::Authority),
            ("https://example.com:99999", OriginError::Authority),
            ("https://example.com:8a", OriginError::Authority),
            ("https://[::1", OriginError::Authority),
            ("https://[::g]", OriginError::Authority),
            ("https://a:b:c", OriginError::Authority),
        ] {
            assert_eq!(Origin::split(url), Err(error), "{url}");
        }
    }

    #[test]
    fn allow_list_admits_exact_origins_and_named_subdomains_only() {
        let list = OriginAllowList::parse(
            "https://example.com, http://localhost:8788/ ,https://*.shops.example,no origin,https://a/b,ftp://b",
            &["https"],
        );
        for (url, admitted) in [
            ("https://example.com", true),
            ("https://EXAMPLE.com:443/x", true),
            ("http://example.com", false),
            ("https://example.com:8443", false),
            ("https://www.example.com", false),
            ("https://example.com.evil.example", false),
            ("http://localhost:8788", true),
            ("http://localhost:8789", false),
            ("https://one.shops.example", true),
            ("https://one.two.shops.example", true),
            ("https://shops.example", false),
            ("https://.shops.example", false),
            ("https://evilshops.example", false),
            ("http://one.shops.example", false),
            ("https://one.shops.example:444", false),
            ("https://a", false),
        ] {
            let (origin, _) = Origin::split(url).unwrap();
            assert_eq!(list.admits(&origin), admitted, "{url}");
        }
        for list in ["", "*", "*.", "https://*", "https://*."] {
            let (origin, _) = Origin::split("https://example.com").unwrap();
            assert!(!OriginAllowList::parse(list, &["https"]).admits(&origin), "{list}");
        }
    }

    #[test]
    fn an_entry_without_a_scheme_means_the_given_schemes() {
        let admits = |bare: &[&str], url: &str| {
            OriginAllowList::parse("a.example,*.shops.example,b.example:8443", bare)
                .admits(&Origin::split(url).unwrap().0)
        };
        for host in ["a.example", "one.shops.example", "b.example:8443"] {
            assert!(admits(&["https"], &format!("https://{host}")), "{host}");
            assert!(!admits(&["https"], &format!("http://{host}")), "{host}");
            assert!(admits(&["https", "http"], &format!("http://{host}")), "{host}");
        }
        assert!(!admits(&["https"], "https://b.example") && !admits(&["https"], "https://shops.example"));
    }

    #[test]
    fn the_entry_of_an_origin_is_the_text_of_the_list() {
        let list =
            OriginAllowList::parse("https://api.example, https://*.shops.example, http://*.shops.example:8080", &[]);
        for (url, entry) in [
            ("https://api.example/a", Some("https://api.example")),
            ("https://secret.shops.example/", Some("https://*.shops.example")),
            ("https://a.secret.shops.example/", Some("https://*.shops.example")),
            ("http://secret.shops.example:8080/", Some("http://*.shops.example:8080")),
            ("http://secret.shops.example/", None),
            ("https://other.example/", None),
        ] {
            assert_eq!(list.entry(&Origin::split(url).unwrap().0).as_deref(), entry, "{url}");
        }
    }

    #[test]
    fn a_wildcard_admits_no_ip_address() {
        let list =
            OriginAllowList::parse("https://*.0.1,https://*.0.0x1,https://127.0.0.1,https://*.1.example", &["https"]);
        for (url, admitted) in [
            ("https://127.0.0.1", true),
            ("https://10.0.0.1", false),
            ("https://10.0.0.1:443", false),
            ("https://127.0.0x1", false),
            ("https://a.1.example", true),
        ] {
            assert_eq!(list.admits(&Origin::split(url).unwrap().0), admitted, "{url}");
        }
    }

    proptest! {
        #[test]
        fn an_origin_splits_to_itself(url in "https?://[a-zA-Z0-9.-]{1,20}(:[1-9][0-9]{0,3})?(/[a-z/@:]{0,10})?") {
            let (origin, after) = Origin::split(&url).unwrap();
            let (again, nothing) = Origin::split(origin.as_str()).unwrap();
            prop_assert_eq!(&again, &origin);
            prop_assert_eq!(nothing, "");
            prop_assert!(url.ends_with(after));
        }
    }
}
