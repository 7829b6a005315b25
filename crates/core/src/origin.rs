//! Origins (RFC 6454 §4) and the lists of those that kv-edge may fetch from. What is on no list is refused: kv-edge is never
//! an open proxy.

use std::net::Ipv6Addr;

/// Scheme, host and port of a URL in their canonical form: lower case, without the scheme's default port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

/// A string is no http(s) URL that kv-edge fetches from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// No `http://` or `https://` at the start.
    #[error("it does not start with http:// or https://")]
    Scheme,
    /// A user name or password before the host. Credentials are never sent to where a record or a query says.
    #[error("it has a user name or password")]
    UserInfo,
    /// The host or port is missing or has characters that no host has.
    #[error("its host or port is not valid")]
    Authority,
}

impl Origin {
    /// Takes the origin off an absolute http(s) URL; the second part is what follows it: path, query and fragment.
    ///
    /// The grammar is narrower than the URL Standard's: ASCII host names (an internationalised name in its `xn--` form),
    /// IPv4 and bracketed IPv6, decimal port. So no string can name one host here and another one in the platform's parser.
    ///
    /// # Errors
    /// [`OriginError`] says which part is wrong.
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

    /// The origin as text, without a slash at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True for `https`.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.0.starts_with("https://")
    }
}

/// The origins that a var lists, comma-separated: exact ones such as `https://api.example.com:8443`, or every subdomain of a
/// host as `https://*.shops.example` (which does not name `https://shops.example` itself).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowList {
    exact: Vec<Origin>,
    /// (`https://`, `.shops.example`)
    subdomains: Vec<(String, String)>,
}

impl AllowList {
    /// Reads the list. An entry that is no origin admits nothing.
    #[must_use]
    pub fn parse(list: &str) -> Self {
        let mut parsed = Self::default();
        for entry in list.split(',').map(str::trim) {
            match entry.split_once("://*.") {
                Some((scheme, suffix)) => {
                    if let Ok((Origin(base), "" | "/")) = Origin::split(&format!("{scheme}://{suffix}"))
                        && let Some((scheme, host)) = base.split_once("://")
                    {
                        parsed.subdomains.push((format!("{scheme}://"), format!(".{host}")));
                    }
                }
                None => {
                    if let Ok((origin, "" | "/")) = Origin::split(entry) {
                        parsed.exact.push(origin);
                    }
                }
            }
        }
        parsed
    }

    /// True where the list names this origin. Scheme and port count.
    #[must_use]
    pub fn admits(&self, origin: &Origin) -> bool {
        self.exact.contains(origin)
            || self.subdomains.iter().any(|(scheme, suffix)| {
                origin
                    .0
                    .strip_prefix(scheme.as_str())
                    .and_then(|host| host.strip_suffix(suffix.as_str()))
                    .is_some_and(|subdomain| !subdomain.is_empty())
            })
    }
}

fn strip_prefix_ignore_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn ipv6(host: &str) -> Option<Ipv6Addr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// Lower case, and the short form of an IPv6 address (RFC 5952), as the platform's parser writes them.
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
    fn what_could_be_read_in_two_ways_is_no_origin() {
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
        let list = AllowList::parse(
            "https://example.com, http://localhost:8788/ ,https://*.shops.example,nonsense,https://a/b",
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
        assert!(!AllowList::parse("").admits(&Origin::split("https://example.com").unwrap().0));
        assert!(!AllowList::parse("*").admits(&Origin::split("https://example.com").unwrap().0));
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
