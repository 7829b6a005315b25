//! `GET /healthz`: the Worker runs, which build it is, and how the flags stand in this isolate.

use kv_edge_core::memory::Standing;
use serde::Serialize;
use worker::web_sys;

use crate::error::Failure;
use crate::incoming::Incoming;
use crate::kv::NotRead;
use crate::{flags, response};

const ROUTE: &str = "/healthz";

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
    /// What is wrong with what KV holds, and where. It names places and no values.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// Answers 200 as long as the Worker runs: whatever KV does, the jobs go on with what they know.
pub(crate) async fn answer(incoming: &Incoming) -> Result<web_sys::Response, Failure> {
    let health = Health { status: "ok", version: env!("CARGO_PKG_VERSION"), flags: flags(incoming).await };
    let json = serde_json::to_vec(&health).unwrap_or_default();
    let fields = [("content-type", "application/json"), ("cache-control", "no-store")];
    response::ok(&response::bytes(&json), &fields)
}

async fn flags(incoming: &Incoming) -> Flags {
    let problem = || flags::fault().map(|fault| fault.to_string());
    match flags::definitions(incoming, ROUTE).await {
        Ok(held) => {
            let count = held.value.len();
            match held.standing {
                Standing::Current if count == 0 => Flags { state: "none", count, problem: None },
                Standing::Current => Flags { state: "current", count, problem: None },
                Standing::LastGood => Flags { state: "last-good", count, problem: problem() },
                Standing::Stale => Flags { state: "stale", count, problem: None },
            }
        }
        Err(NotRead::Store(_)) => Flags { state: "unavailable", count: 0, problem: None },
        Err(NotRead::Broken(fault)) => Flags { state: "broken", count: 0, problem: Some(fault.to_string()) },
    }
}
