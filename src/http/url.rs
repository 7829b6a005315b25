//! URLs as the runtime's parser reads them.

#[cfg(feature = "cache")]
use http_cache::{cached_url::CachedUrl, error::CacheError};
#[cfg(feature = "cache")]
use http_semantics::origin::OriginAllowList;
use worker::web_sys;

/// Returns the URL as the runtime's parser writes it; `None` if the parser rejects it.
pub(crate) fn href(url: &str, base: Option<&str>) -> Option<String> {
    let parsed = match base {
        Some(base) => web_sys::Url::new_with_base(url, base),
        None => web_sys::Url::new(url),
    };
    parsed.ok().map(|url| url.href())
}

/// Returns a URL that the cache may fetch.
#[cfg(feature = "cache")]
pub(crate) fn cached_url(url: &str, allowed: &OriginAllowList) -> Result<CachedUrl, CacheError> {
    // The runtime's parser does not change a URL in canonical form, so the call, which costs more,
    // is left out.
    match CachedUrl::of_href(url, allowed).ok().filter(|cached| cached.as_str() == url) {
        Some(cached) => Ok(cached),
        None => CachedUrl::of_href(&href(url, None).ok_or(CacheError::NotAUrl)?, allowed),
    }
}
