//! The manifest of a release: its files, what is known of each, and its rules. `kv-edge assets
//! push` writes it; the Worker and the tool read it.
//!
//! Parsing checks lengths, and what becomes a header field or a key of KV. If a value is invalid,
//! it refuses the whole manifest: the release in memory is served on, or a 503 if there is none.
//! Without the check, the runtime would refuse each response that has the value.

use serde::de::{Deserializer, Error, Unexpected};
use serde::{Deserialize, Serialize};

use super::allocation::{allocated, allocated_list};
use super::header_rules::HeaderRules;
use super::html_handling::{HtmlHandling, PathResolution};
use super::keys::is_blob_hash;
use super::redirect_rules::RedirectRules;
use http_semantics::accept_encoding::ContentCoding;
use http_semantics::fields::is_value;
use http_semantics::language::is_language_tag;
use kv_store::record::{self, BrokenRecord};

/// The version of the record format that this code writes and reads.
pub const VERSION: u32 = 1;

/// The longest body, in bytes: 2^50, far more than a push can make. Even with all that
/// `multipart/byteranges` adds, it stays below 2^53, up to which the runtime counts the bytes of a
/// stream.
const LENGTH_MAX: u64 = 1 << 50;

/// The record that describes a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always [`VERSION`].
    pub version: u32,
    /// The id of the release, such as `20261121T114435Z-9f86d081`: the time of the push (UTC),
    /// and the start of a hash of the manifest.
    pub id: String,
    /// When the release was pushed, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// How paths of URLs map to HTML files.
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
    /// The nearest `404.html`, with 404, unless the client wants JSON.
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
    #[serde(rename = "t", deserialize_with = "media_type")]
    pub media_type: Box<str>,
    /// Since when this path has these bytes, but no earlier than the last rollback before the
    /// push; in seconds since the Unix epoch. For `Last-Modified`.
    #[serde(rename = "m")]
    pub modified_seconds: u64,
    /// True if caches may store it for a year: its name has a hash of its content, or the push was
    /// told that its bytes never change.
    #[serde(rename = "i", default, skip_serializing_if = "is_false")]
    pub is_immutable: bool,
    /// Its bytes in content codings (RFC 9110 §8.4), the shortest first.
    #[serde(rename = "e", default, skip_serializing_if = "Vec::is_empty")]
    pub encoded: Vec<EncodedBody>,
    /// Its language tag (RFC 5646), if known.
    #[serde(rename = "l", default, deserialize_with = "optional_language", skip_serializing_if = "Option::is_none")]
    pub language: Option<Box<str>>,
    /// Translations of the page, such as `/about.de.html` of `/about.html`, sorted by tag.
    #[serde(rename = "v", default, skip_serializing_if = "Vec::is_empty")]
    pub translations: Vec<Translation>,
}

/// The bytes of a file, or of one of its encodings, as KV stores them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileBody {
    /// The hash of all bytes ([`hash`](http_semantics::content_hash::hash)).
    #[serde(rename = "h", deserialize_with = "hash")]
    pub hash: Box<str>,
    /// The length in bytes.
    #[serde(rename = "n", deserialize_with = "length")]
    pub length: u64,
    /// The parts that are stored under hashes of their own, in order. Empty if the body is one
    /// value under its own hash.
    #[serde(rename = "c", default, skip_serializing_if = "Vec::is_empty", deserialize_with = "chunks")]
    pub chunks: Vec<Chunk>,
}

/// A part of a body, which is one value in KV.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The hash of its bytes.
    #[serde(rename = "h", deserialize_with = "hash")]
    pub hash: Box<str>,
    /// The length in bytes.
    #[serde(rename = "n", deserialize_with = "length")]
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
    #[serde(rename = "l", deserialize_with = "language")]
    pub language: Box<str>,
    /// The path of the translation's file in this manifest.
    #[serde(rename = "p")]
    pub path: Box<str>,
}

impl Manifest {
    /// Parses a manifest.
    ///
    /// # Errors
    /// [`BrokenRecord`] if the text is not the JSON of a manifest, has another [`VERSION`], or a
    /// member cannot become the header field or the key of KV that it is for.
    ///
    /// # Examples
    ///
    /// ```
    /// use static_assets::html_handling::PathResolution;
    /// use static_assets::manifest::Manifest;
    ///
    /// let json = r#"{"version": 1, "id": "20261121T114435Z-9f86d081", "createdMs": 0, "files": [
    ///     {"p": "/about.html", "b": {"h": "27bc102a", "n": 76}, "t": "text/html", "m": 0}
    /// ]}"#;
    /// let manifest = Manifest::parse(json)?;
    /// assert_eq!(manifest.resolve("/about"), PathResolution::File("/about.html".into()));
    /// assert_eq!(manifest.file("/about.html").unwrap().body.length, 76);
    ///
    /// // The media type becomes a header field, which a line feed would end.
    /// let broken = json.replace("text/html", "text/html\\nset-cookie: a=b");
    /// assert!(Manifest::parse(&broken).is_err());
    /// # Ok::<(), kv_store::record::BrokenRecord>(())
    /// ```
    pub fn parse(json: &str) -> Result<Self, BrokenRecord> {
        let mut manifest: Self = record::parse(json)?;
        if manifest.version != VERSION {
            return Err(BrokenRecord::of_kind("a manifest of another version"));
        }
        // `file` uses binary search.
        manifest.files.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        manifest.shrink_to_fit();
        Ok(manifest)
    }

    /// Gives back the memory that lists reserved as they grew.
    fn shrink_to_fit(&mut self) {
        self.files.shrink_to_fit();
        for file in &mut self.files {
            file.body.chunks.shrink_to_fit();
            file.encoded.shrink_to_fit();
            file.encoded.iter_mut().for_each(|encoded| encoded.body.chunks.shrink_to_fit());
            file.translations.shrink_to_fit();
        }
    }

    /// Returns the bytes of memory that it takes: its lists and texts, and what the allocator adds
    /// to each. In WebAssembly that is less than twice the JSON that `kv-edge assets push` writes,
    /// without rules: a file takes 96 bytes and its texts, and its JSON has at least 105.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let files: usize = self.files.iter().map(File::owned_bytes).sum();
        let rules = self.redirects.memory_bytes() + self.headers.memory_bytes();
        size_of::<Self>() + allocated(self.id.capacity()) + allocated_list(&self.files) + files + rules
    }

    /// Returns the file at a decoded path, which starts with a slash.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&File> {
        let at = self.files.binary_search_by(|file| file.path.as_ref().cmp(path)).ok()?;
        self.files.get(at)
    }

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

// The documentation of `memory_bytes` names this size.
#[cfg(target_arch = "wasm32")]
const _: () = assert!(size_of::<File>() == 96);

impl FileBody {
    /// Returns the bytes of memory that its texts and lists take.
    fn owned_bytes(&self) -> usize {
        let chunks: usize = self.chunks.iter().map(|chunk| allocated(chunk.hash.len())).sum();
        allocated(self.hash.len()) + allocated_list(&self.chunks) + chunks
    }

    /// Returns the hash and the length in bytes of each value in KV that the body is made of, in
    /// order.
    pub fn parts(&self) -> impl Iterator<Item = (&str, u64)> {
        let whole = self.chunks.is_empty().then_some((self.hash.as_ref(), self.length));
        whole.into_iter().chain(self.chunks.iter().map(|chunk| (chunk.hash.as_ref(), chunk.length)))
    }
}

impl File {
    /// Returns the bytes of memory that its texts and lists take.
    fn owned_bytes(&self) -> usize {
        let language = self.language.as_deref().map_or(0, str::len);
        let texts = allocated(self.path.len()) + allocated(self.media_type.len()) + allocated(language);
        let bodies: usize = self.bodies().map(FileBody::owned_bytes).sum();
        let of_translation =
            |translation: &Translation| allocated(translation.language.len()) + allocated(translation.path.len());
        let translations: usize = self.translations.iter().map(of_translation).sum();
        texts + bodies + allocated_list(&self.encoded) + allocated_list(&self.translations) + translations
    }

    /// Returns all its bodies: the plain one first, then the encoded ones.
    pub fn bodies(&self) -> impl Iterator<Item = &FileBody> {
        std::iter::once(&self.body).chain(self.encoded.iter().map(|encoded| &encoded.body))
    }
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_false(value: &bool) -> bool {
    !value
}

/// Refuses a text that does not pass a check.
fn checked<E: Error>(text: &str, is_valid: fn(&str) -> bool, expected: &'static str) -> Result<(), E> {
    if is_valid(text) { Ok(()) } else { Err(E::invalid_value(Unexpected::Str(text), &expected)) }
}

/// For `Content-Type`.
fn media_type<'de, D: Deserializer<'de>>(json: D) -> Result<Box<str>, D::Error> {
    let text = Box::<str>::deserialize(json)?;
    checked(&text, |text| !text.is_empty() && is_value(text), "a media type").map(|()| text)
}

/// For `ETag`, the boundary of `multipart/byteranges`, and keys of KV.
fn hash<'de, D: Deserializer<'de>>(json: D) -> Result<Box<str>, D::Error> {
    let text = Box::<str>::deserialize(json)?;
    checked(&text, is_blob_hash, "a content hash").map(|()| text)
}

/// For `Content-Language`, `ETag` and `Link`.
fn language<'de, D: Deserializer<'de>>(json: D) -> Result<Box<str>, D::Error> {
    let text = Box::<str>::deserialize(json)?;
    checked(&text, is_language_tag, "a language tag").map(|()| text)
}

fn optional_language<'de, D: Deserializer<'de>>(json: D) -> Result<Option<Box<str>>, D::Error> {
    let text = Option::<Box<str>>::deserialize(json)?;
    text.as_deref().map_or(Ok(()), |text| checked(text, is_language_tag, "a language tag")).map(|()| text)
}

fn length<'de, D: Deserializer<'de>>(json: D) -> Result<u64, D::Error> {
    let length = u64::deserialize(json)?;
    if length > LENGTH_MAX {
        return Err(D::Error::invalid_value(Unexpected::Unsigned(length), &"the length of a body"));
    }
    Ok(length)
}

/// Refuses chunks that are longer together than [`LENGTH_MAX`]: their positions are sums of their
/// lengths.
fn chunks<'de, D: Deserializer<'de>>(json: D) -> Result<Vec<Chunk>, D::Error> {
    let chunks = Vec::<Chunk>::deserialize(json)?;
    let mut lengths = chunks.iter().map(|chunk| chunk.length);
    let is_body = lengths.try_fold(0_u64, u64::checked_add).is_some_and(|sum| sum <= LENGTH_MAX);
    if is_body { Ok(chunks) } else { Err(D::Error::custom("the chunks are too long together")) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const HASH: &str = "ba7816bf8f01cfea414140de5dae2223";

    /// A manifest of one file, with this in place of a member of the file.
    fn with(pointer: &str, value: Value) -> String {
        let body = || json!({"h": HASH, "n": 7, "c": [{"h": HASH, "n": 7}]});
        let file = json!({
            "p": "/a.html", "b": body(), "t": "text/html; charset=utf-8", "m": 1, "e": [{"c": "br", "b": body()}],
            "l": "en-GB", "v": [{"l": "de", "p": "/a.de.html"}],
        });
        let mut manifest = json!({"version": 1, "id": "i", "createdMs": 1, "files": [file]});
        *manifest.pointer_mut(&format!("/files/0{pointer}")).unwrap() = value;
        manifest.to_string()
    }

    #[test]
    fn what_cannot_become_a_header_field_or_a_key_of_kv_is_refused() {
        for (pointer, good, bad) in [
            ("/t", &["image/svg+xml", "x"][..], &["", "text/plain\n", "a\rb", "a\0", "a\u{1}", " a", "a/ü"][..]),
            ("/l", &["de", "zh-Hant-TW"], &["", "d\ne", "de\"", "de_CH", "de-"]),
            ("/v/0/l", &["de", "zh-Hant-TW"], &["", "d\ne", "de\"", "de_CH", "de-"]),
            ("/b/h", &["0", "a-Z_9"], &["", "a\nb", "a\"b", "a b", "ü", "a/b"]),
            ("/b/c/0/h", &["0", "a-Z_9"], &["", "a\nb", "a\"b", "a b", "ü", "a/b"]),
            ("/e/0/b/h", &["0", "a-Z_9"], &["", "a\nb", "a\"b", "a b", "ü", "a/b"]),
            ("/e/0/b/c/0/h", &["0", "a-Z_9"], &["", "a\nb", "a\"b", "a b", "ü", "a/b"]),
        ] {
            for text in good {
                assert!(Manifest::parse(&with(pointer, json!(text))).is_ok(), "{pointer} {text:?}");
            }
            for text in bad {
                let error = Manifest::parse(&with(pointer, json!(text))).unwrap_err();
                assert!(error.to_string().starts_with("missing or mistyped member at line 1"), "{pointer} {text:?}");
            }
        }
        for pointer in ["/b/h", "/b/c/0/h", "/e/0/b/h", "/e/0/b/c/0/h"] {
            for (digits, is_good) in [(62, true), (63, false), (600, false)] {
                let parsed = Manifest::parse(&with(pointer, json!("0".repeat(digits))));
                assert_eq!(parsed.is_ok(), is_good, "{pointer} {digits}");
            }
        }
        for pointer in ["/b/n", "/b/c/0/n", "/e/0/b/n", "/e/0/b/c/0/n"] {
            for (length, is_good) in [(0, true), (LENGTH_MAX, true), (LENGTH_MAX + 1, false), (u64::MAX, false)] {
                assert_eq!(Manifest::parse(&with(pointer, json!(length))).is_ok(), is_good, "{pointer} {length}");
            }
        }
        for pointer in ["/b/c", "/e/0/b/c"] {
            for (count, is_good) in [(0, true), (4, true), (5, false), (1 << 15, false)] {
                let chunks = vec![json!({"h": HASH, "n": LENGTH_MAX / 4}); count];
                assert_eq!(Manifest::parse(&with(pointer, json!(chunks))).is_ok(), is_good, "{pointer} {count}");
            }
        }
    }

    #[test]
    fn memory_is_counted_with_every_text_and_list() {
        let bytes = |pointer: &str, value: Value| Manifest::parse(&with(pointer, value)).unwrap().memory_bytes();
        let file = bytes("/p", json!("/a.html"));
        let empty = Manifest::parse(r#"{"version":1,"id":"i","createdMs":1,"files":[]}"#).unwrap().memory_bytes();
        // Two paths, a media type, two tags of languages and four hashes, in five lists.
        let texts = 2 * 16 + 32 + 2 * 16 + 4 * 40;
        let lists = [size_of::<File>(), size_of::<Chunk>(), size_of::<Chunk>(), size_of::<EncodedBody>()];
        let lists: usize = lists.into_iter().chain([size_of::<Translation>()]).map(allocated).sum();
        assert_eq!(file, empty + texts + lists);
        let long = "x".repeat(40);
        for (pointer, value, more) in [
            ("/p", json!(long), 48 - 16),
            ("/t", json!(long), 48 - 32),
            ("/l", json!("de-aaaaaaaa-aaaaaaaa-aaaaaaaa"), 40 - 16),
            ("/v/0/p", json!(long), 48 - 16),
            ("/b/h", json!(long), 48 - 40),
            ("/b/c/0/h", json!(long), 48 - 40),
            ("/e/0/b/h", json!(long), 48 - 40),
            ("/e/0/b/c/0/h", json!(long), 48 - 40),
        ] {
            assert_eq!(bytes(pointer, value), file + more, "{pointer}");
        }
    }

    #[test]
    fn rules_count_as_memory() {
        let with_rules = |name: &str, rules: Value| {
            let mut manifest: Value = serde_json::from_str(&with("/t", json!("text/css"))).unwrap();
            manifest[name] = rules;
            Manifest::parse(&manifest.to_string()).unwrap().memory_bytes()
        };
        let rule = |path: &str| json!([[path, "/to", 301]]);
        assert!(with_rules("redirects", rule("/a/b/c/d")) > with_rules("redirects", rule("/a")));
        let headers = |value: &str| json!([["/*", [], [["x-a", value]]]]);
        assert_eq!(with_rules("headers", headers(&"x".repeat(100))), with_rules("headers", headers("x")) + 104 - 16);
    }

    #[test]
    fn a_file_without_language_is_read_back() {
        let mut manifest = Manifest::parse(&with("/t", json!("text/html"))).unwrap();
        manifest.files[0].language = None;
        assert_eq!(Manifest::parse(&record::to_json(&manifest)), Ok(manifest));
        assert_eq!(Manifest::parse(&with("/l", Value::Null)).map(|read| read.files[0].language.clone()), Ok(None));
    }
}
