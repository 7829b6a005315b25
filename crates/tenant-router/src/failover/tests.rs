//! Which upstream is tried, in which order, and what a failure means for the next requests.

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
    for (status, failed) in
        [(200, false), (404, false), (500, false), (501, false), (502, true), (503, true), (504, true), (505, false)]
    {
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
        let opened =
            (0..5).filter(|_| failover.record_second(&plan(a, &[b]), (a, second), result, SECOND, 0).is_some()).count();
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
        let Some((second, left)) = failover.after(plan, first, result, Duration::from_secs(1), now_ms).second else {
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
