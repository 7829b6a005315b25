//! Bulk calls: puts, deletes and reads of many keys. A batch with more keys than one invocation
//! may change is split: its parts are calls of the same endpoint, which the Worker makes to
//! itself.

use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use http_semantics::error_response::HttpError;
use http_semantics::request_body::RequestBodyError;
use kv_api::access::{Access, CREDENTIAL_FIELDS};
use kv_api::bulk::{self, BulkGet, BulkPut, BulkValue, BulkValues, Pair, PairValue};
use kv_api::bulk_call::{BODY_BYTES_MAX, BulkOutcome, INVOCATION_KEYS_MAX};
use kv_api::envelope;
use kv_api::error::{KvApiError, Operation};
use kv_api::split_batch::{BulkItem, PartReply, SplitBatch};
use kv_store::limits::Key;
use kv_store::retry::{Backoff, Classify, FailureClass, Time};
use kv_store::store_error::StoreError;
use wasm_bindgen::prelude::*;
use worker::web_sys::Response;

use super::success;
use super::values::{forget_expiration, put_options};
use crate::http::error::RequestError;
use crate::http::request_context::RequestContext;
use crate::kv::ReadOptions;
use crate::kv::namespaces::OpenNamespace;
use crate::kv::put::PutValue;
use crate::platform::clock::{self, Clock};
use crate::platform::js_error::message_of;
use crate::platform::self_call;

#[wasm_bindgen(module = "/src/platform/glue/kv_api.js")]
extern "C" {
    /// Returns true if bytes are UTF-8.
    #[wasm_bindgen(js_name = isText)]
    fn is_text(bytes: &JsValue) -> bool;
}

/// How many keys an invocation changes at the same time. The platform sends six requests at once;
/// the others wait in its queue.
const CONCURRENT_KEYS: usize = 24;

/// How long an invocation begins to change keys, in milliseconds. A change that has begun then may
/// take the time of [`BACKOFF`], so all of them end within a minute.
const CHANGES_MS: u64 = 50_000;

/// How many further invocations run at the same time. Each may have 4 MiB of the batch.
const CONCURRENT_CALLS: usize = 4;

/// How long a further invocation may take: its changes, with ten seconds on top for its reply.
const CALL_TIMEOUT: Duration = Duration::from_secs(70);

/// How long further invocations are begun, in milliseconds: a batch has its response within five
/// minutes, after which HTTP clients give up.
const CALLS_MS: u64 = 230_000;

/// The wait before keys are sent again, in milliseconds: a key takes one write a second.
const ROUND_WAIT_MS: u64 = 1100;

/// How often a key is tried: with [`INVOCATION_KEYS_MAX`] keys, more would be too many operations.
const ROUNDS: u32 = 2;

/// Why the rest of a batch is not begun, for the log.
const NO_TIME: &str = "no time was left";

/// One try for each key in a round.
const BACKOFF: Backoff = Backoff { tries_max: 1, ..Backoff::PUT_OF_CLIENT };

/// `PUT …/bulk`
pub(super) async fn put(
    context: &RequestContext,
    access: &Access,
    open: &OpenNamespace,
) -> Result<Response, RequestError> {
    let operation = Operation::BulkPut;
    let body = body(context, operation).await?;
    let batch = BulkPut::parse(&body, open.keys.bytes_max(), clock::now_seconds())?;
    access.check_change(batch.keys())?;
    let changed = if batch.keys().len() <= INVOCATION_KEYS_MAX {
        change_each(&batch.into_pairs(), |pair| pair.key.as_ref(), |pair| put_pair(open, pair)).await
    } else {
        change_by_calls(context, batch.into_items()).await
    };
    changed.respond(operation)
}

/// `POST …/bulk/delete`, and its old form `DELETE …/bulk`
pub(super) async fn delete(
    context: &RequestContext,
    access: &Access,
    open: &OpenNamespace,
) -> Result<Response, RequestError> {
    let operation = Operation::BulkDelete;
    let body = body(context, operation).await?;
    let keys = bulk::parse_delete(&body, open.keys.bytes_max())?;
    access.check_change(keys.iter().map(String::as_str))?;
    let changed = if keys.len() <= INVOCATION_KEYS_MAX {
        change_each(&keys, String::as_str, |key| delete_key(open, key)).await
    } else {
        change_by_calls(context, keys.into_iter().map(BulkItem::deleted).collect()).await
    };
    changed.respond(operation)
}

/// `POST …/bulk/get`: one read of KV. A text in which KV has put U+FFFD may stand for bytes that
/// are not UTF-8, so such a key is read again.
pub(super) async fn get(
    context: &RequestContext,
    access: &Access,
    open: &OpenNamespace,
) -> Result<Response, RequestError> {
    let body = body(context, Operation::BulkGet).await?;
    let read = BulkGet::parse(&body, open.keys.bytes_max())?;
    access.check_read(read.keys.iter().map(String::as_str))?;
    let keys: Vec<Key<'_>> =
        read.keys.iter().map(|key| open.keys.key(key, Operation::BulkGet)).collect::<Result<_, KvApiError>>()?;
    let found = open.store.texts_with_metadata(&keys).await;
    let found = found.map_err(|error| {
        if error.is_too_large() { RequestError::from(KvApiError::ValuesTooLong) } else { error.into() }
    })?;
    let mut values = Vec::with_capacity(keys.len());
    for ((name, key), found) in read.keys.iter().zip(&keys).zip(found) {
        let value = match found {
            None => None,
            Some((text, metadata)) => {
                if text.contains(char::REPLACEMENT_CHARACTER) {
                    check_text(open, key).await?;
                }
                Some(BulkValue::new(text, read.value_type, metadata)?)
            }
        };
        values.push((name.clone(), value));
    }
    success(BulkValues { values, with_metadata: read.with_metadata }, None)
}

/// Checks that the value of a key is UTF-8.
async fn check_text(open: &OpenNamespace, key: &Key<'_>) -> Result<(), RequestError> {
    match open.store.read_with_retry(key, &ReadOptions::BYTES).await? {
        Some(value) if !is_text(&value) => Err(KvApiError::NotText.into()),
        _ => Ok(()),
    }
}

async fn put_pair(open: &OpenNamespace, pair: &Pair<'_>) -> Result<(), StoreError> {
    let key = open.keys.key(&pair.key, Operation::BulkPut).map_err(|error| invalid_key(&error))?;
    let options =
        put_options(pair.expiration, pair.metadata).map_err(|thrown| StoreError::permanent(message_of(&thrown)))?;
    let value = match &pair.value {
        PairValue::Text(text) => PutValue::text(text),
        PairValue::Bytes(bytes) => PutValue::bytes(js_sys::Uint8Array::from(bytes.as_slice())),
    };
    let put = open.store.put_with_retry(&key, &value, options.as_ref(), &BACKOFF, |_| {}).await;
    forget_expiration(open, &key);
    put.outcome.map_err(|(error, _)| error)
}

async fn delete_key(open: &OpenNamespace, key: &str) -> Result<(), StoreError> {
    let key = open.keys.key(key, Operation::BulkDelete).map_err(|error| invalid_key(&error))?;
    let delete = open.store.delete_with_retry(&key, &BACKOFF).await;
    forget_expiration(open, &key);
    delete.outcome.map_err(|(error, _)| error)
}

fn invalid_key(error: &KvApiError) -> StoreError {
    StoreError::permanent(error.response().sentence())
}

/// What came of a batch.
#[derive(Default)]
struct ChangedKeys {
    outcome: BulkOutcome,
    /// Why the first key failed, for the log.
    cause: Option<String>,
}

impl ChangedKeys {
    /// Returns 200 only if every key was changed: wrangler does not look at the keys that were
    /// not.
    fn respond(self, operation: Operation) -> Result<Response, RequestError> {
        if self.outcome.unsuccessful_keys.is_empty() {
            return success(self.outcome, None);
        }
        let error = KvApiError::Incomplete(operation, self.outcome.clone());
        let json = envelope::failure(&error.response(), &self.outcome);
        let failure = RequestError::of(&error).with_json(json);
        Err(match self.cause {
            Some(cause) => failure.because(&cause),
            None => failure,
        })
    }
}

/// Changes keys, several at the same time. Those that KV does not change at first are tried once
/// more, after a wait in which a key takes a write again, unless the failure is permanent.
async fn change_each<'i, T, F: Future<Output = Result<(), StoreError>>>(
    items: &'i [T],
    key: impl Fn(&'i T) -> &'i str,
    change: impl Fn(&'i T) -> F,
) -> ChangedKeys {
    let end_ms = Clock.now_ms() + CHANGES_MS;
    let mut pending: Vec<&T> = items.iter().collect();
    let mut result = ChangedKeys::default();
    for round in 1..=ROUNDS {
        let changes = std::mem::take(&mut pending).into_iter().map(|item| {
            let change = change(item);
            async move {
                let is_time_left = Clock.now_ms() < end_ms;
                (item, if is_time_left { change.await } else { Err(StoreError::permanent(NO_TIME)) })
            }
        });
        let mut changes = stream::iter(changes).buffer_unordered(CONCURRENT_KEYS);
        while let Some((item, outcome)) = changes.next().await {
            match outcome {
                Ok(()) => result.outcome.successful_key_count += 1,
                Err(error) if round < ROUNDS && error.class() != FailureClass::Permanent => pending.push(item),
                Err(error) => {
                    result.outcome.unsuccessful_keys.push(key(item).to_owned());
                    result.outcome.is_rate_limited |= error.is_rate_limited();
                    result.cause.get_or_insert_with(|| error.to_string());
                }
            }
        }
        if pending.is_empty() {
            break;
        }
        Clock.sleep(ROUND_WAIT_MS).await;
    }
    result
}

/// Changes keys in further invocations, several at the same time.
async fn change_by_calls(context: &RequestContext, items: Vec<BulkItem<'_>>) -> ChangedKeys {
    let end_ms = Clock.now_ms() + CALLS_MS;
    let mut batch = SplitBatch::new(items);
    let mut cause = None;
    let mut parts = batch.next_round();
    while !parts.is_empty() {
        let calls = parts.iter().map(|part| {
            // The body of a call is made when its turn comes, and passed on at once.
            let send = || {
                self_call::send(
                    context.request(),
                    CREDENTIAL_FIELDS,
                    &batch.body(part),
                    context.deadlines().clone(),
                    CALL_TIMEOUT,
                )
            };
            let call = (Clock.now_ms() < end_ms).then(send);
            async { call.ok_or(NO_TIME)?.await }
        });
        let replies: Vec<_> = stream::iter(calls).buffered(CONCURRENT_CALLS).collect().await;
        let mut has_failed = false;
        for (part, reply) in parts.into_iter().zip(replies) {
            let reply = reply.map_or_else(
                |error| {
                    cause.get_or_insert(error);
                    PartReply::no_response()
                },
                |(status, body)| PartReply::parse(status, &body),
            );
            has_failed |= reply != PartReply::Done;
            batch.record(part, reply);
        }
        parts = batch.next_round();
        if has_failed && !parts.is_empty() {
            Clock.sleep(ROUND_WAIT_MS).await;
        }
    }
    ChangedKeys { outcome: batch.outcome(), cause }
}

/// Reads the body of a bulk call.
async fn body(context: &RequestContext, operation: Operation) -> Result<Vec<u8>, RequestError> {
    match context.short_body(BODY_BYTES_MAX).await {
        Err(RequestBodyError::TooLong) => Err(KvApiError::BodyTooLong(operation).into()),
        body => Ok(body?),
    }
}
