//! `kv-edge kv`: whole namespaces, and single keys of them.
//!
//! `export` reads a namespace into a file, `import` writes a file into one, and `copy` does both
//! without a file. Two pipelines do the work. Memory stays small whatever the namespace holds: a
//! few values, and a hash of each key that is compared ([`key_set`]).
//!
//! ```text
//! key_stream ──> ordered_reads ──> export: the file
//! pages of keys  values, several      copy ──> pair_writer ──> batches, several at a time
//!                reads at a time,              import: pair_reader ──> pair_writer
//!                in the order of the keys
//! ```
//!
//! An export to a file, an import of a file, and a copy with `--state` leave a [`state_file`] if
//! they are interrupted. It says how far everything before is done ([`completed_prefix`]), and
//! `--resume` continues there. A pair that was written but not yet recorded is written again, or
//! skipped with `--skip`.
//!
//! `delete`, `ls`, `get` and `put` need neither pipeline nor state.

mod completed_prefix;
mod copy;
mod delete;
mod existing_keys;
mod export;
mod get;
mod import;
mod key_set;
mod key_stream;
mod ls;
mod ordered_reads;
mod pair_checks;
mod pair_reader;
mod pair_writer;
mod put;
mod state_file;
mod value_reads;
mod write_totals;

use std::io::{self, Write};

use clap::Subcommand;
use serde_json::json;

use self::pair_checks::PairError;
use self::pair_reader::InputPairError;
use self::state_file::StateError;
use crate::ExitStatus;
use crate::api::{ApiError, DefaultNamespace, NamespaceArguments, OpenError, listed};
use crate::clock::now_ms;
use crate::progress::print_line;
use crate::temporary_file::TemporaryFileError;

const EXAMPLES: &str = "\
Examples:
  kv-edge kv export --namespace assets --output assets.ndjson
  kv-edge kv import assets.ndjson --namespace assets-staging --skip
  kv-edge kv copy --namespace assets --to-namespace assets-staging --prefix site/
  kv-edge kv delete --namespace assets --prefix old/ --dry-run
  kv-edge kv ls site/ --namespace assets
  kv-edge kv get site/index.html --namespace assets
  kv-edge kv put greeting hello --namespace assets --ttl 3600

Each works on Cloudflare's KV, on that of a running `wrangler dev` (--local), and on that of a Worker that serves the KV API
(--api-base https://host/client/v4).

Exit code: 0 if the command succeeded, 1 if it failed, 2 for a mistake in the command line, or a file that cannot be read.";

/// Exports, imports, copies, lists, reads, writes and deletes keys of a namespace
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct KvArguments {
    #[command(subcommand)]
    command: KvCommand,
}

#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant)] // Only one is ever made.
enum KvCommand {
    Export(export::ExportArguments),
    Import(import::ImportArguments),
    Copy(copy::CopyArguments),
    Delete(delete::DeleteArguments),
    Ls(ls::LsArguments),
    Get(get::GetArguments),
    Put(put::PutArguments),
}

/// The arguments that all commands of the group take.
type KvNamespaceArguments = NamespaceArguments<NamedNamespace>;

/// A namespace that has to be named.
#[derive(Debug)]
struct NamedNamespace;

impl DefaultNamespace for NamedNamespace {
    const TITLE: Option<&str> = None;
    const LOCAL_TITLE: Option<&str> = None;
    const HELP: &str =
        "The namespace, by ID or title; with --local and on a kv-edge, a binding's namespace has its name as title";
}

/// Why a command fails, as a sentence.
#[derive(Debug, thiserror::Error)]
enum KvError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error("{input} line {line}: {problem}", line = .error.line, problem = .error.problem)]
    InputPair { input: String, error: InputPairError },
    #[error("{key:?}: {problem}")]
    Pair { key: String, problem: PairError },
    #[error("{path}: {problem}")]
    File { path: String, problem: String },
    /// A file that the command line names cannot be read.
    #[error("{path}: it cannot be read: {error}")]
    Input { path: String, error: io::Error },
    #[error(transparent)]
    TemporaryFile(TemporaryFileError),
    #[error(
        "{} of the keys to write exist already: {}; nothing was written. Use --skip to keep them or --overwrite to replace them{}",
        .names.len() as u64 + .more, listed(.names), if *.can_resume { "; an earlier run was interrupted, and --resume continues it" } else { "" }
    )]
    Exists { names: Vec<String>, more: u64, can_resume: bool },
    #[error("there is no key {0:?}; `kv-edge kv ls` shows what exists")]
    NoKey(String),
    #[error(
        "{0:?} has a value, but its metadata and expiration are not known yet: KV's list does not show the key; run \
         this again in a minute"
    )]
    NotListed(String),
    /// What was asked for at the terminal was not confirmed.
    #[error("nothing was deleted")]
    NotConfirmed,
    #[error("{0}")]
    CommandLine(&'static str),
    /// The output cannot be written.
    #[error(transparent)]
    Output(#[from] io::Error),
}

impl KvCommand {
    fn namespace(&self) -> &KvNamespaceArguments {
        match self {
            Self::Export(export) => export.namespace(),
            Self::Import(import) => import.namespace(),
            Self::Copy(copy) => copy.namespace(),
            Self::Delete(delete) => delete.namespace(),
            Self::Ls(ls) => ls.namespace(),
            Self::Get(get) => get.namespace(),
            Self::Put(put) => put.namespace(),
        }
    }

    fn run(self, out: &mut impl Write) -> Result<(), KvError> {
        match self {
            Self::Export(export) => export.run(out),
            Self::Import(import) => import.run(out),
            Self::Copy(copy) => copy.run(out),
            Self::Delete(delete) => delete.run(out),
            Self::Ls(ls) => ls.run(out),
            Self::Get(get) => get.run(out),
            Self::Put(put) => put.run(out),
        }
    }
}

impl KvArguments {
    pub(crate) fn run(self, out: &mut impl Write) -> io::Result<ExitStatus> {
        let is_json = self.command.namespace().json;
        match self.command.run(out) {
            Ok(()) => Ok(ExitStatus::Success),
            Err(KvError::Output(error)) => Err(error),
            Err(failure) => {
                let sentence = failure.to_string();
                print_line(&format!("error: {sentence}"));
                if is_json {
                    writeln!(out, "{}", json!({ "error": sentence }))?;
                }
                let cannot_run = matches!(failure, KvError::CommandLine(_) | KvError::Input { .. });
                Ok(if cannot_run { ExitStatus::CannotRun } else { ExitStatus::Failure })
            }
        }
    }
}

/// Returns the seconds since a time, rounded to milliseconds.
#[allow(clippy::cast_precision_loss)] // Nobody waits for 2^53 milliseconds.
fn seconds_since(started_ms: u64) -> f64 {
    (now_ms() - started_ms) as f64 / 1000.0
}

/// Formats a number of things: `1 key`, `2 keys`.
fn counted(count: u64, name: &str) -> String {
    format!("{count} {name}{}", if count == 1 { "" } else { "s" })
}
