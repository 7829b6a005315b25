//! What tells bytes from others: in the names of blobs, in entity tags, in the metadata of records.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// The hash of bytes: the first 128 bits of their SHA-256, in hex.
#[must_use]
pub fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The first 128 bits of a SHA-256, in hex.
#[must_use]
pub fn hex(digest: &[u8]) -> String {
    digest.iter().take(16).fold(String::with_capacity(32), |mut hex, byte| {
        let _infallible = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_128_bits_of_sha_256() {
        // FIPS 180-4: the digest of "abc" begins so.
        assert_eq!(hash(b"abc"), "ba7816bf8f01cfea414140de5dae2223");
    }
}
