//! The redirects on the way to a page: which are followed, and for how long the view of the page
//! is stored after them.

use crate::cache_control::Qualified;
use crate::cached_url::CachedUrl;
use crate::credentials::CredentialFields;
use crate::error::CacheError;
use crate::exchange::{ExchangeResult, StoredBody, StoredView, UpstreamHead};
use crate::freshness::ExchangeTimes;
use crate::page_view::REDIRECTS_MAX;
use crate::purge;
use crate::storable::StorageCandidate;
use crate::stored_response::{StoredMetadata, StoredResponse};
use http_semantics::fields::{Fields, HeaderSection};
use http_semantics::origin::OriginAllowList;

/// The redirects that were followed for one page.
///
/// # Examples
///
/// `response(status, fields)` is the result of an exchange; `Body` is a [`StoredBody`].
///
/// ```
/// # use http_cache::cache_status::{CacheStatus, ForwardReason};
/// # use http_cache::exchange::{ExchangeResult, ResponseSource, StoredBody, UpstreamHead};
/// # use http_cache::freshness::ExchangeTimes;
/// # use http_semantics::fields::HeaderSection;
/// #
/// # #[derive(Debug)]
/// # struct Body;
/// #
/// # impl StoredBody for Body {
/// #     type Bytes = ();
/// #     fn bytes(&self) -> Option<&()> {
/// #         None
/// #     }
/// #     fn from_bytes((): ()) -> Self {
/// #         Self
/// #     }
/// # }
/// #
/// # fn response(status: u16, fields: &[(&'static str, &str)]) -> ExchangeResult<Body> {
/// #     let times = ExchangeTimes { requested_ms: 0, received_ms: 0 };
/// #     let fwd = ForwardReason::UriMiss;
/// #     let fields = HeaderSection::from(fields);
/// #     let (has_date, has_body, is_in_place_of_error) = (false, true, false);
/// #     let head =
/// #         UpstreamHead { status, fields, has_date, has_body, times, is_in_place_of_error };
/// #     ExchangeResult {
/// #         source: ResponseSource::Upstream { head, body: None, store_as: None },
/// #         cache_status: CacheStatus::Forwarded {
/// #             fwd,
/// #             status: None,
/// #             is_stored: false,
/// #             ttl: None,
/// #             detail: None,
/// #         },
/// #         kv_ms: None,
/// #         upstream_ms: None,
/// #     }
/// # }
/// use http_cache::cached_url::CachedUrl;
/// use http_cache::page_view::Redirects;
/// use http_semantics::fields::Fields;
/// use http_semantics::origin::OriginAllowList;
///
/// let upstreams = OriginAllowList::parse("https://example.com", &[]);
/// let url = CachedUrl::of_href("https://example.com/tea", &upstreams)?;
/// let resolve = |_reference: &str, _base: &str| Some("https://example.com/green-tea".to_owned());
/// let mut redirects = Redirects::default();
///
/// let moved = response(301, &[("location", "/green-tea"), ("cache-control", "max-age=10")]);
/// let next = redirects.follow(&url, &moved, &upstreams, resolve, 0)?.expect("it redirects");
/// assert_eq!(next.as_str(), "https://example.com/green-tea");
///
/// // The view of the page is fresh no longer than the redirect to it.
/// let page = response(200, &[("cache-control", "max-age=3600")]);
/// let head = redirects.view_head(&next, &page, 512, 0);
/// assert_eq!(head.fields.get("cache-control").as_deref(), Some("max-age=10"));
/// # Ok::<(), http_cache::error::CacheError>(())
/// ```
#[derive(Debug)]
pub struct Redirects {
    /// How many there are.
    count: u32,
    /// Until when all responses so far may be used, in milliseconds since the Unix epoch.
    fresh_until_ms: u64,
    /// The times of the oldest response.
    times: Option<ExchangeTimes>,
    tags: Vec<String>,
    /// True if one of the responses was served in place of an error.
    is_in_place_of_error: bool,
}

impl Default for Redirects {
    fn default() -> Self {
        Self { count: 0, fresh_until_ms: u64::MAX, times: None, tags: Vec::new(), is_in_place_of_error: false }
    }
}

/// Status, header fields and times of a response.
type Head<'a> = (u16, &'a HeaderSection, ExchangeTimes);

impl Redirects {
    /// Returns the URL to which a response redirects (RFC 9110 §15.4); `None` if it is the page.
    /// `resolve` resolves a URL reference against an absolute URL.
    ///
    /// # Errors
    /// [`CacheError::Redirect`] for a URL that may not be fetched, and for more than
    /// [`REDIRECTS_MAX`] redirects.
    pub fn follow<B: StoredBody>(
        &mut self,
        url: &CachedUrl,
        result: &ExchangeResult<B>,
        upstreams: &OriginAllowList,
        resolve: impl Fn(&str, &str) -> Option<String>,
        now_ms: u64,
    ) -> Result<Option<CachedUrl>, CacheError> {
        let (status, fields, _) = result.source.head();
        let location = fields.get("location").filter(|_| matches!(status, 301 | 302 | 303 | 307 | 308));
        let Some(location) = location else { return Ok(None) };
        if self.count == REDIRECTS_MAX {
            return Err(CacheError::Redirect);
        }
        self.count += 1;
        self.add(url, result, now_ms);
        let next = resolve(&location, url.as_str()).ok_or(CacheError::Redirect)?;
        CachedUrl::of_href(&next, upstreams).map(Some).map_err(|_| CacheError::Redirect)
    }

    /// Returns the head under which the view of this page is stored, with the length of the view
    /// in bytes. Without redirects, it has the fields of the page. After redirects, it is fresh as
    /// long as each of them and the page, as old as the oldest of them, and has the tags of all,
    /// so that a purge of any of these tags covers the view. Only that of a 2xx may be stored.
    #[must_use]
    pub fn view_head<B: StoredBody>(
        mut self,
        url: &CachedUrl,
        result: &ExchangeResult<B>,
        length: usize,
        now_ms: u64,
    ) -> UpstreamHead {
        let (status, fields, _) = result.source.head();
        let is_success = (200..=299).contains(&status);
        let is_direct = self.count == 0;
        self.add(url, result, now_ms);
        let Self { times, fresh_until_ms, tags, is_in_place_of_error, .. } = self;
        let times = times.unwrap_or(result.source.head().2);
        let length = length.to_string();
        let length = ("content-length", length.as_str());
        let fields = if is_success && is_direct {
            fields.iter().filter(|(name, _)| *name != "content-length").chain([length]).collect()
        } else {
            // The age of the view counts from the time of the oldest request.
            let seconds = fresh_until_ms.saturating_sub(times.requested_ms) / 1000;
            let is_fresh = is_success && fresh_until_ms > now_ms;
            let control = if is_fresh { format!("max-age={seconds}") } else { "no-store".to_owned() };
            let tags = tags.join(",");
            let tags = (!tags.is_empty()).then_some(("cache-tag", tags.as_str()));
            [("cache-control", control.as_str()), length].into_iter().chain(tags).collect()
        };
        UpstreamHead { status, fields, has_date: true, has_body: true, times, is_in_place_of_error }
    }

    fn add<B: StoredBody>(&mut self, url: &CachedUrl, result: &ExchangeResult<B>, now_ms: u64) {
        let head = result.source.head();
        let (_, fields, times) = head;
        self.times = self.times.into_iter().chain([times]).min_by_key(|times| times.requested_ms);
        self.fresh_until_ms = self.fresh_until_ms.min(fresh_until_ms(url, head, now_ms));
        self.tags.extend(purge::tags(fields));
        self.is_in_place_of_error |= result.cache_status.is_in_place_of_error();
    }
}

/// Returns until when a response may be used for a view, in milliseconds since the Unix epoch; 0
/// if it may not be stored, or not be used without validation.
fn fresh_until_ms(url: &CachedUrl, (status, response, times): Head<'_>, now_ms: u64) -> u64 {
    let (method, url, default_lifetime_ms) = ("GET", url.as_str(), StoredView::Page.default_lifetime_ms());
    let (request, credentials) = (&HeaderSection::default(), &CredentialFields::default());
    let candidate =
        StorageCandidate { method, url, request, credentials, status, response, times, default_lifetime_ms };
    if candidate.check().is_err() {
        return 0;
    }
    let metadata = StoredMetadata::of_plain_request(status, response, times);
    let StoredResponse { directives, freshness, .. } = StoredResponse::new(metadata, default_lifetime_ms);
    // RFC 9111 §5.2.2.4: "MUST NOT be used … without forwarding it for validation".
    if directives.no_cache == Qualified::All {
        return 0;
    }
    now_ms.saturating_add_signed(freshness.ttl_ms(now_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache_status::{CacheStatus, ForwardReason, IF_ERROR};
    use crate::exchange::ResponseSource;

    const NOW_MS: u64 = 1_000_000;

    #[derive(Debug)]
    struct NoBody;

    impl StoredBody for NoBody {
        type Bytes = ();

        fn bytes(&self) -> Option<&()> {
            None
        }

        fn from_bytes((): ()) -> Self {
            Self
        }
    }

    fn upstreams() -> OriginAllowList {
        OriginAllowList::parse("https://a.example,https://b.example", &[])
    }

    fn url() -> CachedUrl {
        CachedUrl::of_href("https://a.example/", &upstreams()).unwrap()
    }

    /// A response that was requested and received `age_ms` ago.
    fn result(status: u16, fields: &[(&'static str, &str)], age_ms: u64) -> ExchangeResult<NoBody> {
        let fwd = ForwardReason::UriMiss;
        let cache_status =
            CacheStatus::Forwarded { fwd, status: Some(status), is_stored: false, ttl: None, detail: None };
        let at_ms = NOW_MS - age_ms;
        let head = UpstreamHead {
            status,
            fields: fields.iter().copied().collect(),
            has_date: false,
            has_body: true,
            times: ExchangeTimes { requested_ms: at_ms, received_ms: at_ms },
            is_in_place_of_error: false,
        };
        let source = ResponseSource::Upstream { head, body: None, store_as: None };
        ExchangeResult { source, cache_status, kv_ms: None, upstream_ms: None }
    }

    /// A redirect to `/b`.
    fn redirect(control: &str, age_ms: u64) -> ExchangeResult<NoBody> {
        result(302, &[("location", "/b"), ("cache-control", control), ("cache-tag", "r")], age_ms)
    }

    fn follow(
        redirects: &mut Redirects,
        result: &ExchangeResult<NoBody>,
        now_ms: u64,
    ) -> Result<Option<String>, CacheError> {
        let resolve = |reference: &str, base: &str| Some(url::Url::parse(base).ok()?.join(reference).ok()?.to_string());
        let next = redirects.follow(&url(), result, &upstreams(), resolve, now_ms)?;
        Ok(next.map(|url| url.as_str().to_owned()))
    }

    /// Follows a redirect for each of these `Cache-Control`, and returns the head of the view of
    /// a page that was requested `age_ms` ago.
    fn head_after(redirects: &[&str], page: &[(&'static str, &str)], age_ms: u64) -> UpstreamHead {
        let mut followed = Redirects::default();
        for control in redirects {
            let next = follow(&mut followed, &redirect(control, 0), NOW_MS);
            assert_eq!(next, Ok(Some("https://a.example/b".to_owned())));
        }
        followed.view_head(&url(), &result(200, page, age_ms), 7, NOW_MS)
    }

    fn control_of(head: &UpstreamHead) -> String {
        head.fields.get("cache-control").unwrap_or_default()
    }

    #[test]
    fn a_redirect_is_one_of_five_statuses_with_a_location() {
        let is_redirect = |status: &u16, fields: &[(&'static str, &str)]| {
            follow(&mut Redirects::default(), &result(*status, fields, 0), NOW_MS).unwrap().is_some()
        };
        let redirects: Vec<u16> = (100..600).filter(|status| is_redirect(status, &[("location", "/b")])).collect();
        assert_eq!(redirects, [301, 302, 303, 307, 308]);
        assert!(!is_redirect(&301, &[]));
    }

    #[test]
    fn five_redirects_to_urls_that_may_be_fetched_are_followed() {
        let mut redirects = Redirects::default();
        for _ in 0..REDIRECTS_MAX {
            follow(&mut redirects, &redirect("", 0), NOW_MS).unwrap();
        }
        assert_eq!(follow(&mut redirects, &redirect("", 0), NOW_MS), Err(CacheError::Redirect));
        for (location, next) in [
            ("b", Ok("https://a.example/b")),
            ("//b.example/c#d", Ok("https://b.example/c")),
            ("https://c.example/", Err(CacheError::Redirect)),
            ("//c.example/", Err(CacheError::Redirect)),
            ("http://a.example/", Err(CacheError::Redirect)),
            ("https://user@a.example/", Err(CacheError::Redirect)),
            ("http://[", Err(CacheError::Redirect)),
        ] {
            let followed = follow(&mut Redirects::default(), &result(301, &[("location", location)], 0), NOW_MS);
            assert_eq!(followed, next.map(|url: &str| Some(url.to_owned())), "{location}");
        }
    }

    #[test]
    fn without_redirects_a_view_has_the_fields_of_its_page_and_its_own_length() {
        let head = head_after(&[], &[("etag", "\"a\""), ("content-length", "100")], 0);
        assert_eq!(head.fields, HeaderSection::from(&[("etag", "\"a\""), ("content-length", "7")]));
    }

    #[test]
    fn after_redirects_a_view_is_fresh_as_long_as_each_of_them_and_the_page() {
        for (redirects, page, age_ms, control) in [
            (&["max-age=5"][..], "max-age=300", 0, "max-age=5"),
            (&["max-age=300"], "max-age=5", 0, "max-age=5"),
            (&["max-age=9", "max-age=5"], "max-age=300", 0, "max-age=5"),
            (&[""], "max-age=300", 0, "max-age=60"),
            (&["no-store"], "max-age=300", 0, "no-store"),
            (&["private"], "max-age=300", 0, "no-store"),
            (&["max-age=300", "no-store", "max-age=300"], "max-age=300", 0, "no-store"),
            (&["no-cache"], "max-age=300", 0, "no-store"),
            (&["max-age=300, no-cache"], "max-age=300", 0, "no-store"),
            (&["max-age=300, no-cache=\"a\""], "max-age=300", 0, "max-age=300"),
            (&["max-age=5"], "private", 0, "no-store"),
            (&["max-age=5"], "max-age=0", 0, "no-store"),
            (&["max-age=5"], "no-cache", 0, "no-store"),
            // A page that has been stored for a while: five seconds from now.
            (&["max-age=5"], "max-age=300", 100_000, "max-age=105"),
            (&["max-age=300"], "max-age=101", 100_000, "max-age=101"),
        ] {
            let head = head_after(redirects, &[("cache-control", page)], age_ms);
            assert_eq!(control_of(&head), control, "{redirects:?} {page}");
        }
    }

    #[test]
    fn what_comes_after_a_redirect_takes_from_the_time_for_which_it_is_fresh() {
        let mut redirects = Redirects::default();
        follow(&mut redirects, &redirect("max-age=5", 3000), NOW_MS - 3000).unwrap();
        let head = redirects.view_head(&url(), &result(200, &[("cache-control", "max-age=300")], 1000), 7, NOW_MS);
        assert_eq!((control_of(&head), head.times.requested_ms), ("max-age=5".to_owned(), NOW_MS - 3000));
        let mut redirects = Redirects::default();
        follow(&mut redirects, &redirect("max-age=2", 3000), NOW_MS - 3000).unwrap();
        let head = redirects.view_head(&url(), &result(200, &[("cache-control", "max-age=300")], 1000), 7, NOW_MS);
        assert_eq!(control_of(&head), "no-store");
    }

    #[test]
    fn after_redirects_a_view_has_the_tags_of_all_responses_and_is_as_old_as_the_oldest() {
        // A purge of a tag covers what was requested before it.
        let page = [("cache-control", "max-age=300"), ("cache-tag", "p")];
        for (redirects_ms, page_ms, oldest_ms) in [([30, 20], 10, 30), ([10, 40], 20, 40), ([10, 20], 30, 30)] {
            let mut redirects = Redirects::default();
            for age_ms in redirects_ms {
                follow(&mut redirects, &redirect("max-age=5", age_ms), NOW_MS).unwrap();
            }
            let head = redirects.view_head(&url(), &result(200, &page, page_ms), 7, NOW_MS);
            assert_eq!(head.fields.get("cache-tag").as_deref(), Some("r,r,p"));
            assert_eq!(head.times.requested_ms, NOW_MS - oldest_ms);
        }
        let head = head_after(&[], &page, 30);
        assert_eq!(head.fields.get("cache-tag").as_deref(), Some("p"));
        assert_eq!(head.times.requested_ms, NOW_MS - 30);
    }

    #[test]
    fn a_view_is_made_in_place_of_an_error_if_one_of_its_responses_is() {
        let stale = |mut result: ExchangeResult<NoBody>| {
            result.cache_status = CacheStatus::Hit { ttl: -1, detail: Some(IF_ERROR) };
            result
        };
        let page = || result(200, &[("cache-control", "max-age=300")], 0);
        for (first, last, is_in_place_of_error) in [
            (redirect("max-age=5", 0), page(), false),
            (stale(redirect("max-age=5", 0)), page(), true),
            (redirect("max-age=5", 0), stale(page()), true),
        ] {
            let mut redirects = Redirects::default();
            follow(&mut redirects, &first, NOW_MS).unwrap();
            assert_eq!(redirects.view_head(&url(), &last, 7, NOW_MS).is_in_place_of_error, is_in_place_of_error);
        }
    }

    #[test]
    fn only_the_view_of_a_2xx_may_be_stored() {
        for (status, is_stored) in
            [(199, false), (200, true), (204, true), (299, true), (304, false), (404, false), (500, false)]
        {
            let page = result(status, &[("cache-control", "max-age=60")], 0);
            let head = Redirects::default().view_head(&url(), &page, 7, NOW_MS);
            assert_eq!(control_of(&head), if is_stored { "max-age=60" } else { "no-store" }, "{status}");
        }
    }
}
