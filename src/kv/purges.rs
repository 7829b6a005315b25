//! The list of purges that every stored response is checked against.

use std::rc::Rc;

use http_cache::purge::{self, Purge, PurgeList, PurgeMode, PurgeTarget};
use kv_store::record_cache::{Lifetime, ReadFailure, RecordLookup};
use kv_store::retry::Time;
use kv_store::store_error::StoreError;

use super::Store;
use super::key_metadata::KeyMetadata;
use crate::http::request_context::RequestContext;
use crate::isolate::Isolate;
use crate::platform::clock::Clock;
use crate::platform::log::RequestLog;
use crate::platform::meter::Metered;

/// The key of the list in memory.
const NAME: &str = "purges";

/// The most pages of 1000 keys that are read. If there are more, the list is incomplete, and all
/// that was stored before the read counts as purged.
const PAGES_MAX: u32 = 20;

/// The most bytes of purge records that are used: the isolate keeps them in a cache of 2 MiB,
/// where the entry itself takes some bytes. If there are more, all that was stored before the read
/// counts as purged.
const BYTES_MAX: usize = 2 * 1024 * 1024 - 1024;

/// The shortest time for which a list in memory is fresh, in milliseconds. Even if `CACHE_REFRESH`
/// is 0, not every request reads it.
const REFRESH_MIN_MS: u64 = 1000;

/// Returns the purges that this isolate knows. The first request after `CACHE_REFRESH` seconds
/// reads them again in the background; after twice that time a request waits for them.
pub(crate) async fn known(context: &RequestContext, now_ms: u64) -> Result<Rc<PurgeList>, StoreError> {
    let refresh_ms = context.vars().cache_refresh_ms.max(REFRESH_MIN_MS);
    let (store, log) = (context.env().cache_store(), context.log());
    let lookup = Isolate::current().cache.purges.borrow_mut().look_up(NAME, Lifetime::of_rare(refresh_ms), now_ms);
    if matches!(lookup, RecordLookup::Fresh(_) | RecordLookup::Refresh(_)) {
        context.meter().count(Metered::MemoryHit);
    }
    match lookup {
        RecordLookup::Fresh(record) => Ok(record.value),
        RecordLookup::Refresh(record) => {
            // A failure is in the log, and the old list stays in use.
            let log = log.clone();
            context.wait_until(async move { drop(listed(&store, &log).await) });
            Ok(record.value)
        }
        RecordLookup::Read | RecordLookup::Failed(_) => listed(&store, log).await,
    }
}

/// Returns the purges in KV and those of this isolate, which KV may not list yet, and keeps them
/// in memory. If KV fails, returns those that are in memory.
pub(crate) async fn listed(store: &Store, log: &RequestLog) -> Result<Rc<PurgeList>, StoreError> {
    let requested_ms = Clock.now_ms();
    let isolate = Isolate::current();
    let KeyMetadata { metadata, is_complete } = match store.listed_metadata(purge::KEY_PREFIX, PAGES_MAX).await {
        Ok(listed) => listed,
        Err(error) => {
            log.warning("kv_list_failed", &error);
            let (why, read_ms) = (ReadFailure::Store(error.clone()), requested_ms..Clock.now_ms());
            let memory = isolate.cache.purges.borrow_mut().read_failed(NAME, why, 0, read_ms);
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
    let listed: Result<Vec<Purge>, _> = metadata.iter().map(|metadata| Purge::parse(metadata)).collect();
    match listed {
        Ok(listed) if is_complete => {
            let own = isolate.cache.own_purges.borrow();
            listed.into_iter().chain(own.values().cloned()).for_each(|purge| purges.add(purge));
        }
        listed => {
            match listed {
                Ok(_) => log.warning("too_many_purges", &"no response stored before now is used"),
                Err(broken) => log.warning("broken_purge", &format!("no response stored before now is used: {broken}")),
            }
            purges.add(Purge { target: PurgeTarget::All(true), mode: PurgeMode::Hard, at_ms: requested_ms });
        }
    }
    let bytes = if is_complete { bytes } else { 0 };
    Ok(memory.store(NAME, Some(source), Rc::new(purges), bytes, requested_ms).value)
}

/// Remembers a purge made by this isolate until it is evicted, because the list in KV may not show
/// it yet. Returns a later purge of the same target, if there is one, and keeps that.
pub(crate) fn remember_own(purge: &Purge) -> Option<Purge> {
    let isolate = Isolate::current();
    let mut own_purges = isolate.cache.own_purges.borrow_mut();
    let key = purge.key();
    let later = own_purges.get(key.as_str()).filter(|known| known.at_ms > purge.at_ms).cloned();
    if later.is_none() {
        own_purges.insert(key.as_str(), purge.clone(), purge.metadata().len());
    }
    // The next request reads the list again and adds this isolate's purges.
    isolate.cache.purges.borrow_mut().remove(NAME, Clock.now_ms());
    later
}
