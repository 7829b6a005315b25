//! `GET /{path}`: the file of the release that is served, or the one under its unversioned key.

use http_semantics::request_target::RequestTarget;
use js_sys::JsString;
use kv_store::limits::Key;
use kv_store::memory::Standing;
use static_assets::answer::{
    Answer, Asked, CONDITIONS, FieldLines, Represented, header_changes, may_be_retained, not_found, of_previous,
    of_release,
};
use static_assets::site::{Release, Site};
use static_assets::{AssetError, AssetPath};
use wasm_bindgen::JsValue;
use worker::web_sys::Response;

use crate::http::error::Failure;
use crate::http::request_context::RequestContext;
use crate::http::request_headers::RequestHeaders;
use crate::http::response;
use crate::kv::asset_store;

/// Responds with a file. If the isolate has the release in memory, at most one KV read comes
/// before the response, and none if no bytes are sent or a short body is in memory.
pub(crate) async fn answer(
    context: &RequestContext,
    encoded_path: &str,
    target: &RequestTarget<'_>,
) -> Result<Response, Failure> {
    let path = AssetPath::of(encoded_path);
    let site = asset_store::served(context).await?;
    let Site::Release(release) = &*site.value else {
        let key = static_assets::plain_key(path.file().ok_or(AssetError::NotFound)?)?;
        return plain(context, &key).await?.ok_or_else(|| AssetError::NotFound.into());
    };
    let fields = context.headers(CONDITIONS);
    let in_form_c;
    let served = release.served();
    let mut asked = Asked { method: context.method(), target, path: &path, fields: &fields };
    let mut answer = of_release(served, &asked);
    if matches!(answer, Ok(Answer::Nothing))
        && let Some(composed) = composed(&path)
    {
        in_form_c = composed;
        asked.path = &in_form_c;
        answer = of_release(served, &asked);
    }
    let answered = match answer {
        Ok(answer) => answered(context, release, site.standing, &path, &asked, answer).await,
        Err(error) => Err(error.into()),
    };
    answered.map_err(|failure| failure.changed(header_changes(served, &asked)))
}

/// Returns the path in Normalization Form C, if that is another one. Releases have the names of
/// files in that form, but a link that was made on macOS may be in Form D.
fn composed(path: &AssetPath<'_>) -> Option<AssetPath<'static>> {
    let path = path.file().filter(|path| static_assets::may_be_decomposed(path))?;
    let composed = String::from(JsString::from(path).normalize("NFC"));
    (composed != path).then(|| AssetPath::Decoded(composed.into()))
}

/// Renders the response of the release. If it has no such file, a previous release, the
/// unversioned key spelled as the path was sent, and the page for missing files follow, in this
/// order.
async fn answered(
    context: &RequestContext,
    release: &Release,
    standing: Standing,
    path: &AssetPath<'_>,
    asked: &Asked<'_, RequestHeaders<'_>>,
    answer: Answer<'_>,
) -> Result<Response, Failure> {
    let served = release.served();
    let respond = async |found: &Represented<'_>| respond(context, release, standing, asked, found).await;
    match answer {
        Answer::Redirect { status, fields } => return redirect(status, &fields),
        Answer::Represented(found) => return respond(&found).await,
        Answer::Nothing => {}
    }
    if may_be_retained(asked.path) {
        for id in &release.pointer.previous {
            let Some(previous) = asset_store::previous(context, release, id).await else { continue };
            if let Answer::Represented(found) = of_previous(previous.served(), asked)? {
                return respond(&found).await;
            }
        }
    }
    if served.manifest.plain_keys
        && let Some(path) = path.file()
        && let Ok(key) = static_assets::plain_key(path)
        && let Some(found) = plain(context, &key).await?
    {
        return Ok(found);
    }
    match not_found(served, asked)? {
        Answer::Represented(page) => respond(&page).await,
        Answer::Redirect { .. } | Answer::Nothing => Err(AssetError::NotFound.into()),
    }
}

/// Responds with the file under an unversioned key. For HEAD the runtime drops the body.
async fn plain(context: &RequestContext, key: &Key<'_>) -> Result<Option<Response>, Failure> {
    let Some(stream) = asset_store::plain(context, key).await? else { return Ok(None) };
    Ok(response::ok(&stream, &[("content-type", &static_assets::content_type(key.as_str()))]).map(Some)?)
}

fn redirect(status: u16, fields: &FieldLines<'_>) -> Result<Response, Failure> {
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
    Ok(response::with_status(status, &JsValue::NULL, &fields)?)
}

/// Renders a response. If its bytes cannot be read, the previous release responds if memory has
/// all that it needs.
async fn respond(
    context: &RequestContext,
    release: &Release,
    standing: Standing,
    asked: &Asked<'_, RequestHeaders<'_>>,
    found: &Represented<'_>,
) -> Result<Response, Failure> {
    match asset_store::content(context, &found.content).await {
        Ok(body) => render(found, &body, standing),
        Err(failure) => {
            let Some(previous) = asset_store::remembered_previous(release) else { return Err(failure) };
            let Ok(Answer::Represented(found)) = of_release(previous.served(), asked) else { return Err(failure) };
            let Some(body) = asset_store::remembered_content(&found.content) else { return Err(failure) };
            asset_store::warn_of_previous(context, &failure);
            render(&found, &body, Standing::Stale)
        }
    }
}

/// `Asset-Source` marks a response that may not be of the release that is served now.
fn render(found: &Represented<'_>, content: &JsValue, standing: Standing) -> Result<Response, Failure> {
    let source = (standing != Standing::Current).then_some(("asset-source", "previous"));
    let fields = found.fields.iter().map(|(name, value)| (name.as_ref(), value.as_ref()));
    if found.status == 206 {
        // The head is not cached: hardly any part is requested twice.
        let fields: Vec<(&str, &str)> = fields.chain(source).collect();
        return Ok(response::with_status(206, content, &fields)?);
    }
    Ok(response::encoded(found.status, content, fields.chain(source))?)
}
