//! Namespaces of the KV REST API, which the console reads, too: the KV bindings of the Worker, and
//! those that clients have created, whose list a Durable Object has.

use std::time::Duration;

use kv_api::access::Access;
use kv_api::error::KvApiError;
use kv_api::namespace::ApiNamespace;
use kv_api::namespace_directory::{NamespaceReply, NamespaceRequest};
use kv_api::namespace_keys::NamespaceKeys;
use kv_store::record;
use kv_store::retry::Time;
use kv_store::store_error::StoreError;
use wasm_bindgen::JsValue;
use worker::web_sys;

use super::Store;
use crate::http::error::RequestError;
use crate::http::request_context::RequestContext;
use crate::isolate::Isolate;
use crate::platform::clock::Clock;
use crate::platform::deadline;
use crate::platform::durable_objects::text_of;
use crate::platform::js_error::message_of;

/// The name of the Durable Object that lists the created namespaces.
const OBJECT: &str = "namespaces";

/// How long the object may take.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// A namespace whose keys can be read and written.
pub(crate) struct OpenNamespace {
    info: ApiNamespace,
    pub(crate) store: Store,
    pub(crate) keys: NamespaceKeys,
    /// The KV binding that stores the keys of a namespace that a client has created; `None` if the
    /// namespace is itself a binding.
    pub(crate) home: Option<String>,
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
    pub(crate) fn info(&self) -> &ApiNamespace {
        &self.info
    }

    /// Returns true if a client has created it.
    pub(crate) fn is_created(&self) -> bool {
        self.home.is_some()
    }

    /// Checks that its keys may be changed.
    pub(crate) fn check_writable(&self, context: &RequestContext) -> Result<(), KvApiError> {
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
    let namespace = match send_to_directory(context, &NamespaceRequest::Find(name.to_owned())).await? {
        NamespaceReply::NotFound => return Ok(None),
        found => only(found)?,
    };
    let bytes = namespace.id.len() + namespace.title.len();
    memory.borrow_mut().finish(&lookup, &namespace.id, namespace.clone(), bytes);
    Ok(Some(namespace))
}

/// Returns the namespace that was asked for or changed.
pub(crate) fn only(reply: NamespaceReply) -> Result<ApiNamespace, RequestError> {
    match <[ApiNamespace; 1]>::try_from(reply.namespaces()?) {
        Ok([namespace]) => Ok(namespace),
        Err(other) => Err(unavailable(format!("NAMESPACE_LIST replied with {} namespaces", other.len()))),
    }
}

fn unavailable(cause: String) -> RequestError {
    StoreError::unavailable(cause).into()
}

/// Sends a message to the object that lists the created namespaces.
pub(crate) async fn send_to_directory(
    context: &RequestContext,
    request: &NamespaceRequest,
) -> Result<NamespaceReply, RequestError> {
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

/// Forgets a namespace, because it was changed. The change may have been made even if the reply
/// did not arrive. A lookup by its title that is under way is not remembered, either.
pub(crate) fn forget(namespace: &ApiNamespace) {
    let mut memory = Isolate::current().kv_api.created.borrow_mut();
    memory.remove(&namespace.id);
    memory.remove(&namespace.title);
}
