//! The request to the upstream and its response, or a stale one in place of an error.

use circuit_breaker::{Admission, Circuits, Outcome, RequestKey, client_address};
use http_cache::cache_status::{CacheStatus, ForwardReason};
use http_cache::client_response::with_date;
use http_cache::decision::IF_ERROR;
use http_cache::error::CacheError;
use http_cache::freshness::ExchangeTimes;
use http_cache::stale;
use http_cache::upstream_request;
use http_semantics::fields::{Fields, HeaderSection};
use kv_store::retry::Time;
use wasm_bindgen::prelude::*;
use worker::web_sys::Response;

use super::super::response_store::{CacheHit, memory};
use super::{Exchange, ExchangeResult, Lookup, ResponseSource};
use crate::http::error::RequestError;
use crate::http::forwarding::{self, UpstreamRequest};
use crate::isolate::Isolate;
use crate::platform::clock::Clock;
use crate::platform::js_error::message_of;

/// A response of the upstream.
pub(in crate::jobs::cache) struct TimedResponse {
    pub(in crate::jobs::cache) response: Response,
    pub(in crate::jobs::cache) status: u16,
    /// Its fields, with a `Date` added if there was none.
    pub(in crate::jobs::cache) fields: HeaderSection,
    pub(in crate::jobs::cache) has_date: bool,
    pub(in crate::jobs::cache) times: ExchangeTimes,
}

impl Exchange {
    /// Forwards the request to the upstream and handles the response.
    pub(super) async fn forward(
        &self,
        lookup: Lookup,
        fwd: ForwardReason,
        conditions: Vec<(&'static str, String)>,
    ) -> Result<ExchangeResult, RequestError> {
        let is_conditional = !conditions.is_empty() && self.method == "GET";
        let conditions = if is_conditional { conditions } else { Vec::new() };
        let has_stale = lookup.hit.as_ref().is_some_and(|hit| self.may_serve_stale(hit));
        let received = match self.send_upstream(conditions, lookup.hit.is_some(), has_stale).await {
            Ok(received) => received,
            Err(failure) => return self.stale_or_error(lookup, fwd, failure, None),
        };
        if stale::is_error(received.status) && lookup.hit.as_ref().is_some_and(|hit| self.may_serve_stale(hit)) {
            forwarding::discard(&received.response);
            let failure = CacheError::Upstream(format!("it answered {}", received.status)).into();
            return self.stale_or_error(lookup, fwd, failure, Some(&received));
        }
        // An error that is passed on counts as a failed refresh.
        self.record_refresh(&lookup, stale::is_error(received.status), received.times.received_ms);
        if received.status == 304 && is_conditional {
            return self.handle_not_modified(lookup, fwd, received).await;
        }
        // If another write began after this one and ended before it, the order in which the
        // upstream applied them is unknown.
        let key = self.url.key();
        let is_overtaken = !self.cache_request.is_safe
            && memory(|memory| memory.is_invalidated(key.as_str(), received.times.requested_ms));
        self.apply_effects(&lookup, &received);
        self.handle_response(lookup, fwd, received, is_overtaken).await
    }

    /// Sends the request to the upstream, unless its circuit is open. `has_stale` is true if a
    /// stale response may be served instead.
    pub(super) async fn send_upstream(
        &self,
        conditions: Vec<(&'static str, String)>,
        is_stored: bool,
        has_stale: bool,
    ) -> Result<TimedResponse, RequestError> {
        let mut edits = upstream_request::edits(&self.method, &self.fields(), conditions, is_stored)?;
        if !self.fields().has("authorization") {
            // A refresh is made for everybody.
            edits.remove("authorization");
        }
        let requested_ms = Clock.now_ms();
        let origin = self.url.origin().as_str();
        let request = || {
            let client = client_address(self.context.header("cf-connecting-ip").as_deref());
            RequestKey::new(&self.method, self.url.as_str(), client)
        };
        let admission = circuits(|circuits| circuits.admit(origin, request, has_stale, requested_ms));
        if let Admission::Open { retry_after_ms } = admission {
            let retry_after_seconds = retry_after_ms.div_ceil(1000);
            return Err(CacheError::CircuitOpen { retry_after_seconds }.into());
        }
        let body = if self.cache_request.is_safe { JsValue::UNDEFINED } else { self.context.body() };
        let has_body = !body.is_null() && !body.is_undefined();
        let timeout = self.context.vars().upstream_timeout.of_request(has_body);
        let sent = UpstreamRequest { request: Some(&self.request), method: &self.method, body: &body, edits: &edits };
        let response = sent.send_encoded(self.url.as_str(), timeout).await;
        let received_ms = Clock.now_ms();
        // An upstream that does not answer costs every client the deadline; one that refuses
        // does so at once. With a request body, the client's upload may be what takes long.
        let ended = match &response {
            Ok(Some(_)) => Some(Outcome::Success),
            Ok(None) => (!has_body).then_some(Outcome::NoResponse),
            Err(_) => (admission == Admission::Probe && !has_body).then_some(Outcome::NoResponse),
        };
        let opened =
            ended.and_then(|ended| circuits(|circuits| circuits.record_outcome(origin, request, ended, received_ms)));
        if let Some(opened) = opened {
            let upstream_name = self.upstream_name();
            self.context.log().warning("circuit_opened", &format!("{upstream_name}: {opened}"));
        }
        let response = response
            .map_err(|thrown| CacheError::Upstream(message_of(&thrown)))
            .and_then(|response| response.ok_or(CacheError::Timeout))?;
        let fields = forwarding::header_section(&response);
        let has_date = fields.has("date");
        let (status, fields) = (response.status(), with_date(fields, received_ms));
        Ok(TimedResponse { response, status, fields, has_date, times: ExchangeTimes { requested_ms, received_ms } })
    }

    /// Records how a refresh of the stored response ended. A write does not count, nor a request
    /// that bypasses the cache.
    fn record_refresh(&self, lookup: &Lookup, has_failed: bool, now_ms: u64) {
        if self.cache_request.permits_lookup() && lookup.hit.is_some() {
            memory(|memory| memory.end_refresh(lookup.key.as_str(), has_failed, now_ms));
        }
    }

    pub(super) fn may_serve_stale(&self, hit: &CacheHit) -> bool {
        let stale_ms = hit.stored.stale_ms(Clock.now_ms());
        stale::may_serve_on_error(&hit.stored, &self.cache_request.directives, stale_ms)
    }

    /// Serves the stored response in place of an error if it may be used; otherwise returns the
    /// error.
    pub(super) fn stale_or_error(
        &self,
        lookup: Lookup,
        fwd: ForwardReason,
        failure: RequestError,
        received: Option<&TimedResponse>,
    ) -> Result<ExchangeResult, RequestError> {
        let now_ms = Clock.now_ms();
        self.record_refresh(&lookup, true, now_ms);
        let status = received.map(|received| received.status);
        let is_usable = lookup.hit.as_ref().is_some_and(|hit| self.may_serve_stale(hit));
        if !is_usable {
            lookup.discard();
        }
        match lookup.hit {
            Some(hit) if is_usable => {
                self.context.log().warning("stale_if_error", &failure.at(&self.upstream_name()).cause());
                let ttl = hit.stored.ttl_seconds(now_ms);
                let cache_status = CacheStatus::Hit { ttl, detail: Some(IF_ERROR) };
                let upstream_ms = received.map(TimedResponse::took_ms);
                Ok(ExchangeResult {
                    source: ResponseSource::Stored { hit, received: None },
                    cache_status,
                    kv_ms: lookup.kv_ms,
                    upstream_ms,
                })
            }
            _ => {
                let forwarded =
                    CacheStatus::Forwarded { fwd, status, is_stored: false, ttl: None, detail: lookup.detail };
                Err(failure.at(&self.upstream_name()).with_field("Cache-Status", forwarded.to_string()))
            }
        }
    }

    /// Returns the name of the upstream for the log: its entry in `CACHE_UPSTREAMS`, because
    /// with a wildcard the client chooses the host.
    fn upstream_name(&self) -> String {
        self.context.vars().cache.upstreams.entry(self.url.origin()).unwrap_or_default()
    }
}

impl TimedResponse {
    /// Returns the declared length of the body, in bytes.
    pub(super) fn length(&self) -> Option<u64> {
        self.fields.get("content-length").and_then(|length| length.trim().parse().ok())
    }

    /// Passes the response on without storing it; with its body if that was already read.
    pub(super) fn pass_through(
        self,
        whole: Option<js_sys::ArrayBuffer>,
        fwd: ForwardReason,
        kv_ms: Option<u64>,
        detail: Option<&'static str>,
    ) -> ExchangeResult {
        let (upstream_ms, status) = (Some(self.took_ms()), Some(self.status));
        let stream = || self.response.body().map_or(JsValue::NULL, Into::into);
        let body = whole.map_or_else(stream, Into::into);
        let cache_status = CacheStatus::Forwarded { fwd, status, is_stored: false, ttl: None, detail };
        ExchangeResult { source: ResponseSource::Upstream { received: self, body }, cache_status, kv_ms, upstream_ms }
    }

    pub(super) fn took_ms(&self) -> u64 {
        self.times.response_delay_ms()
    }
}

fn circuits<R>(ask: impl FnOnce(&mut Circuits) -> R) -> R {
    ask(&mut Isolate::current().cache.circuits.borrow_mut())
}
