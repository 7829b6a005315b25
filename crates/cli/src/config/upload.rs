//! Writes and deletions, a few calls at a time. What a call leaves out after all its tries is counted, and the others go on.

use std::sync::{Mutex, PoisonError};

use super::metadata;
use super::recent::{Lately, Recent};
use super::summary::{Stopped, Summary};
use crate::api::{ApiError, Batches, Item, Namespace, Taker, in_flight};
use crate::clock::now_ms;
use crate::progress::Phase;

/// The counts of a pass, which several threads add to.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Summary>);

/// What is to be written.
pub(super) struct Outbox<'o> {
    batches: Batches,
    taker: &'o Taker<'o, Vec<Item>>,
}

/// Where keys are written and deleted, and who remembers it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Uploader<'u> {
    pub(super) namespace: &'u Namespace,
    pub(super) prefix: &'u str,
    pub(super) recent: &'u Recent,
    pub(super) tally: &'u Tally,
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
            *done += keys.saturating_sub(failed) as u64;
            summary.failed += failed as u64;
            match called {
                Err(error) if error.is_of_all_calls() => Err(error.into()),
                Err(error) => {
                    summary.call_failed = true;
                    summary.problem(error.to_string());
                    Ok(())
                }
                Ok(()) => Ok(()),
            }
        })
    }
}

impl Outbox<'_> {
    /// True once a call failed in a way that no other would do better.
    pub(super) fn is_over(&self) -> bool {
        self.taker.is_over()
    }

    /// Adds a value.
    ///
    /// # Errors
    /// [`Stopped::CallFailed`] where nobody takes any more.
    pub(super) fn push(&mut self, item: Item) -> Result<(), Stopped> {
        // In a group it would be one call more too, and the others would wait for it.
        let group = if item.needs_call_of_its_own() { Some(vec![item]) } else { self.batches.push(item) };
        if group.is_none_or(|group| self.taker.take(group)) { Ok(()) } else { Err(Stopped::CallFailed) }
    }
}

impl Uploader<'_> {
    /// Writes what `read` puts into the outbox, as it comes.
    ///
    /// # Errors
    /// That of a call which says that none would succeed, or that of `read`: then what did not fill a call yet is not written.
    pub(super) fn write(&self, read: impl FnOnce(&mut Outbox<'_>) -> Result<(), Stopped>) -> Result<(), Stopped> {
        let Self { namespace, tally, .. } = self;
        in_flight(
            |taker| {
                let mut outbox = Outbox { batches: namespace.batches(), taker };
                read(&mut outbox)?;
                outbox.batches.finish().map(|items| taker.take(items));
                Ok(())
            },
            |items: Vec<Item>| {
                let (count, written) = (items.len(), self.written(&items));
                let put = namespace.bulk_put(items);
                self.note(written, put.is_ok());
                tally.count(count, put, |summary| &mut summary.written)
            },
        )
    }

    /// Deletes keys.
    ///
    /// # Errors
    /// That of a call which says that none would succeed.
    pub(super) fn delete(&self, keys: &[String], phase: &Phase) -> Result<(), Stopped> {
        let Self { namespace, tally, .. } = self;
        in_flight(
            |taker| {
                for keys in keys.chunks(namespace.items_max()) {
                    if !taker.take(keys) {
                        break; // The error of the call says why.
                    }
                }
                Ok(())
            },
            |keys: &[String]| {
                let gone = namespace.bulk_delete(keys);
                self.note(keys.iter().map(|key| (key.clone(), Lately::Deleted)), gone.is_ok());
                tally.count(keys.len(), gone, |summary| &mut summary.deleted)?;
                phase.add(keys.len() as u64);
                Ok(())
            },
        )
    }

    /// What becomes of keys where this is written, as far as anybody remembers it.
    fn written(&self, items: &[Item]) -> Vec<(String, Lately)> {
        let items = if self.recent.remembers() { items } else { &[] };
        let written = |item: &Item| {
            let hash = metadata::hash_in(item.metadata.as_ref()?, self.prefix)?;
            Some((item.key.clone(), Lately::Written(hash.into())))
        };
        items.iter().filter_map(written).collect()
    }

    /// Remembers what a call did. Of one that failed nobody knows what it did: the answer may have been lost on the way.
    fn note(&self, keys: impl IntoIterator<Item = (String, Lately)>, is_done: bool) {
        let known = |(key, lately)| (key, if is_done { lately } else { Lately::Unknown });
        self.recent.note(keys.into_iter().map(known), now_ms());
    }
}
