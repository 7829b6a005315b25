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
use http_cache::exchange::{CacheHit, MissReason, ResponseSource};
use http_cache::freshness::ExchangeTimes;
use http_cache::page_view::{self, DEFAULT_LIFETIME_MS, PageText, PageView, REDIRECTS_MAX};
use http_cache::purge::{self, PurgeMode};
use http_cache::stale;
use http_cache::storable::StorageCandidate;
use http_cache::stored_response::{StoredMetadata, StoredResponse};
use http_semantics::fields::{Fields, HeaderSection};
use http_semantics::request_target::RequestTarget;
use kv_store::limits::Key;
use kv_store::retry::Time;
use wasm_bindgen::JsValue;
use worker::web_sys::{Request, Response};

use super::exchange::{CacheResponse, ExchangeRunner};
use super::response_store::{self, StoredView, memory};
use super::{href, page_body, purging};
use crate::http::error::RequestError;
use crate::http::request_context::RequestContext;
use crate::http::response;
use crate::kv::envelope::EnvelopeBody;
use crate::platform::clock::Clock;

/// How the JSON of a page is stored: without the documented form around it.
pub(super) const PAGE_JSON: StoredView =
    StoredView { default_lifetime_ms: Some(DEFAULT_LIFETIME_MS), is_whole: true, body: body_from_record };

fn body_from_record(record: &js_sys::ArrayBuffer) -> Option<js_sys::ArrayBuffer> {
    let json = page_view::json_from_record(&js_sys::Uint8Array::new(record).to_vec())?;
    Some(js_sys::Uint8Array::from(json.as_slice()).buffer())
}

/// Responds with the JSON.
pub(super) async fn handle(context: &Rc<RequestContext>, target: &RequestTarget<'_>) -> Result<Response, RequestError> {
    let url = target.parameter("url").map_err(CacheError::from)?.filter(|url| !url.is_empty());
    let url = url.ok_or(CacheError::MissingUrl)?;
    let allowed = &context.vars().cache.upstreams;
    // A URL in canonical form means the same to the runtime's parser, which costs more.
    let url = match CachedUrl::of_href(&url, allowed).ok().filter(|cached| cached.as_str() == url) {
        Some(cached) => cached,
        None => CachedUrl::of_href(&href(&url, None).ok_or(CacheError::NotAUrl)?, allowed)?,
    };
    PageRequest { context: Rc::clone(context), key: url.page_key(), url }.respond().await
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
    async fn respond(&self) -> Result<Response, RequestError> {
        let now_ms = Clock.now_ms();
        let cache_request = CacheRequest::of("GET", &HeaderSection::default());
        let hit = self.lookup(now_ms).await;
        let selected = hit.as_ref().ok().map(|(hit, is_soft_purged)| SelectedResponse {
            is_soft_purged: *is_soft_purged,
            stored: &hit.stored,
            is_backing_off: memory(|memory| memory.is_backing_off(self.key.as_str(), now_ms)),
        });
        let decision =
            decision::decide(&cache_request, selected, ForwardReason::UriMiss, now_ms, || Clock.random_bits());
        if let (Decision::Serve { stale, refresh }, Ok((hit, is_soft_purged))) = (&decision, &hit) {
            if *refresh {
                self.refresh(now_ms);
            }
            return respond_with_hit(hit, *is_soft_purged, *stale, now_ms);
        }
        let detail = hit.as_ref().err().copied().flatten();
        let page = match self.fetch(false).await {
            Ok(page) => page,
            Err(failure) => {
                let now_ms = Clock.now_ms();
                memory(|memory| memory.record_upstream_outcome(self.key.as_str(), true, now_ms));
                return match hit {
                    Ok((hit, is_soft_purged)) if may_serve_stale(&hit, &cache_request, now_ms) => {
                        self.context.log().warning("stale_if_error", &failure.cause());
                        respond_with_hit(&hit, is_soft_purged, Some(IF_ERROR), now_ms)
                    }
                    _ => Err(failure),
                };
            }
        };
        let ttl = self.store(&page);
        let mut cache_status = page.cache_status;
        let is_hit = matches!(cache_status, CacheStatus::Hit { .. });
        if let CacheStatus::Forwarded { is_stored, ttl: stored_ttl, detail: stored_detail, .. } = &mut cache_status {
            (*is_stored, *stored_ttl, *stored_detail) = (ttl.is_some(), ttl, stored_detail.or(detail));
        }
        let body = page_view::json_around(&page.json, is_hit);
        respond_with_json(&response::bytes(body.as_bytes()), &cache_status)
    }

    /// Returns the stored JSON, and true if a soft purge covers it. The error is the `detail` for
    /// `Cache-Status` if there is one.
    async fn lookup(&self, now_ms: u64) -> Result<(CacheHit<EnvelopeBody>, bool), Option<&'static str>> {
        let stored = response_store::get(&self.context, &self.key, &PAGE_JSON, now_ms);
        let ((hit, _), purges) = futures_util::future::join(stored, purging::purge_list(&self.context, now_ms)).await;
        let hit = hit.map_err(MissReason::detail)?;
        match purges {
            Ok(purges) => match purges.covers(self.url.as_str(), &hit.stored.metadata) {
                Some(PurgeMode::Hard) => Err(Some("purged")),
                mode => Ok((hit, mode.is_some())),
            },
            Err(_) => Err(MissReason::Unavailable.detail()),
        }
    }

    /// Reads the page again in the background, one refresh at a time.
    fn refresh(&self, now_ms: u64) {
        if !memory(|memory| memory.try_begin_refresh(self.key.as_str(), now_ms)) {
            return;
        }
        let page_request = self.clone();
        self.context.wait_until(async move {
            let page = page_request.fetch(true).await;
            let has_failed = page.as_ref().map_or(true, |page| stale::is_error(page.status));
            memory(|memory| memory.record_refresh_outcome(page_request.key.as_str(), has_failed, Clock.now_ms()));
            match page {
                Ok(page) => drop(page_request.store(&page)),
                Err(failure) => page_request.context.log().warning("refresh_failed", &failure.cause()),
            }
        });
    }

    /// Reads the page through the cache, follows redirects to origins in `CACHE_UPSTREAMS`, and
    /// turns it into JSON. A refresh always asks the upstream.
    async fn fetch(&self, is_refresh: bool) -> Result<FetchedPage, RequestError> {
        let mut url = self.url.clone();
        // After a redirect, the JSON is stored no longer than the redirects are.
        let (mut redirects_ttl_seconds, mut redirects_tags): (Option<i64>, Vec<String>) = (None, Vec::new());
        for _ in 0..=REDIRECTS_MAX {
            let request = Request::new_with_str(url.as_str()).map_err(|thrown| RequestError::internal(&thrown))?;
            let exchange = ExchangeRunner::new(&self.context, request, "GET", url.clone());
            let response = if is_refresh { exchange.revalidate().await? } else { exchange.respond().await? };
            let (status, fields, times) = response.result.source.head();
            let Some(location) = fields.get("location").filter(|_| page_view::is_redirect(status)) else {
                let mut page = self.read_page(response).await?;
                if let Some(seconds) = redirects_ttl_seconds {
                    let own = storable_seconds(&url, page.status, &page.fields, page.times);
                    redirects_tags.extend(purge::tags(&page.fields));
                    page.fields = page_view::redirected_fields(seconds.min(own), &redirects_tags);
                }
                return Ok(page);
            };
            let own = storable_seconds(&url, 200, fields, times);
            redirects_ttl_seconds = Some(redirects_ttl_seconds.map_or(own, |seconds| seconds.min(own)));
            redirects_tags.extend(purge::tags(fields));
            response.discard();
            let next = href(&location, Some(url.as_str())).ok_or(CacheError::Redirect)?;
            url = CachedUrl::of_href(&next, &self.context.vars().cache.upstreams).map_err(|_| CacheError::Redirect)?;
        }
        Err(CacheError::Redirect.into())
    }

    /// Reads title and text of a response.
    async fn read_page(&self, CacheResponse { result, passed_on }: CacheResponse) -> Result<FetchedPage, RequestError> {
        let cache_status = result.cache_status;
        let (status, fields, times) = {
            let (status, fields, times) = result.source.head();
            (status, fields.clone(), times)
        };
        let body: JsValue = match result.source {
            ResponseSource::Stored { hit: CacheHit { body: EnvelopeBody::Bytes(bytes), .. }, .. } => bytes.into(),
            ResponseSource::Stored { hit: CacheHit { body: EnvelopeBody::Stream(stream), .. }, .. } => stream.into(),
            ResponseSource::Upstream { .. } => passed_on.map_or(JsValue::NULL, |(_, body)| body),
        };
        let body = if is_null_body(status) { JsValue::NULL } else { body };
        let timeout = self.context.vars().upstream_timeout.of_request(false);
        let text = PageText::of_html(&page_body::read_text(&body, &fields, timeout).await?);
        #[allow(clippy::cast_precision_loss)] // A date.
        let updated = js_sys::Date::new(&JsValue::from_f64(times.received_ms as f64));
        let page = PageView::new(text, updated.to_iso_string().into());
        let json = serde_json::to_string(&page).map_err(|error| CacheError::Upstream(error.to_string()))?;
        Ok(FetchedPage { json, status, fields, times, cache_status })
    }

    /// Stores the JSON if the page may be stored; returns for how many seconds it is fresh then.
    fn store(&self, page: &FetchedPage) -> Option<i64> {
        let FetchedPage { json, status, fields, times, .. } = page;
        // The view is the same for everybody, whatever selects the page itself.
        let metadata =
            storable_metadata(&self.url, *status, fields, *times).filter(|_| page_view::is_stored(*status))?;
        let body = js_sys::Uint8Array::from(json.as_bytes()).buffer();
        let length = u64::from(body.byte_length());
        let stored = Rc::new(StoredResponse::new(StoredMetadata { length, ..metadata }, PAGE_JSON.default_lifetime_ms));
        response_store::store(&self.context, &self.key, &stored, &body, &PAGE_JSON);
        Some(stored.ttl_seconds(Clock.now_ms()))
    }
}

fn may_serve_stale(hit: &CacheHit<EnvelopeBody>, cache_request: &CacheRequest, now_ms: u64) -> bool {
    let stale_ms = hit.stored.stale_ms(now_ms);
    stale::may_serve_on_error(&hit.stored, &cache_request.directives, stale_ms)
}

fn respond_with_hit(
    hit: &CacheHit<EnvelopeBody>,
    is_soft_purged: bool,
    stale: Option<&'static str>,
    now_ms: u64,
) -> Result<Response, RequestError> {
    let EnvelopeBody::Bytes(body) = &hit.body else {
        return Err(RequestError::internal(&JsValue::from_str("a page as a stream")));
    };
    respond_with_json(body, &CacheStatus::hit(&hit.stored, is_soft_purged, stale, now_ms))
}

fn respond_with_json(body: &JsValue, cache_status: &CacheStatus) -> Result<Response, RequestError> {
    let fields = [("content-type", "application/json"), ("cache-control", "no-cache"), ("via", VIA)];
    let response = response::ok(body, &fields)?;
    response.headers().set("cache-status", &cache_status.to_string())?;
    Ok(response)
}

/// Returns for how many seconds a response may be used for a page; 0 if it may not be stored.
fn storable_seconds(url: &CachedUrl, status: u16, fields: &HeaderSection, times: ExchangeTimes) -> i64 {
    let metadata = storable_metadata(url, status, fields, times);
    metadata
        .map_or(0, |metadata| StoredResponse::new(metadata, PAGE_JSON.default_lifetime_ms).ttl_seconds(Clock.now_ms()))
}

/// Returns the metadata of a response to an anonymous request; `None` if it may not be stored.
fn storable_metadata(
    url: &CachedUrl,
    status: u16,
    fields: &HeaderSection,
    times: ExchangeTimes,
) -> Option<StoredMetadata> {
    let (method, url, response, default_lifetime_ms) = ("GET", url.as_str(), fields, PAGE_JSON.default_lifetime_ms);
    let (request, credentials) = (&HeaderSection::default(), &CredentialFields::default());
    let candidate =
        StorageCandidate { method, url, request, credentials, status, response, times, default_lifetime_ms };
    candidate.check().ok()?;
    Some(StoredMetadata::from_response(request, credentials, status, fields, times, default_lifetime_ms))
}
