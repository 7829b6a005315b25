//! When a record in memory is used, refreshed, served stale and evicted.

use super::*;

const REFRESH: u64 = 10_000;
const LIFETIME: Lifetime = Lifetime::of_rare(REFRESH);

fn cache() -> RecordCache<u32, ()> {
    RecordCache::new(1000 * 200, 1000 * 200, 1000)
}

fn store(cache: &mut RecordCache<u32, ()>, key: &str, text: &str, value: u32, asked_ms: u64) -> CachedRecord<u32> {
    cache.store(key, Some(text.to_owned()), value, text.len(), asked_ms)
}

fn broken(cache: &mut RecordCache<u32, ()>, key: &str, asked_ms: u64) -> Option<CachedRecord<u32>> {
    cache.read_failed(key, ReadFailure::Broken(()), REFRESH, asked_ms..asked_ms).ok()
}

fn fail(cache: &mut RecordCache<u32, ()>, key: &str, asked_ms: u64) -> Option<CachedRecord<u32>> {
    cache.read_failed(key, ReadFailure::Store(StoreError::missing()), REFRESH, asked_ms..asked_ms).ok()
}

fn current(value: u32) -> CachedRecord<u32> {
    CachedRecord { value, record_state: RecordState::Current }
}

#[test]
fn a_refresh_time_is_an_hour_at_most_and_an_invalid_one_is_the_default() {
    for (var, seconds) in [("5", 5), (" 0 ", 0), ("3601", 3600), ("", 10), ("soon", 10), ("-1", 10)] {
        assert_eq!(refresh_ms(var, 10), seconds * 1000, "{var}");
    }
}

#[test]
fn a_record_is_fresh_then_read_once_in_the_background_then_read_first() {
    let mut cache = cache();
    assert_eq!(cache.look_up("a", LIFETIME, 0), RecordLookup::Read);
    store(&mut cache, "a", "1", 1, 1000);
    assert_eq!(cache.look_up("a", LIFETIME, 10_999), RecordLookup::Fresh(current(1)));
    assert_eq!(cache.look_up("a", LIFETIME, 11_000), RecordLookup::Refresh(current(1)));
    assert_eq!(cache.look_up("a", LIFETIME, 11_001), RecordLookup::Fresh(current(1)), "one background read is enough");
    assert_eq!(cache.look_up("a", LIFETIME, 21_000), RecordLookup::Read, "it did not end in time");
    assert_eq!(cache.revalidate("a", Some("1"), 21_000), Some(current(1)));
    assert_eq!(cache.look_up("a", LIFETIME, 21_001), RecordLookup::Fresh(current(1)));
    assert_eq!(cache.revalidate("a", Some("2"), 21_002), None);
    store(&mut cache, "a", "2", 2, 21_002);
    assert_eq!(cache.look_up("a", LIFETIME, 21_003), RecordLookup::Fresh(current(2)));
}

#[test]
fn a_background_read_that_was_lost_is_begun_again() {
    let mut cache = cache();
    store(&mut cache, "a", "1", 1, 0);
    assert_eq!(cache.look_up("a", Lifetime::of_rare(60_000), 60_000), RecordLookup::Refresh(current(1)));
    assert_eq!(cache.look_up("a", Lifetime::of_rare(60_000), 89_999), RecordLookup::Fresh(current(1)));
    assert_eq!(cache.look_up("a", Lifetime::of_rare(60_000), 90_000), RecordLookup::Refresh(current(1)));
}

#[test]
fn without_a_refresh_time_kv_is_read_each_time_and_the_last_good_record_is_still_known() {
    let mut cache = cache();
    store(&mut cache, "a", "1", 1, 1000);
    assert_eq!(cache.look_up("a", Lifetime::of_rare(0), 1000), RecordLookup::Read);
    assert_eq!(
        broken(&mut cache, "a", 1000),
        Some(CachedRecord { value: 1, record_state: RecordState::LastKnownGood })
    );
}

#[test]
fn after_the_clock_was_set_back_a_read_that_begins_counts() {
    let after = || {
        let mut cache = cache();
        store(&mut cache, "a", "1", 1, 100_000_000);
        assert_eq!(cache.look_up("a", LIFETIME, 1000), RecordLookup::Read);
        cache
    };
    let mut stored = after();
    assert_eq!(stored.revalidate("a", Some("2"), 1000), None);
    assert_eq!(store(&mut stored, "a", "2", 2, 1000), current(2));
    assert_eq!(stored.look_up("a", LIFETIME, 1001), RecordLookup::Fresh(current(2)));

    let mut unchanged = after();
    assert_eq!(unchanged.revalidate("a", Some("1"), 1000), Some(current(1)));
    assert_eq!(unchanged.look_up("a", LIFETIME, 1001), RecordLookup::Fresh(current(1)));

    let mut removed = after();
    removed.remove("a", 1000);
    assert!(removed.records.is_empty());

    let mut failed = after();
    let stale = CachedRecord { value: 1, record_state: RecordState::Stale };
    assert_eq!(fail(&mut failed, "a", 1000), Some(stale.clone()));
    assert_eq!(failed.look_up("a", LIFETIME, 1001), RecordLookup::Fresh(stale));
    assert_eq!(fail(&mut failed, "a", 1000 + STALE_MS), None, "KV has not responded for an hour");
}

#[test]
fn the_last_good_record_is_served_without_limit_if_kv_has_a_broken_one_and_for_an_hour_if_kv_fails() {
    let mut cache = cache();
    assert_eq!(broken(&mut cache, "a", 0), None);
    assert_eq!(fail(&mut cache, "a", 0), None);
    store(&mut cache, "a", "1", 1, 0);
    assert_eq!(
        broken(&mut cache, "a", 1000),
        Some(CachedRecord { value: 1, record_state: RecordState::LastKnownGood })
    );
    let last_good = CachedRecord { value: 1, record_state: RecordState::LastKnownGood };
    assert_eq!(
        cache.look_up("a", LIFETIME, 2000),
        RecordLookup::Fresh(last_good),
        "it says so as long as it is served"
    );
    assert_eq!(fail(&mut cache, "a", STALE_MS - 1), Some(CachedRecord { value: 1, record_state: RecordState::Stale }));
    assert_eq!(fail(&mut cache, "a", STALE_MS + 1000), None);
    assert_eq!(
        broken(&mut cache, "a", 9 * STALE_MS),
        Some(CachedRecord { value: 1, record_state: RecordState::LastKnownGood })
    );
    assert_eq!(
        fail(&mut cache, "a", 10 * STALE_MS - 1),
        Some(CachedRecord { value: 1, record_state: RecordState::Stale }),
        "KV responded"
    );
    store(&mut cache, "a", "2", 2, 10 * STALE_MS);
    assert_eq!(cache.look_up("a", LIFETIME, 10 * STALE_MS), RecordLookup::Fresh(current(2)));
}

#[test]
fn a_read_that_began_before_the_last_one_changes_nothing() {
    let mut cache = cache();
    store(&mut cache, "a", "2", 2, 1000);
    assert_eq!(store(&mut cache, "a", "1", 1, 999), current(2));
    assert_eq!(cache.revalidate("a", Some("1"), 999), Some(current(2)));
    assert_eq!(broken(&mut cache, "a", 999), Some(current(2)));
    assert_eq!(fail(&mut cache, "a", 999), Some(current(2)));
    cache.remove("a", 999);
    assert_eq!(cache.look_up("a", LIFETIME, 1000), RecordLookup::Fresh(current(2)));
}

#[test]
fn usable_ms_may_exceed_twice_fresh_ms() {
    let mut cache = cache();
    store(&mut cache, "a", "1", 1, 0);
    assert_eq!(
        cache.look_up("a", Lifetime { fresh_ms: REFRESH, usable_ms: 10 * REFRESH }, 3 * REFRESH),
        RecordLookup::Refresh(current(1))
    );
    assert_eq!(
        cache.look_up("a", Lifetime { fresh_ms: REFRESH, usable_ms: 10 * REFRESH }, 10 * REFRESH),
        RecordLookup::Read
    );
    assert_eq!(cache.look_up("a", Lifetime { fresh_ms: 0, usable_ms: 0 }, 0), RecordLookup::Read);
}

#[test]
fn an_incomplete_record_is_parsed_again() {
    let mut cache = cache();
    store(&mut cache, "a", "1", 1, 0);
    cache.mark_incomplete("a");
    assert_eq!(cache.look_up("a", LIFETIME, 1), RecordLookup::Fresh(current(1)));
    assert_eq!(cache.revalidate("a", Some("1"), 1), None);
    store(&mut cache, "a", "1", 2, 1);
    assert_eq!(cache.revalidate("a", Some("1"), 2), Some(current(2)));
    cache.remove("a", 2);
    assert!(cache.records.is_empty());
}

#[test]
fn a_missing_value_is_not_an_empty_text() {
    let mut cache = cache();
    cache.store("a", None, 1, 0, 0);
    assert_eq!(cache.revalidate("a", None, 1), Some(current(1)));
    assert_eq!(cache.revalidate("a", Some(""), 2), None);
    cache.mark_incomplete("a");
    assert_eq!((cache.revalidate("a", None, 3), cache.revalidate("a", Some(""), 3)), (None, None));
}

#[test]
fn absent_keys_evict_no_record() {
    let mut cache = cache();
    store(&mut cache, "real", "x", 7, 0);
    for index in 0..5000 {
        cache.store(&format!("made up {index}"), None, 0, 0, 1 + index);
    }
    assert_eq!(cache.look_up("real", LIFETIME, 1), RecordLookup::Fresh(current(7)));
    assert!(cache.absent.len() < 5000);
    assert_eq!(cache.look_up("made up 4999", LIFETIME, 5000), RecordLookup::Fresh(current(0)));
}

#[test]
fn a_key_that_gave_nothing_is_not_read_again_for_five_seconds_but_no_longer_than_a_record_is_fresh() {
    let why = ReadFailure::Broken(());
    for (fresh_ms, for_ms) in [(60_000, 5000), (2000, 2000)] {
        let mut cache = cache();
        assert_eq!(cache.read_failed("a", why.clone(), fresh_ms, 500..1000), Err(why.clone()));
        assert_eq!(cache.look_up("a", LIFETIME, 1000 + for_ms - 1), RecordLookup::Failed(why.clone()));
        assert_eq!(cache.look_up("a", LIFETIME, 1000 + for_ms), RecordLookup::Read);
        assert_eq!(cache.look_up("b", LIFETIME, 1000), RecordLookup::Read);
        store(&mut cache, "a", "1", 1, 1001);
        assert_eq!(cache.look_up("a", LIFETIME, 1001), RecordLookup::Fresh(current(1)));
    }
    let mut cache = cache();
    cache.read_failed("a", why.clone(), REFRESH, 1_000_000..1_000_000).unwrap_err();
    assert_eq!(cache.look_up("a", LIFETIME, 1000), RecordLookup::Read, "the clock was set back");
    let mut forgetful: RecordCache<u32, ()> = RecordCache::new(1000, 0, 0);
    forgetful.read_failed("a", why, REFRESH, 1000..1000).unwrap_err();
    assert_eq!(forgetful.look_up("a", LIFETIME, 1000), RecordLookup::Read);
    assert!(cache.caches_failures() && !forgetful.caches_failures());
}

#[test]
fn after_a_read_that_hung_kv_is_not_asked_for_as_long_as_after_one_that_failed_at_once() {
    let why = ReadFailure::Store(StoreError::read_timeout());
    let hung_ms = crate::retry::Backoff::READ.deadline_ms;
    let mut cache = cache();
    cache.read_failed("a", why.clone(), REFRESH, 0..hung_ms).unwrap_err();
    assert_eq!(cache.look_up("a", LIFETIME, hung_ms + FAILURE_MS - 1), RecordLookup::Failed(why.clone()));
    assert_eq!(cache.look_up("a", LIFETIME, hung_ms + FAILURE_MS), RecordLookup::Read);

    let short = Lifetime::of_rare(1000);
    store(&mut cache, "b", "1", 1, 0);
    let stale = CachedRecord { value: 1, record_state: RecordState::Stale };
    assert_eq!(cache.look_up("b", short, 2000), RecordLookup::Read);
    assert_eq!(cache.read_failed("b", why, short.fresh_ms, 2000..2000 + hung_ms), Ok(stale.clone()));
    assert_eq!(cache.look_up("b", short, 2000 + hung_ms + 999), RecordLookup::Fresh(stale));
    assert_eq!(store(&mut cache, "b", "2", 2, 2001), current(2), "a read that began while the other one hung");
}

#[test]
fn a_deleted_key_is_removed() {
    let mut cache = cache();
    store(&mut cache, "a", "1", 1, 0);
    cache.remove("a", 0);
    assert_eq!(cache.look_up("a", LIFETIME, 1), RecordLookup::Read);
    assert_eq!(broken(&mut cache, "a", 1), None);
    assert!(cache.records.is_empty());
}

#[test]
fn the_cache_is_bounded_and_the_longest_unread_record_goes_first() {
    let mut cache: RecordCache<u32, ()> = RecordCache::new(3 * (crate::lru::ENTRY_BYTES + 5), 0, 0);
    for (index, key) in ["a", "b", "c"].into_iter().enumerate() {
        store(&mut cache, key, "x", 0, index as u64);
    }
    cache.revalidate("a", Some("x"), 3);
    store(&mut cache, "d", "x", 0, 4);
    assert_eq!(cache.look_up("b", LIFETIME, 4), RecordLookup::Read);
    assert_eq!(cache.look_up("a", LIFETIME, 4), RecordLookup::Fresh(current(0)));
    let long = "x".repeat(200);
    assert_eq!(store(&mut cache, "too long", &long, 7, 5), current(7));
    assert_eq!(cache.look_up("too long", LIFETIME, 5), RecordLookup::Read);
    assert_eq!(cache.bytes_max(), 3 * (crate::lru::ENTRY_BYTES + 5));
}
