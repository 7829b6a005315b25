//! `MurmurHash3_x86_32` (Austin Appleby, public domain). It is fast, evenly spread, and the same
//! in every flag service that uses it. It is not cryptographic: ids of a given bucket can be
//! searched for, which a rollout does not have to prevent.

const C1: u32 = 0xcc9e_2d51;
const C2: u32 = 0x1b87_3593;

/// Returns the hash of the concatenated parts.
pub(super) fn hash(seed: u32, parts: &[&[u8]]) -> u32 {
    let mut hash = seed;
    let (mut block, mut shift, mut length) = (0_u32, 0_u32, 0_u32);
    for byte in parts.iter().copied().flatten() {
        // Blocks are little-endian.
        block |= u32::from(*byte) << shift;
        length += 1;
        shift = if shift == 24 { 0 } else { shift + 8 };
        if shift == 0 {
            hash = (hash ^ mixed(block)).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
            block = 0;
        }
    }
    // The incomplete last block. An empty one changes nothing.
    avalanche(hash ^ mixed(block) ^ length)
}

fn mixed(block: u32) -> u32 {
    block.wrapping_mul(C1).rotate_left(15).wrapping_mul(C2)
}

/// The finalizer: makes every bit of the hash depend on all others.
fn avalanche(mut hash: u32) -> u32 {
    hash ^= hash >> 16;
    hash = hash.wrapping_mul(0x85eb_ca6b);
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_published_vectors() {
        // From Wikipedia, "MurmurHash", and from Ian Boyd (Stack Overflow, question 14747343).
        for (bytes, seed, expected) in [
            (&b""[..], 0, 0),
            (b"", 1, 0x514e_28b7),
            (b"", 0xffff_ffff, 0x81f1_6f39),
            (b"test", 0, 0xba6b_d213),
            (b"test", 0x9747_b28c, 0x704b_81dc),
            (b"Hello, world!", 0, 0xc036_3e43),
            (b"Hello, world!", 0x9747_b28c, 0x2488_4cba),
            (b"The quick brown fox jumps over the lazy dog", 0, 0x2e4f_f723),
            (b"The quick brown fox jumps over the lazy dog", 0x9747_b28c, 0x2fa8_26cd),
            (b"\xff\xff\xff\xff", 0, 0x7629_3b50),
            (b"\x21\x43\x65\x87", 0, 0xf55b_516b),
            (b"\x21\x43\x65\x87", 0x5082_edee, 0x2362_f9de),
            (b"\x21\x43\x65", 0, 0x7e4a_8634),
            (b"\x21\x43", 0, 0xa0f7_b07a),
            (b"\x21", 0, 0x7266_1cf4),
            (b"\0\0\0\0", 0, 0x2362_f9de),
            (b"\0\0\0", 0, 0x85f0_b427),
            (b"\0\0", 0, 0x30f4_c306),
            (b"\0", 0, 0x514e_28b7),
            (b"a", 0x9747_b28c, 0x7fa0_9ea6),
            (b"aa", 0x9747_b28c, 0x5d21_1726),
            (b"aaa", 0x9747_b28c, 0x283e_0130),
            (b"aaaa", 0x9747_b28c, 0x5a97_808a),
            (&[b'a'; 256], 0x9747_b28c, 0x3740_5bdc),
            (b"abc", 0, 0xb3dd_93fa),
            (b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 0, 0xee92_5b90),
            ("ππππππππ".as_bytes(), 0x9747_b28c, 0xd580_63c1),
        ] {
            assert_eq!(hash(seed, &[bytes]), expected, "{bytes:?} with {seed:x}");
            for middle in 0..bytes.len() {
                let (head, tail) = bytes.split_at(middle);
                assert_eq!(hash(seed, &[head, b"", tail]), expected, "{bytes:?} in pieces");
            }
        }
    }
}
