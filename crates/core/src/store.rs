//! What a failure of Workers KV means.

/// A Workers KV operation failed. Carries the runtime's message, such as `KV PUT failed: 429 Too Many Requests`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    message: String,
    /// What KV answered; `None` where it did not answer, or the runtime refused the call.
    status: Option<u16>,
}

impl StoreError {
    /// Reads the status out of the runtime's message: `KV <operation> failed: <status> <reason>`.
    #[must_use]
    pub fn from_message(message: impl Into<String>) -> Self {
        let message = message.into();
        let status = message
            .strip_prefix("KV ")
            .and_then(|rest| rest.split_once(" failed: "))
            .and_then(|(_, answer)| answer.get(..3))
            .and_then(|digits| digits.parse().ok());
        Self { message, status }
    }

    /// True for 429: the key takes one write a second ("Limits to KV writes to the same key").
    #[must_use]
    pub fn is_rate_limited(&self) -> bool {
        self.status == Some(429)
    }

    /// The message as the documented concurrent-write example shows it. A message that is not in the runtime's documented
    /// form stays inside: the caller reads `KV PUT failed`.
    #[must_use]
    pub fn public_message(&self) -> &str {
        if self.status.is_some() { &self.message } else { "KV PUT failed" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_comes_from_the_runtimes_message() {
        for (message, status, public) in [
            ("KV PUT failed: 429 Too Many Requests", Some(429), "KV PUT failed: 429 Too Many Requests"),
            ("KV GET failed: 500 Internal Server Error", Some(500), "KV GET failed: 500 Internal Server Error"),
            ("KV GET_BULK failed: 503 ", Some(503), "KV GET_BULK failed: 503 "),
            ("KV PUT failed: soon", None, "KV PUT failed"),
            ("KV PUT failed: 4é", None, "KV PUT failed"),
            ("Network connection lost.", None, "KV PUT failed"),
            ("429", None, "KV PUT failed"),
            ("", None, "KV PUT failed"),
        ] {
            let error = StoreError::from_message(message);
            assert_eq!(error.status, status, "{message}");
            assert_eq!(error.is_rate_limited(), status == Some(429), "{message}");
            assert_eq!(error.public_message(), public, "{message}");
        }
    }
}
