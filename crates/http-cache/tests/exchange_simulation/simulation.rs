//! Isolates, KV and visitors in virtual time around the exchange.

mod checks;
mod kv;
mod page_views;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use http_cache::cached_url::CachedUrl;
use http_cache::client_response::with_date;
use http_cache::credentials::CredentialFields;
use http_cache::error::CacheError;
use http_cache::exchange::{
    Action, Context, Effect, Event, Exchange, StoredBody, StoredView, StreamToStore, UpstreamHead,
};
use http_cache::freshness::ExchangeTimes;
use http_cache::memory_cache::{BODY_BYTES_MAX, MemoryCache};
use http_cache::page_view::Redirects;
use http_cache::purge::{Purge, PurgeList, PurgeMode, PurgeTarget};
use http_cache::stored_response::StoredResponse;
use http_semantics::fields::{Fields, HeaderSection};
use http_semantics::origin::OriginAllowList;
use kv_store::limits::Key;

use self::kv::KvWrite;
use crate::upstreams::{
    LONG_POLICY, Link, PAGES, POLICIES, REDIRECT_POLICIES, RESOURCES, Target, UpstreamContent, is_unstorable, resolve,
    selecting_names, stores_writes, target_of, url_of, value_of,
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
}

/// Returns what the counts of views begin with.
fn prefix(exchange: &Exchange<SimulatedBody>) -> &'static str {
    if exchange.view() == StoredView::Page { "view " } else { "" }
}
