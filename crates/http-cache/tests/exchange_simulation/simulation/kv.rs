//! What the isolates write into KV, and what it and their memory show them.

use std::rc::Rc;

use http_cache::exchange::{CacheHit, MissReason, StoredView, StreamToStore, usable_record};
use http_cache::memory_cache::{BODY_BYTES_MAX, MemoryEntry};
use http_cache::stored_response::{StoredMetadata, StoredResponse};
use kv_store::limits::Key;

use super::{ISOLATES, KV_DELAY_MS, MEMORY_MS, SimulatedBody, Simulation, Task};
use crate::upstreams::UpstreamContent;

/// A write to a key of KV, and when each isolate sees it.
pub(super) struct KvWrite {
    seen_ms: [u64; ISOLATES],
    value: Option<(String, Rc<UpstreamContent>)>,
}

impl Simulation {
    /// Reads a key as the Worker does: from memory, else what KV shows to the isolate.
    pub(super) fn read(
        &mut self,
        isolate: usize,
        key: &Key<'static>,
        view: StoredView,
    ) -> (Result<CacheHit<SimulatedBody>, MissReason>, Option<u64>) {
        let now_ms = self.now_ms;
        if let Some(MemoryEntry { stored, body }) = self.memory[isolate].get(key.as_str(), MEMORY_MS, now_ms) {
            return (Ok(CacheHit { stored, body: SimulatedBody::of(body, view) }), None);
        }
        let kv_ms = Some(1 + self.below(30));
        if self.chance(10) {
            return (Err(MissReason::Unavailable), kv_ms);
        }
        let writes = self.kv.get(key.as_str()).map(Vec::as_slice).unwrap_or_default();
        let shown = writes.iter().rev().find(|write| write.seen_ms[isolate] <= now_ms);
        let Some((head, content)) = shown.and_then(|write| write.value.clone()) else {
            return (Err(MissReason::Absent), kv_ms);
        };
        let lifetime_ms = view.default_lifetime_ms();
        let found = usable_record(&self.memory[isolate], key, Some(&head), lifetime_ms, now_ms).map(|stored| {
            if content.length <= u64::from(BODY_BYTES_MAX) {
                let entry = MemoryEntry { stored: Rc::clone(&stored), body: Rc::clone(&content) };
                self.memory[isolate].insert(key.as_str(), entry, now_ms);
            }
            CacheHit { stored, body: SimulatedBody::of(content, view) }
        });
        (found, kv_ms)
    }

    pub(super) fn store_later(&mut self, isolate: usize, store: StreamToStore, content: &Rc<UpstreamContent>) {
        let (delay_ms, content) = (self.below(500), Rc::clone(content));
        self.after(delay_ms, Task::StoreStream { isolate, store: Box::new(store), content });
    }

    pub(super) fn store_stream(&mut self, isolate: usize, store: StreamToStore, content: Rc<UpstreamContent>) {
        let StreamToStore { key, metadata, .. } = store;
        let stored = Rc::new(StoredResponse::new(StoredMetadata { length: content.length, ..metadata }, None));
        self.memory[isolate].remove_older(key.as_str(), stored.metadata.times.requested_ms);
        self.put(isolate, &key, &stored, content);
    }

    /// Puts a response into KV as the Worker does.
    pub(super) fn put(
        &mut self,
        isolate: usize,
        key: &Key<'static>,
        stored: &StoredResponse,
        content: Rc<UpstreamContent>,
    ) {
        let requested_ms = stored.metadata.times.requested_ms;
        if self.memory[isolate].is_outdated(key.as_str(), requested_ms) || self.chance(20) {
            return;
        }
        self.write_kv(isolate, key, Some((stored.metadata.to_json(), content)));
        if self.memory[isolate].is_invalidated(key.as_str(), requested_ms) {
            self.write_kv(isolate, key, None);
        }
    }

    pub(super) fn write_kv(
        &mut self,
        isolate: usize,
        key: &Key<'static>,
        value: Option<(String, Rc<UpstreamContent>)>,
    ) {
        let mut seen_ms = [0; ISOLATES];
        for (other, seen_ms) in seen_ms.iter_mut().enumerate() {
            let delay_ms = if other == isolate { self.below(1000) } else { self.below(KV_DELAY_MS) };
            *seen_ms = self.now_ms + delay_ms;
        }
        let writes = self.kv.entry(key.as_str().to_owned()).or_default();
        writes.push(KvWrite { seen_ms, value });
        if writes.len() > 50 {
            writes.remove(0);
        }
    }
}
