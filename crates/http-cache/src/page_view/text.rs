//! The title and the text of a page.
//!
//! A browser keeps a stack of all open elements. Reading text does not need it: what is text
//! depends on the last tag, on the depth of templates, and on the SVG and `MathML` elements that
//! are open.

use super::scan::Scan;
use super::tokenizer::{StartTag, Token, Tokenizer};

/// The title and the text of a page, `None` for what it does not have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageText {
    /// The text of the first `<title>`, which must precede `<body>`: SVG has titles, too.
    pub title: Option<String>,
    /// The text from the tag `<body>` on, without scripts, styles, `<noscript>` and templates.
    /// Each tag and each comment is a space.
    pub content: Option<String>,
}

impl PageText {
    /// Reads an HTML page. Runs of white space become one space, no-break spaces included, as in
    /// the documented example.
    ///
    /// The time is linear in the length of the page, whatever is in it.
    ///
    /// # Examples
    ///
    /// ```
    /// use http_cache::page_view::PageText;
    ///
    /// let page = "<title>Tea</title><body><h1>Green&nbsp;tea</h1><script>track()</script>Fresh";
    /// let text = PageText::of_html(page);
    /// assert_eq!(text.title.as_deref(), Some("Tea"));
    /// assert_eq!(text.content.as_deref(), Some("Green tea Fresh"));
    /// ```
    #[must_use]
    pub fn of_html(page: &str) -> Self {
        let mut reader = TextReader {
            tokenizer: Tokenizer::new(page.strip_prefix('\u{feff}').unwrap_or(page)),
            namespaces: Vec::new(),
            templates: 0,
            unread: 0,
            title: None,
            content: None,
        };
        reader.read();
        Self { title: reader.title.map(|title| title.text), content: reader.content.map(|content| content.text) }
    }
}

/// What an open element makes of the tags within it (HTML Standard, §13.2.6.5). The HTML of the
/// page itself is none of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ElementNamespace {
    Svg,
    MathMl,
    /// HTML within SVG.
    InSvg,
    /// HTML within `MathML`.
    InMathMl,
}

struct TextReader<'a> {
    tokenizer: Tokenizer<'a>,
    /// The open elements that change the namespace.
    namespaces: Vec<ElementNamespace>,
    /// How many templates are open.
    templates: usize,
    /// How many elements whose text is left out are open within SVG or `MathML`. Of those in HTML,
    /// only templates have tags in them, and `templates` counts them.
    unread: usize,
    title: Option<CollapsedText>,
    content: Option<CollapsedText>,
}

impl TextReader<'_> {
    fn read(&mut self) {
        while let Some(token) = self.tokenizer.next(self.is_foreign()) {
            match token {
                Token::Text(text) => self.add(|content| content.push_html(text)),
                Token::CharacterData(text) => self.add(|content| content.push(text)),
                Token::Comment => self.add(CollapsedText::separate),
                Token::EndTag(name) => {
                    self.add(CollapsedText::separate);
                    self.end(&Name::of(name));
                }
                Token::StartTag(tag) => {
                    self.add(CollapsedText::separate);
                    self.start(&tag);
                }
            }
        }
    }

    /// Calls a function with the text of the page if text at this place belongs to it.
    fn add(&mut self, add: impl FnOnce(&mut CollapsedText)) {
        if self.templates == 0 && self.unread == 0 {
            self.content.as_mut().map(add);
        }
    }

    fn is_foreign(&self) -> bool {
        matches!(self.namespaces.last(), Some(ElementNamespace::Svg | ElementNamespace::MathMl))
    }

    fn start(&mut self, tag: &StartTag<'_>) {
        let name = Name::of(tag.name);
        if self.is_foreign() {
            if !leaves_foreign_content(name.lower(), tag.attributes) {
                return self.start_foreign(name.lower(), tag);
            }
            while self.is_foreign() {
                self.leave();
            }
        }
        match name.lower() {
            b"svg" if !tag.is_self_closing => self.namespaces.push(ElementNamespace::Svg),
            b"math" if !tag.is_self_closing => self.namespaces.push(ElementNamespace::MathMl),
            b"body" if self.content.is_none() => {
                // What is open in the head must not hide the body.
                (self.templates, self.content) = (0, Some(CollapsedText::default()));
            }
            b"title" => {
                let text = self.tokenizer.raw_text(tag.name);
                if self.content.is_some() {
                    self.add(|content| content.push_html(text));
                } else if self.title.is_none() && self.templates == 0 {
                    let mut title = CollapsedText::default();
                    title.push_html(text);
                    self.title = Some(title);
                }
            }
            b"textarea" => {
                let text = self.tokenizer.raw_text(tag.name);
                self.add(|content| content.push_html(text));
            }
            b"iframe" | b"noembed" | b"noframes" | b"xmp" => {
                let text = self.tokenizer.raw_text(tag.name);
                self.add(|content| content.push(text));
            }
            b"plaintext" => {
                let text = self.tokenizer.take_rest();
                self.add(|content| content.push(text));
            }
            b"script" => self.tokenizer.skip_script(),
            b"noscript" | b"style" => drop(self.tokenizer.raw_text(tag.name)),
            b"template" => self.templates += 1,
            _ => {}
        }
    }

    fn start_foreign(&mut self, name: &[u8], tag: &StartTag<'_>) {
        if tag.is_self_closing {
            return;
        }
        match (self.namespaces.last(), name) {
            (_, name) if is_unread(name) => self.unread += 1,
            (Some(ElementNamespace::Svg), b"svg") => self.namespaces.push(ElementNamespace::Svg),
            (Some(ElementNamespace::MathMl), b"math") => self.namespaces.push(ElementNamespace::MathMl),
            (Some(ElementNamespace::Svg), b"desc" | b"foreignobject" | b"title") => {
                self.namespaces.push(ElementNamespace::InSvg);
            }
            (Some(ElementNamespace::MathMl), b"mi" | b"mn" | b"mo" | b"ms" | b"mtext") => {
                self.namespaces.push(ElementNamespace::InMathMl);
            }
            (Some(ElementNamespace::MathMl), b"annotation-xml") if is_html_annotation(tag.attributes) => {
                self.namespaces.push(ElementNamespace::InMathMl);
            }
            _ => {}
        }
    }

    fn end(&mut self, name: &Name) {
        match (self.namespaces.last(), name.lower()) {
            (Some(ElementNamespace::Svg), b"svg")
            | (Some(ElementNamespace::MathMl), b"math")
            | (Some(ElementNamespace::InSvg), b"desc" | b"foreignobject" | b"title")
            | (Some(ElementNamespace::InMathMl), b"annotation-xml" | b"mi" | b"mn" | b"mo" | b"ms" | b"mtext") => {
                self.leave();
            }
            (Some(ElementNamespace::Svg | ElementNamespace::MathMl), b"br" | b"p") => {
                while self.is_foreign() {
                    self.leave();
                }
            }
            (Some(ElementNamespace::Svg | ElementNamespace::MathMl), name) if is_unread(name) => {
                self.unread = self.unread.saturating_sub(1);
            }
            (_, b"template") => self.templates = self.templates.saturating_sub(1),
            _ => {}
        }
    }

    fn leave(&mut self) {
        self.namespaces.pop();
        if self.namespaces.is_empty() {
            self.unread = 0;
        }
    }
}

/// Returns true for elements whose text is left out.
fn is_unread(name: &[u8]) -> bool {
    matches!(name, b"noscript" | b"script" | b"style" | b"template")
}

/// Returns true for a tag that ends the SVG or `MathML` that it stands in (HTML Standard, "the
/// rules for parsing tokens in foreign content").
fn leaves_foreign_content(name: &[u8], attributes: &str) -> bool {
    match name {
        b"b" | b"big" | b"blockquote" | b"body" | b"br" | b"center" | b"code" | b"dd" | b"div" | b"dl" | b"dt"
        | b"em" | b"embed" | b"h1" | b"h2" | b"h3" | b"h4" | b"h5" | b"h6" | b"head" | b"hr" | b"i" | b"img"
        | b"li" | b"listing" | b"menu" | b"meta" | b"nobr" | b"ol" | b"p" | b"pre" | b"ruby" | b"s" | b"small"
        | b"span" | b"strong" | b"strike" | b"sub" | b"sup" | b"table" | b"tt" | b"u" | b"ul" | b"var" => true,
        b"font" => has_attribute(attributes, |name, _| {
            [&b"color"[..], b"face", b"size"].iter().any(|other| name.eq_ignore_ascii_case(other))
        }),
        _ => false,
    }
}

/// Returns true if an `<annotation-xml>` with these attributes has HTML in it.
fn is_html_annotation(attributes: &str) -> bool {
    has_attribute(attributes, |name, value| {
        name.eq_ignore_ascii_case(b"encoding")
            && [&b"text/html"[..], b"application/xhtml+xml"].iter().any(|other| value.eq_ignore_ascii_case(other))
    })
}

fn has_attribute(attributes: &str, is_wanted: impl Fn(&[u8], &[u8]) -> bool) -> bool {
    let mut scan = Scan { rest: attributes.as_bytes() };
    std::iter::from_fn(|| scan.attribute()).any(|attribute| is_wanted(attribute.name, attribute.value))
}

/// The name of an element in lower case, or nothing if it is longer than all that matter here.
struct Name {
    bytes: [u8; Name::BYTES_MAX],
    length: usize,
}

impl Name {
    /// The length of `annotation-xml`.
    const BYTES_MAX: usize = 14;

    fn of(name: &str) -> Self {
        let mut bytes = [0; Self::BYTES_MAX];
        let mut length = 0;
        if name.len() <= Self::BYTES_MAX {
            length = name.len();
            for (lower, byte) in bytes.iter_mut().zip(name.bytes()) {
                *lower = byte.to_ascii_lowercase();
            }
        }
        Self { bytes, length }
    }

    fn lower(&self) -> &[u8] {
        self.bytes.split_at(self.length).0
    }
}

/// Text without white space at its ends, and with one space for each run of white space.
#[derive(Debug, Default)]
struct CollapsedText {
    text: String,
    is_separated: bool,
}

impl CollapsedText {
    /// Makes the next word a word of its own.
    fn separate(&mut self) {
        self.is_separated = true;
    }

    /// Adds text with character references.
    fn push_html(&mut self, text: &str) {
        self.push(&htmlize::unescape(text));
    }

    /// Adds text.
    fn push(&mut self, text: &str) {
        for (at, word) in text.split(char::is_whitespace).enumerate() {
            self.is_separated |= at > 0;
            if word.is_empty() {
                continue;
            }
            if self.is_separated && !self.text.is_empty() {
                self.text.push(' ');
            }
            self.is_separated = false;
            self.text.push_str(word);
        }
    }
}

#[cfg(test)]
mod tests;
