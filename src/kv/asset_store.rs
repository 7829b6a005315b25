//! The `assets` namespace: the release that is served, which one record, the pointer, names and an
//! isolate has in memory; and files under unversioned keys, which are their own names. Every job
//! that serves files reads them through it.

use std::rc::Rc;

use kv_store::limits::Key;
use kv_store::record::{self, BrokenRecord};
use kv_store::record_cache::{CachedRecord, ReadFailure, RecordState};
use kv_store::retry::Time;
#[cfg(feature = "storefronts")]
use static_assets::AssetError;
use static_assets::FileError;
use static_assets::asset_store::{AssetStore, CACHED_BODY_BYTES_MAX, LoadedRelease};
use static_assets::keys::{POINTER, blob_key};
use static_assets::manifest::FileBody;
use static_assets::pieces::{self, Piece};
use static_assets::response::Content;
use static_assets::translations::Translations;
use wasm_bindgen::{JsCast, JsValue};

use super::body_assembly::sliced;
use super::keyspace::Keyspace;
use super::keyspaces::{AssetStores, TranslationsFile};
use super::release::{manifest, read_existing};
use super::{ReadOptions, Store};
use crate::http::error::RequestError;
use crate::http::request_context::RequestContext;
use crate::isolate::Isolate;
use crate::platform::clock::Clock;
use crate::platform::meter::Metered;

/// Returns what the namespace serves, and whether that is what KV holds. The pointer is read again
/// in the background after `ASSETS_REFRESH`. If KV fails or has a broken release, the last one
/// that could be read is used.
#[expect(clippy::expect_used, reason = "a release that is lost must not look like a namespace without one")]
pub(crate) async fn current(context: &RequestContext) -> Result<CachedRecord<Rc<AssetStore>>, RequestError> {
    let read = AssetStores.get(context, &POINTER, Clock.now_ms()).await.map_err(|failure| match failure {
        ReadFailure::Store(error) => FileError::unavailable(&error),
        ReadFailure::Broken(broken) => FileError::unavailable(&broken),
    })?;
    let cached = read.expect("`load` returns something even without a pointer");
    if matches!(&*cached.value, AssetStore::Release(release) if release.is_behind()) {
        // The manifest of the current release may be visible at the next read.
        AssetStores::cache().borrow_mut().mark_incomplete(POINTER.as_str());
        return Ok(CachedRecord { record_state: RecordState::LastKnownGood, ..cached });
    }
    Ok(cached)
}

/// Makes the next request read the pointer again, because this isolate has changed it.
#[cfg(feature = "console")]
pub(crate) fn forget_pointer() {
    AssetStores::cache().borrow_mut().remove(POINTER.as_str(), Clock.now_ms());
}

/// Returns a previous release, if its manifest is there and can be parsed. A broken one is not
/// read again until the pointer changes; nor is one that is too long to stay in memory with the
/// others, which is used this once.
pub(crate) async fn previous_release(
    context: &RequestContext,
    release: &LoadedRelease,
    id: &str,
) -> Result<Option<LoadedRelease>, RequestError> {
    let manifests = &Isolate::current().assets.manifests;
    let manifest = match manifest(&context.env().files(), id).await {
        Ok(Some(manifest)) => manifest,
        Ok(None) => return Ok(None),
        Err(ReadFailure::Store(error)) => {
            return Err(FileError::unavailable(&format!("release {id}: {error}")).into());
        }
        Err(ReadFailure::Broken(broken)) => {
            context.log().warning("broken_record", &broken);
            manifests.borrow_mut().insert(id, None);
            return Ok(None);
        }
    };
    manifests.borrow_mut().enforce_bound(id, &release.manifest.id);
    Ok(Some(release.with_manifest(manifest)))
}

/// Returns the latest previous release, if its manifest is in memory.
pub(crate) fn cached_previous_release(context: &RequestContext, release: &LoadedRelease) -> Option<LoadedRelease> {
    let manifest = Isolate::current().assets.manifests.borrow().get(release.pointer.previous.first()?)??;
    context.meter().count(Metered::MemoryHit);
    Some(release.with_manifest(manifest))
}

/// Logs that the previous release responded.
pub(crate) fn warn_of_previous_release(context: &RequestContext, failure: &RequestError) {
    context.log().warning("previous_release", &failure.cause());
}

/// Returns the content of a response. At most one value of KV is read before it begins.
pub(crate) async fn content(context: &RequestContext, selected: &Content<'_>) -> Result<JsValue, RequestError> {
    match selected {
        Content::None => Ok(JsValue::NULL),
        Content::Whole(body) => whole_body(&context.env().files(), body).await,
        Content::Parts { body, parts, length } => {
            let store = context.env().files();
            let pieces = pieces::of_parts(body, parts);
            assembled(&store, body, &pieces, *length).await
        }
    }
}

/// Returns the content of a response, if it is in memory and one whole body: parts would have to
/// be assembled.
pub(crate) fn cached_content(context: &RequestContext, selected: &Content<'_>) -> Option<JsValue> {
    match selected {
        Content::None => Some(JsValue::NULL),
        Content::Whole(body) => {
            let bytes = cached_body(&body.hash)?;
            context.meter().count(Metered::MemoryHit);
            Some(bytes.into())
        }
        Content::Parts { .. } => None,
    }
}

async fn whole_body(store: &Store, body: &FileBody) -> Result<JsValue, RequestError> {
    if body.length == 0 {
        return Ok(js_sys::ArrayBuffer::new(0).into());
    }
    if body.length <= CACHED_BODY_BYTES_MAX {
        return short_body(store, body).await.map(Into::into);
    }
    let pieces = pieces::of_whole(body);
    match pieces.as_slice() {
        // The runtime's own stream. Its length is not checked: KV breaks off a value that it does
        // not deliver whole, so only one that was replaced is shorter. Counting the bytes of every
        // long file would cost half as much again, and would not notice other bytes.
        [Piece::Bytes { key, .. }] => stream(store, key).await,
        pieces => assembled(store, body, pieces, body.length).await,
    }
}

/// Returns the bytes of a short body, from memory or from KV.
async fn short_body(store: &Store, body: &FileBody) -> Result<js_sys::ArrayBuffer, RequestError> {
    if let Some(bytes) = cached_body(&body.hash) {
        store.meter.count(Metered::MemoryHit);
        return Ok(bytes);
    }
    let key = blob_key(&body.hash);
    let read = read_existing(store, &key, &ReadOptions::IMMUTABLE_BYTES)
        .await
        .map_err(|error| FileError::unavailable(&error))?;
    let bytes: js_sys::ArrayBuffer = read.ok_or_else(|| FileError::missing(&key))?.unchecked_into();
    if u64::from(bytes.byte_length()) != body.length {
        return Err(FileError::missing(&key).into());
    }
    let length = bytes.byte_length() as usize;
    Isolate::current().assets.bodies.borrow_mut().insert(&body.hash, bytes.clone(), length);
    Ok(bytes)
}

/// Returns the bytes of a short body, if they are in memory.
fn cached_body(hash: &str) -> Option<js_sys::ArrayBuffer> {
    let mut bodies = Isolate::current().assets.bodies.borrow_mut();
    bodies.touch(hash);
    bodies.get(hash).cloned()
}

async fn stream(store: &Store, key: &Key<'_>) -> Result<JsValue, RequestError> {
    let read = read_existing(store, key, &ReadOptions::IMMUTABLE_STREAM)
        .await
        .map_err(|error| FileError::unavailable(&error))?;
    Ok(read.ok_or_else(|| FileError::missing(key))?)
}

/// Returns pieces of a body, one after the other: as bytes if the whole body is short, else as a
/// stream, of which the first value is read before the response begins.
async fn assembled(store: &Store, body: &FileBody, pieces: &[Piece<'_>], total: u64) -> Result<JsValue, RequestError> {
    let plan = record::to_json(pieces);
    #[allow(clippy::cast_precision_loss)] // Files are shorter than 2^53 bytes.
    let total = total as f64;
    if body.length <= CACHED_BODY_BYTES_MAX {
        let bytes = short_body(store, body).await?;
        return sliced(&bytes, &plan, total).map_err(|thrown| RequestError::internal(&thrown));
    }
    let first = pieces.iter().find_map(|piece| match piece {
        Piece::Bytes { key, .. } => Some(key),
        Piece::Text(_) => None,
    });
    let first = match first {
        Some(key) => stream(store, key).await?,
        None => JsValue::UNDEFINED,
    };
    Ok(store.assembled(&plan, &first, total).into())
}

/// Returns the file under an unversioned key; `None` if there is none, which is cached for
/// `ASSETS_REFRESH`.
pub(crate) async fn unversioned_file(context: &RequestContext, key: &Key<'_>) -> Result<Option<JsValue>, RequestError> {
    let now_ms = Clock.now_ms();
    let refresh_ms = context.vars().assets_refresh_ms;
    let absent = &Isolate::current().assets.absent;
    // If the clock was set back, the key is read again.
    let is_fresh = |since_ms: &u64| now_ms.checked_sub(*since_ms).is_some_and(|ago_ms| ago_ms < refresh_ms);
    if absent.borrow().get(key.as_str()).is_some_and(is_fresh) {
        context.meter().count(Metered::MemoryHit);
        return Ok(None);
    }
    let store = context.env().files();
    let read =
        store.read_with_retry(key, &ReadOptions::STREAM).await.map_err(|error| FileError::unavailable(&error))?;
    if read.is_none() {
        absent.borrow_mut().insert(key.as_str(), now_ms, 0);
    }
    Ok(read)
}

/// Returns a page for another job: the file of the release with this name, or the one under the
/// unversioned key.
#[cfg(feature = "storefronts")]
pub(crate) async fn page_file(context: &RequestContext, key: &Key<'_>) -> Result<JsValue, RequestError> {
    let current = current(context).await?;
    if let AssetStore::Release(release) = &*current.value
        && let Some(file) = release.manifest.file(&format!("/{}", key.as_str()))
    {
        return whole_body(&context.env().files(), &file.body).await;
    }
    unversioned_file(context, key).await?.ok_or_else(|| AssetError::NotFound.into())
}

/// Returns the translations with this name: those of the release, or those under the unversioned
/// key. `None` if there are none.
pub(crate) async fn translations(
    context: &RequestContext,
    key: &Key<'_>,
) -> Result<Option<Rc<Translations>>, ReadFailure<BrokenRecord>> {
    // Without the release, the unversioned key may still have translations.
    let in_release = match current(context).await {
        Ok(current) => match &*current.value {
            AssetStore::Release(release) => {
                let file = release.manifest.file(&format!("/{}", key.as_str()));
                file.map(|file| blob_key(&file.body.hash))
            }
            AssetStore::UnversionedKeys => None,
        },
        Err(failure) => {
            context.log().warning("release_unknown", &failure.cause());
            None
        }
    };
    let file = TranslationsFile { is_in_release: in_release.is_some() };
    let cached = file.get(context, in_release.as_ref().unwrap_or(key), Clock.now_ms()).await?;
    Ok(cached.map(|cached| cached.value))
}
