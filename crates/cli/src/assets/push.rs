//! `kv-edge assets push`: uploads a folder as a release and switches to it.
//!
//! ```text
//! walk             finds the files of the release, and reads _headers and _redirects
//! source_file      hashes each file, and encodes text that the current release has not encoded
//! spool            holds the encoded files until they are uploaded
//! release_plan     makes the manifest, and lists the values that KV must have before it
//! upload           puts the values, then the manifest, then the pointer
//! ```
//!
//! Visitors see nothing of a new release until the last write. Memory stays small whatever the
//! folder holds: files are read in pieces, encoded files wait on disk ([`spool`]), and the work is
//! spread over plain threads ([`parallel`]).

mod compress;
mod digest;
mod error;
mod gitignore_pattern;
mod languages;
mod parallel;
mod push_report;
mod release_plan;
mod source_file;
mod spool;
mod upload;
mod walk;

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use http_semantics::language::is_language_tag;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use serde::de::DeserializeOwned;
use serde_json::Value;
use static_assets::header_rules::HeaderRules;
use static_assets::html_handling::HtmlHandling;
use static_assets::manifest::{EncodedBody, NotFoundHandling};
use static_assets::media_type::is_compressible;
use static_assets::redirect_rules::RedirectRules;

use self::digest::RELEASE_SIZES;
pub(super) use self::error::PushError;
use self::push_report::PushReport;
use self::release_plan::{CurrentRelease, FileEncodings, ReleaseSettings};
use self::source_file::{HashedFile, SourceFileError};
use self::spool::Spool;
use self::upload::{BlobTotals, ReleaseUpload};
use self::walk::SourceFile;
use super::releases::{self, ReleaseError};
use super::{AssetsError, AssetsNamespaceArguments};
use crate::api::Namespace;
use crate::clock::now_ms;
use crate::number::whole;
use crate::progress::{Progress, Unit};

const EXAMPLES: &str = "\
These files are left out: those that .assetsignore names (in the syntax of .gitignore), .env* and .dev.vars*, and .git, node_modules
and .DS_Store unless .assetsignore takes them back with a line such as !node_modules. _headers and _redirects mean what they mean for
Workers static assets; about.de.html is the German translation of about.html.

Examples:
  kv-edge assets push dist
  kv-edge assets push dist --dry-run
  kv-edge assets push dist --local                  into the KV of a running `wrangler dev`
  kv-edge assets push dist --not-found single-page-application --immutable '/static/**'";

/// Uploads a folder as a release and switches to it
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct PushArguments {
    /// The folder whose files are served
    #[arg(value_name = "DIR")]
    folder: PathBuf,

    /// Whether URLs of HTML pages have .html, a trailing slash or neither, as in Workers static
    /// assets
    #[arg(long, value_name = "MODE", default_value = "auto-trailing-slash", value_parser = html_handling())]
    html_handling: HtmlHandling,

    /// What is served if there is no file
    #[arg(long, value_name = "MODE", default_value = "404-page", value_parser = not_found())]
    not_found: NotFoundHandling,

    /// Do not serve keys that are not part of a release, such as those that `wrangler kv key put`
    /// writes
    #[arg(long)]
    no_plain_keys: bool,

    /// Files that browsers may keep forever, besides those with a content hash in their name: a
    /// pattern as in .gitignore
    #[arg(long, value_name = "GLOB", value_parser = glob)]
    immutable: Vec<String>,

    /// The language of pages that have no `<html lang="…">`
    #[arg(long, value_name = "TAG", value_parser = language)]
    language: Option<String>,

    /// How many previous releases still serve files that only they have
    #[arg(long, value_name = "N", default_value_t = 3, allow_negative_numbers = true, value_parser = whole(0_u8..=20))]
    previous: u8,

    #[command(flatten)]
    namespace: AssetsNamespaceArguments,
}

fn html_handling() -> impl TypedValueParser<Value = HtmlHandling> {
    named(&["auto-trailing-slash", "force-trailing-slash", "drop-trailing-slash", "none"])
}

fn not_found() -> impl TypedValueParser<Value = NotFoundHandling> {
    named(&["404-page", "single-page-application", "none"])
}

/// Returns a parser of enum values by the names that they have in the manifest.
fn named<T: DeserializeOwned + Clone + Send + Sync + 'static>(
    names: &'static [&'static str],
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(names).try_map(|name| serde_json::from_value(Value::String(name)))
}

/// Parses one pattern; refuses one that can match no file.
fn glob(glob: &str) -> Result<String, String> {
    let names = GitignoreBuilder::new("").add_line(None, glob).map_err(|error| error.to_string())?.build();
    if names.is_ok_and(|names| names.is_empty()) {
        return Err("no file can match this pattern; write one such as '/static/**' or '*.woff2'".to_owned());
    }
    gitignore_pattern::check(glob).map(|()| glob.to_owned())
}

fn language(tag: &str) -> Result<String, String> {
    is_language_tag(tag)
        .then(|| tag.to_owned())
        .ok_or_else(|| "it is not a language tag such as en or pt-BR".to_owned())
}

/// The files of the folder, with their hashes and languages.
struct HashedFolder {
    sources: Vec<SourceFile>,
    hashed: Vec<HashedFile>,
}

impl PushArguments {
    pub(super) fn namespace(&self) -> &AssetsNamespaceArguments {
        &self.namespace
    }

    pub(super) fn run(self, out: &mut impl Write) -> Result<(), AssetsError> {
        let started_ms = now_ms();
        let progress = Progress::new(self.namespace.json);
        walk::root(&self.folder).map_err(AssetsError::NoFolder)?;
        let (sources, settings) = self.read_folder().map_err(AssetsError::Folder)?;
        let namespace = self.namespace.open(&progress)?;
        let report = self.push(sources, &settings, &namespace, &progress)?;
        #[allow(clippy::cast_precision_loss)] // Nobody waits for 2^53 milliseconds.
        let seconds = (now_ms() - started_ms) as f64 / 1000.0;
        PushReport { calls: namespace.calls(), seconds, ..report }.write(self.namespace.json, out)?;
        Ok(())
    }

    /// Returns the files and the settings for all of them, or all faults of the folder.
    fn read_folder(&self) -> Result<(Vec<SourceFile>, ReleaseSettings), Vec<String>> {
        let sources = walk::walk(&self.folder);
        let redirects = read_rules(&self.folder, "_redirects", RedirectRules::parse);
        let headers = read_rules(&self.folder, "_headers", HeaderRules::parse);
        let immutable = immutable_patterns(&self.immutable).map_err(|fault| vec![fault]);
        match (sources, redirects, headers, immutable) {
            (Ok(sources), Ok(redirects), Ok(headers), Ok(immutable)) => {
                let settings = ReleaseSettings {
                    html_handling: self.html_handling,
                    not_found: self.not_found,
                    unversioned_keys: !self.no_plain_keys,
                    redirects,
                    headers,
                    immutable,
                    language: self.language.clone(),
                };
                Ok((sources, settings))
            }
            (sources, redirects, headers, immutable) => {
                let faults = [sources.err(), redirects.err(), headers.err(), immutable.err()];
                Err(faults.into_iter().flatten().flatten().collect())
            }
        }
    }

    fn push(
        &self,
        sources: Vec<SourceFile>,
        settings: &ReleaseSettings,
        namespace: &Namespace,
        progress: &Progress,
    ) -> Result<PushReport, PushError> {
        let folder = hash_files(sources, progress)?;
        let (current, mut warnings) = current_release(namespace)?;
        let before = current.as_ref().and_then(|current| current.manifest.as_ref());
        let in_kv = upload::blobs_in_kv(namespace)?;
        let spool = Spool::new(RELEASE_SIZES).map_err(PushError::NoSpool)?;
        let encodings = encode_files(&folder, &release_plan::reusable_encodings(before, &in_kv), &spool, progress)?;

        let now_ms = now_ms();
        let mut manifest =
            release_plan::manifest(settings, &folder.sources, &folder.hashed, &encodings, current.as_ref(), now_ms)?;
        let content = release_plan::content_hash(&manifest);
        let unchanged = before.filter(|before| release_plan::content_hash(before) == content);
        manifest.id = unchanged.map_or_else(|| release_plan::id(now_ms, &content), |unchanged| unchanged.id.clone());
        release_plan::check_length(&manifest, release_plan::json(&manifest).len())?;

        let blobs = release_plan::blobs(&manifest, &encodings);
        let missing = || blobs.iter().filter(|blob| !in_kv.contains(blob.hash.as_ref()));
        let upload = ReleaseUpload { namespace, sources: &folder.sources, spool: &spool, progress, now_ms };
        let uploaded = match unchanged {
            _ if self.namespace.dry_run => BlobTotals::of(missing()),
            Some(_) if missing().next().is_none() => BlobTotals::default(),
            Some(_) => upload.restore(&manifest.id, &blobs, &in_kv)?,
            None => upload.release(&manifest, &blobs, &in_kv, self.previous.into())?,
        };
        if unchanged.is_some() && !self.namespace.dry_run {
            let other = upload.switch_back(&manifest.id, self.previous.into())?;
            warnings.extend(other.map(|other| format!("{other} was switched to during this push; switched back")));
        }
        let all = BlobTotals::of(&blobs);
        let skipped = BlobTotals { values: all.values - uploaded.values, bytes: all.bytes - uploaded.bytes };
        Ok(PushReport {
            before: current.as_ref().map(|current| current.pointer.current.clone()),
            dry_run: self.namespace.dry_run,
            unchanged: unchanged.is_some(),
            files: manifest.files.len(),
            bytes: folder.sources.iter().map(|source| source.length).sum(),
            uploaded: uploaded.into(),
            skipped: skipped.into(),
            encodings: push_report::encoding_savings(&manifest),
            upload: self.namespace.dry_run.then(|| push_report::planned_uploads(&manifest, missing())),
            warnings,
            release: manifest.id,
            ..PushReport::default()
        })
    }
}

/// Reads a file of rules, if there is one. Faults name the file, and the line if it was read.
fn read_rules<T: Default, E: ToString>(
    folder: &Path,
    name: &str,
    parse: impl Fn(&str) -> Result<T, Vec<E>>,
) -> Result<T, Vec<String>> {
    let Some(text) = walk::read_control_file(folder, name).map_err(|fault| vec![fault])? else {
        return Ok(T::default());
    };
    parse(&walk::form_c(&text))
        .map_err(|errors| errors.iter().map(|error| format!("{name} {}", error.to_string())).collect())
}

/// Returns the patterns of `--immutable`, relative to the folder.
fn immutable_patterns(globs: &[String]) -> Result<Gitignore, String> {
    let mut builder = GitignoreBuilder::new("");
    for glob in globs {
        builder.add_line(None, &walk::form_c(glob)).map_err(|error| format!("--immutable: {error}"))?;
    }
    builder.build().map_err(|error| format!("--immutable: {error}"))
}

/// Returns the release that is served, with warnings if parts of it cannot be read.
fn current_release(namespace: &Namespace) -> Result<(Option<CurrentRelease>, Vec<String>), ReleaseError> {
    let pointer = match releases::pointer(namespace) {
        Err(ReleaseError::Pointer(fault)) => return Ok((None, vec![format!("{fault}; it is replaced")])),
        read => read?,
    };
    let Some(pointer) = pointer else { return Ok((None, Vec::new())) };
    let found = releases::manifest(namespace, &pointer.current)
        .and_then(|manifest| manifest.ok_or_else(|| ReleaseError::NotFound(pointer.current.clone())));
    let (manifest, warnings) = match found {
        Ok(manifest) => (Some(manifest), Vec::new()),
        Err(fault @ (ReleaseError::Manifest { .. } | ReleaseError::NotFound(_))) => {
            (None, vec![format!("{fault}; nothing is reused from it")])
        }
        Err(error) => return Err(error),
    };
    Ok((Some(CurrentRelease { pointer, manifest }), warnings))
}

fn hash_files(sources: Vec<SourceFile>, progress: &Progress) -> Result<HashedFolder, SourceFileError> {
    let bytes = sources.iter().map(|source| source.length).sum();
    let phase = progress.phase("hashing", bytes, Unit::Bytes);
    let hashed = parallel::map(&sources, |source| {
        let hashed = source_file::hash_file(source);
        phase.add(source.length);
        hashed
    })?;
    phase.done(&format!("{} files", sources.len()));
    Ok(HashedFolder { sources, hashed })
}

/// Encodes compressible files. Each content is encoded once, whatever paths have it, and not at
/// all if the encodings of the current release can be reused.
fn encode_files(
    folder: &HashedFolder,
    reusable: &HashMap<&str, &[EncodedBody]>,
    spool: &Spool,
    progress: &Progress,
) -> Result<HashMap<Box<str>, FileEncodings>, SourceFileError> {
    let mut seen = HashSet::new();
    let files = folder.sources.iter().zip(&folder.hashed);
    let files = files.filter(|(source, hashed)| {
        is_compressible(&release_plan::media_type_of(&source.path)) && seen.insert(hashed.body.hash.as_ref())
    });
    let (old, mut new): (Vec<_>, Vec<_>) =
        files.partition(|(_, hashed)| reusable.contains_key(hashed.body.hash.as_ref()));
    // Longest first, so that no core waits at the end for a long file that was started late.
    new.sort_by_key(|(source, _)| std::cmp::Reverse(source.length));
    let bytes = new.iter().map(|(source, _)| source.length).sum();
    let phase = progress.phase("compressing", bytes, Unit::Bytes);
    let encoded_files = parallel::map(&new, |(source, hashed)| {
        let encoded_files = source_file::encode(source, &hashed.body, spool);
        phase.add(source.length);
        encoded_files
    })?;
    phase.done(&format!("{} files, {} reused", new.len(), old.len()));
    let new = new
        .into_iter()
        .zip(encoded_files)
        .map(|((_, hashed), new)| (hashed.body.hash.clone(), FileEncodings::New(new)));
    let old = old.into_iter().filter_map(|(_, hashed)| {
        let reusable = reusable.get(hashed.body.hash.as_ref())?;
        Some((hashed.body.hash.clone(), FileEncodings::InKv(reusable.to_vec())))
    });
    Ok(new.chain(old).collect())
}
