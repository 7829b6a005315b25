//! Counts responses, and hands the counts of an isolate over to a Durable Object (the binding
//! `METRICS_STORE`). [`metrics`] says how nothing is counted twice. What is counted besides
//! responses counts itself by `platform::meter`.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use kv_store::record;
use kv_store::retry::Time;
use metrics::collector::{HandOverTime, INTERVAL_MS};
use metrics::error::MetricsError;
use metrics::message::MetricsRequest;
use wasm_bindgen::prelude::*;
#[cfg(feature = "values")]
use wasm_bindgen_futures::spawn_local;
use worker::web_sys;

use crate::http::error::RequestError;
use crate::http::request_context::RequestContext;
use crate::http::response;
use crate::isolate::Isolate;
use crate::platform::bindings::Bindings;
use crate::platform::clock::Clock;
use crate::platform::deadline;
use crate::platform::durable_objects::DurableObjects;
use crate::platform::js_error::message_of;
use crate::platform::log;

/// The name of the one Durable Object.
const OBJECT: &str = "metrics";

/// How long the object may take for a request. A hand-over makes two in a row at most, and both
/// end before the next one is due.
const REPLY_TIMEOUT: Duration = Duration::from_secs(4);

/// Returns the response that a future makes, and counts it if metrics are on. Unless the next
/// hand-over of this isolate's counts is scheduled already, it is made after this response.
pub(crate) async fn counted(
    context: &RequestContext,
    mut responding: Pin<&mut impl Future<Output = worker::Result<web_sys::Response>>>,
) -> worker::Result<web_sys::Response> {
    let Some(started_ms) = context.meter().begin() else { return responding.await };
    let mut polls = 0_u32;
    let polled = poll_fn(|task| {
        polls = polls.saturating_add(1);
        responding.as_mut().poll(task)
    });
    let response = polled.await?;
    // The runtime's clock stands still while code runs, so it is not read again for a response
    // that waited for nothing.
    let now_ms = if polls > 1 { Clock.now_ms() } else { started_ms };
    context.meter().responded(response.status(), now_ms.saturating_sub(started_ms));
    if let Some(work) = hand_over_in_time(context.env(), now_ms) {
        context.wait_until(work);
    }
    Ok(response)
}

/// Returns the work that hands the counts of this isolate over when that is due; `None` if it is
/// scheduled already. `now_ms` is milliseconds since the Unix epoch.
fn hand_over_in_time(env: &Bindings, now_ms: u64) -> Option<impl Future<Output = ()> + use<>> {
    let time = Isolate::current().metrics.borrow_mut().hand_over_time(now_ms);
    if time == HandOverTime::Scheduled {
        return None;
    }
    let objects = env.uncounted_metrics_store();
    Some(async move {
        match time {
            HandOverTime::Scheduled => {}
            HandOverTime::Now => {
                // The response comes first.
                Clock.sleep(0).await;
                hand_over(&objects).await;
            }
            HandOverTime::Later { due_ms } => {
                Clock.sleep(INTERVAL_MS).await;
                let is_due = Isolate::current().metrics.borrow_mut().begin_hand_over(due_ms);
                if is_due {
                    hand_over(&objects).await;
                }
            }
        }
    })
}

/// Hands the counts of this isolate over when it is time, after a Durable Object has done
/// something that is counted. The object stays in memory until then.
#[cfg(feature = "values")]
pub(crate) fn hand_over_after_object(env: &Bindings) {
    if env.meter().is_on()
        && let Some(work) = hand_over_in_time(env, Clock.now_ms())
    {
        spawn_local(work);
    }
}

/// Hands over what the object is not known to have, and then what was counted since. If that
/// fails, the log says so, and the next hand-over does it.
async fn hand_over(objects: &DurableObjects) {
    let collector = &Isolate::current().metrics;
    let random_id = || format!("{:013x}{:013x}", Clock.random_bits(), Clock.random_bits());
    let hand_overs = if collector.borrow().has_unacknowledged() { 2 } else { 1 };
    for _ in 0..hand_overs {
        let next = collector.borrow_mut().next_hand_over(random_id);
        let Some(next) = next else { return };
        let sequence = next.sequence;
        if let Err(cause) = ask(objects, &MetricsRequest::HandOver(next)).await {
            return log::background_warning("METRICS_STORE", "metrics_not_handed_over", &cause);
        }
        collector.borrow_mut().arrived(sequence);
    }
}

/// Sends a request to the object and returns its response. The object has the whole body before it
/// responds. The error is the message of the runtime, or says that there was no response in time.
async fn ask(objects: &DurableObjects, request: &MetricsRequest) -> Result<web_sys::Response, String> {
    let exchange = async {
        let init = web_sys::RequestInit::new();
        init.set_method("POST");
        init.set_body(&JsValue::from_str(&record::to_json(request)));
        let request = web_sys::Request::new_with_str_and_init("https://metrics-store/", &init)?;
        objects.send(OBJECT, &request).await
    };
    let response = deadline::within(REPLY_TIMEOUT, exchange).await.ok_or("no response in time")?;
    response.map_err(|thrown: JsValue| message_of(&thrown))
}

/// Returns a response with what the object answers to a request. The error is
/// [`MetricsError::Off`] if nothing is counted.
pub(crate) async fn respond(
    context: &RequestContext,
    request: &MetricsRequest,
    content_type: &str,
) -> Result<web_sys::Response, RequestError> {
    if !context.meter().is_on() {
        return Err(MetricsError::Off.into());
    }
    let answer = ask(&context.env().metrics_store(), request).await.map_err(MetricsError::Unavailable)?;
    let fields = [("content-type", content_type), ("cache-control", "no-store")];
    // The text may be megabytes: it is streamed through without a copy in WebAssembly's memory.
    Ok(response::ok(&answer.body().into(), &fields)?)
}
