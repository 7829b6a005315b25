//! Which storefront a request is for. Its host names the storefront, or else its path does.

use std::borrow::Cow;
use std::net::IpAddr;

use percent_encoding::{CONTROLS, utf8_percent_encode};

use super::TenantError;
use http_semantics::request_target::{RequestTarget, host_of, percent_decode};
use kv_store::limits::Key;

/// The prefix of the key of a custom domain's record; the host follows:
/// `domain:www.example.com`.
pub const DOMAIN_KEY: &str = "domain:";

/// The storefront that a request addresses, and the path below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorefrontAddress<'a> {
    /// The key of the storefront's record in `ROUTING_CONFIG`.
    pub key: Key<'a>,
    /// The path of the storefront itself, byte for byte: `/stores/{id}`, or empty if the host
    /// names it.
    pub prefix: &'a str,
    /// The path below the storefront, byte for byte: empty, or starting with `/`.
    pub rest: &'a str,
}

/// Which hosts name storefronts: the vars `TENANT_DOMAIN` and `PLATFORM_HOSTS`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts {
    /// `TENANT_DOMAIN` after a dot: `.shops.example.com`. Without it, no host names a
    /// storefront.
    suffix: Option<String>,
    platform_hosts: Vec<String>,
}

/// What a host names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostMatch<'a> {
    /// kv-edge itself: its own routes serve the request, `/stores/{id}` among them.
    Platform,
    /// A storefront, whatever the path.
    Storefront(Key<'a>),
    /// Nothing: the host is below `TENANT_DOMAIN`, but is not one label, or is too long.
    Unknown,
}

impl Hosts {
    /// Parses the vars: a domain such as `shops.example.com`, and further hosts of kv-edge
    /// itself, separated by commas.
    ///
    /// [`match_host`](Self::match_host) has an example.
    #[must_use]
    pub fn parse(tenant_domain: &str, platform_hosts: &str) -> Self {
        let domain = host_of(tenant_domain.trim().trim_start_matches("*."));
        let platform_hosts = platform_hosts.split(',').map(|host| host_of(host.trim())).filter(|host| !host.is_empty());
        Self { suffix: (!domain.is_empty()).then(|| format!(".{domain}")), platform_hosts: platform_hosts.collect() }
    }

    /// Returns true if hosts name storefronts, so that one path means something else at another
    /// host.
    #[must_use]
    pub fn name_storefronts(&self) -> bool {
        self.suffix.is_some()
    }

    /// Returns what the host of a request names (RFC 9110 §7.2). Its port and a trailing dot do
    /// not count.
    ///
    /// If `TENANT_DOMAIN` is set, every host names a storefront except those of kv-edge itself
    /// (that domain, `*.workers.dev`, `localhost`, IP addresses, and `PLATFORM_HOSTS`), and except
    /// those below that domain by more than one label, which name nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use kv_store::limits::Key;
    /// use tenant_router::storefront_address::{HostMatch, Hosts};
    ///
    /// let hosts = Hosts::parse("shops.example", "admin.example");
    /// let storefront = |key| HostMatch::Storefront(Key::literal(key));
    /// assert_eq!(hosts.match_host("tea.shops.example"), storefront("tea"));
    /// assert_eq!(hosts.match_host("www.tea.example:443"), storefront("domain:www.tea.example"));
    /// assert_eq!(hosts.match_host("admin.example"), HostMatch::Platform);
    /// assert_eq!(hosts.match_host("green.tea.shops.example"), HostMatch::Unknown);
    /// ```
    #[must_use]
    pub fn match_host(&self, authority: &str) -> HostMatch<'static> {
        let Some(suffix) = &self.suffix else { return HostMatch::Platform };
        let host = host_of(authority);
        if let Some(label) = host.strip_suffix(suffix.as_str()) {
            let is_label = !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            return if is_label { storefront(label.to_owned()) } else { HostMatch::Unknown };
        }
        let is_own = suffix.strip_prefix('.') == Some(host.as_str())
            || host.is_empty()
            || host == "localhost"
            || host.ends_with(".workers.dev")
            || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
            || self.platform_hosts.contains(&host);
        if is_own { HostMatch::Platform } else { storefront(format!("{DOMAIN_KEY}{host}")) }
    }
}

/// Returns the match for a key. One that is too long for KV is `Unknown`: no real host is, with at
/// most 253 bytes (RFC 1035 §2.3.4).
fn storefront(key: String) -> HostMatch<'static> {
    Key::new(key).map_or(HostMatch::Unknown, HostMatch::Storefront)
}

impl<'a> StorefrontAddress<'a> {
    /// Returns the address of a request: the storefront that its host names, or the one in its
    /// path, `/stores/{id}`.
    ///
    /// # Errors
    /// [`TenantError`] if the host names nothing, the path has no id, or the id is encoded
    /// wrongly, is no key of Workers KV, or is the key of a custom domain.
    ///
    /// # Examples
    ///
    /// ```
    /// use http_semantics::request_target::RequestTarget;
    /// use tenant_router::storefront_address::{Hosts, StorefrontAddress};
    ///
    /// // TENANT_DOMAIN: the host names the storefront, so the whole path is below it.
    /// let hosts = Hosts::parse("shops.example", "");
    /// let target = RequestTarget::parse("https://tea.shops.example/cart");
    /// let host = hosts.match_host(target.authority);
    /// let address = StorefrontAddress::of(&host, &target)?;
    /// assert_eq!((address.key.as_str(), address.prefix, address.rest), ("tea", "", "/cart"));
    ///
    /// // The domain itself is a host of kv-edge: the path names the storefront.
    /// let target = RequestTarget::parse("https://shops.example/stores/tea/cart");
    /// let host = hosts.match_host(target.authority);
    /// let address = StorefrontAddress::of(&host, &target)?;
    /// assert_eq!((address.key.as_str(), address.prefix), ("tea", "/stores/tea"));
    /// # Ok::<(), tenant_router::TenantError>(())
    /// ```
    pub fn of(host: &HostMatch<'a>, target: &'a RequestTarget<'_>) -> Result<Self, TenantError> {
        match host {
            HostMatch::Platform => Self::by_path(&target.path),
            HostMatch::Storefront(key) => Ok(Self { key: key.clone(), prefix: "", rest: &target.path }),
            HostMatch::Unknown => Err(TenantError::NotFound(target.host())),
        }
    }

    /// Returns the error for a storefront without a record.
    #[must_use]
    pub fn not_found(&self) -> TenantError {
        let key = self.key.as_str();
        let name = key.strip_prefix(DOMAIN_KEY).unwrap_or(key);
        // The message must be text, whatever the id contains.
        TenantError::NotFound(name.replace(char::is_control, "\u{fffd}"))
    }

    pub(super) fn by_path(path: &'a str) -> Result<Self, TenantError> {
        let id_and_rest = path.strip_prefix("/stores/").ok_or(TenantError::MissingId)?;
        let id_ends = id_and_rest.find('/').unwrap_or(id_and_rest.len());
        let (prefix, rest) = path.split_at(path.len() - id_and_rest.len() + id_ends);
        let (id, _) = id_and_rest.split_at(id_ends);
        if id.is_empty() {
            return Err(TenantError::MissingId);
        }
        let key = Key::new(percent_decode(id)?)?;
        if key.as_str().starts_with(DOMAIN_KEY) {
            return Err(TenantError::NotFound(key.as_str().to_owned()));
        }
        Ok(Self { key, prefix, rest })
    }

    /// Checks the parts of the request that are forwarded to an upstream byte for byte.
    ///
    /// # Errors
    /// [`TenantError::Whitespace`] if there is a character that a URL parser would drop or encode,
    /// and [`TenantError::Host`] if the host is invalid. Both would make the upstream read another
    /// request than kv-edge did.
    ///
    /// # Examples
    ///
    /// ```
    /// use http_semantics::request_target::RequestTarget;
    /// use tenant_router::TenantError;
    /// use tenant_router::storefront_address::{HostMatch, StorefrontAddress};
    ///
    /// // A URL parser would drop the tab: `/admin` is what the upstream would read.
    /// let target = RequestTarget::parse("https://edge.example/stores/tea/ad\tmin");
    /// let address = StorefrontAddress::of(&HostMatch::Platform, &target)?;
    /// assert_eq!(address.check(&target), Err(TenantError::Whitespace));
    /// # Ok::<(), TenantError>(())
    /// ```
    pub fn check(&self, target: &RequestTarget<'_>) -> Result<(), TenantError> {
        let is_changed_by_parser = |byte: u8| byte <= b' ' || byte == 0x7f;
        let passed_on = [self.prefix, self.rest, target.query.unwrap_or_default()];
        if passed_on.iter().any(|part| part.bytes().any(is_changed_by_parser)) {
            return Err(TenantError::Whitespace);
        }
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        if target.authority.bytes().all(is_host) { Ok(()) } else { Err(TenantError::Host) }
    }
}

/// Returns the id of a storefront for a header field, without [`DOMAIN_KEY`]. Percent-encodes `%`
/// and everything that is not visible ASCII.
///
/// # Examples
///
/// ```
/// use tenant_router::storefront_address::id_field;
///
/// assert_eq!(id_field("domain:www.tea.example"), "www.tea.example");
/// assert_eq!(id_field("thé"), "th%C3%A9");
/// ```
#[must_use]
pub fn id_field(key: &str) -> Cow<'_, str> {
    const NOT_VISIBLE: &percent_encoding::AsciiSet = &CONTROLS.add(b' ').add(b'%');
    utf8_percent_encode(key.strip_prefix(DOMAIN_KEY).unwrap_or(key), NOT_VISIBLE).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_semantics::request_target::BadPercentEncoding;
    use kv_store::limits::KeyError;

    #[test]
    fn the_first_segment_is_the_storefront_decoded_once() {
        for (path, id, prefix, rest) in [
            ("/stores/a", "a", "/stores/a", ""),
            ("/stores/a/", "a", "/stores/a", "/"),
            ("/stores/a%20b/c", "a b", "/stores/a%20b", "/c"),
            ("/stores/a%252Fb", "a%2Fb", "/stores/a%252Fb", ""),
            ("/stores/a%2Fb//c", "a/b", "/stores/a%2Fb", "//c"),
        ] {
            let address = StorefrontAddress::by_path(path).unwrap();
            assert_eq!((address.key.as_str(), address.prefix, address.rest), (id, prefix, rest), "{path}");
        }
        for path in ["/stores", "/stores/", "/stores//a"] {
            assert_eq!(StorefrontAddress::by_path(path), Err(TenantError::MissingId), "{path}");
        }
        assert_eq!(StorefrontAddress::by_path("/stores/%"), Err(TenantError::Encoding(BadPercentEncoding)));
        assert_eq!(StorefrontAddress::by_path("/stores/%2e%2e/x"), Err(TenantError::Key(KeyError::Dots)));
        for path in ["/stores/domain:a.example/", "/stores/domain%3Aa.example"] {
            assert_eq!(
                StorefrontAddress::by_path(path),
                Err(TenantError::NotFound("domain:a.example".into())),
                "{path}"
            );
        }
    }

    #[test]
    fn a_host_names_a_storefront_of_the_tenant_domain_or_by_its_own_key() {
        let hosts = Hosts::parse("Shops.Example.com.", "www.example.com, Edge.example:8443");
        for (authority, key) in [
            ("tea.shops.example.com", "tea"),
            ("TEA.Shops.Example.COM:8443", "tea"),
            ("tea-2.shops.example.com.", "tea-2"),
            ("www.tea.example", "domain:www.tea.example"),
            ("WWW.Tea.example.:80", "domain:www.tea.example"),
            ("evilshops.example.com", "domain:evilshops.example.com"),
        ] {
            assert_eq!(hosts.match_host(authority), HostMatch::Storefront(Key::new(key).unwrap()), "{authority}");
        }
        assert!(hosts.name_storefronts());
        for authority in
            ["a.b.shops.example.com", ".shops.example.com", "a_b.shops.example.com", "a%20.shops.example.com"]
        {
            assert_eq!(hosts.match_host(authority), HostMatch::Unknown, "{authority}");
        }
        for authority in [
            "shops.example.com",
            "SHOPS.example.com.:80",
            "www.example.com",
            "edge.example",
            "kv-edge.me.workers.dev",
            "localhost:8787",
            "127.0.0.1:8787",
            "[::1]:8787",
            "[::1]",
            "",
        ] {
            assert_eq!(hosts.match_host(authority), HostMatch::Platform, "{authority}");
        }
    }

    #[test]
    fn without_a_tenant_domain_no_host_names_a_storefront() {
        let hosts = Hosts::parse(" ", "");
        assert!(!hosts.name_storefronts());
        assert_eq!(hosts.match_host("tea.shops.example.com"), HostMatch::Platform);
    }

    #[test]
    fn the_id_is_safe_in_a_header_field() {
        for (key, field) in [
            ("storefrontA", "storefrontA"),
            ("a\nb", "a%0Ab"),
            ("€", "%E2%82%AC"),
            ("a%25", "a%2525"),
            ("domain:a.example", "a.example"),
        ] {
            assert_eq!(id_field(key), field);
        }
    }

    #[test]
    fn characters_that_a_url_parser_drops_or_encodes_are_refused() {
        for url in
            ["http://h/stores/a/\n", "http://h/stores/a/x?a b", "http://h/stores/a/\u{7f}", "http://h/stores/a/ x"]
        {
            let target = RequestTarget::parse(url);
            let address = StorefrontAddress::by_path(&target.path).unwrap();
            assert_eq!(address.check(&target), Err(TenantError::Whitespace), "{url:?}");
        }
        for host in ["a\"b", "a;b", "a b", "u@h", "é"] {
            let url = format!("http://{host}/stores/a/");
            let target = RequestTarget::parse(&url);
            let address = StorefrontAddress::by_path(&target.path).unwrap();
            assert_eq!(address.check(&target), Err(TenantError::Host), "{url}");
        }
    }
}
