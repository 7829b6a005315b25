//! `kv-edge metrics`: how often KV was used, how fast it was, what it holds and what that costs,
//! from the metrics that Cloudflare keeps.

mod days;
mod figure;
mod prices;
mod report;

use std::io::{self, Write};

use chrono::NaiveDate;
use kv_store::record::to_json;
use serde_json::json;

use self::days::{Days, DaysError};
use self::report::KvMetricsReport;
use crate::ExitStatus;
use crate::api::{AccountArguments, Analytics, ApiError, OpenError, namespace};
use crate::clock::now_ms;
use crate::progress::{Progress, print_line};

const EXAMPLES: &str = r#"The figures come from Cloudflare's GraphQL Analytics API, which keeps them for 31 days. It samples adaptively, so they are
estimates. The token in CLOUDFLARE_API_TOKEN needs the permission "Account Analytics: Read", and "Workers KV Storage: Read" to
look up the title of a namespace. Days begin at 00:00 UTC; today's figures are those so far.

Examples:
  kv-edge metrics
  kv-edge metrics --namespace kv-edge-assets --since 31d
  kv-edge metrics --from 2026-11-01 --to 2026-11-07
  kv-edge metrics --json | jq .cost.period.total

With --json, in bytes, milliseconds and US dollars:
  {"account", "namespace", "from", "to", "days": [{"date", "operations": {"read", "write", "delete", "list", "other"},
  "storage": {"keys", "bytes"}}], "total": {…}, "latency": {"read": {"p25", "p50", "p75", "p90", "p99", "p999"}, …},
  "cost": {"priceList", "period": {"read", "write", "delete", "list", "storage", "total"}, "per30Days", "per30DaysAfterIncluded"},
  "isSampled", "missing": [], "problems": []}
"missing" names the parts that the API leaves out, which are null, and those that it cuts off; the exit code is then 1. "cost" is
null if operations or storage are among them.

Exit code: 0 if all figures came, 1 if some are missing or the command failed, 2 for a mistake in the command line."#;

/// Shows what KV did and what it costs, as Cloudflare counts it
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct MetricsArguments {
    /// Only this namespace, by ID or title [default: all of the account]
    #[arg(long, value_name = "ID|TITLE", value_parser = namespace)]
    namespace: Option<String>,

    /// The last days, today included: 1d to 31d
    #[arg(long, value_name = "AGE", default_value = "7d", value_parser = days::parse_age, conflicts_with = "from")]
    since: u64,

    /// The first day, such as 2026-11-01
    #[arg(long, value_name = "DATE", value_parser = days::parse_date)]
    from: Option<NaiveDate>,

    /// The last day [default: today]
    #[arg(long, value_name = "DATE", value_parser = days::parse_date, requires = "from")]
    to: Option<NaiveDate>,

    #[command(flatten)]
    account: AccountArguments,

    /// Write one line of JSON, for programs
    #[arg(long)]
    json: bool,
}

/// Why the command fails, as a sentence.
#[derive(Debug, thiserror::Error)]
enum KvMetricsError {
    #[error(transparent)]
    Days(#[from] DaysError),
    #[error(transparent)]
    Open(OpenError),
    #[error("{0}; or give the ID of the namespace, which is not looked up")]
    LookUp(ApiError),
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("the API knows no account {0:?}; check --account (`npx wrangler whoami` lists yours)")]
    NoAccount(String),
    /// The output cannot be written.
    #[error(transparent)]
    Output(#[from] io::Error),
}

impl From<OpenError> for KvMetricsError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Api(error) => Self::LookUp(error),
            error => Self::Open(error),
        }
    }
}

impl MetricsArguments {
    pub(crate) fn run(self, out: &mut impl Write) -> io::Result<ExitStatus> {
        match self.report(out) {
            Ok(status) => Ok(status),
            Err(KvMetricsError::Output(error)) => Err(error),
            Err(failure) => {
                let sentence = failure.to_string();
                print_line(&format!("error: {sentence}"));
                if self.json {
                    writeln!(out, "{}", json!({ "error": sentence }))?;
                }
                let is_mistake = matches!(failure, KvMetricsError::Days(_));
                Ok(if is_mistake { ExitStatus::CannotRun } else { ExitStatus::Failure })
            }
        }
    }

    fn report(&self, out: &mut impl Write) -> Result<ExitStatus, KvMetricsError> {
        let today = days::date_of(now_ms());
        let days = match self.from {
            Some(from) => Days::between(from, self.to.unwrap_or(today), today)?,
            None => Days::last(self.since, today),
        };
        let analytics = Analytics::open(&self.account, self.namespace.as_deref(), &Progress::new(self.json))?;
        let metrics = analytics.kv_metrics(&days.first.to_string(), &days.last.to_string())?;
        let metrics = metrics.ok_or_else(|| KvMetricsError::NoAccount(analytics.account().to_owned()))?;
        let report = KvMetricsReport::new(&analytics, days, today, metrics);
        if self.json {
            writeln!(out, "{}", to_json(&report))?;
        } else {
            write!(out, "{report}")?;
        }
        let warning = report.warning();
        if let Some(warning) = &warning {
            print_line(&format!("warning: {warning}"));
        }
        Ok(if warning.is_some() { ExitStatus::Failure } else { ExitStatus::Success })
    }
}
