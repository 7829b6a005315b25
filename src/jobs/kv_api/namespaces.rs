//! Lists, creates, renames and deletes namespaces. A namespace is a KV binding of the Worker, or a
//! client has created it; only the latter can be renamed or deleted.

use kv_api::access::Access;
use kv_api::call::NamespacesQuery;
use kv_api::error::KvApiError;
use kv_api::namespace::{self, ApiNamespace};
use kv_api::namespace_directory::NamespaceRequest;
use serde_json::json;
use wasm_bindgen::prelude::*;
use worker::web_sys::Response;

use super::success;
use crate::http::error::RequestError;
use crate::http::request_context::RequestContext;
use crate::kv::namespaces::{OpenNamespace, forget, only, send_to_directory};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = crypto, js_name = randomUUID)]
    fn random_uuid() -> String;
}

/// The longest body of a call that creates or renames a namespace, in bytes.
const BODY_BYTES_MAX: u32 = 16 * 1024;

/// `GET …/namespaces`
pub(super) async fn list(
    context: &RequestContext,
    access: &Access,
    query: &NamespacesQuery,
) -> Result<Response, RequestError> {
    let bindings = context.env().api();
    let mut namespaces: Vec<ApiNamespace> = bindings.namespaces().cloned().collect();
    if bindings.home.is_some() {
        namespaces.extend(send_to_directory(context, &NamespaceRequest::List).await?.namespaces()?);
    }
    namespaces.retain(|namespace| access.sees(namespace));
    let (page, info) = namespace::page(namespaces, query);
    let results: Vec<_> = page.iter().map(ApiNamespace::result).collect();
    success(results, Some(info))
}

/// `POST …/namespaces`
pub(super) async fn create(context: &RequestContext, access: &Access) -> Result<Response, RequestError> {
    access.check_administration()?;
    if context.env().api().home.is_none() {
        return Err(KvApiError::FixedNamespaces.into());
    }
    let namespace = ApiNamespace::created(title(context).await?, &random_uuid());
    let created = only(send_to_directory(context, &NamespaceRequest::Create(namespace)).await?)?;
    success(created.result(), None)
}

/// `PUT …/namespaces/{namespace}`
pub(super) async fn rename(context: &RequestContext, open: &OpenNamespace) -> Result<Response, RequestError> {
    if !open.is_created() {
        return Err(KvApiError::FixedNamespaces.into());
    }
    let namespace = ApiNamespace { id: open.info().id.clone(), title: title(context).await? };
    let reply = send_to_directory(context, &NamespaceRequest::Rename(namespace)).await;
    forget(open.info());
    success(only(reply?)?.result(), None)
}

/// `DELETE …/namespaces/{namespace}`. Its keys are removed later, and cannot be reached any more.
pub(super) async fn delete(context: &RequestContext, open: &OpenNamespace) -> Result<Response, RequestError> {
    let Some(home) = open.home.clone() else { return Err(KvApiError::FixedNamespaces.into()) };
    let reply = send_to_directory(context, &NamespaceRequest::Delete { id: open.info().id.clone(), home }).await;
    forget(open.info());
    only(reply?)?;
    success((), None)
}

/// Reads the title in the body. No created namespace has the name or the id of a binding.
async fn title(context: &RequestContext) -> Result<String, RequestError> {
    let title = namespace::parse_title(&context.short_body(BODY_BYTES_MAX).await?)?;
    let is_taken = context.env().api().all.iter().any(|namespace| namespace.is_named(&title));
    if is_taken { Err(KvApiError::TitleTaken.into()) } else { Ok(title) }
}

/// `GET …/workers/scripts/{name}/settings`: the KV bindings, where wrangler finds the id of the
/// one that `--binding` names.
pub(super) fn script_settings(context: &RequestContext, access: &Access) -> Result<Response, RequestError> {
    let bindings = context.env().api();
    let seen = bindings.namespaces().filter(|namespace| access.sees(namespace));
    let bindings: Vec<_> = seen
        .map(|namespace| json!({ "type": "kv_namespace", "name": namespace.title, "namespace_id": namespace.id }))
        .collect();
    success(json!({ "bindings": bindings }), None)
}
