//! The rules of [`Circuits`], and properties of any history of failures.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::Admission::{Closed, Probe};
use super::Outcome::{GatewayError, NoResponse, Success};
use super::circuit::{OPEN_MAX_MS, PROBE_LOST_MS};
use super::*;

const BYTES: usize = 1024 * 1024;

const A: &str = "https://a.example";
const T: u64 = 1_000_000;

/// The key of a visitor and a path, each by number.
fn of(client: u64, path: u64) -> RequestKey {
    RequestKey { client, method_and_url: path, method_and_url_without_query: path }
}

/// Requests of one visitor to one path of upstreams with alternatives. They can open the circuits
/// [`PATH_OF_CLIENT`] and [`OUTLIER`], which have the same threshold.
trait OneVisitor {
    fn admit_one(&mut self, upstream: &str, now_ms: u64) -> Admission;
    fn record_one(&mut self, upstream: &str, outcome: Outcome, now_ms: u64);
    fn is_open(&self, upstream: &str, now_ms: u64) -> bool;
}

impl OneVisitor for Circuits {
    fn admit_one(&mut self, upstream: &str, now_ms: u64) -> Admission {
        self.admit(upstream, || of(1, 1), true, now_ms)
    }

    fn record_one(&mut self, upstream: &str, outcome: Outcome, now_ms: u64) {
        self.record_outcome(upstream, || of(1, 1), outcome, now_ms);
    }

    fn is_open(&self, upstream: &str, now_ms: u64) -> bool {
        matches!(self.clone().admit_one(upstream, now_ms), Admission::Open { .. })
    }
}

fn open(retry_after_ms: u64) -> Admission {
    Admission::Open { retry_after_ms }
}

fn fail(circuits: &mut Circuits, times: usize, now_ms: u64) {
    (0..times).for_each(|_| circuits.record_one(A, NoResponse, now_ms));
}

fn opened_at(now_ms: u64) -> Circuits {
    let mut circuits = Circuits::new(BYTES);
    fail(&mut circuits, 5, now_ms);
    circuits
}

#[test]
fn five_failures_within_ten_seconds_open_a_circuit() {
    for (times_ms, opens) in [
        (vec![T, T, T, T], false),
        (vec![T, T, T, T, T], true),
        (vec![T, T + 2500, T + 5000, T + 7500, T + 10_000], true),
        (vec![T, T + 2500, T + 5000, T + 7500, T + 10_001], false),
        (vec![T, T + 8000, T + 8000, T + 8000, T + 12_000, T + 12_000], true),
    ] {
        let mut circuits = Circuits::new(BYTES);
        let mut now_ms = T;
        for at_ms in &times_ms {
            now_ms = *at_ms;
            circuits.record_one(A, NoResponse, now_ms);
        }
        assert_eq!(circuits.is_open(A, now_ms), opens, "{times_ms:?}");
        assert_eq!(circuits.admit_one(A, now_ms), if opens { open(10_000) } else { Closed });
        assert_eq!(circuits.admit_one("https://b.example", now_ms), Closed);
    }
}

#[test]
fn a_circuit_stays_closed_if_more_requests_succeed_than_fail() {
    for (successes_each, opens) in [(0, true), (1, true), (2, false), (9, false)] {
        let mut circuits = Circuits::new(BYTES);
        for _ in 0..100 {
            circuits.record_one(A, NoResponse, T);
            (0..successes_each).for_each(|_| circuits.record_one(A, Success, T));
        }
        assert_eq!(circuits.is_open(A, T), opens, "{successes_each}");
    }
}

#[test]
fn successes_before_the_failures_do_not_count() {
    let mut circuits = Circuits::new(BYTES);
    circuits.record_one(A, NoResponse, T);
    (0..1000).for_each(|_| circuits.record_one(A, Success, T + 10));
    fail(&mut circuits, 5, T + 20);
    assert!(circuits.is_open(A, T + 20));
}

#[test]
fn an_open_circuit_admits_one_probe_after_ten_seconds() {
    let mut circuits = opened_at(T);
    assert_eq!(circuits.admit_one(A, T + 4000), open(6000));
    assert_eq!(circuits.admit_one(A, T + 9999), open(1));
    assert!(!circuits.is_open(A, T + 10_000));
    assert_eq!(circuits.admit_one(A, T + 10_000), Probe);
    assert_eq!(circuits.admit_one(A, T + 10_000), open(1000));
    assert!(circuits.is_open(A, T + 10_000));
}

#[test]
fn a_probe_that_succeeds_closes_the_circuit_and_a_later_success_forgets_all() {
    let mut circuits = opened_at(T);
    circuits.admit_one(A, T + 10_000);
    circuits.record_one(A, Success, T + 10_001);
    assert_eq!(circuits.admit_one(A, T + 10_001), Closed);
    circuits.record_one(A, Success, T + 30_001);
    assert!(circuits.upstreams.is_empty());
}

#[test]
fn each_probe_that_fails_doubles_the_wait_up_to_a_minute() {
    let mut circuits = opened_at(T);
    let mut now_ms = T;
    for wait_ms in [10_000, 20_000, 40_000, 60_000, 60_000] {
        assert_eq!(circuits.admit_one(A, now_ms), open(wait_ms));
        now_ms += wait_ms;
        assert_eq!(circuits.admit_one(A, now_ms), Probe);
        circuits.record_one(A, NoResponse, now_ms);
    }
}

#[test]
fn a_probe_that_never_reports_frees_its_place_after_a_minute() {
    let mut circuits = opened_at(T);
    assert_eq!(circuits.admit_one(A, T + 10_000), Probe);
    assert_eq!(circuits.admit_one(A, T + 69_999), open(1000));
    assert_eq!(circuits.admit_one(A, T + 70_000), Probe);
    // A late result counts.
    for (outcome, admission) in [(Success, Closed), (NoResponse, open(20_000))] {
        let mut circuits = opened_at(T);
        circuits.admit_one(A, T + 10_000);
        circuits.record_one(A, outcome, T + 70_001);
        assert_eq!(circuits.admit_one(A, T + 70_001), admission);
    }
}

#[test]
fn requests_from_before_the_circuit_opened_change_nothing_until_a_probe_is_under_way() {
    let mut circuits = opened_at(T);
    for now_ms in [T, T + 5000, T + 9999] {
        circuits.record_one(A, Success, now_ms);
        circuits.record_one(A, NoResponse, now_ms);
        assert_eq!(circuits.admit_one(A, now_ms), open(T + 10_000 - now_ms));
    }
    circuits.record_one(A, Success, T + 10_000);
    circuits.record_one(A, NoResponse, T + 10_000);
    assert_eq!(circuits.admit_one(A, T + 10_000), Probe);
    circuits.record_one(A, Success, T + 10_001);
    assert_eq!(circuits.admit_one(A, T + 10_001), Closed);
}

#[test]
fn an_upstream_that_failed_once_is_forgotten_when_it_responds_thirty_seconds_later() {
    let mut circuits = Circuits::new(BYTES);
    fail(&mut circuits, 1, T);
    circuits.record_one(A, Success, T + 30_000);
    assert_eq!(circuits.upstreams.len(), 1);
    circuits.record_one(A, Success, T + 30_001);
    assert!(circuits.upstreams.is_empty());
}

#[test]
fn the_upstream_that_failed_longest_ago_makes_room() {
    let mut circuits = Circuits::new(BYTES);
    let mut upstreams = 0;
    // The clock runs backwards, to show that the order counts.
    while circuits.upstreams.len() == upstreams {
        (0..5).for_each(|_| circuits.record_one(&upstreams.to_string(), NoResponse, T - upstreams as u64));
        circuits.record_one("0", NoResponse, T - upstreams as u64);
        upstreams += 1;
    }
    assert!(upstreams > 256, "usually");
    let last = (upstreams - 1).to_string();
    assert!(circuits.is_open("0", T) && !circuits.is_open("1", T) && circuits.is_open(&last, T));
}

#[test]
fn an_upstream_takes_18_kib_at_most() {
    let mut circuits = Circuits::new(BYTES);
    for _ in 0..6 {
        for number in 0..100_u64 {
            circuits.record_outcome(A, || of(number, number), NoResponse, T);
        }
    }
    assert!(circuits.upstreams.bytes() <= 18 * 1024, "{}", circuits.upstreams.bytes());
}

#[test]
fn a_clock_that_is_set_back_by_seconds_keeps_a_circuit_open_and_one_by_minutes_does_not() {
    let mut circuits = opened_at(T);
    assert_eq!(circuits.admit_one(A, T - 3000), open(10_000));
    assert_eq!(circuits.admit_one(A, T - 900_000), Probe);
    assert_eq!(circuits.admit_one(A, T - 900_000), open(1000));
}

/// Ends this many requests with this outcome, of the visitors and at the paths in turn.
fn end(circuits: &mut Circuits, requests: u64, outcome: Outcome, (clients, paths): (u64, u64), now_ms: u64) {
    for number in 0..requests {
        circuits.record_outcome(A, || of(number % clients, number % paths), outcome, now_ms);
    }
}

/// Ends the requests now and again ten seconds later, when [`UNRESPONSIVE`] may open.
fn go_on(circuits: &mut Circuits, requests: u64, outcome: Outcome, of: (u64, u64)) {
    for now_ms in [T, LATER] {
        end(circuits, requests, outcome, of, now_ms);
    }
}

/// The time at which [`UNRESPONSIVE`] may open, whose failures must go on.
const LATER: u64 = T + 10_000;

/// Returns the admission of another visitor at another path.
fn stranger(circuits: &mut Circuits, has_alternative: bool, now_ms: u64) -> Admission {
    circuits.admit(A, || of(1000, 1000), has_alternative, now_ms)
}

#[test]
fn an_upstream_is_unresponsive_after_twenty_requests_without_a_response_of_five_visitors_at_five_paths() {
    for (requests, outcome, clients, paths, is_unresponsive) in [
        (20, NoResponse, 5, 5, true),
        (20, NoResponse, 20, 20, true),
        (9, NoResponse, 9, 9, false),
        (1000, NoResponse, 4, 1000, false),
        (1000, NoResponse, 1000, 4, false),
        (1000, NoResponse, 1, 1, false),
        (1000, GatewayError, 1000, 1000, false),
    ] {
        let mut circuits = Circuits::new(BYTES);
        end(&mut circuits, requests, outcome, (clients, paths), T);
        assert_eq!(stranger(&mut circuits, false, T), Closed, "it has not gone on for long");
        assert_eq!(stranger(&mut circuits, true, T), open(10_000), "an outlier");
        end(&mut circuits, requests, outcome, (clients, paths), LATER);
        let expected = if is_unresponsive { open(10_000) } else { Closed };
        assert_eq!(stranger(&mut circuits, false, LATER), expected, "{requests} {outcome:?} {clients} {paths}");
    }
}

#[test]
fn many_queries_of_one_path_are_one_place_to_fail_at() {
    // A visitor makes up as many queries as they like; five addresses are cheap.
    let mut circuits = Circuits::new(BYTES);
    for query in 0..200 {
        let request = RequestKey { client: query % 5, method_and_url: query, method_and_url_without_query: 0 };
        circuits.record_outcome(A, || request, NoResponse, T + query * 100);
    }
    assert_eq!(stranger(&mut circuits, false, T + 20_000), Closed);
}

proptest! {
    #[test]
    fn visitors_whose_requests_fail_close_nothing_that_works_for_others_and_has_no_alternative(
        clients in 1..50_u64, at_once in 1..100_u64, every_ms in 100..3000_u64, successes_each_second in 5..50_u64,
        has_own_paths: bool, outcome in prop::sample::select(vec![NoResponse, GatewayError]),
    ) {
        // Requests end in waves, at paths of their own or at the one that works for others.
        let mut circuits = Circuits::new(BYTES);
        let other = of(1_000_000, 0);
        for now_ms in (T..T + 60_000).step_by(10) {
            if (now_ms - T) % every_ms < 10 {
                for number in 0..at_once {
                    let path = if has_own_paths { 1 + number % 7 } else { 0 };
                    circuits.record_outcome(A, || of(number % clients, path), outcome, now_ms);
                }
            }
            if (now_ms - T) % (1000 / successes_each_second) < 10 {
                prop_assert_eq!(circuits.admit(A, || other, false, now_ms), Closed);
                circuits.record_outcome(A, || other, Success, now_ms);
            }
        }
    }
}

#[test]
fn the_only_visitor_of_a_path_may_probe_again_ten_seconds_after_a_probe_that_failed_began() {
    let mut circuits = Circuits::new(BYTES);
    for now_ms in [T, T + 5000] {
        for client in [1, 1, 2, 2, 3, 3] {
            circuits.record_outcome(A, || of(client, 1), GatewayError, now_ms);
        }
    }
    let alone = |circuits: &mut Circuits, now_ms| circuits.admit(A, || of(1, 1), false, now_ms);
    assert_eq!(alone(&mut circuits, T + 15_000), Probe);
    circuits.record_outcome(A, || of(1, 1), GatewayError, T + 15_500);
    assert_eq!(alone(&mut circuits, T + 15_500), open(9500), "as long as Retry-After says");
    assert_eq!(alone(&mut circuits, T + 25_000), Probe);
}

#[test]
fn an_upstream_is_unresponsive_only_if_fewer_than_twenty_requests_get_a_response_meanwhile() {
    for (outcome, responses, is_unresponsive) in [
        (Success, 0, true),
        (Success, 19, true),
        (Success, 20, false),
        (GatewayError, 19, true),
        (GatewayError, 20, false),
    ] {
        // These responses fall within the ten seconds that the failures must go on.
        let mut circuits = Circuits::new(BYTES);
        end(&mut circuits, 100, NoResponse, (100, 100), T);
        (0..responses).for_each(|other| _ = circuits.record_outcome(A, || of(1000 + other, 1000), outcome, T + 5000));
        end(&mut circuits, 100, NoResponse, (100, 100), LATER);
        let admission = circuits.admit(A, || of(2000, 2000), false, LATER);
        assert_eq!(admission, if is_unresponsive { open(10_000) } else { Closed }, "{outcome:?} {responses}");
    }
}

#[test]
fn an_outlier_is_admitted_if_there_is_no_alternative() {
    let mut circuits = opened_at(T);
    assert_eq!(stranger(&mut circuits, true, T), open(10_000));
    assert_eq!(stranger(&mut circuits, false, T), Closed);
}

#[test]
fn a_path_that_fails_is_closed_to_its_visitor_and_once_it_fails_for_three_to_all() {
    for (clients, is_closed_to_all) in [(1, false), (2, false), (3, true), (9, true)] {
        let mut circuits = Circuits::new(BYTES);
        end(&mut circuits, 30, GatewayError, (clients, 1), T);
        let same_visitor = circuits.admit(A, || of(0, 0), false, T);
        assert_eq!(same_visitor, if clients < 9 { open(10_000) } else { Closed }, "{clients}: five times, at once");
        assert_eq!(circuits.admit(A, || of(1000, 0), false, T), Closed, "{clients}: it has not gone on for long");
        end(&mut circuits, 30, GatewayError, (clients, 1), T + 5000);
        let other = circuits.admit(A, || of(1000, 0), false, T + 5000);
        assert_eq!(other, if is_closed_to_all { open(10_000) } else { Closed }, "{clients}");
        assert_eq!(stranger(&mut circuits, false, T + 5000), Closed, "{clients}");
    }
}

#[test]
fn one_visitor_whose_probes_fail_or_never_end_keeps_an_upstream_closed_to_nobody() {
    for ends in [false, true] {
        let mut circuits = Circuits::new(BYTES);
        go_on(&mut circuits, 20, NoResponse, (5, 5));
        let mut now_ms = LATER + 10_000;
        for _ in 0..100 {
            if circuits.admit(A, || of(1, 1), false, now_ms) == Probe && ends {
                circuits.record_outcome(A, || of(1, 1), NoResponse, now_ms);
            }
            now_ms += 100;
        }
        assert_eq!(stranger(&mut circuits, false, now_ms), Probe, "{ends}");
        circuits.record_outcome(A, || of(1000, 1000), Success, now_ms);
        assert_eq!(circuits.admit(A, || of(2, 7), false, now_ms), Closed, "{ends}");
    }
}

#[test]
fn paths_that_fail_make_room_for_others() {
    let mut circuits = Circuits::new(BYTES);
    end(&mut circuits, 10_000, GatewayError, (10_000, 10_000), T);
    assert_eq!(circuits.upstreams.values().map(|circuits| circuits.paths.len()).max(), Some(PATHS_MAX));
}

proptest! {
    #[test]
    fn whatever_the_clock_says_a_probe_is_alone_and_a_wait_is_bounded(
        events in prop::collection::vec((0..3_u8, 0..4, prop_oneof![Just(0), 0..30_000_u64, any::<u64>()]), 0..300)
    ) {
        let mut circuits = Circuits::new(BYTES);
        let mut probes = BTreeMap::new();
        for (upstream, action, now_ms) in events {
            let upstream = upstream.to_string();
            let is_open = circuits.is_open(&upstream, now_ms);
            match action {
                0..=2 => {
                    circuits.record_one(&upstream, if action == 0 { Success } else { NoResponse }, now_ms);
                    probes.remove(&upstream);
                }
                _ => match circuits.admit_one(&upstream, now_ms) {
                    Admission::Open { retry_after_ms } => {
                        prop_assert!(is_open && (1..=OPEN_MAX_MS).contains(&retry_after_ms));
                    }
                    Closed => prop_assert!(!is_open),
                    Probe => {
                        prop_assert!(!is_open && circuits.is_open(&upstream, now_ms));
                        let other = probes.insert(upstream, now_ms);
                        prop_assert!(other.is_none_or(|since_ms: u64| since_ms.abs_diff(now_ms) >= PROBE_LOST_MS));
                    }
                },
            }
        }
    }

    #[test]
    fn an_upstream_that_works_again_is_served_within_a_minute_of_its_last_failure(
        waits_ms in proptest::collection::vec(0..20_000_u64, 0..100)
    ) {
        let (mut circuits, mut now_ms) = (Circuits::new(BYTES), T);
        for wait_ms in waits_ms {
            now_ms += wait_ms;
            if !matches!(circuits.admit_one(A, now_ms), Admission::Open { .. }) {
                circuits.record_one(A, NoResponse, now_ms);
            }
        }
        let is_open = matches!(circuits.admit_one(A, now_ms + OPEN_MAX_MS), Admission::Open { .. });
        prop_assert!(!is_open);
        circuits.record_one(A, Success, now_ms + OPEN_MAX_MS);
        prop_assert_eq!(circuits.admit_one(A, now_ms + OPEN_MAX_MS), Closed);
    }
}
