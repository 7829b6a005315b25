//! Marks in KV that say what is under way, so that `assets gc` and what switches to a release keep out of each other's way.
//!
//! Each writes its own mark first and looks for those of others then: of two that begin at the same time at least one sees the other
//! and stops. That holds as far as KV's list has what was just written; a push looks once more for what it counts on before it switches.

use std::sync::atomic::{AtomicU64, Ordering};

use kv_store::limits::Key;
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
/// Those of the work, or a sentence where the mark cannot be written.
pub(super) fn under<T, E: From<String>>(
    namespace: &Namespace,
    progress: &Progress,
    id: &str,
    work: impl FnOnce(&Mark) -> Result<T, E>,
) -> Result<T, E> {
    let key = Key::new(format!("{PUSHES}{id}")).map_err(|error| error.to_string())?;
    let started_ms = clock::now_ms();
    let mark = Mark { namespace, progress, key, started_ms, written_ms: AtomicU64::new(started_ms) };
    mark.write().map_err(|error| error.to_string())?;
    let done = work(&mark);
    mark.over();
    done
}

/// Does what switches to a release, or uploads for one, under a mark; not while `assets gc` deletes.
///
/// # Errors
/// Those of the work, or a sentence.
pub(super) fn away_from_gc<T, E: From<String>>(
    namespace: &Namespace,
    progress: &Progress,
    id: &str,
    work: impl FnOnce(&Mark) -> Result<T, E>,
) -> Result<T, E> {
    under(namespace, progress, id, |mark| {
        let marks = namespace.list(PUSHES).map_err(|error| error.to_string())?;
        match of_a_gc(&marks) {
            Some(sentence) => Err(sentence.into()),
            None => work(mark),
        }
    })
}

/// What is said where `assets gc` is running.
fn of_a_gc(marks: &[Listed]) -> Option<String> {
    let gc = marks.iter().map(name).find(|name| name.starts_with(GC))?;
    Some(format!(
        "`assets gc` is running ({gc}), so nothing is switched; try again when it is done. Where it has died, its mark is gone after an \
         hour, or after --deadline and ten minutes where that is longer"
    ))
}

/// What is said to `assets gc` where something else is under way, another gc too; `own` is its mark.
pub(super) fn of_others(marks: &[Listed], own: Option<&Mark>) -> Option<String> {
    let other = marks.iter().find(|mark| own.is_none_or(|own| own.key.as_str() != mark.name))?;
    let name = name(other);
    let what = match name {
        gc if gc.starts_with(GC) => "another gc",
        rollback if rollback.starts_with("rollback-") => "a rollback",
        _ => "a push",
    };
    Some(format!(
        "{what} is under way ({name}); run this again when it is over. Where it has died, that is in an hour (or in its --deadline and \
         ten minutes), or at once with --force"
    ))
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
            for (found, expected) in [(of_a_gc(&marks(names)), gc), (of_others(&marks(names), None), other)] {
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
