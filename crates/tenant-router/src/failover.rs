//! Failover: what counts as a failure of an upstream, which one is tried next, and when none
//! is.
//!
//! [`Failover::first`] chooses the upstream, and [`Failover::after`] a second one if that
//! fails. [`Failover::fallback`] decides whether the record's fallback serves the request, and
//! [`Failover::outlier_of_last_resort`] chooses an outlier if nothing else is left. The circuit
//! breakers are those of [`circuit_breaker`]. Times are milliseconds since the Unix epoch.

use std::time::Duration;

use super::TenantError;
use super::request_plan::{BodyMode, RequestPlan, RouteTarget};
use super::storefront_record::Fallback;
use super::upstream::Upstream;
use circuit_breaker::{Admission, Circuits, OpenedCircuit, Outcome};

/// The shortest deadline whose expiry counts as a failure of the upstream, in milliseconds. A
/// shorter one says more about the record than about the upstream.
const SIGNIFICANT_DEADLINE_MS: u128 = 1000;

/// How one try ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TryResult {
    /// The upstream responded with this status.
    Response(u16),
    /// The upstream could not be reached, or closed the connection.
    Unreached,
    /// No response had begun by the deadline.
    TimedOut,
}

/// The state of failover in one isolate, for all storefronts.
///
/// # Examples
///
/// `plan` is the [`RequestPlan`] of a `GET`, and [`TryResult`] is how a try ended.
///
/// ```
/// # use http_semantics::fields::HeaderSection;
/// # use http_semantics::request_target::RequestTarget;
/// # use http_semantics::upstream_timeout::UpstreamTimeout;
/// # use tenant_router::request_plan::{RequestPlan, RoutedRequest, RoutingSettings};
/// # use tenant_router::storefront_address::{Hosts, StorefrontAddress};
/// # use tenant_router::storefront_record::RoutingEntry;
/// #
/// use std::time::Duration;
///
/// use tenant_router::failover::{Failover, TryResult};
///
/// let json = r#"{"origin": "https://tea.example", "fallback": "https://backup.example"}"#;
/// # let entry = RoutingEntry::parse("tea", json, None).unwrap();
/// # let RoutingEntry::Record(record) = entry else { panic!("it is a storefront") };
/// # let target = RequestTarget::parse("https://shops.example/stores/tea/cart");
/// # let host = Hosts::parse("", "").match_host(target.authority);
/// # let address = StorefrontAddress::of(&host, &target).unwrap();
/// # let fields = HeaderSection::default();
/// # let (method, has_body) = ("GET", false);
/// # let request = RoutedRequest { method, target: &target, fields: &fields, has_body };
/// # let timeout = UpstreamTimeout::from_milliseconds(10_000);
/// # let settings = RoutingSettings { token: None, visitor_key: None, timeout };
/// # let plan = RequestPlan::new(&request, &address, &record, &settings, || 0).unwrap();
/// let mut failover = Failover::new(65_536);
/// let fallback = record.fallback.as_ref();
/// let first = failover.first(&plan, fallback, 1000)?;
///
/// // It is overloaded, and says so after 80 ms. It is tried once more, for the time that is left.
/// let (failed, spent) = (TryResult::Response(503), Duration::from_millis(80));
/// let (second, time_left) = failover.after(&plan, first, failed, spent, 1080).second.unwrap();
/// assert_eq!((second, time_left.as_millis()), (first, 9920));
///
/// // That fails, too, so the fallback serves the request.
/// failover.record_second(&plan, (first, second), failed, time_left, 1160);
/// assert_eq!(failover.fallback(fallback, &plan, Some(failed), 1160), fallback);
/// # Ok::<(), tenant_router::TenantError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Failover {
    circuits: Circuits,
    retries: RetryBudget,
}

/// What follows from the first try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowUp<'r> {
    /// The upstream to try next, and its deadline.
    pub second: Option<(RouteTarget<'r>, Duration)>,
    /// The circuit that this failure opened.
    pub opened: Option<OpenedCircuit>,
}

impl TryResult {
    /// Returns true if the upstream failed: it did not respond, or with 502, 503 or 504 (RFC
    /// 9110 §15.6.3 to §15.6.5).
    #[must_use]
    pub fn is_failure(self) -> bool {
        !matches!(self, Self::Response(status) if !matches!(status, 502..=504))
    }

    /// Returns true if the result of this second try is served in place of that of the first
    /// one. A response always is: it is the newer one, or the only one. Without one, that
    /// of the first try is kept if it is a response.
    #[must_use]
    pub fn replaces(self, first: Self) -> bool {
        matches!(self, Self::Response(_)) || !matches!(first, Self::Response(_))
    }

    /// Returns what is recorded for the upstream, or `None` if the failure may not be its own: the
    /// visitor may have broken off or slowed down a streamed body, or the deadline was too short.
    fn outcome(self, plan: &RequestPlan<'_>, deadline: Duration) -> Option<Outcome> {
        match self {
            Self::Response(_) if self.is_failure() => Some(Outcome::GatewayError),
            Self::Response(_) => Some(Outcome::Success),
            Self::Unreached | Self::TimedOut if plan.body == BodyMode::Streamed => None,
            Self::TimedOut if deadline.as_millis() < SIGNIFICANT_DEADLINE_MS => None,
            Self::Unreached | Self::TimedOut => Some(Outcome::NoResponse),
        }
    }
}

impl Failover {
    /// Returns the initial state: all circuits are closed. `bytes_max` bounds the memory for
    /// upstreams that failed lately.
    #[must_use]
    pub const fn new(bytes_max: usize) -> Self {
        Self { circuits: Circuits::new(bytes_max), retries: RetryBudget::new() }
    }

    /// Returns the bound of the memory in bytes.
    #[must_use]
    pub const fn bytes_max(&self) -> usize {
        self.circuits.bytes_max()
    }

    /// Chooses the upstream of a request: the first whose circuits admit it.
    ///
    /// An outlier is passed over if another variant or a fallback server can take its place, at an
    /// origin that has not failed lately, and the request could be sent again. Otherwise it is
    /// still tried: it is better than nothing (Envoy's panic threshold), and the requests of other
    /// visitors may have made it an outlier.
    ///
    /// # Errors
    /// [`TenantError::CircuitOpen`] if no circuit admits the request, with the shortest time
    /// until one may.
    pub fn first<'r>(
        &mut self,
        plan: &RequestPlan<'r>,
        fallback: Option<&Fallback>,
        now_ms: u64,
    ) -> Result<RouteTarget<'r>, TenantError> {
        self.retries.add_request();
        let mut shortest_ms = u64::MAX;
        for target in plan.targets() {
            let has_alternative = self.has_alternative(plan, fallback, target);
            match self.admit(plan, target, has_alternative, now_ms) {
                Admission::Closed | Admission::Probe => return Ok(target),
                Admission::Open { retry_after_ms } => shortest_ms = shortest_ms.min(retry_after_ms),
            }
        }
        Err(TenantError::CircuitOpen { retry_after_seconds: shortest_ms.div_ceil(1000).max(1) })
    }

    /// Returns the upstream to try if [`first`](Self::first) found none and the fallback did
    /// not serve the request either: an outlier, if the request can be sent again.
    pub fn outlier_of_last_resort<'r>(&mut self, plan: &RequestPlan<'r>, now_ms: u64) -> Option<RouteTarget<'r>> {
        plan.targets().filter(|_| plan.may_resend).find(|target| self.admits(plan, *target, false, now_ms))
    }

    /// Returns true if an upstream at another origin, which has not failed lately, can serve
    /// the request instead. A maintenance page does not count.
    fn has_alternative(&self, plan: &RequestPlan<'_>, fallback: Option<&Fallback>, target: RouteTarget<'_>) -> bool {
        let fallback = match fallback {
            Some(Fallback::Upstream(upstream)) => Some(upstream),
            Some(Fallback::Page(_)) | None => None,
        };
        let upstreams = plan.targets().map(|other| other.upstream).chain(fallback);
        // The request must still be there to send if the alternative fails.
        let upstreams = upstreams.filter(|_| plan.may_resend);
        let mut origins = upstreams.map(Upstream::origin).filter(|origin| *origin != target.upstream.origin());
        origins.any(|origin| !self.circuits.has_failed_lately(origin.as_str()))
    }

    /// Returns true if the end of a try changes nothing, so that [`after`](Self::after) and its
    /// look at the clock can be skipped.
    #[must_use]
    pub fn is_uneventful(&self, target: RouteTarget<'_>, result: TryResult) -> bool {
        !result.is_failure() && !self.circuits.has_failed_lately(target.upstream.origin().as_str())
    }

    /// Records how the first try ended, `spent` after it began, and chooses the upstream of a
    /// second try.
    ///
    /// That is, in this order: the request's own upstream if it was passed over; another
    /// variant at another origin, preferably one that is not an outlier; the same upstream,
    /// unless a circuit has opened. There is no second try if the first one succeeded or the
    /// request cannot be sent again; nor if no time is left or the isolate has used up its second
    /// tries, which does not matter for an upstream that was passed over.
    pub fn after<'r>(
        &mut self,
        plan: &RequestPlan<'r>,
        target: RouteTarget<'r>,
        result: TryResult,
        spent: Duration,
        now_ms: u64,
    ) -> FollowUp<'r> {
        let opened = self.record(plan, target, result, plan.timeout, now_ms);
        let second = if result.is_failure() && plan.may_resend {
            let left = plan.timeout.saturating_sub(spent);
            self.passed_over(plan, target, now_ms).or_else(|| self.second(plan, target, (result, left), now_ms))
        } else {
            None
        };
        FollowUp { second, opened }
    }

    /// Returns the request's own upstream if it was passed over as an outlier. It gets the full
    /// time again and costs no second try, because only the failures of other requests kept it
    /// from being tried first.
    fn passed_over<'r>(
        &mut self,
        plan: &RequestPlan<'r>,
        failed: RouteTarget<'_>,
        now_ms: u64,
    ) -> Option<(RouteTarget<'r>, Duration)> {
        let was_passed_over = failed.upstream.origin() != plan.target.upstream.origin();
        (was_passed_over && self.admits(plan, plan.target, false, now_ms)).then_some((plan.target, plan.timeout))
    }

    fn second<'r>(
        &mut self,
        plan: &RequestPlan<'r>,
        failed: RouteTarget<'r>,
        (result, left): (TryResult, Duration),
        now_ms: u64,
    ) -> Option<(RouteTarget<'r>, Duration)> {
        // The order matters, because each check uses something up: first a try, then a probe.
        if result == TryResult::TimedOut || left.is_zero() || !self.retries.take() {
            return None;
        }
        let elsewhere = || plan.targets().filter(|other| other.upstream.origin() != failed.upstream.origin());
        let healthy = elsewhere().map(|target| (target, true));
        let all = healthy.chain(elsewhere().map(|target| (target, false))).chain([(failed, false)]);
        let mut all = all.filter(|(target, has_alternative)| self.admits(plan, *target, *has_alternative, now_ms));
        all.next().map(|(target, _)| (target, left))
    }

    /// Records how a try ended, and returns the circuit that it opened. [`after`](Self::after)
    /// does this for a first try, and [`record_second`](Self::record_second) for a second one.
    pub fn record(
        &mut self,
        plan: &RequestPlan<'_>,
        target: RouteTarget<'_>,
        result: TryResult,
        deadline: Duration,
        now_ms: u64,
    ) -> Option<OpenedCircuit> {
        let outcome = result.outcome(plan, deadline)?;
        self.circuits.record_outcome(target.upstream.origin().as_str(), || plan.request_key(target), outcome, now_ms)
    }

    /// Records how a second try ended, as [`record`](Self::record) does. A second failure at the
    /// same origin is not recorded, so that a circuit opens after five failed requests, not after
    /// three that failed twice.
    pub fn record_second(
        &mut self,
        plan: &RequestPlan<'_>,
        (first, second): (RouteTarget<'_>, RouteTarget<'_>),
        result: TryResult,
        deadline: Duration,
        now_ms: u64,
    ) -> Option<OpenedCircuit> {
        let is_same = first.upstream.origin() == second.upstream.origin();
        if is_same && result.is_failure() { None } else { self.record(plan, second, result, deadline, now_ms) }
    }

    /// Returns the fallback that serves the request, unless the last try succeeded. `result` is
    /// how that ended, or `None` if there was none. A fallback server is used only if the request
    /// can still be sent, and only if its own circuit admits it.
    pub fn fallback<'r>(
        &mut self,
        fallback: Option<&'r Fallback>,
        plan: &RequestPlan<'_>,
        result: Option<TryResult>,
        now_ms: u64,
    ) -> Option<&'r Fallback> {
        if result.is_some_and(|result| !result.is_failure()) {
            return None;
        }
        fallback.filter(|fallback| match fallback {
            Fallback::Page(_) => true,
            Fallback::Upstream(upstream) => {
                let can_be_sent = result.is_none() || plan.may_resend;
                can_be_sent && self.admits(plan, RouteTarget { variant: None, upstream }, false, now_ms)
            }
        })
    }

    /// Returns the upstreams, that of the fallback included, whose open circuit refuses the
    /// request at this moment, each with the time after which to try again, in milliseconds.
    /// Records nothing.
    pub fn open_circuits<'r>(
        &self,
        plan: &RequestPlan<'r>,
        fallback: Option<&'r Fallback>,
        now_ms: u64,
    ) -> impl Iterator<Item = (&'r Upstream, u64)> {
        let targets = plan.targets().map(move |target| (target, self.has_alternative(plan, fallback, target)));
        let fallback = match fallback {
            Some(Fallback::Upstream(upstream)) => Some((RouteTarget { variant: None, upstream }, false)),
            Some(Fallback::Page(_)) | None => None,
        };
        targets.chain(fallback).filter_map(move |(target, has_alternative)| {
            let origin = target.upstream.origin().as_str();
            match self.circuits.admission(origin, || plan.request_key(target), has_alternative, now_ms) {
                Admission::Open { retry_after_ms } => Some((target.upstream, retry_after_ms)),
                Admission::Closed | Admission::Probe => None,
            }
        })
    }

    fn admits(&mut self, plan: &RequestPlan<'_>, target: RouteTarget<'_>, has_alternative: bool, now_ms: u64) -> bool {
        let admission = self.admit(plan, target, has_alternative, now_ms);
        matches!(admission, Admission::Closed | Admission::Probe)
    }

    fn admit(
        &mut self,
        plan: &RequestPlan<'_>,
        target: RouteTarget<'_>,
        has_alternative: bool,
        now_ms: u64,
    ) -> Admission {
        let origin = target.upstream.origin().as_str();
        self.circuits.admit(origin, || plan.request_key(target), has_alternative, now_ms)
    }
}

/// The retry budget of an isolate: a tenth of its requests, and ten more. So an outage does not
/// double the load.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RetryBudget {
    /// The budget in tenths of a try.
    tenths: u32,
}

impl RetryBudget {
    const TENTHS_MAX: u32 = 100;
    const TRY: u32 = 10;

    /// Returns a budget of ten tries.
    const fn new() -> Self {
        Self { tenths: Self::TENTHS_MAX }
    }

    /// Adds the share of one request, however it ends.
    fn add_request(&mut self) {
        self.tenths = (self.tenths + 1).min(Self::TENTHS_MAX);
    }

    /// Uses one try up; returns false if none is left.
    fn take(&mut self) -> bool {
        let left = self.tenths.checked_sub(Self::TRY);
        self.tenths = left.unwrap_or(self.tenths);
        left.is_some()
    }
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::upstream::Upstream;
    use http_semantics::fields::HeaderEdits;
    use kv_store::limits::Key;

    const BYTES: usize = 1024 * 1024;
    const SECOND: Duration = Duration::from_secs(1);

    fn plan<'a>(target: RouteTarget<'a>, others: &[RouteTarget<'a>]) -> RequestPlan<'a> {
        RequestPlan {
            method: "GET",
            rest: "/x",
            query: None,
            client: None,
            target,
            others: others.to_vec(),
            edits: HeaderEdits::default(),
            set_cookie: None,
            timeout: Duration::from_secs(5),
            body: BodyMode::None,
            may_resend: true,
        }
    }

    fn upstreams() -> [Upstream; 3] {
        ["https://a.example", "https://b.example", "https://a.example/x"].map(|url| Upstream::parse(url).unwrap())
    }

    fn open(failover: &mut Failover, target: RouteTarget<'_>) {
        for _ in 0..5 {
            failover.record(&plan(target, &[]), target, TryResult::Unreached, SECOND, 0);
        }
    }

    fn second<'a>(failover: &mut Failover, plan: &RequestPlan<'a>, target: RouteTarget<'a>) -> Option<RouteTarget<'a>> {
        failover.after(plan, target, TryResult::Response(503), Duration::ZERO, 1).second.map(|(target, _)| target)
    }

    #[test]
    fn second_tries_are_a_tenth_of_the_requests_and_ten_more() {
        let mut tries = RetryBudget::new();
        let mut taken = 0;
        for _ in 0..1000 {
            tries.add_request();
            taken += u32::from(tries.take());
        }
        assert!((109..=110).contains(&taken), "{taken}");
        (0..5000).for_each(|_| tries.add_request());
        assert_eq!((0..99).filter(|_| tries.take()).count(), 10);
    }

    #[test]
    fn gateway_errors_are_failures_and_the_applications_own_are_not() {
        for (status, failed) in [
            (200, false),
            (404, false),
            (500, false),
            (501, false),
            (502, true),
            (503, true),
            (504, true),
            (505, false),
        ] {
            assert_eq!(TryResult::Response(status).is_failure(), failed, "{status}");
        }
        assert!(TryResult::Unreached.is_failure() && TryResult::TimedOut.is_failure());
    }

    #[test]
    fn a_response_of_either_try_is_preferred_to_none() {
        let (response, none) = (TryResult::Response(503), [TryResult::Unreached, TryResult::TimedOut]);
        assert!(TryResult::Response(200).replaces(response) && response.replaces(response));
        for none in none {
            assert!(response.replaces(none) && none.replaces(TryResult::Unreached) && !none.replaces(response));
        }
    }

    #[test]
    fn the_first_upstream_with_a_closed_circuit_is_tried_and_then_another_one() {
        let upstreams = upstreams();
        let [a, b, same_origin] = upstreams.each_ref().map(|upstream| RouteTarget { variant: None, upstream });
        let mut failover = Failover::new(BYTES);
        let both = plan(a, &[b]);
        assert_eq!(failover.first(&both, None, 1), Ok(a));
        assert_eq!(second(&mut failover, &both, a), Some(b));
        assert_eq!(second(&mut failover, &plan(a, &[same_origin]), a), Some(a), "the same origin is no other server");
        assert_eq!(second(&mut Failover::new(BYTES), &plan(a, &[]), a), Some(a));
        open(&mut failover, a);
        assert_eq!(failover.first(&both, None, 1), Ok(b));
        assert_eq!(second(&mut failover, &both, b), Some(b), "the other one's circuit is open");
        open(&mut failover, b);
        assert_eq!(second(&mut failover, &both, a), None);
        assert_eq!(failover.first(&both, None, 1), Err(TenantError::CircuitOpen { retry_after_seconds: 10 }));
    }

    #[test]
    fn open_circuits_are_those_that_keep_a_request_away_and_looking_at_them_changes_nothing() {
        let upstreams = upstreams();
        let [a, b, same_origin] = upstreams.each_ref().map(|upstream| RouteTarget { variant: None, upstream });
        let mut failover = Failover::new(BYTES);
        let both = plan(a, &[b]);
        let fallback = Fallback::Upstream(same_origin.upstream.clone());
        let urls = |failover: &Failover, now_ms| {
            let open = failover.open_circuits(&both, Some(&fallback), now_ms);
            open.map(|(upstream, ms)| (upstream.join("/x", None), ms)).collect::<Vec<_>>()
        };
        assert_eq!(urls(&failover, 0), []);
        open(&mut failover, a);
        // The requests failed at the path of `a`, so the fallback at the same origin is no
        // outlier.
        assert_eq!(urls(&failover, 4000), [("https://a.example/x".to_owned(), 6000)]);
        assert_eq!(failover.first(&both, Some(&fallback), 4000), Ok(b));
        // A look is no probe: the first request after it is one.
        assert_eq!((urls(&failover, 10_000), urls(&failover, 10_000)), (vec![], vec![]));
        assert_eq!(failover.first(&both, Some(&fallback), 10_000), Ok(a));
    }

    #[test]
    fn there_is_no_second_try_after_the_deadline_or_for_a_request_that_cannot_be_sent_again() {
        let upstreams = upstreams();
        let [a, b, _] = upstreams.each_ref().map(|upstream| RouteTarget { variant: None, upstream });
        let again = plan(a, &[b]);
        let never = RequestPlan { may_resend: false, ..plan(a, &[b]) };
        for (plan, result, spent, tried) in [
            (&again, TryResult::Unreached, Duration::ZERO, true),
            (&again, TryResult::Response(502), Duration::from_millis(4999), true),
            (&again, TryResult::Response(502), Duration::from_secs(5), false),
            (&again, TryResult::Response(500), Duration::ZERO, false),
            (&again, TryResult::TimedOut, Duration::ZERO, false),
            (&never, TryResult::Unreached, Duration::ZERO, false),
        ] {
            let second = Failover::new(BYTES).after(plan, a, result, spent, 1).second;
            assert_eq!(second, tried.then(|| (b, plan.timeout.saturating_sub(spent))), "{result:?} {spent:?}");
        }
    }

    #[test]
    fn a_second_try_that_is_not_made_takes_no_probe() {
        let upstreams = upstreams();
        let [a, b, _] = upstreams.each_ref().map(|upstream| RouteTarget { variant: None, upstream });
        let mut failover = Failover::new(BYTES);
        open(&mut failover, b);
        let due_ms = 10_001;
        assert_eq!(failover.after(&plan(a, &[b]), a, TryResult::TimedOut, Duration::ZERO, due_ms).second, None);
        assert_eq!(failover.first(&plan(b, &[]), None, due_ms), Ok(b), "the probe is still there to take");
    }

    #[test]
    fn a_failure_that_may_be_the_visitors_is_not_recorded_for_the_origin() {
        let upstreams = upstreams();
        let [a, ..] = upstreams.each_ref().map(|upstream| RouteTarget { variant: None, upstream });
        let streamed = RequestPlan { body: BodyMode::Streamed, may_resend: false, ..plan(a, &[]) };
        for (plan, result, deadline, opens) in [
            (plan(a, &[]), TryResult::Unreached, SECOND, true),
            (plan(a, &[]), TryResult::TimedOut, SECOND, true),
            (plan(a, &[]), TryResult::TimedOut, Duration::from_millis(999), false),
            (plan(a, &[]), TryResult::Unreached, Duration::from_millis(1), true),
            (RequestPlan { body: BodyMode::Streamed, ..plan(a, &[]) }, TryResult::Unreached, SECOND, false),
            (RequestPlan { body: BodyMode::Streamed, ..plan(a, &[]) }, TryResult::TimedOut, SECOND, false),
            (streamed, TryResult::Response(502), SECOND, true),
        ] {
            let mut failover = Failover::new(BYTES);
            let opened: Vec<bool> = (0..6).map(|_| failover.record(&plan, a, result, deadline, 0).is_some()).collect();
            assert_eq!(opened, [false, false, false, false, opens, false], "{result:?}");
            assert_eq!(failover.first(&plan, None, 1).is_err(), opens, "{result:?}");
        }
    }

    #[test]
    fn two_tries_of_a_request_at_one_origin_are_one_failure() {
        let upstreams = upstreams();
        let [a, b, same_origin] = upstreams.each_ref().map(|upstream| RouteTarget { variant: None, upstream });
        for (second, result, circuits) in
            [(a, TryResult::Unreached, 0), (same_origin, TryResult::Response(503), 0), (b, TryResult::Response(503), 1)]
        {
            let mut failover = Failover::new(BYTES);
            let opened = (0..5)
                .filter(|_| failover.record_second(&plan(a, &[b]), (a, second), result, SECOND, 0).is_some())
                .count();
            assert_eq!(opened, circuits, "{result:?}");
        }
    }

    #[test]
    fn the_fallback_serves_if_the_upstreams_failed_and_the_request_can_be_sent_to_it() {
        let upstreams = upstreams();
        let [a, b, _] = upstreams.each_ref().map(|upstream| RouteTarget { variant: None, upstream });
        let page = Fallback::Page(Key::literal("maintenance.html"));
        let server = Fallback::Upstream(b.upstream.clone());
        let again = plan(a, &[]);
        let never = RequestPlan { may_resend: false, ..plan(a, &[]) };
        for (fallback, plan, result, is_used) in [
            (&page, &never, Some(TryResult::Unreached), true),
            (&page, &again, Some(TryResult::Response(503)), true),
            (&page, &again, Some(TryResult::Response(500)), false),
            (&page, &again, None, true),
            (&server, &again, Some(TryResult::TimedOut), true),
            (&server, &again, Some(TryResult::Response(200)), false),
            (&server, &never, Some(TryResult::Unreached), false),
            (&server, &never, None, true),
        ] {
            let mut failover = Failover::new(BYTES);
            assert_eq!(failover.fallback(Some(fallback), plan, result, 1), is_used.then_some(fallback), "{result:?}");
            assert_eq!(failover.fallback(None, plan, result, 1), None);
        }
        let mut failover = Failover::new(BYTES);
        open(&mut failover, b);
        assert_eq!(failover.fallback(Some(&server), &again, None, 1), None, "its own circuit is open");
    }

    /// Makes all tries of one request as the Worker does. Returns true if the visitor gets a
    /// response that is not a failure.
    fn is_served<'r>(
        failover: &mut Failover,
        plan: &RequestPlan<'r>,
        fallback: Option<&'r Fallback>,
        now_ms: u64,
        world: &impl Fn(&RequestPlan<'_>, RouteTarget<'_>) -> TryResult,
    ) -> bool {
        let tries = |failover: &mut Failover, first: RouteTarget<'r>| {
            let result = world(plan, first);
            let Some((second, left)) = failover.after(plan, first, result, Duration::from_secs(1), now_ms).second
            else {
                return result;
            };
            let later = world(plan, second);
            failover.record_second(plan, (first, second), later, left, now_ms);
            if later.replaces(result) { later } else { result }
        };
        let first = failover.first(plan, fallback, now_ms).ok();
        let result = first.map(|first| tries(failover, first));
        if result.is_some_and(|result| !result.is_failure()) {
            return true;
        }
        match failover.fallback(fallback, plan, result, now_ms) {
            Some(Fallback::Upstream(upstream)) => {
                let target = RouteTarget { variant: None, upstream };
                let result = world(plan, target);
                failover.record(plan, target, result, plan.timeout, now_ms);
                if !result.is_failure() {
                    return true;
                }
            }
            Some(Fallback::Page(_)) => return false,
            None => {}
        }
        let outlier = if result.is_none() { failover.outlier_of_last_resort(plan, now_ms) } else { None };
        outlier.is_some_and(|outlier| !tries(failover, outlier).is_failure())
    }

    /// How an attacker can make each of their requests end: every kind of failure, a success, and
    /// an error of the application.
    const KINDS: [TryResult; 7] = [
        TryResult::Response(200),
        TryResult::Response(500),
        TryResult::Response(502),
        TryResult::Response(503),
        TryResult::Response(504),
        TryResult::Unreached,
        TryResult::TimedOut,
    ];

    proptest! {
        /// The attacker has one address, any number of paths and any method, and decides by
        /// path, fields or body how each request ends.
        #[test]
        fn whatever_one_visitor_makes_fail_no_other_visitors_request_to_a_healthy_path_fails(
            requests in prop::collection::vec((0..7_usize, 0..30_usize, 0..3_usize, 0..3000_u64, any::<bool>()), 1..150),
            (storefront, elsewhere_fails) in (0..5_u8, prop::option::of(2..7_usize)),
        ) {
            let upstreams = upstreams();
            let [a, b, _] = upstreams.each_ref().map(|upstream| RouteTarget { variant: None, upstream });
            let (page, server) = (Fallback::Page(Key::literal("maintenance.html")), Fallback::Upstream(b.upstream.clone()));
            let others = if storefront == 0 { vec![b] } else { Vec::new() };
            let fallback = match storefront {
                1 => Some(&page),
                2 => Some(&server),
                _ => None,
            };
            let elsewhere = elsewhere_fails.map_or(TryResult::Response(200), |kind| KINDS[kind]);
            let mut failover = Failover::new(BYTES);
            let mut now_ms = 0_u64;
            let paths: Vec<String> = (0..30).map(|number| format!("/{number}")).collect();
            for (kind, path, method, pause_ms, is_resent) in requests {
                now_ms += pause_ms;
                let client = Some("192.0.2.1".parse().unwrap());
                let method = ["GET", "PUT", "POST"][method];
                let attack = RequestPlan { method, rest: &paths[path], client, may_resend: method != "POST", ..plan(a, &others) };
                let attacked = |_: &RequestPlan<'_>, target: RouteTarget<'_>| if target == a { KINDS[kind] } else { elsewhere };
                is_served(&mut failover, &attack, fallback, now_ms, &attacked);

                let healthy = |_: &RequestPlan<'_>, target: RouteTarget<'_>| if target == a { TryResult::Response(200) } else { elsewhere };
                // Its path is that of the attacker's last request.
                let request = RequestPlan {
                    method: if is_resent { "GET" } else { "POST" },
                    rest: &paths[path],
                    client: Some("192.0.2.2".parse().unwrap()),
                    may_resend: is_resent,
                    ..plan(a, &others)
                };
                // A clone, so that no other success makes up for the failures.
                let mut failover = failover.clone();
                prop_assert!(is_served(&mut failover, &request, fallback, now_ms, &healthy), "{:?} {}", KINDS[kind], path);
            }
        }
    }

    #[test]
    fn an_outlier_is_passed_over_for_an_alternative_and_tried_if_that_fails() {
        let upstreams = upstreams();
        let [a, b, _] = upstreams.each_ref().map(|upstream| RouteTarget { variant: None, upstream });
        let [other, here] = ["/other", "/x"];
        let server = Fallback::Upstream(b.upstream.clone());
        for (others, fallback) in [(vec![b], None), (Vec::new(), Some(&server))] {
            let mut failover = Failover::new(BYTES);
            open(&mut failover, a);
            let elsewhere = RequestPlan { rest: other, ..plan(a, &others) };
            assert_eq!(failover.first(&elsewhere, fallback, 1).ok(), others.first().copied());
            let never = RequestPlan { rest: other, may_resend: false, ..plan(a, &others) };
            assert_eq!(failover.first(&never, fallback, 1), Ok(a), "it could not be sent again");
            assert_eq!(
                failover.first(&RequestPlan { rest: here, ..plan(a, &[]) }, None, 1).ok(),
                None,
                "the path that fails"
            );
            assert_eq!(failover.outlier_of_last_resort(&elsewhere, 1), Some(a));
            failover.record(&elsewhere, b, TryResult::Response(503), SECOND, 1);
            assert_eq!(failover.first(&elsewhere, fallback, 1), Ok(a), "the alternative has failed lately");
        }
        let mut failover = Failover::new(BYTES);
        open(&mut failover, a);
        let both = RequestPlan { rest: other, ..plan(a, &[b]) };
        for result in [TryResult::Response(503), TryResult::TimedOut] {
            let after = failover.after(&both, b, result, both.timeout, 1);
            assert_eq!(after.second, Some((a, both.timeout)), "its own server, with the same time again");
        }
        let page = Fallback::Page(Key::literal("maintenance.html"));
        let mut failover = Failover::new(BYTES);
        open(&mut failover, a);
        assert_eq!(
            failover.first(&RequestPlan { rest: other, ..plan(a, &[]) }, Some(&page), 1),
            Ok(a),
            "a page is no alternative"
        );
    }
}
