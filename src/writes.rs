//! `POST /writes/{key}?n=20&strategy=direct|backoff`: many writes to one key at once.

use std::time::Duration;

use futures_util::future::join_all;
use kv_edge_core::authorization::is_bearer;
use kv_edge_core::limits::Key;
use kv_edge_core::request_target::RequestTarget;
use kv_edge_core::retry::Backoff;
use kv_edge_core::writes::{self, Attempt, Report, RetriedAttempt, Run, Strategy};
use serde::Serialize;
use wasm_bindgen::JsValue;
use worker::web_sys;

use crate::error::Failure;
use crate::incoming::Incoming;
use crate::kv::Store;
use crate::response;

/// Makes the puts and reports each one. Changes state, so it needs the token.
pub(crate) async fn answer(
    incoming: &Incoming,
    encoded_key: &str,
    target: &RequestTarget<'_>,
) -> Result<web_sys::Response, Failure> {
    let token = incoming.env().token().ok_or_else(|| Failure::not_configured("API_TOKEN"))?;
    if !is_bearer(incoming.header("authorization").as_deref(), &token) {
        return Err(Failure::unauthorized());
    }
    let run = Run::parse(encoded_key, target)?;
    let store = incoming.env().hot_keys();
    match run.strategy {
        Strategy::Direct => json(&join_all((1..=run.n).map(|number| put_once(&store, &run.key, number))).await),
        Strategy::Backoff => {
            let start_ms = now_ms();
            let writes = (1..=run.n).map(|number| put_with_backoff(&store, &run.key, number, start_ms));
            let attempts = join_all(writes).await;
            json(&Report::new(attempts, since_ms(start_ms)))
        }
    }
}

async fn put_once(store: &Store, key: &Key<'_>, number: u32) -> Attempt {
    let outcome = store.put(key, &writes::value(number), None).await;
    Attempt::new(number, outcome.as_ref().map(|&()| ()))
}

async fn put_with_backoff(store: &Store, key: &Key<'_>, number: u32, start_ms: f64) -> RetriedAttempt {
    let started_ms = since_ms(start_ms);
    let value = writes::value(number);
    let mut tries: u32 = 0;
    loop {
        let outcome = store.put(key, &value, None).await;
        tries = tries.saturating_add(1);
        let wait_ms = match &outcome {
            Err(error) if error.is_rate_limited() => Backoff::PUT.wait_ms(tries, js_sys::Math::random()),
            _ => None,
        };
        let Some(wait_ms) = wait_ms else {
            let attempt = Attempt::new(number, outcome.as_ref().map(|&()| ()));
            return RetriedAttempt { attempt, tries, started_ms, ended_ms: since_ms(start_ms) };
        };
        worker::Delay::from(Duration::from_millis(wait_ms.into())).await;
    }
}

fn now_ms() -> f64 {
    js_sys::Date::now()
}

fn since_ms(start_ms: f64) -> u64 {
    // In range by construction: the length of one request; a clock that was set back gives 0.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let elapsed = (now_ms() - start_ms) as u64;
    elapsed
}

fn json(body: &impl Serialize) -> Result<web_sys::Response, Failure> {
    let body =
        serde_json::to_string(body).map_err(|error| Failure::internal(&JsValue::from_str(&error.to_string())))?;
    response::ok(
        &response::bytes(body.as_bytes()),
        &[("content-type", "application/json"), ("cache-control", "no-store")],
    )
}
