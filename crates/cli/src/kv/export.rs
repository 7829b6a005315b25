//! `kv-edge kv export`: writes a namespace, or the keys with a prefix, to a file or to stdout.
//!
//! A file is written under another name until it is complete. [`ExportPosition`] is saved once a
//! second, and after every thousand pairs, when the bytes that it counts are on the disk; a
//! resumed export cuts the file to that length and continues the list of keys.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use indicatif::DecimalBytes;
use kv_store::record::to_json;
use serde::{Deserialize, Serialize};

use super::key_stream::{KeyPosition, key_stream};
use super::state_file::{SavedState, StateFile, with_suffix};
use super::value_reads::value_reads;
use super::{KvError, KvNamespaceArguments, counted, seconds_since};
use crate::api::{KeyValuePair, Namespace};
use crate::clock::now_ms;
use crate::progress::{Progress, Unit};

/// How often the state is saved, in milliseconds.
const SAVE_INTERVAL_MS: u64 = 1000;
/// After how many pairs the state is saved even before that.
const SAVE_PAIRS: u64 = 1000;
const BUFFER_BYTES: usize = 256 << 10;

const EXAMPLES: &str = r#"Each pair becomes a line, or an item of the array, with "key" and "value"; "base64": true if the value is not UTF-8, and "metadata" and
"expiration" (seconds since 1970) if it has them. `kv-edge kv import` takes both formats, `wrangler kv bulk put` the array.

FILE is replaced when the export is complete. Until then, the pairs are in FILE.partial; FILE.state says how far an interrupted export
got, and --resume continues there. --dry-run reads all pairs and writes no file.

Examples:
  kv-edge kv export --namespace assets --output assets.ndjson
  kv-edge kv export --namespace assets --output assets.ndjson --resume
  kv-edge kv export --namespace assets --prefix site/ --format json --output site.json
  kv-edge kv export --local --namespace USER_CONFIGURATION | jq -r .key

With --json (and --output or --dry-run):
  {"dryRun", "pairs", "gone", "bytes", "calls", "seconds"}
  "gone" counts keys that were deleted, or expired, while the export ran."#;

/// Exports a namespace as NDJSON, or as the array of `wrangler kv bulk put`
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ExportArguments {
    /// Only the keys that begin with this
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    prefix: String,

    /// One pair per line, or one array
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = ExportFormat::Ndjson)]
    format: ExportFormat,

    /// The file to write [default: stdout]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Continue an interrupted export to the same file
    #[arg(long, requires = "output")]
    resume: bool,

    /// Read each value alone: slower, but right for text that begins with a byte order mark, which
    /// some servers drop if they read values together
    #[arg(long)]
    exact: bool,

    #[command(flatten)]
    namespace: KvNamespaceArguments,
}

/// How pairs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum ExportFormat {
    Ndjson,
    Json,
}

impl ExportFormat {
    /// Returns the text before a pair; `number` pairs came before it.
    fn before(self, number: u64) -> &'static str {
        match self {
            Self::Ndjson => "",
            Self::Json if number == 0 => "[\n",
            Self::Json => ",\n",
        }
    }

    /// Returns the text after each pair.
    fn after(self) -> &'static str {
        match self {
            Self::Ndjson => "\n",
            Self::Json => "",
        }
    }

    /// Returns the text after `number` pairs, which are all.
    fn end(self, number: u64) -> &'static str {
        match self {
            Self::Ndjson => "",
            Self::Json if number == 0 => "[]\n",
            Self::Json => "\n]\n",
        }
    }

    /// Returns a whole export.
    #[cfg(test)]
    pub(super) fn write_all(self, pairs: &[KeyValuePair]) -> Vec<u8> {
        let mut writer = ExportWriter { out: Vec::new(), format: self, totals: ExportTotals::default() };
        for pair in pairs {
            writer.write(pair).unwrap();
        }
        writer.finish().unwrap();
        writer.out
    }
}

/// What an export does. Only one that does the same can resume it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ExportTask {
    /// The URL of the namespace. The name of the field tells this state from that of an import or
    /// a copy.
    export: String,
    prefix: String,
    format: ExportFormat,
}

/// How far an export got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ExportPosition {
    #[serde(flatten)]
    keys: KeyPosition,
    #[serde(flatten)]
    totals: ExportTotals,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct ExportTotals {
    pairs: u64,
    /// Keys that were deleted, or expired, after they were listed.
    gone: u64,
    /// The length of the output.
    bytes: u64,
}

/// Writes pairs and counts them.
struct ExportWriter<W> {
    out: W,
    format: ExportFormat,
    totals: ExportTotals,
}

impl<W: Write> ExportWriter<W> {
    fn write_text(&mut self, text: &str) -> io::Result<()> {
        self.totals.bytes += text.len() as u64;
        self.out.write_all(text.as_bytes())
    }

    fn write(&mut self, pair: &KeyValuePair) -> io::Result<()> {
        self.write_text(self.format.before(self.totals.pairs))?;
        self.write_text(&pair.to_readable_json())?;
        self.write_text(self.format.after())?;
        self.totals.pairs += 1;
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.write_text(self.format.end(self.totals.pairs))?;
        self.out.flush()
    }
}

/// The output of `--json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ExportReport {
    dry_run: bool,
    #[serde(flatten)]
    totals: ExportTotals,
    calls: u64,
    seconds: f64,
}

impl ExportArguments {
    pub(super) fn namespace(&self) -> &KvNamespaceArguments {
        &self.namespace
    }

    pub(super) fn run(self, out: &mut impl Write) -> Result<(), KvError> {
        let started_ms = now_ms();
        let dry_run = self.namespace.dry_run;
        if self.namespace.json && self.output.is_none() && !dry_run {
            return Err(KvError::CommandLine("--json needs --output, because the pairs are written to stdout"));
        }
        let progress = Progress::new(self.namespace.json);
        let namespace = self.namespace.open(&progress)?;
        let totals = match &self.output {
            _ if dry_run => self.write_stream(io::sink(), &namespace, &progress)?,
            Some(path) => self.write_file(path, &namespace, &progress)?,
            None => return self.write_stream(out, &namespace, &progress).map(drop),
        };
        if self.namespace.json {
            let report = ExportReport { dry_run, totals, calls: namespace.calls(), seconds: seconds_since(started_ms) };
            writeln!(out, "{}", to_json(&report))?;
        } else {
            let (pairs, bytes) = (counted(totals.pairs, "pair"), DecimalBytes(totals.bytes));
            let exported = if dry_run { "would export" } else { "exported" };
            let to = self.output.as_ref().map(|path| format!(" to {}", path.display())).unwrap_or_default();
            writeln!(out, "{exported} {pairs}{to} ({bytes})")?;
        }
        Ok(())
    }

    /// Writes to a stream, from the first pair.
    fn write_stream(
        &self,
        out: impl Write,
        namespace: &Namespace,
        progress: &Progress,
    ) -> Result<ExportTotals, KvError> {
        let out = BufWriter::with_capacity(BUFFER_BYTES, out);
        let mut writer = ExportWriter { out, format: self.format, totals: ExportTotals::default() };
        self.write(namespace, progress, &mut writer, None, |written| Ok(written?), |_, _| Ok(()))?;
        Ok(writer.totals)
    }

    /// Writes to a file, with `--resume` from where an interrupted export stopped.
    fn write_file(&self, path: &Path, namespace: &Namespace, progress: &Progress) -> Result<ExportTotals, KvError> {
        let partial = with_suffix(path, ".partial");
        let name = partial.display().to_string();
        let checked = |written: io::Result<()>| {
            let problem = |error| format!("it cannot be written: {error}; check the path and the space on the disk");
            written.map_err(|error| KvError::File { path: name.clone(), problem: problem(error) })
        };
        let state = StateFile::beside(path);
        let task = ExportTask { export: namespace.url(), prefix: self.prefix.clone(), format: self.format };
        let from: Option<ExportPosition> = if self.resume { state.position(&task)? } else { None };
        if from.is_none() {
            state.remove()?;
        }
        let (keys, totals) = from.map(|from| (from.keys, from.totals)).unzip();
        let totals = totals.unwrap_or_default();
        let mut file = None;
        checked(open_at(&partial, totals.bytes).map(|opened| file = opened))?;
        let Some(file) = file else {
            return Err(KvError::File {
                path: name,
                problem: "it is shorter than the interrupted export left it; run the command without --resume"
                    .to_owned(),
            });
        };
        let out = BufWriter::with_capacity(BUFFER_BYTES, file);
        let mut writer = ExportWriter { out, format: self.format, totals };
        let mut saved = (now_ms(), totals.pairs);
        self.write(namespace, progress, &mut writer, keys.as_ref(), checked, |writer, keys| {
            let totals = writer.totals;
            if totals.pairs - saved.1 < SAVE_PAIRS && now_ms() < saved.0 + SAVE_INTERVAL_MS {
                return Ok(());
            }
            // The state may not count bytes that are lost if the power fails.
            checked(writer.out.flush().and_then(|()| writer.out.get_ref().sync_data()))?;
            saved = (now_ms(), totals.pairs);
            Ok(state.save(&SavedState { task: task.clone(), position: ExportPosition { keys, totals } })?)
        })?;
        checked(writer.out.get_ref().sync_all())?;
        // In this order: a state without its partial file could not be resumed.
        state.remove()?;
        fs::rename(&partial, path).map_err(|error| KvError::File {
            path: path.display().to_string(),
            problem: format!("it cannot be written: {error}; the pairs are in {name}"),
        })?;
        Ok(writer.totals)
    }

    /// Writes the pairs after a place in the list. `save` is called after each key.
    fn write<W: Write>(
        &self,
        namespace: &Namespace,
        progress: &Progress,
        writer: &mut ExportWriter<W>,
        from: Option<&KeyPosition>,
        checked: impl Fn(io::Result<()>) -> Result<(), KvError>,
        mut save: impl FnMut(&mut ExportWriter<W>, KeyPosition) -> Result<(), KvError>,
    ) -> Result<(), KvError> {
        let phase = progress.phase("exporting", 0, Unit::Keys);
        phase.add(writer.totals.pairs);
        for read in value_reads(namespace, key_stream(namespace, &self.prefix, from), self.exact) {
            let read = read?;
            let end = read.listed.end();
            match read.into_pair() {
                Some(pair) => checked(writer.write(&pair))?,
                None => writer.totals.gone += 1,
            }
            phase.add(1);
            save(writer, end)?;
        }
        checked(writer.finish())?;
        let ExportTotals { pairs, gone, .. } = writer.totals;
        let gone = if gone == 0 { String::new() } else { format!(", {gone} deleted meanwhile") };
        phase.done(&format!("{}{gone}", counted(pairs, "pair")));
        Ok(())
    }
}

/// Opens a file for writing after its first bytes and drops what follows them. Returns `None` if
/// it is shorter.
fn open_at(path: &Path, length: u64) -> io::Result<Option<File>> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    if file.metadata()?.len() < length {
        return Ok(None);
    }
    file.set_len(length)?;
    file.seek(SeekFrom::End(0))?;
    Ok(Some(file))
}
