//! The JSON view of a web page: its title and its text (KV documentation, "Cache data with
//! Workers KV").

pub mod charset;
mod coding;
mod redirects;
mod scan;
mod text;
mod tokenizer;

pub use coding::PageCoding;
pub use redirects::Redirects;
pub use text::PageText;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use kv_store::record;

/// The most redirects that are followed for one page.
pub const REDIRECTS_MAX: u32 = 5;

/// How long the view of a page is fresh if the page states no lifetime, in milliseconds: a
/// minute, as in the documented example.
pub const DEFAULT_LIFETIME_MS: u64 = 60_000;

/// The longest page that is read, in bytes.
pub const PAGE_BYTES_MAX: u32 = 8 * 1024 * 1024;

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
    /// When the upstream sent the page, or last validated it, ISO 8601.
    #[serde(borrow)]
    pub last_updated: Cow<'a, str>,
}

impl PageView<'static> {
    /// Creates the view of a page. If its title or body is missing, the documented text stands
    /// in.
    ///
    /// # Examples
    ///
    /// ```
    /// use http_cache::page_view::{PageText, PageView, json_around};
    ///
    /// let text = PageText { title: None, content: Some("Green tea".to_owned()) };
    /// let view = PageView::new(text, "2026-11-21T11:44:35.000Z".to_owned()).to_json();
    /// let json = json_around(&view, true);
    /// assert!(json.starts_with(r#"{"data":{"title":"No title found","content":"Green tea","#));
    /// assert!(json.ends_with(r#""lastUpdated":"2026-11-21T11:44:35.000Z"},"fromCache":true}"#));
    /// ```
    #[must_use]
    pub fn new(text: PageText, last_updated: String) -> Self {
        let or = |text: Option<String>, none: &'static str| text.map_or(Cow::Borrowed(none), Cow::Owned);
        Self {
            title: or(text.title, "No title found"),
            content: or(text.content, "No content found"),
            last_updated: last_updated.into(),
        }
    }

    /// Returns the JSON that is stored in `CACHE_KV`.
    ///
    /// [`new`](Self::new) has an example.
    #[must_use]
    pub fn to_json(&self) -> String {
        record::to_json(self)
    }
}

const BEFORE: &str = "{\"data\":";
const AFTER: &str = ",\"fromCache\":false}";
const AFTER_FROM_CACHE: &str = ",\"fromCache\":true}";

/// Returns the documented response around a view that was read from `CACHE_KV`. Returns `None`
/// if the record is broken, which counts as a miss.
///
/// # Examples
///
/// ```
/// use http_cache::page_view::{json_from_record, record_in_json};
///
/// let record = br#"{"title":"Tea","content":"","lastUpdated":"2026-11-21T11:44:35.000Z"}"#;
/// let json = json_from_record(record).unwrap();
/// // Memory holds the response; the record to store is a part of it.
/// let (begin, end) = record_in_json(json.len().try_into()?);
/// assert_eq!(json[begin as usize..end as usize], record[..]);
/// assert_eq!(json_from_record(b"{}"), None);
/// # Ok::<(), std::num::TryFromIntError>(())
/// ```
#[must_use]
pub fn json_from_record(record: &[u8]) -> Option<Vec<u8>> {
    let is_view = record::parse::<PageView<'_>>(record).is_ok();
    is_view.then(|| [BEFORE.as_bytes(), record, AFTER_FROM_CACHE.as_bytes()].concat())
}

/// Returns where the record begins and ends in a response with `"fromCache":true`, which has
/// `length` bytes.
///
/// [`json_from_record`] has an example.
#[must_use]
#[expect(clippy::expect_used, clippy::missing_panics_doc, reason = "the two texts stand above")]
pub fn record_in_json(length: u32) -> (u32, u32) {
    let [before, after] = [BEFORE, AFTER_FROM_CACHE].map(|text| u32::try_from(text.len()).expect("a short text"));
    (before, length - after)
}

/// Returns the documented response around the JSON of a view that was made just now, from a page
/// of the cache or of the upstream.
///
/// [`PageView::new`] has an example.
#[must_use]
pub fn json_around(view: &str, is_from_cache: bool) -> String {
    [BEFORE, view, if is_from_cache { AFTER_FROM_CACHE } else { AFTER }].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_returned_unchanged_and_a_broken_one_is_a_miss() {
        let record = r#"{"title":"A \"b\"","content":"c","lastUpdated":"2026-01-01T00:00:00.000Z"}"#;
        let response = json_from_record(record.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(response).unwrap(), format!(r#"{{"data":{record},"fromCache":true}}"#));
        assert_eq!(json_around(record, true), format!(r#"{{"data":{record},"fromCache":true}}"#));
        let (begin, end) = record_in_json(u32::try_from(json_around(record, true).len()).unwrap());
        let response = json_around(record, true);
        assert_eq!(&response[begin as usize..end as usize], record);
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
}
