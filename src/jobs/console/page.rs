//! `GET /console/…`: the files of the page.

use http_semantics::conditional::{self, PreconditionResult, Validators};
use wasm_bindgen::JsValue;
use worker::web_sys::{Request, RequestInit, Response};

use super::ConsoleError;
use crate::http::error::RequestError;
use crate::http::request_context::RequestContext;
use crate::http::{response, stream};

/// The address of the page.
pub(crate) const ROOT: &str = "/console/";

/// What the page may load and do: files of its own host, and calls to it. Markup that somebody
/// wrote into KV runs no script, however it gets into the page (Content Security Policy Level 3).
/// Images in values are shown from memory, as `data:` or `blob:`.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The fields of every file. A file keeps its name in the next deploy, so browsers ask each time
/// whether it has changed.
const FIELDS: [(&str, &str); 5] = [
    ("cache-control", "no-cache"),
    ("content-security-policy", CONTENT_SECURITY_POLICY),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
];

/// Returns a file of the page; `/console/` is `index.html`, and `/console` redirects there. `path`
/// is the whole path, still percent-encoded.
pub(crate) async fn handle(context: &RequestContext, path: &str) -> Result<Response, RequestError> {
    let Some(name) = path.strip_prefix(ROOT) else {
        return Ok(response::with_status(308, &JsValue::NULL, &[("location", ROOT)])?);
    };
    let files = context.env().console_files().ok_or(ConsoleError::NotBuilt)?;
    let init = RequestInit::new();
    init.set_method(context.method());
    let url = format!("https://console{ROOT}{}", if name.is_empty() { "index.html" } else { name });
    let file = files.send(&Request::new_with_str_and_init(&url, &init)?).await?;
    if file.status() != 200 {
        return Err(if name.is_empty() { ConsoleError::NotBuilt } else { ConsoleError::FileNotFound }.into());
    }
    let headers = file.headers();
    let (content_type, etag) = (headers.get("content-type")?, headers.get("etag")?);
    // RFC 9110 §13.1.2 asks to compare `If-None-Match` tag by tag. Static assets compare the whole
    // field, so the condition is evaluated here.
    let validators = Validators { etag: etag.as_deref(), last_modified_ms: None, received_ms: u64::MAX };
    let result = conditional::evaluate(context.method(), &context.headers("if-none-match"), &validators);
    let (status, body) = match (result, file.body()) {
        (PreconditionResult::NotModified, body) => {
            body.iter().for_each(stream::cancel);
            (304, JsValue::NULL)
        }
        (_, body) => (200, body.map_or(JsValue::NULL, Into::into)),
    };
    let file_fields = [("content-type", &content_type), ("etag", &etag)];
    let file_fields = file_fields.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
    Ok(response::with_status(status, &body, &file_fields.chain(FIELDS).collect::<Vec<_>>())?)
}
