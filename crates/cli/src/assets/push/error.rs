//! The errors of a push.

use std::io;

use kv_store::limits::KeyError;

use super::languages::DuplicateLanguage;
use super::release_plan::ManifestTooLong;
use super::source_file::SourceFileError;
use crate::api::ApiError;
use crate::assets::lease::LeaseConflict;
use crate::assets::releases::ReleaseError;

/// Why a push fails, as a sentence.
#[derive(Debug, thiserror::Error)]
pub(in crate::assets) enum PushError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    LeaseConflict(#[from] LeaseConflict),
    #[error(transparent)]
    Release(#[from] ReleaseError),
    #[error(transparent)]
    File(#[from] SourceFileError),
    #[error(transparent)]
    DuplicateLanguage(#[from] DuplicateLanguage),
    #[error(transparent)]
    ManifestTooLong(#[from] ManifestTooLong),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    NoSpool(io::Error),
    #[error("cannot read the temporary file of compressed files: {0}; push again")]
    SpoolUnreadable(io::Error),
    #[error("{0}; nothing was switched, the previous release is still served")]
    NotUploaded(ApiError),
    /// A compressed value of the file at this path was deleted during the push.
    #[error("a compressed value of {0} was deleted from KV during this push; nothing was switched, push again")]
    Deleted(String),
}
