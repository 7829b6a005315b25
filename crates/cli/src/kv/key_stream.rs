//! The keys of a namespace one by one, each with its position in the list, from which `kv export`
//! and `kv copy` continue with `--resume`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::api::{ApiError, Namespace, NamespaceKey, NamespaceKeyPage};

/// A key, its number, and the page it was found in.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct NumberedKey {
    pub(super) key: NamespaceKey,
    /// How many keys this run has listed, this one included.
    pub(super) number: u64,
    cursor: Arc<str>,
}

/// A position in a list of keys: after this key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeyPosition {
    /// The cursor of the page that has the key; empty for the first page.
    cursor: String,
    last_key: String,
}

impl NumberedKey {
    /// Returns the position after this key.
    pub(super) fn end(&self) -> KeyPosition {
        KeyPosition { cursor: self.cursor.as_ref().to_owned(), last_key: self.key.name.clone() }
    }
}

/// Returns the keys with a prefix in order, from a position on. The next pages are requested while
/// the caller works on one.
pub(super) fn key_stream(
    namespace: &Namespace,
    prefix: &str,
    from: Option<&KeyPosition>,
) -> impl Iterator<Item = Result<NumberedKey, ApiError>> + Send + use<> {
    let pages = namespace.key_pages_from(prefix, from.map_or("", |from| &from.cursor));
    keys_of(pages, from.map(|from| from.last_key.clone()))
}

/// Returns the keys of pages that come after `last_key`. A list has keys in the order of their
/// bytes ("List keys" in the KV documentation), and the last key of a page may be the first of the
/// next.
fn keys_of<E>(
    pages: impl Iterator<Item = Result<NamespaceKeyPage, E>>,
    mut last_key: Option<String>,
) -> impl Iterator<Item = Result<NumberedKey, E>> {
    let mut number = 0;
    pages
        .flat_map(|page| {
            let (page, error) = match page {
                Ok(page) => (Some(page), None),
                Err(error) => (None, Some(Err(error))),
            };
            page.into_iter().flat_map(listed_keys).map(Ok).chain(error)
        })
        .filter_map(move |listed| match listed {
            Ok((_, key)) if last_key.as_ref().is_some_and(|last| key.name <= *last) => None,
            Ok((cursor, key)) => {
                last_key = Some(key.name.clone());
                number += 1;
                Some(Ok(NumberedKey { key, number, cursor }))
            }
            Err(error) => Some(Err(error)),
        })
}

fn listed_keys(page: NamespaceKeyPage) -> impl Iterator<Item = (Arc<str>, NamespaceKey)> {
    let cursor: Arc<str> = page.cursor.into();
    page.keys.into_iter().map(move |key| (Arc::clone(&cursor), key))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn page(cursor: &str, names: &[String]) -> NamespaceKeyPage {
        let key = |name: &String| NamespaceKey { name: name.clone(), metadata: None, expiration: None };
        NamespaceKeyPage { cursor: cursor.to_owned(), keys: names.iter().map(key).collect() }
    }

    proptest! {
        #[test]
        fn a_list_continues_after_each_key_even_if_it_is_deleted(
            names in proptest::collection::btree_set("[a-zé/]{1,3}", 1..30), size in 1_usize..7, is_deleted: bool
        ) {
            let names: Vec<_> = names.into_iter().collect();
            let pages = |names: &[String]| -> Vec<_> {
                names.chunks(size).enumerate().map(|(at, names)| page(&at.to_string(), names)).collect()
            };
            let all: Vec<_> = keys_of(pages(&names).into_iter().map(Ok::<_, ()>), None).map(Result::unwrap).collect();
            prop_assert_eq!(all.iter().map(|listed| listed.key.name.clone()).collect::<Vec<_>>(), names.clone());
            for (at, listed) in all.iter().enumerate() {
                let KeyPosition { cursor, last_key } = listed.end();
                let mut pages = pages(&names).split_off(cursor.parse().unwrap());
                if is_deleted {
                    pages[0].keys.retain(|key| key.name != last_key);
                }
                let rest: Vec<_> = keys_of(pages.into_iter().map(Ok::<_, ()>), Some(last_key)).map(Result::unwrap).collect();
                let rest: Vec<_> = rest.into_iter().map(|listed| listed.key.name).collect();
                prop_assert_eq!(&rest[..], &names[at + 1..]);
            }
        }
    }

    #[test]
    fn a_key_that_two_pages_have_comes_once() {
        let pages = [page("", &["a".to_owned(), "b".to_owned()]), page("1", &["b".to_owned(), "c".to_owned()])];
        let names: Vec<_> =
            keys_of(pages.into_iter().map(Ok::<_, ()>), None).map(|listed| listed.unwrap().key.name).collect();
        assert_eq!(names, ["a", "b", "c"]);
    }
}
