//! `* /stores/{storefrontId}/{path}`, and every path of a storefront's own host: the tenant router.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use kv_edge_core::circuit::{self, Circuits};
use kv_edge_core::limits::Key;
use kv_edge_core::memory::{Held, Memory};
use kv_edge_core::request_target::RequestTarget;
use kv_edge_core::retry::Time;
use kv_edge_core::tenants::TenantError;
use kv_edge_core::tenants::address::{Address, Named, id_field};
use kv_edge_core::tenants::answer::{Answered, LOOKED_FOR, source};
use kv_edge_core::tenants::failover::{self, SecondTries};
use kv_edge_core::tenants::plan::{Asked, Plan, Resend, Settings, Target};
use kv_edge_core::tenants::record::{Fallback, Record, Stored};
use worker::web_sys::Response;

use crate::bindings::Bindings;
use crate::clock::Clock;
use crate::error::Failure;
use crate::incoming::Incoming;
use crate::kv::{NotRead, Remembered};
use crate::message::{Received, Sent};
use crate::{log, response};

thread_local! {
    static RECORDS: RefCell<Memory<Rc<Stored>>> = const { RefCell::new(Memory::new()) };
    static CIRCUITS: RefCell<Circuits> = const { RefCell::new(Circuits::new()) };
    static SECOND_TRIES: RefCell<SecondTries> = const { RefCell::new(SecondTries::new()) };
}

const ROUTE: &str = "/stores/{storefrontId}";

/// Sends the request to the storefront's origin and streams the answer back.
pub(crate) async fn answer(
    incoming: &Incoming,
    named: &Named<'static>,
    target: &RequestTarget<'_>,
) -> Result<Response, Failure> {
    let mut address = Address::of(named, target)?;
    let now_ms = Clock.now_ms();
    let mut held = stored(incoming, &address.key, now_ms).await?.ok_or_else(|| address.not_found())?;
    if let Stored::Storefront(id) = &*held.value {
        let id = id.clone();
        let dangling = || TenantError::DanglingDomain(id.as_str().to_owned());
        held = stored(incoming, &id, now_ms).await?.ok_or_else(dangling)?;
        address.key = id;
    }
    let Stored::Record(record) = &*held.value else { return Err(address.not_found().into()) };

    let vars = incoming.vars();
    let fields = incoming.fields();
    let asked = Asked { method: incoming.method(), target, fields: &fields, has_body: incoming.has_body() };
    let settings = Settings {
        token: vars.token.as_deref(),
        visitor_key: vars.visitor_key.as_ref(),
        timeout: vars.upstream_timeout,
    };
    let plan = Plan::new(&asked, &address, record, &settings, || Clock.random_bits())?;
    let (body, began_ms) = match plan.resend {
        Resend::WithBody => {
            let body = incoming.body_bytes().await.map_err(|_| Failure::body_broken())?;
            // A visitor who sends slowly does not use up the origin's time.
            (Some(body), Clock.now_ms())
        }
        Resend::Never | Resend::AsItIs => (None, now_ms),
    };
    let sent = Sent { request: incoming.request(), body: body.as_ref(), edits: &plan.edits, looked_for: LOOKED_FOR };
    let proxied = Proxied { incoming, target, address: &address, record, plan: &plan, sent, held: &held, began_ms };
    proxied.answer().await
}

/// What stands under a key of `ROUTING_CONFIG`.
async fn stored(incoming: &Incoming, key: &Key<'_>, now_ms: u64) -> Result<Option<Held<Rc<Stored>>>, Failure> {
    let vars = incoming.vars();
    let records = Remembered {
        store: Bindings::storefronts,
        memory: &RECORDS,
        refresh_ms: vars.routing_refresh_ms,
        parse: move |key: &str, json: &str| Stored::parse(key, json, Some(&vars.routing)),
        route: ROUTE,
    };
    records.get(incoming, key, now_ms).await.map_err(|error| match error {
        NotRead::Store(error) => error.into(),
        NotRead::Broken(error) => TenantError::from(error).into(),
    })
}

/// A request that goes to an origin.
struct Proxied<'a> {
    incoming: &'a Incoming,
    target: &'a RequestTarget<'a>,
    address: &'a Address<'a>,
    record: &'a Record,
    plan: &'a Plan<'a>,
    sent: Sent<'a>,
    held: &'a Held<Rc<Stored>>,
    /// When it began, in milliseconds since the Unix epoch.
    began_ms: u64,
}

/// What came of asking one server. The failure of one that gave an answer, 502 to 504, is an answer too.
type Outcome<'a> = Result<(Received, Target<'a>), Failure>;

impl<'a> Proxied<'a> {
    async fn answer(&self) -> Result<Response, Failure> {
        let plan = self.plan;
        let first = with(&CIRCUITS, |circuits| failover::first(plan.target, &plan.others, circuits, self.began_ms));
        let (outcome, is_unsent) = match first {
            Ok(first) => (self.tries(first).await, false),
            Err(open) => (Err(open.into()), true),
        };
        if is_failed(&outcome)
            && let Some(fallback) = &self.record.fallback
            && let Some(answer) = self.fall_back(fallback, is_unsent, &outcome).await
        {
            return answer;
        }
        let (received, target) = outcome?;
        self.visible(&received, target, false)
    }

    /// One try, and a second one where that is allowed, has a chance and there is time.
    async fn tries(&self, first: Target<'a>) -> Outcome<'a> {
        with(&SECOND_TRIES, SecondTries::requested);
        let outcome = self.ask(first, self.plan.timeout).await;
        if !is_failed(&outcome) {
            return outcome;
        }
        let now_ms = Clock.now_ms();
        let left = self.plan.timeout.saturating_sub(Duration::from_millis(now_ms.saturating_sub(self.began_ms)));
        let Some(second) = self.second(first, now_ms).filter(|_| !left.is_zero()) else { return outcome };
        let later = self.ask(second, left).await;
        match (&outcome, &later) {
            // What an origin says of its failure says more than that another one cannot be reached.
            (Ok(_), Err(_)) => outcome,
            (Ok((received, _)), Ok(_)) => {
                received.discard();
                later
            }
            (Err(_), _) => later,
        }
    }

    /// The server for a second try.
    fn second(&self, first: Target<'a>, now_ms: u64) -> Option<Target<'a>> {
        let plan = self.plan;
        if plan.resend == Resend::Never || !with(&SECOND_TRIES, SecondTries::take) {
            return None;
        }
        with(&CIRCUITS, |circuits| failover::second(first, plan.target, &plan.others, circuits, now_ms))
    }

    /// Sends the request to one server and tells its circuit what came of it.
    async fn ask(&self, target: Target<'a>, deadline: Duration) -> Outcome<'a> {
        let url = target.backend.join(self.address.rest, self.target.query);
        let outcome = match self.sent.to(&url, deadline).await {
            Ok(Some(received)) => Ok((received, target)),
            Ok(None) => Err(Failure::origin_timeout()),
            Err(thrown) => Err(Failure::origin_failed(&thrown)),
        };
        let ended = if is_failed(&outcome) { circuit::Outcome::Failed } else { circuit::Outcome::Answered };
        with(&CIRCUITS, |circuits| {
            let origin = target.backend.origin().as_str();
            // The usual answer is worth no look at the clock.
            if ended == circuit::Outcome::Failed || circuits.has_failed_lately(origin) {
                circuits.ended(origin, ended, Clock.now_ms());
            }
        });
        outcome
    }

    /// The answer of the record's fallback; `None` where it has none to give, and the failure stands.
    async fn fall_back(
        &self,
        fallback: &'a Fallback,
        is_unsent: bool,
        outcome: &Outcome<'a>,
    ) -> Option<Result<Response, Failure>> {
        match fallback {
            Fallback::Backend(backend) => {
                if !is_unsent && self.plan.resend == Resend::Never {
                    return None;
                }
                let target = Target { variant: None, backend };
                let timeout = self.incoming.vars().upstream_timeout.of_request(self.incoming.has_body());
                let (received, _) = self.ask(target, timeout).await.ok()?;
                warn_of(outcome);
                Some(self.visible(&received, target, true))
            }
            Fallback::Page(key) => {
                let page = self.incoming.env().files().stream(key).await.ok()??;
                warn_of(outcome);
                let id = id_field(self.address.key.as_str());
                let fields = [
                    ("content-type", "text/html; charset=utf-8"),
                    ("cache-control", "no-store"),
                    ("retry-after", "30"),
                    ("x-served-by", "Cloudflare Worker"),
                    ("x-storefront-id", &id),
                    ("routing-source", source(self.held.standing, true).unwrap_or_default()),
                ];
                Some(response::with_status(503, &page, &fields).map_err(|thrown| Failure::internal(&thrown)))
            }
        }
    }

    /// The answer as the visitor sees it.
    fn visible(&self, received: &Received, target: Target<'_>, is_fallback: bool) -> Result<Response, Failure> {
        let fields = received.fields();
        let answered = Answered {
            fields: &fields,
            target,
            is_fallback,
            standing: self.held.standing,
            set_cookie: self.plan.set_cookie.as_deref(),
        };
        let edits = answered.edits(self.target, self.address, self.record);
        // What the runtime refuses to pass on, such as the status 999, is no HTTP answer.
        received.changed(&edits).map_err(|thrown| Failure::origin_failed(&thrown))
    }
}

/// The visitor is not told of the failure, so the log is.
fn warn_of(outcome: &Outcome<'_>) {
    match outcome {
        Ok((received, _)) => {
            received.discard();
            log::warning(ROUTE, "fallback", &format!("the origin answered {}", received.status));
        }
        Err(failure) => log::warning(ROUTE, "fallback", &failure.cause()),
    }
}

fn is_failed(outcome: &Outcome<'_>) -> bool {
    outcome.as_ref().map_or(true, |(received, _)| failover::is_failure(received.status))
}

fn with<T, R>(state: &'static std::thread::LocalKey<RefCell<T>>, change: impl FnOnce(&mut T) -> R) -> R {
    state.with_borrow_mut(change)
}
