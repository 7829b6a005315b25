//! What a request for a file is answered with: which file, which of its languages and encodings, and how much of it.

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

/// The header fields that decide how much of a file is sent, in lower case and separated by commas: each request is looked through for
/// them.
pub const CONDITIONS: &str = "range,if-match,if-none-match,if-modified-since,if-unmodified-since";

/// A request for a file.
#[derive(Debug)]
pub struct Asked<'a, F> {
    /// `GET` or `HEAD`.
    pub method: &'a str,
    /// Its URL.
    pub target: &'a RequestTarget<'a>,
    /// Its path.
    pub path: &'a AssetPath<'a>,
    /// Its fields. `Accept-Encoding` as the client sent it, whatever the platform made of it on the way.
    pub fields: &'a F,
}

/// A release that is served.
#[derive(Debug, Clone, Copy)]
pub struct Served<'m> {
    /// What made it the one that is served.
    pub pointer: &'m Pointer,
    /// Its files.
    pub manifest: &'m Manifest,
}

/// What a request is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<'m> {
    /// Another path (RFC 9110 §15.4).
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: u16,
        /// The header fields, `Location` among them.
        fields: FieldLines<'m>,
    },
    /// A file, or a part of it, or that the client has it.
    Represented(Box<Represented<'m>>),
    /// The release has no such file.
    Nothing,
}

/// What follows the header fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content<'m> {
    /// Nothing.
    None,
    /// All of a body.
    Whole(&'m Body),
    /// Parts of a body, with text between them where there are several.
    Parts {
        /// Of this one.
        body: &'m Body,
        /// In their order.
        parts: Vec<Part>,
        /// The bytes of all parts together.
        length: u64,
    },
}

/// A part of what is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A text.
    Text(String),
    /// These bytes of the body.
    Bytes(ops::Range<u64>),
}

/// Answers out of the release that is served.
///
/// # Errors
/// [`AssetError`] where the request's preconditions, its range or its encodings cannot be met.
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
        // A rewrite is served where it was asked for.
        (Resolved::Redirect(path), Some(_)) => manifest.resolve(&path),
        (resolved, _) => resolved,
    };
    match resolved {
        Resolved::File(path) => represent::at(served, &path, Place::Asked, asked),
        // A later release may have a file where this one has a redirect.
        Resolved::Redirect(path) => redirect(307, location(&path, asked.target.query), FixedFields::Caching),
        Resolved::Nothing => Ok(Answer::Nothing),
    }
}

/// What `_headers` says of the answer to a request.
#[must_use]
pub fn header_changes<F>(served: Served<'_>, asked: &Asked<'_, F>) -> HeaderChanges {
    served.manifest.headers.of(&asked.target.host(), asked.path)
}

/// Changes the fields of an error, such as the 404 of a release that has no page for it, as
/// `_headers` says: but for those that describe what it says, and how long it may be kept.
pub fn change_error(lines: &mut FieldLines<'_>, changes: HeaderChanges) {
    fields::change(lines, changes, FixedFields::CachingAndContent);
}

/// True where it is worth a look whether a release before has the file.
#[must_use]
pub fn may_be_retained(path: &AssetPath<'_>) -> bool {
    let Some(path) = path.file() else { return false };
    let has_extension = path.rsplit('/').next().is_some_and(|name| name.contains('.') && !name.ends_with('.'));
    has_extension && media_type::of_path(path).is_none_or(|media_type| !media_type::is_html(&media_type))
}

/// Answers out of a release before: with a file whose name has a hash in it, or what may be one. Whatever else is gone is gone: who takes a
/// script away, such as a service worker, means it.
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

/// What a file is answered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// For its own path.
    Asked,
    /// For any path of a single-page application.
    Fallback,
    /// For a path that has no file.
    NotFound,
}

/// Answers where there is no file: with the page of a single-page application, or the nearest `404.html`. [`Answer::Nothing`] where the
/// client wants no page, or there is none.
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

/// True for a request that a browser shows as a page (Fetch Metadata, `Sec-Fetch-Mode`); who does not send it is known by `Accept`.
fn is_navigation(fields: &impl Fields, accept: Option<&str>) -> bool {
    match fields.get("sec-fetch-mode") {
        Some(mode) => mode == "navigate",
        None => problem::wants_html(accept),
    }
}

/// A `Location` on the same host: never one that begins with two slashes, which would name another.
fn location(path: &str, query: Option<&str>) -> String {
    let path = super::encode(path);
    let path = path.trim_start_matches('/');
    query.map_or_else(|| format!("/{path}"), |query| format!("/{path}?{query}"))
}

/// Header fields: name and value.
pub type FieldLines<'m> = Vec<(Cow<'m, str>, Cow<'m, str>)>;
