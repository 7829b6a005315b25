//! What one isolate remembers from one request to the next, each cache with its bound.
//! What never changes, such as the parsed vars, is kept by the module that makes it.
//!
//! An isolate has 128 MB for JavaScript and WebAssembly together, and serves several requests at
//! once. All caches together, that of the manifest included, take less than 64 MiB if the manifest
//! has up to some 35,000 files, and less than 96 MiB with the largest manifest that Workers KV can
//! store; a test adds their bounds up.

use std::cell::RefCell;
use std::rc::Rc;

use kv_store::lru::Lru;
use kv_store::retry::Budget;
#[cfg(feature = "metrics")]
use metrics::collector::Collector;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// What one isolate remembers, by feature.
pub(crate) struct Isolate {
    /// The budget of retries, shared by everything that calls KV again.
    pub(crate) retry_budget: Rc<RefCell<Budget>>,
    /// Objects of the runtime (`ResponseInit`), by the status and fields that they have.
    pub(crate) response_heads: RefCell<Lru<js_sys::Object>>,
    #[cfg(feature = "assets")]
    pub(crate) assets: assets::AssetsMemory,
    #[cfg(feature = "cache")]
    pub(crate) cache: cache::CacheMemory,
    #[cfg(feature = "flags")]
    pub(crate) flags: flags::FlagsMemory,
    /// What is wrong with the flag definitions that were read last.
    #[cfg(feature = "flags")]
    pub(crate) flags_fault: RefCell<Option<kv_store::schema::Fault>>,
    #[cfg(feature = "kv-api")]
    pub(crate) kv_api: kv_api::KvApiMemory,
    /// The counts by route that were not handed over: of the current minute, at most 60 minutes
    /// that wait, and at most 60 that are on their way.
    #[cfg(feature = "metrics")]
    pub(crate) metrics: RefCell<Collector>,
    #[cfg(feature = "storefronts")]
    pub(crate) storefronts: storefronts::StorefrontsMemory,
}

impl Isolate {
    fn new() -> Self {
        Self {
            retry_budget: Rc::new(RefCell::new(Budget::new())),
            response_heads: RefCell::new(Lru::new(MIB)),
            #[cfg(feature = "assets")]
            assets: assets::AssetsMemory::new(),
            #[cfg(feature = "cache")]
            cache: cache::CacheMemory::new(),
            #[cfg(feature = "flags")]
            flags: flags::FlagsMemory::new(),
            #[cfg(feature = "flags")]
            flags_fault: RefCell::new(None),
            #[cfg(feature = "kv-api")]
            kv_api: kv_api::KvApiMemory::new(),
            #[cfg(feature = "metrics")]
            metrics: RefCell::default(),
            #[cfg(feature = "storefronts")]
            storefronts: storefronts::StorefrontsMemory::new(),
        }
    }

    /// Returns the memory of this isolate. It lives as long as the isolate, whose one thread runs
    /// all requests.
    pub(crate) fn current() -> &'static Self {
        thread_local!(static CURRENT: &'static Isolate = Box::leak(Box::new(Isolate::new())));
        CURRENT.with(|isolate| *isolate)
    }
}

/// Declares the caches of a feature: each field with its initial value, which sets its bound in
/// bytes. A test adds the bounds up.
#[cfg(feature = "memory")]
macro_rules! caches {
    (
        $(#[$about:meta])* $name:ident;
        $($(#[$doc:meta])* $field:ident: $type:ty = $initial:expr;)+
    ) => {
        $(#[$about])*
        pub(crate) struct $name {
            $($(#[$doc])* pub(crate) $field: RefCell<$type>,)+
        }

        impl $name {
            pub(super) fn new() -> Self {
                Self {
                    $($field: RefCell::new($initial),)+
                }
            }

            #[cfg(test)]
            pub(super) fn bytes_max(&self) -> usize {
                [$(self.$field.borrow().bytes_max()),+].iter().sum()
            }
        }
    };
}

// A `RecordCache` has three bounds in bytes: for records, for keys that KV does not have, and for
// failed reads.

#[cfg(feature = "assets")]
mod assets {
    use std::cell::RefCell;
    use std::rc::Rc;

    use js_sys::ArrayBuffer;
    use kv_store::lru::Lru;
    use kv_store::record::BrokenRecord;
    use kv_store::record_cache::RecordCache;
    use static_assets::asset_store::{AssetStore, BrokenRelease};
    use static_assets::manifest_cache::ManifestCache;
    use static_assets::translations::Translations;

    use super::{KIB, MIB};

    caches! {
        /// Files and translations.
        AssetsMemory;
        /// The release that is served, without its manifest.
        store: RecordCache<Rc<AssetStore>, BrokenRelease> = RecordCache::new(64 * KIB, KIB, 0);
        /// The manifest of the release that is served, of any length, and 4 MiB of previous ones.
        manifests: ManifestCache = ManifestCache::new(4 * MIB);
        /// Short file bodies by content hash, so none is ever stale.
        bodies: Lru<ArrayBuffer> = Lru::new(5 * MIB);
        /// Unversioned keys that KV does not have, with the time of the read in milliseconds since
        /// the Unix epoch.
        absent: Lru<u64> = Lru::new(512 * KIB);
        /// The translations of the page `/hello-world`.
        translations: RecordCache<Rc<Translations>, BrokenRecord> = RecordCache::new(512 * KIB, KIB, 0);
    }
}

#[cfg(feature = "cache")]
mod cache {
    use std::cell::RefCell;
    use std::convert::Infallible;
    use std::rc::Rc;

    use circuit_breaker::Circuits;
    use http_cache::memory_cache::MemoryCache;
    use http_cache::purge::{Purge, PurgeList};
    use js_sys::ArrayBuffer;
    use kv_store::lru::Lru;
    use kv_store::record_cache::RecordCache;

    use super::{KIB, MIB};

    caches! {
        /// The shared cache.
        CacheMemory;
        /// Stored responses, invalidations, and running refreshes.
        responses: MemoryCache<ArrayBuffer> = MemoryCache::new(5 * MIB, 256 * KIB, 256 * KIB);
        /// The list of purges.
        purges: RecordCache<Rc<PurgeList>, Infallible> = RecordCache::new(2 * MIB, 0, 0);
        /// Purges of this isolate, by their key. The list in KV may not show them yet.
        own_purges: Lru<Purge> = Lru::new(512 * KIB);
        /// Upstreams that fail.
        circuits: Circuits = Circuits::new(512 * KIB);
    }
}

#[cfg(feature = "flags")]
mod flags {
    use std::cell::RefCell;
    use std::rc::Rc;

    use feature_flags::config::snapshot::{self, Snapshot};
    use feature_flags::config::user_record::UserRecord;
    use feature_flags::flags::{DEFINITIONS_BYTES_MAX, Definitions};
    use kv_store::record::BrokenRecord;
    use kv_store::record_cache::RecordCache;
    use kv_store::schema::Fault;

    use super::{KIB, MIB};

    caches! {
        /// Flags and the configuration of users.
        FlagsMemory;
        /// The records of users, and the users without a record.
        users: RecordCache<Rc<Option<UserRecord>>, BrokenRecord> = RecordCache::new(3 * MIB / 2, 256 * KIB, 128 * KIB);
        /// The snapshot of many users' records.
        snapshot: RecordCache<Rc<Snapshot>, BrokenRecord> = RecordCache::new(snapshot::BYTES_MAX + 4 * KIB, KIB, KIB);
        /// The flag definitions with the text that they were parsed from, or that there are none.
        definitions: RecordCache<Rc<Option<Definitions>>, Fault> = RecordCache::new(2 * DEFINITIONS_BYTES_MAX + 4 * KIB, KIB, KIB);
    }
}

#[cfg(feature = "kv-api")]
mod kv_api {
    use std::cell::RefCell;
    use std::rc::Rc;

    use kv_api::lookup_cache::LookupCache;
    use kv_api::namespace::ApiNamespace;
    use kv_api::token::RevokedTokens;
    use kv_store::record::BrokenRecord;
    use kv_store::record_cache::RecordCache;

    use super::KIB;

    caches! {
        /// The KV REST API.
        KvApiMemory;
        /// The list of revoked tokens.
        revoked: RecordCache<Rc<RevokedTokens>, BrokenRecord> = RecordCache::new(128 * KIB, KIB, KIB);
        /// When keys expire, in seconds since the Unix epoch, by namespace and key.
        expirations: LookupCache<Option<u64>> = LookupCache::new(512 * KIB);
        /// Namespaces that clients have created, by id.
        created: LookupCache<ApiNamespace> = LookupCache::new(128 * KIB);
    }
}

#[cfg(feature = "storefronts")]
mod storefronts {
    use std::cell::RefCell;
    use std::rc::Rc;

    use kv_store::record_cache::RecordCache;
    use tenant_router::failover::Failover;
    use tenant_router::storefront_record::{RecordError, RoutingEntry};

    use super::MIB;

    caches! {
        /// The tenant router.
        StorefrontsMemory;
        /// The records of storefronts and custom domains.
        records: RecordCache<Rc<RoutingEntry>, RecordError> = RecordCache::new(2 * MIB, 0, 0);
        /// Upstreams that fail.
        failover: Failover = Failover::new(MIB);
    }
}

#[cfg(test)]
mod tests {
    use feature_flags::flags::DEFINITIONS_BYTES_MAX;
    use static_assets::manifest_cache::SERVED_BYTES_MAX;

    use super::*;

    /// More than there are routes and classes of Durable Objects.
    const METERED_NAMES: usize = 32;

    /// The manifest of the release that is served must be there as a whole. KV accepts 25 MiB of
    /// JSON, which is some 75,000 files in three codings each. 16 MiB of memory are some 35,000.
    #[test]
    fn all_caches_together_take_less_than_64_mib_with_a_manifest_of_16_mib_and_96_with_the_largest() {
        let isolate = Isolate::new();
        let bounds = [
            isolate.response_heads.borrow().bytes_max(),
            isolate.assets.bytes_max(),
            isolate.cache.bytes_max(),
            isolate.flags.bytes_max(),
            isolate.kv_api.bytes_max(),
            isolate.storefronts.bytes_max(),
            // A fault quotes no more than the definitions.
            DEFINITIONS_BYTES_MAX,
            Collector::bytes_max(METERED_NAMES),
        ];
        let bytes: usize = bounds.iter().sum();
        let beside_manifest = bytes - SERVED_BYTES_MAX;
        assert!(beside_manifest + 16 * MIB < 64 * MIB, "{beside_manifest} bytes: {bounds:?}");
        assert!(bytes < 96 * MIB, "{bytes} bytes: {bounds:?}");
    }
}
