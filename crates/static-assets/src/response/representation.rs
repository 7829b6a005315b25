//! Selects a representation of a file, evaluates preconditions and ranges in the order of RFC
//! 9110 §13.2.2, and makes the response.

use http_semantics::http_date;
use std::ops;

use super::header_fields::{self, FixedFields};
use super::language::{self, SelectedFile};
use super::{AssetRequest, AssetResponse, Content, ContentPart, FieldLines, FileRole, ServedRelease, header_changes};
use crate::AssetError;
use crate::manifest::{File, FileBody};
use http_semantics::accept_encoding::{AcceptEncoding, ContentCoding, NegotiatedCoding};
use http_semantics::conditional::{self, PreconditionResult, Validators};
use http_semantics::fields::Fields;
use http_semantics::range::{Range, content_range};

/// The response with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileResponse<'m> {
    /// 200, 206, 304 or 404.
    pub status: u16,
    /// The header fields.
    pub fields: FieldLines<'m>,
    /// The content; none for HEAD and 304.
    pub content: Content<'m>,
    /// The file, or the translation of it that was selected.
    pub file: &'m File,
}

/// A selected representation of a file (RFC 9110 §3.2).
struct Representation<'m> {
    body: &'m FileBody,
    coding: Option<ContentCoding>,
    etag: String,
}

/// Returns the response with the file at a path, or with one of its translations. For the page
/// of a 404 only language and encoding are negotiated: preconditions and ranges are ignored (RFC
/// 9110 §13.2.1, §14.2).
pub(super) fn respond<'m, F: Fields>(
    release: ServedRelease<'m>,
    path: &str,
    role: FileRole,
    request: &AssetRequest<'_, F>,
) -> Result<AssetResponse<'m>, AssetError> {
    let Some(page) = release.manifest.file(path) else { return Ok(AssetResponse::NotFound) };
    let selected = language::select(release, page, request);
    let response = FileResponder { release, page, selected, role, request }.respond()?;
    Ok(AssetResponse::File(Box::new(response)))
}

struct FileResponder<'m, 'a, F> {
    release: ServedRelease<'m>,
    page: &'m File,
    selected: SelectedFile<'m>,
    role: FileRole,
    request: &'a AssetRequest<'a, F>,
}

impl<'m, F: Fields> FileResponder<'m, '_, F> {
    fn respond(&self) -> Result<FileResponse<'m>, AssetError> {
        let file = self.selected.file;
        // A file without encodings is sent even if `Accept-Encoding` refuses it, which RFC 9110
        // §12.5.3 allows. So the response does not vary by that field.
        let accepted = (!file.encoded.is_empty())
            .then(|| AcceptEncoding::parse(self.request.fields.get("accept-encoding").as_deref()));
        if self.role != FileRole::NotFoundPage
            && self.request.method == "GET"
            && let Some(range) = self.request.fields.get("range")
            && accepted.as_ref().is_none_or(AcceptEncoding::accepts_identity)
        {
            let representation = self.representation(&file.body, None);
            let if_range = self.request.fields.get("if-range");
            let range = Range::of(
                Some(&range),
                if_range.as_deref(),
                &self.if_range_validators(&representation),
                representation.body.length,
            );
            // If `Range` is ignored, the preconditions are for the representation that is sent
            // instead.
            if range != Range::Whole
                && let Some(not_modified) = self.not_modified(&representation)?
            {
                return Ok(not_modified);
            }
            match range {
                Range::Satisfiable(parts) => return Ok(self.partial(&representation, &parts)),
                Range::Unsatisfiable => return Err(AssetError::RangeNotSatisfiable(representation.body.length)),
                Range::Whole => {}
            }
        }
        let encoded: Vec<(ContentCoding, u64)> =
            file.encoded.iter().map(|encoded| (encoded.coding, encoded.body.length)).collect();
        let selected = match accepted.map(|accepted| accepted.choose(file.body.length, &encoded)) {
            Some(NegotiatedCoding::Encoded(coding)) => file.encoded.iter().find(|encoded| encoded.coding == coding),
            Some(NegotiatedCoding::Identity) | None => None,
            // A 406 would say less than the page of the 404.
            Some(NegotiatedCoding::NotAcceptable) if self.role == FileRole::NotFoundPage => None,
            Some(NegotiatedCoding::NotAcceptable) => return Err(AssetError::NotAcceptable),
        };
        let representation = match selected {
            Some(encoded) => self.representation(&encoded.body, Some(encoded.coding)),
            None => self.representation(&file.body, None),
        };
        if self.role != FileRole::NotFoundPage
            && let Some(not_modified) = self.not_modified(&representation)?
        {
            return Ok(not_modified);
        }
        let status = if self.role == FileRole::NotFoundPage { 404 } else { 200 };
        let mut lines = self.field_lines(&representation, status);
        let is_head = self.request.method == "HEAD";
        if is_head {
            lines.push(("content-length".into(), representation.body.length.to_string().into()));
        }
        let content = if is_head { Content::None } else { Content::Whole(representation.body) };
        Ok(FileResponse { status, fields: lines, content, file })
    }

    /// The entity tag is the hash of the whole body, so each encoding has its own (RFC 9110
    /// §8.8.3.3). Translations may have the same bytes, so the tag has their language, too.
    fn representation(&self, body: &'m FileBody, coding: Option<ContentCoding>) -> Representation<'m> {
        let etag = match self.selected.tag {
            Some(tag) => format!("\"{}.{tag}\"", body.hash),
            None => format!("\"{}\"", body.hash),
        };
        Representation { body, coding, etag }
    }

    fn modified_ms(&self) -> u64 {
        self.release.pointer.modified_seconds(self.selected.file).saturating_mul(1000)
    }

    fn validators<'f>(&self, representation: &'f Representation<'m>) -> Validators<'f> {
        // Translations may have the same date, so only the entity tag tells them apart.
        let last_modified_ms = self.page.translations.is_empty().then(|| self.modified_ms());
        Validators { etag: Some(&representation.etag), last_modified_ms, received_ms: u64::MAX }
    }

    /// A date that several encodings or translations share is a weak validator (RFC 9110
    /// §8.8.1). With it, a client could join parts of two representations.
    fn if_range_validators<'f>(&self, representation: &'f Representation<'m>) -> Validators<'f> {
        let is_shared = !(self.selected.file.encoded.is_empty() && self.page.translations.is_empty());
        let validators = self.validators(representation);
        Validators { last_modified_ms: validators.last_modified_ms.filter(|_| !is_shared), ..validators }
    }

    /// Returns a 304 if the preconditions say that the client has this representation.
    fn not_modified(&self, representation: &Representation<'m>) -> Result<Option<FileResponse<'m>>, AssetError> {
        match conditional::evaluate(self.request.method, self.request.fields, &self.validators(representation)) {
            PreconditionResult::Holds => Ok(None),
            PreconditionResult::Failed => Err(AssetError::PreconditionFailed),
            PreconditionResult::NotModified => {
                let fields = self.field_lines(representation, 304);
                Ok(Some(FileResponse { status: 304, fields, content: Content::None, file: self.selected.file }))
            }
        }
    }

    fn partial(&self, representation: &Representation<'m>, ranges: &[ops::Range<u64>]) -> FileResponse<'m> {
        let mut fields = self.field_lines(representation, 206);
        let body = representation.body;
        let (parts, length) = if let [range] = ranges {
            fields.push(("content-range".into(), content_range(range, body.length).into()));
            (vec![ContentPart::Bytes(range.clone())], length(range))
        } else {
            // The chance that the bytes contain their own hash is 2^-128.
            let boundary = format!("kv-edge-{}", body.hash);
            // The parts have the media type that `_headers` may have set.
            let media_type = fields.iter().find(|(name, _)| name == "content-type").map(|(_, value)| value.clone());
            fields.retain(|(name, _)| name != "content-type");
            fields.push(("content-type".into(), format!("multipart/byteranges; boundary={boundary}").into()));
            multipart(&boundary, media_type.as_deref(), ranges, body.length)
        };
        FileResponse { status: 206, fields, content: Content::Parts { body, parts, length }, file: self.selected.file }
    }

    fn field_lines(&self, representation: &Representation<'m>, status: u16) -> FieldLines<'m> {
        let file = self.selected.file;
        let is_own_path = self.request.path.file() == Some(&*file.path);
        let mut lines = header_fields::of_file(file, status, is_own_path);
        if status != 404 {
            lines.push(("etag".into(), representation.etag.clone().into()));
            lines.push(("last-modified".into(), http_date::format(self.modified_ms()).into()));
            lines.push(("accept-ranges".into(), "bytes".into()));
        }
        if let Some(coding) = representation.coding {
            lines.push(("content-encoding".into(), coding.as_str().into()));
        }
        lines.extend(header_fields::vary(!file.encoded.is_empty(), self.selected.varies, self.role));
        language::describe(self.release, self.page, &self.selected, &mut lines);
        let fixed = if status == 404 { FixedFields::Caching } else { FixedFields::Nothing };
        header_fields::change(&mut lines, header_changes(self.release, self.request), fixed);
        if status == 304 {
            header_fields::remove_content_fields(&mut lines);
        }
        lines
    }
}

fn length(range: &ops::Range<u64>) -> u64 {
    range.end - range.start
}

/// Returns the parts of `multipart/byteranges` (RFC 9110 §14.6) and their length in bytes.
fn multipart(
    boundary: &str,
    media_type: Option<&str>,
    ranges: &[ops::Range<u64>],
    whole: u64,
) -> (Vec<ContentPart>, u64) {
    let mut parts = Vec::new();
    let mut bytes: u64 = 0;
    for (index, range) in ranges.iter().enumerate() {
        let before = if index == 0 { "" } else { "\r\n" };
        let mut head = String::with_capacity(192);
        head.extend([before, "--", boundary, "\r\n"]);
        if let Some(media_type) = media_type {
            head.extend(["Content-Type: ", media_type, "\r\n"]);
        }
        head.extend(["Content-Range: ", &content_range(range, whole), "\r\n\r\n"]);
        bytes += head.len() as u64 + length(range);
        parts.extend([ContentPart::Text(head), ContentPart::Bytes(range.clone())]);
    }
    let end = format!("\r\n--{boundary}--\r\n");
    bytes += end.len() as u64;
    parts.push(ContentPart::Text(end));
    (parts, bytes)
}
