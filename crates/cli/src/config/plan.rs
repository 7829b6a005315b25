//! Decides what to write for each row, and which keys to delete. [`super::sync`] carries it out.

use std::borrow::Cow;
use std::cmp::Ordering;

use feature_flags::config::is_reserved;
use feature_flags::config::user_record::UserRecord;
use http_semantics::content_hash::hash;
use kv_store::limits::{Key, VALUE_BYTES_MAX};

use super::merge::{Left, Merge};
use super::row::Row;
use super::stored::Stored;
use super::summary::Stopped;

/// The fault of a row whose key holds a snapshot.
const SNAPSHOT: &str = "its key holds a snapshot that another run wrote (--snapshot), which no row replaces; \
 choose another --prefix, or delete that key if the snapshot is no longer used";

/// The keys that rows may have.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    pub(super) prefix: String,
    /// The key of the snapshot, which no row may have.
    pub(super) snapshot: Option<String>,
}

/// The decision about one row.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// KV can hold the row.
    Keep(Kept),
    /// KV cannot hold the row.
    Fault(Fault),
}

/// A row that KV can hold.
#[derive(PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) id: String,
    pub(super) value: String,
    pub(super) hash: String,
    pub(super) state: State,
}

/// Shows no contents: they may be personal data.
impl std::fmt::Debug for Kept {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Kept").field("state", &self.state).finish_non_exhaustive()
    }
}

/// How a row differs from what KV has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// KV has no such key.
    New,
    /// The key has another value, or the sync does not own it yet.
    Changed {
        was_own: bool,
    },
    Unchanged,
}

/// Why KV cannot hold a row. Names no contents.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The number of the row, counted from 1 in the order of the keys.
    pub(super) row: u64,
    pub(super) why: Cow<'static, str>,
}

/// A row that is not decided yet, because the next one may have the same key.
struct Waiting {
    number: u64,
    id: String,
    value: String,
    has_twin: bool,
}

/// Takes rows one by one and returns decisions. A row is decided when the next one comes.
pub(super) struct Plan<'k, I: Iterator> {
    keys: &'k Keys,
    merge: Merge<I>,
    waiting: Option<Waiting>,
    rows: u64,
}

impl Keys {
    /// Returns why a row cannot have this id, or None if it can.
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

impl<'k, I: Iterator<Item = Result<Stored, Stopped>>> Plan<'k, I> {
    /// Starts a plan; `stored` are the keys of KV under the prefix, in order.
    pub(super) fn new(keys: &'k Keys, stored: I) -> Self {
        Self { keys, merge: Merge::new(stored), waiting: None, rows: 0 }
    }

    /// Takes the next row. Errors of `steps` are returned unchanged.
    pub(super) fn row(&mut self, row: Row, steps: &mut impl FnMut(Step) -> Result<(), Stopped>) -> Result<(), Stopped> {
        self.rows += 1;
        let number = self.rows;
        let Some(id) = row.key else {
            return steps(Step::Fault(Fault { row: number, why: "its key is NULL".into() }));
        };
        if let Some(before) = &mut self.waiting {
            match before.id.cmp(&id) {
                Ordering::Less => {}
                Ordering::Equal => {
                    // It is unknown which of them counts, so none is written.
                    let why = "another row has the same key";
                    if !std::mem::replace(&mut before.has_twin, true) {
                        steps(Step::Fault(Fault { row: before.number, why: why.into() }))?;
                    }
                    return steps(Step::Fault(Fault { row: number, why: why.into() }));
                }
                Ordering::Greater => {
                    return Err(Stopped::Unordered(number));
                }
            }
        }
        let next = Waiting { number, id, value: row.value, has_twin: false };
        let before = self.waiting.replace(next);
        before.map_or(Ok(()), |before| self.decide(before, steps))
    }

    /// Ends the plan: there are no more rows. Returns the keys without a row.
    pub(super) fn finish(mut self, steps: &mut impl FnMut(Step) -> Result<(), Stopped>) -> Result<Left, Stopped> {
        if let Some(last) = self.waiting.take() {
            self.decide(last, steps)?;
        }
        self.merge.finish()
    }

    fn decide(&mut self, row: Waiting, steps: &mut impl FnMut(Step) -> Result<(), Stopped>) -> Result<(), Stopped> {
        let Waiting { number, id, value, has_twin } = row;
        // Also for rows with a fault: their key still has a row.
        let stored = self.merge.meet(&id)?;
        if has_twin {
            return Ok(());
        }
        let too_long = || {
            let length = value.len();
            (length as u64 > VALUE_BYTES_MAX).then(|| {
                Cow::Owned(format!("its value has {length} bytes; Workers KV takes {VALUE_BYTES_MAX} at most"))
            })
        };
        let of_snapshot = || stored.as_ref().is_some_and(|stored| stored.is_snapshot).then_some(SNAPSHOT.into());
        if let Some(why) = self.keys.fault(&id).or_else(of_snapshot).or_else(too_long) {
            return steps(Step::Fault(Fault { row: number, why }));
        }
        let hash = hash(value.as_bytes());
        let state = match stored.map(|stored| stored.hash) {
            None => State::New,
            Some(Some(stored)) if stored == hash => State::Unchanged,
            Some(stored) => State::Changed { was_own: stored.is_some() },
        };
        // The Worker could not read a number that no double holds, JSON that is nested too
        // deeply, or a switch that is no boolean. It is better to report that here.
        if state != State::Unchanged
            && let Err(broken) = UserRecord::parse(&value)
        {
            let why = format!("the Worker cannot read its value: {broken}");
            return steps(Step::Fault(Fault { row: number, why: why.into() }));
        }
        steps(Step::Keep(Kept { id, value, hash, state }))
    }
}

/// Returns true if so many deletions need permission: more than 20 % of the keys that the sync
/// owns. `lately` is how many were deleted a short time ago; they count on both sides.
pub(super) fn is_mass(deletions: u64, own: u64, lately: u64) -> bool {
    deletions > 0 && (deletions + lately) * 5 > own + lately
}

#[cfg(test)]
mod tests;
