//! Reading a release: what its pointer names, and the manifests.

use std::rc::Rc;

use kv_store::limits::Key;
use kv_store::memory::Unread;
use kv_store::store::StoreError;
use static_assets::keys::POINTER;
use static_assets::manifest::Manifest;
use static_assets::release::{Pointer, manifest_key};
use static_assets::site::{BrokenSite, Release, Site};
use wasm_bindgen::JsValue;

use super::keyspace::Reader;
use super::{Form, Store};
use crate::isolate::Isolate;

/// Reads the release that a pointer names. Its manifest was written before the pointer, but
/// another location may see the pointer first: then the release before serves.
pub(super) async fn load(reader: &Reader, pointer: Option<&str>) -> Result<Site, Unread<BrokenSite>> {
    let Some(json) = pointer else { return Ok(Site::PlainKeys) };
    let pointer = Pointer::parse(json).map_err(|broken| Unread::Broken(BrokenSite::Record(POINTER, broken)))?;
    Isolate::current().assets.manifests.borrow_mut().retain_of(&pointer);
    for id in std::iter::once(&pointer.current).chain(&pointer.previous) {
        if let Some(manifest) = manifest(&reader.store, id).await? {
            if *id != pointer.current {
                let behind = format!("{} has no manifest, {id} is served", pointer.current);
                reader.log.warning("release_behind", &behind);
            }
            return Ok(Site::Release(Release { pointer, manifest }));
        }
    }
    Err(Unread::Broken(BrokenSite::NoManifest(pointer.current)))
}

/// The manifest of a release, read once an isolate, and once more if it is not there.
pub(super) async fn manifest(store: &Store, id: &str) -> Result<Option<Rc<Manifest>>, Unread<BrokenSite>> {
    let manifests = &Isolate::current().assets.manifests;
    let known = manifests.borrow().get(id);
    if let Some(known) = known {
        return Ok(known);
    }
    let Ok(key) = manifest_key(id) else { return Ok(None) };
    let json = present(store, &key, &Form::TEXT).await.map_err(Unread::Store)?;
    let json = json.and_then(|json| json.as_string());
    // Another request may have parsed it meanwhile, which takes longer than reading it.
    let known = manifests.borrow().get(id);
    if let Some(known) = known {
        return Ok(known);
    }
    let broken = |broken| Unread::Broken(BrokenSite::Record(key.to_static(), broken));
    let manifest = json.as_deref().map(Manifest::parse).transpose().map_err(broken)?.map(Rc::new);
    manifests.borrow_mut().insert(id, manifest.clone(), json.map_or(0, |json| json.len()));
    Ok(manifest)
}

/// A value that should be there: read once more where it is not.
pub(super) async fn present(store: &Store, key: &Key<'_>, form: &Form) -> Result<Option<JsValue>, StoreError> {
    match store.read_with_retry(key, form).await? {
        Some(value) => Ok(Some(value)),
        None => store.read_with_retry(key, form).await,
    }
}
