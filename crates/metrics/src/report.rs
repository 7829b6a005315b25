//! The counts as JSON, for the console.

use std::borrow::Cow;
use std::collections::BTreeMap;

use http_semantics::timestamp::rfc_3339;
use serde::Serialize;

use crate::counts::{Counts, RouteCounts};
use crate::history::Resolution;
use crate::prices::{PRICES, PriceList, nano_dollars};

/// The points of one resolution.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricsReport {
    resolution: Resolution,
    /// The time between two points.
    seconds: u64,
    /// Dollars per million operations.
    prices: PriceList,
    points: Vec<MetricsPoint>,
}

#[derive(Debug, Serialize)]
struct MetricsPoint {
    /// The beginning of the minute or hour (RFC 3339).
    time: String,
    routes: BTreeMap<Cow<'static, str>, PricedCounts>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PricedCounts {
    /// Responses of all statuses.
    requests: u64,
    #[serde(flatten)]
    counts: Counts,
    /// What the operations of KV cost.
    cost_dollars: f64,
}

impl MetricsReport {
    /// Returns the report of these points: a time in seconds since the Unix epoch, and the counts.
    ///
    /// # Examples
    ///
    /// ```
    /// use metrics::counts::Counts;
    /// use metrics::history::Resolution;
    /// use metrics::report::MetricsReport;
    ///
    /// let counts = Counts { writes: 2, ..Counts::default() };
    /// let points = vec![(1_764_424_800, [("/cache".into(), counts)].into())];
    /// let json = serde_json::to_value(MetricsReport::new(Resolution::Minute, points))?;
    /// let point = &json["points"][0];
    /// assert_eq!(point["time"], "2025-11-29T14:00:00Z");
    /// assert_eq!(point["routes"]["/cache"]["costDollars"], 0.00001);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn new(resolution: Resolution, points: Vec<(u64, RouteCounts)>) -> Self {
        let point = |(time, routes): (u64, RouteCounts)| MetricsPoint {
            time: rfc_3339(time),
            routes: routes.into_iter().map(|(route, counts)| (route, PricedCounts::of(counts))).collect(),
        };
        Self {
            resolution,
            seconds: resolution.seconds(),
            prices: PRICES,
            points: points.into_iter().map(point).collect(),
        }
    }
}

impl PricedCounts {
    fn of(counts: Counts) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "below 9 million dollars (2^53 nanodollars) it is exact")]
        let cost_dollars = nano_dollars(&counts) as f64 / 1e9;
        Self { requests: counts.requests(), cost_dollars, counts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_has_its_time_its_routes_and_their_cost() {
        let counts = Counts { statuses: [(200, 2), (503, 1)].into(), reads: 3, keys_read: 4, ..Counts::default() };
        let report = MetricsReport::new(Resolution::Minute, vec![(1_764_424_800, [("/a".into(), counts)].into())]);
        let json = serde_json::to_value(&report).expect("a report is JSON");
        let expected = serde_json::json!({
            "resolution": "minute",
            "seconds": 60,
            "prices": {
                "source": "https://developers.cloudflare.com/kv/platform/pricing/",
                "asOf": "2025-05-20",
                "keysRead": 0.5, "writes": 5.0, "deletes": 5.0, "lists": 5.0,
            },
            "points": [{
                "time": "2025-11-29T14:00:00Z",
                "routes": { "/a": {
                    "requests": 3, "statuses": { "200": 2, "503": 1 }, "milliseconds": 0,
                    "reads": 3, "keysRead": 4, "writes": 0, "deletes": 0, "lists": 0,
                    "memoryHits": 0, "objectCalls": 0, "upstreamCalls": 0, "costDollars": 0.000_002,
                } },
            }],
        });
        assert_eq!(json, expected);
    }
}
