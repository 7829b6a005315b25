//! The directives of `Cache-Control` (RFC 9111 §5.2) and of `CDN-Cache-Control`, which takes its
//! place for CDNs (RFC 9213).
//!
//! `Cache-Control` is parsed leniently, and in doubt against storing:
//!
//! - Directives may have any case. Arguments may be tokens or quoted strings. Unknown directives
//!   are ignored.
//! - A `max-age` that is not a number counts as 0 (RFC 9111 §4.2.1: "encouraged to consider
//!   responses that have invalid freshness information … to be stale").
//! - If a list of field names is malformed, the directive applies to the whole message.
//! - `no-store`, `no-cache` and `private` are recognized even if a comma is missing next to them.
//!
//! `CDN-Cache-Control` is a Structured Field (RFC 8941) and is parsed strictly: it is valid or it
//! is ignored.
//!
//! ```
//! use http_cache::cache_control::{CacheControl, Qualified};
//!
//! let directives = CacheControl::parse("Max-Age=60, private=\"set-cookie\"");
//! assert_eq!(directives.max_age, Some(60));
//! assert_eq!(directives.private, Qualified::Fields(vec!["set-cookie".to_owned()]));
//! assert!(CacheControl::parse("no-store max-age=60").no_store, "the comma is missing");
//! ```

mod dictionary;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::mem;

use dictionary::MemberValue;
use http_semantics::fields::{self, Fields};

/// The largest number of seconds (RFC 9111 §1.2.2), which is 68 years.
const SECONDS_MAX: u64 = 1 << 31;

/// White space within a field.
const SPACE: [char; 2] = [' ', '\t'];

/// A directive that applies to the whole message or only to some of its fields (RFC 9111
/// §5.2.2.4, §5.2.2.7, "qualified form").
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Qualified {
    /// The directive is absent.
    #[default]
    Absent,
    /// It applies to the whole message.
    All,
    /// It applies to the fields with these names, in lower case.
    Fields(Vec<String>),
}

/// How stale a response the client accepts (RFC 9111 §5.2.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxStale {
    /// "If no value is assigned to max-stale, then the client will accept a stale response of
    /// any age."
    Any,
    /// Stale by at most this many seconds.
    Seconds(u64),
}

/// The directives of a request or a response (RFC 9111 §5.2, RFC 5861). If a directive with
/// seconds is repeated in `Cache-Control`, the first one that is not ignored counts. All durations
/// are in seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // Each is a directive that is there or not.
pub struct CacheControl {
    /// `no-store` (§5.2.1.5, §5.2.2.5).
    pub no_store: bool,
    /// `no-cache` (§5.2.1.4, §5.2.2.4).
    pub no_cache: Qualified,
    /// `private` (§5.2.2.7).
    pub private: Qualified,
    /// `public` (§5.2.2.9).
    pub public: bool,
    /// `must-revalidate` (§5.2.2.2).
    pub must_revalidate: bool,
    /// `proxy-revalidate` (§5.2.2.8).
    pub proxy_revalidate: bool,
    /// `must-understand` (§5.2.2.3).
    pub must_understand: bool,
    /// `only-if-cached` (§5.2.1.7).
    pub only_if_cached: bool,
    /// `max-age` (§5.2.1.1, §5.2.2.1). In `Cache-Control`, an invalid one is 0 (§4.2.1); in a
    /// targeted field it is ignored (RFC 9213 §2.1).
    pub max_age: Option<u64>,
    /// `s-maxage` (§5.2.2.10). An invalid one as for `max_age`.
    pub s_maxage: Option<u64>,
    /// `min-fresh` (§5.2.1.3). An invalid one is ignored, as caches may do with request
    /// directives (§5.2.1).
    pub min_fresh: Option<u64>,
    /// `max-stale` (§5.2.1.2). An invalid one is ignored.
    pub max_stale: Option<MaxStale>,
    /// `stale-while-revalidate` (RFC 5861 §3). An invalid one is ignored.
    pub stale_while_revalidate: Option<u64>,
    /// `stale-if-error` (RFC 5861 §4). An invalid one is ignored.
    pub stale_if_error: Option<u64>,
}

/// Parses a number of seconds (RFC 9111 §1.2.2). Larger numbers count as 2^31. Returns `None` if
/// the text has anything but digits.
#[must_use]
pub fn delta_seconds(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // Parsing digits fails only on overflow.
    is_number.then(|| text.parse().unwrap_or(SECONDS_MAX).min(SECONDS_MAX))
}

impl CacheControl {
    /// Reads a `Cache-Control` field (RFC 9111 §5.2).
    ///
    /// [The module](self) has an example.
    #[must_use]
    pub fn parse(field: &str) -> Self {
        let mut directives = Self::default();
        let mut rest = field;
        while let Some(directive) = Directive::take(&mut rest) {
            directives.apply(directive);
        }
        directives
    }

    /// Parses a targeted field (RFC 9213 §2.1), which is a dictionary of RFC 8941. Returns
    /// `None` if the field must be ignored: it is empty, not a dictionary, or has a value of a
    /// type that its directive does not allow.
    #[must_use]
    pub fn parse_targeted(field: &str) -> Option<Self> {
        let members = dictionary::parse(field)?;
        let mut directives = Self::default();
        let mut rest = members.as_slice();
        while let [(name, value), after @ ..] = rest {
            // RFC 8941 §3.2: if a key is repeated, the last member counts.
            if directives.apply_member(name, value).is_none() && !after.iter().any(|(later, _)| later == name) {
                return None;
            }
            rest = after;
        }
        (!members.is_empty()).then_some(directives)
    }

    /// Returns true if the directives of a response say that it must not be used stale: RFC 9111
    /// §4.2.4, "explicit in-protocol directive", with `s-maxage` as §5.2.2.10 has it.
    #[must_use]
    pub fn forbids_stale(&self) -> bool {
        self.must_revalidate || self.proxy_revalidate || self.s_maxage.is_some() || self.no_cache == Qualified::All
    }

    /// Returns the directives of a request. `Pragma: no-cache` counts if there is no
    /// `Cache-Control` (RFC 9111 §5.4).
    ///
    /// # Examples
    ///
    /// ```
    /// use http_cache::cache_control::{CacheControl, Qualified};
    /// use http_semantics::fields::HeaderSection;
    ///
    /// let fields = HeaderSection::from(&[("pragma", "no-cache")]);
    /// assert_eq!(CacheControl::of_request(&fields).no_cache, Qualified::All);
    /// ```
    #[must_use]
    pub fn of_request(fields: &impl Fields) -> Self {
        if let Some(field) = fields.get("cache-control") {
            return Self::parse(&field);
        }
        let no_cache = fields.get("pragma").map(|pragma| Self::parse(&pragma).no_cache).unwrap_or_default();
        Self { no_cache, ..Self::default() }
    }

    /// Returns the directives of a response, and true if they come from `CDN-Cache-Control`:
    /// then the cache "MUST ignore the Cache-Control and Expires header fields" (RFC 9213 §2.2).
    ///
    /// # Examples
    ///
    /// ```
    /// use http_cache::cache_control::CacheControl;
    /// use http_semantics::fields::HeaderSection;
    ///
    /// let browsers = ("cache-control", "no-store");
    /// let fields = HeaderSection::from(&[browsers, ("cdn-cache-control", "max-age=60")]);
    /// let (directives, is_targeted) = CacheControl::of_response(&fields);
    /// assert_eq!((directives.max_age, directives.no_store), (Some(60), false));
    /// assert!(is_targeted);
    /// ```
    #[must_use]
    pub fn of_response(fields: &impl Fields) -> (Self, bool) {
        if let Some(directives) = fields.get("cdn-cache-control").and_then(|field| Self::parse_targeted(&field)) {
            return (directives, true);
        }
        (fields.get("cache-control").map(|field| Self::parse(&field)).unwrap_or_default(), false)
    }

    fn apply(&mut self, directive: Directive<'_>) {
        let Directive { name, argument, malformed } = directive;
        let name = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(name.to_ascii_lowercase())
        } else {
            Cow::Borrowed(name)
        };
        match &*name {
            "max-age" => set_lifetime(&mut self.max_age, &argument),
            "s-maxage" => set_lifetime(&mut self.s_maxage, &argument),
            "min-fresh" => set_seconds(&mut self.min_fresh, &argument),
            "stale-while-revalidate" => set_seconds(&mut self.stale_while_revalidate, &argument),
            "stale-if-error" => set_seconds(&mut self.stale_if_error, &argument),
            "max-stale" => {
                let max_stale = match argument {
                    Argument::Absent => Some(MaxStale::Any),
                    _ => argument.seconds().map(MaxStale::Seconds),
                };
                self.max_stale = self.max_stale.or(max_stale);
            }
            "no-cache" => self.no_cache.add(Qualified::of_argument(&argument)),
            "private" => self.private.add(Qualified::of_argument(&argument)),
            "no-store" => self.no_store = true,
            "must-revalidate" => self.must_revalidate = true,
            "proxy-revalidate" => self.proxy_revalidate = true,
            "must-understand" => self.must_understand = true,
            "only-if-cached" => self.only_if_cached = true,
            // A directive that permits more must be written exactly.
            "public" => self.public |= matches!(argument, Argument::Absent),
            // `'private'` and `no_store` are unknown directives, too.
            unknown => self.apply_malformed(unknown),
        }
        if let Some(text) = malformed {
            self.apply_malformed(text);
        }
    }

    /// Searches malformed text for `no-store`, `no-cache` and `private`, as in
    /// `private max-age=60` or `no-store; …`. A false positive costs a hit; a false negative could
    /// show one visitor's response to another.
    fn apply_malformed(&mut self, text: &str) {
        // Words may be separated by anything: `private: true`, `'private'`, `private/x`.
        let is_between = |char: char| !char.is_ascii_alphanumeric() && !matches!(char, '-' | '_');
        for word in text.split(is_between).map(|word| word.replace('_', "-")) {
            if word.eq_ignore_ascii_case("no-store") {
                self.no_store = true;
            } else if word.eq_ignore_ascii_case("no-cache") {
                self.no_cache = Qualified::All;
            } else if word.eq_ignore_ascii_case("private") {
                self.private = Qualified::All;
            }
        }
    }

    /// Sets the directive of a dictionary member, replacing one of an earlier member with the
    /// same key. Returns `None` if the value has the wrong type.
    fn apply_member(&mut self, name: &str, value: &MemberValue) -> Option<()> {
        match name {
            "max-age" => self.max_age = Some(value.seconds()?),
            "s-maxage" => self.s_maxage = Some(value.seconds()?),
            "stale-while-revalidate" => self.stale_while_revalidate = Some(value.seconds()?),
            "stale-if-error" => self.stale_if_error = Some(value.seconds()?),
            "no-cache" => self.no_cache = Qualified::of_value(value)?,
            "private" => self.private = Qualified::of_value(value)?,
            "no-store" => self.no_store = value.flag()?,
            "public" => self.public = value.flag()?,
            "must-revalidate" => self.must_revalidate = value.flag()?,
            "proxy-revalidate" => self.proxy_revalidate = value.flag()?,
            "must-understand" => self.must_understand = value.flag()?,
            _ => {}
        }
        Some(())
    }
}

fn set_lifetime(seconds: &mut Option<u64>, argument: &Argument<'_>) {
    *seconds = seconds.or_else(|| Some(argument.seconds().unwrap_or(0)));
}

fn set_seconds(seconds: &mut Option<u64>, argument: &Argument<'_>) {
    *seconds = seconds.or_else(|| argument.seconds());
}

impl Qualified {
    /// Returns true if the directive names this field, given in lower case.
    #[must_use]
    pub fn names(&self, field: &str) -> bool {
        matches!(self, Self::Fields(names) if names.iter().any(|name| name == field))
    }

    /// Parses a list of field names. A malformed list applies to the whole message, which is the
    /// safe interpretation.
    fn of_list(text: &str) -> Self {
        let names: Vec<String> = fields::list(text).map(str::to_ascii_lowercase).collect();
        if names.is_empty() || !names.iter().all(|name| fields::is_name(name)) {
            Self::All
        } else {
            Self::Fields(names)
        }
    }

    fn of_argument(argument: &Argument<'_>) -> Self {
        match argument {
            Argument::Text(text) => Self::of_list(text),
            Argument::Absent | Argument::Invalid => Self::All,
        }
    }

    fn of_value(value: &MemberValue) -> Option<Self> {
        match value {
            MemberValue::Boolean(true) => Some(Self::All),
            MemberValue::Text(text) => Some(Self::of_list(text)),
            MemberValue::Boolean(false) | MemberValue::Integer(_) | MemberValue::Other => None,
        }
    }

    /// Merges a repeated directive: the wider one counts, and lists are joined.
    fn add(&mut self, other: Self) {
        *self = match (mem::take(self), other) {
            (Self::All, _) | (_, Self::All) => Self::All,
            (Self::Fields(mut names), Self::Fields(more)) => {
                names.extend(more);
                Self::Fields(names)
            }
            (Self::Absent, one) | (one, Self::Absent) => one,
        };
    }
}

/// `name`, `name=token` or `name="text"` (RFC 9111 §5.2: "recipients ought to accept both
/// forms").
struct Directive<'a> {
    name: &'a str,
    argument: Argument<'a>,
    /// The whole text of the member if it is malformed.
    malformed: Option<&'a str>,
}

enum Argument<'a> {
    Absent,
    Text(Cow<'a, str>),
    Invalid,
}

impl Argument<'_> {
    fn seconds(&self) -> Option<u64> {
        match self {
            Self::Text(text) => delta_seconds(text),
            Self::Absent | Self::Invalid => None,
        }
    }
}

impl<'a> Directive<'a> {
    /// Takes the next member off a list (RFC 9110 §5.6.1.2: empty ones do not count).
    fn take(rest: &mut &'a str) -> Option<Self> {
        let text = rest.trim_start_matches([' ', '\t', ',']);
        if text.is_empty() {
            return None;
        }
        let (name, after) = text.split_at(text.find([',', '=']).unwrap_or(text.len()));
        let name_trimmed = name.trim_end_matches(SPACE);
        let (argument, next) = match after.strip_prefix('=') {
            None => (Argument::Absent, after),
            // The grammar has no white space around the "=".
            Some(value) => Argument::take(value, name_trimmed.len() < name.len()),
        };
        *rest = next;
        let is_malformed = matches!(argument, Argument::Invalid) || !fields::is_name(name_trimmed);
        let malformed = is_malformed.then(|| text.split_at(text.len() - next.len()).0);
        Some(Self { name: name_trimmed, argument, malformed })
    }
}

impl<'a> Argument<'a> {
    /// Takes an argument and everything else before the next comma.
    fn take(value: &'a str, is_invalid: bool) -> (Self, &'a str) {
        let start = value.trim_start_matches(SPACE);
        let is_invalid = is_invalid || start.len() < value.len();
        let quoted = start.strip_prefix('"').and_then(unquoted);
        let (text, after) = quoted.map_or((None, start), |(text, after)| (Some(text), after));
        let (tail, next) = after.split_at(after.find(',').unwrap_or(after.len()));
        let tail = tail.trim_end_matches(SPACE);
        let argument = match text {
            _ if is_invalid => Self::Invalid,
            Some(text) if tail.is_empty() => Self::Text(text),
            None if fields::is_name(tail) => Self::Text(Cow::Borrowed(tail)),
            _ => Self::Invalid,
        };
        (argument, next)
    }
}

/// Returns the text of a quoted string (RFC 9110 §5.6.4) whose opening quote has been read, and
/// the text after it. Returns `None` if the string is not closed: then the quote is not treated
/// as one, or it would swallow later lines of the field.
fn unquoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut chars = text.char_indices();
    let mut unescaped: Option<String> = None;
    loop {
        let (at, char) = chars.next()?;
        match char {
            '"' => {
                let inside = unescaped.map_or_else(|| Cow::Borrowed(text.split_at(at).0), Cow::Owned);
                return Some((inside, chars.as_str()));
            }
            '\\' => {
                let (_, escaped) = chars.next()?;
                unescaped.get_or_insert_with(|| text.split_at(at).0.to_owned()).push(escaped);
            }
            char => unescaped.iter_mut().for_each(|unescaped| unescaped.push(char)),
        }
    }
}
