//! The exchange step by step: the reads of variants, and the JSON view of a page. What holds in
//! any order of events is in `tests/exchange_simulation`.

use super::*;
use crate::freshness::ExchangeTimes;
use crate::purge::{Purge, PurgeList, PurgeMode, PurgeTarget};
use crate::stored_response::StoredMetadata;
use crate::vary::Vary;
use http_semantics::http_date;
use kv_store::limits::VALUE_BYTES_MAX;

/// Sun, 06 Nov 1994 08:49:37 GMT.
const NOW_MS: u64 = 784_111_777_000;
const URL: &str = "https://a.example/";

#[derive(Debug, Clone, PartialEq, Eq)]
enum TestBody {
    Bytes(&'static str),
    Stream(&'static str),
}

impl StoredBody for TestBody {
    type Bytes = &'static str;

    fn bytes(&self) -> Option<&&'static str> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Stream(_) => None,
        }
    }

    fn from_bytes(bytes: &'static str) -> Self {
        Self::Bytes(bytes)
    }
}

/// An isolate, and the requests to it.
struct TestIsolate {
    /// For how long it uses responses from memory; 0 turns memory off.
    memory_ms: u64,
    now_ms: u64,
    memory: MemoryCache<&'static str>,
    upstreams: OriginAllowList,
    credentials: CredentialFields,
}

impl TestIsolate {
    fn new() -> Self {
        let memory = MemoryCache::new(1 << 16, 1 << 16, 1 << 16);
        let upstreams = OriginAllowList::parse("https://a.example", &[]);
        Self { memory_ms: 0, now_ms: NOW_MS, memory, upstreams, credentials: CredentialFields::default() }
    }

    fn url(&self) -> CachedUrl {
        CachedUrl::of_href(URL, &self.upstreams).unwrap()
    }

    fn step(
        &mut self,
        exchange: &mut Exchange<TestBody>,
        request: &HeaderSection,
        event: Event<TestBody>,
    ) -> Action<TestBody> {
        let mut cx = Context {
            fields: request,
            upstreams: &self.upstreams,
            credentials: &self.credentials,
            memory_ms: self.memory_ms,
            wait_max_ms: 1000,
            memory: &mut self.memory,
            now_ms: self.now_ms,
            random: &mut || 0,
            resolve: &|_, _| None,
        };
        exchange.step(event, &mut cx)
    }

    /// Begins a request, and returns it with the keys that it reads first.
    fn begin(&mut self, request: &HeaderSection) -> (Exchange<TestBody>, Key<'static>, Option<Key<'static>>) {
        let mut exchange = Exchange::new("GET", self.url(), request);
        match self.step(&mut exchange, request, Event::Begin) {
            Action::Read { key, variant } => (exchange, key, variant),
            other => panic!("{other:?}"),
        }
    }
}

fn request(language: &str) -> HeaderSection {
    [("x-language", language)].into_iter().collect()
}

/// A fresh response to a request with this `X-Language`. `vary` is the value of its `Vary`.
fn stored(language: &str, vary: &str, body: TestBody) -> CacheHit<TestBody> {
    let date = http_date::format(NOW_MS);
    let fields = [("cache-control", "max-age=60"), ("vary", vary), ("date", &date)].into_iter().collect();
    let names = match Vary::parse(Some(vary)) {
        Vary::Names(names) => names,
        Vary::Nothing | Vary::Star => Vec::new(),
    };
    let metadata = StoredMetadata {
        selecting_fields: vary::selecting_fields(&names, &request(language)),
        ..StoredMetadata::of_plain_request(200, &fields, ExchangeTimes { requested_ms: NOW_MS, received_ms: NOW_MS })
    };
    CacheHit { stored: Rc::new(StoredResponse::new(metadata, None)), body }
}

fn read(
    found: Result<CacheHit<TestBody>, MissReason>,
    variant: Option<Result<CacheHit<TestBody>, MissReason>>,
) -> Event<TestBody> {
    Event::Read { found, variant, purges: Some(Rc::default()), kv_ms: Some(1) }
}

fn body_of(action: Action<TestBody>) -> TestBody {
    match action {
        Action::Respond(ExchangeResult { source: ResponseSource::Stored { hit, .. }, .. }) => hit.body,
        other => panic!("{other:?}"),
    }
}

fn body_of_upstream(action: Action<TestBody>) -> Option<&'static str> {
    match action {
        Action::Respond(ExchangeResult { source: ResponseSource::Upstream { body, .. }, .. }) => body,
        other => panic!("{other:?}"),
    }
}

const DE: TestBody = TestBody::Bytes("de");
const FR: TestBody = TestBody::Bytes("fr");

#[test]
fn a_variant_is_read_together_with_the_urls_response_once_the_isolate_knows_what_selects_it() {
    let mut isolate = TestIsolate::new();
    let fr = request("fr");
    let (mut exchange, key, prefetched) = isolate.begin(&fr);
    assert_eq!((&key, prefetched), (&isolate.url().key(), None), "nothing is known yet");
    let action = isolate.step(&mut exchange, &fr, read(Ok(stored("de", "X-Language", DE)), None));
    let Action::Read { key: variant, variant: None } = action else { panic!("{action:?}") };
    assert_eq!(body_of(isolate.step(&mut exchange, &fr, read(Ok(stored("fr", "X-Language", FR)), None))), FR);

    let (mut exchange, key, prefetched) = isolate.begin(&fr);
    assert_eq!((key, prefetched), (isolate.url().key(), Some(variant)));
    let together = read(Ok(stored("de", "X-Language", DE)), Some(Ok(stored("fr", "X-Language", FR))));
    assert_eq!(body_of(isolate.step(&mut exchange, &fr, together)), FR);

    let (_, _, prefetched) = isolate.begin(&request("de"));
    assert_eq!(prefetched, None, "the URL's own response is for this request");
}

#[test]
fn a_prefetched_variant_is_used_only_if_it_is_still_what_the_request_selects() {
    let mut isolate = TestIsolate::new();
    let fr = request("fr");
    let stream = || Ok(stored("fr", "X-Language", TestBody::Stream("unused")));
    let learn = |isolate: &mut TestIsolate| {
        let de = request("de");
        let (mut exchange, ..) = isolate.begin(&de);
        isolate.step(&mut exchange, &de, read(Ok(stored("de", "X-Language", DE)), None));
    };
    let is_discarded = |exchange: &mut Exchange<TestBody>| {
        matches!(exchange.take_effects().as_slice(), [Effect::Discard(TestBody::Stream("unused"))])
    };

    learn(&mut isolate);
    let (mut exchange, _, prefetched) = isolate.begin(&fr);
    let action = isolate.step(&mut exchange, &fr, read(Ok(stored("de", "X-Language, X-Other", DE)), Some(stream())));
    let Action::Read { key, variant: None } = action else { panic!("{action:?}") };
    assert_ne!(Some(key), prefetched, "the response is selected by more fields now");
    assert!(is_discarded(&mut exchange));

    learn(&mut isolate);
    let (mut exchange, ..) = isolate.begin(&fr);
    let action = isolate.step(&mut exchange, &fr, read(Ok(stored("", "", DE)), Some(stream())));
    assert_eq!(body_of(action), DE, "there are no variants any more");
    assert!(is_discarded(&mut exchange));
    assert_eq!(isolate.begin(&fr).2, None);

    learn(&mut isolate);
    let (mut exchange, ..) = isolate.begin(&fr);
    let action = isolate.step(&mut exchange, &fr, read(Err(MissReason::Absent), Some(stream())));
    assert!(matches!(action, Action::Send { .. }), "a variant without the URL's response is of an unknown epoch");
    assert!(is_discarded(&mut exchange));
}

impl TestIsolate {
    /// Takes a step of an exchange of the page view, whose requests have no fields here.
    fn step_view(&mut self, view: &mut Exchange<TestBody>, event: Event<TestBody>) -> Action<TestBody> {
        self.step(view, &HeaderSection::default(), event)
    }

    /// Begins a request for the view, and finds this under its key.
    fn look_up_view(
        &mut self,
        found: Result<CacheHit<TestBody>, MissReason>,
    ) -> (Exchange<TestBody>, Action<TestBody>) {
        let mut view = Exchange::of_page_view(self.url());
        let Action::Read { key, variant: None } = self.step_view(&mut view, Event::Begin) else { panic!("{view:?}") };
        assert_eq!(key, self.url().page_key());
        let action = self.step_view(&mut view, read(found, None));
        (view, action)
    }

    /// Receives a page with these fields, made into this JSON.
    fn receive_page(
        &mut self,
        view: &mut Exchange<TestBody>,
        status: u16,
        fields: &[(&'static str, &str)],
        json: &'static str,
    ) -> Action<TestBody> {
        let times = ExchangeTimes { requested_ms: self.now_ms, received_ms: self.now_ms };
        let length = [("content-length", "100000")];
        let states_length = fields.iter().any(|(name, _)| *name == "content-length");
        let fields = fields.iter().copied().chain(length.into_iter().filter(|_| !states_length)).collect();
        let head = UpstreamHead { status, fields, has_date: false, has_body: true, times, is_in_place_of_error: false };
        match self.step_view(view, Event::Received(Ok(head))) {
            Action::ReadBody { .. } => self.step_view(view, Event::Body(Ok(json))),
            other => other,
        }
    }
}

/// A view in KV of a page with this `Cache-Control`. Without one, its record has no metadata.
fn stored_view(control: Option<&str>, age_ms: u64) -> CacheHit<TestBody> {
    let received_ms = NOW_MS - age_ms;
    let metadata = match control {
        Some(control) => StoredMetadata::of_plain_request(
            200,
            &[("cache-control", control), ("etag", "\"a\""), ("vary", "cookie")].into_iter().collect(),
            ExchangeTimes { requested_ms: received_ms, received_ms },
        ),
        None => StoredMetadata::unknown(received_ms),
    };
    let stored = StoredResponse::new(metadata, StoredView::Page.default_lifetime_ms());
    CacheHit { stored: Rc::new(stored), body: TestBody::Bytes("old") }
}

fn status_of(action: &Action<TestBody>) -> String {
    match action {
        Action::Respond(ExchangeResult { cache_status, .. }) => cache_status.to_string(),
        Action::Fail { error, cache_status } => format!("{error:?} {}", cache_status.unwrap()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_page_view_is_served_from_its_own_key_for_a_minute_unless_the_page_says_otherwise() {
    for (control, age_ms, status) in [
        (None, 59_000, "kv-edge; hit; ttl=1"),
        (Some(""), 59_000, "kv-edge; hit; ttl=1"),
        (Some("max-age=300"), 299_000, "kv-edge; hit; ttl=1"),
        (Some("max-age=1, stale-while-revalidate=9"), 5000, "kv-edge; hit; ttl=-4; detail=stale-while-revalidate"),
    ] {
        let (_, action) = TestIsolate::new().look_up_view(Ok(stored_view(control, age_ms)));
        assert_eq!(status_of(&action), status);
        assert_eq!(body_of(action), TestBody::Bytes("old"));
    }
    for (control, age_ms) in [(None, 60_000), (Some("max-age=30"), 30_000), (Some("no-cache"), 0)] {
        let (_, action) = TestIsolate::new().look_up_view(Ok(stored_view(control, age_ms)));
        assert!(matches!(action, Action::Send { .. }), "{control:?}: {action:?}");
    }
}

#[test]
fn a_stale_page_view_is_made_anew_and_not_validated() {
    // The page has a validator of its own, and is validated by its own exchange.
    let mut isolate = TestIsolate::new();
    let (mut view, action) = isolate.look_up_view(Ok(stored_view(Some("max-age=1"), 2000)));
    let Action::Send { edits, .. } = action else { panic!("{action:?}") };
    assert!(edits.set.iter().all(|(name, _)| *name != "if-none-match"), "{edits:?}");
    let action = isolate.receive_page(&mut view, 200, &[("cache-control", "max-age=60"), ("vary", "cookie")], "new");
    assert_eq!(status_of(&action), "kv-edge; fwd=stale; fwd-status=200; stored; ttl=60");
    assert_eq!(body_of(action), TestBody::Bytes("new"), "read whole, although it is long");
    let effects = view.take_effects();
    let [Effect::Put { key, stored, bytes: "new" }] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!((key, stored.metadata.length), (&isolate.url().page_key(), 100_000));
    assert_eq!(stored.metadata.selecting_fields, [], "whatever selects the page");
}

#[test]
fn a_page_without_a_lifetime_is_stored_for_a_minute_and_a_200_or_404_that_may_not_be_stored_removes_the_view() {
    let mut isolate = TestIsolate::new();
    let (mut view, _) = isolate.look_up_view(Err(MissReason::Broken));
    let action = isolate.receive_page(&mut view, 203, &[], "new");
    assert_eq!(status_of(&action), "kv-edge; fwd=miss; fwd-status=203; stored; ttl=60; detail=broken-record");
    for (status, found, removed) in [(200, true, 1), (404, true, 1), (403, true, 0), (404, false, 0)] {
        let found = if found { Ok(stored_view(None, 70_000)) } else { Err(MissReason::Absent) };
        let (mut view, _) = isolate.look_up_view(found);
        let action = isolate.receive_page(&mut view, status, &[("cache-control", "no-store")], "new");
        assert!(status_of(&action).ends_with(&format!("fwd-status={status}")), "{action:?}");
        let effects = view.take_effects();
        let keys: Vec<_> = effects
            .iter()
            .map(|effect| matches!(effect, Effect::Delete(keys) if *keys == [isolate.url().page_key()]))
            .collect();
        assert_eq!(keys, vec![true; removed], "{status}");
    }
}

#[test]
fn a_304_that_nobody_asked_for_does_not_validate_the_view() {
    let mut isolate = TestIsolate::new();
    let (mut view, _) = isolate.look_up_view(Ok(stored_view(None, 70_000)));
    let action = isolate.receive_page(&mut view, 304, &[("cache-control", "no-store")], "new");
    assert_eq!(status_of(&action), "kv-edge; fwd=stale; fwd-status=304");
}

#[test]
fn a_stale_page_view_is_served_in_place_of_an_error_if_the_page_allows_it() {
    let allows = "max-age=1, stale-if-error=9";
    for (control, status) in
        [(allows, "kv-edge; hit; ttl=-1; detail=stale-if-error"), ("max-age=1", "Timeout kv-edge; fwd=stale")]
    {
        let mut isolate = TestIsolate::new();
        let (mut view, _) = isolate.look_up_view(Ok(stored_view(Some(control), 2000)));
        let action = isolate.step_view(&mut view, Event::Received(Err(CacheError::Timeout)));
        assert_eq!(status_of(&action), status);
        assert!(isolate.memory.is_backing_off(isolate.url().page_key().as_str(), NOW_MS));
    }
    let mut isolate = TestIsolate::new();
    let (mut view, _) = isolate.look_up_view(Ok(stored_view(Some(allows), 2000)));
    let action = isolate.receive_page(&mut view, 503, &[("cache-control", "no-store")], "an error's page");
    assert_eq!(body_of(action), TestBody::Bytes("old"));
}

#[test]
fn during_an_outage_a_stale_page_makes_no_new_view() {
    // The page's own exchange served it stale.
    let mut isolate = TestIsolate::new();
    let found = stored_view(Some("max-age=1, stale-if-error=9"), 2000);
    let times = found.stored.metadata.times;
    let (mut view, _) = isolate.look_up_view(Ok(found));
    let fields = [("cache-control", "max-age=1, stale-if-error=9"), ("content-length", "3")].into_iter().collect();
    let head = UpstreamHead { status: 200, fields, has_date: false, has_body: true, times, is_in_place_of_error: true };
    let action = isolate.step_view(&mut view, Event::Received(Ok(head)));
    assert_eq!(status_of(&action), "kv-edge; hit; ttl=-1; detail=stale-if-error");
    assert!(view.take_effects().iter().all(|effect| !matches!(effect, Effect::Put { .. })));
    assert!(isolate.memory.is_backing_off(isolate.url().page_key().as_str(), NOW_MS));
}

#[test]
fn a_page_that_is_fresh_for_longer_than_its_view_is_no_failure() {
    // It states no lifetime: it is fresh by the heuristic, and its view for the default minute.
    let mut isolate = TestIsolate::new();
    let found = stored_view(Some("stale-if-error=900"), 70_000);
    let times = found.stored.metadata.times;
    let (mut view, _) = isolate.look_up_view(Ok(found));
    let fields = [
        ("cache-control", "stale-if-error=900"),
        ("last-modified", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("content-length", "3"),
    ];
    let fields = fields.into_iter().collect();
    let head =
        UpstreamHead { status: 200, fields, has_date: false, has_body: true, times, is_in_place_of_error: false };
    let action = isolate.step_view(&mut view, Event::Received(Ok(head)));
    assert!(!matches!(action, Action::Respond(_) | Action::Fail { .. }), "it is made anew: {action:?}");
    assert!(!isolate.memory.is_backing_off(isolate.url().page_key().as_str(), NOW_MS));
}

/// The head of a view with this `Cache-Control`, whose oldest response was requested so many
/// milliseconds ago.
fn view_head(control: &str, age_ms: u64) -> UpstreamHead {
    let at_ms = NOW_MS - age_ms;
    UpstreamHead {
        status: 200,
        fields: [("cache-control", control), ("content-length", "3")].into_iter().collect(),
        has_date: true,
        has_body: true,
        times: ExchangeTimes { requested_ms: at_ms, received_ms: at_ms },
        is_in_place_of_error: false,
    }
}

#[test]
fn a_page_that_now_redirects_to_an_older_one_is_no_failure() {
    let mut isolate = TestIsolate::new();
    let (mut view, _) = isolate.look_up_view(Ok(stored_view(Some("max-age=1, stale-if-error=9"), 2000)));
    isolate.step_view(&mut view, Event::Received(Ok(view_head("no-store", 50_000))));
    let action = isolate.step_view(&mut view, Event::Body(Ok("new")));
    assert_eq!(status_of(&action), "kv-edge; fwd=stale; fwd-status=200");
    assert_eq!(body_of_upstream(action), Some("new"));
}

#[test]
fn a_view_that_is_not_stored_leaves_the_invalidations_of_other_keys() {
    // Its page has been stored for longer than an invalidation is remembered.
    let mut isolate = TestIsolate::new();
    isolate.memory.invalidate("other", NOW_MS - 1000);
    let (mut view, _) = isolate.look_up_view(Ok(stored_view(Some("max-age=1"), 2000)));
    isolate.step_view(&mut view, Event::Received(Ok(view_head("no-store", 300_000))));
    isolate.step_view(&mut view, Event::Body(Ok("new")));
    assert!(isolate.memory.is_invalidated("other", NOW_MS - 1000));
    assert!(isolate.memory.is_invalidated(isolate.url().page_key().as_str(), NOW_MS - 2000));
}

#[test]
fn cache_status_says_for_how_long_a_view_of_an_older_page_stays_fresh() {
    let mut isolate = TestIsolate::new();
    let (mut view, _) = isolate.look_up_view(Err(MissReason::Absent));
    isolate.step_view(&mut view, Event::Received(Ok(view_head("max-age=105", 100_000))));
    let action = isolate.step_view(&mut view, Event::Body(Ok("new")));
    assert_eq!(status_of(&action), "kv-edge; fwd=uri-miss; fwd-status=200; stored; ttl=5");
}

#[test]
fn after_a_hard_purge_of_a_view_the_upstream_is_asked_for_each_of_its_responses() {
    // Otherwise a redirect that was stored before the purge makes the new view count as purged.
    let none = HeaderSection::default();
    for (mode, asks_upstream) in [(None, false), (Some(PurgeMode::Hard), true)] {
        let mut isolate = TestIsolate::new();
        let mut purges = PurgeList::default();
        if let Some(mode) = mode {
            purges.add(Purge { target: PurgeTarget::Url(URL.to_owned()), mode, at_ms: NOW_MS });
        }
        let purges = Rc::new(purges);
        // The purge of a URL deletes the view.
        for found in [Ok(stored_view(Some("max-age=1"), 2000)), Err(MissReason::Absent)] {
            let is_deleted = found.is_err();
            let mut view = Exchange::of_page_view(isolate.url());
            isolate.step_view(&mut view, Event::Begin);
            let purges = Some(Rc::clone(&purges));
            isolate.step_view(&mut view, Event::Read { found, variant: None, purges, kv_ms: Some(1) });
            let target = CachedUrl::of_href("https://a.example/target", &isolate.upstreams).unwrap();
            // A response from after the purge is used, unless the purge covers the stored view.
            for (requested_ms, asks_upstream) in [(NOW_MS, asks_upstream), (NOW_MS + 1, asks_upstream && !is_deleted)] {
                let mut page = view.page(target.clone());
                isolate.step(&mut page, &none, Event::Begin);
                let mut hit = stored("", "", TestBody::Bytes("page"));
                Rc::get_mut(&mut hit.stored).unwrap().metadata.times.requested_ms = requested_ms;
                let action = isolate.step(&mut page, &none, read(Ok(hit), None));
                assert_eq!(matches!(action, Action::Send { .. }), asks_upstream, "{mode:?}: {action:?}");
            }
        }
    }
}

#[test]
fn a_refresh_asks_for_everybody_and_has_failed_if_its_response_is_not_stored() {
    for (status, control, begins_another) in [(200, "max-age=60", true), (401, "", false), (429, "", false)] {
        let mut isolate = TestIsolate::new();
        let client = HeaderSection::from(&[("authorization", "a"), ("cache-control", "only-if-cached")]);
        let key = isolate.url().key();
        assert!(isolate.memory.try_begin_refresh(key.as_str(), NOW_MS));
        let none = HeaderSection::default();
        let mut refresh = isolate.begin(&client).0.refresh(key.clone(), &none);
        isolate.step(&mut refresh, &none, Event::Begin);
        let action = isolate.step(&mut refresh, &none, read(Ok(stored("", "", TestBody::Bytes("old"))), None));
        let Action::Send { edits, .. } = action else { panic!("{action:?}") };
        assert!(NOT_OF_REFRESH.iter().all(|name| edits.remove.iter().any(|removed| removed == name)), "{edits:?}");
        let times = ExchangeTimes { requested_ms: NOW_MS, received_ms: NOW_MS };
        let fields = HeaderSection::from(&[("cache-control", control)]);
        let head = UpstreamHead { status, fields, has_date: false, has_body: true, times, is_in_place_of_error: false };
        let action = isolate.step(&mut refresh, &none, Event::Received(Ok(head)));
        assert!(matches!(action, Action::Respond(_)), "{action:?}");
        assert_eq!(isolate.memory.try_begin_refresh(key.as_str(), NOW_MS + 999), begins_another, "{status}");
    }
}

#[test]
fn a_body_is_stored_if_kv_has_room_for_it_and_for_its_head() {
    let longest = VALUE_BYTES_MAX.to_string();
    let long = "x".repeat(3000);
    for (value, is_stored) in [("", true), (long.as_str(), false)] {
        let mut isolate = TestIsolate::new();
        let none = HeaderSection::default();
        let (mut exchange, ..) = isolate.begin(&none);
        isolate.step(&mut exchange, &none, read(Err(MissReason::Absent), None));
        let times = ExchangeTimes { requested_ms: NOW_MS, received_ms: NOW_MS };
        let fields = HeaderSection::from(&[
            ("cache-control", "max-age=60"),
            ("content-length", longest.as_str()),
            ("x-a", value),
        ]);
        let head =
            UpstreamHead { status: 200, fields, has_date: false, has_body: true, times, is_in_place_of_error: false };
        let status = status_of(&isolate.step(&mut exchange, &none, Event::Received(Ok(head))));
        assert_eq!(
            (status.contains("stored"), status.contains("detail=too-large")),
            (is_stored, !is_stored),
            "{status}"
        );
    }
}

#[test]
fn a_refresh_of_a_page_view_asks_the_upstream_for_the_page_and_a_miss_asks_the_cache() {
    let mut isolate = TestIsolate::new();
    let (mut view, action) = isolate.look_up_view(Ok(stored_view(Some("max-age=1, stale-while-revalidate=9"), 2000)));
    assert_eq!(body_of(action), TestBody::Bytes("old"));
    let effects = view.take_effects();
    let [Effect::Refresh(key)] = effects.as_slice() else { panic!("{effects:?}") };
    let none = HeaderSection::default();
    let fresh = || stored("", "", TestBody::Bytes("page"));
    for (mut view, asks_upstream) in
        [(view.refresh(key.clone(), &none), true), (Exchange::of_page_view(isolate.url()), false)]
    {
        isolate.step_view(&mut view, Event::Begin);
        isolate.step_view(&mut view, read(Err(MissReason::Absent), None));
        let mut page = view.page(isolate.url());
        let Action::Read { key, .. } = isolate.step(&mut page, &none, Event::Begin) else { panic!("{page:?}") };
        assert_eq!(key, isolate.url().key());
        let action = isolate.step(&mut page, &none, read(Ok(fresh()), None));
        assert_eq!(matches!(action, Action::Send { .. }), asks_upstream, "{action:?}");
    }
}

#[test]
fn of_parallel_misses_of_a_page_view_one_makes_it_and_the_others_find_it_in_memory_if_it_may_be_stored() {
    let mut isolate = TestIsolate { memory_ms: 10_000, ..TestIsolate::new() };
    let none = HeaderSection::default();
    let (mut first, _) = isolate.look_up_view(Err(MissReason::Absent));
    let mut page = first.page(isolate.url());
    isolate.step(&mut page, &none, Event::Begin);
    assert!(matches!(isolate.step(&mut page, &none, read(Err(MissReason::Absent), None)), Action::Send { .. }));
    let (mut second, action) = isolate.look_up_view(Err(MissReason::Absent));
    assert!(matches!(action, Action::Wait { .. }), "{action:?}");

    let action = isolate.receive_page(&mut first, 200, &[("cache-control", "no-store")], "new");
    assert_eq!(body_of_upstream(action), Some("new"));
    let action = isolate.step_view(&mut second, Event::Waited);
    assert!(matches!(action, Action::Send { .. }), "the page may not be shared: {action:?}");
    let mut page_of_second = second.page(isolate.url());
    isolate.step(&mut page_of_second, &none, Event::Begin);
    let action = isolate.step(&mut page_of_second, &none, read(Err(MissReason::Absent), None));
    assert!(matches!(action, Action::Send { .. }), "it has waited once, which is enough: {action:?}");

    let (mut third, action) = isolate.look_up_view(Err(MissReason::Absent));
    assert!(matches!(action, Action::Send { .. }), "{action:?}");
    let (mut fourth, action) = isolate.look_up_view(Err(MissReason::Absent));
    assert!(matches!(action, Action::Wait { .. }), "{action:?}");
    isolate.receive_page(&mut third, 200, &[("content-length", "9")], "shared");
    let Action::Read { .. } = isolate.step_view(&mut fourth, Event::Waited) else { panic!("{fourth:?}") };
    let entry = isolate.memory.get(isolate.url().page_key().as_str(), 10_000, NOW_MS).unwrap();
    assert_eq!(entry.body, "shared");
}
