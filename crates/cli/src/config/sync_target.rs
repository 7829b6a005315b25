//! The target and the options of a sync.

use std::cell::Cell;

use crate::api::Namespace;
use crate::progress::Progress;

/// Where a sync writes, with which options, and what it has reported.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // Flags of a command line.
pub(super) struct SyncTarget {
    pub(super) namespace: Namespace,
    pub(super) prefix: String,
    /// The key of the snapshot.
    pub(super) snapshot: Option<String>,
    pub(super) delete: bool,
    pub(super) allow_mass_delete: bool,
    pub(super) strict: bool,
    pub(super) dry_run: bool,
    pub(super) progress: Progress,
    /// Calls of the API that an earlier summary has counted.
    pub(super) summed_calls: Cell<u64>,
}
