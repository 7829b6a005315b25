//! Concurrent writes to one key (KV documentation, "Limits to KV writes to the same key").

use serde::Serialize;

use crate::limits::{Key, KeyError};
use crate::request_target::{BadPercentEncoding, RequestTarget, percent_decode};
use crate::store::StoreError;

/// The documented number of parallel writes.
const WRITES_DEFAULT: u32 = 20;

/// More would not fit the operations of one invocation: each write may take five puts.
const WRITES_MAX: u32 = 100;

/// Why a run does not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// Broken percent-encoding in the path or the query.
    #[error(transparent)]
    Encoding(#[from] BadPercentEncoding),
    /// The path's last part is no key of Workers KV.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// `n` is no whole number from 1 to 100.
    #[error("n must be a whole number from 1 to 100.")]
    Count,
    /// There is no such strategy.
    #[error("There is no such strategy; use direct or backoff.")]
    Strategy,
}

/// How the puts of a run are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Every write is put once, at the same time, as in the documented demonstration.
    Direct,
    /// As `Direct`, but a put refused with 429 is tried again after a wait ([`crate::retry::Backoff::PUT`]).
    Backoff,
}

/// A run of parallel writes to one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run<'a> {
    /// The key in `WRITES`.
    pub key: Key<'a>,
    /// How many writes, 1 to 100.
    pub n: u32,
    /// How they are made.
    pub strategy: Strategy,
}

impl<'a> Run<'a> {
    /// Reads `/writes/{key}?n=20&strategy=direct|backoff`; `encoded_key` is what stands behind `/writes/`.
    ///
    /// # Errors
    /// [`WriteError`] names the part that is wrong.
    pub fn parse(encoded_key: &'a str, target: &RequestTarget<'_>) -> Result<Self, WriteError> {
        let key = Key::new(percent_decode(encoded_key)?)?;
        let n = match target.parameter("n")? {
            None => WRITES_DEFAULT,
            // `parse` alone would take `+5`.
            Some(n) if n.starts_with('+') => return Err(WriteError::Count),
            Some(n) => n.parse().ok().filter(|n| (1..=WRITES_MAX).contains(n)).ok_or(WriteError::Count)?,
        };
        let strategy = match target.parameter("strategy")?.as_deref() {
            None | Some("direct") => Strategy::Direct,
            Some("backoff") => Strategy::Backoff,
            Some(_) => return Err(WriteError::Strategy),
        };
        Ok(Self { key, n, strategy })
    }
}

/// The value that a write puts; attempts are numbered from 1.
#[must_use]
pub fn value(attempt: u32) -> String {
    format!("Write attempt #{attempt}")
}

/// What became of one write, as documented: `{attempt, success, error?: {message}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// The number of the write, from 1.
    pub attempt: u32,
    /// True where KV took it.
    pub success: bool,
    /// Why KV did not take it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<AttemptError>,
}

/// The error of a write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttemptError {
    /// The runtime's message, such as `KV PUT failed: 429 Too Many Requests`.
    pub message: String,
}

impl Attempt {
    /// The outcome of write number `attempt`.
    #[must_use]
    pub fn new(attempt: u32, outcome: Result<(), &StoreError>) -> Self {
        let error = outcome.err().map(|error| AttemptError { message: error.public_message().to_owned() });
        Self { attempt, success: error.is_none(), error }
    }
}

/// What became of one write that may have been tried more than once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RetriedAttempt {
    /// The outcome of the last try.
    #[serde(flatten)]
    pub attempt: Attempt,
    /// Puts made for it.
    pub tries: u32,
    /// When its first put began, in milliseconds from the start of the run.
    pub started_ms: u64,
    /// When its last put ended, in milliseconds from the start of the run.
    pub ended_ms: u64,
}

/// The answer of a run with retries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// One for each write, in the order of their numbers.
    pub attempts: Vec<RetriedAttempt>,
    /// How many writes KV took.
    pub acknowledged: usize,
    /// How many puts were made in all.
    pub puts: u32,
    /// How long the run took, in milliseconds.
    pub elapsed_ms: u64,
}

impl Report {
    /// Counts the attempts.
    #[must_use]
    pub fn new(attempts: Vec<RetriedAttempt>, elapsed_ms: u64) -> Self {
        let acknowledged = attempts.iter().filter(|write| write.attempt.success).count();
        let puts = attempts.iter().fold(0_u32, |puts, write| puts.saturating_add(write.tries));
        Self { attempts, acknowledged, puts, elapsed_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(encoded_key: &str, query: &str) -> Result<(String, u32, Strategy), WriteError> {
        let url = format!("http://h/writes/{encoded_key}{query}");
        Run::parse(encoded_key, &RequestTarget::parse(&url))
            .map(|run| (run.key.as_str().to_owned(), run.n, run.strategy))
    }

    #[test]
    fn a_run_is_read_from_path_and_query() {
        for (key, query, expected) in [
            ("hot", "", Ok(("hot".into(), 20, Strategy::Direct))),
            ("hot", "?n=1&strategy=backoff", Ok(("hot".into(), 1, Strategy::Backoff))),
            ("a%2Fb/c", "?n=100&strategy=direct", Ok(("a/b/c".into(), 100, Strategy::Direct))),
            ("hot", "?n=0", Err(WriteError::Count)),
            ("hot", "?n=101", Err(WriteError::Count)),
            ("hot", "?n=", Err(WriteError::Count)),
            ("hot", "?n=-1", Err(WriteError::Count)),
            ("hot", "?n=2.5", Err(WriteError::Count)),
            ("hot", "?n=%2B5", Err(WriteError::Count)),
            ("hot", "?n=99999999999", Err(WriteError::Count)),
            ("hot", "?strategy=coalesced", Err(WriteError::Strategy)),
            ("hot", "?strategy=", Err(WriteError::Strategy)),
            ("", "", Err(WriteError::Key(KeyError::Empty))),
            ("%2e", "", Err(WriteError::Key(KeyError::Dots))),
            ("%zz", "", Err(WriteError::Encoding(BadPercentEncoding))),
        ] {
            assert_eq!(run(key, query), expected, "{key}{query}");
        }
    }

    #[test]
    fn direct_answers_in_the_documented_form() {
        let refused = StoreError::from_message("KV PUT failed: 429 Too Many Requests");
        let attempts = [Attempt::new(1, Ok(())), Attempt::new(2, Err(&refused))];
        assert_eq!(
            serde_json::to_string(&attempts).unwrap(),
            r#"[{"attempt":1,"success":true},{"attempt":2,"success":false,"error":{"message":"KV PUT failed: 429 Too Many Requests"}}]"#
        );
        assert_eq!(value(1), "Write attempt #1");
    }

    #[test]
    fn backoff_reports_tries_and_counts() {
        let refused = StoreError::from_message("KV PUT failed: 429 Too Many Requests");
        let write = |attempt, tries| RetriedAttempt { attempt, tries, started_ms: 0, ended_ms: 7 };
        let report = Report::new(vec![write(Attempt::new(1, Ok(())), 1), write(Attempt::new(2, Err(&refused)), 5)], 9);
        assert_eq!(
            serde_json::to_string(&report).unwrap(),
            concat!(
                r#"{"attempts":[{"attempt":1,"success":true,"tries":1,"startedMs":0,"endedMs":7},"#,
                r#"{"attempt":2,"success":false,"error":{"message":"KV PUT failed: 429 Too Many Requests"},"tries":5,"startedMs":0,"endedMs":7}],"#,
                r#""acknowledged":1,"puts":6,"elapsedMs":9}"#
            )
        );
    }
}
