//! Calls for one key (its value, its metadata, its put and its delete), and the list of keys.

use http_semantics::conditional::{PreconditionResult, Validators, evaluate};
use http_semantics::content_hash::ContentHasher;
use http_semantics::fields::Fields;
use http_semantics::range::{Range, content_range};
use http_semantics::request_body::RequestBodyError;
use http_semantics::request_target::RequestTarget;
use kv_api::access::Access;
use kv_api::bulk::{check_metadata, check_prefix};
use kv_api::call::KeysQuery;
use kv_api::envelope::PageInfo;
use kv_api::error::{KvApiError, Operation};
use kv_api::expiration::Expiration;
use kv_api::form::FormScanner;
use kv_store::limits::{Key, VALUE_BYTES_MAX};
use kv_store::retry::{Backoff, Time};
use kv_store::store_error::StoreError;
use serde_json::json;
use serde_json::value::RawValue;
use wasm_bindgen::{JsCast, JsValue};
use worker::web_sys::Response;

use super::{NO_STORE, success};
use crate::http::error::RequestError;
use crate::http::request_context::RequestContext;
use crate::http::{response, stream};
use crate::isolate::Isolate;
use crate::kv::ReadOptions;
use crate::kv::namespaces::OpenNamespace;
use crate::kv::put::{PutOptions, PutValue};
use crate::platform::bytes::chunks;
use crate::platform::clock::{self, Clock};
use crate::platform::meter::Metered;

/// The most bytes of a form without its value.
const FORM_HEADS_BYTES_MAX: u64 = 256 * 1024;

/// The fields of a request that need the whole value.
const WHOLE_VALUE_FIELDS: [&str; 4] = ["if-match", "if-none-match", "if-range", "range"];

/// `GET …/values/{key}`, and HEAD. The value is passed through as the runtime's own stream, unless
/// its entity tag, its length or a part of it is asked for.
pub(super) async fn get(
    context: &RequestContext,
    fields: &impl Fields,
    open: &OpenNamespace,
    key: &str,
) -> Result<Response, RequestError> {
    let key = open.keys.key(key, Operation::Get)?;
    let started_ms = Clock.now_ms();
    let is_whole_needed = context.method() == "HEAD" || WHOLE_VALUE_FIELDS.iter().any(|name| fields.has(name));
    let options = if is_whole_needed { ReadOptions::BYTES } else { ReadOptions::STREAM };
    let (value, expiration) =
        futures_util::future::join(open.store.read_with_retry(&key, &options), expiration(context, open, &key)).await;
    let value = value?.ok_or(KvApiError::KeyNotFound)?;
    let expiration = expiration.map(|seconds| seconds.to_string());
    let timing = format!("kv;dur={}", Clock.now_ms().saturating_sub(started_ms));
    let mut head: Vec<(&str, &str)> =
        vec![("content-type", "application/octet-stream"), NO_STORE, ("server-timing", &*timing)];
    head.extend(expiration.as_deref().map(|seconds| ("expiration", seconds)));
    if is_whole_needed {
        from_whole_value(context.method(), fields, &value.unchecked_into(), &head)
    } else {
        Ok(response::ok(&value, &head)?)
    }
}

/// Returns the response to a request that needs all bytes of the value: for its length, for its
/// entity tag or for a part of it (RFC 9110 §13 and §14). A request for several ranges that do not
/// touch gets the whole value.
fn from_whole_value(
    method: &str,
    fields: &impl Fields,
    value: &js_sys::ArrayBuffer,
    head: &[(&str, &str)],
) -> Result<Response, RequestError> {
    let tag = format!("\"{}\"", hash(value));
    let validators = Validators { etag: Some(&tag), last_modified_ms: None, received_ms: u64::MAX };
    let length = u64::from(value.byte_length());
    let always = [("etag", &*tag), ("accept-ranges", "bytes")];
    let mut head: Vec<(&str, &str)> = always.into_iter().chain(head.iter().copied()).collect();
    match evaluate(method, fields, &validators) {
        PreconditionResult::Failed => return Err(KvApiError::PreconditionFailed.into()),
        PreconditionResult::NotModified => return Ok(response::with_status(304, &JsValue::NULL, &head)?),
        PreconditionResult::Holds => {}
    }
    let asked = fields.get("range").filter(|_| method == "GET");
    let parts = match Range::of(asked.as_deref(), fields.get("if-range").as_deref(), &validators, length) {
        Range::Unsatisfiable => return Err(KvApiError::RangeNotSatisfiable(length).into()),
        Range::Satisfiable(parts) => parts,
        Range::Whole => Vec::new(),
    };
    let [part] = parts.as_slice() else { return Ok(response::with_status(200, value, &head)?) };
    let range = content_range(part, length);
    head.push(("content-range", &range));
    let body = js_sys::Uint8Array::new(value).subarray(to_u32(part.start), to_u32(part.end));
    Ok(response::with_status(206, &body, &head)?)
}

/// Returns when a key expires, in seconds since the Unix epoch. KV says so only in a list, for
/// which the response waits a second at most. If the list fails, the response has no `Expiration`.
/// The isolate uses the result, even of a failure, for 30 seconds, or until it writes or deletes
/// the key.
async fn expiration(context: &RequestContext, open: &OpenNamespace, key: &Key<'_>) -> Option<u64> {
    let (memory, now_ms) = (&Isolate::current().kv_api.expirations, Clock.now_ms());
    let name = memory_key(open, key);
    let cached = memory.borrow_mut().get(&name, now_ms).copied();
    if let Some(seconds) = cached {
        context.meter().count(Metered::MemoryHit);
        return seconds;
    }
    let lookup = memory.borrow_mut().begin(&name, now_ms);
    let seconds = open.store.expiration_of(key).await.unwrap_or_else(|error| {
        context.log().warning("kv_list_failed", &error);
        None
    });
    memory.borrow_mut().finish(&lookup, &name, seconds, 0);
    seconds
}

/// Forgets when a key expires, because it was written or deleted.
pub(super) fn forget_expiration(open: &OpenNamespace, key: &Key<'_>) {
    Isolate::current().kv_api.expirations.borrow_mut().remove(&memory_key(open, key));
}

fn memory_key(open: &OpenNamespace, key: &Key<'_>) -> String {
    format!("{}/{}", open.info().id, key.as_str())
}

/// `GET …/metadata/{key}`
pub(super) async fn metadata(open: &OpenNamespace, key: &str) -> Result<Response, RequestError> {
    let (value, metadata) = open.store.stream_with_metadata(&open.keys.key(key, Operation::Get)?).await?;
    stream::cancel(&value.ok_or(KvApiError::KeyNotFound)?);
    let metadata = metadata.map(RawValue::from_string).transpose();
    success(metadata.map_err(|error| RequestError::internal(&error.to_string().into()))?, None)
}

/// `PUT …/values/{key}`. The body is read whole first: an aborted upload writes nothing, and a put
/// can be retried.
pub(super) async fn put(
    context: &RequestContext,
    target: &RequestTarget<'_>,
    open: &OpenNamespace,
    key: &str,
) -> Result<Response, RequestError> {
    let operation = Operation::Put;
    let key = open.keys.key(key, operation)?;
    let (expiration, ttl) = (parameter(target, "expiration")?, parameter(target, "expiration_ttl")?);
    let expiration = Expiration::parse(expiration.as_deref(), ttl.as_deref(), clock::now_seconds(), operation)?;
    let scanner = FormScanner::of(context.header("content-type").as_deref())?;
    // The body of a form is a little longer than its value.
    let most = if scanner.is_some() { VALUE_BYTES_MAX + FORM_HEADS_BYTES_MAX } else { VALUE_BYTES_MAX };
    let body = match context.body_up_to(to_u32(most)).await {
        Err(RequestBodyError::TooLong) => return Err(KvApiError::ValueTooLong(operation).into()),
        body => body?,
    };
    let (value, metadata) = match scanner {
        None => (PutValue::bytes(body), None),
        Some(mut scanner) => {
            chunks(&body).try_for_each(|chunk| scanner.feed(&chunk))?;
            let form = scanner.finish()?;
            if form.value.end - form.value.start > VALUE_BYTES_MAX {
                return Err(KvApiError::ValueTooLong(operation).into());
            }
            let metadata = form.metadata.as_deref().map(|json| check_metadata(json, operation)).transpose()?;
            let metadata = metadata.filter(|json| json.trim() != "null").map(str::to_owned);
            let value = js_sys::Uint8Array::new(&body).subarray(to_u32(form.value.start), to_u32(form.value.end));
            (PutValue::bytes(value), metadata)
        }
    };
    let options = put_options(expiration, metadata.as_deref())?;
    let put = open.store.put_with_retry(&key, &value, options.as_ref(), &Backoff::PUT_OF_CLIENT, |_| {}).await;
    forget_expiration(open, &key);
    let why = "Workers KV does not accept the metadata or the expiration";
    put.outcome.map_err(|(error, _)| refused(error, operation, why))?;
    success(json!({}), None)
}

/// Returns the error for a call that failed: a 4xx if KV does not accept what the client sent.
/// Numbers in metadata, for example, may have more bytes in KV's form than in the client's.
fn refused(error: StoreError, operation: Operation, why: &str) -> RequestError {
    if !error.is_refused() {
        return error.into();
    }
    RequestError::of(&KvApiError::InvalidArgument(operation, why.to_owned())).because(&error)
}

/// Returns the options of a put; `None` if there are none.
pub(super) fn put_options(
    expiration: Option<Expiration>,
    metadata: Option<&str>,
) -> Result<Option<PutOptions>, JsValue> {
    if expiration.is_none() && metadata.is_none() {
        return Ok(None);
    }
    let options = match expiration {
        None => PutOptions::new(),
        Some(Expiration::At(seconds)) => PutOptions::expiring_at(seconds),
        Some(Expiration::AfterSeconds(seconds)) => PutOptions::expiring_after(seconds),
    };
    Ok(Some(match metadata {
        None => options,
        Some(json) => options.and_metadata(json)?,
    }))
}

/// `DELETE …/values/{key}`. It succeeds for a key that does not exist, too.
pub(super) async fn delete(open: &OpenNamespace, key: &str) -> Result<Response, RequestError> {
    let key = open.keys.key(key, Operation::Delete)?;
    let delete = open.store.delete_with_retry(&key, &Backoff::PUT_OF_CLIENT).await;
    forget_expiration(open, &key);
    delete.outcome.map_err(|(error, _)| error)?;
    success(json!({}), None)
}

/// `GET …/keys`
pub(super) async fn list(
    access: &Access,
    open: &OpenNamespace,
    query: &KeysQuery<'_>,
) -> Result<Response, RequestError> {
    let Some(prefix) = access.listed_prefix(&query.prefix) else {
        return success(json!([]), Some(PageInfo::of_keys(0, None)));
    };
    check_prefix(&prefix, open.keys.bytes_max(), Operation::List)?;
    let prefix = open.keys.stored_prefix(&prefix);
    let page = open.store.key_page(&prefix, query.limit, query.cursor.as_deref(), open.keys.lead_bytes()).await;
    let page = page.map_err(|error| refused(error, Operation::List, "Workers KV does not accept the cursor"))?;
    let keys = RawValue::from_string(page.json).map_err(|error| RequestError::internal(&error.to_string().into()))?;
    success(keys, Some(PageInfo::of_keys(page.count, page.cursor.as_deref())))
}

fn parameter<'a>(target: &RequestTarget<'a>, name: &str) -> Result<Option<std::borrow::Cow<'a, str>>, KvApiError> {
    Ok(target.parameter(name)?)
}

/// Returns a length or a position within a body as JavaScript's typed arrays take it.
#[expect(clippy::expect_used, reason = "a wrong position would return another part of the value")]
fn to_u32(bytes: u64) -> u32 {
    u32::try_from(bytes).expect("a body has little more than 25 MiB")
}

/// Returns the content hash of a value.
fn hash(value: &js_sys::ArrayBuffer) -> String {
    let mut hasher = ContentHasher::default();
    chunks(value).for_each(|chunk| hasher.update(&chunk));
    hasher.finish()
}
