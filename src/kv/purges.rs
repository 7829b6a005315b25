//! The list of purges that every stored response is checked against.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use http_cache::purge::{self, Purge, PurgeList, PurgeMode, PurgeTarget};
use kv_store::limits::Key;
use kv_store::record_cache::{Lifetime, ReadFailure, RecordCache};
use kv_store::retry::Time;
use kv_store::store_error::StoreError;

use super::Store;
use super::key_metadata::KeyMetadata;
use super::keyspace::{Keyspace, Reader, RecordRead};
use crate::http::request_context::RequestContext;
use crate::isolate::Isolate;
use crate::platform::bindings::Bindings;
use crate::platform::clock::Clock;
use crate::platform::vars::Vars;

/// The key of the list in memory: the prefix of the keys that are listed.
const KEY: Key<'static> = Key::literal(purge::KEY_PREFIX);

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

/// The purges that every stored response is checked against: one record, whose source is a list of
/// keys with their metadata.
struct Purges;

impl Keyspace for Purges {
    type Value = PurgeList;
    type Error = Infallible;

    fn store(env: &Bindings) -> Store {
        env.cache_store()
    }

    fn cache() -> &'static RefCell<RecordCache<Rc<PurgeList>, Infallible>> {
        &Isolate::current().cache.purges
    }

    fn lifetime(&self, vars: &Vars) -> Lifetime {
        Lifetime::of_rare(vars.cache_refresh_ms.max(REFRESH_MIN_MS))
    }

    /// Reads the purges in KV: their digest, then each on a line of its own. If they are too many
    /// or too long, one purge of everything is in their place.
    async fn load(&self, reader: &Reader, _: &Key<'_>) -> Result<Option<String>, StoreError> {
        let requested_ms = Clock.now_ms();
        let KeyMetadata { mut metadata, is_complete } =
            reader.store.listed_metadata(purge::KEY_PREFIX, PAGES_MAX).await?;
        if !is_complete || metadata.iter().map(|purge| purge.len() + 1).sum::<usize>() > BYTES_MAX {
            reader.log.warning("too_many_purges", &"no response stored before now is used");
            metadata = vec![of_everything(requested_ms).metadata()];
        }
        metadata.insert(0, purge::digest(&metadata));
        // The runtime writes JSON without line breaks.
        Ok(Some(metadata.join("\n")))
    }

    /// Adds the purges of this isolate, which KV may not list yet. If a purge in KV is broken,
    /// everything counts as purged.
    async fn parse(
        &self,
        reader: &Reader,
        _: &str,
        listing: Option<String>,
    ) -> Result<Option<PurgeList>, ReadFailure<Infallible>> {
        let Some(listing) = listing else { return Ok(None) };
        let mut purges = PurgeList::default();
        match listing.lines().skip(1).map(Purge::parse).collect::<Result<Vec<_>, _>>() {
            Ok(listed) => {
                let own_purges = Isolate::current().cache.own_purges.borrow();
                listed.into_iter().chain(own_purges.values().cloned()).for_each(|purge| purges.add(purge));
            }
            Err(broken) => {
                let what = format!("no response stored before now is used: {broken}");
                reader.log.warning("broken_purge", &what);
                purges.add(of_everything(Clock.now_ms()));
            }
        }
        Ok(Some(purges))
    }

    /// The digest, which saves memory.
    fn identity(listing: &str) -> &str {
        listing.split_once('\n').map_or(listing, |(digest, _)| digest)
    }
}

/// Returns the purges that this isolate knows. The first request after `CACHE_REFRESH` seconds, a
/// second at least, reads them again in the background; after twice that time a request waits for
/// them. The error is that of KV, if no earlier list may be used.
pub(crate) async fn known(context: &RequestContext, now_ms: u64) -> Result<Rc<PurgeList>, StoreError> {
    let known = list(Purges.get(context, &KEY, now_ms).await);
    // The visitor gets a response all the same, so that nobody else logs it.
    known.inspect_err(|error| context.log().warning("kv_list_failed", error))
}

/// Reads KV, and returns its purges and those of this isolate, which KV may not list yet.
#[cfg(feature = "console")]
pub(crate) async fn listed(context: &RequestContext) -> Result<Rc<PurgeList>, StoreError> {
    list(Purges.read(&Reader::of::<Purges>(context), &KEY).await)
}

fn list(read: RecordRead<Purges>) -> Result<Rc<PurgeList>, StoreError> {
    match read {
        #[expect(clippy::expect_used, reason = "`parse` makes a list of every listing")]
        Ok(cached) => Ok(cached.expect("a list that was read exists").value),
        Err(ReadFailure::Store(error)) => Err(error),
        Err(ReadFailure::Broken(never)) => match never {},
    }
}

/// Returns a purge of all responses that were stored before this time.
fn of_everything(at_ms: u64) -> Purge {
    Purge { target: PurgeTarget::All(true), mode: PurgeMode::Hard, at_ms }
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
    isolate.cache.purges.borrow_mut().remove(KEY.as_str(), Clock.now_ms());
    later
}
