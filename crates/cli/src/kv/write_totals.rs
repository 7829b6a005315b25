//! What `import` or `copy` has written, counted and reported.

use std::io::Write;

use kv_store::record::to_json;
use serde::{Deserialize, Serialize};

use super::existing_keys::ExistingKeys;
use super::pair_checks::unexpired;
use super::{KvError, counted};
use crate::api::KeyValuePair;
use crate::clock::now_ms;

/// What became of the pairs that were read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WriteTotals {
    pub(super) read: u64,
    pub(super) written: u64,
    /// Not written because the key exists.
    pub(super) skipped: u64,
    /// Not written because they have expired, or were deleted after they were listed.
    pub(super) expired: u64,
}

/// The output of `--json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WriteReport {
    pub(super) dry_run: bool,
    #[serde(flatten)]
    pub(super) totals: WriteTotals,
    pub(super) calls: u64,
    pub(super) seconds: f64,
}

impl WriteTotals {
    /// Counts a pair and returns it if it is to be written.
    pub(super) fn count(&mut self, pair: KeyValuePair, existing: &ExistingKeys) -> Option<KeyValuePair> {
        self.read += 1;
        if existing.contains(&pair.key) {
            self.skipped += 1;
            return None;
        }
        let pair = unexpired(pair, now_ms() / 1000);
        *(if pair.is_some() { &mut self.written } else { &mut self.expired }) += 1;
        pair
    }

    /// Counts this many of the skipped pairs as written: an interrupted run wrote them after it
    /// saved its state.
    pub(super) fn count_as_written(&mut self, own: u64) {
        let own = own.min(self.skipped);
        self.skipped -= own;
        self.written += own;
    }
}

impl WriteReport {
    pub(super) fn write(&self, is_json: bool, out: &mut impl Write) -> Result<(), KvError> {
        if is_json {
            writeln!(out, "{}", to_json(self))?;
            return Ok(());
        }
        let WriteTotals { read, written, skipped, expired } = self.totals;
        let wrote = if self.dry_run { "would write" } else { "wrote" };
        let but = |count: u64, why: &str| if count == 0 { String::new() } else { format!(", {count} {why}") };
        let (skipped, expired) = (but(skipped, "exist already"), but(expired, "have expired"));
        writeln!(out, "{wrote} {written} of {}{skipped}{expired}", counted(read, "pair"))?;
        Ok(())
    }
}
