//! Two streams in the same order, walked side by side: the ids of the rows, and the keys of KV.
//!
//! Neither is held in memory; what is kept are the sync's own keys that no row has, for they are to be deleted.

use std::iter::Peekable;

use serde::{Deserialize, Serialize};
use serde_json::Value;

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

/// A key in KV.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    /// The key without the prefix.
    pub(super) id: String,
    /// The hash of the value; none for a key that is not the sync's own.
    pub(super) hash: Option<String>,
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
            Some(std::cmp::Ordering::Greater) => return Some(Err(strange("keys that are not in order"))),
            // The end of one page and the beginning of the next.
            Some(std::cmp::Ordering::Equal) => return None,
            _ => last = Some(id.clone()),
        }
        let own =
            || serde_json::from_value::<Metadata>(metadata?).ok().filter(|metadata| metadata.sync.prefix == prefix);
        let hash = if is_reserved(&name) { None } else { own().map(|metadata| metadata.sync.hash) };
        Some(Ok(Stored { id, hash }))
    })
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
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    /// The ids of the sync's own keys that no row has.
    pub(super) gone: Vec<String>,
    /// How many keys are the sync's own, these included.
    pub(super) own: u64,
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
            let Stored { id, hash } = next?;
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

    #[test]
    fn ids_and_keys_meet() {
        let stored = |id: &str, hash: Option<&str>| Stored { id: id.to_owned(), hash: hash.map(str::to_owned) };
        let all = [
            stored("a", Some("1")),
            stored("b", None),
            stored("c", Some("3")),
            stored("d", None),
            stored("e", Some("5")),
        ];
        let mut merge = Merge::new(all.clone().into_iter().map(Ok));
        assert_eq!(merge.meet("").unwrap(), None);
        assert_eq!(merge.meet("b").unwrap().as_ref(), Some(&all[1]));
        assert_eq!(merge.meet("bb").unwrap(), None);
        assert_eq!(merge.meet("c").unwrap().as_ref(), Some(&all[2]));
        let left = merge.finish().unwrap();
        assert_eq!(left, Left { gone: vec!["a".to_owned(), "e".to_owned()], own: 3 });

        let failing = [Ok(stored("a", Some("1"))), Err(Stopped::Told("down".to_owned()))];
        let mut merge = Merge::new(failing.into_iter());
        assert!(merge.meet("b").is_err());
    }
}
