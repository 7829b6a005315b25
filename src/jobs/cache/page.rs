//! `GET /cache?url={URL}`: the documented JSON of a page, which is a view on top of the same
//! cache. It is stored beside the page's own response, under a key of its own, and is fresh as
//! long as that is.

use std::rc::Rc;

use http_cache::cache_status::{CacheStatus, ForwardReason};
use http_cache::cached_url::CachedUrl;
use http_cache::client_response::{VIA, is_null_body};
use http_cache::credentials::CredentialFields;
use http_cache::decision::{self, CacheRequest, Decision, IF_ERROR, SelectedResponse};
use http_cache::error::CacheError;
use http_cache::freshness::ExchangeTimes;
use http_cache::page_view::{self, DEFAULT_LIFETIME_MS, REDIRECTS_MAX};
use http_cache::purge;
use http_cache::stale;
use http_cache::storable::StorageCandidate;
use http_cache::stored_response::{StoredMetadata, StoredResponse};
use http_semantics::fields::{Fields, HeaderEdits, HeaderSection};
use http_semantics::request_target::RequestTarget;
use kv_store::limits::Key;
use kv_store::retry::Time;
use wasm_bindgen::JsValue;
use worker::web_sys::{Request, Response};

use super::exchange::{Exchange, ExchangeResult, ResponseSource};
use super::keeping::{self, CacheHit, StoredView, hot};
use super::{href, html_rewriter, purging};
use crate::http::error::RequestError;
use crate::http::forwarding;
use crate::http::request_context::RequestContext;
use crate::http::response;
use crate::kv::headed::Body;
use crate::platform::clock::Clock;
use crate::platform::deadline;

/// How the JSON of a page is stored: without the documented form around it.
pub(super) const PAGE_JSON: StoredView =
    StoredView { default_lifetime_ms: Some(DEFAULT_LIFETIME_MS), is_whole: true, body: answer_body };

fn answer_body(json: &js_sys::ArrayBuffer) -> Option<js_sys::ArrayBuffer> {
    let answer = page_view::answer_from_record(&js_sys::Uint8Array::new(json).to_vec())?;
    Some(js_sys::Uint8Array::from(answer.as_slice()).buffer())
}

/// Answers the request with the JSON.
pub(super) async fn answer(context: &Rc<RequestContext>, target: &RequestTarget<'_>) -> Result<Response, RequestError> {
    let url = target.parameter("url").map_err(CacheError::from)?.filter(|url| !url.is_empty());
    let url = url.ok_or(CacheError::MissingUrl)?;
    let allowed = &context.vars().cache.upstreams;
    // A URL in canonical form means the same to the runtime's parser, which costs more.
    let url = match CachedUrl::of_href(&url, allowed).ok().filter(|cached| cached.as_str() == url) {
        Some(cached) => cached,
        None => CachedUrl::of_href(&href(&url, None).ok_or(CacheError::NotAUrl)?, allowed)?,
    };
    PageRequest { context: Rc::clone(context), key: url.page_key(), url }.answer().await
}

#[derive(Clone)]
struct PageRequest {
    context: Rc<RequestContext>,
    url: CachedUrl,
    key: Key<'static>,
}

/// A page that was just read.
struct FetchedPage {
    json: String,
    status: u16,
    fields: HeaderSection,
    times: ExchangeTimes,
    cache_status: CacheStatus,
}

impl PageRequest {
    async fn answer(&self) -> Result<Response, RequestError> {
        let now_ms = Clock.now_ms();
        let asked = CacheRequest::of("GET", &HeaderSection::default());
        let mut kv_ms = None;
        let found = self.find(now_ms, &mut kv_ms).await;
        let selected = found.as_ref().ok().map(|found| SelectedResponse {
            kept: &found.kept,
            is_left_alone: hot(|hot| hot.is_left_alone(self.key.as_str(), now_ms)),
        });
        let decision = decision::decide(&asked, selected, ForwardReason::UriMiss, now_ms, || Clock.random_bits());
        if let (Decision::Serve { stale, refresh }, Ok(found)) = (&decision, &found) {
            if *refresh {
                self.refresh(now_ms);
            }
            return hit(found, *stale, now_ms);
        }
        let detail = found.as_ref().err().copied().flatten();
        let read = match self.read(false).await {
            Ok(read) => read,
            Err(failure) => {
                let now_ms = Clock.now_ms();
                hot(|hot| hot.end_refresh(self.key.as_str(), true, now_ms));
                return match found {
                    Ok(found) if may_stand_in(&found, &asked, now_ms) => {
                        self.context.log().warning("stale_if_error", &failure.cause());
                        hit(&found, Some(IF_ERROR), now_ms)
                    }
                    _ => Err(failure),
                };
            }
        };
        let ttl = self.keep(&read);
        let mut cache_status = read.cache_status;
        let is_hit = matches!(cache_status, CacheStatus::Hit { .. });
        if let CacheStatus::Forwarded { is_stored, ttl: told, detail: why, .. } = &mut cache_status {
            (*is_stored, *told, *why) = (ttl.is_some(), ttl, why.or(detail));
        }
        let body = page_view::answer_around(&read.json, is_hit);
        json(&response::bytes(body.as_bytes()), &cache_status)
    }

    /// Returns the stored JSON. The error is the `detail` for `Cache-Status` if there is one.
    async fn find(&self, now_ms: u64, kv_ms: &mut Option<u64>) -> Result<CacheHit, Option<&'static str>> {
        let find = keeping::find(&self.context, &self.key, &PAGE_JSON, now_ms, kv_ms);
        let (found, purges) = futures_util::future::join(find, purging::table(&self.context, now_ms)).await;
        let found = found.map_err(keeping::MissReason::detail)?;
        match purges {
            Ok(purges) if purges.covers(self.url.as_str(), &found.kept.stored) => Err(Some("purged")),
            Ok(_) => Ok(found),
            Err(_) => Err(Some(keeping::KV_UNAVAILABLE)),
        }
    }

    /// Reads the page again in the background, one refresh at a time.
    fn refresh(&self, now_ms: u64) {
        if !hot(|hot| hot.begin_refresh(self.key.as_str(), now_ms)) {
            return;
        }
        let view = self.clone();
        self.context.wait_until(async move {
            let read = view.read(true).await;
            hot(|hot| hot.end_refresh(view.key.as_str(), read.is_err(), Clock.now_ms()));
            match read {
                Ok(read) => drop(view.keep(&read)),
                Err(failure) => view.context.log().warning("refresh_failed", &failure.cause()),
            }
        });
    }

    /// Reads the page through the cache, follows redirects to origins in `CACHE_UPSTREAMS`, and
    /// turns it into JSON. A refresh always asks the upstream.
    async fn read(&self, is_refresh: bool) -> Result<FetchedPage, RequestError> {
        let mut url = self.url.clone();
        // After a redirect, the JSON is stored no longer than the redirects are.
        let (mut way_seconds, mut way_tags): (Option<i64>, Vec<String>) = (None, Vec::new());
        for _ in 0..=REDIRECTS_MAX {
            let request = Request::new_with_str(url.as_str()).map_err(|thrown| RequestError::internal(&thrown))?;
            let exchange = Exchange::new(&self.context, request, "GET", url.clone());
            let outcome = if is_refresh { exchange.renew().await? } else { exchange.answer().await? };
            let (status, fields, times) = outcome.source.head();
            let Some(location) = fields.get("location").filter(|_| page_view::is_redirect(status)) else {
                let mut read = self.page_of(outcome).await?;
                if let Some(seconds) = way_seconds {
                    let own = seconds_kept(&url, read.status, &read.fields, read.times);
                    way_tags.extend(purge::tags(&read.fields));
                    read.fields = page_view::kept_for(seconds.min(own), &way_tags);
                }
                return Ok(read);
            };
            let own = seconds_kept(&url, 200, fields, times);
            way_seconds = Some(way_seconds.map_or(own, |seconds| seconds.min(own)));
            way_tags.extend(purge::tags(fields));
            let next = href(&location, Some(url.as_str())).ok_or(CacheError::Redirect)?;
            outcome.discard();
            url = CachedUrl::of_href(&next, &self.context.vars().cache.upstreams).map_err(|_| CacheError::Redirect)?;
        }
        Err(CacheError::Redirect.into())
    }

    /// Reads title and text of a response.
    async fn page_of(&self, outcome: ExchangeResult) -> Result<FetchedPage, RequestError> {
        let ExchangeResult { source, cache_status, .. } = outcome;
        let (status, fields, times) = {
            let (status, fields, times) = source.head();
            (status, fields.clone(), times)
        };
        let body: JsValue = match source {
            ResponseSource::Stored { found: CacheHit { body: Body::Bytes(bytes), .. }, .. } => bytes.into(),
            ResponseSource::Stored { found: CacheHit { body: Body::Stream(stream), .. }, .. } => stream.into(),
            ResponseSource::Upstream { body, .. } => body,
        };
        let body = if is_null_body(status) { JsValue::NULL } else { body };
        let reading = html_rewriter::read_page(&body, &fields, times.received_ms);
        let timeout = self.context.vars().upstream_timeout.of_request(false);
        let page = deadline::within(timeout, reading).await.ok_or(CacheError::Timeout)??;
        let json = serde_json::to_string(&page).map_err(|error| CacheError::Upstream(error.to_string()))?;
        Ok(FetchedPage { json, status, fields, times, cache_status })
    }

    /// Stores the JSON if the page may be stored; returns for how many seconds it is fresh then.
    fn keep(&self, read: &FetchedPage) -> Option<i64> {
        let FetchedPage { json, status, fields, times, .. } = read;
        // The view is the same for everybody, whatever selects the page itself.
        let stored = stored(&self.url, *status, fields, *times).filter(|_| page_view::is_stored(*status))?;
        let body = js_sys::Uint8Array::from(json.as_bytes()).buffer();
        let length = u64::from(body.byte_length());
        let kept = Rc::new(StoredResponse::new(StoredMetadata { length, ..stored }, PAGE_JSON.default_lifetime_ms));
        keeping::keep(&self.context, &self.key, &kept, &body, &PAGE_JSON);
        Some(kept.ttl_seconds(Clock.now_ms()))
    }
}

fn may_stand_in(found: &CacheHit, asked: &CacheRequest, now_ms: u64) -> bool {
    let stale_ms = found.kept.stale_ms(now_ms);
    stale::if_error(&found.kept, &asked.directives, stale_ms)
}

fn hit(found: &CacheHit, stale: Option<&'static str>, now_ms: u64) -> Result<Response, RequestError> {
    let Body::Bytes(body) = &found.body else {
        return Err(RequestError::internal(&JsValue::from_str("a page as a stream")));
    };
    json(body, &CacheStatus::Hit { ttl: found.kept.ttl_seconds(now_ms), detail: stale })
}

fn json(body: &JsValue, cache_status: &CacheStatus) -> Result<Response, RequestError> {
    let cache_status = cache_status.to_string();
    let fields: HeaderSection = [
        ("content-type", "application/json"),
        ("cache-control", "no-cache"),
        ("x-content-type-options", "nosniff"),
        ("cache-status", &cache_status),
        ("via", VIA),
    ]
    .into_iter()
    .collect();
    forwarding::respond(200, &fields, &HeaderEdits::default(), body).map_err(|thrown| RequestError::internal(&thrown))
}

/// Returns for how many seconds a response may be used for a page; 0 if it may not be stored.
fn seconds_kept(url: &CachedUrl, status: u16, fields: &HeaderSection, times: ExchangeTimes) -> i64 {
    let stored = stored(url, status, fields, times);
    stored.map_or(0, |stored| StoredResponse::new(stored, PAGE_JSON.default_lifetime_ms).ttl_seconds(Clock.now_ms()))
}

/// Returns the metadata of a response to an anonymous request; `None` if it may not be stored.
fn stored(url: &CachedUrl, status: u16, fields: &HeaderSection, times: ExchangeTimes) -> Option<StoredMetadata> {
    let (method, url, response, default_lifetime_ms) = ("GET", url.as_str(), fields, PAGE_JSON.default_lifetime_ms);
    let (request, credentials) = (&HeaderSection::default(), &CredentialFields::default());
    let answered = StorageCandidate { method, url, request, credentials, status, response, times, default_lifetime_ms };
    answered.storable().ok()?;
    Some(StoredMetadata::received(request, credentials, status, fields, times, default_lifetime_ms))
}
