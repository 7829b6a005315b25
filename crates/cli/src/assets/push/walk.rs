//! Finds the files of a folder that belong to a release.

#[cfg(test)]
mod tests;

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use ignore::{DirEntry, WalkBuilder};
use unicode_normalization::UnicodeNormalization;

use super::gitignore_pattern;

/// The file that lists what is left out, in the syntax of .gitignore (Workers static assets,
/// "Ignoring assets").
const IGNORE_FILE: &str = ".assetsignore";
/// Left out by default. A line `!name` in `.assetsignore` takes a name back.
const IGNORED_BY_DEFAULT: [&str; 3] = [".DS_Store", ".git", "node_modules"];
/// Never served: files with secrets, and those that configure the release.
const IGNORED_ALWAYS: [&str; 5] = [".dev.vars*", ".env*", "/.assetsignore", "/_headers", "/_redirects"];

/// A file to push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceFile {
    /// The path in the release: decoded, with a leading slash, in Normalization Form C
    /// ([`form_c`]).
    pub(super) path: String,
    /// The path on disk.
    pub(super) file: PathBuf,
    /// The length in bytes when the file was found.
    pub(super) length: u64,
}

/// Faults of single files, collected so that those of all files are reported at once.
type Faults = Arc<Mutex<Vec<String>>>;

/// Returns the files of a folder, sorted by path. Hidden files are included; links are followed,
/// but one that leads out of the folder is a fault.
///
/// # Errors
/// Sentences of the first kind that applies: each invalid line of `.assetsignore`; each file that
/// cannot be pushed; no file at all; each two files that would have the same path.
pub(super) fn walk(folder: &Path) -> Result<Vec<SourceFile>, Vec<String>> {
    let root = root(folder).map_err(|fault| vec![fault])?;
    let ignore_patterns = ignore_patterns(&root)?;
    let faults = Faults::default();
    let mut sources = Vec::new();
    for entry in entries(&root, ignore_patterns, &faults) {
        match entry.map_err(|error| walk_fault(&error)).and_then(|entry| source(&root, &entry)) {
            Ok(source) => sources.extend(source),
            Err(fault) => note(&faults, Some(fault)),
        }
    }
    let mut faults = std::mem::take(&mut *faults.lock().unwrap_or_else(PoisonError::into_inner));
    if !faults.is_empty() {
        faults.sort();
        return Err(faults);
    }
    if sources.is_empty() {
        return Err(vec![format!(
            "there is no file in {}; check the path and .assetsignore, a release without files would serve nothing",
            folder.display()
        )]);
    }
    sources.sort_by(|one, other| (&one.path, &one.file).cmp(&(&other.path, &other.file)));
    let same_path: Vec<String> = sources.windows(2).filter_map(same_path).collect();
    if same_path.is_empty() { Ok(sources) } else { Err(same_path) }
}

/// Returns a text in Normalization Form C (UAX #15), which links and typed URLs use. macOS may
/// store a file name in Form D, `u` and two dots for `ü`, and a request for `/über` would not
/// find it.
pub(super) fn form_c(text: &str) -> String {
    text.nfc().collect()
}

/// Returns the fault of two files that would have the same path.
fn same_path(pair: &[SourceFile]) -> Option<String> {
    let [one, other] = pair else { return None };
    (one.path == other.path).then(|| {
        let (one, other, path) = (one.file.display(), other.file.display(), &one.path);
        format!(
            "{one} and {other} differ only in how Unicode spells the same characters, and both would be {path}; rename one"
        )
    })
}

/// Returns the folder with all links resolved.
///
/// # Errors
/// A sentence that says what to do if it is not a readable folder.
pub(super) fn root(folder: &Path) -> Result<PathBuf, String> {
    let named = folder.display();
    let root = fs::canonicalize(folder).map_err(|error| match error.kind() {
        ErrorKind::NotFound if folder.is_relative() => {
            let from = std::env::current_dir().map(|from| format!(", which is relative to {}", from.display()));
            format!("{named}: there is no such folder; check the path{}", from.unwrap_or_default())
        }
        ErrorKind::NotFound => format!("{named}: there is no such folder; check the path"),
        _ => format!("{named}: {}", why(&error)),
    })?;
    if !root.is_dir() {
        return Err(format!("{named} is a file; give the folder that contains it"));
    }
    fs::read_dir(&root).map_err(|error| format!("{named}: {}", why(&error)))?;
    Ok(root)
}

/// Returns why something in the folder cannot be read, with what to do about it.
fn why(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::PermissionDenied => "permission denied; change its permissions (chmod -R u+rX)".to_owned(),
        ErrorKind::IsADirectory => "it is a folder, but must be a file; rename it".to_owned(),
        ErrorKind::InvalidData => "it is not UTF-8; save it as UTF-8".to_owned(),
        ErrorKind::NotADirectory => "a part of the path is a file; check the path".to_owned(),
        _ => error.to_string(),
    }
}

/// Returns where the walk could not go on, and why.
fn walk_fault(error: &ignore::Error) -> String {
    let mut within = error;
    let mut path = None;
    loop {
        match within {
            ignore::Error::WithPath { path: at, err } => (path, within) = (Some(at), err),
            ignore::Error::WithDepth { err, .. } => within = err,
            _ => break,
        }
    }
    match (path, within.io_error()) {
        (Some(path), Some(error)) if error.kind() == ErrorKind::PermissionDenied => {
            format!("{}: {}, or leave it out with .assetsignore", path.display(), why(error))
        }
        (Some(path), Some(error)) => format!("{}: {}", path.display(), why(error)),
        _ => error.to_string(),
    }
}

/// Reads a file that configures the release, if there is one.
///
/// # Errors
/// A sentence if the file exists but cannot be read.
pub(super) fn read_control_file(folder: &Path, name: &str) -> Result<Option<String>, String> {
    match fs::read_to_string(folder.join(name)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{name}: {}", why(&error))),
    }
}

/// Returns the patterns of what is left out. Later patterns override earlier ones, so nothing
/// takes back [`IGNORED_ALWAYS`].
fn ignore_patterns(root: &Path) -> Result<Gitignore, Vec<String>> {
    let ignore_file = read_control_file(root, IGNORE_FILE).map_err(|fault| vec![fault])?.unwrap_or_default();
    let ignore_file = ignore_file.strip_prefix('\u{feff}').unwrap_or(&ignore_file);
    let mut builder = GitignoreBuilder::new(root);
    let mut faults = Vec::new();
    let lines = ignore_file.lines().zip(1..).map(|(line, number)| (line, Some(number)));
    let built_in = |lines: &'static [&'static str]| lines.iter().map(|line| (*line, None));
    for (line, number) in built_in(&IGNORED_BY_DEFAULT).chain(lines).chain(built_in(&IGNORED_ALWAYS)) {
        let added = builder.add_line(None, &form_c(line)).map(drop).map_err(|error| error.to_string());
        if let (Err(error), number) = (added.and_then(|()| gitignore_pattern::check(line)), number.unwrap_or(0)) {
            faults.push(format!("{IGNORE_FILE} line {number}: {error}"));
        }
    }
    match builder.build() {
        Ok(ignore_patterns) if faults.is_empty() => Ok(ignore_patterns),
        Ok(_) => Err(faults),
        Err(error) => Err(vec![format!("{IGNORE_FILE}: {error}")]),
    }
}

/// Returns everything below a folder that is not left out, except folders.
fn entries(
    root: &Path,
    ignore_patterns: Gitignore,
    faults: &Faults,
) -> impl Iterator<Item = Result<DirEntry, ignore::Error>> {
    let (inside, noted) = (root.to_owned(), Arc::clone(faults));
    let is_folder = |entry: &DirEntry| entry.file_type().is_some_and(|kind| kind.is_dir());
    let is_pushed = move |entry: &DirEntry| {
        if entry.depth() == 0 {
            return true;
        }
        // A pattern matches the name in Form C, in whatever form the disk has it.
        let below = entry.path().strip_prefix(&inside).ok().and_then(Path::to_str).map(form_c);
        let path = below.map_or_else(|| entry.path().to_owned(), |below| inside.join(below));
        if ignore_patterns.matched(path, is_folder(entry)).is_ignore() {
            return false;
        }
        // Checked before the walk goes down: a link may lead to the root of the disk.
        let fault = name_fault(entry).or_else(|| link_fault(&inside, entry));
        let is_good = fault.is_none();
        note(&noted, fault);
        is_good
    };
    let walk = WalkBuilder::new(root).standard_filters(false).follow_links(true).filter_entry(is_pushed).build();
    walk.filter(move |entry| entry.as_ref().map_or(true, |entry| !is_folder(entry)))
}

fn note(faults: &Faults, fault: Option<String>) {
    faults.lock().unwrap_or_else(PoisonError::into_inner).extend(fault);
}

/// Returns the fault of a name that is not UTF-8: paths of URLs are text in UTF-8 (RFC 3986
/// §2.5).
fn name_fault(entry: &DirEntry) -> Option<String> {
    let is_text = entry.file_name().to_str().is_some();
    (!is_text).then(|| format!("{}: the name is not UTF-8; rename it", entry.path().display()))
}

fn link_fault(root: &Path, entry: &DirEntry) -> Option<String> {
    if !entry.path_is_symlink() {
        return None;
    }
    let target = fs::canonicalize(entry.path()).ok()?;
    let leads_out = !target.starts_with(root);
    leads_out.then(|| {
        let (link, target) = (entry.path().display(), target.display());
        format!("{link}: the link leads out of the folder, to {target}; copy the target into the folder")
    })
}

/// Returns the file of an entry, or `None` if its fault was noted already.
///
/// # Errors
/// Returns a sentence if the entry is not a file that can be pushed.
fn source(root: &Path, entry: &DirEntry) -> Result<Option<SourceFile>, String> {
    let fault = |problem: String| format!("{}: {problem}", entry.path().display());
    let metadata = entry.metadata().map_err(|error| fault(error.to_string()))?;
    if !metadata.is_file() {
        return Err(fault("it is neither a file nor a folder; leave it out with .assetsignore".to_owned()));
    }
    let below = entry.path().strip_prefix(root).map_err(|error| fault(error.to_string()))?;
    let mut path = String::new();
    for component in below.components() {
        let Component::Normal(name) = component else {
            return Err(fault("its path is not below the folder".to_owned()));
        };
        // A name that is not UTF-8 was noted already.
        let Some(name) = name.to_str() else { return Ok(None) };
        path.push('/');
        path.push_str(name);
    }
    let path = form_c(&path);
    // Checked with the functions that the Worker uses.
    if static_assets::decode(&static_assets::encode(&path)).ok().as_deref() != Some(path.as_str()) {
        return Err(fault("no URL can have this path; rename it, or leave it out with .assetsignore".to_owned()));
    }
    Ok(Some(SourceFile { path, file: entry.path().to_owned(), length: metadata.len() }))
}
