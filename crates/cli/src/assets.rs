//! `kv-edge assets`: releases of static files in the `assets` namespace.
//!
//! A release is a folder of files. `push` uploads the bytes as values under their hash (blobs),
//! then the manifest, which lists the files, and last the pointer, which names the release that is
//! served. `list` shows the releases; of these records, `rollback` writes only the pointer; `gc`
//! deletes the manifests of old releases, and old blobs that no kept release needs. [`lease`]
//! keeps `gc` from running beside a push or a rollback, unless it is forced. `static-assets`
//! describes these records and reads them in the Worker.

mod gc;
mod lease;
mod list;
mod push;
mod releases;
mod rollback;

use std::io::{self, Write};

use clap::Subcommand;
use kv_store::limits::KeyError;
use serde_json::json;

use self::gc::GcError;
use self::lease::LeaseConflict;
use self::push::PushError;
use self::releases::ReleaseError;
use self::rollback::NoRelease;
use crate::ExitStatus;
use crate::api::{ApiError, DefaultNamespace, NamespaceArguments, OpenError};
use crate::progress::print_line;
use crate::validation_report::{EQUAL_LINES_MAX, more};

const EXAMPLES: &str = "\
Examples:
  kv-edge assets push static --local               into the KV of `wrangler dev`
  kv-edge assets push dist                         into Cloudflare's, with CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_API_TOKEN
  kv-edge assets list
  kv-edge assets rollback
  kv-edge assets gc --keep 3 --dry-run

Exit code: 0 if the command succeeded, 1 if it failed, 2 for a mistake in the command line, or a folder that cannot be read.";

/// Uploads folders of files as releases and switches between them (namespace `assets`)
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct AssetsArguments {
    #[command(subcommand)]
    command: AssetsCommand,
}

#[derive(Debug, Subcommand)]
enum AssetsCommand {
    Push(push::PushArguments),
    List(list::ListArguments),
    Rollback(rollback::RollbackArguments),
    Gc(gc::GcArguments),
}

/// The arguments that all commands of the group take.
type AssetsNamespaceArguments = NamespaceArguments<AssetsNamespace>;

/// The namespace of static files.
#[derive(Debug)]
struct AssetsNamespace;

impl DefaultNamespace for AssetsNamespace {
    const TITLE: Option<&str> = Some("kv-edge-assets");
    const LOCAL_TITLE: Option<&str> = Some("assets");
    const HELP: &str =
        "The namespace, by ID or title [default: kv-edge-assets, which `npm run deploy` creates; assets with --local]";
}

/// Why a command fails, as a sentence.
#[derive(Debug, thiserror::Error)]
enum AssetsError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    LeaseConflict(#[from] LeaseConflict),
    #[error(transparent)]
    Release(#[from] ReleaseError),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Push(#[from] PushError),
    #[error(transparent)]
    NoRelease(#[from] NoRelease),
    #[error(transparent)]
    Gc(#[from] GcError),
    /// The folder cannot be read.
    #[error("{}", folder_faults(std::slice::from_ref(.0)))]
    NoFolder(String),
    /// Faults of the folder, one sentence each.
    #[error("{}", folder_faults(.0))]
    Folder(Vec<String>),
    /// The output cannot be written.
    #[error(transparent)]
    Output(#[from] io::Error),
}

/// Returns one fault as a sentence, or several as a list of the first [`EQUAL_LINES_MAX`].
fn folder_faults(faults: &[String]) -> String {
    if let [fault] = faults {
        return format!("{fault}\nnothing was uploaded");
    }
    let shown = faults.get(..EQUAL_LINES_MAX).unwrap_or(faults);
    let more = more(faults.len() - shown.len(), "fault").map(|more| format!("\n  {more}"));
    let (count, shown, more) = (faults.len(), shown.join("\n  "), more.unwrap_or_default());
    format!("the folder has {count} faults:\n  {shown}{more}\nnothing was uploaded")
}

impl AssetsCommand {
    fn namespace(&self) -> &AssetsNamespaceArguments {
        match self {
            Self::Push(push) => push.namespace(),
            Self::List(list) => list.namespace(),
            Self::Rollback(rollback) => rollback.namespace(),
            Self::Gc(gc) => gc.namespace(),
        }
    }

    fn run(self, out: &mut impl Write) -> Result<(), AssetsError> {
        match self {
            Self::Push(push) => push.run(out),
            Self::List(list) => list.run(out),
            Self::Rollback(rollback) => rollback.run(out),
            Self::Gc(gc) => gc.run(out),
        }
    }
}

impl AssetsArguments {
    pub(crate) fn run(self, out: &mut impl Write) -> io::Result<ExitStatus> {
        let is_json = self.command.namespace().json;
        match self.command.run(out) {
            Ok(()) => Ok(ExitStatus::Success),
            Err(AssetsError::Output(error)) => Err(error),
            Err(failure) => {
                let sentence = failure.to_string();
                print_line(&format!("error: {sentence}"));
                let cannot_run = matches!(failure, AssetsError::NoFolder(_));
                if is_json {
                    let report = match failure {
                        AssetsError::Folder(faults) => json!({ "error": sentence, "faults": faults }),
                        AssetsError::NoFolder(fault) => json!({ "error": sentence, "faults": [fault] }),
                        _ => json!({ "error": sentence }),
                    };
                    writeln!(out, "{report}")?;
                }
                Ok(if cannot_run { ExitStatus::CannotRun } else { ExitStatus::Failure })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_of_many_faults_are_shown() {
        let faults = |count: usize| (1..=count).map(|line| format!("_redirects line {line}: no")).collect::<Vec<_>>();
        assert_eq!(folder_faults(&faults(1)), "_redirects line 1: no\nnothing was uploaded");
        for (count, lines, last) in
            [(20, 22, "  _redirects line 20: no"), (2900, 23, "  … and 2880 more faults; --json shows all")]
        {
            let sentence = folder_faults(&faults(count));
            assert!(sentence.starts_with(&format!("the folder has {count} faults:\n")), "{sentence}");
            assert_eq!((sentence.lines().count(), sentence.lines().rev().nth(1)), (lines, Some(last)));
        }
    }
}
