//! Why a call failed, whether a retry may help, and what people can do about it.

use std::fmt;
use std::io::ErrorKind;

use kv_store::retry::{Classify, FailureClass, GaveUp};
use ureq::Timeout;

use super::argument_names::ArgumentNames;
use super::endpoint::ApiService;
use super::limits::{RESPONSE_BYTES_MAX, SILENCE_MAX};

/// The error code for "your account has reached the free usage limit for this operation for
/// today".
const DAILY_LIMIT: u64 = 10_048;
/// The error code for "key not found", as opposed to an unknown namespace.
pub(super) const KEY_NOT_FOUND: u64 = 10_009;
/// The error codes for a malformed token: "Invalid request headers", "Invalid format for
/// Authorization header".
const MALFORMED_TOKEN: [u64; 2] = [6003, 6111];
/// The I/O errors that end an established connection.
const CUT: [ErrorKind; 7] = [
    ErrorKind::ConnectionReset,
    ErrorKind::ConnectionAborted,
    ErrorKind::BrokenPipe,
    ErrorKind::UnexpectedEof,
    ErrorKind::TimedOut,
    ErrorKind::WouldBlock,
    ErrorKind::Interrupted,
];
/// The longest message of the API that is shown, in characters.
const MESSAGE_MAX: usize = 300;

/// Why one attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiAttemptError {
    pub(super) kind: ApiErrorKind,
    pub(super) class: FailureClass,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ApiErrorKind {
    /// The API responds with an error. `message` is `None` if it is redacted, and empty if the
    /// response has none.
    Status { status: u16, code: Option<u64>, message: Option<String> },
    /// The response does not come from the API.
    NotTheApi(u16),
    /// The GraphQL API refuses the query in a response with status 200. `is_unauthorized` is true
    /// if the token may not ask.
    Query { message: String, is_unauthorized: bool },
    /// A bulk call did not take all keys: how many, and one of them (None if redacted).
    Unsuccessful(usize, Option<String>),
    /// No connection was established.
    Unreachable(String),
    /// The TLS handshake failed.
    Tls(String),
    /// The connection broke before the whole response arrived.
    Interrupted(String),
    /// The response is longer than [`RESPONSE_BYTES_MAX`].
    ResponseTooLong,
    /// The call ran out of time, before this attempt or during it.
    OutOfTime,
    /// The call, or its retry, was cancelled.
    Cancelled,
}

/// Why a call failed, as a sentence that ends with what people can do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) struct ApiError {
    /// What the call does: "list the namespaces".
    pub(super) what: String,
    pub(super) kind: ApiErrorKind,
    /// For a bulk call: how many keys it may have left undone. 0 for every other call.
    pub(super) unsuccessful_keys: usize,
    pub(super) tries: u32,
    pub(super) gave_up: GaveUp,
    pub(super) base: Box<str>,
    pub(super) service: ApiService,
    pub(super) names: &'static ArgumentNames,
}

impl Classify for ApiAttemptError {
    fn class(&self) -> FailureClass {
        self.class
    }
}

impl ApiAttemptError {
    /// Returns the error for a response, from its status and body. `message` is `None` if the body
    /// is not the JSON of the API. A 4xx is permanent, except 429 without [`DAILY_LIMIT`].
    pub(super) fn of_status(
        status: u16,
        code: Option<u64>,
        message: Option<&str>,
        retry_after_ms: Option<u64>,
    ) -> Self {
        let class = match code {
            Some(DAILY_LIMIT) => FailureClass::Permanent,
            _ => FailureClass::of_status(Some(status), retry_after_ms),
        };
        let kind = message.map_or(ApiErrorKind::NotTheApi(status), |message| ApiErrorKind::Status {
            status,
            code,
            message: Some(message.to_owned()),
        });
        Self { kind, class }
    }

    /// Returns the error for a request without a response. Until the API has responded for the
    /// first time, a host that cannot be reached is taken for a mistake in the address, which no
    /// retry mends.
    pub(super) fn of_transport(error: &ureq::Error, has_responded: bool) -> Self {
        use ureq::Error;
        let kind = match error {
            Error::Tls(_) | Error::Pem(_) | Error::Rustls(_) => ApiErrorKind::Tls(error.to_string()),
            // rustls reports a bad certificate like this.
            Error::Io(error) if error.kind() == ErrorKind::InvalidData => ApiErrorKind::Tls(error.to_string()),
            Error::HostNotFound
            | Error::ConnectionFailed
            | Error::ConnectProxyFailed(_)
            | Error::Timeout(Timeout::Connect | Timeout::Resolve) => ApiErrorKind::Unreachable(error.to_string()),
            // Refused, no route, an unknown host name (which has no kind of its own): everything
            // but a connection that broke.
            Error::Io(io) if !CUT.contains(&io.kind()) => ApiErrorKind::Unreachable(io.to_string()),
            Error::BodyExceedsLimit(_) => ApiErrorKind::ResponseTooLong,
            // The time limit of an attempt is what is left of the call's.
            Error::Timeout(Timeout::Global) => ApiErrorKind::OutOfTime,
            Error::Timeout(Timeout::PerRead | Timeout::PerWrite) => {
                ApiErrorKind::Interrupted(format!("nothing was transferred for {} s", SILENCE_MAX.as_secs()))
            }
            _ => ApiErrorKind::Interrupted(error.to_string()),
        };
        let class = match kind {
            ApiErrorKind::Tls(_) | ApiErrorKind::ResponseTooLong => FailureClass::Permanent,
            ApiErrorKind::Unreachable(_) if !has_responded => FailureClass::Permanent,
            _ => FailureClass::Unavailable { retry_after_ms: None },
        };
        Self { kind, class }
    }

    pub(super) fn not_the_api(status: u16) -> Self {
        Self { kind: ApiErrorKind::NotTheApi(status), class: FailureClass::Permanent }
    }

    /// Returns the error for keys that a bulk call did not take. The documentation says to send
    /// them again.
    pub(super) fn unsuccessful(keys: &[String]) -> Self {
        let kind = ApiErrorKind::Unsuccessful(keys.len(), keys.first().cloned());
        Self { kind, class: FailureClass::Unavailable { retry_after_ms: None } }
    }

    /// Returns the same error without any key: neither one that was not taken, nor the message of
    /// the API, which may repeat keys and values.
    pub(super) fn redacted(self) -> Self {
        let kind = match self.kind {
            ApiErrorKind::Status { status, code, message } => {
                ApiErrorKind::Status { status, code, message: message.filter(String::is_empty) }
            }
            ApiErrorKind::Unsuccessful(count, _) => ApiErrorKind::Unsuccessful(count, None),
            kind => kind,
        };
        Self { kind, ..self }
    }

    pub(super) fn cancelled() -> Self {
        Self { kind: ApiErrorKind::Cancelled, class: FailureClass::Permanent }
    }

    pub(super) fn out_of_time() -> Self {
        Self { kind: ApiErrorKind::OutOfTime, class: FailureClass::Permanent }
    }
}

impl ApiErrorKind {
    /// Returns the same with [`printable_message`]s.
    pub(super) fn printable(self, token: Option<&str>) -> Self {
        match self {
            Self::Status { status, code, message } => {
                Self::Status { status, code, message: message.map(|message| printable_message(&message, token)) }
            }
            Self::Unreachable(why) => Self::Unreachable(printable_message(&why, token)),
            Self::Tls(why) => Self::Tls(printable_message(&why, token)),
            Self::Interrupted(why) => Self::Interrupted(printable_message(&why, token)),
            Self::Query { message, is_unauthorized } => {
                Self::Query { message: printable_message(&message, token), is_unauthorized }
            }
            // These contain only text of this program, and keys of its own request.
            Self::NotTheApi(_) | Self::Unsuccessful(..) | Self::ResponseTooLong | Self::OutOfTime | Self::Cancelled => {
                self
            }
        }
    }
}

/// Returns a message of the API that may be shown: without the token, which a response may repeat,
/// in one line and bounded. The token is removed first: after the cut, a part of it would not be
/// recognized.
pub(super) fn printable_message(text: &str, token: Option<&str>) -> String {
    let text = token.map_or_else(|| text.to_owned(), |token| text.replace(token, "…"));
    let text = text.chars().map(|character| if character.is_control() { ' ' } else { character });
    text.take(MESSAGE_MAX).collect()
}

impl fmt::Display for ApiErrorKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { status, code, message } => {
                write!(formatter, "the API responds with {status}")?;
                let message = message.as_ref().filter(|message| !message.is_empty());
                message.map_or(Ok(()), |message| write!(formatter, ", {message:?}"))?;
                code.map_or(Ok(()), |code| write!(formatter, " (code {code})"))
            }
            Self::NotTheApi(status) => {
                write!(formatter, "the response, status {status}, does not come from the API")
            }
            Self::Query { message, .. } => write!(formatter, "the API refuses the query: {message:?}"),
            Self::Unsuccessful(1, None) => formatter.write_str("the API did not take one key"),
            Self::Unsuccessful(count, None) => write!(formatter, "the API did not take {count} keys"),
            Self::Unsuccessful(1, Some(key)) => write!(formatter, "the API did not take {key:?}"),
            Self::Unsuccessful(count, Some(key)) => {
                write!(formatter, "the API did not take {count} keys, such as {key:?}")
            }
            Self::Unreachable(why) => write!(formatter, "cannot connect ({why})"),
            Self::Tls(why) => write!(formatter, "TLS fails ({why})"),
            Self::Interrupted(why) => write!(formatter, "the connection broke ({why})"),
            Self::ResponseTooLong => write!(formatter, "the response is longer than {} MiB", RESPONSE_BYTES_MAX >> 20),
            Self::OutOfTime => formatter.write_str("it ran out of time"),
            Self::Cancelled => formatter.write_str("it was cancelled"),
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "cannot {}: {}", self.what, self.kind)?;
        if self.tries > 1 {
            write!(formatter, ", tried {} times", self.tries)?;
        }
        write!(formatter, "; {}", self.advice())
    }
}

impl ApiError {
    /// Returns how many keys a failed bulk call may have left undone.
    pub(crate) fn unsuccessful_keys(&self) -> usize {
        self.unsuccessful_keys
    }

    /// Returns true if the failure has nothing to do with what was sent, so that every other call
    /// would fail too.
    pub(crate) fn affects_all_calls(&self) -> bool {
        match self.kind {
            ApiErrorKind::Status { code: Some(code), .. } if code == DAILY_LIMIT || MALFORMED_TOKEN.contains(&code) => {
                true
            }
            ApiErrorKind::Status { status, .. } => matches!(status, 300..=399 | 401 | 403 | 404),
            ApiErrorKind::NotTheApi(status) => !matches!(status, 408 | 413 | 429 | 500..),
            ApiErrorKind::Unreachable(_) | ApiErrorKind::Tls(_) => true,
            ApiErrorKind::Query { .. }
            | ApiErrorKind::Unsuccessful(..)
            | ApiErrorKind::Interrupted(_)
            | ApiErrorKind::ResponseTooLong
            | ApiErrorKind::OutOfTime
            | ApiErrorKind::Cancelled => false,
        }
    }

    /// Returns true if a bulk read may succeed with fewer keys: the API refuses one of them, or
    /// fails on what they are together, or has no bulk read.
    pub(crate) fn may_succeed_divided(&self) -> bool {
        match self.kind {
            ApiErrorKind::Status { code: Some(DAILY_LIMIT), .. } => false,
            ApiErrorKind::Status { status, .. } => matches!(status, 400 | 404 | 405 | 413 | 422 | 500..),
            ApiErrorKind::NotTheApi(status) => matches!(status, 400 | 404 | 405 | 413 | 500..),
            ApiErrorKind::ResponseTooLong => true,
            _ => false,
        }
    }

    /// Returns what people can do about the failure.
    fn advice(&self) -> String {
        let Self { base, service, names, .. } = self;
        let ArgumentNames { namespace, account, api_base, local, token } = names;
        let is_local = *service == ApiService::LocalKv;
        let is_analytics = *service == ApiService::Analytics;
        let status = match self.kind {
            ApiErrorKind::Status { code: Some(DAILY_LIMIT), .. } => {
                return "continue after 00:00 UTC, or upgrade to the paid plan".to_owned();
            }
            ApiErrorKind::Status { code: Some(code), .. } if MALFORMED_TOKEN.contains(&code) => 401,
            ApiErrorKind::NotTheApi(status) if status < 500 && is_local => {
                return format!("check that `wrangler dev` listens there, or give its address: {local}=URL ({base})");
            }
            ApiErrorKind::ResponseTooLong => {
                return format!("no response of the API is that long; check its address, which is {base} ({api_base})");
            }
            ApiErrorKind::NotTheApi(status) if status < 500 => {
                return format!("check the address of the API, which is {base} ({api_base})");
            }
            ApiErrorKind::Status { status, .. } | ApiErrorKind::NotTheApi(status) => status,
            ApiErrorKind::Query { is_unauthorized: true, .. } => 403,
            ApiErrorKind::Query { .. } => 400,
            // A call that ran out of time is handled below, as every one that its deadline ended.
            ApiErrorKind::Unsuccessful(..) | ApiErrorKind::Interrupted(_) | ApiErrorKind::OutOfTime => 500,
            ApiErrorKind::Unreachable(_) if is_local => {
                return format!(
                    "run `npm start` or `npx wrangler dev` first, or give its address: {local}=URL ({base})"
                );
            }
            ApiErrorKind::Unreachable(_) => return format!("check the network, the proxy and {api_base} ({base})"),
            ApiErrorKind::Tls(_) => {
                return format!("check the clock of this machine, the proxy and {api_base} ({base})");
            }
            ApiErrorKind::Cancelled => return "a signal stopped it; run it again, what was written stays".to_owned(),
        };
        let is_out_of_time = self.gave_up == GaveUp::Deadline || self.kind == ApiErrorKind::OutOfTime;
        match status {
            _ if is_out_of_time && is_analytics => {
                "run it again; --deadline SECONDS gives the query more time".to_owned()
            }
            _ if is_out_of_time => {
                "run it again, what was written stays; --deadline SECONDS gives each call more time".to_owned()
            }
            401 | 403 => format!(
                "the token in {token} needs the permission \"{}\" on the account of {account}",
                service.permission()
            ),
            400 if is_analytics => {
                "the plan of the account may allow less: try a shorter or later time, such as --since 1d".to_owned()
            }
            404 if is_analytics => format!("only Cloudflare's API has these metrics; omit {api_base} ({base})"),
            429 if is_analytics => "run it again in five minutes: a user may make 300 queries in that time".to_owned(),
            500.. if is_analytics => "run it again later; https://www.cloudflarestatus.com reports outages".to_owned(),
            404 => {
                format!("check {namespace} and {account}; `npx wrangler kv namespace list` shows what exists")
            }
            413 => "Workers KV accepts values up to 25 MiB and metadata up to 1024 bytes".to_owned(),
            429 => {
                "run it again in five minutes (an account may make 1,200 calls in that time), what was written stays"
                    .to_owned()
            }
            500.. if is_local => {
                "check the output of `wrangler dev` and run it again: what was written stays".to_owned()
            }
            500.. => "run it again later, what was written stays; https://www.cloudflarestatus.com reports outages"
                .to_owned(),
            300..=399 => format!("check the address of the API, which is {base} ({api_base})"),
            _ => match &self.kind {
                ApiErrorKind::Status { message: None, .. } => {
                    "its message is hidden because it may name keys; trying again would fail too".to_owned()
                }
                ApiErrorKind::Status { message: Some(message), .. } if message.is_empty() => {
                    "trying again would fail too".to_owned()
                }
                _ => "trying again would fail too: the message says why".to_owned(),
            },
        }
    }
}

#[cfg(test)]
mod tests;
