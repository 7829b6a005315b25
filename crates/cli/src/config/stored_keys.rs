//! The keys of KV's list, with what the sync needs of them.

use std::cmp::Ordering;
use std::fmt;

use super::metadata;
use super::pass_summary::PassError;
use crate::api::NamespaceKey;

/// A key in KV.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct StoredKey {
    /// The key without the prefix.
    pub(super) id: String,
    /// The hash of the value, or `None` if the sync does not own the key.
    pub(super) hash: Option<String>,
    /// True if the key holds a snapshot, by its metadata. No run replaces or deletes it with a
    /// row, whatever its arguments.
    pub(super) is_snapshot: bool,
}

/// Shows no key: it may be personal data.
impl fmt::Debug for StoredKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("StoredKey").field("is_own", &self.hash.is_some()).finish_non_exhaustive()
    }
}

/// Converts the pages of a list into keys for the merge. Returns an error if the list is
/// unreliable: a key that came out of order would be taken for one without a row, and deleted.
pub(super) fn stored_keys<E: Into<PassError>>(
    pages: impl Iterator<Item = Result<Vec<NamespaceKey>, E>>,
    prefix: &str,
    is_reserved: impl Fn(&str) -> bool,
) -> impl Iterator<Item = Result<StoredKey, PassError>> {
    let keys = pages.flat_map(|page| {
        let (keys, error) = match page {
            Ok(keys) => (keys, None),
            Err(error) => (Vec::new(), Some(Err(error.into()))),
        };
        keys.into_iter().map(Ok).chain(error)
    });
    let mut last: Option<String> = None;
    keys.filter_map(move |listed| {
        let NamespaceKey { name, metadata, .. } = match listed {
            Ok(listed) => listed,
            Err(error) => return Some(Err(error)),
        };
        let Some(id) = name.strip_prefix(prefix).map(str::to_owned) else {
            return Some(Err(PassError::UnreliableList("a key without the prefix that was asked for")));
        };
        match last.as_deref().map(|last| last.cmp(&id)) {
            Some(Ordering::Greater) => return Some(Err(PassError::UnreliableList("keys that are not in order"))),
            // The last key of a page may be the first of the next.
            Some(Ordering::Equal) => return None,
            _ => last = Some(id.clone()),
        }
        let is_snapshot = metadata.as_ref().and_then(metadata::snapshot_in).is_some();
        let hash = metadata.filter(|_| !is_reserved(&name)).and_then(|metadata| metadata::hash_in(&metadata, prefix));
        Some(Ok(StoredKey { id, hash, is_snapshot }))
    })
}

#[cfg(test)]
mod tests {
    use std::iter;

    use super::*;
    use crate::api::MetadataJson;
    use crate::config::metadata::of_row;

    fn listed(name: &str, metadata: Option<MetadataJson>) -> NamespaceKey {
        NamespaceKey { name: name.to_owned(), metadata, expiration: None }
    }

    fn given(json: &str) -> Option<MetadataJson> {
        MetadataJson::parse(json).ok()
    }

    fn read(pages: Vec<Result<Vec<NamespaceKey>, PassError>>) -> Result<Vec<(String, Option<String>)>, String> {
        let stored = stored_keys(pages.into_iter(), "p:", |key| key == "p:flags");
        let read: Result<Vec<_>, _> = stored.map(|stored| stored.map(|stored| (stored.id, stored.hash))).collect();
        read.map_err(|error| error.to_string())
    }

    #[test]
    fn a_key_is_owned_if_its_metadata_has_this_prefix() {
        for (metadata, expected) in [
            (Some(of_row("p:", "h")), Some("h")),
            (given(r#"{"sync": {"prefix": "p:", "hash": "h", "more": 1}, "more": 1}"#), Some("h")),
            (None, None),
            (given("null"), None),
            (Some(of_row("p", "h")), None),
            (Some(of_row("p:x", "h")), None),
            (given(r#"{"sync": {"prefix": "p:"}}"#), None),
            (given(r#"{"sync": true, "prefix": "p:", "hash": "h"}"#), None),
        ] {
            let shown = format!("{metadata:?}");
            let read = read(vec![Ok(vec![listed("p:a", metadata)])]).unwrap();
            assert_eq!(read, [("a".to_owned(), expected.map(str::to_owned))], "{shown}");
        }
        let flags = read(vec![Ok(vec![listed("p:flags", Some(of_row("p:", "h")))])]).unwrap();
        assert_eq!(flags, [("flags".to_owned(), None)], "nobody's sync owns a reserved key");
    }

    #[test]
    fn an_unreliable_list_is_an_error() {
        let page = |names: &[&str]| Ok(names.iter().map(|name| listed(name, None)).collect());
        let ids = |read: Vec<(String, Option<String>)>| read.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
        // Pages may be empty, and a key may end one page and begin the next.
        let read_all = read(vec![page(&["p:a", "p:b"]), page(&[]), page(&["p:b", "p:é", "p:\u{10000}"])]);
        assert_eq!(ids(read_all.unwrap()), ["a", "b", "é", "\u{10000}"]);
        for (pages, expected) in [
            (
                vec![page(&["p:b", "p:a"])],
                "the API lists keys that are not in order; nothing was deleted, run this again",
            ),
            (
                vec![page(&["p:b"]), page(&["p:a"])],
                "the API lists keys that are not in order; nothing was deleted, run this again",
            ),
            (
                vec![page(&["a"])],
                "the API lists a key without the prefix that was asked for; nothing was deleted, run this again",
            ),
            (vec![page(&["p:a"]), Err(PassError::CallFailed)], "a call failed"),
        ] {
            assert_eq!(read(pages).unwrap_err(), expected);
        }
    }

    #[test]
    fn a_snapshot_is_recognized_by_its_metadata() {
        for (metadata, expected) in [
            (given(r#"{"snapshot": {"version": 7, "hash": "h", "count": 2}}"#), true),
            (given(r#"{"snapshot": {"version": 7, "hash": "h", "count": 2, "more": 1}, "more": 1}"#), true),
            (given(r#"{"snapshot": true}"#), false),
            (Some(of_row("p:", "h")), false),
            (None, false),
        ] {
            let page = Ok::<_, PassError>(vec![listed("p:all", metadata.clone())]);
            let stored = stored_keys(iter::once(page), "p:", |_| false).next().unwrap().unwrap();
            assert_eq!(stored.is_snapshot, expected, "{metadata:?}");
            assert_eq!(stored.hash.is_some(), metadata.is_some_and(|metadata| metadata.as_str().contains("sync")));
        }
    }
}
