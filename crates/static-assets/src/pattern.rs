//! Patterns: the sources of `_redirects` and `_headers` (Workers static assets, "Redirects" and
//! "Headers"). A pattern is a path in which `*` matches any text and `:name` a part of one
//! segment. `https://` and a host may precede it.
//!
//! A slash is matched by itself or by `*`, never by `:name`. So a path is compared segment by
//! segment, and each segment from its end. Each literal is taken as far right as possible, so
//! each placeholder is as long as possible, the first ones first: what the documentation calls
//! greedy. There is no backtracking; the time is linear in the length of the path.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::AssetPath;
use super::allocation::{allocated, allocated_list};
use http_semantics::request_target::{BadPercentEncoding, percent_decode};

/// The name of the placeholder `*`.
const SPLAT: &str = "splat";

/// All characters but the unreserved ones (RFC 3986 §2.3) and the slash. Text that is encoded
/// like this cannot end a field value, a query or a fragment.
pub(super) const STRICT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    /// The pattern as it was written.
    text: Box<str>,
    /// The host, in lower case; `None` matches any host.
    host: Option<SegmentSequence>,
    path: SegmentSequence,
}

/// Segments with a delimiter between them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SegmentSequence {
    delimiter: char,
    segments: Vec<PatternSegment>,
    /// The position of the splat: the segment, and the index in its `rest`.
    splat: Option<(usize, usize)>,
}

/// A literal, then placeholders with a literal after each. A literal may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct PatternSegment {
    first: String,
    rest: Vec<(Placeholder, String)>,
}

/// A placeholder.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Placeholder {
    /// `*`: any text, also the empty one.
    Splat,
    /// `:name`: at least one character.
    Name(Box<str>),
}

/// The text that each placeholder matched, with its name.
#[derive(Debug, Default)]
pub(super) struct Captures<'a> {
    texts: Vec<(&'a str, &'a str)>,
    /// True if the texts are percent-encoded, because the path cannot be decoded.
    is_encoded: bool,
}

/// A piece of a text that has placeholders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PatternToken<'a> {
    Literal(&'a str),
    /// Without its colon.
    Name(&'a str),
}

impl SegmentSequence {
    /// Returns the bytes of memory that its lists and texts take.
    fn owned_bytes(&self) -> usize {
        let of_placeholder = |(placeholder, literal): &(Placeholder, String)| {
            let name = if let Placeholder::Name(name) = placeholder { name.len() } else { 0 };
            allocated(name) + allocated(literal.capacity())
        };
        let of_segment = |segment: &PatternSegment| {
            let rest: usize = segment.rest.iter().map(of_placeholder).sum();
            allocated(segment.first.capacity()) + allocated_list(&segment.rest) + rest
        };
        allocated_list(&self.segments) + self.segments.iter().map(of_segment).sum::<usize>()
    }
}

impl Pattern {
    /// Returns the bytes of memory that its lists and texts take.
    pub(super) fn owned_bytes(&self) -> usize {
        let host = self.host.as_ref().map_or(0, SegmentSequence::owned_bytes);
        allocated(self.text.len()) + host + self.path.owned_bytes()
    }

    /// Parses a pattern, percent-encoded or not.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        // "any fragments in the source are not evaluated"
        let source = text.split_once('#').map_or(text, |(source, _)| source);
        if source.contains('?') {
            return Err("The source has a query. Only paths are compared.".into());
        }
        if source.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err("The source has a space. Write it as `%20`.".into());
        }
        if source.matches('*').count() > 1 {
            return Err("The source has more than one `*`.".into());
        }
        let (host, path) = match source.strip_prefix("https://") {
            None => (None, source),
            Some(after) => {
                let (host, path) = after.split_at(after.find('/').unwrap_or(after.len()));
                (Some(host_sequence(host)?), if path.is_empty() { "/" } else { path })
            }
        };
        if !path.starts_with('/') {
            return Err("The source starts neither with `/` nor with `https://`.".into());
        }
        let path = SegmentSequence::parse('/', path, |literal| {
            percent_decode(literal).map_err(|_| "The source has a broken percent-encoding.".into())
        })?;
        if path.segments.iter().any(|segment| segment.rest.is_empty() && is_dots(&segment.first)) {
            return Err("The source has a segment `.` or `..`, which no request has.".into());
        }
        let pattern = Self { text: text.into(), host, path };
        let mut names: Vec<&str> = pattern.names().collect();
        names.sort_unstable();
        match names.windows(2).find_map(|pair| pair.first().filter(|name| pair.get(1) == Some(name))) {
            Some(twice) => Err(format!("The source has `:{twice}` twice.")),
            None => Ok(pattern),
        }
    }

    /// As it was written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Returns true if the pattern has a host.
    pub(super) fn has_host(&self) -> bool {
        self.host.is_some()
    }

    /// Returns the names of the placeholders, `splat` for `*`.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let segments = self.host.iter().chain([&self.path]).flat_map(|sequence| &sequence.segments);
        segments.flat_map(|segment| &segment.rest).map(|(placeholder, _)| match placeholder {
            Placeholder::Splat => SPLAT,
            Placeholder::Name(name) => name,
        })
    }

    /// Returns the one path that the pattern matches, decoded; `None` if it has placeholders.
    pub(super) fn literal(&self) -> Option<String> {
        if self.names().next().is_some() {
            return None;
        }
        let segments: Vec<&str> = self.path.segments.iter().map(|segment| segment.first.as_str()).collect();
        Some(segments.join("/"))
    }

    /// Returns the captures if the pattern matches a host, in lower case and without a port, and
    /// a decoded path. Allocates only if the pattern matches and has placeholders.
    pub(super) fn captures<'a>(&'a self, host: &'a str, path: &'a str) -> Option<Captures<'a>> {
        if !self.match_each(host, path, &mut |_, _| ()) {
            return None;
        }
        let mut captures = Captures::default();
        self.match_each(host, path, &mut |name, value| captures.texts.push((name, value)));
        Some(captures)
    }

    /// Returns the captures if the pattern matches a host and the path of a request.
    pub(super) fn captures_of<'a>(&'a self, host: &'a str, path: &'a AssetPath<'_>) -> Option<Captures<'a>> {
        let captures = self.captures(host, path.text())?;
        Some(Captures { is_encoded: path.is_encoded(), ..captures })
    }

    /// Returns true if the pattern matches, and passes each capture to `capture`. Captures of a
    /// pattern that does not match mean nothing.
    fn match_each<'a>(&'a self, host: &'a str, path: &'a str, capture: &mut impl FnMut(&'a str, &'a str)) -> bool {
        self.host.as_ref().is_none_or(|sequence| sequence.match_text(host, capture).is_some())
            && self.path.match_text(path, capture).is_some()
    }
}

/// Parses the host of a pattern.
fn host_sequence(host: &str) -> Result<SegmentSequence, String> {
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    if host.rsplit_once(':').is_some_and(|(_, port)| is_port(port)) {
        return Err("The source has a port. Leave it out: any port matches.".into());
    }
    if host.is_empty() {
        return Err("The source has no host after `https://`.".into());
    }
    SegmentSequence::parse('.', host, |literal| {
        let is_host = literal.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        if is_host {
            Ok(Cow::Owned(literal.to_ascii_lowercase()))
        } else {
            Err("The host of the source has a character that is not allowed in a host. Write international names in their ASCII \
                 form, `xn--…`."
                .into())
        }
    })
}

impl SegmentSequence {
    /// Parses segments. `literal` decodes the text between placeholders.
    fn parse(
        delimiter: char,
        text: &str,
        literal: impl Fn(&str) -> Result<Cow<'_, str>, String>,
    ) -> Result<Self, String> {
        let mut sequence = Self { delimiter, segments: Vec::new(), splat: None };
        let mut segment = PatternSegment::default();
        for (index, part) in text.split('*').enumerate() {
            if index > 0 {
                sequence.splat = Some((sequence.segments.len(), segment.rest.len()));
                segment.rest.push((Placeholder::Splat, String::new()));
            }
            for token in tokens(part) {
                let text = match token {
                    PatternToken::Name(name) => {
                        segment.rest.push((Placeholder::Name(name.into()), String::new()));
                        continue;
                    }
                    PatternToken::Literal(text) => literal(text)?,
                };
                for (index, part) in text.split(delimiter).enumerate() {
                    if index > 0 {
                        sequence.segments.push(std::mem::take(&mut segment));
                    }
                    segment.last().push_str(part);
                }
            }
        }
        sequence.segments.push(segment);
        Ok(sequence)
    }

    /// Returns `Some` if the segments match the text.
    #[expect(clippy::expect_used, reason = "`splat` has the position of a segment")]
    fn match_text<'a>(&'a self, text: &'a str, capture: &mut impl FnMut(&'a str, &'a str)) -> Option<()> {
        let (before, from_splat) = match self.splat {
            None => (self.segments.as_slice(), None),
            Some((at, placeholder)) => {
                let (before, from_splat) = self.segments.split_at(at);
                let (segment, after) = from_splat.split_first().expect("the splat is in a segment");
                (before, Some((segment, placeholder, after)))
            }
        };
        let mut left = Some(text);
        for segment in before {
            let whole = left?;
            let part;
            (part, left) = whole.split_once(self.delimiter).map_or((whole, None), |(part, rest)| (part, Some(rest)));
            segment.match_segment(part, capture)?;
        }
        let Some((segment, placeholder, after)) = from_splat else { return left.is_none().then_some(()) };
        let mut left = left?;
        for segment in after.iter().rev() {
            let part;
            (left, part) = left.rsplit_once(self.delimiter)?;
            segment.match_segment(part, capture)?;
        }
        let value = match (left.split_once(self.delimiter), left.rsplit_once(self.delimiter)) {
            (Some((first, _)), Some((_, last))) => {
                let (start, end) = segment.match_ends(placeholder, first, last, capture)?;
                let (_, value) = left.split_at(start);
                value.split_at(value.len() - end).0
            }
            _ => segment.match_segment(left, capture)?,
        };
        capture(SPLAT, value);
        Some(())
    }
}

impl PatternSegment {
    /// Returns the last literal, to which text is appended while the segment is parsed.
    fn last(&mut self) -> &mut String {
        self.rest.last_mut().map_or(&mut self.first, |(_, literal)| literal)
    }

    /// Matches one segment of a text. Returns the text of the splat, which is not passed to
    /// `capture`.
    fn match_segment<'a>(&'a self, text: &'a str, capture: &mut impl FnMut(&'a str, &'a str)) -> Option<&'a str> {
        match_literals(
            &self.first,
            self.rest.iter().map(|(placeholder, literal)| (placeholder, literal.as_str())),
            text,
            capture,
        )
    }

    /// Matches what is before the splat with the start of one segment of a text, and what is
    /// after it with the end of another. Returns the length in bytes of each.
    fn match_ends<'a>(
        &'a self,
        placeholder: usize,
        first: &'a str,
        last: &'a str,
        capture: &mut impl FnMut(&'a str, &'a str),
    ) -> Option<(usize, usize)> {
        static OPEN: Placeholder = Placeholder::Splat;
        let mut pieces = self.rest.iter().map(|(placeholder, literal)| (placeholder, literal.as_str()));
        let after = pieces.clone().skip(placeholder);
        let before = pieces.by_ref().take(placeholder);
        let open = match_literals(&self.first, before.chain([(&OPEN, "")]), first, capture)?;
        let closed = match_literals("", after, last, capture)?;
        Some((first.len() - open.len(), last.len() - closed.len()))
    }
}

/// Matches a literal and what follows it with the whole text. Returns the text of the splat,
/// which is not passed to `capture`; empty if there is none.
fn match_literals<'a>(
    first: &'a str,
    rest: impl DoubleEndedIterator<Item = (&'a Placeholder, &'a str)>,
    text: &'a str,
    capture: &mut impl FnMut(&'a str, &'a str),
) -> Option<&'a str> {
    let mut rest = rest.rev().peekable();
    let Some((_, last)) = rest.peek() else { return (text == first).then_some("") };
    let mut left = text.strip_prefix(first)?.strip_suffix(last)?;
    let mut splat = "";
    while let Some((placeholder, _)) = rest.next() {
        let value = match rest.peek() {
            None => left,
            Some((_, literal)) => {
                let (before, _) = placeholder.room_for_literal(left)?.rsplit_once(*literal)?;
                let (_, value) = left.split_at(before.len() + literal.len());
                left = before;
                value
            }
        };
        match placeholder {
            Placeholder::Splat => splat = value,
            Placeholder::Name(_) if value.is_empty() => return None,
            Placeholder::Name(name) => capture(name, value),
        }
    }
    Some(splat)
}

impl Placeholder {
    /// Returns the part of the text in which the literal before this placeholder may end, so
    /// that the placeholder has the one character it may need.
    fn room_for_literal<'a>(&self, text: &'a str) -> Option<&'a str> {
        match self {
            Self::Splat => Some(text),
            Self::Name(_) => {
                let mut characters = text.chars();
                characters.next_back()?;
                Some(characters.as_str())
            }
        }
    }
}

impl<'a> Captures<'a> {
    /// Returns the text that a placeholder matched.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        self.texts.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// Returns the text that a placeholder matched, decoded; empty if there is no such
    /// placeholder.
    ///
    /// # Errors
    /// [`BadPercentEncoding`] if the text cannot be decoded.
    pub(super) fn decoded(&self, name: &str) -> Result<Cow<'a, str>, BadPercentEncoding> {
        let text = self.get(name).unwrap_or_default();
        if self.is_encoded { percent_decode(text) } else { Ok(Cow::Borrowed(text)) }
    }

    /// Replaces the placeholders in a text by what they matched, percent-encoded. A name that
    /// the pattern does not have stays as it is.
    pub(super) fn fill<'t>(&self, text: &'t str, set: &'static AsciiSet) -> Cow<'t, str> {
        if self.texts.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut filled = String::with_capacity(text.len());
        for token in tokens(text) {
            match token {
                PatternToken::Literal(literal) => filled.push_str(literal),
                PatternToken::Name(name) => match self.get(name) {
                    Some(value) => self.encode(value, set, &mut filled),
                    None => filled.extend([":", name]),
                },
            }
        }
        Cow::Owned(filled)
    }

    /// Appends a text, percent-encoded. If the path still has its escapes, they stay.
    fn encode(&self, text: &str, set: &'static AsciiSet, filled: &mut String) {
        let mut parts = text.split(|character| self.is_encoded && character == '%');
        filled.extend(parts.next().into_iter().flat_map(|part| utf8_percent_encode(part, set)));
        for part in parts {
            filled.push('%');
            filled.extend(utf8_percent_encode(part, set));
        }
    }
}

/// Returns true for `.` and `..`.
pub(super) fn is_dots(segment: &str) -> bool {
    matches!(segment, "." | "..")
}

/// Splits a text at its placeholders, `:[A-Za-z]\w*`.
pub(super) fn tokens(text: &str) -> impl Iterator<Item = PatternToken<'_>> {
    let mut left = text;
    std::iter::from_fn(move || {
        if left.is_empty() {
            return None;
        }
        if let Some((name, rest)) = name(left) {
            left = rest;
            return Some(PatternToken::Name(name));
        }
        let colons = left.match_indices(':').map(|(at, _)| at);
        let next = colons.map(|at| left.split_at(at)).find(|(_, rest)| name(rest).is_some());
        let (literal, rest) = next.unwrap_or((left, ""));
        left = rest;
        Some(PatternToken::Literal(literal))
    })
}

/// Returns the name of the placeholder that a text starts with, and the rest of the text.
fn name(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix(':').filter(|name| name.starts_with(|c: char| c.is_ascii_alphabetic()))?;
    Some(text.split_at(text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())))
}
