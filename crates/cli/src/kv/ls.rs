//! `kv-edge kv ls`: lists keys as folders, or all keys with `--recursive`.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};

use kv_store::record::to_json;
use serde::Serialize;

use super::{KvError, KvNamespaceArguments, counted};
use crate::api::{MetadataJson, NamespaceKey};
use crate::progress::Progress;

const EXAMPLES: &str = r#"Keys are shown as in a folder: those with the same text up to the next delimiter after PREFIX are one line, with their number.

Examples:
  kv-edge kv ls --namespace assets
  kv-edge kv ls site/images/ --namespace assets
  kv-edge kv ls user: --delimiter : --namespace USER_CONFIGURATION --local
  kv-edge kv ls site/ --recursive --json --namespace assets | jq -r '.keys[].name'

With --json:
  {"prefix", "folders": [{"prefix", "keys"}], "keys": [{"name", "expiration"?, "metadata"?}], "calls"}"#;

/// Lists keys as folders
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct LsArguments {
    /// Only the keys that begin with this
    #[arg(value_name = "PREFIX", default_value = "", hide_default_value = true)]
    prefix: String,

    /// What separates the names of folders
    #[arg(long, value_name = "TEXT", default_value = "/", value_parser = delimiter)]
    delimiter: String,

    /// List all keys, not folders
    #[arg(long, short)]
    recursive: bool,

    #[command(flatten)]
    namespace: KvNamespaceArguments,
}

fn delimiter(delimiter: &str) -> Result<String, String> {
    if delimiter.is_empty() {
        Err("it is empty; --recursive lists all keys".to_owned())
    } else {
        Ok(delimiter.to_owned())
    }
}

/// The output of `--json`.
#[derive(Debug, Serialize)]
struct KeyList<'a> {
    prefix: &'a str,
    folders: Vec<KeyFolder>,
    keys: Vec<FolderKey>,
    calls: u64,
}

#[derive(Debug, Serialize)]
struct KeyFolder {
    prefix: String,
    keys: u64,
}

#[derive(Debug, Serialize)]
struct FolderKey {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<MetadataJson>,
}

impl LsArguments {
    pub(super) fn namespace(&self) -> &KvNamespaceArguments {
        &self.namespace
    }

    pub(super) fn run(self, out: &mut impl Write) -> Result<(), KvError> {
        let namespace = self.namespace.open(&Progress::new(self.namespace.json))?;
        let mut out = BufWriter::new(out);
        let (mut folders, mut keys) = (BTreeMap::<String, u64>::new(), Vec::new());
        for page in namespace.key_pages(&self.prefix) {
            for NamespaceKey { name, metadata, expiration } in page? {
                if let Some(folder) = self.folder(&name) {
                    *folders.entry(folder.to_owned()).or_default() += 1;
                } else if self.namespace.json {
                    keys.push(FolderKey { name, expiration, metadata });
                } else {
                    writeln!(out, "{}", one_line(&name))?;
                }
            }
        }
        if self.namespace.json {
            let folders = folders.into_iter().map(|(prefix, keys)| KeyFolder { prefix, keys }).collect();
            let list = KeyList { prefix: &self.prefix, folders, keys, calls: namespace.calls() };
            writeln!(out, "{}", to_json(&list))?;
        } else {
            for (folder, count) in folders {
                writeln!(out, "{}  ({})", one_line(&folder), counted(count, "key"))?;
            }
        }
        Ok(out.flush()?)
    }

    /// Returns the folder that a key is in, with the delimiter.
    fn folder<'k>(&self, key: &'k str) -> Option<&'k str> {
        let rest = key.strip_prefix(self.prefix.as_str()).filter(|_| !self.recursive)?;
        let end = self.prefix.len() + rest.find(&self.delimiter)? + self.delimiter.len();
        Some(key.split_at(end).0)
    }
}

/// Returns a key as it is shown: its control characters are escaped.
fn one_line(key: &str) -> String {
    let shown = |character: char| {
        if character.is_control() { character.escape_default().to_string() } else { character.to_string() }
    };
    key.chars().map(shown).collect()
}
