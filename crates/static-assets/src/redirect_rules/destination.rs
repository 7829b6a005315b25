//! The destination of a redirect or a rewrite. What a visitor sends may fill its placeholders, but
//! chooses no more of the host than a subdomain, and no file that a request could not reach.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::collapse_slashes;
use crate::keys::PREFIX;
use crate::pattern::{Captures, Pattern, PatternToken, STRICT, is_dots, tokens};
use http_semantics::request_target::percent_decode;

/// The redirect, or the rewrite, that a request gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308 for a redirect; 200 for a rewrite, which serves another file
    /// under the path of the request.
    pub status: u16,
    /// The `Location` of a redirect: relative to the root, or absolute. For a rewrite, the
    /// decoded path of the file, which is served whatever rules there are for its own path, and
    /// without a redirect to its canonical one.
    pub location: String,
}

/// Characters to escape in what a placeholder adds to a path: fewer than [`STRICT`], because RFC
/// 3986 §3.3 (`pchar`) allows more.
const PATH: &AsciiSet = &STRICT
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// Characters to escape in a query (URL Standard, "query percent-encode set"). `%` is not among
/// them, so what is escaped already stays as it is.
const QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>');

/// Characters to escape in a destination as it was written. `%` is not among them, as in
/// [`QUERY`], because it may have escapes already. `\` is, because browsers read it as a slash.
const URL: &AsciiSet = &QUERY.add(b'\\').add(b'^').add(b'`').add(b'{').add(b'|').add(b'}');

/// A destination and its status code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Destination {
    /// The text of the rule.
    text: Box<str>,
    status: u16,
}

/// The parts of a destination (RFC 3986 §3).
struct DestinationParts<'a> {
    /// Scheme and authority; empty for a path on this host.
    origin: &'a str,
    path: &'a str,
    /// Without its `?`; `None` if it is missing or empty.
    query: Option<&'a str>,
    /// With its `#`; empty if it is missing.
    fragment: &'a str,
}

impl Destination {
    /// Parses the destination of a rule with this status code and this source.
    ///
    /// # Errors
    /// What is wrong with it, for the author of the rule: a sentence or two.
    pub(super) fn parse(text: &str, status: u16, source: &Pattern) -> Result<Self, String> {
        if !matches!(status, 200 | 301 | 302 | 303 | 307 | 308) {
            return Err(format!("{status} is not the code of a redirect. Use 301, 302, 303, 307, 308 or 200."));
        }
        let destination = Self { text: text.into(), status };
        let parts = destination.parts();
        if let Some(name) = names(text).find(|name| source.names().all(|known| known != *name)) {
            return Err(format!("The source has no `:{name}`. If no placeholder is meant, write `%3A{name}`."));
        }
        if parts.origin.is_empty() {
            if !text.starts_with('/') {
                return Err("The destination starts neither with `/` nor with `https://`.".into());
            }
            if text.starts_with("//") || text.starts_with("/\\") {
                return Err("The destination starts with two slashes, which is another host. Write `https://`.".into());
            }
        } else {
            check_origin(parts.origin)?;
        }
        if status == 200 {
            destination.check_rewrite(source)?;
        } else {
            let folder = source.literal().filter(|source| source.ends_with('/'));
            let name = folder.and_then(|folder| destination.fixed_path()?.strip_prefix(&folder).map(str::to_owned));
            if matches!(name.as_deref(), Some("index" | "index.html")) {
                return Err(
                    "The destination is the page that the source shows already, and redirects back to it.".into()
                );
            }
        }
        Ok(destination)
    }

    /// Refuses what a rewrite cannot lead to. "Proxying will only support relative URLs on your
    /// site" (Workers static assets, "Redirects").
    fn check_rewrite(&self, source: &Pattern) -> Result<(), String> {
        let parts = self.parts();
        if !parts.origin.is_empty() {
            return Err("With 200 the destination is a path: other sites are not fetched.".into());
        }
        if parts.query.is_some() || !parts.fragment.is_empty() {
            return Err("With 200 the destination is a path without query or fragment.".into());
        }
        let is_literal = names(&self.text).next().is_none();
        if source.text() == "/*" && is_literal {
            return Err(
                "One page would be served for all files, scripts and styles too. For a single-page application push with \
                        `--not-found single-page-application`."
                    .into(),
            );
        }
        let path = decoded(&self.text, &Captures::default()).ok_or("The destination has a broken percent-encoding.")?;
        if !is_servable(&path) {
            return Err("The destination cannot be the path of a file.".into());
        }
        Ok(())
    }

    /// Returns the destination as it was written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn status(&self) -> u16 {
        self.status
    }

    /// Returns the decoded path on this host that a redirect leads to; `None` if it is a
    /// rewrite, leads to another host, or has placeholders or a broken percent-encoding in its
    /// path.
    pub(super) fn fixed_path(&self) -> Option<String> {
        let parts = self.parts();
        let is_fixed = self.status != 200 && parts.origin.is_empty() && names(parts.path).next().is_none();
        let path = is_fixed.then(|| collapse_slashes(parts.path).into_owned())?;
        percent_decode(&path).ok().map(Cow::into_owned)
    }

    /// Returns the redirect for a request; `None` if what a placeholder in the host matched is not
    /// a label, or a rewrite may not lead to the path.
    pub(super) fn redirect(&self, captures: &Captures<'_>, query: Option<&str>) -> Option<Redirect> {
        let location = if self.status == 200 { self.rewritten(captures) } else { self.location(captures, query) };
        Some(Redirect { status: self.status, location: location? })
    }

    fn rewritten(&self, captures: &Captures<'_>) -> Option<String> {
        // A rewrite must not reach a key that no request can reach, such as a release's files.
        decoded(&self.text, captures).map(|path| collapse_slashes(&path).into_owned()).filter(|path| is_servable(path))
    }

    fn location(&self, captures: &Captures<'_>, query: Option<&str>) -> Option<String> {
        let parts = self.parts();
        // Host names have no escapes, so a placeholder in the host must match a valid label.
        if !names(parts.origin).all(|name| captures.get(name).is_some_and(is_label)) {
            return None;
        }
        let path: String = utf8_percent_encode(parts.path, URL).collect();
        let path = captures.fill(&path, PATH).into_owned();
        let mut location = if parts.origin.is_empty() {
            collapse_slashes(&path).into_owned()
        } else {
            let slash = if path.is_empty() { "/" } else { "" };
            [&captures.fill(parts.origin, STRICT), slash, &path].concat()
        };
        if let Some(rule_query) = parts.query {
            let rule_query: String = utf8_percent_encode(rule_query, URL).collect();
            location.extend(["?", &captures.fill(&rule_query, STRICT)]);
        } else if let Some(query) = query.filter(|query| !query.is_empty()) {
            location.push('?');
            location.extend(utf8_percent_encode(query, QUERY));
        }
        if let Some(fragment) = parts.fragment.strip_prefix('#') {
            let fragment: String = utf8_percent_encode(fragment, URL).collect();
            location.extend(["#", &captures.fill(&fragment, STRICT)]);
        }
        Some(location)
    }

    fn parts(&self) -> DestinationParts<'_> {
        let text = self.text.as_ref();
        let (text, fragment) = text.split_at(text.find('#').unwrap_or(text.len()));
        let (text, query) = text.split_once('?').map_or((text, None), |(text, query)| (text, Some(query)));
        let host = text.strip_prefix("https://");
        let length = host.map_or(0, |host| text.len() - host.len() + host.find('/').unwrap_or(host.len()));
        let (origin, path) = text.split_at(length);
        DestinationParts { origin, path, query: query.filter(|query| !query.is_empty()), fragment }
    }
}

/// Refuses an origin that has no valid host, or one in which a visitor could choose more than a
/// subdomain. So after the last placeholder there must be two labels or more that the rule itself
/// names, and not the end of an IPv4 address.
///
/// The list of public suffixes (<https://publicsuffix.org>) is not used:
/// `https://:name.github.io/` is accepted, although visitors choose whose site that is.
fn check_origin(origin: &str) -> Result<(), String> {
    let host = origin.strip_prefix("https://").unwrap_or(origin);
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, Some(port)),
        _ => (host, None),
    };
    let mut end = "";
    for token in tokens(host) {
        match token {
            PatternToken::Name("splat") => {
                return Err(
                    "The destination has `:splat` in its host. Use a named placeholder: `:name.example.com`.".into()
                );
            }
            PatternToken::Name(_) => end = "",
            PatternToken::Literal(literal) => end = literal,
        }
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if !end.bytes().all(is_host) {
            return Err(
                "The host of the destination has a character that is not allowed in a host. Write international names in their \
                        ASCII form, `xn--…`."
                    .into(),
            );
        }
    }
    if port == Some("") || host.is_empty() {
        return Err("The destination has no host, or no port after its colon.".into());
    }
    let mut labels = end.split('.').filter(|label| !label.is_empty());
    // "The highest-level component label will be alphabetic", unlike that of an IPv4 address (RFC
    // 1123 §2.1).
    let has_top = labels.next_back().is_some_and(|top| top.starts_with(|first: char| first.is_ascii_alphabetic()));
    let is_fixed = end.starts_with('.') && has_top && labels.next_back().is_some();
    if names(host).next().is_some() && !is_fixed {
        return Err(
            "Visitors could choose the domain of the destination. After the placeholder write the site: `.example.com`."
                .into(),
        );
    }
    Ok(())
}

/// Returns the names of the placeholders in a text.
fn names(text: &str) -> impl Iterator<Item = &str> {
    tokens(text).filter_map(|token| match token {
        PatternToken::Name(name) => Some(name),
        PatternToken::Literal(_) => None,
    })
}

/// Returns a decoded path, in which placeholders are replaced by what they matched, or by nothing;
/// `None` if the percent-encoding of the path or of what they matched is broken.
fn decoded(path: &str, captures: &Captures<'_>) -> Option<String> {
    let mut decoded = String::with_capacity(path.len());
    for token in tokens(path) {
        match token {
            PatternToken::Literal(literal) => decoded.push_str(&percent_decode(literal).ok()?),
            PatternToken::Name(name) => decoded.push_str(&captures.decoded(name).ok()?),
        }
    }
    Some(decoded)
}

/// Returns true for a path that a rewrite may lead to: one that can name a file
/// ([`decode`](crate::decode)), without control characters.
fn is_servable(path: &str) -> bool {
    let name = path.trim_start_matches('/');
    !name.starts_with(PREFIX) && !path.split('/').any(is_dots) && !path.contains(|c: char| c.is_control() || c == '\\')
}

/// Returns true for a valid label of a host name (RFC 1123 §2.1), and for an empty text, because a
/// placeholder may be only part of a label.
fn is_label(text: &str) -> bool {
    let is_ldh = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    text.bytes().all(is_ldh) && !text.starts_with('-') && !text.ends_with('-')
}
