//! Splits a page into tags, comments and text (HTML Standard, §13.2.5), as far as its text
//! depends on it: attributes are not parsed here, and document types are passed over.

use super::scan::{Scan, is_space};

/// A token of a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// Text with character references.
    Text(&'a str),
    /// Text of a CDATA section, without references.
    CharacterData(&'a str),
    StartTag(StartTag<'a>),
    /// An end tag and its name as written.
    EndTag(&'a str),
    /// A comment, a document type, or what is read as a comment, such as `<?php ?>`.
    Comment,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct StartTag<'a> {
    /// The name as written.
    pub(super) name: &'a str,
    /// The attributes with the `>` after them.
    pub(super) attributes: &'a str,
    pub(super) is_self_closing: bool,
}

/// A page that is read token by token.
pub(super) struct Tokenizer<'a> {
    /// What is not read yet.
    rest: &'a str,
}

impl<'a> Tokenizer<'a> {
    pub(super) fn new(page: &'a str) -> Self {
        Self { rest: page }
    }

    /// Returns the next token; `None` at the end. A tag that does not end is no token.
    /// `is_foreign` is true within SVG or `MathML`, which may have CDATA sections.
    pub(super) fn next(&mut self, is_foreign: bool) -> Option<Token<'a>> {
        loop {
            let text = self.take(self.text_length());
            if !text.is_empty() {
                return Some(Token::Text(text));
            }
            return match self.rest.as_bytes() {
                [b'<', b'!', b'-', b'-', ..] => {
                    self.skip_comment();
                    Some(Token::Comment)
                }
                [b'<', b'!', b'[', b'C', b'D', b'A', b'T', b'A', b'[', ..] if is_foreign => {
                    self.take("<![CDATA[".len());
                    let text;
                    (text, self.rest) = self.rest.split_once("]]>").unwrap_or((self.rest, ""));
                    Some(Token::CharacterData(text))
                }
                // This stands for nothing.
                [b'<', b'/', b'>', ..] => {
                    self.take("</>".len());
                    continue;
                }
                [b'<', b'/', letter, ..] if letter.is_ascii_alphabetic() => {
                    self.take("</".len());
                    self.tag().map(|tag| Token::EndTag(tag.name))
                }
                [b'<', letter, ..] if letter.is_ascii_alphabetic() => {
                    self.take("<".len());
                    self.tag().map(Token::StartTag)
                }
                [b'<', ..] => {
                    self.take(self.rest.find('>').map_or(self.rest.len(), |at| at + 1));
                    Some(Token::Comment)
                }
                _ => None,
            };
        }
    }

    /// Returns the text up to the end tag of this element, or to the end of the page: in it,
    /// other tags are text.
    pub(super) fn raw_text(&mut self, name: &str) -> &'a str {
        let mut starts = self.rest.match_indices('<').map(|(at, _)| at);
        let end = starts.find(|at| self.has_tag_at(*at, "</", name));
        self.take(end.unwrap_or(self.rest.len()))
    }

    /// Moves to the end tag of a script, or to the end of the page. In `<!--` a script may have
    /// scripts of its own ("script data escaped state").
    pub(super) fn skip_script(&mut self) {
        let (mut at, mut is_escaped, mut is_in_script) = (0, false, false);
        loop {
            let (_, rest) = self.rest.as_bytes().split_at(at);
            let Some(step) = rest.iter().position(|byte| *byte == b'<' || (is_escaped && *byte == b'-')) else { break };
            at += step;
            let (_, rest) = rest.split_at(step);
            let is_end = self.has_tag_at(at, "</", "script");
            if is_end && !is_in_script {
                self.take(at);
                return;
            }
            if is_escaped && rest.starts_with(b"-->") {
                (is_escaped, is_in_script) = (false, false);
            } else if is_end {
                is_in_script = false;
            } else if is_escaped && self.has_tag_at(at, "<", "script") {
                is_in_script = true;
            } else if rest.starts_with(b"<!--") {
                // Its dashes may be those of `-->`.
                is_escaped = true;
                at += 1;
            }
            at += 1;
        }
        self.take_rest();
    }

    /// Returns all that is left.
    pub(super) fn take_rest(&mut self) -> &'a str {
        self.take(self.rest.len())
    }

    /// Moves past this many bytes, which must be there and end with a character. Returns them.
    fn take(&mut self, bytes: usize) -> &'a str {
        let taken;
        (taken, self.rest) = self.rest.split_at(bytes);
        taken
    }

    /// Returns the length of the text before the next tag or comment.
    fn text_length(&self) -> usize {
        let mut starts = self.rest.match_indices('<').map(|(at, _)| at);
        let is_markup = |at: &usize| match self.rest.as_bytes().split_at(at + 1).1 {
            [b'!' | b'?', ..] | [b'/', _, ..] => true,
            [letter, ..] => letter.is_ascii_alphabetic(),
            [] => false,
        };
        starts.find(is_markup).unwrap_or(self.rest.len())
    }

    /// Returns true if there is a tag of this element at a position: `start`, its name, and a
    /// byte that ends the name.
    fn has_tag_at(&self, at: usize, start: &str, name: &str) -> bool {
        let tag = self.rest.as_bytes().split_at(at).1.strip_prefix(start.as_bytes());
        tag.and_then(|tag| tag.split_at_checked(name.len())).is_some_and(|(written, after)| {
            written.eq_ignore_ascii_case(name.as_bytes()) && after.first().is_some_and(|byte| ends_name(*byte))
        })
    }

    fn skip_comment(&mut self) {
        self.take("<!--".len());
        if let Some(rest) = self.rest.strip_prefix('>').or_else(|| self.rest.strip_prefix("->")) {
            self.rest = rest;
            return;
        }
        while let Some(at) = self.rest.find("--") {
            self.take(at + "--".len());
            self.rest = self.rest.trim_start_matches('-');
            if let Some(rest) = self.rest.strip_prefix('>').or_else(|| self.rest.strip_prefix("!>")) {
                self.rest = rest;
                return;
            }
        }
        self.take_rest();
    }

    /// Reads a tag from its name on. Returns `None` if the page ends within it.
    fn tag(&mut self) -> Option<StartTag<'a>> {
        let length = self.rest.bytes().position(ends_name).unwrap_or(self.rest.len());
        let name = self.take(length);
        let mut scan = Scan { rest: self.rest.as_bytes() };
        let mut separator = scan.rest;
        while scan.attribute().is_some() {
            separator = scan.rest;
        }
        if scan.rest.is_empty() {
            self.take_rest();
            return None;
        }
        // A `/` may also be the end of an attribute's value.
        let (separator, _) = separator.split_at(separator.len() - scan.rest.len());
        let is_self_closing = separator.ends_with(b"/");
        let attributes = self.take(self.rest.len() - scan.rest.len() + ">".len());
        Some(StartTag { name, attributes, is_self_closing })
    }
}

/// Returns true for a byte that ends the name of a tag.
fn ends_name(byte: u8) -> bool {
    is_space(byte) || matches!(byte, b'/' | b'>')
}
