//! All rows as one value: `{"format":1,"version":…,"hash":"…","count":…,"records":{"<id>":{…},…}}`. It is written in one call, so that
//! whoever reads it has the rows of one moment.

use kv_edge_core::content_hash::hash;
use kv_edge_core::limits::{Key, VALUE_BYTES_MAX};
use serde::{Deserialize, Serialize};

use super::summary::SnapshotOutcome;
use crate::api::{ApiError, Namespace};

/// The metadata of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Metadata {
    snapshot: Told,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    /// Milliseconds since the Unix epoch; always more than the one before.
    version: u64,
    /// Of the bytes of the records.
    hash: String,
    count: u64,
}

/// Records as they are gathered, in the order of their ids.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// Without the brackets; empty once it is too long.
    json: String,
    /// Of the JSON, also of one that is too long.
    length: u64,
    count: u64,
}

impl Records {
    pub(super) fn push(&mut self, id: &str, value: &str) {
        let comma = if self.count > 0 { "," } else { "" };
        // A string: writing it cannot fail.
        let id = serde_json::to_string(id).unwrap_or_default();
        let length = comma.len().saturating_add(id.len()).saturating_add(1).saturating_add(value.len());
        self.length = self.length.saturating_add(length as u64);
        self.count = self.count.saturating_add(1);
        if self.length > VALUE_BYTES_MAX {
            self.json = String::new();
        } else {
            for part in [comma, &id, ":", value] {
                self.json.push_str(part);
            }
        }
    }

    /// The snapshot and its metadata, if it is another than the one before; or how many bytes are too many.
    fn finish(mut self, before: Option<&Told>, now_ms: u64) -> Result<Option<(Vec<u8>, Told)>, u64> {
        if self.length > VALUE_BYTES_MAX {
            return Err(self.length);
        }
        self.json.insert(0, '{');
        self.json.push('}');
        let hash = hash(self.json.as_bytes());
        if before.is_some_and(|before| before.hash == hash) {
            return Ok(None);
        }
        let version = before.map_or(now_ms, |before| now_ms.max(before.version.saturating_add(1)));
        let Self { json: records, count, .. } = self;
        let json = format!(r#"{{"format":1,"version":{version},"hash":"{hash}","count":{count},"records":{records}}}"#);
        let length = json.len() as u64;
        if length > VALUE_BYTES_MAX {
            Err(length)
        } else {
            Ok(Some((json.into_bytes(), Told { version, hash, count })))
        }
    }
}

/// Writes the snapshot where it has changed. Within: how many bytes are too many.
pub(super) fn put(
    namespace: &Namespace,
    key: &Key<'_>,
    records: Records,
    now_ms: u64,
    dry_run: bool,
) -> Result<Result<SnapshotOutcome, u64>, ApiError> {
    let metadata = namespace.find(key.as_str())?.and_then(|listed| listed.metadata);
    let before = metadata.and_then(|metadata| serde_json::from_value::<Metadata>(metadata).ok());
    let (json, snapshot) = match records.finish(before.as_ref().map(|before| &before.snapshot), now_ms) {
        Ok(Some(finished)) => finished,
        Ok(None) => return Ok(Ok(SnapshotOutcome::Unchanged)),
        Err(length) => return Ok(Err(length)),
    };
    if !dry_run {
        let metadata = serde_json::to_value(Metadata { snapshot }).ok();
        namespace.put(key, &json, metadata.as_ref(), None)?;
    }
    Ok(Ok(SnapshotOutcome::Written))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn records(rows: &[(&str, &str)]) -> Records {
        let mut records = Records::default();
        for (id, value) in rows {
            records.push(id, value);
        }
        records
    }

    fn told(version: u64, hash: &str) -> Told {
        Told { version, hash: hash.to_owned(), count: 9 }
    }

    #[test]
    fn a_snapshot_is_one_object_whose_records_stand_in_their_order() {
        for (rows, text) in [
            (&[][..], "{}"),
            (&[("a", "{\"x\":1}")], r#"{"a":{"x":1}}"#),
            (&[("a\"\n", "{}"), ("b", "{}"), ("é", "{}")], r#"{"a\"\n":{},"b":{},"é":{}}"#),
        ] {
            let (json, told) = records(rows).finish(None, 7).unwrap().unwrap();
            let hash = hash(text.as_bytes());
            let count = rows.len() as u64;
            let expected = format!(r#"{{"format":1,"version":7,"hash":"{hash}","count":{count},"records":{text}}}"#);
            assert_eq!(String::from_utf8(json.clone()).unwrap(), expected);
            assert!(serde_json::from_slice::<Value>(&json).is_ok());
            let metadata = serde_json::to_value(Metadata { snapshot: told }).unwrap();
            assert_eq!(metadata, json!({"snapshot": {"version": 7, "hash": hash, "count": count}}));
        }
    }

    #[test]
    fn a_version_is_larger_than_the_one_before_and_the_same_records_make_none() {
        for (before, now_ms, expected) in [
            (None, 5, Some(5)),
            (Some(told(4, "")), 5, Some(5)),
            (Some(told(5, "")), 5, Some(6)),
            (Some(told(9, "")), 5, Some(10)),
            (Some(told(4, &hash(b"{}"))), 5, None),
        ] {
            let finished = records(&[]).finish(before.as_ref(), now_ms).unwrap();
            assert_eq!(finished.map(|(_, told)| told.version), expected, "{before:?}");
        }
    }

    #[test]
    fn a_snapshot_has_25_mib_at_most() {
        let long = format!("{{\"x\":\"{}\"}}", "x".repeat(13 << 20));
        assert!(records(&[("a", &long)]).finish(None, 1).unwrap().is_some());
        let both = records(&[("a", &long), ("b", &long)]);
        assert!(both.json.is_empty(), "it holds no more than fits");
        assert_eq!(both.finish(None, 1), Err(2 * (long.len() as u64 + 4) + 1));
        // The members around the records count too.
        let nearly = format!("{{\"x\":\"{}\"}}", "x".repeat((25 << 20) - 20));
        assert!(records(&[("a", &nearly)]).finish(None, 1).is_err());
    }
}
