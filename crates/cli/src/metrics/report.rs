//! What the command prints: a table of 80 columns, or JSON.

use std::collections::BTreeMap;
use std::fmt;

use ::metrics::prices::PRICES;
use chrono::NaiveDate;
use indicatif::{DecimalBytes, HumanCount};
use serde::Serialize;

use super::days::Days;
use super::figure::figure;
use super::prices::{self, BilledUsage, KvCost, NanoDollars};
use crate::api::{Analytics, KvMetrics, LatencyQuantiles, ROWS_MAX};

/// The metrics of some days.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct KvMetricsReport {
    account: String,
    /// Its id; `None` for the whole account.
    namespace: Option<String>,
    from: String,
    to: String,
    /// The days in order, those without an operation too.
    days: Vec<DayMetrics>,
    total: DayTotal,
    /// In milliseconds, by kind of operation.
    latency: Option<BTreeMap<String, LatencyQuantiles>>,
    /// `None` if operations or storage are missing.
    cost: Option<CostReport>,
    /// The datasets are sampled adaptively: every figure is an estimate.
    is_sampled: bool,
    /// The parts that the API left out or cut off.
    missing: Vec<&'static str>,
    /// Why: what the API says, and whether it has cut rows off.
    problems: Vec<String>,
}

#[derive(Debug, Serialize)]
struct DayMetrics {
    date: String,
    operations: Option<OperationCounts>,
    /// `None` if the API has no figures of this day.
    storage: Option<StoredAmount>,
}

#[derive(Debug, Serialize)]
struct DayTotal {
    operations: Option<OperationCounts>,
}

/// How many operations of each kind there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
struct OperationCounts {
    read: u64,
    write: u64,
    delete: u64,
    list: u64,
    /// Those of a kind that the documentation does not have.
    other: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
struct StoredAmount {
    keys: u64,
    bytes: u64,
}

/// The cost in US dollars.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CostReport {
    /// The date of the price list.
    price_list: &'static str,
    period: KvCost,
    /// What 30 days like the finished ones cost; `None` if no day is finished.
    per_30_days: Option<NanoDollars>,
    /// `None` for a namespace, too: what the plan includes is for all of the account.
    per_30_days_after_included: Option<NanoDollars>,
}

impl KvMetricsReport {
    pub(super) fn new(analytics: &Analytics, days: Days, today: NaiveDate, metrics: KvMetrics) -> Self {
        Self::of(analytics.account(), analytics.namespace(), days, today, metrics)
    }

    fn of(account: &str, namespace: Option<&str>, days: Days, today: NaiveDate, metrics: KvMetrics) -> Self {
        let KvMetrics { operations, latencies, storage, mut problems } = metrics;
        let mut missing = Vec::new();
        note_missing("operations", operations.as_deref(), &mut missing, &mut problems);
        note_missing("latency", latencies.as_deref(), &mut missing, &mut problems);
        note_missing("storage", storage.as_deref(), &mut missing, &mut problems);

        let has_operations = operations.is_some();
        let mut counts = BTreeMap::<String, OperationCounts>::new();
        let mut total = OperationCounts::default();
        for row in operations.into_iter().flatten() {
            let (action, requests) = (row.dimensions.action_type, row.sum.requests);
            counts.entry(row.dimensions.date).or_default().add(&action, requests);
            total.add(&action, requests);
        }
        let mut stored = BTreeMap::<String, StoredAmount>::new();
        for row in storage.into_iter().flatten() {
            let amount = stored.entry(row.dimensions.date).or_default();
            amount.keys = amount.keys.saturating_add(row.max.key_count);
            amount.bytes = amount.bytes.saturating_add(row.max.byte_count);
        }
        let finished_days = days.iter().filter(|day| *day < today).count();
        let days = days.iter().map(|day| day.to_string()).map(|date| DayMetrics {
            operations: has_operations.then(|| counts.get(&date).copied().unwrap_or_default()),
            storage: stored.get(&date).copied(),
            date,
        });
        let days = days.collect::<Vec<_>>();
        let cost_is_known = !missing.iter().any(|part| matches!(*part, "operations" | "storage"));
        let cost = cost_is_known.then(|| CostReport::new(&days, finished_days, namespace.is_none()));
        let latency =
            latencies.map(|rows| rows.into_iter().map(|row| (row.dimensions.action_type, row.quantiles)).collect());
        Self {
            account: account.to_owned(),
            namespace: namespace.map(str::to_owned),
            from: days.first().map(|day| day.date.clone()).unwrap_or_default(),
            to: days.last().map(|day| day.date.clone()).unwrap_or_default(),
            days,
            total: DayTotal { operations: has_operations.then_some(total) },
            latency,
            cost,
            is_sampled: true,
            missing,
            problems,
        }
    }

    /// Returns what is missing and why, as a sentence; `None` if everything came.
    pub(super) fn warning(&self) -> Option<String> {
        if self.missing.is_empty() && self.problems.is_empty() {
            return None;
        }
        let of = if self.missing.is_empty() { String::new() } else { format!(" of {}", self.missing.join(" and ")) };
        Some(format!("the figures{of} are missing or incomplete: {}", self.problems.join("; ")))
    }
}

/// Notes that the API left a part out, or cut it off.
fn note_missing<T>(
    part: &'static str,
    rows: Option<&[T]>,
    missing: &mut Vec<&'static str>,
    problems: &mut Vec<String>,
) {
    match rows {
        None => missing.push(part),
        Some(rows) if rows.len() >= ROWS_MAX => {
            missing.push(part);
            problems.push(format!(
                "the API returns {} rows at most; use --namespace or a shorter --since",
                HumanCount(ROWS_MAX as u64)
            ));
        }
        Some(_) => {}
    }
}

impl OperationCounts {
    fn add(&mut self, action: &str, requests: u64) {
        let count = match action {
            "read" => &mut self.read,
            "write" => &mut self.write,
            "delete" => &mut self.delete,
            "list" => &mut self.list,
            _ => &mut self.other,
        };
        *count = count.saturating_add(requests);
    }
}

impl CostReport {
    /// Returns the cost of days of which the first `finished_days` are over.
    fn new(days: &[DayMetrics], finished_days: usize, is_account: bool) -> Self {
        // The present day would make the month too cheap.
        let finished = days.get(..finished_days).filter(|days| !days.is_empty());
        let month = finished.map(|days| usage_of(days).of_month());
        Self {
            price_list: PRICES.as_of,
            period: usage_of(days).cost(),
            per_30_days: month.map(|month| month.cost().total),
            per_30_days_after_included: month.filter(|_| is_account).map(|month| month.beyond_included().cost().total),
        }
    }
}

/// Returns what was used on these days.
fn usage_of(days: &[DayMetrics]) -> BilledUsage {
    let sum = |count: fn(&OperationCounts) -> u64| {
        days.iter().filter_map(|day| day.operations.as_ref()).map(|counts| u128::from(count(counts))).sum()
    };
    let stored = days.iter().filter_map(|day| day.storage);
    BilledUsage {
        days: days.len() as u128,
        storage_days: stored.clone().count() as u128,
        reads: sum(|counts| counts.read),
        writes: sum(|counts| counts.write),
        deletes: sum(|counts| counts.delete),
        lists: sum(|counts| counts.list),
        byte_days: stored.map(|stored| u128::from(stored.bytes)).sum(),
    }
}

/// The table, of lines of at most 80 columns.
impl fmt::Display for KvMetricsReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => writeln!(formatter, "namespace {namespace}")?,
            None => writeln!(formatter, "account {}, all namespaces", self.account)?,
        }
        writeln!(formatter, "{} to {}, days in UTC\n", self.from, self.to)?;
        row(formatter, "date", &["reads", "writes", "deletes", "lists", "keys", "stored"].map(str::to_owned))?;
        for day in &self.days {
            let [reads, writes, deletes, lists] = operation_cells(day.operations.as_ref());
            let keys = cell(day.storage.map(|stored| figure(stored.keys)));
            let stored = cell(day.storage.map(|stored| DecimalBytes(stored.bytes).to_string()));
            row(formatter, &day.date, &[reads, writes, deletes, lists, keys, stored])?;
        }
        let [reads, writes, deletes, lists] = operation_cells(self.total.operations.as_ref());
        row(formatter, "total", &[reads, writes, deletes, lists, String::new(), String::new()])?;
        if let Some(CostReport { period, .. }) = &self.cost {
            let [read, write, delete, list, storage] =
                [period.read, period.write, period.delete, period.list, period.storage].map(|sum| sum.to_string());
            row(formatter, "cost", &[read, write, delete, list, String::new(), storage])?;
        }
        if let Some(other) = self.total.operations.map(|total| total.other).filter(|other| *other > 0) {
            writeln!(formatter, "\n{} operations of another kind have no column and no price", figure(other))?;
        }
        if let Some(latency) = self.latency.as_ref().filter(|latency| !latency.is_empty()) {
            writeln!(formatter)?;
            row(formatter, "latency ms", &["p25", "p50", "p75", "p90", "p99", "p99.9"].map(str::to_owned))?;
            for (action, LatencyQuantiles { p25, p50, p75, p90, p99, p999 }) in latency {
                let quantiles = [p25, p50, p75, p90, p99, p999];
                row(formatter, action, &quantiles.map(|ms| cell(ms.map(|ms| format!("{ms:.1}")))))?;
            }
        }
        writeln!(formatter)?;
        if let Some(cost) = &self.cost {
            self.write_cost(formatter, cost)?;
        }
        writeln!(formatter, "Cloudflare samples these metrics adaptively, so all figures are estimates.")
    }
}

impl KvMetricsReport {
    fn write_cost(&self, formatter: &mut fmt::Formatter<'_>, cost: &CostReport) -> fmt::Result {
        let days = self.days.len();
        let these = if days == 1 { "this day".to_owned() } else { format!("these {days} days") };
        write!(formatter, "{} for {these} by the price list", cost.period.total)?;
        match cost.per_30_days {
            Some(sum) => writeln!(formatter, ", {sum} per {} finished days", prices::MONTH_DAYS)?,
            None => writeln!(formatter)?,
        }
        if let Some(sum) = cost.per_30_days_after_included {
            writeln!(formatter, "{sum} of that beyond what the Workers Paid plan includes")?;
        } else if self.namespace.is_some() {
            let sentence = "What the Workers Paid plan includes is for the whole account, and not deducted.";
            writeln!(formatter, "{sentence}")?;
        }
        writeln!(formatter, "Prices of {}: {}", PRICES.as_of, PRICES.source)
    }
}

/// Writes a row: a name, and six columns that are aligned on the right.
fn row(formatter: &mut fmt::Formatter<'_>, name: &str, cells: &[String; 6]) -> fmt::Result {
    let line = cells.iter().fold(format!("{name:10}"), |line, cell| format!("{line} {cell:>10}"));
    writeln!(formatter, "{}", line.trim_end())
}

fn operation_cells(counts: Option<&OperationCounts>) -> [String; 4] {
    let of = |count: fn(&OperationCounts) -> u64| cell(counts.map(|counts| figure(count(counts))));
    [of(|counts| counts.read), of(|counts| counts.write), of(|counts| counts.delete), of(|counts| counts.list)]
}

/// Returns what is known, or a hyphen.
fn cell(known: Option<String>) -> String {
    known.unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests;
