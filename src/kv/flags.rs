//! The definitions of flags. An isolate caches them, and keeps the last valid ones if an edit
//! breaks them. Every job reads them through this module.

use std::rc::Rc;

use feature_flags::flags::{Definitions, KEY};
use kv_store::record_cache::{CachedRecord, ReadFailure, RecordState};
use kv_store::retry::Time;
use kv_store::schema::Fault;

use super::keyspace::Keyspace;
use super::keyspaces::FlagDefinitions;
use crate::http::request_context::RequestContext;
use crate::isolate::Isolate;
use crate::platform::clock::Clock;

/// The definitions, and whether they are the ones in KV, the last valid ones, or stale.
pub(crate) struct LoadedFlags {
    cached: CachedRecord<Rc<Option<Definitions>>>,
}

impl LoadedFlags {
    /// Returns the definitions; they are empty if KV has none.
    pub(crate) fn definitions(&self) -> &Definitions {
        static NONE: Definitions = Definitions::none();
        Option::as_ref(&self.cached.value).unwrap_or(&NONE)
    }

    /// Returns whether they are the ones in KV, the last valid ones, or stale.
    pub(crate) fn record_state(&self) -> RecordState {
        self.cached.record_state
    }
}

/// Returns the definitions: from memory for `CONFIG_REFRESH`, after which they are refreshed in
/// the background.
///
/// # Errors
/// [`ReadFailure`] if KV fails or has invalid ones, and none in memory may be used.
pub(crate) async fn flags(context: &RequestContext) -> Result<LoadedFlags, ReadFailure<Fault>> {
    let cached = FlagDefinitions.get(context, &KEY, Clock.now_ms()).await?;
    // `parse` returns a value for any text, and for a key without one.
    let cached = cached.unwrap_or(CachedRecord { value: Rc::new(None), record_state: RecordState::Current });
    match (cached.record_state, fault()) {
        (RecordState::Current, _) => {
            Isolate::current().flags_fault.take();
        }
        // KV had no definitions before, and has invalid ones now.
        (RecordState::LastKnownGood | RecordState::Stale, Some(fault)) if cached.value.is_none() => {
            return Err(ReadFailure::Broken(fault));
        }
        _ => {}
    }
    Ok(LoadedFlags { cached })
}

/// Returns the fault in the definitions in KV that this isolate found last, if any.
pub(crate) fn fault() -> Option<Fault> {
    Isolate::current().flags_fault.borrow().clone()
}
