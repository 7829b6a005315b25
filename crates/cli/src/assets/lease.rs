//! The leases under which `push`, `rollback` and `gc` work: keys that expire and say what is
//! running ([`static_assets::lease`]). A push or a rollback stops if a gc has a lease. A gc
//! stops if any other command has one, unless `--force` is given.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kv_store::limits::{Key, KeyError};
use static_assets::keys::LEASES;
use static_assets::lease::{self, GcRunning};

use crate::api::{ApiError, BeforeCall, Namespace, NamespaceKey};
use crate::clock;
use crate::progress::Progress;

/// The age at which a lease is renewed, in milliseconds. The age is checked before each call, and
/// the call before it and the renewal itself may each take the whole deadline, so this must be
/// shorter than the margin of [`lease::seconds`].
const RENEW_MS: u64 = 300_000;

/// A lease of this command.
#[derive(Debug)]
struct Lease {
    namespace: Namespace,
    key: Key<'static>,
    started_ms: u64,
    written_ms: AtomicU64,
    /// The age at which it is renewed, in milliseconds.
    renew_ms: u64,
}

/// Another command is running in the namespace.
#[derive(Debug, thiserror::Error)]
pub(super) enum LeaseConflict {
    /// `assets gc` is running, which stops pushes and rollbacks.
    #[error(transparent)]
    Gc(#[from] GcRunning),
    /// A push, a rollback or another gc is running, so `assets gc` stops.
    #[error(
        "{what} is running ({name}); run this again when it has finished. If it has died, its lease expires after \
         an hour, or after twice its --deadline plus ten minutes if that is longer; --force runs at once"
    )]
    Other { what: &'static str, name: String },
}

/// Does the work under a lease, and ends the lease even if the work fails. The work gets the
/// namespace to use: before each of its calls, the lease is renewed if it is five minutes old.
///
/// # Errors
/// Those of the work, or that of the call if the lease cannot be written. A call fails if the
/// lease cannot be renewed, so that the work stops before its lease expires.
pub(super) fn with_lease<T, E: From<ApiError> + From<KeyError>>(
    namespace: &Namespace,
    progress: &Progress,
    name: &str,
    work: impl FnOnce(&Namespace) -> Result<T, E>,
) -> Result<T, E> {
    Lease::new(namespace, name, RENEW_MS)?.hold(progress, work)
}

/// Does the work as [`with_lease`] does, unless `assets gc` is running. Commands that upload a
/// release or switch to one use it.
///
/// # Errors
/// [`LeaseConflict::Gc`], and the errors of [`with_lease`].
pub(super) fn with_lease_unless_gc<T, E: From<ApiError> + From<KeyError> + From<LeaseConflict>>(
    namespace: &Namespace,
    progress: &Progress,
    name: &str,
    work: impl FnOnce(&Namespace) -> Result<T, E>,
) -> Result<T, E> {
    with_lease(namespace, progress, name, |namespace| {
        let leases = namespace.list(LEASES)?;
        lease::check_no_gc(leases.iter().map(|lease| lease.name.as_str())).map_err(LeaseConflict::from)?;
        work(namespace)
    })
}

/// Returns an error if there is a lease besides that of the caller, which is called `own_name`.
///
/// # Errors
/// [`LeaseConflict::Other`], for another gc too.
pub(super) fn check_no_other(leases: &[NamespaceKey], own_name: Option<&str>) -> Result<(), LeaseConflict> {
    let mut names = leases.iter().map(|lease| lease::name(&lease.name));
    let Some(name) = names.find(|name| own_name != Some(*name)) else { return Ok(()) };
    let what = match name {
        gc if gc.starts_with(lease::GC_PREFIX) => "another gc",
        rollback if rollback.starts_with(lease::ROLLBACK_PREFIX) => "a rollback",
        _ => "a push",
    };
    Err(LeaseConflict::Other { what, name: name.to_owned() })
}

impl Lease {
    fn new(namespace: &Namespace, name: &str, renew_ms: u64) -> Result<Self, KeyError> {
        let (key, started_ms) = (lease::key(name)?, clock::now_ms());
        Ok(Self { namespace: namespace.clone(), key, started_ms, written_ms: AtomicU64::new(started_ms), renew_ms })
    }

    /// Writes the lease, does the work, and deletes the lease.
    fn hold<T, E: From<ApiError>>(
        self,
        progress: &Progress,
        work: impl FnOnce(&Namespace) -> Result<T, E>,
    ) -> Result<T, E> {
        let lease = Arc::new(self);
        lease.write()?;
        let result = work(&lease.namespace.with_before_call(lease.clone()));
        lease.end(progress);
        result
    }

    fn write(&self) -> Result<(), ApiError> {
        let seconds = lease::seconds(self.namespace.deadline_seconds());
        self.namespace.put(&self.key, lease::value(self.started_ms).as_bytes(), None, Some(seconds))
    }

    fn end(&self, progress: &Progress) {
        let key = self.key.as_str();
        if let Err(error) = self.namespace.bulk_delete(&[key.to_owned()]) {
            let minutes = lease::seconds(self.namespace.deadline_seconds()) / 60;
            progress.note(&format!("the lease {key:?} stays for up to {minutes} minutes: {error}"));
        }
    }
}

/// Renews the lease if it is old enough.
impl BeforeCall for Lease {
    fn before_call(&self) -> Result<(), ApiError> {
        let (now_ms, written_ms) = (clock::now_ms(), self.written_ms.load(Ordering::Relaxed));
        let is_old = now_ms.saturating_sub(written_ms) >= self.renew_ms;
        // Only one of several threads renews it.
        let is_mine = || self.written_ms.compare_exchange(written_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed);
        if is_old && is_mine().is_ok() { self.write() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::Mutex;
    use std::thread;

    use clap::Parser;
    use static_assets::keys::BLOBS;

    use super::*;
    use crate::api::KeyValuePair;
    use crate::assets::AssetsNamespaceArguments;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        namespace: AssetsNamespaceArguments,
    }

    /// An API of `wrangler dev` in which every call succeeds, and lists have two pages.
    struct Api {
        base: String,
        /// The method and the path of each call. Bulk calls have the first key, too.
        calls: Arc<Mutex<Vec<String>>>,
    }

    impl Api {
        fn start() -> Self {
            let server = TcpListener::bind("127.0.0.1:0").unwrap();
            let base = format!("http://{}/cdn-cgi/explorer/api", server.local_addr().unwrap());
            let calls = Arc::new(Mutex::new(Vec::new()));
            let recorded = Arc::clone(&calls);
            thread::spawn(move || {
                for connection in server.incoming() {
                    recorded.lock().unwrap().push(respond(&connection.unwrap()));
                }
            });
            Self { base, calls }
        }

        fn namespace(&self) -> Namespace {
            let arguments = Arguments::parse_from(["push", &format!("--local={}", self.base)]);
            arguments.namespace.open(&Progress::new(true)).unwrap()
        }
    }

    /// Responds to a call on a connection of its own, and returns the call.
    fn respond(mut connection: &TcpStream) -> String {
        let mut reader = BufReader::new(connection);
        let head: Vec<_> = reader.by_ref().lines().map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
        let length =
            head.iter().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body).unwrap();
        let call =
            head[0].strip_suffix(" HTTP/1.1").unwrap().replace("/cdn-cgi/explorer/api/storage/kv/namespaces", "");
        let envelope = match call.as_str() {
            list if list.starts_with("GET /assets/keys") => {
                let cursor = if list.ends_with("&cursor=2") { "" } else { "2" };
                format!(r#"{{"success": true, "result": [], "result_info": {{"cursor": "{cursor}"}}}}"#)
            }
            namespaces if namespaces.starts_with("GET ") => {
                r#"{"success": true, "result": [{"id": "assets", "title": "assets"}]}"#.to_owned()
            }
            _ => r#"{"success": true, "result": {"successful_key_count": 1000}}"#.to_owned(),
        };
        let length = envelope.len();
        write!(connection, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{envelope}")
            .unwrap();
        if !call.contains("/bulk") {
            return call;
        }
        let key =
            String::from_utf8(body).unwrap().split('"').find(|text| text.starts_with("kv-edge:")).unwrap().to_owned();
        format!("{call} {key}")
    }

    #[test]
    fn an_old_lease_is_renewed_before_each_call() {
        let api = Api::start();
        let namespace = api.namespace();
        api.calls.lock().unwrap().clear();
        let pair = |name: &str, bytes| KeyValuePair {
            key: format!("{BLOBS}{name}"),
            value: vec![0; bytes],
            metadata: None,
            expiration: None,
        };
        let lease = Lease::new(&namespace, "2026", 0).unwrap();
        let held = lease.hold(&Progress::new(true), |namespace| {
            // Each long value is a call.
            namespace.bulk_put(vec![pair("a", 1), pair("b", 3_000_001), pair("c", 3_000_001), pair("d", 1)])?;
            namespace.list(BLOBS)
        });
        assert_eq!(held.unwrap().len(), 0);
        let written = "PUT /assets/bulk kv-edge:push:2026";
        let expected = [
            written,
            written,
            "PUT /assets/values/kv-edge%3Ablob%3Ab",
            written,
            "PUT /assets/values/kv-edge%3Ablob%3Ac",
            written,
            "PUT /assets/bulk kv-edge:blob:a",
            written,
            "GET /assets/keys?limit=1000&prefix=kv-edge%3Ablob%3A",
            written,
            "GET /assets/keys?limit=1000&prefix=kv-edge%3Ablob%3A&cursor=2",
            "POST /assets/bulk/delete kv-edge:push:2026",
        ];
        assert_eq!(*api.calls.lock().unwrap(), expected);
    }

    fn leases(names: &[&str]) -> Vec<NamespaceKey> {
        names
            .iter()
            .map(|name| NamespaceKey { name: format!("{LEASES}{name}"), metadata: None, expiration: None })
            .collect()
    }

    #[test]
    fn a_push_a_rollback_and_another_gc_stop_a_gc() {
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
