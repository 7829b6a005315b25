//! The lookup: which stored response a request selects, and why none.

use std::rc::Rc;

use super::{Action, CacheHit, Context, Exchange, MissReason, PURGED, State, StoredBody, StoredView};
use crate::cache_status::ForwardReason;
use crate::memory_cache::MemoryCache;
use crate::purge::{PurgeList, PurgeMode};
use crate::stored_response::{StoredResponse, UnusableRecord};
use crate::vary::{self, SelectingFields};
use http_semantics::fields::Fields;
use kv_store::limits::Key;

/// The result of looking for a stored response.
#[derive(Debug)]
pub(super) struct Lookup<B> {
    pub(super) hit: Option<CacheHit<B>>,
    /// True if a soft purge covers it.
    pub(super) is_soft_purged: bool,
    /// The key of the stored response; if there is none, the URL's key.
    pub(super) key: Key<'static>,
    /// The response under the URL's key.
    pub(super) primary: Option<Rc<StoredResponse>>,
    /// Why there is no stored response.
    pub(super) miss_reason: ForwardReason,
    pub(super) detail: Option<&'static str>,
    pub(super) kv_ms: Option<u64>,
}

impl<B: StoredBody> Exchange<B> {
    /// Returns the key of the variant that this request selects if the response under the URL's
    /// key still has the selecting fields that it had before. `None` if the response under the
    /// URL's key is that variant, or is in memory, so that only one response is read from KV.
    pub(super) fn variant_to_prefetch<F: Fields>(
        &self,
        key: &Key<'_>,
        cx: &mut Context<'_, B, F>,
    ) -> Option<Key<'static>> {
        let known = cx.memory.selecting_fields(key.as_str())?;
        let selecting_fields = vary::selecting_fields_like(known, cx.fields);
        if selecting_fields == *known || cx.memory.get(key.as_str(), cx.memory_ms, cx.now_ms).is_some() {
            return None;
        }
        Some(self.url.variant_key(&selecting_fields))
    }

    /// Uses the response under the URL's key, or else the variant that the request selects.
    /// `prefetched` is the key and the result of the second read. If it is that variant, it is
    /// taken out.
    pub(super) fn select_primary<F: Fields>(
        &mut self,
        found: Result<CacheHit<B>, MissReason>,
        prefetched: &mut Option<(Key<'static>, Result<CacheHit<B>, MissReason>)>,
        purges: Option<&PurgeList>,
        kv_ms: Option<u64>,
        cx: &mut Context<'_, B, F>,
    ) -> Action<B> {
        let mut lookup = Lookup { kv_ms, ..Lookup::new(self.key()) };
        if self.view == StoredView::Page {
            self.view_purged_ms = purges.and_then(|purges| purges.last_hard_ms(self.url.as_str()));
        }
        let primary = match found {
            Ok(primary) => primary,
            Err(why) => return self.decide(lookup.missed_because(why), cx),
        };
        let Some(purges) = purges else {
            self.discard(primary.body);
            return self.decide(lookup.missed(ForwardReason::Miss, MissReason::Unavailable.detail()), cx);
        };
        let mode = purges.covers(self.url.as_str(), &primary.stored.metadata);
        if mode == Some(PurgeMode::Hard) {
            self.discard(primary.body);
            return self.decide(lookup.missed(ForwardReason::Miss, Some(PURGED)), cx);
        }
        let stored = Rc::clone(&primary.stored);
        let metadata = &stored.metadata;
        lookup.primary = Some(Rc::clone(&stored));
        cx.memory.remember_selecting_fields(lookup.key.as_str(), &metadata.selecting_fields);
        if vary::matches(&metadata.selecting_fields, &metadata.fields, cx.fields) {
            lookup.hit = Some(primary);
            lookup.is_soft_purged = mode.is_some();
            return self.decide(lookup, cx);
        }
        self.discard(primary.body);
        let selecting_fields = vary::selecting_fields_like(&metadata.selecting_fields, cx.fields);
        let key = self.url.variant_key(&selecting_fields);
        if let Some((_, found)) = prefetched.take_if(|(prefetched_key, _)| *prefetched_key == key) {
            return self.select_variant(lookup, key, &selecting_fields, found, Some(purges), cx);
        }
        self.state = State::Variant { lookup, key: key.clone(), selecting_fields };
        Action::Read { key, variant: None }
    }

    pub(super) fn select_variant<F: Fields>(
        &mut self,
        mut lookup: Lookup<B>,
        key: Key<'static>,
        selecting_fields: &SelectingFields,
        found: Result<CacheHit<B>, MissReason>,
        purges: Option<&PurgeList>,
        cx: &mut Context<'_, B, F>,
    ) -> Action<B> {
        let variant = match found {
            Ok(variant) => variant,
            Err(MissReason::Absent) => return self.decide(lookup.missed(ForwardReason::VaryMiss, None), cx),
            Err(why) => return self.decide(lookup.missed_because(why), cx),
        };
        let metadata = &variant.stored.metadata;
        let mode = purges.map(|purges| purges.covers(self.url.as_str(), metadata));
        let is_current = lookup.primary.as_ref().is_some_and(|primary| primary.metadata.epoch_ms == metadata.epoch_ms)
            && !cx.memory.is_invalidated(lookup.key.as_str(), metadata.times.requested_ms)
            && metadata.selecting_fields == *selecting_fields
            && mode.is_some_and(|mode| mode != Some(PurgeMode::Hard));
        if !is_current {
            self.discard(variant.body);
            return self.decide(lookup.missed(ForwardReason::VaryMiss, None), cx);
        }
        lookup.key = key;
        lookup.hit = Some(variant);
        lookup.is_soft_purged = mode.flatten().is_some();
        self.decide(lookup, cx)
    }
}

impl<B> Lookup<B> {
    pub(super) fn new(key: Key<'static>) -> Self {
        let is_soft_purged = false;
        Self {
            hit: None,
            is_soft_purged,
            key,
            primary: None,
            miss_reason: ForwardReason::UriMiss,
            detail: None,
            kv_ms: None,
        }
    }

    fn missed(self, miss_reason: ForwardReason, detail: Option<&'static str>) -> Self {
        Self { miss_reason, detail, ..self }
    }

    fn missed_because(self, why: MissReason) -> Self {
        let miss_reason = if why == MissReason::Absent { ForwardReason::UriMiss } else { ForwardReason::Miss };
        self.missed(miss_reason, why.detail())
    }
}

/// Returns the metadata of a record that was read from KV under this key, if it may be used.
/// `head` is its JSON; `default_lifetime_ms` is the lifetime of a response that states none, in
/// milliseconds. If there is such a default, a record without a head is accepted.
///
/// # Errors
/// [`MissReason::Absent`] for a record of another version, or from before an invalidation;
/// [`MissReason::Broken`] if it does not parse, or is no response that can be sent.
///
/// # Examples
///
/// ```
/// use http_cache::exchange::{MissReason, usable_record};
/// use http_cache::memory_cache::MemoryCache;
/// use http_cache::stored_response::StoredMetadata;
/// use kv_store::limits::Key;
///
/// let mut memory: MemoryCache<Vec<u8>> = MemoryCache::new(4096, 4096, 4096);
/// let key = Key::literal("GET https://example.com/tea");
/// let head = StoredMetadata::unknown(1000).to_json();
/// assert!(usable_record(&memory, &key, Some(&head), None, 2000).is_ok());
///
/// // A `POST` to the URL succeeds, and KV still shows what was stored before.
/// memory.invalidate(key.as_str(), 3000);
/// let record = usable_record(&memory, &key, Some(&head), None, 4000);
/// assert_eq!(record, Err(MissReason::Absent));
/// ```
pub fn usable_record<H: Clone>(
    memory: &MemoryCache<H>,
    key: &Key<'_>,
    head: Option<&str>,
    default_lifetime_ms: Option<u64>,
    now_ms: u64,
) -> Result<Rc<StoredResponse>, MissReason> {
    let stored = StoredResponse::from_head(head, default_lifetime_ms, now_ms).map_err(|error| match error {
        UnusableRecord::OtherVersion => MissReason::Absent,
        UnusableRecord::Broken => MissReason::Broken,
    })?;
    if memory.is_invalidated(key.as_str(), stored.metadata.times.requested_ms) {
        return Err(MissReason::Absent);
    }
    Ok(Rc::new(stored))
}
