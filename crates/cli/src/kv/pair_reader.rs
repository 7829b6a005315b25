//! Reads pairs from NDJSON, or from the JSON array that `wrangler kv bulk put` takes, one at a
//! time.

use std::io::{self, BufRead, ErrorKind};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::pair_checks;
use crate::api::{KeyValuePair, MetadataJson, PairExpiration};

/// The longest pair as JSON, in bytes: 200 MiB. A value of 25 MiB takes 150 MiB if each byte is
/// escaped (`\u0000`).
const PAIR_BYTES_MAX: usize = 200 << 20;

/// Reads pairs one at a time.
#[derive(Debug)]
pub(super) struct PairReader<R> {
    input: R,
    position: InputPosition,
    has_failed: bool,
}

/// A place in the input. Reading continues from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct InputPosition {
    /// The bytes before it.
    pub(super) offset: u64,
    /// Counted from 1.
    line: u64,
    syntax: InputSyntax,
}

/// What may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum InputSyntax {
    /// The first pair, or the bracket of an array.
    Start,
    /// A line of NDJSON.
    Line,
    /// The first item of an array, or its end.
    FirstItem,
    /// An item of an array.
    Item,
    /// A comma, or the end of an array.
    AfterItem,
    /// Nothing but white space.
    AfterArray,
}

/// A pair, and the place after it.
#[derive(Debug, PartialEq)]
pub(super) struct InputPair {
    pub(super) pair: KeyValuePair,
    pub(super) end: InputPosition,
    /// The line that it begins in, counted from 1.
    pub(super) line: u64,
}

/// Why the input is not what it should be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InputPairError {
    /// Counted from 1.
    pub(super) line: u64,
    pub(super) problem: String,
}

/// A pair as it is written in the input.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPair {
    key: String,
    value: String,
    #[serde(default)]
    base64: bool,
    #[serde(default)]
    metadata: Option<MetadataJson>,
    #[serde(default)]
    expiration: Option<u64>,
    #[serde(default)]
    expiration_ttl: Option<u32>,
}

impl InputPosition {
    /// The start of the input.
    pub(super) const START: Self = Self { offset: 0, line: 1, syntax: InputSyntax::Start };
}

impl WrittenPair {
    fn into_pair(self) -> Result<KeyValuePair, String> {
        let Self { key, value, base64, metadata, expiration, expiration_ttl } = self;
        let value = if base64 {
            STANDARD.decode(&value).map_err(|error| format!("the value of {key:?} is not base64: {error}"))?
        } else {
            value.into_bytes()
        };
        // As in the API, a lifetime takes precedence over a time.
        let expiration = expiration_ttl.map(PairExpiration::In).or(expiration.map(PairExpiration::At));
        let pair = KeyValuePair { key, value, metadata, expiration };
        pair_checks::check(&pair).map_err(|problem| format!("{:?}: {problem}", pair.key))?;
        Ok(pair)
    }
}

impl<R: BufRead> PairReader<R> {
    /// Reads from an input that stands at `position`.
    pub(super) fn new(input: R, position: InputPosition) -> Self {
        Self { input, position, has_failed: false }
    }

    fn error(&self, problem: impl Into<String>) -> InputPairError {
        InputPairError { line: self.position.line, problem: problem.into() }
    }

    fn input_error(&self, error: &io::Error) -> InputPairError {
        self.error(format!("it cannot be read: {error}"))
    }

    /// Returns the next byte, if there is one.
    fn peek(&mut self) -> Result<Option<u8>, InputPairError> {
        loop {
            match self.input.fill_buf() {
                Ok(bytes) => return Ok(bytes.first().copied()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.input_error(&error)),
            }
        }
    }

    fn skip(&mut self, byte: u8) {
        self.input.consume(1);
        self.position.offset += 1;
        self.position.line += u64::from(byte == b'\n');
    }

    /// Skips everything before the next pair. Returns false at the end of the input.
    fn find_pair(&mut self) -> Result<bool, InputPairError> {
        use InputSyntax::{AfterArray, AfterItem, FirstItem, Item, Line, Start};
        loop {
            let Some(byte) = self.peek()? else {
                return match self.position.syntax {
                    Start | Line | AfterArray => Ok(false),
                    FirstItem | Item | AfterItem => Err(self.error("the array is not closed; the file is cut off")),
                };
            };
            match (self.position.syntax, byte) {
                (_, b' ' | b'\t' | b'\r' | b'\n') => {}
                (Start | Line, b'{') => {
                    self.position.syntax = Line;
                    return Ok(true);
                }
                (FirstItem | Item, b'{') => {
                    self.position.syntax = AfterItem;
                    return Ok(true);
                }
                (Start, b'[') => self.position.syntax = FirstItem,
                (FirstItem | AfterItem, b']') => self.position.syntax = AfterArray,
                (AfterItem, b',') => self.position.syntax = Item,
                (Start, 0xEF) => {
                    return Err(self.error("it starts with a byte order mark; save it as UTF-8 without one"));
                }
                (Start | Line, _) => {
                    return Err(self.error("a line must be a JSON object with the members \"key\" and \"value\""));
                }
                (FirstItem | Item, _) => return Err(self.error("an item of the array must be a JSON object")),
                (AfterItem, _) => return Err(self.error("a comma must stand between the items of the array")),
                (AfterArray, _) => return Err(self.error("something follows the array")),
            }
            self.skip(byte);
        }
    }

    /// Reads the bytes of a pair, up to the brace that closes it.
    fn read_pair(&mut self) -> Result<Vec<u8>, InputPairError> {
        let mut json = Vec::new();
        let mut scan = ObjectScan::default();
        loop {
            self.peek()?;
            let bytes = self.input.fill_buf().map_err(|error| InputPairError {
                line: self.position.line,
                problem: format!("it cannot be read: {error}"),
            })?;
            if bytes.is_empty() {
                return Err(self.error("the pair is cut off"));
            }
            let end = scan.end(bytes);
            let (taken, _) = bytes.split_at(end.unwrap_or(bytes.len()));
            json.extend_from_slice(taken);
            let length = taken.len();
            self.input.consume(length);
            self.position.offset += length as u64;
            if end.is_some() {
                return Ok(json);
            }
            if json.len() > PAIR_BYTES_MAX {
                return Err(self.error(format!("the pair has more than {PAIR_BYTES_MAX} bytes")));
            }
        }
    }

    fn next_pair(&mut self) -> Result<Option<InputPair>, InputPairError> {
        if !self.find_pair()? {
            return Ok(None);
        }
        let line = self.position.line;
        let bytes = self.read_pair()?;
        self.position.line += bytes.split(|&byte| byte == b'\n').count() as u64 - 1;
        let written: WrittenPair = serde_json::from_slice(&bytes).map_err(|error| {
            let (inner_line, column) = (error.line(), error.column());
            let whole = error.to_string();
            let problem = whole.strip_suffix(&format!(" at line {inner_line} column {column}")).unwrap_or(&whole);
            InputPairError { line: line + (inner_line as u64).saturating_sub(1), problem: problem.to_owned() }
        })?;
        let pair = written.into_pair().map_err(|problem| InputPairError { line, problem })?;
        Ok(Some(InputPair { pair, end: self.position, line }))
    }
}

/// The pairs. The first error is the last item.
impl<R: BufRead> Iterator for PairReader<R> {
    type Item = Result<InputPair, InputPairError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_failed {
            return None;
        }
        let pair = self.next_pair();
        self.has_failed = pair.is_err();
        pair.transpose()
    }
}

/// Finds the end of a JSON object in bytes that come in parts. The first one opens the object.
#[derive(Debug, Default)]
struct ObjectScan {
    depth: usize,
    is_in_string: bool,
    is_escaped: bool,
}

impl ObjectScan {
    /// Returns how many of the next bytes belong to the object if it ends in them.
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.is_in_string => self.is_escaped = true,
                b'"' => self.is_in_string = !self.is_in_string,
                _ if self.is_in_string => {}
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Some(at + 1);
                    }
                }
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
