//! Failover: what counts as a failure of an upstream, which one is tried next, and when none
//! is.
//!
//! [`Failover::first`] chooses the upstream, and [`Failover::after`] a second one if that
//! fails. [`Failover::fallback`] decides whether the record's fallback serves the request, and
//! [`Failover::in_panic`] tries an outlier after all. The circuit breakers are those of
//! [`circuit_breaker`]. Times are milliseconds since the Unix epoch.

use std::time::Duration;

use super::TenantError;
use super::backend::Backend;
use super::plan::{Body, Plan, Target};
use super::record::Fallback;
use circuit_breaker::{Admission, Circuits, OpenedCircuit, Outcome};

/// The shortest deadline whose expiry counts as a failure of the origin, in milliseconds. A
/// shorter one says more about the record than about the origin.
const TELLING_DEADLINE_MS: u128 = 1000;

/// How one try ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The upstream responded with this status.
    Answered(u16),
    /// The upstream could not be reached, or closed the connection.
    Unreached,
    /// No response had begun by the deadline.
    Late,
}

/// The state of failover in one isolate, for all storefronts.
#[derive(Debug, Clone)]
pub struct Failover {
    circuits: Circuits,
    second_tries: SecondTries,
}

/// What follows from the first try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct After<'r> {
    /// The upstream to try next, and its deadline.
    pub second: Option<(Target<'r>, Duration)>,
    /// The circuit that this failure opened.
    pub opened: Option<OpenedCircuit>,
}

impl Ended {
    /// Returns true if the upstream failed: it did not respond, or with 502, 503 or 504 (RFC
    /// 9110 §15.6.3 to §15.6.5).
    #[must_use]
    pub fn is_failure(self) -> bool {
        !matches!(self, Self::Answered(status) if !matches!(status, 502..=504))
    }

    /// Returns true if the result of this second try is served in place of that of the first
    /// one. A response always is, because it says more than a connection that failed.
    #[must_use]
    pub fn replaces(self, first: Self) -> bool {
        matches!(self, Self::Answered(_)) || !matches!(first, Self::Answered(_))
    }

    /// Returns what is recorded for the origin, or `None` if the failure may be the visitor's:
    /// a streamed body breaks off, or takes its time, as they send it.
    fn for_circuit(self, plan: &Plan<'_>, deadline: Duration) -> Option<Outcome> {
        match self {
            Self::Answered(_) if self.is_failure() => Some(Outcome::GatewayError),
            Self::Answered(_) => Some(Outcome::Success),
            Self::Unreached | Self::Late if plan.body == Body::Streamed => None,
            Self::Late if deadline.as_millis() < TELLING_DEADLINE_MS => None,
            Self::Unreached | Self::Late => Some(Outcome::NoResponse),
        }
    }
}

impl Failover {
    /// Returns the initial state: all circuits are closed. `bytes_max` bounds the memory for
    /// origins that failed lately.
    #[must_use]
    pub const fn new(bytes_max: usize) -> Self {
        Self { circuits: Circuits::new(bytes_max), second_tries: SecondTries::new() }
    }

    /// Returns the bound of the memory in bytes.
    #[must_use]
    pub const fn bytes_max(&self) -> usize {
        self.circuits.bytes_max()
    }

    /// Chooses the upstream of a request: the first whose circuits admit it.
    ///
    /// An outlier is passed over if another variant or a fallback can take its place, at an
    /// origin that has not failed lately. Otherwise it is tried all the same: it is better than
    /// nothing (Envoy's panic threshold), and a stranger may have made it an outlier.
    ///
    /// # Errors
    /// [`TenantError::CircuitOpen`] if no circuit admits the request, with the shortest time
    /// until one may.
    pub fn first<'r>(
        &mut self,
        plan: &Plan<'r>,
        fallback: Option<&Fallback>,
        now_ms: u64,
    ) -> Result<Target<'r>, TenantError> {
        self.second_tries.requested();
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
    pub fn in_panic<'r>(&mut self, plan: &Plan<'r>, now_ms: u64) -> Option<Target<'r>> {
        plan.targets().filter(|_| plan.may_resend).find(|target| self.admits(plan, *target, false, now_ms))
    }

    /// Returns true if an upstream at another origin, which has not failed lately, can serve
    /// the request instead. A maintenance page does not count.
    fn has_alternative(&self, plan: &Plan<'_>, fallback: Option<&Fallback>, target: Target<'_>) -> bool {
        let fallback = match fallback {
            Some(Fallback::Backend(backend)) => Some(backend),
            Some(Fallback::Page(_)) | None => None,
        };
        let backends = plan.targets().map(|other| other.backend).chain(fallback);
        // The request must still be there to send if the alternative fails.
        let backends = backends.filter(|_| plan.may_resend);
        let mut origins = backends.map(Backend::origin).filter(|origin| *origin != target.backend.origin());
        origins.any(|origin| !self.circuits.has_failed_lately(origin.as_str()))
    }

    /// Returns true if the end of a try changes nothing, so that [`after`](Self::after) and its
    /// look at the clock can be skipped.
    #[must_use]
    pub fn is_of_no_matter(&self, asked: Target<'_>, ended: Ended) -> bool {
        !ended.is_failure() && !self.circuits.has_failed_lately(asked.backend.origin().as_str())
    }

    /// Records how the first try ended, `spent` after it began, and chooses the upstream of a
    /// second try.
    ///
    /// That is, in this order: the request's own upstream if it was passed over; another
    /// variant at another origin, preferably one that is not an outlier; the same upstream,
    /// unless a circuit has opened. There is no second try if the first one succeeded, the
    /// request cannot be sent again, no time is left, or the isolate has used up its second
    /// tries.
    pub fn after<'r>(
        &mut self,
        plan: &Plan<'r>,
        asked: Target<'r>,
        ended: Ended,
        spent: Duration,
        now_ms: u64,
    ) -> After<'r> {
        let opened = self.note(plan, asked, ended, plan.timeout, now_ms);
        let second = if ended.is_failure() && plan.may_resend {
            let left = plan.timeout.saturating_sub(spent);
            self.own(plan, asked, now_ms).or_else(|| self.second(plan, asked, (ended, left), now_ms))
        } else {
            None
        };
        After { second, opened }
    }

    /// Returns the request's own upstream if it was passed over as an outlier. It gets the full
    /// time again and costs no second try, because it would have been tried first but for the
    /// failures of others.
    fn own<'r>(&mut self, plan: &Plan<'r>, failed: Target<'_>, now_ms: u64) -> Option<(Target<'r>, Duration)> {
        let was_passed_over = failed.backend.origin() != plan.target.backend.origin();
        (was_passed_over && self.admits(plan, plan.target, false, now_ms)).then_some((plan.target, plan.timeout))
    }

    fn second<'r>(
        &mut self,
        plan: &Plan<'r>,
        failed: Target<'r>,
        (ended, left): (Ended, Duration),
        now_ms: u64,
    ) -> Option<(Target<'r>, Duration)> {
        // The order matters, because each check uses something up: first a try, then a probe.
        if ended == Ended::Late || left.is_zero() || !self.second_tries.take() {
            return None;
        }
        let elsewhere = || plan.targets().filter(|other| other.backend.origin() != failed.backend.origin());
        let healthy = elsewhere().map(|target| (target, true));
        let all = healthy.chain(elsewhere().map(|target| (target, false))).chain([(failed, false)]);
        let mut all = all.filter(|(target, has_alternative)| self.admits(plan, *target, *has_alternative, now_ms));
        all.next().map(|(target, _)| (target, left))
    }

    /// Records how a try ended that no other follows, and returns the circuit that it opened.
    pub fn note(
        &mut self,
        plan: &Plan<'_>,
        asked: Target<'_>,
        ended: Ended,
        deadline: Duration,
        now_ms: u64,
    ) -> Option<OpenedCircuit> {
        let outcome = ended.for_circuit(plan, deadline)?;
        self.circuits.record_outcome(asked.backend.origin().as_str(), || plan.request_key(asked), outcome, now_ms)
    }

    /// Records how a second try ended, as [`note`](Self::note) does. A second failure at the
    /// same origin is not recorded: five failed requests open a circuit, not three.
    pub fn note_second(
        &mut self,
        plan: &Plan<'_>,
        (first, second): (Target<'_>, Target<'_>),
        ended: Ended,
        deadline: Duration,
        now_ms: u64,
    ) -> Option<OpenedCircuit> {
        let is_same = first.backend.origin() == second.backend.origin();
        if is_same && ended.is_failure() { None } else { self.note(plan, second, ended, deadline, now_ms) }
    }

    /// Returns the fallback that serves the request. `ended` is how the last try ended, or
    /// `None` if there was none. A fallback server is used only if the request can still be
    /// sent, and only if its own circuit admits it.
    pub fn fallback<'r>(
        &mut self,
        fallback: Option<&'r Fallback>,
        plan: &Plan<'_>,
        ended: Option<Ended>,
        now_ms: u64,
    ) -> Option<&'r Fallback> {
        if ended.is_some_and(|ended| !ended.is_failure()) {
            return None;
        }
        fallback.filter(|fallback| match fallback {
            Fallback::Page(_) => true,
            Fallback::Backend(backend) => {
                let can_be_sent = ended.is_none() || plan.may_resend;
                can_be_sent && self.admits(plan, Target { variant: None, backend }, false, now_ms)
            }
        })
    }

    fn admits(&mut self, plan: &Plan<'_>, target: Target<'_>, has_alternative: bool, now_ms: u64) -> bool {
        let admission = self.admit(plan, target, has_alternative, now_ms);
        matches!(admission, Admission::Closed | Admission::Probe)
    }

    fn admit(&mut self, plan: &Plan<'_>, target: Target<'_>, has_alternative: bool, now_ms: u64) -> Admission {
        let origin = target.backend.origin().as_str();
        self.circuits.admit(origin, || plan.request_key(target), has_alternative, now_ms)
    }
}

/// The retry budget of an isolate: a tenth of its requests, and ten more. So an outage does not
/// double the load.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SecondTries {
    /// The budget in tenths of a try.
    tenths: u32,
}

impl SecondTries {
    const TENTHS_MAX: u32 = 100;
    const TRY: u32 = 10;

    /// Returns a budget of ten tries.
    const fn new() -> Self {
        Self { tenths: Self::TENTHS_MAX }
    }

    /// Adds the share of one request, however it ends.
    fn requested(&mut self) {
        self.tenths = (self.tenths + 1).min(Self::TENTHS_MAX);
    }

    /// Uses one try up; returns false if none is left.
    fn take(&mut self) -> bool {
        let left = self.tenths.checked_sub(Self::TRY);
        self.tenths = left.unwrap_or(self.tenths);
        left.is_some()
    }
}

impl Default for SecondTries {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::backend::Backend;
    use http_semantics::fields::HeaderEdits;
    use kv_store::limits::Key;

    const BYTES: usize = 1024 * 1024;
    const SECOND: Duration = Duration::from_secs(1);

    fn plan<'a>(target: Target<'a>, others: &[Target<'a>]) -> Plan<'a> {
        Plan {
            method: "GET",
            rest: "/x",
            query: None,
            client: None,
            target,
            others: others.to_vec(),
            edits: HeaderEdits::default(),
            set_cookie: None,
            timeout: Duration::from_secs(5),
            body: Body::None,
            may_resend: true,
        }
    }

    fn backends() -> [Backend; 3] {
        ["https://a.example", "https://b.example", "https://a.example/x"].map(|url| Backend::parse(url).unwrap())
    }

    fn open(failover: &mut Failover, target: Target<'_>) {
        for _ in 0..5 {
            failover.note(&plan(target, &[]), target, Ended::Unreached, SECOND, 0);
        }
    }

    fn second<'a>(failover: &mut Failover, plan: &Plan<'a>, asked: Target<'a>) -> Option<Target<'a>> {
        failover.after(plan, asked, Ended::Answered(503), Duration::ZERO, 1).second.map(|(target, _)| target)
    }

    #[test]
    fn second_tries_are_a_tenth_of_the_requests_and_ten_more() {
        let mut tries = SecondTries::new();
        let mut taken = 0;
        for _ in 0..1000 {
            tries.requested();
            taken += u32::from(tries.take());
        }
        assert!((109..=110).contains(&taken), "{taken}");
        (0..5000).for_each(|_| tries.requested());
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
            assert_eq!(Ended::Answered(status).is_failure(), failed, "{status}");
        }
        assert!(Ended::Unreached.is_failure() && Ended::Late.is_failure());
    }

    #[test]
    fn an_answer_of_either_try_stands_before_none() {
        let (answered, none) = (Ended::Answered(503), [Ended::Unreached, Ended::Late]);
        assert!(Ended::Answered(200).replaces(answered) && answered.replaces(answered));
        for none in none {
            assert!(answered.replaces(none) && none.replaces(Ended::Unreached) && !none.replaces(answered));
        }
    }

    #[test]
    fn the_first_server_whose_circuit_is_closed_is_asked_and_another_one_after_it() {
        let backends = backends();
        let [a, b, same_origin] = backends.each_ref().map(|backend| Target { variant: None, backend });
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
    fn there_is_no_second_try_after_the_deadline_nor_for_what_cannot_be_sent_again() {
        let backends = backends();
        let [a, b, _] = backends.each_ref().map(|backend| Target { variant: None, backend });
        let again = plan(a, &[b]);
        let never = Plan { may_resend: false, ..plan(a, &[b]) };
        for (plan, ended, spent, tried) in [
            (&again, Ended::Unreached, Duration::ZERO, true),
            (&again, Ended::Answered(502), Duration::from_millis(4999), true),
            (&again, Ended::Answered(502), Duration::from_secs(5), false),
            (&again, Ended::Answered(500), Duration::ZERO, false),
            (&again, Ended::Late, Duration::ZERO, false),
            (&never, Ended::Unreached, Duration::ZERO, false),
        ] {
            let second = Failover::new(BYTES).after(plan, a, ended, spent, 1).second;
            assert_eq!(second, tried.then(|| (b, plan.timeout.saturating_sub(spent))), "{ended:?} {spent:?}");
        }
    }

    #[test]
    fn a_second_try_that_is_not_made_takes_no_probe() {
        let backends = backends();
        let [a, b, _] = backends.each_ref().map(|backend| Target { variant: None, backend });
        let mut failover = Failover::new(BYTES);
        open(&mut failover, b);
        let due_ms = 10_001;
        assert_eq!(failover.after(&plan(a, &[b]), a, Ended::Late, Duration::ZERO, due_ms).second, None);
        assert_eq!(failover.first(&plan(b, &[]), None, due_ms), Ok(b), "the probe is still there to take");
    }

    #[test]
    fn what_may_be_the_visitors_fault_is_not_held_against_the_origin() {
        let backends = backends();
        let [a, ..] = backends.each_ref().map(|backend| Target { variant: None, backend });
        let streamed = Plan { body: Body::Streamed, may_resend: false, ..plan(a, &[]) };
        for (plan, ended, deadline, opens) in [
            (plan(a, &[]), Ended::Unreached, SECOND, true),
            (plan(a, &[]), Ended::Late, SECOND, true),
            (plan(a, &[]), Ended::Late, Duration::from_millis(999), false),
            (plan(a, &[]), Ended::Unreached, Duration::from_millis(1), true),
            (Plan { body: Body::Streamed, ..plan(a, &[]) }, Ended::Unreached, SECOND, false),
            (Plan { body: Body::Streamed, ..plan(a, &[]) }, Ended::Late, SECOND, false),
            (streamed, Ended::Answered(502), SECOND, true),
        ] {
            let mut failover = Failover::new(BYTES);
            let opened: Vec<bool> = (0..6).map(|_| failover.note(&plan, a, ended, deadline, 0).is_some()).collect();
            assert_eq!(opened, [false, false, false, false, opens, false], "{ended:?}");
            assert_eq!(failover.first(&plan, None, 1).is_err(), opens, "{ended:?}");
        }
    }

    #[test]
    fn two_tries_of_a_request_at_one_origin_are_one_failure() {
        let backends = backends();
        let [a, b, same_origin] = backends.each_ref().map(|backend| Target { variant: None, backend });
        for (second, ended, noted) in
            [(a, Ended::Unreached, 0), (same_origin, Ended::Answered(503), 0), (b, Ended::Answered(503), 1)]
        {
            let mut failover = Failover::new(BYTES);
            let opened = (0..5)
                .filter(|_| failover.note_second(&plan(a, &[b]), (a, second), ended, SECOND, 0).is_some())
                .count();
            assert_eq!(opened, noted, "{ended:?}");
        }
    }

    #[test]
    fn the_fallback_answers_where_the_servers_failed_and_the_request_can_be_sent_to_it() {
        let backends = backends();
        let [a, b, _] = backends.each_ref().map(|backend| Target { variant: None, backend });
        let page = Fallback::Page(Key::literal("maintenance.html"));
        let server = Fallback::Backend(b.backend.clone());
        let again = plan(a, &[]);
        let never = Plan { may_resend: false, ..plan(a, &[]) };
        for (fallback, plan, ended, answers) in [
            (&page, &never, Some(Ended::Unreached), true),
            (&page, &again, Some(Ended::Answered(503)), true),
            (&page, &again, Some(Ended::Answered(500)), false),
            (&page, &again, None, true),
            (&server, &again, Some(Ended::Late), true),
            (&server, &again, Some(Ended::Answered(200)), false),
            (&server, &never, Some(Ended::Unreached), false),
            (&server, &never, None, true),
        ] {
            let mut failover = Failover::new(BYTES);
            assert_eq!(failover.fallback(Some(fallback), plan, ended, 1), answers.then_some(fallback), "{ended:?}");
            assert_eq!(failover.fallback(None, plan, ended, 1), None);
        }
        let mut failover = Failover::new(BYTES);
        open(&mut failover, b);
        assert_eq!(failover.fallback(Some(&server), &again, None, 1), None, "its own circuit is open");
    }

    /// Makes all tries of one request as the Worker does. Returns true if the visitor gets a
    /// response that is not a failure.
    fn is_served<'r>(
        failover: &mut Failover,
        plan: &Plan<'r>,
        fallback: Option<&'r Fallback>,
        now_ms: u64,
        world: &impl Fn(&Plan<'_>, Target<'_>) -> Ended,
    ) -> bool {
        let tries = |failover: &mut Failover, first: Target<'r>| {
            let ended = world(plan, first);
            let Some((second, left)) = failover.after(plan, first, ended, Duration::from_secs(1), now_ms).second else {
                return ended;
            };
            let later = world(plan, second);
            failover.note_second(plan, (first, second), later, left, now_ms);
            if later.replaces(ended) { later } else { ended }
        };
        let first = failover.first(plan, fallback, now_ms).ok();
        let ended = first.map(|first| tries(failover, first));
        if ended.is_some_and(|ended| !ended.is_failure()) {
            return true;
        }
        match failover.fallback(fallback, plan, ended, now_ms) {
            Some(Fallback::Backend(backend)) => {
                let asked = Target { variant: None, backend };
                let answered = world(plan, asked);
                failover.note(plan, asked, answered, plan.timeout, now_ms);
                if !answered.is_failure() {
                    return true;
                }
            }
            Some(Fallback::Page(_)) => return false,
            None => {}
        }
        let outlier = if ended.is_none() { failover.in_panic(plan, now_ms) } else { None };
        outlier.is_some_and(|outlier| !tries(failover, outlier).is_failure())
    }

    /// How an attacker can make each of their requests end: every kind of failure, and any
    /// response.
    const KINDS: [Ended; 7] = [
        Ended::Answered(200),
        Ended::Answered(500),
        Ended::Answered(502),
        Ended::Answered(503),
        Ended::Answered(504),
        Ended::Unreached,
        Ended::Late,
    ];

    proptest! {
        /// The attacker has one address, any number of paths and any method, and decides by
        /// path, fields or body how each request ends.
        #[test]
        fn whatever_one_visitor_makes_fail_no_other_visitors_request_to_a_healthy_path_fails(
            requests in prop::collection::vec((0..7_usize, 0..30_usize, 0..3_usize, 0..3000_u64, any::<bool>()), 1..150),
            (storefront, elsewhere_fails) in (0..5_u8, prop::option::of(2..7_usize)),
        ) {
            let backends = backends();
            let [a, b, _] = backends.each_ref().map(|backend| Target { variant: None, backend });
            let (page, server) = (Fallback::Page(Key::literal("maintenance.html")), Fallback::Backend(b.backend.clone()));
            let others = if storefront == 0 { vec![b] } else { Vec::new() };
            let fallback = match storefront {
                1 => Some(&page),
                2 => Some(&server),
                _ => None,
            };
            let elsewhere = elsewhere_fails.map_or(Ended::Answered(200), |kind| KINDS[kind]);
            let mut failover = Failover::new(BYTES);
            let mut now_ms = 0_u64;
            let paths: Vec<String> = (0..30).map(|number| format!("/{number}")).collect();
            for (kind, path, method, pause_ms, is_resent) in requests {
                now_ms += pause_ms;
                let client = Some("192.0.2.1".parse().unwrap());
                let method = ["GET", "PUT", "POST"][method];
                let attack = Plan { method, rest: &paths[path], client, may_resend: method != "POST", ..plan(a, &others) };
                let attacked = |_: &Plan<'_>, target: Target<'_>| if target == a { KINDS[kind] } else { elsewhere };
                is_served(&mut failover, &attack, fallback, now_ms, &attacked);

                let healthy = |_: &Plan<'_>, target: Target<'_>| if target == a { Ended::Answered(200) } else { elsewhere };
                // This includes paths that fail for the attacker.
                let asked = Plan {
                    method: if is_resent { "GET" } else { "POST" },
                    rest: &paths[path],
                    client: Some("192.0.2.2".parse().unwrap()),
                    may_resend: is_resent,
                    ..plan(a, &others)
                };
                // A clone, so that no other success makes up for the failures.
                let mut failover = failover.clone();
                prop_assert!(is_served(&mut failover, &asked, fallback, now_ms, &healthy), "{:?} {}", KINDS[kind], path);
            }
        }
    }

    #[test]
    fn an_outlier_is_passed_over_for_an_alternative_and_asked_if_that_fails() {
        let backends = backends();
        let [a, b, _] = backends.each_ref().map(|backend| Target { variant: None, backend });
        let [other, here] = ["/other", "/x"];
        let server = Fallback::Backend(b.backend.clone());
        for (others, fallback) in [(vec![b], None), (Vec::new(), Some(&server))] {
            let mut failover = Failover::new(BYTES);
            open(&mut failover, a);
            let elsewhere = Plan { rest: other, ..plan(a, &others) };
            assert_eq!(failover.first(&elsewhere, fallback, 1).ok(), others.first().copied());
            let never = Plan { rest: other, may_resend: false, ..plan(a, &others) };
            assert_eq!(failover.first(&never, fallback, 1), Ok(a), "it could not be sent again");
            assert_eq!(failover.first(&Plan { rest: here, ..plan(a, &[]) }, None, 1).ok(), None, "the path that fails");
            assert_eq!(failover.in_panic(&elsewhere, 1), Some(a));
            failover.note(&elsewhere, b, Ended::Answered(503), SECOND, 1);
            assert_eq!(failover.first(&elsewhere, fallback, 1), Ok(a), "the alternative has failed lately");
        }
        let mut failover = Failover::new(BYTES);
        open(&mut failover, a);
        let both = Plan { rest: other, ..plan(a, &[b]) };
        for ended in [Ended::Answered(503), Ended::Late] {
            let after = failover.after(&both, b, ended, both.timeout, 1);
            assert_eq!(after.second, Some((a, both.timeout)), "its own server, with the same time again");
        }
        let page = Fallback::Page(Key::literal("maintenance.html"));
        let mut failover = Failover::new(BYTES);
        open(&mut failover, a);
        assert_eq!(
            failover.first(&Plan { rest: other, ..plan(a, &[]) }, Some(&page), 1),
            Ok(a),
            "a page is no alternative"
        );
    }
}
