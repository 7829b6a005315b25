//! The manifest of a release: which files it has, and what is known of each. `kv-edge assets push` writes it, the Worker reads it.

use serde::{Deserialize, Serialize};

use super::header_rules::HeaderRules;
use super::html_handling::{HtmlHandling, Resolved};
use super::redirects::Redirects;
use http_semantics::accept_encoding::Coding;
use kv_store::record::{self, BrokenRecord};

/// The form of the manifests that this code writes and reads.
pub const VERSION: u32 = 1;

/// A release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// [`VERSION`]
    pub version: u32,
    /// The name of the release, such as `20261121T114435Z-9f86d081`: in their order, later ones come behind earlier ones.
    pub id: String,
    /// When it was pushed, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Under which paths HTML is served.
    #[serde(default)]
    pub html_handling: HtmlHandling,
    /// What answers where there is no file.
    #[serde(default)]
    pub not_found: NotFound,
    /// True where keys that are no part of the release are served too, written as documented: `wrangler kv key put index.html`.
    #[serde(default = "yes")]
    pub plain_keys: bool,
    /// `_redirects`
    #[serde(default)]
    pub redirects: Redirects,
    /// `_headers`
    #[serde(default)]
    pub headers: HeaderRules,
    /// The files, sorted by [`File::path`].
    pub files: Vec<File>,
}

/// What answers where there is no file (`not_found_handling` of Workers static assets).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotFound {
    /// The nearest `404.html`, with 404.
    #[default]
    #[serde(rename = "404-page")]
    Page,
    /// For navigations `/index.html` with 200, else a 404.
    SinglePageApplication,
    /// A plain 404.
    None,
}

/// A file of a release. One letter a member: a manifest has thousands of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Where it stands in the folder that was pushed, decoded, with a leading slash: `/docs/about.html`.
    #[serde(rename = "p")]
    pub path: Box<str>,
    /// Its bytes as they are.
    #[serde(rename = "b")]
    pub body: Body,
    /// Its `Content-Type`.
    #[serde(rename = "t")]
    pub media_type: Box<str>,
    /// `Last-Modified`: when a release first had it under this path with these bytes, in seconds since the Unix epoch.
    #[serde(rename = "m")]
    pub modified_seconds: u64,
    /// True where its name changes with its bytes, so that it can be kept for ever.
    #[serde(rename = "i", default, skip_serializing_if = "is_false")]
    pub is_immutable: bool,
    /// Its bytes in other encodings, smallest first.
    #[serde(rename = "e", default, skip_serializing_if = "Vec::is_empty")]
    pub encoded: Vec<Encoded>,
    /// Its language, a tag (RFC 5646), where that is known.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub language: Option<Box<str>>,
    /// Other languages of the same page, `/about.de.html` of `/about.html`, sorted by tag.
    #[serde(rename = "v", default, skip_serializing_if = "Vec::is_empty")]
    pub translations: Vec<Translation>,
}

/// Bytes in KV.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// Of all its bytes: [`Hash`](http_semantics::content_hash::hash).
    #[serde(rename = "h")]
    pub hash: Box<str>,
    /// How many there are.
    #[serde(rename = "n")]
    pub length: u64,
    /// The parts that stand under keys of their own, in their order; none where all of it stands under its own hash.
    #[serde(rename = "c", default, skip_serializing_if = "Vec::is_empty")]
    pub chunks: Vec<Chunk>,
}

/// A part of a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Of its bytes.
    #[serde(rename = "h")]
    pub hash: Box<str>,
    /// How many there are.
    #[serde(rename = "n")]
    pub length: u64,
}

/// A file in another encoding (RFC 9110 §8.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encoded {
    /// Which.
    #[serde(rename = "c")]
    pub coding: Coding,
    /// The encoded bytes.
    #[serde(rename = "b")]
    pub body: Body,
}

/// Another language of a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Translation {
    /// Its tag (RFC 5646), as the name of the file has it.
    #[serde(rename = "l")]
    pub language: Box<str>,
    /// The path of the file in this manifest.
    #[serde(rename = "p")]
    pub path: Box<str>,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// [`BrokenRecord`] where it is none, or one of another [`VERSION`].
    pub fn parse(json: &str) -> Result<Self, BrokenRecord> {
        let mut manifest: Self = record::parse(json)?;
        if manifest.version != VERSION {
            return Err(BrokenRecord::of_kind("a manifest of another version"));
        }
        // `file` relies on it, whoever wrote the manifest.
        manifest.files.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        Ok(manifest)
    }

    /// The file at a path, which starts with a slash and is decoded.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&File> {
        let at = self.files.binary_search_by(|file| file.path.as_ref().cmp(path)).ok()?;
        self.files.get(at)
    }
}

impl Manifest {
    /// What a decoded path comes to.
    #[must_use]
    pub fn resolve(&self, path: &str) -> Resolved {
        self.html_handling.resolve(path, |path| self.file(path).is_some())
    }

    /// The path under which a file is served; its own where another file has the better one.
    #[must_use]
    pub fn address(&self, path: &str) -> String {
        let canonical = self.html_handling.canonical(path);
        if self.resolve(&canonical) == Resolved::File(path.to_owned()) { canonical } else { path.to_owned() }
    }
}

impl Body {
    /// The hashes of the values in KV that it is made of, and the bytes of each, in their order.
    pub fn parts(&self) -> impl Iterator<Item = (&str, u64)> {
        let whole = self.chunks.is_empty().then_some((self.hash.as_ref(), self.length));
        whole.into_iter().chain(self.chunks.iter().map(|chunk| (chunk.hash.as_ref(), chunk.length)))
    }
}

impl File {
    /// All its bodies: as it is, and encoded.
    pub fn bodies(&self) -> impl Iterator<Item = &Body> {
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
