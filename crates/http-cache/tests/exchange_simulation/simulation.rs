//! Isolates, KV and visitors in virtual time around the exchange, and the checks of each response.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::mem;
use std::rc::Rc;

use http_cache::cache_status::CacheStatus;
use http_cache::cached_url::CachedUrl;
use http_cache::client_response::with_date;
use http_cache::credentials::CredentialFields;
use http_cache::error::CacheError;
use http_cache::exchange::{
    Action, CacheHit, Context, Effect, Event, Exchange, ExchangeResult, MissReason, ResponseSource, StoredBody,
    StoredView, StreamToStore, UpstreamHead, usable_record,
};
use http_cache::freshness::ExchangeTimes;
use http_cache::memory_cache::{BODY_BYTES_MAX, MemoryCache, MemoryEntry};
use http_cache::page_view::{REDIRECTS_MAX, Redirects};
use http_cache::purge::{Purge, PurgeList, PurgeMode, PurgeTarget};
use http_cache::stored_response::{StoredMetadata, StoredResponse};
use http_semantics::fields::{Fields, HeaderSection};
use http_semantics::origin::OriginAllowList;
use kv_store::limits::Key;

use crate::upstreams::{
    LONG_POLICY, Link, PAGES, POLICIES, REDIRECT_POLICIES, RESOURCES, Target, UpstreamContent, is_unstorable, resolve,
    resource_of, selecting_names, stores_writes, target_of, url_of, value_of,
};

pub(crate) const ISOLATES: usize = 2;
/// How long KV may show an old value.
const KV_DELAY_MS: u64 = 60_000;
const MEMORY_MS: u64 = 10_000;
const WAIT_MAX_MS: u64 = 400;
const START_MS: u64 = 1_700_000_000_000;
/// How long after a write through one isolate the others know of it: KV shows it to them.
const WRITE_KNOWN_MS: u64 = KV_DELAY_MS + 10_000;

#[derive(Debug)]
enum SimulatedBody {
    Short(Rc<UpstreamContent>),
    Stream(Rc<UpstreamContent>),
}

impl SimulatedBody {
    /// A view is read whole, however long it is.
    fn of(content: Rc<UpstreamContent>, view: StoredView) -> Self {
        if view == StoredView::Page || content.length <= u64::from(BODY_BYTES_MAX) {
            Self::Short(content)
        } else {
            Self::Stream(content)
        }
    }

    fn content(&self) -> &Rc<UpstreamContent> {
        let (Self::Short(content) | Self::Stream(content)) = self;
        content
    }
}

impl StoredBody for SimulatedBody {
    type Bytes = Rc<UpstreamContent>;

    fn bytes(&self) -> Option<&Rc<UpstreamContent>> {
        match self {
            Self::Short(content) => Some(content),
            Self::Stream(_) => None,
        }
    }

    fn from_bytes(bytes: Rc<UpstreamContent>) -> Self {
        Self::Short(bytes)
    }
}

/// A write to a key of KV, and when each isolate sees it.
struct KvWrite {
    seen_ms: [u64; ISOLATES],
    value: Option<(String, Rc<UpstreamContent>)>,
}

/// A request on its way.
struct Running {
    isolate: usize,
    exchange: Exchange<SimulatedBody>,
    fields: HeaderSection,
    resource: usize,
    began_ms: u64,
    /// The oldest version that it may get.
    version_min: u64,
    /// The purges that the isolate knew when it began.
    purges: Rc<PurgeList>,
    /// The key that it refreshes in the background.
    refreshed_key: Option<String>,
    /// The exchange for the view of the page that this one fetches.
    view: Option<usize>,
    /// The upstream's last response.
    received: Option<Rc<UpstreamContent>>,
    /// How many requests it sent to the upstream, or for pages to the cache.
    sent: u32,
    /// True if an upstream failed, or a page was served in place of an error.
    has_failed: bool,
    /// What it has followed so far if it is the exchange of a view.
    redirects: Redirects,
    chain: Vec<Link>,
    only_for_view: bool,
}

/// What happens at a time.
enum Task {
    Step(usize, Event<SimulatedBody>),
    AtUpstream {
        id: usize,
        requested_ms: u64,
        if_none_match: Option<String>,
    },
    Put {
        isolate: usize,
        key: Key<'static>,
        stored: Rc<StoredResponse>,
        content: Rc<UpstreamContent>,
    },
    StoreStream {
        isolate: usize,
        store: Box<StreamToStore>,
        content: Rc<UpstreamContent>,
    },
    Delete {
        isolate: usize,
        key: Key<'static>,
    },
    /// An isolate learns of a purge.
    Purged {
        isolate: usize,
        purge: Purge,
    },
    /// An isolate learns of a version that a write made.
    Written {
        isolate: usize,
        resource: usize,
        version: u64,
    },
    NewRequest,
}

pub(crate) struct Simulation {
    isolates: usize,
    now_ms: u64,
    random: u64,
    tasks: BTreeMap<(u64, u64), Task>,
    serial: u64,
    memory: Vec<MemoryCache<Rc<UpstreamContent>>>,
    purges: Vec<Rc<PurgeList>>,
    versions: [u64; RESOURCES],
    version_min: [[u64; RESOURCES]; ISOLATES],
    kv: HashMap<String, Vec<KvWrite>>,
    running: HashMap<usize, Running>,
    /// The refreshes that run, by isolate and key.
    refreshing: HashSet<(usize, String)>,
    upstreams: OriginAllowList,
    credentials: CredentialFields,
    pub(crate) counts: BTreeMap<String, usize>,
    steps: usize,
}

impl Simulation {
    pub(crate) fn new(seed: u64, isolates: usize) -> Self {
        Self {
            isolates,
            now_ms: START_MS,
            random: seed | 1,
            tasks: BTreeMap::new(),
            serial: 0,
            memory: (0..ISOLATES).map(|_| MemoryCache::new(1 << 20, 1 << 16, 1 << 16)).collect(),
            purges: (0..ISOLATES).map(|_| Rc::default()).collect(),
            versions: [1; RESOURCES],
            version_min: [[0; RESOURCES]; ISOLATES],
            kv: HashMap::new(),
            running: HashMap::new(),
            refreshing: HashSet::new(),
            upstreams: OriginAllowList::parse("https://a.example,https://b.example", &[]),
            credentials: CredentialFields::default(),
            counts: BTreeMap::new(),
            steps: 0,
        }
    }

    fn policy(&self, resource: usize) -> (&'static str, u64, u64, u64) {
        let has_variants = resource.is_multiple_of(3);
        if has_variants && self.isolates == 1 {
            LONG_POLICY
        } else if resource < PAGES {
            POLICIES[resource % POLICIES.len()]
        } else {
            REDIRECT_POLICIES[resource % REDIRECT_POLICIES.len()]
        }
    }

    fn bits(&mut self) -> u64 {
        // Xorshift64*.
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 12
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.bits() % bound
    }

    fn index_below(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap()
    }

    fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    fn after(&mut self, milliseconds: u64, task: Task) {
        self.serial += 1;
        self.tasks.insert((self.now_ms + milliseconds, self.serial), task);
    }

    fn count(&mut self, what: impl Into<String>) {
        *self.counts.entry(what.into()).or_default() += 1;
    }

    pub(crate) fn run(&mut self, steps: usize) {
        self.after(0, Task::NewRequest);
        while self.steps < steps {
            let ((at_ms, _), task) = self.tasks.pop_first().expect("a request follows the one before");
            self.now_ms = at_ms;
            match task {
                Task::Step(id, event) => self.step(id, event),
                Task::AtUpstream { id, requested_ms, if_none_match } => {
                    self.at_upstream(id, requested_ms, if_none_match.as_deref());
                }
                Task::Put { isolate, key, stored, content } => self.put(isolate, &key, &stored, content),
                Task::StoreStream { isolate, store, content } => self.store_stream(isolate, *store, content),
                Task::Delete { isolate, key } => self.write_kv(isolate, &key, None),
                Task::Purged { isolate, purge } => Rc::make_mut(&mut self.purges[isolate]).add(purge),
                Task::Written { isolate, resource, version } => self.learn_of_write(isolate, resource, version),
                Task::NewRequest => self.new_request(),
            }
        }
    }

    fn new_request(&mut self) {
        let isolate = self.index_below(self.isolates);
        // Some resources are far more popular than others.
        let (first, count) = if self.chance(300) { (PAGES, RESOURCES - PAGES) } else { (0, PAGES) };
        let bound = 1 + self.index_below(count);
        let resource = first + self.index_below(bound);
        // With a single isolate, only writes are to end the use of what is fresh for long.
        if self.isolates > 1 && self.chance(10) {
            self.purge(isolate, resource);
        }
        if self.chance(10) {
            // Two writes at the same time.
            self.begin("POST", isolate, resource);
            self.begin("POST", isolate, resource);
        }
        let repeats = if self.chance(20) { 10 } else { 1 };
        for _ in 0..repeats {
            let method = match self.below(100) {
                0 => "POST",
                1..6 => "HEAD",
                _ => "GET",
            };
            self.begin(method, isolate, resource);
        }
        let pause_ms = match self.below(1000) {
            // So long that the isolates forget their invalidations.
            0 => self.below(400_000),
            1..3 => self.below(5000),
            _ => self.below(20),
        };
        self.after(pause_ms, Task::NewRequest);
    }

    fn purge(&mut self, isolate: usize, resource: usize) {
        let mode = if self.chance(500) { PurgeMode::Soft } else { PurgeMode::Hard };
        let target = match self.below(4) {
            0 => PurgeTarget::Url(url_of(resource)),
            1 => PurgeTarget::Prefix(url_of(resource)),
            2 => PurgeTarget::Tag(format!("t{}", resource % 4)),
            _ => PurgeTarget::All(true),
        };
        let purge = Purge { target, mode, at_ms: self.now_ms };
        for other in 0..ISOLATES {
            let delay_ms = if other == isolate { 0 } else { self.below(KV_DELAY_MS) };
            self.after(delay_ms, Task::Purged { isolate: other, purge: purge.clone() });
        }
    }

    fn begin(&mut self, method: &str, isolate: usize, resource: usize) {
        // If writes in two isolates overlap, neither of them can know the order.
        let isolate = if method == "POST" { resource % self.isolates } else { isolate };
        let variant = match self.below(100) {
            // So rare that it is not stored again soon after a write.
            0 => "c",
            1..40 => "b",
            _ => "a",
        };
        let mut fields = vec![("x-variant", variant), ("x-other", ["d", "e"][self.index_below(2)])];
        if self.chance(50) {
            fields.push(("cookie", "session=1"));
        }
        let asked = ["no-cache", "no-store", "max-age=0", "max-stale=3", "only-if-cached", "min-fresh=1"];
        if self.chance(60) {
            fields.push(("cache-control", asked[self.index_below(asked.len())]));
        }
        let fields: HeaderSection = fields.into_iter().collect();
        let url = CachedUrl::of_href(&url_of(resource), &self.upstreams).unwrap();
        if method == "GET" && self.chance(if resource < PAGES { 200 } else { 700 }) {
            let exchange = Exchange::of_page_view(url);
            return self.start(isolate, exchange, HeaderSection::default(), resource, None, None);
        }
        let exchange = Exchange::new(method, url, &fields);
        self.start(isolate, exchange, fields, resource, None, None);
    }

    fn start(
        &mut self,
        isolate: usize,
        exchange: Exchange<SimulatedBody>,
        fields: HeaderSection,
        resource: usize,
        refreshed_key: Option<String>,
        view: Option<usize>,
    ) {
        self.serial += 1;
        let id = usize::try_from(self.serial).unwrap();
        let (began_ms, version_min) = (self.now_ms, self.version_min[isolate][resource]);
        let purges = Rc::clone(&self.purges[isolate]);
        let running = Running {
            isolate,
            exchange,
            fields,
            resource,
            began_ms,
            version_min,
            purges,
            refreshed_key,
            view,
            received: None,
            sent: 0,
            has_failed: false,
            redirects: Redirects::default(),
            chain: Vec::new(),
            only_for_view: false,
        };
        self.running.insert(id, running);
        self.after(0, Task::Step(id, Event::Begin));
    }

    fn step(&mut self, id: usize, event: Event<SimulatedBody>) {
        self.steps += 1;
        let Some(mut running) = self.running.remove(&id) else {
            // The client has left.
            return;
        };
        assert!(self.now_ms - running.began_ms < 60_000, "{} hangs", running.exchange.url().as_str());
        let isolate = running.isolate;
        running.has_failed |= match &event {
            Event::Received(Ok(head)) => head.status == 503,
            Event::Received(Err(_)) | Event::Body(Err(_)) => true,
            _ => false,
        };
        let mut random = self.bits();
        let mut cx = Context {
            fields: &running.fields,
            upstreams: &self.upstreams,
            credentials: &self.credentials,
            memory_ms: MEMORY_MS,
            wait_max_ms: WAIT_MAX_MS,
            memory: &mut self.memory[isolate],
            now_ms: self.now_ms,
            random: &mut || {
                random = random.rotate_left(7) & ((1 << 52) - 1);
                random
            },
            resolve: &resolve,
        };
        let action = running.exchange.step(event, &mut cx);
        for effect in running.exchange.take_effects() {
            self.perform(effect, &running);
        }
        if let (Action::Respond(_) | Action::Fail { .. }, Some(key)) = (&action, &running.refreshed_key) {
            self.refreshing.remove(&(isolate, key.clone()));
        }
        match action {
            Action::Read { key, variant } => {
                let view = running.exchange.view();
                let (found, kv_ms) = self.read(isolate, &key, view);
                if variant.is_some() {
                    self.count("prefetch");
                }
                let (variant, variant_kv_ms) = variant.map(|key| self.read(isolate, &key, view)).unzip();
                let kv_ms = kv_ms.max(variant_kv_ms.flatten());
                let purges = (!self.chance(5)).then(|| Rc::clone(&self.purges[isolate]));
                self.after(kv_ms.unwrap_or(0), Task::Step(id, Event::Read { found, variant, purges, kv_ms }));
            }
            Action::Wait { milliseconds } => {
                self.count(format!("{}wait", prefix(&running.exchange)));
                self.after(milliseconds, Task::Step(id, Event::Waited));
            }
            Action::Send { .. } if running.exchange.view() == StoredView::Page => {
                let url = running.exchange.url().clone();
                self.fetch_page(id, &mut running, url);
            }
            Action::Send { edits, .. } => {
                running.sent += 1;
                assert!(running.sent <= 2, "{} sends without end", running.exchange.url().as_str());
                let if_none_match = edits.set.iter().find(|(name, _)| *name == "if-none-match");
                let if_none_match = if_none_match.map(|(_, value)| value.to_string());
                let delay_ms = self.below(50);
                self.after(delay_ms, Task::AtUpstream { id, requested_ms: self.now_ms, if_none_match });
            }
            Action::ReadBody { .. } => {
                let content = running.received.clone().expect("a body belongs to a response");
                let broken = Err(CacheError::Upstream("it broke off".to_owned()));
                let body = if self.chance(10) { broken } else { Ok(content) };
                let delay_ms = self.below(20);
                self.after(delay_ms, Task::Step(id, Event::Body(body)));
            }
            Action::Respond(result) => return self.check(id, &running, result),
            Action::Fail { error, .. } => {
                match error {
                    CacheError::NotCached | CacheError::Timeout | CacheError::Upstream(_) => {}
                    CacheError::Redirect => running.assert_not_followable(),
                    _ => panic!("{error}"),
                }
                self.count(format!("{}fail {error}", prefix(&running.exchange)));
                if let Some(view) = running.view {
                    self.after(0, Task::Step(view, Event::Received(Err(error))));
                }
                return;
            }
        }
        if running.refreshed_key.is_none() && running.view.is_none() && self.chance(10) {
            // The runtime drops the request, wherever it waits.
            return self.count("client leaves");
        }
        self.running.insert(id, running);
    }

    /// Records that an isolate knows of a write: it uses no older version from now on.
    fn learn_of_write(&mut self, isolate: usize, resource: usize, version: u64) {
        let oldest = &mut self.version_min[isolate][resource];
        *oldest = version.max(*oldest);
    }

    /// Reads a key as the Worker does: from memory, else what KV shows to the isolate.
    fn read(
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

    fn at_upstream(&mut self, id: usize, requested_ms: u64, if_none_match: Option<&str>) {
        let Some(running) = self.running.get(&id) else { return };
        let (resource, method) = (running.resource, running.exchange.method().to_owned());
        let has_cookie = running.fields.has("cookie");
        let (control, ..) = self.policy(resource);
        let delay_ms = self.below(100);
        if method == "POST" || self.chance(20) {
            self.versions[resource] += 1;
        }
        let version = self.versions[resource];
        let names = selecting_names(resource, version);
        let request = &self.running[&id].fields;
        let selected_by: Vec<(&str, String)> = names.iter().map(|name| (*name, value_of(request, name))).collect();
        if method != "POST" && self.chance(40) {
            self.count("upstream fails");
            return self.after(delay_ms, Task::Step(id, Event::Received(Err(CacheError::Timeout))));
        }
        let is_error = method != "POST" && self.chance(40);
        let is_written = method == "POST" && !stores_writes(resource);
        let is_private = has_cookie || is_error || is_written || is_unstorable(resource, version);
        let (target, redirect_status, location) = target_of(resource, version);
        let values: Vec<&str> = selected_by.iter().map(|(_, value)| value.as_str()).collect();
        let etag = format!("\"{resource}-{version}-{}\"", values.join("-"));
        let status = match if_none_match {
            _ if is_error => 503,
            _ if method == "POST" => 200,
            Some(known) if known == etag && !is_private => 304,
            _ => redirect_status,
        };
        let length = if resource % 7 == 1 { 100_000 } else { 1000 };
        let tag = format!("t{}", resource % 4);
        let one = if version.is_multiple_of(2) { "private" } else { "no-store" };
        let mut fields = vec![("cache-tag", tag.as_str()), ("cache-control", if is_private { one } else { control })];
        fields.retain(|(_, value)| !value.is_empty());
        if target != Target::Page && status == redirect_status {
            fields.push(("location", &location));
        }
        let length_text = length.to_string();
        if status != 304 {
            fields.push(("content-length", &length_text));
        }
        // RFC 9110 §13.2.1: a server ignores the conditions of a request that it redirects.
        if !is_private && target == Target::Page {
            fields.push(("etag", &etag));
        }
        let vary = names.join(", ");
        if !names.is_empty() {
            fields.push(("vary", &vary));
        }
        let url = url_of(resource);
        if method == "POST" {
            fields.push(("content-location", &url));
        }
        let received_ms = self.now_ms + delay_ms;
        let head = UpstreamHead {
            status,
            fields: with_date(fields.into_iter().collect(), received_ms),
            has_date: false,
            has_body: !matches!(status, 304 | 503) && method != "HEAD",
            times: ExchangeTimes { requested_ms, received_ms },
            is_in_place_of_error: false,
        };
        let only_for = is_private.then_some(id);
        let content = Rc::new(UpstreamContent { resource, selected_by, version, only_for, length, chain: Vec::new() });
        self.running.get_mut(&id).unwrap().received = Some(content);
        self.after(delay_ms, Task::Step(id, Event::Received(Ok(head))));
    }

    fn perform(&mut self, effect: Effect<SimulatedBody>, running: &Running) {
        let isolate = running.isolate;
        match effect {
            Effect::Put { key, stored, bytes: content } => {
                let delay_ms = self.below(200);
                self.after(delay_ms, Task::Put { isolate, key, stored, content });
            }
            Effect::PutStream(store, body) => self.store_later(isolate, store, body.content()),
            Effect::Delete(keys) => {
                for key in keys {
                    let delay_ms = self.below(300);
                    self.after(delay_ms, Task::Delete { isolate, key });
                }
            }
            Effect::Refresh(key) => {
                self.count("refresh");
                let lines = running.fields.iter().filter(|(name, _)| *name != "authorization");
                let fields: HeaderSection = lines.collect();
                let name = key.as_str().to_owned();
                let is_first = self.refreshing.insert((isolate, name.clone()));
                assert!(is_first, "a second refresh of {name} at {} ms", self.now_ms);
                let refresh = running.exchange.refresh(key, &fields);
                self.start(isolate, refresh, fields, running.resource, Some(name), None);
            }
            Effect::Discard(_) | Effect::DiscardUpstream | Effect::Warn(..) => {}
        }
    }

    fn store_later(&mut self, isolate: usize, store: StreamToStore, content: &Rc<UpstreamContent>) {
        let (delay_ms, content) = (self.below(500), Rc::clone(content));
        self.after(delay_ms, Task::StoreStream { isolate, store: Box::new(store), content });
    }

    fn store_stream(&mut self, isolate: usize, store: StreamToStore, content: Rc<UpstreamContent>) {
        let StreamToStore { key, metadata, .. } = store;
        let stored = Rc::new(StoredResponse::new(StoredMetadata { length: content.length, ..metadata }, None));
        self.memory[isolate].remove_older(key.as_str(), stored.metadata.times.requested_ms);
        self.put(isolate, &key, &stored, content);
    }

    /// Puts a response into KV as the Worker does.
    fn put(&mut self, isolate: usize, key: &Key<'static>, stored: &StoredResponse, content: Rc<UpstreamContent>) {
        let requested_ms = stored.metadata.times.requested_ms;
        if self.memory[isolate].is_outdated(key.as_str(), requested_ms) || self.chance(20) {
            return;
        }
        self.write_kv(isolate, key, Some((stored.metadata.to_json(), content)));
        if self.memory[isolate].is_invalidated(key.as_str(), requested_ms) {
            self.write_kv(isolate, key, None);
        }
    }

    fn write_kv(&mut self, isolate: usize, key: &Key<'static>, value: Option<(String, Rc<UpstreamContent>)>) {
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

    /// Fetches a page for a view, or what redirects to it.
    fn fetch_page(&mut self, view: usize, running: &mut Running, url: CachedUrl) {
        running.sent += 1;
        assert!(running.sent <= 1 + REDIRECTS_MAX, "{} redirects without end", running.exchange.url().as_str());
        let (isolate, resource) = (running.isolate, resource_of(&url));
        let page = running.exchange.page(url);
        self.start(isolate, page, HeaderSection::default(), resource, None, Some(view));
    }

    /// Follows the redirect that was fetched for a view, or makes the view of the page.
    fn follow(&mut self, view: usize, page: &Running, result: &ExchangeResult<SimulatedBody>) {
        let content = match &result.source {
            ResponseSource::Stored { hit, .. } => Rc::clone(hit.body.content()),
            ResponseSource::Upstream { .. } => page.received.clone().expect("the upstream responded"),
        };
        let Some(mut running) = self.running.remove(&view) else { return };
        let (status, fields, times) = result.source.head();
        running.chain.push(Link {
            resource: content.resource,
            version: content.version,
            metadata: StoredMetadata::from_response(
                &HeaderSection::default(),
                &self.credentials,
                status,
                fields,
                times,
                None,
            ),
        });
        running.only_for_view |= content.only_for.is_some();
        running.has_failed |= page.has_failed || result.cache_status.is_in_place_of_error();
        let url = page.exchange.url();
        let next = running.redirects.follow(url, result, &self.upstreams, resolve, self.now_ms);
        let received = match next.transpose() {
            Some(Ok(next)) => {
                self.count("follow");
                self.fetch_page(view, &mut running, next);
                self.running.insert(view, running);
                return;
            }
            Some(Err(error)) => {
                self.count(if running.is_at_redirect_limit() { "too many redirects" } else { "redirect to outside" });
                Err(error)
            }
            None => {
                let length = usize::try_from(content.length).unwrap();
                let redirects = mem::take(&mut running.redirects);
                let head = redirects.view_head(url, result, length, self.now_ms);
                let only_for = running.only_for_view.then_some(view);
                let (chain, first) = (running.chain.clone(), &running.chain[0]);
                self.count(format!("view of {} responses", chain.len()));
                running.received = Some(Rc::new(UpstreamContent {
                    resource: first.resource,
                    version: first.version,
                    only_for,
                    chain,
                    ..(*content).clone()
                }));
                Ok(head)
            }
        };
        self.running.insert(view, running);
        self.after(0, Task::Step(view, Event::Received(received)));
    }

    /// Checks a response against what the world knows.
    fn check(&mut self, id: usize, running: &Running, result: ExchangeResult<SimulatedBody>) {
        if let Some(view) = running.view {
            self.follow(view, running, &result);
        }
        let ExchangeResult { source, cache_status, .. } = result;
        let prefix = prefix(&running.exchange);
        self.count(match cache_status {
            CacheStatus::Hit { detail, .. } => format!("{prefix}hit {detail:?}"),
            CacheStatus::Forwarded { fwd, is_stored, .. } => format!("{prefix}fwd={fwd} stored={is_stored}"),
        });
        let (content, stored) = match source {
            ResponseSource::Stored { hit, store_as, .. } => {
                let content = Rc::clone(hit.body.content());
                if let Some(store) = store_as {
                    self.store_later(running.isolate, store, &content);
                }
                (content, Some(hit.stored))
            }
            ResponseSource::Upstream { store_as, .. } => {
                let content = running.received.clone().expect("the upstream responded");
                if let Some(store) = store_as {
                    self.store_later(running.isolate, store, &content);
                }
                (content, None)
            }
        };
        if running.exchange.method() == "POST" {
            self.learn_of_write(running.isolate, running.resource, content.version);
            for isolate in (0..self.isolates).filter(|isolate| *isolate != running.isolate) {
                let (resource, version) = (running.resource, content.version);
                self.after(WRITE_KNOWN_MS, Task::Written { isolate, resource, version });
            }
        }
        let seen = || format!("{id} at {} ms: {cache_status}, {content:?}, {stored:?}", self.now_ms);
        assert_eq!(content.resource, running.resource, "{}", seen());
        for (name, value) in &content.selected_by {
            assert_eq!(value, &value_of(&running.fields, name), "{}", seen());
        }
        assert!(content.only_for.is_none_or(|only| only == id), "made for another visitor: {}", seen());
        assert!(content.version >= running.version_min, "older than a write: {}", seen());
        check_chain(&content.chain, &seen);
        if cache_status.is_in_place_of_error() && running.sent > 0 {
            assert!(running.has_failed, "no error: {}", seen());
        }
        let is_view = running.exchange.view() == StoredView::Page;
        if let (CacheStatus::Forwarded { detail: Some("purged"), .. }, Some(stored)) = (&cache_status, &stored)
            && is_view
        {
            let is_new = stored.metadata.times.requested_ms >= running.began_ms;
            assert!(is_new || running.has_failed, "purged already: {}", seen());
        }
        let (CacheStatus::Hit { detail, .. }, Some(stored)) = (&cache_status, &stored) else { return };
        let url = url_of(running.resource);
        for metadata in content.chain.iter().map(|link| &link.metadata).chain([&stored.metadata]) {
            let purged = running.purges.covers(&url, metadata);
            assert_ne!(purged, Some(PurgeMode::Hard), "purged: {}", seen());
            assert!(purged.is_none() || detail.is_some(), "served as fresh after a soft purge: {}", seen());
        }
        if content.chain.len() > 1 {
            assert!(matches!(detail, None | Some("soft-purge")), "stale: {}", seen());
            for Link { resource, metadata, .. } in &content.chain {
                let (control, fresh, ..) = self.policy(*resource);
                let fresh = if control.is_empty() { 60 } else { fresh };
                let age_ms = running.began_ms.saturating_sub(metadata.times.received_ms);
                assert!(age_ms <= fresh * 1000, "{resource} is too old: {}", seen());
            }
            return;
        }
        let (control, fresh, swr, sie) = self.policy(running.resource);
        let is_default = control.is_empty() && is_view;
        let fresh = if is_default { 60 } else { fresh };
        let seconds = match *detail {
            None | Some("soft-purge") => fresh,
            Some("stale-while-revalidate") => fresh + swr,
            Some("stale-if-error") => fresh + sie,
            Some("max-stale") => fresh + 3,
            Some(other) => panic!("{other}: {}", seen()),
        };
        // The decision is as old as the reads that it rests on.
        let age_ms = running.began_ms.saturating_sub(stored.metadata.times.received_ms);
        assert!(age_ms <= seconds * 1000, "too old: {}", seen());
    }
}

impl Running {
    /// Returns true if the last response of the chain must not be another redirect to follow.
    fn is_at_redirect_limit(&self) -> bool {
        self.chain.len() > usize::try_from(REDIRECTS_MAX).unwrap()
    }

    /// Checks that the last redirect must not be followed: its target is not allowed, or it is one
    /// too many.
    fn assert_not_followable(&self) {
        let Some(Link { resource, version, .. }) = self.chain.last() else { panic!("no redirect") };
        let (target, ..) = target_of(*resource, *version);
        assert!(
            target == Target::Outside || (self.is_at_redirect_limit() && target != Target::Page),
            "{:?}",
            self.chain
        );
    }
}

/// Checks that each response of a view redirects to the next one, up to a page.
fn check_chain(chain: &[Link], seen: &dyn Fn() -> String) {
    for (index, link) in chain.iter().enumerate() {
        let expected = chain.get(index + 1).map_or(Target::Page, |next| Target::Resource(next.resource));
        // An error is a page, too.
        if link.metadata.status != 503 {
            assert_eq!(target_of(link.resource, link.version).0, expected, "{}", seen());
        }
    }
}

/// Returns what the counts of views begin with.
fn prefix(exchange: &Exchange<SimulatedBody>) -> &'static str {
    if exchange.view() == StoredView::Page { "view " } else { "" }
}
