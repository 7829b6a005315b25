//! The errors of reading metrics, and their responses.

use http_semantics::error_response::{ErrorResponse, HttpError, UNAVAILABLE};
use http_semantics::one_of_each;
use http_semantics::status::Status;

/// Why there are no metrics to show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetricsError {
    /// The var `METRICS` is not `on`.
    #[error("Metrics are off; the var METRICS turns them on.")]
    Off,
    /// The resolution is neither `minute` nor `hour`.
    #[error("resolution must be minute or hour.")]
    UnknownResolution,
    /// The period is not a whole number of seconds from 1, or is longer than points are kept.
    #[error("period must be whole seconds from 1 to {0} at this resolution.")]
    BadPeriod(u64),
    /// The Durable Object `METRICS_STORE` does not respond, or has no binding. The text is for the
    /// log only.
    #[error("METRICS_STORE failed: {0}")]
    Unavailable(String),
}

impl HttpError for MetricsError {
    fn response(&self) -> ErrorResponse {
        let error_response = |status, code| ErrorResponse::new(status, code, self.to_string());
        match self {
            Self::Off => error_response(Status::NotFound, "metrics_off"),
            Self::UnknownResolution => error_response(Status::BadRequest, "unknown_resolution"),
            Self::BadPeriod(_) => error_response(Status::BadRequest, "bad_period"),
            Self::Unavailable(_) => ErrorResponse::new(Status::ServiceUnavailable, "metrics_unavailable", UNAVAILABLE)
                .because(self)
                .retry_after(5),
        }
    }

    fn examples() -> Vec<(Self, &'static str)> {
        one_of_each! {
            Self::Off => Self::Off, "The var `METRICS` is not `on`, so nothing is counted.";
            Self::UnknownResolution => Self::UnknownResolution, "`resolution` is neither `minute` nor `hour`.";
            Self::BadPeriod(_) => Self::BadPeriod(86_400),
                "`period` is not a whole number from 1, or is longer than points of the resolution are kept.";
            Self::Unavailable(_) => Self::Unavailable("no response in time".to_owned()),
                "The Durable Object `METRICS_STORE` does not respond, or has no binding. The log says what happened.";
        }
    }
}
