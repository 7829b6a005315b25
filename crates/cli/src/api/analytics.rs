//! The client of Cloudflare's GraphQL Analytics API, for the two datasets of Workers KV ("Metrics
//! and analytics" in the KV documentation).
//!
//! One request asks for all three answers: operations per day, their latency, and what is stored.
//! The API may refuse one of them and answer the others (GraphQL specification, "Errors"), so each
//! may be missing.

use kv_store::retry::FailureClass;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::api_arguments::{AccountArguments, ApiArguments, OpenError, TokenVariable};
use super::argument_names::ArgumentNames;
use super::client::{ApiClient, ApiRequest, ApiRequestBody, ApiResponse, Cancellation};
use super::endpoint::{ApiEndpoint, ApiService};
use super::error::{ApiAttemptError, ApiErrorKind, printable_message};
use super::{ApiError, JSON};
use crate::progress::Progress;

/// The most rows that the API returns for a dataset. The documented queries ask for as many.
pub(crate) const ROWS_MAX: usize = 10_000;

/// The metrics of an account, or of one of its namespaces.
#[derive(Debug)]
pub(crate) struct Analytics {
    client: ApiClient,
    account: String,
    namespace: Option<String>,
}

/// What the datasets say about a time. A part that the API refuses is None.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct KvMetrics {
    pub(crate) operations: Option<Vec<OperationGroup>>,
    pub(crate) latencies: Option<Vec<LatencyGroup>>,
    pub(crate) storage: Option<Vec<StorageGroup>>,
    /// Why a part is missing, in the API's words.
    #[serde(skip)]
    pub(crate) problems: Vec<String>,
}

/// A row of `kvOperationsAdaptiveGroups`: the operations of one kind on one day.
#[derive(Debug, Deserialize)]
pub(crate) struct OperationGroup {
    pub(crate) dimensions: OperationDimensions,
    pub(crate) sum: OperationSum,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OperationDimensions {
    /// `YYYY-MM-DD`, in UTC.
    pub(crate) date: String,
    /// `read`, `write`, `delete` or `list`.
    pub(crate) action_type: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct OperationSum {
    pub(crate) requests: u64,
}

/// A row of `kvOperationsAdaptiveGroups`: the latency of one kind of operation.
#[derive(Debug, Deserialize)]
pub(crate) struct LatencyGroup {
    pub(crate) dimensions: LatencyDimensions,
    pub(crate) quantiles: LatencyQuantiles,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LatencyDimensions {
    pub(crate) action_type: String,
}

/// Milliseconds; `None` if the API has too few samples.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
pub(crate) struct LatencyQuantiles {
    #[serde(rename(deserialize = "latencyMsP25"))]
    pub(crate) p25: Option<f64>,
    #[serde(rename(deserialize = "latencyMsP50"))]
    pub(crate) p50: Option<f64>,
    #[serde(rename(deserialize = "latencyMsP75"))]
    pub(crate) p75: Option<f64>,
    #[serde(rename(deserialize = "latencyMsP90"))]
    pub(crate) p90: Option<f64>,
    #[serde(rename(deserialize = "latencyMsP99"))]
    pub(crate) p99: Option<f64>,
    #[serde(rename(deserialize = "latencyMsP999"))]
    pub(crate) p999: Option<f64>,
}

/// A row of `kvStorageAdaptiveGroups`: what a namespace holds on one day.
#[derive(Debug, Deserialize)]
pub(crate) struct StorageGroup {
    pub(crate) dimensions: StorageDimensions,
    pub(crate) max: StorageMax,
}

#[derive(Debug, Deserialize)]
pub(crate) struct StorageDimensions {
    /// `YYYY-MM-DD`, in UTC.
    pub(crate) date: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StorageMax {
    pub(crate) key_count: u64,
    pub(crate) byte_count: u64,
}

/// The variables of the query, by their documented names.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QueryVariables<'a> {
    account_tag: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace_id: Option<&'a str>,
    start: &'a str,
    end: &'a str,
}

/// A response of the API.
#[derive(Deserialize)]
struct QueryResponse {
    data: Option<QueryData>,
    /// Null if there are none ("Error responses" in the documentation of the GraphQL API).
    errors: Option<Vec<QueryError>>,
}

#[derive(Deserialize)]
struct QueryData {
    viewer: Option<QueryViewer>,
}

#[derive(Deserialize)]
struct QueryViewer {
    accounts: Option<Vec<KvMetrics>>,
}

#[derive(Deserialize)]
struct QueryError {
    message: String,
    #[serde(default)]
    extensions: QueryErrorExtensions,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct QueryErrorExtensions {
    code: Option<String>,
}

impl Analytics {
    /// Returns the metrics of a namespace by id or title, or those of the whole account. A title
    /// is looked up in the list of namespaces.
    pub(crate) fn open(
        account: &AccountArguments,
        namespace: Option<&str>,
        progress: &Progress,
    ) -> Result<Self, OpenError> {
        let service = ApiService::Analytics;
        let base = account.base();
        if base.is_local() {
            return Err(OpenError::NoAnalytics(base.url));
        }
        let token = TokenVariable::Source.read();
        let id = account.id(service, &ArgumentNames::SOURCE)?.to_owned();
        let endpoint = account.endpoint(&token, service)?;
        // The account is a variable of the query, and no part of the path.
        let endpoint = ApiEndpoint { account_path: String::new(), ..endpoint };
        let namespace = match namespace {
            Some(name) => {
                let api = ApiArguments { account: account.clone(), local: None };
                Some(api.open(name, TokenVariable::Source, progress)?.id)
            }
            None => None,
        };
        Ok(Self { client: account.client(endpoint, progress), account: id, namespace })
    }

    pub(crate) fn account(&self) -> &str {
        &self.account
    }

    /// Returns the id of the namespace; `None` for the whole account.
    pub(crate) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Returns the metrics from one day to another, both included, as `YYYY-MM-DD` in UTC; `None`
    /// if the API knows no such account.
    pub(crate) fn kv_metrics(&self, start: &str, end: &str) -> Result<Option<KvMetrics>, ApiError> {
        let namespace_id = self.namespace();
        let variables = QueryVariables { account_tag: &self.account, namespace_id, start, end };
        let body = json!({ "query": query(namespace_id.is_some()), "variables": variables }).to_string();
        self.client.call("query the metrics", &Cancellation::default(), |client, time_left| {
            let body = ApiRequestBody { content_type: JSON, bytes: body.as_bytes() };
            let metrics = metrics_of(&client.send(ApiRequest::Post("/graphql", body), time_left)?)?;
            Ok(metrics.map(|metrics| {
                let printable = |problem: &String| printable_message(problem, client.token());
                let problems = metrics.problems.iter().map(printable).collect();
                KvMetrics { problems, ..metrics }
            }))
        })
    }
}

/// Returns what a response says; `None` if it names no account.
fn metrics_of(response: &ApiResponse) -> Result<Option<KvMetrics>, ApiAttemptError> {
    if !response.is_success() {
        return Err(response.failed());
    }
    let QueryResponse { data, errors } =
        serde_json::from_slice(&response.body).map_err(|_| ApiAttemptError::not_the_api(response.status()))?;
    let errors = errors.unwrap_or_default();
    let problems = messages(&errors);
    let accounts = data.and_then(|data| data.viewer).and_then(|viewer| viewer.accounts);
    match accounts.map(|accounts| accounts.into_iter().next()) {
        Some(Some(metrics)) if errors.is_empty() || metrics.has_any() => Ok(Some(KvMetrics { problems, ..metrics })),
        Some(None) if errors.is_empty() => Ok(None),
        None if errors.is_empty() => Err(ApiAttemptError::not_the_api(response.status())),
        _ => Err(refused(&errors)),
    }
}

/// Returns the messages of errors, each once: two parts come from the same dataset.
fn messages(errors: &[QueryError]) -> Vec<String> {
    let mut messages = Vec::new();
    for QueryError { message, .. } in errors {
        if !messages.contains(message) {
            messages.push(message.clone());
        }
    }
    messages
}

/// Returns the error for a response with status 200 that has errors and no data.
fn refused(errors: &[QueryError]) -> ApiAttemptError {
    let message = messages(errors).join("; ");
    let is_unauthorized = errors.iter().any(|error| error.extensions.code.as_deref() == Some("authz"));
    // "unable to execute query, please try again later" and its like usually come with status 503
    // or 429.
    let class = if message.contains("try again") {
        FailureClass::Unavailable { retry_after_ms: None }
    } else {
        FailureClass::Permanent
    };
    ApiAttemptError { kind: ApiErrorKind::Query { message, is_unauthorized }, class }
}

impl KvMetrics {
    fn has_any(&self) -> bool {
        self.operations.is_some() || self.latencies.is_some() || self.storage.is_some()
    }
}

/// Returns the query, with the names, types and filters of the documented ones.
fn query(has_namespace: bool) -> String {
    let (variable, filter, namespace) = if has_namespace {
        (" $namespaceId: string", "namespaceId: $namespaceId, ", "")
    } else {
        // The storage of an account is the sum of its namespaces.
        ("", "", " namespaceId")
    };
    let filter = format!("filter: {{ {filter}date_geq: $start, date_leq: $end }} limit: {ROWS_MAX}");
    format!(
        "query KvMetrics($accountTag: string!{variable} $start: Date $end: Date) {{
  viewer {{
    accounts(filter: {{ accountTag: $accountTag }}) {{
      operations: kvOperationsAdaptiveGroups({filter} orderBy: [date_DESC]) {{
        sum {{ requests }}
        dimensions {{ date actionType }}
      }}
      latencies: kvOperationsAdaptiveGroups({filter}) {{
        dimensions {{ actionType }}
        quantiles {{
          latencyMsP25 latencyMsP50 latencyMsP75 latencyMsP90 latencyMsP99 latencyMsP999
        }}
      }}
      storage: kvStorageAdaptiveGroups({filter} orderBy: [date_DESC]) {{
        max {{ keyCount byteCount }}
        dimensions {{ date{namespace} }}
      }}
    }}
  }}
}}"
    )
}
