//! One request to the cache: performs what [`http_cache::exchange`] decides. A view is the
//! documented JSON of a page, which is stored under a key of its own.

use std::rc::Rc;

use circuit_breaker::{Admission, Circuits, Outcome, RequestKey, client_address};
use futures_util::future::{OptionFuture, join3};
use http_cache::cache_status::CacheStatus;
use http_cache::cached_url::CachedUrl;
use http_cache::client_response::{is_null_body, with_date};
use http_cache::error::CacheError;
use http_cache::exchange::{
    Action, CacheHit, Context, Effect, Event, Exchange, ExchangeResult, ResponseSource, StoredView, UpstreamHead,
};
use http_cache::freshness::ExchangeTimes;
use http_cache::page_view::{self, PageText, PageView, Redirects};
use http_cache::upstream_request::NOT_OF_REFRESH;
use http_semantics::fields::{Fields, HeaderEdits};
use kv_store::limits::Key;
use kv_store::retry::Time;
use wasm_bindgen::prelude::*;
use worker::web_sys::{ReadableStream, Response};

use super::page_body;
use super::response_store::{self, memory};
use crate::http::error::RequestError;
use crate::http::forwarding::{self, MessageFields, ResponseHead, UpstreamRequest};
use crate::http::request_context::RequestContext;
use crate::http::stream;
use crate::http::url::href;
use crate::isolate::Isolate;
use crate::kv::envelope::EnvelopeBody;
use crate::kv::purges;
use crate::platform::clock::Clock;
use crate::platform::js_error::message_of;

/// Runs the exchanges of one request to the cache.
#[derive(Clone)]
pub(super) struct ExchangeRunner {
    pub(super) context: Rc<RequestContext>,
    /// The names of the client's header fields; empty for a page, which is the same for everybody.
    pub(super) names: String,
}

/// The response of an exchange.
pub(super) struct CacheResponse {
    pub(super) result: ExchangeResult<EnvelopeBody>,
    /// The upstream's response and its body if that is passed on: a stream, an `ArrayBuffer`, or
    /// `null`.
    pub(super) passed_on: Option<(Response, JsValue)>,
    /// The page of a view if it was fetched.
    pub(super) page: Option<FetchedPage>,
}

/// Why there is no response.
pub(super) struct ExchangeFailure {
    pub(super) error: CacheError,
    /// What the client gets.
    pub(super) response: RequestError,
}

/// A page that was fetched just now.
pub(super) struct FetchedPage {
    /// The record of its view.
    pub(super) json: String,
    /// The body to store: the documented JSON of a page that comes from the cache.
    body: js_sys::ArrayBuffer,
    pub(super) cache_status: CacheStatus,
}

/// What an exchange has fetched.
#[derive(Default)]
pub(super) struct FetchedResponses {
    /// The upstream's response.
    response: Option<Response>,
    /// The page of a view.
    pub(super) page: Option<FetchedPage>,
    /// The URL to which the page redirects.
    pub(super) page_url: Option<CachedUrl>,
}

impl ExchangeRunner {
    /// Runs exchanges with the client's header fields.
    pub(super) fn new(context: &Rc<RequestContext>) -> Self {
        let names = MessageFields::of_request(context.request()).names().to_owned();
        Self { context: Rc::clone(context), names }
    }

    /// Returns the header fields of the requests.
    pub(super) fn fields(&self) -> MessageFields<'_> {
        MessageFields::with_names(self.context.request(), &self.names)
    }

    /// Responds with a stored response if one may be used, or else with the upstream's.
    pub(super) async fn run(&self, mut exchange: Exchange<EnvelopeBody>) -> Result<CacheResponse, ExchangeFailure> {
        let view = exchange.view();
        let mut received = FetchedResponses::default();
        let (mut event, mut now_ms) = (Event::Begin, Clock.now_ms());
        loop {
            let action = self.step(&mut exchange, event, now_ms);
            for effect in exchange.take_effects() {
                self.perform(effect, &exchange, &received);
            }
            event = match action {
                Action::Read { key, variant } => {
                    let read = response_store::get(&self.context, &key, view, now_ms);
                    let variant = variant.as_ref().map(|key| response_store::get(&self.context, key, view, now_ms));
                    let purges = purges::known(&self.context, now_ms);
                    let ((found, kv_ms), variant, purges) = join3(read, OptionFuture::from(variant), purges).await;
                    let (variant, variant_kv_ms) = variant.unzip();
                    let kv_ms = kv_ms.max(variant_kv_ms.flatten());
                    if kv_ms.is_some() {
                        now_ms = Clock.now_ms();
                    }
                    Event::Read { found, variant, purges: purges.ok(), kv_ms }
                }
                Action::Wait { milliseconds } => {
                    Clock.sleep(milliseconds).await;
                    now_ms = Clock.now_ms();
                    Event::Waited
                }
                Action::Send { edits, has_stale } => {
                    let head = match view {
                        StoredView::Response => self.send(&exchange, &edits, has_stale, &mut received).await,
                        StoredView::Page => Box::pin(self.fetch_page(&exchange, &mut received)).await,
                    };
                    now_ms = Clock.now_ms();
                    Event::Received(head)
                }
                Action::ReadBody { length } => {
                    let body = self.read_body(&received, length).await;
                    now_ms = Clock.now_ms();
                    Event::Body(body)
                }
                Action::Respond(result) => return Ok(self.respond_with(result, received)),
                Action::Fail { error, cache_status } => {
                    let mut response = RequestError::from(error.clone());
                    if let Some(cache_status) = cache_status {
                        let upstream = self.upstream_name(&exchange, &received);
                        response = response.at(&upstream).with_field("Cache-Status", cache_status.to_string());
                    }
                    return Err(ExchangeFailure { error, response });
                }
            };
        }
    }

    fn step(
        &self,
        exchange: &mut Exchange<EnvelopeBody>,
        event: Event<EnvelopeBody>,
        now_ms: u64,
    ) -> Action<EnvelopeBody> {
        let (fields, vars) = (&self.fields(), self.context.vars());
        memory(|memory| {
            let mut cx = Context {
                fields,
                upstreams: &vars.cache_upstreams,
                credentials: &vars.cache_credentials,
                memory_ms: vars.cache_refresh_ms,
                wait_max_ms: u64::try_from(vars.upstream_timeout.of_request(false).as_millis()).unwrap_or(u64::MAX),
                memory,
                now_ms,
                random: &mut || Clock.random_bits(),
                resolve: &|reference, base| href(reference, Some(base)),
            };
            exchange.step(event, &mut cx)
        })
    }

    #[expect(clippy::panic, reason = "a response that is not stored, as it was decided, would stay out of date")]
    fn perform(&self, effect: Effect<EnvelopeBody>, exchange: &Exchange<EnvelopeBody>, received: &FetchedResponses) {
        match effect {
            Effect::Put { key, stored, bytes } => {
                let record = response_store::record_of(bytes, exchange.view());
                response_store::put_later(&self.context, key, stored, record);
            }
            Effect::PutStream(store, EnvelopeBody::Stream(stream)) => {
                response_store::store_stream(&self.context, store, stream);
            }
            Effect::PutStream(_, EnvelopeBody::Bytes(_)) => panic!("bytes in memory are stored by `Put`"),
            Effect::Delete(keys) => response_store::delete_later(&self.context, keys),
            Effect::Refresh(key) => self.refresh(key, exchange),
            Effect::Discard(body) => response_store::discard(&body),
            Effect::DiscardUpstream => received.response.iter().for_each(forwarding::discard),
            Effect::Warn(code, error) => {
                let failure = RequestError::from(error).at(&self.upstream_name(exchange, received));
                self.context.log().warning(code, &failure.cause());
            }
        }
    }

    /// Refreshes the stored response in the background.
    fn refresh(&self, key: Key<'static>, exchange: &Exchange<EnvelopeBody>) {
        let mut runner = self.clone();
        let names = runner.names.split(',').filter(|name| !NOT_OF_REFRESH.contains(name));
        runner.names = names.collect::<Vec<_>>().join(",");
        let refresh = exchange.refresh(key, &runner.fields());
        self.context.wait_until(async move {
            match runner.run(refresh).await {
                Ok(response) => response.discard(),
                Err(failure) => runner.context.log().warning("refresh_failed", &failure.response.cause()),
            }
        });
    }

    /// Sends the request to the upstream, unless its circuit is open. `has_stale` is true if a
    /// stale response may be served instead.
    async fn send(
        &self,
        exchange: &Exchange<EnvelopeBody>,
        edits: &HeaderEdits<'_>,
        has_stale: bool,
        received: &mut FetchedResponses,
    ) -> Result<UpstreamHead, CacheError> {
        let requested_ms = Clock.now_ms();
        let (method, url) = (exchange.method(), exchange.url());
        let origin = url.origin().as_str();
        let request = || {
            let client = client_address(self.context.header("cf-connecting-ip").as_deref());
            RequestKey::new(method, url.as_str(), client)
        };
        let admission = circuits(|circuits| circuits.admit(origin, request, has_stale, requested_ms));
        if let Admission::Open { retry_after_ms } = admission {
            return Err(CacheError::CircuitOpen { retry_after_seconds: retry_after_ms.div_ceil(1000) });
        }
        let body = if exchange.is_get_or_head() { JsValue::UNDEFINED } else { self.context.body() };
        let has_body = !body.is_null() && !body.is_undefined();
        let timeout = self.context.vars().upstream_timeout.of_request(has_body);
        let forwarded = (!self.names.is_empty()).then(|| self.context.request());
        let context = &self.context;
        let sent = UpstreamRequest { context, request: forwarded, method, body: &body, edits };
        let response = sent.send_encoded(url.as_str(), timeout).await;
        let received_ms = Clock.now_ms();
        // An upstream that does not respond costs every client the deadline; one that refuses
        // does so at once. With a request body, the client's upload may be what takes long.
        let ended = match &response {
            Ok(Some(_)) => Some(Outcome::Success),
            Ok(None) => (!has_body).then_some(Outcome::NoResponse),
            Err(_) => (admission == Admission::Probe && !has_body).then_some(Outcome::NoResponse),
        };
        let opened =
            ended.and_then(|ended| circuits(|circuits| circuits.record_outcome(origin, request, ended, received_ms)));
        if let Some(opened) = opened {
            self.context.log().warning("circuit_opened", &format!("{}: {opened}", self.name_of(url)));
        }
        let response = response
            .map_err(|thrown| CacheError::Upstream(message_of(&thrown)))
            .and_then(|response| response.ok_or(CacheError::Timeout))?;
        let ResponseHead { status, has_body, fields } = ResponseHead::of(&response);
        let head = UpstreamHead {
            status,
            has_date: fields.has("date"),
            has_body,
            fields: with_date(fields, received_ms),
            times: ExchangeTimes { requested_ms, received_ms },
            is_in_place_of_error: false,
        };
        received.response = Some(response);
        Ok(head)
    }

    /// Reads a short body to its end. Fails if it breaks off or does not have the declared
    /// length.
    async fn read_body(&self, received: &FetchedResponses, length: u64) -> Result<js_sys::ArrayBuffer, CacheError> {
        if let Some(page) = &received.page {
            return Ok(page.body.clone());
        }
        let response =
            received.response.as_ref().ok_or_else(|| CacheError::Upstream("no response to read".to_owned()))?;
        let timeout = self.context.vars().upstream_timeout.of_request(false);
        let body = forwarding::read_body(response, self.context.deadlines(), timeout).await;
        let body = body.map_err(|thrown| CacheError::Upstream(message_of(&thrown)))?.ok_or(CacheError::Timeout)?;
        if u64::from(body.byte_length()) == length {
            Ok(body)
        } else {
            Err(CacheError::Upstream("its body does not have the declared length".to_owned()))
        }
    }

    /// Fetches the page of a view through the cache, and makes it into JSON. Follows redirects to
    /// origins in `CACHE_UPSTREAMS`.
    async fn fetch_page(
        &self,
        view: &Exchange<EnvelopeBody>,
        received: &mut FetchedResponses,
    ) -> Result<UpstreamHead, CacheError> {
        let (mut url, mut redirects) = (view.url().clone(), Redirects::default());
        loop {
            let response = self.run(view.page(url.clone())).await.map_err(|failure| failure.error)?;
            let resolve = |reference: &str, base: &str| href(reference, Some(base));
            let upstreams = &self.context.vars().cache_upstreams;
            let next = redirects.follow(&url, &response.result, upstreams, resolve, Clock.now_ms());
            let Some(next) = next.transpose() else {
                let (page, head) = self.read_page(redirects, &url, response).await?;
                received.page = Some(page);
                return Ok(head);
            };
            response.discard();
            url = next?;
            received.page_url = Some(url.clone());
        }
    }

    /// Reads title and text of a page.
    async fn read_page(
        &self,
        redirects: Redirects,
        url: &CachedUrl,
        CacheResponse { result, passed_on, .. }: CacheResponse,
    ) -> Result<(FetchedPage, UpstreamHead), CacheError> {
        let (status, fields, times) = result.source.head();
        let body = match &result.source {
            _ if is_null_body(status) => JsValue::NULL,
            ResponseSource::Stored { hit: CacheHit { body: EnvelopeBody::Bytes(bytes), .. }, .. } => bytes.into(),
            ResponseSource::Stored { hit: CacheHit { body: EnvelopeBody::Stream(stream), .. }, .. } => stream.into(),
            ResponseSource::Upstream { .. } => passed_on.map_or(JsValue::NULL, |(_, body)| body),
        };
        let timeout = self.context.vars().upstream_timeout.of_request(false);
        let text = PageText::of_html(&page_body::read_text(&body, fields, self.context.deadlines(), timeout).await?);
        #[allow(clippy::cast_precision_loss)] // A date.
        let updated = js_sys::Date::new(&JsValue::from_f64(times.received_ms as f64));
        let json = PageView::new(text, updated.to_iso_string().into()).to_json();
        let head = redirects.view_head(url, &result, json.len(), Clock.now_ms());
        let body = js_sys::Uint8Array::from(page_view::json_around(&json, true).as_bytes()).buffer();
        Ok((FetchedPage { json, body, cache_status: result.cache_status }, head))
    }

    /// Returns the response, and begins to store its body if that is a stream to be stored.
    fn respond_with(&self, mut result: ExchangeResult<EnvelopeBody>, received: FetchedResponses) -> CacheResponse {
        let tee = |stream: &ReadableStream, store| {
            let streams = stream.tee();
            response_store::store_stream(&self.context, store, streams.get(0).unchecked_into());
            streams.get(1)
        };
        let passed_on = match &mut result.source {
            ResponseSource::Stored { hit, store_as, .. } => {
                if let (EnvelopeBody::Stream(stream), Some(store)) = (&hit.body, store_as.take()) {
                    hit.body = EnvelopeBody::Stream(tee(stream, store).unchecked_into());
                }
                None
            }
            ResponseSource::Upstream { body, store_as, .. } => received.response.map(|response| {
                let body = match (body.take(), response.body(), store_as.take()) {
                    (Some(bytes), ..) => bytes.into(),
                    (None, Some(stream), Some(store)) => tee(&stream, store),
                    (None, Some(stream), None) => stream.into(),
                    (None, None, _) => JsValue::NULL,
                };
                (response, body)
            }),
        };
        CacheResponse { result, passed_on, page: received.page }
    }

    /// Returns the name of the upstream that was asked last.
    fn upstream_name(&self, exchange: &Exchange<EnvelopeBody>, received: &FetchedResponses) -> String {
        self.name_of(received.page_url.as_ref().unwrap_or(exchange.url()))
    }

    /// Returns the name of a URL's upstream for the log: its entry in `CACHE_UPSTREAMS`, because
    /// with a wildcard the client chooses the host.
    fn name_of(&self, url: &CachedUrl) -> String {
        self.context.vars().cache_upstreams.entry(url.origin()).unwrap_or_default()
    }
}

impl CacheResponse {
    /// Cancels the body, which is not used.
    pub(super) fn discard(&self) {
        match (&self.result.source, &self.passed_on) {
            (ResponseSource::Stored { hit, .. }, _) => response_store::discard(&hit.body),
            (_, Some((_, body))) => body.dyn_ref::<ReadableStream>().into_iter().for_each(stream::cancel),
            (_, None) => {}
        }
    }
}

fn circuits<R>(f: impl FnOnce(&mut Circuits) -> R) -> R {
    f(&mut Isolate::current().cache.circuits.borrow_mut())
}
