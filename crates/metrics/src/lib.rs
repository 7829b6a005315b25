//! What a Worker counts of itself: requests, operations of KV and what they cost, by route.
//!
//! Many isolates serve a Worker, and none of them lives long. So each counts for itself
//! ([`collector`]). Every ten seconds it hands over what it has counted, if anything, to one
//! Durable Object, which adds the counts up ([`history`]). If an isolate is evicted, what it has
//! counted since the last hand-over that arrived is lost.
//!
//! ```text
//! isolate ── count ──> Collector ──┐
//! isolate ── count ──> Collector ──┼── HandOver 1, 2, 3 … ──> History ──> minutes, hours, totals
//! isolate ── count ──> Collector ──┘                             └──> OpenMetrics, JSON
//! ```
//!
//! A hand-over may arrive although its sender sees a failure. So it is repeated unchanged, with
//! its number, until it is acknowledged, and the object drops a number that it has had: nothing is
//! counted twice. It forgets the numbers of an isolate that is silent for two days.
//!
//! # Example
//!
//! ```
//! use metrics::collector::Collector;
//! use metrics::open_metrics::to_open_metrics;
//!
//! let mut collector = Collector::default();
//! collector.begin(1_764_424_800_000);
//! collector.count("/cache", |counts| counts.writes += 1);
//! let new_id = || "a random id".to_owned();
//! let hand_over = collector.next_hand_over(new_id).ok_or("nothing was counted")?;
//! collector.arrived(hand_over.sequence);
//! let text = to_open_metrics(&hand_over.minutes[0].routes);
//! let puts = "kv_edge_kv_operations_total{route=\"/cache\",operation=\"write\"} 1\n";
//! assert!(text.contains(puts));
//! # Ok::<(), &str>(())
//! ```

#![forbid(unsafe_code)]

pub mod collector;
pub mod counts;
pub mod error;
pub mod history;
pub mod message;
pub mod open_metrics;
pub mod prices;
pub mod report;

/// Parses the var `METRICS`, which is `on` in any case of letters if the Worker counts.
#[must_use]
pub fn is_on(var: &str) -> bool {
    var.trim().eq_ignore_ascii_case("on")
}

// Runs the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
