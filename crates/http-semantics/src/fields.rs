//! Header fields of a message: reading them, changing them on the way, and dropping those that
//! belong to one connection only (RFC 9110 §7.6.1).

use std::borrow::Cow;

/// The header fields of a message, or some of them. A caller reads them one by one, so that only
/// what a decision needs crosses into WebAssembly.
///
/// The methods agree with each other: `has` finds a field, and `get` returns its value, exactly if
/// `names` lists it.
pub trait Fields {
    /// Returns the names of all fields in lower case, separated by commas.
    fn names(&self) -> &str;
    /// Returns the value of a field, its lines joined with `, ` (RFC 9110 §5.3). `name` is in
    /// lower case.
    fn get(&self, name: &str) -> Option<String>;
    /// Returns each line of `Set-Cookie`, the one field whose lines must not be joined (RFC 9110
    /// §5.3).
    fn set_cookies(&self) -> Vec<String>;

    /// Returns true if there is such a field. `name` is in lower case.
    fn has(&self, name: &str) -> bool {
        // Bytes, because the split of a text takes longer for names as short as these.
        self.names().as_bytes().split(|byte| *byte == b',').any(|present| present == name.as_bytes())
    }
}

/// A list of header fields in memory, as one text: names in lower case and values in turns, each
/// ended by a line feed. A text crosses from JavaScript in one call.
///
/// # Examples
///
/// ```
/// use http_semantics::fields::{Fields, HeaderSection};
///
/// let fields = HeaderSection::parse("accept\ntext/html\naccept\ntext/plain\n".to_owned());
/// assert_eq!(fields.get("accept").as_deref(), Some("text/html, text/plain"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderSection {
    text: String,
    names: String,
    /// Where the lines are in the text. A response asks for some hundred fields, so the text is
    /// searched for its line feeds once.
    lines: Vec<Line>,
}

/// The positions at which a name begins and ends, and its value ends. Between both is a line feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Line {
    start: usize,
    name_end: usize,
    value_end: usize,
}

impl HeaderSection {
    /// Reads the text. A last name without a value is dropped.
    #[must_use]
    pub fn parse(text: String) -> Self {
        let mut lines = Vec::with_capacity(16);
        let mut start = 0;
        let mut feeds = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at);
        while let Some(name_end) = feeds.next() {
            let value_end = feeds.next().unwrap_or(text.len());
            lines.push(Line { start, name_end, value_end });
            start = value_end + 1;
        }
        let names = lines.iter().map(|line| &text[line.start..line.name_end]).collect::<Vec<_>>().join(",");
        Self { text, names, lines }
    }

    /// Iterates over the lines as name and value. A field with several lines comes several times.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let Self { text, lines, .. } = self;
        lines.iter().map(|line| (&text[line.start..line.name_end], &text[line.name_end + 1..line.value_end]))
    }

    /// Returns true if a message can carry the fields: each name is a token in lower case, and no
    /// value has a NUL or a carriage return (RFC 9110 §5.1, §5.5). For a text that comes from
    /// elsewhere than a message, because the runtime refuses others.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let is_lower = |name: &str| is_name(name) && !name.bytes().any(|byte| byte.is_ascii_uppercase());
        self.iter().all(|(name, value)| is_lower(name) && !value.contains(['\0', '\r']))
    }

    /// Returns the text that [`parse`](Self::parse) reads.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for HeaderSection {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(lines: I) -> Self {
        let mut text = String::with_capacity(512);
        for (name, value) in lines {
            text.extend([name, "\n", value, "\n"]);
        }
        Self::parse(text)
    }
}

impl<'a, const N: usize> From<&[(&'a str, &'a str); N]> for HeaderSection {
    fn from(lines: &[(&'a str, &'a str); N]) -> Self {
        lines.iter().copied().collect()
    }
}

impl<'a> From<&Vec<(&'a str, &'a str)>> for HeaderSection {
    fn from(lines: &Vec<(&'a str, &'a str)>) -> Self {
        lines.iter().copied().collect()
    }
}

impl<'a> From<&[(&'a str, &'a str)]> for HeaderSection {
    fn from(lines: &[(&'a str, &'a str)]) -> Self {
        lines.iter().copied().collect()
    }
}

impl Fields for HeaderSection {
    fn names(&self) -> &str {
        &self.names
    }

    fn has(&self, name: &str) -> bool {
        self.iter().any(|(field, _)| field == name)
    }

    fn get(&self, name: &str) -> Option<String> {
        let mut joined: Option<String> = None;
        for (_, value) in self.iter().filter(|(field, _)| *field == name) {
            match &mut joined {
                None => joined = Some(value.to_owned()),
                Some(joined) => joined.extend([", ", value]),
            }
        }
        joined
    }

    fn set_cookies(&self) -> Vec<String> {
        self.iter().filter(|(name, _)| *name == "set-cookie").map(|(_, value)| value.to_owned()).collect()
    }
}

/// Changes to the header fields of a message: fields are removed first, then set, then appended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderEdits<'a> {
    /// Names of fields to remove.
    pub remove: Vec<Cow<'a, str>>,
    /// Fields that have this one value afterwards.
    pub set: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Lines to add to whatever the field has.
    pub append: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> HeaderEdits<'a> {
    /// Removes a field.
    pub fn remove(&mut self, name: impl Into<Cow<'a, str>>) {
        self.remove.push(name.into());
    }

    /// Sets a field to one value.
    pub fn set(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) {
        self.set.push((name.into(), value.into()));
    }

    /// Returns the changes as lines of text, as `src/platform/glue/forwarding.js` reads them: `-`
    /// and a name, or `=` or `+`, a name and a value. A value with a line feed or a carriage
    /// return is left out, because no field can have one (RFC 9110 §5.5).
    ///
    /// # Examples
    ///
    /// ```
    /// use http_semantics::fields::HeaderEdits;
    ///
    /// let mut edits = HeaderEdits::default();
    /// edits.remove("x-powered-by");
    /// edits.set("via", "1.1 kv-edge");
    /// assert_eq!(edits.to_lines(), "-\nx-powered-by\n=\nvia\n1.1 kv-edge\n");
    /// ```
    #[must_use]
    pub fn to_lines(&self) -> String {
        let mut lines = String::with_capacity(512);
        for name in &self.remove {
            lines.extend(["-\n", name, "\n"]);
        }
        for (operator, fields) in [("=\n", &self.set), ("+\n", &self.append)] {
            for (name, value) in fields.iter().filter(|(_, value)| !value.contains(['\r', '\n'])) {
                lines.extend([operator, name, "\n", value, "\n"]);
            }
        }
        lines
    }

    /// Adds a line to a field.
    pub fn append(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) {
        self.append.push((name.into(), value.into()));
    }
}

/// Fields of one connection, whether or not `Connection` lists them (RFC 9110 §7.6.1, §11.7; RFC
/// 9112 §6.1).
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Returns true for a field that `Connection` cannot remove: those that frame or address the
/// message, those that control its reuse, and those that Cloudflare sets.
fn is_protected(name: &str) -> bool {
    matches!(name, "host" | "content-length") || name.starts_with("cf-") || controls_reuse(name)
}

/// Returns true for a field that controls the reuse of a response; `Cache-Tag` and `Surrogate-Key`
/// say which purges end it. RFC 9110 §7.6.1: "Cache-Control is never appropriate as a connection
/// option". `name` is in lower case.
#[must_use]
pub fn controls_reuse(name: &str) -> bool {
    matches!(
        name,
        "age" | "cache-control" | "cache-tag" | "cdn-cache-control" | "date" | "expires" | "surrogate-key" | "vary"
    )
}

/// Returns true for a field that belongs to one connection. `name` is in lower case.
#[must_use]
pub fn is_hop_by_hop(name: &str) -> bool {
    HOP_BY_HOP.contains(&name)
}

/// Returns true if a text is a field name: a token (RFC 9110 §5.6.2).
#[must_use]
pub fn is_name(name: &str) -> bool {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_tchar)
}

/// Returns true if a text is a field value without control characters but tabs, and without white
/// space at its ends (RFC 9110 §5.5). Bytes beyond ASCII are refused: recipients do not agree on
/// their meaning.
#[must_use]
pub fn is_value(value: &str) -> bool {
    value.trim() == value && value.bytes().all(|byte| byte == b' ' || byte == b'\t' || byte.is_ascii_graphic())
}

/// Iterates over the members of a comma-separated field, without the empty ones (RFC 9110 §5.6.1).
pub fn list(field: &str) -> impl Iterator<Item = &str> {
    field.split(',').map(str::trim).filter(|member| !member.is_empty())
}

/// Adds to `edits` the removal of every field that belongs to the connection of a message: those
/// of RFC 9110 §7.6.1 and those that `Connection` lists, unless they frame or address the message,
/// control its reuse or come from Cloudflare. `TE: trailers` stays, because the next connection
/// can have trailers too, and so does `Upgrade: websocket` if `may_upgrade`.
///
/// `Connection`, `Keep-Alive` and `Transfer-Encoding` need no edit: the runtime frames each
/// connection itself and forwards none of them.
///
/// # Examples
///
/// ```
/// use http_semantics::fields::{HeaderEdits, HeaderSection, remove_hop_by_hop};
///
/// let connection = ("connection", "close, x-trace, cache-control");
/// let request = HeaderSection::from(&[connection, ("te", "gzip"), ("x-trace", "1")]);
/// let mut edits = HeaderEdits::default();
/// remove_hop_by_hop(&request, false, &mut edits);
/// assert_eq!(edits.remove, ["te", "x-trace"], "`Cache-Control` is never one of a connection");
/// ```
pub fn remove_hop_by_hop(fields: &impl Fields, may_upgrade: bool, edits: &mut HeaderEdits<'_>) {
    for name in fields.names().split(',') {
        let Some(name) = HOP_BY_HOP.into_iter().find(|hop| *hop == name) else { continue };
        let stays = match name {
            "connection" | "keep-alive" | "transfer-encoding" => true,
            "te" => fields.get(name).is_some_and(|te| te.trim().eq_ignore_ascii_case("trailers")),
            "upgrade" => may_upgrade && is_websocket(fields),
            _ => false,
        };
        if !stays {
            edits.remove(name);
        }
    }
    for name in list(&fields.get("connection").unwrap_or_default()).map(str::to_ascii_lowercase) {
        if is_name(&name) && !is_hop_by_hop(&name) && !is_protected(&name) && name != "close" {
            edits.remove(name);
        }
    }
}

/// Returns a list field with one more member (RFC 9110 §5.6.1).
///
/// # Examples
///
/// ```
/// use http_semantics::fields::with_member;
///
/// let via = with_member(Some("1.1 proxy.example".to_owned()), "1.1 kv-edge");
/// assert_eq!(via, "1.1 proxy.example, 1.1 kv-edge");
/// ```
#[must_use]
pub fn with_member(field: Option<String>, member: &'static str) -> Cow<'static, str> {
    match field {
        Some(field) if !field.trim().is_empty() => Cow::Owned(format!("{field}, {member}")),
        _ => Cow::Borrowed(member),
    }
}

/// Returns true if a request asks to become a WebSocket (RFC 6455 §4.1).
#[must_use]
pub fn is_websocket(fields: &impl Fields) -> bool {
    fields.get("upgrade").is_some_and(|upgrade| upgrade.trim().eq_ignore_ascii_case("websocket"))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn removed(fields: &[(&'static str, &str)]) -> Vec<String> {
        let mut edits = HeaderEdits::default();
        remove_hop_by_hop(&HeaderSection::from(fields), true, &mut edits);
        edits.remove.into_iter().map(Cow::into_owned).collect()
    }

    #[test]
    fn a_header_section_is_valid_if_a_message_can_carry_it() {
        for (text, is_valid) in [
            ("", true),
            ("x-a\n\n", true),
            ("x-a\nb\tc \u{1} \u{fffd}\u{7f}ü\nset-cookie\na=1\nset-cookie\nb=2\n", true),
            ("x a\nb\n", false),
            ("X-A\nb\n", false),
            ("x-ü\nb\n", false),
            ("\nb\n", false),
            ("\n\nx-a\nb\n", false),
            ("x-a\nb\rc\n", false),
            ("x-a\nb\nx-c\nd\0\n", false),
        ] {
            assert_eq!(HeaderSection::parse(text.to_owned()).is_valid(), is_valid, "{text:?}");
        }
    }

    #[test]
    fn fields_of_one_connection_and_those_it_lists_are_removed() {
        assert_eq!(removed(&[("accept", "a"), ("host", "b"), ("x-a", "c")]), [""; 0]);
        assert_eq!(removed(&[("connection", "X-A, keep-alive,,close, a b"), ("x-a", "1"), ("x-b", "2")]), ["x-a"]);
        for name in
            HOP_BY_HOP.into_iter().filter(|name| !["connection", "keep-alive", "transfer-encoding"].contains(name))
        {
            assert_eq!(removed(&[(name, "something")]), [name]);
        }
    }

    #[test]
    fn connection_cannot_remove_fields_that_frame_address_or_reuse_a_message() {
        let fields = [
            ("connection", "host, content-length, cf-connecting-ip, cache-control, vary"),
            ("cache-control", "private"),
            ("vary", "Cookie"),
            ("host", "a"),
            ("cf-connecting-ip", "192.0.2.1"),
        ];
        assert_eq!(removed(&fields), [""; 0]);
    }

    #[test]
    fn te_trailers_and_a_websocket_upgrade_stay() {
        assert_eq!(removed(&[("te", " Trailers ")]), [""; 0]);
        assert_eq!(removed(&[("te", "trailers, gzip")]), ["te"]);
        assert_eq!(removed(&[("connection", "Upgrade"), ("upgrade", "WebSocket")]), [""; 0]);
        assert_eq!(removed(&[("upgrade", "h2c")]), ["upgrade"]);
        let mut edits = HeaderEdits::default();
        remove_hop_by_hop(&HeaderSection::from(&[("upgrade", "websocket")]), false, &mut edits);
        assert_eq!(edits.remove, ["upgrade"], "a POST becomes no WebSocket");
    }

    #[test]
    fn an_edit_is_written_as_lines_and_no_value_can_add_another() {
        let mut edits = HeaderEdits::default();
        edits.append("set-cookie", "a=1");
        edits.set("via", "1.1 a:b");
        edits.set("x-a", "b\n-cookie");
        edits.remove("te");
        assert_eq!(edits.to_lines(), "-\nte\n=\nvia\n1.1 a:b\n+\nset-cookie\na=1\n");
    }

    #[test]
    fn a_header_section_keeps_the_order_and_number_of_its_lines() {
        let lines: HeaderSection =
            [("set-cookie", "a=1"), ("vary", "A"), ("set-cookie", "b=2"), ("vary", "B")].into_iter().collect();
        assert_eq!(lines.get("vary").as_deref(), Some("A, B"));
        assert_eq!(lines.set_cookies(), ["a=1", "b=2"]);
        assert_eq!(lines.names(), "set-cookie,vary,set-cookie,vary");
        assert_eq!(HeaderSection::parse(lines.as_str().to_owned()), lines);
        assert!(lines.has("vary") && !lines.has("var") && lines.get("x").is_none());
        assert_eq!(HeaderSection::parse("a\n".to_owned()).iter().count(), 1, "an empty value");
        assert_eq!(HeaderSection::parse(String::new()).iter().count(), 0);
    }

    proptest! {
        #[test]
        fn names_has_and_get_agree(lines in vec(("[a-c]{1,2}", "[ -~]{0,3}"), 0..5), name in "[a-c]{1,2}") {
            let fields: HeaderSection = lines.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let is_listed = fields.names().split(',').any(|listed| listed == name);
            prop_assert_eq!((fields.has(&name), fields.get(&name).is_some()), (is_listed, is_listed));
        }
    }

    #[test]
    fn names_are_tokens_and_values_have_no_control_characters_but_tabs() {
        assert!(is_name("X-A") && is_name("a!#$%&'*+-.^_`|~1"));
        assert!(!is_name("") && !is_name("x a") && !is_name("x:") && !is_name("é") && !is_name("a\n"));
        assert!(is_value("") && is_value("a b\tc"));
        assert!(!is_value(" a") && !is_value("a\r\nb: c") && !is_value("é") && !is_value("a\0"));
    }
}
