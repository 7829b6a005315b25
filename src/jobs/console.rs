//! `/console/…`: the browser page for operators of kv-edge, and the API behind it. The page lists
//! and changes keys through `/client/v4`.

#[cfg(feature = "cache")]
mod cache;
pub(crate) mod error;
#[cfg(any(feature = "cache", feature = "flags", feature = "storefronts"))]
mod findings;
#[cfg(feature = "flags")]
mod flags;
#[cfg(feature = "metrics")]
mod metrics;
pub(crate) mod page;
#[cfg(feature = "assets")]
mod releases;
mod session;
#[cfg(feature = "storefronts")]
mod storefronts;
mod values;

use std::borrow::Cow;

use http_semantics::authorization::NotAuthorized;
use http_semantics::request_target::RequestTarget;
use kv_api::access::{Access, CREDENTIAL_FIELDS};
use kv_api::namespace::ApiNamespace;
use kv_store::record::to_json;
use serde::Serialize;
use wasm_bindgen::JsValue;
use worker::web_sys::Response;

use self::error::ConsoleError;
use crate::http::access::{AccessError, access};
use crate::http::error::RequestError;
use crate::http::request_context::RequestContext;
use crate::http::response;
use crate::routes::MethodNotAllowed;

/// Returns the response to a call of the API. `path` is what follows `/console/api/`, still
/// percent-encoded.
pub(crate) async fn api(
    context: &RequestContext,
    path: &str,
    target: &RequestTarget<'_>,
) -> Result<Response, RequestError> {
    let caller = caller(context).await?;
    if path.ends_with('/') {
        return Err(ConsoleError::UnknownCall.into());
    }
    if let Some(name) = target.unknown_parameter(parameters_of(path)) {
        return Err(ConsoleError::InvalidParameter(format!("{name:?} is unknown")).into());
    }
    let (module, call) = path.split_once('/').unwrap_or((path, ""));
    let request = ConsoleRequest { context, access: &caller, call, target };
    match module {
        "session" => session::handle(&request),
        #[cfg(feature = "cache")]
        "cache" => cache::handle(&request).await,
        #[cfg(feature = "flags")]
        "flags" => flags::handle(&request).await,
        #[cfg(feature = "metrics")]
        "metrics" => metrics::handle(&request).await,
        #[cfg(feature = "assets")]
        "releases" => releases::handle(&request).await,
        #[cfg(feature = "storefronts")]
        "storefronts" => storefronts::handle(&request).await,
        "values" => values::handle(&request).await,
        _ => Err(ConsoleError::UnknownCall.into()),
    }
}

/// Returns the names of the parameters that the query of a call may have.
fn parameters_of(path: &str) -> &'static [&'static str] {
    match path {
        "cache" => &["url"],
        "metrics" => &["resolution", "period"],
        "releases/changes" => &["from", "to"],
        "values" => &["namespace", "key"],
        _ => &[],
    }
}

/// Returns what the caller may do. The errors are those of every other route with a token, not
/// those of Cloudflare's API.
async fn caller(context: &RequestContext) -> Result<Access, RequestError> {
    access(context, &context.headers(CREDENTIAL_FIELDS)).await.map_err(|error| match error {
        AccessError::Refused(_) => NotAuthorized::InvalidToken.into(),
        other => other.into(),
    })
}

/// A call of the API by a caller with a valid token.
struct ConsoleRequest<'a> {
    context: &'a RequestContext,
    access: &'a Access,
    /// The path after the module's name, still percent-encoded: `check` of `flags/check`.
    call: &'a str,
    /// The URL, for the parameters of the query.
    target: &'a RequestTarget<'a>,
}

impl ConsoleRequest<'_> {
    /// Checks the method of the request. `method` is `POST`, or `GET`, which allows `HEAD` as
    /// well.
    fn require_method(&self, method: &'static str) -> Result<(), MethodNotAllowed> {
        match self.context.method() {
            "HEAD" if method == "GET" => Ok(()),
            given if given == method => Ok(()),
            _ if method == "GET" => Err(MethodNotAllowed { allow: "GET, HEAD" }),
            _ => Err(MethodNotAllowed { allow: method }),
        }
    }

    /// Returns the decoded values of these parameters, which the query must have.
    fn parameters<const N: usize>(&self, names: [&str; N]) -> Result<[Cow<'_, str>; N], RequestError> {
        let mut values = [const { Cow::Borrowed("") }; N];
        for (name, value) in names.into_iter().zip(&mut values) {
            let missing = || ConsoleError::InvalidParameter(format!("{name:?} is missing"));
            *value = self.target.parameter(name)?.filter(|value| !value.is_empty()).ok_or_else(missing)?;
        }
        Ok(values)
    }

    /// Checks that the caller may read these keys of the namespace of a binding. Whoever may read
    /// a prefix may read all keys below it.
    fn check_read(&self, binding: &str, keys: &[&str]) -> Result<(), ConsoleError> {
        if !self.access.sees(&ApiNamespace::of_binding(binding)) {
            return Err(ConsoleError::OutOfScope);
        }
        self.access.check_read(keys.iter().copied()).map_err(ConsoleError::of_access)
    }

    /// Checks that the caller may change these keys, and that the namespace is not read-only.
    #[cfg(feature = "assets")]
    fn check_change(&self, binding: &str, keys: &[&str]) -> Result<(), ConsoleError> {
        self.check_read(binding, keys)?;
        self.access.check_change(keys.iter().copied()).map_err(ConsoleError::of_access)?;
        self.context.vars().kv_api_writable.check(binding).map_err(ConsoleError::of_access)
    }

    /// Reads the body, a JSON object of at most `bytes_max` bytes.
    #[cfg(any(feature = "assets", feature = "flags", feature = "storefronts"))]
    async fn body<T: serde::de::DeserializeOwned>(&self, bytes_max: u32) -> Result<T, RequestError> {
        let body = self.context.short_body(bytes_max).await?;
        let invalid = |error: serde_json::Error| ConsoleError::InvalidBody(error.to_string());
        Ok(serde_json::from_slice(&body).map_err(invalid)?)
    }
}

/// Returns a 200 with this JSON.
fn json(value: &impl Serialize) -> Result<Response, RequestError> {
    let fields = [("content-type", "application/json"), ("cache-control", "no-store")];
    Ok(response::ok(&JsValue::from_str(&to_json(value)), &fields)?)
}
