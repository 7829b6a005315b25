//! `/console/api/releases`: the releases of files, what changed between two of them, and going
//! back to one.

use http_semantics::timestamp::rfc_3339;
use kv_store::limits::Key;
use kv_store::record::{parse_list, to_json};
use kv_store::record_cache::ReadFailure;
use kv_store::retry::{Backoff, Time};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use static_assets::FileError;
use static_assets::changes::ManifestChanges;
use static_assets::keys::{LEASES, MANIFESTS, POINTER};
use static_assets::lease;
use static_assets::release::{self, Pointer, Release};
use static_assets::rollback::{self, RollbackError};
use worker::web_sys::Response;

use super::{ConsoleError, ConsoleRequest, json};
use crate::http::error::RequestError;
use crate::kv::Store;
use crate::kv::asset_store::forget_pointer;
use crate::kv::put::{PutOptions, PutValue};
use crate::kv::release::stored_manifest;
use crate::platform::clock::Clock;

const ASSETS: &str = "assets";

/// The longest body, in bytes.
const BODY_BYTES_MAX: u32 = 4 * 1024;

/// The most keys of a page ("List keys").
const PAGE_KEYS: u32 = 1000;

/// The most pages of releases that are listed: 10,000 releases.
const PAGES_MAX: usize = 10;

/// The most releases that are shown.
const SHOWN_MAX: usize = 1000;

/// The most bytes of JSON of two manifests that are compared. Parsed they take twice as much, or
/// four times if their files have next to no names and very many chunks; an isolate has 128 MB.
const COMPARED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long a call of KV may take, retries included, in seconds.
const CALL_SECONDS: u64 = 60;

pub(super) async fn handle(request: &ConsoleRequest<'_>) -> Result<Response, RequestError> {
    match request.call {
        "" => list(request).await,
        "changes" => changes(request).await,
        "rollback" => roll_back(request).await,
        _ => Err(ConsoleError::UnknownCall.into()),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReleasesReply<'a> {
    current: Option<&'a str>,
    previous: &'a [String],
    /// The newest first.
    releases: Vec<ReleaseSummary<'a>>,
    /// False if there are more releases than are shown.
    is_complete: bool,
    /// False if newer releases may be among those that are not shown.
    has_newest: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReleaseSummary<'a> {
    id: &'a str,
    pushed: Option<String>,
    files: Option<u64>,
    bytes: Option<u64>,
    is_current: bool,
}

async fn list(request: &ConsoleRequest<'_>) -> Result<Response, RequestError> {
    request.require_method("GET")?;
    request.check_read(ASSETS, &[POINTER.as_str(), MANIFESTS])?;
    let store = request.context.env().files();
    let (mut all, has_newest) = all(&store).await?;
    let pointer = pointer(&store).await?;
    if !has_newest {
        let named = pointer.iter().flat_map(Pointer::named);
        let missing: Vec<_> = named.filter(|id| all.iter().all(|release| release.id != **id)).collect();
        all.extend(missing.into_iter().map(|id| Release { id: id.clone(), metadata: None }));
        release::sort_newest_first(&mut all);
    }
    let current = pointer.as_ref().map(|pointer| pointer.current.as_str());
    let releases = all.iter().take(SHOWN_MAX).map(|release| {
        let metadata = release.metadata.as_ref();
        ReleaseSummary {
            id: &release.id,
            pushed: metadata.map(|metadata| rfc_3339(metadata.created_ms / 1000)),
            files: metadata.map(|metadata| metadata.files),
            bytes: metadata.map(|metadata| metadata.bytes),
            is_current: current == Some(release.id.as_str()),
        }
    });
    json(&ReleasesReply {
        current,
        previous: pointer.as_ref().map_or(&[], |pointer| &pointer.previous),
        releases: releases.collect(),
        is_complete: has_newest && all.len() <= SHOWN_MAX,
        has_newest,
    })
}

async fn changes(request: &ConsoleRequest<'_>) -> Result<Response, RequestError> {
    request.require_method("GET")?;
    let [from, to] = request.parameters(["from", "to"])?;
    request.check_read(ASSETS, &[MANIFESTS])?;
    let store = request.context.env().files();
    let from_json = manifest_json(&store, &from).await?;
    check_comparable(from_json.len())?;
    let to_json = manifest_json(&store, &to).await?;
    check_comparable(from_json.len() + to_json.len())?;
    let (from, to) = (rollback::readable(&from, &from_json)?, rollback::readable(&to, &to_json)?);
    json(&ManifestChanges::between(&from, &to))
}

/// Checks how many bytes the manifests to compare have together.
fn check_comparable(bytes: usize) -> Result<(), ConsoleError> {
    if bytes > COMPARED_BYTES_MAX { Err(ConsoleError::ReleasesTooLong(COMPARED_BYTES_MAX)) } else { Ok(()) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RollbackBody {
    to: String,
    /// The release that the caller believes to be served.
    from: Option<String>,
}

#[derive(Serialize)]
struct RollbackResult<'a> {
    from: &'a str,
    to: &'a str,
    /// False if the pointer named the release already.
    changed: bool,
}

/// Does what `kv-edge assets rollback` does, under a lease that `assets gc` respects.
async fn roll_back(request: &ConsoleRequest<'_>) -> Result<Response, RequestError> {
    request.require_method("POST")?;
    request.check_read(ASSETS, &[MANIFESTS])?;
    request.check_change(ASSETS, &[POINTER.as_str(), LEASES])?;
    let RollbackBody { to, from } = request.body(BODY_BYTES_MAX).await?;
    let store = request.context.env().files();
    let now_ms = Clock.now_ms();
    let lease = lease::key(&lease::rollback_name(now_ms))?;
    let options = PutOptions::expiring_after(lease::seconds(CALL_SECONDS).into());
    put(&store, &lease, &lease::value(now_ms), Some(&options)).await?;
    let switched = switch(&store, from.as_deref(), &to, now_ms).await;
    if let Err((error, _)) = store.delete_with_retry(&lease, &Backoff::PUT).await.outcome {
        request.context.log().warning("kv_delete_failed", &format!("{}: {error}", lease.as_str()));
    }
    let before = switched?;
    forget_pointer();
    json(&RollbackResult { from: &before.current, to: &to, changed: before.current != to })
}

/// Writes the pointer, unless `assets gc` is running, and returns the one before. The manifest is
/// read under the lease: a gc that was running before may have deleted the release. The pointer is
/// written even if it names the release already, since KV may return one that was replaced up to
/// a minute ago.
async fn switch(store: &Store, believed: Option<&str>, to: &str, now_ms: u64) -> Result<Pointer, RequestError> {
    let mut cursor = None;
    loop {
        let (leases, next) = store.key_names(LEASES, PAGE_KEYS, cursor.as_deref()).await?;
        lease::check_no_gc(leases.iter().map(String::as_str)).map_err(RollbackError::from)?;
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    let before = rollback::served(pointer(store).await?, believed)?;
    rollback::readable(to, &manifest_json(store, to).await?)?;
    put(store, &POINTER, &to_json(&Pointer::rolled_back(&before, to, now_ms)), None).await?;
    Ok(before)
}

async fn put(store: &Store, key: &Key<'_>, value: &str, options: Option<&PutOptions>) -> Result<(), RequestError> {
    let put = store.put_with_retry(key, &PutValue::text(value), options, &Backoff::PUT, |_| {}).await;
    put.outcome.map_err(|(error, _)| error.into())
}

/// Returns the releases, the newest first, and true if these are all. KV lists the oldest first,
/// so of very many the newest are missing.
async fn all(store: &Store) -> Result<(Vec<Release>, bool), RequestError> {
    /// A key of a list.
    #[derive(Deserialize)]
    struct ListedManifest {
        name: String,
        metadata: Option<Value>,
    }
    let (mut all, mut cursor) = (Vec::new(), None);
    for _ in 0..PAGES_MAX {
        let page = store.key_page(MANIFESTS, PAGE_KEYS, cursor.as_deref(), 0).await?;
        let listed: Vec<ListedManifest> = parse_list(&page.json).map_err(|broken| FileError::unavailable(&broken))?;
        all.extend(listed.into_iter().filter_map(|key| Release::of_listed(&key.name, key.metadata)));
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    release::sort_newest_first(&mut all);
    Ok((all, cursor.is_none()))
}

/// Returns the pointer; `None` if nothing was pushed yet.
async fn pointer(store: &Store) -> Result<Option<Pointer>, RequestError> {
    let json = store.text_with_retry(&POINTER).await?;
    let pointer = json.as_deref().map(Pointer::parse).transpose();
    Ok(pointer.map_err(|broken| FileError::unavailable(&broken))?)
}

async fn manifest_json(store: &Store, id: &str) -> Result<String, RequestError> {
    stored_manifest(store, id).await.map_err(|failure| match failure {
        ReadFailure::Store(error) => error.into(),
        ReadFailure::Broken(error) => error.into(),
    })
}
