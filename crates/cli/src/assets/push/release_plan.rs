//! The plan of a push: the manifest, which lists the files of the release, and the values that KV
//! must have before it.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use http_semantics::accept_encoding::ContentCoding;
use http_semantics::content_hash;
use http_semantics::timestamp::rfc_3339;
use ignore::gitignore::Gitignore;
use kv_store::limits::VALUE_BYTES_MAX;
use kv_store::record::to_json;
use static_assets::fingerprint::has_content_hash;
use static_assets::header_rules::HeaderRules;
use static_assets::html_handling::HtmlHandling;
use static_assets::manifest::{EncodedBody, File, FileBody, Manifest, NotFoundHandling, VERSION};
use static_assets::media_type::{self, is_compressible};
use static_assets::redirect_rules::RedirectRules;
use static_assets::release::{CHUNK_BYTES, Pointer};

use super::languages::{self, DuplicateLanguage};
use super::source_file::{EncodedFile, HashedFile};
use super::spool::SpoolSegment;
use super::walk::SourceFile;

/// The release that is served when the push begins.
pub(super) struct CurrentRelease {
    pub(super) pointer: Pointer,
    /// `None` if it is missing or does not parse; then nothing of the release is reused.
    pub(super) manifest: Option<Manifest>,
}

/// The settings for all files, from the arguments and the rule files of the folder.
pub(super) struct ReleaseSettings {
    pub(super) html_handling: HtmlHandling,
    pub(super) not_found: NotFoundHandling,
    pub(super) unversioned_keys: bool,
    pub(super) redirects: RedirectRules,
    pub(super) headers: HeaderRules,
    /// Files that browsers may keep forever, besides those with a content hash in their name.
    pub(super) immutable: Gitignore,
    /// The language of pages that declare none.
    pub(super) language: Option<String>,
}

/// The encodings of a file.
pub(super) enum FileEncodings {
    /// Made by this push: the bytes are in the spool.
    New(Vec<EncodedFile>),
    /// Made by an earlier push: the bytes are in KV.
    InKv(Vec<EncodedBody>),
}

/// A value that KV must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blob {
    pub(super) hash: Box<str>,
    pub(super) length: u64,
    /// The index of its file.
    pub(super) file: usize,
    /// Its content coding; `None` for the file as it is.
    pub(super) coding: Option<ContentCoding>,
    pub(super) location: BlobLocation,
}

/// Where the bytes of a value are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BlobLocation {
    /// In the file, from this byte on.
    File(u64),
    /// In the spool.
    Spool(Vec<SpoolSegment>),
    /// In KV, written by an earlier push.
    Kv,
}

/// Returns the media type of a file, by its name.
pub(super) fn media_type_of(path: &str) -> Box<str> {
    media_type::of_path(path).map_or_else(|| media_type::UNKNOWN.into(), Into::into)
}

/// Returns the encodings of the current release that can be reused, by the hash of the file. All
/// encoded values of a file must be in KV.
///
/// Reuse is safe: a hash identifies the bytes of the file, and whatever version of an encoder
/// made an encoded value, it decodes to them. A push tries either all encodings of a file or, if
/// its type is not compressible, none. So if a compressible file lacks an encoding, that one saved
/// too little and is not tried again; other files are skipped.
pub(super) fn reusable_encodings<'m>(
    current: Option<&'m Manifest>,
    in_kv: &HashSet<String>,
) -> HashMap<&'m str, &'m [EncodedBody]> {
    let files = current.into_iter().flat_map(|manifest| &manifest.files);
    let are_there = |file: &&File| {
        let mut parts = file.encoded.iter().flat_map(|encoded| encoded.body.parts());
        is_compressible(&file.media_type) && parts.all(|(hash, _)| in_kv.contains(hash))
    };
    files.filter(are_there).map(|file| (file.body.hash.as_ref(), file.encoded.as_slice())).collect()
}

/// Returns the manifest of a release, still without its id. `hashed` is in the order of `sources`;
/// `encodings` is by the hash of the file.
///
/// # Errors
/// [`DuplicateLanguage`]
pub(super) fn manifest(
    settings: &ReleaseSettings,
    sources: &[SourceFile],
    hashed: &[HashedFile],
    encodings: &HashMap<Box<str>, FileEncodings>,
    current: Option<&CurrentRelease>,
    now_ms: u64,
) -> Result<Manifest, DuplicateLanguage> {
    let files = sources.iter().zip(hashed).map(|(source, hashed)| {
        let encoded = match encodings.get(&hashed.body.hash) {
            Some(FileEncodings::New(encoded_files)) => {
                encoded_files.iter().map(|encoded_file| encoded_file.encoded.clone()).collect()
            }
            Some(FileEncodings::InKv(encoded)) => encoded.clone(),
            None => Vec::new(),
        };
        let media_type = media_type_of(&source.path);
        let below = source.path.trim_start_matches('/');
        let is_named = settings.immutable.matched_path_or_any_parents(below, false).is_ignore();
        let is_immutable = is_named || has_content_hash(&source.path);
        File {
            path: source.path.as_str().into(),
            body: hashed.body.clone(),
            encoded: if is_compressible(&media_type) { encoded } else { Vec::new() },
            media_type,
            modified_seconds: current.and_then(|current| since(current, source, hashed)).unwrap_or(now_ms / 1000),
            is_immutable,
            language: None,
            translations: Vec::new(),
        }
    });
    let mut files: Vec<File> = files.collect();
    let declared: Vec<Option<String>> = hashed.iter().map(|hashed| hashed.language.clone()).collect();
    languages::describe(&mut files, &declared, settings.language.as_deref())?;
    Ok(Manifest {
        version: VERSION,
        id: String::new(),
        created_ms: now_ms,
        html_handling: settings.html_handling,
        not_found: settings.not_found,
        unversioned_keys: settings.unversioned_keys,
        redirects: settings.redirects.clone(),
        headers: settings.headers.clone(),
        files,
    })
}

/// Returns since when the current release has these bytes at this path, in seconds since the Unix
/// epoch: the `Last-Modified` that visitors know.
fn since(current: &CurrentRelease, source: &SourceFile, hashed: &HashedFile) -> Option<u64> {
    let before = current.manifest.as_ref()?.file(&source.path)?;
    (before.body.hash == hashed.body.hash).then(|| current.pointer.modified_seconds(before))
}

/// Returns the hash of a manifest without its id and times: the same folder gives the same hash if
/// the settings are the same.
pub(super) fn content_hash(manifest: &Manifest) -> String {
    let untimed = |file: &File| File { modified_seconds: 0, ..file.clone() };
    let files = manifest.files.iter().map(untimed).collect();
    let content = Manifest { id: String::new(), created_ms: 0, files, ..manifest.clone() };
    content_hash::hash(&json(&content))
}

/// Returns a manifest as it is stored in KV.
pub(super) fn json(manifest: &Manifest) -> Vec<u8> {
    to_json(manifest).into_bytes()
}

/// A manifest is longer than a value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the manifest of {files} files has {length} bytes, but Workers KV accepts at most {VALUE_BYTES_MAX} (25 MiB); \
     use .assetsignore to leave out what visitors do not need, such as source maps, or serve a part of the folder \
     from another namespace"
)]
pub(in crate::assets) struct ManifestTooLong {
    files: usize,
    length: usize,
}

/// Checks that a manifest whose JSON has `length` bytes fits into one value.
///
/// # Errors
/// [`ManifestTooLong`]
pub(super) fn check_length(manifest: &Manifest, length: usize) -> Result<(), ManifestTooLong> {
    let files = manifest.files.len();
    if length as u64 > VALUE_BYTES_MAX { Err(ManifestTooLong { files, length }) } else { Ok(()) }
}

/// Returns the id of a release: the time at which it was pushed, to the second (UTC), and the
/// first digits of its content hash.
pub(super) fn id(now_ms: u64, content_hash: &str) -> String {
    let pushed = rfc_3339(now_ms / 1000).replace(['-', ':'], "");
    format!("{pushed}-{}", &content_hash[..8])
}

/// Returns the values that KV must have before the manifest, each once, in the order of the
/// files.
pub(super) fn blobs(manifest: &Manifest, encodings: &HashMap<Box<str>, FileEncodings>) -> Vec<Blob> {
    let mut seen = HashSet::new();
    let mut blobs = Vec::new();
    for (at, file) in manifest.files.iter().enumerate() {
        let new: &[EncodedFile] = match encodings.get(&file.body.hash) {
            Some(FileEncodings::New(encoded_files)) => encoded_files,
            _ => &[],
        };
        let segments = |coding| new.iter().find(|new| new.encoded.coding == coding).map(|new| new.segments.as_slice());
        let encoded = file.encoded.iter().map(|encoded| (&encoded.body, Some(encoded.coding)));
        for (body, coding) in std::iter::once((&file.body, None)).chain(encoded) {
            let segments = coding.and_then(segments);
            for (part, (hash, length)) in body.parts().enumerate() {
                if seen.insert(hash) {
                    let location = blob_location(body, part, coding, segments);
                    blobs.push(Blob { hash: hash.into(), length, file: at, coding, location });
                }
            }
        }
    }
    blobs
}

fn blob_location(
    body: &FileBody,
    part: usize,
    coding: Option<ContentCoding>,
    segments: Option<&[SpoolSegment]>,
) -> BlobLocation {
    match (coding, segments) {
        (None, _) => BlobLocation::File(part as u64 * CHUNK_BYTES as u64),
        (Some(_), None) => BlobLocation::Kv,
        (Some(_), Some(segments)) if body.chunks.is_empty() => BlobLocation::Spool(segments.to_vec()),
        (Some(_), Some(segments)) => BlobLocation::Spool(segments.get(part).copied().into_iter().collect()),
    }
}
