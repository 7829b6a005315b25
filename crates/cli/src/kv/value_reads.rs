//! Reads the values of keys: texts a hundred at a time, and values that may be no text or were not
//! found one by one. With `--exact`, and from the local API, all are read one by one.

use super::KvError;
use super::key_stream::NumberedKey;
use super::ordered_reads::{GroupRead, OrderedReads};
use super::pair_checks::PairError;
use crate::api::{ApiError, KeyValuePair, Namespace, PairExpiration};
use kv_store::limits::{BULK_READ_KEYS_MAX, Key};

/// A key, and its value if it still has one.
pub(super) struct ListedPair {
    pub(super) listed: NumberedKey,
    /// `None` if the key was deleted, or expired, after it was listed.
    value: Option<Vec<u8>>,
}

impl ListedPair {
    /// Returns the pair with what the list says about the key.
    pub(super) fn into_pair(self) -> Option<KeyValuePair> {
        let Self { listed, value } = self;
        let (key, metadata, expiration) = (listed.key.name, listed.key.metadata, listed.key.expiration);
        Some(KeyValuePair { key, value: value?, metadata, expiration: expiration.map(PairExpiration::At) })
    }
}

/// Returns the pairs of the keys, in their order. With `one_by_one`, or if the API is local, each
/// value is read alone.
pub(super) fn value_reads<I: Iterator<Item = Result<NumberedKey, ApiError>>>(
    namespace: &Namespace,
    keys: I,
    one_by_one: bool,
) -> impl Iterator<Item = Result<ListedPair, KvError>> + use<I> {
    // The local API has no rate limit, and its bulk read drops byte order marks.
    let together_max = if one_by_one || namespace.is_local() { 1 } else { BULK_READ_KEYS_MAX };
    let namespace = namespace.clone();
    OrderedReads::new(keys.map(|key| key.map_err(KvError::from)), together_max, move |keys: &[NumberedKey]| {
        if let [key] = keys {
            return Ok(GroupRead::Values(vec![read_alone(&namespace, key)?]));
        }
        read_together(&namespace, keys)
    })
}

fn read_alone(namespace: &Namespace, listed: &NumberedKey) -> Result<ListedPair, KvError> {
    let name = listed.key.name.as_str();
    let key =
        Key::new(name).map_err(|error| KvError::Pair { key: name.to_owned(), problem: PairError::from(error) })?;
    Ok(ListedPair { listed: listed.clone(), value: namespace.get(&key)? })
}

/// Reads texts with one call. A value that may not have been a text, or is missing, is read alone.
fn read_together(namespace: &Namespace, keys: &[NumberedKey]) -> Result<GroupRead<ListedPair>, KvError> {
    let names: Vec<_> = keys.iter().map(|listed| listed.key.name.as_str()).collect();
    let mut texts = match namespace.bulk_get(&names) {
        Ok(texts) => texts,
        // One of the values is no text, all of them are too long together, or the API has no bulk
        // read.
        Err(error) if error.may_succeed_divided() => return Ok(GroupRead::Divide),
        Err(error) => return Err(error.into()),
    };
    let pair = |listed: &NumberedKey| match texts.remove(&listed.key.name).flatten() {
        Some(text) if is_exact_text(&text) => Ok(ListedPair { listed: listed.clone(), value: Some(text.into_bytes()) }),
        _ => read_alone(namespace, listed),
    };
    keys.iter().map(pair).collect::<Result<_, _>>().map(GroupRead::Values)
}

/// Returns false if the text may stand for bytes that are not UTF-8: some servers replace these.
fn is_exact_text(text: &str) -> bool {
    !text.contains(char::REPLACEMENT_CHARACTER)
}
