//! `KEY_WRITER`: the Durable Object that writes one key of `WRITES`. [`kv_store::key_writer`] decides; this is its storage, its
//! alarm and those who wait.
//!
//! Every put is made by the alarm, which the runtime calls again where it failed. So a value that was answered for reaches KV also
//! where the object is evicted or crashes in between.

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
use kv_store::store::StoreError;
use kv_store::writes::Wait;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, future_to_promise};
use worker::web_sys;

use crate::http::response;
use crate::isolate::Isolate;
use crate::kv::put::{PutOptions, PutValue};
use crate::platform::bindings::Bindings;
use crate::platform::clock::Clock;
use crate::platform::deadline;
use crate::platform::log;

use storage::Storage;

/// A long value is copied into WebAssembly in pieces of this many bytes, whose memory never shrinks.
const HASHED_AT_ONCE: u32 = 1024 * 1024;

/// An alarm that fails again rings again after this long, in milliseconds, where nothing sets it anew.
const RINGS_AGAIN_MS: u64 = 5000;

/// The class that the runtime makes an object of. Not `#[durable_object]`: that reads every field of a request beforehand.
#[wasm_bindgen]
pub struct KeyWriter(Rc<WriterObject>);

#[wasm_bindgen]
impl KeyWriter {
    /// Called by the runtime when an object wakes up.
    #[wasm_bindgen(constructor)]
    #[must_use]
    pub fn new(state: JsValue, env: JsValue) -> Self {
        let storage = Storage::new(&state.unchecked_into());
        let env = env.unchecked_into();
        Self(Rc::new(WriterObject {
            storage,
            env,
            state: RefCell::new(None),
            alarm: Cell::new(Alarm::Unknown),
            waiting: RefCell::default(),
        }))
    }

    /// Does nothing: any call into WebAssembly after a trap puts a new instance in place, which `entry.mjs` waits for.
    pub fn touch() {}

    /// A request of the Worker: a [`WriterRequest`] in its header, and the value of a write in its
    /// body.
    pub fn fetch(&self, request: web_sys::Request) -> js_sys::Promise {
        let object = Rc::clone(&self.0);
        future_to_promise(async move { object.answer(request).await.map(Into::into) })
    }

    /// The put that is due. `is_retry`: the alarm failed the last time.
    pub fn alarm(&self, is_retry: bool) -> js_sys::Promise {
        let object = Rc::clone(&self.0);
        future_to_promise(async move { object.ring(is_retry).await.map(|()| JsValue::UNDEFINED) })
    }
}

struct WriterObject {
    storage: Storage,
    env: Bindings,
    /// As it is stored; `None` until it is read.
    state: RefCell<Option<KeyState>>,
    alarm: Cell<Alarm>,
    waiting: RefCell<Vec<WaitingWrite>>,
}

/// What is known of the object's alarm.
///
/// A write looks here whether it must set it. While the alarm rings it need not: `flush` reads the state anew after its put, and
/// from there to the setting of the next alarm nothing waits, so no write comes in between unseen. One that comes while that
/// alarm is being set finds `SetFor`, and compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alarm {
    /// Nothing: the object woke up, or something failed.
    Unknown,
    /// It is set for what is due.
    SetFor(Due),
    /// It rings, and sets the next one when it ends.
    Rings,
}

/// A request that is answered when KV has its version or a later one.
struct WaitingWrite {
    version: u64,
    arrived_ms: u64,
    tries: Vec<Try>,
    told: oneshot::Sender<WriteResult>,
}

impl WriterObject {
    async fn answer(&self, request: web_sys::Request) -> Result<web_sys::Response, JsValue> {
        let message = request.headers().get(FIELD)?.unwrap_or_default();
        match from_field(&message).map_err(|error| thrown(&error))? {
            WriterRequest::Read { key } => self.read(&Key::new(key).map_err(|error| thrown(&error))?).await,
            WriterRequest::Write { key, wait, timeout_ms, preconditions } => {
                let key = Key::new(key).map_err(|error| thrown(&error))?;
                let value = JsFuture::from(request.array_buffer()?).await?.unchecked_into();
                drop(request);
                let timeout = Duration::from_millis(timeout_ms.into());
                let answer = self.write(&key, &preconditions, (wait == Wait::Kv).then_some(timeout), value).await?;
                replied(&WriterReply::Written(answer), &JsValue::NULL)
            }
        }
    }

    /// Stores a value, sees to its alarm, and waits for KV for as long as the request asks.
    async fn write(
        &self,
        key: &Key<'_>,
        preconditions: &Preconditions,
        wait: Option<Duration>,
        value: js_sys::ArrayBuffer,
    ) -> Result<WriteResult, JsValue> {
        // From here to the alarm nothing waits: writes are accepted one after the other.
        let arrived_ms = Clock.now_ms();
        let mut state = self.load(key)?;
        let Ok(version) = state.accept(sha256(&value), preconditions) else {
            let version = state.accepted();
            self.see_to_alarm(&state).await?;
            return Ok(WriteResult::NotWritten(NotWritten::PreconditionFailed { version }));
        };
        self.storage.keep_with_value(&state, &value)?;
        // It may be long, and the wait too.
        drop(value);
        self.state.replace(Some(state.clone()));
        let flushed = wait.map(|deadline| (deadline, self.wait_for(version, arrived_ms)));
        self.see_to_alarm(&state).await?;

        let Some((deadline, flushed)) = flushed else { return Ok(WriteResult::Stored(version)) };
        if let Some(Ok(told)) = deadline::within(deadline, flushed).await {
            return Ok(told);
        }
        self.waiting.borrow_mut().retain(|one| one.version != version);
        Ok(WriteResult::NotWritten(NotWritten::TimedOut { version }))
    }

    async fn ring(&self, is_retry: bool) -> Result<(), JsValue> {
        if is_retry {
            // The runtime calls an alarm that fails six times again, and no more. This one takes its place.
            self.storage.set_alarm(Clock.now_ms().saturating_add(RINGS_AGAIN_MS)).await?;
        }
        self.alarm.set(Alarm::Rings);
        let flushed = self.flush().await;
        self.alarm.set(flushed.as_ref().map_or(Alarm::Unknown, |due| Alarm::SetFor(*due)));
        if is_retry && matches!(flushed, Ok(Due::Nothing)) {
            self.storage.delete_alarm().await?;
        }
        flushed.map(|_| ())
    }

    /// Makes the put that is due: one, then sets the alarm for the next.
    async fn flush(&self) -> Result<Due, JsValue> {
        let Some(state) = self.stored()? else { return Ok(Due::Nothing) };
        let due = state.due(Clock.now_ms());
        let Due::Put(version) = due else { return self.set_alarm(due).await };
        let key = Key::new(state.key()).map_err(|error| thrown(&error))?;
        let metadata = serde_json::to_string(&state.metadata()).map_err(|error| thrown(&error))?;
        let value = PutValue::bytes(self.storage.value()?);
        let options = PutOptions::with_metadata(&metadata)?;

        // Without a deadline: a put that is given up can still arrive, and replace a later one. The runtime ends an alarm after
        // 15 minutes and calls it again.
        let started_ms = Clock.now_ms();
        let outcome = self.env.hot_keys().put(&key, &value, Some(&options)).await;
        let ended_ms = Clock.now_ms();

        // Others may have written meanwhile.
        let Some(mut state) = self.stored()? else { return Ok(Due::Nothing) };
        match &outcome {
            Ok(()) => {
                state.put_succeeded(version, ended_ms);
                Isolate::current().retry_budget.borrow_mut().succeeded(ended_ms);
            }
            Err(error) => {
                log::alarm_warning("KEY_WRITER", "kv_put_failed", error);
                let budget = &mut Isolate::current().retry_budget.borrow_mut();
                state.put_failed(version, error.class(), ended_ms, Clock.random(), budget);
            }
        }
        let due = state.due(ended_ms);
        if due == Due::Nothing {
            self.storage.keep_without_value(&state)?;
        } else {
            self.storage.keep(&state)?;
        }
        self.tell(&state, version, started_ms, ended_ms, outcome.as_ref().err());
        self.state.replace(Some(state));
        self.set_alarm(due).await
    }

    async fn read(&self, key: &Key<'_>) -> Result<web_sys::Response, JsValue> {
        let state = self.load(key)?;
        if let Some(version) = state.unflushed() {
            let value = self.storage.value()?;
            self.see_to_alarm(&state).await?;
            return replied(&WriterReply::Found { version: Some(version) }, &value);
        }
        let (value, metadata) = match self.env.hot_keys().stream_with_metadata(key).await {
            Ok(found) => found,
            Err(error) => return replied(&WriterReply::KvFailed { message: error.to_string() }, &JsValue::NULL),
        };
        let shown: Option<Metadata> = metadata.and_then(|json| serde_json::from_str(&json).ok());
        // Others may have written meanwhile.
        match (self.load(key)?.newest(shown.as_ref(), Clock.now_ms()), value) {
            (Newest::Here(version), _) => {
                replied(&WriterReply::Found { version: Some(version) }, &self.storage.value()?)
            }
            (Newest::Shown(version), Some(value)) => replied(&WriterReply::Found { version: Some(version) }, &value),
            (Newest::NotShownYet, _) => replied(&WriterReply::NotVisibleYet, &JsValue::NULL),
            (Newest::Unknown, Some(value)) => replied(&WriterReply::Found { version: None }, &value),
            (Newest::Shown(_) | Newest::Unknown, None) => replied(&WriterReply::NotFound, &JsValue::NULL),
        }
    }

    /// What is known of the key.
    fn load(&self, key: &Key<'_>) -> Result<KeyState, JsValue> {
        Ok(self.stored()?.unwrap_or_else(|| KeyState::new(key.as_str())))
    }

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

    /// Sets the alarm for what is due, unless it is set, or rings and sets the next one itself.
    async fn see_to_alarm(&self, state: &KeyState) -> Result<(), JsValue> {
        let due = state.due(Clock.now_ms());
        match (self.alarm.get(), due) {
            (_, Due::Nothing) | (Alarm::Rings, _) | (Alarm::SetFor(Due::Put(_)), Due::Put(_)) => Ok(()),
            (Alarm::SetFor(set), due) if set == due => Ok(()),
            _ => self.set_alarm(due).await.map(|_| ()),
        }
    }

    async fn set_alarm(&self, due: Due) -> Result<Due, JsValue> {
        let at_ms = match due {
            Due::Nothing => return Ok(due),
            Due::Later(at_ms) => at_ms,
            Due::Put(_) => Clock.now_ms(),
        };
        // Others who write meanwhile need not set it again.
        let before = self.alarm.replace(Alarm::SetFor(due));
        if let Err(failed) = self.storage.set_alarm(at_ms).await {
            self.alarm.set(Alarm::Unknown);
            return Err(failed);
        }
        if before == Alarm::Rings {
            self.alarm.set(Alarm::Rings);
        }
        Ok(due)
    }

    fn wait_for(&self, version: u64, arrived_ms: u64) -> oneshot::Receiver<WriteResult> {
        let (told, flushed) = oneshot::channel();
        self.waiting.borrow_mut().push(WaitingWrite { version, arrived_ms, tries: Vec::new(), told });
        flushed
    }

    /// Tells those who wait what became of a put of this version.
    fn tell(&self, state: &KeyState, version: u64, started_ms: u64, ended_ms: u64, error: Option<&StoreError>) {
        let refused = error.filter(|error| error.class() == FailureClass::Permanent);
        let mut still_waiting = Vec::new();
        for mut one in self.waiting.take() {
            if one.version == version {
                one.tries.push(Try {
                    started_ms: started_ms.saturating_sub(one.arrived_ms),
                    ended_ms: ended_ms.saturating_sub(one.arrived_ms),
                    taken: error.is_none(),
                });
            }
            let answer = if state.has_flushed(one.version) {
                WriteResult::InKv { version: one.version, tries: one.tries }
            } else if let Some(error) = refused.filter(|_| one.version <= version) {
                WriteResult::NotWritten(NotWritten::Refused { version: one.version, cause: error.to_string() })
            } else {
                still_waiting.push(one);
                continue;
            };
            // Whoever is gone need not be told.
            let _gone = one.told.send(answer);
        }
        self.waiting.replace(still_waiting);
    }
}

/// A reply, and the value beside it.
fn replied(reply: &WriterReply, value: &JsValue) -> Result<web_sys::Response, JsValue> {
    let field = to_field(reply).map_err(|error| thrown(&error))?;
    response::with_status(200, value, &[(FIELD, &field)])
}

fn sha256(value: &js_sys::ArrayBuffer) -> String {
    let length = value.byte_length();
    let starts = (0..length).step_by(HASHED_AT_ONCE as usize);
    content_hash::sha256(starts.map(|start| {
        let end = start.saturating_add(HASHED_AT_ONCE).min(length);
        js_sys::Uint8Array::new_with_byte_offset_and_length(value, start, end.saturating_sub(start)).to_vec()
    }))
}

/// What the runtime takes for an exception. The Worker logs it; nobody outside sees it.
fn thrown(error: &dyn std::fmt::Display) -> JsValue {
    JsValue::from_str(&error.to_string())
}
