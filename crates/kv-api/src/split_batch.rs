//! A batch with more keys than one invocation of a Worker may change: its parts go to further
//! invocations, and what one of them could not change is sent again.
//!
//! ```text
//!   next_round ──> parts ──> a call each ──> PartReply ──> record ─┐
//!       ^                                                            │
//!       └──────────────── keys that were not changed ────────────────┘
//! ```

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashSet;

use serde::Deserialize;

use crate::bulk_call::{BulkOutcome, INVOCATION_KEYS_MAX};

/// The most further invocations of one request. A request may have 32 invocations in all ("Service
/// bindings", limits).
pub const CALLS_MAX: usize = 31;

/// The most bytes of the items of a call, unless one value alone has more. Several calls run at
/// the same time, and an isolate has 128 MB.
const PART_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The most times that a key is sent.
const ROUNDS_MAX: usize = 3;

/// A key with the JSON that a call has for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkItem<'a> {
    /// The key.
    pub key: String,
    /// The element of the array in the body.
    pub json: Cow<'a, str>,
}

impl BulkItem<'_> {
    /// Returns the item of a key that is deleted.
    #[must_use]
    pub fn deleted(key: String) -> Self {
        let json = kv_store::record::to_json(&key).into();
        Self { key, json }
    }
}

/// A batch whose parts go to further invocations.
///
/// # Examples
///
/// ```
/// use kv_api::split_batch::{BulkItem, PartReply, SplitBatch};
///
/// let items = (0..600).map(|number| BulkItem::deleted(format!("user/{number}"))).collect();
/// let mut batch = SplitBatch::new(items);
/// let mut parts = batch.next_round();
/// assert_eq!(parts.len(), 2);
/// batch.record(parts.remove(0), PartReply::Done);
/// // The second invocation is evicted: its keys are sent again.
/// batch.record(parts.remove(0), PartReply::no_response());
/// let again = batch.next_round().remove(0);
/// batch.record(again, PartReply::parse(200, ""));
/// assert_eq!(batch.outcome().successful_key_count, 600);
/// ```
#[derive(Debug)]
pub struct SplitBatch<'a> {
    items: Vec<BulkItem<'a>>,
    /// The positions of the items that are not changed yet.
    pending: Vec<usize>,
    calls_left: usize,
    rounds_left: usize,
    is_rate_limited: bool,
}

/// The items of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchPart(Vec<usize>);

/// The reply to one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartReply {
    /// Every key was changed.
    Done,
    /// Some were not: these, or all if the reply does not say.
    Failed {
        /// The keys that were not changed.
        unsuccessful_keys: Option<Vec<String>>,
        /// True if they were written too often.
        is_rate_limited: bool,
    },
}

impl PartReply {
    /// Reads the response of a call.
    ///
    /// [`SplitBatch`] has an example.
    #[must_use]
    pub fn parse(status: u16, body: &str) -> Self {
        #[derive(Deserialize)]
        struct Reply {
            result: Option<BulkOutcome>,
        }
        if status == 200 {
            return Self::Done;
        }
        let reply: Option<Reply> = serde_json::from_str(body).ok();
        let unsuccessful_keys = reply.and_then(|reply| reply.result).map(|result| result.unsuccessful_keys);
        Self::Failed { unsuccessful_keys, is_rate_limited: status == 429 }
    }

    /// Returns the reply of a call that failed without a response.
    #[must_use]
    pub fn no_response() -> Self {
        Self::Failed { unsuccessful_keys: None, is_rate_limited: false }
    }
}

impl<'a> SplitBatch<'a> {
    /// Returns a batch of these items.
    #[must_use]
    pub fn new(items: Vec<BulkItem<'a>>) -> Self {
        let pending = (0..items.len()).collect();
        Self { items, pending, calls_left: CALLS_MAX, rounds_left: ROUNDS_MAX, is_rate_limited: false }
    }

    /// Returns the calls to make now, which may run at the same time; none if the batch is over.
    ///
    /// Each item goes into the first part that has room, the longest items first. So the first
    /// round has all items of a batch within the limits, in 30 calls at most, and a call is left
    /// for keys that fail:
    ///
    /// - Let `s` be the length of the first item of the last part. No earlier part had room for
    ///   it: each is full by keys (450), or by bytes (more than 4 MiB - `s`). All their items have
    ///   at least `s` bytes.
    /// - At most 22 parts are full by keys, and if at most 7 are full by bytes, there are 30 parts
    ///   with the last one.
    /// - If 8 or more are full by bytes, the rest of the 32 MiB of a batch is less than 8 `s`, so
    ///   no part is full by keys. Any two parts have more than 4 MiB together, so there are 16 at
    ///   most.
    pub fn next_round(&mut self) -> Vec<BatchPart> {
        let mut parts: Vec<BatchPart> = Vec::new();
        if self.rounds_left == 0 {
            return parts;
        }
        self.rounds_left -= 1;
        let bytes_of = |at: usize| self.items.get(at).map_or(0, |item| item.json.len());
        let mut pending = std::mem::take(&mut self.pending);
        pending.sort_by_key(|at| Reverse(bytes_of(*at)));
        let mut parts_bytes: Vec<usize> = Vec::new();
        let mut left_over = Vec::new();
        for at in pending {
            let bytes = bytes_of(at);
            let has_room = |(part, part_bytes): &(&mut BatchPart, &mut usize)| {
                part.0.len() < INVOCATION_KEYS_MAX && **part_bytes + bytes <= PART_BYTES_MAX
            };
            if let Some((part, part_bytes)) = parts.iter_mut().zip(&mut parts_bytes).find(has_room) {
                part.0.push(at);
                *part_bytes += bytes;
            } else if parts.len() < self.calls_left {
                parts.push(BatchPart(vec![at]));
                parts_bytes.push(bytes);
            } else {
                left_over.push(at);
            }
        }
        self.pending = left_over;
        self.calls_left -= parts.len();
        if !parts.is_empty() {
            self.is_rate_limited = false;
        }
        parts
    }

    /// Returns the body of a call.
    #[must_use]
    pub fn body(&self, part: &BatchPart) -> String {
        let items = || part.0.iter().filter_map(|at| self.items.get(*at));
        let mut body = String::with_capacity(2 + items().map(|item| item.json.len() + 1).sum::<usize>());
        body.push('[');
        for (number, item) in items().enumerate() {
            if number > 0 {
                body.push(',');
            }
            body.push_str(&item.json);
        }
        body.push(']');
        body
    }

    /// Notes the reply to a call.
    pub fn record(&mut self, part: BatchPart, reply: PartReply) {
        let PartReply::Failed { unsuccessful_keys, is_rate_limited } = reply else { return };
        self.is_rate_limited |= is_rate_limited;
        let failed: Option<HashSet<String>> = unsuccessful_keys.map(HashSet::from_iter);
        let items = &self.items;
        let is_failed = |at: &usize| {
            failed.as_ref().is_none_or(|failed| items.get(*at).is_some_and(|item| failed.contains(&item.key)))
        };
        self.pending.extend(part.0.into_iter().filter(is_failed));
    }

    /// Returns what came of the batch.
    #[must_use]
    pub fn outcome(self) -> BulkOutcome {
        let unsuccessful: HashSet<usize> = self.pending.into_iter().collect();
        let successful_key_count = self.items.len() - unsuccessful.len();
        let is_unsuccessful = |(at, _): &(usize, BulkItem<'_>)| unsuccessful.contains(at);
        let unsuccessful_keys =
            self.items.into_iter().enumerate().filter(is_unsuccessful).map(|(_, item)| item.key).collect();
        BulkOutcome { successful_key_count, unsuccessful_keys, is_rate_limited: self.is_rate_limited }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::bulk_call::{BODY_BYTES_MAX, KEYS_MAX};

    fn items(count: usize) -> Vec<BulkItem<'static>> {
        (0..count).map(|number| BulkItem::deleted(format!("k{number}"))).collect()
    }

    #[test]
    fn a_batch_of_10_000_keys_takes_23_calls() {
        let mut batch = SplitBatch::new(items(10_000));
        let parts = batch.next_round();
        assert_eq!(parts.len(), 23);
        assert_eq!(batch.body(&parts[22]).matches('"').count(), 2 * 100);
        for part in parts {
            batch.record(part, PartReply::Done);
        }
        assert!(batch.next_round().is_empty());
        assert_eq!(batch.outcome(), BulkOutcome { successful_key_count: 10_000, ..BulkOutcome::default() });
    }

    #[test]
    fn the_reply_names_the_keys_that_were_not_changed() {
        let body = r#"{"result":{"successful_key_count":1,"unsuccessful_keys":["k1"]},"success":false,"errors":[]}"#;
        let failed = |unsuccessful_keys, is_rate_limited| PartReply::Failed { unsuccessful_keys, is_rate_limited };
        assert_eq!(PartReply::parse(429, body), failed(Some(vec!["k1".to_owned()]), true));
        assert_eq!(PartReply::parse(503, r#"{"result":null}"#), failed(None, false));
        assert_eq!(PartReply::parse(500, "not JSON"), failed(None, false));
        assert_eq!(PartReply::parse(200, ""), PartReply::Done);
        let mut batch = SplitBatch::new(items(3));
        let part = batch.next_round().remove(0);
        batch.record(part, PartReply::parse(429, body));
        assert_eq!(batch.next_round(), [BatchPart(vec![1])]);
    }

    #[test]
    fn a_part_has_4_mib_at_most_or_one_longer_value() {
        let item = |bytes| BulkItem { key: String::new(), json: "x".repeat(bytes).into() };
        let mut batch = SplitBatch::new(vec![item(3 << 20), item(1 << 20), item(1), item(5 << 20), item(1)]);
        let parts: Vec<Vec<usize>> = batch.next_round().into_iter().map(|part| part.0).collect();
        assert_eq!(parts, [vec![3], vec![0, 1], vec![2, 4]]);
    }

    #[test]
    fn small_values_go_with_the_long_ones() {
        let (long, short) = ("x".repeat(2_202_010), "x");
        let item = |json| BulkItem { key: String::new(), json: Cow::Borrowed(json) };
        let long = std::iter::repeat_n(item(long.as_str()), 14);
        let mut batch = SplitBatch::new(long.chain(std::iter::repeat_n(item(short), 9986)).collect());
        assert_eq!(batch.next_round().len(), 23);
        assert!(batch.pending.is_empty());
    }

    #[test]
    fn the_first_round_leaves_a_call_for_keys_that_fail() {
        let whole = "x".repeat(BODY_BYTES_MAX as usize);
        let mut most = 0;
        for long_count in 0..8 {
            // As many short items as possible, and as long as possible; the long ones leave room
            // for all of a short one but a byte.
            let short_count = KEYS_MAX - long_count;
            let left = whole.len() - KEYS_MAX - 2 - long_count * (PART_BYTES_MAX + 1);
            let short = left / (short_count - long_count);
            let item = |length: usize| BulkItem { key: String::new(), json: Cow::Borrowed(&whole[..length]) };
            let long = std::iter::repeat_n(item(PART_BYTES_MAX + 1 - short), long_count);
            let mut batch = SplitBatch::new(long.chain(std::iter::repeat_n(item(short), short_count)).collect());
            let mut parts = batch.next_round();
            assert!(batch.pending.is_empty());
            most = most.max(parts.len());
            batch.record(parts.remove(0), PartReply::no_response());
            assert_eq!(batch.next_round().len(), 1, "{long_count} long ones");
        }
        assert_eq!(most, CALLS_MAX - 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Random counts, and lengths of all orders of magnitude, within the limits.
        #[test]
        fn the_first_round_has_all_items_of_a_batch_within_the_limits(
            lengths in prop::collection::vec((0_u32..25, 0_usize..1000), 1..40),
            count in 1_usize..=KEYS_MAX,
        ) {
            let whole = "x".repeat(BODY_BYTES_MAX as usize);
            let mut left = whole.len();
            let mut items = Vec::new();
            for (exponent, thousandths) in lengths.into_iter().cycle().take(count) {
                let length = (1_usize << exponent) * (1000 + thousandths) / 1000;
                let length = if length + 1 > left { 1 } else { length };
                if left < 2 {
                    break;
                }
                left -= length + 1;
                items.push(BulkItem { key: String::new(), json: Cow::Borrowed(&whole[..length]) });
            }
            let count = items.len();
            let mut batch = SplitBatch::new(items);
            let parts = batch.next_round();
            prop_assert!(parts.len() < CALLS_MAX);
            prop_assert_eq!(parts.iter().map(|part| part.0.len()).sum::<usize>(), count);
            for part in parts {
                prop_assert!(part.0.len() == 1 || batch.body(&part).len() <= PART_BYTES_MAX + 2 + INVOCATION_KEYS_MAX);
            }
        }

        /// Whatever fails: each key is changed or reported, none twice, within the bounds on
        /// calls.
        #[test]
        fn every_key_is_changed_or_reported(count in 0_usize..16_000, seed in any::<u64>(), failing in 0_u64..5) {
            let mut batch = SplitBatch::new(items(count));
            let (mut calls, mut random) = (0, seed);
            let mut changed: HashMap<usize, usize> = HashMap::new();
            loop {
                let parts = batch.next_round();
                if parts.is_empty() {
                    break;
                }
                for part in parts {
                    calls += 1;
                    prop_assert!(part.0.len() <= INVOCATION_KEYS_MAX, "too many keys");
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let is_failing = random >> 33 & 3 < failing;
                    let failed = part.0.iter().copied().filter(|at| is_failing && (*at as u64) & 1 == random >> 40 & 1);
                    let failed: Vec<usize> = failed.collect();
                    for at in part.0.iter().filter(|at| !failed.contains(at)) {
                        *changed.entry(*at).or_default() += 1;
                    }
                    let keys = failed.iter().map(|at| format!("k{at}")).collect();
                    let reply = PartReply::Failed { unsuccessful_keys: Some(keys), is_rate_limited: true };
                    batch.record(part, reply);
                }
            }
            prop_assert!(calls <= CALLS_MAX);
            prop_assert!(changed.values().all(|times| *times == 1));
            let outcome = batch.outcome();
            prop_assert_eq!(outcome.successful_key_count, changed.len());
            let reported: HashSet<String> = outcome.unsuccessful_keys.into_iter().collect();
            prop_assert_eq!(reported.len() + changed.len(), count);
            let both = changed.keys().any(|at| reported.contains(&format!("k{at}")));
            prop_assert!(!both, "changed and reported");
        }
    }
}
