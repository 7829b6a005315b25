//! `POST /console/api/flags/…`: definitions of flags, checked and tried out before they are saved.

use feature_flags::flags::Definitions;
use kv_store::schema::Fault;
use serde::{Deserialize, Serialize};
use worker::web_sys::Response;

use super::findings::{Finding, Findings};
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

/// The result of a check.
#[derive(Serialize)]
struct DefinitionsCheck {
    /// The names of the flags, if there is no fault.
    flags: Vec<String>,
    #[serde(flatten)]
    findings: Findings,
}

async fn check(request: &ApiRequest<'_>) -> Result<Response, RequestError> {
    let CheckBody { definitions } = request.body(BODY_BYTES_MAX).await?;
    let mut flags = Vec::new();
    let findings = Findings::of_json(&definitions, |tree| {
        let mut faults: Vec<Fault> = tree.repeated().into_iter().map(Fault::of_repeated).collect();
        let warnings = match Definitions::parse(&definitions) {
            Ok(definitions) => {
                flags = definitions.iter().map(|(name, _)| name.to_owned()).collect();
                definitions.warnings()
            }
            Err(found) => {
                faults.extend(found);
                Vec::new()
            }
        };
        let findings = |found: Vec<Fault>| found.into_iter().map(Finding::from).collect();
        Findings { faults: findings(faults), warnings: findings(warnings) }
    });
    json(&DefinitionsCheck { flags, findings })
}
