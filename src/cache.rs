//! `GET /cache?url={URL}`: the documented cache.

mod html_rewriter;

use kv_edge_core::cache::{self, CacheError, PageUrl, REDIRECTS_MAX};
use kv_edge_core::origin::AllowList;
use kv_edge_core::request_target::RequestTarget;
use kv_edge_core::retry::Backoff;
use wasm_bindgen::JsValue;
use worker::web_sys;

use crate::error::{Failure, message_of};
use crate::incoming::Incoming;
use crate::kv::{PutOptions, Value};
use crate::{deadline, log, response, upstream};

const JSON: (&str, &str) = ("content-type", "application/json");

/// Answers from `CACHE_KV`, else fetches the page and stores it without letting the visitor wait for that.
pub(crate) async fn answer(incoming: &Incoming, target: &RequestTarget<'_>) -> Result<web_sys::Response, Failure> {
    let url = target.parameter("url").map_err(CacheError::from)?.filter(|url| !url.is_empty());
    let href = href(&url.ok_or(CacheError::MissingUrl)?, None).ok_or(CacheError::NotAUrl)?;
    let vars = incoming.vars();
    let url = PageUrl::new(&href, &vars.cache_upstreams)?;
    let store = incoming.env().pages();
    let key = url.key();

    match store.bytes(&key).await {
        Ok(None) => {}
        Ok(Some(record)) => match cache::answer_from_record(&record) {
            Some(body) => return response::ok(&response::bytes(&body), &[JSON]),
            None => log::warning("/cache", "broken_record", &"the cached page does not parse"),
        },
        Err(error) => log::warning("/cache", "kv_unavailable", &error),
    }

    let (status, page) =
        deadline::within(vars.upstream_timeout.of_request(false), fetch_page(&url, &vars.cache_upstreams))
            .await
            .ok_or(CacheError::Timeout)??;
    let body = cache::answer_from_upstream(&page);
    if cache::is_stored(status) {
        incoming.wait_until(async move {
            let options = PutOptions::expiring(cache::EXPIRATION_TTL_SECONDS);
            let (value, backoff) = (Value::text(&page), Backoff::PUT_AFTER_ANSWER);
            let put = store.put_with_retry(&key, &value, Some(&options), &backoff, |_| {}).await;
            if let Err((error, _)) = put.outcome {
                log::warning("/cache", "kv_put_failed", &error);
            }
        });
    }
    response::ok(&response::bytes(body.as_bytes()), &[JSON, ("cache-status", &cache::cache_status(status))])
}

/// The upstream's status and the page as JSON. Follows redirects as far as `CACHE_UPSTREAMS` admits them.
async fn fetch_page(url: &PageUrl<'_>, allowed: &AllowList) -> Result<(u16, String), CacheError> {
    let upstream_failed = |thrown: JsValue| CacheError::Upstream(message_of(&thrown));
    let mut current = url.as_str().to_owned();
    for _ in 0..=REDIRECTS_MAX {
        let response = upstream::get(&current).await.map_err(upstream_failed)?;
        let status = response.status();
        let Some(location) = redirect(&response) else {
            let page = html_rewriter::read_page(&response).await?;
            let json = serde_json::to_string(&page).map_err(|error| CacheError::Upstream(error.to_string()))?;
            return Ok((status, json));
        };
        // A body that is not read would keep its connection.
        if let Some(body) = response.body() {
            let _cancelled = body.cancel();
        }
        let next = href(&location, Some(&current)).ok_or(CacheError::Redirect)?;
        current = PageUrl::new(&next, allowed).map_err(|_| CacheError::Redirect)?.as_str().to_owned();
    }
    Err(CacheError::Redirect)
}

fn redirect(response: &web_sys::Response) -> Option<String> {
    if cache::is_redirect(response.status()) { response.headers().get("location").ok().flatten() } else { None }
}

/// The URL as the platform's parser writes it; what that parser refuses is no URL.
fn href(url: &str, base: Option<&str>) -> Option<String> {
    let parsed = match base {
        Some(base) => web_sys::Url::new_with_base(url, base),
        None => web_sys::Url::new(url),
    };
    parsed.ok().map(|url| url.href())
}
