//! The state of the flags in this isolate.

use kv_store::record_cache::{ReadFailure, RecordState};
use kv_store::schema::Fault;
use serde::Serialize;

use crate::http::request_context::RequestContext;
use crate::kv::flags;

/// The state of the flag definitions, as JSON.
#[derive(Serialize)]
pub(super) struct FlagsHealth {
    state: &'static str,
    /// The number of flags that are served.
    count: usize,
    /// Where the definitions in KV are wrong, or what is wrong with them as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl FlagsHealth {
    /// Reads the definitions as a request for a flag does, and returns their state.
    pub(super) async fn of(context: &RequestContext) -> Self {
        match flags::flags(context).await {
            Ok(flags) => {
                let count = flags.definitions().len();
                let state = match flags.record_state() {
                    RecordState::Current if count == 0 => "none",
                    RecordState::Current => "current",
                    RecordState::LastKnownGood => "last-good",
                    RecordState::Stale => "stale",
                };
                Self { state, count, problem: flags::fault().as_ref().map(place) }
            }
            Err(ReadFailure::Store(_)) => Self { state: "unavailable", count: 0, problem: None },
            Err(ReadFailure::Broken(fault)) => Self { state: "broken", count: 0, problem: Some(place(&fault)) },
        }
    }
}

/// Returns where the definitions are wrong, or what is wrong with them as a whole. Flag names are
/// public. Names of variants may be values, so they are left out.
fn place(fault: &Fault) -> String {
    if fault.path.is_empty() {
        return fault.problem.to_string();
    }
    match fault.path.split_once(".variants") {
        Some((flag, _)) => format!("at {flag}.variants"),
        None => format!("at {}", fault.path),
    }
}
