//! Hashes bytes as they become values in KV: as a whole, and in chunks if one value cannot hold
//! them.

use http_semantics::content_hash::ContentHasher;
use static_assets::manifest::{Chunk, FileBody};
use static_assets::release::{CHUNK_BYTES, WHOLE_BYTES_MAX};

/// The sizes that decide whether a body is one value or several, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChunkSizes {
    /// The longest body that is one value; longer ones are split into chunks.
    pub(super) whole_max: u64,
    pub(super) chunk: usize,
}

/// The sizes that releases use.
pub(super) const RELEASE_SIZES: ChunkSizes = ChunkSizes { whole_max: WHOLE_BYTES_MAX, chunk: CHUNK_BYTES };

/// Hashes bytes as they come: all of them, and each chunk.
pub(super) struct BodyDigest {
    sizes: ChunkSizes,
    whole: ContentHasher,
    length: u64,
    chunks: Option<ChunkDigest>,
}

struct ChunkDigest {
    size: usize,
    done: Vec<Chunk>,
    current: ContentHasher,
    current_length: usize,
}

impl BodyDigest {
    /// Starts a digest. Chunks are hashed only if a body of `length_max` bytes would be split; a
    /// caller that needs no chunks passes 0.
    pub(super) fn new(length_max: u64, sizes: ChunkSizes) -> Self {
        let chunks = || ChunkDigest {
            size: sizes.chunk,
            done: Vec::new(),
            current: ContentHasher::default(),
            current_length: 0,
        };
        Self { sizes, whole: ContentHasher::default(), length: 0, chunks: (length_max > sizes.whole_max).then(chunks) }
    }

    /// Adds the next bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.whole.update(bytes);
        self.length += bytes.len() as u64;
        if let Some(chunks) = &mut self.chunks {
            chunks.update(bytes);
        }
    }

    /// Returns how many bytes were added so far.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Returns the hash, the length and the chunks, as the manifest lists them.
    pub(super) fn finish(self) -> FileBody {
        let chunks =
            self.chunks.filter(|_| self.length > self.sizes.whole_max).map(ChunkDigest::finish).unwrap_or_default();
        FileBody { hash: self.whole.finish().into(), length: self.length, chunks }
    }
}

impl ChunkDigest {
    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let free = self.size - self.current_length;
            let (now, later) = bytes.split_at(free.min(bytes.len()));
            self.current.update(now);
            self.current_length += now.len();
            if self.current_length == self.size {
                self.close();
            }
            bytes = later;
        }
    }

    fn close(&mut self) {
        if self.current_length > 0 {
            let hash = std::mem::take(&mut self.current).finish().into();
            self.done.push(Chunk { hash, length: self.current_length as u64 });
            self.current_length = 0;
        }
    }

    fn finish(mut self) -> Vec<Chunk> {
        self.close();
        self.done
    }
}

#[cfg(test)]
mod tests {
    use http_semantics::content_hash::hash;

    use super::*;

    #[test]
    fn only_bodies_that_exceed_a_value_are_split_into_chunks() {
        let sizes = ChunkSizes { whole_max: 2400, chunk: 800 };
        for (length, chunks) in [(0, 0), (1, 0), (800, 0), (2400, 0), (2401, 4), (3200, 4), (3201, 5)] {
            let bytes: Vec<u8> =
                (0..length).map(|at: usize| at.to_le_bytes().into_iter().fold(0, |all, byte| all ^ byte)).collect();
            // Pieces that do not align with chunks, and some that are longer.
            for piece in [1, 999, 3000] {
                let mut digest = BodyDigest::new(length as u64, sizes);
                bytes.chunks(piece).for_each(|piece| digest.update(piece));
                let body = digest.finish();
                assert_eq!((body.hash.as_ref(), body.length), (hash(&bytes).as_str(), length as u64), "{length}");
                assert_eq!(body.chunks.len(), chunks, "{length}");
                for (chunk, bytes) in body.chunks.iter().zip(bytes.chunks(sizes.chunk)) {
                    assert_eq!((chunk.hash.as_ref(), chunk.length), (hash(bytes).as_str(), bytes.len() as u64));
                }
            }
        }
    }

    #[test]
    fn a_body_shorter_than_announced_is_not_split() {
        let mut digest = BodyDigest::new(WHOLE_BYTES_MAX + 1, RELEASE_SIZES);
        digest.update(b"abc");
        assert_eq!(digest.finish(), FileBody { hash: hash(b"abc").into(), length: 3, chunks: Vec::new() });
    }
}
