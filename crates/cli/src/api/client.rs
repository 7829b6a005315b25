//! HTTP calls: one attempt ([`ApiClient::send`]), and a call with its retries
//! ([`ApiClient::call`]).

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use kv_store::retry::{Backoff, Budget, retry, retry_after_ms};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use ureq::Agent;

use super::endpoint::ApiEndpoint;
use super::error::{ApiAttemptError, ApiError};
use super::limits::{RESPONSE_BYTES_MAX, SILENCE_MAX};
use super::rate_limit::RateLimit;
use crate::clock::{self, BlockingTime};
use crate::progress::Progress;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Shorter waits before a retry are not reported, in milliseconds.
const REPORTED_WAIT_MS: u64 = 2000;

/// `Retry-After` is respected up to five minutes: an account may make 1,200 calls in that time,
/// and one that has made them may have to wait that long.
const BACKOFF: Backoff =
    Backoff { first_ms: 1000, cap_ms: 30_000, retry_after_cap_ms: 300_000, tries_max: 8, deadline_ms: 0 };

/// The HTTP client of one API.
#[derive(Debug)]
pub(super) struct ApiClient {
    agent: Agent,
    endpoint: ApiEndpoint,
    /// The most time that a call may take with all its retries, in milliseconds. Time between
    /// calls, such as compressing, does not count: a command goes on as long as its calls
    /// succeed.
    deadline_ms: u64,
    calls: AtomicU64,
    /// True once the API has responded, to anything.
    has_responded: AtomicBool,
    rate_limit: RateLimit,
    progress: Progress,
}

/// Tokens that end calls early.
#[derive(Debug, Clone, Default)]
pub(super) struct Cancellation {
    /// Once this is cancelled, no attempt is made.
    pub(super) calls: CancellationToken,
    /// Once this is cancelled, no call is retried. The first attempt of a call is still made, so
    /// that work in progress can be finished.
    pub(super) retries: CancellationToken,
}

impl Cancellation {
    /// Returns true if an attempt, the first or a retry, must not be made.
    fn is_cancelled(&self, is_retry: bool) -> bool {
        self.calls.is_cancelled() || is_retry && self.retries.is_cancelled()
    }
}

/// A request. Its path is relative to the account, or to the base of an API without accounts.
#[derive(Clone, Copy)]
pub(super) enum ApiRequest<'a> {
    Get(&'a str),
    Put(&'a str, ApiRequestBody<'a>),
    Post(&'a str, ApiRequestBody<'a>),
}

#[derive(Clone, Copy)]
pub(super) struct ApiRequestBody<'a> {
    pub(super) content_type: &'a str,
    pub(super) bytes: &'a [u8],
}

pub(super) struct ApiResponse {
    status: u16,
    retry_after_ms: Option<u64>,
    /// The `Ratelimit` field.
    rate_limit: Option<String>,
    pub(super) body: Vec<u8>,
}

/// The JSON envelope of every response of the KV REST API except values.
#[derive(Deserialize)]
pub(super) struct ApiEnvelope<T> {
    #[serde(default = "yes")]
    success: bool,
    #[serde(default)]
    errors: Vec<ApiMessage>,
    #[serde(default = "none")]
    pub(super) result: Option<T>,
    #[serde(default)]
    pub(super) result_info: Option<ResultInfo>,
}

fn none<T>() -> Option<T> {
    None
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
struct ApiMessage {
    code: Option<u64>,
    #[serde(default)]
    message: String,
}

/// How a list continues.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ResultInfo {
    pub(super) cursor: Option<String>,
    pub(super) total_pages: Option<u64>,
}

impl ApiClient {
    pub(super) fn new(endpoint: ApiEndpoint, deadline: Duration, progress: Progress) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // The API does not redirect, so a redirect comes from something else, and where it
            // leads must not get the token.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_per_read(Some(SILENCE_MAX))
            .timeout_per_write(Some(SILENCE_MAX))
            .user_agent(concat!("kv-edge/", env!("CARGO_PKG_VERSION")));
        // A loopback address is never reached through a proxy.
        let config = if endpoint.is_loopback() { config.proxy(None) } else { config };
        let deadline_ms = clock::milliseconds(deadline);
        Self {
            agent: config.build().new_agent(),
            endpoint,
            deadline_ms,
            calls: AtomicU64::new(0),
            has_responded: AtomicBool::new(false),
            rate_limit: RateLimit::default(),
            progress,
        }
    }

    pub(super) fn is_local(&self) -> bool {
        self.endpoint.is_local()
    }

    /// Returns the address of a path.
    pub(super) fn url(&self, path: &str) -> String {
        self.endpoint.url(path)
    }

    pub(super) fn deadline_ms(&self) -> u64 {
        self.deadline_ms
    }

    /// Returns the token, which no message may show.
    pub(super) fn token(&self) -> Option<&str> {
        self.endpoint.token()
    }

    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Makes a call: retries until an attempt succeeds, fails permanently, or the call runs out
    /// of time, has made its eight tries, or is cancelled. `what` is what the call does, for
    /// messages.
    pub(super) fn call<T>(
        &self,
        what: &str,
        cancellation: &Cancellation,
        mut attempt: impl FnMut(&Self, Duration) -> Result<T, ApiAttemptError>,
    ) -> Result<T, ApiError> {
        let backoff = Backoff { deadline_ms: self.deadline_ms, ..BACKOFF };
        let failure = RefCell::new(String::new());
        let report_wait = |wait_ms: u64| {
            if wait_ms >= REPORTED_WAIT_MS {
                let seconds = wait_ms.div_ceil(1000);
                self.progress.note(&format!("to {what} again in {seconds} s: {}", failure.borrow()));
            }
        };
        let time = BlockingTime::new(report_wait, || cancellation.is_cancelled(true));
        let is_retry = Cell::new(false);
        // Each call has a retry budget of its own; the calls of an isolate of the Worker, which
        // also uses `retry`, share one.
        let budget = RefCell::new(Budget::new());
        let retried = clock::run(retry(&backoff, &budget, &time, async |time_left_ms| {
            let time_left_ms = self.begin_attempt(what, time_left_ms, cancellation, is_retry.replace(true))?;
            // Messages are cleaned here, before anything can show them.
            let outcome = attempt(self, Duration::from_millis(time_left_ms))
                .map_err(|failed| ApiAttemptError { kind: failed.kind.printable(self.endpoint.token()), ..failed });
            if let Err(failed) = &outcome {
                failure.replace(failed.kind.to_string());
            }
            outcome
        }));
        retried.outcome.map_err(|(failed, gave_up)| ApiError {
            what: what.to_owned(),
            kind: failed.kind,
            unsuccessful_keys: 0,
            tries: retried.tries,
            gave_up,
            base: self.endpoint.base().into(),
            service: self.endpoint.service(),
            names: self.endpoint.names(),
        })
    }

    /// Waits until the rate limit allows an attempt, and returns the time that is left then. An
    /// attempt that must still be made although retries are cancelled, or for which the wait would
    /// take longer than the time that is left, does not wait. The error is that the attempt must
    /// not be made, or that no time is left.
    fn begin_attempt(
        &self,
        what: &str,
        time_left_ms: u64,
        cancellation: &Cancellation,
        is_retry: bool,
    ) -> Result<u64, ApiAttemptError> {
        let started_ms = clock::now_ms();
        loop {
            if cancellation.is_cancelled(is_retry) {
                return Err(ApiAttemptError::cancelled());
            }
            let now_ms = clock::now_ms();
            let left_ms = time_left_ms.saturating_sub(now_ms - started_ms);
            if left_ms == 0 {
                return Err(ApiAttemptError::out_of_time());
            }
            let wait_ms = self.rate_limit.begin_call(now_ms);
            if wait_ms == 0 {
                return Ok(left_ms);
            }
            if wait_ms >= left_ms || cancellation.is_cancelled(true) {
                self.rate_limit.begin_call_anyway();
                return Ok(left_ms);
            }
            if wait_ms >= REPORTED_WAIT_MS {
                let seconds = wait_ms.div_ceil(1000);
                self.progress.note(&format!("the rate limit of the API is reached: waiting {seconds} s to {what}"));
            }
            clock::sleep(wait_ms, || cancellation.is_cancelled(true));
        }
    }

    /// Sends a request once, within the time that is left. A response with an error status is not
    /// an error here.
    pub(super) fn send(&self, request: ApiRequest<'_>, time_left: Duration) -> Result<ApiResponse, ApiAttemptError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let sent = self.request_once(request, time_left);
        let rate_limit = sent.as_ref().ok().and_then(|response| response.rate_limit.as_deref());
        self.rate_limit.end_call(rate_limit, clock::now_ms());
        sent.inspect(|_| self.has_responded.store(true, Ordering::Relaxed))
            .map_err(|error| ApiAttemptError::of_transport(&error, self.has_responded.load(Ordering::Relaxed)))
    }

    fn request_once(&self, request: ApiRequest<'_>, time_left: Duration) -> Result<ApiResponse, ureq::Error> {
        let time_left = Some(time_left);
        let token = self.endpoint.authorization();
        let sent = match request {
            ApiRequest::Get(path) => {
                let get = self.agent.get(self.endpoint.url(path)).config().timeout_global(time_left).build();
                if let Some(token) = token { get.header("authorization", token) } else { get }.call()
            }
            ApiRequest::Put(path, body) | ApiRequest::Post(path, body) => {
                let url = self.endpoint.url(path);
                let builder = match request {
                    ApiRequest::Put(..) => self.agent.put(url),
                    _ => self.agent.post(url),
                };
                let builder = builder.config().timeout_global(time_left).build();
                let builder = builder.header("content-type", body.content_type);
                if let Some(token) = token { builder.header("authorization", token) } else { builder }.send(body.bytes)
            }
        };
        let mut response = sent?;
        let field = |name| response.headers().get(name).and_then(|field| field.to_str().ok());
        let retry_after_ms = field("retry-after").and_then(|field| retry_after_ms(field, clock::now_ms()));
        let rate_limit = field("ratelimit").map(str::to_owned);
        let body = response.body_mut().with_config().limit(RESPONSE_BYTES_MAX).read_to_vec()?;
        Ok(ApiResponse { status: response.status().as_u16(), retry_after_ms, rate_limit, body })
    }
}

impl ApiResponse {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Parses the envelope, of a success or an error; `None` if the body is something else.
    pub(super) fn envelope<T: DeserializeOwned>(&self) -> Option<ApiEnvelope<T>> {
        serde_json::from_slice(&self.body).ok()
    }

    /// Returns the envelope of a success.
    pub(super) fn success<T: DeserializeOwned>(&self) -> Result<ApiEnvelope<T>, ApiAttemptError> {
        match self.envelope() {
            Some(envelope) if self.is_success() && envelope.success => Ok(envelope),
            None if self.is_success() => Err(ApiAttemptError::not_the_api(self.status)),
            _ => Err(self.failed()),
        }
    }

    /// Returns the code of the first error in the envelope.
    pub(super) fn code(&self) -> Option<u64> {
        self.envelope::<Value>()?.errors.first()?.code
    }

    /// Returns the error that this response is.
    pub(super) fn failed(&self) -> ApiAttemptError {
        let envelope = self.envelope::<Value>();
        let error = envelope.as_ref().and_then(|envelope| envelope.errors.first());
        let message = error.map(|error| error.message.as_str());
        ApiAttemptError::of_status(self.status, error.and_then(|error| error.code), message, self.retry_after_ms)
    }

    pub(super) fn is_not_found(&self) -> bool {
        self.status == 404
    }

    pub(super) fn status(&self) -> u16 {
        self.status
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use kv_store::retry::FailureClass;

    use super::*;
    use crate::api::argument_names::ArgumentNames;
    use crate::api::endpoint::{ApiBase, ApiService};
    use crate::api::error::ApiErrorKind;

    fn client(base: ApiBase) -> ApiClient {
        let (service, names) = (ApiService::Kv, &ArgumentNames::SOURCE);
        let endpoint = ApiEndpoint { base, service, names, account_path: String::new(), token: None };
        ApiClient::new(endpoint, Duration::from_secs(3600), Progress::new(true))
    }

    #[test]
    fn a_cancelled_call_is_not_retried_and_one_cancelled_before_it_begins_is_not_made() {
        let base = ApiBase { url: "http://127.0.0.1:9".to_owned(), is_loopback: true };
        let client = client(base);
        for (calls, retries, expected) in [(true, false, 0), (false, true, 1), (true, true, 0)] {
            let cancellation = Cancellation::default();
            let mut tries = 0;
            if calls {
                cancellation.calls.cancel();
            }
            let called = client.call("list the keys", &cancellation, |_, _| {
                tries += 1;
                // Cancelled during the attempt.
                if retries {
                    cancellation.retries.cancel();
                }
                let class = FailureClass::Unavailable { retry_after_ms: Some(3_600_000) };
                Err::<(), _>(ApiAttemptError { kind: ApiErrorKind::Interrupted("reset".to_owned()), class })
            });
            let sentence = called.unwrap_err().to_string();
            assert_eq!(tries, expected, "{sentence}");
            assert!(sentence.starts_with("cannot list the keys: it was cancelled"), "{sentence}");
            assert!(sentence.ends_with("; a signal stopped it; run it again, what was written stays"), "{sentence}");
        }
    }

    #[test]
    fn a_call_cancelled_while_it_waits_for_the_rate_limit_is_not_made_and_one_without_retries_is_made_at_once() {
        for (cancels_calls, expected) in [(true, 0), (false, 1)] {
            let client = client(ApiBase { url: "http://127.0.0.1:9".to_owned(), is_loopback: true });
            client.rate_limit.begin_call_anyway();
            client.rate_limit.end_call(Some(r#""default";r=0;t=300"#), clock::now_ms());
            let cancellation = Cancellation::default();
            let token = if cancels_calls { &cancellation.calls } else { &cancellation.retries }.clone();
            let cancelling = thread::spawn(move || {
                thread::sleep(Duration::from_millis(50));
                token.cancel();
            });
            let mut tries = 0;
            let called = client.call("list the keys", &cancellation, |_, _| {
                tries += 1;
                Ok(())
            });
            cancelling.join().unwrap();
            assert_eq!((tries, called.is_ok()), (expected, !cancels_calls));
        }
    }

    #[test]
    fn a_response_that_is_too_long_is_not_requested_again() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = ApiBase { url: format!("http://{}", server.local_addr().unwrap()), is_loopback: true };
        let responding = thread::spawn(move || {
            let (mut connection, _) = server.accept().unwrap();
            assert!(connection.read(&mut [0; 4096]).unwrap() > 0);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", RESPONSE_BYTES_MAX + 1);
            connection.write_all(head.as_bytes()).unwrap();
            let mebibyte = vec![b' '; 1 << 20];
            // The client closes the connection when it has read enough.
            while connection.write_all(&mebibyte).is_ok() {}
        });
        let client = client(base);
        let called = client.call("read 2 keys", &Cancellation::default(), |client, time_left| {
            client.send(ApiRequest::Get("/x"), time_left).map(|response| response.body.len())
        });
        let error = called.unwrap_err();
        assert_eq!((client.calls(), &error.kind), (1, &ApiErrorKind::ResponseTooLong), "{error}");
        drop(client);
        responding.join().unwrap();
    }
}
