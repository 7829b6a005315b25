//! One request to the cache, from the lookup to the response. `http_cache` decides each step.

mod forward;
mod keep;

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

use super::keeping::{self, AS_STORED, CacheHit, KV_UNAVAILABLE, MissReason, hot};
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
    asked: CacheRequest,
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
        found: CacheHit,
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
    found: Option<CacheHit>,
    /// The key of the stored response; if there is none, the URL's key.
    key: Key<'static>,
    /// The response under the URL's key.
    first: Option<Rc<StoredResponse>>,
    /// Why there is no stored response.
    missing: ForwardReason,
    detail: Option<&'static str>,
    kv_ms: Option<u64>,
}

impl Exchange {
    pub(super) fn new(context: &Rc<RequestContext>, request: Request, method: &str, url: CachedUrl) -> Self {
        let fields = MessageFields::of_request(&request);
        let (asked, names) = (CacheRequest::of(method, &fields), fields.names().to_owned());
        Self { context: Rc::clone(context), request, names, method: method.to_owned(), url, asked }
    }

    /// Returns the client's header fields.
    pub(super) fn fields(&self) -> MessageFields<'_> {
        MessageFields::with_names(&self.request, &self.names)
    }

    pub(super) async fn answer(&self) -> Result<ExchangeResult, RequestError> {
        if decision::has_unexpected_body(&self.method, &self.fields()) {
            return Err(CacheError::UnexpectedBody.into());
        }
        // A loop is an error even if a stored response could be served (RFC 8586 §3).
        cdn_loop::append_cdn_id(self.fields().get("cdn-loop")).ok_or(CacheError::Loop)?;
        let now_ms = Clock.now_ms();
        let looked = self.look(now_ms).await;
        let now_ms = if looked.kv_ms.is_some() { Clock.now_ms() } else { now_ms };
        match self.decide(&looked, now_ms) {
            Decision::Serve { stale, refresh } => {
                let Lookup { found: Some(found), key, kv_ms, .. } = looked else {
                    return Err(CacheError::NotCached.into());
                };
                if refresh {
                    self.refresh(&key, now_ms);
                }
                let cache_status = CacheStatus::Hit { ttl: found.kept.ttl_seconds(now_ms), detail: stale };
                Ok(ExchangeResult {
                    source: ResponseSource::Stored { found, received: None },
                    cache_status,
                    kv_ms,
                    upstream_ms: None,
                })
            }
            Decision::Forward { fwd, conditions } => self.forward(looked, fwd, conditions).await,
            Decision::NotCached => {
                looked.discard();
                Err(CacheError::NotCached.into())
            }
        }
    }

    fn decide(&self, looked: &Lookup, now_ms: u64) -> Decision {
        let selected = looked.found.as_ref().map(|found| SelectedResponse {
            kept: &found.kept,
            is_left_alone: hot(|hot| hot.is_left_alone(looked.key.as_str(), now_ms)),
        });
        decision::decide(&self.asked, selected, looked.missing, now_ms, || Clock.random_bits())
    }

    /// Looks for a stored response: under the URL's key, or else under the key of the variant
    /// that the request selects.
    async fn look(&self, now_ms: u64) -> Lookup {
        let key = self.url.key();
        let mut looked =
            Lookup { found: None, key, first: None, missing: ForwardReason::UriMiss, detail: None, kv_ms: None };
        if !self.asked.looks_in_store() {
            return looked;
        }
        let find = keeping::find(&self.context, &looked.key, &AS_STORED, now_ms, &mut looked.kv_ms);
        let (first, purges) = join(find, purging::table(&self.context, now_ms)).await;
        let first = match first {
            Ok(first) => first,
            Err(not_found) => return looked.because(not_found),
        };
        let Ok(purges) = purges else {
            keeping::discard(&first.body);
            return looked.without(ForwardReason::Miss, Some(KV_UNAVAILABLE));
        };
        if purges.covers(self.url.as_str(), &first.kept.stored) {
            keeping::discard(&first.body);
            return looked.without(ForwardReason::Miss, Some("purged"));
        }
        let kept = Rc::clone(&first.kept);
        looked.first = Some(Rc::clone(&kept));
        let fields = self.fields();
        if vary::matches(&kept.stored.selecting, &kept.stored.fields, &fields) {
            looked.found = Some(first);
            return looked;
        }
        keeping::discard(&first.body);
        let names: Vec<String> = kept.stored.selecting.iter().map(|(name, _)| name.clone()).collect();
        let selecting = vary::selecting(&names, &fields);
        let key = self.url.variant_key(&selecting);
        match keeping::find(&self.context, &key, &AS_STORED, now_ms, &mut looked.kv_ms).await {
            Ok(variant)
                if variant.kept.stored.epoch_ms == kept.stored.epoch_ms
                    && !hot(|hot| hot.is_invalidated(looked.key.as_str(), variant.kept.stored.times.requested_ms))
                    && variant.kept.stored.selecting == selecting
                    && !purges.covers(self.url.as_str(), &variant.kept.stored) =>
            {
                looked.key = key;
                looked.found = Some(variant);
                looked
            }
            Ok(variant) => {
                keeping::discard(&variant.body);
                looked.without(ForwardReason::VaryMiss, None)
            }
            Err(MissReason::Absent) => looked.without(ForwardReason::VaryMiss, None),
            Err(not_found) => looked.because(not_found),
        }
    }

    /// Refreshes the stored response in the background, one refresh at a time.
    fn refresh(&self, key: &Key<'_>, now_ms: u64) {
        if !hot(|hot| hot.begin_refresh(key.as_str(), now_ms)) {
            return;
        }
        let mut again = self.clone();
        "GET".clone_into(&mut again.method);
        // The stored response is for everybody, and so must the one be that replaces it.
        again.names = again.names.split(',').filter(|name| *name != "authorization").collect::<Vec<_>>().join(",");
        let key = key.to_static();
        self.context.wait_until(async move {
            let renewed = again.renew().await;
            let is_renewed =
                renewed.as_ref().is_ok_and(|outcome| matches!(outcome.cache_status, CacheStatus::Forwarded { .. }));
            if !is_renewed {
                hot(|hot| hot.end_refresh(key.as_str(), true, Clock.now_ms()));
            }
            match renewed {
                Ok(outcome) => outcome.discard(),
                Err(failure) => again.context.log().warning("refresh_failed", &failure.cause()),
            }
        });
    }

    /// Asks the upstream for the stored response, however fresh it is, with a condition if
    /// possible.
    pub(super) async fn renew(&self) -> Result<ExchangeResult, RequestError> {
        let looked = self.look(Clock.now_ms()).await;
        let conditions = looked.found.as_ref().map(|found| conditions(&found.kept.stored.fields)).unwrap_or_default();
        let fwd = if looked.found.is_some() { ForwardReason::Stale } else { looked.missing };
        self.forward(looked, fwd, conditions).await
    }
}

impl Lookup {
    /// Cancels the body of the stored response, which is not used.
    fn discard(&self) {
        if let Some(found) = &self.found {
            keeping::discard(&found.body);
        }
    }

    fn without(mut self, missing: ForwardReason, detail: Option<&'static str>) -> Self {
        self.missing = missing;
        self.detail = detail;
        self
    }

    fn because(self, not_found: MissReason) -> Self {
        let missing = if not_found == MissReason::Absent { ForwardReason::UriMiss } else { ForwardReason::Miss };
        self.without(missing, not_found.detail())
    }
}

impl ResponseSource {
    /// Returns status, header fields and times.
    pub(super) fn head(&self) -> (u16, &HeaderSection, ExchangeTimes) {
        match self {
            Self::Stored { found: CacheHit { kept, .. }, received } => {
                let StoredMetadata { status, times, .. } = kept.stored;
                (status, received.as_ref().unwrap_or(&kept.stored.fields), times)
            }
            Self::Upstream { received: TimedResponse { status, fields, times, .. }, .. } => (*status, fields, *times),
        }
    }
}

impl ExchangeResult {
    /// Cancels the body, which is not used.
    pub(super) fn discard(&self) {
        match &self.source {
            ResponseSource::Stored { found, .. } => keeping::discard(&found.body),
            ResponseSource::Upstream { body, .. } => {
                if let Some(stream) = body.dyn_ref::<ReadableStream>() {
                    stream::end(stream);
                }
            }
        }
    }
}
