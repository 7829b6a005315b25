//! Writes and deletions, a few calls at a time. What a call leaves out after all its tries is counted, and the others go on.

use std::sync::{Mutex, PoisonError};

use super::summary::{Stopped, Summary};
use crate::api::{ApiError, Batches, Item, Namespace, in_flight};
use crate::progress::Phase;

/// The counts of a pass, which several threads add to.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Summary>);

/// What is to be written.
pub(super) struct Outbox<'o> {
    batches: Batches,
    hand_over: &'o mut dyn FnMut(Vec<Item>) -> bool,
}

impl Tally {
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut Summary) -> R) -> R {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn into_inner(self) -> Summary {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what a call did. Where no other would do better, it is an error.
    fn count(
        &self,
        keys: usize,
        called: Result<(), ApiError>,
        done: impl FnOnce(&mut Summary) -> &mut u64,
    ) -> Result<(), Stopped> {
        let failed = called.as_ref().map_or_else(ApiError::left_out, |()| 0).min(keys);
        self.change(|summary| {
            let done = done(summary);
            *done = done.saturating_add(keys.saturating_sub(failed) as u64);
            summary.failed = summary.failed.saturating_add(failed as u64);
            match called {
                Err(error) if error.is_of_all_calls() => Err(error.into()),
                Err(error) => {
                    summary.problem(error.to_string());
                    Ok(())
                }
                Ok(()) => Ok(()),
            }
        })
    }
}

impl Outbox<'_> {
    /// Adds a value; false where nobody takes any more.
    pub(super) fn push(&mut self, item: Item) -> bool {
        // In a group it would be one call more too, and the others would wait for it.
        let group = if item.needs_call_of_its_own() { Some(vec![item]) } else { self.batches.push(item) };
        group.is_none_or(|group| (self.hand_over)(group))
    }
}

/// Writes what `read` puts into the outbox, as it comes.
///
/// # Errors
/// That of a call which says that none would succeed, or that of `read`: then what did not fill a call yet is not written.
pub(super) fn write(
    namespace: &Namespace,
    tally: &Tally,
    read: impl FnOnce(&mut Outbox<'_>) -> Result<(), Stopped>,
) -> Result<(), Stopped> {
    in_flight(
        |hand_over| {
            let mut outbox = Outbox { batches: namespace.batches(), hand_over };
            read(&mut outbox)?;
            let Outbox { batches, hand_over } = outbox;
            batches.finish().map(hand_over);
            Ok(())
        },
        |items: Vec<Item>| tally.count(items.len(), namespace.bulk_put(items), |summary| &mut summary.written),
    )
}

/// Deletes keys.
///
/// # Errors
/// That of a call which says that none would succeed.
pub(super) fn delete(namespace: &Namespace, tally: &Tally, keys: &[String], phase: &Phase) -> Result<(), Stopped> {
    in_flight(
        |hand_over| {
            // Where nobody takes them any more, the error of the call says why.
            let _all = keys.chunks(namespace.items_max()).all(hand_over);
            Ok(())
        },
        |keys: &[String]| {
            tally.count(keys.len(), namespace.bulk_delete(keys), |summary| &mut summary.deleted)?;
            phase.add(keys.len() as u64);
            Ok(())
        },
    )
}
