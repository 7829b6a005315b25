//! Encodes files with brotli, zstd and gzip.

use std::io::{self, Read, Write};

use brotli::enc::BrotliEncoderParams;
use flate2::{Compression, GzBuilder};
use http_semantics::accept_encoding::ContentCoding;

/// The content codings that a push tries if the type of a file can be compressed.
pub(super) const CODINGS: [ContentCoding; 3] = [ContentCoding::Br, ContentCoding::Zstd, ContentCoding::Gzip];

/// The longest file that gets brotli's best quality, in bytes: longer ones would take minutes.
const BEST_BROTLI_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// The largest window for brotli: 4 MiB, which every decoder in use takes without much memory
/// (RFC 7932 §9.1 allows 10 to 24 bits).
const BROTLI_WINDOW_BITS_MAX: u32 = 22;
const BROTLI_WINDOW_BITS_MIN: u32 = 10;
/// The largest window for `zstd` as a content coding: 8 MiB (RFC 9659 §3).
const ZSTD_WINDOW_BITS_MAX: u32 = 23;
const ZSTD_LEVEL: i32 = 19;

/// Returns the longest that an encoded file may be, in bytes: it must save at least a tenth.
pub(super) fn length_max(length: u64) -> u64 {
    // Written so that it cannot overflow.
    length - length.div_ceil(10)
}

/// Encodes `length` bytes. The same bytes always give the same result.
///
/// # Errors
/// Those of reading and writing. zstd also fails if `from` does not have exactly `length` bytes.
pub(super) fn encode(coding: ContentCoding, length: u64, from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    match coding {
        ContentCoding::Br => {
            let quality = if length > BEST_BROTLI_BYTES_MAX { 9 } else { 11 };
            let lgwin = window_bits(length).cast_signed();
            let size_hint = usize::try_from(length).unwrap_or(usize::MAX);
            let params = BrotliEncoderParams { quality, lgwin, size_hint, ..BrotliEncoderParams::default() };
            brotli::BrotliCompress(from, to, &params)?;
        }
        ContentCoding::Zstd => {
            let mut encoder = zstd::Encoder::new(to, ZSTD_LEVEL)?;
            // zstd makes its tables as small as the announced length allows.
            encoder.set_pledged_src_size(Some(length))?;
            if length > 1 << ZSTD_WINDOW_BITS_MAX {
                encoder.window_log(ZSTD_WINDOW_BITS_MAX)?;
            }
            io::copy(from, &mut encoder)?;
            encoder.finish()?;
        }
        ContentCoding::Gzip => {
            // No file name and no time (RFC 1952 §2.3): they would change the bytes of an
            // unchanged file.
            let mut encoder = GzBuilder::new().write(to, Compression::best());
            io::copy(from, &mut encoder)?;
            encoder.finish()?;
        }
    }
    Ok(())
}

/// Returns the smallest window for brotli that holds all bytes, in bits, or the largest if none
/// does: a window has 16 bytes fewer than a power of two (RFC 7932 §9.1).
fn window_bits(length: u64) -> u32 {
    let needed = u64::BITS - length.saturating_add(15).leading_zeros();
    needed.clamp(BROTLI_WINDOW_BITS_MIN, BROTLI_WINDOW_BITS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(coding: ContentCoding, bytes: &[u8]) -> Vec<u8> {
        let mut encoded = Vec::new();
        encode(coding, bytes.len() as u64, &mut &*bytes, &mut encoded).unwrap();
        encoded
    }

    fn decoded(coding: ContentCoding, mut encoded: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        match coding {
            ContentCoding::Br => brotli::BrotliDecompress(&mut encoded, &mut bytes).unwrap(),
            ContentCoding::Zstd => bytes = zstd::decode_all(encoded).unwrap(),
            ContentCoding::Gzip => {
                flate2::read::GzDecoder::new(encoded).read_to_end(&mut bytes).unwrap();
            }
        }
        bytes
    }

    #[test]
    fn encoding_is_lossless_and_deterministic() {
        let text = "<li>Straße der Pariser Kommune</li>\n".repeat(80_000).into_bytes();
        assert!(text.len() as u64 > BEST_BROTLI_BYTES_MAX);
        for coding in CODINGS {
            for bytes in [b"".as_slice(), b"a", &text[..10_000], &text] {
                let once = encoded(coding, bytes);
                assert!(decoded(coding, &once) == bytes, "{coding:?} of {} bytes", bytes.len());
                assert!(once == encoded(coding, bytes), "{coding:?} of {} bytes", bytes.len());
            }
            assert!(encoded(coding, &text).len() < 20_000, "{coding:?}");
        }
    }

    #[test]
    fn gzip_contains_neither_file_name_nor_time() {
        // No flags, no time (RFC 1952 §2.3.1).
        assert_eq!(encoded(ContentCoding::Gzip, b"abc")[..8], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_window_is_as_small_as_its_file_allows_within_limits() {
        for (length, bits) in
            [(0, 10), (1008, 10), (1009, 11), ((1 << 16) - 16, 16), ((1 << 16) - 15, 17), (4 << 20, 22), (u64::MAX, 22)]
        {
            assert_eq!(window_bits(length), bits, "{length}");
        }
    }

    #[test]
    fn a_tenth_must_be_saved() {
        for (length, longest) in
            [(0, 0), (1, 0), (9, 8), (10, 9), (11, 9), (100, 90), (101, 90), (u64::MAX, 16_602_069_666_338_596_453)]
        {
            assert_eq!(length_max(length), longest, "{length}");
        }
    }
}
