//! Marks in KV that say what is under way, so that `assets gc` and what switches to a release keep out of each other's way.
//!
//! Each writes its own mark first and looks for those of others then: of two that begin at the same time at least one sees the other
//! and stops. That holds as far as KV's list has what was just written; a push looks once more for what it counts on before it switches.

use std::sync::atomic::{AtomicU64, Ordering};

use kv_store::limits::{Key, KeyError};
use serde_json::json;
use static_assets::keys::PUSHES;

use crate::api::{ApiError, Listed, Namespace};
use crate::clock;
use crate::progress::Progress;

/// The marks of `assets gc` are named so; all others are of pushes and rollbacks.
const GC: &str = "gc-";
/// The least time after which the mark of what died is gone, in seconds.
const SECONDS_MIN: u64 = 3600;
/// A mark outlives the longest call by this, in seconds.
const SECONDS_MORE: u64 = 600;
/// A mark that is older than this is written anew after a call: well before the [`SECONDS_MORE`] are over.
const RENEW_MS: u64 = 300_000;

/// A mark that stands as long as this lives, and goes with [`Mark::over`].
pub(super) struct Mark<'a> {
    namespace: &'a Namespace,
    progress: &'a Progress,
    key: Key<'static>,
    started_ms: u64,
    written_ms: AtomicU64,
}

/// Something else is under way in the namespace.
#[derive(Debug, thiserror::Error)]
pub(super) enum Busy {
    /// The `assets gc` of this mark keeps whoever switches waiting.
    #[error(
        "`assets gc` is running ({0}), so nothing is switched; try again when it is done. Where it has died, its mark is gone after an \
         hour, or after --deadline and ten minutes where that is longer"
    )]
    Gc(String),
    /// Anything, another gc too, keeps `assets gc` waiting.
    #[error(
        "{what} is under way ({name}); run this again when it is over. Where it has died, that is in an hour (or in its --deadline and \
         ten minutes), or at once with --force"
    )]
    Other { what: &'static str, name: String },
}

/// The name of the mark of `assets gc`.
pub(super) fn of_gc(now_ms: u64) -> String {
    format!("{GC}{now_ms}")
}

/// The name of the mark of a rollback.
pub(super) fn of_rollback(now_ms: u64) -> String {
    format!("rollback-{now_ms}")
}

/// Does some work under a mark, which is taken away whatever comes of it.
///
/// # Errors
/// Those of the work, or that of the call where the mark cannot be written.
pub(super) fn under<T, E: From<ApiError> + From<KeyError>>(
    namespace: &Namespace,
    progress: &Progress,
    id: &str,
    work: impl FnOnce(&Mark) -> Result<T, E>,
) -> Result<T, E> {
    let key = Key::new(format!("{PUSHES}{id}"))?;
    let started_ms = clock::now_ms();
    let mark = Mark { namespace, progress, key, started_ms, written_ms: AtomicU64::new(started_ms) };
    mark.write()?;
    let done = work(&mark);
    mark.over();
    done
}

/// Does what switches to a release, or uploads for one, under a mark; not while `assets gc` deletes.
///
/// # Errors
/// [`Busy::Gc`], those of the work, or that of a call which has to do with the mark.
pub(super) fn away_from_gc<T, E: From<ApiError> + From<KeyError> + From<Busy>>(
    namespace: &Namespace,
    progress: &Progress,
    id: &str,
    work: impl FnOnce(&Mark) -> Result<T, E>,
) -> Result<T, E> {
    under(namespace, progress, id, |mark| {
        let marks = namespace.list(PUSHES)?;
        no_gc(&marks)?;
        work(mark)
    })
}

/// An error where `assets gc` is running.
fn no_gc(marks: &[Listed]) -> Result<(), Busy> {
    let gc = marks.iter().map(name).find(|name| name.starts_with(GC));
    gc.map_or(Ok(()), |gc| Err(Busy::Gc(gc.to_owned())))
}

/// Checks for `assets gc` that nothing else is under way; `own` is its mark.
///
/// # Errors
/// [`Busy::Other`], for another gc too.
pub(super) fn nothing_else(marks: &[Listed], own: Option<&Mark>) -> Result<(), Busy> {
    let is_other = |mark: &&Listed| own.is_none_or(|own| own.key.as_str() != mark.name);
    let Some(other) = marks.iter().find(is_other) else { return Ok(()) };
    let name = name(other);
    let what = match name {
        gc if gc.starts_with(GC) => "another gc",
        rollback if rollback.starts_with("rollback-") => "a rollback",
        _ => "a push",
    };
    Err(Busy::Other { what, name: name.to_owned() })
}

fn name(mark: &Listed) -> &str {
    mark.name.strip_prefix(PUSHES).unwrap_or(&mark.name)
}

/// How long a mark stands where nobody takes it away, in seconds: longer than any call, after which it is written anew.
fn seconds(deadline_seconds: u64) -> u32 {
    u32::try_from(deadline_seconds.saturating_add(SECONDS_MORE).max(SECONDS_MIN)).unwrap_or(u32::MAX)
}

impl Mark<'_> {
    /// Writes the mark anew where it is some minutes old. For work of many calls, after each.
    ///
    /// # Errors
    /// Where KV does not take it: then it would expire under the work.
    pub(super) fn renew(&self) -> Result<(), ApiError> {
        let (now_ms, written_ms) = (clock::now_ms(), self.written_ms.load(Ordering::Relaxed));
        let is_old = now_ms.saturating_sub(written_ms) >= RENEW_MS;
        // Of several threads one does.
        let is_mine = || self.written_ms.compare_exchange(written_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed);
        if is_old && is_mine().is_ok() { self.write() } else { Ok(()) }
    }

    fn write(&self) -> Result<(), ApiError> {
        let started = json!({ "startedMs": self.started_ms }).to_string();
        let seconds = seconds(self.namespace.deadline_seconds());
        self.namespace.put(&self.key, started.as_bytes(), None, Some(seconds))
    }

    fn over(self) {
        let key = self.key.as_str();
        if let Err(error) = self.namespace.bulk_delete(&[key.to_owned()]) {
            let minutes = seconds(self.namespace.deadline_seconds()) / 60;
            self.progress.note(&format!("{key:?} stays for {minutes} minutes: {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(names: &[&str]) -> Vec<Listed> {
        names.iter().map(|name| Listed { name: format!("{PUSHES}{name}"), metadata: None }).collect()
    }

    #[test]
    fn a_gc_stops_pushes_and_everything_stops_a_gc() {
        for (names, gc, other) in [
            (&[][..], None, None),
            (&["20261121T000000Z-aaaaaaaa"], None, Some("a push is under way (20261121T000000Z-aaaaaaaa);")),
            (&["rollback-5"], None, Some("a rollback is under way (rollback-5);")),
            (&["gc-5"], Some("`assets gc` is running (gc-5),"), Some("another gc is under way (gc-5);")),
            (&["2026", "gc-5"], Some("`assets gc` is running (gc-5),"), Some("a push is under way (2026);")),
        ] {
            for (found, expected) in [(no_gc(&marks(names)), gc), (nothing_else(&marks(names), None), other)] {
                let found = found.err().map(|busy| busy.to_string());
                let is_said = match (&found, expected) {
                    (Some(found), Some(expected)) => found.starts_with(expected),
                    (found, expected) => found.is_none() && expected.is_none(),
                };
                assert!(is_said, "{names:?} {found:?}");
            }
        }
        assert!(of_gc(5).starts_with(GC) && !of_rollback(5).starts_with(GC));
    }

    #[test]
    fn a_mark_outlives_the_longest_call() {
        for (deadline, expected) in [(1, 3600), (900, 3600), (3000, 3600), (3001, 3601), (86_400, 87_000)] {
            assert_eq!(seconds(deadline), expected, "{deadline}");
        }
    }
}
