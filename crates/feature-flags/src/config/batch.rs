//! `POST /config`: the records of many users at once.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::ConfigError;
use super::config_source::ConfigSource;
use super::user_record::UserRecord;
use kv_store::record;

/// The most users that one request may name.
pub const USERS_MAX: usize = 1000;

/// The longest body of a request, in bytes. [`USERS_MAX`] ids of the longest length that a key
/// may have (512 bytes) fit if JSON need not escape them.
pub const REQUEST_BYTES_MAX: u32 = 600 * 1024;

/// The most bytes that all records of a response may have together: 16 MiB, because an isolate
/// has 128 MB.
pub const RESPONSE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Parses the body of a request and returns the user ids in their order:
/// `{"userIds": ["a", "b"]}`.
///
/// # Errors
/// [`ConfigError::InvalidBatch`] if the body has another form or names more than [`USERS_MAX`]
/// users.
///
/// # Examples
///
/// ```
/// use feature_flags::config::batch::parse_request;
///
/// assert_eq!(parse_request(br#"{"userIds": ["ann", "ben"]}"#)?, ["ann", "ben"]);
/// assert!(parse_request(br#"{"users": ["ann"]}"#).is_err());
/// # Ok::<(), feature_flags::config::ConfigError>(())
/// ```
pub fn parse_request(body: &[u8]) -> Result<Vec<String>, ConfigError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct BatchRequest {
        user_ids: Vec<String>,
    }
    let BatchRequest { user_ids } = record::parse(body).map_err(|_| {
        ConfigError::InvalidBatch("The body must be JSON like {\"userIds\": [\"a\", \"b\"]}.".to_owned())
    })?;
    if user_ids.len() > USERS_MAX {
        let sentence = format!("The body has {} userIds; at most {USERS_MAX} are allowed.", user_ids.len());
        return Err(ConfigError::InvalidBatch(sentence));
    }
    Ok(user_ids)
}

/// One user in the response: where the configuration came from, and the record.
#[derive(Debug, Serialize)]
pub struct BatchEntry<'a> {
    source: &'static str,
    config: Option<&'a RawValue>,
}

impl<'a> BatchEntry<'a> {
    /// Returns the entry of a user. `record` is `None` if there is no record to show.
    ///
    /// # Examples
    ///
    /// ```
    /// use feature_flags::config::batch::BatchEntry;
    /// use feature_flags::config::config_source::ConfigSource;
    /// use feature_flags::config::user_record::UserRecord;
    ///
    /// let record = UserRecord::parse(r#"{"credit": 1.50}"#)?;
    /// let json = serde_json::to_string(&BatchEntry::new(ConfigSource::Record, Some(&record)))?;
    /// assert_eq!(json, r#"{"source":"record","config":{"credit": 1.50}}"#);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "a known record must not be reported as missing"
    )]
    #[must_use]
    pub fn new(source: ConfigSource, record: Option<&'a UserRecord>) -> Self {
        let config =
            record.map(|record| serde_json::from_str(record.json()).expect("a record was read as JSON before"));
        Self { source: source.as_str(), config }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_up_to_a_thousand_users() {
        assert_eq!(parse_request(br#"{"userIds": ["a", "", "a"]}"#), Ok(vec!["a".into(), String::new(), "a".into()]));
        assert_eq!(parse_request(br#"{"userIds": []}"#), Ok(Vec::new()));
        for body in
            ["", "{}", "[]", r#"["a"]"#, r#"{"userIds": "a"}"#, r#"{"userIds": [1]}"#, r#"{"userIds": ["a"], "x": 1}"#]
        {
            assert!(matches!(parse_request(body.as_bytes()), Err(ConfigError::InvalidBatch(_))), "{body}");
        }
        for (count, is_good) in [(USERS_MAX, true), (USERS_MAX + 1, false)] {
            let body = format!("{{\"userIds\": [{}]}}", vec!["\"a\""; count].join(","));
            assert_eq!(parse_request(body.as_bytes()).is_ok(), is_good, "{count}");
        }
    }

    #[test]
    fn an_entry_has_the_record_with_every_digit() {
        let record = UserRecord::parse("{ \"n\": 1.50 }").unwrap();
        let entry = BatchEntry::new(ConfigSource::Record, Some(&record));
        assert_eq!(serde_json::to_string(&entry).unwrap(), r#"{"source":"record","config":{ "n": 1.50 }}"#);
        let entry = BatchEntry::new(ConfigSource::NoRecord, None);
        assert_eq!(serde_json::to_string(&entry).unwrap(), r#"{"source":"none","config":null}"#);
    }
}
