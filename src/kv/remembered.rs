//! The memory tier of the KV port: small records, parsed, which an isolate need not read again at each request.

use std::cell::RefCell;
use std::fmt::Display;
use std::rc::Rc;
use std::thread::LocalKey;

use kv_store::limits::Key;
use kv_store::memory::{Held, Look, Memory};
use kv_store::recent::Recent;
use kv_store::retry::Time;
use kv_store::store::StoreError;

use super::{Form, Store};
use crate::http::incoming::Incoming;
use crate::platform::bindings::Bindings;
use crate::platform::clock::Clock;
use crate::platform::log::RequestLog;

/// Why there is no record.
#[derive(Clone)]
pub(crate) enum NotRead<E> {
    /// KV failed, and none is remembered.
    Store(StoreError),
    /// What KV holds does not parse, and none before it is remembered.
    Broken(E),
}

/// Why keys gave nothing good, and until when they are left alone, in milliseconds since the Unix epoch.
pub(crate) type Unreadable<E> = Recent<(u64, NotRead<E>)>;

/// For so long a key that gave nothing good is left alone, in milliseconds; not for longer than a record would be fresh.
const LEFT_ALONE_MS: u64 = 5000;

/// The most keys that are left alone.
const UNREADABLE_MAX: usize = 1024;

/// What is remembered of keys that few requests ask for is good enough for so many refresh times while it is read anew in the background.
/// Who asks for one after a longer time waits until it is read.
pub(crate) const GOOD_FACTOR: u64 = 20;

/// The records of one namespace.
pub(crate) struct Remembered<T: 'static, P, E: 'static> {
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
    /// The isolate's memory of keys that gave nothing good, where nothing good was remembered; without it each request reads them again.
    pub(crate) unreadable: Option<&'static LocalKey<RefCell<Unreadable<E>>>>,
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

impl<T, P, E> Remembered<T, P, E>
where
    P: AsyncFn(&Store, &RequestLog, &str, Option<String>) -> Result<Option<T>, NotRead<E>> + 'static,
    E: Display + Clone + 'static,
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
                let (key, store, log) = (key.to_static(), (self.store)(incoming.env()), incoming.log().clone());
                // What goes wrong is in the log, and the request after it sees what came of it.
                incoming.wait_until(async move { drop(self.read(&store, &log, &key).await) });
                Ok(Some(held))
            }
            Look::Read => match self.known_unreadable(key, now_ms) {
                Some(why) => Err(why),
                None => self.read(&(self.store)(incoming.env()), incoming.log(), key).await,
            },
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
                Look::Fresh(held) => Some(Ok(Some(held))),
                Look::Refresh(_) => None,
                Look::Read => self.known_unreadable(key, now_ms).map(Err),
            }
        };
        let mut records: Vec<_> = keys.iter().map(look).collect();
        let mut wanted: Vec<_> = keys.iter().zip(&mut records).filter(|(_, known)| known.is_none()).collect();
        let names: Vec<&Key<'_>> = wanted.iter().map(|(key, _)| *key).collect();
        let store = (self.store)(incoming.env());
        let asked_ms = Clock.now_ms();
        let read = store.texts(&names).await;
        for ((key, record), read) in wanted.iter_mut().zip(read) {
            **record = Some(self.settle(&store, incoming.log(), key.as_str(), read, asked_ms).await);
        }
        records.into_iter().flatten().collect()
    }

    /// Why a key is left alone.
    fn known_unreadable(&self, key: &Key<'_>, now_ms: u64) -> Option<NotRead<E>> {
        self.unreadable?.with_borrow_mut(|unreadable| {
            let (until_ms, why) = unreadable.get(key.as_str())?;
            // A clock that was put back leaves nothing alone for long.
            let is_over = now_ms >= *until_ms || until_ms.saturating_sub(now_ms) > LEFT_ALONE_MS;
            if is_over { None } else { Some(why.clone()) }
        })
    }

    /// Leaves a key alone for a while; the log says why, once.
    fn leave_alone(&self, log: &RequestLog, name: &str, why: &NotRead<E>, asked_ms: u64) {
        let Some(unreadable) = self.unreadable else { return };
        match why {
            NotRead::Store(error) => self.warn(log, "kv_unavailable", name, error),
            NotRead::Broken(broken) => self.warn(log, "broken_record", name, broken),
        }
        let until_ms = asked_ms.saturating_add(self.refresh_ms.min(LEFT_ALONE_MS));
        unreadable.with_borrow_mut(|unreadable| {
            unreadable.insert(name, (until_ms, why.clone()));
            unreadable.bound(UNREADABLE_MAX);
        });
    }

    async fn read(&self, store: &Store, log: &RequestLog, key: &Key<'_>) -> Result<Option<Held<Rc<T>>>, NotRead<E>> {
        let asked_ms = Clock.now_ms();
        let json = store.read_with_retry(key, &Form::TEXT).await.map(|json| json.and_then(|json| json.as_string()));
        self.settle(store, log, key.as_str(), json, asked_ms).await
    }

    /// Remembers what a read gave; what to go by where it gave nothing good.
    async fn settle(
        &self,
        store: &Store,
        log: &RequestLog,
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
                let source = source.map(str::to_owned);
                (self.parse)(store, log, name, json).await.map(|record| record.map(|record| (record, source)))
            }
            Err(error) => Err(NotRead::Store(error)),
        };
        self.memory.with_borrow_mut(|memory| match read {
            Ok(None) => {
                memory.remove(name, asked_ms);
                Ok(None)
            }
            Ok(Some((record, source))) => Ok(Some(memory.store(name, source, Rc::new(record), asked_ms))),
            Err(why) => {
                let (known, code, cause): (_, _, &dyn Display) = match &why {
                    NotRead::Broken(broken) => (memory.broken(name, asked_ms), "broken_record", broken),
                    NotRead::Store(error) => (memory.failed(name, asked_ms), "kv_read_failed", error),
                };
                let Some(held) = known else {
                    self.leave_alone(log, name, &why, asked_ms);
                    return Err(why);
                };
                self.warn(log, code, name, cause);
                Ok(Some(held))
            }
        })
    }

    fn warn(&self, log: &RequestLog, code: &'static str, name: &str, cause: &dyn Display) {
        if self.is_private {
            log.warning(self.route, code, cause);
        } else {
            log.warning(self.route, code, &format!("{name}: {cause}"));
        }
    }
}
