//! `/client/v4/…`: the REST API of Workers KV over the Worker's own bindings. [`kv_api`] parses
//! and checks the calls and makes the JSON of the responses; this module performs the calls with
//! KV.

mod bulk;
pub(crate) mod namespace_list;
mod namespaces;
mod values;

use http_semantics::content_hash;
use http_semantics::fields::Fields;
use http_semantics::request_target::RequestTarget;
use http_semantics::timestamp::rfc_3339;
use kv_api::access::{Access, CALL_FIELDS};
use kv_api::call::{Call, NamespaceCall};
use kv_api::envelope::{self, Note, PageInfo};
use kv_api::error::KvApiError;
use kv_api::namespace;
use kv_store::retry::Time;
use serde::Serialize;
use serde_json::json;
use wasm_bindgen::JsValue;
use worker::web_sys::Response;

use crate::http::access::access;
use crate::http::error::RequestError;
use crate::http::request_context::RequestContext;
use crate::http::response;
use crate::kv::namespaces::OpenNamespace;
use crate::platform::clock::Clock;
use crate::platform::js_error::message_of;

/// No response of the API may be stored, and no compression on the way may change a value.
const NO_STORE: (&str, &str) = ("cache-control", response::NO_STORE_NO_TRANSFORM);

/// The longest index of a data point, in bytes (Analytics Engine documentation, "Limits").
const INDEX_BYTES_MAX: usize = 96;

/// Returns the response to a call. Every error has the envelope of the API.
pub(crate) async fn handle(context: &RequestContext, target: &RequestTarget<'_>) -> Result<Response, RequestError> {
    let fields = context.headers(CALL_FIELDS);
    let started_ms = Clock.now_ms();
    let outcome = match access(context, &fields).await {
        Ok(access) => {
            let call = Call::parse(context.method(), target);
            let statistics = call.as_ref().map_or(("invalid", ""), |call| (call.name(), call.namespace()));
            let outcome = match &call {
                Ok(call) => perform(context, target, &fields, &access, call).await,
                Err(error) => Err(RequestError::of(error)),
            };
            if context.env().api().has_analytics {
                write_statistics(context, statistics, &access, &outcome, started_ms);
            }
            outcome
        }
        Err(error) => Err(error.into()),
    };
    outcome.map_err(|failure| failure.or_json(|error| envelope::failure(error, ())))
}

/// Writes one point of Analytics Engine for a call with a valid token, also if it is refused or
/// fails: which namespace, which endpoint, whose token, the status, and how long it took.
fn write_statistics(
    context: &RequestContext,
    (call, namespace): (&str, &str),
    access: &Access,
    outcome: &Result<Response, RequestError>,
    started_ms: u64,
) {
    let status = match outcome {
        Ok(response) => response.status(),
        Err(failure) => failure.status(),
    };
    let index = if namespace.len() > INDEX_BYTES_MAX { "" } else { namespace };
    let milliseconds = Clock.now_ms().saturating_sub(started_ms);
    let written = context.env().write_analytics(index, [namespace, call, access.name()], status, milliseconds);
    if let Err(thrown) = written {
        context.log().warning("analytics_failed", &message_of(&thrown));
    }
}

async fn perform(
    context: &RequestContext,
    target: &RequestTarget<'_>,
    fields: &impl Fields,
    access: &Access,
    call: &Call<'_>,
) -> Result<Response, RequestError> {
    match call {
        Call::VerifyToken => verified(access),
        Call::User => success(json!({ "id": account_id(), "email": "kv-edge@localhost" }), None),
        Call::Accounts(page) => {
            page_of_one(*page, json!({ "id": account_id(), "name": "kv-edge", "type": "standard" }))
        }
        Call::Memberships(page) => {
            let account = json!({ "id": account_id(), "name": "kv-edge" });
            page_of_one(*page, json!({ "id": account_id(), "status": "accepted", "account": account }))
        }
        Call::ScriptSettings => namespaces::script_settings(context, access),
        Call::ListNamespaces(query) => namespaces::list(context, access, query).await,
        Call::CreateNamespace => namespaces::create(context, access).await,
        Call::Namespace { namespace, call } => {
            let open = OpenNamespace::find(context, access, namespace).await?;
            let open = open.ok_or_else(|| access.not_found(call.operation()))?;
            access.check(open.info(), call)?;
            if call.is_write() {
                open.check_writable(context)?;
                // KV cannot compare and swap, and a method with a condition that was not checked
                // must not be performed (RFC 9110 §13.1.1, §13.1.2).
                if fields.has("if-match") || fields.has("if-none-match") {
                    return Err(KvApiError::ConditionalWrite.into());
                }
            }
            match call {
                NamespaceCall::Get => success(open.info().result(), None),
                NamespaceCall::Rename => namespaces::rename(context, &open).await,
                NamespaceCall::Delete => namespaces::delete(context, &open).await,
                NamespaceCall::ListKeys(query) => values::list(access, &open, query).await,
                NamespaceCall::GetValue(key) => values::get(context, fields, &open, key).await,
                NamespaceCall::PutValue(key) => values::put(context, target, &open, key).await,
                NamespaceCall::DeleteValue(key) => values::delete(&open, key).await,
                NamespaceCall::GetMetadata(key) => values::metadata(&open, key).await,
                NamespaceCall::BulkPut => bulk::put(context, access, &open).await,
                NamespaceCall::BulkDelete => bulk::delete(context, access, &open).await,
                NamespaceCall::BulkGet => bulk::get(context, access, &open).await,
            }
        }
    }
}

/// Returns the response to a client that asks whether its token is valid: an id, a hash of the
/// token's name, and when it expires. The token is valid, because others are refused before.
fn verified(access: &Access) -> Result<Response, RequestError> {
    let (name, expires_on) = match access {
        Access::Everything => ("API_TOKEN", None),
        Access::Scoped(token) => (token.name.as_str(), Some(rfc_3339(token.expires))),
    };
    let mut result = json!({ "id": content_hash::hash(format!("token {name}").as_bytes()), "status": "active" });
    if let (Some(members), Some(expires_on)) = (result.as_object_mut(), expires_on) {
        members.insert("expires_on".to_owned(), expires_on.into());
    }
    let note = Note { code: 10000, message: "This API Token is valid and active" };
    json_response(&envelope::success_with_note(result, note))
}

/// Returns the id of the one account that the API knows.
fn account_id() -> String {
    content_hash::hash(b"kv-edge account")
}

/// Returns a page of a list of one entry. Pages after the first are empty: clients ask until they
/// get an empty one.
fn page_of_one(page: u64, entry: serde_json::Value) -> Result<Response, RequestError> {
    let (entries, info) = namespace::page_of(vec![entry], page, 20);
    success(entries, Some(info))
}

/// Returns a success in the envelope.
fn success(result: impl Serialize, info: Option<PageInfo<'_>>) -> Result<Response, RequestError> {
    json_response(&envelope::success(result, info))
}

fn json_response(json: &str) -> Result<Response, RequestError> {
    Ok(response::ok(&JsValue::from_str(json), &[("content-type", "application/json"), NO_STORE])?)
}
