//! The JSON view of a web page: its title and its text (KV documentation, "Cache data with
//! Workers KV").

pub mod charset;
mod coding;
mod scan;
mod text;
mod tokenizer;

pub use coding::PageCoding;
pub use text::PageText;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use http_semantics::fields::HeaderSection;
use kv_store::record;

/// How long the view of a page is fresh if the page states no lifetime, in milliseconds: a
/// minute, as in the documented example.
pub const DEFAULT_LIFETIME_MS: u64 = 60_000;

/// The longest page that is read, in bytes.
pub const PAGE_BYTES_MAX: u32 = 8 * 1024 * 1024;

/// The most redirects that are followed for one page.
pub const REDIRECTS_MAX: u32 = 5;

/// The view as it is stored, with the documented names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PageView<'a> {
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

impl PageView<'static> {
    /// Creates the view of a page. If its title or body is missing, the documented text stands
    /// in.
    #[must_use]
    pub fn new(text: PageText, last_updated: String) -> Self {
        let or = |text: Option<String>, none: &'static str| text.map_or(Cow::Borrowed(none), Cow::Owned);
        Self {
            title: or(text.title, "No title found"),
            content: or(text.content, "No content found"),
            last_updated: last_updated.into(),
        }
    }
}

/// Returns the documented response around a view that was read from `CACHE_KV`. Returns `None`
/// if the record is broken, which counts as a miss.
#[must_use]
pub fn json_from_record(record: &[u8]) -> Option<Vec<u8>> {
    record::parse::<PageView<'_>>(record)
        .is_ok()
        .then(|| [&b"{\"data\":"[..], record, b",\"fromCache\":true}"].concat())
}

/// Returns the documented response around a view that was made just now, from a page out of the
/// cache or from the upstream.
#[must_use]
pub fn json_around(page: &str, is_from_cache: bool) -> String {
    let end = if is_from_cache { ",\"fromCache\":true}" } else { ",\"fromCache\":false}" };
    ["{\"data\":", page, end].concat()
}

/// Returns true for a status that redirects if there is a `Location` (RFC 9110 §15.4).
#[must_use]
pub fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// Returns the fields under which the view of a redirected page is stored: fresh for `seconds`,
/// which the redirects limit, and with the tags of all responses on the way, so that a
/// purge of any of them covers the view. It is not stored if `seconds` is 0 or less.
#[must_use]
pub fn redirected_fields(seconds: i64, tags: &[String]) -> HeaderSection {
    let control = if seconds > 0 { format!("max-age={seconds}") } else { "no-store".to_owned() };
    let tags = tags.join(",");
    let tags = (!tags.is_empty()).then_some(("cache-tag", tags.as_str()));
    [("cache-control", control.as_str())].into_iter().chain(tags).collect()
}

/// Returns true for a status whose page is stored as a view: 2xx.
#[must_use]
pub fn is_stored(status: u16) -> bool {
    (200..=299).contains(&status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_semantics::fields::Fields;

    #[test]
    fn a_record_is_returned_unchanged_and_a_broken_one_is_a_miss() {
        let record = r#"{"title":"A \"b\"","content":"c","lastUpdated":"2026-01-01T00:00:00.000Z"}"#;
        let response = json_from_record(record.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(response).unwrap(), format!(r#"{{"data":{record},"fromCache":true}}"#));
        assert_eq!(json_around(record, true), format!(r#"{{"data":{record},"fromCache":true}}"#));
        assert_eq!(json_around(record, false), format!(r#"{{"data":{record},"fromCache":false}}"#));
        assert_eq!(json_from_record(b"{\"title\":\"\xff\",\"content\":\"\",\"lastUpdated\":\"\"}"), None);
        for broken in ["", "{", "null", "[]", "{}", r#"{"title":1,"content":"","lastUpdated":""}"#] {
            assert_eq!(json_from_record(broken.as_bytes()), None, "{broken}");
        }
    }

    #[test]
    fn the_documented_text_stands_in_for_what_a_page_does_not_have() {
        let page = PageView::new(PageText::default(), "now".to_owned());
        assert_eq!((page.title.as_ref(), page.content.as_ref()), ("No title found", "No content found"));
        let page = PageView::new(PageText::of_html("<title></title><body>"), "now".to_owned());
        assert_eq!((page.title.as_ref(), page.content.as_ref()), ("", ""));
    }

    #[test]
    fn a_redirect_is_one_of_five_statuses() {
        let redirects: Vec<u16> = (100..600).filter(|status| is_redirect(*status)).collect();
        assert_eq!(redirects, [301, 302, 303, 307, 308]);
    }

    #[test]
    fn the_view_of_a_redirected_page_is_fresh_as_long_as_the_redirects() {
        assert_eq!(redirected_fields(5, &["a".to_owned(), "b".to_owned()]).get("cache-tag").as_deref(), Some("a,b"));
        assert!(!redirected_fields(5, &[]).has("cache-tag"));
        assert_eq!(redirected_fields(5, &[]).get("cache-control").as_deref(), Some("max-age=5"));
        assert_eq!(redirected_fields(0, &[]).get("cache-control").as_deref(), Some("no-store"));
    }

    #[test]
    fn only_a_2xx_is_stored() {
        for (status, stored) in
            [(199, false), (200, true), (204, true), (299, true), (301, false), (404, false), (500, false)]
        {
            assert_eq!(is_stored(status), stored, "{status}");
        }
    }
}
