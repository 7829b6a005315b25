//! Uploads a release. Until the pointer, the key that names the release to serve, is written in
//! one call, visitors get the previous release; from then on, everything that the new one names is
//! in KV.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use static_assets::keys;
use static_assets::manifest::Manifest;
use static_assets::release::{BlobMetadata, ManifestMetadata, Pointer};

use super::error::PushError;
use super::release_plan::{self, Blob, BlobLocation};
use super::source_file;
use super::spool::Spool;
use super::walk::SourceFile;
use crate::api::{ApiError, CallQueue, KeyValuePair, MetadataJson, Namespace, concurrent_calls};
use crate::assets::lease;
use crate::assets::releases::{self, ReleaseError};
use crate::progress::{Progress, Unit};

/// What an upload needs.
pub(super) struct ReleaseUpload<'a> {
    pub(super) namespace: &'a Namespace,
    pub(super) sources: &'a [SourceFile],
    pub(super) spool: &'a Spool,
    pub(super) progress: &'a Progress,
    pub(super) now_ms: u64,
}

/// A number of values, and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct BlobTotals {
    pub(super) values: u64,
    pub(super) bytes: u64,
}

impl BlobTotals {
    pub(super) fn of<'b>(blobs: impl IntoIterator<Item = &'b Blob>) -> Self {
        blobs
            .into_iter()
            .fold(Self::default(), |count, blob| Self { values: count.values + 1, bytes: count.bytes + blob.length })
    }
}

/// Returns the hashes of the blobs that KV lists.
pub(super) fn blobs_in_kv(namespace: &Namespace) -> Result<HashSet<String>, ApiError> {
    let listed = namespace.list(keys::BLOBS)?;
    Ok(listed.into_iter().filter_map(|key| key.name.strip_prefix(keys::BLOBS).map(str::to_owned)).collect())
}

impl ReleaseUpload<'_> {
    /// Uploads a release and switches to it, in this order:
    ///
    /// 1. The lease. While it is held, `assets gc` deletes nothing without --force. If a gc has a
    ///    lease already, this stops here.
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
    /// [`PushError`]. Nothing was switched, unless the put of step 5 failed: KV may have accepted
    /// it. A failure of step 6 is only noted.
    pub(super) fn release(
        &self,
        manifest: &Manifest,
        blobs: &[Blob],
        in_kv: &HashSet<String>,
        previous_max: usize,
    ) -> Result<BlobTotals, PushError> {
        self.with_lease(&manifest.id, |upload| {
            let uploaded = upload.upload_values(blobs, in_kv)?;
            upload.progress.note("writing the manifest and switching");
            upload.write_manifest(manifest)?;
            // Read again, so that a rollback in the meantime is recorded among the previous
            // releases.
            upload.switch(upload.pointer()?.as_ref(), &manifest.id, previous_max)?;
            Ok(uploaded)
        })
    }

    /// Switches to the release that was served when the push began, if another one, or none that
    /// can be read, is served now. Returns the other one.
    ///
    /// # Errors
    /// [`PushError`]
    pub(super) fn switch_back(&self, id: &str, previous_max: usize) -> Result<Option<String>, PushError> {
        let is_other = |pointer: &Pointer| pointer.current != id;
        if self.pointer()?.is_some_and(|pointer| !is_other(&pointer)) {
            return Ok(None);
        }
        self.with_lease(id, |upload| {
            // A gc that has just finished may have deleted the release.
            releases::manifest(upload.namespace, id)?.ok_or_else(|| ReleaseError::NotFound(id.to_owned()))?;
            let before = upload.pointer()?;
            upload.switch(before.as_ref(), id, previous_max)?;
            Ok(before.filter(is_other).map(|pointer| pointer.current))
        })
    }

    /// Does the work under the lease of a release.
    fn with_lease<T>(
        &self,
        id: &str,
        work: impl FnOnce(&ReleaseUpload) -> Result<T, PushError>,
    ) -> Result<T, PushError> {
        lease::with_lease_unless_gc(self.namespace, self.progress, id, |namespace| {
            work(&ReleaseUpload { namespace, ..*self })
        })
    }

    /// Returns the pointer, or `None` if there is none that can be read.
    fn pointer(&self) -> Result<Option<Pointer>, ReleaseError> {
        match releases::pointer(self.namespace) {
            Err(ReleaseError::Pointer(_)) => Ok(None),
            read => read,
        }
    }

    fn switch(&self, before: Option<&Pointer>, id: &str, previous_max: usize) -> Result<(), PushError> {
        let pointer = Pointer::switched(before, id, previous_max, self.now_ms);
        let json = serde_json::to_vec(&pointer)?;
        Ok(self.namespace.put(&keys::POINTER, &json, None, None)?)
    }

    /// Uploads values of the current release that KV has lost.
    ///
    /// # Errors
    /// [`PushError`]
    pub(super) fn restore(&self, id: &str, blobs: &[Blob], in_kv: &HashSet<String>) -> Result<BlobTotals, PushError> {
        self.with_lease(id, |upload| upload.upload_values(blobs, in_kv))
    }

    /// Steps 2 and 3.
    fn upload_values(&self, blobs: &[Blob], in_kv: &HashSet<String>) -> Result<BlobTotals, PushError> {
        let (skipped, missing): (Vec<&Blob>, Vec<&Blob>) =
            blobs.iter().partition(|blob| in_kv.contains(blob.hash.as_ref()));
        self.send(&missing, "uploading")?;
        if skipped.is_empty() {
            return Ok(BlobTotals::of(missing));
        }
        // Only the values that were not uploaded: a list may not have yet what was just written.
        let in_kv = blobs_in_kv(self.namespace)?;
        let lost: Vec<&Blob> = skipped.into_iter().filter(|blob| !in_kv.contains(blob.hash.as_ref())).collect();
        self.send(&lost, "uploading what was deleted meanwhile")?;
        Ok(BlobTotals::of(missing.into_iter().chain(lost)))
    }

    /// Uploads values, a few calls at a time. Only the next batch is read meanwhile, so that few
    /// values are in memory.
    fn send(&self, blobs: &[&Blob], what: &str) -> Result<(), PushError> {
        if blobs.is_empty() {
            return Ok(());
        }
        let total = BlobTotals::of(blobs.iter().copied());
        let phase = self.progress.phase(what, total.bytes, Unit::Bytes);
        let uploaded = AtomicU64::new(0);
        concurrent_calls(
            |queue| self.read_batches(blobs, queue),
            |pairs: Vec<KeyValuePair>| {
                let (values, bytes) = (pairs.len() as u64, pairs.iter().map(|pair| pair.value.len() as u64).sum());
                self.namespace.bulk_put(pairs).map_err(PushError::NotUploaded)?;
                uploaded.fetch_add(values, Ordering::Relaxed);
                phase.add(bytes);
                Ok(())
            },
        )?;
        phase.done(&format!("{} values", uploaded.into_inner()));
        Ok(())
    }

    /// Reads values, and queues a batch as soon as it fills a call. Stops if the queue is closed
    /// because a call failed.
    fn read_batches(&self, blobs: &[&Blob], queue: &CallQueue<'_, Vec<KeyValuePair>>) -> Result<(), PushError> {
        let metadata = Some(MetadataJson::of(&BlobMetadata { uploaded_ms: self.now_ms }));
        let mut batch_builder = self.namespace.batch_builder();
        for blob in blobs {
            let pair = self.pair(blob, metadata.clone())?;
            if let Some(pairs) = batch_builder.push(pair)
                && !queue.push(pairs)
            {
                return Ok(());
            }
        }
        batch_builder.finish().map(|pairs| queue.push(pairs));
        Ok(())
    }

    fn pair(&self, blob: &Blob, metadata: Option<MetadataJson>) -> Result<KeyValuePair, PushError> {
        let key = keys::blob_key(&blob.hash).as_str().to_owned();
        #[expect(clippy::expect_used, reason = "the plan takes the number of a blob's file from `sources`")]
        let source = self.sources.get(blob.file).expect("every blob is a part of a file");
        let value = match &blob.location {
            BlobLocation::File(offset) => source_file::part(source, *offset, blob.length, &blob.hash)?,
            BlobLocation::Spool(segments) => self.spool.read(segments).map_err(PushError::SpoolUnreadable)?,
            BlobLocation::Kv => return Err(PushError::Deleted(source.path.clone())),
        };
        Ok(KeyValuePair { key, value, metadata, expiration: None })
    }

    fn write_manifest(&self, manifest: &Manifest) -> Result<(), PushError> {
        let key = keys::manifest_key(&manifest.id)?;
        let bytes = manifest.files.iter().map(|file| file.body.length).sum();
        let metadata = ManifestMetadata { created_ms: manifest.created_ms, files: manifest.files.len() as u64, bytes };
        Ok(self.namespace.put(&key, &release_plan::json(manifest), Some(MetadataJson::of(&metadata)), None)?)
    }
}
