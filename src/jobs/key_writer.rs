//! `KEY_WRITER`: the Durable Object that writes one key of `WRITES`. [`kv_store::key_writer`]
//! decides what to put and when; this module adds the storage, the alarm and the pending requests.
//!
//! ```text
//! write ──> storage ──> alarm ──> KV put ──> pending requests get their response
//!              └──────> 202, if the request waits for durability only
//! ```
//!
//! Only the alarm puts to KV, and the runtime calls a failed alarm again. So an acknowledged
//! value, or a later one, reaches KV even if the object is evicted or crashes before the put. One
//! that KV refuses stays in the storage, and is put again.

mod storage;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use futures_channel::oneshot;
use http_semantics::conditional::Preconditions;
use http_semantics::content_hash;
use kv_store::key_writer::message::{FIELD, WriterReply, WriterRequest, from_field, to_field};
use kv_store::key_writer::{Due, KeyState, Metadata, Newest, NotWritten, WriteResult};
use kv_store::limits::Key;
use kv_store::retry::{Classify, FailureClass, Time, Try};
use kv_store::store_error::StoreError;
use kv_store::writes::Wait;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;
use worker::web_sys;

use crate::http::response;
use crate::isolate::Isolate;
use crate::kv::put::{PutOptions, PutValue};
#[cfg(feature = "metrics")]
use crate::metering::hand_over_after_object;
use crate::platform::bindings::Bindings;
use crate::platform::bytes::chunks;
use crate::platform::clock::Clock;
use crate::platform::deadline;
use crate::platform::js_error::exception;
use crate::platform::log;
use crate::platform::meter::Meter;
use crate::platform::promise::settled;

use storage::Storage;

/// The name of the class in the log and in the metrics.
const NAME: &str = "KEY_WRITER";

/// An alarm that is retried first sets the next one this many milliseconds ahead, in case it fails
/// again.
const ALARM_RETRY_MS: u64 = 5000;

/// The class of the Durable Object. It does not use `#[durable_object]`, which reads every header
/// field of a request in advance.
#[wasm_bindgen]
pub struct KeyWriter(Rc<WriterObject>);

#[wasm_bindgen]
impl KeyWriter {
    /// Returns the object. The runtime calls this when it starts the object.
    #[wasm_bindgen(constructor)]
    #[must_use]
    pub fn new(state: JsValue, env: JsValue) -> Self {
        let storage = Storage::new(&state.unchecked_into());
        let env = env.unchecked_into();
        let meter = Meter::of_object(&env, NAME);
        Self(Rc::new(WriterObject {
            storage,
            env: Bindings::of_object(env, meter),
            state: RefCell::new(None),
            alarm: Cell::new(AlarmState::Unknown),
            pending: RefCell::default(),
        }))
    }

    /// Does nothing. The first call into WebAssembly after a trap creates a new instance:
    /// `entry.mjs` calls this to learn whether the instance was replaced.
    pub fn touch() {}

    /// Returns the response to a request of the Worker: a [`WriterRequest`] in its header and,
    /// for a write, the value in its body. The promise rejects if the message cannot be read,
    /// the storage fails, or the alarm cannot be set.
    pub fn fetch(&self, request: web_sys::Request) -> js_sys::Promise {
        let object = Rc::clone(&self.0);
        future_to_promise(async move {
            object.env.meter().begin();
            let response = object.handle(request).await;
            #[cfg(feature = "metrics")]
            hand_over_after_object(&object.env);
            response.map(Into::into)
        })
    }

    /// Makes the put that is due, if any, and sets the next alarm. `is_retry` is true if the alarm
    /// failed the last time. The promise rejects if the storage or the next alarm fails, but not
    /// if the put does; the runtime then calls the alarm again.
    pub fn alarm(&self, is_retry: bool) -> js_sys::Promise {
        let object = Rc::clone(&self.0);
        future_to_promise(async move {
            object.env.meter().begin();
            let ran = object.run_alarm(is_retry).await;
            #[cfg(feature = "metrics")]
            hand_over_after_object(&object.env);
            ran.map(|()| JsValue::UNDEFINED)
        })
    }
}

struct WriterObject {
    storage: Storage,
    env: Bindings,
    /// A copy of the stored state; `None` until it is read.
    state: RefCell<Option<KeyState>>,
    alarm: Cell<AlarmState>,
    pending: RefCell<Vec<PendingWrite>>,
}

/// The state of the object's alarm, which tells a write whether it must set the alarm.
///
/// A write need not set it while the alarm runs: after its put, `flush` reads the state again
/// and reaches the next `set_alarm` without an `await`, so it sees every write until then. A
/// write that comes while that alarm is being set finds `SetFor` and compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AlarmState {
    /// The object has just woken up, or the last alarm failed.
    Unknown,
    /// The alarm is set for this; no alarm is set if it is [`Due::Nothing`].
    SetFor(Due),
    /// The alarm runs now, and sets the next one when it ends.
    Running,
}

/// A request that waits until KV has its version or a later one. The times of its tries count from
/// `arrived_ms`.
struct PendingWrite {
    version: u64,
    arrived_ms: u64,
    tries: Vec<Try>,
    sender: oneshot::Sender<WriteResult>,
}

impl WriterObject {
    async fn handle(&self, request: web_sys::Request) -> Result<web_sys::Response, JsValue> {
        let message = request.headers().get(FIELD)?.ok_or_else(|| exception(&"the request has no message"))?;
        match from_field(&message).map_err(|error| exception(&error))? {
            WriterRequest::Read { key } => self.read(&Key::new(key).map_err(|error| exception(&error))?).await,
            WriterRequest::Write { key, wait, timeout_ms, preconditions } => {
                let key = Key::new(key).map_err(|error| exception(&error))?;
                let value = settled(request.array_buffer()?).await?.unchecked_into();
                drop(request);
                let timeout = Duration::from_millis(timeout_ms.into());
                let result = self.write(&key, &preconditions, (wait == Wait::Kv).then_some(timeout), value).await?;
                reply_response(&WriterReply::Written(result), &JsValue::NULL)
            }
        }
    }

    /// Stores a value, sets the alarm, and waits for KV until the timeout, if there is one.
    async fn write(
        &self,
        key: &Key<'_>,
        preconditions: &Preconditions,
        timeout: Option<Duration>,
        value: js_sys::ArrayBuffer,
    ) -> Result<WriteResult, JsValue> {
        // No `await` until the value is stored: writes are accepted one after the other.
        let arrived_ms = Clock.now_ms();
        let mut state = self.load(key)?;
        let Ok(version) = state.accept(sha256(&value), preconditions) else {
            let version = state.accepted();
            self.ensure_alarm(&state).await?;
            return Ok(WriteResult::NotWritten(NotWritten::PreconditionFailed { version }));
        };
        self.storage.store_with_value(&state, &value)?;
        // Frees the value before the wait: the value may be large, and the wait long.
        drop(value);
        self.state.replace(Some(state.clone()));
        let pending = timeout.map(|timeout| (timeout, self.add_pending(version, arrived_ms)));
        self.ensure_alarm(&state).await?;

        let Some((timeout, receiver)) = pending else { return Ok(WriteResult::Stored(version)) };
        if let Some(Ok(result)) = deadline::within(timeout, receiver).await {
            return Ok(result);
        }
        self.pending.borrow_mut().retain(|write| write.version != version);
        Ok(WriteResult::NotWritten(NotWritten::TimedOut { version }))
    }

    async fn run_alarm(&self, is_retry: bool) -> Result<(), JsValue> {
        if is_retry {
            // The runtime retries an alarm at most six times ("Alarms"), so this alarm replaces
            // its retries.
            self.storage.set_alarm(Clock.now_ms() + ALARM_RETRY_MS).await?;
        }
        self.alarm.set(AlarmState::Running);
        let flushed = self.flush().await;
        self.alarm.set(flushed.as_ref().map_or(AlarmState::Unknown, |due| AlarmState::SetFor(*due)));
        if is_retry && matches!(flushed, Ok(Due::Nothing)) {
            self.storage.delete_alarm().await?;
        }
        flushed.map(|_| ())
    }

    /// Makes the put that is due, if any, and sets the next alarm. Returns what is due then.
    async fn flush(&self) -> Result<Due, JsValue> {
        let Some(state) = self.stored()? else { return Ok(Due::Nothing) };
        let due = state.due(Clock.now_ms());
        let Due::Put(version) = due else { return self.set_alarm(due).await };
        let key = Key::new(state.key()).map_err(|error| exception(&error))?;
        let metadata = serde_json::to_string(&state.metadata()).map_err(|error| exception(&error))?;
        let value = PutValue::bytes(self.storage.value()?);
        let options = PutOptions::with_metadata(&metadata)?;

        // The put has no deadline: one that is abandoned can still arrive and overwrite a later
        // one. The runtime ends an alarm after 15 minutes and calls it again.
        let started_ms = Clock.now_ms();
        let outcome = self.env.hot_keys().put(&key, &value, Some(&options)).await;
        let ended_ms = Clock.now_ms();

        // Another request may have written during the `await`.
        let Some(mut state) = self.stored()? else { return Ok(Due::Nothing) };
        match &outcome {
            Ok(()) => {
                state.put_succeeded(version, ended_ms);
                Isolate::current().retry_budget.borrow_mut().succeeded(ended_ms);
            }
            Err(error) => {
                log::background_warning(NAME, "kv_put_failed", error);
                let budget = &mut Isolate::current().retry_budget.borrow_mut();
                state.put_failed(version, error.class(), ended_ms, Clock.random(), budget);
            }
        }
        let due = state.due(ended_ms);
        if due == Due::Nothing {
            self.storage.store_without_value(&state)?;
        } else {
            self.storage.store(&state)?;
        }
        self.resolve_pending(&state, version, started_ms, ended_ms, outcome.as_ref().err());
        self.state.replace(Some(state));
        self.set_alarm(due).await
    }

    async fn read(&self, key: &Key<'_>) -> Result<web_sys::Response, JsValue> {
        let state = self.load(key)?;
        if let Some(version) = state.unflushed() {
            let value = self.storage.value()?;
            self.ensure_alarm(&state).await?;
            return reply_response(&WriterReply::Value { version: Some(version) }, &value);
        }
        let (value, metadata) = match self.env.hot_keys().stream_with_metadata(key).await {
            Ok(value_and_metadata) => value_and_metadata,
            Err(error) => return reply_response(&WriterReply::KvFailed { message: error.to_string() }, &JsValue::NULL),
        };
        let metadata: Option<Metadata> = metadata.and_then(|json| serde_json::from_str(&json).ok());
        // Another request may have written during the `await`.
        match (self.load(key)?.newest(metadata.as_ref(), Clock.now_ms()), value) {
            (Newest::InStorage(version), _) => {
                reply_response(&WriterReply::Value { version: Some(version) }, &self.storage.value()?)
            }
            (Newest::InKv(version), Some(value)) => {
                reply_response(&WriterReply::Value { version: Some(version) }, &value)
            }
            (Newest::NotVisibleYet, _) => reply_response(&WriterReply::NotVisibleYet, &JsValue::NULL),
            (Newest::Unknown, Some(value)) => reply_response(&WriterReply::Value { version: None }, &value),
            (Newest::InKv(_) | Newest::Unknown, None) => reply_response(&WriterReply::NotFound, &JsValue::NULL),
        }
    }

    /// Returns the stored state of the key, or a new one if nothing was ever accepted.
    fn load(&self, key: &Key<'_>) -> Result<KeyState, JsValue> {
        Ok(self.stored()?.unwrap_or_else(|| KeyState::new(key.as_str())))
    }

    /// Returns the stored state; `None` if nothing was ever accepted.
    fn stored(&self) -> Result<Option<KeyState>, JsValue> {
        if self.state.borrow().is_none() {
            let mut stored = self.storage.state()?;
            if let Some(state) = &mut stored {
                state.wake_up(Clock.now_ms());
            }
            self.state.replace(stored);
        }
        Ok(self.state.borrow().clone())
    }

    /// Sets the alarm for what is due, unless it is set early enough or runs now.
    async fn ensure_alarm(&self, state: &KeyState) -> Result<(), JsValue> {
        let due = state.due(Clock.now_ms());
        match (self.alarm.get(), due) {
            (_, Due::Nothing) | (AlarmState::Running, _) | (AlarmState::SetFor(Due::Put(_)), Due::Put(_)) => Ok(()),
            (AlarmState::SetFor(set), due) if set == due => Ok(()),
            _ => self.set_alarm(due).await.map(|_| ()),
        }
    }

    async fn set_alarm(&self, due: Due) -> Result<Due, JsValue> {
        let at_ms = match due {
            Due::Nothing => return Ok(due),
            Due::Later(at_ms) => at_ms,
            Due::Put(_) => Clock.now_ms(),
        };
        // Marked before the `await`, so that a write in the meantime does not set it again.
        self.alarm.set(AlarmState::SetFor(due));
        if let Err(error) = self.storage.set_alarm(at_ms).await {
            self.alarm.set(AlarmState::Unknown);
            return Err(error);
        }
        Ok(due)
    }

    fn add_pending(&self, version: u64, arrived_ms: u64) -> oneshot::Receiver<WriteResult> {
        let (sender, receiver) = oneshot::channel();
        self.pending.borrow_mut().push(PendingWrite { version, arrived_ms, tries: Vec::new(), sender });
        receiver
    }

    /// Sends the result to each pending request that the put of this version decides.
    fn resolve_pending(
        &self,
        state: &KeyState,
        version: u64,
        started_ms: u64,
        ended_ms: u64,
        error: Option<&StoreError>,
    ) {
        let refused = error.filter(|error| error.class() == FailureClass::Permanent);
        let mut still_pending = Vec::new();
        for mut write in self.pending.take() {
            if write.version == version {
                write.tries.push(Try {
                    started_ms: started_ms.saturating_sub(write.arrived_ms),
                    ended_ms: ended_ms.saturating_sub(write.arrived_ms),
                    is_accepted: error.is_none(),
                });
            }
            let result = if state.has_flushed(write.version) {
                WriteResult::InKv { version: write.version, tries: write.tries }
            } else if let Some(error) = refused.filter(|_| write.version <= version) {
                WriteResult::NotWritten(NotWritten::Refused { version: write.version, cause: error.to_string() })
            } else {
                still_pending.push(write);
                continue;
            };
            // The send fails if the request has timed out or was aborted.
            let _ended = write.sender.send(result);
        }
        self.pending.replace(still_pending);
    }
}

/// Returns a response with the reply in its header and the value as its body.
fn reply_response(reply: &WriterReply, value: &JsValue) -> Result<web_sys::Response, JsValue> {
    let field = to_field(reply).map_err(|error| exception(&error))?;
    response::with_status(200, value, &[(FIELD, &field)])
}

/// Returns the SHA-256 of a value, in hex.
fn sha256(value: &js_sys::ArrayBuffer) -> String {
    content_hash::sha256(chunks(value))
}
