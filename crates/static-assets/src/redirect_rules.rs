//! The rules of `_redirects` (Workers static assets, "Redirects"): `[source] [destination]
//! [code?]` on each line.

mod destination;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use self::destination::Destination;
pub use self::destination::Redirect;
use super::AssetPath;
use super::allocation::{allocated, allocated_list};
use super::line_error::LineError;
use super::pattern::{Captures, Pattern};

/// The limit "per file" of redirects without placeholders.
const STATIC_MAX: usize = 2000;
/// The limit "per file" of redirects with placeholders, of which `*` is one.
const DYNAMIC_MAX: usize = 100;
/// The limit of characters in a line.
const LINE_MAX: usize = 1000;

/// The rules of a `_redirects` file.
///
/// In JSON they are a list of `[source, destination, code]`, texts as they were written: rules
/// without placeholders first, sorted by path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<RedirectRecord>", into = "Vec<RedirectRecord>")]
pub struct RedirectRules {
    /// Rules without placeholders, each with its decoded path, sorted by it.
    fixed: Vec<(Box<str>, RedirectRule)>,
    /// Rules with placeholders, in the order of the file.
    dynamic: Vec<RedirectRule>,
}

/// A rule in JSON.
type RedirectRecord = (Box<str>, Box<str>, u16);

#[derive(Debug, Clone, PartialEq, Eq)]
struct RedirectRule {
    source: Pattern,
    destination: Destination,
}

impl RedirectRules {
    /// Parses a `_redirects` file.
    ///
    /// Cloudflare skips what it cannot parse, with a warning. Here it is an error, because only
    /// visitors would notice that a rule is missing.
    ///
    /// # Errors
    /// All errors of the file, sorted by line.
    ///
    /// # Examples
    ///
    /// ```
    /// use static_assets::AssetPath;
    /// use static_assets::redirect_rules::RedirectRules;
    ///
    /// let file = "/blog/* https://blog.example.com/:splat 301";
    /// let redirects = RedirectRules::parse(file).unwrap();
    /// let path = AssetPath::parse("/blog/2026/11");
    /// let redirect = redirects.find(&path, Some("page=2")).unwrap();
    /// assert_eq!(redirect.location, "https://blog.example.com/2026/11?page=2");
    /// ```
    pub fn parse(file: &str) -> Result<Self, Vec<LineError>> {
        let mut redirects = Self::default();
        let mut errors = Vec::new();
        // The line of each source. Sources without placeholders are decoded, so that two
        // spellings of a path are the same.
        let mut lines: HashMap<String, usize> = HashMap::new();
        for (text, line) in file.trim_start_matches('\u{feff}').lines().zip(1..) {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            match RedirectRule::of_line(text).and_then(|rule| redirects.add(rule, line, &mut lines)) {
                Ok(()) => {}
                Err(problem) => errors.push(LineError { line, problem }),
            }
        }
        redirects.sort();
        let loops = redirects.rules().filter(|rule| redirects.is_loop(rule)).filter_map(|rule| {
            let problem = "It redirects to a path that it matches itself, without end.".to_owned();
            lines.get(&rule.key()).map(|line| LineError { line: *line, problem })
        });
        errors.extend(loops);
        errors.sort_by_key(|error| error.line);
        if errors.is_empty() { Ok(redirects) } else { Err(errors) }
    }

    /// Returns the redirect for a path: that of the first rule that matches, rules without
    /// placeholders before the others. This is the first of the file, too:
    /// [`RedirectRules::parse`] refuses a rule without placeholders behind one that matches its
    /// path. `None` if no rule matches, or the first one that does must not be used with what its
    /// placeholders matched.
    ///
    /// The query of the request is appended to a redirect whose destination has none. In a
    /// `Location`, what a placeholder matched is percent-encoded; in its host it must be a label.
    /// So it can neither lead to another domain nor end the field value. A path that cannot be
    /// decoded is compared as it was sent, and keeps its escapes, except of unreserved characters:
    /// `/* https://new.example/:splat 301` sends `/caf%E9` to `https://new.example/caf%E9`.
    /// The text of a source is decoded, so `é` in it does not match an escape in such a path.
    ///
    /// [`parse`](Self::parse) has an example.
    #[must_use]
    pub fn find(&self, path: &AssetPath<'_>, query: Option<&str>) -> Option<Redirect> {
        self.first(path).and_then(|(rule, captures)| rule.destination.redirect(&captures, query))
    }

    /// Returns the bytes of memory that its lists and texts take.
    pub(crate) fn memory_bytes(&self) -> usize {
        let paths: usize = self.fixed.iter().map(|(path, _)| allocated(path.len())).sum();
        let of_rule = |rule: &RedirectRule| rule.source.owned_bytes() + allocated(rule.destination.text().len());
        let rules: usize = self.rules().map(of_rule).sum();
        allocated_list(&self.fixed) + paths + allocated_list(&self.dynamic) + rules
    }

    /// Returns true if there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fixed.is_empty() && self.dynamic.is_empty()
    }

    fn first<'a>(&'a self, path: &'a AssetPath<'_>) -> Option<(&'a RedirectRule, Captures<'a>)> {
        let at = |file: &str| self.fixed.binary_search_by(|(source, _)| source.as_ref().cmp(file)).ok();
        if let Some((_, rule)) = path.file().and_then(at).and_then(|at| self.fixed.get(at)) {
            return Some((rule, Captures::default()));
        }
        self.dynamic.iter().find_map(|rule| rule.source.captures_of("", path).map(|captures| (rule, captures)))
    }

    /// Adds the rule of a line. `lines` has the lines of the rules before it.
    fn add(&mut self, rule: RedirectRule, line: usize, lines: &mut HashMap<String, usize>) -> Result<(), String> {
        if let Some(first) = lines.get(&rule.key()) {
            return Err(format!("Line {first} has the same source."));
        }
        if let Some(path) = rule.source.literal() {
            let earlier = self.dynamic.iter().find(|rule| rule.source.captures("", &path).is_some());
            if let Some(first) = earlier.and_then(|rule| lines.get(&rule.key())) {
                return Err(format!(
                    "It is never reached: line {first} matches its path too. Put it before that line."
                ));
            }
            if self.fixed.len() >= STATIC_MAX {
                return Err(format!("There are more than {STATIC_MAX} redirects without placeholders."));
            }
        } else if self.dynamic.len() >= DYNAMIC_MAX {
            return Err(format!("There are more than {DYNAMIC_MAX} redirects with `*` or other placeholders."));
        }
        lines.insert(rule.key(), line);
        self.push(rule);
        Ok(())
    }

    fn push(&mut self, rule: RedirectRule) {
        match rule.source.literal() {
            Some(path) => self.fixed.push((path.into(), rule)),
            None => self.dynamic.push(rule),
        }
    }

    fn sort(&mut self) {
        self.fixed.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    }

    fn rules(&self) -> impl Iterator<Item = &RedirectRule> {
        self.fixed.iter().map(|(_, rule)| rule).chain(&self.dynamic)
    }

    /// Returns true if the next rule of a visitor who follows this rule is this rule again. Loops
    /// of several rules, and destinations with placeholders in their path, are not checked.
    fn is_loop(&self, rule: &RedirectRule) -> bool {
        let path = rule.destination.fixed_path().map(|path| AssetPath::Decoded(path.into()));
        path.and_then(|path| self.first(&path).map(|(found, _)| std::ptr::eq(found, rule))).unwrap_or(false)
    }
}

impl RedirectRule {
    fn of_line(line: &str) -> Result<Self, String> {
        let length = line.chars().count();
        if length > LINE_MAX {
            return Err(format!("It has {length} characters. At most {LINE_MAX} are allowed."));
        }
        // Within a rule, a `#` starts a comment only after a space and after the destination.
        let mut words = line.split_whitespace().enumerate().take_while(|(at, word)| *at < 2 || !word.starts_with('#'));
        let mut word = || words.next().map(|(_, word)| word);
        let (Some(source), Some(destination), code, None) = (word(), word(), word(), word()) else {
            return Err("A redirect is a source, a destination and perhaps a code, with spaces between them.".into());
        };
        let code = code.map_or(Ok(302), |code| {
            code.parse().map_err(|_| format!("`{code}` is not a valid code. Use 301, 302, 303, 307, 308 or 200."))
        })?;
        Self::new(source, destination, code)
    }

    fn new(source: &str, destination: &str, status: u16) -> Result<Self, String> {
        let source = Pattern::parse(source)?;
        if source.has_host() {
            return Err("The source is absolute. A redirect is for all hosts: start with `/`.".into());
        }
        let destination = Destination::parse(destination, status, &source)?;
        Ok(Self { source, destination })
    }

    /// Returns what identifies a rule: two rules with this in common match the same paths.
    fn key(&self) -> String {
        self.source.literal().unwrap_or_else(|| self.source.text().to_owned())
    }
}

impl TryFrom<Vec<RedirectRecord>> for RedirectRules {
    type Error = String;

    fn try_from(records: Vec<RedirectRecord>) -> Result<Self, String> {
        let mut redirects = Self::default();
        for (source, destination, status) in records {
            redirects.push(RedirectRule::new(&source, &destination, status)?);
        }
        redirects.sort();
        Ok(redirects)
    }
}

impl From<RedirectRules> for Vec<RedirectRecord> {
    fn from(redirects: RedirectRules) -> Self {
        let record = |rule: &RedirectRule| {
            (rule.source.text().into(), rule.destination.text().into(), rule.destination.status())
        };
        redirects.rules().map(record).collect()
    }
}
