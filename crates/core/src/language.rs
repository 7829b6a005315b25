//! Which language a visitor gets: `Accept-Language` (RFC 9110 §12.5.4) matched by lookup (RFC 4647 §3.4).
//!
//! Lookup makes a range shorter, never a tag: `pt` does not find `pt-BR`, nor `en-GB` `en-US`. Where it finds nothing at all, a tag
//! of the same language is still nearer to the visitor than the default, so a second pass looks for one. That is the choice of the
//! `pick` of accept-language-parser with `loose`, as far as the RFC agrees with it: what a range names comes first.
//!
//! The crate `accept-language` is not used. It reads an invalid weight as 0 and a weight above 1 as it stands, and it sorts
//! by floats, so that `q=NaN` breaks the order it sorts by, which Rust's sort may answer with a panic. A request must not be
//! able to cause one.

use crate::cookie;
use crate::fields::Fields;
use crate::request_target::RequestTarget;
use crate::weight;

/// The languages that the visitor asks for, most wanted first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptLanguage<'a> {
    wanted: Vec<LanguageRange<'a>>,
    /// Ranges with `q=0`: never to be answered.
    excluded: Vec<&'a str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LanguageRange<'a> {
    range: &'a str,
    /// In thousandths: 1 to 1000 (RFC 9110 §12.4.2).
    weight: u16,
}

/// More ranges than any browser sends; what follows is ignored.
const RANGES_MAX: usize = 64;

/// A language tag is 35 characters at most in practice (RFC 5646 §4.4.1).
const TAG_LENGTH_MAX: usize = 35;

impl<'a> AcceptLanguage<'a> {
    /// Reads the field. A range that is no language range, or whose weight is invalid, is left out.
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
        // Stable: of two ranges with the same weight the first one stays first.
        parsed.wanted.sort_by_key(|range| std::cmp::Reverse(range.weight));
        parsed
    }

    /// The best of the available tags, or `None` where the caller's default applies.
    ///
    /// A range is shortened from its end until a tag equals it (`de-CH-1996`, `de-CH`, `de`), whatever the case. Where no range
    /// finds a tag so, the first tag of the language of a range (`de-AT` for `de-CH`). `*` takes the first tag that is not
    /// excluded, after every range that names a language.
    #[must_use]
    pub fn lookup<'t>(&self, available: &[&'t str]) -> Option<&'t str> {
        let named = self.wanted.iter().filter(|wanted| wanted.range != "*").find_map(|wanted| {
            std::iter::successors(Some(wanted.range), |range| shorten(range)).find_map(|range| {
                available.iter().find(|tag| tag.eq_ignore_ascii_case(range) && !self.excludes(tag)).copied()
            })
        });
        let same_language = || {
            self.wanted.iter().filter_map(|wanted| language(wanted.range)).find_map(|wanted| {
                let is_wanted =
                    |tag: &&&str| language(tag).is_some_and(|language| language.eq_ignore_ascii_case(wanted));
                available.iter().find(|tag| is_wanted(tag) && !self.excludes(tag)).copied()
            })
        };
        let any = || {
            let has_wildcard = self.wanted.iter().any(|wanted| wanted.range == "*");
            available.iter().find(|tag| has_wildcard && !self.excludes(tag)).copied()
        };
        named.or_else(same_language).or_else(any)
    }

    /// True where `q=0` names the tag or a prefix of it, and no wanted range names it more closely (RFC 4647 §3.3.1).
    fn excludes(&self, tag: &str) -> bool {
        let closeness = |range: &str| if is_prefix(range, tag) { range.len() } else { 0 };
        let excluded = self.excluded.iter().map(|range| closeness(range)).max().unwrap_or(0);
        let wanted = self.wanted.iter().map(|wanted| closeness(wanted.range)).max().unwrap_or(0);
        excluded > 0 && excluded >= wanted
    }
}

/// The language of a page that a request gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Negotiated<'t> {
    /// One of the available tags; `None` where the caller's default applies.
    pub tag: Option<&'t str>,
    /// True where header fields have a say: those of [`VARY`].
    pub varies: bool,
}

/// What the language depends on where the URL does not settle it (RFC 9110 §12.5.5).
pub const VARY: &str = "Accept-Language, Cookie";

/// Chooses by the parameter `lang` of the URL, then by the cookie `lang`, then by `Accept-Language`. Of the first two, each is one tag, and
/// neither a list nor `*`.
#[must_use]
pub fn negotiate<'t>(available: &[&'t str], target: &RequestTarget<'_>, fields: &impl Fields) -> Negotiated<'t> {
    let named = |tag: &str| if is_language_tag(tag) { AcceptLanguage::parse(tag).lookup(available) } else { None };
    if let Some(tag) = target.parameter("lang").ok().flatten().and_then(|lang| named(&lang)) {
        return Negotiated { tag: Some(tag), varies: false };
    }
    let by_cookie = fields.find("cookie").and_then(|cookies| cookie::values(&cookies, "lang").find_map(named));
    let tag = by_cookie.or_else(|| AcceptLanguage::parse(&fields.find("accept-language")?).lookup(available));
    Negotiated { tag, varies: true }
}

/// True for what may stand in `lang` and `Content-Language`: subtags of 1 to 8 letters and digits (RFC 5646 §2.1).
#[must_use]
pub fn is_language_tag(tag: &str) -> bool {
    let is_subtag =
        |subtag: &str| (1..=8).contains(&subtag.len()) && subtag.bytes().all(|byte| byte.is_ascii_alphanumeric());
    tag.len() <= TAG_LENGTH_MAX && tag.split('-').all(is_subtag)
}

/// True where the language is written from right to left, as far as its first subtag tells.
#[must_use]
pub fn is_right_to_left(tag: &str) -> bool {
    let primary = tag.split('-').next().unwrap_or_default();
    ["ar", "dv", "fa", "he", "ps", "sd", "ug", "ur", "yi"].iter().any(|rtl| primary.eq_ignore_ascii_case(rtl))
}

/// Drops the last subtag, and a single letter that would then stand last (RFC 4647 §3.4).
fn shorten(range: &str) -> Option<&str> {
    let (mut shorter, _) = range.rsplit_once('-')?;
    if let Some((before, single)) = shorter.rsplit_once('-')
        && single.len() == 1
    {
        shorter = before;
    }
    Some(shorter)
}

/// The first subtag, where it names a language: `*` names none, and neither does the single letter of a private (`x-…`) or an old
/// tag (`i-…`) (RFC 5646 §2.2.7, §2.2.8).
fn language(range: &str) -> Option<&str> {
    range.split('-').next().filter(|primary| primary.len() > 1)
}

fn is_prefix(range: &str, tag: &str) -> bool {
    range == "*"
        || tag
            .split_at_checked(range.len())
            .is_some_and(|(head, rest)| head.eq_ignore_ascii_case(range) && (rest.is_empty() || rest.starts_with('-')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AVAILABLE: [&str; 10] = ["en", "es", "fr", "de", "zh", "ja", "hi", "ar", "pt-BR", "zh-Hant-TW"];

    #[test]
    fn lookup_of_rfc_4647_over_weights_of_rfc_9110() {
        for (field, expected) in [
            ("de", Some("de")),
            ("DE", Some("de")),
            ("de-CH", Some("de")),
            ("de-ch-1996", Some("de")),
            ("pt-br", Some("pt-BR")),
            // A second pass, where no range finds a tag.
            ("pt", Some("pt-BR")),
            ("pt-PT, nl", Some("pt-BR")),
            ("pt, de;q=0.1", Some("de")),
            ("zh-Hant-TW", Some("zh-Hant-TW")),
            ("zh-Hant", Some("zh")),
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
    fn weight_zero_excludes() {
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
    fn wildcard_comes_after_every_named_language() {
        assert_eq!(AcceptLanguage::parse("*, fr;q=0.1").lookup(&AVAILABLE), Some("fr"));
        assert_eq!(AcceptLanguage::parse("*").lookup(&AVAILABLE), Some("en"));
        assert_eq!(AcceptLanguage::parse("*, pt-PT;q=0.1").lookup(&AVAILABLE), Some("pt-BR"));
    }

    /// What `pick` of accept-language-parser 1.5.0 gives with `loose`: the cases of its README and its tests.
    #[test]
    fn the_loose_choice_of_accept_language_parser() {
        for (available, field, expected) in [
            (&["fr-CA", "fr-FR", "fr"][..], "en-GB,en-US;q=0.9,fr-CA;q=0.7,en;q=0.8", Some("fr-CA")),
            // Its README says `fr`; it gives `en`, as RFC 4647 does.
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
            (&["zh-Hant-TW"], "zh-CN", Some("zh-Hant-TW")),
        ] {
            assert_eq!(AcceptLanguage::parse(field).lookup(available), expected, "{available:?} {field}");
        }
    }

    #[test]
    fn where_the_loose_choice_is_not_that_of_the_rfc() {
        for (available, field, loose, expected) in [
            // RFC 4647 §3.4: the tag that equals the range, whatever stands before it.
            (&["fr-CA", "fr"][..], "fr", Some("fr-CA"), Some("fr")),
            (&["fr", "fr-CA"], "fr-CA", Some("fr"), Some("fr-CA")),
            (&["en", "en-US", "pl"], "en-US;q=0.6", Some("en"), Some("en-US")),
            (&["zh-cn", "zh-Hant-cn"], "zh-Hant-cn,zh-cn;q=0.6,zh;q=0.4", Some("zh-cn"), Some("zh-Hant-cn")),
            // RFC 4647 §3.4: a range that finds no tag gives way to the next one.
            (&["en", "pt-BR"], "pt, en;q=0.5", Some("pt-BR"), Some("en")),
            // RFC 9110 §12.5.4: `*` matches each language that no other range does.
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
        use crate::fields::tests::Given;
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
            let negotiated = negotiate(&AVAILABLE, &RequestTarget::parse(&url), &Given::new(fields));
            assert_eq!((negotiated.tag, negotiated.varies), expected, "{url} {fields:?}");
        }
    }

    #[test]
    fn arabic_runs_from_right_to_left() {
        assert!(is_right_to_left("ar") && is_right_to_left("AR-eg") && is_right_to_left("he"));
        assert!(!is_right_to_left("de") && !is_right_to_left("arn"));
    }

    proptest! {
        #[test]
        fn any_field_gives_an_available_tag_or_none(field in "[a-zA-Z*;=,.q0-9 -]{0,80}") {
            let chosen = AcceptLanguage::parse(&field).lookup(&AVAILABLE);
            prop_assert!(chosen.is_none_or(|tag| AVAILABLE.contains(&tag)));
        }

        #[test]
        fn what_is_refused_by_its_own_name_is_never_chosen(
            field in "((en|es|pt|pt-BR|zh|zh-Hant|nl|\\*)(;q=0(\\.[0-9])?)?, ?){0,5}",
            refused in prop::sample::select(&AVAILABLE[..]),
        ) {
            let field = format!("{field}{refused};q=0");
            prop_assert_ne!(AcceptLanguage::parse(&field).lookup(&AVAILABLE), Some(refused), "{}", field);
        }
    }
}
