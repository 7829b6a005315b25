//! Failover: what counts as a failure of an upstream, which one is tried next, and when none
//! is.
//!
//! [`Failover::first`] chooses the upstream, and [`Failover::after`] a second one if that
//! fails. [`Failover::fallback`] decides whether the record's fallback serves the request, and
//! [`Failover::outlier_of_last_resort`] chooses an outlier if nothing else is left. The circuit
//! breakers are those of [`circuit_breaker`]. Times are milliseconds since the Unix epoch.

#[cfg(test)]
mod tests;

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
    ///
    /// # Examples
    ///
    /// ```
    /// use tenant_router::failover::TryResult;
    ///
    /// let overloaded = TryResult::Response(503);
    /// assert!(TryResult::Response(200).replaces(overloaded));
    /// assert!(!TryResult::TimedOut.replaces(overloaded), "the 503 says more");
    /// ```
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
