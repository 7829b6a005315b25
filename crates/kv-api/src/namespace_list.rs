//! The namespaces that clients have made: the state of the Durable Object that lists them, and the
//! messages to it.
//!
//! All of them share one binding of Workers KV, their home. There each key of a namespace begins
//! with its id and a colon, and ids are random and never used again.

use serde::{Deserialize, Serialize};

use crate::error::{KvApiError, Operation};
use crate::namespace::{ApiNamespace, NAMESPACES_MAX};

/// After this many milliseconds a list of KV shows every write that was made before: the keys of a
/// deleted namespace are looked for again then.
pub const KV_SETTLED_MS: u64 = 120_000;

/// Returns what precedes each key of a made namespace in its home.
#[must_use]
pub fn key_prefix(id: &str) -> String {
    format!("{id}:")
}

/// A made namespace in the memory of an isolate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownNamespace {
    /// The namespace.
    pub namespace: ApiNamespace,
    /// When the object returned it, in milliseconds since the Unix epoch.
    pub read_ms: u64,
}

impl KnownNamespace {
    /// How long it is used, in milliseconds. After a rename or a delete, other isolates serve it
    /// as it was for so long.
    const FRESH_MS: u64 = 30_000;

    /// Returns true if it may be used.
    #[must_use]
    pub fn is_fresh(&self, now_ms: u64) -> bool {
        now_ms.abs_diff(self.read_ms) <= Self::FRESH_MS
    }
}

/// The state of the object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceList {
    namespaces: Vec<ApiNamespace>,
    /// The namespaces that were deleted, whose keys are being removed.
    #[serde(default)]
    deleted: Vec<DeletedNamespace>,
}

/// A namespace whose keys are being removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct DeletedNamespace {
    id: String,
    /// When KV is asked next, in milliseconds since the Unix epoch.
    next_ms: u64,
    /// True if KV listed no more keys the last time.
    was_empty: bool,
}

/// A message to the object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespaceRequest {
    /// All namespaces.
    List,
    /// The namespace with this id or title.
    Find(String),
    /// Makes this namespace.
    Create(ApiNamespace),
    /// Gives the namespace with this id another title.
    Rename(ApiNamespace),
    /// Deletes the namespace with this id.
    Delete(String),
}

/// The reply of the object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespaceReply {
    /// The namespaces that were asked for, or the one that was changed.
    Namespaces(Vec<ApiNamespace>),
    /// There is no such namespace.
    NotFound,
    /// Another one has this title.
    TitleTaken,
    /// There are 1000.
    TooMany,
}

impl NamespaceReply {
    /// Returns the namespaces of the reply.
    ///
    /// # Errors
    /// [`KvApiError`] for any other reply.
    pub fn namespaces(self) -> Result<Vec<ApiNamespace>, KvApiError> {
        match self {
            Self::Namespaces(namespaces) => Ok(namespaces),
            Self::NotFound => Err(KvApiError::NamespaceNotFound(Operation::Namespace)),
            Self::TitleTaken => Err(KvApiError::TitleTaken),
            Self::TooMany => Err(KvApiError::TooManyNamespaces),
        }
    }
}

impl NamespaceList {
    /// Carries out a message. Returns the reply, and true if the state has changed.
    pub fn handle(&mut self, request: NamespaceRequest, now_ms: u64) -> (NamespaceReply, bool) {
        match request {
            NamespaceRequest::List => (NamespaceReply::Namespaces(self.namespaces.clone()), false),
            NamespaceRequest::Find(name) => {
                let found = self.namespaces.iter().find(|namespace| namespace.is_named(&name));
                (found.map_or(NamespaceReply::NotFound, |found| NamespaceReply::Namespaces(vec![found.clone()])), false)
            }
            NamespaceRequest::Create(namespace) => {
                if self.is_taken(&namespace) {
                    return (NamespaceReply::TitleTaken, false);
                }
                if self.namespaces.len() >= NAMESPACES_MAX {
                    return (NamespaceReply::TooMany, false);
                }
                self.namespaces.push(namespace.clone());
                (NamespaceReply::Namespaces(vec![namespace]), true)
            }
            NamespaceRequest::Rename(namespace) => {
                if self.is_taken(&namespace) {
                    return (NamespaceReply::TitleTaken, false);
                }
                let Some(renamed) = self.namespaces.iter_mut().find(|other| other.id == namespace.id) else {
                    return (NamespaceReply::NotFound, false);
                };
                renamed.clone_from(&namespace);
                (NamespaceReply::Namespaces(vec![namespace]), true)
            }
            NamespaceRequest::Delete(id) => {
                let Some(position) = self.namespaces.iter().position(|namespace| namespace.id == id) else {
                    return (NamespaceReply::NotFound, false);
                };
                let namespace = self.namespaces.remove(position);
                self.deleted.push(DeletedNamespace { id, next_ms: now_ms, was_empty: false });
                (NamespaceReply::Namespaces(vec![namespace]), true)
            }
        }
    }

    /// Returns true if another namespace has this title, or this title for its id.
    fn is_taken(&self, namespace: &ApiNamespace) -> bool {
        let others = self.namespaces.iter().filter(|other| other.id != namespace.id);
        others.into_iter().any(|other| other.is_named(&namespace.title))
    }

    /// Returns when keys of deleted namespaces are to be removed next, in milliseconds since the
    /// Unix epoch; `None` if there are none.
    #[must_use]
    pub fn next_removal_ms(&self) -> Option<u64> {
        self.deleted.iter().map(|deleted| deleted.next_ms).min()
    }

    /// Returns the id of a deleted namespace whose keys are to be removed now.
    #[must_use]
    pub fn due_removal(&self, now_ms: u64) -> Option<&str> {
        self.deleted.iter().find(|deleted| deleted.next_ms <= now_ms).map(|deleted| deleted.id.as_str())
    }

    /// Notes that KV was asked for the keys of a deleted namespace, and whether it had any. After
    /// two empty lists with time between them, none can be left.
    pub fn removed(&mut self, id: &str, had_keys: bool, now_ms: u64) {
        self.deleted.retain(|deleted| deleted.id != id || had_keys || !deleted.was_empty);
        if let Some(deleted) = self.deleted.iter_mut().find(|deleted| deleted.id == id) {
            deleted.was_empty = !had_keys;
            deleted.next_ms = if had_keys { now_ms } else { now_ms.saturating_add(KV_SETTLED_MS) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(id: &str, title: &str) -> ApiNamespace {
        ApiNamespace { id: id.into(), title: title.into() }
    }

    #[test]
    fn a_title_belongs_to_one_namespace() {
        let mut list = NamespaceList::default();
        let one = |id, title| NamespaceReply::Namespaces(vec![namespace(id, title)]);
        for (request, reply) in [
            (NamespaceRequest::Create(namespace("1", "a")), one("1", "a")),
            (NamespaceRequest::Create(namespace("2", "a")), NamespaceReply::TitleTaken),
            (NamespaceRequest::Create(namespace("2", "1")), NamespaceReply::TitleTaken),
            (NamespaceRequest::Create(namespace("2", "b")), one("2", "b")),
            (NamespaceRequest::Rename(namespace("2", "a")), NamespaceReply::TitleTaken),
            (NamespaceRequest::Rename(namespace("2", "b")), one("2", "b")),
            (NamespaceRequest::Rename(namespace("2", "c")), one("2", "c")),
            (NamespaceRequest::Rename(namespace("3", "d")), NamespaceReply::NotFound),
            (NamespaceRequest::Find("c".into()), one("2", "c")),
            (NamespaceRequest::Find("2".into()), one("2", "c")),
            (NamespaceRequest::Find("b".into()), NamespaceReply::NotFound),
            (NamespaceRequest::Delete("1".into()), one("1", "a")),
            (NamespaceRequest::Delete("1".into()), NamespaceReply::NotFound),
            (NamespaceRequest::List, one("2", "c")),
        ] {
            assert_eq!(list.handle(request.clone(), 0).0, reply, "{request:?}");
        }
        for number in 0..NAMESPACES_MAX - 1 {
            list.handle(NamespaceRequest::Create(namespace(&format!("id{number}"), &format!("t{number}"))), 0);
        }
        let one_more = NamespaceRequest::Create(namespace("x", "x"));
        assert_eq!(list.handle(one_more, 0), (NamespaceReply::TooMany, false));
    }

    #[test]
    fn the_keys_of_a_deleted_namespace_are_removed_until_two_lists_are_empty() {
        let mut list = NamespaceList::default();
        list.handle(NamespaceRequest::Create(namespace("1", "a")), 0);
        assert_eq!(list.next_removal_ms(), None);
        list.handle(NamespaceRequest::Delete("1".into()), 10);
        assert_eq!((list.next_removal_ms(), list.due_removal(9), list.due_removal(10)), (Some(10), None, Some("1")));
        list.removed("1", true, 20);
        list.removed("1", false, 30);
        assert_eq!(list.next_removal_ms(), Some(30 + KV_SETTLED_MS));
        list.removed("1", true, 200_000);
        list.removed("1", false, 200_001);
        list.removed("1", false, 400_000);
        assert_eq!(list, NamespaceList::default());
    }
}
