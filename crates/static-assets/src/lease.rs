//! Leases: keys in KV that expire and say what is running, so that `assets gc` does not delete
//! what a push or a rollback relies on.
//!
//! A push, a rollback and a gc each write a lease, and list those of others after that. A push or
//! a rollback stops if a gc is running; a gc stops if anything is, unless it is forced. If KV
//! listed new keys at once, at least one of a gc and a push that begin together would stop. KV
//! does not promise that, so a push checks the blobs that it relies on once more before it
//! switches. All leases have the prefix `kv-edge:push:`, which is older than those of gc and
//! rollbacks.
//!
//! ```
//! use static_assets::lease;
//!
//! let rollback = lease::key(&lease::rollback_name(5))?;
//! let listed = [rollback.as_str(), "kv-edge:push:gc-7"];
//! assert_eq!(lease::check_no_gc(listed), Err(lease::GcRunning("gc-7".to_owned())));
//! # Ok::<(), kv_store::limits::KeyError>(())
//! ```

use kv_store::limits::{Key, KeyError};
use serde_json::json;

use crate::keys::LEASES;

/// The prefix of the names of `assets gc`; all other names belong to pushes and rollbacks.
pub const GC_PREFIX: &str = "gc-";
/// The prefix of the names of rollbacks. The name of a push is the id of its release.
pub const ROLLBACK_PREFIX: &str = "rollback-";
/// How long a lease lasts at least, in seconds.
const SECONDS_MIN: u64 = 3600;
/// How much longer a lease lasts than the two longest calls together, in seconds.
const MARGIN_SECONDS: u64 = 600;

/// `assets gc` is running under this name, which stops pushes and rollbacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`assets gc` is running ({0}), so nothing was switched; run this again when it has finished. If it has \
     died, its lease expires after an hour, or after twice its --deadline plus ten minutes if that is longer"
)]
pub struct GcRunning(pub String);

/// Returns the name of a lease of `assets gc`. `now_ms` is milliseconds since the Unix epoch.
#[must_use]
pub fn gc_name(now_ms: u64) -> String {
    format!("{GC_PREFIX}{now_ms}")
}

/// Returns the name of a lease of a rollback. `now_ms` is milliseconds since the Unix epoch.
#[must_use]
pub fn rollback_name(now_ms: u64) -> String {
    format!("{ROLLBACK_PREFIX}{now_ms}")
}

/// Returns the key of a lease.
///
/// # Errors
/// [`KeyError`] if the name is too long for a key of Workers KV.
pub fn key(name: &str) -> Result<Key<'static>, KeyError> {
    Key::new(format!("{LEASES}{name}"))
}

/// Returns the name of the lease under a key.
#[must_use]
pub fn name(key: &str) -> &str {
    key.strip_prefix(LEASES).unwrap_or(key)
}

/// Returns the value of a lease, JSON. `started_ms` is milliseconds since the Unix epoch.
#[must_use]
pub fn value(started_ms: u64) -> String {
    json!({ "startedMs": started_ms }).to_string()
}

/// Returns how long a lease lasts, in seconds, if a call takes up to `deadline_seconds`. It is
/// renewed only between calls, and the renewal is a call, too, so two of the longest fit in.
#[must_use]
pub fn seconds(deadline_seconds: u64) -> u32 {
    let seconds = deadline_seconds.saturating_mul(2).saturating_add(MARGIN_SECONDS);
    u32::try_from(seconds.max(SECONDS_MIN)).unwrap_or(u32::MAX)
}

/// Checks the keys of all leases, among them that of the caller.
///
/// # Errors
/// [`GcRunning`] if `assets gc` is running.
pub fn check_no_gc<'k>(keys: impl IntoIterator<Item = &'k str>) -> Result<(), GcRunning> {
    let gc = keys.into_iter().map(name).find(|name| name.starts_with(GC_PREFIX));
    gc.map_or(Ok(()), |gc| Err(GcRunning(gc.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gc_stops_a_push_and_a_rollback_and_they_do_not_stop_each_other() {
        for (names, expected) in [
            (&[][..], Ok(())),
            (&["20261121T000000Z-aaaaaaaa", &rollback_name(5)], Ok(())),
            (&["2026", &gc_name(5)], Err(GcRunning("gc-5".to_owned()))),
        ] {
            let keys: Vec<_> = names.iter().map(|name| key(name).unwrap()).collect();
            assert_eq!(check_no_gc(keys.iter().map(Key::as_str)), expected, "{names:?}");
        }
    }

    #[test]
    fn a_lease_outlives_the_longest_call_and_the_longest_renewal() {
        for (deadline, expected) in [(1, 3600), (900, 3600), (1500, 3600), (1501, 3602), (86_400, 173_400)] {
            assert_eq!(seconds(deadline), expected, "{deadline}");
        }
    }
}
