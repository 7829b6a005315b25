//! What the Worker asks of the Durable Object of the metrics: JSON in the body of a request. The
//! response to `HandOver` is empty; the body of the others is the report or the totals.

use serde::{Deserialize, Serialize};

use crate::collector::HandOver;
use crate::history::Resolution;

/// A request to the Durable Object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetricsRequest {
    /// Adds these counts.
    HandOver(HandOver),
    /// Returns a [`MetricsReport`](crate::report::MetricsReport) as JSON.
    Report {
        /// The resolution of its points.
        resolution: Resolution,
        /// How far back the points go, in seconds.
        period_seconds: u64,
    },
    /// Returns the totals as OpenMetrics.
    Totals,
}
