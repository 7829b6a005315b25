//! Merges two sorted streams: the ids of the rows, and the keys of KV.
//!
//! Neither stream is held in memory. What is collected are the keys that the sync owns by their
//! metadata and no row has, because they are to be deleted.

use std::cmp::Ordering;
use std::fmt;
use std::iter::Peekable;

use super::pass_summary::PassError;
use super::recent_changes::RecentChange;
use super::stored_keys::StoredKey;

/// Returns the keys of the list, corrected by what happened to some of them lately, which is more
/// recent than the list. Keys that hold a snapshot stay as they are listed. `recent_changes` must
/// be in the order of the ids, too.
#[expect(clippy::expect_used, reason = "both were peeked at: if a key were lost, it would be deleted or written again")]
pub(super) fn with_recent_changes(
    stored: impl Iterator<Item = Result<StoredKey, PassError>>,
    recent_changes: Vec<(String, RecentChange)>,
) -> impl Iterator<Item = Result<StoredKey, PassError>> {
    let (mut stored, mut recent_changes) = (stored.peekable(), recent_changes.into_iter().peekable());
    std::iter::from_fn(move || {
        loop {
            let order = match (stored.peek(), recent_changes.peek()) {
                (_, None) | (Some(Err(_)), _) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(Ok(stored)), Some((id, _))) => stored.id.cmp(id),
            };
            if order == Ordering::Less {
                return stored.next();
            }
            let listed =
                (order == Ordering::Equal).then(|| stored.next().and_then(Result::ok).expect("the key is next"));
            let (id, change) = recent_changes.next().expect("the change is next");
            if let Some(stored) = apply_recent_change(listed, id, change) {
                return Some(Ok(stored));
            }
        }
    })
}

/// Returns what a key probably is, from the list and from what happened to it lately.
fn apply_recent_change(listed: Option<StoredKey>, id: String, recent_change: RecentChange) -> Option<StoredKey> {
    if listed.as_ref().is_some_and(|listed| listed.is_snapshot) {
        return listed;
    }
    let hash = match (recent_change, listed) {
        (RecentChange::Deleted, _) => return None,
        (RecentChange::Written(hash), _) => Some(hash.into()),
        // Another owner's key is not deleted.
        (RecentChange::Unknown, Some(StoredKey { hash: None, .. })) => None,
        // No value has an empty hash: if there is a row, it is written again; otherwise the key
        // is deleted.
        (RecentChange::Unknown, _) => Some(String::new()),
    };
    Some(StoredKey { id, hash, is_snapshot: false })
}

/// The merge. Ids must come in the order of their bytes.
pub(super) struct KeyMerge<I: Iterator> {
    stored: Peekable<I>,
    owned: u64,
    gone: Vec<String>,
}

/// What remains at the end of a merge.
#[derive(Default, PartialEq, Eq)]
pub(super) struct UnmatchedKeys {
    /// The ids of keys that the sync owns and no row has.
    pub(super) gone: Vec<String>,
    /// How many keys the sync owns, including these.
    pub(super) owned: u64,
}

/// Shows no keys: they may be personal data.
impl fmt::Debug for UnmatchedKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("UnmatchedKeys").field("gone", &self.gone.len()).field("owned", &self.owned).finish()
    }
}

impl<I: Iterator<Item = Result<StoredKey, PassError>>> KeyMerge<I> {
    pub(super) fn new(stored: I) -> Self {
        Self { stored: stored.peekable(), owned: 0, gone: Vec::new() }
    }

    /// Advances to the id of a row. Returns the key of KV with this id, or `None`.
    pub(super) fn advance_to(&mut self, id: &str) -> Result<Option<StoredKey>, PassError> {
        self.pass(|stored| stored.id.as_str() < id)?;
        match self.stored.next_if(|next| next.as_ref().is_ok_and(|stored| stored.id == id)) {
            Some(Ok(stored)) => {
                self.owned += u64::from(stored.hash.is_some());
                Ok(Some(stored))
            }
            _ => Ok(None),
        }
    }

    /// Passes the keys after the last row.
    pub(super) fn finish(mut self) -> Result<UnmatchedKeys, PassError> {
        self.pass(|_| true)?;
        Ok(UnmatchedKeys { gone: self.gone, owned: self.owned })
    }

    /// Passes keys that no row has.
    fn pass(&mut self, is_passed: impl Fn(&StoredKey) -> bool) -> Result<(), PassError> {
        while let Some(next) = self.stored.next_if(|next| next.as_ref().map_or(true, &is_passed)) {
            let StoredKey { id, hash, .. } = next?;
            if hash.is_some() {
                self.owned += 1;
                self.gone.push(id);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use super::*;

    fn key(id: &str, hash: Option<&str>) -> StoredKey {
        StoredKey { id: id.to_owned(), hash: hash.map(str::to_owned), is_snapshot: false }
    }

    #[test]
    fn a_snapshot_stays_whatever_happened_to_its_key_lately() {
        let snapshot = StoredKey { is_snapshot: true, ..key("all", None) };
        for recent_change in [RecentChange::Written("1".into()), RecentChange::Deleted, RecentChange::Unknown] {
            let found: Result<Vec<_>, _> =
                with_recent_changes(iter::once(Ok(snapshot.clone())), vec![("all".to_owned(), recent_change)])
                    .collect();
            assert_eq!(found.unwrap(), std::slice::from_ref(&snapshot));
        }
    }

    #[test]
    fn what_happened_lately_corrects_the_list() {
        let written = || RecentChange::Written("2".into());
        for (name, listed, recent_change, expected) in [
            ("nothing lately", Some(Some("1")), None, Some(Some("1"))),
            ("written, and not listed yet", None, Some(written()), Some(Some("2"))),
            ("written, and the list has the value before", Some(Some("1")), Some(written()), Some(Some("2"))),
            ("written, and the list has the value of another owner", Some(None), Some(written()), Some(Some("2"))),
            ("deleted, and still listed", Some(Some("1")), Some(RecentChange::Deleted), None),
            ("deleted", None, Some(RecentChange::Deleted), None),
            ("a call failed for an owned key", Some(Some("1")), Some(RecentChange::Unknown), Some(Some(""))),
            ("a call failed for a key that was not there", None, Some(RecentChange::Unknown), Some(Some(""))),
            ("a call failed for a key of another owner", Some(None), Some(RecentChange::Unknown), Some(None)),
        ] {
            let listed: Vec<_> = listed.map(|hash| key("b", hash)).into_iter().collect();
            let recent_changes: Vec<_> = recent_change.map(|change| ("b".to_owned(), change)).into_iter().collect();
            let expected: Vec<_> = expected.map(|hash| key("b", hash)).into_iter().collect();
            // Alone, and between other keys.
            let found: Result<Vec<_>, _> =
                with_recent_changes(listed.clone().into_iter().map(Ok), recent_changes.clone()).collect();
            assert_eq!(found.unwrap(), expected, "{name}");
            let around = |middle: Vec<StoredKey>| [vec![key("a", None)], middle, vec![key("c", Some("3"))]].concat();
            let found: Result<Vec<_>, _> =
                with_recent_changes(around(listed).into_iter().map(Ok), recent_changes).collect();
            assert_eq!(found.unwrap(), around(expected), "{name}");
        }
        let recent_changes = [("a", RecentChange::Deleted), ("b", written()), ("d", written())];
        let recent_changes: Vec<_> = recent_changes.map(|(id, change)| (id.to_owned(), change)).into();
        let failing = [Ok(key("c", None)), Err(PassError::CallFailed)];
        let found: Vec<_> = with_recent_changes(failing.into_iter(), recent_changes).take(3).collect();
        assert!(matches!(found.as_slice(), [Ok(_), Ok(_), Err(_)]), "{found:?}");
    }

    #[test]
    fn ids_are_matched_with_keys() {
        let all = [key("a", Some("1")), key("b", None), key("c", Some("3")), key("d", None), key("e", Some("5"))];
        let mut merge = KeyMerge::new(all.clone().into_iter().map(Ok));
        assert_eq!(merge.advance_to("").unwrap(), None);
        assert_eq!(merge.advance_to("b").unwrap().as_ref(), Some(&all[1]));
        assert_eq!(merge.advance_to("bb").unwrap(), None);
        assert_eq!(merge.advance_to("c").unwrap().as_ref(), Some(&all[2]));
        let unmatched = merge.finish().unwrap();
        assert_eq!(unmatched, UnmatchedKeys { gone: vec!["a".to_owned(), "e".to_owned()], owned: 3 });

        let failing = [Ok(key("a", Some("1"))), Err(PassError::CallFailed)];
        let mut merge = KeyMerge::new(failing.into_iter());
        assert!(merge.advance_to("b").is_err());
    }
}
