//! Storing the upstream's response, and what it means for responses stored before.

use std::rc::Rc;

use http_cache::cache_status::{CacheStatus, ForwardReason};
use http_cache::cached_url::CachedUrl;
use http_cache::client_response::is_null_body;
use http_cache::error::CacheError;
use http_cache::freshness::ExchangeTimes;
use http_cache::memory_cache::BODY_BYTES_MAX;
use http_cache::storable::{Storable, StorageCandidate, is_obs_text};
use http_cache::stored_response::{StorageKey, StoredMetadata, StoredResponse};
use http_cache::validation::{HeadEffect, freshened, head_effect, is_about};
use http_cache::vary::{self, SelectingFields, Vary};
use http_semantics::fields::{Fields, HeaderSection};
use kv_store::limits::{Key, VALUE_BYTES_MAX};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::web_sys::{ReadableStream, Response};

use super::super::keeping::{self, AS_STORED, CacheHit, hot};
use super::forward::TimedResponse;
use super::{Exchange, ExchangeResult, Lookup, ResponseSource, href};
use crate::http::error::RequestError;
use crate::kv::headed::Body;
use crate::platform::deadline;
use crate::platform::js_error::message_of;

impl Exchange {
    /// Handles a 304: the stored response is current, and its fields are updated (RFC 9111
    /// §4.3.4).
    pub(super) async fn validated(
        &self,
        looked: Lookup,
        fwd: ForwardReason,
        received: TimedResponse,
    ) -> Result<ExchangeResult, RequestError> {
        let Some(found) = looked.found else {
            return Ok(received.passed_on(None, fwd, looked.kv_ms, looked.detail));
        };
        let is_readable = !is_obs_text(received.fields.as_str());
        if !is_readable || !is_about(&found.kept.stored.fields, &received.fields) {
            // The 304 is about another response, or its fields cannot be merged. The request is
            // repeated without a condition.
            let has_stale = self.may_be_stale(&found);
            let looked = Lookup { found: Some(found), ..looked };
            let received = match self.ask(Vec::new(), true, has_stale).await {
                Ok(received) => received,
                Err(failure) => return self.instead(looked, fwd, failure, None),
            };
            return self.take(looked, fwd, received, false).await;
        }
        let (times, upstream_ms) = (received.times, Some(received.took_ms()));
        let fields = freshened(&found.kept.stored.fields, &received.fields);
        let (key, stored) = self.renewed(&looked.key, &found.kept.stored, &fields, times);
        let fate = self.fate_of_update(&stored, &received);
        let kept = Rc::new(StoredResponse::new(stored, None));
        let body = match (fate, found.body) {
            (Storable::Yes, Body::Bytes(bytes)) => {
                // A response that must be validated for each request need not be written to KV
                // each time.
                if kept.freshness.is_fresh(times.received_ms) {
                    keeping::keep(&self.context, &key, &kept, &bytes, &AS_STORED);
                } else {
                    keeping::remember(&self.context, &key, &kept, &bytes, times.received_ms);
                }
                Body::Bytes(bytes)
            }
            (Storable::Yes, Body::Stream(stream)) if kept.freshness.is_fresh(times.received_ms) => {
                let (ours, theirs) = tee(&stream);
                let length = Some(kept.stored.length);
                keeping::keep_stream(&self.context, &key, kept.stored.clone(), ours, length);
                Body::Stream(theirs)
            }
            (fate, body) => {
                if matches!(fate, Storable::Invalidate(_)) {
                    self.forget(looked.key, times.received_ms);
                }
                body
            }
        };
        let is_stored = fate == Storable::Yes;
        let ttl = is_stored.then(|| kept.ttl_seconds(times.received_ms));
        let cache_status = CacheStatus::Forwarded { fwd, status: Some(304), is_stored, ttl, detail: looked.detail };
        // A cookie of the 304 is for this client and not stored.
        let cookies = received.fields.iter().filter(|(name, _)| *name == "set-cookie");
        let fields = fields.iter().chain(cookies).collect();
        let source = ResponseSource::Stored { found: CacheHit { kept, body }, received: Some(fields) };
        Ok(ExchangeResult { source, cache_status, kv_ms: looked.kv_ms, upstream_ms })
    }

    /// Decides what to do with a stored response that a validation or a HEAD updates.
    fn fate_of_update(&self, renewed: &StoredMetadata, received: &TimedResponse) -> Storable {
        let (method, url, request, vars) = ("GET", self.url.as_str(), &self.fields(), self.context.vars());
        let (credentials, times, default_lifetime_ms) = (&vars.cache.credentials, received.times, None);
        let (status, response) = (renewed.status, &renewed.fields);
        let answered =
            StorageCandidate { method, url, request, credentials, status, response, times, default_lifetime_ms };
        answered.fate_of_update(&received.fields)
    }

    /// Returns the metadata after a validation, and the key: the URL's own if the selecting
    /// fields changed.
    fn renewed(
        &self,
        key: &Key<'static>,
        stored: &StoredMetadata,
        fields: &HeaderSection,
        times: ExchangeTimes,
    ) -> (Key<'static>, StoredMetadata) {
        let mut renewed = stored.renewed(&self.fields(), fields, times);
        if self.has_ended(stored.epoch_ms) {
            renewed.epoch_ms = times.received_ms;
        }
        let key = if renewed.epoch_ms == stored.epoch_ms { key.clone() } else { self.url.key() };
        (key, renewed)
    }

    /// Returns true if the URL was invalidated since this epoch began: its variants must not be
    /// used again.
    fn has_ended(&self, epoch_ms: u64) -> bool {
        hot(|hot| hot.is_invalidated(self.url.key().as_str(), epoch_ms))
    }

    /// Returns the selecting fields of the request for a response with these fields.
    fn selecting(&self, fields: &HeaderSection) -> SelectingFields {
        match Vary::parse(fields.get("vary").as_deref()) {
            Vary::Names(names) => vary::selecting(&names, &self.fields()),
            Vary::Nothing | Vary::Star => SelectingFields::new(),
        }
    }

    /// Updates or invalidates other stored responses as the response demands (RFC 9111 §4.3.5,
    /// §4.4).
    pub(super) fn note_effects(&self, looked: &Lookup, received: &TimedResponse) {
        // RFC 9110 §9.2.1: methods are unsafe unless known to be safe.
        let is_unsafe = !matches!(self.method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE");
        if is_unsafe && (200..400).contains(&received.status) {
            self.invalidate(received);
        }
        let Some(found) = looked.found.as_ref().filter(|_| self.method == "HEAD" && received.status == 200) else {
            return;
        };
        let kept = &found.kept.stored;
        if kept.status != 200 {
            return self.forget(looked.key.to_static(), received.times.received_ms);
        }
        match head_effect(&kept.fields, kept.length, received.status, &received.fields) {
            HeadEffect::Update(fields) => {
                let (key, stored) = self.renewed(&looked.key, kept, &fields, received.times);
                match (&found.body, self.fate_of_update(&stored, received)) {
                    (Body::Bytes(bytes), Storable::Yes) => {
                        keeping::keep(
                            &self.context,
                            &key,
                            &Rc::new(StoredResponse::new(stored, None)),
                            bytes,
                            &AS_STORED,
                        );
                    }
                    (Body::Stream(stream), Storable::Yes) => {
                        let length = Some(stored.length);
                        keeping::keep_stream(&self.context, &key, stored, stream.clone(), length);
                    }
                    (_, Storable::Invalidate(_)) => self.forget(looked.key.to_static(), received.times.received_ms),
                    (_, Storable::No(_)) => {}
                }
            }
            HeadEffect::Invalidate => self.forget(looked.key.to_static(), received.times.received_ms),
        }
    }

    fn invalidate(&self, received: &TimedResponse) {
        let mut keys = vec![self.url.key(), self.url.page_key()];
        for name in ["location", "content-location"] {
            let other = received.fields.get(name).and_then(|to| href(&to, Some(self.url.as_str())));
            let other = other.and_then(|href| CachedUrl::of_href(&href, &self.context.vars().cache.upstreams).ok());
            // §4.4: responses of another origin must not be invalidated.
            if let Some(other) = other.filter(|other| other.origin() == self.url.origin() && *other != self.url) {
                keys.extend([other.key(), other.page_key()]);
            }
        }
        keeping::invalidate(&self.context, keys, received.times.received_ms);
    }

    fn forget(&self, key: Key<'static>, now_ms: u64) {
        keeping::invalidate(&self.context, vec![key], now_ms);
    }

    /// Stores the upstream's response if that is permitted, and passes it on.
    ///
    /// Stored or not, a body of up to [`BODY_BYTES_MAX`] with a `Content-Length` is read to its
    /// end before the response begins. So if it breaks off, the client receives an error or a
    /// stale response, never half a response. A longer body is streamed.
    pub(super) async fn take(
        &self,
        looked: Lookup,
        fwd: ForwardReason,
        received: TimedResponse,
        is_overtaken: bool,
    ) -> Result<ExchangeResult, RequestError> {
        let TimedResponse { status, times, .. } = received;
        let length = self.length_of_body(&received);
        let whole = match length.filter(|length| *length <= u64::from(BODY_BYTES_MAX)) {
            Some(length) => match self.whole(&received.response, length).await {
                Ok(body) => Some(body),
                Err(error) => return self.instead(looked, fwd, error.into(), Some(&received)),
            },
            None => None,
        };
        let may_keep = !is_overtaken && (!self.asked.is_safe || self.asked.looks_in_store());
        let (method, url, request, vars) = (&*self.method, self.url.as_str(), &self.fields(), self.context.vars());
        let (credentials, response, default_lifetime_ms) = (&vars.cache.credentials, &received.fields, None);
        let answered =
            StorageCandidate { method, url, request, credentials, status, response, times, default_lifetime_ms };
        let detail = match answered.fate() {
            Storable::Yes if length.is_some_and(|length| length > VALUE_BYTES_MAX) => Some("too-large"),
            Storable::Yes if may_keep => return Ok(self.take_to_keep(&looked, fwd, received, length, whole)),
            Storable::Invalidate(why) if looked.found.is_some() => {
                // The stored response is out of date, and nothing replaces it.
                self.forget(looked.key.clone(), times.received_ms);
                why.detail()
            }
            Storable::No(why) | Storable::Invalidate(why) => why.detail(),
            Storable::Yes => None,
        };
        looked.discard();
        Ok(received.passed_on(whole, fwd, looked.kv_ms, looked.detail.or(detail)))
    }

    fn take_to_keep(
        &self,
        looked: &Lookup,
        fwd: ForwardReason,
        mut received: TimedResponse,
        length: Option<u64>,
        whole: Option<js_sys::ArrayBuffer>,
    ) -> ExchangeResult {
        let TimedResponse { status, times, .. } = received;
        looked.discard();
        let (key, stored) = self.to_keep(looked, &received, length);
        let (kept, upstream_ms) = (Rc::new(StoredResponse::new(stored, None)), Some(received.took_ms()));
        let source = if let Some(body) = whole {
            keeping::keep(&self.context, &key, &kept, &body, &AS_STORED);
            let found = CacheHit { kept: Rc::clone(&kept), body: Body::Bytes(body) };
            ResponseSource::Stored { found, received: Some(std::mem::take(&mut received.fields)) }
        } else if let Some(body) = received.response.body() {
            let (ours, theirs) = tee(&body);
            keeping::keep_stream(&self.context, &key, kept.stored.clone(), ours, length);
            ResponseSource::Upstream { received, body: theirs.into() }
        } else {
            return received.passed_on(None, fwd, looked.kv_ms, looked.detail);
        };
        let ttl = Some(kept.ttl_seconds(times.received_ms));
        let cache_status =
            CacheStatus::Forwarded { fwd, status: Some(status), is_stored: true, ttl, detail: looked.detail };
        ExchangeResult { source, cache_status, kv_ms: looked.kv_ms, upstream_ms }
    }

    /// Returns the length of the body in bytes if it is known; `None` for the response to a
    /// HEAD, whose `Content-Length` is that of a GET.
    fn length_of_body(&self, received: &TimedResponse) -> Option<u64> {
        match self.method.as_str() {
            "HEAD" => None,
            _ if is_null_body(received.status) => Some(0),
            _ => received.length(),
        }
    }

    /// Returns the metadata of a response to store, and its key.
    fn to_keep(
        &self,
        looked: &Lookup,
        received: &TimedResponse,
        length: Option<u64>,
    ) -> (Key<'static>, StoredMetadata) {
        let TimedResponse { status, times, .. } = *received;
        let credentials = &self.context.vars().cache.credentials;
        let selecting = self.selecting(&received.fields);
        let is_current = |kept: &&StoredResponse| !self.has_ended(kept.stored.epoch_ms);
        let found = looked.found.as_ref().map(|found| &*found.kept).filter(is_current);
        let found = found.map(|found| (found, looked.key != self.url.key()));
        let place = StorageKey::of(looked.first.as_deref().filter(is_current), found, &selecting, times.received_ms);
        let key = match place {
            StorageKey::Url { .. } => self.url.key(),
            StorageKey::Variant { .. } => self.url.variant_key(&selecting),
        };
        // The response to a write is newer than the invalidation that the write causes.
        let requested_ms = if self.asked.is_safe { times.requested_ms } else { times.received_ms.saturating_add(1) };
        let received = StoredMetadata::received(&self.fields(), credentials, status, &received.fields, times, None);
        let received = if self.asked.is_safe { received } else { received.without_cookies() };
        let stored = StoredMetadata {
            times: ExchangeTimes { requested_ms, ..times },
            length: length.unwrap_or_default(),
            selecting,
            epoch_ms: place.epoch_ms(),
            ..received
        };
        (key, stored)
    }

    /// Reads a short body to its end. Fails if it breaks off or does not have the declared
    /// length.
    async fn whole(&self, response: &Response, length: u64) -> Result<js_sys::ArrayBuffer, CacheError> {
        let broken = |thrown: JsValue| CacheError::Upstream(message_of(&thrown));
        let timeout = self.context.vars().upstream_timeout.of_request(false);
        let reading = JsFuture::from(response.array_buffer().map_err(broken)?);
        let body = deadline::within(timeout, reading).await.ok_or(CacheError::Timeout)?.map_err(broken)?;
        let body: js_sys::ArrayBuffer = body.unchecked_into();
        if u64::from(body.byte_length()) == length {
            Ok(body)
        } else {
            Err(CacheError::Upstream("its body has another length than it says".to_owned()))
        }
    }
}

/// Returns two streams of the same bytes.
fn tee(stream: &ReadableStream) -> (ReadableStream, ReadableStream) {
    let streams = stream.tee();
    (streams.get(0).unchecked_into(), streams.get(1).unchecked_into())
}
