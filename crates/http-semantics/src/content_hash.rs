//! SHA-256 in hex. Its first half is the hash of a content: for the names of blobs, entity tags
//! and the metadata of records. The whole is for keys that stand for a long text, for example.

use sha2::{Digest, Sha256};

/// Hex digits of a content hash: 128 bits.
const CONTENT_DIGITS: usize = 32;

/// Returns the content hash of bytes: the first 128 bits of their SHA-256, in 32 hex digits.
///
/// # Examples
///
/// ```
/// use http_semantics::content_hash::{ContentHasher, hash};
///
/// assert_eq!(hash(b"hello"), "2cf24dba5fb0a30e26e83b2ac5b9e29e");
/// // A long value arrives in chunks.
/// let mut hasher = ContentHasher::default();
/// ["hel", "lo"].iter().for_each(|chunk| hasher.update(chunk.as_bytes()));
/// assert_eq!(hasher.finish(), hash(b"hello"));
/// ```
#[must_use]
pub fn hash(bytes: &[u8]) -> String {
    content_hash(Sha256::new_with_prefix(bytes))
}

/// Computes the same as [`hash`] from bytes that come in parts.
///
/// [`hash`] has an example.
#[derive(Debug, Clone, Default)]
pub struct ContentHasher(Sha256);

impl ContentHasher {
    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the content hash of all bytes so far.
    #[must_use]
    pub fn finish(self) -> String {
        content_hash(self.0)
    }
}

/// Returns the whole SHA-256 of the parts, one directly after the other, in 64 hex digits.
#[must_use]
pub fn sha256(parts: impl IntoIterator<Item = impl AsRef<[u8]>>) -> String {
    hex(parts.into_iter().fold(Sha256::new(), Sha256::chain_update))
}

fn content_hash(hasher: Sha256) -> String {
    let mut digits = hex(hasher);
    digits.truncate(CONTENT_DIGITS);
    digits
}

fn hex(hasher: Sha256) -> String {
    format!("{:x}", hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4, of "abc".
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_hash_is_128_bits_of_sha_256() {
        assert_eq!(hash(b"abc"), ABC[..32]);
    }

    #[test]
    fn parts_have_the_hash_of_the_whole() {
        for parts in [&["abc"][..], &["a", "bc"], &["", "ab", "", "c"]] {
            let mut hasher = ContentHasher::default();
            for part in parts {
                hasher.update(part.as_bytes());
            }
            assert_eq!((hasher.finish().as_str(), sha256(parts).as_str()), (&ABC[..32], ABC), "{parts:?}");
        }
    }
}
