//! The values of KV, or parts of them, that the content of a response is assembled from.

use std::ops;

use serde::Serialize;
use serde::ser::{SerializeTuple, Serializer};

use super::keys::blob_key;
use super::manifest::FileBody;
use super::response::ContentPart;
use kv_store::limits::Key;

/// A piece of the content of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Text between the parts of a multipart body.
    Text(&'a str),
    /// Bytes of a value in KV.
    Bytes {
        /// The key of the value.
        key: Key<'static>,
        /// The length of the whole value, in bytes.
        length: u64,
        /// The bytes of the value that belong to the response.
        range: ops::Range<u64>,
    },
}

/// Returns the pieces of a whole body.
///
/// [`of_parts`] has an example.
#[must_use]
pub fn of_whole(body: &FileBody) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    add(&mut pieces, body, &(0..body.length));
    pieces
}

/// Returns the pieces of some parts of a body: only chunks that overlap a part are among them.
///
/// # Examples
///
/// ```
/// use static_assets::keys::blob_key;
/// use static_assets::manifest::{Chunk, FileBody};
/// use static_assets::pieces::{Piece, of_parts};
/// use static_assets::response::ContentPart;
///
/// // A file that is stored as two values. `Range: bytes=15-24` ends in the second one.
/// let chunk = |hash: &str, length| Chunk { hash: hash.into(), length };
/// let chunks = vec![chunk("1a79", 20), chunk("8d96", 10)];
/// let body = FileBody { hash: "f4a1".into(), length: 30, chunks };
/// let parts = [ContentPart::Bytes(15..25)];
/// let first = Piece::Bytes { key: blob_key("1a79"), length: 20, range: 15..20 };
/// let second = Piece::Bytes { key: blob_key("8d96"), length: 10, range: 0..5 };
/// assert_eq!(of_parts(&body, &parts), [first, second]);
/// ```
#[must_use]
pub fn of_parts<'a>(body: &FileBody, parts: &'a [ContentPart]) -> Vec<Piece<'a>> {
    let mut pieces = Vec::new();
    for part in parts {
        match part {
            ContentPart::Text(text) => pieces.push(Piece::Text(text)),
            ContentPart::Bytes(range) => add(&mut pieces, body, range),
        }
    }
    pieces
}

fn add(pieces: &mut Vec<Piece<'_>>, body: &FileBody, requested: &ops::Range<u64>) {
    let mut start: u64 = 0;
    for (hash, length) in body.parts() {
        let end = start + length;
        let within = |position: u64| position.clamp(start, end) - start;
        let range = within(requested.start)..within(requested.end);
        if !range.is_empty() {
            pieces.push(Piece::Bytes { key: blob_key(hash), length, range });
        }
        start = end;
    }
}

/// The JSON that `platform/glue/body_assembly.js` reads: a text, or key, length, start and end.
impl Serialize for Piece<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Bytes { key, length, range } => {
                let mut tuple = serializer.serialize_tuple(4)?;
                tuple.serialize_element(key.as_str())?;
                tuple.serialize_element(length)?;
                tuple.serialize_element(&range.start)?;
                tuple.serialize_element(&range.end)?;
                tuple.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Chunk;

    fn body(lengths: &[u64]) -> FileBody {
        let chunk = |(index, length): (usize, &u64)| Chunk { hash: format!("c{index}").into(), length: *length };
        let chunks: Vec<Chunk> = lengths.iter().enumerate().map(chunk).collect();
        FileBody { hash: "all".into(), length: lengths.iter().sum(), chunks }
    }

    fn json(pieces: &[Piece<'_>]) -> String {
        serde_json::to_string(pieces).unwrap().replace("kv-edge:blob:", "")
    }

    #[test]
    fn a_body_without_chunks_is_one_value() {
        let whole = FileBody { chunks: Vec::new(), ..body(&[7]) };
        assert_eq!(json(&of_whole(&whole)), r#"[["all",7,0,7]]"#);
        assert_eq!(json(&of_parts(&whole, &[ContentPart::Bytes(2..3)])), r#"[["all",7,2,3]]"#);
    }

    #[test]
    fn a_range_reads_only_the_chunks_that_it_overlaps() {
        let chunked = body(&[10, 10, 5]);
        for (range, expected) in [
            (0..25, r#"[["c0",10,0,10],["c1",10,0,10],["c2",5,0,5]]"#),
            (0..10, r#"[["c0",10,0,10]]"#),
            (9..11, r#"[["c0",10,9,10],["c1",10,0,1]]"#),
            (10..20, r#"[["c1",10,0,10]]"#),
            (24..25, r#"[["c2",5,4,5]]"#),
        ] {
            assert_eq!(json(&of_parts(&chunked, &[ContentPart::Bytes(range)])), expected);
        }
        let parts = [ContentPart::Text("a\"".into()), ContentPart::Bytes(12..13), ContentPart::Text("b".into())];
        assert_eq!(json(&of_parts(&chunked, &parts)), r#"["a\"",["c1",10,2,3],"b"]"#);
    }
}
