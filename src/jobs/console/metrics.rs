//! `GET /console/api/metrics?resolution=minute|hour&period=SECONDS`: the counts of each minute or
//! hour in the last `period` seconds, as JSON; without `period`, as long as they are kept: minutes
//! for a day, hours for 31 days.

use metrics::error::MetricsError;
use metrics::history::Resolution;
use metrics::message::MetricsRequest;
use worker::web_sys::Response;

use super::{ConsoleError, ConsoleRequest};
use crate::http::error::RequestError;
use crate::metering;

pub(super) async fn handle(request: &ConsoleRequest<'_>) -> Result<Response, RequestError> {
    if !request.call.is_empty() {
        return Err(ConsoleError::UnknownCall.into());
    }
    request.require_method("GET")?;
    request.access.check_administration().map_err(ConsoleError::of_access)?;
    let name = request.target.parameter("resolution")?;
    let resolution = Resolution::parse(name.as_deref().unwrap_or("minute")).ok_or(MetricsError::UnknownResolution)?;
    let longest = resolution.retention_seconds();
    let period_seconds = match request.target.parameter("period")? {
        Some(period) => resolution.parse_period(&period).ok_or(MetricsError::BadPeriod(longest))?,
        None => longest,
    };
    metering::respond(request.context, &MetricsRequest::Report { resolution, period_seconds }, "application/json").await
}
