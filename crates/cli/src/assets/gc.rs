//! `kv-edge assets gc`: deletes releases that are not kept, and blobs (values with the bytes of
//! files) that no kept release reaches. What is young, or of unknown age, stays.
//!
//! Everything that the decision depends on is read before anything is deleted, and a read that
//! fails stops the command. Manifests are deleted before blobs: if the command dies in between,
//! blobs are left that no release needs, and the next `gc` finds them. No release loses its blobs,
//! unless `--force` lets this run beside a push.

use std::collections::HashSet;
use std::io::Write;

use kv_store::record::to_json;
use serde::Serialize;
use static_assets::keys::{BLOBS, LEASES, MANIFESTS};
use static_assets::lease;
use static_assets::manifest::{File, FileBody, Manifest};
use static_assets::release::{BlobMetadata, Pointer, Release};

use super::lease::{check_no_other, with_lease};
use super::releases::{self, ReleaseError};
use super::{AssetsError, AssetsNamespaceArguments};
use crate::api::{ApiError, Namespace, NamespaceKey};
use crate::clock;
use crate::duration;
use crate::number::whole;
use crate::progress::{Progress, Unit};

/// The number of keys that are deleted between two updates of the progress bar.
const KEYS_PER_STEP: usize = 1000;

const EXAMPLES: &str = r#"These are kept: as many releases as --keep says, whatever was uploaded less than --min-age ago or at an unknown time, and all values
that the kept releases need.

Examples:
  kv-edge assets gc --dry-run
  kv-edge assets gc --keep 2 --min-age 1d

With --json:
  {"dryRun", "kept": [releases], "deleted": [releases], "blobs": {"deleted", "needed", "young"}, "calls"}"#;

/// Deletes old releases, and the values that only they need
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct GcArguments {
    /// How many releases to keep: always the one that is served, then those served before it,
    /// then the newest
    #[arg(long, value_name = "N", default_value_t = 5, allow_negative_numbers = true, value_parser = whole(0_usize..=1_000_000))]
    keep: usize,

    /// Keep whatever was uploaded more recently than this: 45s, 30m, 1h, 2d
    #[arg(long, value_name = "AGE", default_value = "1h", value_parser = duration::parse)]
    min_age: u64,

    /// Run even if a push, a rollback or another gc is running, or died and left its lease behind
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    namespace: AssetsNamespaceArguments,
}

/// Which releases stay and which are deleted, by id.
#[derive(Debug, PartialEq, Eq)]
struct ReleaseSelection {
    kept: Vec<String>,
    deletable: Vec<String>,
}

/// Why nothing is deleted.
#[derive(Debug, thiserror::Error)]
pub(super) enum GcError {
    #[error("another release was switched to in the meantime; nothing was deleted, run this again")]
    Switched,
    /// A namespace that has lost its pointer looks like this, too.
    #[error("there are releases, such as {newest}, but none of them is served; push again first, nothing was deleted")]
    NoneServed { newest: String },
    /// The manifest of a kept release cannot be read.
    #[error(
        "{0}. Nothing was deleted, because it is unknown which values that release needs; run this again, or push \
         again and keep fewer releases (--keep)"
    )]
    Manifest(ReleaseError),
}

/// Which blobs are deleted, and how many stay.
#[derive(Debug, Default, PartialEq, Eq)]
struct BlobSelection {
    /// The keys to delete.
    deletable: Vec<String>,
    /// How many blobs a kept release reaches. A listed key that is no blob counts here, too.
    needed: usize,
    /// How many no kept release reaches, but which are young, or whose time is unknown or in the
    /// future.
    young: usize,
}

/// The output of `--json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct GcReport<'a> {
    dry_run: bool,
    kept: &'a [String],
    deleted: &'a [String],
    blobs: GcBlobCounts,
    calls: u64,
}

#[derive(Debug, Serialize)]
struct GcBlobCounts {
    deleted: usize,
    needed: usize,
    young: usize,
}

impl GcArguments {
    pub(super) fn namespace(&self) -> &AssetsNamespaceArguments {
        &self.namespace
    }

    pub(super) fn run(self, out: &mut impl Write) -> Result<(), AssetsError> {
        let progress = Progress::new(self.namespace.json);
        let namespace = self.namespace.open(&progress)?;
        self.check_leases(&namespace, None)?;
        let pointer = releases::pointer(&namespace)?;
        let (releases, blobs) = self.plan(&namespace, pointer.as_ref(), &progress)?;
        if !self.namespace.dry_run {
            // Commands that start from now on see the lease and stop. Those that started while
            // the releases were being read are either still running and have a lease, or are
            // finished and have moved the pointer.
            let own_name = lease::gc_name(clock::now_ms());
            with_lease(&namespace, &progress, &own_name, |namespace| {
                self.check_leases(namespace, Some(&own_name))?;
                if releases::pointer(namespace)? != pointer {
                    return Err(GcError::Switched.into());
                }
                let manifests: Vec<_> = releases.deletable.iter().map(|id| format!("{MANIFESTS}{id}")).collect();
                delete(namespace, &progress, "deleting releases", &manifests)?;
                Ok::<_, AssetsError>(delete(namespace, &progress, "deleting values", &blobs.deletable)?)
            })?;
        }
        self.report(&releases, &blobs, namespace.calls(), out)
    }

    /// Fails if a push, a rollback or another gc is running, unless `--force` is given: no release
    /// reaches the blobs of a running push yet, and the push relies on those that it found in KV.
    fn check_leases(&self, namespace: &Namespace, own_name: Option<&str>) -> Result<(), AssetsError> {
        let leases = if self.force { Vec::new() } else { namespace.list(LEASES)? };
        Ok(check_no_other(&leases, own_name)?)
    }

    fn plan(
        &self,
        namespace: &Namespace,
        pointer: Option<&Pointer>,
        progress: &Progress,
    ) -> Result<(ReleaseSelection, BlobSelection), AssetsError> {
        let mut all = releases::all(namespace)?;
        // KV's list may not show a release yet that was served. Its age is unknown, so it is kept.
        for id in pointer.into_iter().flat_map(Pointer::named) {
            let is_listed = all.iter().any(|release| release.id == *id);
            if !is_listed && releases::manifest(namespace, id).map_err(GcError::Manifest)?.is_some() {
                all.push(Release { id: id.clone(), metadata: None });
            }
        }
        // Read before the blobs are listed, so that none becomes old enough in between.
        let now_ms = clock::now_ms();
        let releases = select_releases(pointer, &all, self.keep, now_ms, self.min_age)?;
        let total = releases.kept.len() as u64;
        let phase = progress.phase("reading releases", total, Unit::Keys);
        let mut reachable = HashSet::new();
        for id in &releases.kept {
            let manifest = releases::manifest(namespace, id)
                .and_then(|manifest| manifest.ok_or_else(|| ReleaseError::NotFound(id.clone())));
            add_reachable(&mut reachable, &manifest.map_err(GcError::Manifest)?);
            phase.add(1);
        }
        phase.done(&format!("{total}"));
        let phase = progress.phase("listing values", 0, Unit::Keys);
        let listed = namespace.list(BLOBS)?;
        phase.done(&format!("{}", listed.len()));
        Ok((releases, select_blobs(listed, &reachable, now_ms, self.min_age)))
    }

    fn report(
        &self,
        releases: &ReleaseSelection,
        blobs: &BlobSelection,
        calls: u64,
        out: &mut impl Write,
    ) -> Result<(), AssetsError> {
        let dry_run = self.namespace.dry_run;
        let counts = GcBlobCounts { deleted: blobs.deletable.len(), needed: blobs.needed, young: blobs.young };
        if self.namespace.json {
            let report = GcReport { dry_run, kept: &releases.kept, deleted: &releases.deletable, blobs: counts, calls };
            writeln!(out, "{}", to_json(&report))?;
            return Ok(());
        }
        let deleted = if dry_run { "would delete" } else { "deleted" };
        for id in &releases.deletable {
            writeln!(out, "{deleted} the release {id}")?;
        }
        let young = match counts.young {
            0 => String::new(),
            young => format!(", {young} unreferenced but too young to delete"),
        };
        writeln!(
            out,
            "{deleted} {} and {}; kept {} with {}{young}",
            counted(releases.deletable.len(), "release"),
            counted(counts.deleted, "value"),
            counted(releases.kept.len(), "release"),
            counted(counts.needed, "value"),
        )?;
        Ok(())
    }
}

fn counted(count: usize, name: &str) -> String {
    format!("{count} {name}{}", if count == 1 { "" } else { "s" })
}

/// Decides which releases stay: as many as `keep` says, and the young ones. `all` has the newest
/// first. Releases that were served take precedence over newer ones, because their hashed files
/// are still served. A current release without a manifest is kept too, so that reading it fails
/// and stops the command.
fn select_releases(
    pointer: Option<&Pointer>,
    all: &[Release],
    keep: usize,
    now_ms: u64,
    min_age_ms: u64,
) -> Result<ReleaseSelection, GcError> {
    let Some(pointer) = pointer else {
        return match all.first() {
            None => Ok(ReleaseSelection { kept: Vec::new(), deletable: Vec::new() }),
            Some(newest) => Err(GcError::NoneServed { newest: newest.id.clone() }),
        };
    };
    let existing: HashSet<&str> = all.iter().map(|release| release.id.as_str()).collect();
    let mut selected = HashSet::from([pointer.current.as_str()]);
    let previous = pointer.previous.iter().map(String::as_str).filter(|id| existing.contains(id));
    for id in previous.chain(all.iter().map(|release| release.id.as_str())) {
        if selected.len() >= keep {
            break;
        }
        selected.insert(id);
    }
    let is_kept = |release: &&Release| {
        let is_young = release.metadata.as_ref().is_none_or(|known| is_young(known.created_ms, now_ms, min_age_ms));
        selected.contains(release.id.as_str()) || is_young
    };
    let (kept, deletable): (Vec<_>, Vec<_>) = all.iter().partition(is_kept);
    let ids = |releases: Vec<&Release>| -> Vec<String> { releases.iter().map(|release| release.id.clone()).collect() };
    let mut kept = ids(kept);
    if !kept.contains(&pointer.current) {
        kept.push(pointer.current.clone());
    }
    Ok(ReleaseSelection { kept, deletable: ids(deletable) })
}

/// Returns true if something was uploaded less than `min_age_ms` ago, or has a time in the
/// future.
fn is_young(uploaded_ms: u64, now_ms: u64, min_age_ms: u64) -> bool {
    now_ms.saturating_sub(uploaded_ms) < min_age_ms || uploaded_ms > now_ms
}

/// Adds the hashes of all blobs that a release needs.
fn add_reachable(reachable: &mut HashSet<String>, manifest: &Manifest) {
    let bodies = manifest.files.iter().flat_map(File::bodies);
    reachable.extend(bodies.flat_map(FileBody::parts).map(|(hash, _)| hash.to_owned()));
}

/// Decides which of the listed blobs are deleted.
fn select_blobs(listed: Vec<NamespaceKey>, reachable: &HashSet<String>, now_ms: u64, min_age_ms: u64) -> BlobSelection {
    let mut blobs = BlobSelection::default();
    for NamespaceKey { name, metadata, .. } in listed {
        let is_reachable = name.strip_prefix(BLOBS).is_none_or(|hash| reachable.contains(hash));
        let metadata = metadata.and_then(|metadata| metadata.read::<BlobMetadata>());
        let is_old = metadata.is_some_and(|known| !is_young(known.uploaded_ms, now_ms, min_age_ms));
        if is_reachable {
            blobs.needed += 1;
        } else if is_old {
            blobs.deletable.push(name);
        } else {
            blobs.young += 1;
        }
    }
    blobs
}

fn delete(namespace: &Namespace, progress: &Progress, what: &str, keys: &[String]) -> Result<(), ApiError> {
    if keys.is_empty() {
        return Ok(());
    }
    let phase = progress.phase(what, keys.len() as u64, Unit::Keys);
    for keys in keys.chunks(KEYS_PER_STEP) {
        namespace.bulk_delete(keys)?;
        phase.add(keys.len() as u64);
    }
    phase.done(&format!("{}", keys.len()));
    Ok(())
}

#[cfg(test)]
mod tests;
