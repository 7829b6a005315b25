//! What the cache in memory returns, rejects and evicts, and when a refresh may begin.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::freshness::ExchangeTimes;
use http_semantics::fields::HeaderSection;
use kv_store::lru::ENTRY_BYTES;

const LIFETIME_MS: u64 = 10_000;
const MINUTE: u64 = 60_000;

/// A response that was requested at that time, which its body states as well.
fn entry(requested_ms: u64, length: u64) -> MemoryEntry<u64> {
    let metadata = StoredMetadata {
        status: 200,
        fields: HeaderSection::default(),
        times: ExchangeTimes { requested_ms, received_ms: requested_ms },
        length,
        selecting_fields: Vec::new(),
        epoch_ms: requested_ms,
    };
    MemoryEntry { stored: Rc::new(StoredResponse::new(metadata, None)), body: requested_ms }
}

const BYTES_MAX: usize = 8 * 1024 * 1024;
const KEYS_MAX: usize = 100;

/// A cache with room for [`KEYS_MAX`] invalidations of short keys, and as many refreshes.
fn memory() -> MemoryCache<u64> {
    MemoryCache::new(BYTES_MAX, KEYS_MAX * (ENTRY_BYTES + 3), KEYS_MAX * (ENTRY_BYTES + 3))
}

fn body(memory: &mut MemoryCache<u64>, key: &str, now_ms: u64) -> Option<u64> {
    memory.get(key, LIFETIME_MS, now_ms).map(|entry| entry.body)
}

#[test]
fn a_response_stays_for_its_time_and_not_a_millisecond_longer() {
    let mut memory = memory();
    assert_eq!(body(&mut memory, "a", 0), None);
    memory.insert("a", entry(1, 10), 1000);
    assert_eq!(body(&mut memory, "a", 1000), Some(1));
    assert_eq!(body(&mut memory, "b", 1000), None);
    assert_eq!(body(&mut memory, "a", 10_999), Some(1), "a use does not prolong it");
    assert_eq!(body(&mut memory, "a", 11_000), None);
    assert!(memory.entries.is_empty());
    memory.insert("a", entry(2, 10), 12_000);
    assert!(memory.get("a", 0, 12_000).is_none(), "a lifetime of 0");
}

#[test]
fn a_clock_that_was_set_back_finds_nothing() {
    let mut memory = memory();
    memory.insert("a", entry(100_000, 1), 100_000);
    assert_eq!(body(&mut memory, "a", 99_999), None);
    assert_eq!(body(&mut memory, "a", 100_000), None, "nor later, when the clock has come there again");
    memory.insert("a", entry(5, 1), 5);
    assert_eq!(body(&mut memory, "a", 5), Some(5));
}

#[test]
fn an_older_response_does_not_replace_a_newer_one() {
    let mut memory = memory();
    memory.insert("a", entry(10, 1), 10);
    memory.insert("a", entry(9, 1), 11);
    assert_eq!(body(&mut memory, "a", 11), Some(10));
    memory.insert("a", entry(10, 2), 12);
    assert_eq!(memory.get("a", LIFETIME_MS, 12).unwrap().stored.metadata.length, 2);
}

#[test]
fn a_response_is_outdated_by_a_newer_one_and_by_an_invalidation() {
    let mut memory = memory();
    assert!(!memory.is_outdated("a", 0));
    memory.insert("a", entry(5, 1), 10);
    assert!(memory.is_outdated("a", 4) && !memory.is_outdated("a", 5) && !memory.is_outdated("b", 4));
    memory.remove_older("a", 5);
    assert!(memory.get("a", LIFETIME_MS, 10).is_some());
    memory.remove_older("a", 6);
    assert!(memory.get("a", LIFETIME_MS, 10).is_none());
    memory.invalidate("a", 7);
    assert!(memory.is_outdated("a", 7) && !memory.is_outdated("a", 8));
}

// RFC 9111 §4.4: "'Invalidate' means that the cache will either remove all stored responses
// whose target URI matches the given URI or mark them as 'invalid' and in need of a mandatory
// validation before they can be sent in response to a subsequent request."
#[test]
fn an_invalidation_removes_and_rejects_what_was_requested_before() {
    let mut memory = memory();
    memory.insert("a", entry(10, 1), 10);
    memory.insert("b", entry(10, 1), 10);
    memory.invalidate("a", 20);
    assert_eq!((body(&mut memory, "a", 20), body(&mut memory, "b", 20)), (None, Some(10)));
    memory.insert("a", entry(20, 1), 21);
    assert_eq!(body(&mut memory, "a", 21), None, "KV shows the old value for a while");
    assert!(memory.is_invalidated("a", 20) && !memory.is_invalidated("a", 21) && !memory.is_invalidated("b", 0));
    memory.insert("a", entry(21, 1), 22);
    assert_eq!(body(&mut memory, "a", 22), Some(21));
}

#[test]
fn an_invalidation_is_remembered_for_two_minutes() {
    let mut memory = memory();
    memory.invalidate("a", 1000);
    memory.invalidate("a", 2000);
    memory.invalidate("a", 1500);
    assert!(memory.is_invalidated("a", 2000), "a clock that is a little behind takes nothing back");
    memory.get("b", LIFETIME_MS, 2001 + 2 * MINUTE);
    assert!(memory.is_invalidated("a", 2000));
    memory.get("b", LIFETIME_MS, 2002 + 2 * MINUTE);
    assert!(!memory.is_invalidated("a", 0));
    memory.invalidate("a", 100 * MINUTE);
    memory.get("b", LIFETIME_MS, 0);
    assert!(!memory.is_invalidated("a", 0), "a clock that was set back forbids nothing for hours");
}

#[test]
fn of_two_writes_that_end_in_the_same_millisecond_the_response_to_neither_stays() {
    // The response to a write counts as requested after its own invalidation.
    let mut memory = memory();
    memory.invalidate("a", 10);
    memory.insert("a", entry(11, 1), 10);
    assert_eq!(body(&mut memory, "a", 10), Some(11));
    memory.invalidate("a", 10);
    memory.insert("a", entry(11, 1), 10);
    assert_eq!(body(&mut memory, "a", 10), None);
    assert!(!memory.is_invalidated("a", 12), "what is requested later does");
}

#[test]
fn the_selecting_fields_of_a_url_outlive_its_response() {
    let mut memory = memory();
    let selecting_fields = vec![("accept".to_owned(), "-".to_owned())];
    assert_eq!(memory.selecting_fields("a"), None);
    memory.remember_selecting_fields("a", &selecting_fields);
    memory.invalidate("a", 1);
    assert_eq!(memory.selecting_fields("a"), Some(&selecting_fields));
    memory.remember_selecting_fields("a", &Vec::new());
    assert_eq!(memory.selecting_fields("a"), None, "the response under the key has none now");
}

#[test]
fn the_oldest_invalidation_is_evicted() {
    let mut memory = memory();
    for index in 100..100 + KEYS_MAX {
        memory.invalidate(&format!("{index}"), 0);
    }
    memory.invalidate("100", 0);
    assert_eq!(memory.invalidated.len(), KEYS_MAX, "one key again and again drives out no other");
    memory.invalidate("new", 0);
    assert!(memory.is_invalidated("100", 0) && memory.is_invalidated("new", 0) && memory.is_invalidated("102", 0));
    assert!(!memory.is_invalidated("101", 0));
}

#[test]
fn a_refresh_begins_once_until_it_ends_or_is_lost() {
    let mut memory = memory();
    assert!(memory.try_begin_refresh("a", 1000));
    assert!(!memory.try_begin_refresh("a", 1000) && !memory.try_begin_refresh("a", 30_999));
    assert!(memory.try_begin_refresh("b", 1000), "each key on its own");
    memory.record_refresh_outcome("a", false, 2000);
    assert!(memory.try_begin_refresh("a", 2000));
    assert!(!memory.try_begin_refresh("a", 31_999));
    assert!(memory.try_begin_refresh("a", 32_000), "the refresh was lost");
    assert!(!memory.try_begin_refresh("a", 61_999));
    assert!(memory.try_begin_refresh("a", 0), "the clock was set back for longer than a refresh takes");
}

#[test]
fn the_backoff_after_failures_in_a_row_is_1_2_4_to_60_seconds() {
    let mut memory = memory();
    let mut now_ms = 0;
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
        assert!(memory.try_begin_refresh("a", now_ms));
        memory.record_refresh_outcome("a", true, now_ms);
        assert!(!memory.try_begin_refresh("a", now_ms));
        assert!(memory.is_backing_off("a", now_ms) && !memory.is_backing_off("b", now_ms));
        now_ms += seconds * 1000;
        assert!(memory.is_backing_off("a", now_ms - 1) && !memory.try_begin_refresh("a", now_ms - 1), "{seconds}");
        assert!(!memory.is_backing_off("a", now_ms), "{seconds}");
    }
    assert!(memory.try_begin_refresh("a", now_ms));
    assert!(!memory.try_begin_refresh("a", now_ms), "a past failure does not hide a refresh in progress");
    memory.record_refresh_outcome("a", false, now_ms);
    assert!(memory.try_begin_refresh("a", now_ms));
    memory.record_refresh_outcome("a", true, now_ms);
    assert!(!memory.is_backing_off("a", now_ms + 1000), "a success resets the count");
}

#[test]
fn failures_of_concurrent_requests_count_once() {
    let mut memory = memory();
    for _ in 0..9 {
        memory.record_refresh_outcome("a", true, 5000);
    }
    assert!(memory.is_backing_off("a", 5999) && !memory.is_backing_off("a", 6000));
    assert!(
        memory.is_backing_off("a", 4001) && !memory.is_backing_off("a", 4000),
        "the distance counts: a clock set back"
    );
}

#[test]
fn the_oldest_refresh_is_evicted() {
    let mut memory = memory();
    for index in 100..=100 + KEYS_MAX {
        assert!(memory.try_begin_refresh(&format!("{index}"), 0));
    }
    assert_eq!(memory.refreshes.len(), KEYS_MAX);
    assert!(!memory.try_begin_refresh("101", 0) && memory.try_begin_refresh("100", 0));
}

#[test]
fn responses_are_bounded_in_bytes_and_the_least_recently_used_is_evicted() {
    let mut memory = memory();
    for index in 0..127 {
        memory.insert(&format!("{index}"), entry(0, u64::from(BODY_BYTES_MAX)), 0);
    }
    assert_eq!(memory.entries.len(), 127, "8 MiB are 128 bodies of 64 KiB without their keys");
    assert_eq!(body(&mut memory, "0", 0), Some(0));
    memory.insert("new", entry(0, u64::from(BODY_BYTES_MAX)), 0);
    assert_eq!(memory.entries.len(), 127);
    assert_eq!(body(&mut memory, "1", 0), None);
    assert!(["0", "2", "new"].into_iter().all(|key| body(&mut memory, key, 0).is_some()));
}

#[test]
fn a_response_without_a_body_has_a_size() {
    let mut memory = memory();
    for index in 0..100_000 {
        memory.insert(&format!("{index}"), entry(0, 0), 0);
    }
    assert!(memory.entries.len() * (ENTRY_BYTES + size_of::<StoredResponse>()) <= BYTES_MAX);
}

#[test]
fn the_size_includes_field_names_and_selecting_fields() {
    let mut one = entry(0, 7);
    let metadata = &mut Rc::make_mut(&mut one.stored).metadata;
    metadata.fields = [("etag", "\"a\"")].into_iter().collect();
    metadata.selecting_fields = vec![("accept".to_owned(), "-".to_owned())];
    assert_eq!(size(&one), size_of::<StoredResponse>() + "etag\n\"a\"\n".len() + "etag".len() + 7 + "accept-".len());
}

#[derive(Debug, Clone)]
enum MemoryStep {
    Get,
    Insert { asked_before_ms: u64, length: u64 },
    Invalidate,
}

fn step() -> impl Strategy<Value = (u8, u64, MemoryStep)> {
    let step = prop_oneof![
        3 => Just(MemoryStep::Get),
        3 => (0..300_u64, prop_oneof![Just(0_u64), Just(u64::from(BODY_BYTES_MAX))])
            .prop_map(|(asked_before_ms, length)| MemoryStep::Insert { asked_before_ms, length }),
        1 => Just(MemoryStep::Invalidate),
    ];
    (0..200_u8, 0..100_u64, step)
}

proptest! {
    #[test]
    fn no_sequence_breaks_a_bound_or_returns_an_invalidated_or_expired_response(
        steps in prop::collection::vec(step(), 1..600)
    ) {
        let mut memory = memory();
        let mut now_ms = 1000;
        let mut invalidated: BTreeMap<u8, u64> = BTreeMap::new();
        let mut inserted: BTreeMap<(u8, u64), u64> = BTreeMap::new();
        for (key, later_ms, step) in steps {
            now_ms += later_ms;
            let name = format!("{key}");
            match step {
                MemoryStep::Get => {
                    if let Some(entry) = memory.get(&name, LIFETIME_MS, now_ms) {
                        let requested_ms = entry.stored.metadata.times.requested_ms;
                        prop_assert!(invalidated.get(&key).is_none_or(|at_ms| requested_ms > *at_ms));
                        prop_assert!(now_ms - inserted[&(key, requested_ms)] < LIFETIME_MS);
                    }
                }
                MemoryStep::Insert { asked_before_ms, length } => {
                    let requested_ms = now_ms - asked_before_ms;
                    inserted.insert((key, requested_ms), now_ms);
                    memory.insert(&name, entry(requested_ms, length), now_ms);
                }
                MemoryStep::Invalidate => {
                    invalidated.insert(key, now_ms);
                    memory.invalidate(&name, now_ms);
                }
            }
            let bytes: usize = memory.entries.values().map(|timed| size(&timed.entry)).sum();
            prop_assert!(bytes <= BYTES_MAX);
        }
    }
}

#[test]
fn another_requests_outcome_counts_for_the_backoff_and_a_refresh_in_progress_goes_on() {
    let mut memory: MemoryCache<()> = MemoryCache::new(1024, 1024, 1024);
    assert!(memory.try_begin_refresh("key", 0));
    memory.record_upstream_outcome("key", false, 100);
    assert!(!memory.try_begin_refresh("key", 200), "it is in progress");
    memory.record_upstream_outcome("key", true, 300);
    assert!(memory.is_backing_off("key", 1299) && !memory.is_backing_off("key", 1300));
    memory.record_upstream_outcome("key", false, 400);
    assert!(!memory.is_backing_off("key", 500), "the upstream works again");
    memory.record_refresh_outcome("key", false, 600);
    assert!(memory.try_begin_refresh("key", 700));
}
