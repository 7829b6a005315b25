use super::*;

fn keys(keys: &[&str]) -> Changed {
    Changed::Keys(keys.iter().map(|key| (*key).to_owned()).collect())
}

fn apply(keys: &[&str]) -> Todo {
    Todo::Apply(keys.iter().map(|key| (*key).to_owned()).collect())
}

/// Returns a schedule whose first comparison ran from 0 to 100.
fn begun(full_every_ms: Option<u64>, has_snapshot: bool) -> Schedule {
    let mut schedule = Schedule::new(0, full_every_ms, has_snapshot);
    assert!(schedule.is_behind());
    assert_eq!(schedule.next(0), Todo::Compare);
    schedule.ended(100, Ended::Good, 1.0);
    assert!(!schedule.is_behind());
    schedule
}

#[test]
fn it_begins_with_a_comparison_and_makes_one_every_so_often() {
    let mut schedule = begun(Some(5000), false);
    assert_eq!(schedule.next(100), Todo::Wait(5000));
    assert_eq!(schedule.next(5100), Todo::Compare);
    schedule.ended(5200, Ended::Good, 1.0);
    assert_eq!(schedule.next(5200), Todo::Wait(5000));
    assert_eq!(begun(None, false).next(100), Todo::Wait(u64::MAX));
}

#[test]
fn changes_are_gathered_for_a_second() {
    let mut schedule = begun(None, false);
    schedule.heard(keys(&["b"]), 200);
    schedule.heard(Changed::nothing(), 300);
    schedule.heard(keys(&["a", "b"]), 900);
    assert!(schedule.is_behind());
    assert_eq!(schedule.next(900), Todo::Wait(300));
    assert_eq!(schedule.next(1200), apply(&["a", "b"]));
    schedule.heard(keys(&["a"]), 1250);
    schedule.ended(1300, Ended::Good, 1.0);
    assert_eq!(schedule.next(1300), Todo::Wait(950));
    assert_eq!(schedule.next(2250), apply(&["a"]));
    schedule.ended(2300, Ended::Good, 1.0);
    assert!(!schedule.is_behind());
}

#[test]
fn many_changes_are_one_comparison_that_leaves_time_for_others() {
    let many = |from: usize, to: usize| Changed::Keys((from..to).map(|key| key.to_string()).collect());
    for changed in [vec![Changed::Everything], vec![many(0, 600), many(500, 1001)]] {
        let mut schedule = begun(Some(60_000), false);
        for changed in changed {
            schedule.heard(changed, 200);
        }
        assert_eq!(schedule.next(200), Todo::Wait(1000));
        assert_eq!(schedule.next(1200), Todo::Compare);
        schedule.heard(Changed::Everything, 1300);
        schedule.ended(9200, Ended::Good, 1.0);
        // The comparison took 8 seconds.
        assert_eq!(schedule.next(9200), Todo::Wait(8000));
        assert_eq!(schedule.next(17_200), Todo::Compare);
        schedule.ended(17_300, Ended::Good, 1.0);
        assert_eq!(schedule.next(17_300), Todo::Wait(60_000));
    }
}

#[test]
fn a_comparison_that_is_due_does_the_work_of_the_others() {
    let mut schedule = begun(Some(1000), true);
    schedule.heard(keys(&["a"]), 100);
    assert_eq!(schedule.next(1100), Todo::Compare);
    schedule.ended(1200, Ended::Good, 1.0);
    assert!(!schedule.is_behind());
    assert_eq!(schedule.next(1200), Todo::Wait(1000));
}

#[test]
fn a_failure_is_made_good_by_a_comparison_and_waits_grow() {
    let mut schedule = begun(None, false);
    schedule.heard(keys(&["a"]), 100);
    assert_eq!(schedule.next(1100), apply(&["a"]));
    schedule.ended(1100, Ended::Failed, 1.0);
    let mut now = 1100;
    for wait in [2000, 4000, 8000] {
        assert!(schedule.is_behind());
        schedule.heard(keys(&["b"]), now);
        assert_eq!(schedule.next(now), Todo::Wait(wait));
        now += wait;
        assert_eq!(schedule.next(now), Todo::Compare);
        schedule.ended(now, Ended::Failed, 1.0);
    }
    schedule.compare_now(now);
    assert_eq!(schedule.next(now), Todo::Compare);
    schedule.ended(now, Ended::Good, 1.0);
    assert!(!schedule.is_behind());
    assert_eq!(schedule.next(now), Todo::Wait(u64::MAX));
}

#[test]
fn snapshots_follow_changes_ten_seconds_apart() {
    let mut schedule = begun(None, true);
    for (heard, now) in [(100, 1100), (1200, 2200)] {
        schedule.heard(keys(&["a"]), heard);
        assert_eq!(schedule.next(now), apply(&["a"]));
        schedule.ended(now, Ended::Good, 1.0);
        assert_eq!(schedule.next(now), Todo::Wait(10_100 - now));
    }
    assert!(schedule.is_behind());
    assert_eq!(schedule.next(10_100), Todo::Snapshot);
    schedule.ended(10_200, Ended::Good, 1.0);
    assert!(!schedule.is_behind());
    assert_eq!(schedule.next(10_200), Todo::Wait(u64::MAX));
}

#[test]
fn waits_for_the_server_grow_to_half_a_minute_and_are_never_none() {
    for (tries, random, expected) in [(1, 0.0, 500), (1, 1.0, 2000), (3, 0.5, 4000), (99, 1.0, 30_000)] {
        assert_eq!(wait_ms(tries, random), expected, "{tries} {random}");
    }
}

#[test]
fn what_cannot_be_in_kv_leaves_it_behind_and_delays_nothing() {
    let mut schedule = begun(Some(60_000), true);
    assert_eq!(schedule.next(60_100), Todo::Compare);
    schedule.ended(60_200, Ended::Behind, 1.0);
    assert!(schedule.is_behind());
    schedule.heard(keys(&["a"]), 60_300);
    assert_eq!(schedule.next(61_300), apply(&["a"]));
    schedule.ended(61_400, Ended::Good, 1.0);
    assert_eq!(schedule.next(70_200), Todo::Snapshot);
    schedule.ended(70_300, Ended::Good, 1.0);
    // The missing row may be another one.
    assert!(schedule.is_behind());
    assert_eq!(schedule.next(120_200), Todo::Compare);
    schedule.ended(120_300, Ended::Good, 1.0);
    assert!(!schedule.is_behind());
    for (kind, at) in [(Todo::Snapshot, 130_300), (Todo::Compare, 180_300)] {
        schedule.heard(keys(&["a"]), 121_000);
        if kind == Todo::Snapshot {
            assert_eq!(schedule.next(122_000), apply(&["a"]));
            schedule.ended(122_100, Ended::Good, 1.0);
        }
        assert_eq!(schedule.next(at), kind);
        schedule.ended(at, if kind == Todo::Snapshot { Ended::Behind } else { Ended::Good }, 1.0);
        assert_eq!(schedule.is_behind(), kind == Todo::Snapshot, "a snapshot that is too long");
    }
}

#[test]
fn keys_that_the_list_may_lack_are_looked_at_once_more() {
    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    let mut schedule = begun(None, false);
    let pass = |schedule: &mut Schedule, at: u64, expected: &[&str], unlisted: &[&str]| {
        assert_eq!(schedule.next(at), apply(expected), "{at}");
        schedule.ended(at, Ended::Good, 1.0);
        schedule.look_again(ids(unlisted), at);
    };
    schedule.heard(keys(&["a", "b", "c", "d"]), 200);
    pass(&mut schedule, 1200, &["a", "b", "c", "d"], &["a", "b", "c"]);
    assert!(schedule.is_behind());
    assert_eq!(schedule.next(1200), Todo::Wait(60_000));
    // One of them is notified again, so its minute starts again; another one is in KV by now.
    schedule.heard(keys(&["a", "c", "e"]), 30_000);
    pass(&mut schedule, 31_000, &["a", "c", "e"], &["a"]);
    assert_eq!(schedule.next(31_000), Todo::Wait(30_200));
    pass(&mut schedule, 61_200, &["b"], &["b"]);
    assert!(schedule.is_behind());
    // Together with what is notified then.
    schedule.heard(keys(&["f"]), 90_500);
    pass(&mut schedule, 91_500, &["a", "f"], &["a", "f"]);
    assert_eq!(schedule.next(91_500), Todo::Wait(60_000));
    pass(&mut schedule, 151_500, &["f"], &["f"]);
    assert_eq!(schedule.next(151_500), Todo::Wait(u64::MAX));
    assert!(!schedule.is_behind());
}

#[test]
fn too_many_keys_that_the_list_may_lack_are_one_comparison() {
    let mut schedule = begun(None, false);
    schedule.heard(keys(&["a"]), 200);
    assert_eq!(schedule.next(1200), apply(&["a"]));
    schedule.ended(1200, Ended::Good, 1.0);
    schedule.look_again((0..=AGAIN_MAX).map(|key| key.to_string()).collect(), 1200);
    assert!(schedule.is_behind());
    assert_eq!(schedule.next(1200), Todo::Wait(60_000));
    assert_eq!(schedule.next(61_200), Todo::Compare);
    schedule.ended(61_300, Ended::Good, 1.0);
    assert!(!schedule.is_behind());
}

#[test]
fn what_the_list_could_not_be_believed_in_is_compared_later() {
    let mut schedule = begun(Some(5000), false);
    schedule.unsure_until(9000);
    assert_eq!(schedule.next(5100), Todo::Compare);
    schedule.ended(5200, Ended::Good, 1.0);
    assert!(schedule.is_behind());
    assert_eq!(schedule.next(5200), Todo::Wait(3800));
    assert_eq!(schedule.next(9000), Todo::Compare);
    schedule.ended(9100, Ended::Good, 1.0);
    assert!(!schedule.is_behind());
    assert_eq!(schedule.next(9100), Todo::Wait(5000));
}
