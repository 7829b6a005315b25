//! Reads the releases of files: the one to serve, which one record, the pointer, names, and
//! manifests, which list the files of a release.

use std::rc::Rc;

use kv_store::limits::Key;
use kv_store::record_cache::ReadFailure;
use kv_store::store_error::StoreError;
use static_assets::asset_store::{AssetStore, BrokenRelease, LoadedRelease};
use static_assets::keys::{POINTER, manifest_key};
use static_assets::manifest::Manifest;
use static_assets::release::Pointer;
#[cfg(feature = "console")]
use static_assets::rollback::RollbackError;
use wasm_bindgen::JsValue;

use super::keyspace::Reader;
use super::{ReadOptions, Store};
use crate::isolate::Isolate;
use crate::platform::meter::Metered;

/// Returns the release that the pointer names; without a pointer, the namespace has unversioned
/// keys only. A manifest is written before the pointer that names it, but another of Cloudflare's
/// locations may see the pointer first. Then the latest previous release that has one is served.
///
/// # Errors
/// The pointer does not parse, no release has a manifest, or one that is looked at cannot be read
/// or parsed: only a missing one is passed over.
pub(super) async fn load(reader: &Reader, pointer: Option<&str>) -> Result<AssetStore, ReadFailure<BrokenRelease>> {
    let Some(json) = pointer else { return Ok(AssetStore::UnversionedKeys) };
    let pointer = Pointer::parse(json).map_err(|broken| ReadFailure::Broken(BrokenRelease::Record(POINTER, broken)))?;
    Isolate::current().assets.manifests.borrow_mut().retain_named_by(&pointer);
    for id in std::iter::once(&pointer.current).chain(&pointer.previous) {
        if let Some(manifest) = manifest(&reader.store, id).await? {
            if *id != pointer.current {
                let detail = format!("{} has no manifest, {id} is served", pointer.current);
                reader.log.warning("release_behind", &detail);
            }
            return Ok(AssetStore::Release(LoadedRelease { pointer, manifest }));
        }
    }
    Err(ReadFailure::Broken(BrokenRelease::NoManifest(pointer.current)))
}

/// Returns the manifest of a release; `None` if there is none. It is in memory as long as the
/// pointer names it, unless it is too long beside the others. A manifest that is missing is read a
/// second time, and then remembered as missing until [`load`] runs again.
pub(super) async fn manifest(store: &Store, id: &str) -> Result<Option<Rc<Manifest>>, ReadFailure<BrokenRelease>> {
    let manifests = &Isolate::current().assets.manifests;
    let cached = manifests.borrow().get(id);
    if let Some(cached) = cached {
        store.meter.count(Metered::MemoryHit);
        return Ok(cached);
    }
    let Ok(key) = manifest_key(id) else { return Ok(None) };
    let json = manifest_json(store, &key).await.map_err(ReadFailure::Store)?;
    // Another request may have parsed the manifest meanwhile; parsing takes longer than reading.
    let cached = manifests.borrow().get(id);
    if let Some(cached) = cached {
        return Ok(cached);
    }
    let broken = |broken| ReadFailure::Broken(BrokenRelease::Record(key.to_static(), broken));
    let manifest = json.as_deref().map(Manifest::parse).transpose().map_err(broken)?.map(Rc::new);
    manifests.borrow_mut().insert(id, manifest.clone());
    Ok(manifest)
}

/// Returns the JSON of a manifest. It should exist, so it is read a second time if it is missing.
async fn manifest_json(store: &Store, key: &Key<'_>) -> Result<Option<String>, StoreError> {
    match store.text_with_retry(key).await? {
        Some(json) => Ok(Some(json)),
        None => store.text_with_retry(key).await,
    }
}

/// Returns the JSON of the manifest of any release, which is neither looked for in memory nor kept
/// there: what visitors need would be evicted. A release without one is
/// [`RollbackError::NotFound`].
#[cfg(feature = "console")]
pub(crate) async fn stored_manifest(store: &Store, id: &str) -> Result<String, ReadFailure<RollbackError>> {
    let not_found = || ReadFailure::Broken(RollbackError::NotFound(id.to_owned()));
    let key = manifest_key(id).map_err(|_| not_found())?;
    manifest_json(store, &key).await.map_err(ReadFailure::Store)?.ok_or_else(not_found)
}

/// Reads a value that should exist: a second time if it is missing.
pub(super) async fn read_existing(
    store: &Store,
    key: &Key<'_>,
    options: &ReadOptions,
) -> Result<Option<JsValue>, StoreError> {
    match store.read_with_retry(key, options).await? {
        Some(value) => Ok(Some(value)),
        None => store.read_with_retry(key, options).await,
    }
}
