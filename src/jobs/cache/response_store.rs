//! Stored responses, and views (the documented JSON of pages), in the memory of the isolate and in
//! `CACHE_KV`.

use std::rc::Rc;

use http_cache::exchange::{CacheHit, MissReason, StoredBody, StoredView, StreamToStore, usable_record};
use http_cache::memory_cache::{self, BODY_BYTES_MAX, MemoryCache, MemoryEntry};
use http_cache::page_view;
use http_cache::stale::expiration_ttl_seconds;
use http_cache::stored_response::{StoredMetadata, StoredResponse};
use kv_store::limits::{Key, VALUE_BYTES_MAX};
use kv_store::retry::{Backoff, Time};
use kv_store::store_error::StoreError;
use wasm_bindgen::prelude::*;
use worker::web_sys::ReadableStream;

use crate::http::request_context::RequestContext;
use crate::http::stream;
use crate::isolate::Isolate;
use crate::kv::Store;
use crate::kv::envelope::{Envelope, EnvelopeBody, to_put};
use crate::platform::clock::Clock;
use crate::platform::log::RequestLog;
use crate::platform::meter::Metered;
use crate::platform::promise::settled;

#[wasm_bindgen(module = "/src/platform/glue/bodies.js")]
extern "C" {
    #[wasm_bindgen(catch)]
    fn collect(stream: &ReadableStream, length: f64, max: f64) -> Result<js_sys::Promise, JsValue>;
}

/// Calls a function with the isolate's memory of stored responses.
pub(super) fn memory<R>(f: impl FnOnce(&mut MemoryCache<js_sys::ArrayBuffer>) -> R) -> R {
    f(&mut Isolate::current().cache.responses.borrow_mut())
}

impl StoredBody for EnvelopeBody {
    type Bytes = js_sys::ArrayBuffer;

    fn bytes(&self) -> Option<&js_sys::ArrayBuffer> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Stream(_) => None,
        }
    }

    fn from_bytes(bytes: js_sys::ArrayBuffer) -> Self {
        Self::Bytes(bytes)
    }
}

/// Returns the response stored under a key: from memory for up to `CACHE_REFRESH` seconds, else
/// from KV; and how long KV took, in milliseconds, if it was read.
pub(super) async fn get(
    context: &RequestContext,
    key: &Key<'_>,
    view: StoredView,
    now_ms: u64,
) -> (Result<CacheHit<EnvelopeBody>, MissReason>, Option<u64>) {
    let refresh_ms = context.vars().cache_refresh_ms;
    if let Some(MemoryEntry { stored, body }) = memory(|memory| memory.get(key.as_str(), refresh_ms, now_ms)) {
        context.meter().count(Metered::MemoryHit);
        return (Ok(CacheHit { stored, body: EnvelopeBody::Bytes(body) }), None);
    }
    // A view is made of the whole record.
    let bytes_max = (view == StoredView::Response).then_some(BODY_BYTES_MAX);
    let read = context.env().cache_store().envelope(key, bytes_max).await;
    let read_ms = Clock.now_ms();
    // 0 if the clock was set back in the meantime.
    (usable(context, key, view, read, read_ms), Some(read_ms.saturating_sub(now_ms)))
}

/// Returns the response that was read from KV if it may be used, and holds a short one in memory.
fn usable(
    context: &RequestContext,
    key: &Key<'_>,
    view: StoredView,
    read: Result<Option<Envelope>, StoreError>,
    read_ms: u64,
) -> Result<CacheHit<EnvelopeBody>, MissReason> {
    let envelope = match read {
        Ok(Some(envelope)) => envelope,
        Ok(None) => return Err(MissReason::Absent),
        Err(error) => {
            context.log().warning("kv_unavailable", &error);
            return Err(MissReason::Unavailable);
        }
    };
    let broken = || {
        context.log().warning("broken_record", &"the stored record does not parse");
        MissReason::Broken
    };
    let lifetime_ms = view.default_lifetime_ms();
    let record = memory(|memory| usable_record(memory, key, envelope.head.as_deref(), lifetime_ms, read_ms));
    let has_length = |stored: &StoredResponse| view == StoredView::Page || stored.metadata.length == envelope.length;
    let stored = match record {
        Ok(stored) if has_length(&stored) => stored,
        Ok(_) => {
            discard(&envelope.body);
            return Err(broken());
        }
        Err(why) => {
            discard(&envelope.body);
            return Err(if why == MissReason::Broken { broken() } else { why });
        }
    };
    let body = match envelope.body {
        EnvelopeBody::Bytes(record) => EnvelopeBody::Bytes(body_of(record, view).ok_or_else(broken)?),
        EnvelopeBody::Stream(stream) => EnvelopeBody::Stream(stream),
    };
    if let EnvelopeBody::Bytes(body) = &body {
        store_in_memory(context, key, &stored, body, read_ms);
    }
    Ok(CacheHit { stored, body })
}

/// Stores a response in memory only, if its body is short and `CACHE_REFRESH` is not 0.
fn store_in_memory(
    context: &RequestContext,
    key: &Key<'_>,
    stored: &Rc<StoredResponse>,
    body: &js_sys::ArrayBuffer,
    now_ms: u64,
) {
    if context.vars().cache_refresh_ms > 0 && body.byte_length() <= BODY_BYTES_MAX {
        let entry = MemoryEntry { stored: Rc::clone(stored), body: body.clone() };
        memory(|memory| memory.insert(key.as_str(), entry, now_ms));
    }
}

/// Returns the body that is made of the one in KV; `None` if that is broken.
fn body_of(record: js_sys::ArrayBuffer, view: StoredView) -> Option<js_sys::ArrayBuffer> {
    if view == StoredView::Response {
        return Some(record);
    }
    let json = page_view::json_from_record(&js_sys::Uint8Array::new(&record).to_vec())?;
    Some(js_sys::Uint8Array::from(json.as_slice()).buffer())
}

/// Returns the body to put into KV: of a view, only the record that its JSON is made of.
pub(super) fn record_of(body: js_sys::ArrayBuffer, view: StoredView) -> js_sys::ArrayBuffer {
    if view == StoredView::Response {
        return body;
    }
    let (begin, end) = page_view::record_in_json(body.byte_length());
    body.slice_with_end(begin, end)
}

/// Puts a response into KV in the background. If KV refuses the put, the old value stays.
pub(super) fn put_later(
    context: &RequestContext,
    key: Key<'static>,
    stored: Rc<StoredResponse>,
    body: js_sys::ArrayBuffer,
) {
    let (store, log) = (context.env().cache_store(), context.log().clone());
    context.wait_until(async move { put(&store, &log, &key, &stored, &body).await });
}

/// Stores a response whose body is still arriving, once it is complete and if there is room for
/// it.
pub(super) fn store_stream(context: &Rc<RequestContext>, store: StreamToStore, stream: ReadableStream) {
    let StreamToStore { key, metadata, length } = store;
    let again = Rc::clone(context);
    context.wait_until(async move {
        let log = again.log();
        let body = match read_to_end(&stream, length).await {
            Ok(Some(body)) => body,
            Ok(None) => return log.warning("not_stored", &"a body was too long, or there was no room for it"),
            Err(_) => return log.warning("not_stored", &"a body broke off"),
        };
        let requested_ms = metadata.times.requested_ms;
        if memory_cache::may_have_forgotten(requested_ms, Clock.now_ms()) {
            return log.warning("not_stored", &"a body took so long that a write or a purge may have come between");
        }
        let stored =
            Rc::new(StoredResponse::new(StoredMetadata { length: u64::from(body.byte_length()), ..metadata }, None));
        // The response in memory is older, even if only its length differs.
        memory(|memory| memory.remove_older(key.as_str(), requested_ms));
        store_in_memory(&again, &key, &stored, &body, Clock.now_ms());
        put(&again.env().cache_store(), log, &key, &stored, &body).await;
    });
}

/// Reads a stream to its end. Returns `None` if it is longer than KV permits, does not have the
/// expected length, or there is no room for it in memory now. Fails if it breaks off.
pub(super) async fn read_to_end(
    stream: &ReadableStream,
    length: Option<u64>,
) -> Result<Option<js_sys::ArrayBuffer>, JsValue> {
    #[allow(clippy::cast_precision_loss)] // Far below 2^53.
    let (length, max) = (length.map_or(-1.0, |length| length as f64), VALUE_BYTES_MAX as f64);
    let bytes = settled(collect(stream, length, max)?).await?;
    if bytes.is_null() { Ok(None) } else { Ok(Some(bytes.dyn_into()?)) }
}

async fn put(store: &Store, log: &RequestLog, key: &Key<'_>, stored: &StoredResponse, body: &js_sys::ArrayBuffer) {
    let requested_ms = stored.metadata.times.requested_ms;
    // The URL was written to in the meantime, or a newer response is stored.
    if memory(|memory| memory.is_outdated(key.as_str(), requested_ms)) {
        return;
    }
    let ttl_seconds = expiration_ttl_seconds(stored, Clock.now_ms());
    let (value, options) = to_put(&stored.metadata.to_json(), body, ttl_seconds);
    let put = store.put_with_retry(key, &value, Some(&options), &Backoff::PUT_WITHIN_20_S, |_| {}).await;
    if let Err((error, _)) = put.outcome {
        log.warning("kv_put_failed", &error);
    }
    // KV may have applied this put after the delete of an invalidation in the meantime.
    if memory(|memory| memory.is_invalidated(key.as_str(), requested_ms)) {
        delete(store, log, key).await;
    }
}

async fn delete(store: &Store, log: &RequestLog, key: &Key<'_>) {
    if let Err((error, _)) = store.delete_with_retry(key, &Backoff::PUT_WITHIN_20_S).await.outcome {
        log.warning("kv_delete_failed", &error);
    }
}

/// Deletes these keys from KV in the background.
pub(super) fn delete_later(context: &RequestContext, keys: Vec<Key<'static>>) {
    let (store, log) = (context.env().cache_store(), context.log().clone());
    context.wait_until(async move {
        for key in keys {
            delete(&store, &log, &key).await;
        }
    });
}

/// Cancels a body that is not used.
pub(super) fn discard(body: &EnvelopeBody) {
    if let EnvelopeBody::Stream(stream) = body {
        stream::cancel(stream);
    }
}
