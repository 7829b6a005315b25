//! `METRICS_STORE`: the Durable Object that adds up what isolates count. [`metrics::history`]
//! decides what it stores; this module adds the storage.

use std::rc::Rc;

use kv_store::record;
use kv_store::retry::Time;
use metrics::history::{History, HistoryError, HistoryStorage};
use metrics::message::MetricsRequest;
use metrics::open_metrics::to_open_metrics;
use metrics::report::MetricsReport;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;
use worker::web_sys;

use crate::http::response;
use crate::platform::clock::Clock;
use crate::platform::durable_objects::{DurableObjectState, DurableObjectStorage, SyncKv, text_of};
use crate::platform::js_error::exception;

/// The class of the Durable Object.
#[wasm_bindgen]
pub struct MetricsStore(Rc<StoreObject>);

struct StoreObject {
    storage: DurableObjectStorage,
    history: History<SyncKv>,
}

#[wasm_bindgen]
impl MetricsStore {
    /// Returns the object. The runtime calls this when it starts the object.
    #[wasm_bindgen(constructor)]
    #[must_use]
    pub fn new(state: JsValue, _env: JsValue) -> Self {
        let storage = state.unchecked_into::<DurableObjectState>().storage();
        let history = History(storage.kv());
        Self(Rc::new(StoreObject { storage, history }))
    }

    /// Does nothing. The first call into WebAssembly after a trap creates a new instance:
    /// `entry.mjs` calls this to learn whether the instance was replaced.
    pub fn touch() {}

    /// Returns the response to a [`MetricsRequest`] in the body. The promise rejects if the
    /// body is no such request, or the storage fails.
    pub fn fetch(&self, request: web_sys::Request) -> js_sys::Promise {
        let object = Rc::clone(&self.0);
        future_to_promise(async move { object.handle(request).await.map(Into::into) })
    }
}

impl StoreObject {
    async fn handle(&self, request: web_sys::Request) -> Result<web_sys::Response, JsValue> {
        let body = text_of(request.text()?).await?;
        let request = serde_json::from_str(&body).map_err(|error| exception(&error))?;
        let now_seconds = Clock.now_ms() / 1000;
        let text = match request {
            MetricsRequest::HandOver(hand_over) => {
                self.storage.transaction(|| self.history.accept(&hand_over, now_seconds).map_err(to_exception))?;
                String::new()
            }
            MetricsRequest::Report { resolution, period_seconds } => {
                let points = self.history.points(resolution, period_seconds, now_seconds).map_err(to_exception)?;
                record::to_json(&MetricsReport::new(resolution, points))
            }
            MetricsRequest::Totals => to_open_metrics(&self.history.totals().map_err(to_exception)?),
        };
        response::with_status(200, &JsValue::from_str(&text), &[])
    }
}

impl HistoryStorage for SyncKv {
    type Error = JsValue;

    fn get(&self, key: &str) -> Result<Option<String>, JsValue> {
        self.text(key)
    }

    fn put(&self, key: &str, json: &str) -> Result<(), JsValue> {
        SyncKv::put(self, key, &JsValue::from_str(json))
    }

    fn delete(&self, key: &str) -> Result<(), JsValue> {
        SyncKv::delete(self, key).map(|_| ())
    }

    fn range(&self, from: &str, to: &str) -> Result<Vec<(String, String)>, JsValue> {
        let mut records = Vec::new();
        for entry in self.entries(from, to)? {
            let entry: js_sys::Array = entry?.unchecked_into();
            let (Some(key), Some(json)) = (entry.get(0).as_string(), entry.get(1).as_string()) else {
                return Err(JsValue::from_str("a record of the object is not a text"));
            };
            records.push((key, json));
        }
        Ok(records)
    }
}

fn to_exception(error: HistoryError<JsValue>) -> JsValue {
    match error {
        HistoryError::Storage(thrown) => thrown,
        broken @ HistoryError::Broken { .. } => exception(&broken),
    }
}
