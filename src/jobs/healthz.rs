//! `GET /healthz`: the version of the Worker, and the state of the flags in this isolate.

#[cfg(feature = "flags")]
mod flags;

use serde::Serialize;
use worker::web_sys;

use crate::http::error::RequestError;
use crate::http::request_context::RequestContext;
use crate::http::response;

#[derive(Serialize)]
struct Health {
    status: &'static str,
    version: &'static str,
    #[cfg(feature = "flags")]
    flags: flags::FlagsHealth,
}

/// Returns 200 as long as the Worker runs: it still serves requests if KV fails.
#[cfg_attr(not(feature = "flags"), expect(unused_variables, clippy::unused_async))]
pub(crate) async fn handle(context: &RequestContext) -> Result<web_sys::Response, RequestError> {
    let health = Health {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
        #[cfg(feature = "flags")]
        flags: flags::FlagsHealth::of(context).await,
    };
    let json = serde_json::to_vec(&health).map_err(|error| RequestError::internal(&error.to_string().into()))?;
    let fields = [("content-type", "application/json"), ("cache-control", "no-store")];
    Ok(response::ok(&response::bytes(&json), &fields)?)
}
