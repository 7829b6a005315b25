//! What is kept: in the memory of the isolate, and in `CACHE_KV`.

use std::rc::Rc;

use http_cache::hot::{BODY_BYTES_MAX, Entry, Hot};
use http_cache::stale::kept_seconds;
use http_cache::stored::{Kept, Stored, UnusableRecord};
use kv_store::limits::{Key, VALUE_BYTES_MAX};
use kv_store::retry::{Backoff, Time};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::web_sys::ReadableStream;

use crate::http::incoming::Incoming;
use crate::http::stream;
use crate::isolate::Isolate;
use crate::kv::Store;
use crate::kv::headed::{Body, to_put};
use crate::platform::clock::Clock;
use crate::platform::js_error::message_of;
use crate::platform::log::RequestLog;

#[wasm_bindgen(module = "/src/platform/glue/bodies.js")]
extern "C" {
    #[wasm_bindgen(catch)]
    fn collect(stream: &ReadableStream, length: f64, max: f64) -> Result<js_sys::Promise, JsValue>;
}

/// What the isolate remembers.
pub(super) fn hot<R>(ask: impl FnOnce(&mut Hot<js_sys::ArrayBuffer>) -> R) -> R {
    ask(&mut Isolate::current().cache.responses.borrow_mut())
}

/// A kept answer and its body.
pub(super) struct Found {
    pub(super) kept: Rc<Kept>,
    pub(super) body: Body,
}

/// How what is kept under a key is used.
pub(super) struct Form {
    /// For how long an answer is fresh that does not say, in milliseconds.
    pub(super) default_lifetime_ms: Option<u64>,
    /// The body is needed whole, however long it is.
    pub(super) is_whole: bool,
    /// What is answered, out of a body in memory; `None` where that is broken.
    pub(super) body: fn(&js_sys::ArrayBuffer) -> Option<js_sys::ArrayBuffer>,
}

/// An answer as it came.
pub(super) const AS_IT_CAME: Form =
    Form { default_lifetime_ms: None, is_whole: false, body: |bytes| Some(bytes.clone()) };

/// KV failed, in `Cache-Status`.
pub(super) const KV_UNAVAILABLE: &str = "kv-unavailable";

impl NotFound {
    /// What `Cache-Status` says of it.
    pub(super) fn detail(self) -> Option<&'static str> {
        match self {
            Self::Absent => None,
            Self::Unavailable => Some(KV_UNAVAILABLE),
            Self::Broken => Some("broken-record"),
        }
    }
}

/// Why nothing that is kept could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotFound {
    /// There is nothing.
    Absent,
    /// KV failed. The log has it.
    Unavailable,
    /// What KV holds does not parse.
    Broken,
}

/// What is kept under a key: in memory for `CACHE_REFRESH` seconds, else in KV.
pub(super) async fn find(
    incoming: &Incoming,
    key: &Key<'_>,
    form: &Form,
    now_ms: u64,
    kv_ms: &mut Option<u64>,
) -> Result<Found, NotFound> {
    let refresh_ms = incoming.vars().cache.refresh_ms;
    if let Some(Entry { kept, body }) = hot(|hot| hot.get(key.as_str(), refresh_ms, now_ms)) {
        return Ok(Found { kept, body: Body::Bytes(body) });
    }
    let read = incoming.env().pages().headed(key, (!form.is_whole).then_some(BODY_BYTES_MAX)).await;
    let read_ms = Clock.now_ms();
    *kv_ms = Some(kv_ms.unwrap_or(0).saturating_add(read_ms.saturating_sub(now_ms)));
    let headed = match read {
        Ok(Some(headed)) => headed,
        Ok(None) => return Err(NotFound::Absent),
        Err(error) => {
            incoming.log().warning("kv_unavailable", &error);
            return Err(NotFound::Unavailable);
        }
    };
    let broken = || {
        incoming.log().warning("broken_record", &"what is kept does not parse");
        NotFound::Broken
    };
    let stored = match headed.head {
        Some(head) => Stored::from_json(&head),
        None => form.default_lifetime_ms.map(|_| Stored::undated(read_ms)).ok_or(UnusableRecord::Broken),
    };
    let stored = match stored {
        Ok(stored) => stored,
        Err(error) => {
            discard(&headed.body);
            return Err(if error == UnusableRecord::OtherVersion { NotFound::Absent } else { broken() });
        }
    };
    if hot(|hot| hot.is_invalidated(key.as_str(), stored.times.requested_ms)) {
        discard(&headed.body);
        return Err(NotFound::Absent);
    }
    let kept = Rc::new(Kept::new(stored, form.default_lifetime_ms));
    let body = match headed.body {
        Body::Bytes(bytes) => Body::Bytes((form.body)(&bytes).ok_or_else(broken)?),
        Body::Stream(stream) => Body::Stream(stream),
    };
    if let Body::Bytes(body) = &body {
        remember(incoming, key, &kept, body, read_ms);
    }
    Ok(Found { kept, body })
}

/// Keeps an answer in memory only.
pub(super) fn remember(incoming: &Incoming, key: &Key<'_>, kept: &Rc<Kept>, body: &js_sys::ArrayBuffer, now_ms: u64) {
    if incoming.vars().cache.refresh_ms > 0 && body.byte_length() <= BODY_BYTES_MAX {
        let entry = Entry { kept: Rc::clone(kept), body: body.clone() };
        hot(|hot| hot.insert(key.as_str(), entry, now_ms));
    }
}

/// Keeps an answer: in memory at once, in KV after the answer to the client. A put that KV refuses leaves what it holds.
pub(super) fn keep(incoming: &Incoming, key: &Key<'_>, kept: &Rc<Kept>, body: &js_sys::ArrayBuffer, form: &Form) {
    if let Some(body) = (form.body)(body) {
        remember(incoming, key, kept, &body, Clock.now_ms());
    }
    let (key, kept, body, store) = (key.to_static(), Rc::clone(kept), body.clone(), incoming.env().pages());
    let log = incoming.log().clone();
    incoming.wait_until(async move { put(&store, &log, &key, &kept, &body).await });
}

/// Keeps an answer whose body still comes, when it has come and fits; `length` is its length where that is known.
pub(super) fn keep_stream(
    incoming: &Rc<Incoming>,
    key: &Key<'_>,
    stored: Stored,
    stream: ReadableStream,
    length: Option<u64>,
) {
    let (key, again) = (key.to_static(), Rc::clone(incoming));
    incoming.wait_until(async move {
        let log = again.log();
        let body = match collected(&stream, length).await {
            Ok(Some(body)) => body,
            Ok(None) => return log.warning("not_kept", &"a body was too long, or there was no room for it"),
            Err(_) => return log.warning("not_kept", &"a body broke off"),
        };
        let kept = Rc::new(Kept::new(Stored { length: u64::from(body.byte_length()), ..stored }, None));
        // What is in memory is older, be it for its length only.
        hot(|hot| hot.forget_older(key.as_str(), kept.stored.times.requested_ms));
        remember(&again, &key, &kept, &body, Clock.now_ms());
        put(&again.env().pages(), log, &key, &kept, &body).await;
    });
}

/// All of a stream; `None` where it is longer than KV takes or than memory has room for now. Fails where it breaks off.
pub(super) async fn collected(
    stream: &ReadableStream,
    length: Option<u64>,
) -> Result<Option<js_sys::ArrayBuffer>, JsValue> {
    #[allow(clippy::cast_precision_loss)] // Far below 2^53.
    let (length, max) = (length.map_or(-1.0, |length| length as f64), VALUE_BYTES_MAX as f64);
    JsFuture::from(collect(stream, length, max)?).await.map(|bytes| bytes.dyn_into().ok())
}

async fn put(store: &Store, log: &RequestLog, key: &Key<'_>, kept: &Kept, body: &js_sys::ArrayBuffer) {
    let requested_ms = kept.stored.times.requested_ms;
    // A write to the URL came in between, or a newer answer: this is from before it.
    if hot(|hot| hot.is_outdated(key.as_str(), requested_ms)) {
        return;
    }
    let ttl_seconds = kept_seconds(kept, Clock.now_ms());
    let (value, options) = match to_put(&kept.stored.to_json(), body, ttl_seconds) {
        Ok(put) => put,
        Err(thrown) => return log.warning("not_kept", &message_of(&thrown)),
    };
    let put = store.put_with_retry(key, &value, Some(&options), &Backoff::PUT_AFTER_ANSWER, |_| {}).await;
    if let Err((error, _)) = put.outcome {
        log.warning("kv_put_failed", &error);
    }
    // KV may have taken this after the invalidation that came in between.
    if hot(|hot| hot.is_invalidated(key.as_str(), requested_ms)) {
        delete(store, log, key).await;
    }
}

async fn delete(store: &Store, log: &RequestLog, key: &Key<'_>) {
    if let Err((error, _)) = store.delete_with_retry(key, &Backoff::PUT_AFTER_ANSWER).await.outcome {
        log.warning("kv_delete_failed", &error);
    }
}

/// Forgets what is kept under these keys: here at once, elsewhere within what KV takes to tell.
pub(super) fn invalidate(incoming: &Incoming, keys: Vec<Key<'static>>, now_ms: u64) {
    for key in &keys {
        hot(|hot| hot.invalidate(key.as_str(), now_ms));
    }
    let (store, log) = (incoming.env().pages(), incoming.log().clone());
    incoming.wait_until(async move {
        for key in keys {
            delete(&store, &log, &key).await;
        }
    });
}

/// Ends a body that nobody reads.
pub(super) fn discard(body: &Body) {
    if let Body::Stream(stream) = body {
        stream::end(stream);
    }
}
