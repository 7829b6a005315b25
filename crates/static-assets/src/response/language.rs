//! Selects the translation of a page, and links it to the others.

use super::{AssetRequest, FieldLines, ServedRelease};
use crate::encode;
use crate::manifest::File;
use http_semantics::fields::Fields;
use http_semantics::language::{self, NegotiatedLanguage};

/// The file that was selected among a page and its translations.
pub(super) struct SelectedFile<'m> {
    pub(super) file: &'m File,
    /// The language tag of a translation; `None` for the page itself.
    pub(super) tag: Option<&'m str>,
    /// True if the selection depends on header fields of the request.
    pub(super) varies: bool,
}

/// Selects among a page and its translations; the page itself if no translation fits.
pub(super) fn select<'m, F: Fields>(
    release: ServedRelease<'m>,
    file: &'m File,
    request: &AssetRequest<'_, F>,
) -> SelectedFile<'m> {
    if file.translations.is_empty() {
        return SelectedFile { file, tag: None, varies: false };
    }
    // The page itself comes first, so that `*` selects it. If its language is unknown, its tag
    // is empty and no other range matches it.
    let tags: Vec<&str> = std::iter::once(file.language.as_deref().unwrap_or_default())
        .chain(file.translations.iter().map(|translation| translation.language.as_ref()))
        .collect();
    let NegotiatedLanguage { tag, varies } = language::negotiate(&tags, request.target, request.fields);
    let translation = tag.and_then(|tag| {
        let translation = file.translations.iter().find(|translation| *translation.language == *tag)?;
        Some((release.manifest.file(&translation.path)?, translation.language.as_ref()))
    });
    match translation {
        Some((file, tag)) => SelectedFile { file, tag: Some(tag), varies },
        None => SelectedFile { file, tag: None, varies },
    }
}

/// Adds `Content-Language` (RFC 9110 §8.5) if the language is known, and two fields for a page
/// with translations: `Link` has its address in each language (RFC 8288; HTML, "hreflang").
/// `Content-Location` (RFC 9110 §8.7) has the address of the selected file, if that has one of its
/// own; it is absent if the URL alone selected the page itself.
pub(super) fn describe<'m>(
    release: ServedRelease<'m>,
    page: &File,
    selected: &SelectedFile<'m>,
    lines: &mut FieldLines<'m>,
) {
    if let Some(language) = selected.file.language.as_deref() {
        lines.push(("content-language".into(), language.into()));
    }
    // A translation that was requested by its own path has the links of its page.
    let page = match selected.file.language.as_deref() {
        Some(tag) if page.translations.is_empty() => page_of(release, &page.path, tag),
        _ => Some(page),
    };
    let Some(page) = page.filter(|page| !page.translations.is_empty()) else { return };
    let address = |path: &str| encode(&release.manifest.address(path)).into_owned();
    let plain = address(&page.path);
    let of_plain = page.language.as_deref().map(|language| (language, format!("{plain}?lang={language}")));
    if selected.varies || selected.tag.is_some() {
        let location = match (selected.tag, &of_plain) {
            (Some(_), _) => Some(address(&selected.file.path)),
            (None, Some((_, location))) => Some(location.clone()),
            (None, None) => None,
        };
        lines.extend(location.map(|location| ("content-location".into(), location.into())));
    }
    let mut alternates = String::new();
    let mut link = |address: &str, tag: &str| {
        let separator = if alternates.is_empty() { "" } else { ", " };
        alternates.extend([separator, "<", address, ">; rel=\"alternate\"; hreflang=\"", tag, "\""]);
    };
    for translation in &page.translations {
        link(&address(&translation.path), &translation.language);
    }
    if let Some((language, location)) = &of_plain {
        link(location, language);
    }
    link(&plain, "x-default");
    lines.push(("link".into(), alternates.into()));
}

/// Returns the page that a file is a translation of: `/about.html` for `/about.de.html`.
fn page_of<'m>(release: ServedRelease<'m>, path: &str, tag: &str) -> Option<&'m File> {
    let (stem, extension) = path.rsplit_once('.')?;
    let stem = stem.get(..stem.len().checked_sub(tag.len())?)?.strip_suffix('.')?;
    let page = release.manifest.file(&format!("{stem}.{extension}"))?;
    page.translations.iter().any(|translation| *translation.path == *path).then_some(page)
}
