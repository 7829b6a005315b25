//! `GET /cache?url={URL}`: title and text of a page as JSON, as the KV documentation has it. The
//! JSON is in the same cache as the page, under its own key.

use std::rc::Rc;

use http_cache::cache_status::CacheStatus;
use http_cache::client_response::VIA;
use http_cache::error::CacheError;
use http_cache::exchange::{CacheHit, Exchange, ResponseSource};
use http_cache::page_view;
use http_semantics::request_target::RequestTarget;
use wasm_bindgen::JsValue;
use worker::web_sys::Response;

use super::exchange::{CacheResponse, ExchangeRunner};
use crate::http::error::RequestError;
use crate::http::request_context::RequestContext;
use crate::http::response;
use crate::http::url::cached_url;
use crate::kv::envelope::EnvelopeBody;

/// Responds with the JSON, stored or made now.
pub(crate) async fn handle(context: &Rc<RequestContext>, target: &RequestTarget<'_>) -> Result<Response, RequestError> {
    let url = target.parameter("url").map_err(CacheError::from)?.filter(|url| !url.is_empty());
    let url = url.ok_or(CacheError::MissingUrl)?;
    let url = cached_url(&url, &context.vars().cache_upstreams)?;
    // No header fields of the request: the JSON is the same for every client.
    let runner = ExchangeRunner { context: Rc::clone(context), names: String::new() };
    let response = runner.run(Exchange::of_page_view(url)).await.map_err(|failure| failure.response)?;
    let CacheResponse { result, page, .. } = response;
    // The status of JSON that was made now is that of its page; stored JSON has its own.
    let (body, cache_status): (JsValue, _) = match (result.source, result.cache_status, page) {
        (_, view_status @ CacheStatus::Forwarded { .. }, Some(page)) => {
            let cache_status = CacheStatus::of_view(page.cache_status, view_status);
            let is_from_cache = matches!(cache_status, CacheStatus::Hit { .. });
            (response::bytes(page_view::json_around(&page.json, is_from_cache).as_bytes()), cache_status)
        }
        (ResponseSource::Stored { hit: CacheHit { body: EnvelopeBody::Bytes(body), .. }, .. }, cache_status, _) => {
            (body.into(), cache_status)
        }
        _ => {
            return Err(RequestError::internal(&JsValue::from_str(
                "the exchange brought no JSON: neither stored nor with its page",
            )));
        }
    };
    let fields = [("content-type", "application/json"), ("cache-control", "no-cache"), ("via", VIA)];
    let response = response::ok(&body, &fields)?;
    response.headers().set("cache-status", &cache_status.to_string())?;
    Ok(response)
}
