//! Requests of `/writes`: a write of one value, a read, and the documented demonstration with many
//! parallel writes to one key (KV documentation, "Limits to KV writes to the same key").

mod report;

use crate::limits::{Key, KeyError, VALUE_BYTES_MAX};
use crate::retry::Backoff;
use http_semantics::conditional::Preconditions;
use http_semantics::error_response::{ErrorResponse, HttpError};
use http_semantics::one_of_each;
use http_semantics::request_target::{BadPercentEncoding, RequestTarget, percent_decode};
use http_semantics::status::Status;
use serde::{Deserialize, Serialize};

pub use report::{Attempt, AttemptError, RetriedAttempt, RunReport, Try};

/// The largest number of writes. An invocation has 1,000 operations on KV ("Limits"), and the
/// retry budget keeps 100 writes below that (800 puts in the simulation). The runtime refuses a
/// put beyond the limit at once.
const WRITES_MAX: u32 = 100;

/// The longest time that a response waits for KV, in milliseconds.
const TIMEOUT_MS_MAX: u32 = 60_000;

/// Why a request of `/writes` is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The path or the query has invalid percent-encoding.
    #[error(transparent)]
    Encoding(#[from] BadPercentEncoding),
    /// What follows `/writes/` in the path is not a key of Workers KV.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// `n` is not a whole number from 1 to 100.
    #[error("n must be a whole number from 1 to 100.")]
    Count,
    /// The request has both `n` and a body.
    #[error("n asks for the documented demonstration, which makes its own values; leave n out to write the body.")]
    CountAndBody,
    /// The strategy does not exist.
    #[error("There is no such strategy; use direct, backoff or coalesce.")]
    Strategy,
    /// The `wait` does not exist.
    #[error("wait must be durable or kv.")]
    Wait,
    /// `wait` without `coalesce`: only an object can respond before KV has the value.
    #[error("wait needs strategy=coalesce: the other strategies always wait for KV.")]
    WaitUnused,
    /// The query has an unknown parameter, which may be a misspelt one.
    #[error("There is no such parameter here; there are: {0}.")]
    Parameter(String),
    /// `timeoutMs` is not a whole number from 1 to 60000.
    #[error("timeoutMs must be a whole number of milliseconds from 1 to 60000.")]
    Timeout,
    /// `consistent` is not 1.
    #[error("consistent must be 1; leave it out to read what Workers KV shows here.")]
    Consistent,
    /// A precondition without `coalesce`: Workers KV has no conditional write.
    #[error("If-Match and If-None-Match need strategy=coalesce: Workers KV alone cannot compare before it writes.")]
    Conditional,
    /// The body has no `Content-Length` (RFC 9110 §15.5.12).
    #[error("A body needs a Content-Length.")]
    LengthRequired,
    /// The body is longer than a value may be. The number is its length in bytes.
    #[error("The value has {0} bytes; Workers KV accepts {VALUE_BYTES_MAX} at most (25 MiB).")]
    TooLarge(u64),
}

impl HttpError for WriteError {
    fn response(&self) -> ErrorResponse {
        let shown = |status, code| ErrorResponse::new(status, code, self.to_string());
        match self {
            Self::Encoding(error) => error.response(),
            Self::Key(error) => error.response(),
            Self::Count | Self::CountAndBody => shown(Status::BadRequest, "invalid_n"),
            Self::Strategy => shown(Status::BadRequest, "unknown_strategy"),
            Self::Wait => shown(Status::BadRequest, "unknown_wait"),
            Self::WaitUnused => shown(Status::BadRequest, "wait_unsupported"),
            Self::Parameter(_) => shown(Status::BadRequest, "unknown_parameter"),
            Self::Timeout => shown(Status::BadRequest, "invalid_timeout"),
            Self::Conditional => shown(Status::BadRequest, "precondition_unsupported"),
            Self::Consistent => shown(Status::BadRequest, "invalid_consistent"),
            Self::LengthRequired => shown(Status::LengthRequired, "length_required"),
            Self::TooLarge(_) => shown(Status::ContentTooLarge, "value_too_large"),
        }
    }

    fn examples() -> Vec<(Self, &'static str)> {
        one_of_each! {
            Self::Encoding(_) => Self::Encoding(BadPercentEncoding), "The key or a parameter cannot be decoded.";
            Self::Key(_) => Self::Key(KeyError::Empty), "The path names no key.";
            Self::Count => Self::Count, "The number of writes of the demonstration is out of its bounds.";
            Self::CountAndBody => Self::CountAndBody, "The request has both a value and a number of values to be made up.";
            Self::Strategy => Self::Strategy, "`strategy` is none of the three.";
            Self::Wait => Self::Wait, "`wait` is neither `durable` nor `kv`.";
            Self::WaitUnused => Self::WaitUnused, "Only `strategy=coalesce` can respond before Workers KV has the value.";
            Self::Parameter(_) => Self::Parameter("strategy, n, wait, timeoutMs".to_owned()),
                "The query has a parameter that is not known, such as one that is misspelt.";
            Self::Timeout => Self::Timeout, "`timeoutMs` is out of its bounds.";
            Self::Consistent => Self::Consistent, "`consistent` has another value than 1.";
            Self::Conditional => Self::Conditional, "Only `strategy=coalesce` compares before it writes.";
            Self::LengthRequired => Self::LengthRequired, "The value comes without a `Content-Length`.";
            Self::TooLarge(_) => Self::TooLarge(VALUE_BYTES_MAX + 1),
                "The value is longer than Workers KV accepts.";
        }
    }
}

/// Why a read has no value to respond with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadError {
    /// KV has no such key.
    NotFound,
    /// KV still shows another value than the key's object has put.
    NotVisibleYet,
}

impl HttpError for ReadError {
    fn response(&self) -> ErrorResponse {
        match self {
            Self::NotFound => ErrorResponse::new(Status::NotFound, "key_not_found", "Workers KV holds no such key."),
            Self::NotVisibleYet => ErrorResponse::new(
                Status::ServiceUnavailable,
                "not_visible_yet",
                "Workers KV does not show the newest value yet. Please try again; write it again if that lasts.",
            )
            .because("KV shows another value than the one that the key's object has put")
            .retry_after(5),
        }
    }

    fn examples() -> Vec<(Self, &'static str)> {
        one_of_each! {
            Self::NotFound => Self::NotFound, "There is no value under the key, or Workers KV does not show it here yet.";
            Self::NotVisibleYet => Self::NotVisibleYet,
                "`consistent=1` asks for the newest value, and Workers KV still shows another one here.";
        }
    }
}

/// How the values of a run are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteStrategy {
    /// Each value is put once, all at the same time, as in the documented demonstration.
    Direct,
    /// Like `Direct`, but a failed put is retried after a wait ([`crate::retry::Backoff::PUT`]).
    Backoff,
    /// The values are coalesced into one, which the key's Durable Object writes to KV
    /// ([`crate::key_writer`]).
    Coalesce(Wait),
}

/// What the response to a coalesced write waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wait {
    /// The object has stored the value, which will reach KV.
    Durable,
    /// KV has the value, or a later one.
    Kv,
}

/// A read of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueRead<'a> {
    /// The key in `WRITES`.
    pub key: Key<'a>,
    /// True for the newest value, which the key's object knows; false for what KV shows here.
    pub is_consistent: bool,
}

impl<'a> ValueRead<'a> {
    /// Parses `/writes/{key}?consistent=1`. `encoded_key` is the path after `/writes/`.
    ///
    /// # Errors
    /// [`WriteError`] names the part that is wrong.
    ///
    /// # Examples
    ///
    /// ```
    /// use http_semantics::request_target::RequestTarget;
    /// use kv_store::writes::ValueRead;
    ///
    /// let target = RequestTarget::parse("https://edge.example/writes/hot?consistent=1");
    /// let read = ValueRead::parse("hot", &target)?;
    /// assert_eq!((read.key.as_str(), read.is_consistent), ("hot", true));
    /// # Ok::<(), kv_store::writes::WriteError>(())
    /// ```
    pub fn parse(encoded_key: &'a str, target: &RequestTarget<'_>) -> Result<Self, WriteError> {
        let key = key(encoded_key)?;
        no_other_parameters(target, &["consistent"])?;
        match target.parameter("consistent")?.as_deref() {
            None => Ok(Self { key, is_consistent: false }),
            Some("1") => Ok(Self { key, is_consistent: true }),
            Some(_) => Err(WriteError::Consistent),
        }
    }
}

/// The header fields of a write.
#[derive(Debug, Clone, Copy, Default)]
pub struct WriteFields<'a> {
    /// `Content-Length`
    pub content_length: Option<&'a str>,
    /// True if the request has a body.
    pub has_body: bool,
    /// `If-Match`
    pub if_match: Option<&'a str>,
    /// `If-None-Match`
    pub if_none_match: Option<&'a str>,
}

/// One write of a value to a key, or the parallel writes of the demonstration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteRun<'a> {
    /// The key in `WRITES`.
    pub key: Key<'a>,
    /// The number of writes, 1 to 100.
    pub n: u32,
    /// How they are written.
    pub strategy: WriteStrategy,
    /// How long the response may wait for KV, in milliseconds.
    pub timeout_ms: u32,
    /// The length of the body, which is the value, in bytes; `None` for the documented
    /// demonstration.
    pub value_bytes: Option<u64>,
    /// The version that the key must be at. Only for [`WriteStrategy::Coalesce`].
    pub preconditions: Preconditions,
}

/// Returns the key of a path.
fn key(encoded_key: &str) -> Result<Key<'_>, WriteError> {
    Ok(Key::new(percent_decode(encoded_key)?)?)
}

impl<'a> WriteRun<'a> {
    /// Parses `/writes/{key}` with the parameters `n`, `strategy`, `wait` and `timeoutMs`.
    /// `encoded_key` is the path after `/writes/`.
    ///
    /// # Errors
    /// [`WriteError`] names the part that is wrong.
    ///
    /// # Examples
    ///
    /// ```
    /// use http_semantics::request_target::RequestTarget;
    /// use kv_store::writes::{Wait, WriteError, WriteFields, WriteRun, WriteStrategy};
    ///
    /// let mut fields = WriteFields::default();
    /// (fields.content_length, fields.has_body) = (Some("5"), true);
    /// let url = "https://edge.example/writes/users%2Fann?strategy=coalesce&wait=durable";
    /// let run = WriteRun::parse("users%2Fann", &RequestTarget::parse(url), &fields)?;
    /// assert_eq!((run.key.as_str(), run.value_bytes), ("users/ann", Some(5)));
    /// assert_eq!(run.strategy, WriteStrategy::Coalesce(Wait::Durable));
    ///
    /// // Only the key's Durable Object can compare before it writes.
    /// fields.if_match = Some("\"7\"");
    /// let url = "https://edge.example/writes/users%2Fann?strategy=direct";
    /// let refused = WriteRun::parse("users%2Fann", &RequestTarget::parse(url), &fields);
    /// assert_eq!(refused, Err(WriteError::Conditional));
    /// # Ok::<(), WriteError>(())
    /// ```
    pub fn parse(
        encoded_key: &'a str,
        target: &RequestTarget<'_>,
        fields: &WriteFields<'_>,
    ) -> Result<Self, WriteError> {
        let key = key(encoded_key)?;
        no_other_parameters(target, &["n", "strategy", "wait", "timeoutMs"])?;
        let wait = match target.parameter("wait")?.as_deref() {
            None | Some("kv") => Wait::Kv,
            Some("durable") => Wait::Durable,
            Some(_) => return Err(WriteError::Wait),
        };
        let strategy = match target.parameter("strategy")?.as_deref() {
            None | Some("direct") => WriteStrategy::Direct,
            Some("backoff") => WriteStrategy::Backoff,
            Some("coalesce") => WriteStrategy::Coalesce(wait),
            Some(_) => return Err(WriteError::Strategy),
        };
        if target.parameter("wait")?.is_some() && !matches!(strategy, WriteStrategy::Coalesce(_)) {
            return Err(WriteError::WaitUnused);
        }
        let timeout_ms = whole(target, "timeoutMs", TIMEOUT_MS_MAX, WriteError::Timeout)?.unwrap_or(TIMEOUT_MS_MAX);
        let preconditions = Preconditions::parse(fields.if_match, fields.if_none_match);
        if !preconditions.is_empty() && !matches!(strategy, WriteStrategy::Coalesce(_)) {
            return Err(WriteError::Conditional);
        }
        let value_bytes = fields.value_bytes()?;
        // A body is never dropped in favour of the demonstration's values.
        let (n, value_bytes) = match whole(target, "n", WRITES_MAX, WriteError::Count)? {
            None => (1, Some(value_bytes)),
            Some(n) if value_bytes == 0 => (n, None),
            Some(_) => return Err(WriteError::CountAndBody),
        };
        Ok(Self { key, n, strategy, timeout_ms, value_bytes, preconditions })
    }
}

impl WriteRun<'_> {
    /// Returns the retry policy, which ends with the time that the response may wait.
    #[must_use]
    pub fn backoff(&self) -> Backoff {
        Backoff { deadline_ms: self.timeout_ms.into(), ..Backoff::PUT }
    }
}

impl WriteFields<'_> {
    /// Returns the length of the body, 0 if there is none (RFC 9112 §6.3).
    fn value_bytes(&self) -> Result<u64, WriteError> {
        match self.content_length.map(|length| length.trim().parse::<u64>()) {
            Some(Ok(length)) if length > VALUE_BYTES_MAX => Err(WriteError::TooLarge(length)),
            Some(Ok(length)) => Ok(length),
            None | Some(Err(_)) if self.has_body => Err(WriteError::LengthRequired),
            None | Some(Err(_)) => Ok(0),
        }
    }
}

fn no_other_parameters(target: &RequestTarget<'_>, known: &[&str]) -> Result<(), WriteError> {
    match target.unknown_parameter(known) {
        None => Ok(()),
        Some(_) => Err(WriteError::Parameter(known.join(", "))),
    }
}

/// Returns a parameter that must be a whole number from 1 to `max`.
fn whole(target: &RequestTarget<'_>, name: &str, max: u32, error: WriteError) -> Result<Option<u32>, WriteError> {
    match target.parameter(name)? {
        None => Ok(None),
        // `parse` accepts `+5`.
        Some(number) if number.starts_with('+') => Err(error),
        Some(number) => number.parse().ok().filter(|number| (1..=max).contains(number)).map(Some).ok_or(error),
    }
}

/// Returns the documented value of a write. Attempts are numbered from 1.
#[must_use]
pub fn value(attempt: u32) -> String {
    format!("Write attempt #{attempt}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_BODY: WriteFields<'static> =
        WriteFields { content_length: None, has_body: false, if_match: None, if_none_match: None };

    fn parse<'a>(encoded_key: &'a str, query: &str, fields: &WriteFields<'_>) -> Result<WriteRun<'a>, WriteError> {
        let url = format!("http://h/writes/{encoded_key}{query}");
        WriteRun::parse(encoded_key, &RequestTarget::parse(&url), fields)
    }

    fn run(encoded_key: &str, query: &str) -> Result<(String, u32, WriteStrategy, u32), WriteError> {
        parse(encoded_key, query, &NO_BODY)
            .map(|run| (run.key.as_str().to_owned(), run.n, run.strategy, run.timeout_ms))
    }

    #[test]
    fn a_run_is_read_from_path_and_query() {
        for (key, query, expected) in [
            ("hot", "", Ok(("hot".into(), 1, WriteStrategy::Direct, 60_000))),
            ("hot", "?n=20", Ok(("hot".into(), 20, WriteStrategy::Direct, 60_000))),
            ("hot", "?n=1&strategy=backoff", Ok(("hot".into(), 1, WriteStrategy::Backoff, 60_000))),
            ("a%2Fb/c", "?n=100&strategy=direct", Ok(("a/b/c".into(), 100, WriteStrategy::Direct, 60_000))),
            ("hot", "?strategy=coalesce", Ok(("hot".into(), 1, WriteStrategy::Coalesce(Wait::Kv), 60_000))),
            (
                "hot",
                "?strategy=coalesce&wait=kv&n=20",
                Ok(("hot".into(), 20, WriteStrategy::Coalesce(Wait::Kv), 60_000)),
            ),
            (
                "hot",
                "?strategy=coalesce&wait=durable&timeoutMs=500",
                Ok(("hot".into(), 1, WriteStrategy::Coalesce(Wait::Durable), 500)),
            ),
            ("hot", "?n=0", Err(WriteError::Count)),
            ("hot", "?n=101", Err(WriteError::Count)),
            ("hot", "?n=", Err(WriteError::Count)),
            ("hot", "?n=-1", Err(WriteError::Count)),
            ("hot", "?n=2.5", Err(WriteError::Count)),
            ("hot", "?n=%2B5", Err(WriteError::Count)),
            ("hot", "?n=99999999999", Err(WriteError::Count)),
            ("hot", "?strategy=coalesced", Err(WriteError::Strategy)),
            ("hot", "?strategy=", Err(WriteError::Strategy)),
            ("hot", "?strategy=coalesce&wait=", Err(WriteError::Wait)),
            ("hot", "?wait=forever", Err(WriteError::Wait)),
            ("hot", "?wait=durable", Err(WriteError::WaitUnused)),
            ("hot", "?stategy=coalesce", Err(WriteError::Parameter("n, strategy, wait, timeoutMs".into()))),
            ("hot", "?timeoutMs=0", Err(WriteError::Timeout)),
            ("hot", "?timeoutMs=60001", Err(WriteError::Timeout)),
            ("hot", "?timeoutMs=1s", Err(WriteError::Timeout)),
            ("", "", Err(WriteError::Key(KeyError::Empty))),
            ("%2e", "", Err(WriteError::Key(KeyError::Dots))),
            ("%zz", "", Err(WriteError::Encoding(BadPercentEncoding))),
        ] {
            assert_eq!(run(key, query), expected, "{key}{query}");
        }
    }

    #[test]
    fn a_body_even_an_empty_one_is_one_write_and_the_demonstration_needs_n() {
        let with_length = |length| WriteFields { content_length: Some(length), has_body: true, ..NO_BODY };
        for (query, fields, expected) in [
            ("", with_length("5"), Ok((1, Some(5)))),
            ("", with_length("26214400"), Ok((1, Some(26_214_400)))),
            ("", with_length("26214401"), Err(WriteError::TooLarge(26_214_401))),
            ("", with_length("0"), Ok((1, Some(0)))),
            ("", WriteFields { content_length: Some("0"), ..NO_BODY }, Ok((1, Some(0)))),
            ("", NO_BODY, Ok((1, Some(0)))),
            ("", WriteFields { has_body: true, ..NO_BODY }, Err(WriteError::LengthRequired)),
            ("", with_length("many"), Err(WriteError::LengthRequired)),
            ("?n=1", NO_BODY, Ok((1, None))),
            ("?n=20", NO_BODY, Ok((20, None))),
            ("?n=20", with_length("0"), Ok((20, None))),
            ("?n=1", with_length("5"), Err(WriteError::CountAndBody)),
            ("?n=2", with_length("5"), Err(WriteError::CountAndBody)),
            ("?n=2", WriteFields { has_body: true, ..NO_BODY }, Err(WriteError::LengthRequired)),
        ] {
            for strategy in ["direct", "backoff", "coalesce"] {
                let and = if query.is_empty() { "?" } else { "&" };
                let run = parse("hot", &format!("{query}{and}strategy={strategy}"), &fields);
                assert_eq!(run.map(|run| (run.n, run.value_bytes)), expected, "{query} {strategy} {fields:?}");
            }
        }
    }

    #[test]
    fn a_read_is_what_kv_shows_or_the_newest_value() {
        let read = |query: &str| {
            let url = format!("http://h/writes/a%20b{query}");
            ValueRead::parse("a%20b", &RequestTarget::parse(&url)).map(|read| read.is_consistent)
        };
        for (query, expected) in [
            ("", Ok(false)),
            ("?consistent=1", Ok(true)),
            ("?consistent=0", Err(WriteError::Consistent)),
            ("?consistent=true", Err(WriteError::Consistent)),
            ("?Consistent=1", Err(WriteError::Parameter("consistent".into()))),
        ] {
            assert_eq!(read(query), expected, "{query}");
        }
    }

    #[test]
    fn a_precondition_that_cannot_be_kept_is_refused() {
        let fields = WriteFields { if_match: Some("\"1\""), ..NO_BODY };
        assert_eq!(parse("hot", "?strategy=backoff", &fields).map(|run| run.n), Err(WriteError::Conditional));
        assert!(parse("hot", "?strategy=coalesce", &fields).is_ok_and(|run| !run.preconditions.is_empty()));
    }
}
