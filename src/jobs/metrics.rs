//! `GET /metrics`: what the Worker counts of itself, for Prometheus.

pub(crate) mod store_object;

use metrics::message::MetricsRequest;
use metrics::open_metrics::CONTENT_TYPE;
use worker::web_sys;

use crate::http::error::RequestError;
use crate::http::request_context::RequestContext;
use crate::metering;

/// `GET /metrics`: all counts as OpenMetrics.
pub(crate) async fn scrape(context: &RequestContext) -> Result<web_sys::Response, RequestError> {
    context.authorize()?;
    metering::respond(context, &MetricsRequest::Totals, CONTENT_TYPE).await
}
