//! The languages of pages: which language a page declares, and which pages are translations of
//! it.

#[cfg(test)]
mod tests;

use http_semantics::language::is_language_tag;
use static_assets::manifest::{File, Translation};
use static_assets::media_type::is_html;

/// How many bytes of a page are searched for its language. HTML puts the encoding of a page into
/// the first 1,024 ("Specifying the document's character encoding"); `<html lang>` usually comes
/// soon after that.
pub(super) const HEAD_BYTES: usize = 4096;

const HTML: &str = ".html";

/// Pages that have a translation into their own language, with a sentence for each: it would be
/// undefined which of the two a visitor gets.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub(in crate::assets) struct DuplicateLanguage(Vec<String>);

/// Sets the language and the translations of each page. `declared` has the languages that the
/// pages declare, in the order of the files; `default_language` is the language of pages that
/// declare none. A translation has the language of its file name, whatever it declares. The files
/// must be sorted by path.
///
/// # Errors
/// [`DuplicateLanguage`]
pub(super) fn describe(
    files: &mut [File],
    declared: &[Option<String>],
    default_language: Option<&str>,
) -> Result<(), DuplicateLanguage> {
    for (file, declared) in files.iter_mut().zip(declared) {
        if is_html(&file.media_type) {
            file.language = declared.as_deref().or(default_language).map(Into::into);
        }
    }
    let found: Vec<(usize, usize, Box<str>)> = files
        .iter()
        .enumerate()
        .filter_map(|(at, file)| {
            let (page, tag) = translation_of(&file.path)?;
            let page = files.binary_search_by(|file| file.path.as_ref().cmp(&page)).ok()?;
            Some((page, at, tag.into()))
        })
        .collect();
    for (page, at, tag) in found {
        let Some(translation) = files.get_mut(at) else { continue };
        // The file name decides: a page made from a template may still declare the language of
        // the template.
        translation.language = Some(tag.clone());
        let path = translation.path.clone();
        if let Some(page) = files.get_mut(page) {
            let is_new = page.translations.iter().all(|other| !other.language.eq_ignore_ascii_case(&tag));
            // Of `about.de.html` and `about.DE.html`, the first one in the order of paths counts.
            if is_new {
                page.translations.push(Translation { language: tag, path });
            }
        }
    }
    let faults: Vec<String> = files.iter().filter_map(translation_fault).collect();
    if !faults.is_empty() {
        return Err(DuplicateLanguage(faults));
    }
    for file in files {
        file.translations.sort_unstable_by(|one, other| one.language.cmp(&other.language));
    }
    Ok(())
}

/// Returns the fault of a page that has a translation into its own language.
fn translation_fault(page: &File) -> Option<String> {
    let language = page.language.as_deref()?;
    let other = page.translations.iter().find(|other| other.language.eq_ignore_ascii_case(language))?;
    let (page, other) = (&page.path, &other.path);
    Some(format!(
        "{page} is in {language} (<html lang> or --language), and so is {other} by its file name; leave one of \
         them out (.assetsignore), or change the language of {page}"
    ))
}

/// Returns the page that a path would be a translation of, and its language: `/about.html` and
/// `de` for `/about.de.html`.
fn translation_of(path: &str) -> Option<(String, &str)> {
    let (stem, tag) = path.strip_suffix(HTML)?.rsplit_once('.')?;
    // Languages have two or three letters (RFC 5646 §2.2.1). `about.min.html` is taken for
    // Minangkabau if `about.html` exists; .assetsignore can leave it out.
    let primary = tag.split('-').next()?;
    let is_language = (2..=3).contains(&primary.len()) && primary.bytes().all(|byte| byte.is_ascii_alphabetic());
    let has_name = stem.rsplit('/').next().is_some_and(|name| !name.is_empty());
    (has_name && is_language && is_language_tag(tag)).then(|| (format!("{stem}{HTML}"), tag))
}

/// Returns the language that a page declares with `<html lang="…">`, if that is within its
/// first [`HEAD_BYTES`].
pub(super) fn declared_language(head: &[u8]) -> Option<String> {
    // Markup is ASCII: replaced bytes can stand neither in the name of a tag nor in a language.
    let head = String::from_utf8_lossy(head.get(..HEAD_BYTES).unwrap_or(head));
    let mut rest = head.as_ref();
    loop {
        let (_, tag) = rest.split_once('<')?;
        if let Some(comment) = tag.strip_prefix("!--") {
            // Includes `<!--[if IE]><html lang="…"><![endif]-->`, which no current browser reads.
            (_, rest) = comment.split_once("-->")?;
            continue;
        }
        let is_html = tag.get(..4).is_some_and(|name| name.eq_ignore_ascii_case("html"));
        match tag.get(4..) {
            Some(attributes) if is_html && attributes.starts_with(|next: char| next.is_ascii_whitespace()) => {
                return attribute(attributes, "lang").filter(|tag| is_language_tag(tag)).map(str::to_owned);
            }
            _ => rest = tag,
        }
    }
}

/// Returns the value of an attribute; `tag` is the rest of a tag after its name (HTML,
/// "Attributes").
fn attribute<'t>(tag: &'t str, wanted: &str) -> Option<&'t str> {
    let is_space = |next: char| next.is_ascii_whitespace();
    let mut rest = tag;
    loop {
        rest = rest.trim_start_matches(|next| is_space(next) || next == '/');
        let end = rest.find(|next| is_space(next) || matches!(next, '=' | '>' | '/'))?;
        let (name, after) = rest.split_at(end);
        let Some(value) = after.trim_start_matches(is_space).strip_prefix('=') else {
            // An attribute without a value, or the end of the tag.
            if name.is_empty() {
                return None;
            }
            rest = after;
            continue;
        };
        let value = value.trim_start_matches(is_space);
        let (value, after) = match value.chars().next()? {
            quote @ ('"' | '\'') => value.split_at(quote.len_utf8()).1.split_once(quote)?,
            _ => value.split_at(value.find(|next| is_space(next) || next == '>')?),
        };
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value.trim());
        }
        rest = after;
    }
}
