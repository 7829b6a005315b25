//! The header fields of files and redirects, and what `_headers` changes in them.

use std::borrow::Cow;

use super::{FieldLines, FileRole};
use crate::header_rules::HeaderChanges;
use crate::manifest::File;
use crate::media_type;
use http_semantics::language;

/// For files whose name changes with their bytes (RFC 8246).
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// For pages: caches revalidate them each time, because they name the other files (RFC 9111
/// §5.2.2.4). Also for every 404.
const NO_CACHE: &str = "no-cache";
/// For redirects, and for all other files.
const REVALIDATE: &str = "public, max-age=0, must-revalidate";

/// Allows scripts, frames and connections of the page's own origin only. Inline styles, and
/// images in the page itself, do no harm (Content Security Policy Level 3).
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'";

/// Returns the header fields of a file. Only a file under its own path is immutable: the content
/// hash in its name says nothing about the path of a rewrite.
pub(super) fn of_file(file: &File, status: u16, is_own_path: bool) -> FieldLines<'_> {
    let is_html = media_type::is_html(&file.media_type);
    let cache_control = match () {
        () if status == 404 || is_html => NO_CACHE,
        () if file.is_immutable && is_own_path => IMMUTABLE,
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

/// Returns `Vary` (RFC 9110 §12.5.5): the request fields that the response could have differed
/// by.
pub(super) fn vary<'m>(by_encoding: bool, by_language: bool, role: FileRole) -> Option<(Cow<'m, str>, Cow<'m, str>)> {
    let by_role = match role {
        FileRole::Requested => None,
        FileRole::Fallback => Some("Sec-Fetch-Mode, Accept"),
        FileRole::NotFoundPage => Some("Accept"),
    };
    let names = [by_encoding.then_some("Accept-Encoding"), by_language.then_some(language::VARY), by_role];
    let names: Vec<&str> = names.into_iter().flatten().collect();
    (!names.is_empty()).then(|| ("vary".into(), names.join(", ").into()))
}

/// Returns the header fields of a redirect.
pub(super) fn of_redirect<'m>(location: String, changes: HeaderChanges, fixed: FixedFields) -> FieldLines<'m> {
    let mut lines = vec![("location".into(), location.into()), ("cache-control".into(), REVALIDATE.into())];
    change(&mut lines, changes, fixed);
    lines
}

/// The fields that `_headers` cannot change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FixedFields {
    /// None. For files, and for redirects of `_redirects`.
    Nothing,
    /// The fields that control caches. For redirects to a file's canonical path and for 404 pages:
    /// a later release may have a file under this path.
    Caching,
    /// Those, and the fields that describe the content (RFC 9110 §8). For errors, whose content is
    /// a sentence and not a file.
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

/// Applies the changes of `_headers`. One that removes `Cache-Control` leaves `no-cache`, because
/// a cache could choose a lifetime for a response that says nothing (RFC 9111 §4.2.2).
pub(super) fn change(lines: &mut FieldLines<'_>, changes: HeaderChanges, fixed: FixedFields) {
    for name in changes.remove.iter().filter(|name| !fixed.includes(name)) {
        lines.retain(|(present, _)| !present.eq_ignore_ascii_case(name));
        if name == "cache-control" {
            lines.push(("cache-control".into(), NO_CACHE.into()));
        }
    }
    for (name, value) in changes.set {
        if fixed.includes(&name) {
            continue;
        }
        let present = lines.iter_mut().find(|(present, _)| present.eq_ignore_ascii_case(&name));
        match present {
            // A rule adds to `Vary` and `Link`: the response still depends on what it depended
            // on.
            Some((_, present)) if matches!(name.as_str(), "vary" | "link") => {
                *present = format!("{present}, {value}").into();
            }
            Some((_, present)) => *present = value.into(),
            None => lines.push((name.into(), value.into())),
        }
    }
}

/// Removes the fields that a 304 should not have: those that describe the content, except
/// `Content-Location` (RFC 9110 §15.4.5). `Last-Modified` "might be useful if the response does
/// not have an `ETag` field", which a rule may have removed.
pub(super) fn remove_content_fields(lines: &mut FieldLines<'_>) {
    let has_etag = lines.iter().any(|(name, _)| name == "etag");
    lines.retain(|(name, _)| match name.as_ref() {
        "content-type" | "content-encoding" | "content-language" | "content-length" | "accept-ranges" => false,
        "last-modified" => !has_etag,
        _ => true,
    });
}
