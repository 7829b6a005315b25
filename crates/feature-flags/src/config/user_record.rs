//! A user's record: a JSON object that is validated each time it is read from KV.

use serde_json::{Map, Value};

use super::snapshot::is_snapshot;
use kv_store::record::{self, BrokenRecord};

/// The member that decides which version of the documented page a user gets.
const PREVIEW: &str = "preview_features_enabled";

/// A user's record, such as `{"preview_features_enabled": true, "plan": "pro"}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRecord {
    json: Box<str>,
    has_preview: bool,
}

impl UserRecord {
    /// Parses a record. `preview_features_enabled` may be `null`, because `kv-edge config sync`
    /// writes a NULL column of a table that way. It counts as false.
    ///
    /// # Errors
    /// [`BrokenRecord`] if the text is not a JSON object, or `preview_features_enabled` is not
    /// a boolean. A snapshot is an error, too: it holds the records of all users, and a Worker
    /// whose `CONFIG_SNAPSHOT` names another key would otherwise give it to anybody who uses
    /// its key as a user id.
    ///
    /// # Examples
    ///
    /// ```
    /// use feature_flags::config::user_record::UserRecord;
    ///
    /// let record = UserRecord::parse(r#"{"preview_features_enabled": true, "plan": "pro"}"#)?;
    /// assert!(record.has_preview());
    /// assert_eq!(record.members()["plan"], "pro");
    /// assert!(UserRecord::parse(r#"{"preview_features_enabled": "yes"}"#).is_err());
    /// # Ok::<(), kv_store::record::BrokenRecord>(())
    /// ```
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

    /// Returns the record byte for byte, without white space around it, so that numbers keep
    /// all their digits.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }

    /// Returns the members of the record, which the rules of flags are evaluated against. They
    /// are parsed at each call, because they would take up to twenty times as much memory as
    /// the text.
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "a rule would be asked about somebody of whom nothing is known"
    )]
    #[must_use]
    pub fn members(&self) -> Map<String, Value> {
        record::parse(&*self.json).expect("the same text was an object when it was read")
    }

    /// Returns true if the user gets the banner for preview features.
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
