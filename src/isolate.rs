//! Everything that outlives a request: what one isolate remembers, each cache beside its bound.
//!
//! An isolate has 128 MB for JavaScript and WebAssembly together, and several requests at once. What is
//! remembered takes half of it at most; a test adds the bounds up.

use std::cell::{OnceCell, RefCell};
use std::convert::Infallible;
use std::rc::Rc;

use circuit_breaker::Circuits;
use feature_flags::config::record::UserRecord;
use feature_flags::config::snapshot::{self, Snapshot};
use feature_flags::flags::{DEFINITIONS_BYTES_MAX, Definitions};
use http_cache::hot::Hot;
use http_cache::purge::{Purge, Purges};
use js_sys::{ArrayBuffer, Object};
use kv_store::lru::Lru;
use kv_store::memory::Memory;
use kv_store::record::BrokenRecord;
use kv_store::retry::Budget;
use kv_store::schema::Fault;
use static_assets::site::{BrokenSite, Manifests, Site};
use static_assets::translations::Translations;
use tenant_router::failover::Failover;
use tenant_router::record::{RecordError, Stored};

use crate::platform::bindings::Vars;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// What one isolate remembers. Records stand in a [`Memory`], whose bounds are those of records, of keys
/// that KV does not have, and of keys that gave nothing that can be used.
pub(crate) struct Isolate {
    /// The vars and secrets, parsed: they do not change while an isolate lives.
    pub(crate) vars: OnceCell<Rc<Vars>>,
    /// The retries, for everything that is tried again.
    pub(crate) retry_budget: Rc<RefCell<Budget>>,
    /// Heads of responses, as the runtime takes them, by their status and fields.
    pub(crate) response_heads: RefCell<Lru<Object>>,

    /// `/cache`: stored responses.
    pub(crate) responses: RefCell<Hot<ArrayBuffer>>,
    /// `/cache`: what was purged.
    pub(crate) purges: RefCell<Memory<Rc<Purges>, Infallible>>,
    /// `/cache`: what this isolate purged itself, which the list in KV may not show yet, by its key.
    pub(crate) own_purges: RefCell<Lru<Purge>>,
    /// `/cache`: upstreams that fail.
    pub(crate) upstream_circuits: RefCell<Circuits>,

    /// The records of users, and who has none.
    pub(crate) users: RefCell<Memory<Rc<Option<UserRecord>>, BrokenRecord>>,
    /// The snapshot of many users' records.
    pub(crate) snapshot: RefCell<Memory<Rc<Snapshot>, BrokenRecord>>,
    /// The definitions of flags, or that there are none.
    pub(crate) flags: RefCell<Memory<Rc<Option<Definitions>>, Fault>>,
    /// What is wrong with the definitions that were read last.
    pub(crate) flags_fault: RefCell<Option<Fault>>,

    /// The records of storefronts.
    pub(crate) storefronts: RefCell<Memory<Rc<Stored>, RecordError>>,
    /// Origins of storefronts that fail.
    pub(crate) failover: RefCell<Failover>,

    /// The release that is served, without its manifest.
    pub(crate) site: RefCell<Memory<Rc<Site>, BrokenSite>>,
    /// The manifests of releases.
    pub(crate) manifests: RefCell<Manifests>,
    /// Short bodies of files by the hash of their bytes: none of them is ever stale.
    pub(crate) file_bodies: RefCell<Lru<ArrayBuffer>>,
    /// When a file under a key of its own was found not to be there, in milliseconds since the Unix epoch.
    pub(crate) absent_files: RefCell<Lru<u64>>,
    /// The translations of the page.
    pub(crate) translations: RefCell<Memory<Rc<Translations>, BrokenRecord>>,
}

impl Isolate {
    fn new() -> Self {
        Self {
            vars: OnceCell::new(),
            retry_budget: Rc::new(RefCell::new(Budget::new())),
            response_heads: RefCell::new(Lru::new(MIB)),

            responses: RefCell::new(Hot::new(5 * MIB, 256 * KIB, 256 * KIB)),
            purges: RefCell::new(Memory::new(2 * MIB, 0, 0)),
            own_purges: RefCell::new(Lru::new(512 * KIB)),
            upstream_circuits: RefCell::new(Circuits::new(512 * KIB)),

            users: RefCell::new(Memory::new(3 * MIB / 2, 256 * KIB, 128 * KIB)),
            snapshot: RefCell::new(Memory::new(snapshot::BYTES_MAX + 4 * KIB, KIB, KIB)),
            // The definitions, and the text they were made of.
            flags: RefCell::new(Memory::new(2 * DEFINITIONS_BYTES_MAX + 4 * KIB, KIB, KIB)),
            flags_fault: RefCell::new(None),

            storefronts: RefCell::new(Memory::new(2 * MIB, 0, 0)),
            failover: RefCell::new(Failover::new(MIB)),

            site: RefCell::new(Memory::new(64 * KIB, KIB, 0)),
            manifests: RefCell::new(Manifests::new(3 * MIB)),
            file_bodies: RefCell::new(Lru::new(5 * MIB)),
            absent_files: RefCell::new(Lru::new(512 * KIB)),
            translations: RefCell::new(Memory::new(512 * KIB, KIB, 0)),
        }
    }

    /// Returns what this isolate remembers. It lives as long as the isolate, whose one thread runs all of
    /// its requests.
    pub(crate) fn current() -> &'static Self {
        thread_local!(static CURRENT: &'static Isolate = Box::leak(Box::new(Isolate::new())));
        CURRENT.with(|isolate| *isolate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_takes_less_than_64_mib() {
        // Each field by its name: one that is added must be bounded here.
        let Isolate {
            vars: _,
            retry_budget: _,
            response_heads,
            responses,
            purges,
            own_purges,
            upstream_circuits,
            users,
            snapshot,
            flags,
            flags_fault: _,
            storefronts,
            failover,
            site,
            manifests,
            file_bodies,
            absent_files,
            translations,
        } = Isolate::new();
        let bounds = [
            response_heads.borrow().bytes_max(),
            responses.borrow().bytes_max(),
            purges.borrow().bytes_max(),
            own_purges.borrow().bytes_max(),
            upstream_circuits.borrow().bytes_max(),
            users.borrow().bytes_max(),
            snapshot.borrow().bytes_max(),
            flags.borrow().bytes_max(),
            storefronts.borrow().bytes_max(),
            failover.borrow().bytes_max(),
            site.borrow().bytes_max(),
            manifests.borrow().bytes_max(),
            file_bodies.borrow().bytes_max(),
            absent_files.borrow().bytes_max(),
            translations.borrow().bytes_max(),
        ];
        let bytes: usize = bounds.iter().sum();
        assert!(bytes < 64 * MIB, "{bytes} bytes: {bounds:?}");
    }
}
