//! The character encoding of a page, found with the encoding sniffing algorithm of the HTML
//! Standard (§13.2.3.2), with two differences:
//!
//! - If the first `charset` of the `Content-Type` names no encoding, the next one counts. Browsers
//!   read the first one alone (MIME Sniffing Standard, "parse a MIME type").
//! - The last resort is UTF-8, in a browser an encoding that depends on the user's language.
//!
//! ```
//! use http_cache::page_view::charset;
//!
//! // The runtime knows the labels and the encodings that they name (Encoding Standard, §4.2).
//! let encoding = |label: &str| (label == "latin1").then(|| "windows-1252".to_owned());
//! let page = b"<!doctype html><meta charset=latin1><title>K\xe4se</title>";
//! assert_eq!(charset::sniff(page, Some("text/html"), encoding), "windows-1252");
//! ```

use super::scan::{HtmlAttribute, Scan, is_space};

/// The encoding of pages that state none.
pub const UTF_8: &str = "utf-8";

/// How many bytes at the beginning of a page are searched for a declaration of its encoding
/// (HTML Standard, §13.2.3.2).
const HEAD_BYTES: usize = 1024;

/// Returns the encoding of a page, by its name in the Encoding Standard: that of its byte order
/// mark, of the `charset` of its `Content-Type`, of what its first 1024 bytes declare, or UTF-8,
/// in this order. `encoding` returns the name of the encoding for a label; a label that names
/// none is ignored.
///
/// [The module](self) has an example.
#[must_use]
pub fn sniff(page: &[u8], content_type: Option<&str>, encoding: impl Fn(&str) -> Option<String>) -> String {
    // The label of most pages is the name.
    let encoding =
        |label: &str| if label.eq_ignore_ascii_case(UTF_8) { Some(UTF_8.to_owned()) } else { encoding(label) };
    byte_order_mark(page)
        .map(str::to_owned)
        .or_else(|| charset_parameters(content_type?).find_map(|label| encoding(&label)))
        .or_else(|| declared(page.get(..HEAD_BYTES).unwrap_or(page), &encoding))
        .unwrap_or_else(|| UTF_8.to_owned())
}

/// Returns the text of a page in UTF-8, with U+FFFD in place of what is not UTF-8.
///
/// # Examples
///
/// ```
/// use http_cache::page_view::charset::decode_utf_8;
///
/// assert_eq!(decode_utf_8(b"K\xe4se".to_vec()), "K\u{fffd}se");
/// ```
#[must_use]
pub fn decode_utf_8(page: Vec<u8>) -> String {
    String::from_utf8(page).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Returns the encoding of a byte order mark (Encoding Standard, §6).
fn byte_order_mark(head: &[u8]) -> Option<&'static str> {
    match head {
        [0xef, 0xbb, 0xbf, ..] => Some(UTF_8),
        [0xfe, 0xff, ..] => Some("utf-16be"),
        [0xff, 0xfe, ..] => Some("utf-16le"),
        _ => None,
    }
}

/// Returns the values of `charset` in a `Content-Type` (RFC 9110 §8.3.1): tokens or quoted
/// strings.
fn charset_parameters(content_type: &str) -> impl Iterator<Item = String> {
    let mut rest = content_type.split_once(';').map_or("", |(_, parameters)| parameters);
    std::iter::from_fn(move || {
        loop {
            let (name, value) = rest.split_once('=')?;
            // A parameter without a value may precede it.
            let name = name.rsplit_once(';').map_or(name, |(_, name)| name).trim();
            let value = value.trim_start();
            let (value, after) = if let Some(quoted) = value.strip_prefix('"') {
                quoted_string(quoted)
            } else {
                let (token, after) = value.split_at(value.find(';').unwrap_or(value.len()));
                (token.trim().to_owned(), after)
            };
            rest = after;
            if name.eq_ignore_ascii_case("charset") {
                return Some(value);
            }
        }
    })
}

/// Returns the text of a quoted string whose opening quote has been read, and the text after it
/// (RFC 9110 §5.6.4).
fn quoted_string(quoted: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => return (value, characters.as_str()),
            '\\' => value.extend(characters.next()),
            _ => value.push(character),
        }
    }
    (value, "")
}

/// Returns the encoding that the page declares: in an XML declaration of UTF-16, a `<meta>`, or
/// an XML declaration ("prescan a byte stream to determine its encoding").
fn declared(head: &[u8], encoding: &impl Fn(&str) -> Option<String>) -> Option<String> {
    match head {
        [b'<', 0, b'?', 0, b'x', 0, ..] => return Some("utf-16le".to_owned()),
        [0, b'<', 0, b'?', 0, b'x', ..] => return Some("utf-16be".to_owned()),
        _ => {}
    }
    let read = |label: &[u8]| match encoding(&String::from_utf8_lossy(label))?.as_str() {
        // If the declaration could be read byte by byte, the page is not UTF-16.
        "utf-16le" | "utf-16be" => Some(UTF_8.to_owned()),
        "x-user-defined" => Some("windows-1252".to_owned()),
        name => Some(name.to_owned()),
    };
    let mut scan = Scan { rest: head };
    while !scan.rest.is_empty() {
        if scan.rest.starts_with(b"<!--") {
            // `<!-->` is a comment: the dashes of its beginning may be those of its end.
            scan.skip(2);
            scan.skip_past(b"-->");
        } else if scan.starts_with_tag(b"meta") {
            scan.skip(b"<meta".len());
            if let Some(name) = scan.meta(&read) {
                return Some(name);
            }
        } else if scan.starts_with_tag(b"") {
            scan.skip_to(|byte| is_space(byte) || byte == b'>');
            while scan.attribute().is_some() {}
        } else if [&b"<!"[..], b"</", b"<?"].iter().any(|start| scan.rest.starts_with(start)) {
            scan.skip_to(|byte| byte == b'>');
        } else {
            scan.skip(1);
        }
    }
    read(xml_encoding(head)?)
}

/// Returns the `encoding` of an XML declaration ("get an XML encoding").
fn xml_encoding(head: &[u8]) -> Option<&[u8]> {
    let declaration = head.strip_prefix(b"<?xml")?;
    let (declaration, _) = declaration.split_at(declaration.iter().position(|byte| *byte == b'>')?);
    let mut scan = Scan { rest: declaration };
    scan.skip_past(b"encoding");
    let is_blank = |byte: u8| byte <= b' ';
    scan.skip_to(|byte| !is_blank(byte));
    scan.rest = scan.rest.strip_prefix(b"=")?;
    scan.skip_to(|byte| !is_blank(byte));
    let quote = scan.next().filter(|quote| matches!(quote, b'"' | b'\''))?;
    let (label, _) = scan.rest.split_at(scan.rest.iter().position(|byte| *byte == quote)?);
    (!label.iter().any(|byte| is_blank(*byte))).then_some(label)
}

/// Returns the label in a `content` such as `text/html; charset=utf-8` ("extracting a character
/// encoding from a meta element").
fn charset_in_content(content: &[u8]) -> Option<&[u8]> {
    let mut scan = Scan { rest: content };
    loop {
        let at = scan.rest.windows(b"charset".len()).position(|part| part.eq_ignore_ascii_case(b"charset"))?;
        scan.skip(at + b"charset".len());
        scan.skip_to(|byte| !is_space(byte));
        let Some(value) = scan.rest.strip_prefix(b"=") else { continue };
        scan.rest = value;
        scan.skip_to(|byte| !is_space(byte));
        return match scan.rest {
            [quote @ (b'"' | b'\''), label @ ..] => {
                Some(label.split_at(label.iter().position(|byte| byte == quote)?).0)
            }
            label => label.split(|byte| is_space(*byte) || *byte == b';').next(),
        };
    }
}

impl Scan<'_> {
    /// Returns true if the next bytes are a `<`, this name, and white space or a `/`. With an
    /// empty name, returns true if they begin a start tag or an end tag of any name.
    fn starts_with_tag(&self, name: &[u8]) -> bool {
        let Some(tag) = self.rest.strip_prefix(b"<") else { return false };
        if name.is_empty() {
            let tag = tag.strip_prefix(b"/").unwrap_or(tag);
            return tag.first().is_some_and(u8::is_ascii_alphabetic);
        }
        tag.split_at_checked(name.len()).is_some_and(|(start, after)| {
            start.eq_ignore_ascii_case(name) && after.first().is_some_and(|byte| is_space(*byte) || *byte == b'/')
        })
    }

    /// Reads the attributes of a `<meta>`, after its name, and returns the encoding that it
    /// declares.
    fn meta(&mut self, encoding: &impl Fn(&[u8]) -> Option<String>) -> Option<String> {
        let (mut has_pragma, mut needs_pragma, mut charset) = (false, false, None);
        let mut known: Vec<Vec<u8>> = Vec::new();
        while let Some(HtmlAttribute { name, value }) = self.attribute() {
            let name = name.to_ascii_lowercase();
            // If a name is repeated, the first attribute counts.
            if known.contains(&name) {
                continue;
            }
            match name.as_slice() {
                b"http-equiv" => has_pragma |= value.eq_ignore_ascii_case(b"content-type"),
                b"content" if charset.is_none() => {
                    if let Some(name) = charset_in_content(value).and_then(encoding) {
                        (charset, needs_pragma) = (Some(Some(name)), true);
                    }
                }
                b"charset" => (charset, needs_pragma) = (Some(encoding(value)), false),
                _ => {}
            }
            known.push(name);
        }
        charset?.filter(|_| has_pragma || !needs_pragma)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Some labels of the Encoding Standard.
    fn encoding(label: &str) -> Option<String> {
        let name = match label.trim_ascii().to_ascii_lowercase().as_str() {
            "utf-8" | "utf8" => "utf-8",
            "iso-8859-1" | "latin1" | "windows-1252" => "windows-1252",
            "windows-1251" => "windows-1251",
            "shift_jis" | "sjis" => "shift_jis",
            "euc-jp" => "euc-jp",
            "iso-2022-jp" => "iso-2022-jp",
            "utf-16" | "utf-16le" => "utf-16le",
            "utf-16be" => "utf-16be",
            "x-user-defined" => "x-user-defined",
            _ => return None,
        };
        Some(name.to_owned())
    }

    fn sniffed(head: &[u8], content_type: Option<&str>) -> String {
        sniff(head, content_type, encoding)
    }

    #[test]
    fn the_charset_of_content_type_counts_unless_it_names_no_encoding() {
        for (content_type, name) in [
            ("text/html", "utf-8"),
            ("text/html; charset=iso-8859-1", "windows-1252"),
            ("text/html;charset=\"Shift_JIS\"", "shift_jis"),
            ("text/html; CHARSET = EUC-JP ; a=b", "euc-jp"),
            ("text/html; a; charset=euc-jp", "euc-jp"),
            ("text/html; a=\"; charset=euc-jp\"; charset=windows-1251", "windows-1251"),
            ("text/html; a=\"\\\"; charset=euc-jp\"; charset=\"windows\\-1251\"", "windows-1251"),
            ("text/html; x-charset=euc-jp", "utf-8"),
            ("text/html; charset=nonsense", "utf-8"),
            ("text/html; charset=nonsense; charset=euc-jp", "euc-jp"),
            ("text/html; charset=", "utf-8"),
            ("text/html; charset=\"", "utf-8"),
            ("charset=euc-jp", "utf-8"),
            ("", "utf-8"),
        ] {
            assert_eq!(sniffed(b"", Some(content_type)), name, "{content_type}");
        }
        assert_eq!(sniffed(b"", None), "utf-8");
    }

    #[test]
    fn a_byte_order_mark_wins_over_content_type_and_that_over_the_page() {
        let windows = Some("text/html; charset=windows-1251");
        for (head, content_type, name) in [
            (&b"\xef\xbb\xbf<meta charset=euc-jp>"[..], windows, "utf-8"),
            (b"\xfe\xff\0<", windows, "utf-16be"),
            (b"\xff\xfe<\0", windows, "utf-16le"),
            (b"<meta charset=euc-jp>", windows, "windows-1251"),
            (b"<meta charset=euc-jp>", Some("text/html; charset=nonsense"), "euc-jp"),
            (b"<meta charset=euc-jp>", Some("text/html"), "euc-jp"),
            (b"<\0?\0x\0", None, "utf-16le"),
            (b"\0<\0?\0x", None, "utf-16be"),
        ] {
            assert_eq!(sniffed(head, content_type), name, "{head:?} {content_type:?}");
        }
    }

    #[test]
    fn the_declared_encoding_is_found_as_the_html_standard_says() {
        for (head, name) in [
            ("<!doctype html><html><head><meta charset=\"Shift_JIS\">", "shift_jis"),
            ("<META CHARSET='sjis'/>", "shift_jis"),
            ("<meta/charset = sjis >", "shift_jis"),
            ("<meta name=a charset=sjis>", "shift_jis"),
            ("<meta http-equiv=Content-Type content='text/html; charset=euc-jp'>", "euc-jp"),
            ("<meta content=\"text/html; Charset = 'euc-jp'\" http-equiv=content-type>", "euc-jp"),
            ("<meta http-equiv=content-type content='a charset b charset=euc-jp;c'>", "euc-jp"),
            // Without the pragma `content` is about something else.
            ("<meta content='text/html; charset=euc-jp'>", "utf-8"),
            ("<meta http-equiv=refresh content='0; charset=euc-jp'>", "utf-8"),
            // `charset` has precedence over `content`; if a name is repeated, the first
            // attribute counts.
            ("<meta http-equiv=content-type content='charset=euc-jp' charset=sjis>", "shift_jis"),
            ("<meta charset=sjis charset=euc-jp>", "shift_jis"),
            // A label that names no encoding is ignored; the next one counts.
            ("<meta charset=nonsense><meta charset=sjis>", "shift_jis"),
            ("<meta charset=\"sjis", "utf-8"),
            ("<meta charset>", "utf-8"),
            ("<metas charset=sjis>", "utf-8"),
            ("<meta>", "utf-8"),
            // Comments, other tags, and text in their attributes.
            ("<!-- <meta charset=sjis> --><meta charset=euc-jp>", "euc-jp"),
            ("<!--><meta charset=euc-jp>", "euc-jp"),
            ("<!---><meta charset=euc-jp>", "euc-jp"),
            ("<p title='<meta charset=sjis>'><meta charset=euc-jp>", "euc-jp"),
            ("</p title='<meta charset=sjis>'><meta charset=euc-jp>", "euc-jp"),
            ("<!a <meta charset=sjis><meta charset=euc-jp>", "euc-jp"),
            ("< meta charset=sjis>", "utf-8"),
            // If the declaration could be read byte by byte, the page is not UTF-16.
            ("<meta charset=utf-16>", "utf-8"),
            ("<meta charset=utf-16be>", "utf-8"),
            ("<meta charset=x-user-defined>", "windows-1252"),
            ("<?xml version='1.0' encoding='euc-jp'?><html>", "euc-jp"),
            ("<?xml encoding = \"euc-jp\"?><meta charset=sjis>", "shift_jis"),
            ("<?xml encoding='euc jp'?>", "utf-8"),
            ("<?xml encoding=euc-jp?>", "utf-8"),
            ("<?xml encoding='utf-16'?>", "utf-8"),
            ("<?xml encoding='euc-jp'", "utf-8"),
            (" <?xml encoding='euc-jp'?>", "utf-8"),
        ] {
            assert_eq!(sniffed(head.as_bytes(), Some("text/html")), name, "{head}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(head in proptest::collection::vec(any::<u8>(), 0..1024), content_type in ".*") {
            sniffed(&head, Some(&content_type));
        }

        #[test]
        fn no_markup_makes_it_panic(
            parts in proptest::collection::vec(
                proptest::sample::select(vec![
                    "<", ">", "/", "!", "--", "?", "=", "'", "\"", " ", "meta", "charset", "content", "http-equiv", "xml", "encoding", "sjis",
                    "content-type", ";", "a", "\0",
                ]),
                0..60,
            ),
        ) {
            let head = parts.concat();
            sniffed(head.as_bytes(), None);
        }
    }
}
