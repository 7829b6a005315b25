//! What a language tag says (RFC 5646), and what it leaves out: the script, which the likely
//! subtags of CLDR supply (UTS #35, "Likely Subtags"). `zh-TW` is written in the traditional
//! script although it does not say so; `zh` and `zh-SG` in the simplified one.

use std::iter::successors;

/// A language tag or range, split.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subtags<'a> {
    /// The language code in use: `he` for `iw`.
    language: &'a str,
    /// ISO 15924: the script that the tag names, or else the likely one.
    script: &'a str,
    names_script: bool,
    /// What follows language and script: region, variants, extensions.
    rest: &'a str,
}

/// Codes that stand for another code; sorted. They are deprecated codes (RFC 5646 §3.1.6), and the
/// main language of a macrolanguage (CLDR, "languageAlias"). `nb` and `no` are one, because their
/// readers read both. Serbo-Croatian is Serbian in Latin script.
const ALIASES: [(&str, &str); 24] = [
    ("arb", "ar"),
    ("azj", "az"),
    ("cmn", "zh"),
    ("ekk", "et"),
    ("hbs", "sr"),
    ("in", "id"),
    ("iw", "he"),
    ("ji", "yi"),
    ("jw", "jv"),
    ("khk", "mn"),
    ("kmr", "ku"),
    ("lvs", "lv"),
    ("mo", "ro"),
    ("mol", "ro"),
    ("nb", "no"),
    ("pes", "fa"),
    ("sh", "sr"),
    ("swh", "sw"),
    ("tl", "fil"),
    ("tw", "ak"),
    ("twi", "ak"),
    ("uzn", "uz"),
    ("ydd", "yi"),
    ("zsm", "ms"),
];
const SERBO_CROATIAN: [&str; 2] = ["sh", "hbs"];

const LATIN: &str = "Latn";

/// The script of each language that is not written in Latin script, as far as CLDR has more of the
/// language than a name; sorted by language. A test compares this with CLDR.
const SCRIPTS: [(&str, &str); 87] = [
    ("ab", "Cyrl"),
    ("ady", "Cyrl"),
    ("ae", "Avst"),
    ("am", "Ethi"),
    ("ar", "Arab"),
    ("as", "Beng"),
    ("av", "Cyrl"),
    ("ba", "Cyrl"),
    ("bal", "Arab"),
    ("be", "Cyrl"),
    ("bg", "Cyrl"),
    ("bgc", "Deva"),
    ("bho", "Deva"),
    ("bn", "Beng"),
    ("bo", "Tibt"),
    ("brx", "Deva"),
    ("bua", "Cyrl"),
    ("ce", "Cyrl"),
    ("chr", "Cher"),
    ("ckb", "Arab"),
    ("cop", "Copt"),
    ("cr", "Cans"),
    ("csw", "Cans"),
    ("cu", "Cyrl"),
    ("cv", "Cyrl"),
    ("doi", "Deva"),
    ("dv", "Thaa"),
    ("dz", "Tibt"),
    ("el", "Grek"),
    ("fa", "Arab"),
    ("gu", "Gujr"),
    ("he", "Hebr"),
    ("hi", "Deva"),
    ("hy", "Armn"),
    ("ii", "Yiii"),
    ("iu", "Cans"),
    ("ja", "Jpan"),
    ("ka", "Geor"),
    ("kbd", "Cyrl"),
    ("kk", "Cyrl"),
    ("km", "Khmr"),
    ("kn", "Knda"),
    ("ko", "Kore"),
    ("kok", "Deva"),
    ("ks", "Arab"),
    ("kv", "Cyrl"),
    ("ky", "Cyrl"),
    ("lo", "Laoo"),
    ("mai", "Deva"),
    ("mk", "Cyrl"),
    ("ml", "Mlym"),
    ("mn", "Cyrl"),
    ("mni", "Beng"),
    ("mr", "Deva"),
    ("my", "Mymr"),
    ("ne", "Deva"),
    ("nqo", "Nkoo"),
    ("oj", "Cans"),
    ("or", "Orya"),
    ("os", "Cyrl"),
    ("pa", "Guru"),
    ("ps", "Arab"),
    ("raj", "Deva"),
    ("ru", "Cyrl"),
    ("sa", "Deva"),
    ("sah", "Cyrl"),
    ("sat", "Olck"),
    ("sd", "Arab"),
    ("shn", "Mymr"),
    ("si", "Sinh"),
    ("sr", "Cyrl"),
    ("suz", "Deva"),
    ("syr", "Syrc"),
    ("ta", "Taml"),
    ("te", "Telu"),
    ("tg", "Cyrl"),
    ("th", "Thai"),
    ("ti", "Ethi"),
    ("tt", "Cyrl"),
    ("tyv", "Cyrl"),
    ("ug", "Arab"),
    ("uk", "Cyrl"),
    ("ur", "Arab"),
    ("xnr", "Deva"),
    ("yi", "Hebr"),
    ("yue", "Hant"),
    ("zh", "Hans"),
];

/// The regions in which a language is written in another script than usual.
const REGIONAL_SCRIPTS: [(&str, &str, &str); 19] = [
    ("az", "Arab", "IQ IR"),
    ("az", "Cyrl", "RU"),
    ("ha", "Arab", "CM SD"),
    ("kk", "Arab", "AF CN IR MN"),
    ("ku", "Arab", "IQ IR LB"),
    ("ku", "Cyrl", "AM AZ GE TM"),
    ("ky", "Arab", "CN"),
    ("ky", "Latn", "TR"),
    ("mn", "Mong", "CN"),
    ("ms", "Arab", "CC"),
    ("pa", "Arab", "PK"),
    ("sd", "Deva", "IN"),
    ("sr", "Latn", "ME RO TR"),
    ("tg", "Arab", "PK"),
    ("ug", "Cyrl", "KZ MN"),
    ("uz", "Arab", "AF"),
    ("uz", "Cyrl", "CN"),
    ("yue", "Hans", "CN"),
    ("zh", "Hant", "TW HK MO AU BN GB GF ID PA PF PH SR TH US VN"),
];

/// The right-to-left scripts of living languages.
const RIGHT_TO_LEFT: [&str; 7] = ["Arab", "Hebr", "Thaa", "Syrc", "Nkoo", "Adlm", "Rohg"];

impl<'a> Subtags<'a> {
    /// Splits a tag. Returns `None` for one that names no language: `*`, and tags that begin with
    /// a single letter, which are private (`x-…`) or grandfathered (`i-…`) (RFC 5646 §2.2.7,
    /// §2.2.8).
    pub(super) fn parse(tag: &'a str) -> Option<Self> {
        let (mut named, mut rest) = first(tag);
        if named.len() < 2 {
            return None;
        }
        // RFC 5646 §2.2.2: `zh-yue` is `yue`.
        while let (extended, after) = first(rest)
            && extended.len() == 3
            && is_alphabetic(extended)
        {
            (named, rest) = (extended, after);
        }
        let language = look_up(&ALIASES, named).unwrap_or(named);
        let (script, after) = first(rest);
        if script.len() == 4 && is_alphabetic(script) {
            return Some(Self { language, script, names_script: true, rest: after });
        }
        let is_latin = SERBO_CROATIAN.iter().any(|serbian| serbian.eq_ignore_ascii_case(named));
        let script = if is_latin { LATIN } else { likely_script(language, script) };
        Some(Self { language, script, names_script: false, rest })
    }

    /// Returns true if both are the same language, in any script.
    pub(super) fn is_language_of(&self, other: &Subtags<'_>) -> bool {
        self.language.eq_ignore_ascii_case(other.language)
    }

    /// Returns true if a reader of one can read the other: both are the same language in the same
    /// script.
    pub(super) fn has_same_readers(&self, other: &Subtags<'_>) -> bool {
        self.is_language_of(other) && self.script.eq_ignore_ascii_case(other.script)
    }

    /// Returns, of tags in this language and script, the one that lookup finds first (RFC 4647
    /// §3.4): the part after the script is shortened from its end until it equals that of a tag.
    /// Of `zh` and `zh-Hans`, the one that is spelled like this range comes first.
    pub(super) fn lookup<T: Copy>(&self, near: &[(T, Subtags<'_>)]) -> Option<T> {
        successors(Some(self.rest), |rest| shorter(rest)).find_map(|rest| {
            let equal = near.iter().filter(|(_, tag)| tag.rest.eq_ignore_ascii_case(rest));
            equal.min_by_key(|(_, tag)| tag.names_script != self.names_script).map(|(tag, _)| *tag)
        })
    }

    /// Returns how closely this range names a tag, in subtags; `None` if it does not name it. A
    /// range without a script names the language in every script, unless its region implies one:
    /// `zh-TW` names `zh-Hant-TW`.
    pub(super) fn closeness(&self, tag: &Subtags<'_>) -> Option<usize> {
        let tells_script = self.names_script || !self.rest.is_empty();
        let names = if tells_script { self.has_same_readers(tag) } else { self.is_language_of(tag) };
        let subtags = |rest: &str| rest.split('-').filter(|subtag| !subtag.is_empty()).count();
        (names && is_prefix(self.rest, tag.rest)).then(|| subtags(self.rest) + 1 + usize::from(self.names_script))
    }

    /// Returns true if the script runs from right to left.
    pub(super) fn is_right_to_left(&self) -> bool {
        RIGHT_TO_LEFT.iter().any(|script| script.eq_ignore_ascii_case(self.script))
    }
}

/// Drops the last subtag, and a single letter that would then be the last (RFC 4647 §3.4); `None`
/// if there is no subtag.
pub(super) fn shorter(subtags: &str) -> Option<&str> {
    let split_last = |subtags| str::rsplit_once(subtags, '-').unwrap_or(("", subtags));
    let (shorter, last) = split_last(subtags);
    let (before, single) = split_last(shorter);
    let shorter = if single.len() == 1 { before } else { shorter };
    (!last.is_empty()).then_some(shorter)
}

/// Returns true if a tag begins with all subtags of a range.
pub(super) fn is_prefix(range: &str, tag: &str) -> bool {
    range.is_empty()
        || tag
            .split_at_checked(range.len())
            .is_some_and(|(head, rest)| head.eq_ignore_ascii_case(range) && (rest.is_empty() || rest.starts_with('-')))
}

fn likely_script(language: &str, region: &str) -> &'static str {
    let regional = REGIONAL_SCRIPTS.iter().find(|(other, _, regions)| {
        other.eq_ignore_ascii_case(language) && regions.split(' ').any(|other| other.eq_ignore_ascii_case(region))
    });
    regional.map(|(_, script, _)| *script).or_else(|| look_up(&SCRIPTS, language)).unwrap_or(LATIN)
}

/// Looks a code up in a sorted table, ignoring case.
fn look_up(table: &[(&str, &'static str)], code: &str) -> Option<&'static str> {
    let lower = || code.bytes().map(|byte| byte.to_ascii_lowercase());
    let at = table.binary_search_by(|(other, _)| other.bytes().cmp(lower())).ok()?;
    table.get(at).map(|(_, value)| *value)
}

/// Splits off the first subtag.
fn first(subtags: &str) -> (&str, &str) {
    subtags.split_once('-').unwrap_or((subtags, ""))
}

fn is_alphabetic(subtag: &str) -> bool {
    subtag.bytes().all(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use icu_locale::{LanguageIdentifier, LocaleCanonicalizer, LocaleExpander};

    use super::*;

    /// Every two-letter language but Pali, and every other of which CLDR has more than a name, if
    /// its code is not an alias, with every region of which CLDR knows a language.
    #[test]
    fn likely_scripts_are_those_of_cldr() {
        let [common, extended] = [LocaleExpander::new_common(), LocaleExpander::new_extended()];
        let canonical = LocaleCanonicalizer::new_common();
        let script = |expander: &LocaleExpander, tag: &str| {
            let mut id: LanguageIdentifier = tag.parse().ok()?;
            expander.maximize(&mut id);
            id.script.map(|script| script.to_string())
        };
        let is_canonical = |language: &str| {
            let mut locale = language.parse().unwrap();
            canonical.canonicalize(&mut locale);
            locale.to_string() == *language
        };
        let letters = || ('a'..='z').map(String::from);
        let two = || letters().flat_map(|one| letters().map(move |other| format!("{one}{other}")));
        let three = two().flat_map(|two| letters().map(move |letter| format!("{two}{letter}")));
        // The regions of which CLDR knows a language.
        let nowhere = script(&extended, "und-XX");
        let is_region = |region: &String| {
            let mut id: LanguageIdentifier = format!("und-{region}").parse().unwrap();
            extended.maximize(&mut id);
            id.language.as_str() != "en" || script(&extended, &id.to_string()) != nowhere
        };
        let regions: Vec<String> = two().map(|region| region.to_uppercase()).filter(is_region).collect();
        assert!(regions.len() > 150, "{}", regions.len());
        let mut checked = 0;
        // Pali has no script of its own: it depends on the edition.
        for language in two().filter(|two| two != "pi").chain(three.filter(|three| script(&common, three).is_some())) {
            let Some(of_language) = script(&extended, &language) else { continue };
            if !is_canonical(&language) {
                continue;
            }
            assert_eq!(Subtags::parse(&language).unwrap().script, of_language, "{language}");
            for region in &regions {
                let tag = format!("{language}-{region}");
                // For most pairs CLDR has no data and returns the script of the language.
                assert_eq!(Some(Subtags::parse(&tag).unwrap().script), script(&extended, &tag).as_deref(), "{tag}");
            }
            checked += 1;
        }
        assert!(checked > 200, "{checked}");
    }

    #[test]
    fn aliases_but_nb_are_those_of_cldr() {
        let canonical = LocaleCanonicalizer::new_common();
        for (other, language) in ALIASES.iter().filter(|(other, _)| *other != "nb") {
            let mut locale = other.parse().unwrap();
            canonical.canonicalize(&mut locale);
            let expected = if SERBO_CROATIAN.contains(other) { "sr-Latn" } else { language };
            assert_eq!(locale.to_string(), expected, "{other}");
        }
    }

    #[test]
    fn tables_are_sorted() {
        assert!(ALIASES.is_sorted() && SCRIPTS.is_sorted());
    }

    #[test]
    fn a_tag_is_language_script_and_rest() {
        for (tag, language, script, rest) in [
            ("de", "de", "Latn", ""),
            ("DE-ch-1996", "DE", "Latn", "ch-1996"),
            ("zh", "zh", "Hans", ""),
            ("zh-tw", "zh", "Hant", "tw"),
            ("zh-hant-HK", "zh", "hant", "HK"),
            ("zh-1996", "zh", "Hans", "1996"),
            ("zh-a-tw", "zh", "Hans", "a-tw"),
            ("cmn-Hant", "zh", "Hant", ""),
            ("zh-cmn-TW", "zh", "Hant", "TW"),
            ("zh-yue", "yue", "Hant", ""),
            ("zh-min-nan", "nan", "Latn", ""),
            ("iw-IL", "he", "Hebr", "IL"),
            ("SH", "sr", "Latn", ""),
            ("sh-Cyrl-BA", "sr", "Cyrl", "BA"),
            ("pa-PK-x-a", "pa", "Arab", "PK-x-a"),
        ] {
            let found = Subtags::parse(tag).unwrap();
            assert_eq!((found.language, found.script, found.rest), (language, script, rest), "{tag}");
        }
        for none in ["", "*", "x-zh", "i-klingon", "-"] {
            assert!(Subtags::parse(none).is_none(), "{none}");
        }
    }

    #[test]
    fn the_last_subtag_goes_first_and_no_single_letter_stays_last() {
        for (subtags, expected) in [
            ("de-CH-1996", Some("de-CH")),
            ("de-CH", Some("de")),
            ("de", Some("")),
            ("de-a-x", Some("de")),
            ("a-x", Some("")),
            ("", None),
        ] {
            assert_eq!(shorter(subtags), expected, "{subtags}");
        }
    }
}
