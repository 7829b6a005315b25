//! `POST /config`: the records of many users. It needs the API token, because it returns whole
//! records; the page of `GET /config` shows one setting.

use std::collections::BTreeMap;

use feature_flags::config::ConfigError;
use feature_flags::config::batch::{BatchEntry, REQUEST_BYTES_MAX, parse_request};
use http_semantics::request_body::RequestBodyError;
use serde::Serialize;
use worker::web_sys::Response;

use crate::http::error::RequestError;
use crate::http::request_context::RequestContext;
use crate::http::response;
use crate::kv::users::{self, BatchError};

#[derive(Serialize)]
struct BatchResponse<'a> {
    users: BTreeMap<&'a str, BatchEntry<'a>>,
}

/// Responds with the record of each user, and where it comes from: their own record, in memory or
/// in KV, or the one in the snapshot. A user who is named twice is listed once.
#[expect(clippy::expect_used, reason = "the index is that of an id of this request")]
pub(super) async fn handle(context: &RequestContext) -> Result<Response, RequestError> {
    context.authorize()?;
    let body = context.short_body(REQUEST_BYTES_MAX).await.map_err(|error| match error {
        RequestBodyError::TooLong => ConfigError::BatchTooLong.into(),
        RequestBodyError::TimedOut | RequestBodyError::Incomplete => RequestError::from(error),
    })?;
    let requested = parse_request(&body)?;
    let mut ids: Vec<&str> = Vec::with_capacity(requested.len());
    let mut unique = std::collections::BTreeSet::new();
    ids.extend(requested.iter().map(String::as_str).filter(|id| unique.insert(*id)));
    let found = users::find_all(context, &ids).await.map_err(|error| match error {
        BatchError::Key(index, error) => {
            // The position among all ids of the request, duplicates included.
            let id = ids.get(index).expect("it is the position of an id");
            let index = requested.iter().position(|requested| requested == id).expect("each id was requested");
            ConfigError::BatchKey { index, error }
        }
        BatchError::TooLong => ConfigError::BatchResponseTooLong,
    })?;
    let users = ids.iter().zip(&found).map(|(id, user)| (*id, BatchEntry::new(user.source, user.record()))).collect();
    let json = serde_json::to_vec(&BatchResponse { users })
        .map_err(|error| RequestError::internal(&error.to_string().into()))?;
    let fields = [("content-type", "application/json"), ("cache-control", "no-store")];
    Ok(response::with_status(200, &response::bytes(&json), &fields)?)
}
