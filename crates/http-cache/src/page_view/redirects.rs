//! The redirects on the way to a page, which limit for how long its view is stored.

use crate::cached_url::CachedUrl;
use crate::credentials::CredentialFields;
use crate::exchange::StoredView;
use crate::freshness::ExchangeTimes;
use crate::purge;
use crate::storable::StorageCandidate;
use crate::stored_response::{StoredMetadata, StoredResponse};
use http_semantics::fields::{Fields, HeaderSection};

/// The redirects that were followed for one page.
#[derive(Debug, Default)]
pub struct Redirects {
    /// For how long all responses so far may be used, in seconds; `None` without a redirect.
    ttl_seconds: Option<i64>,
    tags: Vec<String>,
}

/// Status, header fields and times of a response.
type Head<'a> = (u16, &'a HeaderSection, ExchangeTimes);

impl Redirects {
    /// Returns the `Location` of a response that redirects (RFC 9110 §15.4); `None` if it is the
    /// page.
    pub fn follow(&mut self, url: &CachedUrl, head: Head<'_>, now_ms: u64) -> Option<String> {
        let (status, fields, _) = head;
        let location = fields.get("location").filter(|_| matches!(status, 301 | 302 | 303 | 307 | 308))?;
        self.limit(url, head, now_ms);
        Some(location)
    }

    /// Returns the fields under which the view of this page is stored, with the length of the view
    /// in bytes. After redirects, it is fresh as long as each of them and the page, and has the
    /// tags of all, so that a purge of any of them covers the view. Only that of a 2xx may be
    /// stored.
    #[must_use]
    pub fn view_fields(mut self, url: &CachedUrl, head: Head<'_>, length: usize, now_ms: u64) -> HeaderSection {
        let (status, fields, times) = head;
        let length = length.to_string();
        let length = ("content-length", length.as_str());
        let is_success = (200..=299).contains(&status);
        if is_success && self.ttl_seconds.is_none() {
            return fields.iter().filter(|(name, _)| *name != "content-length").chain([length]).collect();
        }
        self.limit(url, head, now_ms);
        // The age of the page counts from its own request, which may have been long ago.
        let age_seconds = now_ms.saturating_sub(times.requested_ms) / 1000;
        let control = match self.ttl_seconds.filter(|ttl| is_success && *ttl > 0) {
            Some(ttl) => format!("max-age={}", ttl.saturating_add_unsigned(age_seconds)),
            None => "no-store".to_owned(),
        };
        let tags = self.tags.join(",");
        let tags = (!tags.is_empty()).then_some(("cache-tag", tags.as_str()));
        [("cache-control", control.as_str()), length].into_iter().chain(tags).collect()
    }

    fn limit(&mut self, url: &CachedUrl, head: Head<'_>, now_ms: u64) {
        let seconds = storable_seconds(url, head, now_ms);
        self.ttl_seconds = Some(self.ttl_seconds.map_or(seconds, |ttl| ttl.min(seconds)));
        self.tags.extend(purge::tags(head.1));
    }
}

/// Returns for how many seconds a response may be used for a view; 0 if it may not be stored.
fn storable_seconds(url: &CachedUrl, (status, response, times): Head<'_>, now_ms: u64) -> i64 {
    let (method, url, default_lifetime_ms) = ("GET", url.as_str(), StoredView::Page.default_lifetime_ms());
    let (request, credentials) = (&HeaderSection::default(), &CredentialFields::default());
    let candidate =
        StorageCandidate { method, url, request, credentials, status, response, times, default_lifetime_ms };
    if candidate.check().is_err() {
        return 0;
    }
    let metadata = StoredMetadata::of_plain_request(status, response, times);
    StoredResponse::new(metadata, default_lifetime_ms).ttl_seconds(now_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_semantics::origin::OriginAllowList;

    const NOW_MS: u64 = 1_000_000;

    fn url() -> CachedUrl {
        CachedUrl::of_href("https://a.example/", &OriginAllowList::parse("https://a.example", &[])).unwrap()
    }

    /// Follows a redirect for each of these `Cache-Control`, and returns the fields of the view of
    /// a page that was requested so many milliseconds ago.
    fn fields_after(redirects: &[&str], page: &[(&'static str, &str)], age_ms: u64) -> HeaderSection {
        let at = |ms| ExchangeTimes { requested_ms: ms, received_ms: ms };
        let mut followed = Redirects::default();
        for control in redirects {
            let fields = [("location", "/b"), ("cache-control", control), ("cache-tag", "r")].into_iter().collect();
            assert_eq!(followed.follow(&url(), (302, &fields, at(NOW_MS)), NOW_MS).as_deref(), Some("/b"));
        }
        followed.view_fields(&url(), (200, &HeaderSection::from(page), at(NOW_MS - age_ms)), 7, NOW_MS)
    }

    #[test]
    fn a_redirect_is_one_of_five_statuses_with_a_location() {
        let fields = HeaderSection::from(&[("location", "/b")]);
        let times = ExchangeTimes { requested_ms: NOW_MS, received_ms: NOW_MS };
        let follow = |status, fields| Redirects::default().follow(&url(), (status, fields, times), NOW_MS);
        let redirects: Vec<u16> = (100..600).filter(|status| follow(*status, &fields).is_some()).collect();
        assert_eq!(redirects, [301, 302, 303, 307, 308]);
        assert_eq!(follow(301, &HeaderSection::default()), None);
    }

    #[test]
    fn a_view_has_the_fields_of_its_page_and_its_own_length() {
        let fields = fields_after(&[], &[("etag", "\"a\""), ("content-length", "100")], 0);
        assert_eq!(fields, HeaderSection::from(&[("etag", "\"a\""), ("content-length", "7")]));
    }

    #[test]
    fn after_redirects_a_view_is_fresh_as_long_as_each_of_them_and_the_page() {
        for (redirects, page, age_ms, control) in [
            (&["max-age=5"][..], "max-age=300", 0, "max-age=5"),
            (&["max-age=300"], "max-age=5", 0, "max-age=5"),
            (&["max-age=9", "max-age=5"], "max-age=300", 0, "max-age=5"),
            (&[""], "max-age=300", 0, "max-age=60"),
            (&["no-store"], "max-age=300", 0, "no-store"),
            (&["max-age=5"], "private", 0, "no-store"),
            (&["max-age=5"], "max-age=0", 0, "no-store"),
            // A page that has been stored for a while: five seconds from now.
            (&["max-age=5"], "max-age=300", 100_000, "max-age=105"),
            (&["max-age=300"], "max-age=101", 100_000, "max-age=101"),
        ] {
            let fields = fields_after(redirects, &[("cache-control", page)], age_ms);
            assert_eq!(fields.get("cache-control").as_deref(), Some(control), "{redirects:?} {page}");
        }
    }

    #[test]
    fn after_redirects_a_view_has_the_tags_of_all_responses() {
        let fields = fields_after(&["max-age=5", "max-age=5"], &[("cache-tag", "p")], 0);
        assert_eq!(fields.get("cache-tag").as_deref(), Some("r,r,p"));
        assert_eq!(fields_after(&[], &[("cache-tag", "p")], 0).get("cache-tag").as_deref(), Some("p"));
    }

    #[test]
    fn only_the_view_of_a_2xx_may_be_stored() {
        let times = ExchangeTimes { requested_ms: NOW_MS, received_ms: NOW_MS };
        for (status, is_stored) in
            [(199, false), (200, true), (204, true), (299, true), (304, false), (404, false), (500, false)]
        {
            let page = HeaderSection::from(&[("cache-control", "max-age=60")]);
            let fields = Redirects::default().view_fields(&url(), (status, &page, times), 7, NOW_MS);
            let control = if is_stored { "max-age=60" } else { "no-store" };
            assert_eq!(fields.get("cache-control").as_deref(), Some(control), "{status}");
        }
    }
}
