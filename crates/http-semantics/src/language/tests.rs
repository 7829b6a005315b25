//! Which language a visitor gets, also compared with another parser of `Accept-Language`.

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
