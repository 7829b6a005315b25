//! One request to the cache, from the lookup to the response, as a state machine without I/O.
//!
//! The Worker performs each [`Action`] and passes the result back as an [`Event`], until the
//! action is a response or an error. What need not be waited for is an [`Effect`]. So the whole
//! flow, races and faults included, can be tested natively.
//!
//! ```text
//!   Begin ──> Read ──> (variant) Read ──> Respond                          a hit
//!               │             │
//!               └──────┬──────┘
//!                      v
//!                    Wait ──> Begin                 another request fetches the same URL now
//!                      │
//!                      v
//!                    Send ──> (304 about another response) Send
//!                      │                   │
//!                      └─────────┬─────────┘
//!                                v
//! (ReadBody) ──> Respond, Fail       a 304, a stream and a failure need no ReadBody
//! ```
//!
//! A request that no stored response can answer, such as a write, begins with Send.
//!
//! The JSON of a page has an exchange of its own, whose upstream is the cache: for
//! [`Action::Send`] the Worker runs [`Exchange::page`], follows redirects, and makes the page into
//! the body that is stored.

mod action;
mod event;
mod lookup;
#[cfg(test)]
mod tests;
mod upstream_response;

pub use self::action::{Action, Effect, ExchangeResult, ResponseSource, StreamToStore};
pub use self::event::{Event, MissReason, UpstreamHead};
use self::lookup::Lookup;
pub use self::lookup::usable_record;

use std::fmt::Debug;
use std::mem;
use std::rc::Rc;

use crate::cache_status::{CacheStatus, ForwardReason, IF_ERROR};
use crate::cached_url::CachedUrl;
use crate::credentials::CredentialFields;
use crate::decision::{self, CacheRequest, Decision, SelectedResponse};
use crate::error::CacheError;
use crate::memory_cache::{BODY_BYTES_MAX, MemoryCache, MemoryEntry};
use crate::page_view;
use crate::stale;
use crate::stored_response::StoredResponse;
use crate::upstream_request::{self, NOT_OF_REFRESH};
use crate::validation::conditions;
use crate::vary::{self, SelectingFields};
use http_semantics::cdn_loop;
use http_semantics::fields::{Fields, HeaderSection};
use http_semantics::origin::OriginAllowList;
use kv_store::limits::Key;

/// The first wait for a request that fetches the same URL, in milliseconds. Each wait is twice as
/// long as the one before, up to [`WAIT_MAX_MS`].
const WAIT_MS: u64 = 1;
const WAIT_MAX_MS: u64 = 32;
/// `detail` of a request for which the stored response is not used because it was purged.
const PURGED: &str = "purged";
/// How often a request waits at most: once for the URL, and once for the variant that it selects.
const WAIT_ROUNDS_MAX: u8 = 2;

/// The body of a stored response: bytes in memory, or a stream that can be read once.
pub trait StoredBody: Debug + Sized {
    /// A handle to bytes in memory; its clones share the bytes.
    type Bytes: Clone + Debug;

    /// Returns the bytes; `None` for a stream.
    fn bytes(&self) -> Option<&Self::Bytes>;
    /// Returns the body that consists of these bytes.
    fn from_bytes(bytes: Self::Bytes) -> Self;
}

/// A stored response and its body.
#[derive(Debug)]
pub struct CacheHit<B> {
    /// The response without its body.
    pub stored: Rc<StoredResponse>,
    /// Its body.
    pub body: B,
}

/// What an exchange stores and serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredView {
    /// The response itself.
    Response,
    /// The JSON of a page ([`page_view`]), the same for every client.
    Page,
}

impl StoredView {
    /// Returns the lifetime of a view that states none, in milliseconds; `None` for a response,
    /// which may be fresh by a heuristic.
    #[must_use]
    pub fn default_lifetime_ms(self) -> Option<u64> {
        (self == Self::Page).then_some(page_view::DEFAULT_LIFETIME_MS)
    }
}

/// What a step may look at and change.
pub struct Context<'a, B: StoredBody, F> {
    /// The client's header fields.
    pub fields: &'a F,
    /// The origins that may be fetched.
    pub upstreams: &'a OriginAllowList,
    /// The fields that are credentials beside the standard ones.
    pub credentials: &'a CredentialFields,
    /// For how long a response is used from memory, in milliseconds; 0 turns memory off.
    pub memory_ms: u64,
    /// For how long a request waits for others in all, in milliseconds.
    pub wait_max_ms: u64,
    /// The cache in memory.
    pub memory: &'a mut MemoryCache<B::Bytes>,
    /// The time, in milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// Returns 52 random bits.
    pub random: &'a mut dyn FnMut() -> u64,
    /// Resolves a URL reference against an absolute URL, as the runtime's parser does.
    pub resolve: &'a dyn Fn(&str, &str) -> Option<String>,
}

/// One request to the cache.
#[derive(Debug)]
pub struct Exchange<B: StoredBody> {
    method: String,
    url: CachedUrl,
    view: StoredView,
    request: CacheRequest,
    /// The key that this exchange refreshes in the background; `None` for a client's request.
    refreshed_key: Option<Key<'static>>,
    /// The key of the stored response for which a client's request went to the upstream.
    forwarded_key: Option<Key<'static>>,
    /// True if the upstream responded with an error that is passed on.
    has_failed: bool,
    /// True if the upstream is asked even if a fresh response is stored.
    always_revalidates: bool,
    /// When the URL of the view that this exchange stores, or whose page it is for, was last
    /// purged hard. The upstream is asked even if a fresh response from before is stored.
    view_purged_ms: Option<u64>,
    /// The key of the fetch for which other requests wait, and when it began.
    fetch: Option<(Key<'static>, u64)>,
    wait: WaitState,
    state: State<B>,
    effects: Vec<Effect<B>>,
}

/// How long this request has waited for another one.
#[derive(Debug, Default, Clone, Copy)]
struct WaitState {
    milliseconds: u64,
    next_ms: u64,
    rounds: u8,
}

#[derive(Debug)]
enum State<B> {
    Begin,
    /// Reads the response under the URL's key, and prefetches the variant under this key.
    Primary {
        prefetched_key: Option<Key<'static>>,
    },
    /// Reads the variant under this key.
    Variant {
        lookup: Lookup<B>,
        key: Key<'static>,
        selecting_fields: SelectingFields,
    },
    /// Waits for another request.
    Waiting {
        lookup: Lookup<B>,
        key: Key<'static>,
        fwd: ForwardReason,
    },
    /// Waits for the upstream.
    Sent {
        lookup: Lookup<B>,
        fwd: ForwardReason,
        is_conditional: bool,
    },
    /// Reads the body of the upstream's response.
    Body {
        lookup: Lookup<B>,
        fwd: ForwardReason,
        head: UpstreamHead,
        is_overtaken: bool,
    },
    Done,
}

impl<B: StoredBody> Exchange<B> {
    /// Begins an exchange for a client's request.
    ///
    /// [`step`](Self::step) has an example.
    #[must_use]
    pub fn new(method: &str, url: CachedUrl, fields: &impl Fields) -> Self {
        Self {
            method: method.to_owned(),
            url,
            view: StoredView::Response,
            request: CacheRequest::of(method, fields),
            refreshed_key: None,
            forwarded_key: None,
            has_failed: false,
            always_revalidates: false,
            view_purged_ms: None,
            fetch: None,
            wait: WaitState { next_ms: WAIT_MS, ..WaitState::default() },
            state: State::Begin,
            effects: Vec::new(),
        }
    }

    /// Begins an exchange for the JSON of the page at this URL. Its request has no header fields:
    /// the JSON is the same for every client. [`step`](Self::step) has an example.
    #[must_use]
    pub fn of_page_view(url: CachedUrl) -> Self {
        Self { view: StoredView::Page, ..Self::new("GET", url, &HeaderSection::default()) }
    }

    /// Returns the exchange for the page of this view, or for the URL that the page redirects to
    /// ([`Redirects`](crate::page_view::Redirects) has an example).
    /// It waits for no other request if this one has.
    ///
    /// In three cases it asks the upstream even if a fresh response is stored: this exchange is a
    /// refresh; a hard purge covers the stored view; or that response is from before a hard purge
    /// of the view's URL, which deletes the view. A new view is as old as the oldest of its
    /// responses, which must not be from before the purge.
    #[must_use]
    pub fn page(&self, url: CachedUrl) -> Self {
        let mut page = Self::new("GET", url, &HeaderSection::default());
        let is_purged = matches!(&self.state, State::Sent { lookup, .. } if lookup.detail == Some(PURGED));
        page.always_revalidates = self.always_revalidates || is_purged;
        page.view_purged_ms = self.view_purged_ms;
        page.wait.rounds = self.wait.rounds * WAIT_ROUNDS_MAX;
        page
    }

    /// Returns the exchange that refreshes the response under this key in the background. It asks
    /// the upstream even if a fresh response is stored, with a condition if possible. `fields` are
    /// the client's header fields without [`NOT_OF_REFRESH`]. [`step`](Self::step) has an example.
    #[must_use]
    pub fn refresh(&self, key: Key<'static>, fields: &impl Fields) -> Self {
        let (refreshed_key, view) = (Some(key), self.view);
        Self { refreshed_key, view, always_revalidates: true, ..Self::new("GET", self.url.clone(), fields) }
    }

    /// Returns the method.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Returns the URL.
    #[must_use]
    pub fn url(&self) -> &CachedUrl {
        &self.url
    }

    /// Returns what it stores and serves.
    #[must_use]
    pub fn view(&self) -> StoredView {
        self.view
    }

    /// Returns the key of the response to the URL.
    fn key(&self) -> Key<'static> {
        if self.view == StoredView::Page { self.url.page_key() } else { self.url.key() }
    }

    /// Returns true if the request is a `GET` or a `HEAD`, whose body is not sent.
    #[must_use]
    pub fn is_get_or_head(&self) -> bool {
        self.request.is_get_or_head
    }

    /// Returns the effects of the last step, and forgets them.
    pub fn take_effects(&mut self) -> Vec<Effect<B>> {
        mem::take(&mut self.effects)
    }

    /// Returns what to do next.
    ///
    /// # Panics
    /// If the event is not the result of the last action.
    ///
    /// # Examples
    ///
    /// The first request for a URL. `cx` is the [`Context`]; the body of the response is a stream.
    ///
    /// ```
    /// # use http_cache::credentials::CredentialFields;
    /// # use http_cache::exchange::{Context, StoredBody};
    /// # use http_cache::memory_cache::MemoryCache;
    /// # use http_semantics::origin::OriginAllowList;
    /// #
    /// # #[derive(Debug)]
    /// # struct Body(&'static str);
    /// #
    /// # impl StoredBody for Body {
    /// #     type Bytes = &'static str;
    /// #     fn bytes(&self) -> Option<&&'static str> {
    /// #         Some(&self.0)
    /// #     }
    /// #     fn from_bytes(bytes: &'static str) -> Self {
    /// #         Self(bytes)
    /// #     }
    /// # }
    /// #
    /// # let upstreams = OriginAllowList::parse("https://example.com", &[]);
    /// # let fields = HeaderSection::default();
    /// # let mut cx = Context {
    /// #     fields: &fields,
    /// #     upstreams: &upstreams,
    /// #     credentials: &CredentialFields::default(),
    /// #     memory_ms: 0,
    /// #     wait_max_ms: 1000,
    /// #     memory: &mut MemoryCache::new(4096, 4096, 4096),
    /// #     now_ms: 1000,
    /// #     random: &mut || 0,
    /// #     resolve: &|_, _| None,
    /// # };
    /// use std::rc::Rc;
    ///
    /// use http_cache::cached_url::CachedUrl;
    /// use http_cache::exchange::{Action, Event, Exchange, MissReason, UpstreamHead};
    /// use http_cache::freshness::ExchangeTimes;
    /// use http_semantics::fields::HeaderSection;
    ///
    /// let url = CachedUrl::of_href("https://example.com/tea", &upstreams)?;
    /// let mut exchange: Exchange<Body> = Exchange::new("GET", url, &fields);
    /// let Action::Read { key, .. } = exchange.step(Event::Begin, &mut cx) else { panic!() };
    /// assert_eq!(key.as_str(), "GET https://example.com/tea");
    ///
    /// // KV has nothing under the key, so the upstream is asked.
    /// let (found, purges) = (Err(MissReason::Absent), Some(Rc::default()));
    /// let read = Event::Read { found, variant: None, purges, kv_ms: Some(4) };
    /// assert!(matches!(exchange.step(read, &mut cx), Action::Send { .. }));
    ///
    /// // Its response is passed on, and stored meanwhile.
    /// let head = UpstreamHead {
    ///     status: 200,
    ///     fields: HeaderSection::from(&[("cache-control", "max-age=60")]),
    ///     has_date: false,
    ///     has_body: true,
    ///     times: ExchangeTimes { requested_ms: 1000, received_ms: 1090 },
    ///     is_in_place_of_error: false,
    /// };
    /// let received = Event::Received(Ok(head));
    /// let Action::Respond(result) = exchange.step(received, &mut cx) else { panic!() };
    /// let cache_status = "kv-edge; fwd=uri-miss; fwd-status=200; stored; ttl=60";
    /// assert_eq!(result.cache_status.to_string(), cache_status);
    /// # Ok::<(), http_cache::error::CacheError>(())
    /// ```
    #[expect(clippy::panic, reason = "the loop that calls this turns each action into its own event")]
    pub fn step<F: Fields>(&mut self, event: Event<B>, cx: &mut Context<'_, B, F>) -> Action<B> {
        match (mem::replace(&mut self.state, State::Done), event) {
            (State::Begin, Event::Begin) => self.begin(cx),
            (State::Primary { prefetched_key }, Event::Read { found, variant, purges, kv_ms }) => {
                let mut prefetched = prefetched_key.zip(variant);
                let action = self.select_primary(found, &mut prefetched, purges.as_deref(), kv_ms, cx);
                if let Some((_, Ok(unused))) = prefetched {
                    self.discard(unused.body);
                }
                action
            }
            (State::Variant { lookup, key, selecting_fields }, Event::Read { found, purges, kv_ms, .. }) => {
                let lookup = Lookup { kv_ms: sum(lookup.kv_ms, kv_ms), ..lookup };
                self.select_variant(lookup, key, &selecting_fields, found, purges.as_deref(), cx)
            }
            (State::Waiting { lookup, key, fwd }, Event::Waited) => self.resume_after_wait(lookup, key, fwd, cx),
            (State::Sent { lookup, fwd, is_conditional }, Event::Received(received)) => match received {
                Ok(head) => self.handle_upstream_response(lookup, fwd, is_conditional, head, cx),
                Err(error) => self.stale_or_error(lookup, fwd, error, None, cx),
            },
            (State::Body { lookup, fwd, head, is_overtaken }, Event::Body(body)) => match body {
                Ok(body) => self.respond(lookup, fwd, head, Some(body), is_overtaken, cx),
                Err(error) => self.stale_or_error(lookup, fwd, error, Some(&head), cx),
            },
            _ => panic!("the event is not the result of the last action"),
        }
    }

    fn begin<F: Fields>(&mut self, cx: &mut Context<'_, B, F>) -> Action<B> {
        if decision::has_unexpected_body(&self.method, cx.fields) {
            return self.fail(CacheError::UnexpectedBody, None, cx);
        }
        // A loop is an error even if a stored response could be served (RFC 8586 §3).
        if cdn_loop::append_cdn_id(cx.fields.get("cdn-loop")).is_none() {
            return self.fail(CacheError::Loop, None, cx);
        }
        let key = self.key();
        if !self.request.permits_lookup() {
            return self.decide(Lookup::new(key), cx);
        }
        let variant = self.variant_to_prefetch(&key, cx);
        self.state = State::Primary { prefetched_key: variant.clone() };
        Action::Read { key, variant }
    }

    fn decide<F: Fields>(&mut self, lookup: Lookup<B>, cx: &mut Context<'_, B, F>) -> Action<B> {
        let is_of_purged_view = |hit: &CacheHit<B>| self.view_purged_ms >= Some(hit.stored.metadata.times.requested_ms);
        if self.always_revalidates || lookup.hit.as_ref().is_some_and(is_of_purged_view) {
            let conditions = lookup.hit.as_ref().map(|hit| conditions(&hit.stored.metadata.fields)).unwrap_or_default();
            let fwd = if lookup.hit.is_some() { ForwardReason::Stale } else { lookup.miss_reason };
            return self.send(lookup, fwd, conditions, cx);
        }
        let selected = lookup.hit.as_ref().map(|hit| SelectedResponse {
            stored: &hit.stored,
            is_backing_off: cx.memory.is_backing_off(lookup.key.as_str(), cx.now_ms),
            is_soft_purged: lookup.is_soft_purged,
        });
        match decision::decide(&self.request, selected, lookup.miss_reason, cx.now_ms, &mut *cx.random) {
            Decision::Serve { stale, refresh } => self.serve(lookup, stale, refresh, cx),
            Decision::Forward { fwd, conditions } => match self.key_to_wait_for(&lookup, cx) {
                Some(key) if !cx.memory.try_begin_fetch(key.as_str(), cx.wait_max_ms, cx.now_ms) => {
                    self.wait(lookup, key, fwd, cx)
                }
                key => {
                    self.fetch = key.map(|key| (key, cx.now_ms));
                    self.send(lookup, fwd, conditions, cx)
                }
            },
            Decision::NotCached => {
                self.discard_hit(lookup);
                self.fail(CacheError::NotCached, None, cx)
            }
        }
    }

    #[expect(clippy::expect_used, reason = "the decision is to serve only if it was given a hit")]
    fn serve<F: Fields>(
        &mut self,
        lookup: Lookup<B>,
        stale: Option<&'static str>,
        refresh: bool,
        cx: &mut Context<'_, B, F>,
    ) -> Action<B> {
        let Lookup { hit, is_soft_purged, key, kv_ms, .. } = lookup;
        let hit = hit.expect("only a response that was selected is served");
        if refresh && cx.memory.try_begin_refresh(key.as_str(), cx.now_ms) {
            self.effects.push(Effect::Refresh(key));
        }
        let cache_status = CacheStatus::hit(&hit.stored, is_soft_purged, stale, cx.now_ms);
        let source = ResponseSource::Stored { hit, received: None, store_as: None };
        self.end(ExchangeResult { source, cache_status, kv_ms, upstream_ms: None }, cx)
    }

    /// Returns the key whose fetch other requests may wait for; `None` if this request does not
    /// wait. Only what is in memory can be found after the wait, and the response to a request
    /// with credentials is for everybody only if it says so.
    fn key_to_wait_for<F: Fields>(&self, lookup: &Lookup<B>, cx: &Context<'_, B, F>) -> Option<Key<'static>> {
        let waits = self.method == "GET"
            && self.wait.rounds < WAIT_ROUNDS_MAX
            && lookup.hit.is_none()
            && self.request.permits_lookup()
            && cx.memory_ms > 0
            && !cx.credentials.are_in(cx.fields)
            // A 206 or a 304 to the client's own range or condition is not stored.
            && !["range", "if-none-match", "if-modified-since"].into_iter().any(|name| cx.fields.has(name));
        let selecting_fields =
            || Some(vary::selecting_fields_like(&lookup.primary.as_ref()?.metadata.selecting_fields, cx.fields));
        waits.then(|| selecting_fields().map_or_else(|| self.key(), |fields| self.url.variant_key(&fields)))
    }

    fn wait<F: Fields>(
        &mut self,
        lookup: Lookup<B>,
        key: Key<'static>,
        fwd: ForwardReason,
        cx: &mut Context<'_, B, F>,
    ) -> Action<B> {
        let milliseconds = self.wait.next_ms.min(cx.wait_max_ms.saturating_sub(self.wait.milliseconds)).max(1);
        self.wait.milliseconds += milliseconds;
        self.wait.next_ms = (self.wait.next_ms * 2).min(WAIT_MAX_MS);
        self.state = State::Waiting { lookup, key, fwd };
        Action::Wait { milliseconds }
    }

    /// Looks at what the other request left in memory. This request goes on by itself if that
    /// failed, or if its response may not be shared.
    fn resume_after_wait<F: Fields>(
        &mut self,
        lookup: Lookup<B>,
        key: Key<'static>,
        fwd: ForwardReason,
        cx: &mut Context<'_, B, F>,
    ) -> Action<B> {
        let is_in_memory =
            |key: &str, cx: &mut Context<'_, B, F>| cx.memory.get(key, cx.memory_ms, cx.now_ms).is_some();
        if cx.memory.is_fetching(key.as_str(), cx.wait_max_ms, cx.now_ms) && self.wait.milliseconds < cx.wait_max_ms {
            return self.wait(lookup, key, fwd, cx);
        }
        self.wait.rounds += 1;
        if is_in_memory(key.as_str(), cx) || is_in_memory(self.key().as_str(), cx) {
            return self.begin(cx);
        }
        self.send(lookup, fwd, Vec::new(), cx)
    }

    /// Sends the request to the upstream. Only a `GET` gets these conditions.
    fn send<F: Fields>(
        &mut self,
        lookup: Lookup<B>,
        fwd: ForwardReason,
        conditions: Vec<(&'static str, String)>,
        cx: &mut Context<'_, B, F>,
    ) -> Action<B> {
        // The exchange of a view's page validates the page.
        let is_conditional = !conditions.is_empty() && self.method == "GET" && self.view == StoredView::Response;
        let conditions = if is_conditional { conditions } else { Vec::new() };
        let has_stale = lookup.hit.as_ref().is_some_and(|hit| self.may_serve_stale(hit, cx.now_ms));
        let mut edits = match upstream_request::edits(&self.method, cx.fields, conditions, lookup.hit.is_some()) {
            Ok(edits) => edits,
            Err(error) => return self.stale_or_error(lookup, fwd, error, None, cx),
        };
        if self.refreshed_key.is_some() {
            // The runtime's request still has them.
            for name in NOT_OF_REFRESH {
                edits.remove(name);
            }
        }
        // A write refreshes nothing, nor does a request that bypasses the cache.
        if self.request.permits_lookup() && lookup.hit.is_some() {
            self.forwarded_key = Some(lookup.key.clone());
        }
        self.state = State::Sent { lookup, fwd, is_conditional };
        Action::Send { edits, has_stale }
    }

    fn may_serve_stale(&self, hit: &CacheHit<B>, now_ms: u64) -> bool {
        stale::may_serve_on_error(&hit.stored, &self.request.directives, hit.stored.stale_ms(now_ms))
    }

    /// Serves the stored response in place of an error if it may be used; otherwise fails.
    fn stale_or_error<F: Fields>(
        &mut self,
        lookup: Lookup<B>,
        fwd: ForwardReason,
        error: CacheError,
        received: Option<&UpstreamHead>,
        cx: &mut Context<'_, B, F>,
    ) -> Action<B> {
        let Lookup { hit, is_soft_purged, detail, kv_ms, .. } = lookup;
        match hit {
            Some(hit) if self.may_serve_stale(&hit, cx.now_ms) => {
                self.effects.push(Effect::Warn("stale_if_error", error));
                let cache_status = CacheStatus::hit(&hit.stored, is_soft_purged, Some(IF_ERROR), cx.now_ms);
                let upstream_ms = received.map(UpstreamHead::took_ms);
                let source = ResponseSource::Stored { hit, received: None, store_as: None };
                self.end(ExchangeResult { source, cache_status, kv_ms, upstream_ms }, cx)
            }
            hit => {
                if let Some(hit) = hit {
                    self.discard(hit.body);
                }
                let status = received.map(|received| received.status);
                let forwarded = CacheStatus::Forwarded { fwd, status, is_stored: false, ttl: None, detail };
                self.fail(error, Some(forwarded), cx)
            }
        }
    }

    fn end<F: Fields>(&mut self, result: ExchangeResult<B>, cx: &mut Context<'_, B, F>) -> Action<B> {
        // A refresh has succeeded only if its response is stored: otherwise the old one stays.
        let is_refresh = self.refreshed_key.is_some();
        let is_refreshed =
            matches!(result.cache_status, CacheStatus::Forwarded { is_stored, .. } if is_stored || !is_refresh);
        self.record_end(is_refreshed, cx);
        Action::Respond(result)
    }

    fn fail<F: Fields>(
        &mut self,
        error: CacheError,
        cache_status: Option<CacheStatus>,
        cx: &mut Context<'_, B, F>,
    ) -> Action<B> {
        self.record_end(false, cx);
        Action::Fail { error, cache_status }
    }

    fn record_end<F: Fields>(&mut self, is_refreshed: bool, cx: &mut Context<'_, B, F>) {
        if let Some((key, began_ms)) = self.fetch.take() {
            cx.memory.record_fetch_end(key.as_str(), began_ms);
        }
        // The refresh ends only here, with the new response in memory: until then, visitors get
        // the old one, and must not refresh it again.
        let has_failed = self.has_failed || !is_refreshed;
        match (self.refreshed_key.take(), self.forwarded_key.take()) {
            (Some(key), _) => cx.memory.record_refresh_outcome(key.as_str(), has_failed, cx.now_ms),
            (None, Some(key)) => cx.memory.record_upstream_outcome(key.as_str(), has_failed, cx.now_ms),
            (None, None) => {}
        }
    }

    fn discard(&mut self, body: B) {
        if body.bytes().is_none() {
            self.effects.push(Effect::Discard(body));
        }
    }

    fn discard_hit(&mut self, lookup: Lookup<B>) {
        if let Some(hit) = lookup.hit {
            self.discard(hit.body);
        }
    }
}

fn sum(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one + other),
        (one, other) => one.or(other),
    }
}

/// Holds a response in memory, if memory is on and its body is short enough.
fn store_in_memory<B: StoredBody, F>(
    cx: &mut Context<'_, B, F>,
    key: &Key<'_>,
    stored: &Rc<StoredResponse>,
    bytes: &B::Bytes,
    now_ms: u64,
) {
    if cx.memory_ms > 0 && stored.metadata.length <= u64::from(BODY_BYTES_MAX) {
        let entry = MemoryEntry { stored: Rc::clone(stored), body: bytes.clone() };
        cx.memory.insert(key.as_str(), entry, now_ms);
    }
}
