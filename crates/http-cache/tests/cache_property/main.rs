//! Random requests and responses through a small cache: the decisions of the real one around a
//! map and a virtual clock.
//!
//! Whatever the requests, no visitor receives what is not meant for them. Above all: for any
//! sequence of requests by several visitors, with any directives and any responses of the
//! upstream, nobody receives what was made for another visitor's credentials, unless it was
//! explicitly fresh for shared caches.

#![allow(clippy::expect_used, clippy::indexing_slicing)] // All of it is a test.

mod input;
mod properties;

use std::collections::BTreeMap;

use http_cache::cache_status::ForwardReason;
use http_cache::client_response::with_date;
use http_cache::credentials::CredentialFields;
use http_cache::decision::{CacheRequest, Decision, SelectedResponse, decide};
use http_cache::freshness::ExchangeTimes;
use http_cache::stale;
use http_cache::storable::{Storable, StorageCandidate};
use http_cache::stored_response::{StorageKey, StoredMetadata, StoredResponse};
use http_cache::validation::{HeadRequestEffect, conditions, freshened, head_request_effect, is_selected_for_update};
use http_cache::vary::{self, SelectingFields, Vary};
use http_semantics::fields::{Fields, HeaderSection};
use proptest::prelude::*;

use input::{RequestStep, steps};
use properties::{
    Contribution, ReuseResult, ServedAs, UpstreamBody, credentials_of, has, is_fresh_for_all, must_not_be_stored,
    stores_cookies, who,
};

/// Cookies, API keys, and a field that a site configured.
fn credentials() -> CredentialFields {
    CredentialFields::parse("X-Session")
}

fn candidate<'a>(
    step: &'a RequestStep,
    credentials: &'a CredentialFields,
    status: u16,
    response: &'a HeaderSection,
    times: ExchangeTimes,
) -> StorageCandidate<'a, HeaderSection, HeaderSection> {
    let RequestStep { method, url, request, .. } = step;
    StorageCandidate { method, url, request, credentials, status, response, times, default_lifetime_ms: None }
}

type VariantKey = (&'static str, SelectingFields);
type Hit = (VariantKey, StoredResponse, usize);

#[derive(Default)]
struct SimulatedCache {
    now_ms: u64,
    stored: BTreeMap<VariantKey, (StoredResponse, usize)>,
    bodies: Vec<UpstreamBody>,
    /// The newest body that was stored for a request with these fields.
    newest: BTreeMap<(&'static str, String), usize>,
    hits: usize,
}

impl SimulatedCache {
    /// Handles one request as the Worker does, but without purges and without a cache in memory.
    fn take_step(&mut self, step: &RequestStep) -> ReuseResult {
        self.now_ms += step.wait_ms;
        let cache_request = CacheRequest::of(step.method, &step.request);
        let (hit, primary) = if cache_request.permits_lookup() { self.lookup(step) } else { (None, None) };
        let selected = hit.as_ref().map(|(_, stored, _)| SelectedResponse {
            stored,
            is_backing_off: step.is_backing_off,
            is_soft_purged: false,
        });
        let random = || if step.is_drawn { 0 } else { (1 << 53) - 1 };
        match decide(&cache_request, selected, ForwardReason::UriMiss, self.now_ms, random) {
            Decision::Serve { refresh, .. } => {
                let (key, stored, body) = hit.expect("something is selected");
                self.check_reuse(step, &stored, body, ServedAs::FromStore)?;
                let again = RequestStep { method: "GET", ..step.clone() };
                let validators = conditions(&stored.metadata.fields);
                if refresh {
                    self.forward(&again, Some((key, stored, body)), primary.as_ref(), &validators)
                } else {
                    Ok(())
                }
            }
            Decision::Forward { conditions, .. } => {
                prop_assert!(
                    !has(&step.request, "only-if-cached") || step.method == "POST" || !cache_request.permits_lookup()
                );
                self.forward(step, hit, primary.as_ref(), &conditions)
            }
            Decision::NotCached => Ok(()),
        }
    }

    fn lookup(&self, step: &RequestStep) -> (Option<Hit>, Option<StoredResponse>) {
        let key = (step.url, SelectingFields::new());
        let Some((primary, body)) = self.stored.get(&key) else { return (None, None) };
        if vary::matches(&primary.metadata.selecting_fields, &primary.metadata.fields, &step.request) {
            return (Some((key, primary.clone(), *body)), Some(primary.clone()));
        }
        let names: Vec<String> = primary.metadata.selecting_fields.iter().map(|(name, _)| name.clone()).collect();
        let key = (step.url, vary::selecting_fields(&names, &step.request));
        let variant = self.stored.get(&key).filter(|(variant, _)| {
            variant.metadata.epoch_ms == primary.metadata.epoch_ms && variant.metadata.selecting_fields == key.1
        });
        (variant.map(|(variant, body)| (key.clone(), variant.clone(), *body)), Some(primary.clone()))
    }

    fn forward(
        &mut self,
        step: &RequestStep,
        hit: Option<Hit>,
        primary: Option<&StoredResponse>,
        conditions: &[(&'static str, String)],
    ) -> ReuseResult {
        let requested_ms = self.now_ms;
        self.now_ms += step.takes_ms;
        let times = ExchangeTimes { requested_ms, received_ms: self.now_ms };
        let request = CacheRequest::of(step.method, &step.request).directives;
        let status = step.status.filter(|status| !stale::is_error(*status));
        if let (None, Some((_, stored, body))) = (status, &hit)
            && stale::may_serve_on_error(stored, &request, stored.stale_ms(self.now_ms))
        {
            return self.check_reuse(step, stored, *body, ServedAs::InPlaceOfError);
        }
        let Some(status) = step.status else { return Ok(()) };
        let fields = with_date(step.response.clone(), self.now_ms);
        if let Some((key, stored, body)) = hit.clone()
            && (step.validates && step.method == "GET" && !conditions.is_empty())
            && is_selected_for_update(&stored.metadata.fields, &fields)
        {
            self.check_reuse(step, &stored, body, ServedAs::Validated)?;
            self.renew(step, &key, &stored, body, &freshened(&stored.metadata.fields, &fields), times);
            return Ok(());
        }
        self.effects(step, hit.as_ref(), status, &fields, times);
        match candidate(step, &credentials(), status, &fields, times).storable() {
            Storable::Yes => self.store(step, primary, hit.as_ref(), status, fields, times),
            Storable::No(_) => {}
            Storable::Invalidate(_) => {
                if let Some((key, ..)) = hit {
                    self.stored.remove(&key);
                }
            }
        }
        Ok(())
    }

    /// What a write and a HEAD do to the stored response.
    fn effects(
        &mut self,
        step: &RequestStep,
        hit: Option<&Hit>,
        status: u16,
        fields: &HeaderSection,
        times: ExchangeTimes,
    ) {
        if step.method == "POST" && status < 400 {
            self.stored.remove(&(step.url, SelectingFields::new()));
        }
        if let (Some((key, stored, body)), "HEAD", 200) = (hit, step.method, status) {
            match head_request_effect(&stored.metadata.fields, stored.metadata.length, status, fields) {
                HeadRequestEffect::Update(fields) if stored.metadata.status == 200 => {
                    self.renew(step, &key.clone(), stored, *body, &fields, times);
                }
                _ => drop(self.stored.remove(key)),
            }
        }
    }

    fn store(
        &mut self,
        step: &RequestStep,
        primary: Option<&StoredResponse>,
        hit: Option<&Hit>,
        status: u16,
        fields: HeaderSection,
        times: ExchangeTimes,
    ) {
        let selecting_fields = match Vary::parse(fields.get("vary").as_deref()) {
            Vary::Names(names) => vary::selecting_fields(&names, &step.request),
            Vary::Nothing | Vary::Star => SelectingFields::new(),
        };
        let hit = hit.map(|(key, stored, _)| (stored, !key.1.is_empty()));
        let storage_key = StorageKey::choose(primary, hit, &selecting_fields, times.received_ms);
        let key = if matches!(storage_key, StorageKey::Url { .. }) {
            SelectingFields::new()
        } else {
            selecting_fields.clone()
        };
        let metadata = StoredMetadata {
            length: 4,
            selecting_fields,
            epoch_ms: storage_key.epoch_ms(),
            ..StoredMetadata::from_response(&step.request, &credentials(), status, &fields, times, None)
        };
        self.newest.insert((step.url, who(&step.request)), self.bodies.len());
        self.stored.insert((step.url, key), (StoredResponse::new(metadata, None), self.bodies.len()));
        let (must_not_be_stored, requests) =
            (must_not_be_stored(status, &step.request, &fields), vec![step.request.clone()]);
        let contributions = vec![contribution(step, &fields)];
        let stores_cookies = stores_cookies(&step.request, &fields);
        let url = step.url;
        self.bodies.push(UpstreamBody {
            url,
            status,
            fields,
            times,
            requests,
            must_not_be_stored,
            contributions,
            stores_cookies,
        });
    }

    fn renew(
        &mut self,
        step: &RequestStep,
        key: &VariantKey,
        stored: &StoredResponse,
        body: usize,
        fields: &HeaderSection,
        times: ExchangeTimes,
    ) {
        let metadata = stored.metadata.updated(&step.request, fields, times);
        let new_key = if metadata.epoch_ms == stored.metadata.epoch_ms {
            key.clone()
        } else {
            (step.url, SelectingFields::new())
        };
        let update = &with_date(step.response.clone(), times.received_ms);
        let credentials = credentials();
        let updated = candidate(step, &credentials, metadata.status, &metadata.fields, times);
        match (StorageCandidate { method: "GET", ..updated }).storable_update(update) {
            Storable::Yes => {}
            // The stored response stays as it is.
            Storable::No(_) => return,
            Storable::Invalidate(_) => return drop(self.stored.remove(key)),
        }
        let body_record = &mut self.bodies[body];
        let response = with_date(step.response.clone(), times.received_ms);
        let is_old = |name: &str| !response.has(name) && !matches!(name, "age" | "date");
        let tag = body_record.fields.get("etag").unwrap_or_default();
        let updated: HeaderSection =
            body_record.fields.iter().filter(|(name, _)| is_old(name)).chain(response.iter()).collect();
        body_record.fields = updated
            .iter()
            .map(|(name, value)| (name, if name == "etag" && !tag.is_empty() { &tag } else { value }))
            .collect();
        body_record.times = times;
        body_record.requests.push(step.request.clone());
        body_record.must_not_be_stored |= must_not_be_stored(body_record.status, &step.request, &body_record.fields);
        // What counts is what this visitor was told, not what is inherited from a response to
        // another.
        body_record.contributions.push(contribution(step, &response));
        // A cookie of a validation is not stored, and removes the stored one.
        body_record.stores_cookies &=
            !response.has("set-cookie") && stores_cookies(&HeaderSection::default(), &body_record.fields);
        self.stored.insert(new_key, (StoredResponse::new(metadata, None), body));
    }
}

/// Returns the contribution of this step's visitor to a response with these fields.
fn contribution(step: &RequestStep, fields: &HeaderSection) -> Contribution {
    let credentials = credentials_of(&step.request);
    Contribution { credentials, was_fresh_for_all: is_fresh_for_all(fields) }
}

fn run(steps: &[RequestStep]) -> Result<usize, TestCaseError> {
    let mut world = SimulatedCache { now_ms: 784_111_777_000, ..SimulatedCache::default() };
    steps.iter().try_for_each(|step| world.take_step(step))?;
    Ok(world.hits)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nobody_receives_what_is_not_meant_for_them(steps in prop::collection::vec(steps(), 1..40)) {
        run(&steps)?;
    }
}

/// A GET with this `Cookie`, so long after the one before, and a response with these fields.
fn get(wait_ms: u64, cookie: &str, control: &str, response: &[(&str, &str)]) -> RequestStep {
    let request = [("cookie", cookie), ("cache-control", control)].into_iter().filter(|(_, value)| !value.is_empty());
    RequestStep {
        wait_ms,
        url: "https://a.example/",
        method: "GET",
        request: request.collect(),
        is_backing_off: false,
        is_drawn: false,
        takes_ms: 0,
        status: Some(200),
        response: response.iter().copied().collect(),
        validates: true,
    }
}

const VARY: (&str, &str) = ("vary", "cookie");
const FRESH: (&str, &str) = ("cache-control", "max-age=20");

#[test]
fn variants_of_one_url_are_stored_side_by_side() {
    let steps =
        [get(0, "a", "", &[FRESH, VARY]), get(1, "b", "", &[FRESH, VARY]), get(1, "a", "", &[]), get(1, "b", "", &[])];
    assert_eq!(run(&steps).unwrap(), 2);
}

#[test]
fn a_malformed_vary_is_not_reused() {
    // RFC 9110 §12.5.5: Vary = #( "*" / field-name ). Anything else cannot be compared.
    run(&[get(0, "a", "", &[FRESH, ("vary", "cookie accept")]), get(1, "b", "", &[])]).unwrap();
    run(&[get(0, "a", "", &[FRESH, ("vary", "x y")]), get(1, "b", "", &[])]).unwrap();
}

#[test]
fn a_304_can_make_a_response_vary() {
    // RFC 9111 §3.2: a 304 updates the stored fields, Vary among them; §4.1: a cache "MUST NOT
    // use that stored response … unless all the presented request header fields nominated by
    // that Vary field value match".
    let (tag, validated) = (("etag", "\"a\""), [FRESH, VARY]);
    run(&[get(0, "", "", &[tag]), get(1, "a", "", &validated), get(1, "b", "", &[FRESH])]).unwrap();
}

#[test]
fn a_newer_variant_is_not_followed_by_an_older_one() {
    // RFC 9111 §4: "When more than one suitable response is stored, a cache MUST use the most
    // recent one". The second response for b replaces the stale one for a, and is replaced by it
    // in turn; the first one for b is older.
    let short = ("cache-control", "max-age=2");
    let of_b = [get(1, "b", "", &[FRESH, VARY]), get(2000, "b", "no-cache", &[short, VARY])];
    let of_a = [get(0, "a", "", &[short, VARY]), get(2000, "a", "", &[short, VARY])];
    let [[b1, b2], [a1, a2]] = [of_b, of_a];
    run(&[a1, b1, b2, a2, get(1, "b", "", &[FRESH, VARY])]).unwrap();
}
