//! A cursor over the bytes of a page.

/// The bytes that are not scanned yet.
pub(super) struct Scan<'a> {
    pub(super) rest: &'a [u8],
}

/// An attribute of a tag: its name and its value as written. The value may be empty.
pub(super) struct HtmlAttribute<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
}

impl<'a> Scan<'a> {
    pub(super) fn next(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    /// Moves past this many bytes, which must be there.
    pub(super) fn skip(&mut self, bytes: usize) {
        (_, self.rest) = self.rest.split_at(bytes);
    }

    /// Moves past these bytes; returns false if others come next.
    pub(super) fn skip_prefix(&mut self, bytes: &[u8]) -> bool {
        let rest = self.rest.strip_prefix(bytes);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Moves to the first such byte, or to the end.
    pub(super) fn skip_to(&mut self, is_wanted: impl Fn(u8) -> bool) {
        self.skip(self.rest.iter().position(|byte| is_wanted(*byte)).unwrap_or(self.rest.len()));
    }

    /// Moves past the first such bytes, or to the end.
    pub(super) fn skip_past(&mut self, bytes: &[u8]) {
        let at = self.rest.windows(bytes.len()).position(|part| part == bytes);
        self.skip(at.map_or(self.rest.len(), |at| at + bytes.len()));
    }

    /// Moves past the next attribute of a tag and returns it (HTML Standard, "get an attribute",
    /// which reads the same attributes as the tokenizer). If there is none, it stops at the `>`
    /// of the tag, or at the end of a page that ends within it.
    pub(super) fn attribute(&mut self) -> Option<HtmlAttribute<'a>> {
        self.skip_to(|byte| !is_space(byte) && byte != b'/');
        if self.rest.first().is_none_or(|byte| *byte == b'>') {
            return None;
        }
        // A leading `=` is part of the name.
        let name = self.until(|at, byte| is_space(byte) || matches!(byte, b'/' | b'>') || (byte == b'=' && at > 0))?;
        self.skip_to(|byte| !is_space(byte));
        if !self.skip_prefix(b"=") {
            return Some(HtmlAttribute { name, value: b"" });
        }
        self.skip_to(|byte| !is_space(byte));
        let value = if let Some(quote @ (b'"' | b'\'')) = self.rest.first().copied() {
            self.skip(1);
            let value = self.until(|_, byte| byte == quote)?;
            self.skip(1);
            value
        } else {
            self.until(|_, byte| is_space(byte) || byte == b'>')?
        };
        Some(HtmlAttribute { name, value })
    }

    /// Moves to the first such byte and returns the bytes before it. If there is none, it moves
    /// to the end.
    fn until(&mut self, is_end: impl Fn(usize, u8) -> bool) -> Option<&'a [u8]> {
        let end = self.rest.iter().enumerate().position(|(at, byte)| is_end(at, *byte));
        let before;
        (before, self.rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        end.map(|_| before)
    }
}

/// Returns true for the white space of HTML, which separates attributes.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | 0x0c | b'\r' | b' ')
}
