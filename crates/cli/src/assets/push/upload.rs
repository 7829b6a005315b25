//! Uploads a release. Until the pointer is written, in one call, visitors get the previous
//! release; from then on, everything that the new one names is in KV.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;
use static_assets::manifest::Manifest;
use static_assets::release::{self, BlobMetadata, ManifestMetadata, Pointer};

use super::error::PushError;
use super::plan::{self, Blob, Origin};
use super::read;
use super::spool::Spool;
use super::walk::SourceFile;
use crate::api::{ApiError, CallQueue, KeyValuePair, Namespace, concurrent_calls};
use crate::assets::marks::{self, Mark};
use crate::assets::releases::{self, ReleaseError};
use crate::json;
use crate::progress::{Progress, Unit};

/// What an upload needs.
pub(super) struct Upload<'a> {
    pub(super) namespace: &'a Namespace,
    pub(super) sources: &'a [SourceFile],
    pub(super) spool: &'a Spool,
    pub(super) progress: &'a Progress,
    pub(super) now_ms: u64,
}

/// A number of values, and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) values: u64,
    pub(super) bytes: u64,
}

impl Count {
    pub(super) fn of<'b>(blobs: impl IntoIterator<Item = &'b Blob>) -> Self {
        blobs
            .into_iter()
            .fold(Self::default(), |count, blob| Self { values: count.values + 1, bytes: count.bytes + blob.length })
    }
}

/// Returns the hashes of the blobs that KV has.
pub(super) fn there(namespace: &Namespace) -> Result<HashSet<String>, ApiError> {
    let listed = namespace.list(static_assets::keys::BLOBS)?;
    Ok(listed
        .into_iter()
        .filter_map(|key| key.name.strip_prefix(static_assets::keys::BLOBS).map(str::to_owned))
        .collect())
}

impl Upload<'_> {
    /// Uploads a release and switches to it, in this order:
    ///
    /// 1. The lease. `assets gc` deletes nothing while one is held; if it is deleting already,
    ///    this stops here.
    /// 2. The values that KV lacks. Their keys are hashes, so writing one twice changes nothing.
    /// 3. The list of blobs once more: a value that was not uploaded because it existed must
    ///    still exist.
    /// 4. The manifest, which no request reads yet.
    /// 5. The pointer: from here on the new release is served.
    /// 6. The lease is given up.
    ///
    /// If a push dies before step 5, it leaves values that nobody reads, and the next push reuses
    /// them.
    ///
    /// # Errors
    /// [`PushError`]. Nothing was switched, unless the error is about step 5 or 6.
    pub(super) fn release(
        &self,
        manifest: &Manifest,
        blobs: &[Blob],
        there: &HashSet<String>,
        keep: usize,
    ) -> Result<Count, PushError> {
        marks::away_from_gc(self.namespace, self.progress, &manifest.id, |mark| {
            let uploaded = self.values(mark, blobs, there)?;
            self.progress.note("writing the manifest and switching");
            self.write_manifest(manifest)?;
            mark.renew()?;
            // Read again, so that a rollback in the meantime is recorded among the previous
            // releases.
            let before = match releases::pointer(self.namespace) {
                Err(ReleaseError::Pointer(_)) => None,
                read => read?,
            };
            let pointer = Pointer::switched(before.as_ref(), &manifest.id, keep, self.now_ms);
            let json = serde_json::to_vec(&pointer)?;
            self.namespace.put(&static_assets::keys::POINTER, &json, None, None)?;
            Ok(uploaded)
        })
    }

    /// Uploads values of the current release that KV has lost.
    ///
    /// # Errors
    /// [`PushError`]
    pub(super) fn mend(&self, id: &str, blobs: &[Blob], there: &HashSet<String>) -> Result<Count, PushError> {
        marks::away_from_gc(self.namespace, self.progress, id, |mark| self.values(mark, blobs, there))
    }

    /// Steps 2 and 3.
    fn values(&self, mark: &Mark, blobs: &[Blob], there: &HashSet<String>) -> Result<Count, PushError> {
        let (skipped, lacking): (Vec<&Blob>, Vec<&Blob>) =
            blobs.iter().partition(|blob| there.contains(blob.hash.as_ref()));
        self.send(mark, &lacking, "uploading")?;
        if skipped.is_empty() {
            return Ok(Count::of(lacking));
        }
        // Only the values that were not uploaded: a list may not have yet what was just written.
        let there = self::there(self.namespace)?;
        mark.renew()?;
        let lost: Vec<&Blob> = skipped.into_iter().filter(|blob| !there.contains(blob.hash.as_ref())).collect();
        self.send(mark, &lost, "uploading what was deleted meanwhile")?;
        Ok(Count::of(lacking.into_iter().chain(lost)))
    }

    /// Uploads values, a few calls at a time. Values are read only when a call is free, so that
    /// few are in memory.
    fn send(&self, mark: &Mark, blobs: &[&Blob], what: &str) -> Result<(), PushError> {
        if blobs.is_empty() {
            return Ok(());
        }
        let total = Count::of(blobs.iter().copied());
        let phase = self.progress.phase(what, total.bytes, Unit::Bytes);
        let uploaded = AtomicU64::new(0);
        concurrent_calls(
            |queue| self.batch(blobs, queue),
            |items: Vec<KeyValuePair>| {
                let (values, bytes) = (items.len() as u64, items.iter().map(|item| item.value.len() as u64).sum());
                let put = self.namespace.bulk_put(items).and_then(|()| mark.renew());
                put.map_err(PushError::NotUploaded)?;
                uploaded.fetch_add(values, Ordering::Relaxed);
                phase.add(bytes);
                Ok(())
            },
        )?;
        phase.done(&format!("{} values", uploaded.into_inner()));
        Ok(())
    }

    /// Reads values and hands over a batch as soon as it fills a call, until no more are taken.
    fn batch(&self, blobs: &[&Blob], queue: &CallQueue<'_, Vec<KeyValuePair>>) -> Result<(), PushError> {
        let metadata = Some(json::value(&BlobMetadata { uploaded_ms: self.now_ms }));
        let mut batch_builder = self.namespace.batch_builder();
        for blob in blobs {
            let item = self.item(blob, metadata.clone())?;
            if let Some(items) = batch_builder.push(item)
                && !queue.push(items)
            {
                return Ok(());
            }
        }
        batch_builder.finish().map(|items| queue.push(items));
        Ok(())
    }

    fn item(&self, blob: &Blob, metadata: Option<Value>) -> Result<KeyValuePair, PushError> {
        let key = release::blob_key(&blob.hash)?.as_str().to_owned();
        #[expect(clippy::expect_used, reason = "the plan counts the values off the sources")]
        let source = self.sources.get(blob.file).expect("a value is of a file");
        let value = match &blob.origin {
            Origin::File(offset) => read::part(source, *offset, blob.length, &blob.hash)?,
            Origin::Spool(segments) => self.spool.read(segments).map_err(PushError::SpoolUnreadable)?,
            Origin::Kv => return Err(PushError::Deleted(source.path.clone())),
        };
        Ok(KeyValuePair { key, value, metadata, expiration_ttl: None })
    }

    fn write_manifest(&self, manifest: &Manifest) -> Result<(), PushError> {
        let key = release::manifest_key(&manifest.id)?;
        let bytes = manifest.files.iter().map(|file| file.body.length).sum();
        let metadata = ManifestMetadata { created_ms: manifest.created_ms, files: manifest.files.len() as u64, bytes };
        let metadata = serde_json::to_value(metadata)?;
        Ok(self.namespace.put(&key, &plan::json(manifest), Some(&metadata), None)?)
    }
}
