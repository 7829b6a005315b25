//! The snapshot: the records of all users in one value (KV documentation, "Reducing cardinality
//! by coalescing keys").
//!
//! One read of KV then serves every user, and the value stays hot in Cloudflare's cache.
//! `kv-edge config sync` writes it; the Worker reads it under the key that the var
//! `CONFIG_SNAPSHOT` names.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use kv_store::limits::Key;
use kv_store::record::{self, BrokenRecord};

/// The version of the format that this build reads and writes.
pub const FORMAT: u32 = 1;

/// The longest snapshot, in bytes: 10 MiB. KV would take 25 MiB, but an isolate has 128 MB and
/// holds two snapshots while it reads a new one.
pub const BYTES_MAX: usize = 10 * 1024 * 1024;

/// The longest head, the text before `"records"`, by which a snapshot is recognized, or told from
/// another by its hash, in bytes. Parsing has no such limit.
const HEAD_BYTES_MAX: usize = 512;

/// Parses the var `CONFIG_SNAPSHOT`: the key of the snapshot. Returns `None` if it is empty or no
/// valid key of Workers KV.
#[must_use]
pub fn parse_key(var: &str) -> Option<Key<'static>> {
    Key::new(var.to_owned()).ok()
}

/// Returns true if the text looks like a snapshot, whatever its key is.
///
/// The members before `records` must include the number `format`. Members other than `version`,
/// `hash` and `count` are allowed only if all three are there. Only the first 512 bytes are
/// examined, because this runs on every user's record that is read.
#[must_use]
pub fn is_snapshot(text: &str) -> bool {
    const SUMMARY: [&str; 3] = ["version", "hash", "count"];
    let beginning = (0..=HEAD_BYTES_MAX.min(text.len())).rev().find_map(|end| text.get(..end));
    let head = beginning.and_then(|beginning| beginning.split_once("\"records\""));
    let head = head.and_then(|(head, _)| head.trim_end().strip_suffix(','));
    let members = head.and_then(|head| serde_json::from_str::<Map<String, Value>>(&format!("{head}}}")).ok());
    members.is_some_and(|members| {
        let is_known = |name: &str| name == "format" || SUMMARY.contains(&name);
        members.get("format").is_some_and(Value::is_u64)
            && (SUMMARY.iter().all(|name| members.contains_key(*name)) || members.keys().all(|name| is_known(name)))
    })
}

/// A snapshot in memory: its text, and the byte range of each record in it. Only ids that are
/// escaped in the text are copied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    text: Box<str>,
    /// Sorted by id.
    entries: Vec<SnapshotEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct SnapshotEntry {
    id: SnapshotId,
    record: Range<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum SnapshotId {
    Borrowed(Range<usize>),
    /// The id is escaped in the text, so it needs a copy.
    Owned(Box<str>),
}

/// The snapshot as it is written in KV.
#[derive(Deserialize)]
struct SnapshotDocument<'a> {
    format: u32,
    #[serde(borrow)]
    records: SnapshotRecords<'a>,
}

struct SnapshotRecords<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for SnapshotRecords<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(SnapshotRecordsVisitor)
    }
}

struct SnapshotRecordsVisitor;

impl<'de> Visitor<'de> for SnapshotRecordsVisitor {
    type Value = SnapshotRecords<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of records")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut records = Vec::new();
        while let Some(MaybeBorrowed(id)) = map.next_key()? {
            records.push((id, map.next_value()?));
        }
        Ok(SnapshotRecords(records))
    }
}

/// An id that borrows from the text if it can. Serde always deserializes a plain `Cow` as
/// owned.
struct MaybeBorrowed<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for MaybeBorrowed<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = MaybeBorrowed<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an id")
            }

            fn visit_borrowed_str<E>(self, id: &'de str) -> Result<Self::Value, E> {
                Ok(MaybeBorrowed(Cow::Borrowed(id)))
            }

            fn visit_str<E>(self, id: &str) -> Result<Self::Value, E> {
                Ok(MaybeBorrowed(Cow::Owned(id.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl Snapshot {
    /// Parses a snapshot.
    ///
    /// # Errors
    /// [`BrokenRecord`] if the text is longer than [`BYTES_MAX`], is not a JSON object with
    /// `format` 1 and an object `records`, or names an id twice.
    ///
    /// # Examples
    ///
    /// ```
    /// use feature_flags::config::snapshot::Snapshot;
    ///
    /// let text = r#"{"format": 1, "records": {"ann": {"plan": "pro"}, "ben": {}}}"#;
    /// let snapshot = Snapshot::parse(text.to_owned())?;
    /// assert_eq!(snapshot.record("ann"), Some(r#"{"plan": "pro"}"#));
    /// assert_eq!(snapshot.record("eve"), None);
    /// # Ok::<(), kv_store::record::BrokenRecord>(())
    /// ```
    pub fn parse(text: String) -> Result<Self, BrokenRecord> {
        if text.len() > BYTES_MAX {
            return Err(BrokenRecord::of_kind("a snapshot of more than 10 MiB"));
        }
        let entries = Self::entries(&text)?;
        Ok(Self { text: text.into(), entries })
    }

    /// Returns the position of each record, sorted by id.
    fn entries(text: &str) -> Result<Vec<SnapshotEntry>, BrokenRecord> {
        let SnapshotDocument { format, records: SnapshotRecords(records) } = record::parse(text)?;
        if format != FORMAT {
            return Err(BrokenRecord::of_kind("a snapshot of another format"));
        }
        // Every borrowed part lies within `text`, so the difference of the addresses is its
        // offset.
        let start = |part: &str| part.as_ptr() as usize - text.as_ptr() as usize;
        let range = |part: &str| start(part)..start(part) + part.len();
        let mut entries: Vec<SnapshotEntry> = records
            .into_iter()
            .map(|(id, record)| SnapshotEntry {
                id: match id {
                    Cow::Borrowed(id) => SnapshotId::Borrowed(range(id)),
                    Cow::Owned(id) => SnapshotId::Owned(id.into()),
                },
                record: range(record.get()),
            })
            .collect();
        // `kv-edge config sync` writes them sorted, but the snapshot may come from another
        // tool.
        entries.sort_unstable_by(|one, other| one.id.of(text).cmp(other.id.of(text)));
        let have_same_id =
            |pair: &[SnapshotEntry]| matches!(pair, [one, other] if one.id.of(text) == other.id.of(text));
        if entries.windows(2).any(have_same_id) {
            return Err(BrokenRecord::of_kind("a snapshot that has an id twice"));
        }
        entries.shrink_to_fit();
        Ok(entries)
    }

    /// Returns the JSON of a user's record, or `None` if the snapshot has none. The record
    /// itself has not been validated; [`UserRecord::parse`](super::user_record::UserRecord::parse)
    /// does that.
    #[must_use]
    pub fn record(&self, id: &str) -> Option<&str> {
        let at = self.entries.binary_search_by(|entry| entry.id.of(&self.text).cmp(id)).ok()?;
        self.text.get(self.entries.get(at)?.record.clone())
    }

    /// Returns the part of the text that identifies the snapshot: all that precedes its
    /// records, if that is less than 512 bytes and includes a `hash` of 32 characters, and the
    /// whole text otherwise. So two snapshots can be compared without comparing 10 MiB.
    ///
    /// # Examples
    ///
    /// ```
    /// use feature_flags::config::snapshot::Snapshot;
    ///
    /// let head = r#"{"format":1,"hash":"2cf24dba5fb0a30e26e83b2ac5b9e29e","#;
    /// let text = format!(r#"{head}"records":{{"ann":{{"plan":"pro"}}}}}}"#);
    /// assert_eq!(Snapshot::identity(&text), head);
    /// ```
    #[must_use]
    pub fn identity(text: &str) -> &str {
        #[derive(Deserialize)]
        struct SnapshotHead {
            hash: String,
            #[serde(rename = "records")]
            _records: Option<IgnoredAny>,
        }
        let head = text.split_once("\"records\":").map(|(head, _)| head);
        // Only as an object of its own does the head show that `hash` is a member of the
        // snapshot and not of a record.
        let closed = |head: &str| format!("{}}}", head.trim_end().trim_end_matches(','));
        head.filter(|head| {
            head.len() < HEAD_BYTES_MAX
                && serde_json::from_str::<SnapshotHead>(&closed(head)).is_ok_and(|head| head.hash.len() == 32)
        })
        .unwrap_or(text)
    }
}

impl SnapshotId {
    #[expect(
        clippy::expect_used,
        reason = "an empty id instead would break the order, and a lookup could return another user's record"
    )]
    fn of<'a>(&'a self, text: &'a str) -> &'a str {
        match self {
            Self::Borrowed(range) => text.get(range.clone()).expect("the id was found in this text"),
            Self::Owned(id) => id,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const HASH: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn a_record_is_found_by_its_id_whatever_the_order() {
        let text =
            r#"{"format":1,"version":7,"hash":"x","count":3,"records":{"b":{"n": 1.50},"a":{},"\u00e9\"":{"x":[1]}}}"#;
        let snapshot = Snapshot::parse(text.to_owned()).unwrap();
        for (id, record) in
            [("a", Some("{}")), ("b", Some(r#"{"n": 1.50}"#)), ("é\"", Some(r#"{"x":[1]}"#)), ("", None), ("c", None)]
        {
            assert_eq!(snapshot.record(id), record, "{id}");
        }
        assert_eq!(Snapshot::default().record("a"), None);
    }

    #[test]
    fn an_invalid_snapshot_is_an_error() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"format":1}"#,
            r#"{"format":2,"records":{}}"#,
            r#"{"format":1,"records":[]}"#,
            r#"{"format":1,"records":{"a":}}"#,
            r#"{"format":1,"records":{"a":{},"\u0061":{}}}"#,
            r#"{"format":1,"records":{"a":{}}"#,
        ] {
            assert!(Snapshot::parse(text.to_owned()).is_err(), "{text}");
        }
        for (spaces, is_good) in [(BYTES_MAX - 26, true), (BYTES_MAX - 25, false)] {
            let text = format!(r#"{{"format":1,"records":{{}} {}}}"#, " ".repeat(spaces));
            assert_eq!(Snapshot::parse(text).is_ok(), is_good, "{spaces}");
        }
    }

    #[test]
    fn a_snapshot_is_recognized_by_its_first_members() {
        let long = "x".repeat(1000);
        for (text, expected) in [
            (format!(r#"{{"format":1,"version":7,"hash":"{HASH}","count":1,"records":{{"a":{{}}}}}}"#), true),
            (format!(r#"{{"format":1,"version":7,"hash":"{HASH}","count":1,"records":{{"{long}"#), true),
            ("{\n  \"format\": 1,\n  \"records\": {}\n}".to_owned(), true),
            (r#"{"format":2,"records":{}}"#.to_owned(), true),
            (format!(r#"{{"on":true,"format":1,"version":7,"hash":"{HASH}","count":1,"records":{{}}}}"#), true),
            (r#"{"records":[]}"#.to_owned(), false),
            (r#"{"format":"pdf","records":[]}"#.to_owned(), false),
            (format!(r#"{{"hash":"{HASH}","records":[]}}"#), false),
            (r#"{"format":1,"plan":"pro","records":[]}"#.to_owned(), false),
            (r#"{"x":{"format":1,"records":{}}}"#.to_owned(), false),
            (format!(r#"{{"format":1,"x":"{long}","records":{{}}}}"#), false),
            ("é".repeat(600), false),
            (String::new(), false),
        ] {
            assert_eq!(is_snapshot(&text), expected, "{text}");
        }
    }

    #[test]
    fn the_head_with_the_hash_identifies_a_snapshot() {
        let head = format!(r#"{{"format":1,"version":7,"hash":"{HASH}","count":1,"#);
        let text = format!(r#"{head}"records":{{"a":{{}}}}}}"#);
        assert_eq!(Snapshot::identity(&text), head);
        for text in [
            r#"{"format":1,"records":{"a":{"hash":"x","records":{}}}}"#.to_owned(),
            format!(r#"{{"x":{{"hash":"{HASH}","records":{{}}}},"format":1,"records":{{}}}}"#),
            "{".to_owned(),
        ] {
            assert_eq!(Snapshot::identity(&text), text);
        }
    }

    proptest! {
        #[test]
        fn each_record_is_found_and_no_other(records: BTreeMap<String, u32>, others: Vec<String>) {
            let text = format!("{{\"format\":1,\"records\":{}}}", serde_json::to_string(&records).unwrap());
            let snapshot = Snapshot::parse(text.clone()).unwrap();
            for id in records.keys().chain(&others) {
                let expected = records.get(id).map(ToString::to_string);
                prop_assert_eq!(snapshot.record(id).map(str::to_owned), expected);
            }
        }

        #[test]
        fn any_text_is_parsed_or_refused_and_begins_with_its_identity(text in ".*") {
            let _read = Snapshot::parse(text.clone());
            prop_assert!(text.starts_with(Snapshot::identity(&text)));
        }
    }
}
