//! The form of a write: `multipart/form-data` with a value and its metadata (RFC 7578).
//!
//! A value has up to 25 MiB, and the memory of WebAssembly never shrinks. So the scanner gets the
//! body in chunks and returns the position of the value, not its bytes. Only the heads of the
//! parts and the metadata are copied.

use std::ops::Range;

use memchr::memmem::Finder;
use serde_json::{Map, Value};

use crate::error::{KvApiError, Operation};

/// The longest head of a part, in bytes.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// The most bytes of all metadata fields together. Workers KV accepts 1024 as JSON.
const METADATA_BYTES_MAX: usize = 64 * 1024;

/// The deepest nesting of `metadata[a][b]…`.
const METADATA_DEPTH_MAX: usize = 16;

const MALFORMED: KvApiError = KvApiError::InvalidForm("the multipart form is malformed or breaks off");

/// What a form says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// The position of the value in the body.
    pub value: Range<u64>,
    /// The metadata, which should be JSON; `None` if the form has none.
    pub metadata: Option<String>,
}

/// Reads a form in chunks.
///
/// # Examples
///
/// ```
/// use kv_api::form::FormScanner;
///
/// let content_type = Some("multipart/form-data; boundary=x");
/// let body = "--x\r\nContent-Disposition: form-data; name=\"value\"\r\n\r\nhello\r\n\
///             --x\r\nContent-Disposition: form-data; name=\"metadata\"\r\n\r\n{\"v\": 1}\r\n\
///             --x--\r\n";
/// let mut scanner = FormScanner::of(content_type)?.unwrap();
/// body.as_bytes().chunks(16).try_for_each(|chunk| scanner.feed(chunk))?;
/// let form = scanner.finish()?;
/// assert_eq!(&body[form.value.start as usize..form.value.end as usize], "hello");
/// assert_eq!(form.metadata.as_deref(), Some("{\"v\": 1}"));
/// # Ok::<(), kv_api::error::KvApiError>(())
/// ```
pub struct FormScanner {
    /// CR LF, two hyphens and the boundary: what ends a part.
    delimiter: Finder<'static>,
    /// What is not scanned yet: the end of the previous chunks.
    rest: Vec<u8>,
    /// The position of `rest` in the body. The body is read as if CR LF preceded it, because the
    /// first delimiter begins the body.
    rest_at: u64,
    state: ScanState,
    value: Option<Range<u64>>,
    metadata: Option<FormMetadata>,
    metadata_bytes: usize,
}

enum ScanState {
    /// Before the first delimiter.
    Preamble,
    /// Between a delimiter and the end of the head.
    Head,
    /// In the content of a part that begins at this position.
    Content { part: Part, start: u64, bytes: Vec<u8> },
    /// Behind the last delimiter.
    End,
}

/// What comes next in the content of a part.
enum ContentScan {
    /// So many bytes of content for certain; 0 if more bytes are needed to tell.
    Content(usize),
    /// A delimiter of this length.
    Delimiter { length: usize, is_last: bool },
}

/// A part of the form, by its name.
enum Part {
    Value,
    /// `metadata`, or the names in the brackets of `metadata[a][b]`.
    Metadata(Vec<String>),
    Other,
}

/// Metadata, in the two forms of clients.
enum FormMetadata {
    /// One field with JSON.
    Json(String),
    /// A field for each member: `metadata[a]`.
    Fields(Value),
}

const CR_LF: u64 = 2;

impl FormScanner {
    /// Returns a scanner if this is the `Content-Type` of a form; `None` if the body is the value
    /// itself.
    ///
    /// # Errors
    /// [`KvApiError::InvalidForm`] if the form has no boundary.
    pub fn of(content_type: Option<&str>) -> Result<Option<Self>, KvApiError> {
        let Some((media_type, parameters)) = content_type.map(|field| field.split_once(';').unwrap_or((field, "")))
        else {
            return Ok(None);
        };
        if !media_type.trim().eq_ignore_ascii_case("multipart/form-data") {
            return Ok(None);
        }
        let boundary =
            parameter(parameters, "boundary").filter(|boundary| !boundary.is_empty() && boundary.len() <= 70);
        let boundary = boundary.ok_or(KvApiError::InvalidForm("the multipart form has no boundary"))?;
        let delimiter = Finder::new(format!("\r\n--{boundary}").as_bytes()).into_owned();
        Ok(Some(Self {
            delimiter,
            rest: b"\r\n".to_vec(),
            rest_at: 0,
            state: ScanState::Preamble,
            value: None,
            metadata: None,
            metadata_bytes: 0,
        }))
    }

    /// Reads the next bytes of the body.
    ///
    /// # Errors
    /// [`KvApiError`] if the form is malformed, or its metadata is too long, not UTF-8 or
    /// contradicts itself.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<(), KvApiError> {
        self.rest.extend_from_slice(chunk);
        let rest = std::mem::take(&mut self.rest);
        let mut unread = rest.as_slice();
        loop {
            let read = self.step(unread)?;
            if read == 0 {
                break;
            }
            self.rest_at += read as u64;
            (_, unread) = unread.split_at(read);
        }
        self.rest = unread.to_vec();
        Ok(())
    }

    /// Returns what the form says.
    ///
    /// # Errors
    /// [`KvApiError::InvalidForm`] if the form broke off, or has no value. Whether the metadata is
    /// JSON is not checked.
    pub fn finish(self) -> Result<Form, KvApiError> {
        if !matches!(self.state, ScanState::End) {
            return Err(MALFORMED);
        }
        let missing = KvApiError::InvalidForm("multipart put request does not contain required form field 'value'");
        let metadata = match self.metadata {
            None => None,
            Some(FormMetadata::Json(json)) => Some(json),
            Some(FormMetadata::Fields(fields)) => Some(fields.to_string()),
        };
        Ok(Form { value: self.value.ok_or(missing)?, metadata })
    }

    /// Reads as much as it can of what is not read yet: a head, or content up to the next
    /// delimiter, or a delimiter. Returns how many bytes it has read; 0 if it needs more.
    fn step(&mut self, unread: &[u8]) -> Result<usize, KvApiError> {
        match &mut self.state {
            ScanState::End => Ok(unread.len()),
            ScanState::Head => {
                const END: &[u8] = b"\r\n\r\n";
                let end = memchr::memmem::find(unread, END);
                if end.unwrap_or(unread.len()) > HEAD_BYTES_MAX {
                    return Err(MALFORMED);
                }
                let Some(end) = end else { return Ok(0) };
                let (head, _) = unread.split_at(end);
                let read = end + END.len();
                let start = self.rest_at + read as u64;
                self.state = ScanState::Content { part: Part::of(head)?, start, bytes: Vec::new() };
                Ok(read)
            }
            ScanState::Preamble | ScanState::Content { .. } => match self.find_delimiter(unread)? {
                ContentScan::Content(0) => Ok(0),
                ContentScan::Content(length) => {
                    self.read_content(unread.split_at(length).0)?;
                    Ok(length)
                }
                ContentScan::Delimiter { length, is_last } => {
                    let next = if is_last { ScanState::End } else { ScanState::Head };
                    if let ScanState::Content { part, start, bytes } = std::mem::replace(&mut self.state, next) {
                        self.end_part(part, start..self.rest_at, bytes)?;
                    }
                    Ok(length)
                }
            },
        }
    }

    /// Returns whether what is not read begins with content, or with a delimiter. The line ending
    /// after a delimiter belongs to the head that follows.
    fn find_delimiter(&self, unread: &[u8]) -> Result<ContentScan, KvApiError> {
        let needle = self.delimiter.needle();
        let Some(start) = self.delimiter.find(unread) else {
            // The end may be the beginning of a delimiter.
            return Ok(ContentScan::Content(unread.len().saturating_sub(needle.len() - 1)));
        };
        if start > 0 {
            return Ok(ContentScan::Content(start));
        }
        let length = needle.len();
        let (_, after) = unread.split_at(length);
        // Padding (RFC 2046 §5.1.1).
        let padding = after.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        match after.split_at(padding).1 {
            [b'-', b'-', ..] if padding == 0 => Ok(ContentScan::Delimiter { length: length + 2, is_last: true }),
            [b'\r', b'\n', ..] => Ok(ContentScan::Delimiter { length: length + padding, is_last: false }),
            _ if padding > HEAD_BYTES_MAX => Err(MALFORMED),
            [] | [b'\r'] => Ok(ContentScan::Content(0)),
            [b'-'] if padding == 0 => Ok(ContentScan::Content(0)),
            // The boundary begins a longer line of the content.
            _ => Ok(ContentScan::Content(length)),
        }
    }

    /// Reads content of a part. Only that of metadata is copied.
    fn read_content(&mut self, content: &[u8]) -> Result<(), KvApiError> {
        if let ScanState::Content { part: Part::Metadata(_), bytes, .. } = &mut self.state {
            self.metadata_bytes += content.len();
            if self.metadata_bytes > METADATA_BYTES_MAX {
                return Err(KvApiError::MetadataTooLong(Operation::Put, self.metadata_bytes));
            }
            bytes.extend_from_slice(content);
        }
        Ok(())
    }

    /// Uses the content of a part. Of two values the first one counts.
    fn end_part(&mut self, part: Part, content: Range<u64>, bytes: Vec<u8>) -> Result<(), KvApiError> {
        match part {
            Part::Value => {
                let content = content.start - CR_LF..content.end - CR_LF;
                self.value.get_or_insert(content);
            }
            Part::Metadata(path) => {
                let text = String::from_utf8(bytes).map_err(|_| KvApiError::InvalidMetadata)?;
                self.metadata = Some(match self.metadata.take() {
                    None if path.is_empty() => FormMetadata::Json(text),
                    None => FormMetadata::Fields(with_leaf(Value::Object(Map::new()), &path, text)?),
                    Some(FormMetadata::Fields(fields)) if !path.is_empty() => {
                        FormMetadata::Fields(with_leaf(fields, &path, text)?)
                    }
                    Some(_) => return Err(KvApiError::InvalidMetadata),
                });
            }
            Part::Other => {}
        }
        Ok(())
    }
}

impl Part {
    /// Reads the head of a part: its lines, each preceded by CR LF.
    fn of(head: &[u8]) -> Result<Self, KvApiError> {
        let head = String::from_utf8_lossy(head);
        let disposition = head.split("\r\n").find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
        });
        let name = disposition.and_then(|value| parameter(value.split_once(';')?.1, "name"));
        let Some(name) = name else { return Ok(Self::Other) };
        if name == "value" {
            return Ok(Self::Value);
        }
        let Some(brackets) = name.strip_prefix("metadata") else { return Ok(Self::Other) };
        if brackets.is_empty() {
            return Ok(Self::Metadata(Vec::new()));
        }
        let Some(path) = brackets.strip_prefix('[').and_then(|path| path.strip_suffix(']')) else {
            return Ok(Self::Other);
        };
        let path: Vec<String> = path.split("][").map(str::to_owned).collect();
        if path.len() > METADATA_DEPTH_MAX { Err(KvApiError::InvalidMetadata) } else { Ok(Self::Metadata(path)) }
    }
}

/// Returns metadata with another leaf, which is a string. An empty name appends to a list, as in
/// `metadata[l][]`.
fn with_leaf(mut fields: Value, path: &[String], text: String) -> Result<Value, KvApiError> {
    insert(&mut fields, path, text)?;
    Ok(fields)
}

fn insert(into: &mut Value, path: &[String], text: String) -> Result<(), KvApiError> {
    let Some((name, rest)) = path.split_first() else {
        // A new leaf is `Null`. One that has a value already contradicts it.
        return match std::mem::replace(into, Value::String(text)) {
            Value::Null => Ok(()),
            _ => Err(KvApiError::InvalidMetadata),
        };
    };
    let empty = match rest.first().map(String::as_str) {
        None => Value::Null,
        Some("") => Value::Array(Vec::new()),
        Some(_) => Value::Object(Map::new()),
    };
    let place = match into {
        Value::Array(list) if name.is_empty() => {
            list.push(empty);
            list.last_mut()
        }
        Value::Object(members) if !name.is_empty() => Some(members.entry(name.as_str()).or_insert(empty)),
        _ => None,
    };
    insert(place.ok_or(KvApiError::InvalidMetadata)?, rest, text)
}

/// Returns a parameter of a header field, without its quotes (RFC 9110 §5.6.6).
fn parameter(parameters: &str, name: &str) -> Option<String> {
    let mut rest = parameters;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ';']);
        let (key, after) = rest.split_once('=')?;
        let (value, after) = if let Some(quoted) = after.strip_prefix('"') {
            quoted_string(quoted)?
        } else {
            let (value, after) = after.split_at(after.find(';').unwrap_or(after.len()));
            (value.trim().to_owned(), after)
        };
        if key.trim().eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = after;
    }
}

/// Reads a quoted string after its first quote. Returns it, and what follows its last quote.
fn quoted_string(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => return Some((value, characters.as_str())),
            '\\' => value.push(characters.next()?),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=B";

    /// Reads a form in chunks of this length, and returns the value with the metadata.
    fn read(content_type: &str, body: &[u8], chunk: usize) -> Result<(Vec<u8>, Option<String>), KvApiError> {
        let mut scanner = FormScanner::of(Some(content_type))?.expect("a form");
        for chunk in body.chunks(chunk.max(1)) {
            scanner.feed(chunk)?;
        }
        let Form { value, metadata } = scanner.finish()?;
        let value = usize::try_from(value.start).unwrap()..usize::try_from(value.end).unwrap();
        Ok((body[value].to_vec(), metadata))
    }

    fn text(body: &str) -> Result<(String, Option<String>), KvApiError> {
        let one = read(TYPE, body.as_bytes(), 1);
        assert_eq!(one, read(TYPE, body.as_bytes(), body.len()), "chunks make no difference");
        one.map(|(value, metadata)| (String::from_utf8(value).unwrap(), metadata))
    }

    /// Returns a form with these parts, each the parameters of its disposition and its content.
    fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (parameters, content) in parts {
            body.extend_from_slice(format!("--B\r\nContent-Disposition: form-data; {parameters}\r\n\r\n").as_bytes());
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--B--\r\n");
        body
    }

    #[test]
    fn the_forms_of_the_clients_are_read() {
        let wrangler = "--B\r\nContent-Disposition: form-data; name=\"value\"\r\n\r\nv\r\n--B\r\nContent-Disposition: form-data; name=\"metadata\"\r\n\r\n{\"a\":1}\r\n--B--";
        assert_eq!(text(wrangler), Ok(("v".into(), Some(r#"{"a":1}"#.into()))));
        let with_type = "--B\r\ncontent-disposition: form-data; filename=\"metadata\"; name=\"metadata\"\r\nContent-Type: application/json\r\n\r\n{}\r\n--B\r\nContent-Type: application/octet-stream\r\nContent-Disposition: form-data; name=value; filename=\"blob\"\r\n\r\n\r\n--B--\r\n\r\n";
        assert_eq!(text(with_type), Ok((String::new(), Some("{}".into()))));
        let fields = form(&[
            ("name=\"value\"", b"v"),
            ("name=\"metadata[a]\"", b"1"),
            ("name=\"metadata[b][c]\"", b"d"),
            ("name=\"metadata[l][]\"", b"1"),
            ("name=\"metadata[l][]\"", b"true"),
            ("name=\"other\"", b"x"),
        ]);
        let json = r#"{"a":"1","b":{"c":"d"},"l":["1","true"]}"#;
        assert_eq!(read(TYPE, &fields, 7), Ok((b"v".to_vec(), Some(json.into()))));
    }

    #[test]
    fn the_content_is_not_repaired() {
        for value in ["line\r\nbreak", "\r\n", "\r\n--", "\r\n--Bx\r\n", "a\nb", "a--B--", "\r\n--B x", "\r\n--B -- x"]
        {
            let body = form(&[("name=\"value\"", value.as_bytes())]);
            assert_eq!(read(TYPE, &body, 3), Ok((value.as_bytes().to_vec(), None)), "{value:?}");
        }
    }

    #[test]
    fn a_form_that_is_broken_or_has_no_value_is_refused() {
        for body in [
            "",
            "--B",
            "--B\r\nContent-Disposition: form-data; name=\"value\"\r\n\r\nv",
            "--B\r\nContent-Disposition: form-data; name=\"value\"\r\n\r\nv\r\n--B",
        ] {
            assert_eq!(text(body), Err(MALFORMED), "{body}");
        }
        for body in ["--B--", "--B\r\nContent-Disposition: form-data; name=\"metadata\"\r\n\r\n{}\r\n--B--"] {
            assert!(matches!(text(body), Err(KvApiError::InvalidForm(why)) if why.contains("'value'")), "{body}");
        }
        assert!(FormScanner::of(Some("multipart/form-data")).is_err());
        let huge = [&b"--B\r\nX: "[..], &[b'x'; HEAD_BYTES_MAX + 100]].concat();
        assert_eq!(read(TYPE, &huge, 1000), Err(MALFORMED));
        let long = form(&[("name=\"metadata\"", &vec![b' '; METADATA_BYTES_MAX + 1]), ("name=\"value\"", b"")]);
        for chunk in [1000, long.len()] {
            assert!(matches!(read(TYPE, &long, chunk), Err(KvApiError::MetadataTooLong(..))));
        }
    }

    #[test]
    fn metadata_fields_that_contradict_each_other_are_refused() {
        for names in
            [["metadata[a]", "metadata[a][b]"], ["metadata[a][]", "metadata[a][b]"], ["metadata[]", "metadata[]"]]
        {
            let parts = names.map(|name| format!("name=\"{name}\""));
            let body = form(&[("name=\"value\"", b"v"), (&parts[0], b"1"), (&parts[1], b"2")]);
            assert_eq!(read(TYPE, &body, 100), Err(KvApiError::InvalidMetadata), "{names:?}");
        }
    }

    #[test]
    fn only_a_form_is_read_as_one() {
        for content_type in
            [None, Some("application/json"), Some("multipart/mixed; boundary=B"), Some("text/plain;charset=UTF-8")]
        {
            assert!(FormScanner::of(content_type).is_ok_and(|scanner| scanner.is_none()), "{content_type:?}");
        }
        for content_type in ["Multipart/Form-Data;Boundary=\"B\"", "multipart/form-data; charset=utf-8; boundary=B"] {
            let body = form(&[("name=\"value\"", b"v")]);
            assert_eq!(read(content_type, &body, 5), Ok((b"v".to_vec(), None)), "{content_type}");
        }
    }

    proptest! {
        #[test]
        fn any_value_and_metadata_come_back_whatever_the_chunks(
            value in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'-'), any::<u8>()], 0..200),
            metadata in proptest::option::of("[a-z\r\n-]{0,40}"),
            chunk in 1_usize..64,
        ) {
            let is_free = |bytes: &[u8]| memchr::memmem::find(&[b"\r\n", bytes].concat(), b"\r\n--B").is_none();
            prop_assume!(is_free(&value));
            let mut parts: Vec<(&str, &[u8])> = Vec::new();
            if let Some(metadata) = &metadata {
                parts.push(("name=\"metadata\"", metadata.as_bytes()));
            }
            parts.push(("name=\"value\"; filename=\"f\"", &value));
            prop_assert_eq!(read(TYPE, &form(&parts), chunk), Ok((value.clone(), metadata.clone())));
        }

        #[test]
        fn no_head_of_a_part_and_no_content_type_make_the_scanner_panic(
            parts in proptest::collection::vec(
                proptest::sample::select(vec![
                    "Content-Disposition", ": ", "form-data", "; ", "name", "=", "\"", "\\", "metadata", "[", "]", "a", "value",
                    "\r\n", "\r\n\r\n", "\r\n--B", "--", "boundary", "B", " ", "é", "multipart/form-data;",
                ]),
                0..40,
            ),
            chunk in 1_usize..20,
        ) {
            let text = parts.concat();
            let body = format!("--B\r\nContent-Disposition: form-data; {text}");
            let _outcome = read(TYPE, body.as_bytes(), chunk);
            let _outcome = FormScanner::of(Some(&text));
            let _outcome = FormScanner::of(Some(&format!("multipart/form-data; boundary=B{text}")));
        }

        #[test]
        fn no_body_makes_the_scanner_panic(body in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'-'), Just(b'B'), Just(b' '), any::<u8>()], 0..200), chunk in 1_usize..20) {
            let _outcome = read(TYPE, &body, chunk);
        }
    }
}
