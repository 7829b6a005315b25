//! `POST /cache/purge`, and the list of purges that every stored response is checked against.

use std::ops::Not;
use std::rc::Rc;

use futures_util::future::join_all;
use http_cache::cached_url::CachedUrl;
use http_cache::purge::{self, Purge, PurgeError, PurgeList, PurgeMode, PurgeRequest, PurgeTarget};
use http_semantics::origin::OriginAllowList;
use kv_store::record_cache::{Lifetime, ReadFailure, RecordLookup};
use kv_store::retry::{Backoff, Time};
use kv_store::store::StoreError;
use serde::Serialize;
use worker::web_sys::Response;

use crate::http::error::RequestError;
use crate::http::request_context::RequestContext;
use crate::http::response;
use crate::isolate::Isolate;
use crate::kv::Store;
use crate::kv::list::KeyMetadata;
use crate::kv::put::{PutOptions, PutValue};
use crate::platform::clock::Clock;
use crate::platform::log::RequestLog;

/// The key of the list in memory.
const NAME: &str = "purges";

/// The most pages of 1000 keys that are read. If there are more, the list is incomplete and
/// everything counts as purged.
const PAGES_MAX: u32 = 20;

/// The most bytes of purge records that are used, because the isolate keeps them in memory, with
/// room for the entry itself. If there are more, everything counts as purged.
const BYTES_MAX: usize = 2 * 1024 * 1024 - 1024;

/// The shortest time between two reads of the list, in milliseconds. Even if `CACHE_REFRESH` is
/// 0, not every request reads it.
const REFRESH_MIN_MS: u64 = 1000;

/// Returns the purges that this isolate knows. They are read again in the background every
/// `CACHE_REFRESH` seconds.
pub(super) async fn purge_list(context: &RequestContext, now_ms: u64) -> Result<Rc<PurgeList>, StoreError> {
    let refresh_ms = context.vars().cache.refresh_ms.max(REFRESH_MIN_MS);
    let (store, log) = (context.env().cache_store(), context.log());
    let lookup = Isolate::current().cache.purges.borrow_mut().look_up(NAME, Lifetime::of_rare(refresh_ms), now_ms);
    match lookup {
        RecordLookup::Fresh(record) => Ok(record.value),
        RecordLookup::Refresh(record) => {
            // A failure is in the log, and the old list stays in use.
            let log = log.clone();
            context.wait_until(async move { drop(read(&store, &log).await) });
            Ok(record.value)
        }
        RecordLookup::Read | RecordLookup::Failed(_) => read(&store, log).await,
    }
}

async fn read(store: &Store, log: &RequestLog) -> Result<Rc<PurgeList>, StoreError> {
    let requested_ms = Clock.now_ms();
    let isolate = Isolate::current();
    let KeyMetadata { metadata, is_complete } = match store.listed_metadata(purge::KEY_PREFIX, PAGES_MAX).await {
        Ok(listed) => listed,
        Err(error) => {
            log.warning("kv_list_failed", &error);
            let memory =
                isolate.cache.purges.borrow_mut().read_failed(NAME, ReadFailure::Store(error.clone()), 0, requested_ms);
            return memory.map(|record| record.value).map_err(|_| error);
        }
    };
    let bytes = metadata.iter().map(String::len).sum();
    let is_complete = is_complete && bytes <= BYTES_MAX;
    // A digest is used instead of the list, to save memory.
    let source = purge::digest(&metadata);
    let mut memory = isolate.cache.purges.borrow_mut();
    if is_complete && let Some(record) = memory.revalidate(NAME, Some(&source), requested_ms) {
        return Ok(record.value);
    }
    let mut purges = PurgeList::default();
    if is_complete {
        metadata.iter().filter_map(|metadata| Purge::parse(metadata)).for_each(|purge| purges.add(purge));
        isolate.cache.own_purges.borrow().values().for_each(|purge| purges.add(purge.clone()));
    } else {
        log.warning("too_many_purges", &"no response stored before now is used");
        purges.add(Purge { target: PurgeTarget::All(true), mode: PurgeMode::Hard, at_ms: requested_ms });
    }
    let bytes = if is_complete { bytes } else { 0 };
    Ok(memory.store(NAME, Some(source), Rc::new(purges), bytes, requested_ms).value)
}

/// Handles `POST /cache/purge`: puts a record for each target. For a hard purge of a URL, its two
/// keys are deleted as well.
pub(crate) async fn handle(context: &RequestContext) -> Result<Response, RequestError> {
    context.authorize()?;
    let vars = context.vars();
    let PurgeRequest { targets, mode } = purge::parse_request(&body(context).await?, &vars.cache.upstreams)?;
    let (store, at_ms) = (context.env().cache_store(), Clock.now_ms());
    let purges: Vec<Purge> = targets.into_iter().map(|target| Purge { target, mode, at_ms }).collect();
    let written = join_all(purges.iter().map(|purge| write_purge(&store, purge, &vars.cache.upstreams))).await;
    written.into_iter().collect::<Result<(), RequestError>>()?;
    let soft = mode == PurgeMode::Soft;
    let result = PurgeResult { purged: purges.iter().map(|purge| &purge.target).collect(), soft, at_ms };
    let json = serde_json::to_vec(&result).map_err(|error| RequestError::internal(&error.to_string().into()))?;
    let fields = [("content-type", "application/json"), ("cache-control", "no-store")];
    Ok(response::with_status(200, &response::bytes(&json), &fields)?)
}

/// Writes a purge. For a hard one of a URL, the stored values are deleted as well, so the record
/// is needed only until the deletes are visible everywhere.
async fn write_purge(store: &Store, purge: &Purge, allowed: &OriginAllowList) -> Result<(), RequestError> {
    let backoff = Backoff::PUT_AFTER_RESPONSE;
    let mut newest = purge.clone();
    loop {
        let options = PutOptions::expiring(newest.expiration_ttl_seconds()).and_metadata(&newest.metadata());
        let options = options.map_err(|thrown| RequestError::internal(&thrown))?;
        let (key, value) = (newest.key(), PutValue::text(""));
        store
            .put_with_retry(&key, &value, Some(&options), &backoff, |_| {})
            .await
            .outcome
            .map_err(|(error, _)| error)?;
        // A put that was retried may have replaced the record of a later purge of the same target.
        match remember_own(&newest) {
            Some(later) => newest = later,
            None => break,
        }
    }
    if let (PurgeTarget::Url(url), PurgeMode::Hard) = (&purge.target, purge.mode)
        && let Ok(url) = CachedUrl::of_href(url, allowed)
    {
        for key in [url.key(), url.page_key()] {
            store.delete_with_retry(&key, &backoff).await.outcome.map_err(|(error, _)| error)?;
        }
    }
    Ok(())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PurgeResult<'a> {
    purged: Vec<&'a PurgeTarget>,
    #[serde(skip_serializing_if = "Not::not")]
    soft: bool,
    at_ms: u64,
}

/// Reads the body, if it is not longer than a purge request may be.
async fn body(context: &RequestContext) -> Result<Vec<u8>, RequestError> {
    let length = context.header("content-length").and_then(|length| length.trim().parse::<usize>().ok());
    let length = length.ok_or(PurgeError::LengthRequired)?;
    if length > purge::REQUEST_BYTES_MAX {
        return Err(PurgeError::TooLong.into());
    }
    let body = context.body_bytes(u64::try_from(length).unwrap_or(u64::MAX)).await?;
    Ok(js_sys::Uint8Array::new(&body).to_vec())
}

/// Remembers a purge made by this isolate, because the list in KV may not show it yet. It stays
/// until it is evicted. Returns a later purge of the same target, if there is one, and keeps that.
fn remember_own(purge: &Purge) -> Option<Purge> {
    let isolate = Isolate::current();
    let mut own = isolate.cache.own_purges.borrow_mut();
    let key = purge.key();
    let later = own.get(key.as_str()).filter(|own| own.at_ms > purge.at_ms).cloned();
    if later.is_none() {
        own.insert(key.as_str(), purge.clone(), purge.metadata().len());
    }
    // The next request reads the list again and adds this isolate's purges.
    isolate.cache.purges.borrow_mut().remove(NAME, Clock.now_ms());
    later
}
