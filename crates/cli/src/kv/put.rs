//! `kv-edge kv put`: writes one key.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use kv_store::limits::EXPIRATION_TTL_MIN_SECONDS;
use kv_store::record::to_json;
use serde::Serialize;

use super::{KvError, KvNamespaceArguments, pair_checks};
use crate::api::{KeyValuePair, MetadataJson, PairExpiration};
use crate::clock::now_ms;
use crate::input_file::InputFile;
use crate::number::whole;
use crate::progress::Progress;

const EXAMPLES: &str = r#"Metadata and expiration that the key had are replaced too: without --metadata it has none, without --ttl and --expiration it stays.

Examples:
  kv-edge kv put greeting hello --namespace WRITES --local
  kv-edge kv put site/logo.png --file logo.png --namespace assets --metadata '{"type": "image/png"}'
  date | kv-edge kv put date --file - --namespace WRITES --ttl 3600

With --json:
  {"dryRun", "key", "bytes"}"#;

/// Writes a key
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct PutArguments {
    #[arg(value_name = "KEY")]
    key: String,

    #[command(flatten)]
    value: ValueArguments,

    /// Metadata of the key: JSON of 1024 bytes at most
    #[arg(long, value_name = "JSON", value_parser = metadata)]
    metadata: Option<MetadataJson>,

    /// Seconds until the key expires, 60 at least
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = whole(EXPIRATION_TTL_MIN_SECONDS..=u32::MAX))]
    ttl: Option<u32>,

    /// When the key expires, in seconds since 1970; a time within two minutes becomes two minutes
    #[arg(long, value_name = "TIME", conflicts_with = "ttl", allow_negative_numbers = true, value_parser = expiration)]
    expiration: Option<u64>,

    #[command(flatten)]
    namespace: KvNamespaceArguments,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct ValueArguments {
    /// The value
    #[arg(value_name = "VALUE")]
    text: Option<String>,

    /// The file with the value; - for stdin
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

fn metadata(json: &str) -> Result<MetadataJson, String> {
    MetadataJson::parse(json).map_err(|error| format!("it is not JSON: {error}; quote a text twice: '\"a text\"'"))
}

fn expiration(seconds: &str) -> Result<u64, String> {
    let earliest = now_ms() / 1000 + u64::from(EXPIRATION_TTL_MIN_SECONDS);
    whole(earliest..=u64::from(u32::MAX) * 8)(seconds)
        .map_err(|_| format!("write seconds since 1970, at least a minute from now (now is {})", now_ms() / 1000))
}

/// The output of `--json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PutReport<'a> {
    dry_run: bool,
    key: &'a str,
    bytes: usize,
}

impl PutArguments {
    pub(super) fn namespace(&self) -> &KvNamespaceArguments {
        &self.namespace
    }

    pub(super) fn run(self, out: &mut impl Write) -> Result<(), KvError> {
        let value = self.value.read()?;
        let expiration = self.ttl.map(PairExpiration::In).or(self.expiration.map(PairExpiration::At));
        let pair = KeyValuePair { key: self.key.clone(), value, metadata: self.metadata, expiration };
        pair_checks::check(&pair).map_err(|problem| KvError::Pair { key: self.key.clone(), problem })?;
        let namespace = self.namespace.open(&Progress::new(self.namespace.json))?;
        let (dry_run, bytes) = (self.namespace.dry_run, pair.value.len());
        if !dry_run {
            namespace.bulk_put(vec![pair])?;
        }
        if self.namespace.json {
            writeln!(out, "{}", to_json(&PutReport { dry_run, key: &self.key, bytes }))?;
        } else {
            writeln!(out, "{} {:?} ({bytes} bytes)", if dry_run { "would write" } else { "wrote" }, self.key)?;
        }
        Ok(())
    }
}

impl ValueArguments {
    fn read(self) -> Result<Vec<u8>, KvError> {
        let Some(path) = self.file else { return Ok(self.text.unwrap_or_default().into_bytes()) };
        let input = InputFile::from(path);
        let read = match &input {
            InputFile::File(path) => std::fs::read(path),
            InputFile::Stdin => {
                let mut bytes = Vec::new();
                io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
            }
        };
        read.map_err(|error| KvError::Input { path: input.to_string(), error })
    }
}
