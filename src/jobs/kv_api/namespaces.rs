//! Finds, lists, creates, renames and deletes namespaces. A namespace is a KV binding of the
//! Worker, or a client has created it; only the latter can be renamed or deleted.

use std::time::Duration;

use kv_api::access::Access;
use kv_api::call::NamespacesQuery;
use kv_api::error::KvApiError;
use kv_api::namespace::{self, ApiNamespace};
use kv_api::namespace_directory::{NamespaceReply, NamespaceRequest};
use kv_api::namespace_keys::NamespaceKeys;
use kv_store::record;
use kv_store::retry::Time;
use kv_store::store_error::StoreError;
use serde_json::json;
use wasm_bindgen::prelude::*;
use worker::web_sys::{self, Response};

use super::success;
use crate::http::error::RequestError;
use crate::http::request_context::RequestContext;
use crate::isolate::Isolate;
use crate::kv::Store;
use crate::platform::clock::Clock;
use crate::platform::deadline;
use crate::platform::durable_objects::text_of;
use crate::platform::js_error::message_of;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = crypto, js_name = randomUUID)]
    fn random_uuid() -> String;
}

/// The name of the Durable Object that lists the created namespaces.
const OBJECT: &str = "namespaces";

/// How long the object may take.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest body of a call that creates or renames a namespace, in bytes.
const BODY_BYTES_MAX: u32 = 16 * 1024;

/// A namespace whose keys can be read and written.
pub(crate) struct OpenNamespace {
    info: ApiNamespace,
    pub(crate) store: Store,
    pub(crate) keys: NamespaceKeys,
    /// The KV binding that stores the keys of a namespace that a client has created; `None` if the
    /// namespace is itself a binding.
    home: Option<String>,
}

impl OpenNamespace {
    /// Returns the namespace with this id or title, if there is one and the caller may see it. A
    /// scoped token names one; no other one is looked for, so that neither the time nor a failure
    /// tells whether it exists.
    pub(crate) async fn find(
        context: &RequestContext,
        access: &Access,
        name: &str,
    ) -> Result<Option<Self>, RequestError> {
        let Access::Scoped(token) = access else { return Self::named(context, name).await };
        let of_token = Self::named(context, &token.namespace).await?;
        Ok(of_token.filter(|open| open.info.is_named(name)))
    }

    async fn named(context: &RequestContext, name: &str) -> Result<Option<Self>, RequestError> {
        let bindings = context.env().api();
        if let Some(info) = bindings.namespaces().find(|namespace| namespace.is_named(name)) {
            let store = context.env().kv(&info.title);
            return Ok(Some(Self { info: info.clone(), store, keys: NamespaceKeys::of_binding(), home: None }));
        }
        let Some(home) = &bindings.home else { return Ok(None) };
        let Some(info) = find_created(context, name).await? else { return Ok(None) };
        let keys = NamespaceKeys::of_created(&info.id);
        Ok(Some(Self { info, store: context.env().kv(home), keys, home: Some(home.clone()) }))
    }

    /// Returns its id and title.
    pub(super) fn info(&self) -> &ApiNamespace {
        &self.info
    }

    /// Returns true if a client has created it.
    fn is_created(&self) -> bool {
        self.home.is_some()
    }

    /// Checks that its keys may be changed.
    pub(super) fn check_writable(&self, context: &RequestContext) -> Result<(), KvApiError> {
        if self.is_created() { Ok(()) } else { context.vars().kv_api_writable.check(&self.info.title) }
    }
}

/// Returns the created namespace with this id or title. It is remembered by its id alone: no other
/// namespace ever gets the id, but a title may belong to another one the next moment.
async fn find_created(context: &RequestContext, name: &str) -> Result<Option<ApiNamespace>, RequestError> {
    let (memory, now_ms) = (&Isolate::current().kv_api.created, Clock.now_ms());
    let cached = memory.borrow_mut().get(name, now_ms).cloned();
    if cached.is_some() {
        return Ok(cached);
    }
    let lookup = memory.borrow_mut().begin(name, now_ms);
    let namespace = match call(context, &NamespaceRequest::Find(name.to_owned())).await? {
        NamespaceReply::NotFound => return Ok(None),
        found => only(found)?,
    };
    let bytes = namespace.id.len() + namespace.title.len();
    memory.borrow_mut().finish(&lookup, &namespace.id, namespace.clone(), bytes);
    Ok(Some(namespace))
}

/// Returns the namespace that was asked for or changed.
fn only(reply: NamespaceReply) -> Result<ApiNamespace, RequestError> {
    match <[ApiNamespace; 1]>::try_from(reply.namespaces()?) {
        Ok([namespace]) => Ok(namespace),
        Err(other) => Err(unavailable(format!("NAMESPACE_LIST replied with {} namespaces", other.len()))),
    }
}

fn unavailable(cause: String) -> RequestError {
    StoreError::unavailable(cause).into()
}

/// Sends a message to the object that lists the created namespaces.
async fn call(context: &RequestContext, request: &NamespaceRequest) -> Result<NamespaceReply, RequestError> {
    let exchange = async {
        let init = web_sys::RequestInit::new();
        init.set_method("POST");
        init.set_body(&JsValue::from_str(&record::to_json(request)));
        let request = web_sys::Request::new_with_str_and_init("https://namespace-list/", &init)?;
        let response = context.env().namespace_list().send(OBJECT, &request).await?;
        text_of(response.text()?).await
    };
    let reply = deadline::within(REPLY_TIMEOUT, exchange).await;
    let reply = reply.ok_or_else(|| unavailable("NAMESPACE_LIST did not reply in time".to_owned()))?;
    let reply = reply.map_err(|thrown: JsValue| unavailable(message_of(&thrown)))?;
    serde_json::from_str(&reply).map_err(|error| unavailable(error.to_string()))
}

/// `GET …/namespaces`
pub(super) async fn list(
    context: &RequestContext,
    access: &Access,
    query: &NamespacesQuery,
) -> Result<Response, RequestError> {
    let bindings = context.env().api();
    let mut namespaces: Vec<ApiNamespace> = bindings.namespaces().cloned().collect();
    if bindings.home.is_some() {
        namespaces.extend(call(context, &NamespaceRequest::List).await?.namespaces()?);
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
    let created = only(call(context, &NamespaceRequest::Create(namespace)).await?)?;
    success(created.result(), None)
}

/// `PUT …/namespaces/{namespace}`
pub(super) async fn rename(context: &RequestContext, open: &OpenNamespace) -> Result<Response, RequestError> {
    if !open.is_created() {
        return Err(KvApiError::FixedNamespaces.into());
    }
    let namespace = ApiNamespace { id: open.info.id.clone(), title: title(context).await? };
    let reply = call(context, &NamespaceRequest::Rename(namespace)).await;
    forget(&open.info);
    success(only(reply?)?.result(), None)
}

/// `DELETE …/namespaces/{namespace}`. Its keys are removed later, and cannot be reached any more.
pub(super) async fn delete(context: &RequestContext, open: &OpenNamespace) -> Result<Response, RequestError> {
    let Some(home) = open.home.clone() else { return Err(KvApiError::FixedNamespaces.into()) };
    let reply = call(context, &NamespaceRequest::Delete { id: open.info.id.clone(), home }).await;
    forget(&open.info);
    only(reply?)?;
    success((), None)
}

/// Forgets a namespace, because it was changed. The change may have been made even if the reply
/// did not arrive. A lookup by its title that is under way is not remembered, either.
fn forget(namespace: &ApiNamespace) {
    let mut memory = Isolate::current().kv_api.created.borrow_mut();
    memory.remove(&namespace.id);
    memory.remove(&namespace.title);
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
