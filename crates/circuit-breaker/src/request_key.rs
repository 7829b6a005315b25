//! What circuits tell requests apart by: the visitor, the method and the URL.

use std::net::{IpAddr, Ipv6Addr};

use sha2::{Digest, Sha256};

/// A visitor and their request, as hashes. Hashes are short, and finding a URL with the hash of
/// another takes about 2^64 tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestKey {
    /// The hash of the visitor's address or network.
    pub(super) client: u64,
    /// The hash of method and URL. It includes the query, because a path that fails for one query
    /// may work for another.
    pub(super) method_and_url: u64,
    /// The hash of method and URL without the query. Anybody can invent queries, so
    /// failures are counted per path whatever the query.
    pub(super) method_and_url_without_query: u64,
}

impl RequestKey {
    /// Returns the key of a request. `client` is the address in `CF-Connecting-IP`; all unknown
    /// clients are one. An IPv6 address counts as its /48, because one visitor easily gets that
    /// many addresses.
    ///
    /// # Examples
    ///
    /// ```
    /// use circuit_breaker::{RequestKey, client_address};
    ///
    /// let key = |url, ip| RequestKey::new("GET", url, client_address(Some(ip)));
    /// let url = "https://shop.example/tea";
    /// assert_ne!(key(url, "192.0.2.1"), key(url, "192.0.2.2"));
    /// assert_eq!(key(url, "2001:db8:0:1::7"), key(url, "2001:db8:0:2::9"), "one /48");
    /// ```
    #[must_use]
    pub fn new(method: &str, url: &str, client: Option<IpAddr>) -> Self {
        let client = client.map(|ip| match ip.to_canonical() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 80 << 80).to_string(),
        });
        let url_without_query = url.split_once('?').map_or(url, |(before, _)| before);
        Self {
            client: hash(&[&client.unwrap_or_default()]),
            method_and_url: hash(&[method, url]),
            method_and_url_without_query: hash(&[method, url_without_query]),
        }
    }
}

/// Returns the address in `CF-Connecting-IP`. Cloudflare sets that field; on other platforms a
/// visitor can send any.
///
/// [`RequestKey::new`] has an example.
#[must_use]
pub fn client_address(field: Option<&str>) -> Option<IpAddr> {
    field.and_then(|address| address.trim().parse().ok())
}

/// Returns the first 64 bits of the SHA-256 of these strings.
fn hash(texts: &[&str]) -> u64 {
    let mut hasher = Sha256::new();
    for text in texts {
        hasher.update(text);
        // A separator that no string contains.
        hasher.update([0]);
    }
    let digest = hasher.finalize();
    digest.iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(ip: &str) -> u64 {
        RequestKey::new("GET", "https://a.example/", ip.parse().ok()).client
    }

    #[test]
    fn a_visitor_is_an_ipv4_address_or_an_ipv6_site() {
        for (one, other, is_same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("2001:db8:1:2::1", "2001:db8:1:ffff::2", true),
            ("2001:db8:1::1", "2001:db8:2::1", false),
            ("", "no address", true),
            ("", "192.0.2.1", false),
        ] {
            assert_eq!(client(one) == client(other), is_same, "{one} {other}");
        }
    }

    #[test]
    fn method_and_url_distinguish_requests() {
        let method_and_url = |method, url| RequestKey::new(method, url, None).method_and_url;
        let get = method_and_url("GET", "https://a.example/x");
        assert_eq!(get, method_and_url("GET", "https://a.example/x"));
        for (method, url) in [
            ("POST", "https://a.example/x"),
            ("GET", "https://a.example/x?"),
            ("GET", "https://a.example/X"),
            ("GEThttps://a.example/", "x"),
        ] {
            assert_ne!(get, method_and_url(method, url), "{method} {url}");
        }
    }

    #[test]
    fn requests_that_differ_in_the_query_alone_are_one_without_it() {
        let without_query = |method, url| RequestKey::new(method, url, None).method_and_url_without_query;
        let get = without_query("GET", "https://a.example/x");
        for (method, url, is_same) in [
            ("GET", "https://a.example/x?", true),
            ("GET", "https://a.example/x?a=1", true),
            ("GET", "https://a.example/x?a=1?b=2", true),
            ("GET", "https://a.example/x/?a=1", false),
            ("GET", "https://b.example/x?a=1", false),
            ("POST", "https://a.example/x?a=1", false),
        ] {
            assert_eq!(get == without_query(method, url), is_same, "{method} {url}");
        }
    }
}
