//! `NAMESPACE_LIST`: the Durable Object that lists the namespaces which clients create.
//! [`kv_api::namespace_directory`] decides; this module adds the storage, and the alarm that
//! removes the keys of deleted namespaces.

use std::rc::Rc;

use futures_util::{StreamExt, stream};
use kv_api::namespace_directory::{NamespaceDirectory, NamespaceRequest, Removal};
use kv_api::namespace_keys::NamespaceKeys;
use kv_store::limits::Key;
use kv_store::record;
use kv_store::retry::{Backoff, Time};
use kv_store::store_error::StoreError;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;
use worker::web_sys;

use crate::http::response;
#[cfg(feature = "metrics")]
use crate::metering::hand_over_after_object;
use crate::platform::bindings::Bindings;
use crate::platform::clock::Clock;
use crate::platform::durable_objects::{DurableObjectState, DurableObjectStorage, text_of};
use crate::platform::js_error::exception;
use crate::platform::log;
use crate::platform::meter::Meter;

const RECORD: &str = "record";

/// The name of the class in the log and in the metrics.
const NAME: &str = "NAMESPACE_LIST";

/// The most keys that one alarm removes. An invocation may make 1000 calls to KV ("Limits").
const KEYS_MAX: u32 = 400;

/// How many keys are deleted at the same time.
const CONCURRENT_KEYS: usize = 24;

/// Two tries for each key, so that the calls of an alarm stay below that limit.
const BACKOFF: Backoff = Backoff { tries_max: 2, ..Backoff::PUT_WITHIN_20_S };

/// The class of the Durable Object.
#[wasm_bindgen]
pub struct NamespaceList(Rc<NamespaceListObject>);

struct NamespaceListObject {
    storage: DurableObjectStorage,
    env: Bindings,
}

#[wasm_bindgen]
impl NamespaceList {
    /// Returns the object. The runtime calls this when it starts the object.
    #[wasm_bindgen(constructor)]
    #[must_use]
    pub fn new(state: JsValue, env: JsValue) -> Self {
        let storage = state.unchecked_into::<DurableObjectState>().storage();
        let env = env.unchecked_into();
        let meter = Meter::of_object(&env, NAME);
        Self(Rc::new(NamespaceListObject { storage, env: Bindings::of_object(env, meter) }))
    }

    /// Does nothing. The first call into WebAssembly after a trap creates a new instance:
    /// `entry.mjs` calls this to learn whether the instance was replaced.
    pub fn touch() {}

    /// Returns the response to a [`NamespaceRequest`] in the body. The promise rejects if the body
    /// has none, or the storage fails.
    pub fn fetch(&self, request: web_sys::Request) -> js_sys::Promise {
        let object = Rc::clone(&self.0);
        future_to_promise(async move { object.handle(request).await.map(Into::into) })
    }

    /// Removes keys of deleted namespaces and sets the next alarm. The promise rejects if the
    /// storage fails; the runtime then calls the alarm again.
    pub fn alarm(&self, _is_retry: bool) -> js_sys::Promise {
        let object = Rc::clone(&self.0);
        future_to_promise(async move {
            object.env.meter().begin();
            let removed = object.remove_keys().await;
            #[cfg(feature = "metrics")]
            hand_over_after_object(&object.env);
            removed.map(|()| JsValue::UNDEFINED)
        })
    }
}

impl NamespaceListObject {
    async fn handle(&self, request: web_sys::Request) -> Result<web_sys::Response, JsValue> {
        let body = text_of(request.text()?).await?;
        let request: NamespaceRequest = serde_json::from_str(&body).map_err(|error| exception(&error))?;
        // No `await` until the list is stored: requests are carried out one after the other.
        let mut list = self.list()?;
        let (reply, is_changed) = list.handle(request, Clock.now_ms());
        if list.limit_waits(Clock.now_ms()) || is_changed {
            self.store(&list)?;
            self.set_alarm(&list).await?;
        }
        let fields = [("content-type", "application/json")];
        response::with_status(200, &JsValue::from_str(&record::to_json(&reply)), &fields)
    }

    /// Removes some keys of one deleted namespace.
    async fn remove_keys(&self) -> Result<(), JsValue> {
        let mut list = self.list()?;
        let Some(removal) = list.due_removal(Clock.now_ms()) else {
            if list.limit_waits(Clock.now_ms()) {
                self.store(&list)?;
            }
            return self.set_alarm(&list).await;
        };
        let outcome = self.remove_some(&removal).await;
        let mut list = self.list()?;
        match outcome {
            Ok((had_keys, cursor)) => list.removed(&removal.id, had_keys, cursor, Clock.now_ms()),
            Err(error) => {
                log::background_warning(NAME, "keys_not_removed", &error);
                list.removal_failed(&removal.id, Clock.now_ms());
            }
        }
        self.store(&list)?;
        self.set_alarm(&list).await
    }

    /// Removes a page of keys. Returns true if there were any, and where the next page begins.
    async fn remove_some(&self, removal: &Removal) -> Result<(bool, Option<String>), StoreError> {
        let store = self.env.kv(&removal.home);
        let (names, cursor) = store
            .key_names(&NamespaceKeys::of_created(&removal.id).stored_prefix(""), KEYS_MAX, removal.cursor.as_deref())
            .await?;
        let had_keys = !names.is_empty();
        let deletes = names.into_iter().map(|name| {
            let store = &store;
            async move {
                let key = Key::new(name).map_err(|error| StoreError::permanent(error.to_string()))?;
                store.delete_with_retry(&key, &BACKOFF).await.outcome.map_err(|(error, _)| error)
            }
        });
        let mut deletes = stream::iter(deletes).buffer_unordered(CONCURRENT_KEYS);
        while let Some(outcome) = deletes.next().await {
            outcome?;
        }
        Ok((had_keys, cursor))
    }

    fn list(&self) -> Result<NamespaceDirectory, JsValue> {
        let Some(record) = self.storage.kv().text(RECORD)? else { return Ok(NamespaceDirectory::default()) };
        serde_json::from_str(&record).map_err(|error| exception(&error))
    }

    fn store(&self, list: &NamespaceDirectory) -> Result<(), JsValue> {
        self.storage.kv().put(RECORD, &JsValue::from_str(&record::to_json(list)))
    }

    async fn set_alarm(&self, list: &NamespaceDirectory) -> Result<(), JsValue> {
        match list.next_removal_ms() {
            Some(at_ms) => self.storage.set_alarm(at_ms).await,
            None => Ok(()),
        }
    }
}
