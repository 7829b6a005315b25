//! Leases: keys in KV that expire and say which command is running, so that `assets gc` never
//! deletes what a push or a rollback relies on.
//!
//! Every command first writes its own lease and then lists those of others. Of two commands that
//! start at the same time, at least one sees the other's lease and stops, if KV lists new keys at
//! once. KV does not promise that, so a push checks the blobs that it relies on once more before
//! it switches.

use std::sync::atomic::{AtomicU64, Ordering};

use kv_store::limits::{Key, KeyError};
use serde_json::json;
use static_assets::keys::PUSHES;

use crate::api::{ApiError, Namespace, NamespaceKey};
use crate::clock;
use crate::progress::Progress;

/// The prefix of the names of `assets gc`; all other names belong to pushes and rollbacks.
const GC_PREFIX: &str = "gc-";
/// The shortest time after which the lease of a command that died expires, in seconds.
const LEASE_SECONDS_MIN: u64 = 3600;
/// How much longer than the longest call a lease lasts, in seconds.
const LEASE_MARGIN_SECONDS: u64 = 600;
/// The age at which a lease is renewed, in milliseconds. It is checked after each call, so it must
/// be well below [`LEASE_MARGIN_SECONDS`].
const RENEW_MS: u64 = 300_000;

/// A lease of this command, until [`Lease::end`].
pub(super) struct Lease<'a> {
    namespace: &'a Namespace,
    progress: &'a Progress,
    key: Key<'static>,
    started_ms: u64,
    written_ms: AtomicU64,
}

/// Another command is running in the namespace.
#[derive(Debug, thiserror::Error)]
pub(super) enum LeaseConflict {
    /// `assets gc` is running under this name, which stops pushes and rollbacks.
    #[error(
        "`assets gc` is running ({0}), so nothing was switched; run this again when it has finished. If it has \
         died, its lease expires after an hour, or after its --deadline plus ten minutes if that is longer"
    )]
    Gc(String),
    /// Another command, which may be another gc, is running, which stops `assets gc`.
    #[error(
        "{what} is running ({name}); run this again when it has finished. If it has died, its lease expires after \
         an hour (or its --deadline plus ten minutes); --force runs at once"
    )]
    Other { what: &'static str, name: String },
}

/// Returns the name of a lease of `assets gc`.
pub(super) fn gc_lease_name(now_ms: u64) -> String {
    format!("{GC_PREFIX}{now_ms}")
}

/// Returns the name of a lease of a rollback.
pub(super) fn rollback_lease_name(now_ms: u64) -> String {
    format!("rollback-{now_ms}")
}

/// Does the work under a lease, and ends the lease even if the work fails.
///
/// # Errors
/// Those of the work, or that of the call if the lease cannot be written.
pub(super) fn with_lease<T, E: From<ApiError> + From<KeyError>>(
    namespace: &Namespace,
    progress: &Progress,
    id: &str,
    work: impl FnOnce(&Lease) -> Result<T, E>,
) -> Result<T, E> {
    let key = Key::new(format!("{PUSHES}{id}"))?;
    let started_ms = clock::now_ms();
    let lease = Lease { namespace, progress, key, started_ms, written_ms: AtomicU64::new(started_ms) };
    lease.write()?;
    let result = work(&lease);
    lease.end();
    result
}

/// Does the work under a lease, unless `assets gc` is running. Commands that upload a release or
/// switch to one use it.
///
/// # Errors
/// [`LeaseConflict::Gc`], the errors of the work, and those of the calls for the lease.
pub(super) fn with_lease_unless_gc<T, E: From<ApiError> + From<KeyError> + From<LeaseConflict>>(
    namespace: &Namespace,
    progress: &Progress,
    id: &str,
    work: impl FnOnce(&Lease) -> Result<T, E>,
) -> Result<T, E> {
    with_lease(namespace, progress, id, |lease| {
        let leases = namespace.list(PUSHES)?;
        check_no_gc(&leases)?;
        work(lease)
    })
}

/// Returns an error if `assets gc` is running.
fn check_no_gc(leases: &[NamespaceKey]) -> Result<(), LeaseConflict> {
    let gc = leases.iter().map(name).find(|name| name.starts_with(GC_PREFIX));
    gc.map_or(Ok(()), |gc| Err(LeaseConflict::Gc(gc.to_owned())))
}

/// Returns an error if any other command is running; `own` is the lease of the caller.
///
/// # Errors
/// [`LeaseConflict::Other`], for another gc too.
pub(super) fn check_no_other(leases: &[NamespaceKey], own: Option<&Lease>) -> Result<(), LeaseConflict> {
    let is_other = |lease: &&NamespaceKey| own.is_none_or(|own| own.key.as_str() != lease.name);
    let Some(other) = leases.iter().find(is_other) else { return Ok(()) };
    let name = name(other);
    let what = match name {
        gc if gc.starts_with(GC_PREFIX) => "another gc",
        rollback if rollback.starts_with("rollback-") => "a rollback",
        _ => "a push",
    };
    Err(LeaseConflict::Other { what, name: name.to_owned() })
}

fn name(lease: &NamespaceKey) -> &str {
    lease.name.strip_prefix(PUSHES).unwrap_or(&lease.name)
}

/// Returns how long a lease lasts, in seconds. It is renewed only between calls, so it outlasts
/// the longest one.
fn lease_seconds(deadline_seconds: u64) -> u32 {
    u32::try_from(deadline_seconds.saturating_add(LEASE_MARGIN_SECONDS).max(LEASE_SECONDS_MIN)).unwrap_or(u32::MAX)
}

impl Lease<'_> {
    /// Renews the lease if it is some minutes old. Called after each call of a long command.
    ///
    /// # Errors
    /// That of the put. The command must then stop, because its lease would expire.
    pub(super) fn renew(&self) -> Result<(), ApiError> {
        let (now_ms, written_ms) = (clock::now_ms(), self.written_ms.load(Ordering::Relaxed));
        let is_old = now_ms.saturating_sub(written_ms) >= RENEW_MS;
        // Only one of several threads renews it.
        let is_mine = || self.written_ms.compare_exchange(written_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed);
        if is_old && is_mine().is_ok() { self.write() } else { Ok(()) }
    }

    fn write(&self) -> Result<(), ApiError> {
        let started = json!({ "startedMs": self.started_ms }).to_string();
        let seconds = lease_seconds(self.namespace.deadline_seconds());
        self.namespace.put(&self.key, started.as_bytes(), None, Some(seconds))
    }

    fn end(self) {
        let key = self.key.as_str();
        if let Err(error) = self.namespace.bulk_delete(&[key.to_owned()]) {
            let minutes = lease_seconds(self.namespace.deadline_seconds()) / 60;
            self.progress.note(&format!("the lease {key:?} stays for up to {minutes} minutes: {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leases(names: &[&str]) -> Vec<NamespaceKey> {
        names
            .iter()
            .map(|name| NamespaceKey { name: format!("{PUSHES}{name}"), metadata: None, expiration: None })
            .collect()
    }

    #[test]
    fn a_gc_stops_pushes_and_everything_stops_a_gc() {
        for (names, gc, other) in [
            (&[][..], None, None),
            (&["20261121T000000Z-aaaaaaaa"], None, Some("a push is running (20261121T000000Z-aaaaaaaa);")),
            (&["rollback-5"], None, Some("a rollback is running (rollback-5);")),
            (&["gc-5"], Some("`assets gc` is running (gc-5),"), Some("another gc is running (gc-5);")),
            (&["2026", "gc-5"], Some("`assets gc` is running (gc-5),"), Some("a push is running (2026);")),
        ] {
            for (found, expected) in [(check_no_gc(&leases(names)), gc), (check_no_other(&leases(names), None), other)]
            {
                let found = found.err().map(|busy| busy.to_string());
                let is_expected = match (&found, expected) {
                    (Some(found), Some(expected)) => found.starts_with(expected),
                    (found, expected) => found.is_none() && expected.is_none(),
                };
                assert!(is_expected, "{names:?} {found:?}");
            }
        }
        assert!(gc_lease_name(5).starts_with(GC_PREFIX) && !rollback_lease_name(5).starts_with(GC_PREFIX));
    }

    #[test]
    fn a_lease_outlives_the_longest_call() {
        for (deadline, expected) in [(1, 3600), (900, 3600), (3000, 3600), (3001, 3601), (86_400, 87_000)] {
            assert_eq!(lease_seconds(deadline), expected, "{deadline}");
        }
    }
}
