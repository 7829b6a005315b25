//! Why the cache responds with an error, and with which status and `code`.

use http_semantics::error_response::{BAD_GATEWAY, ErrorResponse, HttpError};
use http_semantics::one_of_each;
use http_semantics::origin::OriginError;
use http_semantics::request_target::BadPercentEncoding;
use http_semantics::status::Status;

/// The longest URL that is fetched, in bytes. RFC 9110 §4.1 recommends support for at least 8000.
pub const URL_BYTES_MAX: usize = 8192;

/// Why the cache responds with an error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CacheError {
    /// The query has no `url` parameter.
    #[error("Please provide a url query parameter")]
    MissingUrl,
    /// Broken percent-encoding in the `url` parameter.
    #[error(transparent)]
    Encoding(#[from] BadPercentEncoding),
    /// The text is not an absolute URL.
    #[error("This is not an absolute URL; use /cache/https://host/path or /cache?url=https://host/path.")]
    NotAUrl,
    /// The URL has a scheme, user information or a host that the cache does not fetch.
    #[error("The URL cannot be fetched: {0}; use /cache/https://host/path or /cache?url=https://host/path.")]
    Unusable(#[from] OriginError),
    /// The URL is longer than [`URL_BYTES_MAX`] (RFC 9110 §15.5.15).
    #[error("The URL has more than {URL_BYTES_MAX} bytes.")]
    UrlTooLong,
    /// The URL's origin is not on `CACHE_UPSTREAMS`.
    #[error("The origin {0} is not on the list CACHE_UPSTREAMS.")]
    NotAllowed(String),
    /// `CDN-Loop` shows that this request has passed through kv-edge before (RFC 8586 §2).
    #[error("The request has passed through kv-edge before: the upstream sends it back.")]
    Loop,
    /// A `GET` or `HEAD` with a body. The body could change the response but is not part of the
    /// cache key (RFC 9110 §9.3.1).
    #[error("A GET or HEAD with a body is not passed on.")]
    UnexpectedBody,
    /// The upstream redirects to a URL that the client could not have asked for, or too many
    /// times.
    #[error("The upstream redirects to a URL that the cache may not fetch, or too many times.")]
    Redirect,
    /// The upstream did not respond, or its response broke off. The text is for the log only.
    #[error("the upstream failed: {0}")]
    Upstream(String),
    /// The page is longer than [`PAGE_BYTES_MAX`](crate::page_view::PAGE_BYTES_MAX).
    #[error("The upstream's page is longer than 8 MiB.")]
    TooLong,
    /// The page has a content coding that is not supported, or more than three codings
    /// ([`PageCoding`](crate::page_view::PageCoding)).
    #[error(
        "The upstream's page has an unsupported content coding; gzip, deflate, br and zstd are supported, up to three."
    )]
    ContentCoding,
    /// The upstream did not respond within `UPSTREAM_TIMEOUT_MS`.
    #[error("The upstream did not respond in time.")]
    Timeout,
    /// The upstream failed repeatedly, and its circuit is open.
    #[error("The upstream keeps failing, so its circuit is open.")]
    CircuitOpen {
        /// Seconds until the next attempt; at least 1.
        retry_after_seconds: u64,
    },
    /// The request says `only-if-cached`, and no stored response may be used (RFC 9111
    /// §5.2.1.7).
    #[error("The request says only-if-cached, and no stored response may be used.")]
    NotCached,
}

impl HttpError for CacheError {
    fn response(&self) -> ErrorResponse {
        let error_response = |status, code| ErrorResponse::new(status, code, self.to_string());
        match self {
            Self::MissingUrl => error_response(Status::BadRequest, "missing_url"),
            Self::Encoding(error) => error.response(),
            Self::NotAUrl | Self::Unusable(_) => error_response(Status::BadRequest, "invalid_url"),
            Self::UrlTooLong => error_response(Status::UriTooLong, "url_too_long"),
            Self::NotAllowed(_) => error_response(Status::Forbidden, "upstream_not_allowed"),
            Self::Loop => error_response(Status::LoopDetected, "loop_detected"),
            Self::UnexpectedBody => error_response(Status::BadRequest, "unexpected_body"),
            Self::Redirect => error_response(Status::BadGateway, "upstream_redirect"),
            Self::Upstream(cause) => {
                ErrorResponse::new(Status::BadGateway, "upstream_failed", BAD_GATEWAY).because(cause)
            }
            Self::TooLong => error_response(Status::BadGateway, "upstream_failed"),
            Self::ContentCoding => error_response(Status::BadGateway, "unreadable_page"),
            Self::Timeout => error_response(Status::GatewayTimeout, "upstream_timeout"),
            Self::CircuitOpen { retry_after_seconds } => {
                let error_response = ErrorResponse::new(Status::BadGateway, "circuit_open", BAD_GATEWAY);
                error_response.because(self).retry_after(*retry_after_seconds)
            }
            Self::NotCached => error_response(Status::GatewayTimeout, "not_cached"),
        }
    }

    fn examples() -> Vec<(Self, &'static str)> {
        one_of_each! {
            Self::MissingUrl => Self::MissingUrl, "The request to `/cache` names no page.";
            Self::Encoding(_) => Self::Encoding(BadPercentEncoding), "The parameter `url` cannot be decoded.";
            Self::NotAUrl => Self::NotAUrl, "The URL for `/cache` is not absolute.";
            Self::Unusable(_) => Self::Unusable(OriginError::Scheme),
                "The cache does not fetch this URL; the sentence says why.";
            Self::UrlTooLong => Self::UrlTooLong, "The URL for `/cache` is too long.";
            Self::NotAllowed(_) => Self::NotAllowed("https://other.example".to_owned()),
                "The var `CACHE_UPSTREAMS` does not list the origin of the URL. Add it there to have it cached.";
            Self::Loop => Self::Loop, "`CDN-Loop` shows that the upstream sends the request back to kv-edge.";
            Self::UnexpectedBody => Self::UnexpectedBody, "A `GET` or `HEAD` has a body, which is not part of the cache key.";
            Self::Redirect => Self::Redirect,
                "The upstream of a page redirects to an origin that the var `CACHE_UPSTREAMS` does not list, or more than 5 times.";
            Self::Upstream(_) => Self::Upstream("Network connection lost.".to_owned()),
                "The upstream cannot be reached, or its response broke off or is not valid HTTP. The log says what happened.";
            Self::TooLong => Self::TooLong, "The upstream's page is too large to be turned into JSON.";
            Self::ContentCoding => Self::ContentCoding, "The upstream's page is compressed in a way that is not supported.";
            Self::Timeout => Self::Timeout, "The upstream took longer than the var `UPSTREAM_TIMEOUT_MS` says.";
            Self::CircuitOpen { .. } => Self::CircuitOpen { retry_after_seconds: 30 },
                "The upstream failed repeatedly. No request is sent to it until `Retry-After` has passed.";
            Self::NotCached => Self::NotCached, "The request says `only-if-cached`, and no stored response may be used.";
        }
    }
}
