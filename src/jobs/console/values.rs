//! `/console/api/values?namespace={NAMESPACE}`: values as the page reads them. That a key does not
//! exist, or that a value is no text, is no error here: a browser logs each 4xx as an error of the
//! page.

use std::collections::BTreeMap;
use std::iter;

use http_semantics::error_response::HttpError;
use kv_api::bulk::BulkGet;
use kv_api::error::{KvApiError, Operation};
use kv_store::limits::Key;
use serde::Serialize;
use wasm_bindgen::JsValue;
use worker::web_sys::Response;

use super::{ConsoleError, ConsoleRequest, json};
use crate::http::error::RequestError;
use crate::http::response;
use crate::kv::namespaces::OpenNamespace;
use crate::routes::MethodNotAllowed;

/// The longest list of keys, in bytes: 100 keys of 512 bytes as JSON, in which a control character
/// takes six.
const BODY_BYTES_MAX: u32 = 512 * 1024;

/// The header field with the metadata as JSON, percent-encoded because it may have characters that
/// no field can carry.
const METADATA_FIELD: &str = "kv-metadata";

pub(super) async fn handle(request: &ConsoleRequest<'_>) -> Result<Response, RequestError> {
    match (request.call, request.context.method()) {
        ("", "GET" | "HEAD") => value(request).await,
        ("", "POST") => texts(request).await,
        ("", _) => Err(MethodNotAllowed { allow: "GET, HEAD, POST" }.into()),
        _ => Err(ConsoleError::UnknownCall.into()),
    }
}

/// `GET …&key={KEY}`, and HEAD, for which the runtime drops the body: the bytes of a value, and
/// its metadata; a 204 if there is no such key.
async fn value(request: &ConsoleRequest<'_>) -> Result<Response, RequestError> {
    let [key] = request.parameters(["key"])?;
    let open = namespace(request, iter::once(&*key)).await?;
    let invalid = |error: KvApiError| ConsoleError::InvalidParameter(error.response().sentence().to_owned());
    let key = open.keys.key(&key, Operation::Get).map_err(invalid)?;
    let (value, metadata) = open.store.stream_with_metadata(&key).await?;
    let no_store = ("cache-control", response::NO_STORE_NO_TRANSFORM);
    let Some(value) = value else { return Ok(response::with_status(204, &JsValue::NULL, &[no_store])?) };
    let metadata = metadata.map(|json| String::from(js_sys::encode_uri_component(&json)));
    let mut fields = vec![("content-type", "application/octet-stream"), no_store];
    fields.extend(metadata.as_deref().map(|json| (METADATA_FIELD, json)));
    Ok(response::ok(&value, &fields)?)
}

#[derive(Default, Serialize)]
struct TextsReply {
    /// The texts by their keys; `null` for a key that does not exist. Values that are no text are
    /// left out, and so are all if they are too long to be read together.
    values: BTreeMap<String, Option<String>>,
}

/// `POST`: the values of up to 100 keys that are text, with one read of KV.
async fn texts(request: &ConsoleRequest<'_>) -> Result<Response, RequestError> {
    let body = request.context.short_body(BODY_BYTES_MAX).await?;
    let invalid = |error: KvApiError| ConsoleError::InvalidBody(error.response().sentence().to_owned());
    let names = BulkGet::parse(&body, kv_store::limits::KEY_BYTES_MAX).map_err(invalid)?.keys;
    let open = namespace(request, names.iter().map(String::as_str)).await?;
    let keys: Vec<Key<'_>> =
        names.iter().map(|key| open.keys.key(key, Operation::BulkGet)).collect::<Result<_, _>>().map_err(invalid)?;
    let found = match open.store.texts_with_metadata(&keys).await {
        Ok(found) => found,
        Err(error) if error.is_too_large() => return json(&TextsReply::default()),
        Err(error) => return Err(error.into()),
    };
    let texts = found.into_iter().map(|found| found.map(|(text, _)| text));
    // KV puts U+FFFD for bytes that are not UTF-8.
    let is_text = |text: &String| !text.contains(char::REPLACEMENT_CHARACTER);
    json(&TextsReply {
        values: names.into_iter().zip(texts).filter(|(_, text)| text.as_ref().is_none_or(is_text)).collect(),
    })
}

/// Returns the namespace that the query names, if the caller may read these keys of it.
async fn namespace<'k>(
    request: &ConsoleRequest<'_>,
    keys: impl Iterator<Item = &'k str>,
) -> Result<OpenNamespace, RequestError> {
    let [name] = request.parameters(["namespace"])?;
    let open = OpenNamespace::find(request.context, request.access, &name).await?;
    let open = open.ok_or_else(|| ConsoleError::of_access(request.access.not_found(Operation::Get)))?;
    request.access.check_read(keys).map_err(ConsoleError::of_access)?;
    Ok(open)
}
