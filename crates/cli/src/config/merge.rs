//! Two streams in the same order, walked side by side: the ids of the rows, and the keys of KV.
//!
//! Neither is held in memory; what is kept are the sync's own keys that no row has, for they are to be deleted.

use std::cmp::Ordering;
use std::fmt;
use std::iter::Peekable;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::recent::Lately;
use super::snapshot;
use super::summary::Stopped;
use crate::api::Listed;

/// What the sync writes as the metadata of a key. Who finds it there with the same prefix may change and delete the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Metadata {
    sync: Mark,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    prefix: String,
    /// Of the bytes of the value.
    hash: String,
}

/// The metadata of a value.
pub(super) fn metadata(prefix: &str, hash: &str) -> Value {
    let sync = Mark { prefix: prefix.to_owned(), hash: hash.to_owned() };
    // Two strings: writing them cannot fail.
    serde_json::to_value(Metadata { sync }).unwrap_or_default()
}

/// The hash in the metadata of a key that is the sync's own.
pub(super) fn hash_in(metadata: &Value, prefix: &str) -> Option<String> {
    let Metadata { sync } = Metadata::deserialize(metadata).ok()?;
    (sync.prefix == prefix).then_some(sync.hash)
}

/// The prefix of the sync whose row stands under a key with this metadata.
pub(super) fn prefix_in(metadata: &Value) -> Option<String> {
    Metadata::deserialize(metadata).ok().map(|metadata| metadata.sync.prefix)
}

/// A key in KV.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Stored {
    /// The key without the prefix.
    pub(super) id: String,
    /// The hash of the value; none for a key that is not the sync's own.
    pub(super) hash: Option<String>,
    /// True if a snapshot stands there, by its metadata: no run writes a row over it or deletes it, whatever its flags.
    pub(super) is_snapshot: bool,
}

/// Shows no key.
impl fmt::Debug for Stored {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Stored").field("is_own", &self.hash.is_some()).finish_non_exhaustive()
    }
}

/// The keys of a list as the merge takes them, or why it cannot: a key that came out of order could be taken for one without a row.
pub(super) fn stored<E: Into<Stopped>>(
    pages: impl Iterator<Item = Result<Vec<Listed>, E>>,
    prefix: &str,
    is_reserved: impl Fn(&str) -> bool,
) -> impl Iterator<Item = Result<Stored, Stopped>> {
    let keys = pages.flat_map(|page| {
        let (keys, error) = match page {
            Ok(keys) => (keys, None),
            Err(error) => (Vec::new(), Some(Err(error.into()))),
        };
        keys.into_iter().map(Ok).chain(error)
    });
    let mut last: Option<String> = None;
    keys.filter_map(move |listed| {
        let Listed { name, metadata } = match listed {
            Ok(listed) => listed,
            Err(error) => return Some(Err(error)),
        };
        let Some(id) = name.strip_prefix(prefix).map(str::to_owned) else {
            return Some(Err(strange("a key without the prefix that was asked for")));
        };
        match last.as_deref().map(|last| last.cmp(&id)) {
            Some(Ordering::Greater) => return Some(Err(strange("keys that are not in order"))),
            // The end of one page and the beginning of the next.
            Some(Ordering::Equal) => return None,
            _ => last = Some(id.clone()),
        }
        let is_snapshot = metadata.as_ref().is_some_and(snapshot::is_told);
        let hash = metadata.filter(|_| !is_reserved(&name)).and_then(|metadata| hash_in(&metadata, prefix));
        Some(Ok(Stored { id, hash, is_snapshot }))
    })
}

/// The same keys, but what became of some of them lately is believed rather than the list. `lately` comes in the order of the ids too.
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

/// A key of which the list says this, if it has it.
fn believe(listed: Option<Stored>, id: String, lately: Lately) -> Option<Stored> {
    if listed.as_ref().is_some_and(|listed| listed.is_snapshot) {
        return listed;
    }
    let hash = match (lately, listed) {
        (Lately::Deleted, _) => return None,
        (Lately::Written(hash), _) => Some(hash.into()),
        // Whoever's that is, it is not deleted.
        (Lately::Unknown, Some(Stored { hash: None, .. })) => None,
        // No value has this hash: a row is written, and without one the key is deleted.
        (Lately::Unknown, _) => Some(String::new()),
    };
    Some(Stored { id, hash, is_snapshot: false })
}

fn strange(what: &str) -> Stopped {
    Stopped::Told(format!("the API lists {what}; nothing was deleted, run it again"))
}

/// The walk. Ids are to come in the order of their bytes.
pub(super) struct Merge<I: Iterator> {
    stored: Peekable<I>,
    own: u64,
    gone: Vec<String>,
}

/// What is left at the end of the walk.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Left {
    /// The ids of the sync's own keys that no row has.
    pub(super) gone: Vec<String>,
    /// How many keys are the sync's own, these included.
    pub(super) own: u64,
}

/// Shows no keys.
impl fmt::Debug for Left {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Left").field("gone", &self.gone.len()).field("own", &self.own).finish()
    }
}

impl<I: Iterator<Item = Result<Stored, Stopped>>> Merge<I> {
    pub(super) fn new(stored: I) -> Self {
        Self { stored: stored.peekable(), own: 0, gone: Vec::new() }
    }

    /// Goes on to the id of a row; what KV has there, if anything.
    pub(super) fn meet(&mut self, id: &str) -> Result<Option<Stored>, Stopped> {
        self.pass(|stored| stored.id.as_str() < id)?;
        match self.stored.next_if(|next| next.as_ref().is_ok_and(|stored| stored.id == id)) {
            Some(Ok(stored)) => {
                self.own = self.own.saturating_add(u64::from(stored.hash.is_some()));
                Ok(Some(stored))
            }
            _ => Ok(None),
        }
    }

    /// Passes the keys behind the last row.
    pub(super) fn finish(mut self) -> Result<Left, Stopped> {
        self.pass(|_| true)?;
        Ok(Left { gone: self.gone, own: self.own })
    }

    /// Passes keys that no row has.
    fn pass(&mut self, is_passed: impl Fn(&Stored) -> bool) -> Result<(), Stopped> {
        while let Some(next) = self.stored.next_if(|next| next.as_ref().map_or(true, &is_passed)) {
            let Stored { id, hash, .. } = next?;
            if hash.is_some() {
                self.own = self.own.saturating_add(1);
                self.gone.push(id);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use serde_json::json;

    use super::*;

    fn listed(name: &str, metadata: Option<Value>) -> Listed {
        Listed { name: name.to_owned(), metadata }
    }

    fn read(pages: Vec<Result<Vec<Listed>, Stopped>>) -> Result<Vec<(String, Option<String>)>, String> {
        let stored = stored(pages.into_iter(), "p:", |key| key == "p:flags");
        let read: Result<Vec<_>, _> = stored.map(|stored| stored.map(|stored| (stored.id, stored.hash))).collect();
        read.map_err(|error| error.to_string())
    }

    #[test]
    fn a_key_is_own_where_its_metadata_names_the_very_prefix() {
        for (metadata, expected) in [
            (Some(metadata("p:", "h")), Some("h")),
            (Some(json!({"sync": {"prefix": "p:", "hash": "h", "more": 1}, "more": 1})), Some("h")),
            (None, None),
            (Some(Value::Null), None),
            (Some(metadata("p", "h")), None),
            (Some(metadata("p:x", "h")), None),
            (Some(json!({"sync": {"prefix": "p:"}})), None),
            (Some(json!({"sync": true, "prefix": "p:", "hash": "h"})), None),
        ] {
            let shown = format!("{metadata:?}");
            let read = read(vec![Ok(vec![listed("p:a", metadata)])]).unwrap();
            assert_eq!(read, [("a".to_owned(), expected.map(str::to_owned))], "{shown}");
        }
        let flags = read(vec![Ok(vec![listed("p:flags", Some(metadata("p:", "h")))])]).unwrap();
        assert_eq!(flags, [("flags".to_owned(), None)], "nobody's sync owns a reserved key");
    }

    #[test]
    fn a_list_that_cannot_be_relied_on_is_an_error() {
        let page = |names: &[&str]| Ok(names.iter().map(|name| listed(name, None)).collect());
        let ids = |read: Vec<(String, Option<String>)>| read.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
        // Pages may be empty, and a key may end one and begin the next.
        let read_all = read(vec![page(&["p:a", "p:b"]), page(&[]), page(&["p:b", "p:é", "p:\u{10000}"])]);
        assert_eq!(ids(read_all.unwrap()), ["a", "b", "é", "\u{10000}"]);
        for (pages, expected) in [
            (
                vec![page(&["p:b", "p:a"])],
                "the API lists keys that are not in order; nothing was deleted, run it again",
            ),
            (
                vec![page(&["p:b"]), page(&["p:a"])],
                "the API lists keys that are not in order; nothing was deleted, run it again",
            ),
            (
                vec![page(&["a"])],
                "the API lists a key without the prefix that was asked for; nothing was deleted, run it again",
            ),
            (vec![page(&["p:a"]), Err(Stopped::Told("down".to_owned()))], "down"),
        ] {
            assert_eq!(read(pages).unwrap_err(), expected);
        }
    }

    fn key(id: &str, hash: Option<&str>) -> Stored {
        Stored { id: id.to_owned(), hash: hash.map(str::to_owned), is_snapshot: false }
    }

    #[test]
    fn a_snapshot_is_known_by_its_metadata_and_stays_whatever_became_of_its_key_lately() {
        let told = json!({"snapshot": {"version": 7, "hash": "h", "count": 2}});
        for (metadata, expected) in [
            (Some(told.clone()), true),
            (Some(json!({"snapshot": {"version": 7, "hash": "h", "count": 2, "more": 1}, "more": 1})), true),
            (Some(json!({"snapshot": true})), false),
            (Some(metadata("p:", "h")), false),
            (None, false),
        ] {
            let page = Ok::<_, Stopped>(vec![listed("p:all", metadata.clone())]);
            let stored = stored(iter::once(page), "p:", |_| false).next().unwrap().unwrap();
            assert_eq!(stored.is_snapshot, expected, "{metadata:?}");
            assert_eq!(stored.hash.is_some(), metadata.is_some_and(|metadata| metadata.get("sync").is_some()));
        }
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
            // Alone, and between others.
            let found: Result<Vec<_>, _> = believed(listed.clone().into_iter().map(Ok), lately.clone()).collect();
            assert_eq!(found.unwrap(), expected, "{name}");
            let around = |middle: Vec<Stored>| [vec![key("a", None)], middle, vec![key("c", Some("3"))]].concat();
            let found: Result<Vec<_>, _> = believed(around(listed).into_iter().map(Ok), lately).collect();
            assert_eq!(found.unwrap(), around(expected), "{name}");
        }
        let lately = [("a", Lately::Deleted), ("b", written()), ("d", written())];
        let lately: Vec<_> = lately.map(|(id, lately)| (id.to_owned(), lately)).into();
        let failing = [Ok(key("c", None)), Err(Stopped::Told("down".to_owned()))];
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

        let failing = [Ok(key("a", Some("1"))), Err(Stopped::Told("down".to_owned()))];
        let mut merge = Merge::new(failing.into_iter());
        assert!(merge.meet("b").is_err());
    }
}
