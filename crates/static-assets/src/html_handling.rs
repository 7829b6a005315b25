//! The paths under which HTML files are shown: `html_handling` of Workers static assets
//! (Cloudflare documentation, "HTML handling").
//!
//! In the documentation's table for `auto-trailing-slash`, `/folder.html` redirects to
//! `/folder`, which redirects to `/folder/`. Here, as in what Cloudflare runs, `/folder.html`
//! redirects to `/folder/` at once.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::collapse_slashes;

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

/// What a path means. The paths are decoded: percent-encode one for `Location`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathResolution {
    /// The file at this path.
    File(String),
    /// A redirect (307) to this path, which shows the file.
    Redirect(String),
    /// There is no file.
    NotFound,
}

/// The number of folders in which a `404.html` is looked for, counted from the root. A bound, so
/// that a path of nothing but slashes costs little.
const FOLDERS_MAX: usize = 64;

impl HtmlHandling {
    /// Returns what a decoded path means. It starts with a slash. `exists` returns true if there
    /// is a file at a path.
    ///
    /// A redirect leads to a path that shows a file, never to another redirect. A path with runs
    /// of slashes means what the path with single slashes means, and redirects to it if it shows a
    /// file. So no `Location` starts with `//`, which would name a host (RFC 3986 §4.2).
    ///
    /// # Examples
    ///
    /// ```
    /// use static_assets::html_handling::{HtmlHandling, PathResolution};
    ///
    /// let exists = |path: &str| path == "/about.html";
    /// let handling = HtmlHandling::AutoTrailingSlash;
    /// let page = PathResolution::File("/about.html".into());
    /// assert_eq!(handling.resolve("/about", exists), page);
    /// let redirect = PathResolution::Redirect("/about".into());
    /// assert_eq!(handling.resolve("/about.html", exists), redirect);
    /// ```
    #[must_use]
    pub fn resolve(self, path: &str, exists: impl Fn(&str) -> bool) -> PathResolution {
        match collapse_slashes(path) {
            Cow::Borrowed(path) => self.resolve_clean(path, &exists),
            Cow::Owned(clean) => match self.resolve_clean(&clean, &exists) {
                PathResolution::File(_) => PathResolution::Redirect(clean),
                other => other,
            },
        }
    }

    /// Returns the path under which a file is shown. If another file has that path, the path shows
    /// that one.
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

    fn resolve_clean(self, path: &str, exists: &impl Fn(&str) -> bool) -> PathResolution {
        let shown_elsewhere = |file: &str| {
            let canonical = self.canonical(file);
            let is_shown = canonical != path && self.served_at(&canonical, exists).is_some_and(|served| served == file);
            is_shown.then_some(canonical)
        };
        if let Some(file) = self.served_at(path, exists) {
            return shown_elsewhere(&file).map_or(PathResolution::File(file), PathResolution::Redirect);
        }
        if self == Self::None {
            return PathResolution::NotFound;
        }
        let found = other_names(path).find_map(|file| if exists(&file) { shown_elsewhere(&file) } else { None });
        found.map_or(PathResolution::NotFound, PathResolution::Redirect)
    }

    /// Returns the file of this name, or else the HTML file that this path shows.
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

/// Returns the pages that may respond if there is no file, the nearest first: `/a/404.html` and
/// `/404.html` for `/a/b`. They are looked for in at most 64 folders, counted from the root.
pub fn not_found_pages(path: &str) -> impl Iterator<Item = String> {
    let folders: Vec<&str> = path.match_indices('/').take(FOLDERS_MAX).map(|(end, _)| path.split_at(end).0).collect();
    folders.into_iter().rev().map(|folder| format!("{folder}/404.html"))
}

/// Returns the HTML files that a path may mean if it shows none, the likelier first. For `/a/`,
/// `/a/index` and `/a/index.html` these are `/a/index.html` and `/a.html`; for `/a.html` they are
/// `/a.html` and `/a/index.html`. Then come those of the path as it is, unless it ends in `/`:
/// with `.html` added, then with `/index.html`.
fn other_names(path: &str) -> impl Iterator<Item = String> {
    let folder = ["/", "/index", "/index.html"].iter().find_map(|ending| path.strip_suffix(ending));
    let page = path.strip_suffix(".html").filter(|_| folder.is_none());
    let itself = Some(path).filter(|path| !path.ends_with('/'));
    let of_folder = folder.map(|folder| [format!("{folder}/index.html"), format!("{folder}.html")]);
    let of_page = |page: &str| [format!("{page}.html"), format!("{page}/index.html")];
    [of_folder, page.map(of_page), itself.map(of_page)].into_iter().flatten().flatten()
}

/// Returns true if `<page>.html` is shown as a page of its own. `index.html` belongs to its
/// folder, `.html` is a hidden file, and the paths of `..html` and `...html` would be dot
/// segments.
fn is_page(page: &str) -> bool {
    !matches!(page.rsplit('/').next(), None | Some("" | "index" | "." | ".."))
}
