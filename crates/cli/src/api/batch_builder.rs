//! Divides key-value pairs into bulk writes. The API takes 10,000 pairs and 100 MB of JSON per
//! call (Cloudflare API, "Write multiple key-value pairs"; KV documentation, "Write data in
//! bulk"); the calls here have at most 32 MB, and fewer pairs if the API is local or the caller
//! wants fewer.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kv_store::record::to_json;
use serde::Serialize;

use super::MetadataJson;

/// The largest number of pairs in a call.
pub(super) const PAIRS_MAX: usize = 10_000;

/// The largest number of pairs in a call to the local API. It accepts 10,000 too, but needed 77
/// seconds for them.
pub(super) const PAIRS_MAX_LOCAL: usize = 1000;

/// The longest body of a call, in bytes. The API accepts 100 MB; a third of that is sent sooner,
/// costs less memory per call in flight, and less to send again if the connection breaks.
const BODY_BYTES_MAX: usize = 32_000_000;

/// The longest `value` of a pair, in characters of base64. The schema of the API allows
/// 26,214,400. The local API of `wrangler dev` matches the string against a regular expression
/// that overflows its stack from 4.47 million on. Longer values get a call of their own; a bulk
/// write would hold few of them anyway.
const VALUE_CHARACTERS_MAX: usize = 4_000_000;

/// How far ahead a time of expiration is when it is sent, in seconds at least: Workers KV refuses
/// one less than 60 seconds ahead, and a call may take a while.
const EXPIRATION_AHEAD_SECONDS: u64 = 120;

/// A key-value pair to write.
#[derive(Clone, PartialEq)]
pub(crate) struct KeyValuePair {
    pub(crate) key: String,
    pub(crate) value: Vec<u8>,
    pub(crate) metadata: Option<MetadataJson>,
    /// `None` if the pair never expires.
    pub(crate) expiration: Option<PairExpiration>,
}

/// When a pair expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PairExpiration {
    /// At a time in seconds since the Unix epoch. A pair that is sent less than two minutes before
    /// then, or later, gets two minutes.
    At(u64),
    /// This many seconds after it is written, at least 60.
    In(u32),
}

/// Shows neither key nor value.
impl fmt::Debug for KeyValuePair {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("KeyValuePair").field("bytes", &self.value.len()).finish_non_exhaustive()
    }
}

/// Collects [`KeyValuePair`]s, in their order, into batches that each fit into one call, apart
/// from pairs that [need their own](KeyValuePair::needs_own_call).
#[derive(Debug)]
pub(crate) struct BatchBuilder {
    pairs_max: usize,
    pairs: Vec<KeyValuePair>,
    /// The length of the body of the current batch, without its brackets.
    bytes: usize,
}

/// A pair in the body of a call.
#[derive(Serialize)]
struct BulkPair<'a> {
    key: &'a str,
    value: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    base64: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a MetadataJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration_ttl: Option<u32>,
}

impl KeyValuePair {
    /// Returns the pair as an item of a bulk write that people can read: a value that is UTF-8 is
    /// text, and only others are base64.
    pub(crate) fn to_readable_json(&self) -> String {
        match std::str::from_utf8(&self.value) {
            Ok(text) => self.with_value(text, false, 0),
            Err(_) => self.with_value(&STANDARD.encode(&self.value), true, 0),
        }
    }

    /// Returns the pair as JSON for the body of a bulk write that is sent now.
    pub(super) fn to_json(&self, now_seconds: u64) -> String {
        self.with_value(&STANDARD.encode(&self.value), true, now_seconds + EXPIRATION_AHEAD_SECONDS)
    }

    /// Returns when the pair expires if it is sent now.
    pub(super) fn expiration_from(&self, now_seconds: u64) -> Option<PairExpiration> {
        expiration_after(self.expiration, now_seconds + EXPIRATION_AHEAD_SECONDS)
    }

    /// Returns true if the value is too long for a bulk write.
    pub(crate) fn needs_own_call(&self) -> bool {
        base64_length(self.value.len()) > VALUE_CHARACTERS_MAX
    }

    fn with_value(&self, value: &str, base64: bool, earliest: u64) -> String {
        let (expiration, expiration_ttl) = match expiration_after(self.expiration, earliest) {
            Some(PairExpiration::At(seconds)) => (Some(seconds), None),
            Some(PairExpiration::In(seconds)) => (None, Some(seconds)),
            None => (None, None),
        };
        let Self { key, metadata, .. } = self;
        to_json(&BulkPair { key, value, base64, metadata: metadata.as_ref(), expiration, expiration_ttl })
    }

    /// Returns the length of [`to_json`](Self::to_json) plus a comma, in bytes.
    fn body_bytes(&self) -> usize {
        self.with_value("", true, 0).len() + base64_length(self.value.len()) + 1
    }
}

/// Returns the expiration, which is not before `earliest`.
fn expiration_after(expiration: Option<PairExpiration>, earliest: u64) -> Option<PairExpiration> {
    match expiration {
        Some(PairExpiration::At(seconds)) => Some(PairExpiration::At(seconds.max(earliest))),
        other => other,
    }
}

/// Returns the length of this many bytes in base64: four characters for every three bytes, padded
/// (RFC 4648 §4).
fn base64_length(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

impl BatchBuilder {
    /// Starts with an empty batch; each batch will have at most `pairs_max` items.
    pub(super) fn new(pairs_max: usize) -> Self {
        Self { pairs_max, pairs: Vec::new(), bytes: 0 }
    }

    /// Adds an item. Returns the batch before it if the item no longer fits into that.
    pub(crate) fn push(&mut self, pair: KeyValuePair) -> Option<Vec<KeyValuePair>> {
        let bytes = pair.body_bytes();
        let is_full = self.pairs.len() >= self.pairs_max || self.bytes + bytes > BODY_BYTES_MAX;
        let batch = if is_full { std::mem::replace(self, Self::new(self.pairs_max)).finish() } else { None };
        self.pairs.push(pair);
        self.bytes += bytes;
        batch
    }

    /// Returns the last batch, or `None` if it is empty.
    pub(crate) fn finish(self) -> Option<Vec<KeyValuePair>> {
        (!self.pairs.is_empty()).then_some(self.pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(key: &str, bytes: usize) -> KeyValuePair {
        KeyValuePair { key: key.to_owned(), value: vec![0; bytes], metadata: None, expiration: None }
    }

    fn batch(pairs: impl IntoIterator<Item = KeyValuePair>) -> Vec<usize> {
        let mut batch_builder = BatchBuilder::new(PAIRS_MAX_LOCAL);
        let mut all_batches: Vec<_> = pairs.into_iter().filter_map(|pair| batch_builder.push(pair)).collect();
        all_batches.extend(batch_builder.finish());
        all_batches.iter().map(Vec::len).collect()
    }

    #[test]
    fn the_length_of_a_pair_is_computed_without_serializing_its_value() {
        for (key, bytes, metadata, expiration) in [
            ("a", 0, None, None),
            ("a", 1, None, Some(PairExpiration::In(60))),
            ("a", 1, None, Some(PairExpiration::At(2_000_000_000))),
            ("a", 2, MetadataJson::parse(r#"{"uploadedMs": 1}"#).ok(), None),
            ("€\"\\\n", 3, Some(MetadataJson::of(&"€\"")), Some(PairExpiration::In(3600))),
            ("a", 1000, None, None),
        ] {
            let pair = KeyValuePair { metadata, expiration, ..pair(key, bytes) };
            assert_eq!(pair.body_bytes(), pair.to_json(0).len() + 1, "{key} {bytes}");
        }
    }

    #[test]
    fn a_pair_has_the_json_of_the_api() {
        let pair = KeyValuePair {
            value: b"\0\x01\xff".to_vec(),
            metadata: MetadataJson::parse(r#"{"uploadedMs": 5, "a": 1.50}"#).ok(),
            expiration: Some(PairExpiration::In(60)),
            ..pair("k", 0)
        };
        let expected =
            r#"{"key":"k","value":"AAH/","base64":true,"metadata":{"uploadedMs":5,"a":1.50},"expiration_ttl":60}"#;
        assert_eq!(pair.to_json(9), expected);
    }

    #[test]
    fn a_pair_that_expires_within_two_minutes_of_being_sent_gets_two_minutes() {
        for (expiration, now, expected) in [(1000, 0, 1000), (1000, 880, 1000), (1000, 881, 1001), (1000, 5000, 5120)] {
            let pair = KeyValuePair { expiration: Some(PairExpiration::At(expiration)), ..pair("a", 0) };
            assert_eq!(pair.expiration_from(now), Some(PairExpiration::At(expected)));
            assert!(pair.to_json(now).contains(&format!("\"expiration\":{expected}}}")), "{expiration} {now}");
            assert!(pair.to_readable_json().ends_with("\"expiration\":1000}"));
        }
    }

    #[test]
    fn a_batch_of_several_pairs_stays_within_both_limits() {
        let small = |count: usize| (0..count).map(|at| pair(&at.to_string(), 1));
        let third = BODY_BYTES_MAX / 4; // A third once it is base64.
        for (name, sizes, expected) in [
            ("nothing", batch([]), vec![]),
            ("one", batch(small(1)), vec![1]),
            ("the most pairs", batch(small(1000)), vec![1000]),
            ("one pair more", batch(small(1001)), vec![1000, 1]),
            ("many", batch(small(2500)), vec![1000, 1000, 500]),
            ("two thirds", batch([pair("a", third), pair("b", third)]), vec![2]),
            ("three thirds", batch([pair("a", third), pair("b", third), pair("c", third)]), vec![2, 1]),
            ("a long one alone", batch([pair("a", 1), pair("b", 24 << 20), pair("c", 1)]), vec![1, 1, 1]),
        ] {
            assert_eq!(sizes, expected, "{name}");
        }
    }

    #[test]
    fn a_value_whose_base64_is_too_long_needs_its_own_call() {
        assert!(!pair("a", 3_000_000).needs_own_call());
        assert!(pair("a", 3_000_001).needs_own_call());
    }
}
