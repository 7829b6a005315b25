//! `GET /hello-world`: the page in the visitor's language.

use http_semantics::language::{self, NegotiatedLanguage};
use http_semantics::request_target::RequestTarget;
use kv_store::limits::Key;
use static_assets::translations::TranslatedPage;
use worker::web_sys;

use crate::http::error::RequestError;
use crate::http::request_context::RequestContext;
use crate::http::response;
use crate::kv::asset_store;
use kv_store::record_cache::ReadFailure;

const TRANSLATIONS: Key<'static> = Key::literal("hello-world.json");

/// Responds in the language of the translations that suits the visitor best; in English if there
/// are no translations; in English and with `Translation-Source: default` if they cannot be read
/// and none are in memory.
pub(crate) async fn handle(
    context: &RequestContext,
    target: &RequestTarget<'_>,
) -> Result<web_sys::Response, RequestError> {
    let read = asset_store::translations(context, &TRANSLATIONS).await;
    let failed: Option<(&str, &dyn std::fmt::Display)> = match &read {
        Ok(_) => None,
        Err(ReadFailure::Store(error)) => Some(("kv_unavailable", error)),
        Err(ReadFailure::Broken(broken)) => Some(("broken_record", broken)),
    };
    if let Some((code, cause)) = failed {
        context.log().warning(code, cause);
    }
    let source = failed.map(|_| ("translation-source", "default"));
    let translations = read.ok().flatten();
    let tags = translations.as_ref().map(|translations| translations.tags()).unwrap_or_default();
    let NegotiatedLanguage { tag, varies } = language::negotiate(&tags, target, &context.headers(""));
    let translated = translations.as_ref().and_then(|translations| translations.page(tag));
    let english;
    let page = if let Some(page) = translated {
        page
    } else {
        english = TranslatedPage::english();
        &english
    };
    let mut fields = vec![
        ("content-type", "text/html; charset=utf-8"),
        ("content-language", page.language.as_str()),
        response::NO_CACHE,
    ];
    fields.extend(varies.then_some(("vary", language::VARY)));
    fields.extend(source);
    Ok(response::ok(&response::bytes(page.html.as_bytes()), &fields)?)
}
