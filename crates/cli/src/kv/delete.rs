//! `kv-edge kv delete`: deletes keys, all keys with a prefix, or all keys.

use std::io::{self, BufRead, IsTerminal, Write};

use kv_store::record::to_json;
use serde::Serialize;

use super::key_set::KeySet;
use super::{KvError, KvNamespaceArguments, counted, seconds_since};
use crate::api::{Namespace, concurrent_calls};
use crate::clock::now_ms;
use crate::input_file::InputFile;
use crate::progress::{Progress, Unit};

const EXAMPLES: &str = r#"With --prefix or --all the keys are counted first. On a terminal the command then asks; elsewhere it needs --yes.
If it is interrupted, run it again: it deletes the keys that are left.

Examples:
  kv-edge kv delete --namespace assets old/a.html old/b.html
  kv-edge kv delete --namespace assets --prefix old/ --dry-run
  kv-edge kv delete --namespace assets --prefix old/ --yes
  kv-edge kv delete --namespace assets-staging --all

With --json:
  {"dryRun", "deleted", "calls", "seconds"}"#;

/// Deletes keys, or all keys with a prefix
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DeleteArguments {
    #[command(flatten)]
    keys: KeysToDelete,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,

    #[command(flatten)]
    namespace: KvNamespaceArguments,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct KeysToDelete {
    /// Keys to delete. One that does not exist is no error
    #[arg(value_name = "KEY")]
    keys: Vec<String>,

    /// Delete the keys that begin with this
    #[arg(long, value_name = "TEXT", value_parser = prefix)]
    prefix: Option<String>,

    /// Delete all keys of the namespace
    #[arg(long)]
    all: bool,
}

/// Parses a prefix. A script whose variable is empty must not delete everything.
fn prefix(prefix: &str) -> Result<String, String> {
    if prefix.is_empty() {
        return Err("it is empty, so all keys begin with it; --all deletes them".to_owned());
    }
    Ok(prefix.to_owned())
}

/// The output of `--json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DeleteReport {
    dry_run: bool,
    deleted: u64,
    calls: u64,
    seconds: f64,
}

impl DeleteArguments {
    pub(super) fn namespace(&self) -> &KvNamespaceArguments {
        &self.namespace
    }

    pub(super) fn run(self, out: &mut impl Write) -> Result<(), KvError> {
        let started_ms = now_ms();
        let dry_run = self.namespace.dry_run;
        let asks = self.keys.keys.is_empty() && !self.yes && !dry_run;
        if asks && (self.namespace.json || !io::stdin().is_terminal() || !io::stderr().is_terminal()) {
            return Err(KvError::CommandLine(
                "this deletes all keys, or all that begin with the prefix; --dry-run counts them, --yes deletes them without asking",
            ));
        }
        let progress = Progress::new(self.namespace.json);
        let namespace = self.namespace.open(&progress)?;
        let deleted = if self.keys.keys.is_empty() {
            self.delete_prefix(&namespace, asks, &progress)?
        } else {
            if !dry_run {
                namespace.bulk_delete(&self.keys.keys)?;
            }
            self.keys.keys.len() as u64
        };
        if self.namespace.json {
            let (calls, seconds) = (namespace.calls(), seconds_since(started_ms));
            writeln!(out, "{}", to_json(&DeleteReport { dry_run, deleted, calls, seconds }))?;
        } else {
            let what = if dry_run { "would delete" } else { "deleted" };
            writeln!(out, "{what} {}", counted(deleted, "key"))?;
        }
        Ok(())
    }

    /// Counts the keys, asks, and deletes those that it has counted, page by page.
    fn delete_prefix(&self, namespace: &Namespace, asks: bool, progress: &Progress) -> Result<u64, KvError> {
        let prefix = self.keys.prefix.as_deref().unwrap_or_default();
        let phase = progress.phase("counting", 0, Unit::Keys);
        let mut counted_keys = KeySet::default();
        for page in namespace.key_pages(prefix) {
            for key in page? {
                phase.add(u64::from(counted_keys.insert(&key.name)));
            }
        }
        let count = counted_keys.len();
        phase.done(&counted(count, "key"));
        if self.namespace.dry_run || count == 0 {
            return Ok(count);
        }
        if asks && !is_confirmed(count, &namespace.url(), prefix)? {
            return Err(KvError::NotConfirmed);
        }
        let phase = progress.phase("deleting", count, Unit::Keys);
        let mut deleted = 0;
        concurrent_calls(
            |queue| {
                for page in namespace.key_pages(prefix) {
                    let names = page?.into_iter().map(|key| key.name);
                    let keys: Vec<_> = names.filter(|name| counted_keys.contains(name)).collect();
                    deleted += keys.len() as u64;
                    if !keys.is_empty() && !queue.push(keys) {
                        break; // The call that failed returns the error.
                    }
                }
                Ok::<_, KvError>(())
            },
            |keys: Vec<String>| {
                namespace.bulk_delete(&keys)?;
                phase.add(keys.len() as u64);
                Ok(())
            },
        )?;
        phase.done(&counted(deleted, "key"));
        Ok(deleted)
    }
}

/// Asks at the terminal.
fn is_confirmed(count: u64, namespace: &str, prefix: &str) -> Result<bool, KvError> {
    let which = if prefix.is_empty() { String::new() } else { format!(" that begin with {prefix:?}") };
    let mut stderr = io::stderr().lock();
    write!(stderr, "Delete {}{which} from {namespace}? [y/N] ", counted(count, "key"))?;
    stderr.flush()?;
    is_yes(io::stdin().lock()).map_err(|error| KvError::Input { path: InputFile::Stdin.to_string(), error })
}

/// Reads an answer, in whatever encoding the terminal has.
fn is_yes(mut input: impl BufRead) -> io::Result<bool> {
    let mut answer = Vec::new();
    input.read_until(b'\n', &mut answer)?;
    let answer = answer.trim_ascii();
    Ok(answer.eq_ignore_ascii_case(b"y") || answer.eq_ignore_ascii_case(b"yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        for (answer, expected) in [
            (&b"y\n"[..], true),
            (b" Yes\r\n", true),
            (b"", false),
            (b"\n", false),
            (b"yes?\n", false),
            // Latin-1: it is an answer too.
            (b"\xFC\n", false),
        ] {
            assert_eq!(is_yes(answer).unwrap(), expected, "{answer:?}");
        }
    }
}
