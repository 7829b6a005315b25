//! One request to the cache, from the lookup to the response. `http_cache` decides each step.

mod forward;
mod storing;

use std::rc::Rc;

use futures_util::future::join;
use http_cache::cache_status::{CacheStatus, ForwardReason};
use http_cache::cached_url::CachedUrl;
use http_cache::decision::{self, CacheRequest, Decision, SelectedResponse};
use http_cache::error::CacheError;
use http_cache::freshness::ExchangeTimes;
use http_cache::stored_response::{StoredMetadata, StoredResponse};
use http_cache::validation::conditions;
use http_cache::vary;
use http_semantics::cdn_loop;
use http_semantics::fields::{Fields, HeaderSection};
use kv_store::limits::Key;
use kv_store::retry::Time;
use wasm_bindgen::prelude::*;
use worker::web_sys::{ReadableStream, Request};

use super::response_store::{self, AS_STORED, CacheHit, KV_UNAVAILABLE, MissReason, memory};
use super::{href, purging};
use crate::http::error::RequestError;
use crate::http::forwarding::MessageFields;
use crate::http::request_context::RequestContext;
use crate::http::stream;
use crate::platform::clock::Clock;
use forward::TimedResponse;

/// A request to the cache.
#[derive(Clone)]
pub(super) struct Exchange {
    context: Rc<RequestContext>,
    /// The client's request, or one that kv-edge makes itself.
    request: Request,
    names: String,
    method: String,
    url: CachedUrl,
    cache_request: CacheRequest,
}

/// The response of an exchange, and how it came about.
pub(super) struct ExchangeResult {
    pub(super) source: ResponseSource,
    pub(super) cache_status: CacheStatus,
    pub(super) kv_ms: Option<u64>,
    pub(super) upstream_ms: Option<u64>,
}

/// Where the response comes from.
pub(super) enum ResponseSource {
    /// A stored response. Its metadata and body are known, so conditions and ranges can be
    /// evaluated.
    Stored {
        hit: CacheHit,
        /// All fields of the response if it was received or validated just now.
        received: Option<HeaderSection>,
    },
    /// The upstream's response, passed on.
    Upstream {
        received: TimedResponse,
        /// A stream, an `ArrayBuffer`, or `null`.
        body: JsValue,
    },
}

/// The result of looking for a stored response.
struct Lookup {
    hit: Option<CacheHit>,
    /// The key of the stored response; if there is none, the URL's key.
    key: Key<'static>,
    /// The response under the URL's key.
    primary: Option<Rc<StoredResponse>>,
    /// Why there is no stored response.
    miss_reason: ForwardReason,
    detail: Option<&'static str>,
    kv_ms: Option<u64>,
}

impl Exchange {
    pub(super) fn new(context: &Rc<RequestContext>, request: Request, method: &str, url: CachedUrl) -> Self {
        let fields = MessageFields::of_request(&request);
        let (cache_request, names) = (CacheRequest::of(method, &fields), fields.names().to_owned());
        Self { context: Rc::clone(context), request, names, method: method.to_owned(), url, cache_request }
    }

    /// Returns the client's header fields.
    pub(super) fn fields(&self) -> MessageFields<'_> {
        MessageFields::with_names(&self.request, &self.names)
    }

    pub(super) async fn respond(&self) -> Result<ExchangeResult, RequestError> {
        if decision::has_unexpected_body(&self.method, &self.fields()) {
            return Err(CacheError::UnexpectedBody.into());
        }
        // A loop is an error even if a stored response could be served (RFC 8586 §3).
        cdn_loop::append_cdn_id(self.fields().get("cdn-loop")).ok_or(CacheError::Loop)?;
        let now_ms = Clock.now_ms();
        let lookup = self.lookup(now_ms).await;
        let now_ms = if lookup.kv_ms.is_some() { Clock.now_ms() } else { now_ms };
        match self.decide(&lookup, now_ms) {
            Decision::Serve { stale, refresh } => {
                let Lookup { hit: Some(hit), key, kv_ms, .. } = lookup else {
                    return Err(CacheError::NotCached.into());
                };
                if refresh {
                    self.refresh(&key, now_ms);
                }
                let cache_status = CacheStatus::Hit { ttl: hit.stored.ttl_seconds(now_ms), detail: stale };
                Ok(ExchangeResult {
                    source: ResponseSource::Stored { hit, received: None },
                    cache_status,
                    kv_ms,
                    upstream_ms: None,
                })
            }
            Decision::Forward { fwd, conditions } => self.forward(lookup, fwd, conditions).await,
            Decision::NotCached => {
                lookup.discard();
                Err(CacheError::NotCached.into())
            }
        }
    }

    fn decide(&self, lookup: &Lookup, now_ms: u64) -> Decision {
        let selected = lookup.hit.as_ref().map(|hit| SelectedResponse {
            stored: &hit.stored,
            is_backing_off: memory(|memory| memory.is_backing_off(lookup.key.as_str(), now_ms)),
        });
        decision::decide(&self.cache_request, selected, lookup.miss_reason, now_ms, || Clock.random_bits())
    }

    /// Looks for a stored response: under the URL's key, or else under the key of the variant
    /// that the request selects.
    async fn lookup(&self, now_ms: u64) -> Lookup {
        let key = self.url.key();
        let mut lookup =
            Lookup { hit: None, key, primary: None, miss_reason: ForwardReason::UriMiss, detail: None, kv_ms: None };
        if !self.cache_request.permits_lookup() {
            return lookup;
        }
        let find = response_store::get(&self.context, &lookup.key, &AS_STORED, now_ms, &mut lookup.kv_ms);
        let (primary, purges) = join(find, purging::purge_list(&self.context, now_ms)).await;
        let primary = match primary {
            Ok(primary) => primary,
            Err(not_found) => return lookup.missed_because(not_found),
        };
        let Ok(purges) = purges else {
            response_store::discard(&primary.body);
            return lookup.missed(ForwardReason::Miss, Some(KV_UNAVAILABLE));
        };
        if purges.covers(self.url.as_str(), &primary.stored.metadata) {
            response_store::discard(&primary.body);
            return lookup.missed(ForwardReason::Miss, Some("purged"));
        }
        let stored = Rc::clone(&primary.stored);
        lookup.primary = Some(Rc::clone(&stored));
        let fields = self.fields();
        if vary::matches(&stored.metadata.selecting_fields, &stored.metadata.fields, &fields) {
            lookup.hit = Some(primary);
            return lookup;
        }
        response_store::discard(&primary.body);
        let names: Vec<String> = stored.metadata.selecting_fields.iter().map(|(name, _)| name.clone()).collect();
        let selecting_fields = vary::selecting_fields(&names, &fields);
        let key = self.url.variant_key(&selecting_fields);
        match response_store::get(&self.context, &key, &AS_STORED, now_ms, &mut lookup.kv_ms).await {
            Ok(variant)
                if variant.stored.metadata.epoch_ms == stored.metadata.epoch_ms
                    && !memory(|memory| {
                        memory.is_invalidated(lookup.key.as_str(), variant.stored.metadata.times.requested_ms)
                    })
                    && variant.stored.metadata.selecting_fields == selecting_fields
                    && !purges.covers(self.url.as_str(), &variant.stored.metadata) =>
            {
                lookup.key = key;
                lookup.hit = Some(variant);
                lookup
            }
            Ok(variant) => {
                response_store::discard(&variant.body);
                lookup.missed(ForwardReason::VaryMiss, None)
            }
            Err(MissReason::Absent) => lookup.missed(ForwardReason::VaryMiss, None),
            Err(not_found) => lookup.missed_because(not_found),
        }
    }

    /// Refreshes the stored response in the background, one refresh at a time.
    fn refresh(&self, key: &Key<'_>, now_ms: u64) {
        if !memory(|memory| memory.begin_refresh(key.as_str(), now_ms)) {
            return;
        }
        let mut again = self.clone();
        "GET".clone_into(&mut again.method);
        // The stored response is for everybody, and so must the one be that replaces it.
        again.names = again.names.split(',').filter(|name| *name != "authorization").collect::<Vec<_>>().join(",");
        let key = key.to_static();
        self.context.wait_until(async move {
            let updated = again.revalidate().await;
            let is_revalidated =
                updated.as_ref().is_ok_and(|outcome| matches!(outcome.cache_status, CacheStatus::Forwarded { .. }));
            if !is_revalidated {
                memory(|memory| memory.end_refresh(key.as_str(), true, Clock.now_ms()));
            }
            match updated {
                Ok(outcome) => outcome.discard(),
                Err(failure) => again.context.log().warning("refresh_failed", &failure.cause()),
            }
        });
    }

    /// Asks the upstream for the stored response, however fresh it is, with a condition if
    /// possible.
    pub(super) async fn revalidate(&self) -> Result<ExchangeResult, RequestError> {
        let lookup = self.lookup(Clock.now_ms()).await;
        let conditions = lookup.hit.as_ref().map(|hit| conditions(&hit.stored.metadata.fields)).unwrap_or_default();
        let fwd = if lookup.hit.is_some() { ForwardReason::Stale } else { lookup.miss_reason };
        self.forward(lookup, fwd, conditions).await
    }
}

impl Lookup {
    /// Cancels the body of the stored response, which is not used.
    fn discard(&self) {
        if let Some(hit) = &self.hit {
            response_store::discard(&hit.body);
        }
    }

    fn missed(mut self, miss_reason: ForwardReason, detail: Option<&'static str>) -> Self {
        self.miss_reason = miss_reason;
        self.detail = detail;
        self
    }

    fn missed_because(self, not_found: MissReason) -> Self {
        let miss_reason = if not_found == MissReason::Absent { ForwardReason::UriMiss } else { ForwardReason::Miss };
        self.missed(miss_reason, not_found.detail())
    }
}

impl ResponseSource {
    /// Returns status, header fields and times.
    pub(super) fn head(&self) -> (u16, &HeaderSection, ExchangeTimes) {
        match self {
            Self::Stored { hit: CacheHit { stored, .. }, received } => {
                let StoredMetadata { status, times, .. } = stored.metadata;
                (status, received.as_ref().unwrap_or(&stored.metadata.fields), times)
            }
            Self::Upstream { received: TimedResponse { status, fields, times, .. }, .. } => (*status, fields, *times),
        }
    }
}

impl ExchangeResult {
    /// Cancels the body, which is not used.
    pub(super) fn discard(&self) {
        match &self.source {
            ResponseSource::Stored { hit, .. } => response_store::discard(&hit.body),
            ResponseSource::Upstream { body, .. } => {
                if let Some(stream) = body.dyn_ref::<ReadableStream>() {
                    stream::end(stream);
                }
            }
        }
    }
}
