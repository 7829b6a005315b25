//! The messages between the Worker and a key's Durable Object: the same types on both sides.
//!
//! A message is JSON in one header field. The value of the key is the body beside it.

use http_semantics::conditional::Preconditions;
use http_semantics::request_target::percent_decode;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::WriteResult;
use crate::writes::Wait;

/// The name of the header field.
pub const FIELD: &str = "kv-edge-message";

/// The characters that a field cannot have, and the escape character itself. Everything that is
/// not ASCII is encoded, too.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

/// A request of the Worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WriterRequest {
    /// Store the body as the key's newest value. The reply is [`WriterReply::Written`].
    Write {
        /// The key.
        key: String,
        /// What the reply waits for.
        wait: Wait,
        /// How long the reply may wait, in milliseconds.
        timeout_ms: u32,
        /// The version that the key must be at.
        preconditions: Preconditions,
    },
    /// Return the key's newest value.
    Read {
        /// The key.
        key: String,
    },
}

/// A reply of the object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WriterReply {
    /// The result of a write.
    Written(WriteResult),
    /// The newest value, which is the body.
    // During a deployment, the build on the other side may know only this name.
    #[serde(rename = "Found")]
    Value {
        /// Its version; `None` if the object did not write it.
        version: Option<u64>,
    },
    /// The key has no value.
    NotFound,
    /// KV does not show the newest value yet.
    NotVisibleYet,
    /// The object could not read KV.
    KvFailed {
        /// KV's message.
        message: String,
    },
}

/// Returns a message as the value of [`FIELD`]: its JSON, percent-encoded where a field needs
/// it.
///
/// # Errors
/// The message cannot be written as JSON. All messages of this module can.
///
/// # Examples
///
/// ```
/// use kv_store::key_writer::message::{WriterRequest, from_field, to_field};
///
/// let request = WriterRequest::Read { key: "thé".to_owned() };
/// let field = to_field(&request)?;
/// assert!(field.is_ascii(), "{field}");
/// assert_eq!(from_field(&field), Ok(request));
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn to_field(message: &impl Serialize) -> Result<String, serde_json::Error> {
    let json = serde_json::to_string(message)?;
    Ok(utf8_percent_encode(&json, ENCODED).to_string())
}

/// Parses a message.
///
/// [`to_field`] has an example.
///
/// # Errors
/// The field is not a message. The text is for the log.
pub fn from_field<T: DeserializeOwned>(field: &str) -> Result<T, String> {
    let json = percent_decode(field).map_err(|error| error.to_string())?;
    serde_json::from_str(&json).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_writer::NotWritten;
    use crate::retry::Try;

    fn arrives<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(message: &T) {
        let field = to_field(message).unwrap();
        assert!(field.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{field}");
        assert_eq!(&from_field::<T>(&field).unwrap(), message);
    }

    #[test]
    fn a_request_arrives_as_it_was_sent() {
        for key in ["hot", "50% \u{e9}\n\u{1f600}\"\\", "%41"] {
            arrives(&WriterRequest::Read { key: key.to_owned() });
            for (if_match, if_none_match) in [(None, None), (Some("\"1\", W/\"\u{e9}\""), Some("*"))] {
                arrives(&WriterRequest::Write {
                    key: key.to_owned(),
                    wait: Wait::Durable,
                    timeout_ms: 60_000,
                    preconditions: Preconditions::parse(if_match, if_none_match),
                });
            }
        }
    }

    #[test]
    fn a_reply_arrives_as_it_was_sent() {
        let tries = vec![
            Try { started_ms: 1, ended_ms: 20, is_accepted: false },
            Try { started_ms: 900, ended_ms: 901, is_accepted: true },
        ];
        for result in [
            WriteResult::Stored(1),
            WriteResult::InKv { version: u64::MAX, tries },
            WriteResult::InKv { version: 2, tries: Vec::new() },
            WriteResult::NotWritten(NotWritten::PreconditionFailed { version: None }),
            WriteResult::NotWritten(NotWritten::TimedOut { version: 4 }),
            WriteResult::NotWritten(NotWritten::Refused { version: 5, cause: "a \"reason\"\r\n".into() }),
        ] {
            arrives(&WriterReply::Written(result));
        }
        for reply in [
            WriterReply::Value { version: Some(7) },
            WriterReply::Value { version: None },
            WriterReply::NotFound,
            WriterReply::NotVisibleYet,
            WriterReply::KvFailed { message: "KV GET failed: 500".to_owned() },
        ] {
            arrives(&reply);
        }
    }

    #[test]
    fn an_invalid_message_is_refused() {
        for field in ["", "oh", "{}", "%", "{\"Read\":{}}"] {
            assert!(from_field::<WriterRequest>(field).is_err(), "{field}");
        }
    }
}
