//! Status codes (RFC 9110 §15): their reason phrases, and which of them a cache may store.

/// The status of an error response. Every variant has a reason phrase, or this module does not
/// compile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
pub enum Status {
    /// RFC 9110 §15.5.1
    BadRequest = 400,
    /// RFC 9110 §15.5.2
    Unauthorized = 401,
    /// RFC 9110 §15.5.4
    Forbidden = 403,
    /// RFC 9110 §15.5.5
    NotFound = 404,
    /// RFC 9110 §15.5.6
    MethodNotAllowed = 405,
    /// RFC 9110 §15.5.7
    NotAcceptable = 406,
    /// RFC 9110 §15.5.9
    RequestTimeout = 408,
    /// RFC 9110 §15.5.10
    Conflict = 409,
    /// RFC 9110 §15.5.12
    LengthRequired = 411,
    /// RFC 9110 §15.5.13
    PreconditionFailed = 412,
    /// RFC 9110 §15.5.14
    ContentTooLarge = 413,
    /// RFC 9110 §15.5.15
    UriTooLong = 414,
    /// RFC 9110 §15.5.17
    RangeNotSatisfiable = 416,
    /// RFC 6585 §4
    TooManyRequests = 429,
    /// RFC 9110 §15.6.1
    InternalServerError = 500,
    /// RFC 9110 §15.6.3
    BadGateway = 502,
    /// RFC 9110 §15.6.4
    ServiceUnavailable = 503,
    /// RFC 9110 §15.6.5
    GatewayTimeout = 504,
    /// RFC 5842 §7.2
    LoopDetected = 508,
}

impl Status {
    /// Returns the status code.
    #[must_use]
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// Returns the reason phrase of the RFC that defines the status.
    #[must_use]
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::BadRequest => "Bad Request",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not Found",
            Self::MethodNotAllowed => "Method Not Allowed",
            Self::NotAcceptable => "Not Acceptable",
            Self::RequestTimeout => "Request Timeout",
            Self::Conflict => "Conflict",
            Self::LengthRequired => "Length Required",
            Self::PreconditionFailed => "Precondition Failed",
            Self::ContentTooLarge => "Content Too Large",
            Self::UriTooLong => "URI Too Long",
            Self::RangeNotSatisfiable => "Range Not Satisfiable",
            Self::TooManyRequests => "Too Many Requests",
            Self::InternalServerError => "Internal Server Error",
            Self::BadGateway => "Bad Gateway",
            Self::ServiceUnavailable => "Service Unavailable",
            Self::GatewayTimeout => "Gateway Timeout",
            Self::LoopDetected => "Loop Detected",
        }
    }

    /// Returns true for a 5xx: the server failed, not the request (RFC 9110 §15.6).
    #[must_use]
    pub const fn is_server_error(self) -> bool {
        self.code() >= 500
    }
}

/// Returns true if kv-edge implements the caching rules of a status, the condition of
/// `must-understand` (RFC 9111 §5.2.2.3).
///
/// These are the final statuses of RFC 9110 §15, and 451 (RFC 7725). The exceptions are 206 and
/// 304, which are not stored by themselves, and statuses that are unused or deprecated.
#[must_use]
pub fn is_understood(status: u16) -> bool {
    matches!(status, 200..=205 | 300..=303 | 307 | 308 | 400..=417 | 421 | 422 | 426 | 451 | 500..=505)
}

/// Returns true if a response with this status may be stored without explicit freshness (RFC 9110
/// §15.1; RFC 7725 §3 for 451).
#[must_use]
pub fn is_heuristically_cacheable(status: u16) -> bool {
    matches!(status, 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 451 | 501)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_the_number_and_the_phrase_of_its_rfc() {
        for (status, number, phrase) in [
            (Status::NotAcceptable, 406, "Not Acceptable"),
            (Status::ContentTooLarge, 413, "Content Too Large"),
            (Status::UriTooLong, 414, "URI Too Long"),
            (Status::RangeNotSatisfiable, 416, "Range Not Satisfiable"),
            (Status::LoopDetected, 508, "Loop Detected"),
        ] {
            assert_eq!((status.code(), status.phrase()), (number, phrase));
        }
        assert!(Status::InternalServerError.is_server_error() && !Status::TooManyRequests.is_server_error());
    }

    #[test]
    fn understood_and_heuristically_cacheable_statuses_are_those_of_rfc_9110_and_7725() {
        // RFC 9110 §15.1: "200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, and 501"; RFC
        // 7725 §3: "A 451 response is cacheable by default".
        let heuristic: Vec<u16> = (100..600).filter(|status| is_heuristically_cacheable(*status)).collect();
        assert_eq!(heuristic, [200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 451, 501]);
        let understood = [200, 205, 300, 303, 307, 308, 400, 404, 417, 421, 422, 426, 451, 500, 505];
        assert!(understood.into_iter().all(is_understood));
        assert!(
            ![100, 103, 199, 206, 299, 304, 305, 306, 309, 399, 418, 425, 499, 506, 599].into_iter().any(is_understood)
        );
    }
}
