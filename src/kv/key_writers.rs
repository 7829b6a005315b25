//! How the Worker talks to the object of a key: in the words of `/writes/{key}` itself.

use std::time::Duration;

use http_semantics::conditional::version;
use kv_store::key_writer::Answer;
use kv_store::limits::Key;
use kv_store::store::StoreError;
use kv_store::writes::Wait;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::web_sys;

use crate::kv::put::Value;
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

/// A write for the object.
pub(crate) struct Write<'a> {
    /// The key.
    pub(crate) key: &'a Key<'a>,
    /// The key as it stands in the request's path.
    pub(crate) encoded_key: &'a str,
    /// What the answer waits for.
    pub(crate) wait: Wait,
    /// How long, in milliseconds.
    pub(crate) timeout_ms: u32,
    /// `If-Match` as it was sent.
    pub(crate) if_match: Option<&'a str>,
    /// `If-None-Match` as it was sent.
    pub(crate) if_none_match: Option<&'a str>,
}

/// What the object answers to a read.
pub(crate) enum NewestValue {
    /// The newest value.
    Found {
        /// A stream.
        value: JsValue,
        /// Its version as an entity tag; `None` where somebody wrote the key past its object.
        tag: Option<String>,
    },
    /// The key has no value.
    NotFound,
    /// KV does not show the newest value yet.
    NotVisibleYet,
    /// The object could not read KV.
    KvFailed(StoreError),
}

/// How long the object may take on top of the time that it is asked to wait.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

impl KeyWriters {
    /// Hands a value to the key's object. An error is what the runtime says where the object gave no answer.
    pub(crate) async fn write(&self, write: &Write<'_>, value: &Value) -> Result<Answer, String> {
        let wait = match write.wait {
            Wait::Durable => "durable",
            Wait::Kv => "kv",
        };
        let query = format!("strategy=coalesce&wait={wait}&timeoutMs={}", write.timeout_ms);
        let answer = async {
            let init = web_sys::RequestInit::new();
            init.set_method("POST");
            init.set_body(value.body());
            let request = web_sys::Request::new_with_str_and_init(&url(write.encoded_key, &query), &init)?;
            let conditions = [("if-match", write.if_match), ("if-none-match", write.if_none_match)];
            for (name, field) in conditions.into_iter().filter_map(|(name, field)| Some((name, field?))) {
                request.headers().set(name, field)?;
            }
            let response = self.fetch_from(write.key, &request).await?;
            let tag = response.headers().get("etag")?;
            let body = JsFuture::from(response.text()?).await?.as_string().unwrap_or_default();
            Ok((response.status(), tag.as_deref().and_then(version), body))
        };
        let deadline = Duration::from_millis(write.timeout_ms.into()).saturating_add(ANSWERS_WITHIN);
        let wire = deadline::within(deadline, answer)
            .await
            .ok_or("no answer in time")?
            .map_err(|thrown: JsValue| message_of(&thrown))?;
        let status = wire.0;
        Answer::from_wire(wire).ok_or_else(|| format!("the object answered {status}"))
    }

    /// Reads the newest value; a second time where the object gave no answer, as during a deploy. An error is what the runtime says
    /// then.
    pub(crate) async fn read(&self, key: &Key<'_>, encoded_key: &str) -> Result<NewestValue, String> {
        let once = async || {
            deadline::within(ANSWERS_WITHIN, self.read_once(key, encoded_key))
                .await
                .unwrap_or_else(|| Err(JsValue::from_str("no answer in time")))
        };
        let first = once().await;
        let answer = if first.is_err() { once().await } else { first };
        answer.map_err(|thrown| message_of(&thrown))
    }

    async fn read_once(&self, key: &Key<'_>, encoded_key: &str) -> Result<NewestValue, JsValue> {
        let request = web_sys::Request::new_with_str(&url(encoded_key, "consistent=1"))?;
        let response = self.fetch_from(key, &request).await?;
        Ok(match response.status() {
            200 => NewestValue::Found { value: response.body().into(), tag: response.headers().get("etag")? },
            404 => NewestValue::NotFound,
            503 => NewestValue::NotVisibleYet,
            502 => {
                let message = JsFuture::from(response.text()?).await?.as_string().unwrap_or_default();
                NewestValue::KvFailed(StoreError::from_message(message))
            }
            status => return Err(JsValue::from_str(&format!("the object answered {status}"))),
        })
    }

    async fn fetch_from(&self, key: &Key<'_>, request: &web_sys::Request) -> Result<web_sys::Response, JsValue> {
        let stub = self.get_by_name(key.as_str())?;
        Ok(JsFuture::from(stub.fetch(request)?).await?.unchecked_into())
    }
}

fn url(encoded_key: &str, query: &str) -> String {
    format!("https://key-writer/{encoded_key}?{query}")
}
