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

#[cfg(test)]
mod tests;
mod upstream_response;

use std::fmt::Debug;
use std::mem;
use std::rc::Rc;

use crate::cache_status::{CacheStatus, ForwardReason, IF_ERROR};
use crate::cached_url::CachedUrl;
use crate::credentials::CredentialFields;
use crate::decision::{self, CacheRequest, Decision, SelectedResponse};
use crate::error::CacheError;
use crate::freshness::ExchangeTimes;
use crate::memory_cache::{BODY_BYTES_MAX, MemoryCache, MemoryEntry};
use crate::page_view;
use crate::purge::{PurgeList, PurgeMode};
use crate::stale;
use crate::stored_response::{StoredMetadata, StoredResponse, UnusableRecord};
use crate::upstream_request;
use crate::validation::conditions;
use crate::vary::{self, SelectingFields};
use http_semantics::cdn_loop;
use http_semantics::fields::{Fields, HeaderEdits, HeaderSection};
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

/// Why no stored response can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissReason {
    /// There is none that may be used ([`usable_record`]).
    Absent,
    /// KV failed.
    Unavailable,
    /// The record in KV does not parse.
    Broken,
}

impl MissReason {
    /// Returns the `detail` for `Cache-Status`.
    #[must_use]
    pub fn detail(self) -> Option<&'static str> {
        match self {
            Self::Absent => None,
            Self::Unavailable => Some("kv-unavailable"),
            Self::Broken => Some("broken-record"),
        }
    }
}

/// A response of the upstream, without its body.
#[derive(Debug)]
pub struct UpstreamHead {
    /// The status.
    pub status: u16,
    /// The header fields, with a `Date` added if there was none.
    pub fields: HeaderSection,
    /// True if the upstream sent a `Date`.
    pub has_date: bool,
    /// True if there is a body, however short.
    pub has_body: bool,
    /// When the request was sent, and when the response began.
    pub times: ExchangeTimes,
    /// True if it is made from a stored page that was served in place of an error.
    pub is_in_place_of_error: bool,
}

/// What happened since the last step.
#[derive(Debug)]
pub enum Event<B: StoredBody> {
    /// The request arrived.
    Begin,
    /// The result of [`Action::Read`].
    Read {
        /// What is stored under the key.
        found: Result<CacheHit<B>, MissReason>,
        /// What is stored under the variant's key; `None` if that was not asked for.
        variant: Option<Result<CacheHit<B>, MissReason>>,
        /// The purges; `None` if they cannot be read.
        purges: Option<Rc<PurgeList>>,
        /// How long KV took, in milliseconds; `None` if it was not read.
        kv_ms: Option<u64>,
    },
    /// The result of [`Action::Wait`].
    Waited,
    /// The result of [`Action::Send`].
    Received(Result<UpstreamHead, CacheError>),
    /// The result of [`Action::ReadBody`].
    Body(Result<B::Bytes, CacheError>),
}

/// What the Worker does next.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a box would cost each hit an allocation")]
pub enum Action<B: StoredBody> {
    /// Reads what is stored under these keys, together, and the list of purges.
    Read {
        /// The key.
        key: Key<'static>,
        /// The key of the variant that the request is expected to select.
        variant: Option<Key<'static>>,
    },
    /// Waits: another request fetches the same URL.
    Wait {
        /// For how long.
        milliseconds: u64,
    },
    /// Sends the request to the upstream, or fetches the page of a view ([`Exchange::page`]).
    Send {
        /// The changes to the client's header fields.
        edits: HeaderEdits<'static>,
        /// True if a stale response may be served instead, so that the upstream need not be asked
        /// while its circuit is open.
        has_stale: bool,
    },
    /// Reads the body of the upstream's response to its end.
    ReadBody {
        /// Its declared length in bytes.
        length: u64,
    },
    /// Responds. The exchange has ended.
    Respond(ExchangeResult<B>),
    /// Responds with an error. The exchange has ended.
    Fail {
        /// The error.
        error: CacheError,
        /// The `Cache-Status` if the upstream was involved.
        cache_status: Option<CacheStatus>,
    },
}

/// The response of an exchange, and how it came about.
#[derive(Debug)]
pub struct ExchangeResult<B: StoredBody> {
    /// The response.
    pub source: ResponseSource<B>,
    /// How it came about.
    pub cache_status: CacheStatus,
    /// How long KV took, in milliseconds; `None` if it was not read.
    pub kv_ms: Option<u64>,
    /// How long the upstream took, in milliseconds; `None` if it did not respond.
    pub upstream_ms: Option<u64>,
}

/// Where a response comes from.
#[derive(Debug)]
pub enum ResponseSource<B: StoredBody> {
    /// A stored response. Its metadata and body are known, so conditions and ranges can be
    /// evaluated.
    Stored {
        /// The stored response.
        hit: CacheHit<B>,
        /// All fields of the response if it was received or validated just now.
        received: Option<HeaderSection>,
        /// The key and the metadata of the body, if it is a stream to store again while it is
        /// sent.
        store_as: Option<StreamToStore>,
    },
    /// The upstream's response, passed on.
    Upstream {
        /// Its status, fields and times.
        head: UpstreamHead,
        /// The body if it was read to its end; otherwise it is a stream.
        body: Option<B::Bytes>,
        /// The key and the metadata of the stream, if it is to be stored while it is sent.
        store_as: Option<StreamToStore>,
    },
}

/// What to store once the stream of a body has ended.
#[derive(Debug)]
pub struct StreamToStore {
    /// The key.
    pub key: Key<'static>,
    /// The metadata. Its `length` is set when the stream has ended.
    pub metadata: StoredMetadata,
    /// The length of the body in bytes if it is declared.
    pub length: Option<u64>,
}

/// What the Worker does beside the next action, without telling the exchange how it ended.
#[derive(Debug)]
pub enum Effect<B: StoredBody> {
    /// Puts a response into KV.
    Put {
        /// The key.
        key: Key<'static>,
        /// The response without its body.
        stored: Rc<StoredResponse>,
        /// Its body.
        bytes: B::Bytes,
    },
    /// Stores a stream that nobody else reads.
    PutStream(StreamToStore, B),
    /// Deletes these keys from KV.
    Delete(Vec<Key<'static>>),
    /// Begins [`Exchange::refresh`] in the background.
    Refresh(Key<'static>),
    /// Cancels a body that is not used.
    Discard(B),
    /// Cancels the body of the upstream's response.
    DiscardUpstream,
    /// Writes a warning to the log.
    Warn(&'static str, CacheError),
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
    /// The key of the fetch for which other requests wait, and when it began.
    fetch: Option<(Key<'static>, u64)>,
    waited: Waited,
    state: State<B>,
    effects: Vec<Effect<B>>,
}

/// How long this request has waited for another one.
#[derive(Debug, Default, Clone, Copy)]
struct Waited {
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

/// The result of looking for a stored response.
#[derive(Debug)]
struct Lookup<B> {
    hit: Option<CacheHit<B>>,
    /// True if a soft purge covers it.
    is_soft_purged: bool,
    /// The key of the stored response; if there is none, the URL's key.
    key: Key<'static>,
    /// The response under the URL's key.
    primary: Option<Rc<StoredResponse>>,
    /// Why there is no stored response.
    miss_reason: ForwardReason,
    detail: Option<&'static str>,
    kv_ms: Option<u64>,
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
            fetch: None,
            waited: Waited { next_ms: WAIT_MS, ..Waited::default() },
            state: State::Begin,
            effects: Vec::new(),
        }
    }

    /// Begins an exchange for the JSON of the page at this URL. Its request has no header fields:
    /// the JSON is the same for every client.
    #[must_use]
    pub fn of_page_view(url: CachedUrl) -> Self {
        Self { view: StoredView::Page, ..Self::new("GET", url, &HeaderSection::default()) }
    }

    /// Returns the exchange for the page of this view, or for the URL that the page redirects to.
    /// It waits for no other request if this one has.
    ///
    /// In two cases it asks the upstream even if a fresh response is stored: this exchange is a
    /// refresh, or a hard purge covers the stored view. A new view is as old as the oldest of its
    /// responses, which must not be from before the purge.
    #[must_use]
    pub fn page(&self, url: CachedUrl) -> Self {
        let mut page = Self::new("GET", url, &HeaderSection::default());
        let is_purged = matches!(&self.state, State::Sent { lookup, .. } if lookup.detail == Some(PURGED));
        page.always_revalidates = self.always_revalidates || is_purged;
        page.waited.rounds = self.waited.rounds * WAIT_ROUNDS_MAX;
        page
    }

    /// Returns the exchange that refreshes the response under this key in the background. It asks
    /// the upstream even if a fresh response is stored, with a condition if possible. Its request
    /// has the client's header fields without `Authorization`: the stored response is for
    /// everybody, and so must the one be that replaces it.
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

    /// Returns the key of the variant that this request selects if the response under the URL's
    /// key still has the selecting fields that it had before. `None` if the response under the
    /// URL's key is that variant, or is in memory, so that only one response is read from KV.
    fn variant_to_prefetch<F: Fields>(&self, key: &Key<'_>, cx: &mut Context<'_, B, F>) -> Option<Key<'static>> {
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
    fn select_primary<F: Fields>(
        &mut self,
        found: Result<CacheHit<B>, MissReason>,
        prefetched: &mut Option<(Key<'static>, Result<CacheHit<B>, MissReason>)>,
        purges: Option<&PurgeList>,
        kv_ms: Option<u64>,
        cx: &mut Context<'_, B, F>,
    ) -> Action<B> {
        let mut lookup = Lookup { kv_ms, ..Lookup::new(self.key()) };
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

    fn select_variant<F: Fields>(
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

    fn decide<F: Fields>(&mut self, lookup: Lookup<B>, cx: &mut Context<'_, B, F>) -> Action<B> {
        if self.always_revalidates {
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
            && self.waited.rounds < WAIT_ROUNDS_MAX
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
        let milliseconds = self.waited.next_ms.min(cx.wait_max_ms.saturating_sub(self.waited.milliseconds)).max(1);
        self.waited.milliseconds += milliseconds;
        self.waited.next_ms = (self.waited.next_ms * 2).min(WAIT_MAX_MS);
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
        if cx.memory.is_fetching(key.as_str(), cx.wait_max_ms, cx.now_ms) && self.waited.milliseconds < cx.wait_max_ms {
            return self.wait(lookup, key, fwd, cx);
        }
        self.waited.rounds += 1;
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
        if !cx.fields.has("authorization") {
            // The runtime's request still has the field that a refresh leaves out.
            edits.remove("authorization");
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
        let is_refreshed = matches!(result.cache_status, CacheStatus::Forwarded { .. });
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

impl<B> Lookup<B> {
    fn new(key: Key<'static>) -> Self {
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

impl<B: StoredBody> ResponseSource<B> {
    /// Returns status, header fields and times.
    #[must_use]
    pub fn head(&self) -> (u16, &HeaderSection, ExchangeTimes) {
        match self {
            Self::Stored { hit: CacheHit { stored, .. }, received, .. } => {
                let StoredMetadata { status, times, .. } = stored.metadata;
                (status, received.as_ref().unwrap_or(&stored.metadata.fields), times)
            }
            Self::Upstream { head: UpstreamHead { status, fields, times, .. }, .. } => (*status, fields, *times),
        }
    }
}

impl UpstreamHead {
    /// Returns how long the upstream took to respond, in milliseconds.
    #[must_use]
    pub fn took_ms(&self) -> u64 {
        self.times.response_delay_ms()
    }

    /// Returns the declared length of the body, in bytes.
    fn length(&self) -> Option<u64> {
        self.fields.get("content-length").and_then(|length| length.trim().parse().ok())
    }
}

/// Returns the metadata of a record that was read from KV under this key, if it may be used.
/// `head` is its JSON; `default_lifetime_ms` is the lifetime of a response that states none, in
/// milliseconds. If there is such a default, a record without a head is accepted.
///
/// # Errors
/// [`MissReason::Absent`] for a record of another version, or from before an invalidation;
/// [`MissReason::Broken`] if it does not parse, or is no response that can be sent.
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
