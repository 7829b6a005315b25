//! `POST /console/api/flags/…`: definitions of flags, checked and tried out before they are saved.

use feature_flags::flags::Definitions;
use kv_store::schema::Fault;
use serde::{Deserialize, Serialize};
use worker::web_sys::Response;

use super::{ApiRequest, ConsoleError, json};
use crate::http::error::RequestError;

/// The longest body, in bytes: definitions of 2 MiB, as a JSON string in which each quote takes two
/// bytes, beside a context and a record.
const BODY_BYTES_MAX: u32 = 5 * 1024 * 1024;

pub(super) async fn handle(request: &ApiRequest<'_>) -> Result<Response, RequestError> {
    request.require_method("POST")?;
    match request.call {
        "check" => check(request).await,
        _ => Err(ConsoleError::UnknownCall.into()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckBody {
    definitions: String,
}

#[derive(Serialize)]
struct Findings {
    flags: Vec<String>,
    faults: Vec<Finding>,
    warnings: Vec<Finding>,
}

#[derive(Serialize)]
struct Finding {
    path: String,
    problem: String,
}

impl From<Fault> for Finding {
    fn from(fault: Fault) -> Self {
        Self { path: fault.path, problem: fault.problem.into_owned() }
    }
}

async fn check(request: &ApiRequest<'_>) -> Result<Response, RequestError> {
    let CheckBody { definitions } = request.body(BODY_BYTES_MAX).await?;
    let findings = |faults: Vec<Fault>| faults.into_iter().map(Finding::from).collect();
    json(&match Definitions::parse(&definitions) {
        Ok(definitions) => Findings {
            flags: definitions.iter().map(|(name, _)| name.to_owned()).collect(),
            faults: Vec::new(),
            warnings: findings(definitions.warnings()),
        },
        Err(faults) => Findings { flags: Vec::new(), faults: findings(faults), warnings: Vec::new() },
    })
}
