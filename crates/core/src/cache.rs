//! The documented cache: a page fetched once, kept as JSON for a minute (KV documentation, "Cache data with Workers KV").

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::limits::{EXPIRATION_TTL_MIN_SECONDS, KEY_BYTES_MAX, Key};
use crate::origin::{AllowList, Origin, OriginError};
use crate::record;
use crate::request_target::BadPercentEncoding;

/// How long KV keeps a page, in seconds.
pub const EXPIRATION_TTL_SECONDS: u32 = 60;
const _: () = assert!(EXPIRATION_TTL_SECONDS >= EXPIRATION_TTL_MIN_SECONDS);

/// The longest page that is read, in bytes.
pub const PAGE_BYTES_MAX: u32 = 8 * 1024 * 1024;

/// How many redirects are followed for one page.
pub const REDIRECTS_MAX: u32 = 5;

/// Why a page is not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CacheError {
    /// The query has no `url`.
    #[error("Please provide a url query parameter")]
    MissingUrl,
    /// Broken percent-encoding in the `url` parameter.
    #[error(transparent)]
    Encoding(#[from] BadPercentEncoding),
    /// The `url` parameter is no URL.
    #[error("The url parameter is not an absolute URL.")]
    NotAUrl,
    /// The URL is not one that kv-edge fetches.
    #[error("The url parameter cannot be fetched: {0}.")]
    Unusable(#[from] OriginError),
    /// The URL's origin is not on `CACHE_UPSTREAMS`.
    #[error("The origin {0} is not on the list CACHE_UPSTREAMS.")]
    NotAllowed(String),
    /// The upstream redirects to a URL that the client could not have asked for, or too often.
    #[error("The upstream redirects to where kv-edge does not follow.")]
    Redirect,
    /// The upstream did not answer, or its answer broke off. The text is for the log.
    #[error("the upstream failed: {0}")]
    Upstream(String),
    /// The page is longer than [`PAGE_BYTES_MAX`], or has more elements than are worth reading.
    #[error("The upstream's page is longer than 8 MiB, or has too many elements.")]
    TooLong,
    /// The upstream did not answer within `UPSTREAM_TIMEOUT_MS`.
    #[error("The upstream did not answer in time.")]
    Timeout,
}

/// [`PageUrl::key`] always keeps the limits; this stands where the compiler cannot know it.
const NEVER_USED: Key<'static> = Key::literal("page:");

/// A URL that may be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageUrl<'a>(&'a str);

impl<'a> PageUrl<'a> {
    /// Checks a URL in the form that the platform's parser gave it (`URL.href`), so that nothing can mean one host here and
    /// another one there. The fragment is dropped: it never reaches an upstream.
    ///
    /// # Errors
    /// [`CacheError::Unusable`] and [`CacheError::NotAllowed`].
    pub fn new(href: &'a str, allowed: &AllowList) -> Result<Self, CacheError> {
        let url = href.split_once('#').map_or(href, |(url, _)| url);
        let (origin, _) = Origin::split(url)?;
        if allowed.admits(&origin) { Ok(Self(url)) } else { Err(CacheError::NotAllowed(origin.as_str().to_owned())) }
    }

    /// The URL as text.
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        self.0
    }

    /// The page's key in `CACHE_KV`: one for each URL. A URL too long for a key stands as its SHA-256; no URL looks like one.
    #[must_use]
    pub fn key(&self) -> Key<'static> {
        let plain = format!("page:{}", self.0);
        let key = if plain.len() <= KEY_BYTES_MAX {
            plain
        } else {
            format!("page:sha256:{:x}", Sha256::digest(self.0.as_bytes()))
        };
        Key::new(key).unwrap_or(NEVER_USED)
    }
}

/// What is kept of a page, under the documented names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page<'a> {
    /// The text of `<title>`.
    #[serde(borrow)]
    pub title: Cow<'a, str>,
    /// The text of `<body>`.
    #[serde(borrow)]
    pub content: Cow<'a, str>,
    /// When the page was fetched, ISO 8601.
    #[serde(borrow)]
    pub last_updated: Cow<'a, str>,
}

impl Page<'static> {
    /// A page from the raw text of its title and its body, with the documented words where it has none. Character references
    /// that end in `;` are decoded; a browser also forgives some that do not. Runs of white space become one space, the
    /// no-break space included, as in the documented example.
    #[must_use]
    pub fn from_text(title: Option<&str>, content: Option<&str>, last_updated: String) -> Self {
        let text = |raw: Option<&str>, none: &'static str| {
            raw.map_or(Cow::Borrowed(none), |raw| collapse_white_space(&html_escape::decode_html_entities(raw)).into())
        };
        Self {
            title: text(title, "No title found"),
            content: text(content, "No content found"),
            last_updated: last_updated.into(),
        }
    }
}

fn collapse_white_space(text: &str) -> String {
    let mut collapsed = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !collapsed.is_empty() {
            collapsed.push(' ');
        }
        collapsed.push_str(word);
    }
    collapsed
}

/// The answer from a record in `CACHE_KV`; `None` where the record is broken, which is a miss.
#[must_use]
pub fn answer_from_record(record: &[u8]) -> Option<Vec<u8>> {
    record::parse::<Page<'_>>(record).is_ok().then(|| [&b"{\"data\":"[..], record, b",\"fromCache\":true}"].concat())
}

/// The documented answer around the JSON of a page that was fetched just now.
#[must_use]
pub fn answer_from_upstream(page: &str) -> String {
    ["{\"data\":", page, ",\"fromCache\":false}"].concat()
}

/// True for a status that sends the client elsewhere, where a `Location` says so (RFC 9110 §15.4).
#[must_use]
pub fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// True for a status whose page is kept: 2xx only.
#[must_use]
pub fn is_stored(status: u16) -> bool {
    (200..=299).contains(&status)
}

/// `Cache-Status` of a page that was fetched (RFC 9211 §2).
#[must_use]
pub fn cache_status(status: u16) -> String {
    let stored = if is_stored(status) { "; stored" } else { "" };
    format!("kv-edge; fwd=uri-miss; fwd-status={status}{stored}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_http_urls_are_fetched() {
        let allowed = AllowList::parse("https://example.com", &[]);
        assert_eq!(PageUrl::new("https://example.com/a?b#c", &allowed).unwrap().as_str(), "https://example.com/a?b");
        for (href, error) in [
            ("https://evil.example/", CacheError::NotAllowed("https://evil.example".into())),
            ("http://example.com/", CacheError::NotAllowed("http://example.com".into())),
            ("https://example.com:8443/", CacheError::NotAllowed("https://example.com:8443".into())),
            ("ftp://example.com/", CacheError::Unusable(OriginError::Scheme)),
            ("javascript:alert(1)", CacheError::Unusable(OriginError::Scheme)),
            ("https://u:p@example.com/", CacheError::Unusable(OriginError::UserInfo)),
        ] {
            assert_eq!(PageUrl::new(href, &allowed), Err(error), "{href}");
        }
    }

    #[test]
    fn one_key_for_each_url_within_512_bytes() {
        let allowed = AllowList::parse("https://example.com", &[]);
        let key = |href: &str| PageUrl::new(href, &allowed).unwrap().key().as_str().to_owned();
        assert_eq!(key("https://example.com/a#b"), "page:https://example.com/a");
        let longest = format!("https://example.com/{}", "a".repeat(512 - 5 - 20));
        assert_eq!(key(&longest), format!("page:{longest}"));
        let long = format!("{longest}a");
        assert_eq!(key(&long), "page:sha256:b3b4626db57567191e5d46fcec781795f6e2c15953f057a487cce7edd95310ea");
        assert_ne!(key(&long), key(&format!("{long}b")));
    }

    #[test]
    fn a_record_is_answered_as_it_stands_and_a_broken_one_is_a_miss() {
        let record = r#"{"title":"A \"b\"","content":"c","lastUpdated":"2026-01-01T00:00:00.000Z"}"#;
        let answer = answer_from_record(record.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(answer).unwrap(), format!(r#"{{"data":{record},"fromCache":true}}"#));
        assert_eq!(answer_from_upstream(record), format!(r#"{{"data":{record},"fromCache":false}}"#));
        assert_eq!(answer_from_record(b"{\"title\":\"\xff\",\"content\":\"\",\"lastUpdated\":\"\"}"), None);
        for broken in ["", "{", "null", "[]", "{}", r#"{"title":1,"content":"","lastUpdated":""}"#] {
            assert_eq!(answer_from_record(broken.as_bytes()), None, "{broken}");
        }
    }

    #[test]
    fn references_are_decoded_and_white_space_collapses() {
        for (raw, text) in [
            ("\n  A\n  title &amp; more\n ", "A title & more"),
            ("Hello World  ! &nbsp; &lt;b&gt; &#x20AC;&#8364; &eacute;", "Hello World ! <b> €€ é"),
            ("&amp;lt; &unknown; & &#0;", "&lt; &unknown; & &#0;"),
            (" \t\n", ""),
        ] {
            let page = Page::from_text(Some(raw), Some(raw), "now".to_owned());
            assert_eq!((page.title.as_ref(), page.content.as_ref()), (text, text), "{raw}");
        }
        let empty = Page::from_text(None, None, "now".to_owned());
        assert_eq!((empty.title.as_ref(), empty.content.as_ref()), ("No title found", "No content found"));
    }

    #[test]
    fn a_redirect_is_one_of_five_statuses() {
        let redirects: Vec<u16> = (100..600).filter(|status| is_redirect(*status)).collect();
        assert_eq!(redirects, [301, 302, 303, 307, 308]);
    }

    #[test]
    fn only_a_2xx_is_stored() {
        for (status, stored) in
            [(199, false), (200, true), (204, true), (299, true), (301, false), (404, false), (500, false)]
        {
            assert_eq!(is_stored(status), stored, "{status}");
        }
        assert_eq!(cache_status(200), "kv-edge; fwd=uri-miss; fwd-status=200; stored");
        assert_eq!(cache_status(404), "kv-edge; fwd=uri-miss; fwd-status=404");
    }
}
