//! `kv-edge token revoke`: adds a name to the list of revoked tokens.
//!
//! The list is one key, and Workers KV has no compare-and-swap: of two lists that are written at
//! once, it keeps one. So a list that was written is read again, and written again with the names
//! of both if it lacks one.

use std::io::Write;
use std::ops::RangeInclusive;

use kv_api::token::{REVOKED_KEY, RevokedTokens};
use serde_json::json;

use super::TokenError;
use crate::api::Namespace;
use crate::clock;
use crate::config::UserConfigurationArguments;
use crate::progress::Progress;

const EXAMPLES: &str = "\
Every token of that name stops working within CONFIG_REFRESH and the 60 seconds of KV itself. The list is the key
kv-edge:revoked-tokens of USER_CONFIGURATION, a JSON array of names. Do not use the name again.

The list is read again a second or two after it was written, in case another revocation replaced it. One that takes longer for that,
or that runs where KV does not show this list yet (up to 60 seconds), still can. If others may revoke at the same time, run the same
command again a minute later: it prints that the name is revoked already, or revokes it again.

Examples:
  kv-edge token revoke ci --local
  kv-edge token revoke ci --dry-run

With --json:
  {\"revoked\", \"changed\", \"dryRun\"}";

/// How often the list is written at most.
pub(super) const WRITES_MAX: u32 = 4;

/// How long after a write the list is read again, in milliseconds. KV accepts one write per second
/// to a key ("Limits"), and of several writers each waits for another time.
const CHECK_AFTER_MS: RangeInclusive<u64> = 1000..=2000;

/// Ends all tokens of a name before they expire
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RevokeArguments {
    /// The name, as `token create --name` has set it
    #[arg(value_name = "NAME", value_parser = super::name)]
    name: String,

    #[command(flatten)]
    pub(super) namespace: UserConfigurationArguments,
}

impl RevokeArguments {
    pub(super) fn run(self, out: &mut impl Write) -> Result<(), TokenError> {
        let name = &self.name;
        let namespace = self.namespace.open(&Progress::new(self.namespace.json))?;
        let mut revoked = stored(&namespace)?;
        let is_changed = revoked.add(name);
        let dry_run = self.namespace.dry_run;
        if is_changed && !dry_run {
            store(&namespace, revoked)?;
        }
        if self.namespace.json {
            writeln!(out, "{}", json!({ "revoked": name, "changed": is_changed, "dryRun": dry_run }))?;
        } else if !is_changed {
            writeln!(out, "{name} is revoked already")?;
        } else if dry_run {
            writeln!(out, "would revoke {name}")?;
        } else {
            writeln!(out, "revoked {name}")?;
        }
        Ok(())
    }
}

fn stored(namespace: &Namespace) -> Result<RevokedTokens, TokenError> {
    let list = namespace.get(&REVOKED_KEY)?.map(|list| String::from_utf8_lossy(&list).into_owned());
    RevokedTokens::parse(list.as_deref()).map_err(TokenError::BrokenList)
}

/// Writes the list until KV shows all of its names, with those that KV shows meanwhile.
fn store(namespace: &Namespace, mut revoked: RevokedTokens) -> Result<(), TokenError> {
    for _ in 0..WRITES_MAX {
        namespace.put(&REVOKED_KEY, revoked.to_json().as_bytes(), None, None)?;
        clock::sleep(fastrand::u64(CHECK_AFTER_MS), || false);
        if !revoked.merge(stored(namespace)?) {
            return Ok(());
        }
    }
    Err(TokenError::NotShown)
}
