//! The JSON around results and errors: `{result, success, errors, messages, result_info}`. Only
//! the value of a single key is returned without it.

use http_semantics::error_response::ErrorResponse;
use kv_store::record::to_json;
use serde::Serialize;

/// The envelope. Its members are in the order in which Cloudflare writes them.
#[derive(Serialize)]
struct JsonEnvelope<'a, T> {
    result: T,
    success: bool,
    errors: &'a [Note<'a>],
    messages: &'a [Note<'a>],
    #[serde(skip_serializing_if = "Option::is_none")]
    result_info: Option<PageInfo<'a>>,
}

/// An error or a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Note<'a> {
    /// The error code, which does not change between releases.
    pub code: u32,
    /// A sentence for people.
    pub message: &'a str,
}

/// Which part of a list a response has (`result_info`).
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum PageInfo<'a> {
    /// A page of namespaces, accounts or memberships, by number.
    Page {
        /// The number of the page, from 1.
        page: u64,
        /// The most entries of a page.
        per_page: u64,
        /// The entries of this page.
        count: usize,
        /// All entries.
        total_count: usize,
        /// All pages.
        total_pages: u64,
    },
    /// A page of keys, by cursor.
    Cursor {
        /// The keys of this page.
        count: usize,
        /// Where the next page begins; empty if there is none.
        cursor: &'a str,
        /// The same, where version 5 of the npm package `cloudflare` looks for it.
        cursors: Cursors<'a>,
    },
}

/// The member `cursors` of a page of keys.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Cursors<'a> {
    /// Where the next page begins; empty if there is none.
    pub after: &'a str,
}

impl<'a> PageInfo<'a> {
    /// Returns the `result_info` of a page of keys. The cursor is `None` on the last page.
    #[must_use]
    pub fn of_keys(count: usize, cursor: Option<&'a str>) -> Self {
        let cursor = cursor.unwrap_or_default();
        Self::Cursor { count, cursor, cursors: Cursors { after: cursor } }
    }
}

/// Returns the JSON of a success.
///
/// # Examples
///
/// ```
/// use kv_api::envelope::{PageInfo, success};
/// use serde_json::{Value, json};
///
/// let page = PageInfo::of_keys(1, Some("next"));
/// let json = success([json!({"name": "users/ann"})], Some(page));
/// let envelope: Value = serde_json::from_str(&json)?;
/// assert_eq!(envelope["success"], true);
/// assert_eq!(envelope["result"][0]["name"], "users/ann");
/// assert_eq!(envelope["result_info"]["cursor"], "next");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[must_use]
pub fn success(result: impl Serialize, result_info: Option<PageInfo<'_>>) -> String {
    to_json(&JsonEnvelope { result, success: true, errors: &[], messages: &[], result_info })
}

/// Returns the JSON of a success that carries a note.
#[must_use]
pub fn success_with_note(result: impl Serialize, note: Note<'_>) -> String {
    let messages = &[note];
    to_json(&JsonEnvelope { result, success: true, errors: &[], messages, result_info: None })
}

/// Returns the JSON of a failure. `result` is what a client may use in spite of it. An error that
/// is not this API's own, such as one of the request's body or of Workers KV, gets the code that
/// the API's errors with its status have, and 10001 if there is none.
///
/// # Examples
///
/// ```
/// use http_semantics::error_response::HttpError;
/// use http_semantics::request_body::RequestBodyError;
/// use kv_api::envelope::failure;
/// use kv_api::error::KvApiError;
///
/// let json = failure(&KvApiError::KeyNotFound.response(), ());
/// assert!(json.starts_with(r#"{"result":null,"success":false,"errors":[{"code":10009,"#));
///
/// // Not an error of the API: it gets the code that the API has for 413.
/// let json = failure(&RequestBodyError::TooLong.response(), ());
/// assert!(json.contains(r#""code":10022"#));
/// ```
#[must_use]
pub fn failure(error: &ErrorResponse, result: impl Serialize) -> String {
    let code = error.code().parse().unwrap_or(match error.status().code() {
        400 | 408 | 411 => 10012,
        413 => 10022,
        429 => 10429,
        _ => 10001,
    });
    let errors = &[Note { code, message: error.sentence() }];
    to_json(&JsonEnvelope { result, success: false, errors, messages: &[], result_info: None })
}

#[cfg(test)]
mod tests {
    use http_semantics::error_response::HttpError;
    use http_semantics::request_body::RequestBodyError;

    use super::*;
    use crate::error::KvApiError;

    #[test]
    fn a_page_of_keys_names_the_next_one_twice() {
        assert_eq!(
            success(["a"], Some(PageInfo::of_keys(1, Some("c")))),
            r#"{"result":["a"],"success":true,"errors":[],"messages":[],"result_info":{"count":1,"cursor":"c","cursors":{"after":"c"}}}"#
        );
        let last = success([""; 0], Some(PageInfo::of_keys(0, None)));
        assert!(last.ends_with(r#""result_info":{"count":0,"cursor":"","cursors":{"after":""}}}"#), "{last}");
    }

    #[test]
    fn a_failure_has_a_code_whatever_failed() {
        assert_eq!(
            failure(&KvApiError::KeyNotFound.response(), ()),
            r#"{"result":null,"success":false,"errors":[{"code":10009,"message":"get: 'key not found'"}],"messages":[]}"#
        );
        for (error, code) in [
            (RequestBodyError::TooLong, 10022),
            (RequestBodyError::Incomplete, 10012),
            (RequestBodyError::TimedOut, 10012),
        ] {
            let json = failure(&error.response(), ());
            assert!(json.contains(&format!(r#"[{{"code":{code},"#)), "{json}");
        }
    }
}
