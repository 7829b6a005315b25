//! The text format of OpenMetrics 1.0, which Prometheus scrapes.

use std::fmt::Write;

use crate::counts::{Counts, RouteCounts};
use crate::prices::{PRICES, nano_dollars};

/// The content type of the format (OpenMetrics 1.0, "Overall Structure").
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The labels beside `route`, with their values, and the value of the counter.
type Samples = Vec<(Option<(&'static str, String)>, String)>;

/// A counter with its samples.
struct CounterFamily {
    name: &'static str,
    unit: Option<&'static str>,
    /// `{as_of}` stands for the day of the price list.
    help: &'static str,
    samples: fn(&Counts) -> Samples,
}

const FAMILIES: &[CounterFamily] = &[
    CounterFamily {
        name: "kv_edge_requests",
        unit: None,
        help: "Responses by route and status. What an isolate has counted since its last hand-over that arrived is lost \
               if it is evicted; so this and all counters here may be too low, never too high.",
        samples: |counts| {
            let of = |(status, count): (&u16, &u64)| (Some(("status", status.to_string())), count.to_string());
            counts.statuses.iter().map(of).collect()
        },
    },
    CounterFamily {
        name: "kv_edge_request_duration_seconds",
        unit: Some("seconds"),
        help: "Time from requests to their responses, without bodies that are still streamed.",
        samples: |counts| one(decimal(counts.milliseconds, 3)),
    },
    CounterFamily {
        name: "kv_edge_kv_operations",
        unit: None,
        help: "Calls of Workers KV, retries included. A bulk read is one.",
        samples: |counts| {
            let all =
                [("read", counts.reads), ("write", counts.writes), ("delete", counts.deletes), ("list", counts.lists)];
            all.map(|(name, count)| (Some(("operation", name.to_owned())), count.to_string())).into()
        },
    },
    CounterFamily {
        name: "kv_edge_kv_keys_read",
        unit: None,
        help: "Keys that reads of Workers KV named.",
        samples: |counts| one(counts.keys_read.to_string()),
    },
    CounterFamily {
        name: "kv_edge_kv_cost_dollars",
        unit: Some("dollars"),
        help: "Price of these operations by the price list of {as_of}, without what a plan includes.",
        samples: |counts| one(decimal(nano_dollars(counts), 9)),
    },
    CounterFamily {
        name: "kv_edge_memory_hits",
        unit: None,
        help: "Values of Workers KV that were used from an isolate's memory.",
        samples: |counts| one(counts.memory_hits.to_string()),
    },
    CounterFamily {
        name: "kv_edge_object_calls",
        unit: None,
        help: "Calls of Durable Objects, without those that hand metrics over.",
        samples: |counts| one(counts.object_calls.to_string()),
    },
    CounterFamily {
        name: "kv_edge_upstream_calls",
        unit: None,
        help: "Requests to other servers.",
        samples: |counts| one(counts.upstream_calls.to_string()),
    },
];

/// Returns counts as OpenMetrics.
///
/// # Examples
///
/// ```
/// use metrics::counts::Counts;
/// use metrics::open_metrics::to_open_metrics;
///
/// let counts = Counts { statuses: [(200, 3), (503, 1)].into(), ..Counts::default() };
/// let text = to_open_metrics(&[("/cache".into(), counts)].into());
/// assert!(text.contains("kv_edge_requests_total{route=\"/cache\",status=\"503\"} 1\n"));
/// assert!(text.ends_with("# EOF\n"));
/// ```
#[must_use]
pub fn to_open_metrics(routes: &RouteCounts) -> String {
    let mut text = String::new();
    for CounterFamily { name, unit, help, samples } in FAMILIES {
        line(&mut text, format_args!("# TYPE {name} counter"));
        if let Some(unit) = unit {
            line(&mut text, format_args!("# UNIT {name} {unit}"));
        }
        let help = help.replace("{as_of}", PRICES.as_of);
        line(&mut text, format_args!("# HELP {name} {help}"));
        for (route, counts) in routes {
            for (label, value) in samples(counts) {
                let label = label.map(|(label, value)| format!(",{label}=\"{value}\"")).unwrap_or_default();
                line(&mut text, format_args!("{name}_total{{route=\"{route}\"{label}}} {value}"));
            }
        }
    }
    text.push_str("# EOF\n");
    text
}

fn one(value: String) -> Samples {
    vec![(None, value)]
}

/// Returns a number that counts parts of a unit, in that unit: `digits` of its digits are
/// decimals.
fn decimal(parts: u64, digits: u32) -> String {
    let per_unit = 10_u64.pow(digits);
    format!("{}.{:0width$}", parts / per_unit, parts % per_unit, width = digits as usize)
}

#[expect(clippy::expect_used, reason = "writing to a `String` never fails")]
fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a `String` takes each line");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_has_its_type_its_help_and_a_sample_for_each_route() {
        let counts = Counts {
            statuses: [(200, 3), (404, 1)].into(),
            milliseconds: 1_042,
            reads: 2,
            keys_read: 101,
            writes: 1,
            memory_hits: 7,
            ..Counts::default()
        };
        let text = to_open_metrics(&[("/cache/{URL}".into(), counts)].into());
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            samples,
            [
                r#"kv_edge_requests_total{route="/cache/{URL}",status="200"} 3"#,
                r#"kv_edge_requests_total{route="/cache/{URL}",status="404"} 1"#,
                r#"kv_edge_request_duration_seconds_total{route="/cache/{URL}"} 1.042"#,
                r#"kv_edge_kv_operations_total{route="/cache/{URL}",operation="read"} 2"#,
                r#"kv_edge_kv_operations_total{route="/cache/{URL}",operation="write"} 1"#,
                r#"kv_edge_kv_operations_total{route="/cache/{URL}",operation="delete"} 0"#,
                r#"kv_edge_kv_operations_total{route="/cache/{URL}",operation="list"} 0"#,
                r#"kv_edge_kv_keys_read_total{route="/cache/{URL}"} 101"#,
                r#"kv_edge_kv_cost_dollars_total{route="/cache/{URL}"} 0.000055500"#,
                r#"kv_edge_memory_hits_total{route="/cache/{URL}"} 7"#,
                r#"kv_edge_object_calls_total{route="/cache/{URL}"} 0"#,
                r#"kv_edge_upstream_calls_total{route="/cache/{URL}"} 0"#,
            ]
        );
        for CounterFamily { name, .. } in FAMILIES {
            assert!(text.contains(&format!("# TYPE {name} counter\n# ")), "{name}");
            assert!(text.contains(&format!("# HELP {name} ")), "{name}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn the_help_names_the_day_of_the_price_list() {
        assert!(to_open_metrics(&RouteCounts::new()).contains(PRICES.as_of));
    }
}
