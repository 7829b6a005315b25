//! Typed keyspaces: how a kind of record is read, from memory or KV, and what is served if that
//! fails.

use std::cell::RefCell;
use std::fmt::Display;
use std::rc::Rc;

use kv_store::limits::Key;
use kv_store::record_cache::{CachedRecord, Lifetime, ReadFailure, RecordCache, RecordLookup};
use kv_store::retry::Time;
use kv_store::store_error::StoreError;

use super::Store;
use crate::http::request_context::RequestContext;
use crate::platform::bindings::Bindings;
use crate::platform::clock::Clock;
use crate::platform::log::RequestLog;
use crate::platform::meter::Metered;
use crate::platform::vars::Vars;

/// A kind of record that is parsed and kept in memory by its key. All are in `keyspaces.rs`,
/// except the purges.
pub(crate) trait Keyspace: Sized + 'static {
    /// The record, parsed.
    type Value: 'static;
    /// The error of a record that does not parse, for the log.
    type Error: Display + Clone + 'static;

    /// True if the keys are user ids, which the log must not show.
    const IS_PRIVATE: bool = false;

    /// The namespace.
    fn store(env: &Bindings) -> Store;

    /// The isolate's cache of these records.
    fn cache() -> &'static RefCell<RecordCache<Rc<Self::Value>, Self::Error>>;

    /// Returns how long a record is fresh, and how long it is used while it is refreshed.
    fn lifetime(&self, vars: &Vars) -> Lifetime;

    /// Reads the text of a record: the value of its key, if the keyspace has no other source.
    async fn load(&self, reader: &Reader, key: &Key<'_>) -> Result<Option<String>, StoreError> {
        reader.store.text_with_retry(key).await
    }

    /// Parses a record from its text, or from `None` if the key does not exist. It may read
    /// further keys. A result of `None` is not cached.
    async fn parse(
        &self,
        reader: &Reader,
        key: &str,
        json: Option<String>,
    ) -> Result<Option<Self::Value>, ReadFailure<Self::Error>>;

    /// Returns the part of the text that identifies the record: all of it, or a part that has a
    /// hash of the rest.
    fn identity(json: &str) -> &str {
        json
    }

    /// Returns the record of a key; `None` if there is none. One in memory that is no longer fresh
    /// is returned and refreshed in the background while it is usable; after that the request
    /// waits for KV. If the read fails or the record does not parse, returns the last record in
    /// memory, marked as such, or an error if none may be used. `now_ms` is milliseconds since the
    /// Unix epoch.
    async fn get(self, context: &RequestContext, key: &Key<'_>, now_ms: u64) -> RecordRead<Self> {
        let lifetime = self.lifetime(&context.vars());
        let look = Self::cache().borrow_mut().look_up(key.as_str(), lifetime, now_ms);
        match look {
            RecordLookup::Fresh(cached) => {
                context.meter().count(Metered::MemoryHit);
                Ok(Some(cached))
            }
            RecordLookup::Refresh(cached) => {
                context.meter().count(Metered::MemoryHit);
                let (key, reader) = (key.to_static(), Reader::of::<Self>(context));
                // A failure is logged, and the next request uses the old record, too.
                context.wait_until(async move { drop(self.read(&reader, &key).await) });
                Ok(Some(cached))
            }
            RecordLookup::Read => self.read(&Reader::of::<Self>(context), key).await,
            RecordLookup::Failed(why) => Err(why),
        }
    }

    /// Returns the records of several keys, in their order; `None` if there is none. Those that
    /// are not fresh are read in bulk, and the response waits for them, unless a read failed a
    /// moment ago.
    #[cfg(feature = "flags")]
    async fn get_all(&self, context: &RequestContext, keys: &[Key<'_>], now_ms: u64) -> Vec<RecordRead<Self>> {
        let lifetime = self.lifetime(&context.vars());
        let look = |key: &Key<'_>| match Self::cache().borrow_mut().look_up(key.as_str(), lifetime, now_ms) {
            RecordLookup::Fresh(cached) => {
                context.meter().count(Metered::MemoryHit);
                Some(Ok(Some(cached)))
            }
            RecordLookup::Refresh(_) | RecordLookup::Read => None,
            RecordLookup::Failed(why) => Some(Err(why)),
        };
        let mut records: Vec<_> = keys.iter().map(look).collect();
        let mut wanted: Vec<_> = keys.iter().zip(&mut records).filter(|(_, known)| known.is_none()).collect();
        let names: Vec<&Key<'_>> = wanted.iter().map(|(key, _)| *key).collect();
        let reader = Reader::of::<Self>(context);
        let asked_ms = Clock.now_ms();
        let read = reader.store.texts(&names).await;
        for ((key, record), read) in wanted.iter_mut().zip(read) {
            **record = Some(self.settle(&reader, key.as_str(), read, asked_ms).await);
        }
        #[expect(clippy::expect_used, reason = "`texts` returns one result for each key")]
        records.into_iter().map(|record| record.expect("each key that was not in memory was read")).collect()
    }

    #[doc(hidden)]
    async fn read(&self, reader: &Reader, key: &Key<'_>) -> RecordRead<Self> {
        let asked_ms = Clock.now_ms();
        let json = self.load(reader, key).await;
        self.settle(reader, key.as_str(), json, asked_ms).await
    }

    /// Caches the result of a read, and returns the record to use.
    #[doc(hidden)]
    async fn settle(
        &self,
        reader: &Reader,
        key: &str,
        read: Result<Option<String>, StoreError>,
        asked_ms: u64,
    ) -> RecordRead<Self> {
        let cache = Self::cache();
        let why = match read {
            Ok(json) => {
                let source = json.as_deref().map(Self::identity);
                if let Some(cached) = cache.borrow_mut().revalidate(key, source, asked_ms) {
                    return Ok(Some(cached));
                }
                let (source, bytes) = (source.map(str::to_owned), json.as_ref().map_or(0, String::len));
                match self.parse(reader, key, json).await {
                    Ok(None) => {
                        cache.borrow_mut().remove(key, asked_ms);
                        return Ok(None);
                    }
                    Ok(Some(record)) => {
                        return Ok(Some(cache.borrow_mut().store(key, source, Rc::new(record), bytes, asked_ms)));
                    }
                    Err(why) => why,
                }
            }
            Err(error) => ReadFailure::Store(error),
        };
        let mut cache = cache.borrow_mut();
        let cached =
            cache.read_failed(key, why.clone(), self.lifetime(&reader.vars).fresh_ms, asked_ms..Clock.now_ms());
        // If nothing is in memory, the renderer logs the error that the visitor gets. A failure
        // that is cached is logged here all the same, once for each read, because not every caller
        // renders it: a user whose record cannot be read gets the defaults.
        if cached.is_ok() || cache.caches_failures() {
            let (code, cause): (_, &dyn Display) = match &why {
                ReadFailure::Broken(broken) => ("broken_record", broken),
                ReadFailure::Store(error) if cached.is_ok() => ("kv_read_failed", error),
                ReadFailure::Store(error) => ("kv_unavailable", error),
            };
            if Self::IS_PRIVATE {
                reader.log.warning(code, cause);
            } else {
                reader.log.warning(code, &format!("{key}: {cause}"));
            }
        }
        cached.map(Some)
    }
}

/// The result of reading a record.
pub(crate) type RecordRead<K> =
    Result<Option<CachedRecord<Rc<<K as Keyspace>::Value>>>, ReadFailure<<K as Keyspace>::Error>>;

/// What a read needs, even after the response was sent.
pub(crate) struct Reader {
    pub(crate) store: Store,
    pub(crate) log: RequestLog,
    pub(crate) vars: Rc<Vars>,
}

impl Reader {
    pub(super) fn of<K: Keyspace>(context: &RequestContext) -> Self {
        Self { store: K::store(context.env()), log: context.log().clone(), vars: context.vars() }
    }
}
