//! The keyspaces: namespace, value, lifetime and parser of each. That of purges, whose source is a
//! list of keys, is in `purges.rs`. Keys are made in the crate of their subject.

use std::cell::RefCell;
use std::rc::Rc;

#[cfg(any(feature = "assets", feature = "flags", feature = "kv-api"))]
use kv_store::record::BrokenRecord;
use kv_store::record_cache::{Lifetime, ReadFailure, RecordCache};

use super::Store;
use super::keyspace::{Keyspace, Reader};
use crate::isolate::Isolate;
use crate::platform::bindings::Bindings;
use crate::platform::vars::Vars;

#[cfg(feature = "kv-api")]
use kv_api::token::RevokedTokens;
#[cfg(feature = "assets")]
use {
    super::release,
    kv_store::store_error::StoreError,
    static_assets::asset_store::{AssetStore, BrokenRelease},
    static_assets::translations::Translations,
};
#[cfg(feature = "flags")]
use {
    feature_flags::config::{snapshot::Snapshot, user_record::UserRecord},
    feature_flags::flags::Definitions,
    kv_store::schema::Fault,
};
#[cfg(feature = "storefronts")]
use {
    kv_store::limits::Key,
    kv_store::record_cache::CachedRecord,
    tenant_router::TenantError,
    tenant_router::storefront_address::StorefrontAddress,
    tenant_router::storefront_record::{RecordError, RoutingEntry},
};

/// By id, the record of a storefront; by custom domain, the id of the storefront it belongs to.
#[cfg(feature = "storefronts")]
pub(crate) struct Storefronts;

#[cfg(feature = "storefronts")]
impl Keyspace for Storefronts {
    type Value = RoutingEntry;
    type Error = RecordError;

    fn store(env: &Bindings) -> Store {
        env.storefronts()
    }

    fn cache() -> &'static RefCell<RecordCache<Rc<RoutingEntry>, RecordError>> {
        &Isolate::current().storefronts.records
    }

    fn lifetime(&self, vars: &Vars) -> Lifetime {
        Lifetime::of_rare(vars.routing_refresh_ms)
    }

    async fn parse(
        &self,
        reader: &Reader,
        key: &str,
        json: Option<String>,
    ) -> Result<Option<RoutingEntry>, ReadFailure<RecordError>> {
        let record = json.map(|json| RoutingEntry::parse(key, &json, Some(&reader.vars.routing_origins)));
        record.transpose().map_err(ReadFailure::Broken)
    }
}

#[cfg(feature = "storefronts")]
impl Storefronts {
    /// Returns the value of the key that a request addresses. If that is a custom domain, returns
    /// the value of its storefront, and makes the storefront's key that of the address.
    pub(crate) async fn find<E: From<TenantError>>(
        address: &mut StorefrontAddress<'_>,
        read: impl AsyncFn(&Key<'_>) -> Result<Option<CachedRecord<Rc<RoutingEntry>>>, E>,
    ) -> Result<CachedRecord<Rc<RoutingEntry>>, E> {
        let found = read(&address.key).await?.ok_or_else(|| address.not_found())?;
        let RoutingEntry::CustomDomain(id) = &*found.value else { return Ok(found) };
        let dangling = || TenantError::DanglingDomain(id.as_str().to_owned());
        let owner = read(id).await?.ok_or_else(dangling)?;
        address.key = id.clone();
        Ok(owner)
    }
}

/// A user's record. Its absence is cached, too: with a snapshot, most users have none.
#[cfg(feature = "flags")]
pub(crate) struct Users;

#[cfg(feature = "flags")]
impl Keyspace for Users {
    type Value = Option<UserRecord>;
    type Error = BrokenRecord;

    const IS_PRIVATE: bool = true;

    fn store(env: &Bindings) -> Store {
        env.users()
    }

    fn cache() -> &'static RefCell<RecordCache<Rc<Option<UserRecord>>, BrokenRecord>> {
        &Isolate::current().flags.users
    }

    /// Most users visit an isolate rarely. If it has not read a user's record lately, the
    /// request waits for KV instead of using an old record.
    fn lifetime(&self, vars: &Vars) -> Lifetime {
        Lifetime::of_rare(vars.config_refresh_ms)
    }

    async fn parse(
        &self,
        _: &Reader,
        _: &str,
        json: Option<String>,
    ) -> Result<Option<Option<UserRecord>>, ReadFailure<BrokenRecord>> {
        json.map(|json| UserRecord::parse(&json)).transpose().map(Some).map_err(ReadFailure::Broken)
    }
}

/// The snapshot: the records of many users in one value. A missing one has no users.
#[cfg(feature = "flags")]
pub(crate) struct Snapshots;

#[cfg(feature = "flags")]
impl Keyspace for Snapshots {
    type Value = Snapshot;
    type Error = BrokenRecord;

    fn store(env: &Bindings) -> Store {
        env.users()
    }

    fn cache() -> &'static RefCell<RecordCache<Rc<Snapshot>, BrokenRecord>> {
        &Isolate::current().flags.snapshot
    }

    fn lifetime(&self, vars: &Vars) -> Lifetime {
        Lifetime::of_shared(vars.config_refresh_ms)
    }

    async fn parse(
        &self,
        _: &Reader,
        _: &str,
        json: Option<String>,
    ) -> Result<Option<Snapshot>, ReadFailure<BrokenRecord>> {
        json.map_or_else(|| Ok(Snapshot::default()), Snapshot::parse).map(Some).map_err(ReadFailure::Broken)
    }

    fn identity(json: &str) -> &str {
        Snapshot::identity(json)
    }
}

/// The flag definitions, or their absence.
#[cfg(feature = "flags")]
pub(crate) struct FlagDefinitions;

#[cfg(feature = "flags")]
impl Keyspace for FlagDefinitions {
    type Value = Option<Definitions>;
    type Error = Fault;

    fn store(env: &Bindings) -> Store {
        env.users()
    }

    fn cache() -> &'static RefCell<RecordCache<Rc<Option<Definitions>>, Fault>> {
        &Isolate::current().flags.definitions
    }

    fn lifetime(&self, vars: &Vars) -> Lifetime {
        Lifetime::of_shared(vars.config_refresh_ms)
    }

    async fn parse(
        &self,
        _: &Reader,
        _: &str,
        json: Option<String>,
    ) -> Result<Option<Option<Definitions>>, ReadFailure<Fault>> {
        let parsed = json.as_deref().map(Definitions::parse_until_fault).transpose();
        Isolate::current().flags_fault.replace(parsed.as_ref().err().cloned());
        parsed.map(Some).map_err(ReadFailure::Broken)
    }
}

/// The list of revoked tokens of the KV REST API; a missing one is empty.
#[cfg(feature = "kv-api")]
pub(crate) struct Revocations;

#[cfg(feature = "kv-api")]
impl Keyspace for Revocations {
    type Value = RevokedTokens;
    type Error = BrokenRecord;

    fn store(env: &Bindings) -> Store {
        env.revocations()
    }

    fn cache() -> &'static RefCell<RecordCache<Rc<RevokedTokens>, BrokenRecord>> {
        &Isolate::current().kv_api.revoked
    }

    /// A record is used for up to twice the time for which it is fresh, and a revocation has to
    /// take effect within `CONFIG_REFRESH` after KV shows it. While KV fails, for an hour at most,
    /// or has a broken list, the last one counts.
    fn lifetime(&self, vars: &Vars) -> Lifetime {
        Lifetime::of_rare(vars.config_refresh_ms / 2)
    }

    async fn parse(
        &self,
        _: &Reader,
        _: &str,
        json: Option<String>,
    ) -> Result<Option<RevokedTokens>, ReadFailure<BrokenRecord>> {
        RevokedTokens::parse(json.as_deref()).map(Some).map_err(ReadFailure::Broken)
    }
}

/// The release of files that is served, or that there are only unversioned keys.
#[cfg(feature = "assets")]
pub(crate) struct AssetStores;

#[cfg(feature = "assets")]
impl Keyspace for AssetStores {
    type Value = AssetStore;
    type Error = BrokenRelease;

    fn store(env: &Bindings) -> Store {
        env.files()
    }

    fn cache() -> &'static RefCell<RecordCache<Rc<AssetStore>, BrokenRelease>> {
        &Isolate::current().assets.store
    }

    fn lifetime(&self, vars: &Vars) -> Lifetime {
        Lifetime::of_shared(vars.assets_refresh_ms)
    }

    async fn parse(
        &self,
        reader: &Reader,
        _: &str,
        json: Option<String>,
    ) -> Result<Option<AssetStore>, ReadFailure<BrokenRelease>> {
        release::load(reader, json.as_deref()).await.map(Some)
    }
}

/// The translations of `/hello-world`: a file of the release, whose bytes never change, or a value
/// under an unversioned key.
#[cfg(feature = "assets")]
pub(crate) struct TranslationsFile {
    /// True for a file of the release.
    pub(crate) is_in_release: bool,
}

#[cfg(feature = "assets")]
impl Keyspace for TranslationsFile {
    type Value = Translations;
    type Error = BrokenRecord;

    fn store(env: &Bindings) -> Store {
        env.files()
    }

    fn cache() -> &'static RefCell<RecordCache<Rc<Translations>, BrokenRecord>> {
        &Isolate::current().assets.translations
    }

    fn lifetime(&self, vars: &Vars) -> Lifetime {
        Lifetime::of_rare(if self.is_in_release { u64::MAX } else { vars.assets_refresh_ms })
    }

    async fn parse(
        &self,
        _: &Reader,
        _: &str,
        json: Option<String>,
    ) -> Result<Option<Translations>, ReadFailure<BrokenRecord>> {
        match json {
            None if self.is_in_release => Err(ReadFailure::Store(StoreError::missing())),
            json => json.as_deref().map(Translations::parse).transpose().map_err(ReadFailure::Broken),
        }
    }
}
