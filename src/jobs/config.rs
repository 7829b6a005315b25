//! `GET /config`: the regular or the preview page, as a user's configuration says. `POST /config`:
//! the records of many users, for programs.

mod batch;

use feature_flags::config::page::page;
use feature_flags::config::user_record::UserRecord;
use http_semantics::request_target::RequestTarget;
use wasm_bindgen::JsValue;
use worker::web_sys;

use crate::http::error::RequestError;
use crate::http::request_context::RequestContext;
use crate::http::response;
use crate::kv::users;

/// Returns the page, or the records for a `POST`. If a record is invalid or KV fails, the response
/// uses the best record that is available. `Config-Source` names its source, and is absent in the
/// usual cases: the user's own record, or none in KV. For a `POST`, each user has a member
/// `source`.
pub(crate) async fn handle(
    context: &RequestContext,
    target: &RequestTarget<'_>,
) -> Result<web_sys::Response, RequestError> {
    if context.method() == "POST" {
        return batch::handle(context).await;
    }
    let vars = context.vars();
    let from = vars.user_id_from.as_ref().map_err(RequestError::of)?;
    let id = from.id(target, &context.headers(""))?;
    let user = users::find(context, &id).await?;
    let mut fields = vec![("content-type", "text/html; charset=utf-8"), ("cache-control", "private, no-store")];
    fields.extend(from.vary().map(|vary| ("vary", vary)));
    fields.extend(user.source.field().map(|source| ("config-source", source)));
    Ok(response::ok(&body(user.record().is_some_and(UserRecord::has_preview)), &fields)?)
}

/// Both pages are constants, so their JavaScript strings are created once per isolate.
fn body(has_preview: bool) -> JsValue {
    thread_local! {
        static REGULAR: JsValue = JsValue::from_str(page(false));
        static PREVIEW: JsValue = JsValue::from_str(page(true));
    }
    if has_preview { PREVIEW.with(JsValue::clone) } else { REGULAR.with(JsValue::clone) }
}
