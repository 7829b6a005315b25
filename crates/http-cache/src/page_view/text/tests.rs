//! The title and the text of pages. Random ones are compared with another tokenizer.

use proptest::prelude::*;

use super::*;

fn content(html: &str) -> String {
    PageText::of_html(&format!("<body>{html}")).content.unwrap()
}

fn title(html: &str) -> Option<String> {
    PageText::of_html(html).title
}

#[test]
fn a_page_may_lack_title_and_body() {
    for (html, title, content) in [
        ("", None, None),
        ("words", None, None),
        ("<p>words</p>", None, None),
        ("<title>T</title>", Some("T"), None),
        ("<title></title><body></body>", Some(""), Some("")),
        ("\u{feff}<title>T", Some("T"), None),
        ("<title>a<b>c</title><body>d", Some("a<b>c"), Some("d")),
        ("<title>a</title><title>b</title>", Some("a"), None),
        ("<body><title>a</title>b", None, Some("a b")),
        ("<script><title>a</title></script><title>b</title>", Some("b"), None),
        ("<!-- <title>a</title> --><title>b</title>", Some("b"), None),
        ("<svg><title>a</title></svg><title>b</title>", Some("b"), None),
        ("<template><title>a</title></template><title>b</title>", Some("b"), None),
        ("<textarea><body>a</textarea>", None, None),
        ("<head><template><svg><style></head><body>a", None, Some("a")),
        ("<body>a<body>b</body>c</html>d", None, Some("a b c d")),
    ] {
        let text = PageText::of_html(html);
        assert_eq!((text.title.as_deref(), text.content.as_deref()), (title, content), "{html}");
    }
}

#[test]
fn a_tag_or_a_comment_is_a_space_and_white_space_collapses() {
    for (html, text) in [
        ("a<b>b</b>c", "a b c"),
        ("a<!---->b<!-- c -->d", "a b d"),
        ("a<?php ?>b<!x>c</ d>e", "a b c e"),
        (" \t\r\n\u{c}a \u{a0}\u{3000}&nbsp;&#x2003; b ", "a b"),
        ("a&amp;b&lt;c", "a&b<c"),
        ("a</>b", "ab"),
        ("1 < 2 <3 <", "1 < 2 <3 <"),
        ("a </", "a </"),
        ("a<b", "a"),
        ("a<b c='>d", "a"),
        ("a<b c=\">\" d='>' e=>f", "a f"),
        ("a<b c\">d", "a d"),
        ("a<b =>c", "a c"),
        ("a<b/c/>d", "a d"),
        ("<p title=&gt;x>a", "a"),
    ] {
        assert_eq!(content(html), text, "{html}");
    }
}

#[test]
fn a_comment_ends_where_it_ends_in_browsers() {
    for (html, text) in [
        ("<!-->a", "a"),
        ("<!--->a", "a"),
        ("<!---->a", "a"),
        ("<!--a--!>b", "b"),
        ("<!----!>b", "b"),
        ("<!---!>b", ""),
        ("<!--a--b-->c", "c"),
        ("<!--a--!--->b", "b"),
        ("<!--a--!->b", ""),
        ("<!--a------>b", "b"),
        ("<!-- <!-- a --> b -->", "b -->"),
        ("<!--a", ""),
        ("<!-a>b", "b"),
        ("<![CDATA[a>b]]>c", "b]]>c"),
    ] {
        assert_eq!(content(html), text, "{html}");
    }
}

#[test]
fn raw_text_elements_have_no_tags_in_them_and_templates_are_left_out() {
    for (html, text) in [
        ("a<script>b</b><!--</script>c", "a c"),
        ("a<SCRIPT>b</scripts></SCRIPT x=y>c", "a c"),
        ("a<script><!-- <script>b</script> --></script>c", "a c"),
        ("a<script><!-- <script>b</script>c</script>d", "a d"),
        ("a<script><!--><script>b</script>c", "a c"),
        ("a<script><!-- <scripty>b</script>c", "a c"),
        ("a<script>b", "a"),
        ("a<script/>b</script>c", "a c"),
        ("a<style><b></style>c", "a c"),
        ("a<noscript><style></noscript>c", "a c"),
        ("<textarea><b>&amp;</textarea>c", "<b>& c"),
        ("<title><b>&amp;</title>c", "<b>& c"),
        ("<xmp><b>&amp;</xmp>c", "<b>&amp; c"),
        ("<iframe><b></iframe>c", "<b> c"),
        ("<plaintext><b></plaintext>&amp;", "<b></plaintext>&amp;"),
        ("a<template>b<template>c</template>d</template>e", "a e"),
        ("a</template>b", "a b"),
        ("a<template>b</div>c", "a"),
    ] {
        assert_eq!(content(html), text, "{html}");
    }
}

#[test]
fn svg_and_mathml_are_read_as_foreign_content() {
    for (html, text) in [
        ("<svg><![CDATA[a<b>&amp;]]>c</svg>", "a<b>&amp;c"),
        ("<svg><title><![CDATA[a]]>b</title></svg>", "b"),
        ("<svg><![CDATA[a", "a"),
        ("<svg/><![CDATA[a>b]]>", "b]]>"),
        ("<svg><script>a<g>b</g></script>c</svg>d", "c d"),
        ("<svg><script/>a</svg>b", "a b"),
        ("<svg><script x=/>a</svg>b", "b"),
        ("<svg><style>a</svg>b", "b"),
        ("<svg><style>a<p>b", "b"),
        ("<svg><style>a</p>b", "b"),
        ("<svg><svg></svg><![CDATA[a]]></svg><![CDATA[b]]>", "a"),
        ("<svg><font color=red><![CDATA[a>b]]>", "b]]>"),
        ("<svg><font face><![CDATA[a>b]]>", "b]]>"),
        ("<svg><font x=y><![CDATA[a>b]]>", "a>b"),
        ("<svg><foreignObject><script><b></script>a</foreignObject><![CDATA[b]]></svg>", "a b"),
        ("<svg><foreignObject><svg></svg></svg><![CDATA[a>b]]>", "b]]>"),
        ("<math><mi><![CDATA[a>b]]></mi><![CDATA[c>d]]></math>", "b]]> c>d"),
        ("<math><annotation-xml encoding=text/HTML><style><b></style>a</annotation-xml><![CDATA[b]]>", "a b"),
        ("<math><annotation-xml><![CDATA[a]]>", "a"),
        ("<math><svg><desc><![CDATA[a>b]]>", "a>b"),
        ("<template><svg><style></svg>a</template>b", "b"),
    ] {
        assert_eq!(content(html), text, "{html}");
    }
    assert_eq!(title("<svg><desc><title>a</title></desc></svg>").as_deref(), Some("a"));
}

#[test]
fn character_references_are_read_as_browsers_read_them() {
    for (html, text) in [
        ("&amp;amp; &amp &ampx &AMP", "&amp; & &x &"),
        ("&lt&gt;&quot&copy2026", "<>\"©2026"),
        ("&not &notit; &notin; &notinx; &notin", "¬ ¬it; ∉ ¬inx; ¬in"),
        ("&frac12 &frac1 &sup2; &sup", "½ &frac1 ² &sup"),
        ("&eacute;&Eacute&hellip;&hellip", "éÉ…&hellip"),
        ("&NotEqualTilde; &fjlig; &CounterClockwiseContourIntegral;", "≂̸ fj ∳"),
        ("&unknown; & &; AT&T &", "&unknown; & &; AT&T &"),
        ("&#8364;&#8364 &#x20AC;&#X20acg &#65x", "€€ €€g Ax"),
        ("&#; &#x; &#g &#xg; &#-1; &#+1;", "&#; &#x; &#g &#xg; &#-1; &#+1;"),
        ("&#0; &#x110000; &#xD800; &#99999999999999999999;", "\u{fffd} \u{fffd} \u{fffd} \u{fffd}"),
        ("&#128;&#x80&#145;&#146;&#150;&#159; &#129;", "€€‘’–Ÿ \u{81}"),
        ("&am<b>p;", "&am p;"),
    ] {
        assert_eq!(content(html), text, "{html}");
        if !html.contains('<') {
            assert_eq!(title(&format!("<title>{html}")).as_deref(), Some(text), "{html}");
        }
    }
}

/// Each part is repeated so often that it would take hours if the time were not linear.
#[test]
fn any_number_of_anything_is_read_to_its_end() {
    for part in [
        "<div>",
        "<div ",
        "<div a='b' ",
        "</div>",
        "<",
        "</",
        "<!--",
        "<!-",
        "-->",
        "-",
        "&",
        "&#",
        "&a",
        "&#1",
        "<svg>",
        "<svg><desc>",
        "<math><mi>",
        "<template>",
        "<title>",
        "<script>",
        "<![CDATA[",
        "]]",
        "<a b=\"",
    ] {
        for start in ["<body>", "<body><!--", "<body><script><!--<script>", "<title>", "<body><svg>"] {
            let text = PageText::of_html(&[start, &part.repeat(200_000)].concat());
            assert!(text.content.is_some() || text.title.is_some());
        }
    }
}

/// What is compared of a token: of its text, the words.
#[derive(Debug, PartialEq, Eq)]
enum Outline {
    Text(String),
    Start { name: String, is_self_closing: bool },
    End(String),
    Comment,
}

fn push_text(outlines: &mut Vec<Outline>, text: CollapsedText) {
    if !text.text.is_empty() {
        outlines.push(Outline::Text(text.text));
    }
}

fn outlines(page: &str) -> Vec<Outline> {
    let mut tokenizer = Tokenizer::new(page);
    let (mut outlines, mut text) = (Vec::new(), CollapsedText::default());
    while let Some(token) = tokenizer.next(false) {
        let outline = match token {
            Token::Text(html) => {
                text.push_html(html);
                continue;
            }
            Token::CharacterData(_) => unreachable!("`next(false)` reads no CDATA section"),
            Token::Comment => Outline::Comment,
            Token::EndTag(name) => Outline::End(name.to_ascii_lowercase()),
            Token::StartTag(StartTag { name, is_self_closing, .. }) => {
                push_text(&mut outlines, std::mem::take(&mut text));
                outlines.push(Outline::Start { name: name.to_ascii_lowercase(), is_self_closing });
                match name.to_ascii_lowercase().as_str() {
                    "title" | "textarea" => text.push_html(tokenizer.raw_text(name)),
                    "style" | "xmp" | "iframe" | "noembed" | "noscript" => text.push(tokenizer.raw_text(name)),
                    "plaintext" => text.push(tokenizer.take_rest()),
                    "script" => tokenizer.skip_script(),
                    _ => {}
                }
                continue;
            }
        };
        push_text(&mut outlines, std::mem::take(&mut text));
        outlines.push(outline);
    }
    push_text(&mut outlines, text);
    outlines
}

/// The same by another implementation of the standard.
fn outlines_of_html5gum(page: &str) -> Vec<Outline> {
    let mut emitter = html5gum::DefaultEmitter::default();
    emitter.naively_switch_states(true);
    let (mut outlines, mut text, mut is_script) = (Vec::new(), CollapsedText::default(), false);
    for token in html5gum::Tokenizer::new_with_emitter(page, emitter) {
        let name = |name: &[u8]| String::from_utf8(name.to_vec()).unwrap();
        let outline = match token.unwrap() {
            html5gum::Token::Error(_) => continue,
            html5gum::Token::String(string) => {
                if !is_script {
                    text.push(std::str::from_utf8(&string).unwrap());
                }
                continue;
            }
            html5gum::Token::StartTag(tag) => {
                is_script = tag.name.as_slice() == b"script";
                Outline::Start { name: name(&tag.name), is_self_closing: tag.self_closing }
            }
            html5gum::Token::EndTag(tag) => {
                is_script = false;
                Outline::End(name(&tag.name))
            }
            html5gum::Token::Comment(_) | html5gum::Token::Doctype(_) => Outline::Comment,
        };
        push_text(&mut outlines, std::mem::take(&mut text));
        outlines.push(outline);
    }
    push_text(&mut outlines, text);
    outlines
}

#[test]
fn numeric_character_references_are_read_as_html5gum_reads_them() {
    for number in (0..0x300).chain([0xd7ff, 0xd800, 0xdfff, 0xe000, 0xfffe, 0xffff, 0x10_ffff, 0x11_0000, u32::MAX]) {
        let html = format!("a&#{number};b&#x{number:x};c&#X{number:X} &#{number}");
        assert_eq!(outlines(&html), outlines_of_html5gum(&html), "{number}");
    }
}

const MARKUP: [&str; 62] = [
    "<",
    ">",
    "/",
    "!",
    "-",
    "--",
    "?",
    "=",
    "'",
    "\"",
    " ",
    "\n",
    "&",
    "#",
    ";",
    "x",
    "a",
    "B",
    "1",
    "<!--",
    "-->",
    "--!>",
    "</",
    "/>",
    "<!",
    "<!doctype html>",
    "<![CDATA[",
    "]]>",
    "<?",
    "<a ",
    "<br/>",
    "<p>",
    "</p>",
    "<script>",
    "</script>",
    "</script ",
    "<script",
    "script",
    "<title>",
    "</title>",
    "</TITLE",
    "<style>",
    "</style>",
    "<textarea>",
    "</textarea>",
    "<plaintext>",
    "<xmp>",
    "</xmp>",
    "<noscript>",
    "</noscript>",
    "&amp",
    "&amp;",
    "&not",
    "in;",
    "&#128;",
    "&#x",
    "<body>",
    "<svg>",
    "</svg>",
    "é",
    "日",
    "\u{a0}",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_page_has_the_tokens_that_html5gum_finds(
        parts in proptest::collection::vec(proptest::sample::select(MARKUP.to_vec()), 0..40),
    ) {
        let page = parts.concat();
        prop_assert_eq!(outlines(&page), outlines_of_html5gum(&page), "{}", page);
    }

    #[test]
    fn no_page_makes_it_panic(page in ".*") {
        let _ = PageText::of_html(&page);
    }

    #[test]
    fn white_space_in_the_text_of_random_markup_is_collapsed(
        parts in proptest::collection::vec(
            proptest::sample::select([
                &MARKUP[..],
                &["<math>", "</math>", "<mi>", "</mi>", "<desc>", "</desc>", "<template>", "</template>", "<font ", "color=",
                  "<annotation-xml encoding=text/html>", "\0", "\u{feff}"],
            ].concat()),
            0..60,
        ),
    ) {
        let text = PageText::of_html(&parts.concat());
        for text in [text.title, text.content].into_iter().flatten() {
            prop_assert_eq!(text.split_whitespace().collect::<Vec<_>>().join(" "), text);
        }
    }
}
