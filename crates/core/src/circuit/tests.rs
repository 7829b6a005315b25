//! The rules of [`Circuits`], and laws of any history of failures.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::Admission::{Closed, Probe};
use super::Outcome::{Answered, Failed};
use super::*;

const A: &str = "https://a.example";
const T: u64 = 1_000_000;

fn open(retry_after_ms: u64) -> Admission {
    Admission::Open { retry_after_ms }
}

fn fail(circuits: &mut Circuits, times: usize, now_ms: u64) {
    (0..times).for_each(|_| circuits.ended(A, Failed, now_ms));
}

fn opened_at(now_ms: u64) -> Circuits {
    let mut circuits = Circuits::new();
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
        let mut circuits = Circuits::new();
        let mut now_ms = T;
        for at_ms in &times_ms {
            now_ms = *at_ms;
            circuits.ended(A, Failed, now_ms);
        }
        assert_eq!(circuits.is_open(A, now_ms), opens, "{times_ms:?}");
        assert_eq!(circuits.admit(A, now_ms), if opens { open(10_000) } else { Closed });
        assert_eq!(circuits.admit("https://b.example", now_ms), Closed);
    }
}

#[test]
fn a_circuit_stays_closed_where_more_requests_succeed_than_fail() {
    for (successes_each, opens) in [(0, true), (1, true), (2, false), (9, false)] {
        let mut circuits = Circuits::new();
        for _ in 0..100 {
            circuits.ended(A, Failed, T);
            (0..successes_each).for_each(|_| circuits.ended(A, Answered, T));
        }
        assert_eq!(circuits.is_open(A, T), opens, "{successes_each}");
    }
}

#[test]
fn successes_before_the_failures_do_not_count() {
    let mut circuits = Circuits::new();
    circuits.ended(A, Failed, T);
    (0..1000).for_each(|_| circuits.ended(A, Answered, T + 10));
    fail(&mut circuits, 5, T + 20);
    assert!(circuits.is_open(A, T + 20));
}

#[test]
fn an_open_circuit_admits_one_probe_after_ten_seconds() {
    let mut circuits = opened_at(T);
    assert_eq!(circuits.admit(A, T + 4000), open(6000));
    assert_eq!(circuits.admit(A, T + 9999), open(1));
    assert!(!circuits.is_open(A, T + 10_000));
    assert_eq!(circuits.admit(A, T + 10_000), Probe);
    assert_eq!(circuits.admit(A, T + 10_000), open(1000));
    assert!(circuits.is_open(A, T + 10_000));
}

#[test]
fn a_probe_that_succeeds_closes_the_circuit_and_all_is_forgotten() {
    let mut circuits = opened_at(T);
    circuits.admit(A, T + 10_000);
    circuits.ended(A, Answered, T + 10_001);
    assert_eq!(circuits.admit(A, T + 10_001), Closed);
    assert!(circuits.circuits.is_empty());
}

#[test]
fn each_probe_that_fails_doubles_the_wait_up_to_a_minute() {
    let mut circuits = opened_at(T);
    let mut now_ms = T;
    for wait_ms in [10_000, 20_000, 40_000, 60_000, 60_000] {
        assert_eq!(circuits.admit(A, now_ms), open(wait_ms));
        now_ms += wait_ms;
        assert_eq!(circuits.admit(A, now_ms), Probe);
        circuits.ended(A, Failed, now_ms);
    }
}

#[test]
fn a_probe_that_never_reports_frees_its_place_after_a_minute() {
    let mut circuits = opened_at(T);
    assert_eq!(circuits.admit(A, T + 10_000), Probe);
    assert_eq!(circuits.admit(A, T + 69_999), open(1000));
    assert_eq!(circuits.admit(A, T + 70_000), Probe);
    // One that reports late counts.
    for (outcome, admission) in [(Answered, Closed), (Failed, open(20_000))] {
        let mut circuits = opened_at(T);
        circuits.admit(A, T + 10_000);
        circuits.ended(A, outcome, T + 70_001);
        assert_eq!(circuits.admit(A, T + 70_001), admission);
    }
}

#[test]
fn requests_from_before_the_circuit_opened_change_nothing_until_a_probe_is_under_way() {
    let mut circuits = opened_at(T);
    for now_ms in [T, T + 5000, T + 9999] {
        circuits.ended(A, Answered, now_ms);
        circuits.ended(A, Failed, now_ms);
        assert_eq!(circuits.admit(A, now_ms), open(T + 10_000 - now_ms));
    }
    circuits.ended(A, Answered, T + 10_000);
    circuits.ended(A, Failed, T + 10_000);
    assert_eq!(circuits.admit(A, T + 10_000), Probe);
    circuits.ended(A, Answered, T + 10_001);
    assert_eq!(circuits.admit(A, T + 10_001), Closed);
}

#[test]
fn an_origin_that_failed_once_is_forgotten_when_it_answers_ten_seconds_later() {
    let mut circuits = Circuits::new();
    fail(&mut circuits, 1, T);
    circuits.ended(A, Answered, T + 10_000);
    assert_eq!(circuits.circuits.len(), 1);
    circuits.ended(A, Answered, T + 10_001);
    assert!(circuits.circuits.is_empty());
}

#[test]
fn the_origin_that_failed_longest_ago_makes_room_for_the_257th() {
    let mut circuits = Circuits::new();
    for number in 0..=ORIGINS_MAX {
        // The time runs backwards here: the order counts.
        let now_ms = T - u64::try_from(number).unwrap();
        (0..5).for_each(|_| circuits.ended(&number.to_string(), Failed, now_ms));
        if number == 1 {
            circuits.ended("0", Failed, now_ms);
        }
    }
    assert_eq!(circuits.circuits.len(), ORIGINS_MAX);
    assert!(circuits.is_open("0", T) && !circuits.is_open("1", T) && circuits.is_open("256", T));
}

#[test]
fn a_clock_that_is_set_back_by_seconds_keeps_a_circuit_open_and_one_by_hours_does_not() {
    let mut circuits = opened_at(T);
    assert_eq!(circuits.admit(A, T - 3000), open(10_000));
    assert_eq!(circuits.admit(A, T - 900_000), Probe);
    assert_eq!(circuits.admit(A, T - 900_000), open(1000));
}

proptest! {
    #[test]
    fn whatever_the_clock_says_a_probe_is_alone_and_a_wait_is_bounded(
        events in prop::collection::vec((0..3_u8, 0..4, prop_oneof![Just(0), 0..30_000_u64, any::<u64>()]), 0..300)
    ) {
        let mut circuits = Circuits::new();
        let mut probes = BTreeMap::new();
        for (origin, action, now_ms) in events {
            let origin = origin.to_string();
            let is_open = circuits.is_open(&origin, now_ms);
            match action {
                0..=2 => {
                    circuits.ended(&origin, if action == 0 { Answered } else { Failed }, now_ms);
                    probes.remove(&origin);
                }
                _ => match circuits.admit(&origin, now_ms) {
                    Admission::Open { retry_after_ms } => {
                        prop_assert!(is_open && (1..=OPEN_MAX_MS).contains(&retry_after_ms));
                    }
                    Closed => prop_assert!(!is_open),
                    Probe => {
                        prop_assert!(!is_open && circuits.is_open(&origin, now_ms));
                        let other = probes.insert(origin, now_ms);
                        prop_assert!(other.is_none_or(|since_ms: u64| since_ms.abs_diff(now_ms) >= PROBE_LOST_MS));
                    }
                },
            }
        }
    }

    #[test]
    fn an_origin_that_works_again_is_served_within_a_minute_of_its_last_failure(
        waits_ms in proptest::collection::vec(0..20_000_u64, 0..100)
    ) {
        let (mut circuits, mut now_ms) = (Circuits::new(), T);
        for wait_ms in waits_ms {
            now_ms += wait_ms;
            if !matches!(circuits.admit(A, now_ms), Admission::Open { .. }) {
                circuits.ended(A, Failed, now_ms);
            }
        }
        prop_assert!(circuits.admit(A, now_ms + OPEN_MAX_MS) != open(1000));
        circuits.ended(A, Answered, now_ms + OPEN_MAX_MS);
        prop_assert_eq!(circuits.admit(A, now_ms + OPEN_MAX_MS), Closed);
    }
}
