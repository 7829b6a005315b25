//! Tests of `kv_store::retry` in virtual time: which failures are retried, and when
//! retrying ends.

use std::cell::RefCell;

use kv_store::retry::{Backoff, Budget, Classify, FailureClass, GaveUp, Time, retry};
use simulation::virtual_time::{VirtualTime, block_on};

struct TestError(FailureClass);

impl Classify for TestError {
    fn class(&self) -> FailureClass {
        self.0
    }
}

const BUSY: FailureClass = FailureClass::RateLimited { retry_after_ms: None };
const DOWN: FailureClass = FailureClass::Unavailable { retry_after_ms: None };

/// Runs an operation that fails with each of these in turn and then succeeds. Returns its
/// outcome, its tries, and the elapsed milliseconds.
fn run(backoff: &Backoff, budget: &RefCell<Budget>, failures: &[FailureClass]) -> (Result<(), GaveUp>, u32, u64) {
    let time = VirtualTime::new(7);
    let mut failures = failures.iter();
    let retried = block_on(
        &time,
        retry(backoff, budget, &time, async |_| failures.next().map_or(Ok(()), |class| Err(TestError(*class)))),
    );
    (retried.outcome.map_err(|(_, gave_up)| gave_up), retried.tries, time.now_ms())
}

#[test]
fn a_429_is_rate_limited_a_5xx_or_no_status_unavailable_and_any_other_4xx_permanent() {
    for (status, class) in [
        (Some(429), BUSY),
        (Some(500), DOWN),
        (Some(502), DOWN),
        (Some(503), DOWN),
        (Some(599), DOWN),
        (None, DOWN),
        (Some(400), FailureClass::Permanent),
        (Some(401), FailureClass::Permanent),
        (Some(403), FailureClass::Permanent),
        (Some(404), FailureClass::Permanent),
        (Some(413), FailureClass::Permanent),
        (Some(414), FailureClass::Permanent),
    ] {
        assert_eq!(FailureClass::of_status(status, None), class, "{status:?}");
    }
    assert_eq!(FailureClass::of_status(Some(503), Some(9)), FailureClass::Unavailable { retry_after_ms: Some(9) });
}

#[test]
fn retrying_ends_with_the_first_success() {
    let budget = RefCell::new(Budget::new());
    let (outcome, tries, elapsed_ms) = run(&Backoff::PUT, &budget, &[BUSY, DOWN, BUSY]);
    assert_eq!((outcome, tries), (Ok(()), 4));
    assert!(elapsed_ms <= 1000 + 2000 + 4000, "{elapsed_ms}");
}

#[test]
fn a_permanent_failure_is_not_retried() {
    let budget = RefCell::new(Budget::new());
    assert_eq!(run(&Backoff::PUT, &budget, &[FailureClass::Permanent]), (Err(GaveUp::Permanent), 1, 0));
}

#[test]
fn retrying_ends_after_the_maximum_number_of_tries() {
    let budget = RefCell::new(Budget::new());
    let backoff = Backoff { tries_max: 3, deadline_ms: u64::MAX, ..Backoff::PUT };
    let (outcome, tries, _) = run(&backoff, &budget, &[BUSY; 9]);
    assert_eq!((outcome, tries), (Err(GaveUp::Tries), 3));
}

#[test]
fn retrying_ends_before_a_wait_that_would_exceed_the_deadline() {
    let budget = RefCell::new(Budget::new());
    let backoff = Backoff { tries_max: u32::MAX, deadline_ms: 10_000, ..Backoff::PUT };
    let (outcome, _, elapsed_ms) = run(&backoff, &budget, &[BUSY; 99]);
    assert_eq!(outcome, Err(GaveUp::Deadline));
    assert!(elapsed_ms <= 10_000, "{elapsed_ms}");
}

#[test]
fn an_operation_receives_the_milliseconds_until_the_deadline() {
    let time = VirtualTime::new(1);
    let budget = RefCell::new(Budget::new());
    let mut calls = Vec::new();
    let backoff = Backoff { deadline_ms: 30_000, tries_max: 3, ..Backoff::PUT };
    block_on(
        &time,
        retry(&backoff, &budget, &time, async |left_ms| {
            calls.push((left_ms, time.now_ms()));
            time.sleep(50).await;
            Err::<(), _>(TestError(BUSY))
        }),
    );
    assert_eq!(calls.len(), 3);
    assert!(calls.iter().all(|(left_ms, now_ms)| left_ms + now_ms == 30_000), "{calls:?}");
}

#[test]
fn retries_stop_when_the_budget_of_the_isolate_is_exhausted() {
    let budget = RefCell::new(Budget::new());
    let tries: u32 = (0..1000).map(|_| run(&Backoff { first_ms: 0, ..Backoff::PUT }, &budget, &[DOWN; 99]).1).sum();
    // The first tries, and the 50 retries that a full budget allows.
    assert!(tries <= 1000 + 50, "{tries}");
    assert_eq!(run(&Backoff::PUT, &budget, &[DOWN]).0, Err(GaveUp::Budget));
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let elapsed_ms = |seed| {
        let time = VirtualTime::new(seed);
        let budget = RefCell::new(Budget::new());
        let mut failures = [BUSY; 6].iter();
        block_on(
            &time,
            retry(&Backoff::PUT, &budget, &time, async |_| {
                failures.next().map_or(Ok(()), |class| Err(TestError(*class)))
            }),
        );
        time.now_ms()
    };
    assert_eq!(elapsed_ms(3), elapsed_ms(3));
    assert_ne!(elapsed_ms(3), elapsed_ms(4));
}
