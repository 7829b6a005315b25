//! The report of a run of writes, of which the response is made.

use serde::Serialize;

use crate::retry::GaveUp;
pub use crate::retry::Try;
use crate::store_error::StoreError;

/// The result of one write, as documented: `{attempt, success, error?: {message}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// The number of the write, from 1.
    pub attempt: u32,
    /// True if KV accepted the write, or if the object of `coalesce` stored it.
    pub success: bool,
    /// Why it did not succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<AttemptError>,
}

/// The error of a write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttemptError {
    /// What the client gets to see ([`StoreError::public_message`]), such as `KV PUT failed: 429
    /// Too Many Requests`.
    pub message: String,
    /// Why there was no further try: `permanent`, `tries`, `deadline` or `budget`. Absent if
    /// there is only one try by design.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
}

impl Attempt {
    /// Returns the result of write number `attempt` without retries.
    #[must_use]
    pub fn new(attempt: u32, outcome: Result<(), &StoreError>) -> Self {
        let error = outcome.err().map(|error| AttemptError::new(error, None));
        Self { attempt, success: error.is_none(), error }
    }

    /// Returns the result of write number `attempt` with retries.
    ///
    /// [`RunReport::new`] has an example.
    #[must_use]
    pub fn retried(attempt: u32, outcome: &Result<(), (StoreError, GaveUp)>) -> Self {
        let error = outcome.as_ref().err().map(|(error, gave_up)| AttemptError::new(error, Some(gave_up.reason())));
        Self { attempt, success: error.is_none(), error }
    }
}

impl AttemptError {
    fn new(error: &StoreError, reason: Option<&'static str>) -> Self {
        Self { message: error.public_message().to_owned(), reason }
    }
}

/// The result of one write, with its puts and its times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RetriedAttempt {
    /// The result.
    #[serde(flatten)]
    pub attempt: Attempt,
    /// The puts of this value, in JSON their number; none if a later value replaced it.
    #[serde(serialize_with = "count")]
    pub tries: Vec<Try>,
    /// When the write began, in milliseconds from the start of the run.
    pub started_ms: u64,
    /// When its result was known, in milliseconds from the start of the run.
    pub ended_ms: u64,
}

fn count<S: serde::Serializer>(tries: &[Try], serializer: S) -> Result<S::Ok, S::Error> {
    tries.len().serialize(serializer)
}

/// The report of a run, which is the response in JSON. The strategy `direct` responds in the
/// documented form instead: with each [`Attempt`] alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunReport {
    /// The result of each write, in the order of their numbers.
    pub attempts: Vec<RetriedAttempt>,
    /// How many writes succeeded.
    pub acknowledged: usize,
    /// How many puts were made.
    pub puts: usize,
    /// How long the run took, in milliseconds.
    pub elapsed_ms: u64,
}

impl RunReport {
    /// Returns the report of these results.
    ///
    /// # Examples
    ///
    /// One write, whose second put KV accepted:
    ///
    /// ```
    /// use kv_store::writes::{Attempt, RetriedAttempt, RunReport, Try};
    ///
    /// let tries = vec![
    ///     Try { started_ms: 0, ended_ms: 4, is_accepted: false },
    ///     Try { started_ms: 700, ended_ms: 704, is_accepted: true },
    /// ];
    /// let attempt = Attempt::retried(1, &Ok(()));
    /// let write = RetriedAttempt { attempt, tries, started_ms: 0, ended_ms: 704 };
    /// let report = RunReport::new(vec![write], 704);
    /// assert_eq!((report.acknowledged, report.puts), (1, 2));
    /// ```
    #[must_use]
    pub fn new(attempts: Vec<RetriedAttempt>, elapsed_ms: u64) -> Self {
        let acknowledged = attempts.iter().filter(|write| write.attempt.success).count();
        let puts = attempts.iter().map(|write| write.tries.len()).sum();
        Self { attempts, acknowledged, puts, elapsed_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::writes::value;

    #[test]
    fn direct_responds_in_the_documented_form() {
        let refused = StoreError::from_message("KV PUT failed: 429 Too Many Requests");
        let attempts = [Attempt::new(1, Ok(())), Attempt::new(2, Err(&refused))];
        assert_eq!(
            serde_json::to_string(&attempts).unwrap(),
            r#"[{"attempt":1,"success":true},{"attempt":2,"success":false,"error":{"message":"KV PUT failed: 429 Too Many Requests"}}]"#
        );
        assert_eq!(value(1), "Write attempt #1");
    }

    #[test]
    fn a_report_counts_tries_and_puts() {
        let refused = StoreError::from_message("KV PUT failed: 429 Too Many Requests");
        let tried = Try { started_ms: 1, ended_ms: 2, is_accepted: false };
        let write = |attempt, tries| RetriedAttempt { attempt, tries: vec![tried; tries], started_ms: 0, ended_ms: 7 };
        let report = RunReport::new(
            vec![write(Attempt::new(1, Ok(())), 1), write(Attempt::retried(2, &Err((refused, GaveUp::Tries))), 5)],
            9,
        );
        assert_eq!(
            serde_json::to_string(&report).unwrap(),
            concat!(
                r#"{"attempts":[{"attempt":1,"success":true,"tries":1,"startedMs":0,"endedMs":7},"#,
                r#"{"attempt":2,"success":false,"error":{"message":"KV PUT failed: 429 Too Many Requests","reason":"tries"},"tries":5,"startedMs":0,"endedMs":7}],"#,
                r#""acknowledged":1,"puts":6,"elapsedMs":9}"#
            )
        );
    }
}
