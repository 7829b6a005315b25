//! `GET /healthz`: the Worker runs, which build it is, and how the flags stand in this isolate.

use kv_store::memory::Standing;
use kv_store::schema::Fault;
use serde::Serialize;
use worker::web_sys;

use crate::http::error::Failure;
use crate::http::incoming::Incoming;
use crate::http::response;
use crate::kv::flags;
use kv_store::memory::Unread;

#[derive(Serialize)]
struct Health {
    status: &'static str,
    version: &'static str,
    flags: Flags,
}

/// How the definitions of flags stand.
#[derive(Serialize)]
struct Flags {
    state: &'static str,
    /// How many are served.
    count: usize,
    /// Where something is wrong in what KV holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// Answers 200 as long as the Worker runs: whatever KV does, the jobs go on with what they know.
pub(crate) async fn answer(incoming: &Incoming) -> Result<web_sys::Response, Failure> {
    let health = Health { status: "ok", version: env!("CARGO_PKG_VERSION"), flags: flags(incoming).await };
    let json = serde_json::to_vec(&health).map_err(|error| Failure::internal(&error.to_string().into()))?;
    let fields = [("content-type", "application/json"), ("cache-control", "no-store")];
    Ok(response::ok(&response::bytes(&json), &fields)?)
}

async fn flags(incoming: &Incoming) -> Flags {
    match flags::flags(incoming).await {
        Ok(flags) => {
            let count = flags.definitions().len();
            let state = match flags.standing() {
                Standing::Current if count == 0 => "none",
                Standing::Current => "current",
                Standing::LastGood => "last-good",
                Standing::Stale => "stale",
            };
            Flags { state, count, problem: flags::fault().as_ref().map(place) }
        }
        Err(Unread::Store(_)) => Flags { state: "unavailable", count: 0, problem: None },
        Err(Unread::Broken(fault)) => Flags { state: "broken", count: 0, problem: Some(place(&fault)) },
    }
}

/// Where a fault is: the names of flags are public. What stands there is not.
fn place(fault: &Fault) -> String {
    if fault.path.is_empty() {
        return fault.problem.to_string();
    }
    match fault.path.split_once(".variants") {
        Some((flag, _)) => format!("at {flag}.variants"),
        None => format!("at {}", fault.path),
    }
}
