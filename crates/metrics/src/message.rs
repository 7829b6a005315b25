//! What the Worker asks of the object: JSON in the body of a request. The body of the response is
//! the text that was asked for.

use serde::{Deserialize, Serialize};

use crate::collector::HandOver;
use crate::history::Resolution;

/// A request to the object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetricsRequest {
    /// Adds these counts.
    HandOver(HandOver),
    /// Returns a [`MetricsReport`](crate::report::MetricsReport) as JSON.
    Report {
        /// The resolution of its points.
        resolution: Resolution,
        /// The points of the last so many seconds.
        period_seconds: u64,
    },
    /// Returns the totals as OpenMetrics.
    Totals,
}
