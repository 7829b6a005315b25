//! Title and text of an HTML page, collected from the events of the platform's `HTMLRewriter`.

use super::Page;

/// Whose text an event carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextOf {
    /// A `<title>` element.
    Title,
    /// Anything within `<body>`.
    Body,
}

/// Collects the text of a page while it streams through. The rewriter gives raw text: character references are decoded here.
#[derive(Debug, Default)]
pub struct PageText {
    title: Option<String>,
    title_is_complete: bool,
    content: Option<String>,
    /// Within so many elements whose text nobody reads (`script`, `style`, …).
    unread_depth: u32,
    /// The text node that is being read; a reference may be cut in two by the chunks of the stream.
    node: String,
}

impl PageText {
    /// `<body>` begins.
    pub fn body_begins(&mut self) {
        self.content.get_or_insert_default();
    }

    /// `<title>` begins. Only the first one before the body names the page; an SVG image has titles too.
    pub fn title_begins(&mut self) {
        self.title_is_complete = self.title.is_some() || self.content.is_some();
        if !self.title_is_complete {
            self.title = Some(String::new());
        }
    }

    /// An element begins whose text nobody reads.
    pub fn unread_begins(&mut self) {
        self.unread_depth = self.unread_depth.saturating_add(1);
    }

    /// An element ends whose text nobody reads.
    pub fn unread_ends(&mut self) {
        self.unread_depth = self.unread_depth.saturating_sub(1);
    }

    /// A chunk of a text node. `ends_node` is true for the last one: what follows is a tag or a comment, read as a space.
    pub fn text(&mut self, of: TextOf, chunk: &str, ends_node: bool) {
        let sink = match of {
            TextOf::Title if !self.title_is_complete => &mut self.title,
            TextOf::Body if self.unread_depth == 0 => &mut self.content,
            _ => return,
        };
        let Some(sink) = sink else { return };
        self.node.push_str(chunk);
        if ends_node {
            sink.push_str(&html_escape::decode_html_entities(&self.node));
            sink.push(' ');
            self.node.clear();
        }
    }

    /// The page, with the documented words where it has no title or no body.
    #[must_use]
    pub fn finish(&self, last_updated: &str) -> Page<'static> {
        let text = |collected: &Option<String>, none: &'static str| match collected {
            Some(text) => collapse_white_space(text).into(),
            None => none.into(),
        };
        Page {
            title: text(&self.title, "No title found"),
            content: text(&self.content, "No content found"),
            last_updated: last_updated.to_owned().into(),
        }
    }
}

/// Runs of white space become one space; none stands at the ends. The no-break space counts, as in the documented example.
fn collapse_white_space(text: &str) -> String {
    let mut collapsed = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !collapsed.is_empty() {
            collapsed.push(' ');
        }
        collapsed.push_str(word);
    }
    collapsed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn title_over_several_lines_becomes_one_line() {
        let mut page = PageText::default();
        page.title_begins();
        page.text(TextOf::Title, "\n  A\n", false);
        page.text(TextOf::Title, "  title &am", false);
        page.text(TextOf::Title, "p; more\n", true);
        assert_eq!(page.finish("now").title, "A title & more");
    }

    #[test]
    fn every_tag_and_comment_is_a_space() {
        let mut page = PageText::default();
        page.body_begins();
        for node in ["Hello", "World", "\n\t", "!&nbsp; &lt;b&gt; &#x20AC;&#8364; &eacute;"] {
            page.text(TextOf::Body, node, true);
        }
        assert_eq!(page.finish("now").content, "Hello World ! <b> €€ é");
    }

    #[test]
    fn scripts_and_styles_are_left_out() {
        let mut page = PageText::default();
        page.body_begins();
        page.unread_begins();
        page.unread_begins();
        page.text(TextOf::Body, "alert(1)", true);
        page.unread_ends();
        page.text(TextOf::Body, "alert(2)", true);
        page.unread_ends();
        page.text(TextOf::Body, "text", true);
        assert_eq!(page.finish("now").content, "text");
    }

    #[test]
    fn only_the_first_title_before_the_body_counts() {
        let mut page = PageText::default();
        page.title_begins();
        page.text(TextOf::Title, "first", true);
        page.title_begins();
        page.text(TextOf::Title, "second", true);
        page.body_begins();
        page.title_begins();
        page.text(TextOf::Title, "image", true);
        assert_eq!(page.finish("now").title, "first");

        let mut image_only = PageText::default();
        image_only.body_begins();
        image_only.title_begins();
        image_only.text(TextOf::Title, "image", true);
        assert_eq!(image_only.finish("now").title, "No title found");
    }

    #[test]
    fn a_page_without_title_or_body_says_so() {
        let page = PageText::default().finish("2026-01-01T00:00:00.000Z");
        assert_eq!((page.title.as_ref(), page.content.as_ref()), ("No title found", "No content found"));
        assert_eq!(page.last_updated, "2026-01-01T00:00:00.000Z");
    }
}
