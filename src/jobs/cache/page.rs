//! `GET /cache?url={URL}`: the documented JSON of a page. It is an exchange of the same cache as
//! the page itself, under a key of its own.

use std::rc::Rc;

use http_cache::cache_status::CacheStatus;
use http_cache::cached_url::CachedUrl;
use http_cache::client_response::{VIA, is_null_body};
use http_cache::error::CacheError;
use http_cache::exchange::{CacheHit, Exchange, ResponseSource, UpstreamHead};
use http_cache::page_view::{self, PageText, PageView, REDIRECTS_MAX, Redirects};
use http_semantics::request_target::RequestTarget;
use kv_store::retry::Time;
use wasm_bindgen::JsValue;
use worker::web_sys::Response;

use super::exchange::{CacheResponse, ExchangeRunner, Received};
use super::page_body;
use crate::http::error::RequestError;
use crate::http::request_context::RequestContext;
use crate::http::response;
use crate::http::url::{cached_url, href};
use crate::kv::envelope::EnvelopeBody;
use crate::platform::clock::Clock;

/// A page that was fetched just now.
pub(super) struct FetchedPage {
    /// The record of its view.
    json: String,
    /// The documented response out of the cache.
    pub(super) body: js_sys::ArrayBuffer,
    cache_status: CacheStatus,
}

/// Responds with the JSON.
pub(super) async fn handle(context: &Rc<RequestContext>, target: &RequestTarget<'_>) -> Result<Response, RequestError> {
    let url = target.parameter("url").map_err(CacheError::from)?.filter(|url| !url.is_empty());
    let url = url.ok_or(CacheError::MissingUrl)?;
    let url = cached_url(&url, &context.vars().cache_upstreams)?;
    let runner = ExchangeRunner { context: Rc::clone(context), names: String::new() };
    let response = runner.run(Exchange::of_page_view(url)).await.map_err(|failure| failure.response)?;
    let CacheResponse { result, page, .. } = response;
    let (body, cache_status): (JsValue, _) = match (result.source, result.cache_status, page) {
        (_, view @ CacheStatus::Forwarded { .. }, Some(page)) => {
            let cache_status = CacheStatus::of_view(page.cache_status, view);
            let is_from_cache = matches!(cache_status, CacheStatus::Hit { .. });
            (response::bytes(page_view::json_around(&page.json, is_from_cache).as_bytes()), cache_status)
        }
        (ResponseSource::Stored { hit: CacheHit { body: EnvelopeBody::Bytes(body), .. }, .. }, cache_status, _) => {
            (body.into(), cache_status)
        }
        _ => return Err(RequestError::internal(&JsValue::from_str("a page as a stream"))),
    };
    let fields = [("content-type", "application/json"), ("cache-control", "no-cache"), ("via", VIA)];
    let response = response::ok(&body, &fields)?;
    response.headers().set("cache-status", &cache_status.to_string())?;
    Ok(response)
}

/// Fetches the page of a view through the cache, and makes it into JSON. Follows redirects to
/// origins in `CACHE_UPSTREAMS`.
pub(super) async fn fetch(
    runner: &ExchangeRunner,
    view: &Exchange<EnvelopeBody>,
    received: &mut Received,
) -> Result<UpstreamHead, CacheError> {
    let (mut url, mut redirects) = (view.url().clone(), Redirects::default());
    for _ in 0..=REDIRECTS_MAX {
        let response = runner.run(view.page(url.clone())).await.map_err(|failure| failure.error)?;
        let Some(location) = redirects.follow(&url, response.result.source.head(), Clock.now_ms()) else {
            let (page, head) = read(runner, redirects, &url, response).await?;
            received.page = Some(page);
            return Ok(head);
        };
        response.discard();
        let next = href(&location, Some(url.as_str())).ok_or(CacheError::Redirect)?;
        url = CachedUrl::of_href(&next, &runner.context.vars().cache_upstreams).map_err(|_| CacheError::Redirect)?;
        received.page_url = Some(url.clone());
    }
    Err(CacheError::Redirect)
}

/// Reads title and text of a page.
async fn read(
    runner: &ExchangeRunner,
    redirects: Redirects,
    url: &CachedUrl,
    CacheResponse { result, passed_on, .. }: CacheResponse,
) -> Result<(FetchedPage, UpstreamHead), CacheError> {
    let (status, fields, times) = result.source.head();
    let body = match &result.source {
        _ if is_null_body(status) => JsValue::NULL,
        ResponseSource::Stored { hit: CacheHit { body: EnvelopeBody::Bytes(bytes), .. }, .. } => bytes.into(),
        ResponseSource::Stored { hit: CacheHit { body: EnvelopeBody::Stream(stream), .. }, .. } => stream.into(),
        ResponseSource::Upstream { .. } => passed_on.map_or(JsValue::NULL, |(_, body)| body),
    };
    let timeout = runner.context.vars().upstream_timeout.of_request(false);
    let text = PageText::of_html(&page_body::read_text(&body, fields, timeout).await?);
    #[allow(clippy::cast_precision_loss)] // A date.
    let updated = js_sys::Date::new(&JsValue::from_f64(times.received_ms as f64));
    let json = PageView::new(text, updated.to_iso_string().into()).to_json();
    let fields = redirects.view_fields(url, (status, fields, times), json.len(), Clock.now_ms());
    let head = UpstreamHead { status, fields, has_date: true, has_body: true, times };
    let body = js_sys::Uint8Array::from(page_view::json_around(&json, true).as_bytes()).buffer();
    Ok((FetchedPage { json, body, cache_status: result.cache_status }, head))
}
