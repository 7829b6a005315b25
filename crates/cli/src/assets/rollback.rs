//! `kv-edge assets rollback`: makes an earlier release the current one.

use std::io::Write;

use serde_json::json;
use static_assets::keys::POINTER;
use static_assets::release::Pointer;

use super::releases::{self, Release};
use super::{AssetsError, AssetsNamespaceArguments, lease};
use crate::api::listed;
use crate::clock;
use crate::progress::Progress;

/// The number of previous releases whose hashed files are still served, unless the pointer
/// already lists more.
const PREVIOUS_MIN: usize = 3;

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
pub(super) enum RollbackError {
    #[error("nothing was pushed yet; `kv-edge assets push DIR` creates a release")]
    NothingPushed,
    #[error("no release was served before {0}; give one that `kv-edge assets list` shows")]
    NoneBefore(String),
    #[error("the release {to} does not exist; use one of these: {}", listed(.known))]
    UnknownRelease { to: String, known: Vec<String> },
    #[error("the release {0} does not exist, and there is no other; push again")]
    NoOtherRelease(String),
}

impl RollbackError {
    fn unknown_release(to: &str, all: &[Release]) -> Self {
        let (to, known) = (to.to_owned(), all.iter().map(|release| release.id.clone()).collect::<Vec<_>>());
        if known.is_empty() { Self::NoOtherRelease(to) } else { Self::UnknownRelease { to, known } }
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
        let (before, to) = target(before.as_ref(), self.release.as_deref(), &all)?;
        let (from, is_changed) = (before.current.as_str(), before.current != to);
        if is_changed {
            // The list may contain a release that cannot be read any more, or not yet, and an
            // unreadable one must not be served.
            let check = || match releases::manifest(&namespace, to)? {
                None => Err(AssetsError::from(RollbackError::unknown_release(to, &all))),
                Some(_) => Ok(()),
            };
            let now_ms = clock::now_ms();
            if self.namespace.dry_run {
                check()?;
            } else {
                // Read under the lease: a gc that was running before may have deleted the
                // release.
                lease::with_lease_unless_gc(&namespace, &progress, &lease::rollback_lease_name(now_ms), |_| {
                    check()?;
                    let previous_max = before.previous.len().max(PREVIOUS_MIN);
                    let after = Pointer::rolled_back(before, to, previous_max, now_ms);
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

/// Returns the current pointer and the release to go back to.
fn target<'a>(
    before: Option<&'a Pointer>,
    release: Option<&'a str>,
    all: &[Release],
) -> Result<(&'a Pointer, &'a str), RollbackError> {
    let before = before.ok_or(RollbackError::NothingPushed)?;
    let previous = || before.previous.first().map(String::as_str);
    let to = release.or_else(previous).ok_or_else(|| RollbackError::NoneBefore(before.current.clone()))?;
    if all.iter().any(|release| release.id == to) {
        Ok((before, to))
    } else {
        Err(RollbackError::unknown_release(to, all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollback_goes_to_the_previous_release_or_to_the_given_one() {
        let all: Vec<_> = ["d", "c", "a"].map(|id| Release { id: id.to_owned(), metadata: None }).into();
        let pointer = |current: &str, previous: &[&str]| Pointer {
            previous: previous.iter().map(|id| (*id).to_owned()).collect(),
            ..Pointer::switched(None, current, 3, 1)
        };
        for (before, release, expected) in [
            (Some(pointer("d", &["c", "a"])), None, Ok("c")),
            (Some(pointer("d", &["c", "a"])), Some("a"), Ok("a")),
            (Some(pointer("d", &["c"])), Some("d"), Ok("d")),
            // A rollback of a rollback.
            (Some(pointer("c", &["d"])), None, Ok("d")),
            (Some(pointer("d", &["b", "c"])), None, Err("the release b does not exist; use one of these: d, c, a")),
            (Some(pointer("d", &["c"])), Some("x"), Err("the release x does not exist; use one of these: d, c, a")),
            (
                Some(pointer("d", &[])),
                None,
                Err("no release was served before d; give one that `kv-edge assets list` shows"),
            ),
            (None, None, Err("nothing was pushed yet; `kv-edge assets push DIR` creates a release")),
            (None, Some("d"), Err("nothing was pushed yet; `kv-edge assets push DIR` creates a release")),
        ] {
            let found = target(before.as_ref(), release, &all).map(|(_, to)| to).map_err(|error| error.to_string());
            assert_eq!(found, expected.map_err(str::to_owned), "{before:?} {release:?}");
        }
        let before = pointer("d", &["c"]);
        assert_eq!(
            target(Some(&before), None, &[]).unwrap_err().to_string(),
            "the release c does not exist, and there is no other; push again"
        );
    }
}
