//! `POST /writes/{key}` makes one write to a key, or many at the same time, by one of three
//! strategies. `GET /writes/{key}` returns the value of the key that KV shows, or with
//! `consistent=1` the newest one, which the key's Durable Object knows.

mod page;

use std::time::Duration;

use futures_util::future::join_all;
use http_semantics::conditional::{entity_tag, is_not_modified};
use http_semantics::problem::wants_html;
use http_semantics::request_target::RequestTarget;
use kv_store::key_writer::message::WriterReply;
use kv_store::key_writer::{WriteResult, WriterUnavailable};
use kv_store::retry::{Time, Try};
use kv_store::store_error::StoreError;
use kv_store::write_coalescer::{CoalescedPut, WriteCoalescer};
use kv_store::writes::{
    self, Attempt, ReadError, RetriedAttempt, RunReport, ValueRead, Wait, WriteFields, WriteRun, WriteStrategy,
};
use serde::Serialize;
use wasm_bindgen::JsValue;
use worker::web_sys;

use crate::http::error::RequestError;
use crate::http::request_context::RequestContext;
use crate::http::response;
use crate::kv::key_writers::KeyWriters;
use crate::kv::put::PutValue;
use crate::kv::{ReadOptions, Store};
use crate::platform::clock::Clock;

const NO_STORE: (&str, &str) = ("cache-control", response::NO_STORE_NO_TRANSFORM);

/// Returns the response to a read or a write. Both need the API token.
pub(crate) async fn handle(
    context: &RequestContext,
    encoded_key: &str,
    target: &RequestTarget<'_>,
) -> Result<web_sys::Response, RequestError> {
    context.authorize()?;
    if context.method() == "POST" {
        write(context, encoded_key, target).await
    } else {
        read(context, encoded_key, target).await
    }
}

async fn read(
    context: &RequestContext,
    encoded_key: &str,
    target: &RequestTarget<'_>,
) -> Result<web_sys::Response, RequestError> {
    let read = ValueRead::parse(encoded_key, target)?;
    let mut fields = vec![("content-type", "application/octet-stream"), NO_STORE];
    if !read.is_consistent {
        let value = context
            .env()
            .hot_keys()
            .read_with_retry(&read.key, &ReadOptions::STREAM)
            .await?
            .ok_or(ReadError::NotFound)?;
        return respond(200, &value, &fields);
    }
    let (reply, value) = context.env().key_writers().read(&read.key).await.map_err(WriterUnavailable)?;
    match reply {
        WriterReply::Value { version } => {
            let tag = version.map(entity_tag);
            fields.extend(tag.as_deref().map(|tag| ("etag", tag)));
            let if_none_match = context.header("if-none-match");
            if version.is_some_and(|version| is_not_modified(if_none_match.as_deref(), version)) {
                return respond(304, &JsValue::NULL, &fields);
            }
            respond(200, &value, &fields)
        }
        WriterReply::NotFound => Err(ReadError::NotFound.into()),
        WriterReply::NotVisibleYet => Err(ReadError::NotVisibleYet.into()),
        WriterReply::KvFailed { message } => Err(StoreError::from_message(message).into()),
        WriterReply::Written(_) => {
            Err(WriterUnavailable("the object replied to a read as to a write".to_owned()).into())
        }
    }
}

async fn write(
    context: &RequestContext,
    encoded_key: &str,
    target: &RequestTarget<'_>,
) -> Result<web_sys::Response, RequestError> {
    let content_length = context.header("content-length");
    let (if_match, if_none_match) = (context.header("if-match"), context.header("if-none-match"));
    let fields = WriteFields {
        content_length: content_length.as_deref(),
        has_body: context.has_body(),
        if_match: if_match.as_deref(),
        if_none_match: if_none_match.as_deref(),
    };
    let run = WriteRun::parse(encoded_key, target, &fields)?;
    let body_value = body_value(context, &run).await?;
    let value = |number| body_value.clone().unwrap_or_else(|| PutValue::text(&writes::value(number)));
    let start_ms = Clock.now_ms();
    let mut failure = None;
    let (mut status, version, attempts) = match run.strategy {
        WriteStrategy::Direct | WriteStrategy::Backoff => {
            let store = context.env().hot_keys();
            let puts = (1..=run.n).map(|number| put(&store, &run, number, value(number), start_ms));
            let (attempts, errors): (Vec<_>, Vec<_>) = join_all(puts).await.into_iter().unzip();
            // A failed put fails the request only if the client sent the value: the generated
            // values demonstrate such failures.
            failure = run.value_bytes.and(errors.into_iter().flatten().next()).map(RequestError::from);
            (200, None, attempts)
        }
        WriteStrategy::Coalesce(wait) => {
            let (version, attempts) = coalesce(&context.env().key_writers(), &run, wait, value, start_ms).await?;
            (if wait == Wait::Kv { 200 } else { 202 }, Some(version), attempts)
        }
    };
    let report = RunReport::new(attempts, since_ms(start_ms));
    let tag = version.map(entity_tag);
    let mut fields = vec![NO_STORE, ("vary", "Accept")];
    fields.extend(tag.as_deref().map(|tag| ("etag", tag)));
    let body = if wants_html(context.header("accept").as_deref()) {
        fields.extend([("content-type", "text/html; charset=utf-8"), ("content-security-policy", page::POLICY)]);
        page::render(&run, &report)?
    } else {
        fields.push(("content-type", "application/json"));
        match run.strategy {
            WriteStrategy::Direct => json(&report.attempts.iter().map(|retried| &retried.attempt).collect::<Vec<_>>())?,
            WriteStrategy::Backoff | WriteStrategy::Coalesce(_) => json(&report)?,
        }
    };
    if let Some(failure) = &failure {
        status = failure.status();
        fields.extend(failure.fields(failure.log(context.log())));
    }
    respond(status, &response::bytes(body.as_bytes()), &fields)
}

/// Returns the value in the body; `None` if the request has none. It is read in full before any
/// put: an aborted upload writes nothing, a put can be retried, and a slow client does not use up
/// the deadline of the puts.
async fn body_value(context: &RequestContext, run: &WriteRun<'_>) -> Result<Option<PutValue>, RequestError> {
    let Some(length) = run.value_bytes else { return Ok(None) };
    Ok(Some(PutValue::bytes(context.body_bytes(length).await?)))
}

/// Makes one of several concurrent writes. Returns its report, and the error if it failed.
async fn put(
    store: &Store,
    run: &WriteRun<'_>,
    number: u32,
    value: PutValue,
    start_ms: u64,
) -> (RetriedAttempt, Option<StoreError>) {
    let started_ms = since_ms(start_ms);
    let mut tries = Vec::new();
    let (attempt, error) = if run.strategy == WriteStrategy::Direct {
        let timeout = Duration::from_millis(run.timeout_ms.into());
        let outcome = store.put_within(timeout, &run.key, &value, None).await;
        tries.push(Try { started_ms, ended_ms: since_ms(start_ms), is_accepted: outcome.is_ok() });
        (Attempt::new(number, outcome.as_ref().map(|&()| ())), outcome.err())
    } else {
        let on_try = |made: Try| {
            tries.push(Try {
                started_ms: made.started_ms.saturating_sub(start_ms),
                ended_ms: made.ended_ms.saturating_sub(start_ms),
                ..made
            });
        };
        let outcome = store.put_with_retry(&run.key, &value, None, &run.backoff(), on_try).await.outcome;
        (Attempt::retried(number, &outcome), outcome.err().map(|(error, _)| error))
    };
    (RetriedAttempt { attempt, tries, started_ms, ended_ms: since_ms(start_ms) }, error)
}

/// Sends the last value of the run to the key's Durable Object. Returns its version, and the
/// report of each write. Only the write that was sent can have tries; the others were superseded.
async fn coalesce(
    writers: &KeyWriters,
    run: &WriteRun<'_>,
    wait: Wait,
    value: impl Fn(u32) -> PutValue,
    start_ms: u64,
) -> Result<(u64, Vec<RetriedAttempt>), RequestError> {
    let coalescer = WriteCoalescer::new();
    let send = async |number| {
        let sent_ms = since_ms(start_ms);
        writers.write(run, wait, &value(number)).await.map(|result| (result, sent_ms))
    };
    let started_ms = since_ms(start_ms);
    let outcomes = join_all((1..=run.n).map(async |number| (number, coalescer.put(number, send).await))).await;
    let ended_ms = since_ms(start_ms);

    let mut newest = 0;
    let mut attempts = Vec::with_capacity(outcomes.len());
    for (number, outcome) in outcomes {
        let (result, is_sent) = match outcome {
            Some(CoalescedPut::Sent(result)) => (result, true),
            Some(CoalescedPut::Superseded(result)) => (result, false),
            None => (Err("the write was not sent".to_owned()), false),
        };
        let (result, sent_ms) = result.map_err(WriterUnavailable)?;
        let (version, tries) = match result {
            WriteResult::Stored(version) => (version, Vec::new()),
            WriteResult::InKv { version, tries } => (version, tries),
            WriteResult::NotWritten(reason) => return Err(reason.into()),
        };
        let tries = if is_sent { tries.into_iter().map(|made| made.counted_from(sent_ms)).collect() } else { vec![] };
        attempts.push(RetriedAttempt { attempt: Attempt::new(number, Ok(())), tries, started_ms, ended_ms });
        newest = version;
    }
    Ok((newest, attempts))
}

/// Returns the milliseconds since the start of the run.
fn since_ms(start_ms: u64) -> u64 {
    Clock.now_ms().saturating_sub(start_ms)
}

fn json(body: &impl Serialize) -> Result<String, RequestError> {
    serde_json::to_string(body).map_err(|error| RequestError::internal(&JsValue::from_str(&error.to_string())))
}

fn respond(status: u16, body: &JsValue, fields: &[(&str, &str)]) -> Result<web_sys::Response, RequestError> {
    Ok(response::with_status(status, body, fields)?)
}
