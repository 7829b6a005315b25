//! What is to be done for each row, and what to delete. It decides only; [`super::sync`] does it.

use std::borrow::Cow;
use std::cmp::Ordering;

use feature_flags::config::is_reserved;
use feature_flags::config::record::UserRecord;
use http_semantics::content_hash::hash;
use kv_store::limits::{Key, VALUE_BYTES_MAX};

use super::merge::{Left, Merge};
use super::row::Row;
use super::stored::Stored;
use super::summary::Stopped;

/// Why a row cannot stand where KV has a snapshot.
const SNAPSHOT: &str = "a snapshot stands under its key, which another run wrote (--snapshot), and no row takes its place; choose \
                        another --prefix, or delete that key if nobody reads the snapshot any more";

/// Under which keys rows may stand.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    pub(super) prefix: String,
    /// The key of the snapshot.
    pub(super) snapshot: Option<String>,
}

/// What a row comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The row can stand in KV.
    Keep(Kept),
    /// It cannot.
    Fault(Fault),
}

/// A row that can stand in KV.
#[derive(PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) id: String,
    pub(super) value: String,
    pub(super) hash: String,
    pub(super) state: State,
}

/// Shows no contents.
impl std::fmt::Debug for Kept {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Kept").field("state", &self.state).finish_non_exhaustive()
    }
}

/// How a row stands to what KV has under its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// There is no such key.
    New,
    /// The key has another value, or is not the sync's own yet.
    Changed {
        was_own: bool,
    },
    Unchanged,
}

/// Why a row cannot stand in KV. It names no contents.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Which row, counted from 1 in the order of the keys.
    pub(super) row: u64,
    pub(super) why: Cow<'static, str>,
}

/// A row that waits for the next one, which may have the same key.
struct Waiting {
    number: u64,
    id: String,
    value: String,
    has_twin: bool,
}

/// Rows go in, steps come out. The row before is decided when the next one comes.
pub(super) struct Plan<'k, I: Iterator> {
    keys: &'k Keys,
    merge: Merge<I>,
    waiting: Option<Waiting>,
    rows: u64,
}

impl Keys {
    /// Why a row can have no key.
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

    /// The key of a row.
    pub(super) fn key(&self, id: &str) -> String {
        format!("{}{id}", self.prefix)
    }

    /// True for a key under which something else stands than a row.
    pub(super) fn is_reserved(&self, key: &str) -> bool {
        is_reserved(key, self.snapshot.as_deref())
    }
}

impl<'k, I: Iterator<Item = Result<Stored, Stopped>>> Plan<'k, I> {
    /// `stored` is what KV has under the prefix.
    pub(super) fn new(keys: &'k Keys, stored: I) -> Self {
        Self { keys, merge: Merge::new(stored), waiting: None, rows: 0 }
    }

    /// Takes the next row. An error of `steps` is given back as it is.
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
                    // Which of them counts is not known, so none of them does.
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

    /// There are no more rows.
    pub(super) fn finish(mut self, steps: &mut impl FnMut(Step) -> Result<(), Stopped>) -> Result<Left, Stopped> {
        if let Some(last) = self.waiting.take() {
            self.decide(last, steps)?;
        }
        self.merge.finish()
    }

    fn decide(&mut self, row: Waiting, steps: &mut impl FnMut(Step) -> Result<(), Stopped>) -> Result<(), Stopped> {
        let Waiting { number, id, value, has_twin } = row;
        // Also where the row has a fault: a key that has a row is not gone.
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
        // A number beyond all doubles, JSON that is too deep, a switch that is none: better told here than found broken by the Worker.
        if state != State::Unchanged
            && let Err(broken) = UserRecord::parse(&value)
        {
            let why = format!("the Worker could not read its value: {broken}");
            return steps(Step::Fault(Fault { row: number, why: why.into() }));
        }
        steps(Step::Keep(Kept { id, value, hash, state }))
    }
}

/// True where so many keys are more than is deleted without being told to: 20 % of those that are the sync's own. `lately` were deleted a
/// short time ago, and belong to both.
pub(super) fn is_mass(deletions: u64, own: u64, lately: u64) -> bool {
    deletions > 0 && (deletions + lately) * 5 > own + lately
}

#[cfg(test)]
mod tests;
