//! Why a push fails.

use std::io;

use kv_store::limits::KeyError;

use super::languages::SameLanguage;
use super::plan::ManifestTooLong;
use super::read::FileError;
use crate::api::ApiError;
use crate::assets::marks::Busy;
use crate::assets::releases::ReleaseError;

/// Why a push fails, in a sentence that names the way out.
#[derive(Debug, thiserror::Error)]
pub(in crate::assets) enum PushError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Busy(#[from] Busy),
    #[error(transparent)]
    Release(#[from] ReleaseError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    SameLanguage(#[from] SameLanguage),
    #[error(transparent)]
    ManifestTooLong(#[from] ManifestTooLong),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("there can be no temporary file: {0}")]
    NoSpool(io::Error),
    #[error("the temporary file with what was encoded cannot be read: {0}")]
    SpoolUnreadable(io::Error),
    #[error("{0}; nothing was switched, the release before is served as it was")]
    NotUploaded(ApiError),
    /// The encoded value of the file at this path.
    #[error(
        "an encoded value of {0} was deleted from KV while this push counted on it; nothing was switched, push again"
    )]
    Deleted(String),
}
