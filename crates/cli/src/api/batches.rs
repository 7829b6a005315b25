//! Divides key-value pairs into bulk writes: at most 10,000 pairs and 100 MB of JSON per call
//! (Cloudflare API, "Write multiple key-value pairs"; KV documentation, "Write data in bulk").

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kv_store::record::to_json;
use serde::Serialize;
use serde_json::Value;

/// The largest number of pairs in a call.
pub(super) const ITEMS_MAX: usize = 10_000;

/// The largest number of pairs in a call to the local API. It takes 10,000 too, but needed 77
/// seconds for them.
pub(super) const ITEMS_MAX_LOCAL: usize = 1000;

/// The longest body of a call, in bytes. The API takes 100 MB; a third of that is sent sooner,
/// costs less memory per call in flight, and less to send again if the connection breaks.
const BODY_BYTES_MAX: usize = 32_000_000;

/// The longest `value` of a pair, in characters of base64. The schema of the API allows
/// 26,214,400. The local API of `wrangler dev` matches the string against a regular expression
/// that overflows its stack from 4.47 million on. Longer values get a call of their own; a bulk
/// write would hold few of them anyway.
const VALUE_CHARACTERS_MAX: usize = 4_000_000;

/// A key-value pair to write.
#[derive(Clone, PartialEq)]
pub(crate) struct Item {
    pub(crate) key: String,
    pub(crate) value: Vec<u8>,
    pub(crate) metadata: Option<Value>,
    /// Seconds until the pair expires, at least 60.
    pub(crate) expiration_ttl: Option<u32>,
}

/// Shows neither key nor value.
impl fmt::Debug for Item {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Item").field("bytes", &self.value.len()).finish_non_exhaustive()
    }
}

/// Collects [`Item`]s, in their order, into batches that each fit into one call.
#[derive(Debug)]
pub(crate) struct Batches {
    items_max: usize,
    items: Vec<Item>,
    /// The length of the body of the current batch, without its brackets.
    bytes: usize,
}

/// A pair in the body of a call.
#[derive(Serialize)]
struct Pair<'a> {
    key: &'a str,
    value: &'a str,
    base64: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration_ttl: Option<u32>,
}

impl Item {
    /// Returns the pair as JSON for the body of a bulk write.
    pub(super) fn to_json(&self) -> String {
        self.with_value(&STANDARD.encode(&self.value))
    }

    /// Returns true if the value is too long for a bulk write.
    pub(crate) fn needs_call_of_its_own(&self) -> bool {
        base64_length(self.value.len()) > VALUE_CHARACTERS_MAX
    }

    fn with_value(&self, value: &str) -> String {
        let Self { key, metadata, expiration_ttl, .. } = self;
        let pair = Pair { key, value, base64: true, metadata: metadata.as_ref(), expiration_ttl: *expiration_ttl };
        to_json(&pair)
    }

    /// Returns the length of [`to_json`](Self::to_json) plus a comma, in bytes.
    fn body_bytes(&self) -> usize {
        self.with_value("").len() + base64_length(self.value.len()) + 1
    }
}

/// Returns the length of so many bytes in base64: four characters for every three bytes, padded
/// (RFC 4648 §4).
fn base64_length(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

impl Batches {
    /// Starts with an empty batch; each batch will have at most `items_max` items.
    pub(super) fn new(items_max: usize) -> Self {
        Self { items_max, items: Vec::new(), bytes: 0 }
    }

    /// Adds an item. Returns the batch before it if the item no longer fits into that.
    pub(crate) fn push(&mut self, item: Item) -> Option<Vec<Item>> {
        let bytes = item.body_bytes();
        let is_full = self.items.len() >= self.items_max || self.bytes + bytes > BODY_BYTES_MAX;
        let group = if is_full { std::mem::replace(self, Self::new(self.items_max)).finish() } else { None };
        self.items.push(item);
        self.bytes += bytes;
        group
    }

    /// Returns the last batch, or None if it is empty.
    pub(crate) fn finish(self) -> Option<Vec<Item>> {
        (!self.items.is_empty()).then_some(self.items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(key: &str, bytes: usize) -> Item {
        Item { key: key.to_owned(), value: vec![0; bytes], metadata: None, expiration_ttl: None }
    }

    fn group(items: impl IntoIterator<Item = Item>) -> Vec<usize> {
        let mut batches = Batches::new(ITEMS_MAX_LOCAL);
        let mut groups: Vec<_> = items.into_iter().filter_map(|item| batches.push(item)).collect();
        groups.extend(batches.finish());
        groups.iter().map(Vec::len).collect()
    }

    #[test]
    fn the_length_of_a_pair_is_known_before_it_is_written() {
        for (key, bytes, metadata, expiration_ttl) in [
            ("a", 0, None, None),
            ("a", 1, None, Some(60)),
            ("a", 2, Some(serde_json::json!({"uploadedMs": 1})), None),
            ("€\"\\\n", 3, Some(serde_json::json!("€\"")), Some(3600)),
            ("a", 1000, None, None),
        ] {
            let item = Item { metadata, expiration_ttl, ..item(key, bytes) };
            assert_eq!(item.body_bytes(), item.to_json().len() + 1, "{key} {bytes}");
        }
    }

    #[test]
    fn a_pair_is_as_the_api_has_it() {
        let item = Item {
            value: b"\0\x01\xff".to_vec(),
            metadata: Some(serde_json::json!({"uploadedMs": 5})),
            expiration_ttl: Some(60),
            ..item("k", 0)
        };
        let expected = r#"{"key":"k","value":"AAH/","base64":true,"metadata":{"uploadedMs":5},"expiration_ttl":60}"#;
        assert_eq!(item.to_json(), expected);
    }

    #[test]
    fn a_group_keeps_both_limits() {
        let small = |count: usize| (0..count).map(|at| item(&at.to_string(), 1));
        let third = BODY_BYTES_MAX / 4; // A third once it is base64.
        for (name, sizes, expected) in [
            ("nothing", group([]), vec![]),
            ("one", group(small(1)), vec![1]),
            ("the most pairs", group(small(1000)), vec![1000]),
            ("one pair more", group(small(1001)), vec![1000, 1]),
            ("many", group(small(2500)), vec![1000, 1000, 500]),
            ("two thirds", group([item("a", third), item("b", third)]), vec![2]),
            ("three thirds", group([item("a", third), item("b", third), item("c", third)]), vec![2, 1]),
            ("a long one alone", group([item("a", 1), item("b", 24 << 20), item("c", 1)]), vec![1, 1, 1]),
        ] {
            assert_eq!(sizes, expected, "{name}");
        }
    }

    #[test]
    fn a_value_whose_base64_is_too_long_needs_a_call_of_its_own() {
        assert!(!item("a", 3_000_000).needs_call_of_its_own());
        assert!(item("a", 3_000_001).needs_call_of_its_own());
    }
}
