//! The URL that a request asks the cache for, and the keys under which its responses are stored.
//!
//! Every response is stored under a *cache key*, made of the method and the URL (RFC 9111 §2);
//! that of a further variant also has a hash of the request fields that select it. Two spellings
//! of one URL must give one key, so a URL is brought into canonical form first ([`CachedUrl`]),
//! and only URLs of listed origins are accepted: the cache is not an open proxy.
//!
//! ```
//! use http_cache::cached_url::CachedUrl;
//! use http_semantics::origin::OriginAllowList;
//!
//! let allowed = OriginAllowList::parse("https://example.com", &[]);
//! let url = CachedUrl::of_href("https://Example.com:443/a/../b?c#d", &allowed)?;
//! assert_eq!(url.as_str(), "https://example.com/b?c");
//! assert_eq!(url.key().as_str(), "GET https://example.com/b?c");
//! assert!(CachedUrl::of_href("https://other.example/", &allowed).is_err());
//! # Ok::<(), http_cache::error::CacheError>(())
//! ```

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::error::{CacheError, URL_BYTES_MAX};
use crate::vary::SelectingFields;
use http_semantics::content_hash;
use http_semantics::origin::{Origin, OriginAllowList, OriginError};
use http_semantics::request_target::{RequestTarget, normalize_escapes, resolve_dot_segments};
use kv_store::limits::{KEY_BYTES_MAX, Key};

const PATH_PREFIX: &str = "/cache/";

/// A URL that may be fetched, in canonical form (RFC 3986 §6.2.2).
///
/// The origin is in lower case and without its default port; the path has no dot segments;
/// percent-escapes are in upper case and only there if needed; there is no fragment, because a
/// fragment is never sent to a server. All characters are printable ASCII, so no URL can end a
/// request line. The runtime's URL parser does not change a canonical URL, so the URL that was
/// checked is the one that is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedUrl {
    url: String,
    origin: Origin,
}

impl CachedUrl {
    /// Returns the URL that follows `/cache/` in a request's target. The query of the request
    /// becomes the query of the URL. One slash after the scheme counts as two, because some
    /// proxies merge slashes.
    ///
    /// Dot segments of the target are already resolved, so a `..` may have removed the host that
    /// was written. The URL that is left is checked against `allowed` like any other.
    ///
    /// # Errors
    /// [`CacheError::NotAUrl`], [`CacheError::Unusable`], [`CacheError::UrlTooLong`] and
    /// [`CacheError::NotAllowed`].
    ///
    /// # Examples
    ///
    /// ```
    /// use http_cache::cached_url::CachedUrl;
    /// use http_semantics::origin::OriginAllowList;
    /// use http_semantics::request_target::RequestTarget;
    ///
    /// let allowed = OriginAllowList::of_origins("https://example.com");
    /// let cached = |url| CachedUrl::of_target(&RequestTarget::parse(url), &allowed);
    /// let url = cached("https://edge.example/cache/https://example.com/tea?sort=price")?;
    /// assert_eq!(url.as_str(), "https://example.com/tea?sort=price");
    /// // The `..` takes the host away, and `admin` is not an origin that is allowed.
    /// assert!(cached("https://edge.example/cache/https://example.com/../admin/users").is_err());
    /// # Ok::<(), http_cache::error::CacheError>(())
    /// ```
    pub fn of_target(target: &RequestTarget<'_>, allowed: &OriginAllowList) -> Result<Self, CacheError> {
        let rest = target.path.strip_prefix(PATH_PREFIX).ok_or(OriginError::Scheme)?;
        let (scheme, rest) = rest.split_once(":/").ok_or(OriginError::Scheme)?;
        let rest = rest.strip_prefix('/').unwrap_or(rest);
        let query = target.query.map_or(["", ""], |query| ["?", query]).concat();
        Self::of_href(&[scheme, "://", rest, &query].concat(), allowed)
    }

    /// Reads an absolute URL, for example one written by the runtime's parser (`URL.href`).
    ///
    /// [The module](self) has an example.
    ///
    /// # Errors
    /// Those of [`CachedUrl::of_target`].
    pub fn of_href(href: &str, allowed: &OriginAllowList) -> Result<Self, CacheError> {
        let href = href.split_once('#').map_or(href, |(url, _)| url);
        if href.len() > URL_BYTES_MAX {
            return Err(CacheError::UrlTooLong);
        }
        let (origin, after) = Origin::split(href)?;
        let (path, query) = after.split_once('?').map_or((after, None), |(path, query)| (path, Some(query)));
        let path = resolve_dot_segments(if path.is_empty() { "/" } else { path });
        let url = [origin.as_str(), &encoded(&path, query)?].concat();
        if url.len() > URL_BYTES_MAX {
            return Err(CacheError::UrlTooLong);
        }
        if allowed.admits(&origin) {
            Ok(Self { url, origin })
        } else {
            Err(CacheError::NotAllowed(origin.as_str().to_owned()))
        }
    }

    /// Returns the URL as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// Returns the URL's origin. The text of the URL begins with it.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Returns the key in `CACHE_KV` of the response to `GET` (RFC 9111 §2, "cache key"): method
    /// and URL. If that is longer than KV allows (512 bytes), a SHA-256 hash stands in for the
    /// URL; no URL looks like such a hash.
    ///
    /// [The module](self) has an example.
    #[must_use]
    pub fn key(&self) -> Key<'static> {
        self.key_in("GET ", "")
    }

    /// Returns the key of one variant of the response: the one selected by these request fields
    /// (RFC 9111 §4.1). It is the URL's key with `#` and a hash; no canonical URL contains a
    /// `#`. If no field selects, there is only one variant, under [`CachedUrl::key`].
    #[must_use]
    pub fn variant_key(&self, selecting_fields: &SelectingFields) -> Key<'static> {
        if selecting_fields.is_empty() {
            return self.key();
        }
        let texts = selecting_fields.iter().flat_map(|(name, value)| [name, value]);
        // Each text is preceded by its length, so that different lists cannot give the same
        // text.
        let hash = content_hash::sha256(texts.map(|text| format!("{}:{text}", text.len())));
        self.key_in("GET ", &format!("#{hash}"))
    }

    /// Returns what all keys of variants of the URL begin with, and no other key does.
    #[must_use]
    pub fn variant_key_prefix(&self) -> String {
        let hash = content_hash::sha256([""]);
        let mut key = self.key_in("GET ", &format!("#{hash}")).as_str().to_owned();
        key.truncate(key.len() - hash.len());
        key
    }

    /// Returns the key in `CACHE_KV` of the page's JSON view.
    #[must_use]
    pub fn page_key(&self) -> Key<'static> {
        self.key_in("page:", "")
    }

    #[expect(
        clippy::expect_used,
        reason = "two keys must never be one: another key in its place would be that of other URLs"
    )]
    fn key_in(&self, space: &str, variant: &str) -> Key<'static> {
        let plain = [space, &self.url, variant].concat();
        let key = if plain.len() <= KEY_BYTES_MAX {
            plain
        } else {
            format!("{space}sha256:{}{variant}", content_hash::sha256([&self.url]))
        };
        Key::new(key).expect("a space and a URL, or its hash, are 512 bytes at most")
    }
}

/// What `fetch` escapes in a path (URL Standard, "path percent-encode set").
const PATH: &AsciiSet = &CONTROLS.add(b'"').add(b'<').add(b'>').add(b'^').add(b'`').add(b'{').add(b'}');
/// What `fetch` escapes in a query (URL Standard, "special-query percent-encode set").
const QUERY: &AsciiSet = &CONTROLS.add(b'"').add(b'<').add(b'>').add(b'\'');

/// Returns path and query in canonical form.
///
/// Whatever `fetch` would escape is escaped, so the key names exactly what is fetched. The
/// upstream receives this form too. Otherwise a server that distinguishes `%7E` from `~` could
/// be made to store the response for one under the key of the other. A space, or a character that
/// is not printable ASCII, is refused.
pub(super) fn encoded(path: &str, query: Option<&str>) -> Result<String, CacheError> {
    if !path.bytes().chain(query.unwrap_or_default().bytes()).all(|byte| byte.is_ascii_graphic()) {
        return Err(CacheError::NotAUrl);
    }
    let path = normalize_escapes(path);
    let mut encoded = Cow::from(utf8_percent_encode(&path, PATH)).into_owned();
    if let Some(query) = query {
        encoded.push('?');
        encoded.extend(utf8_percent_encode(&normalize_escapes(query), QUERY));
    }
    Ok(encoded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UPSTREAMS: &str = "https://example.com,http://localhost:8788,http://[::1]:8788,https://*.shops.example";

    fn of_href(href: &str) -> Result<CachedUrl, CacheError> {
        CachedUrl::of_href(href, &OriginAllowList::parse(UPSTREAMS, &[]))
    }

    fn of_target(path_and_query: &str) -> Result<CachedUrl, CacheError> {
        let url = format!("https://edge.example{path_and_query}");
        CachedUrl::of_target(&RequestTarget::parse(&url), &OriginAllowList::parse(UPSTREAMS, &[]))
    }

    // RFC 9110 §7.1: "The target URI excludes the reference's fragment component, if any, since
    // fragment identifiers are reserved for client-side processing".
    #[test]
    fn the_url_follows_in_the_target_and_becomes_canonical() {
        for (target, url) in [
            ("/cache/https://example.com/a?b=c", "https://example.com/a?b=c"),
            ("/cache/https:/example.com/a?b=c", "https://example.com/a?b=c"),
            ("/cache/HTTPS://Example.COM:443/A?B", "https://example.com/A?B"),
            ("/cache/https://example.com", "https://example.com/"),
            ("/cache/https://example.com?b", "https://example.com/?b"),
            ("/cache/https://example.com/?", "https://example.com/?"),
            ("/cache/https://example.com/a?b=https://c/?d", "https://example.com/a?b=https://c/?d"),
            ("/cache/https://example.com//a//?%2f%zz%41", "https://example.com//a//?%2F%zzA"),
            ("/cache/https://example.com/a%2Fb%2f%41%", "https://example.com/a%2Fb%2FA%"),
            ("/cache/https://example.com/a%23b", "https://example.com/a%23b"),
            ("/cache/https://example.com/a#b?c", "https://example.com/a"),
            ("/cache/http://localhost:8788/:@!$&'()*+,;=-._~|[]", "http://localhost:8788/:@!$&'()*+,;=-._~|[]"),
            ("/cache/http://[::1]:8788/a", "http://[::1]:8788/a"),
            ("/cache/http:/[0:0:0:0:0:0:0:1]:8788/a", "http://[::1]:8788/a"),
            ("/cache/https://one.shops.example/a/./b/../c", "https://one.shops.example/a/c"),
            ("/cache/https://example.com/a\\b", "https://example.com/a/b"),
            ("/cache/https://evil.example/../example.com/a", "https://example.com/a"),
        ] {
            let cached = of_target(target).unwrap();
            assert_eq!(cached.as_str(), url, "{target}");
            assert!(url.starts_with(cached.origin().as_str()), "{target}");
        }
    }

    #[test]
    fn only_http_urls_of_listed_origins_are_accepted() {
        let not_allowed = |origin: &str| CacheError::NotAllowed(origin.into());
        for (href, error) in [
            ("https://evil.example/", not_allowed("https://evil.example")),
            ("http://example.com/", not_allowed("http://example.com")),
            ("https://example.com:8443/", not_allowed("https://example.com:8443")),
            ("https://example.com.evil.example/", not_allowed("https://example.com.evil.example")),
            ("ftp://example.com/", OriginError::Scheme.into()),
            ("javascript:alert(1)", OriginError::Scheme.into()),
            ("https://u:p@example.com/", OriginError::UserInfo.into()),
            ("https://example.com@evil.example/", OriginError::UserInfo.into()),
            ("https:///example.com/", OriginError::Authority.into()),
            ("https://example.com%2f.evil.example/", OriginError::Authority.into()),
            ("https://example.com:/", OriginError::Authority.into()),
        ] {
            assert_eq!(of_href(href), Err(error.clone()), "{href}");
            assert_eq!(of_target(&format!("/cache/{href}")), Err(error), "{href}");
        }
        // No scheme, or not the path of this route.
        for target in
            ["/cache/", "/cache", "/cache/example.com/", "/https://example.com/", "/cache//https://example.com/"]
        {
            assert_eq!(of_target(target), Err(OriginError::Scheme.into()), "{target}");
        }
        assert_eq!(of_target("/cache/https://example.com/../evil.example"), Err(not_allowed("https://evil.example")));
    }

    #[test]
    fn nothing_that_could_end_a_request_line_is_in_a_url() {
        for bad in ["\r\nx: y", "\n", "\t", "\0", "\u{7f}", " HTTP/1.1", "é", "\u{2028}", "\u{85}"] {
            for target in [format!("/cache/https://example.com/a{bad}"), format!("/cache/https://example.com/?{bad}a")]
            {
                assert_eq!(of_target(&target), Err(CacheError::NotAUrl), "{target:?}");
            }
            assert_eq!(of_target(&format!("/cache/https://example{bad}.com/")), Err(OriginError::Authority.into()));
        }
    }

    #[test]
    fn whatever_fetch_escapes_is_escaped() {
        let url = of_href("https://example.com/\"<>`{}^'?\"<>`{}^'").unwrap();
        assert_eq!(url.as_str(), "https://example.com/%22%3C%3E%60%7B%7D%5E'?%22%3C%3E`{}^%27");
        assert_eq!(of_href(url.as_str()).unwrap(), url);
    }

    #[test]
    fn a_url_has_8192_bytes_at_most() {
        let longest = format!("https://example.com/{}", "a".repeat(URL_BYTES_MAX - 20));
        assert_eq!(of_href(&longest).unwrap().as_str(), longest);
        assert_eq!(of_target(&format!("/cache/{longest}#fragment")).unwrap().as_str(), longest);
        let too_long = format!("https://example.com/?{}", "a".repeat(URL_BYTES_MAX - 20));
        assert_eq!(of_href(&too_long), Err(CacheError::UrlTooLong));
        assert_eq!(of_target(&format!("/cache/{too_long}")), Err(CacheError::UrlTooLong));
        assert_eq!(of_href(&longest.replace("aa", "a{")), Err(CacheError::UrlTooLong), "with its escapes");
        assert_eq!(CacheError::UrlTooLong.to_string(), "The URL has more than 8192 bytes.");
    }

    fn variant(value: &str) -> SelectingFields {
        vec![("accept".to_owned(), value.to_owned())]
    }

    // RFC 9111 §2: "The 'cache key' is the information a cache uses to choose a response and is
    // composed from, at a minimum, the request method and target URI used to retrieve the stored
    // response".
    #[test]
    fn keys_name_method_url_and_variant_within_512_bytes() {
        let url = of_href("https://example.com/a?b").unwrap();
        assert_eq!(url.key().as_str(), "GET https://example.com/a?b");
        assert_eq!(url.page_key().as_str(), "page:https://example.com/a?b");
        assert_eq!(url.variant_key(&SelectingFields::default()), url.key(), "nothing selects");
        let key = url.variant_key(&variant("-"));
        // `printf 6:accept1:- | sha256sum`
        let hash = "68fca5e0b2b6ec649b7212c1ba9b7ca6d20efd816fee8e746eb51314382d6bbf";
        assert_eq!(key.as_str(), format!("GET https://example.com/a?b#{hash}"));

        let url = of_href(&format!("https://example.com/{}", "a".repeat(512 - 4 - 20))).unwrap();
        assert_eq!(url.key().as_str(), format!("GET {}", url.as_str()));
        // `printf %s "$url" | sha256sum`
        let hex = "b3b4626db57567191e5d46fcec781795f6e2c15953f057a487cce7edd95310ea";
        assert_eq!(url.page_key().as_str(), format!("page:sha256:{hex}"), "one byte more");
        let key = url.variant_key(&variant("-"));
        assert!(key.as_str().starts_with(&format!("GET sha256:{hex}#")));
        assert_eq!(key.as_str().len(), 4 + 7 + 64 + 1 + 64);
    }

    #[test]
    fn all_keys_of_variants_begin_with_the_prefix() {
        // From 444 bytes on, a hash stands in for the URL in the keys of variants, but not yet in
        // the URL's own.
        for length in [1, 443 - 20, 444 - 20, 508 - 20, 600] {
            let url = of_href(&format!("https://example.com/{}", "a".repeat(length))).unwrap();
            let prefix = url.variant_key_prefix();
            assert!(url.variant_key(&variant("-")).as_str().starts_with(&prefix), "{length}");
            assert!(prefix.ends_with('#') && !url.key().as_str().starts_with(&prefix), "{length}");
        }
    }

    #[test]
    fn lists_with_the_same_text_are_different_variants() {
        let url = of_href("https://example.com/").unwrap();
        let key = |list: &[(&str, &str)]| {
            let list: SelectingFields =
                list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            url.variant_key(&list)
        };
        let keys =
            [key(&[("a", "bc")]), key(&[("ab", "c")]), key(&[("a", "b"), ("c", "")]), key(&[("abc", "")]), key(&[])];
        for (index, one) in keys.iter().enumerate() {
            assert!(keys.iter().skip(index + 1).all(|other| other != one), "{one:?}");
        }
    }

    const URLS: &str = "https://example\\.com(/[a-z./%2eE\\\\|^~!\"'<>`{}-]{0,12}|/a{470,500})?(\\?[ -\"$-~]{0,8})?";

    proptest! {
        #[test]
        fn the_platforms_parser_changes_nothing_in_a_canonical_url(url in URLS) {
            let Ok(cached) = of_href(&url) else { return Ok(()) };
            // Whether `^` is escaped differs between versions of the URL Standard.
            let parsed = url::Url::parse(cached.as_str()).unwrap().to_string().replace("%5E", "^");
            prop_assert_eq!(&parsed, &cached.as_str().replace("%5E", "^"));
            prop_assert_eq!(&of_href(cached.as_str()).unwrap(), &cached);
            prop_assert!(cached.as_str().bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'));
        }

        #[test]
        fn a_target_means_what_its_href_means(url in URLS) {
            // In a target, `..` can remove the host.
            prop_assume!(!url.replace('\\', "/").contains("/..") && !url.to_ascii_lowercase().contains("%2e"));
            prop_assert_eq!(of_target(&format!("/cache/{url}")), of_href(&url));
        }

        #[test]
        fn different_urls_variants_and_views_have_different_keys(
            one in URLS, other in URLS, selecting_fields in "-|[a-f]{0,3}", another in "-|[a-f]{0,3}"
        ) {
            let (Ok(one), Ok(other)) = (of_href(&one), of_href(&other)) else { return Ok(()) };
            let keys = |url: &CachedUrl, selecting_fields: &str| [url.key(), url.variant_key(&variant(selecting_fields)), url.page_key()];
            let (ones, others) = (keys(&one, &selecting_fields), keys(&other, &another));
            for (index, key) in ones.iter().enumerate() {
                prop_assert!(key.as_str().len() <= KEY_BYTES_MAX);
                for (place, same) in others.iter().enumerate() {
                    let is_same = index == place && one == other && (index != 1 || selecting_fields == another);
                    prop_assert_eq!(key == same, is_same, "{:?} {:?}", key, same);
                }
            }
        }
    }
}
