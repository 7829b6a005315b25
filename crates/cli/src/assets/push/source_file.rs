//! Reads files: once for the hash, then once for each encoding that is tried, then for the upload
//! one value at a time, so that no call has more in memory. Bytes that are used are checked
//! against the hash, so a release never mixes two states of a file.

#[cfg(test)]
mod tests;

use std::fs::File as Disk;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

use http_semantics::accept_encoding::ContentCoding;
use http_semantics::content_hash;
use static_assets::manifest::{EncodedBody, FileBody};

use super::compress::{self, CODINGS};
use super::digest::{BodyDigest, RELEASE_SIZES};
use super::languages::{self, HEAD_BYTES};
use super::spool::{Spool, SpoolSegment, SpoolWriter};
use super::walk::SourceFile;
use crate::temporary_file::TemporaryFileError;

const BUFFER_BYTES: usize = 256 * 1024;

/// What the first reading tells about a file.
#[derive(Debug)]
pub(super) struct HashedFile {
    pub(super) body: FileBody,
    /// The language that the file declares if it is a page.
    pub(super) language: Option<String>,
}

/// An encoded file, and where its bytes are in the spool.
#[derive(Debug, Clone)]
pub(super) struct EncodedFile {
    pub(super) encoded: EncodedBody,
    /// One segment per chunk if the encoded file has chunks.
    pub(super) segments: Vec<SpoolSegment>,
}

/// Why a file cannot be pushed.
#[derive(Debug, thiserror::Error)]
pub(in crate::assets) enum SourceFileError {
    #[error("{}: permission denied; change its permissions (chmod u+r), or leave it out with \
     .assetsignore", .0.display())]
    Forbidden(PathBuf),
    #[error("{} cannot be read: {error}", .file.display())]
    Unreadable { file: PathBuf, error: io::Error },
    /// Changed since it was found, or hashed.
    #[error(
        "{} changed while it was being pushed; nothing was switched, push again when the folder no longer changes",
        .0.display()
    )]
    Changed(PathBuf),
    #[error("{} cannot be encoded ({}): {error}", .file.display(), .coding.as_str())]
    NotEncoded { file: PathBuf, coding: ContentCoding, error: io::Error },
    #[error(transparent)]
    TemporaryFile(TemporaryFileError),
}

/// Hashes a file.
///
/// # Errors
/// If it cannot be read, or its length has changed since it was found.
pub(super) fn hash_file(source: &SourceFile) -> Result<HashedFile, SourceFileError> {
    let mut file = open(source)?;
    let mut head = Vec::with_capacity(HEAD_BYTES);
    (&mut file).take(HEAD_BYTES as u64).read_to_end(&mut head).map_err(|error| unreadable(source, error))?;
    let mut digest = BodyDigest::new(source.length, RELEASE_SIZES);
    digest.update(&head);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => digest.update(buffer.split_at(length).0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(source, error)),
        }
    }
    let body = digest.finish();
    if body.length != source.length {
        return Err(changed(source));
    }
    Ok(HashedFile { body, language: languages::declared_language(&head) })
}

/// Encodes a file. Returns the encodings that save at least a tenth, smallest first.
///
/// # Errors
/// If it cannot be read, the bytes that were hashed have changed and an encoding is kept, or the
/// spool cannot be written.
pub(super) fn encode(source: &SourceFile, body: &FileBody, spool: &Spool) -> Result<Vec<EncodedFile>, SourceFileError> {
    let mut encoded_files = Vec::new();
    for coding in CODINGS {
        let mut from = HashingReader {
            file: open(source)?.take(body.length),
            digest: BodyDigest::new(0, RELEASE_SIZES),
            is_at_end: false,
        };
        let mut writer = SpoolWriter::new(spool, compress::length_max(body.length));
        let outcome = compress::encode(coding, body.length, &mut from, &mut writer);
        if !writer.is_worth_it() {
            continue;
        }
        // Looked at before a failure: zstd fails if the file became shorter. If only a part was
        // read, the file may be the same.
        let is_whole = outcome.is_ok() || from.is_at_end;
        if is_whole && from.digest.finish().hash != body.hash {
            return Err(changed(source));
        }
        let finished = outcome.and_then(|()| writer.finish());
        let (body, segments) = finished.map_err(|error| not_encoded(source, coding, error))?;
        encoded_files.push(EncodedFile { encoded: EncodedBody { coding, body }, segments });
    }
    encoded_files.sort_by_key(|encoded_file| encoded_file.encoded.body.length);
    Ok(encoded_files)
}

/// Returns the bytes of a file that one value holds.
///
/// # Errors
/// If it cannot be read, or these bytes have changed since they were hashed.
#[expect(clippy::expect_used, reason = "a value has at most 25 MiB")]
pub(super) fn part(source: &SourceFile, offset: u64, length: u64, hash: &str) -> Result<Vec<u8>, SourceFileError> {
    let mut file = open(source)?;
    let mut bytes = Vec::with_capacity(usize::try_from(length).expect("a value fits memory"));
    let read = file.seek(SeekFrom::Start(offset)).and_then(|_| file.take(length).read_to_end(&mut bytes));
    read.map_err(|error| unreadable(source, error))?;
    if content_hash::hash(&bytes) == hash { Ok(bytes) } else { Err(changed(source)) }
}

fn open(source: &SourceFile) -> Result<Disk, SourceFileError> {
    Disk::open(&source.file).map_err(|error| unreadable(source, error))
}

fn unreadable(source: &SourceFile, error: io::Error) -> SourceFileError {
    let file = source.file.clone();
    match error.kind() {
        io::ErrorKind::PermissionDenied => SourceFileError::Forbidden(file),
        _ => SourceFileError::Unreadable { file, error },
    }
}

fn not_encoded(source: &SourceFile, coding: ContentCoding, error: io::Error) -> SourceFileError {
    match error.downcast() {
        Ok(full) => SourceFileError::TemporaryFile(full),
        Err(error) => SourceFileError::NotEncoded { file: source.file.clone(), coding, error },
    }
}

fn changed(source: &SourceFile) -> SourceFileError {
    SourceFileError::Changed(source.file.clone())
}

/// A reader that hashes what passes through it.
struct HashingReader<R> {
    file: R,
    digest: BodyDigest,
    is_at_end: bool,
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        self.digest.update(buffer.split_at(length).0);
        self.is_at_end = length == 0;
        Ok(length)
    }
}
