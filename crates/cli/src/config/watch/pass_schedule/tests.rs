use super::*;

/// The random number that makes a wait after a failure longest.
const LONGEST_WAIT: f64 = 1.0;

fn keys(keys: &[&str]) -> ChangedRows {
    ChangedRows::Keys(keys.iter().map(|key| (*key).to_owned()).collect())
}

fn apply(keys: &[&str]) -> ScheduledAction {
    ScheduledAction::Apply(keys.iter().map(|key| (*key).to_owned()).collect())
}

/// Returns a schedule whose first comparison ran from 0 to 100.
fn begun(full_every_ms: Option<u64>, has_snapshot: bool) -> PassSchedule {
    let mut schedule = PassSchedule::new(0, full_every_ms, has_snapshot);
    assert!(schedule.is_behind());
    assert_eq!(schedule.next(0), ScheduledAction::Compare);
    schedule.pass_ended(100, PassResult::Complete, LONGEST_WAIT);
    assert!(!schedule.is_behind());
    schedule
}

#[test]
fn it_starts_with_a_comparison_and_repeats_it() {
    let mut schedule = begun(Some(5000), false);
    assert_eq!(schedule.next(100), ScheduledAction::Wait(5000));
    assert_eq!(schedule.next(5100), ScheduledAction::Compare);
    schedule.pass_ended(5200, PassResult::Complete, LONGEST_WAIT);
    assert_eq!(schedule.next(5200), ScheduledAction::Wait(5000));
    assert_eq!(begun(None, false).next(100), ScheduledAction::WaitForChanges);
}

#[test]
fn changes_are_collected_for_a_second() {
    let mut schedule = begun(None, false);
    schedule.add_changes(keys(&["b"]), 200);
    schedule.add_changes(ChangedRows::nothing(), 300);
    schedule.add_changes(keys(&["a", "b"]), 900);
    assert!(schedule.is_behind());
    assert_eq!(schedule.next(900), ScheduledAction::Wait(300));
    assert_eq!(schedule.next(1200), apply(&["a", "b"]));
    schedule.add_changes(keys(&["a"]), 1250);
    schedule.pass_ended(1300, PassResult::Complete, LONGEST_WAIT);
    assert_eq!(schedule.next(1300), ScheduledAction::Wait(950));
    assert_eq!(schedule.next(2250), apply(&["a"]));
    schedule.pass_ended(2300, PassResult::Complete, LONGEST_WAIT);
    assert!(!schedule.is_behind());
}

#[test]
fn many_changes_are_one_comparison_and_comparisons_take_half_of_the_time_at_most() {
    let many = |from: usize, to: usize| ChangedRows::Keys((from..to).map(|key| key.to_string()).collect());
    for changed in [vec![ChangedRows::Everything], vec![many(0, 600), many(500, 1001)]] {
        let mut schedule = begun(Some(60_000), false);
        for changed in changed {
            schedule.add_changes(changed, 200);
        }
        assert_eq!(schedule.next(200), ScheduledAction::Wait(1000));
        assert_eq!(schedule.next(1200), ScheduledAction::Compare);
        schedule.add_changes(ChangedRows::Everything, 1300);
        schedule.pass_ended(9200, PassResult::Complete, LONGEST_WAIT);
        // The comparison took 8 seconds.
        assert_eq!(schedule.next(9200), ScheduledAction::Wait(8000));
        assert_eq!(schedule.next(17_200), ScheduledAction::Compare);
        schedule.pass_ended(17_300, PassResult::Complete, LONGEST_WAIT);
        assert_eq!(schedule.next(17_300), ScheduledAction::Wait(60_000));
    }
}

#[test]
fn a_comparison_that_is_due_replaces_pending_changes_and_the_snapshot() {
    let mut schedule = begun(Some(1000), true);
    schedule.add_changes(keys(&["a"]), 100);
    assert_eq!(schedule.next(1100), ScheduledAction::Compare);
    schedule.pass_ended(1200, PassResult::Complete, LONGEST_WAIT);
    assert!(!schedule.is_behind());
    assert_eq!(schedule.next(1200), ScheduledAction::Wait(1000));
}

#[test]
fn after_failures_everything_is_compared_with_growing_waits() {
    let mut schedule = begun(None, false);
    schedule.add_changes(keys(&["a"]), 100);
    assert_eq!(schedule.next(1100), apply(&["a"]));
    schedule.pass_ended(1100, PassResult::Failed, LONGEST_WAIT);
    let mut now = 1100;
    for wait in [2000, 4000, 8000] {
        assert!(schedule.is_behind());
        schedule.add_changes(keys(&["b"]), now);
        assert_eq!(schedule.next(now), ScheduledAction::Wait(wait));
        now += wait;
        assert_eq!(schedule.next(now), ScheduledAction::Compare);
        schedule.pass_ended(now, PassResult::Failed, LONGEST_WAIT);
    }
    schedule.compare_now(now);
    assert_eq!(schedule.next(now), ScheduledAction::Compare);
    schedule.pass_ended(now, PassResult::Complete, LONGEST_WAIT);
    assert!(!schedule.is_behind());
    assert_eq!(schedule.next(now), ScheduledAction::WaitForChanges);
}

#[test]
fn after_something_may_have_been_missed_it_is_behind_until_a_comparison_has_succeeded() {
    let mut schedule = begun(Some(60_000), false);
    schedule.compare_now(200);
    assert!(schedule.is_behind());
    schedule.add_changes(keys(&["a"]), 250);
    assert_eq!(schedule.next(300), ScheduledAction::Compare);
    schedule.pass_ended(400, PassResult::Failed, LONGEST_WAIT);
    assert!(schedule.is_behind());
    assert_eq!(schedule.next(2400), ScheduledAction::Compare);
    schedule.pass_ended(2500, PassResult::Complete, LONGEST_WAIT);
    assert!(!schedule.is_behind());
}

#[test]
fn snapshots_are_written_ten_seconds_apart() {
    let mut schedule = begun(None, true);
    for (heard, now) in [(100, 1100), (1200, 2200)] {
        schedule.add_changes(keys(&["a"]), heard);
        assert_eq!(schedule.next(now), apply(&["a"]));
        schedule.pass_ended(now, PassResult::Complete, LONGEST_WAIT);
        assert_eq!(schedule.next(now), ScheduledAction::Wait(10_100 - now));
    }
    assert!(schedule.is_behind());
    assert_eq!(schedule.next(10_100), ScheduledAction::Snapshot);
    schedule.pass_ended(10_200, PassResult::Complete, LONGEST_WAIT);
    assert!(!schedule.is_behind());
    assert_eq!(schedule.next(10_200), ScheduledAction::WaitForChanges);
}

#[test]
fn waits_before_reconnecting_grow_to_half_a_minute_and_are_never_zero() {
    for (tries, random, expected) in [(1, 0.0, 500), (1, 1.0, 2000), (3, 0.5, 4000), (99, 1.0, 30_000)] {
        assert_eq!(reconnect_wait_ms(tries, random), expected, "{tries} {random}");
    }
}

#[test]
fn a_row_that_kv_cannot_hold_leaves_it_behind_and_delays_nothing() {
    let mut schedule = begun(Some(60_000), true);
    assert_eq!(schedule.next(60_100), ScheduledAction::Compare);
    schedule.pass_ended(60_200, PassResult::Incomplete, LONGEST_WAIT);
    assert!(schedule.is_behind());
    schedule.add_changes(keys(&["a"]), 60_300);
    assert_eq!(schedule.next(61_300), apply(&["a"]));
    schedule.pass_ended(61_400, PassResult::Complete, LONGEST_WAIT);
    assert_eq!(schedule.next(70_200), ScheduledAction::Snapshot);
    schedule.pass_ended(70_300, PassResult::Complete, LONGEST_WAIT);
    // The missing row may be another one.
    assert!(schedule.is_behind());
    assert_eq!(schedule.next(120_200), ScheduledAction::Compare);
    schedule.pass_ended(120_300, PassResult::Complete, LONGEST_WAIT);
    assert!(!schedule.is_behind());
    // A snapshot that is too long leaves it behind, too, until the next comparison.
    schedule.add_changes(keys(&["a"]), 121_000);
    assert_eq!(schedule.next(122_000), apply(&["a"]));
    schedule.pass_ended(122_100, PassResult::Complete, LONGEST_WAIT);
    assert_eq!(schedule.next(130_300), ScheduledAction::Snapshot);
    schedule.pass_ended(130_300, PassResult::Incomplete, LONGEST_WAIT);
    assert!(schedule.is_behind());
    schedule.add_changes(keys(&["a"]), 131_000);
    assert_eq!(schedule.next(180_300), ScheduledAction::Compare);
    schedule.pass_ended(180_300, PassResult::Complete, LONGEST_WAIT);
    assert!(!schedule.is_behind());
}

#[test]
fn keys_that_the_list_may_lack_are_checked_once_more() {
    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    let mut schedule = begun(None, false);
    let pass = |schedule: &mut PassSchedule, at: u64, expected: &[&str], unlisted: &[&str]| {
        assert_eq!(schedule.next(at), apply(expected), "{at}");
        schedule.pass_ended(at, PassResult::Complete, LONGEST_WAIT);
        schedule.recheck_later(ids(unlisted), at);
    };
    schedule.add_changes(keys(&["a", "b", "c", "d"]), 200);
    pass(&mut schedule, 1200, &["a", "b", "c", "d"], &["a", "b", "c"]);
    assert!(schedule.is_behind());
    assert_eq!(schedule.next(1200), ScheduledAction::Wait(60_000));
    // `a` and `c` are notified again: the list has `c` by now, and the minute of `a` starts again.
    schedule.add_changes(keys(&["a", "c", "e"]), 30_000);
    pass(&mut schedule, 31_000, &["a", "c", "e"], &["a"]);
    assert_eq!(schedule.next(31_000), ScheduledAction::Wait(30_200));
    pass(&mut schedule, 61_200, &["b"], &["b"]);
    assert!(schedule.is_behind());
    // `a` is checked together with `f`, which is notified meanwhile.
    schedule.add_changes(keys(&["f"]), 90_500);
    pass(&mut schedule, 91_500, &["a", "f"], &["a", "f"]);
    assert_eq!(schedule.next(91_500), ScheduledAction::Wait(60_000));
    pass(&mut schedule, 151_500, &["f"], &["f"]);
    assert_eq!(schedule.next(151_500), ScheduledAction::WaitForChanges);
    assert!(!schedule.is_behind());
}

#[test]
fn too_many_keys_that_the_list_may_lack_are_one_comparison() {
    let mut schedule = begun(None, false);
    schedule.add_changes(keys(&["a"]), 200);
    assert_eq!(schedule.next(1200), apply(&["a"]));
    schedule.pass_ended(1200, PassResult::Complete, LONGEST_WAIT);
    schedule.recheck_later((0..=RECHECKS_MAX).map(|key| key.to_string()).collect(), 1200);
    assert!(schedule.is_behind());
    assert_eq!(schedule.next(1200), ScheduledAction::Wait(60_000));
    assert_eq!(schedule.next(61_200), ScheduledAction::Compare);
    schedule.pass_ended(61_300, PassResult::Complete, LONGEST_WAIT);
    assert!(!schedule.is_behind());
}

#[test]
fn after_an_unreliable_list_everything_is_compared_later() {
    let mut schedule = begun(Some(5000), false);
    schedule.compare_when_list_is_reliable(9000);
    assert_eq!(schedule.next(5100), ScheduledAction::Compare);
    schedule.pass_ended(5200, PassResult::Complete, LONGEST_WAIT);
    assert!(schedule.is_behind());
    assert_eq!(schedule.next(5200), ScheduledAction::Wait(3800));
    assert_eq!(schedule.next(9000), ScheduledAction::Compare);
    schedule.pass_ended(9100, PassResult::Complete, LONGEST_WAIT);
    assert!(!schedule.is_behind());
    assert_eq!(schedule.next(9100), ScheduledAction::Wait(5000));
}

#[test]
#[should_panic(expected = "a pass was started")]
fn a_pass_that_did_not_start_cannot_end() {
    begun(None, false).pass_ended(200, PassResult::Complete, LONGEST_WAIT);
}
