//! The tests look for a path in the current release and then in previous ones, as the Worker does.
//! The responses must be what RFC 9110 and the documentation of Workers static assets say.

mod conditionals;
mod encodings;
mod languages;
mod paths;
mod properties;
mod ranges;
mod rules;

use std::collections::HashMap;

use super::*;
use crate::header_rules::HeaderRules;
use crate::html_handling::HtmlHandling;
use crate::keys::blob_key;
use crate::manifest::{Chunk, EncodedBody, File, Translation, VERSION};
use crate::media_type;
use crate::pieces::{self, Piece};
use crate::redirect_rules::RedirectRules;
use http_semantics::accept_encoding::ContentCoding;
use http_semantics::content_hash::hash;
use http_semantics::fields::HeaderSection;
use http_semantics::fields::{is_name, is_value};
use http_semantics::range::unsatisfied_range;

/// `MODIFIED`, the date of RFC 9110 §5.6.7, in seconds since the Unix epoch. `BEFORE` and `AFTER`
/// are a second away.
const MODIFIED_SECONDS: u64 = 784_111_777;
const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

/// A release, and the values that KV holds.
#[derive(Debug)]
struct TestRelease {
    pointer: Pointer,
    manifest: Manifest,
    previous: Vec<Manifest>,
    values: HashMap<String, Vec<u8>>,
}

/// The response that a client gets.
#[derive(Debug, PartialEq, Eq)]
struct TestResponse {
    status: u16,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
    /// The keys of KV that were read.
    read: Vec<String>,
}

impl TestResponse {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(present, _)| present == name).map(|(_, value)| value.as_str())
    }

    fn etag(&self) -> &str {
        self.field("etag").expect("an entity tag")
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.fields.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
    }
}

impl TestRelease {
    /// Makes a release of files: path and text of each.
    fn of(files: &[(&str, &str)]) -> Self {
        let mut release = Self {
            pointer: Pointer { current: "b".into(), previous: vec!["a".into()], switched_ms: 1, rolled_back_ms: None },
            manifest: manifest("b"),
            previous: Vec::new(),
            values: HashMap::new(),
        };
        for (path, text) in files {
            release.add(path, text.as_bytes(), usize::MAX);
        }
        release
    }

    /// Adds a file in chunks of this many bytes.
    fn add(&mut self, path: &str, bytes: &[u8], chunk: usize) {
        let body = self.body(bytes, chunk);
        let file = File {
            path: path.into(),
            body,
            media_type: media_type::of_path(path).unwrap_or(media_type::UNKNOWN.into()).into(),
            modified_seconds: MODIFIED_SECONDS,
            is_immutable: false,
            encoded: Vec::new(),
            language: None,
            translations: Vec::new(),
        };
        self.manifest.files.push(file);
        self.manifest.files.sort_by(|one, other| one.path.cmp(&other.path));
    }

    fn body(&mut self, bytes: &[u8], chunk: usize) -> FileBody {
        let mut store = |bytes: &[u8]| {
            let hash = hash(bytes);
            self.values.insert(blob_key(&hash).as_str().to_owned(), bytes.to_vec());
            Chunk { hash: hash.into(), length: bytes.len() as u64 }
        };
        if bytes.len() <= chunk {
            let Chunk { hash, length } = store(bytes);
            return FileBody { hash, length, chunks: Vec::new() };
        }
        let chunks = bytes.chunks(chunk).map(store).collect();
        FileBody { hash: hash(bytes).into(), length: bytes.len() as u64, chunks }
    }

    fn file(&mut self, path: &str) -> &mut File {
        self.manifest.files.iter_mut().find(|file| *file.path == *path).expect(path)
    }

    /// Gives a file encodings: texts that name the coding, because no test decodes them.
    fn encoded(mut self, path: &str, codings: &[(ContentCoding, usize)]) -> Self {
        for (coding, length) in codings {
            let mut text = format!("{coding:?} {path} ");
            text.extend(std::iter::repeat_n('.', length.saturating_sub(text.len())));
            let body = self.body(text.as_bytes(), usize::MAX);
            self.file(path).encoded.push(EncodedBody { coding: *coding, body });
        }
        self
    }

    /// Makes the page with each tag a translation of the page: `/about.de.html` of `/about.html`.
    fn translated(mut self, page: &str, tags: &[&str]) -> Self {
        let stem = page.strip_suffix(".html").expect("a page").to_owned();
        for tag in tags {
            let path = format!("{stem}.{tag}.html");
            self.file(&path).language = Some((*tag).into());
            let translation = Translation { language: (*tag).into(), path: path.into() };
            self.file(page).translations.push(translation);
        }
        self
    }

    fn language(mut self, path: &str, tag: &str) -> Self {
        self.file(path).language = Some(tag.into());
        self
    }

    fn immutable(mut self, path: &str) -> Self {
        self.file(path).is_immutable = true;
        self
    }

    fn redirects(mut self, file: &str) -> Self {
        self.manifest.redirects = RedirectRules::parse(file).unwrap();
        self
    }

    fn headers(mut self, file: &str) -> Self {
        self.manifest.headers = HeaderRules::parse(file).unwrap();
        self
    }

    fn not_found(mut self, not_found: NotFoundHandling) -> Self {
        self.manifest.not_found = not_found;
        self
    }

    fn html_handling(mut self, mode: HtmlHandling) -> Self {
        self.manifest.html_handling = mode;
        self
    }

    /// Makes another release a previous one.
    fn after(mut self, before: Self) -> Self {
        self.previous.push(before.manifest);
        self.values.extend(before.values);
        self
    }

    fn get(&self, url: &str, fields: &[(&'static str, &str)]) -> TestResponse {
        self.ask("GET", url, fields)
    }

    fn head(&self, url: &str, fields: &[(&'static str, &str)]) -> TestResponse {
        self.ask("HEAD", url, fields)
    }

    /// Requests a path with its query, or a URL.
    fn ask(&self, method: &str, url: &str, fields: &[(&'static str, &str)]) -> TestResponse {
        let url = if url.starts_with('/') { format!("https://example.com{url}") } else { url.to_owned() };
        let target = RequestTarget::parse(&url);
        let path = AssetPath::parse(&target.path);
        let response =
            self.respond(&AssetRequest { method, target: &target, path: &path, fields: &HeaderSection::from(fields) });
        for (name, value) in &response.fields {
            assert!(is_name(name) && name.to_lowercase() == *name && is_value(value), "{name}: {value}");
            assert_eq!(response.fields.iter().filter(|(other, _)| other == name).count(), 1, "{name} once");
        }
        response
    }

    fn served<'m>(&'m self, manifest: &'m Manifest) -> ServedRelease<'m> {
        ServedRelease { pointer: &self.pointer, manifest }
    }

    /// Responds in the order of the Worker, but without unversioned keys and without normalizing
    /// the path.
    fn respond(&self, request: &AssetRequest<'_, HeaderSection>) -> TestResponse {
        let served = self.served(&self.manifest);
        let mut response = from_release(served, request);
        if matches!(response, Ok(AssetResponse::NotFound)) && may_be_in_previous_release(request.path) {
            let file = self.previous.iter().map(|manifest| from_previous_release(self.served(manifest), request));
            response = file
                .into_iter()
                .find(|file| *file != Ok(AssetResponse::NotFound))
                .unwrap_or(Ok(AssetResponse::NotFound));
        }
        if matches!(response, Ok(AssetResponse::NotFound)) {
            response = not_found(served, request);
        }
        match response {
            Ok(AssetResponse::File(file)) => self.response(&file),
            Ok(AssetResponse::Redirect { status, fields }) => plain(status, &fields),
            Ok(AssetResponse::NotFound) => failed(AssetError::NotFound, header_changes(served, request)),
            Err(error) => failed(error, header_changes(served, request)),
        }
    }

    fn response(&self, file: &FileResponse<'_>) -> TestResponse {
        let (pieces, length) = match &file.content {
            Content::None => (Vec::new(), 0),
            Content::Whole(body) => (pieces::of_whole(body), body.length),
            Content::Parts { body, parts, length } => (pieces::of_parts(body, parts), *length),
        };
        let (mut bytes, mut read) = (Vec::new(), Vec::new());
        for piece in pieces {
            match piece {
                Piece::Text(text) => bytes.extend_from_slice(text.as_bytes()),
                Piece::Bytes { key, length, range } => {
                    let value = &self.values[key.as_str()];
                    assert_eq!(value.len() as u64, length);
                    let [start, end] = [range.start, range.end].map(|at| usize::try_from(at).unwrap());
                    bytes.extend_from_slice(&value[start..end]);
                    read.push(key.as_str().to_owned());
                }
            }
        }
        assert_eq!(bytes.len() as u64, length, "the length that is announced");
        TestResponse { body: bytes, read, ..plain(file.status, &file.fields) }
    }
}

fn manifest(id: &str) -> Manifest {
    Manifest {
        version: VERSION,
        id: id.into(),
        created_ms: 0,
        html_handling: HtmlHandling::default(),
        not_found: NotFoundHandling::default(),
        unversioned_keys: true,
        redirects: RedirectRules::default(),
        headers: HeaderRules::default(),
        files: Vec::new(),
    }
}

fn plain(status: u16, fields: &FieldLines<'_>) -> TestResponse {
    let fields = fields.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    TestResponse { status, fields, body: Vec::new(), read: Vec::new() }
}

/// Renders an error as the Worker does, but without its sentence.
fn failed(error: AssetError, changes: HeaderChanges) -> TestResponse {
    let (status, mut fields) = match error {
        AssetError::Key(_) => (400, FieldLines::new()),
        AssetError::NotFound => (404, FieldLines::new()),
        AssetError::NotAcceptable => (406, FieldLines::new()),
        AssetError::PreconditionFailed => (412, FieldLines::new()),
        AssetError::RangeNotSatisfiable(length) => {
            (416, vec![("content-range".into(), unsatisfied_range(length).into())])
        }
    };
    change_error(&mut fields, changes);
    plain(status, &fields)
}
