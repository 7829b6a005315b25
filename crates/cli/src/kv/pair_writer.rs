//! Writes pairs in batches, a few at a time, and reports how far all of them are written.

use std::sync::{Mutex, PoisonError};

use super::KvError;
use super::completed_prefix::CompletedPrefix;
use crate::api::{CallQueue, KeyValuePair, Namespace, concurrent_calls};

/// Pairs to write, and the number of the part of the work ([`CompletedPrefix`]) that they are.
struct NumberedBatch {
    number: u64,
    pairs: Vec<KeyValuePair>,
}

/// Writes the pairs of an iterator. An item is a pair, or `None` for one that is not written, and
/// the place in the input after it. `completed` is called with a place up to which everything is
/// written, and with the number of pairs that a call wrote; never by two threads at once.
///
/// # Errors
/// The error of a call, of `completed`, or of the iterator. No more calls are made then.
pub(super) fn write_pairs<P: Clone + Send>(
    namespace: &Namespace,
    items: impl Iterator<Item = Result<(Option<KeyValuePair>, P), KvError>>,
    completed: impl Fn(Option<P>, u64) -> Result<(), KvError> + Sync,
) -> Result<(), KvError> {
    let prefix = Mutex::new(CompletedPrefix::default());
    let locked = || prefix.lock().unwrap_or_else(PoisonError::into_inner);
    let push = |queue: &CallQueue<'_, NumberedBatch>, pairs: Option<Vec<KeyValuePair>>, end: Option<&P>| {
        let (Some(pairs), Some(end)) = (pairs, end) else { return true };
        let number = locked().start(end.clone());
        queue.push(NumberedBatch { number, pairs })
    };
    concurrent_calls(
        |queue| {
            let mut batch_builder = Namespace::small_batch_builder();
            // The place after the last pair that the batch builder has.
            let mut end = None;
            for item in items {
                let (pair, after) = item?;
                let is_open = match pair {
                    None => !queue.is_closed(),
                    Some(pair) if pair.needs_own_call() => {
                        let before = std::mem::replace(&mut batch_builder, Namespace::small_batch_builder());
                        push(queue, before.finish(), end.as_ref()) && push(queue, Some(vec![pair]), Some(&after))
                    }
                    Some(pair) => push(queue, batch_builder.push(pair), end.as_ref()),
                };
                if !is_open {
                    return Ok(()); // The call that failed returns the error.
                }
                end = Some(after);
            }
            push(queue, batch_builder.finish(), end.as_ref());
            Ok(())
        },
        |batch: NumberedBatch| {
            let count = batch.pairs.len() as u64;
            namespace.bulk_put(batch.pairs)?;
            let mut prefix = locked();
            let end = prefix.complete(batch.number);
            completed(end, count)
        },
    )
}
