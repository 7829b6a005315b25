//! Merges two sorted streams: the ids of the rows, and the keys of KV.
//!
//! Neither stream is held in memory. What is collected are the keys that the sync owns and no row
//! has, because they are to be deleted.

use std::cmp::Ordering;
use std::fmt;
use std::iter::Peekable;

use super::recent::Lately;
use super::stored::Stored;
use super::summary::Stopped;

/// Returns the keys of the list, corrected by what happened to some of them lately, which is more
/// recent than the list. `lately` must be in the order of the ids, too.
pub(super) fn believed(
    stored: impl Iterator<Item = Result<Stored, Stopped>>,
    lately: Vec<(String, Lately)>,
) -> impl Iterator<Item = Result<Stored, Stopped>> {
    let (mut stored, mut lately) = (stored.peekable(), lately.into_iter().peekable());
    std::iter::from_fn(move || {
        loop {
            let order = match (stored.peek(), lately.peek()) {
                (_, None) | (Some(Err(_)), _) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(Ok(stored)), Some((id, _))) => stored.id.cmp(id),
            };
            if order == Ordering::Less {
                return stored.next();
            }
            let listed = if order == Ordering::Equal { stored.next()?.ok() } else { None };
            let (id, lately) = lately.next()?;
            if let Some(stored) = believe(listed, id, lately) {
                return Some(Ok(stored));
            }
        }
    })
}

/// Returns what a key probably is, from the list and from what happened to it lately.
fn believe(listed: Option<Stored>, id: String, lately: Lately) -> Option<Stored> {
    if listed.as_ref().is_some_and(|listed| listed.is_snapshot) {
        return listed;
    }
    let hash = match (lately, listed) {
        (Lately::Deleted, _) => return None,
        (Lately::Written(hash), _) => Some(hash.into()),
        // Another owner's key is not deleted.
        (Lately::Unknown, Some(Stored { hash: None, .. })) => None,
        // No value has an empty hash: if there is a row, it is written again; otherwise the key
        // is deleted.
        (Lately::Unknown, _) => Some(String::new()),
    };
    Some(Stored { id, hash, is_snapshot: false })
}

/// The merge. Ids must come in the order of their bytes.
pub(super) struct Merge<I: Iterator> {
    stored: Peekable<I>,
    own: u64,
    gone: Vec<String>,
}

/// What remains at the end of a merge.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Left {
    /// The ids of keys that the sync owns and no row has.
    pub(super) gone: Vec<String>,
    /// How many keys the sync owns, including these.
    pub(super) own: u64,
}

/// Shows no keys: they may be personal data.
impl fmt::Debug for Left {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Left").field("gone", &self.gone.len()).field("own", &self.own).finish()
    }
}

impl<I: Iterator<Item = Result<Stored, Stopped>>> Merge<I> {
    pub(super) fn new(stored: I) -> Self {
        Self { stored: stored.peekable(), own: 0, gone: Vec::new() }
    }

    /// Advances to the id of a row. Returns the key of KV with this id, or None.
    pub(super) fn meet(&mut self, id: &str) -> Result<Option<Stored>, Stopped> {
        self.pass(|stored| stored.id.as_str() < id)?;
        match self.stored.next_if(|next| next.as_ref().is_ok_and(|stored| stored.id == id)) {
            Some(Ok(stored)) => {
                self.own += u64::from(stored.hash.is_some());
                Ok(Some(stored))
            }
            _ => Ok(None),
        }
    }

    /// Passes the keys after the last row.
    pub(super) fn finish(mut self) -> Result<Left, Stopped> {
        self.pass(|_| true)?;
        Ok(Left { gone: self.gone, own: self.own })
    }

    /// Passes keys that no row has.
    fn pass(&mut self, is_passed: impl Fn(&Stored) -> bool) -> Result<(), Stopped> {
        while let Some(next) = self.stored.next_if(|next| next.as_ref().map_or(true, &is_passed)) {
            let Stored { id, hash, .. } = next?;
            if hash.is_some() {
                self.own += 1;
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

    fn key(id: &str, hash: Option<&str>) -> Stored {
        Stored { id: id.to_owned(), hash: hash.map(str::to_owned), is_snapshot: false }
    }

    #[test]
    fn a_snapshot_stays_whatever_became_of_its_key_lately() {
        let snapshot = Stored { is_snapshot: true, ..key("all", None) };
        for lately in [Lately::Written("1".into()), Lately::Deleted, Lately::Unknown] {
            let found: Result<Vec<_>, _> =
                believed(iter::once(Ok(snapshot.clone())), vec![("all".to_owned(), lately)]).collect();
            assert_eq!(found.unwrap(), std::slice::from_ref(&snapshot));
        }
    }

    #[test]
    fn what_became_of_a_key_lately_is_believed_rather_than_the_list() {
        let written = || Lately::Written("2".into());
        for (name, listed, lately, expected) in [
            ("nothing lately", Some(Some("1")), None, Some(Some("1"))),
            ("written, and not listed yet", None, Some(written()), Some(Some("2"))),
            ("written, and the list has the value before", Some(Some("1")), Some(written()), Some(Some("2"))),
            ("written, and the list has what somebody else had there", Some(None), Some(written()), Some(Some("2"))),
            ("deleted, and still listed", Some(Some("1")), Some(Lately::Deleted), None),
            ("deleted", None, Some(Lately::Deleted), None),
            ("a call failed for a key that is own", Some(Some("1")), Some(Lately::Unknown), Some(Some(""))),
            ("a call failed for a key that was not there", None, Some(Lately::Unknown), Some(Some(""))),
            ("a call failed for a key of somebody else", Some(None), Some(Lately::Unknown), Some(None)),
        ] {
            let listed: Vec<_> = listed.map(|hash| key("b", hash)).into_iter().collect();
            let lately: Vec<_> = lately.map(|lately| ("b".to_owned(), lately)).into_iter().collect();
            let expected: Vec<_> = expected.map(|hash| key("b", hash)).into_iter().collect();
            // Alone, and between other keys.
            let found: Result<Vec<_>, _> = believed(listed.clone().into_iter().map(Ok), lately.clone()).collect();
            assert_eq!(found.unwrap(), expected, "{name}");
            let around = |middle: Vec<Stored>| [vec![key("a", None)], middle, vec![key("c", Some("3"))]].concat();
            let found: Result<Vec<_>, _> = believed(around(listed).into_iter().map(Ok), lately).collect();
            assert_eq!(found.unwrap(), around(expected), "{name}");
        }
        let lately = [("a", Lately::Deleted), ("b", written()), ("d", written())];
        let lately: Vec<_> = lately.map(|(id, lately)| (id.to_owned(), lately)).into();
        let failing = [Ok(key("c", None)), Err(Stopped::CallFailed)];
        let found: Vec<_> = believed(failing.into_iter(), lately).take(3).collect();
        assert!(matches!(found.as_slice(), [Ok(_), Ok(_), Err(_)]), "{found:?}");
    }

    #[test]
    fn ids_and_keys_meet() {
        let all = [key("a", Some("1")), key("b", None), key("c", Some("3")), key("d", None), key("e", Some("5"))];
        let mut merge = Merge::new(all.clone().into_iter().map(Ok));
        assert_eq!(merge.meet("").unwrap(), None);
        assert_eq!(merge.meet("b").unwrap().as_ref(), Some(&all[1]));
        assert_eq!(merge.meet("bb").unwrap(), None);
        assert_eq!(merge.meet("c").unwrap().as_ref(), Some(&all[2]));
        let left = merge.finish().unwrap();
        assert_eq!(left, Left { gone: vec!["a".to_owned(), "e".to_owned()], own: 3 });

        let failing = [Ok(key("a", Some("1"))), Err(Stopped::CallFailed)];
        let mut merge = Merge::new(failing.into_iter());
        assert!(merge.meet("b").is_err());
    }
}
