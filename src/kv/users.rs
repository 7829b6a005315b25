//! The records of users in `USER_CONFIGURATION`: one for each user, and the snapshot, which has
//! those of many. An isolate caches both. Every job reads them through this module.

use std::rc::Rc;

use feature_flags::config::batch::RESPONSE_BYTES_MAX;
use feature_flags::config::config_source::ConfigSource;
use feature_flags::config::is_reserved;
use feature_flags::config::user_id::key;
use feature_flags::config::user_record::UserRecord;
use feature_flags::flags::UserAttributes;
use kv_store::limits::{BULK_READ_KEYS_MAX, Key, KeyError};
use kv_store::record_cache::CachedRecord;
use kv_store::retry::Time;
use serde_json::{Map, Value};

use super::keyspace::{Keyspace, RecordRead};
use super::keyspaces::{Snapshots, Users};
use crate::http::request_context::RequestContext;
use crate::platform::clock::Clock;
use crate::platform::vars::Vars;

/// The configuration of a user.
pub(crate) struct UserConfig {
    record: ResolvedRecord,
    /// Where the record comes from, or why there is none.
    pub(crate) source: ConfigSource,
}

enum ResolvedRecord {
    Own(Rc<Option<UserRecord>>),
    Snapshot(UserRecord),
    None,
}

impl UserConfig {
    /// Returns the user's record, or `None` if there is no valid one.
    pub(crate) fn record(&self) -> Option<&UserRecord> {
        match &self.record {
            ResolvedRecord::Own(record) => Option::as_ref(record),
            ResolvedRecord::Snapshot(record) => Some(record),
            ResolvedRecord::None => None,
        }
    }
}

/// Returns the user's configuration: their own record, or else the one in the snapshot. Without a
/// valid one, `source` says whether there is none, or one may be there that cannot be read; the
/// log says why. An id whose key is that of the flags or the snapshot has no record.
///
/// # Errors
/// [`KeyError`] if the id cannot be in a key of Workers KV.
pub(crate) async fn find(context: &RequestContext, id: &str) -> Result<UserConfig, KeyError> {
    let vars = context.vars();
    let key = key(&vars.config_prefix, id)?;
    if is_reserved_key(&vars, &key) {
        return Ok(UserConfig { record: ResolvedRecord::None, source: ConfigSource::NoRecord });
    }
    let read = Users.get(context, &key, Clock.now_ms()).await;
    Ok(match own_record(read) {
        Ok(user) => user,
        Err(without) => in_snapshot(context, &snapshot(context).await, id, without),
    })
}

/// Why the records of several users are not returned.
pub(crate) enum BatchError {
    /// The position of an id that cannot be in a key of Workers KV.
    Key(usize, KeyError),
    /// The records together are longer than [`RESPONSE_BYTES_MAX`].
    TooLong,
}

/// Returns the configurations of several users, whose ids must differ, in their order. Records
/// that are not fresh in memory come through bulk reads.
///
/// # Errors
/// [`BatchError`] if an id is invalid or the records are too long.
#[expect(clippy::expect_used, reason = "with a record missing, users would get those of others")]
pub(crate) async fn find_all(context: &RequestContext, ids: &[&str]) -> Result<Vec<UserConfig>, BatchError> {
    let vars = context.vars();
    let to_key = |(index, id): (usize, &&str)| match key(&vars.config_prefix, (*id).to_owned()) {
        Ok(key) => Ok(key),
        Err(error) => Err(BatchError::Key(index, error)),
    };
    let keys = ids.iter().enumerate().map(to_key).collect::<Result<Vec<Key<'_>>, _>>()?;
    let wanted: Vec<Key<'_>> = keys.iter().filter(|key| !is_reserved_key(&vars, key)).cloned().collect();
    let mut read = Vec::with_capacity(wanted.len());
    let mut bytes = 0_usize;
    // The reads are made one after another, so that records that are too long together are noticed
    // before all of them are in memory. Those of the snapshot are in memory already.
    for keys in wanted.chunks(BULK_READ_KEYS_MAX) {
        for record in Users.get_all(context, keys, Clock.now_ms()).await {
            let valid = record.as_ref().ok().and_then(Option::as_ref).and_then(|cached| Option::as_ref(&cached.value));
            bytes += valid.map_or(0, |record| record.json().len());
            read.push(record);
        }
        if bytes > RESPONSE_BYTES_MAX {
            return Err(BatchError::TooLong);
        }
    }
    let mut read = read.into_iter();
    let mut users = Vec::with_capacity(ids.len());
    let mut shared_snapshot = None;
    for (id, key) in ids.iter().zip(&keys) {
        if is_reserved_key(&vars, key) {
            users.push(UserConfig { record: ResolvedRecord::None, source: ConfigSource::NoRecord });
            continue;
        }
        users.push(match own_record(read.next().expect("each wanted key was read")) {
            Ok(user) => user,
            Err(without) => {
                // One read of the snapshot serves all users.
                let snapshot = match &shared_snapshot {
                    Some(snapshot) => snapshot,
                    None => shared_snapshot.insert(snapshot(context).await),
                };
                let user = in_snapshot(context, snapshot, id, without);
                bytes += user.record().map_or(0, |record| record.json().len());
                if bytes > RESPONSE_BYTES_MAX {
                    return Err(BatchError::TooLong);
                }
                user
            }
        });
    }
    Ok(users)
}

fn is_reserved_key(vars: &Vars, key: &Key<'_>) -> bool {
    is_reserved(key.as_str(), vars.config_snapshot.as_ref().map(Key::as_str))
}

/// Returns the configuration from the user's own record. If there is no valid one, the error is
/// the source to report, unless the snapshot has the user.
fn own_record(read: RecordRead<Users>) -> Result<UserConfig, ConfigSource> {
    match read {
        Ok(Some(CachedRecord { value, record_state })) if value.is_some() => {
            Ok(UserConfig { record: ResolvedRecord::Own(value), source: ConfigSource::of_record(record_state) })
        }
        Ok(Some(CachedRecord { record_state, .. })) => Err(ConfigSource::of_no_record(record_state)),
        Ok(None) => Err(ConfigSource::NoRecord),
        Err(_) => Err(ConfigSource::Default),
    }
}

/// Returns the configuration from the snapshot. `without` is the source to report if the snapshot
/// does not have the user.
fn in_snapshot(context: &RequestContext, snapshot: &SnapshotRead, id: &str, without: ConfigSource) -> UserConfig {
    let nothing = |source| UserConfig { record: ResolvedRecord::None, source };
    let Ok(snapshot) = snapshot else { return nothing(ConfigSource::Default) };
    let Some(CachedRecord { value, record_state }) = snapshot else { return nothing(without) };
    match value.record(id).map(UserRecord::parse) {
        Some(Ok(record)) => {
            UserConfig { record: ResolvedRecord::Snapshot(record), source: ConfigSource::of_snapshot(*record_state) }
        }
        Some(Err(broken)) => {
            context.log().warning("broken_record", &format!("in the snapshot: {broken}"));
            nothing(ConfigSource::Default)
        }
        // The user may be in the newer snapshot, which cannot be read.
        None if without == ConfigSource::NoRecord => nothing(ConfigSource::of_no_record(*record_state)),
        None => nothing(without),
    }
}

/// Returns the members of a user's record; none without a user or a record.
pub(crate) fn members(user: Option<&UserConfig>) -> Map<String, Value> {
    user.and_then(UserConfig::record).map(UserRecord::members).unwrap_or_default()
}

/// Returns the attributes that the flags see of a user. `members` are those of their record.
pub(crate) fn attributes<'m>(user: Option<&UserConfig>, members: &'m Map<String, Value>) -> UserAttributes<'m> {
    match user {
        Some(user) if user.record().is_some() => UserAttributes::Record(members),
        Some(UserConfig { source: ConfigSource::Default, .. }) => UserAttributes::Unreadable,
        _ => UserAttributes::NoRecord,
    }
}

/// The snapshot, which has no users if KV has none; `None` if `CONFIG_SNAPSHOT` is not set.
type SnapshotRead = RecordRead<Snapshots>;

async fn snapshot(context: &RequestContext) -> SnapshotRead {
    match &context.vars().config_snapshot {
        Some(key) => Snapshots.get(context, key, Clock.now_ms()).await,
        None => Ok(None),
    }
}
