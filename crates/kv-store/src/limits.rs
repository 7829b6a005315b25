//! The limits of Workers KV ("Limits" and "Write key-value pairs" in the KV documentation), and
//! the type of a key that is checked against them before KV is called.

use std::borrow::Cow;

use http_semantics::error_response::{ErrorResponse, HttpError};
use http_semantics::one_of_each;
use http_semantics::status::Status;

/// The longest key, in bytes of UTF-8.
pub const KEY_BYTES_MAX: usize = 512;

/// The longest value, in bytes: 25 MiB.
pub const VALUE_BYTES_MAX: u64 = 25 * 1024 * 1024;

/// The longest metadata of a key, in bytes of JSON.
pub const METADATA_BYTES_MAX: usize = 1024;

/// The largest number of keys in a bulk read, which counts as one operation.
pub const BULK_READ_KEYS_MAX: usize = 100;

/// The shortest `expirationTtl` of a put, in seconds.
pub const EXPIRATION_TTL_MIN_SECONDS: u32 = 60;

/// A valid key of Workers KV: 1 to 512 bytes of UTF-8, and neither `.` nor `..`. The
/// functions that call KV accept no other type as a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key<'a>(Cow<'a, str>);

/// Why a string is not a valid key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The key is empty.
    #[error("The key is empty; Workers KV needs at least one byte.")]
    Empty,
    /// The key is `.` or `..`.
    #[error("The key is \".\" or \"..\", which Workers KV does not accept.")]
    Dots,
    /// The key is longer than [`KEY_BYTES_MAX`].
    #[error("The key has {0} bytes; Workers KV accepts 512 at most.")]
    TooLong(usize),
}

impl HttpError for KeyError {
    fn response(&self) -> ErrorResponse {
        ErrorResponse::new(Status::BadRequest, "invalid_key", self.to_string())
    }

    fn examples() -> Vec<(Self, &'static str)> {
        one_of_each! {
            Self::Empty => Self::Empty, "The request names an empty key, which Workers KV does not accept.";
            Self::Dots => Self::Dots, "The request names a key that Workers KV does not accept.";
            Self::TooLong(_) => Self::TooLong(513), "The request names a key that is too long for Workers KV.";
        }
    }
}

impl<'a> Key<'a> {
    /// Checks a key.
    ///
    /// # Errors
    /// [`KeyError`] names the limit that the key breaks.
    ///
    /// # Examples
    ///
    /// ```
    /// use kv_store::limits::{Key, KeyError};
    ///
    /// assert!(Key::new("users/ann").is_ok());
    /// assert_eq!(Key::new(".."), Err(KeyError::Dots));
    /// ```
    pub fn new(key: impl Into<Cow<'a, str>>) -> Result<Self, KeyError> {
        let key = key.into();
        match key.as_ref() {
            "" => Err(KeyError::Empty),
            "." | ".." => Err(KeyError::Dots),
            long if long.len() > KEY_BYTES_MAX => Err(KeyError::TooLong(long.len())),
            _ => Ok(Self(key)),
        }
    }

    /// Returns a key that is written in the source code.
    ///
    /// # Panics
    /// The key breaks a limit. Use it for a `const` only, where the panic is a compile error.
    #[must_use]
    pub const fn literal(key: &'static str) -> Self {
        assert!(
            !key.is_empty() && key.len() <= KEY_BYTES_MAX && !matches!(key.as_bytes(), b"." | b".."),
            "not a KV key"
        );
        Self(Cow::Borrowed(key))
    }

    /// Returns a copy that owns its text.
    #[must_use]
    pub fn to_static(&self) -> Key<'static> {
        Key(Cow::Owned(self.0.as_ref().to_owned()))
    }

    /// Returns the key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_1_to_512_bytes_and_is_neither_one_dot_nor_two() {
        let longest = "k".repeat(512);
        let too_long = "k".repeat(513);
        let too_long_in_bytes = "€".repeat(171);
        for (key, expected) in [
            ("a", Ok(())),
            ("...", Ok(())),
            ("a/../b", Ok(())),
            (" ", Ok(())),
            (longest.as_str(), Ok(())),
            ("", Err(KeyError::Empty)),
            (".", Err(KeyError::Dots)),
            ("..", Err(KeyError::Dots)),
            (too_long.as_str(), Err(KeyError::TooLong(513))),
            (too_long_in_bytes.as_str(), Err(KeyError::TooLong(513))),
        ] {
            assert_eq!(Key::new(key).map(|_| ()), expected, "{key}");
        }
    }
}
