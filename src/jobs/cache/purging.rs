//! `POST /cache/purge`: what is stored so far for its targets is not used any more, or after a
//! soft purge only until it is refreshed.

use std::ops::Not;

use futures_util::future::join_all;
use http_cache::cached_url::CachedUrl;
use http_cache::purge::{self, Purge, PurgeError, PurgeMode, PurgeRequest, PurgeTarget};
use http_semantics::origin::OriginAllowList;
use kv_store::retry::{Backoff, Time};
use serde::Serialize;
use worker::web_sys::Response;

use super::response_store::memory;
use crate::http::error::RequestError;
use crate::http::request_context::RequestContext;
use crate::http::response;
use crate::kv::put::{PutOptions, PutValue};
use crate::kv::{Store, purges};
use crate::platform::clock::Clock;

/// Puts a record for each target. For a hard purge of a URL, the response under its own key and
/// its page are deleted as well.
pub(crate) async fn handle(context: &RequestContext) -> Result<Response, RequestError> {
    context.authorize()?;
    let vars = context.vars();
    let PurgeRequest { targets, mode } = purge::parse_request(&body(context).await?, &vars.cache_upstreams)?;
    let (store, at_ms) = (context.env().cache_store(), Clock.now_ms());
    let purges: Vec<Purge> = targets.into_iter().map(|target| Purge { target, mode, at_ms }).collect();
    let written = join_all(purges.iter().map(|purge| write_purge(&store, purge, &vars.cache_upstreams))).await;
    written.into_iter().collect::<Result<(), RequestError>>()?;
    let soft = mode == PurgeMode::Soft;
    let result = PurgeResult { purged: purges.iter().map(|purge| &purge.target).collect(), soft, at_ms };
    let json = serde_json::to_vec(&result).map_err(|error| RequestError::internal(&error.to_string().into()))?;
    let fields = [("content-type", "application/json"), ("cache-control", "no-store")];
    Ok(response::with_status(200, &response::bytes(&json), &fields)?)
}

/// Writes a purge. For a hard one of a URL, the values under its two keys are deleted as well (no
/// request finds its variants then), so the record is needed only until the deletes are visible
/// everywhere.
async fn write_purge(store: &Store, purge: &Purge, allowed: &OriginAllowList) -> Result<(), RequestError> {
    let backoff = Backoff::PUT_WITHIN_20_S;
    let mut newest = purge.clone();
    loop {
        let options = PutOptions::expiring(newest.expiration_ttl_seconds()).and_metadata(&newest.metadata());
        let options = options.map_err(|thrown| RequestError::internal(&thrown))?;
        let (key, value) = (newest.key(), PutValue::text(""));
        store
            .put_with_retry(&key, &value, Some(&options), &backoff, |_| {})
            .await
            .outcome
            .map_err(|(error, _)| error)?;
        // A put that was retried may have replaced the record of a later purge of the same target.
        match purges::remember_own(&newest) {
            Some(later) => newest = later,
            None => break,
        }
    }
    if let (PurgeTarget::Url(url), PurgeMode::Hard) = (&purge.target, purge.mode)
        && let Ok(url) = CachedUrl::of_href(url, allowed)
    {
        for key in [url.key(), url.page_key()] {
            // A response that is on its way would outlive the record.
            memory(|memory| memory.invalidate(key.as_str(), purge.at_ms));
            store.delete_with_retry(&key, &backoff).await.outcome.map_err(|(error, _)| error)?;
        }
    }
    Ok(())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PurgeResult<'a> {
    purged: Vec<&'a PurgeTarget>,
    #[serde(skip_serializing_if = "Not::not")]
    soft: bool,
    at_ms: u64,
}

/// Reads the body, if it is not longer than a purge request may be.
async fn body(context: &RequestContext) -> Result<Vec<u8>, RequestError> {
    let length = context.header("content-length").and_then(|length| length.trim().parse::<usize>().ok());
    let length = length.ok_or(PurgeError::LengthRequired)?;
    if length > purge::REQUEST_BYTES_MAX {
        return Err(PurgeError::TooLong.into());
    }
    let body = context.body_bytes(u64::try_from(length).unwrap_or(u64::MAX)).await?;
    Ok(js_sys::Uint8Array::new(&body).to_vec())
}
