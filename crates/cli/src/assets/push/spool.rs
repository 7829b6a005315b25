//! Encoded files wait for their upload in a temporary file without a name: they take no memory,
//! and nothing is left behind if the push dies.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::{Mutex, PoisonError};

use static_assets::manifest::FileBody;

use super::digest::{BodyDigest, ChunkSizes};
use crate::temporary_file::{self, TemporaryFileWriter};

/// A range of bytes in the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SpoolSegment {
    offset: u64,
    length: usize,
}

/// A temporary file that bytes are appended to.
pub(super) struct Spool {
    file: Mutex<File>,
    sizes: ChunkSizes,
}

impl Spool {
    /// Creates an empty spool. `sizes` are those of the segments of an encoded file.
    ///
    /// # Errors
    /// If no temporary file can be created.
    pub(super) fn new(sizes: ChunkSizes) -> io::Result<Self> {
        Ok(Self { file: Mutex::new(temporary_file::create()?), sizes })
    }

    /// Creates a spool on a disk that is full.
    #[cfg(all(test, target_os = "linux"))]
    pub(super) fn full(sizes: ChunkSizes) -> io::Result<Self> {
        Ok(Self { file: Mutex::new(File::options().write(true).open("/dev/full")?), sizes })
    }

    fn append(&self, bytes: &[u8]) -> io::Result<SpoolSegment> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let offset = file.seek(SeekFrom::End(0))?;
        TemporaryFileWriter(&mut file).write_all(bytes)?;
        Ok(SpoolSegment { offset, length: bytes.len() })
    }

    /// Returns the bytes of the segments, one after the other.
    ///
    /// # Errors
    /// If the temporary file cannot be read.
    pub(super) fn read(&self, segments: &[SpoolSegment]) -> io::Result<Vec<u8>> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = Vec::with_capacity(segments.iter().map(|segment| segment.length).sum());
        for segment in segments {
            file.seek(SeekFrom::Start(segment.offset))?;
            (&mut *file).take(segment.length as u64).read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    }
}

/// Writes one encoded file into the spool, and fails as soon as the file is not worth it.
pub(super) struct SpoolWriter<'s> {
    spool: &'s Spool,
    /// The longest encoded file that still saves a tenth.
    length_max: u64,
    is_worth_it: bool,
    digest: BodyDigest,
    buffer: Vec<u8>,
    segments: Vec<SpoolSegment>,
}

impl<'s> SpoolWriter<'s> {
    pub(super) fn new(spool: &'s Spool, length_max: u64) -> Self {
        let digest = BodyDigest::new(length_max, spool.sizes);
        Self { spool, length_max, is_worth_it: true, digest, buffer: Vec::new(), segments: Vec::new() }
    }

    /// Returns false once the encoded file is longer than `length_max`.
    pub(super) fn is_worth_it(&self) -> bool {
        self.is_worth_it
    }

    /// Returns hash, length and chunks, and where the bytes are: one segment per chunk if there
    /// are chunks.
    ///
    /// # Errors
    /// If the temporary file cannot be written.
    pub(super) fn finish(mut self) -> io::Result<(FileBody, Vec<SpoolSegment>)> {
        if !self.buffer.is_empty() {
            self.segments.push(self.spool.append(&self.buffer)?);
        }
        Ok((self.digest.finish(), self.segments))
    }
}

impl Write for SpoolWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.digest.length() + bytes.len() as u64 > self.length_max {
            self.is_worth_it = false;
            return Err(io::Error::other("longer than `length_max`"));
        }
        let free = self.spool.sizes.chunk - self.buffer.len();
        let (now, _) = bytes.split_at(free.min(bytes.len()));
        self.digest.update(now);
        self.buffer.extend_from_slice(now);
        if self.buffer.len() == self.spool.sizes.chunk {
            self.segments.push(self.spool.append(&self.buffer)?);
            self.buffer.clear();
        }
        Ok(now.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use http_semantics::content_hash::hash;

    use super::*;

    const SIZES: ChunkSizes = ChunkSizes { whole_max: 24, chunk: 8 };

    #[test]
    fn bytes_come_back_chunk_by_chunk() {
        let spool = Spool::new(SIZES).unwrap();
        let long: Vec<u8> = (0..30).collect();
        for bytes in [b"".as_slice(), b"abc", &long, b"def"] {
            let mut writer = SpoolWriter::new(&spool, long.len() as u64);
            writer.write_all(bytes).unwrap();
            let (body, segments) = writer.finish().unwrap();
            assert_eq!((body.hash.as_ref(), body.length), (hash(bytes).as_str(), bytes.len() as u64));
            assert!(spool.read(&segments).unwrap() == bytes);
            for (chunk, segment) in body.chunks.iter().zip(segments) {
                assert_eq!(hash(&spool.read(&[segment]).unwrap()), chunk.hash.as_ref());
            }
        }
    }

    #[test]
    fn a_file_that_is_too_long_is_refused() {
        let spool = Spool::new(SIZES).unwrap();
        let mut writer = SpoolWriter::new(&spool, 3);
        assert!(writer.write_all(b"abc").is_ok() && writer.is_worth_it());
        assert!(writer.write_all(b"d").is_err() && !writer.is_worth_it());
    }
}
