//! The memory tier of the KV port: small records, parsed, which an isolate need not read again at each request.

use std::cell::RefCell;
use std::fmt::Display;
use std::rc::Rc;
use std::thread::LocalKey;

use kv_edge_core::limits::Key;
use kv_edge_core::memory::{Held, Look, Memory};
use kv_edge_core::retry::Time;
use kv_edge_core::store::StoreError;

use super::{Form, Store};
use crate::bindings::Bindings;
use crate::clock::Clock;
use crate::incoming::Incoming;
use crate::log;

/// Why there is no record.
pub(crate) enum NotRead<E> {
    /// KV failed, and none is remembered.
    Store(StoreError),
    /// What KV holds does not parse, and none before it is remembered.
    Broken(E),
}

/// The records of one namespace.
pub(crate) struct Remembered<T: 'static, P> {
    /// Where they come from.
    pub(crate) store: fn(&Bindings) -> Store,
    /// The isolate's memory of them.
    pub(crate) memory: &'static LocalKey<RefCell<Memory<Rc<T>>>>,
    /// How long one is taken out of memory without asking KV, in milliseconds.
    pub(crate) refresh_ms: u64,
    /// How long, from when it was last read, it is good enough while it is read anew in the background, in milliseconds.
    pub(crate) good_ms: u64,
    /// Reads what stands under a key: its JSON, or that the key does not exist. It may read further keys. What it makes `None` of is not
    /// remembered.
    pub(crate) parse: P,
    /// What of a record's JSON tells it from the one before: all of it ([`all_of_it`]), or a part with a hash of the rest.
    pub(crate) identity: fn(&str) -> &str,
    /// The route, for the log.
    pub(crate) route: &'static str,
    /// True where keys are of users: the log does not name them.
    pub(crate) is_private: bool,
}

/// Only the very same JSON is the same record.
pub(crate) fn all_of_it(json: &str) -> &str {
    json
}

impl<T, P, E> Remembered<T, P>
where
    P: AsyncFn(&Store, &str, Option<&str>) -> Result<Option<T>, NotRead<E>> + 'static,
    E: Display + 'static,
{
    /// The record under a key; `None` where there is none. `now_ms` is milliseconds since the Unix epoch.
    pub(crate) async fn get(
        self,
        incoming: &Incoming,
        key: &Key<'_>,
        now_ms: u64,
    ) -> Result<Option<Held<Rc<T>>>, NotRead<E>> {
        let look = self
            .memory
            .with_borrow_mut(|memory| memory.look_within(key.as_str(), self.refresh_ms, self.good_ms, now_ms));
        match look {
            Look::Fresh(held) => Ok(Some(held)),
            Look::Refresh(held) => {
                let (key, store) = (key.to_static(), (self.store)(incoming.env()));
                // What goes wrong is in the log, and the request after it sees what came of it.
                incoming.wait_until(async move { drop(self.read(&store, &key).await) });
                Ok(Some(held))
            }
            Look::Read => self.read(&(self.store)(incoming.env()), key).await,
        }
    }

    /// The records under several keys, in their order; `None` where there is none. Those that are not fresh come by bulk read.
    pub(crate) async fn many(
        &self,
        incoming: &Incoming,
        keys: &[Key<'_>],
        now_ms: u64,
    ) -> Vec<Result<Option<Held<Rc<T>>>, NotRead<E>>> {
        let look = |key: &Key<'_>| {
            let look = |memory: &mut Memory<_>| memory.look_within(key.as_str(), self.refresh_ms, self.good_ms, now_ms);
            match self.memory.with_borrow_mut(look) {
                Look::Fresh(held) => Some(held),
                Look::Refresh(_) | Look::Read => None,
            }
        };
        let known: Vec<_> = keys.iter().map(look).collect();
        let wanted: Vec<&Key<'_>> =
            keys.iter().zip(&known).filter(|(_, known)| known.is_none()).map(|(key, _)| key).collect();
        let store = (self.store)(incoming.env());
        let asked_ms = Clock.now_ms();
        let mut read = store.texts(&wanted).await.into_iter();
        let mut records = Vec::with_capacity(keys.len());
        for (key, known) in keys.iter().zip(known) {
            records.push(match (known, read.len()) {
                (Some(held), _) => Ok(Some(held)),
                // As many are read as are wanted.
                (None, 0) => Ok(None),
                (None, _) => self.settle(&store, key.as_str(), read.next().unwrap_or(Ok(None)), asked_ms).await,
            });
        }
        records
    }

    async fn read(&self, store: &Store, key: &Key<'_>) -> Result<Option<Held<Rc<T>>>, NotRead<E>> {
        let asked_ms = Clock.now_ms();
        let json = store.read_with_retry(key, &Form::TEXT).await.map(|json| json.and_then(|json| json.as_string()));
        self.settle(store, key.as_str(), json, asked_ms).await
    }

    /// Remembers what a read gave; what to go by where it gave nothing good.
    async fn settle(
        &self,
        store: &Store,
        name: &str,
        read: Result<Option<String>, StoreError>,
        asked_ms: u64,
    ) -> Result<Option<Held<Rc<T>>>, NotRead<E>> {
        let read = match read {
            Ok(json) => {
                let source = json.as_deref().map(self.identity);
                if let Some(held) = self.memory.with_borrow_mut(|memory| memory.unchanged(name, source, asked_ms)) {
                    return Ok(Some(held));
                }
                (self.parse)(store, name, json.as_deref()).await.map(|record| record.map(|record| (record, json)))
            }
            Err(error) => Err(NotRead::Store(error)),
        };
        self.memory.with_borrow_mut(|memory| match read {
            Ok(None) => {
                memory.remove(name, asked_ms);
                Ok(None)
            }
            Ok(Some((record, json))) => {
                let source = json.as_deref().map(self.identity);
                Ok(Some(memory.store(name, source, Rc::new(record), asked_ms)))
            }
            Err(NotRead::Broken(broken)) => {
                let Some(held) = memory.broken(name, asked_ms) else { return Err(NotRead::Broken(broken)) };
                self.warn("broken_record", name, &broken);
                Ok(Some(held))
            }
            Err(NotRead::Store(error)) => {
                let Some(held) = memory.failed(name, asked_ms) else { return Err(NotRead::Store(error)) };
                self.warn("kv_read_failed", name, &error);
                Ok(Some(held))
            }
        })
    }

    fn warn(&self, code: &'static str, name: &str, cause: &dyn Display) {
        if self.is_private {
            log::warning(self.route, code, cause);
        } else {
            log::warning(self.route, code, &format!("{name}: {cause}"));
        }
    }
}
