//! When an operation on KV is tried again, and when not any more, in virtual time.

use std::cell::RefCell;

use kv_store::retry::{Backoff, Budget, Classify, FailureClass, GaveUp, Time, retry};
use simulation::virtual_time::{VirtualTime, block_on};

/// Fails with each of these in turn, then succeeds.
struct Failing(FailureClass);

impl Classify for Failing {
    fn class(&self) -> FailureClass {
        self.0
    }
}

const BUSY: FailureClass = FailureClass::RateLimited { retry_after_ms: None };
const DOWN: FailureClass = FailureClass::Unavailable { retry_after_ms: None };

/// Runs against a list of failures, followed by success; outcome, tries and the time it took.
fn run(backoff: &Backoff, budget: &RefCell<Budget>, failures: &[FailureClass]) -> (Result<(), GaveUp>, u32, u64) {
    let time = VirtualTime::new(7);
    let mut failures = failures.iter();
    let retried = block_on(
        &time,
        retry(backoff, budget, &time, async |_| failures.next().map_or(Ok(()), |class| Err(Failing(*class)))),
    );
    (retried.outcome.map_err(|(_, gave_up)| gave_up), retried.tries, time.now_ms())
}

#[test]
fn statuses_are_classified_by_what_another_try_can_do() {
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
fn success_ends_the_tries() {
    let budget = RefCell::new(Budget::new());
    let (outcome, tries, elapsed_ms) = run(&Backoff::PUT, &budget, &[BUSY, DOWN, BUSY]);
    assert_eq!((outcome, tries), (Ok(()), 4));
    assert!(elapsed_ms <= 1000 + 2000 + 4000, "{elapsed_ms}");
}

#[test]
fn a_permanent_failure_is_told_at_once() {
    let budget = RefCell::new(Budget::new());
    assert_eq!(run(&Backoff::PUT, &budget, &[FailureClass::Permanent]), (Err(GaveUp::Permanent), 1, 0));
}

#[test]
fn tries_are_bounded() {
    let budget = RefCell::new(Budget::new());
    let backoff = Backoff { tries_max: 3, deadline_ms: u64::MAX, ..Backoff::PUT };
    let (outcome, tries, _) = run(&backoff, &budget, &[BUSY; 9]);
    assert_eq!((outcome, tries), (Err(GaveUp::Tries), 3));
}

#[test]
fn no_wait_begins_that_ends_behind_the_deadline() {
    let budget = RefCell::new(Budget::new());
    let backoff = Backoff { tries_max: u32::MAX, deadline_ms: 10_000, ..Backoff::PUT };
    let (outcome, _, elapsed_ms) = run(&backoff, &budget, &[BUSY; 99]);
    assert_eq!(outcome, Err(GaveUp::Deadline));
    assert!(elapsed_ms <= 10_000, "{elapsed_ms}");
}

#[test]
fn an_operation_is_told_what_is_left_of_the_deadline() {
    let time = VirtualTime::new(1);
    let budget = RefCell::new(Budget::new());
    let mut left = Vec::new();
    let backoff = Backoff { deadline_ms: 30_000, tries_max: 3, ..Backoff::PUT };
    block_on(
        &time,
        retry(&backoff, &budget, &time, async |left_ms| {
            left.push((left_ms, time.now_ms()));
            time.sleep(50).await;
            Err::<(), _>(Failing(BUSY))
        }),
    );
    assert_eq!(left.len(), 3);
    assert!(left.iter().all(|(left_ms, now_ms)| left_ms + now_ms == 30_000), "{left:?}");
}

#[test]
fn an_outage_is_not_multiplied_once_the_budget_of_the_isolate_is_used_up() {
    let budget = RefCell::new(Budget::new());
    let puts: u32 = (0..1000).map(|_| run(&Backoff { first_ms: 0, ..Backoff::PUT }, &budget, &[DOWN; 99]).1).sum();
    assert!(puts <= 1000 + 50, "{puts}");
    assert_eq!(run(&Backoff::PUT, &budget, &[DOWN]).0, Err(GaveUp::Budget));
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let of_seed = |seed| {
        let time = VirtualTime::new(seed);
        let budget = RefCell::new(Budget::new());
        let mut failures = [BUSY; 6].iter();
        block_on(
            &time,
            retry(&Backoff::PUT, &budget, &time, async |_| {
                failures.next().map_or(Ok(()), |class| Err(Failing(*class)))
            }),
        );
        time.now_ms()
    };
    assert_eq!(of_seed(3), of_seed(3));
    assert_ne!(of_seed(3), of_seed(4));
}
