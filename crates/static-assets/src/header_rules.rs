//! The rules of `_headers` (Workers static assets, "Headers"): a pattern on one line, and
//! indented below it the header fields to set or remove.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::AssetPath;
use super::allocation::{allocated, allocated_list};
use super::line_error::LineError;
use super::pattern::{Pattern, STRICT};
use http_semantics::fields;

/// "You may define up to 100 header rules."
const RULES_MAX: usize = 100;
/// "Each line … has a 2,000 character limit", spaces included.
const LINE_MAX: usize = 2000;

/// The rules of a `_headers` file.
///
/// In JSON they are a list of `[pattern, [name…], [[name, value]…]]`: the fields that are
/// removed, then those that are set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<HeaderRuleRecord>", into = "Vec<HeaderRuleRecord>")]
pub struct HeaderRules(Vec<HeaderRule>);

/// A rule in JSON.
type HeaderRuleRecord = (Box<str>, Vec<Box<str>>, Vec<(Box<str>, Box<str>)>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct HeaderRule {
    source: Pattern,
    /// In lower case.
    remove: Vec<Box<str>>,
    /// Names in lower case, each once.
    set: Vec<(Box<str>, Box<str>)>,
}

/// The changes that `_headers` makes to one response. A name is in one of the lists only, and
/// there once. Some responses keep some fields all the same, such as a 404 its `Cache-Control`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderChanges {
    /// The names of the fields to remove, in lower case.
    pub remove: Vec<String>,
    /// The fields to set, their names in lower case. They replace fields of the same name,
    /// except for `Vary` and `Link`, to which they are added.
    pub set: Vec<(String, String)>,
}

impl HeaderRules {
    /// Parses a `_headers` file.
    ///
    /// Cloudflare skips what it cannot parse, with a warning. Here it is an error, because
    /// nobody would notice that a policy is missing.
    ///
    /// # Errors
    /// All errors of the file, sorted by line.
    ///
    /// # Examples
    ///
    /// ```
    /// use static_assets::AssetPath;
    /// use static_assets::header_rules::HeaderRules;
    ///
    /// let rules = HeaderRules::parse("/docs/*\n  X-Frame-Options: DENY\n  ! Link").unwrap();
    /// let changes = rules.changes("example.com", &AssetPath::parse("/docs/start"));
    /// assert_eq!(changes.set, [("x-frame-options".to_owned(), "DENY".to_owned())]);
    /// assert_eq!(changes.remove, ["link"]);
    /// ```
    pub fn parse(file: &str) -> Result<Self, Vec<LineError>> {
        let mut rules = Vec::new();
        let mut errors = Vec::new();
        // The rule that the next lines belong to; `None` if it has an error.
        let mut open: Option<(usize, Option<HeaderRule>)> = None;
        for (text, line) in file.trim_start_matches('\u{feff}').lines().zip(1..) {
            let content = text.trim();
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            let mut note = |line, problem| errors.push(LineError { line, problem });
            let length = text.chars().count();
            let read = if length > LINE_MAX {
                Err(format!("It has {length} characters. At most {LINE_MAX} are allowed."))
            } else if is_source(content) {
                close(open.take(), &mut rules, &mut note);
                open = Some((line, None));
                Pattern::parse(content).map(|source| {
                    open = Some((line, Some(HeaderRule { source, remove: Vec::new(), set: Vec::new() })));
                })
            } else if let Some((_, rule)) = &mut open {
                HeaderChange::parse(content).map(|field| rule.iter_mut().for_each(|rule| rule.add(field)))
            } else {
                Err("It belongs to no source. Above it write a line that starts with `/` or `https://`.".into())
            };
            if let Err(problem) = read {
                note(line, problem);
                if let Some((_, rule)) = &mut open {
                    *rule = None;
                }
            }
        }
        close(open, &mut rules, &mut |line, problem| errors.push(LineError { line, problem }));
        errors.sort_by_key(|error| error.line);
        if errors.is_empty() { Ok(Self(rules)) } else { Err(errors) }
    }

    /// Returns the bytes of memory that its lists and texts take.
    pub(crate) fn memory_bytes(&self) -> usize {
        allocated_list(&self.0) + self.0.iter().map(HeaderRule::owned_bytes).sum::<usize>()
    }

    /// Returns the changes for a path on a host
    /// ([`host`](http_semantics::request_target::RequestTarget::host)). All rules that match
    /// apply, in order, the removals of each before what it sets. If several set a field, it gets
    /// all their values, separated by commas.
    ///
    /// [`parse`](Self::parse) has an example.
    #[must_use]
    pub fn changes(&self, host: &str, path: &AssetPath<'_>) -> HeaderChanges {
        let mut changes = HeaderChanges::default();
        if self.0.is_empty() {
            return changes;
        }
        for rule in &self.0 {
            let Some(captures) = rule.source.captures_of(host, path) else { continue };
            for name in &rule.remove {
                changes.set.retain(|(set, _)| **set != **name);
                if !changes.remove.iter().any(|removed| **removed == **name) {
                    changes.remove.push(name.to_string());
                }
            }
            for (name, value) in &rule.set {
                let value = captures.fill(value, STRICT);
                // A placeholder at an end may be empty.
                let value = value.trim();
                if let Some((_, set)) = changes.set.iter_mut().find(|(set, _)| **set == **name) {
                    set.extend([", ", value]);
                } else {
                    changes.remove.retain(|removed| **removed != **name);
                    changes.set.push((name.to_string(), value.to_owned()));
                }
            }
        }
        changes
    }

    /// Returns true if a rule is for one host, so that the changes for a path depend on the host.
    #[must_use]
    pub fn depend_on_host(&self) -> bool {
        self.0.iter().any(|rule| rule.source.has_host())
    }
}

/// Adds a rule that is complete. It must have fields.
fn close(open: Option<(usize, Option<HeaderRule>)>, rules: &mut Vec<HeaderRule>, note: &mut impl FnMut(usize, String)) {
    let Some((line, Some(rule))) = open else { return };
    if rule.remove.is_empty() && rule.set.is_empty() {
        note(line, "It has no fields. Below it write `Name: value` or `! Name`.".into());
    } else if rules.len() >= RULES_MAX {
        note(line, format!("There are more than {RULES_MAX} rules."));
    } else {
        rules.push(rule);
    }
}

/// Returns true for the first line of a rule, even if it is not a valid pattern, such as
/// `http://…`.
fn is_source(line: &str) -> bool {
    let scheme = line.split_once("://").map(|(scheme, _)| scheme);
    line.starts_with('/') || scheme.is_some_and(|scheme| !scheme.contains(char::is_whitespace))
}

/// A line below a pattern.
#[derive(Clone, Copy)]
enum HeaderChange<'a> {
    Remove(&'a str),
    Set(&'a str, &'a str),
}

impl<'a> HeaderChange<'a> {
    fn parse(line: &'a str) -> Result<Self, String> {
        let (name, value) = match (line.split_once(':'), line.strip_prefix("! ")) {
            (Some((name, value)), _) => (name.trim(), Some(value.trim())),
            (None, Some(name)) => (name.trim(), None),
            (None, None) => return Err("A field is `Name: value`, or `! Name` to remove it.".into()),
        };
        let field = value.map_or(Self::Remove(name), |value| Self::Set(name, value));
        field.check()?;
        Ok(field)
    }

    /// Refuses fields that cannot be sent, and fields that `_headers` must not change.
    fn check(self) -> Result<(), String> {
        let (Self::Remove(name) | Self::Set(name, _)) = self;
        if !fields::is_name(name) {
            return Err(format!("`{name}` is not a valid field name."));
        }
        if let Self::Set(_, value) = self {
            if value.is_empty() {
                return Err(format!("`{name}` has no value. To remove it, write `! {name}`."));
            }
            if !fields::is_value(value) {
                return Err(format!(
                    "The value of `{name}` has a character that is not ASCII, or a control character."
                ));
            }
        }
        let name = name.to_ascii_lowercase();
        let reason = match (name.as_str(), self) {
            ("content-length" | "content-encoding" | "content-range", _) => "It follows from the bytes that are sent.",
            (name, _) if fields::is_hop_by_hop(name) => "It is for one connection, and the platform sets it.",
            ("date" | "age", _) => "The platform and caches set it.",
            ("location", _) => "Redirects belong in `_redirects`.",
            ("set-cookie", _) => "Shared caches store files; everybody would get the cookie.",
            ("x-content-type-options", Self::Remove(_)) => {
                "Every response has it, so that no browser guesses the type of a file."
            }
            ("x-content-type-options", Self::Set(_, value)) if !value.eq_ignore_ascii_case("nosniff") => {
                "It has no other value than `nosniff`."
            }
            ("vary", Self::Remove(_)) => "Without it, caches would give one visitor a response that is for another.",
            ("etag" | "last-modified" | "accept-ranges", Self::Set(..)) => {
                "It follows from the release, and conditional requests lean on it. It can only be removed."
            }
            _ => return Ok(()),
        };
        Err(format!("`{name}` is not for `_headers` to change. {reason}"))
    }
}

impl HeaderRule {
    /// Returns the bytes of memory that its lists and texts take.
    fn owned_bytes(&self) -> usize {
        let removed: usize = self.remove.iter().map(|name| allocated(name.len())).sum();
        let set: usize = self.set.iter().map(|(name, value)| allocated(name.len()) + allocated(value.len())).sum();
        self.source.owned_bytes() + allocated_list(&self.remove) + removed + allocated_list(&self.set) + set
    }

    /// Adds a line. "If a header is applied twice …, the values are joined with a comma
    /// separator."
    fn add(&mut self, field: HeaderChange<'_>) {
        match field {
            HeaderChange::Remove(name) => self.remove.push(name.to_ascii_lowercase().into()),
            HeaderChange::Set(name, value) => {
                let name = name.to_ascii_lowercase();
                match self.set.iter_mut().find(|(set, _)| **set == *name) {
                    Some((_, joined)) => *joined = [joined, ", ", value].concat().into(),
                    None => self.set.push((name.into(), value.into())),
                }
            }
        }
    }
}

impl TryFrom<Vec<HeaderRuleRecord>> for HeaderRules {
    type Error = String;

    fn try_from(blocks: Vec<HeaderRuleRecord>) -> Result<Self, String> {
        let rules = blocks.into_iter().map(|(source, remove, set)| {
            let mut rule = HeaderRule { source: Pattern::parse(&source)?, remove: Vec::new(), set: Vec::new() };
            let removed = remove.iter().map(|name| HeaderChange::Remove(name));
            for field in removed.chain(set.iter().map(|(name, value)| HeaderChange::Set(name, value))) {
                field.check()?;
                rule.add(field);
            }
            Ok(rule)
        });
        rules.collect::<Result<_, String>>().map(Self)
    }
}

impl From<HeaderRules> for Vec<HeaderRuleRecord> {
    fn from(rules: HeaderRules) -> Self {
        rules.0.into_iter().map(|rule| (rule.source.text().into(), rule.remove, rule.set)).collect()
    }
}
