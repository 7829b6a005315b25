//! `* /stores/{storefrontId}/{path}`: the tenant router.

use kv_edge_core::tenants::{StorefrontPath, TenantError};
use wasm_bindgen::{JsCast, JsValue};
use worker::web_sys;

use crate::error::Failure;
use crate::incoming::Incoming;
use crate::{deadline, upstream};

/// Sends the request to the storefront's origin and streams the answer back. `path` is what stands behind `/stores`.
pub(crate) async fn answer(incoming: &Incoming, path: &str, query: Option<&str>) -> Result<web_sys::Response, Failure> {
    let storefront = StorefrontPath::parse(path)?;
    let record = incoming.env().storefronts().text(&storefront.id).await?;
    let record = record.ok_or_else(|| TenantError::NotFound(storefront.id.as_str().to_owned()))?;
    let vars = incoming.vars();
    let url = storefront.target(&record, query, &vars.routing)?;

    let request = incoming.forward_to(&url).map_err(|thrown| Failure::internal(&thrown))?;
    let response = deadline::within(vars.upstream_timeout.of_request(incoming.has_body()), upstream::fetch(&request))
        .await
        .ok_or_else(Failure::origin_timeout)?
        .map_err(|thrown| Failure::origin_failed(&thrown))?;
    // What the runtime refuses to pass on, such as the status 999, is no HTTP answer.
    mark(&response, &storefront.id_field()).map_err(|thrown| Failure::origin_failed(&thrown))
}

/// The origin's answer with the documented fields. Its own header fields are immutable, so the runtime copies them.
fn mark(response: &web_sys::Response, id: &str) -> Result<web_sys::Response, JsValue> {
    // The runtime takes a Response wherever it takes response options.
    let marked =
        web_sys::Response::new_with_opt_readable_stream_and_init(response.body().as_ref(), response.unchecked_ref())?;
    let headers = marked.headers();
    headers.set("x-served-by", "Cloudflare Worker")?;
    headers.set("x-storefront-id", id)?;
    Ok(marked)
}
