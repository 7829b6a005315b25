//! The address of an API, the token for it, and paths below it.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ureq::http::Uri;

use super::argument_names::ArgumentNames;

/// The path at which `wrangler dev` serves the API of its local KV.
const LOCAL_API_PATH: &str = "/cdn-cgi/explorer/api";
/// The characters that stay as they are in a path segment: the unreserved ones (RFC 3986 §2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The address of an API, without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiBase {
    pub(super) url: String,
    /// True if it is on this machine. Then no proxy is used, and a token may be sent over http.
    pub(super) is_loopback: bool,
}

/// What an address serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ApiService {
    /// The KV REST API, of Cloudflare or of a kv-edge.
    Kv,
    /// The KV REST API of `wrangler dev`.
    LocalKv,
    /// Cloudflare's GraphQL Analytics API.
    Analytics,
}

/// The address and the credentials of an API. `Debug` hides the token.
pub(super) struct ApiEndpoint {
    pub(super) base: ApiBase,
    pub(super) service: ApiService,
    /// What sentences call the arguments that select it.
    pub(super) names: &'static ArgumentNames,
    /// `/accounts/{id}`; empty for an API whose paths name no account.
    pub(super) account_path: String,
    pub(super) token: Option<ApiToken>,
}

/// A token, alone and in the value of `Authorization`.
pub(super) struct ApiToken {
    pub(super) token: String,
    /// `Bearer` and the token.
    pub(super) authorization: String,
}

impl ApiBase {
    /// Parses an http or https URL. The error is a sentence for the person who wrote it.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let url = url.trim_end_matches('/');
        let uri = url.parse::<Uri>().map_err(|error| format!("it is not a URL ({error}); write https://host/path"))?;
        let host = uri.host().unwrap_or_default();
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        if !is_http || host.is_empty() || uri.query().is_some() || url.contains('#') || has_user {
            return Err("write https://host/path, without user name, query or fragment".to_owned());
        }
        let port = uri.authority().and_then(|authority| authority.as_str().strip_prefix(host)?.strip_prefix(':'));
        if port.is_some_and(|port| !port.parse::<u16>().is_ok_and(|port| port > 0)) {
            return Err("its port is not valid; a port is a number from 1 to 65535".to_owned());
        }
        let is_loopback = host == "localhost"
            || host.ends_with(".localhost")
            || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        Ok(Self { url: url.to_owned(), is_loopback })
    }

    /// Parses the address of `wrangler dev`, with or without the path of its API.
    pub(super) fn parse_local(url: &str) -> Result<Self, String> {
        // `wrangler dev` speaks http, and people leave the scheme out, or write only the port.
        let url = match url {
            _ if url.contains("://") => url.to_owned(),
            port if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
                format!("http://localhost:{port}")
            }
            host => format!("http://{host}"),
        };
        let base = Self::parse(&url).map_err(|error| error.replace("https://host/path", "http://localhost:8787"))?;
        let url = if base.is_local() { base.url } else { base.url + LOCAL_API_PATH };
        Ok(Self { url, ..base })
    }

    /// Returns true for the API of `wrangler dev`, which has neither accounts nor tokens.
    pub(super) fn is_local(&self) -> bool {
        self.url.contains(LOCAL_API_PATH)
    }
}

impl ApiService {
    /// Returns the permission that a token needs, as the page for making tokens names it.
    pub(super) fn permission(self) -> &'static str {
        match self {
            Self::Kv | Self::LocalKv => "Workers KV Storage: Edit",
            Self::Analytics => "Account Analytics: Read",
        }
    }
}

impl ApiEndpoint {
    pub(super) fn base(&self) -> &str {
        &self.base.url
    }

    pub(super) fn service(&self) -> ApiService {
        self.service
    }

    pub(super) fn names(&self) -> &'static ArgumentNames {
        self.names
    }

    pub(super) fn is_local(&self) -> bool {
        self.service == ApiService::LocalKv
    }

    pub(super) fn is_loopback(&self) -> bool {
        self.base.is_loopback
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{}{path}", self.base.url, self.account_path)
    }

    pub(super) fn token(&self) -> Option<&str> {
        self.token.as_ref().map(|token| token.token.as_str())
    }

    pub(super) fn authorization(&self) -> Option<&str> {
        self.token.as_ref().map(|token| token.authorization.as_str())
    }
}

impl std::fmt::Debug for ApiEndpoint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ApiEndpoint").field("base", &self.base).finish_non_exhaustive()
    }
}

/// Percent-encodes a text as one path segment.
pub(super) fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}
