//! The language of a response: `Accept-Language` (RFC 9110 §12.5.4), matched by lookup (RFC 4647
//! §3.4).
//!
//! Lookup shortens a range, never a tag: `pt` does not find `pt-BR`, and `en-GB` does not find
//! `en-US`. But a visitor who asks for `nl, en;q=0.7` would rather read `nl-BE` than `en`. So a
//! tag in the language and script of a range comes before the next range. The script decides what
//! a visitor can read: `zh-TW` gets `zh-Hant` rather than `zh`, if both are available. A tag in
//! another script comes before the next range only if lookup finds it, as it finds `zh` for
//! `zh-TW`. The others come after all ranges: they are closer to the visitor than the default.
//!
//! These are the choices of `pick` with `loose: true` of the npm package accept-language-parser,
//! which the example in the KV documentation uses, except those that contradict the RFCs.
//!
//! ```
//! use http_semantics::language::AcceptLanguage;
//!
//! let wanted = AcceptLanguage::parse("zh-TW, nl;q=0.8, en;q=0.5");
//! assert_eq!(wanted.lookup(&["en", "nl-BE"]), Some("nl-BE"));
//! assert_eq!(wanted.lookup(&["en", "zh", "zh-Hant"]), Some("zh-Hant"));
//! ```
//!
//! The crate `accept-language` is used only in tests. It reads an invalid weight as 0, does not
//! bound weights, and sorts by floats: `q=NaN` breaks the order, so Rust's sort may panic, and no
//! request may be able to cause that.

mod subtags;
#[cfg(test)]
mod tests;

use self::subtags::{Subtags, is_prefix, shorter};
use crate::cookie;
use crate::fields::Fields;
use crate::request_target::RequestTarget;
use crate::weight;

/// The languages that a visitor asks for, highest weight first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptLanguage<'a> {
    wanted: Vec<LanguageRange<'a>>,
    /// Ranges with `q=0`. A tag that one names is chosen only if another range names it more
    /// closely.
    excluded: Vec<&'a str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LanguageRange<'a> {
    range: &'a str,
    /// In thousandths: 1 to 1000 (RFC 9110 §12.4.2).
    weight: u16,
}

/// The most members of the field that are read; the rest is ignored. No browser sends more.
const RANGES_MAX: usize = 64;

/// The longest tag that is read, in characters. A limit must allow for 35 (RFC 5646 §4.4.1).
const TAG_LENGTH_MAX: usize = 35;

impl<'a> AcceptLanguage<'a> {
    /// Parses the field. A member that is not a language range, or has an invalid weight, is
    /// ignored.
    ///
    /// [The module](self) has an example.
    #[must_use]
    pub fn parse(field: &'a str) -> Self {
        let mut parsed = Self { wanted: Vec::new(), excluded: Vec::new() };
        for element in field.split(',').take(RANGES_MAX) {
            let (range, weight) = match element.split_once(';') {
                Some((range, parameter)) => (range.trim(), weight::parse(parameter)),
                None => (element.trim(), Some(1000)),
            };
            if range != "*" && !is_language_tag(range) {
                continue;
            }
            match weight {
                Some(0) => parsed.excluded.push(range),
                Some(weight) => parsed.wanted.push(LanguageRange { range, weight }),
                None => {}
            }
        }
        // The sort is stable: of two ranges with the same weight the first one stays first.
        parsed.wanted.sort_by_key(|range| std::cmp::Reverse(range.weight));
        parsed
    }

    /// Returns the best of the available tags, or `None` if the caller should use its default. For
    /// each range, highest weight first:
    ///
    /// 1. Of the tags in the language and script of the range: the one that lookup finds, which
    ///    shortens the range from its end until a tag equals it, ignoring case (`de-CH-1996`,
    ///    `de-CH`, `de`); otherwise the one that lookup finds for a later range (`pt-AO, pt-PT`
    ///    gets `pt-PT`); otherwise the first one (`de-AT` for `de-CH`).
    /// 2. The tag that lookup finds in another script: `zh` for `zh-TW`.
    ///
    /// If no range gives a tag, the first tag in the language of a range comes next, in any
    /// script, and then, for `*`, the first tag. An excluded tag is never returned.
    ///
    /// [The module](self) has an example.
    #[must_use]
    pub fn lookup<'t>(&self, available: &[&'t str]) -> Option<&'t str> {
        let allowed: Vec<&'t str> = available.iter().copied().filter(|tag| !self.excludes(tag)).collect();
        let of_a_language = |tag: &&'t str| Subtags::parse(tag).map(|subtags| (*tag, subtags));
        let tags: Vec<(&'t str, Subtags<'t>)> = allowed.iter().filter_map(of_a_language).collect();
        let named = || self.wanted.iter().map(|wanted| wanted.range).filter(|range| *range != "*");
        let nearest = named().enumerate().find_map(|(at, range)| {
            let readable = Subtags::parse(range).and_then(|range| best_readable(&range, named().skip(at), &tags));
            readable.or_else(|| lookup_any_script(range, &allowed))
        });
        let same_language = || {
            named()
                .filter_map(Subtags::parse)
                .find_map(|range| tags.iter().find(|(_, subtags)| subtags.is_language_of(&range)).map(|(tag, _)| *tag))
        };
        let any = || allowed.first().copied().filter(|_| self.wanted.iter().any(|wanted| wanted.range == "*"));
        nearest.or_else(same_language).or_else(any)
    }

    /// Returns true if `q=0` names the tag or a prefix of it, and no other range names it more
    /// closely (RFC 4647 §3.3.1).
    fn excludes(&self, tag: &str) -> bool {
        if self.excluded.is_empty() {
            return false;
        }
        let of_tag = Subtags::parse(tag);
        let closeness = |range: &str| match (Subtags::parse(range), &of_tag) {
            _ if range == "*" => 1,
            (Some(range), Some(tag)) => range.closeness(tag).map_or(0, |subtags| subtags + 1),
            (None, None) if is_prefix(range, tag) => range.split('-').count() + 1,
            _ => 0,
        };
        let excluded = self.excluded.iter().map(|range| closeness(range)).max().unwrap_or(0);
        let wanted = self.wanted.iter().map(|wanted| closeness(wanted.range)).max().unwrap_or(0);
        excluded > 0 && excluded >= wanted
    }
}

/// Returns the best tag in the language and script of a range. `ranges` are that range and those
/// that follow it.
fn best_readable<'r, 't>(
    range: &Subtags<'_>,
    ranges: impl Iterator<Item = &'r str>,
    tags: &[(&'t str, Subtags<'t>)],
) -> Option<&'t str> {
    let near: Vec<_> = tags.iter().copied().filter(|(_, tag)| tag.has_same_readers(range)).collect();
    let (first, _) = near.first()?;
    let found = ranges
        .filter_map(Subtags::parse)
        .filter(|other| other.has_same_readers(range))
        .find_map(|other| other.lookup(&near));
    Some(found.unwrap_or(first))
}

/// Returns the tag that equals the range or a shortened form of it, ignoring case (RFC 4647 §3.4).
fn lookup_any_script<'t>(range: &str, tags: &[&'t str]) -> Option<&'t str> {
    let shorter = std::iter::successors(Some(range), |range| shorter(range)).filter(|range| !range.is_empty());
    shorter.into_iter().find_map(|range| tags.iter().find(|tag| tag.eq_ignore_ascii_case(range)).copied())
}

/// The result of [`negotiate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NegotiatedLanguage<'t> {
    /// One of the available tags; `None` if the caller should use its default.
    pub tag: Option<&'t str>,
    /// True if the response depends on the fields of [`VARY`].
    pub varies: bool,
}

/// The value of `Vary` for a response whose language the URL does not fix (RFC 9110 §12.5.5).
pub const VARY: &str = "Accept-Language, Cookie";

/// Chooses a language by the URL parameter `lang`, then by the cookie `lang`, then by
/// `Accept-Language`; each counts only if it gives an available tag. The first two name one tag
/// each, neither a list nor `*`.
///
/// # Examples
///
/// ```
/// use http_semantics::fields::HeaderSection;
/// use http_semantics::language::negotiate;
/// use http_semantics::request_target::RequestTarget;
///
/// let fields = HeaderSection::from(&[("accept-language", "es-MX, en;q=0.5")]);
/// let negotiated = |url| negotiate(&["en", "es"], &RequestTarget::parse(url), &fields);
/// let chosen = negotiated("https://example.com/hello-world");
/// assert_eq!((chosen.tag, chosen.varies), (Some("es"), true));
/// // The URL alone decides: everybody who follows the link gets the same page.
/// let chosen = negotiated("https://example.com/hello-world?lang=en");
/// assert_eq!((chosen.tag, chosen.varies), (Some("en"), false));
/// ```
#[must_use]
pub fn negotiate<'t>(
    available: &[&'t str],
    target: &RequestTarget<'_>,
    fields: &impl Fields,
) -> NegotiatedLanguage<'t> {
    let named = |tag: &str| if is_language_tag(tag) { AcceptLanguage::parse(tag).lookup(available) } else { None };
    if let Some(tag) = target.parameter("lang").ok().flatten().and_then(|lang| named(&lang)) {
        return NegotiatedLanguage { tag: Some(tag), varies: false };
    }
    let by_cookie = fields.get("cookie").and_then(|cookies| cookie::values(&cookies, "lang").find_map(named));
    let tag = by_cookie.or_else(|| AcceptLanguage::parse(&fields.get("accept-language")?).lookup(available));
    NegotiatedLanguage { tag, varies: true }
}

/// Returns true if a text has the form of a language tag: subtags of 1 to 8 letters and digits
/// (RFC 5646 §2.1), and at most 35 characters. Such a text is safe in HTML and in header fields.
#[must_use]
pub fn is_language_tag(tag: &str) -> bool {
    let is_subtag =
        |subtag: &str| (1..=8).contains(&subtag.len()) && subtag.bytes().all(|byte| byte.is_ascii_alphanumeric());
    tag.len() <= TAG_LENGTH_MAX && tag.split('-').all(is_subtag)
}

/// Returns true if the language is written from right to left, in the script that the tag names or
/// else in its likely script.
#[must_use]
pub fn is_right_to_left(tag: &str) -> bool {
    Subtags::parse(tag).is_some_and(|subtags| subtags.is_right_to_left())
}
