//! The namespaces that clients have created: the state of the Durable Object that lists them, and
//! the messages to it.
//!
//! All of them share one binding of Workers KV, their home. There each key of a namespace begins
//! with its id and a colon, and ids are random and never used again.

use serde::{Deserialize, Serialize};

use crate::error::{KvApiError, Operation};
use crate::namespace::{ApiNamespace, NAMESPACES_MAX};

/// After this many milliseconds a list of KV shows every write that was made before: the keys of a
/// deleted namespace are looked for again then.
pub const KV_SETTLED_MS: u64 = 120_000;

/// The wait after a failure of KV, in milliseconds.
const RETRY_MS: u64 = 60_000;

/// The longest wait, in milliseconds.
const WAIT_MAX_MS: u64 = if KV_SETTLED_MS > RETRY_MS { KV_SETTLED_MS } else { RETRY_MS };

/// The state of the object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceDirectory {
    namespaces: Vec<ApiNamespace>,
    /// The namespaces that were deleted, whose keys are being removed.
    #[serde(default)]
    deleted: Vec<DeletedNamespace>,
}

/// A namespace whose keys are being removed, in passes over all of them. KV lists lag behind, so
/// the last pass is one that finds nothing, some time after the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct DeletedNamespace {
    id: String,
    /// The binding that was the home of created namespaces when this one was deleted.
    home: String,
    /// When KV is asked next, in milliseconds since the Unix epoch.
    next_ms: u64,
    /// Where the pass goes on; `None` at its beginning.
    cursor: Option<String>,
    /// True if the pass has found keys.
    has_found: bool,
    /// How many passes have ended.
    passes: u32,
}

/// Some keys to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// The id of the deleted namespace.
    pub id: String,
    /// The binding that has its keys.
    pub home: String,
    /// Where the list goes on; `None` at its beginning.
    pub cursor: Option<String>,
}

/// A message to the object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespaceRequest {
    /// All namespaces.
    List,
    /// The namespace with this id or title.
    Find(String),
    /// Creates this namespace.
    Create(ApiNamespace),
    /// Gives the namespace with this id another title.
    Rename(ApiNamespace),
    /// Deletes the namespace with this id.
    Delete {
        /// The id.
        id: String,
        /// The binding that has its keys.
        home: String,
    },
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

impl NamespaceDirectory {
    /// Carries out a message. Returns the reply, and true if the state has changed.
    ///
    /// # Examples
    ///
    /// ```
    /// use kv_api::namespace::ApiNamespace;
    /// use kv_api::namespace_directory::{NamespaceDirectory, NamespaceReply, NamespaceRequest};
    ///
    /// let mut directory = NamespaceDirectory::default();
    /// let created = |uuid| ApiNamespace::created("users".to_owned(), uuid);
    /// let users = created("0f2ac74b-498b-4802-8cb6-8387c421e279");
    /// let reply = directory.handle(NamespaceRequest::Create(users.clone()), 0);
    /// assert_eq!(reply, (NamespaceReply::Namespaces(vec![users]), true));
    ///
    /// // Another client chooses the same title.
    /// let users = created("5b1d6a90-7a3e-4c7f-9d43-6f0a1c2e8b11");
    /// let reply = directory.handle(NamespaceRequest::Create(users), 0);
    /// assert_eq!(reply, (NamespaceReply::TitleTaken, false));
    /// ```
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
            NamespaceRequest::Delete { id, home } => {
                let Some(position) = self.namespaces.iter().position(|namespace| namespace.id == id) else {
                    return (NamespaceReply::NotFound, false);
                };
                let namespace = self.namespaces.remove(position);
                self.deleted.push(DeletedNamespace {
                    id,
                    home,
                    next_ms: now_ms,
                    cursor: None,
                    has_found: false,
                    passes: 0,
                });
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

    /// Begins each wait anew that is longer than the longest one: its end is from before the clock
    /// was set back. Returns true if there is one; then the state has changed.
    pub fn limit_waits(&mut self, now_ms: u64) -> bool {
        let latest_ms = now_ms + WAIT_MAX_MS;
        let mut too_long = self.deleted.iter_mut().filter(|deleted| deleted.next_ms > latest_ms).peekable();
        let is_changed = too_long.peek().is_some();
        too_long.for_each(|deleted| deleted.next_ms = latest_ms);
        is_changed
    }

    /// Returns the keys to remove now: those of the namespace that has waited longest.
    #[must_use]
    pub fn due_removal(&self, now_ms: u64) -> Option<Removal> {
        let due = self.deleted.iter().filter(|deleted| deleted.next_ms <= now_ms);
        let DeletedNamespace { id, home, cursor, .. } = due.min_by_key(|deleted| deleted.next_ms)?;
        Some(Removal { id: id.clone(), home: home.clone(), cursor: cursor.clone() })
    }

    /// Notes that keys of a deleted namespace were removed, if KV had any, and where its list goes
    /// on. A pass that finds nothing ends the removal, unless it is the first one.
    pub fn removed(&mut self, id: &str, had_keys: bool, cursor: Option<String>, now_ms: u64) {
        let Some(position) = self.deleted.iter().position(|deleted| deleted.id == id) else { return };
        let mut deleted = self.deleted.swap_remove(position);
        deleted.has_found |= had_keys;
        deleted.next_ms = now_ms;
        if cursor.is_none() {
            if !deleted.has_found && deleted.passes > 0 {
                return;
            }
            deleted.has_found = false;
            deleted.passes += 1;
            deleted.next_ms = now_ms + KV_SETTLED_MS;
        }
        deleted.cursor = cursor;
        self.deleted.push(deleted);
    }

    /// Notes that the keys of a deleted namespace could not be removed: they are tried again
    /// later.
    pub fn removal_failed(&mut self, id: &str, now_ms: u64) {
        if let Some(deleted) = self.deleted.iter_mut().find(|deleted| deleted.id == id) {
            deleted.next_ms = now_ms + RETRY_MS;
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
        let mut list = NamespaceDirectory::default();
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
            (NamespaceRequest::Delete { id: "1".into(), home: "H".into() }, one("1", "a")),
            (NamespaceRequest::Delete { id: "1".into(), home: "H".into() }, NamespaceReply::NotFound),
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
    fn the_keys_of_a_deleted_namespace_are_removed_in_passes_until_one_finds_nothing() {
        let mut list = NamespaceDirectory::default();
        list.handle(NamespaceRequest::Create(namespace("1", "a")), 0);
        assert_eq!(list.next_removal_ms(), None);
        list.handle(NamespaceRequest::Delete { id: "1".into(), home: "H".into() }, 10);
        let removal = |cursor: Option<&str>| {
            Some(Removal { id: "1".into(), home: "H".into(), cursor: cursor.map(str::to_owned) })
        };
        assert_eq!((list.due_removal(9), list.due_removal(10)), (None, removal(None)));
        // A pass of two pages.
        list.removed("1", true, Some("c".into()), 20);
        assert_eq!((list.next_removal_ms(), list.due_removal(20)), (Some(20), removal(Some("c"))));
        list.removed("1", false, None, 30);
        // A failure, then a pass that finds more, then one that finds nothing.
        assert_eq!(list.next_removal_ms(), Some(30 + KV_SETTLED_MS));
        list.removal_failed("1", 200_000);
        assert_eq!(list.next_removal_ms(), Some(200_000 + RETRY_MS));
        list.removed("1", true, None, 300_000);
        assert_eq!(list.due_removal(300_000 + KV_SETTLED_MS), removal(None));
        list.removed("1", false, None, 500_000);
        assert_eq!(list, NamespaceDirectory::default());
    }

    #[test]
    fn after_the_clock_was_set_back_a_wait_is_as_long_as_any() {
        let mut list = NamespaceDirectory::default();
        list.handle(NamespaceRequest::Create(namespace("1", "a")), 0);
        list.handle(NamespaceRequest::Delete { id: "1".into(), home: "H".into() }, 0);
        list.removed("1", true, None, 10_000_000);
        assert!(!list.limit_waits(10_000_000) && !list.limit_waits(20_000_000));
        assert!(list.limit_waits(5000) && !list.limit_waits(5000));
        assert_eq!(list.next_removal_ms(), Some(5000 + WAIT_MAX_MS));
        assert!(list.due_removal(5000 + WAIT_MAX_MS).is_some());
    }

    #[test]
    fn a_namespace_without_keys_is_looked_at_twice() {
        let mut list = NamespaceDirectory::default();
        list.handle(NamespaceRequest::Create(namespace("1", "a")), 0);
        list.handle(NamespaceRequest::Delete { id: "1".into(), home: "H".into() }, 0);
        list.removed("1", false, None, 0);
        assert_eq!(list.next_removal_ms(), Some(KV_SETTLED_MS));
        list.removed("1", false, None, KV_SETTLED_MS);
        assert_eq!(list, NamespaceDirectory::default());
    }
}
