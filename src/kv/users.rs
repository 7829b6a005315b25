//! The records of users in `USER_CONFIGURATION`: one for each user, which an isolate caches,
//! and the snapshot. Every job reads them through this module.

use std::rc::Rc;

use feature_flags::config::batch::ANSWER_BYTES_MAX;
use feature_flags::config::is_reserved;
use feature_flags::config::record::UserRecord;
use feature_flags::config::source::Source;
use feature_flags::config::user_id::key;
use kv_store::limits::{BULK_READ_KEYS_MAX, Key, KeyError};
use kv_store::record_cache::CachedRecord;
use kv_store::retry::Time;

use super::keyspace::{Keyspace, RecordRead};
use super::keyspaces::{Snapshots, Users};
use crate::http::request_context::RequestContext;
use crate::platform::bindings::Vars;
use crate::platform::clock::Clock;

/// What is known of a user.
pub(crate) struct User {
    found: Found,
    /// Where the record comes from, or why there is none.
    pub(crate) source: Source,
}

enum Found {
    Own(Rc<Option<UserRecord>>),
    InSnapshot(UserRecord),
    Nothing,
}

impl User {
    /// Returns the user's record, or `None` if there is no valid one.
    pub(crate) fn record(&self) -> Option<&UserRecord> {
        match &self.found {
            Found::Own(own) => Option::as_ref(own),
            Found::InSnapshot(record) => Some(record),
            Found::Nothing => None,
        }
    }
}

/// Returns the user's configuration: their own record, or else the one in the snapshot. If
/// neither can be read, the log says why, and the user has no record.
///
/// # Errors
/// [`KeyError`] if the id cannot be in a key of Workers KV.
pub(crate) async fn find(context: &RequestContext, id: &str) -> Result<User, KeyError> {
    let vars = context.vars();
    let key = key(&vars.flags.prefix, id)?;
    if is_nobodys(&vars, &key) {
        return Ok(User { found: Found::Nothing, source: Source::Nobody });
    }
    let read = Users.get(context, &key, Clock.now_ms()).await;
    Ok(match own(read) {
        Ok(user) => user,
        Err(without) => in_snapshot(context, &snapshot(context).await, id, without),
    })
}

/// Why the records of several users are not returned.
pub(crate) enum NotFound {
    /// The position of an id that cannot be in a key of Workers KV.
    Key(usize, KeyError),
    /// The records together are longer than [`ANSWER_BYTES_MAX`].
    TooLong,
}

/// Returns the configurations of several users in their order. Records that are not in memory
/// come through bulk reads.
///
/// # Errors
/// [`NotFound`] if an id is invalid or the records are too long.
pub(crate) async fn find_all(context: &RequestContext, ids: &[&str]) -> Result<Vec<User>, NotFound> {
    let vars = context.vars();
    let with_key = |(index, id): (usize, &&str)| match key(&vars.flags.prefix, (*id).to_owned()) {
        Ok(key) => Ok(key),
        Err(error) => Err(NotFound::Key(index, error)),
    };
    let keys = ids.iter().enumerate().map(with_key).collect::<Result<Vec<Key<'_>>, _>>()?;
    let wanted: Vec<Key<'_>> = keys.iter().filter(|key| !is_nobodys(&vars, key)).cloned().collect();
    let mut read = Vec::with_capacity(wanted.len());
    let mut bytes = 0_usize;
    // The reads are made one after another, because all records at once could be too long for
    // an isolate.
    for keys in wanted.chunks(BULK_READ_KEYS_MAX) {
        for record in Users.get_all(context, keys, Clock.now_ms()).await {
            let length = record.as_ref().ok().and_then(Option::as_ref).and_then(|held| Option::as_ref(&held.value));
            bytes = bytes.saturating_add(length.map_or(0, |record| record.json().len()));
            read.push(record);
        }
        if bytes > ANSWER_BYTES_MAX {
            return Err(NotFound::TooLong);
        }
    }
    let mut read = read.into_iter();
    let mut users = Vec::with_capacity(ids.len());
    let mut shared = None;
    for (id, key) in ids.iter().zip(&keys) {
        users.push(if is_nobodys(&vars, key) {
            User { found: Found::Nothing, source: Source::Nobody }
        } else {
            match own(read.next().unwrap_or(Ok(None))) {
                Ok(user) => user,
                Err(without) => {
                    // One read of the snapshot serves all users.
                    if shared.is_none() {
                        shared = Some(snapshot(context).await);
                    }
                    in_snapshot(context, shared.as_ref().unwrap_or(&Ok(None)), id, without)
                }
            }
        });
    }
    Ok(users)
}

fn is_nobodys(vars: &Vars, key: &Key<'_>) -> bool {
    is_reserved(key.as_str(), vars.flags.snapshot.as_ref().map(Key::as_str))
}

/// Returns the user with their own record, or the source to report for a user without a valid
/// one.
fn own(read: RecordRead<Users>) -> Result<User, Source> {
    match read {
        Ok(Some(CachedRecord { value, record_state })) if value.is_some() => {
            Ok(User { found: Found::Own(value), source: Source::of_record(record_state) })
        }
        Ok(Some(CachedRecord { record_state, .. })) => Err(Source::of_no_record(record_state)),
        Ok(None) => Err(Source::Nobody),
        Err(_) => Err(Source::Default),
    }
}

/// Returns the user with the record in the snapshot. `without` is the source if the snapshot
/// has none.
fn in_snapshot(context: &RequestContext, snapshot: &Shared, id: &str, without: Source) -> User {
    let nothing = |source| User { found: Found::Nothing, source };
    let Ok(shared) = snapshot else { return nothing(Source::Default) };
    let Some(CachedRecord { value, record_state }) = shared else { return nothing(without) };
    match value.record(id).map(UserRecord::parse) {
        Some(Ok(record)) => User { found: Found::InSnapshot(record), source: Source::of_snapshot(*record_state) },
        Some(Err(broken)) => {
            context.log().warning("broken_record", &format!("in the snapshot: {broken}"));
            nothing(Source::Default)
        }
        // The user may be in the newer snapshot, which cannot be read.
        None if without == Source::Nobody => nothing(Source::of_no_record(*record_state)),
        None => nothing(without),
    }
}

/// The snapshot, or `None` if `CONFIG_SNAPSHOT` is not set or KV has none.
type Shared = RecordRead<Snapshots>;

async fn snapshot(context: &RequestContext) -> Shared {
    match &context.vars().flags.snapshot {
        Some(key) => Snapshots.get(context, key, Clock.now_ms()).await,
        None => Ok(None),
    }
}
