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
use static_assets::keys::{MANIFESTS, POINTER, PUSHES};
use static_assets::lease;
use static_assets::manifest::Manifest;
use static_assets::release::{self, Pointer, Release};
use static_assets::rollback::{self, RollbackError};
use worker::web_sys::Response;

use super::{ConsoleError, ConsoleRequest, json};
use crate::http::error::RequestError;
use crate::kv::asset_store::forget_pointer;
use crate::kv::put::{PutOptions, PutValue};
use crate::kv::release::stored_manifest;
use crate::kv::{ReadOptions, Store};
use crate::platform::clock::Clock;

/// The binding.
const ASSETS: &str = "assets";

/// The longest body, in bytes.
const BODY_BYTES_MAX: u32 = 4 * 1024;

/// The most keys of a page ("List keys").
const PAGE_KEYS: u32 = 1000;

/// The most pages of releases that are listed.
const PAGES_MAX: usize = 10;

/// The most releases that are shown.
const SHOWN_MAX: usize = 1000;

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
    request.parameters([])?;
    request.check_read(ASSETS, &[POINTER.as_str(), MANIFESTS])?;
    let store = request.context.env().files();
    let (all, is_complete) = all(&store).await?;
    let pointer = pointer(&store).await?;
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
        is_complete: is_complete && all.len() <= SHOWN_MAX,
    })
}

async fn changes(request: &ConsoleRequest<'_>) -> Result<Response, RequestError> {
    request.require_method("GET")?;
    let [from, to] = request.parameters(["from", "to"])?;
    request.check_read(ASSETS, &[MANIFESTS])?;
    let store = request.context.env().files();
    let (from, to) = (manifest(&store, &from).await?, manifest(&store, &to).await?);
    json(&ManifestChanges::between(&from, &to))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RollbackBody {
    to: String,
}

#[derive(Serialize)]
struct RollbackResult<'a> {
    from: &'a str,
    to: &'a str,
    changed: bool,
}

/// Does what `kv-edge assets rollback` does, under a lease that `assets gc` respects.
async fn roll_back(request: &ConsoleRequest<'_>) -> Result<Response, RequestError> {
    request.require_method("POST")?;
    request.check_read(ASSETS, &[MANIFESTS])?;
    request.check_change(ASSETS, &[POINTER.as_str(), PUSHES])?;
    let RollbackBody { to } = request.body(BODY_BYTES_MAX).await?;
    let store = request.context.env().files();
    let (releases, _) = all(&store).await?;
    let pointer = pointer(&store).await?;
    let (before, to) = rollback::target(pointer.as_ref(), Some(&to), &releases)?;
    let changed = before.current != to;
    if changed {
        let now_ms = Clock.now_ms();
        let lease = lease::key(&lease::rollback_name(now_ms))?;
        let options = PutOptions::expiring_after(lease::seconds(CALL_SECONDS).into());
        put(&store, &lease, &lease::value(now_ms), Some(&options)).await?;
        let switched = switch(&store, before, to, now_ms).await;
        if let Err((error, _)) = store.delete_with_retry(&lease, &Backoff::PUT).await.outcome {
            request.context.log().warning("kv_delete_failed", &format!("{}: {error}", lease.as_str()));
        }
        switched?;
        forget_pointer();
    }
    json(&RollbackResult { from: &before.current, to, changed })
}

/// Writes the pointer, unless `assets gc` is running. The manifest is read under the lease: a gc
/// that was running before may have deleted the release.
async fn switch(store: &Store, before: &Pointer, to: &str, now_ms: u64) -> Result<(), RequestError> {
    let mut cursor = None;
    loop {
        let (leases, next) = store.key_names(PUSHES, PAGE_KEYS, cursor.as_deref()).await?;
        lease::check_no_gc(leases.iter().map(String::as_str)).map_err(RollbackError::from)?;
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    manifest(store, to).await?;
    put(store, &POINTER, &to_json(&Pointer::rolled_back(before, to, now_ms)), None).await
}

async fn put(store: &Store, key: &Key<'_>, value: &str, options: Option<&PutOptions>) -> Result<(), RequestError> {
    let put = store.put_with_retry(key, &PutValue::text(value), options, &Backoff::PUT, |_| {}).await;
    put.outcome.map_err(|(error, _)| error.into())
}

/// Returns all releases, the newest first, and true if there are no more.
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
    let json = store.read_with_retry(&POINTER, &ReadOptions::TEXT).await?.and_then(|json| json.as_string());
    let pointer = json.as_deref().map(Pointer::parse).transpose();
    Ok(pointer.map_err(|broken| FileError::unavailable(&broken))?)
}

async fn manifest(store: &Store, id: &str) -> Result<Manifest, RequestError> {
    stored_manifest(store, id).await.map_err(|failure| match failure {
        ReadFailure::Store(error) => error.into(),
        ReadFailure::Broken(error) => error.into(),
    })
}
