//! `kv-edge kv get`: writes the value of a key to stdout, or with `--json` the whole pair.

use std::io::Write;

use super::pair_checks::PairError;
use super::{KvError, KvNamespaceArguments};
use crate::api::{KeyValuePair, PairExpiration};
use crate::progress::Progress;
use kv_store::limits::Key;

const EXAMPLES: &str = r#"Examples:
  kv-edge kv get greeting --namespace WRITES --local
  kv-edge kv get site/logo.png --namespace assets > logo.png

With --json (a line of `kv-edge kv export`):
  {"key", "value", "base64"?, "metadata"?, "expiration"?}"#;

/// Reads the value of a key
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct GetArguments {
    #[arg(value_name = "KEY")]
    key: String,

    #[command(flatten)]
    namespace: KvNamespaceArguments,
}

impl GetArguments {
    pub(super) fn namespace(&self) -> &KvNamespaceArguments {
        &self.namespace
    }

    pub(super) fn run(self, out: &mut impl Write) -> Result<(), KvError> {
        let key = key(&self.key)?;
        let namespace = self.namespace.open(&Progress::new(self.namespace.json))?;
        let value = namespace.get(&key)?.ok_or_else(|| KvError::NoKey(self.key.clone()))?;
        if self.namespace.json {
            let listed = namespace.find(key.as_str())?.ok_or_else(|| KvError::NotListed(self.key.clone()))?;
            let expiration = listed.expiration.map(PairExpiration::At);
            let pair = KeyValuePair { key: listed.name, value, metadata: listed.metadata, expiration };
            writeln!(out, "{}", pair.to_readable_json())?;
        } else {
            out.write_all(&value)?;
            out.flush()?;
        }
        Ok(())
    }
}

/// Checks a key of the command line.
pub(super) fn key(key: &str) -> Result<Key<'_>, KvError> {
    Key::new(key).map_err(|error| KvError::Pair { key: key.to_owned(), problem: PairError::from(error) })
}
