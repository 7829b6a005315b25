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
use tenant_router::address::{Address, Named, id_field};
use tenant_router::answer::{Answered, FALLBACK, LOOKED_FOR, ROUTING_SOURCE, SERVED_BY};
use tenant_router::backend::Backend;
use tenant_router::failover::{Ended, Failover};
use tenant_router::plan::{Asked, Body, KEPT_BODY_BYTES_MAX, Plan, Settings, Target};
use tenant_router::record::{Fallback, Record, Stored};
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
use crate::routes::NotFound;

/// Sends the request to the storefront's upstream and streams the response back.
pub(crate) async fn answer(
    context: &RequestContext,
    named: &Named<'static>,
    target: &RequestTarget<'_>,
) -> Result<Response, RequestError> {
    let mut address = Address::of(named, target)?;
    let now_ms = Clock.now_ms();
    let mut held = stored(context, &address.key, now_ms).await?.ok_or_else(|| address.not_found())?;
    if let Stored::Storefront(id) = &*held.value {
        let id = id.clone();
        let dangling = || TenantError::DanglingDomain(id.as_str().to_owned());
        held = stored(context, &id, now_ms).await?.ok_or_else(dangling)?;
        address.key = id;
    }
    let Stored::Record(record) = &*held.value else { return Err(address.not_found().into()) };

    let vars = context.vars();
    let fields = MessageFields::of_request(context.request());
    let method = context.method();
    // The plan does not look at it for these methods, and the question costs a call into
    // JavaScript.
    let has_body = !matches!(method, "GET" | "HEAD") && context.has_body();
    let asked = Asked { method, target, fields: &fields, has_body };
    let settings = Settings {
        token: vars.token.as_deref(),
        visitor_key: vars.storefronts.visitor_key.as_ref(),
        timeout: vars.upstream_timeout,
    };
    let plan = Plan::new(&asked, &address, record, &settings, || Clock.random_bits())?;
    let (body, began_ms) = match plan.body {
        Body::None => (JsValue::UNDEFINED, now_ms),
        Body::Kept => {
            let body = context.body_bytes(KEPT_BODY_BYTES_MAX).await?;
            // A visitor who sends slowly does not use up the upstream's time.
            (body.into(), Clock.now_ms())
        }
        Body::Streamed => (context.body(), now_ms),
    };
    let sent = UpstreamRequest { request: Some(context.request()), method, body: &body, edits: &plan.edits };
    let proxied = Proxied { context, target, address: &address, record, plan: &plan, sent, standing: held.standing };
    proxied.answer(began_ms).await
}

/// Returns the value of a key of `ROUTING_CONFIG`.
async fn stored(
    context: &RequestContext,
    key: &Key<'_>,
    now_ms: u64,
) -> Result<Option<CachedRecord<Rc<Stored>>>, RequestError> {
    Storefronts.get(context, key, now_ms).await.map_err(|error| match error {
        ReadFailure::Store(error) => error.into(),
        ReadFailure::Broken(error) => RequestError::from(TenantError::from(error)).at(key.as_str()),
    })
}

/// A request that is proxied to an upstream.
struct Proxied<'a> {
    context: &'a RequestContext,
    target: &'a RequestTarget<'a>,
    address: &'a Address<'a>,
    record: &'a Record,
    plan: &'a Plan<'a>,
    sent: UpstreamRequest<'a>,
    /// Whether the record is the one in KV, the last valid one, or stale.
    standing: RecordState,
}

/// The result of one try. A 502, 503 or 504 is a failure, but `result` has the response.
struct Outcome<'a> {
    asked: Target<'a>,
    ended: Ended,
    result: Result<UpstreamResponse, RequestError>,
}

impl<'a> Proxied<'a> {
    /// Proxies the request. `now_ms` is milliseconds since the Unix epoch.
    async fn answer(&self, now_ms: u64) -> Result<Response, RequestError> {
        let fallback = self.record.fallback.as_ref();
        let mut outcome = match failover(|failover| failover.first(self.plan, fallback, now_ms)) {
            Ok(first) => Ok(self.tries(first, now_ms).await),
            Err(open) => Err(self.told(self.plan.target, open)),
        };
        if let Some(answer) = self.fall_back(&outcome, now_ms).await {
            return answer;
        }
        if outcome.is_err() {
            let now_ms = Clock.now_ms();
            if let Some(outlier) = failover(|failover| failover.in_panic(self.plan, now_ms)) {
                outcome = Ok(self.tries(outlier, now_ms).await);
            }
        }
        let Outcome { asked, result, .. } = outcome?;
        match result {
            Ok(received) => self.visible(&received, asked, false),
            Err(failure) => Err(failure),
        }
    }

    /// Makes one try, and a second one if [`Failover::after`] chooses an upstream for it.
    async fn tries(&self, first: Target<'a>, began_ms: u64) -> Outcome<'a> {
        let outcome = self.ask(first, self.plan.timeout).await;
        // A usual response does not need the clock.
        if failover(|failover| failover.is_of_no_matter(first, outcome.ended)) {
            return outcome;
        }
        let now_ms = Clock.now_ms();
        let spent = Duration::from_millis(now_ms.saturating_sub(began_ms));
        let after = failover(|failover| failover.after(self.plan, first, outcome.ended, spent, now_ms));
        self.warn_of_opened(after.opened, first);
        let Some((second, left)) = after.second else { return outcome };
        self.warn("tried_again", &outcome);
        let later = self.ask(second, left).await;
        let now_ms = Clock.now_ms();
        let asked = (first, second);
        let opened = failover(|failover| failover.note_second(self.plan, asked, later.ended, left, now_ms));
        self.warn_of_opened(opened, second);
        let (stands, unread) = if later.ended.replaces(outcome.ended) { (later, outcome) } else { (outcome, later) };
        unread.discard();
        stands
    }

    /// Sends the request to one upstream.
    async fn ask(&self, asked: Target<'a>, deadline: Duration) -> Outcome<'a> {
        let url = asked.backend.join(self.address.rest, self.target.query);
        let (ended, result) = match self.sent.send(&url, deadline, LOOKED_FOR).await {
            Ok(Some(received)) => (Ended::Answered(received.status), Ok(received)),
            Ok(None) => (Ended::Late, Err(self.told(asked, TenantError::OriginTimeout(deadline)))),
            Err(thrown) => (Ended::Unreached, Err(self.told(asked, TenantError::OriginFailed(message_of(&thrown))))),
        };
        Outcome { asked, ended, result }
    }

    /// Returns the response of the record's fallback, or `None` if there is none. Then the
    /// result of the tries is served.
    async fn fall_back(
        &self,
        outcome: &Result<Outcome<'a>, RequestError>,
        now_ms: u64,
    ) -> Option<Result<Response, RequestError>> {
        let ended = outcome.as_ref().ok().map(|outcome| outcome.ended);
        let fallback = self.record.fallback.as_ref();
        let answer = match failover(|failover| failover.fallback(fallback, self.plan, ended, now_ms))? {
            Fallback::Backend(backend) => self.fall_back_to(backend).await?,
            Fallback::Page(key) => self.maintenance(key).await?,
        };
        // The visitor does not see the failure, so it goes to the log.
        match outcome {
            Ok(outcome) => {
                self.warn("fallback", outcome);
                outcome.discard();
            }
            Err(failure) => self.context.log().warning("fallback", &failure.cause()),
        }
        Some(answer)
    }

    async fn fall_back_to(&self, backend: &'a Backend) -> Option<Result<Response, RequestError>> {
        let asked = Target { variant: None, backend };
        let timeout = self.plan.timeout;
        let answer = self.ask(asked, timeout).await;
        let now_ms = Clock.now_ms();
        let opened = failover(|failover| failover.note(self.plan, asked, answer.ended, timeout, now_ms));
        self.warn_of_opened(opened, asked);
        if answer.result.is_err() {
            self.warn("fallback_failed", &answer);
        }
        answer.result.ok().map(|received| self.visible(&received, asked, true))
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
    fn visible(
        &self,
        received: &UpstreamResponse,
        target: Target<'_>,
        is_fallback: bool,
    ) -> Result<Response, RequestError> {
        let fields = received.fields();
        let answered = Answered {
            fields: &fields,
            target,
            is_fallback,
            standing: self.standing,
            set_cookie: self.plan.set_cookie.as_deref(),
        };
        let edits = answered.edits(self.target, self.address, self.record);
        // The runtime refuses what is not a valid HTTP response, such as the status 999.
        received.changed(&edits).map_err(|thrown| self.told(target, TenantError::OriginFailed(message_of(&thrown))))
    }

    /// Returns an error with the fields that responses of the storefront have. The log also
    /// gets the storefront and the origin.
    fn told(&self, target: Target<'_>, failure: impl Into<RequestError>) -> RequestError {
        let id = id_field(self.address.key.as_str()).into_owned();
        let failure: RequestError = failure.into();
        let failure =
            failure.at(&self.place(target)).with_field("X-Served-By", SERVED_BY).with_field("X-Storefront-ID", id);
        match target.variant {
            Some(variant) => failure.with_field("X-Variant", variant.to_owned()),
            None => failure,
        }
    }

    /// Returns the name of an upstream for the log: the key of the record, and the origin.
    fn place(&self, target: Target<'_>) -> String {
        format!("{}: {}", self.address.key.as_str(), target.backend.origin().as_str())
    }

    fn warn(&self, code: &'static str, outcome: &Outcome<'_>) {
        let log = self.context.log();
        match &outcome.result {
            Ok(received) => {
                let place = self.place(outcome.asked);
                log.warning(code, &format!("{place}: the origin answered {}", received.status));
            }
            Err(failure) => log.warning(code, &failure.cause()),
        }
    }

    fn warn_of_opened(&self, opened: Option<OpenedCircuit>, target: Target<'_>) {
        if let Some(opened) = opened {
            let place = self.place(target);
            self.context.log().warning("circuit_opened", &format!("{place}: {opened}"));
        }
    }
}

impl Outcome<'_> {
    /// Cancels a response that is not served.
    fn discard(&self) {
        if let Ok(received) = &self.result {
            received.discard();
        }
    }
}

fn failover<R>(ask: impl FnOnce(&mut Failover) -> R) -> R {
    ask(&mut Isolate::current().storefronts.failover.borrow_mut())
}

/// A build without the feature `assets` has no pages.
#[cfg(not(feature = "assets"))]
#[expect(clippy::unused_async)] // As the one of a build with files.
async fn page(_: &RequestContext, _: &Key<'_>) -> Result<JsValue, RequestError> {
    Err(NotFound.into())
}
