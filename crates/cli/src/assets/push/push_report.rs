//! The result of a push, for people and for programs.

use std::fmt::{self, Display};
use std::io::{self, Write};

use http_semantics::accept_encoding::ContentCoding;
use serde::Serialize;
use static_assets::manifest::Manifest;

use super::compress::CODINGS;
use super::release_plan::Blob;
use super::upload::BlobTotals;
use crate::progress::print_line;

/// The result of a push.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PushReport {
    /// The release that is served now; with `--dry-run`, the one that would be.
    pub(super) release: String,
    /// The release that was served before.
    pub(super) before: Option<String>,
    pub(super) dry_run: bool,
    /// True if the folder and the settings give the current release.
    pub(super) unchanged: bool,
    pub(super) files: usize,
    pub(super) bytes: u64,
    /// The values that were uploaded; with `--dry-run`, those that would be.
    pub(super) uploaded: ReportedTotals,
    /// The values that KV had already.
    pub(super) skipped: ReportedTotals,
    pub(super) encodings: Vec<EncodingSavings>,
    /// What would be uploaded; only with `--dry-run`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) upload: Option<Vec<PlannedUpload>>,
    pub(super) warnings: Vec<String>,
    /// How many calls to the API were made.
    pub(super) calls: u64,
    pub(super) seconds: f64,
}

#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct ReportedTotals {
    values: u64,
    bytes: u64,
}

/// What one content coding saves.
#[derive(Debug, Clone, Serialize)]
pub(super) struct EncodingSavings {
    coding: ContentCoding,
    /// How many files have this coding.
    files: u64,
    /// The bytes of these files without it.
    from: u64,
    /// The bytes of these files with it.
    to: u64,
}

/// A file, as it is or with a content coding, of which values would be uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct PlannedUpload {
    path: String,
    coding: Option<ContentCoding>,
    values: u64,
    bytes: u64,
}

impl From<BlobTotals> for ReportedTotals {
    fn from(count: BlobTotals) -> Self {
        Self { values: count.values, bytes: count.bytes }
    }
}

/// Returns what each content coding saves in a release.
pub(super) fn encoding_savings(manifest: &Manifest) -> Vec<EncodingSavings> {
    let of = |coding| {
        let encoded = manifest.files.iter().filter_map(|file| {
            let encoded = file.encoded.iter().find(|encoded| encoded.coding == coding)?;
            Some((file.body.length, encoded.body.length))
        });
        encoded.fold(EncodingSavings { coding, files: 0, from: 0, to: 0 }, |saved, (from, to)| EncodingSavings {
            coding,
            files: saved.files + 1,
            from: saved.from + from,
            to: saved.to + to,
        })
    };
    CODINGS.map(of).into_iter().filter(|saved| saved.files > 0).collect()
}

/// Returns what would be uploaded, one entry per file and encoding.
pub(super) fn planned_uploads<'b>(
    manifest: &Manifest,
    blobs: impl IntoIterator<Item = &'b Blob>,
) -> Vec<PlannedUpload> {
    let mut planned: Vec<PlannedUpload> = Vec::new();
    for blob in blobs {
        let path = manifest.files.get(blob.file).map_or("", |file| file.path.as_ref());
        if let Some(last) = planned.last_mut().filter(|last| last.path == path && last.coding == blob.coding) {
            last.values += 1;
            last.bytes += blob.length;
        } else {
            planned.push(PlannedUpload { path: path.to_owned(), coding: blob.coding, values: 1, bytes: blob.length });
        }
    }
    planned
}

impl PushReport {
    /// Writes the report, as JSON or for people.
    ///
    /// # Errors
    /// The output cannot be written.
    pub(super) fn write(&self, json: bool, out: &mut impl Write) -> io::Result<()> {
        if json {
            serde_json::to_writer(&mut *out, self)?;
            return writeln!(out);
        }
        for warning in &self.warnings {
            print_line(&format!("warning: {warning}"));
        }
        for planned in self.upload.iter().flatten() {
            let coding = planned.coding.map(|coding| format!(" ({})", coding.as_str())).unwrap_or_default();
            writeln!(out, "{:>12}  {}{coding}", planned.bytes.to_string(), planned.path)?;
        }
        let (release, uploaded) = (&self.release, self.uploaded.values);
        match (self.dry_run, self.unchanged) {
            (true, true) if uploaded == 0 => writeln!(out, "Nothing has changed: {release} would stay as it is.")?,
            (true, true) => writeln!(out, "{release} would stay, with {uploaded} lost values uploaded again.")?,
            (true, false) => writeln!(out, "{release} would be pushed.")?,
            (false, true) if uploaded == 0 => writeln!(out, "Nothing has changed: {release} is served.")?,
            (false, true) => writeln!(out, "{release} is served, with {uploaded} lost values uploaded again.")?,
            (false, false) => writeln!(out, "{release} is served.")?,
        }
        if let Some(before) = self.before.as_ref().filter(|_| !self.unchanged) {
            writeln!(out, "  before    {before}")?;
        }
        writeln!(out, "  files     {} ({})", self.files, HumanBytes(self.bytes))?;
        let verb = if self.dry_run { "to upload" } else { "uploaded " };
        writeln!(out, "  {verb} {} values ({})", self.uploaded.values, HumanBytes(self.uploaded.bytes))?;
        writeln!(out, "  skipped   {} values ({}), which KV has", self.skipped.values, HumanBytes(self.skipped.bytes))?;
        for EncodingSavings { coding, files, from, to } in &self.encodings {
            let (from, to) = (HumanBytes(*from), HumanBytes(*to));
            writeln!(out, "  {:<9} {from} are {to} in {files} files", coding.as_str())?;
        }
        writeln!(out, "  took      {:.1} s, {} calls", self.seconds, self.calls)
    }
}

/// Displays a number of bytes for people, in decimal units.
struct HumanBytes(u64);

impl Display for HumanBytes {
    #[allow(clippy::cast_precision_loss)] // Two digits are shown.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            few @ 0..1000 => write!(formatter, "{few} B"),
            some @ 1000..1_000_000 => write!(formatter, "{:.1} kB", some as f64 / 1e3),
            many @ 1_000_000..1_000_000_000 => write!(formatter, "{:.1} MB", many as f64 / 1e6),
            more => write!(formatter, "{:.1} GB", more as f64 / 1e9),
        }
    }
}
