//! Under which paths HTML is served: `html_handling` of Workers static assets (Cloudflare's documentation, "HTML handling").
//!
//! The documentation's table for `auto-trailing-slash` has `/folder.html` go to `/folder`, which goes to `/folder/`. Here, as in
//! what Cloudflare runs, the first redirect names the last path.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::single_slashes;

/// How paths and HTML files go together (`html_handling` of Workers static assets).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HtmlHandling {
    /// `/about` for `about.html`, `/docs/` for `docs/index.html`.
    #[default]
    AutoTrailingSlash,
    /// `/about/` and `/docs/`.
    ForceTrailingSlash,
    /// `/about` and `/docs`; the root stays `/`.
    DropTrailingSlash,
    /// The files' own names: `/` is not `index.html` then.
    None,
}

/// What a path comes to. Both paths are decoded: one for `Location` is percent-encoded first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// The file at this path.
    File(String),
    /// 307 to this path, where the file is served.
    Redirect(String),
    /// There is no file.
    Nothing,
}

/// More folders than a site nests. A deeper path gets the page of its outer folders, so that a path of nothing but slashes is
/// no work.
const FOLDERS_MAX: usize = 64;

impl HtmlHandling {
    /// Finds the file of a decoded path, which starts with a slash. `exists` says whether there is a file.
    ///
    /// A redirect leads to a path that is answered with a file, never to another redirect. Slashes in a row count as one, with a
    /// redirect, so that no `Location` starts with `//`, which would name a host (RFC 3986 §4.2).
    #[must_use]
    pub fn resolve(self, path: &str, exists: impl Fn(&str) -> bool) -> Resolved {
        match single_slashes(path) {
            Cow::Borrowed(path) => self.resolve_clean(path, &exists),
            Cow::Owned(clean) => match self.resolve_clean(&clean, &exists) {
                Resolved::File(_) => Resolved::Redirect(clean),
                other => other,
            },
        }
    }

    /// The path under which a file is served: what [`HtmlHandling::resolve`] redirects to, as long as no other file takes it.
    #[must_use]
    pub fn canonical(self, file: &str) -> String {
        if self == Self::None {
            return file.to_owned();
        }
        if let Some(folder) = file.strip_suffix("/index.html") {
            return match self {
                Self::DropTrailingSlash if !folder.is_empty() => folder.to_owned(),
                _ => format!("{folder}/"),
            };
        }
        match file.strip_suffix(".html") {
            Some(page) if is_page(page) && self == Self::ForceTrailingSlash => format!("{page}/"),
            Some(page) if is_page(page) => page.to_owned(),
            _ => file.to_owned(),
        }
    }

    fn resolve_clean(self, path: &str, exists: &impl Fn(&str) -> bool) -> Resolved {
        let shown_elsewhere = |file: &str| {
            let canonical = self.canonical(file);
            let is_shown = canonical != path && self.served_at(&canonical, exists).is_some_and(|served| served == file);
            is_shown.then_some(canonical)
        };
        if let Some(file) = self.served_at(path, exists) {
            return shown_elsewhere(&file).map_or(Resolved::File(file), Resolved::Redirect);
        }
        if self == Self::None {
            return Resolved::Nothing;
        }
        let found = other_names(path).find_map(|file| if exists(&file) { shown_elsewhere(&file) } else { None });
        found.map_or(Resolved::Nothing, Resolved::Redirect)
    }

    /// The file that this very path shows. A file of that name comes before any HTML that stands for it.
    fn served_at(self, path: &str, exists: &impl Fn(&str) -> bool) -> Option<String> {
        if exists(path) {
            return Some(path.to_owned());
        }
        let page = |page: &str| is_page(page).then(|| format!("{page}.html")).filter(|file| exists(file));
        let index = |folder: &str| Some(format!("{folder}/index.html")).filter(|file| exists(file));
        match (self, path.strip_suffix('/')) {
            (Self::ForceTrailingSlash, Some(folder)) => index(folder).or_else(|| page(folder)),
            (Self::AutoTrailingSlash, Some(folder)) | (Self::DropTrailingSlash, Some(folder @ "")) => index(folder),
            (Self::AutoTrailingSlash, None) => page(path),
            (Self::DropTrailingSlash, None) => page(path).or_else(|| index(path)),
            (Self::None, _) | (Self::ForceTrailingSlash, None) | (Self::DropTrailingSlash, Some(_)) => None,
        }
    }
}

/// The pages that may answer where there is no file, nearest first: `/a/404.html` and `/404.html` for `/a/b`.
pub fn not_found_pages(path: &str) -> impl Iterator<Item = String> {
    let folders: Vec<&str> = path.match_indices('/').take(FOLDERS_MAX).filter_map(|(end, _)| path.get(..end)).collect();
    folders.into_iter().rev().map(|folder| format!("{folder}/404.html"))
}

/// The HTML files that a path may mean besides those it shows, the likelier first: without its ending, then as it stands. A path
/// that ends as a folder means that first, any other a page.
fn other_names(path: &str) -> impl Iterator<Item = String> {
    let folder = ["/", "/index", "/index.html"].iter().find_map(|ending| path.strip_suffix(ending));
    let page = path.strip_suffix(".html").filter(|_| folder.is_none());
    let itself = Some(path).filter(|path| !path.ends_with('/'));
    let of_folder = folder.map(|folder| [format!("{folder}/index.html"), format!("{folder}.html")]);
    let of_page = |page: &str| [format!("{page}.html"), format!("{page}/index.html")];
    [of_folder, page.map(of_page), itself.map(of_page)].into_iter().flatten().flatten()
}

/// True where `<page>.html` is shown as a page of its own: `index.html` is its folder's, and `.html` is a hidden file.
fn is_page(page: &str) -> bool {
    !matches!(page.rsplit('/').next(), None | Some("" | "index" | "." | ".."))
}
