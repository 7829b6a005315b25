//! Bulk calls. A batch with more keys than one invocation may change is split: its parts are calls
//! of the same endpoint, which the Worker makes to itself.

use std::cell::RefCell;
use std::future::Future;

use futures_util::StreamExt;
use futures_util::stream;
use http_semantics::error_response::HttpError;
use http_semantics::request_body::RequestBodyError;
use kv_api::access::{Access, CREDENTIAL_FIELDS};
use kv_api::bulk::{
    self, BODY_BYTES_MAX, BulkGet, BulkOutcome, BulkPut, BulkValue, BulkValues, INVOCATION_KEYS_MAX, Pair, PairValue,
};
use kv_api::envelope;
use kv_api::error::{KvApiError, Operation};
use kv_api::split_batch::{BulkItem, PartReply, SplitBatch};
use kv_store::limits::Key;
use kv_store::retry::{Backoff, Time};
use kv_store::store::StoreError;
use worker::web_sys::Response;

use super::namespaces::OpenNamespace;
use super::values::{forget_expiration, put_options};
use super::{now_seconds, success};
use crate::http::error::RequestError;
use crate::http::request_context::RequestContext;
use crate::kv::ReadOptions;
use crate::kv::put::PutValue;
use crate::platform::clock::Clock;
use crate::platform::js_error::message_of;
use crate::platform::own_worker;

/// How many keys an invocation changes at the same time. The platform sends six requests at once;
/// the others wait in its queue.
const CONCURRENT_KEYS: usize = 24;

/// How many further invocations run at the same time.
const CONCURRENT_CALLS: usize = 8;

/// The wait before keys are sent again, in milliseconds: a key takes one write a second.
const ROUND_WAIT_MS: u64 = 1100;

/// Two tries for each key: with [`INVOCATION_KEYS_MAX`] keys, more would be too many operations.
const BACKOFF: Backoff = Backoff { tries_max: 2, ..Backoff::PUT_OF_CLIENT };

/// `PUT …/bulk`
pub(super) async fn put(
    context: &RequestContext,
    access: &Access,
    open: &OpenNamespace,
) -> Result<Response, RequestError> {
    let operation = Operation::BulkPut;
    let body = body(context, operation).await?;
    let batch = BulkPut::parse(&body, open.key_bytes_max(), now_seconds())?;
    access.check_change(batch.keys())?;
    let changed = if batch.keys().len() <= INVOCATION_KEYS_MAX {
        let pairs = batch.into_pairs().into_iter();
        change_each(pairs.map(|pair| (pair.key.clone().into_owned(), put_pair(open, pair)))).await
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
    let keys = bulk::parse_delete(&body, open.key_bytes_max())?;
    access.check_change(keys.iter().map(String::as_str))?;
    let changed = if keys.len() <= INVOCATION_KEYS_MAX {
        change_each(keys.into_iter().map(|key| (key.clone(), delete_key(open, key)))).await
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
    let read = BulkGet::parse(&body, open.key_bytes_max())?;
    access.check_read(read.keys.iter().map(String::as_str))?;
    let keys: Vec<Key<'_>> =
        read.keys.iter().map(|key| open.key(key, Operation::BulkGet)).collect::<Result<_, KvApiError>>()?;
    let found = open.store.texts_with_metadata(&keys).await;
    let found =
        found.map_err(
            |error| {
                if error.is_too_large() { RequestError::from(KvApiError::LongValues) } else { error.into() }
            },
        )?;
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
    let Some(value) = open.store.read_with_retry(key, &ReadOptions::BYTES).await? else { return Ok(()) };
    let bytes = js_sys::Uint8Array::new(&value).to_vec();
    if std::str::from_utf8(&bytes).is_ok() { Ok(()) } else { Err(KvApiError::NotText.into()) }
}

async fn put_pair(open: &OpenNamespace, pair: Pair<'_>) -> Result<(), StoreError> {
    let key = open.key(&pair.key, Operation::BulkPut).map_err(|error| not_sent(&error))?;
    let options = put_options(pair.expiration, pair.metadata.as_deref())
        .map_err(|thrown| StoreError::not_sent(message_of(&thrown)))?;
    let value = match &pair.value {
        PairValue::Text(text) => PutValue::text(text),
        PairValue::Bytes(bytes) => PutValue::bytes(js_sys::Uint8Array::from(bytes.as_slice())),
    };
    let put = open.store.put_with_retry(&key, &value, options.as_ref(), &BACKOFF, |_| {}).await;
    forget_expiration(open, &key);
    put.outcome.map_err(|(error, _)| error)
}

async fn delete_key(open: &OpenNamespace, key: String) -> Result<(), StoreError> {
    let key = open.key(&key, Operation::BulkDelete).map_err(|error| not_sent(&error))?;
    let delete = open.store.delete_with_retry(&key, &BACKOFF).await;
    forget_expiration(open, &key);
    delete.outcome.map_err(|(error, _)| error)
}

fn not_sent(error: &KvApiError) -> StoreError {
    StoreError::not_sent(error.response().sentence())
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

/// Changes keys, several at the same time.
async fn change_each<F: Future<Output = Result<(), StoreError>>>(
    changes: impl Iterator<Item = (String, F)>,
) -> ChangedKeys {
    let changes = changes.map(|(key, change)| async move { (key, change.await) });
    let mut changes = stream::iter(changes).buffer_unordered(CONCURRENT_KEYS);
    let mut result = ChangedKeys::default();
    while let Some((key, outcome)) = changes.next().await {
        let Err(error) = outcome else {
            result.outcome.successful_key_count += 1;
            continue;
        };
        result.outcome.unsuccessful_keys.push(key);
        result.outcome.is_rate_limited |= error.is_rate_limited();
        result.cause.get_or_insert_with(|| error.to_string());
    }
    result
}

/// Changes keys in further invocations, several at the same time.
async fn change_by_calls(context: &RequestContext, items: Vec<BulkItem<'_>>) -> ChangedKeys {
    let batch = RefCell::new(SplitBatch::new(items));
    let mut cause = None;
    loop {
        let parts = batch.borrow_mut().next_round();
        if parts.is_empty() {
            break;
        }
        let calls = parts.into_iter().map(|part| {
            let batch = &batch;
            async move {
                let body = batch.borrow().body(&part);
                (part, own_worker::send(context.request(), CREDENTIAL_FIELDS, &body).await)
            }
        });
        let mut replies = stream::iter(calls).buffer_unordered(CONCURRENT_CALLS);
        let mut is_whole = true;
        while let Some((part, reply)) = replies.next().await {
            let reply = match reply {
                Ok((status, body)) => PartReply::parse(status, &body),
                Err(error) => {
                    cause.get_or_insert(error);
                    PartReply::none()
                }
            };
            is_whole &= reply == PartReply::Done;
            batch.borrow_mut().record(part, reply);
        }
        if !is_whole {
            Clock.sleep(ROUND_WAIT_MS).await;
        }
    }
    ChangedKeys { outcome: batch.into_inner().outcome(), cause }
}

/// Reads the body of a bulk call.
async fn body(context: &RequestContext, operation: Operation) -> Result<Vec<u8>, RequestError> {
    match context.short_body(BODY_BYTES_MAX).await {
        Err(RequestBodyError::TooLong) => Err(KvApiError::LongBody(operation).into()),
        body => Ok(body?),
    }
}
