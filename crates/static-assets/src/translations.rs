//! The translated page `/hello-world` (KV documentation, "Generate dynamic responses from your
//! key-value pairs").

use std::borrow::Cow;

use serde::Deserialize;

use http_semantics::language::{is_language_tag, is_right_to_left};
use kv_store::record::{self, BrokenRecord};

/// An entry of `hello-world.json`.
#[derive(Debug, Deserialize)]
struct TranslatedMessage<'a> {
    #[serde(borrow)]
    language_code: Cow<'a, str>,
    #[serde(borrow)]
    message: Cow<'a, str>,
}

/// The pages of `hello-world.json`, one for each language.
///
/// # Examples
///
/// ```
/// use http_semantics::language::AcceptLanguage;
/// use static_assets::translations::Translations;
///
/// let json = r#"[
///     {"language_code": "en", "message": "Hello World"},
///     {"language_code": "es", "message": "¡Hola Mundo!"}
/// ]"#;
/// let translations = Translations::parse(json)?;
/// let tag = AcceptLanguage::parse("es-MX, en;q=0.5").lookup(&translations.tags());
/// let page = translations.page(tag).unwrap();
/// assert_eq!(page.language, "es");
/// assert!(page.html.contains("¡Hola Mundo!"));
/// # Ok::<(), kv_store::record::BrokenRecord>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translations {
    /// In the order of the file.
    pages: Vec<TranslatedPage>,
}

/// The page in one language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TranslatedPage {
    /// The language tag (RFC 5646), for `Content-Language`.
    pub language: String,
    /// The HTML.
    pub html: String,
}

impl Translations {
    /// Parses `hello-world.json` and makes a page of each entry. Entries whose language is not a
    /// valid tag are left out.
    ///
    /// # Errors
    /// [`BrokenRecord`] if the text is not a JSON array of translations. Serve
    /// [`TranslatedPage::english`] then.
    pub fn parse(json: &str) -> Result<Self, BrokenRecord> {
        let translations: Vec<TranslatedMessage<'_>> = record::parse_list(json)?;
        let valid = translations.iter().filter(|entry| is_language_tag(&entry.language_code));
        Ok(Self { pages: valid.map(|entry| TranslatedPage::new(&entry.language_code, &entry.message)).collect() })
    }

    /// Returns the language tags, in the order of the file.
    #[must_use]
    pub fn tags(&self) -> Vec<&str> {
        self.pages.iter().map(|page| page.language.as_str()).collect()
    }

    /// Returns the page with this tag; without a tag, the English one. `None` if the file has no
    /// such page: serve [`TranslatedPage::english`] then.
    #[must_use]
    pub fn page(&self, tag: Option<&str>) -> Option<&TranslatedPage> {
        let tag = tag.unwrap_or("en");
        self.pages.iter().find(|page| page.language.eq_ignore_ascii_case(tag))
    }
}

impl TranslatedPage {
    /// Returns the built-in English page, for when the translations are missing or broken, or have
    /// no page.
    #[must_use]
    pub fn english() -> Self {
        Self::new("en", "Hello World!")
    }

    fn new(language: &str, message: &str) -> Self {
        let direction = if is_right_to_left(language) { " dir=\"rtl\"" } else { "" };
        let message = html_escape::encode_text(message);
        let html = format!(
            "<!DOCTYPE html>\n<html lang=\"{language}\"{direction}>\n<head>\n<meta charset=\"utf-8\">\n\
             <title>Hello World translation</title>\n</head>\n<body>\n<h1>{message}</h1>\n</body>\n</html>\n"
        );
        Self { language: language.to_owned(), html }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"[
        {"language_code": "en", "message": "Hello World!"},
        {"language_code": "de", "message": "Hallo Welt!"},
        {"language_code": "ar", "message": "مرحبا بالعالم!"},
        {"language_code": "x-esc", "message": "<b>&\"\u0021</b>"},
        {"language_code": "bad\"tag", "message": "never"}
    ]"#;

    #[test]
    fn the_page_is_in_the_requested_language_or_english() {
        let translations = Translations::parse(FILE).unwrap();
        assert_eq!(translations.tags(), ["en", "de", "ar", "x-esc"]);
        for (tag, language, text) in [
            (Some("de"), "de", "<html lang=\"de\">"),
            (Some("de"), "de", "<h1>Hallo Welt!</h1>"),
            (Some("ar"), "ar", "<html lang=\"ar\" dir=\"rtl\">"),
            (None, "en", "<h1>Hello World!</h1>"),
        ] {
            let page = translations.page(tag).unwrap();
            assert_eq!(page.language, language, "{tag:?}");
            assert!(page.html.contains(text), "{tag:?}: {}", page.html);
        }
        assert_eq!(translations.page(Some("bad\"tag")), None);
    }

    #[test]
    fn the_message_is_escaped() {
        let translations = Translations::parse(FILE).unwrap();
        let page = translations.page(Some("x-esc")).unwrap();
        assert!(page.html.contains("<h1>&lt;b&gt;&amp;\"!&lt;/b&gt;</h1>"), "{}", page.html);
    }

    #[test]
    fn a_broken_file_is_an_error_and_an_empty_one_has_no_page() {
        for file in ["", "{}", "[{}]", "[{\"language_code\": 1, \"message\": 2}]"] {
            assert!(Translations::parse(file).is_err(), "{file}");
        }
        assert_eq!(Translations::parse("[]").unwrap().page(Some("de")), None);
    }
}
