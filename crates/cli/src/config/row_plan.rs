//! Decides what to write for each row, and which keys to delete. [`super::sync`] carries it out.

use std::borrow::Cow;
use std::cmp::Ordering;

use feature_flags::config::is_reserved;
use feature_flags::config::user_record::UserRecord;
use http_semantics::content_hash::hash;
use kv_store::limits::{Key, VALUE_BYTES_MAX};

use super::merge::{KeyMerge, UnmatchedKeys};
use super::pass_summary::PassError;
use super::source_row::SourceRow;
use super::stored_keys::StoredKey;

/// The fault of a row whose key holds a snapshot.
const SNAPSHOT_FAULT: &str = "its key holds a snapshot that another run wrote (--snapshot), which no row replaces; \
 choose another --prefix, or delete that key if the snapshot is no longer used";

/// The keys that rows may have.
#[derive(Debug, Clone)]
pub(super) struct KeyRules {
    pub(super) prefix: String,
    /// The key of the snapshot, which no row may have.
    pub(super) snapshot: Option<String>,
}

/// The decision about one row.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RowDecision {
    /// KV can hold the row, and has it already if it is unchanged.
    Accept(AcceptedRow),
    /// KV cannot hold the row, or the Worker could not read it.
    Reject(RowFault),
}

/// A row that KV can hold.
#[derive(PartialEq, Eq)]
pub(super) struct AcceptedRow {
    pub(super) id: String,
    pub(super) value: String,
    pub(super) hash: String,
    pub(super) state: RowState,
}

/// Shows no contents: they may be personal data.
impl std::fmt::Debug for AcceptedRow {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("AcceptedRow").field("state", &self.state).finish_non_exhaustive()
    }
}

/// How a row differs from what KV has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowState {
    /// KV has no such key.
    New,
    /// The key has another value, or the sync does not own it yet.
    Changed {
        was_own: bool,
    },
    Unchanged,
}

/// Why KV cannot hold a row, or the Worker not read it. It names no contents.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RowFault {
    /// The number of the row, counted from 1 in the order of the keys.
    pub(super) row: u64,
    pub(super) why: Cow<'static, str>,
}

/// A row that is not decided yet.
struct PendingRow {
    number: u64,
    id: String,
    value: String,
    has_duplicate: bool,
}

/// Takes rows one by one and passes on the decision about each. A row is usually decided when the
/// next one comes, because both may have the same key.
pub(super) struct RowPlan<'k, I: Iterator> {
    keys: &'k KeyRules,
    merge: KeyMerge<I>,
    pending: Option<PendingRow>,
    rows: u64,
}

impl KeyRules {
    /// Returns why a row cannot have this id, or `None` if it can.
    fn fault(&self, id: &str) -> Option<Cow<'static, str>> {
        if id.is_empty() {
            return Some("its key is empty".into());
        }
        match Key::new(self.key(id)) {
            Err(error) => Some(error.to_string().into()),
            Ok(key) if self.is_reserved(key.as_str()) => Some("its key is that of the flags or of the snapshot".into()),
            Ok(_) => None,
        }
    }

    /// Returns the key of a row.
    pub(super) fn key(&self, id: &str) -> String {
        format!("{}{id}", self.prefix)
    }

    /// Returns true for a key that never holds a row.
    pub(super) fn is_reserved(&self, key: &str) -> bool {
        is_reserved(key, self.snapshot.as_deref())
    }
}

impl<'k, I: Iterator<Item = Result<StoredKey, PassError>>> RowPlan<'k, I> {
    /// Starts a plan; `stored` are the keys of KV under the prefix, in order.
    pub(super) fn new(keys: &'k KeyRules, stored: I) -> Self {
        Self { keys, merge: KeyMerge::new(stored), pending: None, rows: 0 }
    }

    /// Takes the next row, and passes the decisions that are made now to `decisions`, whose errors
    /// are returned unchanged.
    pub(super) fn row(
        &mut self,
        row: SourceRow,
        decisions: &mut impl FnMut(RowDecision) -> Result<(), PassError>,
    ) -> Result<(), PassError> {
        self.rows += 1;
        let number = self.rows;
        let Some(id) = row.key else {
            return decisions(RowDecision::Reject(RowFault { row: number, why: "its key is NULL".into() }));
        };
        if let Some(before) = &mut self.pending {
            match before.id.cmp(&id) {
                Ordering::Less => {}
                Ordering::Equal => {
                    // It is unknown which of them counts, so none is written.
                    let why = "another row has the same key";
                    if !std::mem::replace(&mut before.has_duplicate, true) {
                        decisions(RowDecision::Reject(RowFault { row: before.number, why: why.into() }))?;
                    }
                    return decisions(RowDecision::Reject(RowFault { row: number, why: why.into() }));
                }
                Ordering::Greater => {
                    return Err(PassError::Unordered(number));
                }
            }
        }
        let next = PendingRow { number, id, value: row.value, has_duplicate: false };
        let before = self.pending.replace(next);
        before.map_or(Ok(()), |before| self.decide(before, decisions))
    }

    /// Decides the last row. Returns the keys without a row.
    pub(super) fn finish(
        mut self,
        decisions: &mut impl FnMut(RowDecision) -> Result<(), PassError>,
    ) -> Result<UnmatchedKeys, PassError> {
        if let Some(last) = self.pending.take() {
            self.decide(last, decisions)?;
        }
        self.merge.finish()
    }

    fn decide(
        &mut self,
        row: PendingRow,
        decisions: &mut impl FnMut(RowDecision) -> Result<(), PassError>,
    ) -> Result<(), PassError> {
        let PendingRow { number, id, value, has_duplicate } = row;
        // Also for rows with a fault: their key has a row, so it must not be deleted.
        let stored = self.merge.advance_to(&id)?;
        if has_duplicate {
            return Ok(());
        }
        let too_long = || {
            let length = value.len();
            (length as u64 > VALUE_BYTES_MAX).then(|| {
                Cow::Owned(format!("its value has {length} bytes; Workers KV accepts {VALUE_BYTES_MAX} at most"))
            })
        };
        let of_snapshot = || stored.as_ref().is_some_and(|stored| stored.is_snapshot).then_some(SNAPSHOT_FAULT.into());
        if let Some(why) = self.keys.fault(&id).or_else(of_snapshot).or_else(too_long) {
            return decisions(RowDecision::Reject(RowFault { row: number, why }));
        }
        let hash = hash(value.as_bytes());
        let state = match stored.map(|stored| stored.hash) {
            None => RowState::New,
            Some(Some(stored)) if stored == hash => RowState::Unchanged,
            Some(stored) => RowState::Changed { was_own: stored.is_some() },
        };
        // PostgreSQL accepts values that the Worker does not: a number that no double holds, JSON
        // that is nested too deeply, a switch that is not a boolean. They are reported here.
        if state != RowState::Unchanged
            && let Err(broken) = UserRecord::parse(&value)
        {
            let why = format!("the Worker cannot read its value: {broken}");
            return decisions(RowDecision::Reject(RowFault { row: number, why: why.into() }));
        }
        decisions(RowDecision::Accept(AcceptedRow { id, value, hash, state }))
    }
}

/// Returns true if this many deletions need permission: more than 20 % of the keys that the sync
/// owns. `recent_deletions` is how many were deleted within the last hour; they count as
/// deletions, and as keys that the sync owned.
pub(super) fn is_mass_delete(deletions: u64, owned: u64, recent_deletions: u64) -> bool {
    deletions > 0 && (deletions + recent_deletions) * 5 > owned + recent_deletions
}

#[cfg(test)]
mod tests;
