//! What is known of a user: a JSON object, checked whenever it is read.

use serde_json::{Map, Value};

use super::snapshot::is_snapshot;
use kv_store::record::{self, BrokenRecord};

/// The member that the documented page looks at.
const PREVIEW: &str = "preview_features_enabled";

/// A user's record, such as `{"preview_features_enabled": true, "plan": "pro"}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRecord {
    json: Box<str>,
    has_preview: bool,
}

impl UserRecord {
    /// Reads a record. A column that is NULL in a table is `null` here: not set.
    ///
    /// # Errors
    /// The record is no JSON object, or `preview_features_enabled` is no boolean; or it is a snapshot, which holds all users' records
    /// and must be nobody's: a Worker that does not know its key (`CONFIG_SNAPSHOT`) reads it for whoever calls themselves so.
    pub fn parse(json: &str) -> Result<Self, BrokenRecord> {
        if is_snapshot(json) {
            return Err(BrokenRecord::of_kind("a snapshot, which is no user's record"));
        }
        let members: Map<String, Value> = record::parse(json)?;
        let has_preview = match members.get(PREVIEW) {
            None | Some(Value::Null) => false,
            Some(Value::Bool(has_preview)) => *has_preview,
            Some(_) => return Err(BrokenRecord::of_kind("mistyped member preview_features_enabled")),
        };
        Ok(Self { json: json.trim().into(), has_preview })
    }

    /// The record as it stands in KV: its numbers keep all their digits.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }

    /// What rules of flags look at. It is read out of the JSON when it is asked for: in memory it would take up to twenty times as much.
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "a rule would be asked about somebody of whom nothing is known"
    )]
    #[must_use]
    pub fn members(&self) -> Map<String, Value> {
        record::parse(&*self.json).expect("the same text was an object when it was read")
    }

    /// Shows the preview banner.
    #[must_use]
    pub fn has_preview(&self) -> bool {
        self.has_preview
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preview_features_are_a_switch_that_is_off_unless_it_is_on() {
        for (json, has_preview) in [
            (r#"{"preview_features_enabled": true}"#, true),
            (r#"{"preview_features_enabled": true, "plan": "pro"}"#, true),
            (r#"{"preview_features_enabled": false}"#, false),
            (r#"{"preview_features_enabled": null}"#, false),
            ("{}", false),
        ] {
            assert_eq!(UserRecord::parse(json).unwrap().has_preview(), has_preview, "{json}");
        }
    }

    #[test]
    fn a_broken_record_is_an_error_and_not_a_guess() {
        for json in [
            "",
            "{",
            "null",
            "[]",
            "true",
            r#"{"preview_features_enabled": "yes"}"#,
            "{} {}",
            r#"{"format":1,"records":{}}"#,
        ] {
            assert!(UserRecord::parse(json).is_err(), "{json}");
        }
    }

    #[test]
    fn the_record_keeps_the_digits_that_a_number_has() {
        let json = r#"{"credit": 12345678901234567890.123}"#;
        assert_eq!(UserRecord::parse(&format!(" {json}\n")).unwrap().json(), json);
    }
}
