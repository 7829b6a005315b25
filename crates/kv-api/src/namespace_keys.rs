//! Under which keys a namespace's values are stored in Workers KV: those of a binding under their
//! own, those of a namespace that a client has created in one binding, the home of all such
//! namespaces, each after the namespace's id and a colon.

use kv_store::limits::{KEY_BYTES_MAX, Key};

use crate::bulk;
use crate::error::{KvApiError, Operation};
use crate::namespace::ID_DIGITS;

/// The length of the longest key of a created namespace, in bytes: an id and a colon precede it.
pub const CREATED_KEY_BYTES_MAX: usize = KEY_BYTES_MAX - ID_DIGITS - 1;

/// How the keys of a namespace are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceKeys {
    /// What precedes each key; empty for a binding.
    lead: String,
}

impl NamespaceKeys {
    /// Returns the rule for a binding.
    #[must_use]
    pub const fn of_binding() -> Self {
        Self { lead: String::new() }
    }

    /// Returns the rule for a created namespace with this id.
    #[must_use]
    pub fn of_created(id: &str) -> Self {
        Self { lead: format!("{id}:") }
    }

    /// Returns the length of the longest key, in bytes.
    #[must_use]
    pub const fn bytes_max(&self) -> usize {
        KEY_BYTES_MAX - self.lead.len()
    }

    /// Returns a key as it is in KV.
    ///
    /// # Errors
    /// [`KvApiError::InvalidKey`] says why Workers KV does not accept it.
    ///
    /// # Examples
    ///
    /// ```
    /// use kv_api::error::Operation;
    /// use kv_api::namespace_keys::NamespaceKeys;
    ///
    /// let keys = NamespaceKeys::of_created("0f2ac74b498b48028cb68387c421e279");
    /// let key = keys.key("users/ann", Operation::Get)?;
    /// assert_eq!(key.as_str(), "0f2ac74b498b48028cb68387c421e279:users/ann");
    /// // With the 33 bytes of the id and the colon, it is longer than a key of KV.
    /// assert!(keys.key(&"a".repeat(480), Operation::Get).is_err());
    /// # Ok::<(), kv_api::error::KvApiError>(())
    /// ```
    pub fn key(&self, key: &str, operation: Operation) -> Result<Key<'static>, KvApiError> {
        bulk::check_key(key, self.bytes_max(), operation)?;
        Key::new(self.stored_prefix(key)).map_err(|error| KvApiError::InvalidKey(operation, error.to_string()))
    }

    /// Returns a prefix of keys as it is in KV.
    #[must_use]
    pub fn stored_prefix(&self, prefix: &str) -> String {
        format!("{}{prefix}", self.lead)
    }

    /// Returns the length of what precedes each key in KV, in bytes. It is ASCII.
    #[must_use]
    pub const fn lead_bytes(&self) -> usize {
        self.lead.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::ApiNamespace;

    #[test]
    fn a_created_namespace_has_its_keys_behind_its_id() {
        let keys = NamespaceKeys::of_created("0123");
        assert_eq!(keys.key("a", Operation::Put).map(|key| key.as_str().to_owned()), Ok("0123:a".to_owned()));
        assert_eq!((keys.stored_prefix("p/"), keys.lead_bytes()), ("0123:p/".to_owned(), 5));
        let binding = NamespaceKeys::of_binding();
        assert_eq!(binding.key("a", Operation::Put).map(|key| key.as_str().to_owned()), Ok("a".to_owned()));
    }

    #[test]
    fn every_created_namespace_has_the_same_longest_key() {
        let namespace = ApiNamespace::created("t".to_owned(), "01234567-89ab-cdef-0123-456789abcdef");
        assert_eq!(NamespaceKeys::of_created(&namespace.id).bytes_max(), CREATED_KEY_BYTES_MAX);
    }

    #[test]
    fn a_key_is_shorter_by_what_precedes_it() {
        for (keys, bytes_max) in [(NamespaceKeys::of_binding(), 512), (NamespaceKeys::of_created("0123"), 507)] {
            assert_eq!(keys.bytes_max(), bytes_max);
            assert!(keys.key(&"k".repeat(bytes_max), Operation::Put).is_ok());
            assert!(keys.key(&"k".repeat(bytes_max + 1), Operation::Put).is_err());
            for refused in ["", ".", ".."] {
                assert!(keys.key(refused, Operation::Put).is_err(), "{refused:?}");
            }
        }
    }
}
