//! `kv-edge assets`: releases of static files in the `assets` namespace.
//!
//! A release is a folder of files. `push` uploads the bytes as values under their hash (blobs),
//! then the manifest, which lists the files, and last the pointer, which names the release that
//! is served. `rollback` writes the pointer only; `gc` deletes manifests and blobs that no
//! retained release needs. [`marks`] keeps `gc` and the others apart. `static-assets` describes
//! these records and reads them in the Worker.

mod duration;
mod gc;
mod list;
mod marks;
mod push;
mod releases;
mod rollback;

use std::io::{self, Write};

use clap::Subcommand;
use kv_store::limits::KeyError;
use serde_json::json;

use self::gc::GcError;
use self::marks::Busy;
use self::push::PushError;
use self::releases::ReleaseError;
use self::rollback::RollbackError;
use crate::Outcome;
use crate::api::{ApiError, DefaultNamespace, NamespaceArguments, OpenError};
use crate::progress::tell;
use crate::report::{EQUAL_MAX, more};

const EXAMPLES: &str = "\
Examples:
  kv-edge assets push static --local               into the KV of `wrangler dev`
  kv-edge assets push dist                         into Cloudflare's, with CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_API_TOKEN
  kv-edge assets list
  kv-edge assets rollback
  kv-edge assets gc --keep 3 --dry-run

Exit code: 0 if the command succeeded, 1 if it failed, 2 for a mistake in the command line.";

/// Uploads folders of files as releases and switches between them (namespace `assets`)
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Push(push::Arguments),
    List(list::Arguments),
    Rollback(rollback::Arguments),
    Gc(gc::Arguments),
}

/// The arguments that all commands of the group take.
type Common = NamespaceArguments<Assets>;

/// The namespace of static files.
#[derive(Debug)]
struct Assets;

impl DefaultNamespace for Assets {
    const TITLE: &str = "kv-edge-assets";
    const LOCAL_TITLE: &str = "assets";
    const HELP: &str =
        "The namespace, by ID or title [default: kv-edge-assets, which `npm run deploy` creates; assets with --local]";
}

/// Why a command ends with exit code 1, as a sentence that says what people can do.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    OpenError(#[from] OpenError),
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Busy(#[from] Busy),
    #[error(transparent)]
    Release(#[from] ReleaseError),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Push(#[from] PushError),
    #[error(transparent)]
    Rollback(#[from] RollbackError),
    #[error(transparent)]
    Gc(#[from] GcError),
    /// Faults of the folder, one sentence each.
    #[error("{}", of_folder(.0))]
    Folder(Vec<String>),
    /// The output cannot be written.
    #[error(transparent)]
    Output(#[from] io::Error),
}

/// Returns one fault as a sentence, several as a list of which only the first are shown.
fn of_folder(faults: &[String]) -> String {
    if let [fault] = faults {
        return format!("{fault}\nnothing was uploaded");
    }
    let shown = faults.get(..EQUAL_MAX).unwrap_or(faults);
    let more = more(faults.len() - shown.len(), "fault").map(|more| format!("\n  {more}"));
    let (count, shown, more) = (faults.len(), shown.join("\n  "), more.unwrap_or_default());
    format!("the folder has {count} faults:\n  {shown}{more}\nnothing was uploaded")
}

impl Command {
    fn common(&self) -> &Common {
        match self {
            Self::Push(push) => push.common(),
            Self::List(list) => list.common(),
            Self::Rollback(rollback) => rollback.common(),
            Self::Gc(gc) => gc.common(),
        }
    }

    fn run(self, out: &mut impl Write) -> Result<(), Failure> {
        match self {
            Self::Push(push) => push.run(out),
            Self::List(list) => list.run(out),
            Self::Rollback(rollback) => rollback.run(out),
            Self::Gc(gc) => gc.run(out),
        }
    }
}

impl Arguments {
    pub(crate) fn run(self, out: &mut impl Write) -> io::Result<Outcome> {
        let is_json = self.command.common().json;
        match self.command.run(out) {
            Ok(()) => Ok(Outcome::Good),
            Err(Failure::Output(error)) => Err(error),
            Err(failure) => {
                let sentence = failure.to_string();
                tell(&format!("error: {sentence}"));
                if is_json {
                    let report = match failure {
                        Failure::Folder(faults) => json!({ "error": sentence, "faults": faults }),
                        _ => json!({ "error": sentence }),
                    };
                    writeln!(out, "{report}")?;
                }
                Ok(Outcome::Faulty)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_faults_of_a_folder_the_first_are_shown() {
        let faults = |count: usize| (1..=count).map(|line| format!("_redirects line {line}: no")).collect::<Vec<_>>();
        assert_eq!(of_folder(&faults(1)), "_redirects line 1: no\nnothing was uploaded");
        for (count, lines, last) in
            [(20, 22, "  _redirects line 20: no"), (2900, 23, "  … and 2880 more faults; --json shows all")]
        {
            let sentence = of_folder(&faults(count));
            assert!(sentence.starts_with(&format!("the folder has {count} faults:\n")), "{sentence}");
            assert_eq!((sentence.lines().count(), sentence.lines().rev().nth(1)), (lines, Some(last)));
        }
    }
}
