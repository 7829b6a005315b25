//! What happens when an origin fails: what counts as a failure and against whom, who is asked instead, and when nobody is.

use std::time::Duration;

use super::TenantError;
use super::backend::Backend;
use super::plan::{Body, Plan, Target};
use super::record::Fallback;
use circuit_breaker::{Admission, Circuits, Opened, Outcome};

/// A deadline shorter than this says more of the record than of the origin, in milliseconds.
const TELLING_DEADLINE_MS: u128 = 1000;

/// How asking one server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It answered with this status.
    Answered(u16),
    /// It could not be reached, or broke the connection off.
    Unreached,
    /// No answer had begun by the deadline.
    Late,
}

/// What an isolate knows of its origins, for all storefronts.
#[derive(Debug, Clone)]
pub struct Failover {
    circuits: Circuits,
    second_tries: SecondTries,
}

/// What came of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct After<'r> {
    /// The server to ask now, and for how long.
    pub second: Option<(Target<'r>, Duration)>,
    /// What the failure has opened just now.
    pub opened: Option<Opened>,
}

impl Ended {
    /// True where the server, or the one behind it, failed (RFC 9110 §15.6.3 to §15.6.5).
    #[must_use]
    pub fn is_failure(self) -> bool {
        !matches!(self, Self::Answered(status) if !matches!(status, 502..=504))
    }

    /// True where this outcome of a second try stands and not that of the first one: what an origin says of its failure says
    /// more than that another one cannot be reached.
    #[must_use]
    pub fn replaces(self, first: Self) -> bool {
        matches!(self, Self::Answered(_)) || !matches!(first, Self::Answered(_))
    }

    /// What the circuit of the origin is told. Nothing, where the visitor may be the one who failed: a body that is streamed
    /// breaks off, or takes its time, as he sends it.
    fn for_circuit(self, plan: &Plan<'_>, deadline: Duration) -> Option<Outcome> {
        match self {
            Self::Answered(_) if self.is_failure() => Some(Outcome::GatewayError),
            Self::Answered(_) => Some(Outcome::Answered),
            Self::Unreached | Self::Late if plan.body == Body::Streamed => None,
            Self::Late if deadline.as_millis() < TELLING_DEADLINE_MS => None,
            Self::Unreached | Self::Late => Some(Outcome::NoAnswer),
        }
    }
}

impl Failover {
    /// Knows nothing of any origin, and later remembers so many bytes of those that failed lately.
    #[must_use]
    pub const fn new(bytes_max: usize) -> Self {
        Self { circuits: Circuits::new(bytes_max), second_tries: SecondTries::new() }
    }

    /// Returns the most bytes that this remembers.
    #[must_use]
    pub const fn bytes_max(&self) -> usize {
        self.circuits.bytes_max()
    }

    /// The server to ask: the first whose circuits let the request through. One whose origin is an outlier is passed over for
    /// another variant or a fallback at an origin that has not failed lately. Without such a one it is asked all the same: an outlier
    /// is better than nothing (Envoy's panic threshold), and a stranger may have made it one.
    ///
    /// # Errors
    /// [`TenantError::CircuitOpen`] where none does, with the shortest time until one may.
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

    /// The server to ask after [`first`](Self::first) gave none, and the fallback did not answer well: one that is an outlier, if
    /// the request can be sent a second time.
    pub fn in_panic<'r>(&mut self, plan: &Plan<'r>, now_ms: u64) -> Option<Target<'r>> {
        plan.targets().filter(|_| plan.may_resend).find(|target| self.admits(plan, *target, false, now_ms))
    }

    /// True if something at another origin, which has not failed lately, can answer in place of this server. A page that says that
    /// the storefront is not available is no such answer.
    fn has_alternative(&self, plan: &Plan<'_>, fallback: Option<&Fallback>, target: Target<'_>) -> bool {
        let fallback = match fallback {
            Some(Fallback::Backend(backend)) => Some(backend),
            Some(Fallback::Page(_)) | None => None,
        };
        let backends = plan.targets().map(|other| other.backend).chain(fallback);
        // Only of a request that can be sent again if the alternative fails.
        let backends = backends.filter(|_| plan.may_resend);
        let mut origins = backends.map(Backend::origin).filter(|origin| *origin != target.backend.origin());
        origins.any(|origin| !self.circuits.has_failed_lately(origin.as_str()))
    }

    /// True where the end of a try changes nothing, so that nobody needs to look at the clock for [`after`](Self::after).
    #[must_use]
    pub fn is_of_no_matter(&self, asked: Target<'_>, ended: Ended) -> bool {
        !ended.is_failure() && !self.circuits.has_failed_lately(asked.backend.origin().as_str())
    }

    /// Notes how the first try ended, `spent` after it began, and says who is asked once more: the request's own server, if that was
    /// passed over, or else another variant at another origin, best one that is no outlier, or else the same server, unless a circuit
    /// has opened. Nobody, where the request was served, cannot be sent
    /// again, has no time left, or the isolate's second tries are used up.
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

    /// The request's own server, if that was passed over as an outlier: it has the same time again, and costs no second try, as
    /// it would have been asked first but for the failures of others.
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
        // Each takes something away, so nothing is asked for in vain: first a try, then a probe.
        if ended == Ended::Late || left.is_zero() || !self.second_tries.take() {
            return None;
        }
        let elsewhere = || plan.targets().filter(|other| other.backend.origin() != failed.backend.origin());
        let healthy = elsewhere().map(|target| (target, true));
        let all = healthy.chain(elsewhere().map(|target| (target, false))).chain([(failed, false)]);
        let mut all = all.filter(|(target, has_alternative)| self.admits(plan, *target, *has_alternative, now_ms));
        all.next().map(|(target, _)| (target, left))
    }

    /// Notes how a try ended that no other follows, and says what has opened just now.
    pub fn note(
        &mut self,
        plan: &Plan<'_>,
        asked: Target<'_>,
        ended: Ended,
        deadline: Duration,
        now_ms: u64,
    ) -> Option<Opened> {
        let outcome = ended.for_circuit(plan, deadline)?;
        self.circuits.ended(asked.backend.origin().as_str(), || plan.request_key(asked), outcome, now_ms)
    }

    /// Notes how a second try ended, as [`note`](Self::note) does. One that failed at the same origin as the first one is the
    /// same failure again: five requests open a circuit, not three.
    pub fn note_second(
        &mut self,
        plan: &Plan<'_>,
        (first, second): (Target<'_>, Target<'_>),
        ended: Ended,
        deadline: Duration,
        now_ms: u64,
    ) -> Option<Opened> {
        let is_same = first.backend.origin() == second.backend.origin();
        if is_same && ended.is_failure() { None } else { self.note(plan, second, ended, deadline, now_ms) }
    }

    /// What answers in place of the servers. `ended` is how the last try ended, `None` where nobody was asked. Another server
    /// is asked only where the request can be sent to it, and its own circuit lets it through.
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

/// The second tries of an isolate, for all its origins: a tenth of its requests, and ten more. So an outage is not doubled.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SecondTries {
    /// Tenths of a try.
    tenths: u32,
}

impl SecondTries {
    const TENTHS_MAX: u32 = 100;
    const TRY: u32 = 10;

    /// Ten tries.
    const fn new() -> Self {
        Self { tenths: Self::TENTHS_MAX }
    }

    /// Notes a request, whatever becomes of it.
    fn requested(&mut self) {
        self.tenths = (self.tenths + 1).min(Self::TENTHS_MAX);
    }

    /// Takes one; false where none is left.
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

    /// All tries of one request, as the Worker makes them. True if the visitor gets an answer that is no failure.
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

    /// What an attacker can make of each of their requests: every kind of failure, and any answer.
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
        /// The attacker has one address, as many paths as they like and any method, and decides how each request ends: by its path, its
        /// fields or its body.
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
                // Paths that the attacker makes fail for themselves are among them.
                let asked = Plan {
                    method: if is_resent { "GET" } else { "POST" },
                    rest: &paths[path],
                    client: Some("192.0.2.2".parse().unwrap()),
                    may_resend: is_resent,
                    ..plan(a, &others)
                };
                // Nobody else's success makes up for the failures.
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
