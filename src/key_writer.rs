//! `KEY_WRITER`: the Durable Object that writes one key of `WRITES`. [`kv_edge_core::key_writer`] decides; this is its storage, its
//! alarm and those who wait.
//!
//! Every put is made by the alarm, which the runtime calls again where it did not end. So a value that was answered for
//! reaches KV also where the object is evicted or crashes in between.

mod storage;
mod stub;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures_channel::oneshot;
use kv_edge_core::conditional::entity_tag;
use kv_edge_core::key_writer::{self, Answer, Due, Metadata, Newest, NotWritten, Outcome, Seen};
use kv_edge_core::limits::Key;
use kv_edge_core::request_target::RequestTarget;
use kv_edge_core::retry::{Classify, FailureClass, Time, Try};
use kv_edge_core::store::StoreError;
use kv_edge_core::writes::{Fields, Read, Run, Strategy, Wait};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, future_to_promise};
use worker::web_sys;

use crate::bindings::Bindings;
use crate::clock::Clock;
use crate::kv::{PutOptions, Value, retry_budget};
use crate::{deadline, log, response};

use storage::Storage;
pub(crate) use stub::{KeyWriters, NewestValue, Write};

/// A long value is copied into WebAssembly in pieces of this many bytes, whose memory never shrinks.
const HASHED_AT_ONCE: u32 = 1024 * 1024;

/// The class that the runtime makes an object of. Not `#[durable_object]`: that reads every field of a request beforehand.
#[wasm_bindgen]
pub struct KeyWriter(Rc<Object>);

#[wasm_bindgen]
impl KeyWriter {
    /// Called by the runtime when an object wakes up.
    #[wasm_bindgen(constructor)]
    #[must_use]
    pub fn new(state: JsValue, env: JsValue) -> Self {
        let storage = Storage::new(&state.unchecked_into());
        let env = env.unchecked_into();
        Self(Rc::new(Object { storage, env, writer: RefCell::new(None), waiting: RefCell::default() }))
    }

    /// Does nothing: any call into WebAssembly after a trap puts a new instance in place, which `entry.mjs` waits for.
    pub fn touch() {}

    /// A request of the Worker ([`KeyWriters`]).
    pub fn fetch(&self, request: web_sys::Request) -> js_sys::Promise {
        let object = Rc::clone(&self.0);
        future_to_promise(async move { object.answer(&request).await.map(Into::into) })
    }

    /// The put that is due.
    pub fn alarm(&self) -> js_sys::Promise {
        let object = Rc::clone(&self.0);
        future_to_promise(async move { object.flush().await.map(|()| JsValue::UNDEFINED) })
    }
}

struct Object {
    storage: Storage,
    env: Bindings,
    /// As it is stored; `None` until it is read.
    writer: RefCell<Option<key_writer::KeyWriter>>,
    waiting: RefCell<Vec<Waiting>>,
}

/// A request that is answered when KV has its version or a later one.
struct Waiting {
    version: u64,
    arrived_ms: u64,
    tries: Vec<Try>,
    told: oneshot::Sender<Answer>,
}

impl Object {
    async fn answer(&self, request: &web_sys::Request) -> Result<web_sys::Response, JsValue> {
        let url = request.url();
        let target = RequestTarget::parse(&url);
        let encoded_key = target.path.strip_prefix('/').unwrap_or_default();
        if request.method() == "GET" {
            let read = Read::parse(encoded_key, &target).map_err(|error| thrown(&error))?;
            return self.read(&read.key).await;
        }
        let header = |name| request.headers().get(name);
        let (if_match, if_none_match) = (header("if-match")?, header("if-none-match")?);
        let fields =
            Fields { if_match: if_match.as_deref(), if_none_match: if_none_match.as_deref(), ..Fields::default() };
        let run = Run::parse(encoded_key, &target, &fields).map_err(|error| thrown(&error))?;
        let value = JsFuture::from(request.array_buffer()?).await?.unchecked_into();
        let (status, version, body) = self.write(&run, &value).await?.to_wire().map_err(|error| thrown(&error))?;
        answered(status, version, &JsValue::from_str(&body))
    }

    /// Stores a value, sets the alarm for it, and waits for as long as the request asks.
    async fn write(&self, run: &Run<'_>, value: &js_sys::ArrayBuffer) -> Result<Answer, JsValue> {
        let arrived_ms = Clock.now_ms();
        // From here to the alarm nothing waits: writes are accepted one after the other.
        let (mut writer, is_awake) = self.load(&run.key)?;
        let was_due = writer.due(arrived_ms);
        let Ok(version) = writer.accept(sha256(value), &run.preconditions) else {
            let version = writer.written();
            return Ok(Answer::of(Outcome::NotWritten(NotWritten::PreconditionFailed { version })));
        };
        self.storage.keep_with_value(&writer, value)?;
        let due = writer.due(arrived_ms);
        self.writer.replace(Some(writer));
        let flushed = matches!(run.strategy, Strategy::Coalesce(Wait::Kv)).then(|| self.wait_for(version, arrived_ms));
        let is_set = match (was_due, due) {
            // The alarm is set, or rings just now and sets the next one itself.
            (Due::Put(_), Due::Put(_)) => true,
            (before, now) => before == now,
        };
        if !is_set || !is_awake {
            self.set_alarm(due).await?;
        }

        let Some(flushed) = flushed else { return Ok(Answer::of(Outcome::Stored(version))) };
        let deadline = Duration::from_millis(run.timeout_ms.into());
        if let Some(Ok(told)) = deadline::within(deadline, flushed).await {
            return Ok(told);
        }
        let tries = self.stop_waiting(version);
        Ok(Answer { outcome: Outcome::NotWritten(NotWritten::TimedOut { version }), tries })
    }

    /// The put that is due: one, then the alarm for the next.
    async fn flush(&self) -> Result<(), JsValue> {
        let Some(writer) = self.stored()? else { return Ok(()) };
        let due = writer.due(Clock.now_ms());
        let Due::Put(version) = due else { return self.set_alarm(due).await };
        let key = Key::new(writer.key()).map_err(|error| thrown(&error))?;
        let metadata = serde_json::to_string(&writer.metadata()).map_err(|error| thrown(&error))?;
        let value = Value::bytes(self.storage.value()?);
        let options = PutOptions::with_metadata(&metadata)?;

        // Without a deadline: a put that is given up can still arrive, and replace a later one. The runtime ends an alarm after
        // 15 minutes and calls it again.
        let started_ms = Clock.now_ms();
        let outcome = self.env.hot_keys().put(&key, &value, Some(&options)).await;
        let ended_ms = Clock.now_ms();

        // Others may have written meanwhile.
        let Some(mut writer) = self.stored()? else { return Ok(()) };
        match &outcome {
            Ok(()) => {
                writer.took(version, ended_ms);
                retry_budget().borrow_mut().succeeded(ended_ms);
            }
            Err(error) => {
                log::warning("KEY_WRITER", "kv_put_failed", error);
                let (class, budget) = (error.class(), retry_budget());
                writer.refused(version, class, ended_ms, Clock.random(), &mut budget.borrow_mut());
            }
        }
        let due = writer.due(ended_ms);
        if due == Due::Nothing {
            self.storage.keep_without_value(&writer)?;
        } else {
            self.storage.keep(&writer)?;
        }
        self.tell(&writer, version, started_ms, ended_ms, outcome.as_ref().err());
        self.writer.replace(Some(writer));
        self.set_alarm(due).await
    }

    async fn read(&self, key: &Key<'_>) -> Result<web_sys::Response, JsValue> {
        let (writer, _) = self.load(key)?;
        let newest = writer.newest();
        if let Newest::Here(version) = newest {
            return answered(200, Some(version), &self.storage.value()?);
        }
        let (value, metadata) = match self.env.hot_keys().stream_with_metadata(key).await {
            Ok(found) => found,
            Err(error) => return answered(502, None, &JsValue::from_str(&error.to_string())),
        };
        let shown: Option<Metadata> = metadata.and_then(|json| serde_json::from_str(&json).ok());
        let seen = match newest {
            Newest::Unwritten => Seen::Foreign,
            _ => writer.judge(shown.as_ref(), Clock.now_ms()),
        };
        match (seen, value) {
            (Seen::Newest(version), Some(value)) => answered(200, Some(version), &value),
            (Seen::PerhapsStale, _) => answered(503, None, &JsValue::NULL),
            (Seen::Foreign, Some(value)) => answered(200, None, &value),
            (_, None) => answered(404, None, &JsValue::NULL),
        }
    }

    /// What is known of the key, and whether the object was awake: one that wakes up cannot know whether its alarm is set.
    fn load(&self, key: &Key<'_>) -> Result<(key_writer::KeyWriter, bool), JsValue> {
        let is_awake = self.writer.borrow().is_some();
        Ok((self.stored()?.unwrap_or_else(|| key_writer::KeyWriter::new(key.as_str())), is_awake))
    }

    fn stored(&self) -> Result<Option<key_writer::KeyWriter>, JsValue> {
        if self.writer.borrow().is_none() {
            self.writer.replace(self.storage.record()?);
        }
        Ok(self.writer.borrow().clone())
    }

    async fn set_alarm(&self, due: Due) -> Result<(), JsValue> {
        let at_ms = match due {
            Due::Nothing => return Ok(()),
            Due::Later(at_ms) => at_ms,
            Due::Put(_) => Clock.now_ms(),
        };
        // What could not be set is set by the next request, as after waking up.
        self.storage.set_alarm(at_ms).await.inspect_err(|_| drop(self.writer.replace(None)))
    }

    fn wait_for(&self, version: u64, arrived_ms: u64) -> oneshot::Receiver<Answer> {
        let (told, flushed) = oneshot::channel();
        self.waiting.borrow_mut().push(Waiting { version, arrived_ms, tries: Vec::new(), told });
        flushed
    }

    /// The tries made for a version while somebody waited for it.
    fn stop_waiting(&self, version: u64) -> Vec<Try> {
        let mut waiting = self.waiting.borrow_mut();
        let place = waiting.iter().position(|one| one.version == version);
        place.map(|place| waiting.swap_remove(place).tries).unwrap_or_default()
    }

    /// Tells those who wait what became of a put of this version.
    fn tell(
        &self,
        writer: &key_writer::KeyWriter,
        version: u64,
        started_ms: u64,
        ended_ms: u64,
        error: Option<&StoreError>,
    ) {
        let is_refused = error.is_some_and(|error| error.class() == FailureClass::Permanent);
        let mut still_waiting = Vec::new();
        for mut one in self.waiting.take() {
            if one.version == version {
                one.tries.push(Try {
                    started_ms: started_ms.saturating_sub(one.arrived_ms),
                    ended_ms: ended_ms.saturating_sub(one.arrived_ms),
                    taken: error.is_none(),
                });
            }
            let outcome = if writer.has_flushed(one.version) {
                Outcome::InKv(one.version)
            } else if let Some(error) = error.filter(|_| is_refused) {
                Outcome::NotWritten(NotWritten::Refused { version: one.version, cause: error.to_string() })
            } else {
                still_waiting.push(one);
                continue;
            };
            // Whoever is gone need not be told.
            let _gone = one.told.send(Answer { outcome, tries: one.tries });
        }
        self.waiting.replace(still_waiting);
    }
}

fn answered(status: u16, version: Option<u64>, body: &JsValue) -> Result<web_sys::Response, JsValue> {
    let tag = version.map(entity_tag);
    let fields: Vec<_> = tag.iter().map(|tag| ("etag", tag.as_str())).collect();
    response::with_status(status, body, &fields)
}

fn sha256(value: &js_sys::ArrayBuffer) -> String {
    let length = value.byte_length();
    let starts = (0..length).step_by(HASHED_AT_ONCE as usize);
    key_writer::sha256(starts.map(|start| {
        let end = start.saturating_add(HASHED_AT_ONCE).min(length);
        js_sys::Uint8Array::new_with_byte_offset_and_length(value, start, end.saturating_sub(start)).to_vec()
    }))
}

/// What the runtime takes for an exception. The Worker logs it; nobody outside sees it.
fn thrown(error: &dyn std::fmt::Display) -> JsValue {
    JsValue::from_str(&error.to_string())
}
