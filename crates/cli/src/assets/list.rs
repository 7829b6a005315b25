//! `kv-edge assets list`: shows the releases, and which one is served.

use std::io::Write;

use indicatif::DecimalBytes;
use kv_store::record::to_json;
use serde::Serialize;
use static_assets::release::{Pointer, Release};

use super::releases;
use super::{AssetsError, AssetsNamespaceArguments};
use crate::clock;
use crate::duration;
use crate::progress::Progress;

const EXAMPLES: &str = r#"Examples:
  kv-edge assets list
  kv-edge assets list --local --json

With --json:
  {"current", "previous": […], "releases": [{"id", "createdMs", "files", "bytes", "isCurrent"}]}
  The newest release comes first; "current" is null if nothing was pushed yet; a figure is null if it is unknown."#;

/// Lists the releases, the newest first
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ListArguments {
    #[command(flatten)]
    namespace: AssetsNamespaceArguments,
}

/// The output of `--json`.
#[derive(Debug, Serialize)]
struct ReleaseList<'a> {
    current: Option<&'a str>,
    previous: &'a [String],
    releases: Vec<ListedRelease<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ListedRelease<'a> {
    id: &'a str,
    created_ms: Option<u64>,
    files: Option<u64>,
    bytes: Option<u64>,
    is_current: bool,
}

impl ListArguments {
    pub(super) fn namespace(&self) -> &AssetsNamespaceArguments {
        &self.namespace
    }

    pub(super) fn run(self, out: &mut impl Write) -> Result<(), AssetsError> {
        let namespace = self.namespace.open(&Progress::new(self.namespace.json))?;
        let pointer = releases::pointer(&namespace)?;
        let all = releases::all(&namespace)?;
        if self.namespace.json {
            writeln!(out, "{}", to_json(&report(pointer.as_ref(), &all)))?;
        } else {
            for line in lines(pointer.as_ref(), &all, clock::now_ms()) {
                writeln!(out, "{line}")?;
            }
        }
        Ok(())
    }
}

fn report<'a>(pointer: Option<&'a Pointer>, all: &'a [Release]) -> ReleaseList<'a> {
    let current = pointer.map(|pointer| pointer.current.as_str());
    let row = |release: &'a Release| {
        let metadata = release.metadata.as_ref();
        ListedRelease {
            id: &release.id,
            created_ms: metadata.map(|metadata| metadata.created_ms),
            files: metadata.map(|metadata| metadata.files),
            bytes: metadata.map(|metadata| metadata.bytes),
            is_current: current == Some(release.id.as_str()),
        }
    };
    let previous = pointer.map_or(&[][..], |pointer| &pointer.previous);
    ReleaseList { current, previous, releases: all.iter().map(row).collect() }
}

/// Returns a line per release, with a `*` before the one that is served.
fn lines(pointer: Option<&Pointer>, all: &[Release], now_ms: u64) -> Vec<String> {
    let current = pointer.map(|pointer| pointer.current.as_str());
    let line = |release: &Release| {
        let star = if current == Some(release.id.as_str()) { '*' } else { ' ' };
        let known = release.metadata.as_ref().map(|metadata| {
            let ago = duration::words(now_ms.saturating_sub(metadata.created_ms));
            let files = if metadata.files == 1 { "file" } else { "files" };
            format!("  {} {files}, {}, {ago} old", metadata.files, DecimalBytes(metadata.bytes))
        });
        format!("{star} {}{}", release.id, known.unwrap_or_default())
    };
    let mut lines: Vec<_> = all.iter().map(line).collect();
    if lines.is_empty() {
        lines.push("there is no release; `kv-edge assets push DIR` creates one".to_owned());
    }
    if let Some(current) = current
        && !all.iter().any(|release| release.id == current)
    {
        lines.push(format!(
            "warning: {current} is the current release, but it does not exist; push again, or go back to another \
             one: kv-edge assets rollback RELEASE"
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use static_assets::release::ManifestMetadata;

    use super::*;

    fn release(id: &str, metadata: Option<(u64, u64, u64)>) -> Release {
        let metadata = metadata.map(|(created_ms, files, bytes)| ManifestMetadata { created_ms, files, bytes });
        Release { id: id.to_owned(), metadata }
    }

    #[test]
    fn the_release_that_is_served_has_a_star() {
        let all = [release("b", Some((1_000_000, 12, 3_400_000))), release("a", Some((0, 1, 5))), release("0", None)];
        let pointer = Pointer::switched(None, "a", 3, 1);
        assert_eq!(
            lines(Some(&pointer), &all, 1_060_000),
            ["  b  12 files, 3.40 MB, 1 minute old", "* a  1 file, 5 B, 17 minutes old", "  0"]
        );
        let json = serde_json::to_value(report(Some(&pointer), &all[1..])).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"current": "a", "previous": [], "releases": [
                {"id": "a", "createdMs": 0, "files": 1, "bytes": 5, "isCurrent": true},
                {"id": "0", "createdMs": null, "files": null, "bytes": null, "isCurrent": false}
            ]})
        );
    }

    #[test]
    fn missing_releases_are_reported() {
        assert_eq!(lines(None, &[], 0), ["there is no release; `kv-edge assets push DIR` creates one"]);
        let lines = lines(Some(&Pointer::switched(None, "a", 3, 1)), &[release("b", None)], 0);
        assert!(
            lines.last().unwrap().starts_with("warning: a is the current release, but it does not exist"),
            "{lines:?}"
        );
    }
}
