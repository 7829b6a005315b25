//! Static files and translated pages from Workers KV: which file is served for a path, and with
//! which header fields, language, encoding and bytes (KV documentation, "Store and retrieve
//! static assets"; Workers static assets, "Headers", "Redirects" and "HTML handling").
//!
//! The crate has no clock and does no I/O. It says which values of KV to read; the Worker reads
//! them.
//!
//! # Releases
//!
//! `kv-edge assets push` uploads a folder as a **release** ([`release`]). The bytes of files are
//! stored once, under their hash; the release itself is one record, its **manifest**. A third
//! kind of key, the **pointer**, names the release that is served. It is written last, so no
//! visitor sees half of a release, and a rollback only writes it again.
//!
//! ```text
//! key                           value
//!
//! kv-edge:current               {"current": "20261121T…", "previous": ["20261120T…"], …}
//!     │
//!     ▼
//! kv-edge:release:20261121T…    {"files": [{"p": "/about.html", "b": {"h": "27bc…", …}, …}], …}
//!     │
//!     ▼
//! kv-edge:blob:27bc…            <!DOCTYPE html>…
//! ```
//!
//! Pushes, rollbacks and `assets gc` say in a [`lease`] that they are running. [`changes`]
//! compares two releases, and [`rollback`] goes back to an earlier one.
//!
//! Files that were put under their own names, as the documentation shows it (`wrangler kv key
//! put index.html`), are served as well: see [`unversioned_key`].
//!
//! # Manifest
//!
//! A [`manifest`] lists the files: path, hash, media type, date, encodings, translations. It
//! also has the rules of the release. An isolate has the release that it serves in memory
//! ([`asset_store`]), with the manifests of some previous ones ([`manifest_cache`]).
//!
//! # `_headers` and `_redirects`
//!
//! Both files have rules: [`header_rules`] set and remove header fields, [`redirect_rules`]
//! redirect a path or rewrite it. Both match paths with the same patterns: `*` and `:name`.
//!
//! # Paths
//!
//! [`AssetPath`] decodes the path of a request. [`html_handling`] decides which file it means,
//! so that `/about` shows `about.html`, and redirects other spellings of the path.
//!
//! # Representations
//!
//! A file can have several representations (RFC 9110 §3.2): languages and encodings. [`response`]
//! selects one, evaluates preconditions and ranges, and makes the header fields. [`pieces`]
//! lists the values of KV that its bytes are read from.
//!
//! # Example
//!
//! ```
//! use http_semantics::fields::HeaderSection;
//! use http_semantics::request_target::RequestTarget;
//! use static_assets::AssetPath;
//! use static_assets::response::{AssetResponse, AssetRequest, ServedRelease, from_release};
//! use static_assets::manifest::Manifest;
//! use static_assets::release::Pointer;
//!
//! let manifest = Manifest::parse(
//!     r#"{"version": 1, "id": "20261121T114435Z-9f86d081", "createdMs": 1795261475000, "files": [
//!         {"p": "/about.html", "b": {"h": "27bc102a", "n": 76}, "t": "text/html",
//!          "m": 1795261475}
//!     ]}"#,
//! )?;
//! let pointer = Pointer::switched(None, &manifest.id, 5, 1_795_261_475_000);
//! let release = ServedRelease { pointer: &pointer, manifest: &manifest };
//!
//! let target = RequestTarget::parse("https://example.com/about");
//! let path = AssetPath::parse(&target.path);
//! let fields = HeaderSection::from(&[("if-none-match", "\"27bc102a\"")]);
//! let request = AssetRequest { method: "GET", target: &target, path: &path, fields: &fields };
//!
//! let response = from_release(release, &request)?;
//! let AssetResponse::File(response) = response else { panic!("the file exists") };
//! assert_eq!((response.status, &*response.file.path), (304, "/about.html"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod allocation;
pub mod asset_store;
pub mod changes;
pub mod fingerprint;
pub mod header_rules;
pub mod html_handling;
pub mod keys;
pub mod lease;
pub mod line_error;
pub mod manifest;
pub mod manifest_cache;
pub mod media_type;
mod pattern;
pub mod pieces;
pub mod redirect_rules;
pub mod release;
pub mod response;
pub mod rollback;
pub mod translations;

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use http_semantics::error_response::{ErrorResponse, HttpError, UNAVAILABLE};
use http_semantics::one_of_each;
use http_semantics::range;
use http_semantics::request_target::{normalize_escapes, percent_decode};
use http_semantics::status::Status;
use kv_store::limits::{Key, KeyError};

/// Why the client does not get the file: the request is at fault, or there is no such file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AssetError {
    /// The decoded path is longer than a key of Workers KV can be (512 bytes).
    #[error(transparent)]
    Key(#[from] KeyError),
    /// There is no such file.
    #[error("Not found")]
    NotFound,
    /// `Accept-Encoding` refuses every encoding that the file has (RFC 9110 §15.5.7).
    #[error("Accept-Encoding refuses every encoding that the file has.")]
    NotAcceptable,
    /// `If-Match` or `If-Unmodified-Since` is false (RFC 9110 §15.5.13).
    #[error("A precondition failed.")]
    PreconditionFailed,
    /// `Range` asks for no byte that the file has; the length of the file in bytes (RFC 9110
    /// §15.5.17).
    #[error("The file has {0} bytes, and none of those that Range asks for.")]
    RangeNotSatisfiable(u64),
}

impl HttpError for AssetError {
    fn response(&self) -> ErrorResponse {
        let error = |status, code| ErrorResponse::new(status, code, self.to_string());
        match self {
            Self::Key(error) => error.response(),
            Self::NotFound => error(Status::NotFound, "not_found"),
            Self::NotAcceptable => error(Status::NotAcceptable, "not_acceptable").with_field("Vary", "Accept-Encoding"),
            Self::PreconditionFailed => error(Status::PreconditionFailed, "precondition_failed"),
            Self::RangeNotSatisfiable(length) => error(Status::RangeNotSatisfiable, "range_not_satisfiable")
                .with_field("Content-Range", range::unsatisfied_range(*length)),
        }
    }

    fn examples() -> Vec<(Self, &'static str)> {
        one_of_each! {
            Self::Key(_) => Self::Key(KeyError::TooLong(513)), "The path is too long to be a key of Workers KV.";
            Self::NotFound => Self::NotFound, "There is no file for the path, or the path is not one that a file can have.";
            Self::NotAcceptable => Self::NotAcceptable,
                "`Accept-Encoding` forbids every encoding that the file has, the plain one among them.";
            Self::PreconditionFailed => Self::PreconditionFailed,
                "`If-Match` or `If-Unmodified-Since` does not hold for the file.";
            Self::RangeNotSatisfiable(_) => Self::RangeNotSatisfiable(1000),
                "`Range` asks only for bytes beyond the end of the file, whose length `Content-Range` gives.";
        }
    }
}

/// Why a file cannot be sent although the request is fine: KV does not have, or does not give,
/// what the release needs. The status is 503.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// KV fails, the pointer or a manifest cannot be parsed, or no manifest is there. The text is
    /// for the log.
    #[error("{0}")]
    Unavailable(String),
    /// KV does not have the bytes that the release names under this key, or not all of them.
    #[error("{0} is missing or incomplete")]
    Missing(String),
}

impl FileError {
    /// Returns the error for a failed read; the cause is for the log.
    #[must_use]
    pub fn unavailable(cause: &impl ToString) -> Self {
        Self::Unavailable(cause.to_string())
    }

    /// Returns the error for bytes that are missing; the key is for the log.
    #[must_use]
    pub fn missing(key: &Key<'_>) -> Self {
        Self::Missing(key.as_str().to_owned())
    }
}

impl HttpError for FileError {
    fn response(&self) -> ErrorResponse {
        let (code, seconds) = match self {
            Self::Unavailable(_) => ("kv_unavailable", 5),
            Self::Missing(_) => ("file_missing", 30),
        };
        ErrorResponse::new(Status::ServiceUnavailable, code, UNAVAILABLE).because(self).retry_after(seconds)
    }

    fn examples() -> Vec<(Self, &'static str)> {
        one_of_each! {
            Self::Unavailable(_) => Self::Unavailable("KV GET failed: 500 Internal Server Error".to_owned()),
                "Workers KV fails or does not respond, and nothing that is remembered may be used in its place.";
            Self::Missing(_) => Self::Missing("blob/0123".to_owned()),
                "Workers KV does not have all bytes of a file of the release here. If that lasts, push the files again.";
        }
    }
}

/// The file that serves `/`.
const INDEX: Key<'static> = Key::literal("index.html");

/// Returns the path of a request, percent-decoded once, as a manifest spells paths.
///
/// [`AssetPath::parse`] has an example.
///
/// # Errors
/// [`AssetError::NotFound`] if the path cannot name a file:
///
/// - Its percent-encoding is broken, or is not UTF-8.
/// - It contains NUL, or `\`, which some systems read as a slash.
/// - It has a segment `.` or `..`, which only an encoded slash can have left there.
/// - It begins with [`keys::PREFIX`].
pub fn decode(path: &str) -> Result<Cow<'_, str>, AssetError> {
    let decoded = percent_decode(path).map_err(|_| AssetError::NotFound)?;
    let is_hidden = decoded.trim_start_matches('/').starts_with(keys::PREFIX);
    let names_no_file =
        decoded.contains(['\0', '\\']) || decoded.split('/').any(|segment| matches!(segment, "." | ".."));
    if is_hidden || names_no_file { Err(AssetError::NotFound) } else { Ok(decoded) }
}

/// The path of a request, as files and the rules of a release are compared with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AssetPath<'a> {
    /// A path that can name a file, decoded by [`decode`].
    Decoded(Cow<'a, str>),
    /// A path that cannot name a file, such as `/50%` or `/caf%E9`: as it was sent, but with
    /// escapes of unreserved characters decoded. It gets what any missing file gets: the redirect
    /// of a rule with placeholders, the page of a single-page application, or the nearest
    /// `404.html`.
    Encoded(Cow<'a, str>),
}

impl<'a> AssetPath<'a> {
    /// Decodes the path of a request if it can name a file.
    ///
    /// # Examples
    ///
    /// ```
    /// use static_assets::AssetPath;
    ///
    /// assert_eq!(AssetPath::parse("/caf%C3%A9"), AssetPath::Decoded("/café".into()));
    /// // An encoded slash may not hide a dot segment, and `%` alone encodes nothing.
    /// assert_eq!(AssetPath::parse("/docs%2F..%2Fsecret").file(), None);
    /// assert_eq!(AssetPath::parse("/50%"), AssetPath::Encoded("/50%".into()));
    /// ```
    #[must_use]
    pub fn parse(path: &'a str) -> Self {
        // Escapes of unreserved characters are equivalent to the characters (RFC 3986 §6.2.2.2),
        // even if another escape of the path is broken.
        decode(path).map_or_else(|_| Self::Encoded(normalize_escapes(path)), Self::Decoded)
    }

    /// Returns the decoded path; `None` if it cannot name a file.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        match self {
            Self::Decoded(path) => Some(path),
            Self::Encoded(_) => None,
        }
    }

    /// Returns the text that rules are compared with.
    pub(crate) fn text(&self) -> &str {
        let (Self::Decoded(path) | Self::Encoded(path)) = self;
        path
    }

    /// Returns true if the path still has its escapes, because it cannot be decoded.
    pub(crate) fn is_encoded(&self) -> bool {
        matches!(self, Self::Encoded(_))
    }

    /// Returns the decoded path up to the first segment that cannot be decoded: the folder in
    /// which a `404.html` is looked for.
    pub(crate) fn decodable_part(&self) -> Cow<'_, str> {
        let path = match self {
            Self::Decoded(path) => return Cow::Borrowed(path),
            Self::Encoded(path) => path,
        };
        let mut decoded = String::with_capacity(path.len());
        for segment in path.split('/').skip(1) {
            decoded.push('/');
            match decode(segment) {
                Ok(segment) => decoded.push_str(&segment),
                Err(_) => break,
            }
        }
        Cow::Owned(decoded)
    }
}

/// Returns true if Normalization Form C may spell the path differently. `kv-edge assets push`
/// stores the names of files in that form. No character before U+0300, the first combining
/// character, changes (UAX #15, "Detecting Normalization Forms").
///
/// # Examples
///
/// ```
/// use static_assets::may_be_decomposed;
///
/// assert!(may_be_decomposed("/cafe\u{301}"), "an `e` and a combining accent, as on macOS");
/// assert!(!may_be_decomposed("/café"));
/// ```
#[must_use]
pub fn may_be_decomposed(path: &str) -> bool {
    path.chars().any(|character| character >= '\u{300}')
}

/// Characters that are escaped in the path of a URL (URL Standard, "path percent-encode set"),
/// `%`, because the path is decoded, and `\`, because browsers read it as a slash.
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'}');

/// Returns a decoded path, percent-encoded for a URL.
#[must_use]
pub fn encode(path: &str) -> Cow<'_, str> {
    utf8_percent_encode(path, PATH).into()
}

/// Returns the path with each run of slashes as one slash. Two slashes at the start would name
/// another host.
pub(crate) fn collapse_slashes(path: &str) -> Cow<'_, str> {
    if !path.contains("//") {
        return Cow::Borrowed(path);
    }
    let mut single = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !single.ends_with('/') {
            single.push(character);
        }
    }
    Cow::Owned(single)
}

/// Returns the unversioned key of a file: the key that `wrangler kv key put` gave it, which
/// belongs to no release. It is the decoded path without leading slashes; for `/` it is
/// `index.html`.
///
/// # Errors
/// [`AssetError::Key`] if the path is longer than a key of Workers KV can be.
///
/// # Examples
///
/// ```
/// use static_assets::unversioned_key;
///
/// // `wrangler kv key put docs/about.html …` stored the file.
/// assert_eq!(unversioned_key("/docs/about.html")?.as_str(), "docs/about.html");
/// assert_eq!(unversioned_key("/")?.as_str(), "index.html");
/// # Ok::<(), static_assets::AssetError>(())
/// ```
pub fn unversioned_key(path: &str) -> Result<Key<'_>, AssetError> {
    match path.trim_start_matches('/') {
        "" => Ok(INDEX),
        name => Ok(Key::new(name)?),
    }
}

/// Returns the `Content-Type` of an unversioned key, by its extension. As documented, text and
/// JavaScript carry `charset=utf-8`, and an unknown extension means plain text.
///
/// # Examples
///
/// ```
/// use static_assets::content_type;
///
/// assert_eq!(content_type("site.css"), "text/css; charset=utf-8");
/// assert_eq!(content_type("LICENSE"), "text/plain; charset=utf-8");
/// ```
#[must_use]
pub fn content_type(key: &str) -> Cow<'static, str> {
    media_type::of_path(key).unwrap_or(Cow::Borrowed("text/plain; charset=utf-8"))
}

// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the unversioned key for the path of a request.
    fn key(path: &str) -> Result<String, AssetError> {
        let decoded = decode(path)?;
        unversioned_key(&decoded).map(|key| key.as_str().to_owned())
    }

    #[test]
    fn the_unversioned_key_is_the_path_decoded_once() {
        for (path, expected) in [
            ("/", "index.html"),
            ("//", "index.html"),
            ("/index.html", "index.html"),
            ("//a//b/", "a//b/"),
            ("/a%20b%2Fc.txt", "a b/c.txt"),
            ("/100%2525", "100%25"),
            ("/%252e%252e/a", "%2e%2e/a"),
            ("/%E2%82%AC.svg", "€.svg"),
            ("/.../..a/a../.well-known", ".../..a/a../.well-known"),
            ("/a/kv-edge:current", "a/kv-edge:current"),
            ("/kv-edge", "kv-edge"),
        ] {
            assert_eq!(key(path).as_deref(), Ok(expected), "{path}");
        }
    }

    #[test]
    fn paths_that_cannot_name_a_file_are_not_found() {
        for path in [
            // Broken escapes, and bytes that are not UTF-8: overlong, half of a character, half
            // of a surrogate pair (RFC 3629 §3).
            "/%",
            "/%2",
            "/%zz",
            "/%+1",
            "/%ff",
            "/%c0%af",
            "/%e2%82",
            "/%ed%a0%80",
            // RFC 9110 §5.5: NUL is invalid in a field value, such as `Location`.
            "/a%00",
            "/a%5Cb",
            "/%00",
            "/a%00.html",
            // Dot segments that only exist once the escaped slashes are decoded (RFC 3986 §3.3).
            "/%2E%2e",
            "/..%2Fa",
            "/a%2f..%2fb",
            "/a%2F.",
            "/.%2f",
            "//%2e%2e//",
            // Keys of releases.
            "/kv-edge:current",
            "/kv-edge%3Acurrent",
            "//kv-edge:blob:00",
            "/%2Fkv-edge:push:a",
            "/%6bv-edge:release:a",
            "/kv-edge:",
        ] {
            assert_eq!(key(path), Err(AssetError::NotFound), "{path}");
        }
    }

    #[test]
    fn a_path_longer_than_a_key_is_an_error() {
        let long = format!("/{}", "%61".repeat(513));
        assert_eq!(key(&long), Err(AssetError::Key(KeyError::TooLong(513))));
    }

    #[test]
    fn an_unknown_extension_is_plain_text() {
        for (key, expected) in [
            ("index.html", "text/html; charset=utf-8"),
            ("photo.PNG", "image/png"),
            ("no-extension", "text/plain; charset=utf-8"),
            ("folder.png/no-extension", "text/plain; charset=utf-8"),
            ("strange.qqq", "text/plain; charset=utf-8"),
        ] {
            assert_eq!(content_type(key), expected, "{key}");
        }
    }
}
