//! `* /stores/{storefrontId}/{path}`, and every path of a storefront's own host: the tenant
//! router.

use std::rc::Rc;
use std::time::Duration;

use circuit_breaker::OpenedCircuit;
use http_semantics::request_target::RequestTarget;
use kv_store::limits::Key;
use kv_store::record_cache::{CachedRecord, ReadFailure, RecordState};
use kv_store::retry::Time;
use tenant_router::TenantError;
use tenant_router::failover::{Failover, TryResult};
use tenant_router::request_plan::{
    BUFFERED_BODY_BYTES_MAX, BodyMode, RequestPlan, RouteTarget, RoutedRequest, RoutingSettings,
};
use tenant_router::response_edits::{FALLBACK, ProxiedResponse, RESPONSE_FIELDS, ROUTING_SOURCE, SERVED_BY};
use tenant_router::storefront_address::{HostMatch, StorefrontAddress, id_field};
use tenant_router::storefront_record::{Fallback, RoutingEntry, StorefrontRecord};
use tenant_router::upstream::Upstream;
use wasm_bindgen::JsValue;
use worker::web_sys::Response;

use crate::http::error::RequestError;
use crate::http::forwarding::{MessageFields, UpstreamRequest, UpstreamResponse};
use crate::http::request_context::RequestContext;
use crate::http::response;
use crate::isolate::Isolate;
#[cfg(feature = "assets")]
use crate::kv::asset_store::page_file;
use crate::kv::keyspace::Keyspace;
use crate::kv::keyspaces::Storefronts;
use crate::platform::clock::Clock;
use crate::platform::js_error::message_of;
#[cfg(not(feature = "assets"))]
use crate::routes::RouteNotFound;

/// Finds the storefront's record, sends the request to its upstream, or to another one if that
/// fails, and streams the response back.
pub(crate) async fn handle(
    context: &RequestContext,
    host: &HostMatch<'static>,
    target: &RequestTarget<'_>,
) -> Result<Response, RequestError> {
    let mut address = StorefrontAddress::of(host, target)?;
    let now_ms = Clock.now_ms();
    let read = async |key: &Key<'_>| routing_entry(context, key, now_ms).await;
    let cached = Storefronts::find::<RequestError>(&mut address, read).await?;
    let RoutingEntry::Record(record) = &*cached.value else { return Err(address.not_found().into()) };

    let vars = context.vars();
    let fields = MessageFields::of_request(context.request());
    let method = context.method();
    // The plan ignores `has_body` for these methods, and reading it costs a call into JavaScript.
    let has_body = !matches!(method, "GET" | "HEAD") && context.has_body();
    let request = RoutedRequest { method, target, fields: &fields, has_body };
    let settings = RoutingSettings {
        token: vars.token.as_deref(),
        visitor_key: vars.visitor_key.as_ref(),
        timeout: vars.upstream_timeout,
    };
    let plan = RequestPlan::new(&request, &address, record, &settings, || Clock.random_bits())?;
    let (body, began_ms) = match plan.body {
        BodyMode::None => (JsValue::UNDEFINED, now_ms),
        BodyMode::Buffered => {
            let body = context.body_bytes(BUFFERED_BODY_BYTES_MAX).await?;
            // A body that the visitor sends slowly does not use up the upstream's time.
            (body.into(), Clock.now_ms())
        }
        BodyMode::Streamed => (context.body(), now_ms),
    };
    let request = Some(context.request());
    let sent = UpstreamRequest { context, request, method, body: &body, edits: &plan.edits };
    let proxied = ProxiedRequest {
        context,
        target,
        address: &address,
        record,
        plan: &plan,
        sent,
        record_state: cached.record_state,
    };
    proxied.handle(began_ms).await
}

/// Returns the value of a key of `ROUTING_CONFIG`; `None` if KV has no such key.
async fn routing_entry(
    context: &RequestContext,
    key: &Key<'_>,
    now_ms: u64,
) -> Result<Option<CachedRecord<Rc<RoutingEntry>>>, RequestError> {
    Storefronts.get(context, key, now_ms).await.map_err(|error| match error {
        ReadFailure::Store(error) => error.into(),
        ReadFailure::Broken(error) => RequestError::from(TenantError::from(error)).at(key.as_str()),
    })
}

/// A request that is proxied to an upstream.
struct ProxiedRequest<'a> {
    context: &'a RequestContext,
    target: &'a RequestTarget<'a>,
    address: &'a StorefrontAddress<'a>,
    record: &'a StorefrontRecord,
    plan: &'a RequestPlan<'a>,
    sent: UpstreamRequest<'a>,
    /// Whether the record is KV's current one, or an earlier one that is in memory.
    record_state: RecordState,
}

/// One try and its result. A 502, 503 or 504 is a failure in `result`, but a response in
/// `response`.
struct UpstreamTry<'a> {
    target: RouteTarget<'a>,
    result: TryResult,
    response: Result<UpstreamResponse, RequestError>,
}

impl<'a> ProxiedRequest<'a> {
    /// Proxies the request: one or two tries, and the record's fallback if they fail. If neither
    /// an upstream nor a fallback could be tried, the last resort is an outlier: an upstream that
    /// was passed over only because there seemed to be an alternative. Any other open circuit
    /// still refuses the request. `now_ms` is milliseconds since the Unix epoch.
    async fn handle(&self, now_ms: u64) -> Result<Response, RequestError> {
        let fallback = self.record.fallback.as_ref();
        let mut tried = match failover(|failover| failover.first(self.plan, fallback, now_ms)) {
            Ok(first) => Ok(self.with_retry(first, now_ms).await),
            Err(refusal) => Err(self.error(self.plan.target, refusal)),
        };
        if let Some(response) = self.fall_back(&tried, now_ms).await {
            return response;
        }
        if tried.is_err() {
            let now_ms = Clock.now_ms();
            if let Some(outlier) = failover(|failover| failover.outlier_of_last_resort(self.plan, now_ms)) {
                tried = Ok(self.with_retry(outlier, now_ms).await);
            }
        }
        let UpstreamTry { target, response, .. } = tried?;
        match response {
            Ok(received) => self.rewritten(&received, target, false),
            Err(failure) => Err(failure),
        }
    }

    /// Makes one try, and a second one if [`Failover::after`] chooses an upstream for it.
    async fn with_retry(&self, first: RouteTarget<'a>, began_ms: u64) -> UpstreamTry<'a> {
        let earlier = self.send(first, self.plan.timeout).await;
        // The clock is read only if there is something to record.
        if failover(|failover| failover.is_uneventful(first, earlier.result)) {
            return earlier;
        }
        let now_ms = Clock.now_ms();
        // The clock may have been set back in the meantime.
        let spent = Duration::from_millis(now_ms.saturating_sub(began_ms));
        let after = failover(|failover| failover.after(self.plan, first, earlier.result, spent, now_ms));
        self.warn_of_opened(after.opened, first);
        let Some((second, left)) = after.second else { return earlier };
        self.warn("tried_again", &earlier);
        let later = self.send(second, left).await;
        let now_ms = Clock.now_ms();
        let targets = (first, second);
        let opened = failover(|failover| failover.record_second(self.plan, targets, later.result, left, now_ms));
        self.warn_of_opened(opened, second);
        let (served, other) = if later.result.replaces(earlier.result) { (later, earlier) } else { (earlier, later) };
        other.discard();
        served
    }

    /// Sends the request to one upstream.
    async fn send(&self, target: RouteTarget<'a>, deadline: Duration) -> UpstreamTry<'a> {
        let url = target.upstream.join(self.address.rest, self.target.query);
        let (result, response) = match self.sent.send(&url, deadline, RESPONSE_FIELDS).await {
            Ok(Some(received)) => (TryResult::Response(received.status), Ok(received)),
            Ok(None) => (TryResult::TimedOut, Err(self.error(target, TenantError::UpstreamTimedOut(deadline)))),
            Err(thrown) => {
                (TryResult::Unreached, Err(self.error(target, TenantError::UpstreamFailed(message_of(&thrown)))))
            }
        };
        UpstreamTry { target, result, response }
    }

    /// Returns the response of the record's fallback. Returns `None` if no fallback is needed, the
    /// record has none, or the fallback gives no response.
    async fn fall_back(
        &self,
        tried: &Result<UpstreamTry<'a>, RequestError>,
        now_ms: u64,
    ) -> Option<Result<Response, RequestError>> {
        let result = tried.as_ref().ok().map(|tried| tried.result);
        let fallback = self.record.fallback.as_ref();
        // The tries that failed may have taken longer than the fallback's circuit is open.
        let now_ms = if result.is_some_and(TryResult::is_failure) { Clock.now_ms() } else { now_ms };
        let response = match failover(|failover| failover.fallback(fallback, self.plan, result, now_ms))? {
            Fallback::Upstream(upstream) => self.fall_back_to(upstream).await?,
            Fallback::Page(key) => self.maintenance(key).await?,
        };
        // The visitor does not see the failure, so it goes to the log.
        match tried {
            Ok(tried) => {
                self.warn("fallback", tried);
                tried.discard();
            }
            Err(failure) => self.context.log().warning("fallback", &failure.cause()),
        }
        Some(response)
    }

    async fn fall_back_to(&self, upstream: &'a Upstream) -> Option<Result<Response, RequestError>> {
        let target = RouteTarget { variant: None, upstream };
        let timeout = self.plan.timeout;
        let tried = self.send(target, timeout).await;
        let now_ms = Clock.now_ms();
        let opened = failover(|failover| failover.record(self.plan, target, tried.result, timeout, now_ms));
        self.warn_of_opened(opened, target);
        if tried.response.is_err() {
            self.warn("fallback_failed", &tried);
        }
        tried.response.ok().map(|received| self.rewritten(&received, target, true))
    }

    /// Returns the maintenance page in `assets` with status 503 (RFC 9110 §15.6.4), or `None`
    /// if it cannot be read.
    async fn maintenance(&self, key: &Key<'_>) -> Option<Result<Response, RequestError>> {
        let place = format!("{}: the page {} of assets", self.address.key.as_str(), key.as_str());
        let page = match page_file(self.context, key).await {
            Ok(page) => page,
            Err(failure) => {
                self.context.log().warning("fallback_failed", &format!("{place}: {}", failure.cause()));
                return None;
            }
        };
        let id = id_field(self.address.key.as_str());
        let log = self.context.log();
        log.warning("maintenance", &place);
        let fields = [
            ("content-type", "text/html; charset=utf-8"),
            ("cache-control", "no-store"),
            ("retry-after", "30"),
            ("x-request-id", log.id()),
            ("x-served-by", SERVED_BY),
            ("x-storefront-id", &id),
            (ROUTING_SOURCE, FALLBACK),
        ];
        Some(response::with_status(503, &page, &fields).map_err(RequestError::from))
    }

    /// Returns the response with its header fields rewritten for the visitor.
    fn rewritten(
        &self,
        received: &UpstreamResponse,
        target: RouteTarget<'_>,
        is_fallback: bool,
    ) -> Result<Response, RequestError> {
        let fields = received.fields();
        let response = ProxiedResponse {
            fields: &fields,
            target,
            is_fallback,
            record_state: self.record_state,
            set_cookie: self.plan.set_cookie.as_deref(),
        };
        let edits = response.edits(self.target, self.address, self.record);
        // The runtime refuses what is not a valid HTTP response, such as the status 999.
        received.changed(&edits).map_err(|thrown| self.error(target, TenantError::UpstreamFailed(message_of(&thrown))))
    }

    /// Returns an error with the fields that responses of the storefront have. The log also
    /// gets the storefront and the upstream.
    fn error(&self, target: RouteTarget<'_>, failure: impl Into<RequestError>) -> RequestError {
        let id = id_field(self.address.key.as_str()).into_owned();
        let failure: RequestError = failure.into();
        let failure =
            failure.at(&self.place(target)).with_field("X-Served-By", SERVED_BY).with_field("X-Storefront-ID", id);
        match target.variant {
            Some(variant) => failure.with_field("X-Variant", variant.to_owned()),
            None => failure,
        }
    }

    /// Returns the name of an upstream for the log: the key of the record, and its origin.
    fn place(&self, target: RouteTarget<'_>) -> String {
        format!("{}: {}", self.address.key.as_str(), target.upstream.origin().as_str())
    }

    fn warn(&self, code: &'static str, tried: &UpstreamTry<'_>) {
        let log = self.context.log();
        match &tried.response {
            Ok(received) => {
                let place = self.place(tried.target);
                log.warning(code, &format!("{place}: the upstream responded {}", received.status));
            }
            Err(failure) => log.warning(code, &failure.cause()),
        }
    }

    fn warn_of_opened(&self, opened: Option<OpenedCircuit>, target: RouteTarget<'_>) {
        if let Some(opened) = opened {
            let place = self.place(target);
            self.context.log().warning("circuit_opened", &format!("{place}: {opened}"));
        }
    }
}

impl UpstreamTry<'_> {
    /// Cancels a response that is not served.
    fn discard(&self) {
        if let Ok(received) = &self.response {
            received.discard();
        }
    }
}

fn failover<R>(operation: impl FnOnce(&mut Failover) -> R) -> R {
    operation(&mut Isolate::current().storefronts.failover.borrow_mut())
}

/// A build without the feature `assets` has no pages.
#[cfg(not(feature = "assets"))]
#[expect(clippy::unused_async)] // The function that this replaces is async.
async fn page_file(_: &RequestContext, _: &Key<'_>) -> Result<JsValue, RequestError> {
    Err(RouteNotFound.into())
}
