//! Static files out of the `assets` namespace (KV documentation, "Store and retrieve static assets").

#![forbid(unsafe_code)]

pub mod answer;
pub mod fingerprint;
pub mod header_rules;
pub mod html_handling;
pub mod keys;
pub mod line_error;
pub mod manifest;
pub mod media_type;
mod pattern;
pub mod pieces;
pub mod redirects;
pub mod release;
pub mod site;
pub mod translations;

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use http_semantics::error_response::{ErrorResponse, HttpError, UNAVAILABLE};
use http_semantics::one_of_each;
use http_semantics::range;
use http_semantics::request_target::{normal_escapes, percent_decode};
use http_semantics::status::Status;
use kv_store::limits::{Key, KeyError};

/// Why a request for a file is not answered with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AssetError {
    /// The decoded path is no key of Workers KV.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// There is no such file.
    #[error("Not found")]
    NotFound,
    /// `Accept-Encoding` takes none of the encodings that the file has (RFC 9110 §15.5.7).
    #[error("The file has none of the encodings that Accept-Encoding takes.")]
    NotAcceptable,
    /// A precondition does not hold (RFC 9110 §15.5.13).
    #[error("A precondition failed.")]
    PreconditionFailed,
    /// The file has none of the bytes that `Range` asks for; how many it has (RFC 9110 §15.5.17).
    #[error("The file has {0} bytes, and none of those that Range asks for.")]
    RangeNotSatisfiable(u64),
}

impl HttpError for AssetError {
    fn response(&self) -> ErrorResponse {
        let told = |status, code| ErrorResponse::new(status, code, self.to_string());
        match self {
            Self::Key(error) => error.response(),
            Self::NotFound => told(Status::NotFound, "not_found"),
            Self::NotAcceptable => told(Status::NotAcceptable, "not_acceptable").with_field("Vary", "Accept-Encoding"),
            Self::PreconditionFailed => told(Status::PreconditionFailed, "precondition_failed"),
            Self::RangeNotSatisfiable(length) => told(Status::RangeNotSatisfiable, "range_not_satisfiable")
                .with_field("Content-Range", range::unsatisfied(*length)),
        }
    }

    fn examples() -> Vec<(Self, &'static str)> {
        one_of_each! {
            Self::Key(_) => Self::Key(KeyError::TooLong(513)), "The path is too long to be a key of Workers KV.";
            Self::NotFound => Self::NotFound, "No file answers the path, or the path is not one that a file can have.";
            Self::NotAcceptable => Self::NotAcceptable,
                "`Accept-Encoding` forbids every encoding that the file has, the plain one among them.";
            Self::PreconditionFailed => Self::PreconditionFailed,
                "`If-Match` or `If-Unmodified-Since` does not hold for the file.";
            Self::RangeNotSatisfiable(_) => Self::RangeNotSatisfiable(1000),
                "`Range` asks for bytes behind the end of the file, whose length `Content-Range` tells.";
        }
    }
}

/// Why a file cannot be sent although there is one, or what says which files there are cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// Workers KV does not answer, or with what cannot be read. The text is for the log.
    #[error("{0}")]
    Unavailable(String),
    /// The key of the file's bytes, which its release names, holds nothing, or bytes of another length.
    #[error("{0} is not there, or not whole")]
    Missing(String),
}

impl FileError {
    /// Says why, for the log.
    #[must_use]
    pub fn unavailable(cause: &impl ToString) -> Self {
        Self::Unavailable(cause.to_string())
    }

    /// Names the key, for the log.
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
                "Workers KV does not answer, and nothing that is remembered may be used in its place.";
            Self::Missing(_) => Self::Missing("blob/0123".to_owned()),
                "Workers KV does not show the bytes of a file here that the release has. If that lasts, push the files again.";
        }
    }
}

/// The file that answers `/`.
const INDEX: Key<'static> = Key::literal("index.html");

/// The path of a request as files have it: percent-decoded once.
///
/// # Errors
/// [`AssetError::NotFound`] for what names no file: broken percent-encoding, bytes that are no UTF-8, NUL, `\`, which some systems take
/// for a slash, and segments `.` and `..`, which only an encoded slash can have left there.
pub fn decode(path: &str) -> Result<Cow<'_, str>, AssetError> {
    let decoded = percent_decode(path).map_err(|_| AssetError::NotFound)?;
    let is_hidden = decoded.trim_start_matches('/').starts_with(keys::PREFIX);
    let names_no_file =
        decoded.contains(['\0', '\\']) || decoded.split('/').any(|segment| matches!(segment, "." | ".."));
    if is_hidden || names_no_file { Err(AssetError::NotFound) } else { Ok(decoded) }
}

/// The path of a request, as the files, `_redirects` and `_headers` of a release see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AssetPath<'a> {
    /// One that may name a file, as [`decode`] gives it.
    Decoded(Cow<'a, str>),
    /// One that names no file, as it was sent: nobody can say what `/50%` or `/caf%E9` is,
    /// decoded. It gets what any path gets that has no file: the redirect of a rule with
    /// placeholders, the page of a single-page application, or the nearest `404.html`.
    Encoded(Cow<'a, str>),
}

impl<'a> AssetPath<'a> {
    /// Reads the path of a request.
    #[must_use]
    pub fn of(path: &'a str) -> Self {
        // The escapes of unreserved characters mean the characters, whatever stands beside them
        // (RFC 3986 §6.2.2.2).
        decode(path).map_or_else(|_| Self::Encoded(normal_escapes(path)), Self::Decoded)
    }

    /// The path of the file that it names; `None` where it names none.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        match self {
            Self::Decoded(path) => Some(path),
            Self::Encoded(_) => None,
        }
    }

    /// What rules are compared with.
    pub(crate) fn text(&self) -> &str {
        let (Self::Decoded(path) | Self::Encoded(path)) = self;
        path
    }

    /// True where the escapes in it are those that were sent.
    pub(crate) fn is_encoded(&self) -> bool {
        matches!(self, Self::Encoded(_))
    }

    /// The decoded path as far as it has names: that of the folder which has no such file.
    pub(crate) fn named(&self) -> Cow<'_, str> {
        let path = match self {
            Self::Decoded(path) => return Cow::Borrowed(path),
            Self::Encoded(path) => path,
        };
        let mut named = String::with_capacity(path.len());
        for segment in path.split('/').skip(1) {
            named.push('/');
            match decode(segment) {
                Ok(segment) => named.push_str(&segment),
                Err(_) => break,
            }
        }
        Cow::Owned(named)
    }
}

/// True where a path may be one that is spelled otherwise in Normalization Form C, in which
/// `kv-edge assets push` stores the names of files: nothing before U+0300, the first combining
/// character, is (UAX #15, "Detecting Normalization Forms").
#[must_use]
pub fn may_be_decomposed(path: &str) -> bool {
    path.chars().any(|character| character >= '\u{300}')
}

/// What a path of an URL must escape (URL Standard, "path percent-encode set"), and `%` itself: the path is decoded.
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

/// A decoded path as an URL has it.
#[must_use]
pub fn encode(path: &str) -> Cow<'_, str> {
    utf8_percent_encode(path, PATH).into()
}

/// A path with one slash where there are several: two at its start would name another host.
pub(crate) fn single_slashes(path: &str) -> Cow<'_, str> {
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

/// The key of a file that was written the documented way, under its own name: the decoded path without leading slashes; `/` is
/// `index.html`.
///
/// # Errors
/// [`AssetError::Key`] where the path is no key of Workers KV.
pub fn plain_key(path: &str) -> Result<Key<'_>, AssetError> {
    match path.trim_start_matches('/') {
        "" => Ok(INDEX),
        name => Ok(Key::new(name)?),
    }
}

/// The `Content-Type` of a key, by its extension. As documented, text and JavaScript carry `charset=utf-8`, and what has no
/// known extension is text.
#[must_use]
pub fn content_type(key: &str) -> Cow<'static, str> {
    media_type::of_path(key).unwrap_or(Cow::Borrowed("text/plain; charset=utf-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of a path as a request has it.
    fn key(path: &str) -> Result<String, AssetError> {
        let decoded = decode(path)?;
        plain_key(&decoded).map(|key| key.as_str().to_owned())
    }

    #[test]
    fn key_is_the_path_decoded_once() {
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
    fn what_names_no_file_is_not_found_without_a_look() {
        for path in [
            // Broken, and bytes that are no UTF-8: overlong, half of a character, half of a surrogate pair (RFC 3629 §3).
            "/%",
            "/%2",
            "/%zz",
            "/%+1",
            "/%ff",
            "/%c0%af",
            "/%e2%82",
            "/%ed%a0%80",
            // RFC 9110 §5.5: NUL is no part of any name that is sent.
            "/a%00",
            "/a%5Cb",
            "/%00",
            "/a%00.html",
            // A segment that was none before the slashes were decoded (RFC 3986 §3.3).
            "/%2E%2e",
            "/..%2Fa",
            "/a%2f..%2fb",
            "/a%2F.",
            "/.%2f",
            "//%2e%2e//",
            // What stands behind every release.
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
    fn what_is_no_key_is_an_error() {
        let long = format!("/{}", "%61".repeat(513));
        assert_eq!(key(&long), Err(AssetError::Key(KeyError::TooLong(513))));
    }

    #[test]
    fn what_has_no_known_extension_is_text() {
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
