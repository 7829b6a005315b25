//! `GET /console/api/session`: what the token may do, and what this Worker has.

use http_semantics::timestamp::rfc_3339;
use kv_api::access::Access;
use kv_api::namespace_keys::CREATED_KEY_BYTES_MAX;
use kv_api::token::REVOKED_KEY;
use kv_store::limits::KEY_BYTES_MAX;
use serde::Serialize;
use worker::web_sys::Response;

use super::{ConsoleError, ConsoleRequest, json};
use crate::http::error::RequestError;

/// The jobs of this build for which the page has panels; metrics are a member of their own.
const FEATURES: &[&str] = &[
    #[cfg(feature = "assets")]
    "assets",
    #[cfg(feature = "cache")]
    "cache",
    #[cfg(feature = "flags")]
    "flags",
    #[cfg(feature = "storefronts")]
    "storefronts",
    #[cfg(feature = "writes")]
    "writes",
];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Session<'a> {
    name: &'a str,
    /// True if the token may do everything.
    everything: bool,
    scope: Option<Scope<'a>>,
    expires: Option<String>,
    features: &'static [&'static str],
    bindings: Vec<Binding<'a>>,
    key_bytes_max: KeyBytesMax,
    /// True if the token may create namespaces, and the Worker has a home for their keys.
    creates_namespaces: bool,
    /// True if the Worker counts its requests.
    metrics: bool,
    version: &'static str,
}

/// What a signed token reaches.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Scope<'a> {
    namespace: &'a str,
    prefix: &'a str,
    write: bool,
    /// The keys that the token never changes, although they may have the prefix.
    read_only_keys: [&'a str; 1],
}

/// The length of the longest key of a namespace, in bytes.
#[derive(Serialize)]
struct KeyBytesMax {
    bindings: usize,
    /// For a namespace that a client has created.
    created: usize,
}

/// A KV namespace that is a binding of the Worker.
#[derive(Serialize)]
struct Binding<'a> {
    id: &'a str,
    title: &'a str,
    role: &'static str,
    writable: bool,
}

pub(super) fn handle(request: &ConsoleRequest<'_>) -> Result<Response, RequestError> {
    if !request.call.is_empty() {
        return Err(ConsoleError::UnknownCall.into());
    }
    request.require_method("GET")?;
    let (access, vars, revoked) = (request.access, request.context.vars(), REVOKED_KEY);
    let (scope, expires) = match access {
        Access::Everything => (None, None),
        Access::Scoped(token) => {
            let scope = Scope {
                namespace: &token.namespace,
                prefix: &token.prefix,
                write: token.write,
                read_only_keys: [revoked.as_str()],
            };
            (Some(scope), Some(rfc_3339(token.expires)))
        }
    };
    let may_write = scope.as_ref().is_none_or(|scope| scope.write);
    let api = request.context.env().api();
    let bindings = api.namespaces().filter(|namespace| access.sees(namespace)).map(|namespace| {
        let writable = may_write && vars.kv_api_writable.check(&namespace.title).is_ok();
        Binding { id: &namespace.id, title: &namespace.title, role: role(&namespace.title), writable }
    });
    json(&Session {
        name: access.name(),
        everything: scope.is_none(),
        scope,
        expires,
        features: FEATURES,
        bindings: bindings.collect(),
        key_bytes_max: KeyBytesMax { bindings: KEY_BYTES_MAX, created: CREATED_KEY_BYTES_MAX },
        creates_namespaces: access.check_administration().is_ok() && api.home.is_some(),
        metrics: request.context.meter().is_on(),
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// Returns what a binding of this name holds.
fn role(title: &str) -> &'static str {
    match title {
        "CACHE_KV" => "cache",
        "USER_CONFIGURATION" => "configuration",
        "ROUTING_CONFIG" => "storefronts",
        "assets" => "assets",
        "WRITES" => "writes",
        "KV_NAMESPACES" => "namespaces",
        _ => "other",
    }
}
