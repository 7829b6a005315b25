//! What Workers KV accepts, checked before a batch is sent: one pair that it does not accept would
//! fail the other pairs of its batch.

use kv_store::limits::{EXPIRATION_TTL_MIN_SECONDS, Key, KeyError, METADATA_BYTES_MAX, VALUE_BYTES_MAX};

use crate::api::{KeyValuePair, PairExpiration};

/// Why Workers KV does not accept a pair.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PairError {
    #[error("{0}")]
    Key(#[from] KeyError),
    #[error("the value has {0} bytes; Workers KV accepts 26,214,400 (25 MiB) at most")]
    ValueTooLong(usize),
    #[error("the metadata has {0} bytes of JSON; Workers KV accepts 1024 at most")]
    MetadataTooLong(usize),
    #[error("it expires {0} seconds after it is written; Workers KV accepts 60 at least")]
    ExpiresTooSoon(u32),
}

/// Checks a pair.
pub(super) fn check(pair: &KeyValuePair) -> Result<(), PairError> {
    Key::new(pair.key.as_str())?;
    if pair.value.len() as u64 > VALUE_BYTES_MAX {
        return Err(PairError::ValueTooLong(pair.value.len()));
    }
    let metadata_bytes = pair.metadata.as_ref().map_or(0, |metadata| metadata.as_str().len());
    if metadata_bytes > METADATA_BYTES_MAX {
        return Err(PairError::MetadataTooLong(metadata_bytes));
    }
    match pair.expiration {
        Some(PairExpiration::In(seconds)) if seconds < EXPIRATION_TTL_MIN_SECONDS => {
            Err(PairError::ExpiresTooSoon(seconds))
        }
        _ => Ok(()),
    }
}

/// Returns the pair, or `None` if it has expired.
pub(super) fn unexpired(pair: KeyValuePair, now_seconds: u64) -> Option<KeyValuePair> {
    let has_expired = matches!(pair.expiration, Some(PairExpiration::At(seconds)) if seconds <= now_seconds);
    (!has_expired).then_some(pair)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::MetadataJson;

    fn pair(key: &str) -> KeyValuePair {
        KeyValuePair { key: key.to_owned(), value: Vec::new(), metadata: None, expiration: None }
    }

    #[test]
    fn a_pair_beyond_a_limit_of_workers_kv_is_refused() {
        let metadata = |bytes: usize| Some(MetadataJson::of(&"m".repeat(bytes - 2)));
        for (pair, expected) in [
            (pair("a"), Ok(())),
            (pair(""), Err(PairError::Key(KeyError::Empty))),
            (KeyValuePair { metadata: metadata(1024), ..pair("a") }, Ok(())),
            (KeyValuePair { metadata: metadata(1025), ..pair("a") }, Err(PairError::MetadataTooLong(1025))),
            (KeyValuePair { value: vec![0; 25 << 20], ..pair("a") }, Ok(())),
            (
                KeyValuePair { value: vec![0; (25 << 20) + 1], ..pair("a") },
                Err(PairError::ValueTooLong((25 << 20) + 1)),
            ),
            (KeyValuePair { expiration: Some(PairExpiration::In(60)), ..pair("a") }, Ok(())),
            (
                KeyValuePair { expiration: Some(PairExpiration::In(59)), ..pair("a") },
                Err(PairError::ExpiresTooSoon(59)),
            ),
        ] {
            assert_eq!(check(&pair), expected);
        }
    }

    #[test]
    fn what_has_expired_is_not_written() {
        let now = 1000;
        for (given, expected) in [
            (None, Some(None)),
            (Some(PairExpiration::At(999)), None),
            (Some(PairExpiration::At(1000)), None),
            (Some(PairExpiration::At(1001)), Some(Some(PairExpiration::At(1001)))),
            (Some(PairExpiration::In(60)), Some(Some(PairExpiration::In(60)))),
        ] {
            let written = unexpired(KeyValuePair { expiration: given, ..pair("a") }, now);
            assert_eq!(written.map(|pair| pair.expiration), expected, "{given:?}");
        }
    }
}
