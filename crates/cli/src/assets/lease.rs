//! Leases ([`static_assets::lease`]) of the commands.

use std::sync::atomic::{AtomicU64, Ordering};

use kv_store::limits::{Key, KeyError};
use static_assets::keys::PUSHES;
use static_assets::lease::{self, GcRunning};

use crate::api::{ApiError, Namespace, NamespaceKey};
use crate::clock;
use crate::progress::Progress;

/// The age at which a lease is renewed, in milliseconds. It is checked after each call, so it must
/// be well below the margin of [`lease::seconds`].
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
    /// `assets gc` is running, which stops pushes and rollbacks.
    #[error(transparent)]
    Gc(#[from] GcRunning),
    /// Another command, which may be another gc, is running, which stops `assets gc`.
    #[error(
        "{what} is running ({name}); run this again when it has finished. If it has died, its lease expires after \
         an hour, or after its --deadline plus ten minutes if that is longer; --force runs at once"
    )]
    Other { what: &'static str, name: String },
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
    let key = lease::key(id)?;
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
        lease::check_no_gc(leases.iter().map(|lease| lease.name.as_str())).map_err(LeaseConflict::from)?;
        work(lease)
    })
}

/// Returns an error if any other command is running; `own` is the lease of the caller.
///
/// # Errors
/// [`LeaseConflict::Other`], for another gc too.
pub(super) fn check_no_other(leases: &[NamespaceKey], own: Option<&Lease>) -> Result<(), LeaseConflict> {
    let is_other = |lease: &&NamespaceKey| own.is_none_or(|own| own.key.as_str() != lease.name);
    let Some(other) = leases.iter().find(is_other) else { return Ok(()) };
    let name = lease::name(&other.name);
    let what = match name {
        gc if gc.starts_with(lease::GC_PREFIX) => "another gc",
        rollback if rollback.starts_with(lease::ROLLBACK_PREFIX) => "a rollback",
        _ => "a push",
    };
    Err(LeaseConflict::Other { what, name: name.to_owned() })
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
        let seconds = lease::seconds(self.namespace.deadline_seconds());
        self.namespace.put(&self.key, lease::value(self.started_ms).as_bytes(), None, Some(seconds))
    }

    fn end(self) {
        let key = self.key.as_str();
        if let Err(error) = self.namespace.bulk_delete(&[key.to_owned()]) {
            let minutes = lease::seconds(self.namespace.deadline_seconds()) / 60;
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
    fn everything_stops_a_gc() {
        for (names, expected) in [
            (&[][..], None),
            (&["20261121T000000Z-aaaaaaaa"], Some("a push is running (20261121T000000Z-aaaaaaaa);")),
            (&["rollback-5"], Some("a rollback is running (rollback-5);")),
            (&["gc-5"], Some("another gc is running (gc-5);")),
            (&["2026", "gc-5"], Some("a push is running (2026);")),
        ] {
            let found = check_no_other(&leases(names), None).err().map(|busy| busy.to_string());
            let is_expected = match (&found, expected) {
                (Some(found), Some(expected)) => found.starts_with(expected),
                (found, expected) => found.is_none() && expected.is_none(),
            };
            assert!(is_expected, "{names:?} {found:?}");
        }
    }
}
