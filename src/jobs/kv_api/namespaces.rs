//! Namespaces: the KV bindings of the Worker, and those that clients have made.

use std::time::Duration;

use kv_api::access::Access;
use kv_api::bulk;
use kv_api::call::NamespacesQuery;
use kv_api::error::{KvApiError, Operation};
use kv_api::namespace::{self, ApiNamespace};
use kv_api::namespace_list::{KnownNamespace, NamespaceReply, NamespaceRequest, key_prefix};
use kv_store::limits::{KEY_BYTES_MAX, Key};
use kv_store::record;
use kv_store::retry::Time;
use kv_store::store::StoreError;
use serde_json::json;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::web_sys::{self, Response};

use super::success;
use crate::http::error::RequestError;
use crate::http::request_context::RequestContext;
use crate::isolate::Isolate;
use crate::kv::Store;
use crate::platform::clock::Clock;
use crate::platform::deadline;
use crate::platform::js_error::message_of;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = crypto, js_name = randomUUID)]
    fn random_uuid() -> String;
}

/// The name of the one object.
const OBJECT: &str = "namespaces";

/// How long the object may take.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest body of a call that makes or renames a namespace, in bytes.
const BODY_BYTES_MAX: u32 = 16 * 1024;

/// A namespace whose keys can be read and written.
pub(super) struct OpenNamespace {
    info: ApiNamespace,
    pub(super) store: Store,
    /// What precedes each of its keys in the store; empty for a binding.
    prefix: String,
}

impl OpenNamespace {
    /// Returns the namespace with this id or title, if the caller may see it.
    pub(super) async fn find(
        context: &RequestContext,
        access: &Access,
        name: &str,
        operation: Operation,
    ) -> Result<Self, RequestError> {
        if let Some(info) = bindings(context).iter().find(|namespace| namespace.is_named(name)) {
            let store = context.env().kv(&info.title);
            return Ok(Self { info: info.clone(), store, prefix: String::new() });
        }
        let Some(home) = context.vars().kv_api.home.clone() else { return Err(access.not_found(operation).into()) };
        let info = made(context, name).await?.ok_or_else(|| access.not_found(operation))?;
        let prefix = key_prefix(&info.id);
        Ok(Self { info, store: context.env().kv(&home), prefix })
    }

    /// Returns its id and title.
    pub(super) fn info(&self) -> &ApiNamespace {
        &self.info
    }

    /// Returns true if a client has made it.
    fn is_made(&self) -> bool {
        !self.prefix.is_empty()
    }

    /// Checks that its keys may be changed.
    pub(super) fn check_writable(&self, context: &RequestContext) -> Result<(), KvApiError> {
        if self.is_made() { Ok(()) } else { context.vars().kv_api.writable.check(&self.info.title) }
    }

    /// Returns the longest key that it takes, in bytes.
    pub(super) fn key_bytes_max(&self) -> usize {
        KEY_BYTES_MAX - self.prefix.len()
    }

    /// Returns the key in the store.
    pub(super) fn key(&self, key: &str, operation: Operation) -> Result<Key<'static>, KvApiError> {
        bulk::check_key(key, self.key_bytes_max(), operation)?;
        Key::new(self.stored_prefix(key)).map_err(|error| KvApiError::InvalidKey(operation, error.to_string()))
    }

    /// Returns a prefix of keys as it is in the store.
    pub(super) fn stored_prefix(&self, prefix: &str) -> String {
        format!("{}{prefix}", self.prefix)
    }

    /// Returns how many characters of each key in the store are not part of its name.
    pub(super) fn hidden_characters(&self) -> u32 {
        // The prefix is short and ASCII.
        u32::try_from(self.prefix.len()).unwrap_or(u32::MAX)
    }
}

/// Returns the namespaces that are bindings. The home of made ones is not among them: its keys
/// belong to those.
fn bindings(context: &RequestContext) -> &'static [ApiNamespace] {
    Isolate::current().bound_namespaces.get_or_init(|| {
        let vars = context.vars();
        let names = context.env().kv_names().into_iter().filter(|name| Some(name) != vars.kv_api.home.as_ref());
        names.map(|name| ApiNamespace::of_binding(&name)).collect()
    })
}

/// Returns the made namespace with this id or title, from memory if it was used lately.
async fn made(context: &RequestContext, name: &str) -> Result<Option<ApiNamespace>, RequestError> {
    let (memory, now_ms) = (&Isolate::current().kv_api.made, Clock.now_ms());
    if let Some(known) = memory.borrow().get(name).filter(|known| known.is_fresh(now_ms)) {
        return Ok(Some(known.namespace.clone()));
    }
    let NamespaceReply::Namespaces(found) = call(context, &NamespaceRequest::Find(name.to_owned())).await? else {
        return Ok(None);
    };
    let found = found.into_iter().next();
    if let Some(namespace) = &found {
        let made = KnownNamespace { namespace: namespace.clone(), read_ms: now_ms };
        memory.borrow_mut().insert(name, made, namespace.id.len() + namespace.title.len());
    }
    Ok(found)
}

/// Sends a message to the object that lists the made namespaces.
async fn call(context: &RequestContext, request: &NamespaceRequest) -> Result<NamespaceReply, RequestError> {
    let exchange = async {
        let init = web_sys::RequestInit::new();
        init.set_method("POST");
        init.set_body(&JsValue::from_str(&record::to_json(request)));
        let request = web_sys::Request::new_with_str_and_init("https://namespace-list/", &init)?;
        let response = context.env().namespace_list().send(OBJECT, &request).await?;
        JsFuture::from(response.text()?).await
    };
    let unavailable = |cause: String| RequestError::from(StoreError::not_sent(cause));
    let reply = deadline::within(REPLY_TIMEOUT, exchange).await;
    let reply = reply.ok_or_else(|| unavailable("NAMESPACE_LIST did not reply in time".to_owned()))?;
    let reply = reply.map_err(|thrown: JsValue| unavailable(message_of(&thrown)))?;
    serde_json::from_str(&reply.as_string().unwrap_or_default()).map_err(|error| unavailable(error.to_string()))
}

/// Forgets the made namespaces, because one was changed.
fn forget_made() {
    let mut memory = Isolate::current().kv_api.made.borrow_mut();
    while memory.remove_oldest().is_some() {}
}

/// `GET …/namespaces`
pub(super) async fn list(
    context: &RequestContext,
    access: &Access,
    query: &NamespacesQuery,
) -> Result<Response, RequestError> {
    let mut namespaces = bindings(context).to_vec();
    if context.vars().kv_api.home.is_some() {
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
    if context.vars().kv_api.home.is_none() {
        return Err(KvApiError::FixedNamespaces.into());
    }
    let namespace = ApiNamespace::made(title(context).await?, &random_uuid());
    change(context, &NamespaceRequest::Create(namespace)).await
}

/// `PUT …/namespaces/{namespace}`
pub(super) async fn rename(context: &RequestContext, open: &OpenNamespace) -> Result<Response, RequestError> {
    if !open.is_made() {
        return Err(KvApiError::FixedNamespaces.into());
    }
    let namespace = ApiNamespace { id: open.info.id.clone(), title: title(context).await? };
    change(context, &NamespaceRequest::Rename(namespace)).await
}

/// `DELETE …/namespaces/{namespace}`. Its keys are removed later, and cannot be reached any more.
pub(super) async fn delete(context: &RequestContext, open: &OpenNamespace) -> Result<Response, RequestError> {
    if !open.is_made() {
        return Err(KvApiError::FixedNamespaces.into());
    }
    let reply = call(context, &NamespaceRequest::Delete(open.info.id.clone())).await;
    forget_made();
    reply?.namespaces()?;
    success((), None)
}

async fn change(context: &RequestContext, request: &NamespaceRequest) -> Result<Response, RequestError> {
    let reply = call(context, request).await;
    forget_made();
    let namespaces = reply?.namespaces()?;
    success(namespaces.first().map(ApiNamespace::result), None)
}

/// Reads the title in the body. No made namespace has the name of a binding.
async fn title(context: &RequestContext) -> Result<String, RequestError> {
    let title = namespace::parse_title(&context.short_body(BODY_BYTES_MAX).await?)?;
    let is_taken = bindings(context).iter().any(|namespace| namespace.is_named(&title));
    if is_taken { Err(KvApiError::TitleTaken.into()) } else { Ok(title) }
}

/// `GET …/workers/scripts/{name}/settings`: the KV bindings, where wrangler finds the id of the
/// one that `--binding` names.
pub(super) fn script_settings(context: &RequestContext, access: &Access) -> Result<Response, RequestError> {
    let seen = bindings(context).iter().filter(|namespace| access.sees(namespace));
    let bindings: Vec<_> = seen
        .map(|namespace| json!({ "type": "kv_namespace", "name": namespace.title, "namespace_id": namespace.id }))
        .collect();
    success(json!({ "bindings": bindings }), None)
}
