//! The Worker's client of the Durable Object that writes a key.

use std::time::Duration;

use kv_store::key_writer::WriteResult;
use kv_store::key_writer::message::{FIELD, WriterReply, WriterRequest, from_field, to_field};
use kv_store::limits::Key;
use kv_store::writes::{Wait, WriteRun};
use wasm_bindgen::JsValue;
use worker::web_sys;

use crate::kv::put::PutValue;
use crate::platform::deadline;
use crate::platform::durable_objects::DurableObjects;
use crate::platform::js_error::message_of;

/// `KEY_WRITER`: the Durable Object namespace, with one object per key.
pub(crate) struct KeyWriters(pub(crate) DurableObjects);

/// The time that the object has for its reply: to a read from the beginning, to a write after its
/// `timeout_ms`.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

impl KeyWriters {
    /// Sends a value to the key's object and returns the result. The error is for the log: the
    /// runtime's message, that no reply came in time, or what came instead of a reply to a write.
    pub(crate) async fn write(&self, run: &WriteRun<'_>, wait: Wait, value: &PutValue) -> Result<WriteResult, String> {
        let request = WriterRequest::Write {
            key: run.key.as_str().to_owned(),
            wait,
            timeout_ms: run.timeout_ms,
            preconditions: run.preconditions.clone(),
        };
        let deadline = Duration::from_millis(run.timeout_ms.into()) + REPLY_TIMEOUT;
        match self.call(&run.key, &request, Some(value), deadline).await?.0 {
            WriterReply::Written(result) => Ok(result),
            other => Err(format!("the object replied {other:?}")),
        }
    }

    /// Returns the object's reply, with the newest value of the key as a stream if it says that
    /// there is one. After an error it asks once more, because a deploy restarts the object, and
    /// returns the second error if that fails, too.
    pub(crate) async fn read(&self, key: &Key<'_>) -> Result<(WriterReply, JsValue), String> {
        let request = WriterRequest::Read { key: key.as_str().to_owned() };
        match self.call(key, &request, None, REPLY_TIMEOUT).await {
            Err(_) => self.call(key, &request, None, REPLY_TIMEOUT).await,
            reply => reply,
        }
    }

    /// Sends one message to the key's object, and waits for the reply until the deadline.
    async fn call(
        &self,
        key: &Key<'_>,
        request: &WriterRequest,
        value: Option<&PutValue>,
        deadline: Duration,
    ) -> Result<(WriterReply, JsValue), String> {
        let field = to_field(request).map_err(|error| error.to_string())?;
        let exchange = async {
            let init = web_sys::RequestInit::new();
            init.set_method("POST");
            if let Some(value) = value {
                init.set_body(value.body());
            }
            let request = web_sys::Request::new_with_str_and_init("https://key-writer/", &init)?;
            request.headers().set(FIELD, &field)?;
            let response = self.0.send(key.as_str(), &request).await?;
            let reply = response.headers().get(FIELD)?.ok_or_else(|| JsValue::from_str("the response has no reply"))?;
            Ok((reply, response.body().into()))
        };
        let outcome = deadline::within(deadline, exchange).await.ok_or("no response in time")?;
        let (reply, value) = outcome.map_err(|exception: JsValue| message_of(&exception))?;
        Ok((from_field(&reply)?, value))
    }
}
