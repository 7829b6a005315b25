//! The manifest of a release: its files, what is known of each, and its rules. `kv-edge assets
//! push` writes it, the Worker reads it.

use serde::{Deserialize, Serialize};

use super::header_rules::HeaderRules;
use super::html_handling::{HtmlHandling, PathResolution};
use super::redirect_rules::RedirectRules;
use http_semantics::accept_encoding::ContentCoding;
use kv_store::record::{self, BrokenRecord};

/// The version of the record format that this code writes and reads.
pub const VERSION: u32 = 1;

/// The record that describes a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always [`VERSION`].
    pub version: u32,
    /// The id of the release, such as `20261121T114435Z-9f86d081`. Ids sort by time.
    pub id: String,
    /// When the release was pushed, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// How paths and HTML files go together.
    #[serde(default)]
    pub html_handling: HtmlHandling,
    /// What serves a path that has no file.
    #[serde(default)]
    pub not_found: NotFoundHandling,
    /// True if files under keys that belong to no release are served as well, such as one that
    /// `wrangler kv key put index.html` wrote.
    #[serde(rename = "plainKeys", default = "yes")]
    pub unversioned_keys: bool,
    /// The rules of `_redirects`.
    #[serde(default)]
    pub redirects: RedirectRules,
    /// The rules of `_headers`.
    #[serde(default)]
    pub headers: HeaderRules,
    /// The files, sorted by [`File::path`].
    pub files: Vec<File>,
}

/// What serves a path that has no file (`not_found_handling` of Workers static assets).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotFoundHandling {
    /// The nearest `404.html`, with 404.
    #[default]
    #[serde(rename = "404-page")]
    Page,
    /// `/index.html` with 200 if the request is a navigation, else a 404.
    SinglePageApplication,
    /// A plain 404.
    None,
}

/// A file of a release. The members of its JSON have one letter each, because a manifest has
/// thousands of files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its path in the folder that was pushed, decoded, with a leading slash:
    /// `/docs/about.html`.
    #[serde(rename = "p")]
    pub path: Box<str>,
    /// Its bytes, not encoded.
    #[serde(rename = "b")]
    pub body: FileBody,
    /// Its media type, for `Content-Type`.
    #[serde(rename = "t")]
    pub media_type: Box<str>,
    /// Since when each release has had these bytes under this path, in seconds since the Unix
    /// epoch; a rollback in between counts as a change. For `Last-Modified`.
    #[serde(rename = "m")]
    pub modified_seconds: u64,
    /// True if its name changes with its bytes, so that caches may store it for a year.
    #[serde(rename = "i", default, skip_serializing_if = "is_false")]
    pub is_immutable: bool,
    /// Its content encodings (RFC 9110 §8.4), the shortest first.
    #[serde(rename = "e", default, skip_serializing_if = "Vec::is_empty")]
    pub encoded: Vec<EncodedBody>,
    /// Its language tag (RFC 5646), if known.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub language: Option<Box<str>>,
    /// Translations of the page, such as `/about.de.html` of `/about.html`, sorted by tag.
    #[serde(rename = "v", default, skip_serializing_if = "Vec::is_empty")]
    pub translations: Vec<Translation>,
}

/// The bytes of a file, or of one of its encodings, as KV stores them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileBody {
    /// The hash of all bytes ([`hash`](http_semantics::content_hash::hash)).
    #[serde(rename = "h")]
    pub hash: Box<str>,
    /// The length in bytes.
    #[serde(rename = "n")]
    pub length: u64,
    /// The parts that are stored under hashes of their own, in order. Empty if the body is one
    /// value under its own hash.
    #[serde(rename = "c", default, skip_serializing_if = "Vec::is_empty")]
    pub chunks: Vec<Chunk>,
}

/// A part of a body, which is one value in KV.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The hash of its bytes.
    #[serde(rename = "h")]
    pub hash: Box<str>,
    /// The length in bytes.
    #[serde(rename = "n")]
    pub length: u64,
}

/// The bytes of a file in a content coding (RFC 9110 §8.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncodedBody {
    /// The content coding.
    #[serde(rename = "c")]
    pub coding: ContentCoding,
    /// The encoded bytes.
    #[serde(rename = "b")]
    pub body: FileBody,
}

/// A translation of a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Translation {
    /// The language tag (RFC 5646), as in the name of the file.
    #[serde(rename = "l")]
    pub language: Box<str>,
    /// The path of the translation's file in this manifest.
    #[serde(rename = "p")]
    pub path: Box<str>,
}

impl Manifest {
    /// Parses a manifest.
    ///
    /// # Errors
    /// [`BrokenRecord`] if the text is not the JSON of a manifest, or has another [`VERSION`].
    pub fn parse(json: &str) -> Result<Self, BrokenRecord> {
        let mut manifest: Self = record::parse(json)?;
        if manifest.version != VERSION {
            return Err(BrokenRecord::of_kind("a manifest of another version"));
        }
        // `file` uses binary search.
        manifest.files.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        Ok(manifest)
    }

    /// Returns the file at a decoded path, which starts with a slash.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&File> {
        let at = self.files.binary_search_by(|file| file.path.as_ref().cmp(path)).ok()?;
        self.files.get(at)
    }
}

impl Manifest {
    /// Returns what a decoded path means: a file, a redirect to where it is shown, or nothing.
    #[must_use]
    pub fn resolve(&self, path: &str) -> PathResolution {
        self.html_handling.resolve(path, |path| self.file(path).is_some())
    }

    /// Returns the path that shows a file: its canonical path, or the path of the file itself if
    /// the canonical one shows another file.
    #[must_use]
    pub fn address(&self, path: &str) -> String {
        let canonical = self.html_handling.canonical(path);
        if self.resolve(&canonical) == PathResolution::File(path.to_owned()) { canonical } else { path.to_owned() }
    }
}

impl FileBody {
    /// Returns the hash and the length in bytes of each value in KV that the body is made of, in
    /// order.
    pub fn parts(&self) -> impl Iterator<Item = (&str, u64)> {
        let whole = self.chunks.is_empty().then_some((self.hash.as_ref(), self.length));
        whole.into_iter().chain(self.chunks.iter().map(|chunk| (chunk.hash.as_ref(), chunk.length)))
    }
}

impl File {
    /// Returns all its bodies: the plain one first, then the encoded ones.
    pub fn bodies(&self) -> impl Iterator<Item = &FileBody> {
        std::iter::once(&self.body).chain(self.encoded.iter().map(|encoded| &encoded.body))
    }
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks for it.
fn is_false(value: &bool) -> bool {
    !value
}
