//! The response to a request for a file: which file, which of its representations, and how much
//! of it.

mod header_fields;
mod language;
mod representation;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ops;

use self::header_fields::FixedFields;
pub use self::representation::FileResponse;
use super::fingerprint::may_have_content_hash;
use super::header_rules::HeaderChanges;
use super::html_handling::{PathResolution, not_found_pages};
use super::manifest::{FileBody, Manifest, NotFoundHandling};
use super::media_type;
use super::release::Pointer;
use super::{AssetError, AssetPath, collapse_slashes};
use http_semantics::fields::Fields;
use http_semantics::problem;
use http_semantics::request_target::RequestTarget;
use http_semantics::workers_cache;

/// The header fields of preconditions and ranges, in lower case and separated by commas.
/// `If-Range` is not among them, because it means nothing without `Range`. The Worker checks each
/// request for them once.
pub const CONDITIONAL_FIELDS: &str = "range,if-match,if-none-match,if-modified-since,if-unmodified-since";

/// A request for a file.
#[derive(Debug)]
pub struct AssetRequest<'a, F> {
    /// `GET` or `HEAD`.
    pub method: &'a str,
    /// The URL.
    pub target: &'a RequestTarget<'a>,
    /// The path of the URL.
    pub path: &'a AssetPath<'a>,
    /// The header fields, with the client's own `Accept-Encoding`: the platform replaces it.
    pub fields: &'a F,
}

/// A release that files are served from.
#[derive(Debug, Clone, Copy)]
pub struct ServedRelease<'m> {
    /// The pointer, which has the time of the last rollback.
    pub pointer: &'m Pointer,
    /// The manifest of the release.
    pub manifest: &'m Manifest,
}

/// The response to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AssetResponse<'m> {
    /// A redirect (RFC 9110 §15.4).
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: u16,
        /// The header fields, with `Location`.
        fields: FieldLines<'m>,
    },
    /// A file, parts of it, or 304.
    File(Box<FileResponse<'m>>),
    /// The release has no such file.
    NotFound,
}

/// The content of a response (RFC 9110 §6.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content<'m> {
    /// Nothing.
    None,
    /// A whole body.
    Whole(&'m FileBody),
    /// Parts of a body. If there are several, text stands between them (`multipart/byteranges`).
    Parts {
        /// The body.
        body: &'m FileBody,
        /// The parts, in order.
        parts: Vec<ContentPart>,
        /// The length of all parts together, in bytes.
        length: u64,
    },
}

/// A part of the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentPart {
    /// Text of a multipart body: its boundaries and header fields.
    Text(String),
    /// A range of bytes of the body.
    Bytes(ops::Range<u64>),
}

/// Returns the response from a release. The caller passes the current one, or the one before it if
/// KV does not return the bytes.
///
/// # Errors
/// [`AssetError`] if a precondition fails, or no representation fits the range or
/// `Accept-Encoding`.
///
/// # Examples
///
/// ```
/// use http_semantics::fields::HeaderSection;
/// use http_semantics::request_target::RequestTarget;
/// use static_assets::AssetPath;
/// use static_assets::manifest::Manifest;
/// use static_assets::release::Pointer;
/// use static_assets::response::*;
///
/// let pointer = Pointer::parse(r#"{"current": "20261121T114435Z-9f86d081", "switchedMs": 0}"#)?;
/// let manifest = Manifest::parse(
///     r#"{"version": 1, "id": "20261121T114435Z-9f86d081", "createdMs": 0, "files": [
///         {"p": "/404.html", "b": {"h": "0b8e5a1c", "n": 90}, "t": "text/html", "m": 0},
///         {"p": "/about.html", "b": {"h": "27bc102a", "n": 76}, "t": "text/html", "m": 0}
///     ]}"#,
/// )?;
/// let release = ServedRelease { pointer: &pointer, manifest: &manifest };
/// let get = |url| {
///     let (target, fields) = (&RequestTarget::parse(url), &HeaderSection::default());
///     let path = &AssetPath::parse(&target.path);
///     let request = AssetRequest { method: "GET", target, path, fields };
///     match from_release(release, &request)? {
///         AssetResponse::NotFound => not_found(release, &request),
///         found => Ok(found),
///     }
/// };
///
/// // `/about` shows the page, so the name of its file redirects there.
/// let response = get("https://example.com/about.html")?;
/// let AssetResponse::Redirect { status: 307, fields } = response else { panic!() };
/// assert!(fields.contains(&("location".into(), "/about".into())));
///
/// let AssetResponse::File(page) = get("https://example.com/abuot")? else { panic!() };
/// assert_eq!((page.status, &*page.file.path), (404, "/404.html"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn from_release<'m, F: Fields>(
    release: ServedRelease<'m>,
    request: &AssetRequest<'_, F>,
) -> Result<AssetResponse<'m>, AssetError> {
    let manifest = release.manifest;
    let redirect = |status, location, fixed| {
        Ok(AssetResponse::Redirect {
            status,
            fields: header_fields::of_redirect(location, header_changes(release, request), fixed),
        })
    };
    let rewritten = match manifest.redirects.find(request.path, request.target.query) {
        Some(rule) if rule.status == 200 => Some(rule.location),
        Some(rule) => return redirect(rule.status, rule.location, FixedFields::Nothing),
        None => None,
    };
    let Some(path) = rewritten.as_deref().or(request.path.file()) else { return Ok(AssetResponse::NotFound) };
    let resolved = match (manifest.resolve(path), &rewritten) {
        // A rewrite never becomes a redirect.
        (PathResolution::Redirect(path), Some(_)) => manifest.resolve(&path),
        (resolved, _) => resolved,
    };
    match resolved {
        PathResolution::File(path) => representation::respond(release, &path, FileRole::Requested, request),
        // No rule may let caches store this: the next release may have a file under this path.
        PathResolution::Redirect(path) => redirect(307, location(&path, request.target.query), FixedFields::Caching),
        PathResolution::NotFound => Ok(AssetResponse::NotFound),
    }
}

/// Returns the changes that `_headers` makes to the response. If any rule is for one host, they
/// keep the response out of Workers Cache, too.
///
/// [`HeaderRules::parse`](crate::header_rules::HeaderRules::parse) has an example of rules.
#[must_use]
pub fn header_changes<F>(release: ServedRelease<'_>, request: &AssetRequest<'_, F>) -> HeaderChanges {
    let rules = &release.manifest.headers;
    let mut changes = rules.changes(&request.target.host(), request.path);
    if rules.depend_on_host() {
        // Workers Cache ignores the host.
        let (name, no_store) = workers_cache::NO_STORE;
        changes.remove.retain(|removed| removed != name);
        changes.set.retain(|(set, _)| set != name);
        changes.set.push((name.to_owned(), no_store.to_owned()));
    }
    changes
}

/// Applies `_headers` to the header fields of an error, such as the 404 of a release without a
/// page for it. Fields that describe the content or control caches stay.
pub fn change_error(lines: &mut FieldLines<'_>, changes: HeaderChanges) {
    header_fields::change(lines, changes, FixedFields::CachingAndContent);
}

/// Returns true if a previous release may serve the path: it has an extension, and not that of
/// a page.
///
/// # Examples
///
/// ```
/// use static_assets::AssetPath;
/// use static_assets::response::may_be_in_previous_release;
///
/// assert!(may_be_in_previous_release(&AssetPath::parse("/app.3f8a1c2b.js")));
/// assert!(!may_be_in_previous_release(&AssetPath::parse("/about")));
/// assert!(!may_be_in_previous_release(&AssetPath::parse("/about.html")));
/// ```
#[must_use]
pub fn may_be_in_previous_release(path: &AssetPath<'_>) -> bool {
    let Some(path) = path.file() else { return false };
    let has_extension = path.rsplit('/').next().is_some_and(|name| name.contains('.') && !name.ends_with('.'));
    has_extension && media_type::of_path(path).is_none_or(|media_type| !media_type::is_html(&media_type))
}

/// Returns the response from a previous release, so that pages that are still open find their
/// scripts and styles. Only files that are immutable (by their name or by an option of the push)
/// or may have a content hash in their name are served: another file that a release removes, such
/// as a service worker, must disappear immediately.
///
/// # Errors
/// As [`from_release`].
///
/// # Examples
///
/// ```
/// use http_semantics::fields::HeaderSection;
/// use http_semantics::request_target::RequestTarget;
/// use static_assets::AssetPath;
/// use static_assets::manifest::Manifest;
/// use static_assets::release::Pointer;
/// use static_assets::response::*;
///
/// let pointer = Pointer::parse(r#"{"current": "b", "previous": ["a"], "switchedMs": 0}"#)?;
/// let manifest = Manifest::parse(
///     r#"{"version": 1, "id": "a", "createdMs": 0, "files": [
///         {"p": "/app.3f8a1c2b.js", "b": {"h": "5d1f", "n": 9}, "t": "text/javascript", "m": 0},
///         {"p": "/sw.js", "b": {"h": "c07a", "n": 9}, "t": "text/javascript", "m": 0}
///     ]}"#,
/// )?;
/// let release = ServedRelease { pointer: &pointer, manifest: &manifest };
/// let get = |url| {
///     let (target, fields) = (&RequestTarget::parse(url), &HeaderSection::default());
///     let path = &AssetPath::parse(&target.path);
///     from_previous_release(release, &AssetRequest { method: "GET", target, path, fields })
/// };
/// // A page of release `a` that is still open needs its script.
/// assert!(matches!(get("https://example.com/app.3f8a1c2b.js")?, AssetResponse::File(_)));
/// assert_eq!(get("https://example.com/sw.js")?, AssetResponse::NotFound);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn from_previous_release<'m, F: Fields>(
    release: ServedRelease<'m>,
    request: &AssetRequest<'_, F>,
) -> Result<AssetResponse<'m>, AssetError> {
    let file = request.path.file().and_then(|path| release.manifest.file(path));
    match file.filter(|file| file.is_immutable || may_have_content_hash(&file.path)) {
        Some(file) => representation::respond(release, &file.path, FileRole::Requested, request),
        None => Ok(AssetResponse::NotFound),
    }
}

/// Why this file is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileRole {
    /// The path of the request resolves to it.
    Requested,
    /// It is the page of a single-page application, for a path that has no file.
    Fallback,
    /// It is the `404.html` for a path that has no file.
    NotFoundPage,
}

/// Returns the response to a path that has no file: the page of a single-page application, or
/// the nearest `404.html`. [`AssetResponse::NotFound`] if the client does not accept a page, or
/// the release has none.
///
/// [`from_release`] has an example.
///
/// # Errors
/// As [`from_release`].
pub fn not_found<'m, F: Fields>(
    release: ServedRelease<'m>,
    request: &AssetRequest<'_, F>,
) -> Result<AssetResponse<'m>, AssetError> {
    let accept = request.fields.get("accept");
    match release.manifest.not_found {
        NotFoundHandling::SinglePageApplication if is_navigation(request.fields, accept.as_deref()) => {
            representation::respond(release, "/index.html", FileRole::Fallback, request)
        }
        NotFoundHandling::Page if !problem::wants_json(accept.as_deref()) => {
            let page = not_found_pages(&collapse_slashes(&request.path.decodable_part()))
                .find(|page| release.manifest.file(page).is_some());
            page.map_or(Ok(AssetResponse::NotFound), |page| {
                representation::respond(release, &page, FileRole::NotFoundPage, request)
            })
        }
        _ => Ok(AssetResponse::NotFound),
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
