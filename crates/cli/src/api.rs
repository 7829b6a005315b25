//! The client of the Workers KV REST API: Cloudflare's ("KV" in the Cloudflare API reference),
//! that of a kv-edge, or the one that `wrangler dev` serves over its local KV.
//!
//! All speak the same JSON. The table lists where the local API (wrangler 4.164) differs, and
//! what this client does about it.
//!
//! | | Cloudflare | `wrangler dev` | here |
//! |---|---|---|---|
//! | paths | after `/accounts/{id}` | no account, no token | [`api_arguments`] |
//! | unknown namespace id | 404, code 10013 | an empty namespace | if local, listed first |
//! | single put, `expiration_ttl` | in the query | ignored | a put is a bulk write of one |
//! | incomplete bulk write | 200, `unsuccessful_keys` | an error with `unsuccessful_keys` | both |
//! | `limit` of a list | 10 to 1000 | the same; 400 for others | 1000; 10 for one key |
//! | pairs of a bulk write | 10,000 | the same, in 77 seconds | 10,000; 1,000 if local |
//! | pages of namespaces | `page`, `per_page` | all on each page | a repeated id ends the list |
//! | 429 | after 1,200 calls in 5 minutes | never | retried, but not the daily limit |
//! | a bulk read of a value that is not text | 400, code 10029 | U+FFFD | read alone |
//! | `Ratelimit` | with each response | never | [`rate_limit`] |
//!
//! [`analytics`] asks Cloudflare's GraphQL API, with the same timeouts, retries and errors.

mod analytics;
mod api_arguments;
mod argument_names;
mod batch_builder;
mod client;
mod concurrent_calls;
mod destination_arguments;
mod endpoint;
mod error;
mod key_pages;
mod limits;
mod metadata_json;
mod namespace_arguments;
mod prefetch;
mod rate_limit;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kv_store::limits::Key;
use kv_store::record::to_json;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub(crate) use analytics::{Analytics, KvMetrics, LatencyQuantiles, ROWS_MAX};
use api_arguments::ListedNamespace;
pub(crate) use api_arguments::{AccountArguments, OpenError, listed, misplaced_address};
pub(crate) use batch_builder::{BatchBuilder, KeyValuePair, PairExpiration};
use client::{ApiClient, ApiRequest, ApiRequestBody, ApiResponse, Cancellation};
pub(crate) use concurrent_calls::{CallQueue, concurrent_calls};
pub(crate) use destination_arguments::DestinationArguments;
use endpoint::segment;
pub(crate) use error::ApiError;
use error::{ApiAttemptError, KEY_NOT_FOUND};
use key_pages::KeyPages;
pub(crate) use key_pages::NamespaceKeyPage;
pub(crate) use metadata_json::MetadataJson;
pub(crate) use namespace_arguments::{DefaultNamespace, NamespaceArguments, namespace};
pub(crate) use prefetch::Prefetch;

use crate::clock::now_ms;

/// The number of pairs in a small batch.
const SMALL_BATCH_PAIRS: usize = 1000;

/// The number of namespaces that are requested per page.
const NAMESPACES_MAX: usize = 100;

const JSON: &str = "application/json";

/// A KV namespace. Calls may come from several threads; clones share the connections and the
/// number of calls.
#[derive(Debug, Clone)]
pub(crate) struct Namespace {
    client: Arc<ApiClient>,
    id: String,
    is_redacted: bool,
    cancellation: Cancellation,
    before_call: Option<Arc<dyn BeforeCall>>,
}

/// What a command does before each call, such as renewing a lease.
pub(crate) trait BeforeCall: fmt::Debug + Send + Sync {
    /// Called before each call, but not before its retries.
    ///
    /// # Errors
    /// The call is not made, and fails with this error.
    fn before_call(&self) -> Result<(), ApiError>;
}

/// A key as "List a namespace's keys" returns it.
#[derive(Clone, PartialEq, Deserialize)]
pub(crate) struct NamespaceKey {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) metadata: Option<MetadataJson>,
    /// When the key expires, in seconds since the Unix epoch.
    #[serde(default)]
    pub(crate) expiration: Option<u64>,
}

/// Shows no key: keys may be personal data.
impl fmt::Debug for NamespaceKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("NamespaceKey").field("bytes", &self.name.len()).finish_non_exhaustive()
    }
}

/// The `result` of a bulk read.
#[derive(Deserialize)]
struct BulkReadResult {
    values: HashMap<String, Option<String>>,
}

/// The `result` of a bulk call.
#[derive(Default, Deserialize)]
struct BulkResult {
    successful_key_count: Option<u64>,
    #[serde(default)]
    unsuccessful_keys: Option<Vec<String>>,
}

impl BulkResult {
    /// Returns true if the result says anything about keys.
    fn reports_keys(&self) -> bool {
        self.successful_key_count.is_some() || self.unsuccessful_keys.is_some()
    }
}

impl Namespace {
    fn new(client: ApiClient, id: &str) -> Self {
        Self {
            client: Arc::new(client),
            id: id.to_owned(),
            is_redacted: false,
            cancellation: Cancellation::default(),
            before_call: None,
        }
    }

    fn with_id(self, id: String) -> Self {
        Self { id, ..self }
    }

    /// Returns the same namespace, but error messages name no key and repeat nothing that the API
    /// says about one.
    pub(crate) fn redacted(self) -> Self {
        Self { is_redacted: true, ..self }
    }

    /// Returns the same namespace, but calls are not retried once `token` is cancelled. The first
    /// attempt of a call is still made.
    pub(crate) fn without_retries_after(mut self, token: &CancellationToken) -> Self {
        self.cancellation.retries = token.clone();
        self
    }

    /// Returns the same namespace, but no call is made once `token` is cancelled.
    fn without_calls_after(&self, token: &CancellationToken) -> Self {
        let mut namespace = self.clone();
        namespace.cancellation.calls = token.clone();
        namespace
    }

    /// Returns the same namespace, with something to do before each call.
    pub(crate) fn with_before_call(&self, before_call: Arc<dyn BeforeCall>) -> Self {
        Self { before_call: Some(before_call), ..self.clone() }
    }

    /// Returns true for the API of `wrangler dev`.
    pub(crate) fn is_local(&self) -> bool {
        self.client.is_local()
    }

    /// Returns the address of the namespace, which no other namespace has.
    pub(crate) fn url(&self) -> String {
        self.client.url(self.path("").trim_end_matches('/'))
    }

    /// Returns a path in this namespace, relative to the account.
    fn path(&self, rest: &str) -> String {
        format!("/storage/kv/namespaces/{}/{rest}", segment(&self.id))
    }

    /// Makes a call with retries. `what` is what it does, for error messages ("write \"a\"");
    /// `redacted_what` is the same without any key.
    fn call<T>(
        &self,
        what: &str,
        redacted_what: &str,
        mut attempt: impl FnMut(&ApiClient, Duration) -> Result<T, ApiAttemptError>,
    ) -> Result<T, ApiError> {
        if let Some(before_call) = &self.before_call {
            before_call.before_call()?;
        }
        if self.is_redacted {
            self.client.call(redacted_what, &self.cancellation, |client, time_left| {
                attempt(client, time_left).map_err(ApiAttemptError::redacted)
            })
        } else {
            self.client.call(what, &self.cancellation, attempt)
        }
    }

    /// Returns all namespaces of the account ("List namespaces").
    fn namespaces(&self) -> Result<Vec<ListedNamespace>, ApiError> {
        let mut all: Vec<ListedNamespace> = Vec::new();
        for page in 1_u64.. {
            let path = format!("/storage/kv/namespaces?per_page={NAMESPACES_MAX}&page={page}");
            let (known, pages) = self.client.call("list the namespaces", &self.cancellation, |client, time_left| {
                let response = client.send(ApiRequest::Get(&path), time_left)?;
                let envelope = response.success::<Vec<ListedNamespace>>()?;
                let known = envelope.result.ok_or_else(|| ApiAttemptError::not_the_api(response.status()))?;
                Ok((known, envelope.result_info.unwrap_or_default().total_pages))
            })?;
            let is_full_page = known.len() >= NAMESPACES_MAX;
            let new = known.into_iter().filter(|known| !all.contains(known)).collect::<Vec<_>>();
            let is_last = new.is_empty() || pages.map_or(!is_full_page, |pages| page >= pages);
            all.extend(new);
            if is_last {
                break;
            }
        }
        Ok(all)
    }

    /// Returns the value of a key ("Read key-value pair"), or `None` if there is no such key.
    pub(crate) fn get(&self, key: &Key<'_>) -> Result<Option<Vec<u8>>, ApiError> {
        let path = self.path(&format!("values/{}", segment(key.as_str())));
        self.call(&format!("read {:?}", key.as_str()), "read a key", |client, time_left| {
            let response = client.send(ApiRequest::Get(&path), time_left)?;
            if response.is_success() {
                Ok(Some(response.body))
            } else if response.is_not_found() && response.code() == Some(KEY_NOT_FOUND) {
                Ok(None)
            } else {
                Err(response.failed())
            }
        })
    }

    /// Returns the keys with a prefix in order, page by page. The next pages are requested while
    /// the caller works on one. Once the iterator is dropped, no call begins.
    pub(crate) fn key_pages(&self, prefix: &str) -> Prefetch<Result<Vec<NamespaceKey>, ApiError>> {
        let token = CancellationToken::new();
        let pages = KeyPages::new(self.without_calls_after(&token), prefix, key_pages::KEYS_MAX);
        Prefetch::new(pages.map(|page| page.map(|page| page.keys)), token)
    }

    /// Returns the same pages with their cursors, from the page on that `cursor` stands for; all
    /// of them if it is empty.
    pub(crate) fn key_pages_from(&self, prefix: &str, cursor: &str) -> Prefetch<Result<NamespaceKeyPage, ApiError>> {
        let token = CancellationToken::new();
        let pages = KeyPages::new(self.without_calls_after(&token), prefix, key_pages::KEYS_MAX);
        Prefetch::new(pages.from(cursor), token)
    }

    /// Returns all keys with a prefix, in order.
    pub(crate) fn list(&self, prefix: &str) -> Result<Vec<NamespaceKey>, ApiError> {
        let pages = KeyPages::new(self.clone(), prefix, key_pages::KEYS_MAX);
        Ok(pages.collect::<Result<Vec<_>, _>>()?.into_iter().flat_map(|page| page.keys).collect())
    }

    /// Returns the entry of one key in the list of keys, with its metadata, or `None` if there is
    /// no such key.
    pub(crate) fn find(&self, key: &str) -> Result<Option<NamespaceKey>, ApiError> {
        // A key comes first among the keys that it is a prefix of.
        let first = KeyPages::new(self.clone(), key, key_pages::KEYS_MIN)
            .find(|page| page.as_ref().map_or(true, |page| !page.keys.is_empty()));
        Ok(first.transpose()?.and_then(|page| page.keys.into_iter().next()).filter(|listed| listed.name == key))
    }

    /// Returns an empty [`BatchBuilder`] with the limits of this API.
    pub(crate) fn batch_builder(&self) -> BatchBuilder {
        BatchBuilder::new(self.pairs_max())
    }

    /// Returns the same with batches of a thousand pairs: little is sent again after an
    /// interruption, and a Worker that serves the API may write no more in an invocation.
    pub(crate) fn small_batch_builder() -> BatchBuilder {
        BatchBuilder::new(SMALL_BATCH_PAIRS)
    }

    /// Returns how many keys a bulk write or deletion may have: 10,000, or 1,000 for the local
    /// API.
    pub(crate) fn pairs_max(&self) -> usize {
        if self.is_local() { batch_builder::PAIRS_MAX_LOCAL } else { batch_builder::PAIRS_MAX }
    }

    /// Returns the values of up to 100 keys ("Get multiple key-value pairs"), each `None` if there
    /// is no such key. It is for text: Cloudflare refuses the call if a value is not UTF-8, and
    /// the local API replaces what is not with U+FFFD.
    pub(crate) fn bulk_get(&self, keys: &[&str]) -> Result<HashMap<String, Option<String>>, ApiError> {
        let path = self.path("bulk/get");
        let body = json!({ "keys": keys, "type": "text" }).to_string();
        let what = format!("read {} keys", keys.len());
        self.call(&what, &what, |client, time_left| {
            let body = ApiRequestBody { content_type: JSON, bytes: body.as_bytes() };
            let response = client.send(ApiRequest::Post(&path, body), time_left)?;
            let envelope = response.success::<BulkReadResult>()?;
            envelope.result.map(|result| result.values).ok_or_else(|| ApiAttemptError::not_the_api(response.status()))
        })
    }

    /// Writes one value. `expiration_ttl` is in seconds, at least 60.
    pub(crate) fn put(
        &self,
        key: &Key<'_>,
        value: &[u8],
        metadata: Option<MetadataJson>,
        expiration_ttl: Option<u32>,
    ) -> Result<(), ApiError> {
        let (key, value) = (key.as_str().to_owned(), value.to_owned());
        let expiration = expiration_ttl.map(PairExpiration::In);
        self.bulk_put(vec![KeyValuePair { key, value, metadata, expiration }])
    }

    /// Writes a batch of [`BatchBuilder`] with distinct keys ("Write multiple key-value pairs").
    /// This takes one call, and one more for each value that is too long for a bulk write.
    /// Retries send only what was not written, if the API says what that is.
    pub(crate) fn bulk_put(&self, pairs: Vec<KeyValuePair>) -> Result<(), ApiError> {
        let (alone, together): (Vec<_>, Vec<_>) = pairs.into_iter().partition(KeyValuePair::needs_own_call);
        for (at, pair) in alone.iter().enumerate() {
            let unsuccessful_keys = alone.len() - at + together.len();
            self.put_alone(pair).map_err(|error| ApiError { unsuccessful_keys, ..error })?;
        }
        let path = self.path("bulk");
        self.bulk("write", together, |client, bytes, time_left| {
            client.send(ApiRequest::Put(&path, ApiRequestBody { content_type: JSON, bytes }), time_left)
        })
    }

    /// Deletes keys ("Delete multiple key-value pairs"). A key that does not exist is not
    /// an error.
    pub(crate) fn bulk_delete(&self, keys: &[String]) -> Result<(), ApiError> {
        let path = self.path("bulk/delete");
        let mut rest = keys.len();
        for keys in keys.chunks(self.pairs_max()) {
            rest -= keys.len();
            let deleted = self.bulk("delete", keys.to_vec(), |client, bytes, time_left| {
                client.send(ApiRequest::Post(&path, ApiRequestBody { content_type: JSON, bytes }), time_left)
            });
            deleted.map_err(|error| ApiError { unsuccessful_keys: error.unsuccessful_keys + rest, ..error })?;
        }
        Ok(())
    }

    /// Returns how long a call may take with all its retries, in seconds.
    pub(crate) fn deadline_seconds(&self) -> u64 {
        self.client.deadline_ms() / 1000
    }

    /// Returns how many calls were made so far, retries included.
    pub(crate) fn calls(&self) -> u64 {
        self.client.calls()
    }

    /// Makes a bulk call and retries what the API did not take. Each attempt writes its own JSON,
    /// since a pair may expire while it waits.
    fn bulk<T: BulkCallItem>(
        &self,
        verb: &str,
        pairs: Vec<T>,
        send: impl Fn(&ApiClient, &[u8], Duration) -> Result<ApiResponse, ApiAttemptError>,
    ) -> Result<(), ApiError> {
        let many = format!("{verb} {} keys", pairs.len());
        let (what, redacted_what) = match pairs.as_slice() {
            [] => return Ok(()),
            [pair] => (format!("{verb} {:?}", pair.key()), format!("{verb} a key")),
            _ => (many.clone(), many),
        };
        let pairs = RefCell::new(pairs);
        let called = self.call(&what, &redacted_what, |client, time_left| {
            let body = body(&pairs.borrow(), now_ms() / 1000);
            let response = send(client, &body, time_left)?;
            drop(body);
            let result = response.envelope::<BulkResult>().and_then(|envelope| envelope.result).unwrap_or_default();
            let reports_keys = result.reports_keys();
            let mut pairs = pairs.borrow_mut();
            let sent_count = pairs.len();
            let unsuccessful = result.unsuccessful_keys.unwrap_or_default();
            if !unsuccessful.is_empty() {
                retain_unsuccessful(&mut pairs, &unsuccessful);
            }
            if !response.is_success() {
                return Err(response.failed());
            }
            response.success::<BulkResult>()?;
            // Without a result it is unknown what was written. Both APIs send it (release notes
            // of Workers KV, 2024-11-14).
            if !reports_keys {
                return Err(ApiAttemptError::not_the_api(response.status()));
            }
            if unsuccessful.is_empty() && result.successful_key_count.is_none_or(|written| written >= sent_count as u64)
            {
                Ok(())
            } else {
                Err(ApiAttemptError::unsuccessful(&pairs.iter().map(|pair| pair.key().to_owned()).collect::<Vec<_>>()))
            }
        });
        called.map_err(|error| ApiError { unsuccessful_keys: pairs.borrow().len(), ..error })
    }

    /// Writes a value that is too long for a bulk write ("Write key-value pair with optional
    /// metadata").
    fn put_alone(&self, pair: &KeyValuePair) -> Result<(), ApiError> {
        let path = self.path(&format!("values/{}", segment(&pair.key)));
        let form = pair.metadata.as_ref().map(|metadata| MultipartForm::new(&pair.value, metadata));
        let body = match &form {
            Some(form) => ApiRequestBody { content_type: &form.content_type, bytes: &form.bytes },
            None => ApiRequestBody { content_type: "application/octet-stream", bytes: &pair.value },
        };
        self.call(&format!("write {:?}", pair.key), "write a key", |client, time_left| {
            let query = match pair.expiration_from(now_ms() / 1000) {
                Some(PairExpiration::At(seconds)) => format!("?expiration={seconds}"),
                Some(PairExpiration::In(seconds)) => format!("?expiration_ttl={seconds}"),
                None => String::new(),
            };
            client.send(ApiRequest::Put(&format!("{path}{query}"), body), time_left)?.success::<Value>().map(|_| ())
        })
    }
}

/// What a bulk call has for a key.
trait BulkCallItem {
    fn key(&self) -> &str;
    fn json(&self, now_seconds: u64) -> String;
}

impl BulkCallItem for KeyValuePair {
    fn key(&self) -> &str {
        &self.key
    }

    fn json(&self, now_seconds: u64) -> String {
        self.to_json(now_seconds)
    }
}

/// A key to delete.
impl BulkCallItem for String {
    fn key(&self) -> &str {
        self
    }

    fn json(&self, _now_seconds: u64) -> String {
        to_json(self)
    }
}

/// Returns a JSON array of the items as they are sent now.
fn body(pairs: &[impl BulkCallItem], now_seconds: u64) -> Vec<u8> {
    let mut body = Vec::new();
    for pair in pairs {
        body.push(if body.is_empty() { b'[' } else { b',' });
        body.extend_from_slice(pair.json(now_seconds).as_bytes());
    }
    body.push(b']');
    body
}

/// Keeps the items that the API did not take; keeps all of them if the API names only keys that
/// were not sent.
fn retain_unsuccessful(pairs: &mut Vec<impl BulkCallItem>, unsuccessful: &[String]) {
    let unsuccessful: HashSet<&str> = unsuccessful.iter().map(String::as_str).collect();
    if pairs.iter().any(|pair| unsuccessful.contains(pair.key())) {
        pairs.retain(|pair| unsuccessful.contains(pair.key()));
    }
}

/// A multipart form with a value and its metadata (RFC 7578).
struct MultipartForm {
    content_type: String,
    bytes: Vec<u8>,
}

impl MultipartForm {
    fn new(value: &[u8], metadata: &MetadataJson) -> Self {
        // 128 random bits: no value contains them.
        let boundary = format!("kv-edge-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        let mut bytes = format!(
            "--{boundary}\r\ncontent-disposition: form-data; name=\"metadata\"\r\n\r\n{}\r\n\
             --{boundary}\r\ncontent-disposition: form-data; name=\"value\"; filename=\"value\"\r\n\
             content-type: application/octet-stream\r\n\r\n",
            metadata.as_str()
        )
        .into_bytes();
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        Self { content_type: format!("multipart/form-data; boundary={boundary}"), bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(keys: &[&str]) -> Vec<String> {
        keys.iter().map(|key| (*key).to_owned()).collect()
    }

    #[test]
    fn a_body_is_an_array() {
        for (keys, expected) in [(&["a"][..], r#"["a"]"#), (&["a", "b"], r#"["a","b"]"#)] {
            assert_eq!(body(&pairs(keys), 0), expected.as_bytes());
        }
    }

    #[test]
    fn pairs_that_were_not_taken_are_sent_again_or_all_if_the_api_names_none_of_them() {
        for (unsuccessful, expected) in [
            (&["b"][..], &["b"][..]),
            (&["c", "a"], &["a", "c"]),
            (&["b", "unknown"], &["b"]),
            // A response that names other keys is not reliable.
            (&["unknown"], &["a", "b", "c"]),
        ] {
            let mut sent = pairs(&["a", "b", "c"]);
            retain_unsuccessful(&mut sent, &unsuccessful.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>());
            assert_eq!(sent, pairs(expected), "{unsuccessful:?}");
        }
    }

    #[test]
    fn a_bulk_result_may_lack_members() {
        for (json, expected) in [
            (r#"{"successful_key_count": 3, "unsuccessful_keys": []}"#, (Some(3), Some(vec![]))),
            (r#"{"successful_key_count": 0, "unsuccessful_keys": ["a"]}"#, (Some(0), Some(vec!["a".to_owned()]))),
            (r#"{"successful_key_count": 3}"#, (Some(3), None)),
            (r#"{"unsuccessful_keys": []}"#, (None, Some(vec![]))),
            (r#"{"unsuccessful_keys": null}"#, (None, None)),
            ("{}", (None, None)),
        ] {
            let result: BulkResult = serde_json::from_str(json).unwrap();
            assert_eq!(result.reports_keys(), expected != (None, None), "{json}");
            assert_eq!((result.successful_key_count, result.unsuccessful_keys), expected, "{json}");
        }
    }
}
