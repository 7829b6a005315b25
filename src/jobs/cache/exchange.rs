//! One request to the cache: performs what [`http_cache::exchange`] decides.

use std::rc::Rc;

use circuit_breaker::{Admission, Circuits, Outcome, RequestKey, client_address};
use futures_util::future::{OptionFuture, join3};
use http_cache::cached_url::CachedUrl;
use http_cache::client_response::with_date;
use http_cache::error::CacheError;
use http_cache::exchange::{Action, Context, Effect, Event, Exchange, ExchangeResult, ResponseSource, UpstreamHead};
use http_cache::freshness::ExchangeTimes;
use http_semantics::fields::{Fields, HeaderEdits};
use kv_store::limits::Key;
use kv_store::retry::Time;
use wasm_bindgen::prelude::*;
use worker::web_sys::{ReadableStream, Request, Response};

use super::response_store::{self, AS_STORED, memory};
use super::{href, purging};
use crate::http::error::RequestError;
use crate::http::forwarding::{self, MessageFields, UpstreamRequest};
use crate::http::request_context::RequestContext;
use crate::http::stream;
use crate::isolate::Isolate;
use crate::kv::envelope::EnvelopeBody;
use crate::platform::clock::Clock;
use crate::platform::js_error::message_of;

/// Runs the exchange of one request to the cache.
#[derive(Clone)]
pub(super) struct ExchangeRunner {
    context: Rc<RequestContext>,
    /// The client's request, or one that kv-edge makes itself.
    request: Request,
    /// The names of its header fields.
    names: String,
    method: String,
    url: CachedUrl,
}

/// The response of an exchange.
pub(super) struct CacheResponse {
    pub(super) result: ExchangeResult<EnvelopeBody>,
    /// The upstream's response and its body if that is passed on: a stream, an `ArrayBuffer`, or
    /// `null`.
    pub(super) passed_on: Option<(Response, JsValue)>,
}

impl ExchangeRunner {
    pub(super) fn new(context: &Rc<RequestContext>, request: Request, method: &str, url: CachedUrl) -> Self {
        let names = MessageFields::of_request(&request).names().to_owned();
        Self { context: Rc::clone(context), request, names, method: method.to_owned(), url }
    }

    /// Returns the client's header fields.
    pub(super) fn fields(&self) -> MessageFields<'_> {
        MessageFields::with_names(&self.request, &self.names)
    }

    /// Responds with a stored response if one may be used, or else with the upstream's.
    pub(super) async fn respond(&self) -> Result<CacheResponse, RequestError> {
        self.run(Exchange::new(&self.method, self.url.clone(), &self.fields())).await
    }

    /// Asks the upstream for the stored response, however fresh it is, with a condition if
    /// possible.
    pub(super) async fn revalidate(&self) -> Result<CacheResponse, RequestError> {
        self.run(Exchange::new(&self.method, self.url.clone(), &self.fields()).revalidating()).await
    }

    async fn run(&self, mut exchange: Exchange<EnvelopeBody>) -> Result<CacheResponse, RequestError> {
        let mut upstream = None;
        let (mut event, mut now_ms) = (Event::Begin, Clock.now_ms());
        loop {
            let action = self.step(&mut exchange, event, now_ms);
            for effect in exchange.take_effects() {
                self.perform(effect, &exchange, upstream.as_ref());
            }
            event = match action {
                Action::Read { key, variant } => {
                    let read = response_store::get(&self.context, &key, &AS_STORED, now_ms);
                    let variant =
                        variant.as_ref().map(|key| response_store::get(&self.context, key, &AS_STORED, now_ms));
                    let purges = purging::purge_list(&self.context, now_ms);
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
                    let sent = self.send(&edits, exchange.is_safe(), has_stale).await;
                    now_ms = Clock.now_ms();
                    Event::Received(sent.map(|(response, head)| {
                        upstream = Some(response);
                        head
                    }))
                }
                Action::ReadBody { length } => {
                    let body = self.read_body(upstream.as_ref(), length).await;
                    now_ms = Clock.now_ms();
                    Event::Body(body)
                }
                Action::Respond(result) => return Ok(self.respond_with(result, upstream)),
                Action::Fail { error, cache_status: None } => return Err(error.into()),
                Action::Fail { error, cache_status: Some(cache_status) } => {
                    let error = RequestError::from(error).at(&self.upstream_name());
                    return Err(error.with_field("Cache-Status", cache_status.to_string()));
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
                upstreams: &vars.cache.upstreams,
                credentials: &vars.cache.credentials,
                memory_ms: vars.cache.refresh_ms,
                wait_max_ms: u64::try_from(vars.upstream_timeout.of_request(false).as_millis()).unwrap_or(u64::MAX),
                memory,
                now_ms,
                random: &mut || Clock.random_bits(),
                resolve: &|reference, base| href(reference, Some(base)),
            };
            exchange.step(event, &mut cx)
        })
    }

    fn perform(&self, effect: Effect<EnvelopeBody>, exchange: &Exchange<EnvelopeBody>, upstream: Option<&Response>) {
        match effect {
            Effect::Put { key, stored, bytes } => response_store::put_later(&self.context, key, stored, bytes),
            Effect::PutStream(store, EnvelopeBody::Stream(stream)) => {
                response_store::store_stream(&self.context, store, stream);
            }
            Effect::PutStream(_, EnvelopeBody::Bytes(_)) => {}
            Effect::Delete(keys) => response_store::delete_later(&self.context, keys),
            Effect::Refresh(key) => self.refresh(key, exchange),
            Effect::Discard(body) => response_store::discard(&body),
            Effect::DiscardUpstream => upstream.into_iter().for_each(forwarding::discard),
            Effect::Warn(code, error) => {
                self.context.log().warning(code, &RequestError::from(error).at(&self.upstream_name()).cause());
            }
        }
    }

    /// Refreshes the stored response in the background.
    fn refresh(&self, key: Key<'static>, exchange: &Exchange<EnvelopeBody>) {
        let mut runner = self.clone();
        "GET".clone_into(&mut runner.method);
        runner.names = runner.names.split(',').filter(|name| *name != "authorization").collect::<Vec<_>>().join(",");
        let refresh = exchange.refresh(key, &runner.fields());
        self.context.wait_until(async move {
            match runner.run(refresh).await {
                Ok(response) => response.discard(),
                Err(failure) => runner.context.log().warning("refresh_failed", &failure.cause()),
            }
        });
    }

    /// Sends the request to the upstream, unless its circuit is open. `has_stale` is true if a
    /// stale response may be served instead.
    async fn send(
        &self,
        edits: &HeaderEdits<'_>,
        is_safe: bool,
        has_stale: bool,
    ) -> Result<(Response, UpstreamHead), CacheError> {
        let requested_ms = Clock.now_ms();
        let origin = self.url.origin().as_str();
        let request = || {
            let client = client_address(self.context.header("cf-connecting-ip").as_deref());
            RequestKey::new(&self.method, self.url.as_str(), client)
        };
        let admission = circuits(|circuits| circuits.admit(origin, request, has_stale, requested_ms));
        if let Admission::Open { retry_after_ms } = admission {
            return Err(CacheError::CircuitOpen { retry_after_seconds: retry_after_ms.div_ceil(1000) });
        }
        let body = if is_safe { JsValue::UNDEFINED } else { self.context.body() };
        let has_body = !body.is_null() && !body.is_undefined();
        let timeout = self.context.vars().upstream_timeout.of_request(has_body);
        let (request_to_send, method, meter) = (Some(&self.request), &*self.method, self.context.meter());
        let sent = UpstreamRequest { request: request_to_send, method, body: &body, edits, meter };
        let response = sent.send_encoded(self.url.as_str(), timeout).await;
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
            self.context.log().warning("circuit_opened", &format!("{}: {opened}", self.upstream_name()));
        }
        let response = response
            .map_err(|thrown| CacheError::Upstream(message_of(&thrown)))
            .and_then(|response| response.ok_or(CacheError::Timeout))?;
        let fields = forwarding::header_section(&response);
        let head = UpstreamHead {
            status: response.status(),
            has_date: fields.has("date"),
            has_body: response.body().is_some(),
            fields: with_date(fields, received_ms),
            times: ExchangeTimes { requested_ms, received_ms },
        };
        Ok((response, head))
    }

    /// Reads a short body to its end. Fails if it breaks off or does not have the declared
    /// length.
    async fn read_body(&self, response: Option<&Response>, length: u64) -> Result<js_sys::ArrayBuffer, CacheError> {
        let response = response.ok_or_else(|| CacheError::Upstream("no response to read".to_owned()))?;
        let timeout = self.context.vars().upstream_timeout.of_request(false);
        let body = forwarding::read_body(response, timeout).await;
        let body = body.map_err(|thrown| CacheError::Upstream(message_of(&thrown)))?.ok_or(CacheError::Timeout)?;
        if u64::from(body.byte_length()) == length {
            Ok(body)
        } else {
            Err(CacheError::Upstream("its body does not have the declared length".to_owned()))
        }
    }

    /// Returns the response, and begins to store its body if that is a stream to be stored.
    fn respond_with(&self, mut result: ExchangeResult<EnvelopeBody>, upstream: Option<Response>) -> CacheResponse {
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
            ResponseSource::Upstream { body, store_as, .. } => upstream.map(|response| {
                let body = match (body.take(), response.body(), store_as.take()) {
                    (Some(bytes), ..) => bytes.into(),
                    (None, Some(stream), Some(store)) => tee(&stream, store),
                    (None, Some(stream), None) => stream.into(),
                    (None, None, _) => JsValue::NULL,
                };
                (response, body)
            }),
        };
        CacheResponse { result, passed_on }
    }

    /// Returns the name of the upstream for the log: its entry in `CACHE_UPSTREAMS`, because
    /// with a wildcard the client chooses the host.
    fn upstream_name(&self) -> String {
        self.context.vars().cache.upstreams.entry(self.url.origin()).unwrap_or_default()
    }
}

impl CacheResponse {
    /// Cancels the body, which is not used.
    pub(super) fn discard(&self) {
        match (&self.result.source, &self.passed_on) {
            (ResponseSource::Stored { hit, .. }, _) => response_store::discard(&hit.body),
            (_, Some((_, body))) => body.dyn_ref::<ReadableStream>().into_iter().for_each(stream::end),
            (_, None) => {}
        }
    }
}

fn circuits<R>(f: impl FnOnce(&mut Circuits) -> R) -> R {
    f(&mut Isolate::current().cache.circuits.borrow_mut())
}
