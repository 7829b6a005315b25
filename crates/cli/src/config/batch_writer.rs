//! Writes and deletes keys, a few calls at a time. If a call fails after all retries, its keys are
//! counted as failed and the other calls go on, unless the failure is one that every call would
//! have, such as a bad token.

use std::sync::{Mutex, PoisonError};

use super::metadata;
use super::pass_summary::{PassError, PassSummary};
use super::recent_changes::{RecentChange, RecentChanges};
use crate::api::{ApiError, BatchBuilder, CallQueue, KeyValuePair, Namespace, concurrent_calls};
use crate::clock::now_ms;
use crate::progress::Phase;

/// The summary of a pass, which several threads update.
#[derive(Debug, Default)]
pub(super) struct SharedSummary(Mutex<PassSummary>);

/// Collects pairs and hands full batches over to the calls.
pub(super) struct BatchWriter<'o> {
    batch_builder: BatchBuilder,
    queue: &'o CallQueue<'o, Vec<KeyValuePair>>,
}

/// Writes and deletes keys, and records what it did.
#[derive(Debug, Clone, Copy)]
pub(super) struct SyncWriter<'u> {
    pub(super) namespace: &'u Namespace,
    pub(super) prefix: &'u str,
    pub(super) recent: &'u RecentChanges,
    pub(super) summary: &'u SharedSummary,
}

impl SharedSummary {
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut PassSummary) -> R) -> R {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn into_inner(self) -> PassSummary {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the result of a call to the summary. Returns an error if every other call would fail,
    /// too.
    fn count(
        &self,
        keys: usize,
        called: Result<(), ApiError>,
        done: impl FnOnce(&mut PassSummary) -> &mut u64,
    ) -> Result<(), PassError> {
        let failed = called.as_ref().map_or_else(ApiError::unsuccessful_keys, |()| 0).min(keys);
        self.change(|summary| {
            let done = done(summary);
            *done += (keys - failed) as u64;
            summary.failed += failed as u64;
            match called {
                Err(error) if error.affects_all_calls() => Err(error.into()),
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

impl BatchWriter<'_> {
    /// Returns true once a call failed in a way that every other call would, too.
    pub(super) fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Adds a pair.
    ///
    /// # Errors
    /// [`PassError::CallFailed`] if no more calls are made.
    pub(super) fn push(&mut self, pair: KeyValuePair) -> Result<(), PassError> {
        // In a batch it would take a call of its own too, and the others would wait for it.
        let batch = if pair.needs_own_call() { Some(vec![pair]) } else { self.batch_builder.push(pair) };
        if batch.is_none_or(|batch| self.queue.push(batch)) { Ok(()) } else { Err(PassError::CallFailed) }
    }
}

impl SyncWriter<'_> {
    /// Writes the pairs that `read` pushes, as they come.
    ///
    /// # Errors
    /// The error of a call if every other call would fail too, or the error of `read`: then pairs
    /// that did not fill a batch yet are not written.
    pub(super) fn write(
        &self,
        read: impl FnOnce(&mut BatchWriter<'_>) -> Result<(), PassError>,
    ) -> Result<(), PassError> {
        let Self { namespace, summary, .. } = self;
        concurrent_calls(
            |queue| {
                let mut writer = BatchWriter { batch_builder: namespace.batch_builder(), queue };
                read(&mut writer)?;
                writer.batch_builder.finish().map(|pairs| queue.push(pairs));
                Ok(())
            },
            |pairs: Vec<KeyValuePair>| {
                let (count, written) = (pairs.len(), self.written(&pairs));
                let put = namespace.bulk_put(pairs);
                self.note(written, put.is_ok());
                summary.count(count, put, |summary| &mut summary.written)
            },
        )
    }

    /// Deletes keys.
    ///
    /// # Errors
    /// The error of a call if every other call would fail too.
    pub(super) fn delete(&self, keys: &[String], phase: &Phase) -> Result<(), PassError> {
        let Self { namespace, summary, .. } = self;
        concurrent_calls(
            |queue| {
                for keys in keys.chunks(namespace.pairs_max()) {
                    if !queue.push(keys) {
                        break; // The call that failed returns the error.
                    }
                }
                Ok(())
            },
            |keys: &[String]| {
                let gone = namespace.bulk_delete(keys);
                self.note(keys.iter().map(|key| (key.clone(), RecentChange::Deleted)), gone.is_ok());
                summary.count(keys.len(), gone, |summary| &mut summary.deleted)?;
                phase.add(keys.len() as u64);
                Ok(())
            },
        )
    }

    /// Returns the changes that writing these pairs makes, if they are remembered.
    fn written(&self, pairs: &[KeyValuePair]) -> Vec<(String, RecentChange)> {
        let pairs = if self.recent.is_enabled() { pairs } else { &[] };
        let written = |pair: &KeyValuePair| {
            let hash = metadata::hash_in(pair.metadata.as_ref()?, self.prefix)?;
            Some((pair.key.clone(), RecentChange::Written(hash.into())))
        };
        pairs.iter().filter_map(written).collect()
    }

    /// Records the changes of a call. If it failed, its effect is unknown, because only the
    /// response may have been lost.
    fn note(&self, keys: impl IntoIterator<Item = (String, RecentChange)>, is_done: bool) {
        let known = |(key, recent_change)| (key, if is_done { recent_change } else { RecentChange::Unknown });
        self.recent.note(keys.into_iter().map(known), now_ms());
    }
}
