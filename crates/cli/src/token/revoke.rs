//! `kv-edge token revoke`: adds a name to the list of revoked tokens.

use std::io::Write;

use kv_api::token::{REVOKED_KEY, RevokedTokens};
use serde_json::json;

use super::TokenError;
use crate::config::UserConfigurationArguments;
use crate::progress::Progress;

const EXAMPLES: &str = "\
Every token of that name stops working within CONFIG_REFRESH and the 60 seconds of KV itself. The list is the key
kv-edge:revoked-tokens of USER_CONFIGURATION, a JSON array of names. Revoke from one place at a time: of two lists that are
written at once, KV keeps one. Do not use the name again.

Examples:
  kv-edge token revoke ci --local
  kv-edge token revoke ci --dry-run

With --json:
  {\"revoked\", \"changed\", \"dryRun\"}";

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
        let list = namespace.get(&REVOKED_KEY)?.map(|list| String::from_utf8_lossy(&list).into_owned());
        let mut revoked = RevokedTokens::parse(list.as_deref()).map_err(TokenError::BrokenList)?;
        let is_changed = revoked.add(name);
        let dry_run = self.namespace.dry_run;
        if is_changed && !dry_run {
            namespace.put(&REVOKED_KEY, revoked.to_json().as_bytes(), None, None)?;
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
