use serde_json::{Value, json};

use super::*;
use crate::metrics::days::parse_date;

const ACCOUNT: &str = "0123456789abcdef0123456789abcdef";

fn report(namespace: Option<&str>, first: &str, last: &str, metrics: Value) -> KvMetricsReport {
    let days = Days { first: parse_date(first).unwrap(), last: parse_date(last).unwrap() };
    let today = parse_date("2026-11-29").unwrap();
    KvMetricsReport::of(ACCOUNT, namespace, days, today, serde_json::from_value(metrics).unwrap())
}

fn operation(date: &str, action: &str, requests: u64) -> Value {
    json!({ "dimensions": { "date": date, "actionType": action }, "sum": { "requests": requests } })
}

fn stored(date: &str, keys: u64, bytes: u64) -> Value {
    json!({ "dimensions": { "date": date }, "max": { "keyCount": keys, "byteCount": bytes } })
}

#[test]
fn the_table_has_a_line_for_each_day_and_the_cost() {
    let report = report(
        None,
        "2026-11-27",
        "2026-11-29",
        json!({
            "operations": [
                operation("2026-11-29", "read", 4_000_000),
                operation("2026-11-28", "read", 16_000_000),
                operation("2026-11-28", "write", 120),
            ],
            "latencies": [{
                "dimensions": { "actionType": "read" },
                "quantiles": {
                    "latencyMsP25": 0.91, "latencyMsP50": 1.5, "latencyMsP75": 4, "latencyMsP90": 17.25,
                    "latencyMsP99": 230.0, "latencyMsP999": null,
                },
            }],
            // Two namespaces.
            "storage": [stored("2026-11-28", 10, 600_000_000), stored("2026-11-28", 5, 400_000_000)],
        }),
    );
    assert_eq!(
        report.to_string(),
        "account 0123456789abcdef0123456789abcdef, all namespaces
2026-11-27 to 2026-11-29, days in UTC

date            reads     writes    deletes      lists       keys     stored
2026-11-27          0          0          0          0          -          -
2026-11-28     16.00M        120          0          0         15    1.00 GB
2026-11-29  4,000,000          0          0          0          -          -
total          20.00M        120          0          0
cost           $10.00     <$0.01      $0.00      $0.00                 $0.02

latency ms        p25        p50        p75        p90        p99      p99.9
read              0.9        1.5        4.0       17.2      230.0          -

$10.02 for these 3 days by the price list, $120.51 per 30 finished days
$115.00 of that beyond what the Workers Paid plan includes
Prices of 2025-05-20: https://developers.cloudflare.com/kv/platform/pricing/
Cloudflare samples these metrics adaptively, so all figures are estimates.
"
    );
    assert_eq!(report.warning(), None);
}

#[test]
fn the_widest_table_has_eighty_columns() {
    let day = "2026-11-29";
    let all = ["read", "write", "delete", "list", "purge"].map(|action| operation(day, action, u64::MAX));
    let quantiles: serde_json::Map<_, _> = ["P25", "P50", "P75", "P90", "P99", "P999"]
        .map(|p| (format!("latencyMs{p}"), json!(123_456.78)))
        .into_iter()
        .collect();
    let metrics = json!({
        "operations": all,
        "latencies": [{ "dimensions": { "actionType": "delete" }, "quantiles": quantiles }],
        "storage": [stored(day, u64::MAX, 999_990_000_000_000)],
    });
    for namespace in [None, Some(ACCOUNT)] {
        let table = report(namespace, day, day, metrics.clone()).to_string();
        for line in table.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}

#[test]
fn without_storage_a_warning_names_it_and_there_is_no_cost() {
    let day = "2026-11-29";
    let metrics = json!({ "operations": [operation(day, "read", 1)], "latencies": [], "storage": null });
    let mut report = report(Some("a"), day, day, metrics);
    report.problems.push("does not have access to the path".to_owned());
    assert_eq!(
        report.warning().as_deref(),
        Some("the figures of storage are missing or incomplete: does not have access to the path")
    );
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!((&json["missing"], &json["cost"]), (&json!(["storage"]), &Value::Null));
    assert!(!report.to_string().contains("Prices of"));
}

#[test]
fn a_dataset_that_is_cut_off_counts_as_missing() {
    let day = "2026-11-29";
    let metrics = json!({ "operations": [], "latencies": [], "storage": vec![stored(day, 1, 1); ROWS_MAX] });
    let warning = report(None, day, day, metrics).warning();
    assert_eq!(
        warning.as_deref(),
        Some(
            "the figures of storage are missing or incomplete: the API returns 10,000 rows at most; use --namespace or a shorter --since"
        )
    );
}
