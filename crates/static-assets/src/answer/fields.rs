//! The header fields of a file.

use std::borrow::Cow;

use super::{FieldLines, Place};
use crate::header_rules::HeaderChanges;
use crate::manifest::File;
use crate::media_type;
use http_semantics::language;

/// For names that change with the bytes (RFC 8246).
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// A page is asked for anew each time: it names the other files (RFC 9111 §5.2.2.4).
const ASK_ALWAYS: &str = "no-cache";
/// What a page names without a hash in it, and redirects.
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

/// What a redirect has.
pub(super) fn of_redirect<'m>(location: String, changes: HeaderChanges, kept: FixedFields) -> FieldLines<'m> {
    let mut lines = vec![("location".into(), location.into()), ("cache-control".into(), REVALIDATE.into())];
    change(&mut lines, changes, kept);
    lines
}

/// Which fields stay as they are, whatever `_headers` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FixedFields {
    /// None: the fields of a file, or of a redirect that `_redirects` asks for.
    Nothing,
    /// Those that tell caches how long they may keep the answer: what is not there may be there at
    /// any moment.
    Caching,
    /// Also those that describe the body (RFC 9110 §8): it is no file, but a sentence.
    CachingAndContent,
}

impl FixedFields {
    fn includes(self, name: &str) -> bool {
        let is_of = |names: &[&str]| names.contains(&name);
        match self {
            Self::Nothing => false,
            Self::Caching => is_of(&CACHING),
            Self::CachingAndContent => is_of(&CACHING) || is_of(&CONTENT),
        }
    }
}

const CACHING: [&str; 6] =
    ["cache-control", "expires", "pragma", "cdn-cache-control", "cloudflare-cdn-cache-control", "surrogate-control"];
const CONTENT: [&str; 4] = ["content-type", "content-language", "content-location", "content-disposition"];

/// Changes what `_headers` says.
pub(super) fn change(lines: &mut FieldLines<'_>, changes: HeaderChanges, kept: FixedFields) {
    for name in changes.remove.iter().filter(|name| !kept.includes(name)) {
        lines.retain(|(present, _)| !present.eq_ignore_ascii_case(name));
    }
    for (name, value) in changes.set {
        if kept.includes(&name) {
            continue;
        }
        let present = lines.iter_mut().find(|(present, _)| present.eq_ignore_ascii_case(&name));
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
