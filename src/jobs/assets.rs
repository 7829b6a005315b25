//! `GET /{path}`: the file of the release that is served. If it has none, a file of a previous
//! release, the value whose key is the path, or the page for missing files.

use http_semantics::request_target::RequestTarget;
use js_sys::JsString;
use kv_store::limits::Key;
use kv_store::record_cache::RecordState;
use static_assets::asset_store::{AssetStore, LoadedRelease};
use static_assets::response::{
    AssetRequest, AssetResponse, CONDITIONAL_FIELDS, FieldLines, FileResponse, ServedRelease, from_previous_release,
    from_release, header_changes, may_be_in_previous_release, not_found,
};
use static_assets::{AssetError, AssetPath};
use wasm_bindgen::JsValue;
use worker::web_sys::Response;

use crate::http::error::RequestError;
use crate::http::request_context::RequestContext;
use crate::http::request_headers::RequestHeaders;
use crate::http::response;
use crate::kv::asset_store;

/// Responds with a file. If the isolate has the release in memory and that has the file, at most
/// one KV read comes before the response, and none if no bytes are sent or a short body is in
/// memory.
pub(crate) async fn handle(
    context: &RequestContext,
    encoded_path: &str,
    target: &RequestTarget<'_>,
) -> Result<Response, RequestError> {
    let path = AssetPath::parse(encoded_path);
    let store = asset_store::current(context).await?;
    let AssetStore::Release(release) = &*store.value else {
        let key = static_assets::unversioned_key(path.file().ok_or(AssetError::NotFound)?)?;
        return unversioned_file(context, &key).await?.ok_or_else(|| AssetError::NotFound.into());
    };
    let fields = context.headers(CONDITIONAL_FIELDS);
    let path_in_nfc;
    let served = release.served();
    let mut request = AssetRequest { method: context.method(), target, path: &path, fields: &fields };
    let mut response = from_release(served, &request);
    if matches!(response, Ok(AssetResponse::NotFound))
        && let Some(composed) = in_nfc(&path)
    {
        path_in_nfc = composed;
        request.path = &path_in_nfc;
        response = from_release(served, &request);
    }
    let rendered = match response {
        Ok(response) => respond_with_fallbacks(context, release, store.record_state, &path, &request, response).await,
        Err(error) => Err(error.into()),
    };
    rendered.map_err(|failure| failure.changed(header_changes(served, &request)))
}

/// Returns the path in Normalization Form C, if that is another one. Releases have the names of
/// files in that form, but a link that was made on macOS may be in Form D.
fn in_nfc(path: &AssetPath<'_>) -> Option<AssetPath<'static>> {
    let path = path.file().filter(|path| static_assets::may_be_decomposed(path))?;
    let composed = String::from(JsString::from(path).normalize("NFC"));
    (composed != path).then(|| AssetPath::Decoded(composed.into()))
}

/// Renders the response of the release. If it has no such file, these follow in this order:
/// previous releases, unless the path may be a page; the unversioned key, which is the decoded
/// path, if the release allows such keys; and the page for missing files. A file that may be there
/// must not look like one that is not: if KV fails to return the manifest of a previous release
/// and nothing else has the file, that is an error.
async fn respond_with_fallbacks(
    context: &RequestContext,
    release: &LoadedRelease,
    record_state: RecordState,
    path: &AssetPath<'_>,
    request: &AssetRequest<'_, RequestHeaders<'_>>,
    response: AssetResponse<'_>,
) -> Result<Response, RequestError> {
    let served = release.served();
    let respond = async |file: &FileResponse<'_>, previous_responder: &ReleaseResponder<'_>| {
        respond(context, release, record_state, file, previous_responder).await
    };
    match response {
        AssetResponse::Redirect { status, fields } => return redirect(status, &fields),
        AssetResponse::File(file) => return respond(&file, &|previous| from_release(previous, request)).await,
        AssetResponse::NotFound => {}
    }
    let mut unread = None;
    if may_be_in_previous_release(request.path) {
        for id in &release.pointer.previous {
            let previous = match asset_store::previous_release(context, release, id).await {
                Ok(Some(previous)) => previous,
                Ok(None) => continue,
                Err(failure) => {
                    unread = Some(failure);
                    continue;
                }
            };
            if let AssetResponse::File(file) = from_previous_release(previous.served(), request)? {
                return respond(&file, &|previous| from_previous_release(previous, request)).await;
            }
        }
    }
    if served.manifest.unversioned_keys
        && let Some(path) = path.file()
        && let Ok(key) = static_assets::unversioned_key(path)
        && let Some(file) = unversioned_file(context, &key).await?
    {
        return Ok(file);
    }
    if let Some(failure) = unread {
        return Err(failure);
    }
    let AssetResponse::File(page) = not_found(served, request)? else { return Err(AssetError::NotFound.into()) };
    // The previous release may treat missing files differently.
    let rendered = respond(&page, &|previous| match not_found(previous, request)? {
        AssetResponse::File(other) if other.status == page.status => Ok(AssetResponse::File(other)),
        _ => Ok(AssetResponse::NotFound),
    })
    .await;
    match rendered {
        // The path has no file, whether or not its page can be read.
        Err(failure) if page.status == 404 => {
            context.log().warning("not_found_page", &failure.cause());
            // `default`: a line of text stands in for the page.
            Err(RequestError::of(&AssetError::NotFound).with_field("Asset-Source", "default"))
        }
        rendered => rendered,
    }
}

/// Responds with the file under an unversioned key. For HEAD the runtime drops the body.
async fn unversioned_file(context: &RequestContext, key: &Key<'_>) -> Result<Option<Response>, RequestError> {
    let Some(stream) = asset_store::unversioned_file(context, key).await? else { return Ok(None) };
    let content_type = static_assets::content_type(key.as_str());
    let fields = [("content-type", &*content_type), response::NO_CACHE];
    Ok(response::ok(&stream, &fields).map(Some)?)
}

fn redirect(status: u16, fields: &FieldLines<'_>) -> Result<Response, RequestError> {
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
    Ok(response::with_status(status, &JsValue::NULL, &fields)?)
}

/// Returns what a release responds to the request.
type ReleaseResponder<'r> = dyn for<'m> Fn(ServedRelease<'m>) -> Result<AssetResponse<'m>, AssetError> + 'r;

/// Renders a response. If its bytes cannot be read, the previous release responds in the same way,
/// if memory has all that it needs.
async fn respond(
    context: &RequestContext,
    release: &LoadedRelease,
    record_state: RecordState,
    file: &FileResponse<'_>,
    previous_responder: &ReleaseResponder<'_>,
) -> Result<Response, RequestError> {
    match asset_store::content(context, &file.content).await {
        Ok(body) => render(file, &body, record_state),
        Err(failure) => {
            let Some(previous) = asset_store::cached_previous_release(context, release) else { return Err(failure) };
            let Ok(AssetResponse::File(file)) = previous_responder(previous.served()) else { return Err(failure) };
            let Some(body) = asset_store::cached_content(context, &file.content) else { return Err(failure) };
            asset_store::warn_of_previous_release(context, &failure);
            render(&file, &body, RecordState::Stale)
        }
    }
}

/// Returns the response. `Asset-Source: previous` says that it may be outdated: KV failed, or has
/// a release that is broken or whose manifest cannot be seen yet.
fn render(file: &FileResponse<'_>, content: &JsValue, record_state: RecordState) -> Result<Response, RequestError> {
    let source = (record_state != RecordState::Current).then_some(("asset-source", "previous"));
    let fields = file.fields.iter().map(|(name, value)| (name.as_ref(), value.as_ref()));
    if file.status == 206 {
        // Its head is not remembered, as those of whole files are: hardly any part is requested
        // twice.
        let fields: Vec<(&str, &str)> = fields.chain(source).collect();
        return Ok(response::with_status(206, content, &fields)?);
    }
    Ok(response::encoded(file.status, content, fields.chain(source))?)
}
