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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AVAILABLE: [&str; 10] = ["en", "es", "fr", "de", "zh", "ja", "hi", "ar", "pt-BR", "zh-Hant-TW"];

    #[test]
    fn the_tag_of_the_range_with_the_highest_weight_that_has_one_is_chosen() {
        for (field, expected) in [
            ("de", Some("de")),
            ("DE", Some("de")),
            ("de-CH", Some("de")),
            ("de-ch-1996", Some("de")),
            ("pt-br", Some("pt-BR")),
            // A region does not matter: a tag with another one comes before the next range.
            ("pt", Some("pt-BR")),
            ("pt-PT, nl", Some("pt-BR")),
            ("pt, de;q=0.1", Some("pt-BR")),
            ("zh-Hant-TW", Some("zh-Hant-TW")),
            // A script does matter: `zh` is written in the simplified one.
            ("zh-Hant", Some("zh-Hant-TW")),
            ("zh-HK", Some("zh-Hant-TW")),
            ("zh-SG", Some("zh")),
            ("zh-Hans-CN", Some("zh")),
            ("de-a-x", Some("de")),
            ("fr;q=0.5, es;q=0.9", Some("es")),
            ("fr;q=0.5,es;q=0.501", Some("es")),
            ("fr, es", Some("fr")),
            ("nl, fr;q=0.1", Some("fr")),
            ("nl", None),
            ("", None),
            ("fr ; q=0.2 , ja;q=0.3", Some("ja")),
            ("fr;Q=0.2", Some("fr")),
        ] {
            assert_eq!(AcceptLanguage::parse(field).lookup(&AVAILABLE), expected, "{field}");
        }
    }

    #[test]
    fn a_weight_of_zero_excludes_a_language() {
        for (field, expected) in [
            ("de;q=0", None),
            ("de;q=0.000, fr;q=0.1", Some("fr")),
            ("de-CH, de;q=0", None),
            ("pt, pt-BR;q=0", None),
            ("pt-PT, pt;q=0, *;q=0.1", Some("en")),
            ("*, en;q=0", Some("es")),
            ("*;q=0", None),
            ("*;q=0, de", Some("de")),
            ("en;q=0, *;q=0.1, nl", Some("es")),
            ("zh;q=0, zh-Hant-TW", Some("zh-Hant-TW")),
        ] {
            assert_eq!(AcceptLanguage::parse(field).lookup(&AVAILABLE), expected, "{field}");
        }
    }

    #[test]
    fn the_wildcard_comes_after_every_named_language() {
        assert_eq!(AcceptLanguage::parse("*, fr;q=0.1").lookup(&AVAILABLE), Some("fr"));
        assert_eq!(AcceptLanguage::parse("*").lookup(&AVAILABLE), Some("en"));
        assert_eq!(AcceptLanguage::parse("*, pt-PT;q=0.1").lookup(&AVAILABLE), Some("pt-BR"));
    }

    /// What `pick` of accept-language-parser 1.5.0 returns with `loose`: the cases of its README
    /// and its tests.
    #[test]
    fn the_choice_is_that_of_accept_language_parser_with_loose() {
        for (available, field, expected) in [
            (&["fr-CA", "fr-FR", "fr"][..], "en-GB,en-US;q=0.9,fr-CA;q=0.7,en;q=0.8", Some("fr-CA")),
            // Its README says `fr`; the code returns `en`, as RFC 4647 does.
            (&["fr", "en"], "en-GB,en-US;q=0.9,fr-CA;q=0.7,en;q=0.8", Some("en")),
            (&["en-US", "fr-CA"], "fr-CA,fr;q=0.2,en-US;q=0.6,en;q=0.4,*;q=0.5", Some("fr-CA")),
            (&["zh-Hant-cn", "zh-cn"], "zh-Hant-cn,zh-cn;q=0.6,zh;q=0.4", Some("zh-Hant-cn")),
            (&["eN-Us", "Fr-cA"], "fR-Ca,fr;q=0.2,en-US;q=0.6,en;q=0.4,*;q=0.5", Some("Fr-cA")),
            (&["en", "fr-CA"], "ja-JP,ja;1=0.5,en;q=0.2", Some("en")),
            (&["en-us", "it-IT"], "pl-PL,en", Some("en-us")),
            (&["ko-KR"], "fr-CA,fr;q=0.8,en-US;q=0.6,en;q=0.4", None),
            (&[], "fr-CA,fr;q=0.8,en-US;q=0.6,en;q=0.4,*;q=0.1", None),
            (&["en"], "", None),
            (&["en", "pl"], "en-US;q=0.6", Some("en")),
            (&["en-US", "en", "pl"], "en-US;q=0.6", Some("en-US")),
            (&["es", "fr-150"], "fr-150", Some("fr-150")),
            (&["pt-BR"], "pt", Some("pt-BR")),
            (&["en-US"], "en-GB", Some("en-US")),
            (&["en", "pt-BR"], "pt-PT,pt;q=0.9,*;q=0.1", Some("pt-BR")),
            (&["en", "pt-BR"], "pt, en;q=0.5", Some("pt-BR")),
            (&["zh-Hant-TW"], "zh-CN", Some("zh-Hant-TW")),
        ] {
            assert_eq!(AcceptLanguage::parse(field).lookup(available), expected, "{available:?} {field}");
        }
    }

    #[test]
    fn the_rfc_decides_if_accept_language_parser_differs_from_it() {
        for (available, field, loose, expected) in [
            // RFC 4647 §3.4: the tag that equals the range, whatever comes before it in the list.
            (&["fr-CA", "fr"][..], "fr", Some("fr-CA"), Some("fr")),
            (&["fr", "fr-CA"], "fr-CA", Some("fr"), Some("fr-CA")),
            (&["en", "en-US", "pl"], "en-US;q=0.6", Some("en"), Some("en-US")),
            (&["zh-cn", "zh-Hant-cn"], "zh-Hant-cn,zh-cn;q=0.6,zh;q=0.4", Some("zh-cn"), Some("zh-Hant-cn")),
            // RFC 9110 §12.5.4: `*` matches each language that no other range matches.
            (&["ko-KR"], "fr-CA,fr;q=0.8,en-US;q=0.6,en;q=0.4,*;q=0.1", None, Some("ko-KR")),
            (&["de", "en"], "*", None, Some("de")),
            // RFC 9110 §12.4.2: a weight of 0 is a refusal.
            (&["de", "en"], "de;q=0", Some("de"), None),
        ] {
            let chosen = AcceptLanguage::parse(field).lookup(available);
            assert_eq!(chosen, expected, "{available:?} {field}");
            assert_ne!(chosen, loose, "{available:?} {field}");
        }
    }

    /// UTS #35, "Likely Subtags": a tag without a script has a likely one.
    #[test]
    fn the_script_that_a_visitor_reads_comes_before_the_next_range() {
        let chinese = ["en", "zh-Hans", "zh-Hant"];
        let regions = ["en", "zh-CN", "zh-TW"];
        for (available, field, expected) in [
            (&chinese[..], "zh-TW", Some("zh-Hant")),
            (&chinese, "zh-HK", Some("zh-Hant")),
            (&chinese, "zh-MO", Some("zh-Hant")),
            (&chinese, "zh-Hant-HK", Some("zh-Hant")),
            (&chinese, "zh", Some("zh-Hans")),
            (&chinese, "zh-CN", Some("zh-Hans")),
            (&chinese, "zh-SG", Some("zh-Hans")),
            (&chinese, "zh-Hans-HK", Some("zh-Hans")),
            (&chinese, "cmn-TW", Some("zh-Hant")),
            (&chinese, "zh-TW,zh;q=0.9,en;q=0.8", Some("zh-Hant")),
            (&regions, "zh-Hant-HK", Some("zh-TW")),
            (&regions, "zh-HK", Some("zh-TW")),
            (&regions, "zh-Hant", Some("zh-TW")),
            (&regions, "zh-Hans-SG", Some("zh-CN")),
            (&["zh-HK", "zh-TW"], "zh-Hant-TW", Some("zh-TW")),
            (&["zh-HK", "zh-Hant-TW"], "zh-TW", Some("zh-Hant-TW")),
            (&["zh", "zh-TW"], "zh-HK", Some("zh-TW")),
            (&["zh", "zh-Hant"], "zh-HK, en", Some("zh-Hant")),
            // Of two tags that mean the same, the one that is spelled like the range.
            (&["zh-Hans", "zh"], "zh-CN", Some("zh")),
            (&["zh", "zh-Hans"], "zh-Hans-CN", Some("zh-Hans")),
            // A tag in another script that RFC 4647 §3.4 finds comes before the next range; one
            // that it does not find comes after all ranges.
            (&["en", "zh"], "zh-TW, en;q=0.5", Some("zh")),
            (&["en", "zh-Hans"], "zh-TW, en;q=0.5", Some("en")),
            (&["en", "zh-Hans"], "zh-TW, fr;q=0.5", Some("zh-Hans")),
            (&["en", "zh-Hans"], "zh-TW, *;q=0.5", Some("zh-Hans")),
            (&["sr", "sr-Latn"], "sr-ME", Some("sr-Latn")),
            (&["sr", "sr-Latn"], "sh", Some("sr-Latn")),
            (&["sr", "sr-Latn"], "sr-RS", Some("sr")),
            (&["uz", "uz-Cyrl"], "uz-Cyrl-UZ", Some("uz-Cyrl")),
            (&["pa", "pa-Arab"], "pa-PK", Some("pa-Arab")),
            (&["pa", "pa-Arab"], "pa-IN", Some("pa")),
            (&["hi-Latn", "hi-IN"], "hi", Some("hi-IN")),
            (&["ru-Cyrl"], "ru", Some("ru-Cyrl")),
            (&["ja", "en"], "ja-Jpan-JP", Some("ja")),
        ] {
            assert_eq!(AcceptLanguage::parse(field).lookup(available), expected, "{available:?} {field}");
        }
    }

    #[test]
    fn another_region_of_a_language_comes_before_the_next_range() {
        for (available, field, expected) in [
            (&["en", "nl-BE"][..], "nl, en;q=0.7", Some("nl-BE")),
            (&["en", "nl-BE"], "en, nl;q=0.7", Some("en")),
            (&["en", "nl-BE"], "nl;q=0.6, en;q=0.7", Some("en")),
            (&["en", "de-AT"], "de-CH, en;q=0.9", Some("de-AT")),
            // The region that the visitor names next is closer than one that they do not name.
            (&["pt-BR", "pt-PT"], "pt-AO, pt-PT;q=0.5", Some("pt-PT")),
            (&["en-AU", "en-US"], "en-GB,en-US;q=0.9,en;q=0.8", Some("en-US")),
            (&["pt-BR", "pt-PT"], "pt-AO, en;q=0.5", Some("pt-BR")),
            (&["pt-BR", "en", "pt-PT"], "pt-AO, en;q=0.9, pt-PT;q=0.5", Some("pt-PT")),
        ] {
            assert_eq!(AcceptLanguage::parse(field).lookup(available), expected, "{available:?} {field}");
        }
    }

    /// RFC 5646 §3.1.6: a deprecated subtag "SHOULD be" replaced by its preferred value.
    #[test]
    fn aliases_of_a_language_are_equal() {
        for (available, field, expected) in [
            (&["en", "he"][..], "iw-IL, en;q=0.5", Some("he")),
            (&["en", "iw"], "he, en;q=0.5", Some("iw")),
            (&["en", "id"], "in-ID", Some("id")),
            (&["en", "no"], "nb-NO,nb;q=0.9,en;q=0.8", Some("no")),
            (&["en", "nb-NO"], "no, en;q=0.8", Some("nb-NO")),
            (&["en", "nn", "nb"], "no", Some("nb")),
            (&["en", "nn"], "nb, en;q=0.5", Some("en")),
            (&["en", "fil"], "tl-PH", Some("fil")),
            (&["en", "zh-Hant"], "zh-cmn-Hant-TW", Some("zh-Hant")),
            (&["en", "yue"], "zh-yue-HK, en;q=0.5", Some("yue")),
            (&["en", "zh"], "zh-yue-HK, en;q=0.5", Some("zh")),
        ] {
            assert_eq!(AcceptLanguage::parse(field).lookup(available), expected, "{available:?} {field}");
        }
    }

    #[test]
    fn a_weight_of_zero_excludes_a_language_in_every_spelling() {
        for (available, field, expected) in [
            (&["zh-TW", "zh-CN"][..], "zh, zh-Hant;q=0", Some("zh-CN")),
            (&["zh-Hant-TW", "zh-HK"], "zh-Hant, zh-TW;q=0", Some("zh-HK")),
            (&["zh-CN"], "zh-TW, zh-CN;q=0", None),
            (&["zh-CN"], "zh-TW, zh-Hans;q=0", None),
            (&["zh-TW"], "zh;q=0, zh-Hant", Some("zh-TW")),
            (&["he", "en"], "*, iw;q=0", Some("en")),
            (&["x-one", "en"], "*, x;q=0", Some("en")),
        ] {
            assert_eq!(AcceptLanguage::parse(field).lookup(available), expected, "{available:?} {field}");
        }
    }

    #[test]
    fn private_and_old_tags_share_no_language() {
        for (available, field) in [("x-one", "x-two"), ("i-klingon", "i-navajo"), ("x-one", "x")] {
            assert_eq!(AcceptLanguage::parse(field).lookup(&[available]), None, "{field}");
        }
        assert_eq!(AcceptLanguage::parse("X-ONE").lookup(&["x-one"]), Some("x-one"));
    }

    #[test]
    fn invalid_weights_and_ranges_are_left_out() {
        for field in [
            "de;q=2",
            "de;q=1.001",
            "de;q=-1",
            "de;q=NaN",
            "de;q=0.1234",
            "de;q=",
            "de;x=1",
            "de;q=1;q=0",
            "d e",
            "*-de",
            "de-toolongsubtag",
        ] {
            assert_eq!(AcceptLanguage::parse(field).lookup(&AVAILABLE), None, "{field}");
        }
        assert_eq!(AcceptLanguage::parse("de;q=NaN, fr;q=0.1").lookup(&AVAILABLE), Some("fr"));
    }

    #[test]
    fn language_tags_are_safe_to_print() {
        for (tag, valid) in
            [("de", true), ("zh-Hant-TW", true), ("", false), ("de-", false), ("de\"", false), ("x\ny", false)]
        {
            assert_eq!(is_language_tag(tag), valid, "{tag}");
        }
    }

    #[test]
    fn the_url_comes_before_the_cookie_and_the_cookie_before_the_field() {
        use crate::fields::HeaderSection;
        for (url, fields, expected) in [
            ("/p?lang=fr", &[("cookie", "lang=de"), ("accept-language", "es")][..], (Some("fr"), false)),
            ("/p?lang=FR-ca", &[], (Some("fr"), false)),
            ("/p?lang=nl", &[("cookie", "lang=de"), ("accept-language", "es")], (Some("de"), true)),
            ("/p?lang=*", &[("accept-language", "es")], (Some("es"), true)),
            ("/p?lang=%zz", &[("cookie", "lang=nl; lang=de")], (Some("de"), true)),
            ("/p", &[("cookie", "lang=fr, es"), ("accept-language", "es")], (Some("es"), true)),
            ("/p", &[("accept-language", "nl")], (None, true)),
            ("/p", &[], (None, true)),
        ] {
            let url = format!("https://a.example{url}");
            let negotiated = negotiate(&AVAILABLE, &RequestTarget::parse(&url), &HeaderSection::from(fields));
            assert_eq!((negotiated.tag, negotiated.varies), expected, "{url} {fields:?}");
        }
    }

    #[test]
    fn the_script_decides_the_direction_of_writing() {
        for (tag, expected) in [
            ("ar", true),
            ("AR-eg", true),
            ("he", true),
            ("iw", true),
            ("yi", true),
            ("dv", true),
            ("ckb", true),
            ("pa-PK", true),
            ("az-Arab", true),
            ("pa", false),
            ("ur-Latn", false),
            ("de", false),
            ("arn", false),
            ("x-ar", false),
        ] {
            assert_eq!(is_right_to_left(tag), expected, "{tag}");
        }
    }

    /// Returns the language and script of a tag, according to CLDR.
    fn read_as(tag: &str) -> (icu_locale::subtags::Language, Option<icu_locale::subtags::Script>) {
        let mut id: icu_locale::LanguageIdentifier = tag.parse().unwrap();
        icu_locale::LocaleExpander::new_extended().maximize(&mut id);
        (id.language, id.script)
    }

    fn tags() -> impl Strategy<Value = String> {
        "(zh|sr|pa|uz|nl|en|kk|ku)(-(Hans|Hant|Cyrl|Latn|Arab))?(-(CN|TW|HK|ME|PK|BE|AF|US))?"
    }

    const UNRELATED: [&str; 8] = ["en", "de-CH", "fr", "ja", "pt-BR", "sw", "fi", "ko-KR"];

    proptest! {
        /// However ranges and tags are spelled, the first range whose language and script are
        /// available decides both, unless lookup finds another script for a range before it.
        #[test]
        fn language_and_script_of_a_range_come_before_the_next_range(
            ranges in prop::collection::vec(tags(), 1..5), available in prop::collection::vec(tags(), 0..6), refused in prop::option::of(tags()),
        ) {
            let weighted = ranges.iter().zip("9876".chars()).map(|(range, weight)| format!("{range};q=0.{weight}"));
            let field: Vec<String> = weighted.chain(refused.map(|refused| format!("{refused};q=0"))).collect();
            let field = field.join(", ");
            let parsed = AcceptLanguage::parse(&field);
            prop_assert_eq!(parsed.wanted.len(), ranges.len());
            let available: Vec<&str> = available.iter().map(String::as_str).collect();
            let allowed: Vec<&str> = available.iter().copied().filter(|tag| !parsed.excludes(tag)).collect();
            let chosen = parsed.lookup(&available);
            prop_assert_eq!(chosen, AcceptLanguage { excluded: Vec::new(), ..parsed.clone() }.lookup(&allowed), "{} {:?}", field, available);
            let is_there = |range: &&String| allowed.iter().any(|tag| read_as(tag) == read_as(range));
            if let Some(range) = ranges.iter().find(is_there) {
                let before = ranges.iter().take_while(|other| *other != range);
                let is_found_before = |tag: &str| before.clone().any(|range| is_prefix(tag, range));
                let chosen = chosen.unwrap();
                prop_assert!(read_as(chosen) == read_as(range) || is_found_before(chosen), "{} {:?}: {}", field, available, chosen);
            }
        }

        /// The crate `accept-language` compares whole tags, letter by letter. If no two of them
        /// share a language, the result is the same.
        #[test]
        fn the_crate_accept_language_chooses_the_same_of_unrelated_tags(
            ranges in Just(UNRELATED.to_vec()).prop_shuffle(),
            weights in prop::collection::vec(1..=1000_u16, 0..UNRELATED.len()),
            available in prop::sample::subsequence(&UNRELATED[..], 0..UNRELATED.len()),
        ) {
            let weighted = ranges.iter().zip(&weights);
            let field: Vec<_> =
                weighted.map(|(range, weight)| format!("{range};q={}.{:03}", weight / 1000, weight % 1000)).collect();
            let field = field.join(", ");
            let theirs = accept_language::intersection(&field, &available).into_iter().next();
            prop_assert_eq!(AcceptLanguage::parse(&field).lookup(&available), theirs.as_deref(), "{} {:?}", field, available);
        }

        #[test]
        fn any_field_gives_an_available_tag_or_none(field in "[a-zA-Z*;=,.q0-9 -]{0,80}") {
            let chosen = AcceptLanguage::parse(&field).lookup(&AVAILABLE);
            prop_assert!(chosen.is_none_or(|tag| AVAILABLE.contains(&tag)));
        }

        #[test]
        fn a_tag_refused_by_its_own_name_is_never_chosen(
            field in "((en|es|pt|pt-BR|zh|zh-Hant|nl|\\*)(;q=0(\\.[0-9])?)?, ?){0,5}",
            refused in prop::sample::select(&AVAILABLE[..]),
        ) {
            let field = format!("{field}{refused};q=0");
            prop_assert_ne!(AcceptLanguage::parse(&field).lookup(&AVAILABLE), Some(refused), "{}", field);
        }
    }
}
