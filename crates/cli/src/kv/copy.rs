//! `kv-edge kv copy`: copies pairs from one namespace to another, which may be in another account
//! or behind another API.

use std::cell::Cell;
use std::io::Write;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::existing_keys::{ExistingKeys, ExistingKeysArguments, OnExisting};
use super::key_stream::{KeyPosition, key_stream};
use super::pair_checks::unexpired;
use super::pair_writer::write_pairs;
use super::state_file::{SavedState, StateFile};
use super::value_reads::value_reads;
use super::write_totals::{WriteReport, WriteTotals};
use super::{KvError, KvNamespaceArguments, counted, seconds_since};
use crate::api::{DestinationArguments, Namespace};
use crate::clock::now_ms;
use crate::progress::{Progress, Unit};

const EXAMPLES: &str = r#"The source is what --namespace, --account, --api-base and --local say, the destination what the options that begin with --to- say; what they
leave out is that of the source. CLOUDFLARE_API_TOKEN is the token for the source, and for a destination behind the same API.
TO_CLOUDFLARE_API_TOKEN is the token for another one.

Metadata and expiration are copied too. With --state, FILE says how far an interrupted copy got, and --resume continues there. Without
it, --skip copies what is missing.

Examples:
  kv-edge kv copy --namespace assets --to-namespace assets-staging --dry-run
  kv-edge kv copy --namespace assets --to-namespace assets --to-account 0123456789abcdef0123456789abcdef --state copy.state
  kv-edge kv copy --namespace assets --to-namespace assets --to-account 0123456789abcdef0123456789abcdef --state copy.state --resume
  kv-edge kv copy --namespace kv-edge-assets --to-local --to-namespace assets --prefix site/ --overwrite

With --json:
  {"dryRun", "read", "written", "skipped", "expired", "calls", "seconds"}
  "skipped" counts the keys that exist already and are not replaced.
  "expired" counts the keys that expired or were deleted meanwhile."#;

/// Copies pairs to another namespace
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CopyArguments {
    /// Only the keys that begin with this
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    prefix: String,

    #[command(flatten)]
    existing: ExistingKeysArguments,

    /// The file that says how far the copy got
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,

    /// Continue an interrupted copy with the same --state
    #[arg(long, requires = "state")]
    resume: bool,

    /// Read each value alone: slower, but right for text that begins with a byte order mark, which
    /// some servers drop if they read values together
    #[arg(long)]
    exact: bool,

    #[command(flatten)]
    namespace: KvNamespaceArguments,

    #[command(flatten)]
    destination: DestinationArguments,
}

/// What a copy does. Only one that does the same can resume it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CopyTask {
    /// The URL of the source. The name of the field tells this state from that of an import or an
    /// export.
    copy: String,
    /// The URL of the destination.
    to: String,
    prefix: String,
    on_existing: OnExisting,
}

/// How far a copy got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct CopyPosition {
    /// `None` before the first key.
    keys: Option<KeyPosition>,
    totals: WriteTotals,
    /// How many keys the destination had when the copy began; `None` in a state that an earlier
    /// build saved.
    #[serde(default)]
    existing: Option<u64>,
}

impl CopyArguments {
    pub(super) fn namespace(&self) -> &KvNamespaceArguments {
        &self.namespace
    }

    pub(super) fn run(self, out: &mut impl Write) -> Result<(), KvError> {
        let started_ms = now_ms();
        let progress = Progress::new(self.namespace.json);
        let source = self.namespace.open(&progress)?;
        let destination = self.destination.open(&self.namespace, &progress)?;
        if source.url() == destination.url() {
            return Err(KvError::CommandLine(
                "source and destination are the same namespace; --to-namespace, --to-account, --to-api-base or --to-local names another one",
            ));
        }
        let totals = self.copy(&source, &destination, &progress)?;
        let calls = source.calls() + destination.calls();
        let report = WriteReport { dry_run: self.namespace.dry_run, totals, calls, seconds: seconds_since(started_ms) };
        report.write(self.namespace.json, out)
    }

    fn copy(&self, source: &Namespace, destination: &Namespace, progress: &Progress) -> Result<WriteTotals, KvError> {
        let on_existing = self.existing.choice();
        let state = self.state.as_deref().map(StateFile::at);
        let task = CopyTask { copy: source.url(), to: destination.url(), prefix: self.prefix.clone(), on_existing };
        let from: Option<CopyPosition> = match &state {
            Some(state) if self.resume => state.position(&task)?,
            _ => None,
        };
        let is_dry_run = self.namespace.dry_run;
        // With `--fail`, a copy only begins if none of its keys exist: those that a resumed one
        // finds are those that it wrote.
        let is_checked = on_existing == OnExisting::Overwrite || on_existing == OnExisting::Fail && from.is_some();
        let (existing, count) = if is_checked && !is_dry_run {
            (ExistingKeys::default(), 0)
        } else {
            self.existing(source, destination, on_existing, progress)?
        };
        if is_dry_run {
            let skipped = existing.len();
            return Ok(WriteTotals { read: count, written: count - skipped, skipped, expired: 0 });
        }
        if on_existing == OnExisting::Fail {
            existing.check_empty(state.as_ref().is_some_and(StateFile::exists))?;
        }
        let start =
            from.unwrap_or(CopyPosition { keys: None, totals: WriteTotals::default(), existing: Some(existing.len()) });
        // What the destination has gained is what the copy has written, more than its state says.
        let own = start.existing.map_or(0, |before| existing.len().saturating_sub(before + start.totals.written));
        if let Some(state) = &state {
            state.save(&SavedState { task: task.clone(), position: start.clone() })?;
        }
        let phase = progress.phase("copying", count, Unit::Keys);
        phase.add(start.totals.read);
        let (mut totals, before) = (start.totals, start.totals.read);
        let read = Cell::new(before);
        // The values of keys that are skipped are not read.
        let keys = key_stream(source, &self.prefix, start.keys.as_ref()).filter(|listed| {
            let Ok(listed) = listed else { return true };
            read.set(before + listed.number);
            !existing.contains(&listed.key.name)
        });
        let items = value_reads(source, keys, self.exact).map(|pair| {
            let pair = pair?;
            let keys = Some(pair.listed.end());
            totals.read = before + pair.listed.number;
            let pair = pair.into_pair().and_then(|pair| unexpired(pair, now_ms() / 1000));
            *(if pair.is_some() { &mut totals.written } else { &mut totals.expired }) += 1;
            totals.skipped = totals.read - totals.written - totals.expired;
            Ok((pair, CopyPosition { keys, totals, existing: start.existing }))
        });
        write_pairs(destination, items, |position, count| {
            phase.add(count);
            match (position, &state) {
                (Some(position), Some(state)) => Ok(state.save(&SavedState { task: task.clone(), position })?),
                _ => Ok(()),
            }
        })?;
        totals.read = read.get();
        totals.skipped = totals.read - totals.written - totals.expired;
        totals.count_as_written(own);
        phase.done(&counted(totals.written, "pair"));
        if let Some(state) = &state {
            state.remove()?;
        }
        Ok(totals)
    }

    /// Returns the keys that exist, and how many keys the source has. To skip keys, all those of
    /// the destination are enough, and the source's are not counted (0), unless it is a dry run.
    /// Otherwise the keys that exist are those that both have; to overwrite, none is looked for.
    fn existing(
        &self,
        source: &Namespace,
        destination: &Namespace,
        on_existing: OnExisting,
        progress: &Progress,
    ) -> Result<(ExistingKeys, u64), KvError> {
        let phase = progress.phase("comparing the keys", 0, Unit::Keys);
        let mut in_destination = ExistingKeys::default();
        if on_existing != OnExisting::Overwrite {
            for page in destination.key_pages(&self.prefix) {
                let page = page?;
                phase.add(page.len() as u64);
                for key in &page {
                    in_destination.insert(&key.name);
                }
            }
        }
        if on_existing == OnExisting::Skip && !self.namespace.dry_run {
            return Ok((in_destination, 0));
        }
        let (mut in_both, mut count) = (ExistingKeys::default(), 0);
        for listed in key_stream(source, &self.prefix, None) {
            let name = listed?.key.name;
            count += 1;
            phase.add(1);
            if in_destination.contains(&name) {
                in_both.insert(&name);
            }
        }
        phase.done(&counted(count, "key"));
        Ok((in_both, count))
    }
}
