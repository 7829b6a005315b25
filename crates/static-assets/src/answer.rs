//! The response to a request for a file: which file, which of its representations, and how much
//! of it.

mod fields;
mod language;
mod represent;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ops;

use self::fields::FixedFields;
pub use self::represent::Represented;
use super::fingerprint::may_have_content_hash;
use super::header_rules::HeaderChanges;
use super::html_handling::{Resolved, not_found_pages};
use super::manifest::{Body, Manifest, NotFound};
use super::media_type;
use super::release::Pointer;
use super::{AssetError, AssetPath, single_slashes};
use http_semantics::fields::Fields;
use http_semantics::problem;
use http_semantics::request_target::RequestTarget;

/// The header fields of preconditions and ranges, in lower case and separated by commas. The
/// Worker checks each request for them once.
pub const CONDITIONS: &str = "range,if-match,if-none-match,if-modified-since,if-unmodified-since";

/// A request for a file.
#[derive(Debug)]
pub struct Asked<'a, F> {
    /// `GET` or `HEAD`.
    pub method: &'a str,
    /// The URL.
    pub target: &'a RequestTarget<'a>,
    /// The path of the URL.
    pub path: &'a AssetPath<'a>,
    /// The header fields, `Accept-Encoding` as the client sent it: the platform replaces it.
    pub fields: &'a F,
}

/// A release that files are served from.
#[derive(Debug, Clone, Copy)]
pub struct Served<'m> {
    /// The pointer, which knows when a rollback was.
    pub pointer: &'m Pointer,
    /// The manifest of the release.
    pub manifest: &'m Manifest,
}

/// The response to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<'m> {
    /// A redirect (RFC 9110 §15.4).
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: u16,
        /// The header fields, with `Location`.
        fields: FieldLines<'m>,
    },
    /// A file, parts of it, or 304.
    Represented(Box<Represented<'m>>),
    /// The release has no such file.
    Nothing,
}

/// The content of a response (RFC 9110 §6.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content<'m> {
    /// Nothing.
    None,
    /// A whole body.
    Whole(&'m Body),
    /// Parts of a body. If there are several, text stands between them (`multipart/byteranges`).
    Parts {
        /// The body.
        body: &'m Body,
        /// The parts, in order.
        parts: Vec<Part>,
        /// The length of all parts together, in bytes.
        length: u64,
    },
}

/// A part of the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text of a multipart body: its boundaries and header fields.
    Text(String),
    /// A range of bytes of the body.
    Bytes(ops::Range<u64>),
}

/// Returns the response out of the release that is served.
///
/// # Errors
/// [`AssetError`] if a precondition fails, or no representation fits the range or
/// `Accept-Encoding`.
pub fn of_release<'m, F: Fields>(served: Served<'m>, asked: &Asked<'_, F>) -> Result<Answer<'m>, AssetError> {
    let manifest = served.manifest;
    let redirect = |status, location, kept| {
        Ok(Answer::Redirect { status, fields: fields::of_redirect(location, header_changes(served, asked), kept) })
    };
    let rewritten = match manifest.redirects.find(asked.path, asked.target.query) {
        Some(rule) if rule.status == 200 => Some(rule.location),
        Some(rule) => return redirect(rule.status, rule.location, FixedFields::Nothing),
        None => None,
    };
    let Some(path) = rewritten.as_deref().or(asked.path.file()) else { return Ok(Answer::Nothing) };
    let resolved = match (manifest.resolve(path), &rewritten) {
        // A rewrite never becomes a redirect.
        (Resolved::Redirect(path), Some(_)) => manifest.resolve(&path),
        (resolved, _) => resolved,
    };
    match resolved {
        Resolved::File(path) => represent::at(served, &path, Place::Asked, asked),
        // No rule may let caches store this: the next release may have a file under this path.
        Resolved::Redirect(path) => redirect(307, location(&path, asked.target.query), FixedFields::Caching),
        Resolved::Nothing => Ok(Answer::Nothing),
    }
}

/// Returns the changes that `_headers` makes to the response.
#[must_use]
pub fn header_changes<F>(served: Served<'_>, asked: &Asked<'_, F>) -> HeaderChanges {
    served.manifest.headers.of(&asked.target.host(), asked.path)
}

/// Applies `_headers` to the header fields of an error, such as the 404 of a release without a
/// page for it. Fields that describe the content or control caches stay.
pub fn change_error(lines: &mut FieldLines<'_>, changes: HeaderChanges) {
    fields::change(lines, changes, FixedFields::CachingAndContent);
}

/// Returns true if a previous release may answer the path: it has an extension, and not that of
/// a page.
#[must_use]
pub fn may_be_retained(path: &AssetPath<'_>) -> bool {
    let Some(path) = path.file() else { return false };
    let has_extension = path.rsplit('/').next().is_some_and(|name| name.contains('.') && !name.ends_with('.'));
    has_extension && media_type::of_path(path).is_none_or(|media_type| !media_type::is_html(&media_type))
}

/// Returns the response out of a previous release, so that pages that are still open find their
/// scripts and styles. Only files that have, or may have, a content hash in their name are
/// served: somebody who removes another file, such as a service worker, wants it gone.
///
/// # Errors
/// As [`of_release`].
pub fn of_previous<'m, F: Fields>(served: Served<'m>, asked: &Asked<'_, F>) -> Result<Answer<'m>, AssetError> {
    let file = asked.path.file().and_then(|path| served.manifest.file(path));
    match file.filter(|file| file.is_immutable || may_have_content_hash(&file.path)) {
        Some(file) => represent::at(served, &file.path, Place::Asked, asked),
        None => Ok(Answer::Nothing),
    }
}

/// Why this file is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The path of the request means it.
    Asked,
    /// It answers every path of a single-page application.
    Fallback,
    /// It is the page for a path that has no file.
    NotFound,
}

/// Returns the response to a path that has no file: the page of a single-page application, or
/// the nearest `404.html`. [`Answer::Nothing`] if the client does not accept a page, or the
/// release has none.
///
/// # Errors
/// As [`of_release`].
pub fn not_found<'m, F: Fields>(served: Served<'m>, asked: &Asked<'_, F>) -> Result<Answer<'m>, AssetError> {
    let accept = asked.fields.get("accept");
    match served.manifest.not_found {
        NotFound::SinglePageApplication if is_navigation(asked.fields, accept.as_deref()) => {
            represent::at(served, "/index.html", Place::Fallback, asked)
        }
        NotFound::Page if !problem::wants_json(accept.as_deref()) => {
            let page =
                not_found_pages(&single_slashes(&asked.path.named())).find(|page| served.manifest.file(page).is_some());
            page.map_or(Ok(Answer::Nothing), |page| represent::at(served, &page, Place::NotFound, asked))
        }
        _ => Ok(Answer::Nothing),
    }
}

/// Returns true if a browser will show the response as a page (Fetch Metadata,
/// `Sec-Fetch-Mode`). For clients that do not send the field, `Accept` decides.
fn is_navigation(fields: &impl Fields, accept: Option<&str>) -> bool {
    match fields.get("sec-fetch-mode") {
        Some(mode) => mode == "navigate",
        None => problem::wants_html(accept),
    }
}

/// Returns a `Location` on the same host. It never begins with two slashes, which would name
/// another one.
fn location(path: &str, query: Option<&str>) -> String {
    let path = super::encode(path);
    let path = path.trim_start_matches('/');
    query.map_or_else(|| format!("/{path}"), |query| format!("/{path}?{query}"))
}

/// Header fields: name, in lower case, and value.
pub type FieldLines<'m> = Vec<(Cow<'m, str>, Cow<'m, str>)>;
