//! `GET /{key}`: the file with that key.

use kv_edge_core::assets::{self, AssetError};
use worker::web_sys;

use crate::error::Failure;
use crate::incoming::Incoming;
use crate::response;

/// Streams the file through, untouched. The runtime sends no body for HEAD.
pub(crate) async fn answer(incoming: &Incoming, path: &str) -> Result<web_sys::Response, Failure> {
    let key = assets::key(path)?;
    let stream = incoming.env().files().stream(&key).await?.ok_or(AssetError::NotFound)?;
    response::ok(&stream, &[("content-type", &assets::content_type(key.as_str()))])
}
