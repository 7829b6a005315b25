//! The upstream's response: what it means for the stored ones, whether it is stored, and what the
//! client gets.

use std::rc::Rc;

use super::lookup::Lookup;
use super::{Action, CacheHit, Context, Effect, Exchange, ExchangeResult, ResponseSource, State, StoredBody};
use super::{StoredView, StreamToStore, UpstreamHead, store_in_memory};
use crate::cache_status::{CacheStatus, ForwardReason};
use crate::cached_url::CachedUrl;
use crate::client_response::is_null_body;
use crate::error::CacheError;
use crate::freshness::ExchangeTimes;
use crate::memory_cache::BODY_BYTES_MAX;
use crate::stale;
use crate::storable::{Storable, StorageCandidate, is_obs_text};
use crate::stored_response::{StorageKey, StoredMetadata, StoredResponse};
use crate::validation::{HeadRequestEffect, freshened, head_request_effect, is_selected_for_update};
use crate::vary::{self, SelectingFields, Vary};
use http_semantics::fields::{Fields, HeaderSection};
use kv_store::limits::{Key, VALUE_BYTES_MAX};

impl<B: StoredBody> Exchange<B> {
    /// Handles the response of the upstream.
    pub(super) fn handle_upstream_response<F: Fields>(
        &mut self,
        lookup: Lookup<B>,
        fwd: ForwardReason,
        is_conditional: bool,
        head: UpstreamHead,
        cx: &mut Context<'_, B, F>,
    ) -> Action<B> {
        let fallback = lookup.hit.as_ref().filter(|hit| self.may_serve_stale(hit, cx.now_ms));
        if let Some(failure) = fallback.and_then(|hit| Self::failure(hit, &head)) {
            self.effects.push(Effect::DiscardUpstream);
            return self.stale_or_error(lookup, fwd, CacheError::Upstream(failure), Some(&head), cx);
        }
        self.has_failed = stale::is_error(head.status) || head.is_in_place_of_error;
        if head.status == 304 && is_conditional {
            return self.handle_not_modified(lookup, fwd, &head, cx);
        }
        // If another write ended while this one was under way, the order in which the upstream
        // applied them is unknown.
        let is_overtaken =
            !self.request.is_get_or_head && cx.memory.is_invalidated(self.key().as_str(), head.times.requested_ms);
        let lookup = self.apply_to_stored(lookup, &head, cx);
        self.pass_on(lookup, fwd, head, is_overtaken, cx)
    }

    /// Returns why this response counts as a failure if `hit` may be served in its place; `None`
    /// if it does not.
    fn failure(hit: &CacheHit<B>, head: &UpstreamHead) -> Option<String> {
        if stale::is_error(head.status) {
            return Some(format!("it responded {}", head.status));
        }
        let is_newer = head.times.requested_ms > hit.stored.metadata.times.requested_ms;
        (head.is_in_place_of_error && !is_newer).then(|| "the stored page is stale, too".to_owned())
    }

    /// Handles a 304. If it is about the stored response, that is current, and its fields are
    /// updated (RFC 9111 §4.3.4). Otherwise the request is sent again without conditions.
    fn handle_not_modified<F: Fields>(
        &mut self,
        mut lookup: Lookup<B>,
        fwd: ForwardReason,
        head: &UpstreamHead,
        cx: &mut Context<'_, B, F>,
    ) -> Action<B> {
        let is_readable = !is_obs_text(head.fields.as_str());
        let is_for = |hit: &CacheHit<B>| is_selected_for_update(&hit.stored.metadata.fields, &head.fields);
        let Some(hit) = lookup.hit.take_if(|hit| is_readable && is_for(hit)) else {
            // The 304 is about another response, or its fields cannot be merged.
            return self.send(lookup, fwd, Vec::new(), cx);
        };
        let (times, received_ms) = (head.times, head.times.received_ms);
        let fields = freshened(&hit.stored.metadata.fields, &head.fields);
        let (key, metadata) = self.updated_metadata(&lookup.key, &hit.stored.metadata, &fields, times, cx);
        let storable = self.storable_update(&metadata, head, cx);
        let stored = Rc::new(StoredResponse::new(metadata, None));
        let mut store_as = None;
        match (storable, hit.body.bytes()) {
            (Storable::Yes, Some(bytes)) => {
                store_in_memory(cx, &key, &stored, bytes, received_ms);
                // A response that must be validated for each request need not be put into KV each
                // time.
                if stored.freshness.is_fresh(received_ms) {
                    self.effects.push(Effect::Put { key, stored: Rc::clone(&stored), bytes: bytes.clone() });
                }
            }
            (Storable::Yes, None) if stored.freshness.is_fresh(received_ms) => {
                let (metadata, length) = (stored.metadata.clone(), Some(stored.metadata.length));
                store_as = Some(StreamToStore { key, metadata, length });
            }
            (Storable::Invalidate(_), _) => self.invalidate(vec![lookup.key.clone()], received_ms, cx),
            _ => {}
        }
        let is_stored = storable == Storable::Yes;
        let ttl = is_stored.then(|| stored.ttl_seconds(received_ms));
        let cache_status = CacheStatus::Forwarded { fwd, status: Some(304), is_stored, ttl, detail: lookup.detail };
        // A cookie of the 304 is for this client and not stored.
        let cookies = head.fields.iter().filter(|(name, _)| *name == "set-cookie");
        let received = Some(fields.iter().chain(cookies).collect());
        let source = ResponseSource::Stored { hit: CacheHit { stored, body: hit.body }, received, store_as };
        let upstream_ms = Some(head.took_ms());
        self.end(ExchangeResult { source, cache_status, kv_ms: lookup.kv_ms, upstream_ms }, cx)
    }

    /// Decides what to do with a stored response that a validation or a HEAD updates.
    fn storable_update<F: Fields>(
        &self,
        updated: &StoredMetadata,
        head: &UpstreamHead,
        cx: &Context<'_, B, F>,
    ) -> Storable {
        let (method, url, request, credentials) = ("GET", self.url.as_str(), cx.fields, cx.credentials);
        let (status, response, times, default_lifetime_ms) = (updated.status, &updated.fields, head.times, None);
        let candidate =
            StorageCandidate { method, url, request, credentials, status, response, times, default_lifetime_ms };
        candidate.storable_update(&head.fields)
    }

    /// Returns the metadata after a validation, and the key: the URL's own if a new epoch begins,
    /// because the selecting fields changed or the URL was invalidated.
    fn updated_metadata<F: Fields>(
        &self,
        key: &Key<'static>,
        metadata: &StoredMetadata,
        fields: &HeaderSection,
        times: ExchangeTimes,
        cx: &Context<'_, B, F>,
    ) -> (Key<'static>, StoredMetadata) {
        let mut updated = metadata.updated(cx.fields, fields, times);
        if self.is_epoch_invalidated(metadata.epoch_ms, cx) {
            updated.epoch_ms = times.received_ms;
        }
        let key = if updated.epoch_ms == metadata.epoch_ms { key.clone() } else { self.key() };
        (key, updated)
    }

    /// Returns true if the URL was invalidated since this epoch began: its variants must not be
    /// used again.
    fn is_epoch_invalidated<F: Fields>(&self, epoch_ms: u64, cx: &Context<'_, B, F>) -> bool {
        cx.memory.is_invalidated(self.key().as_str(), epoch_ms)
    }

    /// Updates or invalidates what is stored, as the response to a HEAD or to a write demands (RFC
    /// 9111 §4.3.5, §4.4).
    fn apply_to_stored<F: Fields>(
        &mut self,
        mut lookup: Lookup<B>,
        head: &UpstreamHead,
        cx: &mut Context<'_, B, F>,
    ) -> Lookup<B> {
        // RFC 9111 §4.4: a method whose safety is unknown invalidates, too.
        let is_unsafe = !matches!(self.method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE");
        if is_unsafe && (200..400).contains(&head.status) {
            let keys = self.keys_to_invalidate(head, cx);
            self.invalidate(keys, head.times.received_ms, cx);
        }
        if self.method != "HEAD" || head.status != 200 {
            return lookup;
        }
        let Some(hit) = lookup.hit.take() else { return lookup };
        let stored = &hit.stored.metadata;
        let effect = match stored.status {
            200 => head_request_effect(&stored.fields, stored.length, head.status, &head.fields),
            _ => HeadRequestEffect::Invalidate,
        };
        let invalidated = match effect {
            HeadRequestEffect::Update(fields) => {
                let (key, metadata) = self.updated_metadata(&lookup.key, stored, &fields, head.times, cx);
                match (self.storable_update(&metadata, head, cx), hit.body.bytes()) {
                    (Storable::Yes, Some(bytes)) => {
                        let stored = Rc::new(StoredResponse::new(metadata, None));
                        store_in_memory(cx, &key, &stored, bytes, cx.now_ms);
                        self.effects.push(Effect::Put { key, stored, bytes: bytes.clone() });
                        false
                    }
                    (Storable::Yes, None) => {
                        let length = Some(metadata.length);
                        self.effects.push(Effect::PutStream(StreamToStore { key, metadata, length }, hit.body));
                        // The put reads the body; the response to HEAD needs none.
                        return lookup;
                    }
                    (Storable::Invalidate(_), _) => true,
                    (Storable::No(_), _) => false,
                }
            }
            HeadRequestEffect::Invalidate => true,
        };
        if invalidated {
            self.invalidate(vec![lookup.key.clone()], head.times.received_ms, cx);
        }
        lookup.hit = Some(hit);
        lookup
    }

    /// Returns the keys that a successful write invalidates: those of the URL, and of the URLs
    /// that the response names, if they are of the same origin (RFC 9111 §4.4).
    fn keys_to_invalidate<F: Fields>(&self, head: &UpstreamHead, cx: &Context<'_, B, F>) -> Vec<Key<'static>> {
        let mut keys = vec![self.url.key(), self.url.page_key()];
        for name in ["location", "content-location"] {
            let other = head.fields.get(name).and_then(|to| (cx.resolve)(&to, self.url.as_str()));
            let other = other.and_then(|href| CachedUrl::of_href(&href, cx.upstreams).ok());
            if let Some(other) = other.filter(|other| other.origin() == self.url.origin() && *other != self.url) {
                keys.extend([other.key(), other.page_key()]);
            }
        }
        keys
    }

    /// Invalidates the responses under these keys: in this isolate at once, elsewhere when KV
    /// shows the delete, which takes up to a minute.
    fn invalidate<F: Fields>(&mut self, keys: Vec<Key<'static>>, now_ms: u64, cx: &mut Context<'_, B, F>) {
        for key in &keys {
            cx.memory.invalidate(key.as_str(), now_ms);
        }
        self.effects.push(Effect::Delete(keys));
    }

    /// Passes the upstream's response on, and stores it if that is permitted.
    ///
    /// Stored or not, a body of up to [`BODY_BYTES_MAX`] with a `Content-Length` is read to its
    /// end before the response begins. So if it breaks off, the client receives an error or a
    /// stale response, never half a response. A longer body, or one without a `Content-Length`, is
    /// streamed, but a view is made of the whole body.
    fn pass_on<F: Fields>(
        &mut self,
        lookup: Lookup<B>,
        fwd: ForwardReason,
        head: UpstreamHead,
        is_overtaken: bool,
        cx: &mut Context<'_, B, F>,
    ) -> Action<B> {
        let is_read = |length: &u64| self.view == StoredView::Page || *length <= u64::from(BODY_BYTES_MAX);
        match self.body_length(&head).filter(is_read) {
            Some(length) => {
                self.state = State::Body { lookup, fwd, head, is_overtaken };
                Action::ReadBody { length }
            }
            None => self.respond(lookup, fwd, head, None, is_overtaken, cx),
        }
    }

    /// Responds with the upstream's response. `body` is its body if it was read to its end.
    pub(super) fn respond<F: Fields>(
        &mut self,
        lookup: Lookup<B>,
        fwd: ForwardReason,
        head: UpstreamHead,
        body: Option<B::Bytes>,
        is_overtaken: bool,
        cx: &mut Context<'_, B, F>,
    ) -> Action<B> {
        let length = self.body_length(&head);
        let may_store = !is_overtaken && (!self.request.is_get_or_head || self.request.permits_lookup());
        let (method, url, request, credentials) = (&*self.method, self.url.as_str(), cx.fields, cx.credentials);
        let (status, response, times) = (head.status, &head.fields, head.times);
        let default_lifetime_ms = self.view.default_lifetime_ms();
        let candidate =
            StorageCandidate { method, url, request, credentials, status, response, times, default_lifetime_ms };
        let detail = match candidate.storable() {
            Storable::Yes if length.is_some_and(|length| length > VALUE_BYTES_MAX) => Some("too-large"),
            Storable::Yes if may_store && (body.is_some() || head.has_body) => {
                let (key, metadata) = self.to_store(&lookup, &head, length, cx);
                if metadata.value_bytes() <= VALUE_BYTES_MAX {
                    let store = StreamToStore { key, metadata, length };
                    return self.store_and_respond(lookup, fwd, head, store, body, cx);
                }
                Some("too-large")
            }
            Storable::Invalidate(why) if lookup.hit.is_some() => {
                // The stored response is out of date, and nothing replaces it. The times of a view
                // are those of its page, which may have been stored for long.
                self.invalidate(vec![lookup.key.clone()], cx.now_ms, cx);
                why.detail()
            }
            Storable::No(why) | Storable::Invalidate(why) => why.detail(),
            Storable::Yes => None,
        };
        let (kv_ms, detail) = (lookup.kv_ms, lookup.detail.or(detail));
        self.discard_hit(lookup);
        let (upstream_ms, status) = (Some(head.took_ms()), Some(head.status));
        let cache_status = CacheStatus::Forwarded { fwd, status, is_stored: false, ttl: None, detail };
        let source = ResponseSource::Upstream { head, body, store_as: None };
        self.end(ExchangeResult { source, cache_status, kv_ms, upstream_ms }, cx)
    }

    fn store_and_respond<F: Fields>(
        &mut self,
        lookup: Lookup<B>,
        fwd: ForwardReason,
        head: UpstreamHead,
        StreamToStore { key, metadata, length }: StreamToStore,
        body: Option<B::Bytes>,
        cx: &mut Context<'_, B, F>,
    ) -> Action<B> {
        let (kv_ms, detail) = (lookup.kv_ms, lookup.detail);
        self.discard_hit(lookup);
        let stored = Rc::new(StoredResponse::new(metadata, self.view.default_lifetime_ms()));
        let (upstream_ms, status) = (Some(head.took_ms()), Some(head.status));
        let ttl = Some(stored.ttl_seconds(cx.now_ms));
        let cache_status = CacheStatus::Forwarded { fwd, status, is_stored: true, ttl, detail };
        let source = if let Some(bytes) = body {
            store_in_memory(cx, &key, &stored, &bytes, cx.now_ms);
            self.effects.push(Effect::Put { key, stored: Rc::clone(&stored), bytes: bytes.clone() });
            let hit = CacheHit { stored, body: B::from_bytes(bytes) };
            ResponseSource::Stored { hit, received: Some(head.fields), store_as: None }
        } else {
            let store_as = Some(StreamToStore { key, metadata: stored.metadata.clone(), length });
            ResponseSource::Upstream { head, body: None, store_as }
        };
        self.end(ExchangeResult { source, cache_status, kv_ms, upstream_ms }, cx)
    }

    /// Returns the length of the body in bytes if it is known; `None` for the response to a
    /// HEAD, whose `Content-Length` is that of a GET.
    fn body_length(&self, head: &UpstreamHead) -> Option<u64> {
        match self.method.as_str() {
            "HEAD" => None,
            _ if is_null_body(head.status) => Some(0),
            _ => head.length(),
        }
    }

    /// Returns the metadata of a response to store, and its key.
    fn to_store<F: Fields>(
        &self,
        lookup: &Lookup<B>,
        head: &UpstreamHead,
        length: Option<u64>,
        cx: &Context<'_, B, F>,
    ) -> (Key<'static>, StoredMetadata) {
        let times = head.times;
        let selecting_fields = match Vary::parse(head.fields.get("vary").as_deref()) {
            Vary::Names(names) if self.view == StoredView::Response => vary::selecting_fields(&names, cx.fields),
            // The view is the same for every client, whatever selects its page.
            _ => SelectingFields::new(),
        };
        let is_current = |stored: &&StoredResponse| !self.is_epoch_invalidated(stored.metadata.epoch_ms, cx);
        let hit = lookup.hit.as_ref().map(|hit| &*hit.stored).filter(is_current);
        let hit = hit.map(|hit| (hit, lookup.key != self.key()));
        let storage_key =
            StorageKey::choose(lookup.primary.as_deref().filter(is_current), hit, &selecting_fields, times.received_ms);
        let key = match storage_key {
            StorageKey::Url { .. } => self.key(),
            StorageKey::Variant { .. } => self.url.variant_key(&selecting_fields),
        };
        // The response to a write is newer than the invalidation that the write causes.
        let requested_ms = if self.request.is_get_or_head { times.requested_ms } else { times.received_ms + 1 };
        let lifetime_ms = self.view.default_lifetime_ms();
        let received =
            StoredMetadata::from_response(cx.fields, cx.credentials, head.status, &head.fields, times, lifetime_ms);
        let received = if self.request.is_get_or_head { received } else { received.without_cookies() };
        let metadata = StoredMetadata {
            times: ExchangeTimes { requested_ms, ..times },
            length: length.unwrap_or_default(),
            selecting_fields,
            epoch_ms: storage_key.epoch_ms(),
            ..received
        };
        (key, metadata)
    }
}
