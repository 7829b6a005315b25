//! The shared cache in the console:
//!
//! - `GET /console/api/cache?url={URL}`: what KV holds for a URL: a response for each variant that
//!   `Vary` tells apart, and its page as JSON.
//! - `POST /console/api/cache/check-purge`: what is wrong with a purge that somebody types. Its
//!   body is that of `POST /cache/purge`.

use futures_util::future::{join, join_all, try_join};
use http_cache::cached_url::CachedUrl;
use http_cache::inspection::{InspectedResponse, inspect};
use http_cache::page_view::DEFAULT_LIFETIME_MS;
use http_cache::purge::{self, KEY_PREFIX, PurgeError};
use http_cache::stored_response::StoredResponse;
use kv_api::access::Access;
use kv_store::limits::Key;
use kv_store::retry::Time;
use kv_store::store_error::StoreError;
use serde::Serialize;
use worker::web_sys::Response;

use super::findings::Findings;
use super::{ConsoleError, ConsoleRequest, json};
use crate::http::error::RequestError;
use crate::http::{stream, url};
use crate::kv::envelope::EnvelopeBody;
use crate::kv::{Store, purges};
use crate::platform::clock::Clock;

/// The most variants beside the response under the URL's own key. Each costs a read.
const VARIANTS_MAX: usize = 40;

/// The most pages of keys that are listed: a page may be empty although others follow.
const PAGES_MAX: usize = 5;

/// The longest body of a purge, in bytes.
#[expect(clippy::cast_possible_truncation, reason = "it is 64 KiB")]
const PURGE_BYTES_MAX: u32 = purge::REQUEST_BYTES_MAX as u32;

/// What is stored for a URL.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StoredUrl<'a> {
    /// In canonical form.
    url: &'a str,
    is_stored: bool,
    variants: Vec<InspectedResponse>,
    /// False if KV may have more variants.
    is_complete: bool,
}

pub(super) async fn handle(request: &ConsoleRequest<'_>) -> Result<Response, RequestError> {
    match request.call {
        "" => look_up(request).await,
        "check-purge" => check_purge(request).await,
        _ => Err(ConsoleError::UnknownCall.into()),
    }
}

async fn look_up(request: &ConsoleRequest<'_>) -> Result<Response, RequestError> {
    request.require_method("GET")?;
    let [url] = request.parameters(["url"])?;
    let url = url::cached_url(&url, &request.context.vars().cache_upstreams)?;
    let (key, page) = (url.key(), url.page_key());
    request.check_read("CACHE_KV", &[key.as_str(), page.as_str(), KEY_PREFIX])?;
    let store = request.context.env().cache_store();
    let (purges, (variants, is_complete)) =
        try_join(purges::listed(request.context), variant_keys(&store, &url)).await?;
    let now_ms = Clock.now_ms();
    let of_page = stored(&store, page, Some(DEFAULT_LIFETIME_MS), now_ms);
    let responses = std::iter::once(key).chain(variants).map(|key| stored(&store, key, None, now_ms));
    let (mut found, page) = join(join_all(responses), of_page).await;
    found.push(page);
    let found: Vec<_> = found.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
    let variants = inspect(&url, &found, &purges, now_ms);
    json(&StoredUrl { url: url.as_str(), is_stored: !variants.is_empty(), variants, is_complete })
}

/// Checks a purge for a caller who may purge. It is parsed as
/// [`purging`](crate::jobs::cache::purging) parses it, but needs no `Content-Length`.
async fn check_purge(request: &ConsoleRequest<'_>) -> Result<Response, RequestError> {
    request.require_method("POST")?;
    if !matches!(request.access, Access::Everything) {
        return Err(ConsoleError::OutOfScope.into());
    }
    let body = request.context.short_body(PURGE_BYTES_MAX).await?;
    match purge::parse_request(&body, &request.context.vars().cache_upstreams) {
        Ok(_) => json(&Findings::default()),
        Err(PurgeError::Invalid(faults)) => {
            json(&Findings { faults: faults.into_iter().map(Into::into).collect(), warnings: Vec::new() })
        }
        Err(error) => Err(error.into()),
    }
}

/// Returns the keys of variants, and true if there are no more.
async fn variant_keys(store: &Store, url: &CachedUrl) -> Result<(Vec<Key<'static>>, bool), StoreError> {
    let (prefix, mut keys, mut cursor) = (url.variant_key_prefix(), Vec::new(), None);
    for _ in 0..PAGES_MAX {
        #[expect(clippy::expect_used, reason = "another limit would list keys that are not shown")]
        let limit = u32::try_from(VARIANTS_MAX - keys.len()).expect("there are 40 at most");
        let (names, next) = store.key_names(&prefix, limit, cursor.as_deref()).await?;
        for name in names {
            keys.push(Key::new(name).map_err(|error| StoreError::permanent(error.to_string()))?);
        }
        match next {
            None => return Ok((keys, true)),
            Some(_) if keys.len() >= VARIANTS_MAX => break,
            next => cursor = next,
        }
    }
    Ok((keys, false))
}

/// Returns the response under a key, without its body; `None` if there is none that is usable.
async fn stored(
    store: &Store,
    key: Key<'static>,
    default_lifetime_ms: Option<u64>,
    now_ms: u64,
) -> Result<Option<(Key<'static>, StoredResponse)>, RequestError> {
    let Some(envelope) = store.envelope(&key, Some(0)).await? else { return Ok(None) };
    if let EnvelopeBody::Stream(body) = &envelope.body {
        stream::cancel(body);
    }
    let stored = StoredResponse::from_head(envelope.head.as_deref(), default_lifetime_ms, now_ms);
    Ok(stored.ok().map(|stored| (key, stored)))
}
