//! `GET /hello-world`: the translated page.

use kv_edge_core::limits::Key;
use kv_edge_core::translations::TranslatedPage;
use worker::web_sys;

use crate::error::Failure;
use crate::incoming::Incoming;
use crate::{log, response};

const TRANSLATIONS: Key<'static> = Key::literal("hello-world.json");

/// Answers in the visitor's language; in English where the translations are missing, and with `Translation-Source: default`
/// where they cannot be read.
pub(crate) async fn answer(incoming: &Incoming) -> Result<web_sys::Response, Failure> {
    let (page, source) = match choose(incoming).await {
        Some(page) => (page, None),
        None => (TranslatedPage::english(), Some(("translation-source", "default"))),
    };
    let mut fields = vec![
        ("content-type", "text/html; charset=utf-8"),
        ("content-language", page.language.as_str()),
        ("vary", "Accept-Language"),
    ];
    fields.extend(source);
    response::ok(&response::bytes(page.html.as_bytes()), &fields)
}

/// The page; `None` where the translations are broken or cannot be read.
async fn choose(incoming: &Incoming) -> Option<TranslatedPage> {
    let warn = |code, cause: &dyn std::fmt::Display| log::warning("/hello-world", code, cause);
    let file =
        incoming.env().files().text(&TRANSLATIONS).await.inspect_err(|error| warn("kv_unavailable", error)).ok()?;
    let Some(file) = file else { return Some(TranslatedPage::english()) };
    let accept_language = incoming.header("accept-language");
    TranslatedPage::choose(&file, accept_language.as_deref()).inspect_err(|error| warn("broken_record", error)).ok()
}
