//! How the Worker talks to the object of a key.

use std::time::Duration;

use kv_store::key_writer::WriteResult;
use kv_store::key_writer::message::{FIELD, WriterReply, WriterRequest, from_field, to_field};
use kv_store::limits::Key;
use kv_store::writes::{Wait, WriteRun};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::web_sys;

use crate::kv::put::PutValue;
use crate::platform::deadline;
use crate::platform::js_error::message_of;

#[wasm_bindgen]
extern "C" {
    /// `KEY_WRITER`: the namespace of the objects.
    pub(crate) type KeyWriters;
    #[wasm_bindgen(method, catch, js_name = getByName)]
    fn get_by_name(this: &KeyWriters, name: &str) -> Result<Stub, JsValue>;

    type Stub;
    #[wasm_bindgen(method, catch)]
    fn fetch(this: &Stub, request: &web_sys::Request) -> Result<js_sys::Promise, JsValue>;
}

/// How long the object may take on top of the time that it is asked to wait.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

impl KeyWriters {
    /// Hands a value to the key's object. An error is what the runtime says if the object gave no
    /// answer.
    pub(crate) async fn write(&self, run: &WriteRun<'_>, wait: Wait, value: &PutValue) -> Result<WriteResult, String> {
        let request = WriterRequest::Write {
            key: run.key.as_str().to_owned(),
            wait,
            timeout_ms: run.timeout_ms,
            preconditions: run.preconditions.clone(),
        };
        let deadline = Duration::from_millis(run.timeout_ms.into()) + ANSWERS_WITHIN;
        match self.ask(&run.key, &request, Some(value), deadline).await?.0 {
            WriterReply::Written(answer) => Ok(answer),
            other => Err(format!("the object answered {other:?}")),
        }
    }

    /// Reads the newest value, which is the body beside the reply; a second time if the object
    /// gave no answer, as during a deploy. An error is what the runtime says then.
    pub(crate) async fn read(&self, key: &Key<'_>) -> Result<(WriterReply, JsValue), String> {
        let request = WriterRequest::Read { key: key.as_str().to_owned() };
        match self.ask(key, &request, None, ANSWERS_WITHIN).await {
            Err(_) => self.ask(key, &request, None, ANSWERS_WITHIN).await,
            answered => answered,
        }
    }

    async fn ask(
        &self,
        key: &Key<'_>,
        request: &WriterRequest,
        value: Option<&PutValue>,
        deadline: Duration,
    ) -> Result<(WriterReply, JsValue), String> {
        let field = to_field(request).map_err(|error| error.to_string())?;
        let answer = async {
            let init = web_sys::RequestInit::new();
            init.set_method("POST");
            if let Some(value) = value {
                init.set_body(value.body());
            }
            let request = web_sys::Request::new_with_str_and_init("https://key-writer/", &init)?;
            request.headers().set(FIELD, &field)?;
            let stub = self.get_by_name(key.as_str())?;
            let response: web_sys::Response = JsFuture::from(stub.fetch(&request)?).await?.unchecked_into();
            Ok((response.headers().get(FIELD)?.unwrap_or_default(), response.body().into()))
        };
        let answered = deadline::within(deadline, answer).await.ok_or("no answer in time")?;
        let (reply, value) = answered.map_err(|thrown: JsValue| message_of(&thrown))?;
        Ok((from_field(&reply)?, value))
    }
}
