//! The header fields of a file.

use std::borrow::Cow;
use std::time::{Duration, UNIX_EPOCH};

use super::{FieldLines, Place};
use crate::assets::header_rules::HeaderChanges;
use crate::assets::manifest::File;
use crate::assets::media_type;
use crate::language;

/// For names that change with the bytes (RFC 8246).
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// A page is asked for anew each time: it names the other files (RFC 9111 §5.2.2.4).
const ASK_ALWAYS: &str = "no-cache";
/// What a page names without a hash in it.
const REVALIDATE: &str = "public, max-age=0, must-revalidate";

/// Scripts, frames and connections of the page's own origin only; inline styles, and images in the page itself, do no harm (Content
/// Security Policy Level 3).
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'";

/// What a file has whoever asks for it. A hash in its name says nothing of another path that a rewrite serves it at.
pub(super) fn of_file(file: &File, status: u16, is_own_path: bool) -> FieldLines<'_> {
    let is_html = media_type::is_html(&file.media_type);
    let cache_control = match () {
        () if status == 404 || is_html => ASK_ALWAYS,
        () if file.is_immutable && is_own_path => FOR_EVER,
        () => REVALIDATE,
    };
    let mut lines: FieldLines<'_> = Vec::with_capacity(16);
    lines.push(("content-type".into(), file.media_type.as_ref().into()));
    lines.push(("cache-control".into(), cache_control.into()));
    lines.push(("x-content-type-options".into(), "nosniff".into()));
    if is_html {
        lines.push(("content-security-policy".into(), CONTENT_SECURITY_POLICY.into()));
        lines.push(("referrer-policy".into(), "strict-origin-when-cross-origin".into()));
    }
    lines
}

/// `Vary` (RFC 9110 §12.5.5): what the answer could have differed by.
pub(super) fn vary<'m>(by_encoding: bool, by_language: bool, place: Place) -> Option<(Cow<'m, str>, Cow<'m, str>)> {
    let by_place = match place {
        Place::Asked => None,
        Place::Fallback => Some("Sec-Fetch-Mode, Accept"),
        Place::NotFound => Some("Accept"),
    };
    let names = [by_encoding.then_some("Accept-Encoding"), by_language.then_some(language::VARY), by_place];
    let names: Vec<&str> = names.into_iter().flatten().collect();
    (!names.is_empty()).then(|| ("vary".into(), names.join(", ").into()))
}

/// An HTTP date (RFC 9110 §5.6.7) of milliseconds since the Unix epoch; the last one there is, for those beyond it.
pub(super) fn date(at_ms: u64) -> String {
    /// The end of the year 9999, in seconds.
    const LAST: u64 = 253_402_300_799;
    let at = UNIX_EPOCH.checked_add(Duration::from_secs((at_ms / 1000).min(LAST)));
    httpdate::fmt_http_date(at.unwrap_or(UNIX_EPOCH))
}

/// Changes what `_headers` says. A 404 may become a file at any moment: no rule makes caches keep it.
pub(super) fn change(lines: &mut FieldLines<'_>, changes: HeaderChanges, status: u16) {
    let is_fixed = |name: &str| {
        status == 404
            && matches!(
                name,
                "cache-control"
                    | "expires"
                    | "cdn-cache-control"
                    | "cloudflare-cdn-cache-control"
                    | "surrogate-control"
            )
    };
    for name in &changes.remove {
        lines.retain(|(present, _)| present != name || is_fixed(name));
    }
    for (name, value) in changes.set {
        if is_fixed(&name) {
            continue;
        }
        let present = lines.iter_mut().find(|(present, _)| *present == name);
        match present {
            // What the answer depends on, and its other languages, do not change because a rule names more.
            Some((_, present)) if matches!(name.as_str(), "vary" | "link") => {
                *present = format!("{present}, {value}").into();
            }
            Some((_, present)) => *present = value.into(),
            None => lines.push((name.into(), value.into())),
        }
    }
}

/// Leaves what a 304 may update, and what it must have (RFC 9110 §15.4.5): nothing that describes the bytes. `Last-Modified` "might be
/// useful if the response does not have an `ETag` field", which a rule can have taken away.
pub(super) fn keep_of_not_modified(lines: &mut FieldLines<'_>) {
    let has_etag = lines.iter().any(|(name, _)| name == "etag");
    lines.retain(|(name, _)| match name.as_ref() {
        "content-type" | "content-encoding" | "content-language" | "content-length" | "accept-ranges" => false,
        "last-modified" => !has_etag,
        _ => true,
    });
}
