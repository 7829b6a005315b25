//! `kv-edge assets rollback`: makes another release the current one, by default the one that was
//! served before.

use std::io::Write;

use serde_json::json;
use static_assets::keys::POINTER;
use static_assets::lease;
use static_assets::release::{Pointer, Release};
use static_assets::rollback::{self, RollbackError};

use super::lease::with_lease_unless_gc;
use super::{AssetsError, AssetsNamespaceArguments, releases};
use crate::api::{Namespace, listed};
use crate::clock;
use crate::progress::Progress;

const EXAMPLES: &str = r#"A rollback writes one key, the one that names the release to serve. Nothing is uploaded, and the release before stays, so a rollback
can be undone.

Examples:
  kv-edge assets rollback                                to the release that was served before
  kv-edge assets rollback 20261121T114435Z-9f86d081      to that one
  kv-edge assets rollback --dry-run

With --json:
  {"from", "to", "changed", "dryRun"}"#;

/// Goes back to an earlier release
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RollbackArguments {
    /// The release, as `assets list` shows it [default: the one that was served before]
    #[arg(value_name = "RELEASE", value_parser = release)]
    release: Option<String>,

    #[command(flatten)]
    namespace: AssetsNamespaceArguments,
}

/// Why there is no release to go back to.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoRelease {
    #[error(transparent)]
    Rollback(RollbackError),
    #[error("the release {to} does not exist; use one of these: {}", listed(.known))]
    Unknown { to: String, known: Vec<String> },
    #[error("the release {0} does not exist, and there is no other; push again")]
    NoOther(String),
}

impl NoRelease {
    /// Adds which releases there are.
    fn of(error: RollbackError, all: &[Release]) -> Self {
        let RollbackError::NotFound(to) = error else { return Self::Rollback(error) };
        let known: Vec<_> = all.iter().map(|release| release.id.clone()).collect();
        if known.is_empty() { Self::NoOther(to) } else { Self::Unknown { to, known } }
    }
}

fn release(name: &str) -> Result<String, String> {
    if name.trim().is_empty() {
        return Err("it is empty; give a release that `kv-edge assets list` shows".to_owned());
    }
    Ok(name.to_owned())
}

impl RollbackArguments {
    pub(super) fn namespace(&self) -> &AssetsNamespaceArguments {
        &self.namespace
    }

    pub(super) fn run(self, out: &mut impl Write) -> Result<(), AssetsError> {
        let progress = Progress::new(self.namespace.json);
        let namespace = self.namespace.open(&progress)?;
        let all = releases::all(&namespace)?;
        let before = releases::pointer(&namespace)?;
        let target = rollback::target(before.as_ref(), self.release.as_deref(), &all);
        let (before, to) = target.map_err(|error| NoRelease::of(error, &all))?;
        let (from, is_changed) = (before.current.as_str(), before.current != to);
        if is_changed {
            // The list may contain a release that cannot be read any more, or not yet, and an
            // unreadable one must not be served.
            let check = |namespace: &Namespace| match releases::manifest(namespace, to)? {
                None => Err(AssetsError::from(NoRelease::of(RollbackError::NotFound(to.to_owned()), &all))),
                Some(_) => Ok(()),
            };
            let now_ms = clock::now_ms();
            if self.namespace.dry_run {
                check(&namespace)?;
            } else {
                // Read under the lease: a gc that was running before may have deleted the
                // release.
                with_lease_unless_gc(&namespace, &progress, &lease::rollback_name(now_ms), |namespace| {
                    check(namespace)?;
                    let after = Pointer::rolled_back(before, to, now_ms);
                    let value = serde_json::to_vec(&after)?;
                    Ok::<(), AssetsError>(namespace.put(&POINTER, &value, None, None)?)
                })?;
            }
        }
        let dry_run = self.namespace.dry_run;
        if self.namespace.json {
            writeln!(out, "{}", json!({ "from": from, "to": to, "changed": is_changed, "dryRun": dry_run }))?;
        } else if !is_changed {
            writeln!(out, "{to} is served already")?;
        } else if dry_run {
            writeln!(out, "would go back from {from} to {to}")?;
        } else {
            writeln!(
                out,
                "went back from {from} to {to}; visitors see it once ASSETS_REFRESH and KV's caches have expired"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_that_does_not_exist_is_reported_with_those_that_do() {
        let all = ["d", "c", "a"].map(|id| Release { id: id.to_owned(), metadata: None });
        for (all, expected) in [
            (&all[..], "the release x does not exist; use one of these: d, c, a"),
            (&[], "the release x does not exist, and there is no other; push again"),
        ] {
            assert_eq!(NoRelease::of(RollbackError::NotFound("x".to_owned()), all).to_string(), expected);
        }
    }
}
