//! The body of an error: a sentence for people, or problem details for programs (RFC 9457).

use std::borrow::Cow;

use serde::Serialize;

use crate::status::Status;
use crate::weight;

/// Problem details (RFC 9457 §3.1) with two extension members, `code` and `requestId`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProblemDetails<'a> {
    /// `about:blank`: the status alone says what kind of problem it is (RFC 9457 §4.2.1).
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The reason phrase of the status.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The name of the problem, which does not change between releases.
    pub code: &'static str,
    /// One sentence for people, without anything internal.
    pub detail: &'a str,
    /// The id of the log line with the details, if there is one.
    #[serde(rename = "requestId", skip_serializing_if = "Option::is_none")]
    pub request_id: Option<&'a str>,
}

impl<'a> ProblemDetails<'a> {
    /// Returns a problem without a request id.
    #[must_use]
    pub fn new(status: Status, code: &'static str, detail: &'a str) -> Self {
        Self { kind: "about:blank", title: status.phrase(), status: status.code(), code, detail, request_id: None }
    }

    /// Returns content type and body of the response: problem details if `as_json` is true,
    /// otherwise the sentence alone.
    ///
    /// # Examples
    ///
    /// ```
    /// use http_semantics::problem::ProblemDetails;
    /// use http_semantics::status::Status;
    ///
    /// let problem = ProblemDetails::new(Status::NotFound, "not_found", "There is no such page.");
    /// assert_eq!(problem.render(false).1, "There is no such page.");
    /// let (content_type, json) = problem.render(true);
    /// assert_eq!(content_type, "application/problem+json");
    /// assert!(json.contains(r#""title":"Not Found","status":404,"code":"not_found""#));
    /// ```
    #[expect(clippy::expect_used, clippy::missing_panics_doc, reason = "text and numbers are always JSON")]
    #[must_use]
    pub fn render(&self, as_json: bool) -> (&'static str, Cow<'a, str>) {
        if !as_json {
            return ("text/plain; charset=utf-8", Cow::Borrowed(self.detail));
        }
        let json = serde_json::to_string(self).expect("a problem is made of text and numbers");
        ("application/problem+json", Cow::Owned(json))
    }
}

/// Returns true if the `Accept` field names a JSON type with a weight above zero (RFC 9110
/// §12.5.1). `*/*` is not enough: the documented examples get plain text.
///
/// [`wants_html`] has an example.
#[must_use]
pub fn wants_json(accept: Option<&str>) -> bool {
    accepts(accept, &["application/json", "application/problem+json"])
}

/// Returns true if the `Accept` field names HTML with a weight above zero and does not name JSON:
/// what browsers send.
///
/// # Examples
///
/// ```
/// use http_semantics::problem::{wants_html, wants_json};
///
/// let browser = Some("text/html,application/xhtml+xml,*/*;q=0.8");
/// assert!(wants_html(browser) && !wants_json(browser));
/// let program = Some("application/json, text/html;q=0.5");
/// assert!(wants_json(program) && !wants_html(program));
/// let curl = Some("*/*");
/// assert!(!wants_json(curl) && !wants_html(curl));
/// ```
#[must_use]
pub fn wants_html(accept: Option<&str>) -> bool {
    accepts(accept, &["text/html"]) && !wants_json(accept)
}

fn accepts(accept: Option<&str>, media_types: &[&str]) -> bool {
    accept.unwrap_or_default().split(',').any(|range| {
        let mut parts = range.split(';');
        let media_type = parts.next().unwrap_or_default().trim();
        media_types.iter().any(|wanted| wanted.eq_ignore_ascii_case(media_type))
            && !parts.any(|parameter| weight::parse(parameter) == Some(0))
    })
}

/// Returns the id that Cloudflare gave a request (`cf-ray`), if the value looks like one. Without
/// Cloudflare in front a visitor can send any value in this field, and one that does not look like
/// an id must reach neither the log nor the response.
///
/// # Examples
///
/// ```
/// use http_semantics::problem::ray_id;
///
/// assert_eq!(ray_id(Some("8c9a5b7d2e1f-ZRH".to_owned())).as_deref(), Some("8c9a5b7d2e1f-ZRH"));
/// assert_eq!(ray_id(Some("<script>".to_owned())), None);
/// ```
#[must_use]
pub fn ray_id(field: Option<String>) -> Option<String> {
    let is_id = |id: &String| {
        (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    field.filter(is_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_the_sentence_alone() {
        let problem = ProblemDetails::new(Status::NotFound, "not_found", "Not found");
        assert_eq!(problem.render(false), ("text/plain; charset=utf-8", "Not found".into()));
    }

    #[test]
    fn json_is_problem_details_of_rfc_9457() {
        let mut problem = ProblemDetails::new(Status::BadGateway, "origin_failed", "He said \"no\".");
        problem.request_id = Some("abc");
        let (content_type, body) = problem.render(true);
        assert_eq!(content_type, "application/problem+json");
        assert_eq!(
            body,
            r#"{"type":"about:blank","title":"Bad Gateway","status":502,"code":"origin_failed","detail":"He said \"no\".","requestId":"abc"}"#
        );
        assert!(!ProblemDetails::new(Status::BadRequest, "x", "y").render(true).1.contains("requestId"));
    }

    #[test]
    fn the_title_is_the_phrase_of_the_status() {
        for (status, start) in [
            (Status::NotAcceptable, r#"{"type":"about:blank","title":"Not Acceptable","status":406,"#),
            (Status::RangeNotSatisfiable, r#"{"type":"about:blank","title":"Range Not Satisfiable","status":416,"#),
        ] {
            let (_, body) = ProblemDetails::new(status, "x", "y").render(true);
            assert!(body.starts_with(start), "{body}");
        }
    }

    #[test]
    fn a_ray_id_has_only_letters_digits_and_dashes() {
        assert_eq!(ray_id(Some("8f1a2b3c4d5e6f70-FRA".into())), Some("8f1a2b3c4d5e6f70-FRA".into()));
        for field in ["", "<script>", "a b", "8f1a\r\nx: y", "é", &"a".repeat(65)] {
            assert_eq!(ray_id(Some(field.into())), None, "{field}");
        }
    }

    #[test]
    fn json_is_sent_if_accept_names_it() {
        for (accept, json) in [
            (None, false),
            (Some("*/*"), false),
            (Some("text/html,application/xhtml+xml,*/*;q=0.8"), false),
            (Some("application/json"), true),
            (Some("Application/JSON; charset=utf-8"), true),
            (Some("text/plain, application/problem+json;q=0.9"), true),
            (Some("application/json;q=0, text/plain"), false),
            (Some("application/json; Q=0.0"), false),
        ] {
            assert_eq!(wants_json(accept), json, "{accept:?}");
        }
    }

    #[test]
    fn html_is_sent_if_accept_names_it_and_not_json() {
        for (accept, html) in [
            (None, false),
            (Some("*/*"), false),
            (Some("text/html,application/xhtml+xml,*/*;q=0.8"), true),
            (Some("TEXT/HTML"), true),
            (Some("text/html;q=0, */*"), false),
            (Some("text/html, application/json"), false),
        ] {
            assert_eq!(wants_html(accept), html, "{accept:?}");
        }
    }
}
