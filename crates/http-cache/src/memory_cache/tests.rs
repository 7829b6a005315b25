use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::freshness::ExchangeTimes;
use http_semantics::fields::HeaderSection;
use kv_store::lru::ENTRY_BYTES;

const KEPT: u64 = 10_000;
const MINUTE: u64 = 60_000;

/// A response that was requested at that time, which its body states as well.
fn entry(requested_ms: u64, length: u64) -> MemoryEntry<u64> {
    let stored = StoredMetadata {
        status: 200,
        fields: HeaderSection::default(),
        times: ExchangeTimes { requested_ms, received_ms: requested_ms },
        length,
        selecting: Vec::new(),
        epoch_ms: requested_ms,
    };
    MemoryEntry { kept: Rc::new(StoredResponse::new(stored, None)), body: requested_ms }
}

const BYTES_MAX: usize = 8 * 1024 * 1024;
const MARKS: usize = 100;

/// A cache with room for [`MARKS`] invalidations of short keys, and as many refreshes.
fn hot() -> MemoryCache<u64> {
    MemoryCache::new(BYTES_MAX, MARKS * (ENTRY_BYTES + 3), MARKS * (ENTRY_BYTES + 3))
}

fn body(hot: &mut MemoryCache<u64>, key: &str, now_ms: u64) -> Option<u64> {
    hot.get(key, KEPT, now_ms).map(|entry| entry.body)
}

#[test]
fn an_answer_is_there_for_as_long_as_it_is_kept_and_not_a_millisecond_longer() {
    let mut hot = hot();
    assert_eq!(body(&mut hot, "a", 0), None);
    hot.insert("a", entry(1, 10), 1000);
    assert_eq!(body(&mut hot, "a", 1000), Some(1));
    assert_eq!(body(&mut hot, "b", 1000), None);
    assert_eq!(body(&mut hot, "a", 10_999), Some(1), "a use makes it no younger");
    assert_eq!(body(&mut hot, "a", 11_000), None);
    assert!(hot.entries.is_empty());
    hot.insert("a", entry(2, 10), 12_000);
    assert!(hot.get("a", 0, 12_000).is_none(), "kept for no time");
}

#[test]
fn a_clock_that_was_set_back_finds_nothing() {
    let mut hot = hot();
    hot.insert("a", entry(100_000, 1), 100_000);
    assert_eq!(body(&mut hot, "a", 99_999), None);
    assert_eq!(body(&mut hot, "a", 100_000), None, "nor later, when the clock has come there again");
    hot.insert("a", entry(5, 1), 5);
    assert_eq!(body(&mut hot, "a", 5), Some(5));
}

#[test]
fn an_older_answer_does_not_take_the_place_of_a_newer_one() {
    let mut hot = hot();
    hot.insert("a", entry(10, 1), 10);
    hot.insert("a", entry(9, 1), 11);
    assert_eq!(body(&mut hot, "a", 11), Some(10));
    hot.insert("a", entry(10, 2), 12);
    assert_eq!(hot.get("a", KEPT, 12).unwrap().kept.stored.length, 2);
}

#[test]
fn an_answer_is_outdated_by_a_newer_one_and_by_an_invalidation() {
    let mut hot = hot();
    assert!(!hot.is_outdated("a", 0));
    hot.insert("a", entry(5, 1), 10);
    assert!(hot.is_outdated("a", 4) && !hot.is_outdated("a", 5) && !hot.is_outdated("b", 4));
    hot.forget_older("a", 5);
    assert!(hot.get("a", KEPT, 10).is_some());
    hot.forget_older("a", 6);
    assert!(hot.get("a", KEPT, 10).is_none());
    hot.invalidate("a", 7);
    assert!(hot.is_outdated("a", 7) && !hot.is_outdated("a", 8));
}

// RFC 9111 §4.4: "'Invalidate' means that the cache will either remove all stored responses
// whose target URI matches the given URI or mark them as 'invalid' and in need of a mandatory
// validation before they can be sent in response to a subsequent request."
#[test]
fn what_was_asked_for_before_an_invalidation_is_neither_there_nor_comes_back() {
    let mut hot = hot();
    hot.insert("a", entry(10, 1), 10);
    hot.insert("b", entry(10, 1), 10);
    hot.invalidate("a", 20);
    assert_eq!((body(&mut hot, "a", 20), body(&mut hot, "b", 20)), (None, Some(10)));
    hot.insert("a", entry(20, 1), 21);
    assert_eq!(body(&mut hot, "a", 21), None, "KV shows what was overwritten for a while");
    assert!(hot.is_invalidated("a", 20) && !hot.is_invalidated("a", 21) && !hot.is_invalidated("b", 0));
    hot.insert("a", entry(21, 1), 22);
    assert_eq!(body(&mut hot, "a", 22), Some(21));
}

#[test]
fn an_invalidation_counts_for_two_minutes() {
    let mut hot = hot();
    hot.invalidate("a", 1000);
    hot.invalidate("a", 2000);
    hot.invalidate("a", 1500);
    assert!(hot.is_invalidated("a", 2000), "a clock that is a little behind takes nothing back");
    hot.get("b", KEPT, 2000 + 2 * MINUTE);
    assert!(hot.is_invalidated("a", 2000));
    hot.get("b", KEPT, 2001 + 2 * MINUTE);
    assert!(!hot.is_invalidated("a", 0));
    hot.invalidate("a", 100 * MINUTE);
    hot.get("b", KEPT, 0);
    assert!(!hot.is_invalidated("a", 0), "a clock that was set back forbids nothing for hours");
}

#[test]
fn the_oldest_invalidation_goes_when_there_are_too_many() {
    let mut hot = hot();
    for index in 100..100 + MARKS {
        hot.invalidate(&format!("{index}"), 0);
    }
    hot.invalidate("100", 0);
    assert_eq!(hot.invalidated.len(), MARKS, "one key again and again drives out no other");
    hot.invalidate("new", 0);
    assert!(hot.is_invalidated("100", 0) && hot.is_invalidated("new", 0) && hot.is_invalidated("102", 0));
    assert!(!hot.is_invalidated("101", 0));
}

#[test]
fn a_refresh_is_begun_once_until_it_ended_or_is_lost() {
    let mut hot = hot();
    assert!(hot.begin_refresh("a", 1000));
    assert!(!hot.begin_refresh("a", 1000) && !hot.begin_refresh("a", 30_999));
    assert!(hot.begin_refresh("b", 1000), "each key on its own");
    hot.end_refresh("a", false, 2000);
    assert!(hot.begin_refresh("a", 2000));
    assert!(!hot.begin_refresh("a", 31_999));
    assert!(hot.begin_refresh("a", 32_000), "it was lost");
    assert!(!hot.begin_refresh("a", 61_999));
    assert!(hot.begin_refresh("a", 0), "the clock was set back for longer than a refresh takes");
}

#[test]
fn failures_in_a_row_leave_a_key_alone_1_2_4_to_60_seconds() {
    let mut hot = hot();
    let mut now_ms = 0;
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
        assert!(hot.begin_refresh("a", now_ms));
        hot.end_refresh("a", true, now_ms);
        assert!(!hot.begin_refresh("a", now_ms));
        assert!(hot.is_left_alone("a", now_ms) && !hot.is_left_alone("b", now_ms));
        now_ms += seconds * 1000;
        assert!(hot.is_left_alone("a", now_ms - 1) && !hot.begin_refresh("a", now_ms - 1), "{seconds}");
        assert!(!hot.is_left_alone("a", now_ms), "{seconds}");
    }
    assert!(hot.begin_refresh("a", now_ms));
    assert!(!hot.begin_refresh("a", now_ms), "a failure that is over does not hide what is under way");
    hot.end_refresh("a", false, now_ms);
    assert!(hot.begin_refresh("a", now_ms));
    hot.end_refresh("a", true, now_ms);
    assert!(!hot.is_left_alone("a", now_ms + 1000), "a success began the row anew");
}

#[test]
fn failures_of_requests_that_ran_side_by_side_count_once() {
    let mut hot = hot();
    for _ in 0..9 {
        hot.end_refresh("a", true, 5000);
    }
    assert!(hot.is_left_alone("a", 5999) && !hot.is_left_alone("a", 6000));
    assert!(hot.is_left_alone("a", 4001) && !hot.is_left_alone("a", 4000), "the distance counts: a clock set back");
}

#[test]
fn the_oldest_refresh_goes_when_there_are_too_many() {
    let mut hot = hot();
    for index in 100..=100 + MARKS {
        assert!(hot.begin_refresh(&format!("{index}"), 0));
    }
    assert_eq!(hot.refreshes.len(), MARKS);
    assert!(!hot.begin_refresh("101", 0) && hot.begin_refresh("100", 0));
}

#[test]
fn answers_are_bounded_in_bytes_and_the_longest_unused_one_goes_first() {
    let mut hot = hot();
    for index in 0..127 {
        hot.insert(&format!("{index}"), entry(0, u64::from(BODY_BYTES_MAX)), 0);
    }
    assert_eq!(hot.entries.len(), 127, "8 MiB are 128 bodies of 64 KiB without their keys");
    assert_eq!(body(&mut hot, "0", 0), Some(0));
    hot.insert("new", entry(0, u64::from(BODY_BYTES_MAX)), 0);
    assert_eq!(hot.entries.len(), 127);
    assert_eq!(body(&mut hot, "1", 0), None);
    assert!(["0", "2", "new"].into_iter().all(|key| body(&mut hot, key, 0).is_some()));
}

#[test]
fn an_answer_without_a_body_takes_room_too() {
    let mut hot = hot();
    for index in 0..100_000 {
        hot.insert(&format!("{index}"), entry(0, 0), 0);
    }
    assert!(hot.entries.len() * (ENTRY_BYTES + size_of::<StoredResponse>()) <= BYTES_MAX);
}

#[test]
fn a_head_counts_with_its_names_and_its_selection() {
    let mut one = entry(0, 7);
    let stored = &mut Rc::make_mut(&mut one.kept).stored;
    stored.fields = [("etag", "\"a\"")].into_iter().collect();
    stored.selecting = vec![("accept".to_owned(), "-".to_owned())];
    assert_eq!(size(&one), size_of::<StoredResponse>() + "etag\n\"a\"\n".len() + "etag".len() + 7 + "accept-".len());
}

#[derive(Debug, Clone)]
enum Step {
    Get,
    Insert { asked_before_ms: u64, length: u64 },
    Invalidate,
}

fn step() -> impl Strategy<Value = (u8, u64, Step)> {
    let step = prop_oneof![
        3 => Just(Step::Get),
        3 => (0..300_u64, prop_oneof![Just(0_u64), Just(u64::from(BODY_BYTES_MAX))])
            .prop_map(|(asked_before_ms, length)| Step::Insert { asked_before_ms, length }),
        1 => Just(Step::Invalidate),
    ];
    (0..200_u8, 0..100_u64, step)
}

proptest! {
    #[test]
    fn no_sequence_breaks_a_bound_or_gives_what_was_invalidated_or_kept_too_long(
        steps in prop::collection::vec(step(), 1..600)
    ) {
        let mut hot = hot();
        let mut now_ms = 1000;
        let mut invalidated: BTreeMap<u8, u64> = BTreeMap::new();
        let mut inserted: BTreeMap<(u8, u64), u64> = BTreeMap::new();
        for (key, later_ms, step) in steps {
            now_ms += later_ms;
            let name = format!("{key}");
            match step {
                Step::Get => {
                    if let Some(entry) = hot.get(&name, KEPT, now_ms) {
                        let requested_ms = entry.kept.stored.times.requested_ms;
                        prop_assert!(invalidated.get(&key).is_none_or(|at_ms| requested_ms > *at_ms));
                        prop_assert!(now_ms - inserted[&(key, requested_ms)] < KEPT);
                    }
                }
                Step::Insert { asked_before_ms, length } => {
                    let requested_ms = now_ms - asked_before_ms;
                    inserted.insert((key, requested_ms), now_ms);
                    hot.insert(&name, entry(requested_ms, length), now_ms);
                }
                Step::Invalidate => {
                    invalidated.insert(key, now_ms);
                    hot.invalidate(&name, now_ms);
                }
            }
            let held: usize = hot.entries.values().map(|held| size(&held.entry)).sum();
            prop_assert!(held <= BYTES_MAX);
        }
    }
}
