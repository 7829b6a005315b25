use super::*;
use crate::vary::Vary;
use http_semantics::http_date;

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

/// An isolate that does not keep responses in memory, and the requests to it.
struct TestIsolate {
    memory: MemoryCache<&'static str>,
    upstreams: OriginAllowList,
    credentials: CredentialFields,
}

impl TestIsolate {
    fn new() -> Self {
        let memory = MemoryCache::new(1 << 16, 1 << 16, 1 << 16);
        let upstreams = OriginAllowList::parse("https://a.example", &[]);
        Self { memory, upstreams, credentials: CredentialFields::default() }
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
            memory_ms: 0,
            wait_max_ms: 1000,
            memory: &mut self.memory,
            now_ms: NOW_MS,
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

/// A fresh response to a request in this language, selected by these fields.
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
