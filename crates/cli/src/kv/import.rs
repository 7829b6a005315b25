//! `kv-edge kv import`: writes the pairs of a file into a namespace.
//!
//! The file is read twice. The first time everything is checked, so that a mistake in the last
//! line is found before the first write; the second time the pairs are written. The saved state
//! says up to which byte all pairs are written.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use http_semantics::content_hash::ContentHasher;
use serde::{Deserialize, Serialize};

use super::existing_keys::{ExistingKeys, ExistingKeysArguments, KeysToWrite, OnExisting};
use super::pair_reader::{InputPair, InputPairError, InputPosition, PairReader};
use super::pair_writer::write_pairs;
use super::state_file::{SavedState, StateFile};
use super::write_totals::{WriteReport, WriteTotals};
use super::{KvError, KvNamespaceArguments, seconds_since};
use crate::api::Namespace;
use crate::clock::now_ms;
use crate::input_file::InputFile;
use crate::progress::{Progress, Unit};
use crate::temporary_file::{self, TemporaryFileWriter};

const BUFFER_BYTES: usize = 256 << 10;

const EXAMPLES: &str = r#"FILE has one JSON object per line (NDJSON), or is a JSON array of such objects. `kv-edge kv export` writes both, and `wrangler kv bulk
put` takes the array.
  {"key": "a", "value": "text"}
  {"key": "b", "value": "/wA=", "base64": true, "metadata": {"type": "image/png"}, "expiration": 1893456000}
  {"key": "c", "value": "text", "expiration_ttl": 3600}

All of FILE is checked before the first write. Pairs that have expired are not written. FILE.state says how far an interrupted import
got, and --resume continues there, if FILE is still the same.

Examples:
  kv-edge kv import assets.ndjson --namespace assets --dry-run
  kv-edge kv import assets.ndjson --namespace assets --skip
  kv-edge kv import assets.ndjson --namespace assets --resume
  gunzip -c assets.ndjson.gz | kv-edge kv import - --namespace assets --overwrite

With --json:
  {"dryRun", "read", "written", "skipped", "expired", "calls", "seconds"}
  "skipped" counts the keys that exist already and are not replaced."#;

/// Imports the pairs of a file
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ImportArguments {
    /// The file; - for stdin
    #[arg(value_name = "FILE")]
    input: PathBuf,

    #[command(flatten)]
    existing: ExistingKeysArguments,

    /// Continue an interrupted import of the same file
    #[arg(long)]
    resume: bool,

    #[command(flatten)]
    namespace: KvNamespaceArguments,
}

/// What identifies an import: `--resume` refuses the saved state of another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImportTask {
    /// The URL of the namespace. The name of the field tells this state from that of a copy or an
    /// export.
    import: String,
    /// The content hash of the input.
    input: String,
    on_existing: OnExisting,
}

/// How far an import got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ImportPosition {
    #[serde(flatten)]
    end: InputPosition,
    #[serde(flatten)]
    totals: WriteTotals,
    /// How many keys of the input existed when the import began; `None` in a state that an earlier
    /// build saved. Of those that exist later, the import wrote the others.
    #[serde(default)]
    existing: Option<u64>,
}

/// What the first reading has found.
struct CheckedInput {
    hash: String,
    keys: KeysToWrite,
}

/// A reader that hashes what it reads.
struct HashedInput<R> {
    input: R,
    hasher: ContentHasher,
}

impl<R: Read> Read for HashedInput<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.hasher.update(buffer.split_at(count).0);
        Ok(count)
    }
}

impl ImportArguments {
    pub(super) fn namespace(&self) -> &KvNamespaceArguments {
        &self.namespace
    }

    fn input(&self) -> InputFile {
        InputFile::from(self.input.clone())
    }

    fn pair_error(&self, error: InputPairError) -> KvError {
        KvError::InputPair { input: self.input().to_string(), error }
    }

    fn input_error(&self, error: io::Error) -> KvError {
        KvError::Input { path: self.input().to_string(), error }
    }

    pub(super) fn run(self, out: &mut impl Write) -> Result<(), KvError> {
        let started_ms = now_ms();
        let progress = Progress::new(self.namespace.json);
        let (mut file, is_stream) = self.open()?;
        if is_stream && self.resume {
            return Err(KvError::CommandLine(
                "--resume needs a regular file: a stream, such as stdin, cannot be read again; save it in a file first",
            ));
        }
        let checked = self.check(&mut file, &progress)?;
        let namespace = self.namespace.open(&progress)?;
        let state = (!is_stream).then(|| StateFile::beside(&self.input));
        let totals = self.import(&namespace, &mut file, &checked, state.as_ref(), &progress)?;
        let report = WriteReport {
            dry_run: self.namespace.dry_run,
            totals,
            calls: namespace.calls(),
            seconds: seconds_since(started_ms),
        };
        report.write(self.namespace.json, out)
    }

    /// Opens the input. A stream, such as stdin, is saved in a file first, to be read twice;
    /// returns true then.
    fn open(&self) -> Result<(File, bool), KvError> {
        let save = |stream: &mut dyn Read| {
            let mut file = temporary_file::create()?;
            io::copy(stream, &mut TemporaryFileWriter(&mut file))?;
            file.seek(SeekFrom::Start(0))?;
            Ok((file, true))
        };
        let opened = match self.input() {
            InputFile::Stdin => save(&mut io::stdin().lock()),
            InputFile::File(path) => File::open(path).and_then(|mut file| {
                let kind = file.metadata()?.file_type();
                match kind {
                    kind if kind.is_file() => Ok((file, false)),
                    kind if kind.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
                    _ => save(&mut file),
                }
            }),
        };
        opened.map_err(|error| match error.downcast() {
            Ok(full) => KvError::TemporaryFile(full),
            Err(error) => self.input_error(error),
        })
    }

    /// Reads everything once: checks each pair and that no key occurs twice, and hashes the
    /// content.
    fn check(&self, file: &mut File, progress: &Progress) -> Result<CheckedInput, KvError> {
        let bytes = file.metadata().map_or(0, |metadata| metadata.len());
        let phase = progress.phase("checking", bytes, Unit::Bytes);
        let input = HashedInput { input: &mut *file, hasher: ContentHasher::default() };
        let mut reader = BufReader::with_capacity(BUFFER_BYTES, input);
        let (mut keys, mut offset) = (KeysToWrite::default(), 0);
        for read in PairReader::new(&mut reader, InputPosition::START) {
            let InputPair { pair, end, line } = read.map_err(|error| self.pair_error(error))?;
            if !keys.insert(&pair.key) {
                let problem = format!("the key {:?} occurs twice", pair.key);
                return Err(self.pair_error(InputPairError { line, problem }));
            }
            phase.add(end.offset - offset);
            offset = end.offset;
        }
        phase.done(&format!("{} pairs", keys.len()));
        Ok(CheckedInput { hash: reader.into_inner().hasher.finish(), keys })
    }

    fn import(
        &self,
        namespace: &Namespace,
        file: &mut File,
        checked: &CheckedInput,
        state: Option<&StateFile>,
        progress: &Progress,
    ) -> Result<WriteTotals, KvError> {
        let on_existing = self.existing.choice();
        let task = ImportTask { import: namespace.url(), input: checked.hash.clone(), on_existing };
        let from: Option<ImportPosition> = match state {
            Some(state) if self.resume => state.position(&task)?,
            _ => None,
        };
        let is_dry_run = self.namespace.dry_run;
        // With `--fail`, an import only begins if none of its keys exist. So after `--resume` the
        // earlier run wrote those that exist.
        let existing = match on_existing {
            OnExisting::Overwrite => ExistingKeys::default(),
            OnExisting::Fail if from.is_some() => ExistingKeys::default(),
            OnExisting::Fail | OnExisting::Skip => checked.keys.existing(namespace, progress)?,
        };
        if on_existing == OnExisting::Fail && !is_dry_run {
            existing.check_empty(state.is_some_and(StateFile::exists))?;
        }
        if is_dry_run {
            file.rewind().map_err(|error| self.input_error(error))?;
            let mut totals = WriteTotals::default();
            for read in PairReader::new(BufReader::with_capacity(BUFFER_BYTES, file), InputPosition::START) {
                totals.count(read.map_err(|error| self.pair_error(error))?.pair, &existing);
            }
            return Ok(totals);
        }
        let start = from.unwrap_or(ImportPosition {
            end: InputPosition::START,
            totals: WriteTotals::default(),
            existing: Some(existing.len()),
        });
        if let Some(state) = state {
            state.save(&SavedState { task: task.clone(), position: start.clone() })?;
        }
        file.seek(SeekFrom::Start(start.end.offset)).map_err(|error| self.input_error(error))?;
        let phase = progress.phase("importing", checked.keys.len(), Unit::Keys);
        phase.add(start.totals.read);
        let mut totals = start.totals;
        let reader = BufReader::with_capacity(BUFFER_BYTES, file);
        let items = PairReader::new(reader, start.end).map(|read| {
            let InputPair { pair, end, .. } = read.map_err(|error| self.pair_error(error))?;
            let pair = totals.count(pair, &existing);
            Ok((pair, ImportPosition { end, totals, existing: start.existing }))
        });
        write_pairs(namespace, items, |position, count| {
            phase.add(count);
            match (position, state) {
                (Some(position), Some(state)) => Ok(state.save(&SavedState { task: task.clone(), position })?),
                _ => Ok(()),
            }
        })?;
        totals.count_as_written(start.existing.map_or(0, |existing| totals.skipped.saturating_sub(existing)));
        phase.done(&format!("{} pairs", totals.written));
        if let Some(state) = state {
            state.remove()?;
        }
        Ok(totals)
    }
}
