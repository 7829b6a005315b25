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
    /// The route, for the log.
    pub(crate) route: &'static str,
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

    async fn read(&self, store: &Store, key: &Key<'_>) -> Result<Option<Held<Rc<T>>>, NotRead<E>> {
        let asked_ms = Clock.now_ms();
        let name = key.as_str();
        let read = match store.read_with_retry(key, &Form::TEXT).await {
            Ok(json) => {
                let json = json.and_then(|json| json.as_string());
                let source = json.as_deref().unwrap_or_default();
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
                Ok(Some(memory.store(name, json.as_deref().unwrap_or_default(), Rc::new(record), asked_ms)))
            }
            Err(NotRead::Broken(broken)) => {
                let Some(held) = memory.broken(name, asked_ms) else { return Err(NotRead::Broken(broken)) };
                log::warning(self.route, "broken_record", &format!("{name}: {broken}"));
                Ok(Some(held))
            }
            Err(NotRead::Store(error)) => {
                let Some(held) = memory.failed(name, asked_ms) else { return Err(NotRead::Store(error)) };
                log::warning(self.route, "kv_read_failed", &format!("{name}: {error}"));
                Ok(Some(held))
            }
        })
    }
}
