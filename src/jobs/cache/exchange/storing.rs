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
use http_cache::validation::{HeadEffect, freshened, head_effect, is_selected_for_update};
use http_cache::vary::{self, SelectingFields, Vary};
use http_semantics::fields::{Fields, HeaderSection};
use kv_store::limits::{Key, VALUE_BYTES_MAX};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::web_sys::{ReadableStream, Response};

use super::super::response_store::{self, AS_STORED, CacheHit, memory};
use super::forward::TimedResponse;
use super::{Exchange, ExchangeResult, Lookup, ResponseSource, href};
use crate::http::error::RequestError;
use crate::kv::envelope::EnvelopeBody;
use crate::platform::deadline;
use crate::platform::js_error::message_of;

impl Exchange {
    /// Handles a 304: the stored response is current, and its fields are updated (RFC 9111
    /// §4.3.4).
    pub(super) async fn handle_not_modified(
        &self,
        lookup: Lookup,
        fwd: ForwardReason,
        received: TimedResponse,
    ) -> Result<ExchangeResult, RequestError> {
        let Some(hit) = lookup.hit else {
            return Ok(received.pass_through(None, fwd, lookup.kv_ms, lookup.detail));
        };
        let is_readable = !is_obs_text(received.fields.as_str());
        if !is_readable || !is_selected_for_update(&hit.stored.metadata.fields, &received.fields) {
            // The 304 is about another response, or its fields cannot be merged. The request is
            // repeated without a condition.
            let has_stale = self.may_serve_stale(&hit);
            let lookup = Lookup { hit: Some(hit), ..lookup };
            let received = match self.send_upstream(Vec::new(), true, has_stale).await {
                Ok(received) => received,
                Err(failure) => return self.stale_or_error(lookup, fwd, failure, None),
            };
            return self.handle_response(lookup, fwd, received, false).await;
        }
        let (times, upstream_ms) = (received.times, Some(received.took_ms()));
        let fields = freshened(&hit.stored.metadata.fields, &received.fields);
        let (key, metadata) = self.updated_metadata(&lookup.key, &hit.stored.metadata, &fields, times);
        let storable = self.storable_update(&metadata, &received);
        let stored = Rc::new(StoredResponse::new(metadata, None));
        let body = match (storable, hit.body) {
            (Storable::Yes, EnvelopeBody::Bytes(bytes)) => {
                // A response that must be validated for each request need not be written to KV
                // each time.
                if stored.freshness.is_fresh(times.received_ms) {
                    response_store::store(&self.context, &key, &stored, &bytes, &AS_STORED);
                } else {
                    response_store::store_in_memory(&self.context, &key, &stored, &bytes, times.received_ms);
                }
                EnvelopeBody::Bytes(bytes)
            }
            (Storable::Yes, EnvelopeBody::Stream(stream)) if stored.freshness.is_fresh(times.received_ms) => {
                let (ours, theirs) = tee(&stream);
                let length = Some(stored.metadata.length);
                response_store::store_stream(&self.context, &key, stored.metadata.clone(), ours, length);
                EnvelopeBody::Stream(theirs)
            }
            (storable, body) => {
                if matches!(storable, Storable::Invalidate(_)) {
                    self.invalidate_key(lookup.key, times.received_ms);
                }
                body
            }
        };
        let is_stored = storable == Storable::Yes;
        let ttl = is_stored.then(|| stored.ttl_seconds(times.received_ms));
        let cache_status = CacheStatus::Forwarded { fwd, status: Some(304), is_stored, ttl, detail: lookup.detail };
        // A cookie of the 304 is for this client and not stored.
        let cookies = received.fields.iter().filter(|(name, _)| *name == "set-cookie");
        let fields = fields.iter().chain(cookies).collect();
        let source = ResponseSource::Stored { hit: CacheHit { stored, body }, received: Some(fields) };
        Ok(ExchangeResult { source, cache_status, kv_ms: lookup.kv_ms, upstream_ms })
    }

    /// Decides what to do with a stored response that a validation or a HEAD updates.
    fn storable_update(&self, updated: &StoredMetadata, received: &TimedResponse) -> Storable {
        let (method, url, request, vars) = ("GET", self.url.as_str(), &self.fields(), self.context.vars());
        let (credentials, times, default_lifetime_ms) = (&vars.cache.credentials, received.times, None);
        let (status, response) = (updated.status, &updated.fields);
        let candidate =
            StorageCandidate { method, url, request, credentials, status, response, times, default_lifetime_ms };
        candidate.storable_update(&received.fields)
    }

    /// Returns the metadata after a validation, and the key: the URL's own if the selecting
    /// fields changed.
    fn updated_metadata(
        &self,
        key: &Key<'static>,
        metadata: &StoredMetadata,
        fields: &HeaderSection,
        times: ExchangeTimes,
    ) -> (Key<'static>, StoredMetadata) {
        let mut updated = metadata.updated(&self.fields(), fields, times);
        if self.is_epoch_invalidated(metadata.epoch_ms) {
            updated.epoch_ms = times.received_ms;
        }
        let key = if updated.epoch_ms == metadata.epoch_ms { key.clone() } else { self.url.key() };
        (key, updated)
    }

    /// Returns true if the URL was invalidated since this epoch began: its variants must not be
    /// used again.
    fn is_epoch_invalidated(&self, epoch_ms: u64) -> bool {
        memory(|memory| memory.is_invalidated(self.url.key().as_str(), epoch_ms))
    }

    /// Returns the selecting fields of the request for a response with these fields.
    fn selecting_fields(&self, fields: &HeaderSection) -> SelectingFields {
        match Vary::parse(fields.get("vary").as_deref()) {
            Vary::Names(names) => vary::selecting_fields(&names, &self.fields()),
            Vary::Nothing | Vary::Star => SelectingFields::new(),
        }
    }

    /// Updates or invalidates other stored responses as the response demands (RFC 9111 §4.3.5,
    /// §4.4).
    pub(super) fn apply_effects(&self, lookup: &Lookup, received: &TimedResponse) {
        // RFC 9110 §9.2.1: methods are unsafe unless known to be safe.
        let is_unsafe = !matches!(self.method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE");
        if is_unsafe && (200..400).contains(&received.status) {
            self.invalidate_url(received);
        }
        let Some(hit) = lookup.hit.as_ref().filter(|_| self.method == "HEAD" && received.status == 200) else {
            return;
        };
        let stored = &hit.stored.metadata;
        if stored.status != 200 {
            return self.invalidate_key(lookup.key.to_static(), received.times.received_ms);
        }
        match head_effect(&stored.fields, stored.length, received.status, &received.fields) {
            HeadEffect::Update(fields) => {
                let (key, metadata) = self.updated_metadata(&lookup.key, stored, &fields, received.times);
                match (&hit.body, self.storable_update(&metadata, received)) {
                    (EnvelopeBody::Bytes(bytes), Storable::Yes) => {
                        response_store::store(
                            &self.context,
                            &key,
                            &Rc::new(StoredResponse::new(metadata, None)),
                            bytes,
                            &AS_STORED,
                        );
                    }
                    (EnvelopeBody::Stream(stream), Storable::Yes) => {
                        let length = Some(metadata.length);
                        response_store::store_stream(&self.context, &key, metadata, stream.clone(), length);
                    }
                    (_, Storable::Invalidate(_)) => {
                        self.invalidate_key(lookup.key.to_static(), received.times.received_ms);
                    }
                    (_, Storable::No(_)) => {}
                }
            }
            HeadEffect::Invalidate => self.invalidate_key(lookup.key.to_static(), received.times.received_ms),
        }
    }

    fn invalidate_url(&self, received: &TimedResponse) {
        let mut keys = vec![self.url.key(), self.url.page_key()];
        for name in ["location", "content-location"] {
            let other = received.fields.get(name).and_then(|to| href(&to, Some(self.url.as_str())));
            let other = other.and_then(|href| CachedUrl::of_href(&href, &self.context.vars().cache.upstreams).ok());
            // §4.4: responses of another origin must not be invalidated.
            if let Some(other) = other.filter(|other| other.origin() == self.url.origin() && *other != self.url) {
                keys.extend([other.key(), other.page_key()]);
            }
        }
        response_store::invalidate(&self.context, keys, received.times.received_ms);
    }

    fn invalidate_key(&self, key: Key<'static>, now_ms: u64) {
        response_store::invalidate(&self.context, vec![key], now_ms);
    }

    /// Stores the upstream's response if that is permitted, and passes it on.
    ///
    /// Stored or not, a body of up to [`BODY_BYTES_MAX`] with a `Content-Length` is read to its
    /// end before the response begins. So if it breaks off, the client receives an error or a
    /// stale response, never half a response. A longer body is streamed.
    pub(super) async fn handle_response(
        &self,
        lookup: Lookup,
        fwd: ForwardReason,
        received: TimedResponse,
        is_overtaken: bool,
    ) -> Result<ExchangeResult, RequestError> {
        let TimedResponse { status, times, .. } = received;
        let length = self.body_length(&received);
        let whole = match length.filter(|length| *length <= u64::from(BODY_BYTES_MAX)) {
            Some(length) => match self.read_body(&received.response, length).await {
                Ok(body) => Some(body),
                Err(error) => return self.stale_or_error(lookup, fwd, error.into(), Some(&received)),
            },
            None => None,
        };
        let may_store = !is_overtaken && (!self.cache_request.is_safe || self.cache_request.permits_lookup());
        let (method, url, request, vars) = (&*self.method, self.url.as_str(), &self.fields(), self.context.vars());
        let (credentials, response, default_lifetime_ms) = (&vars.cache.credentials, &received.fields, None);
        let candidate =
            StorageCandidate { method, url, request, credentials, status, response, times, default_lifetime_ms };
        let detail = match candidate.storable() {
            Storable::Yes if length.is_some_and(|length| length > VALUE_BYTES_MAX) => Some("too-large"),
            Storable::Yes if may_store => return Ok(self.store_and_respond(&lookup, fwd, received, length, whole)),
            Storable::Invalidate(why) if lookup.hit.is_some() => {
                // The stored response is out of date, and nothing replaces it.
                self.invalidate_key(lookup.key.clone(), times.received_ms);
                why.detail()
            }
            Storable::No(why) | Storable::Invalidate(why) => why.detail(),
            Storable::Yes => None,
        };
        lookup.discard();
        Ok(received.pass_through(whole, fwd, lookup.kv_ms, lookup.detail.or(detail)))
    }

    fn store_and_respond(
        &self,
        lookup: &Lookup,
        fwd: ForwardReason,
        mut received: TimedResponse,
        length: Option<u64>,
        whole: Option<js_sys::ArrayBuffer>,
    ) -> ExchangeResult {
        let TimedResponse { status, times, .. } = received;
        lookup.discard();
        let (key, metadata) = self.to_store(lookup, &received, length);
        let (stored, upstream_ms) = (Rc::new(StoredResponse::new(metadata, None)), Some(received.took_ms()));
        let source = if let Some(body) = whole {
            response_store::store(&self.context, &key, &stored, &body, &AS_STORED);
            let hit = CacheHit { stored: Rc::clone(&stored), body: EnvelopeBody::Bytes(body) };
            ResponseSource::Stored { hit, received: Some(std::mem::take(&mut received.fields)) }
        } else if let Some(body) = received.response.body() {
            let (ours, theirs) = tee(&body);
            response_store::store_stream(&self.context, &key, stored.metadata.clone(), ours, length);
            ResponseSource::Upstream { received, body: theirs.into() }
        } else {
            return received.pass_through(None, fwd, lookup.kv_ms, lookup.detail);
        };
        let ttl = Some(stored.ttl_seconds(times.received_ms));
        let cache_status =
            CacheStatus::Forwarded { fwd, status: Some(status), is_stored: true, ttl, detail: lookup.detail };
        ExchangeResult { source, cache_status, kv_ms: lookup.kv_ms, upstream_ms }
    }

    /// Returns the length of the body in bytes if it is known; `None` for the response to a
    /// HEAD, whose `Content-Length` is that of a GET.
    fn body_length(&self, received: &TimedResponse) -> Option<u64> {
        match self.method.as_str() {
            "HEAD" => None,
            _ if is_null_body(received.status) => Some(0),
            _ => received.length(),
        }
    }

    /// Returns the metadata of a response to store, and its key.
    fn to_store(
        &self,
        lookup: &Lookup,
        received: &TimedResponse,
        length: Option<u64>,
    ) -> (Key<'static>, StoredMetadata) {
        let TimedResponse { status, times, .. } = *received;
        let credentials = &self.context.vars().cache.credentials;
        let selecting_fields = self.selecting_fields(&received.fields);
        let is_current = |stored: &&StoredResponse| !self.is_epoch_invalidated(stored.metadata.epoch_ms);
        let hit = lookup.hit.as_ref().map(|hit| &*hit.stored).filter(is_current);
        let hit = hit.map(|hit| (hit, lookup.key != self.url.key()));
        let storage_key =
            StorageKey::choose(lookup.primary.as_deref().filter(is_current), hit, &selecting_fields, times.received_ms);
        let key = match storage_key {
            StorageKey::Url { .. } => self.url.key(),
            StorageKey::Variant { .. } => self.url.variant_key(&selecting_fields),
        };
        // The response to a write is newer than the invalidation that the write causes.
        let requested_ms = if self.cache_request.is_safe { times.requested_ms } else { times.received_ms + 1 };
        let received =
            StoredMetadata::from_response(&self.fields(), credentials, status, &received.fields, times, None);
        let received = if self.cache_request.is_safe { received } else { received.without_cookies() };
        let metadata = StoredMetadata {
            times: ExchangeTimes { requested_ms, ..times },
            length: length.unwrap_or_default(),
            selecting_fields,
            epoch_ms: storage_key.epoch_ms(),
            ..received
        };
        (key, metadata)
    }

    /// Reads a short body to its end. Fails if it breaks off or does not have the declared
    /// length.
    async fn read_body(&self, response: &Response, length: u64) -> Result<js_sys::ArrayBuffer, CacheError> {
        let broken = |thrown: JsValue| CacheError::Upstream(message_of(&thrown));
        let timeout = self.context.vars().upstream_timeout.of_request(false);
        let reading = JsFuture::from(response.array_buffer().map_err(broken)?);
        let body = deadline::within(timeout, reading).await.ok_or(CacheError::Timeout)?.map_err(broken)?;
        let body: js_sys::ArrayBuffer = body.unchecked_into();
        if u64::from(body.byte_length()) == length {
            Ok(body)
        } else {
            Err(CacheError::Upstream("its body does not have the declared length".to_owned()))
        }
    }
}

/// Returns two streams of the same bytes.
fn tee(stream: &ReadableStream) -> (ReadableStream, ReadableStream) {
    let streams = stream.tee();
    (streams.get(0).unchecked_into(), streams.get(1).unchecked_into())
}
