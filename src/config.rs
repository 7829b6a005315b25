//! `GET /config?userId={id}`: the page that a user's configuration personalises.

use kv_edge_core::config::{self, UserConfiguration};
use kv_edge_core::limits::Key;
use kv_edge_core::request_target::RequestTarget;
use wasm_bindgen::JsValue;
use worker::web_sys;

use crate::error::Failure;
use crate::incoming::Incoming;
use crate::{log, response};

const HTML: (&str, &str) = ("content-type", "text/html; charset=utf-8");

/// Answers the page. A broken record or a failing read gets the regular page and says so in `Config-Source`.
pub(crate) async fn answer(incoming: &Incoming, target: &RequestTarget<'_>) -> Result<web_sys::Response, Failure> {
    let key = config::user_key(target)?;
    match configuration(incoming, &key).await {
        Some(user) => response::ok(&page(user), &[HTML]),
        None => response::ok(&page(UserConfiguration::default()), &[HTML, ("config-source", "default")]),
    }
}

/// The user's configuration, the regular one for an unknown user, `None` where it cannot be known.
async fn configuration(incoming: &Incoming, key: &Key<'_>) -> Option<UserConfiguration> {
    let warn = |code, cause: &dyn std::fmt::Display| log::warning("/config", code, cause);
    let record = incoming.env().users().text(key).await.inspect_err(|error| warn("kv_unavailable", error)).ok()?;
    let Some(record) = record else { return Some(UserConfiguration::default()) };
    UserConfiguration::parse(&record).inspect_err(|error| warn("broken_record", error)).ok()
}

/// Both pages are constants: their JavaScript strings are made once an isolate.
fn page(user: UserConfiguration) -> JsValue {
    thread_local! {
        static REGULAR: JsValue = JsValue::from_str(UserConfiguration { preview_features_enabled: false }.page());
        static PREVIEW: JsValue = JsValue::from_str(UserConfiguration { preview_features_enabled: true }.page());
    }
    if user.preview_features_enabled { PREVIEW.with(JsValue::clone) } else { REGULAR.with(JsValue::clone) }
}
