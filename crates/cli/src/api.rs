//! The client of the Workers KV REST API: Cloudflare's ("KV" in the Cloudflare API reference), or
//! the one that `wrangler dev` serves over its local KV.
//!
//! Both speak the same JSON. The table lists where the local API (wrangler 4.164) differs, and
//! what this client does about it.
//!
//! | | Cloudflare | `wrangler dev` | here |
//! |---|---|---|---|
//! | paths | behind `/accounts/{id}` | no account, no token | [`connection`] |
//! | unknown namespace id | 404, code 10013 | an empty namespace | namespaces are listed first |
//! | single put, `expiration_ttl` | in the query | ignored | a put is a bulk write of one |
//! | incomplete bulk write | 200, `unsuccessful_keys` | an error with `unsuccessful_keys` | both |
//! | `limit` of a list | 10 to 1000 | the same; 400 for others | 1000; 10 for one key |
//! | pairs of a bulk write | 10,000 | the same, in 77 seconds | 10,000; 1,000 if local |
//! | pages of namespaces | `page`, `per_page` | all on each page | a repeated id ends the list |
//! | 429 | after 1,200 calls in 5 minutes | never | retried |

mod ahead;
mod arguments;
mod batches;
mod client;
mod connection;
mod endpoint;
mod error;
mod in_flight;
mod pages;

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kv_store::limits::Key;
use serde::Deserialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub(crate) use ahead::Ahead;
pub(crate) use arguments::{DefaultNamespace, NamespaceArguments};
pub(crate) use batches::{Batches, Item};
use client::{Answer, Body, Cancellation, Client, Request};
use connection::NamespaceTitle;
pub(crate) use connection::{NotOpened, listed, misplaced_address};
use endpoint::segment;
pub(crate) use error::ApiError;
use error::{Failed, KEY_NOT_FOUND};
pub(crate) use in_flight::{Taker, in_flight};
use pages::Pages;

/// The number of namespaces that are requested per page.
const NAMESPACES_MAX: usize = 100;

const JSON: &str = "application/json";

/// A KV namespace. Calls may come from several threads; clones share the connections and the
/// number of calls.
#[derive(Debug, Clone)]
pub(crate) struct Namespace {
    client: Arc<Client>,
    id: String,
    is_discreet: bool,
    cancellation: Cancellation,
}

/// A key as "List a namespace's keys" returns it.
#[derive(Clone, PartialEq, Deserialize)]
pub(crate) struct Listed {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) metadata: Option<Value>,
}

/// Shows no key: keys may be personal data.
impl fmt::Debug for Listed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Listed").field("bytes", &self.name.len()).finish_non_exhaustive()
    }
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
    fn says_what_it_did(&self) -> bool {
        self.successful_key_count.is_some() || self.unsuccessful_keys.is_some()
    }
}

impl Namespace {
    fn new(client: Client, id: &str) -> Self {
        Self { client: Arc::new(client), id: id.to_owned(), is_discreet: false, cancellation: Cancellation::default() }
    }

    fn with_id(self, id: String) -> Self {
        Self { id, ..self }
    }

    /// Returns the same namespace, but error messages name no key and repeat nothing that the API
    /// says about one.
    pub(crate) fn discreet(self) -> Self {
        Self { is_discreet: true, ..self }
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

    fn is_local(&self) -> bool {
        self.client.is_local()
    }

    /// Returns a path in this namespace, relative to the account.
    fn path(&self, rest: &str) -> String {
        format!("/storage/kv/namespaces/{}/{rest}", segment(&self.id))
    }

    /// Makes a call with retries. `what` is what it does, for error messages ("write \"a\"");
    /// `discreetly` is the same without any key.
    fn call<T>(
        &self,
        what: &str,
        discreetly: &str,
        mut attempt: impl FnMut(&Client, Duration) -> Result<T, Failed>,
    ) -> Result<T, ApiError> {
        if self.is_discreet {
            self.client
                .call(discreetly, &self.cancellation, |client, left| attempt(client, left).map_err(Failed::discreet))
        } else {
            self.client.call(what, &self.cancellation, attempt)
        }
    }

    /// Returns all namespaces of the account ("List namespaces").
    fn namespaces(&self) -> Result<Vec<NamespaceTitle>, ApiError> {
        let mut all: Vec<NamespaceTitle> = Vec::new();
        for page in 1_u64.. {
            let path = format!("/storage/kv/namespaces?per_page={NAMESPACES_MAX}&page={page}");
            let (known, pages) = self.client.call("list the namespaces", &self.cancellation, |client, left| {
                let answer = client.send(Request::Get(&path), left)?;
                let envelope = answer.success::<Vec<NamespaceTitle>>()?;
                let known = envelope.result.ok_or_else(|| Failed::strange(answer.status()))?;
                Ok((known, envelope.result_info.unwrap_or_default().total_pages))
            })?;
            let is_full = known.len() >= NAMESPACES_MAX;
            let new = known.into_iter().filter(|known| !all.contains(known)).collect::<Vec<_>>();
            let is_last = new.is_empty() || pages.map_or(!is_full, |pages| page >= pages);
            all.extend(new);
            if is_last {
                break;
            }
        }
        Ok(all)
    }

    /// Returns the value of a key ("Read key-value pair"), or None if there is no such key.
    pub(crate) fn get(&self, key: &Key<'_>) -> Result<Option<Vec<u8>>, ApiError> {
        let path = self.path(&format!("values/{}", segment(key.as_str())));
        self.call(&format!("read {:?}", key.as_str()), "read a key", |client, left| {
            let answer = client.send(Request::Get(&path), left)?;
            if answer.is_success() {
                Ok(Some(answer.body))
            } else if answer.is_not_found() && answer.code() == Some(KEY_NOT_FOUND) {
                Ok(None)
            } else {
                Err(answer.failed())
            }
        })
    }

    /// Returns the keys with a prefix in order, page by page. The next page is requested while
    /// the caller works on one. Dropping the iterator ends all retries.
    pub(crate) fn pages(&self, prefix: &str) -> Ahead<Result<Vec<Listed>, ApiError>> {
        let token = CancellationToken::new();
        Ahead::new(Pages::new(self.without_calls_after(&token), prefix, pages::KEYS_MAX), token)
    }

    /// Returns all keys with a prefix, in order.
    pub(crate) fn list(&self, prefix: &str) -> Result<Vec<Listed>, ApiError> {
        let pages = Pages::new(self.clone(), prefix, pages::KEYS_MAX);
        Ok(pages.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    /// Returns the entry of one key in the list of keys, with its metadata, or None if there is
    /// no such key.
    pub(crate) fn find(&self, key: &str) -> Result<Option<Listed>, ApiError> {
        // A key comes first among the keys that it is a prefix of.
        let first = Pages::new(self.clone(), key, pages::KEYS_MIN)
            .find(|page| page.as_ref().map_or(true, |keys| !keys.is_empty()));
        Ok(first.transpose()?.and_then(|keys| keys.into_iter().next()).filter(|listed| listed.name == key))
    }

    /// Returns an empty [`Batches`] with the limits of this API.
    pub(crate) fn batches(&self) -> Batches {
        Batches::new(self.items_max())
    }

    /// Returns how many keys a bulk call may have: 10,000, or 1,000 for the local API.
    pub(crate) fn items_max(&self) -> usize {
        if self.is_local() { batches::ITEMS_MAX_LOCAL } else { batches::ITEMS_MAX }
    }

    /// Writes one value. `expiration_ttl` is in seconds, at least 60.
    pub(crate) fn put(
        &self,
        key: &Key<'_>,
        value: &[u8],
        metadata: Option<&Value>,
        expiration_ttl: Option<u32>,
    ) -> Result<(), ApiError> {
        let (key, value) = (key.as_str().to_owned(), value.to_owned());
        self.bulk_put(vec![Item { key, value, metadata: metadata.cloned(), expiration_ttl }])
    }

    /// Writes a batch of [`Batches`] with distinct keys ("Write multiple key-value pairs"). This
    /// takes one call, and one more for each value that is too long for a bulk write. Retries
    /// send only what was not written.
    pub(crate) fn bulk_put(&self, items: Vec<Item>) -> Result<(), ApiError> {
        let (alone, together): (Vec<_>, Vec<_>) = items.into_iter().partition(Item::needs_call_of_its_own);
        for (at, item) in alone.iter().enumerate() {
            let left_out = alone.len() - at + together.len();
            self.put_alone(item).map_err(|error| ApiError { left_out, ..error })?;
        }
        let path = self.path("bulk");
        let pairs = together.into_iter().map(|item| (item.to_json(), item.key)).map(|(json, key)| (key, json));
        self.bulk("write", pairs.collect(), |client, bytes, left| {
            client.send(Request::Put(&path, Body { content_type: JSON, bytes }), left)
        })
    }

    /// Deletes keys ("Delete multiple key-value pairs"). Keys that do not exist are no error.
    pub(crate) fn bulk_delete(&self, keys: &[String]) -> Result<(), ApiError> {
        let path = self.path("bulk/delete");
        let mut rest = keys.len();
        for keys in keys.chunks(self.items_max()) {
            rest -= keys.len();
            let names = keys.iter().map(|key| (key.clone(), Value::from(key.as_str()).to_string()));
            let deleted = self.bulk("delete", names.collect(), |client, bytes, left| {
                client.send(Request::Post(&path, Body { content_type: JSON, bytes }), left)
            });
            deleted.map_err(|error| ApiError { left_out: error.left_out + rest, ..error })?;
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

    /// Makes a bulk call and retries what the API did not take. `items` are keys with their JSON
    /// in the body.
    fn bulk(
        &self,
        verb: &str,
        items: Vec<(String, String)>,
        send: impl Fn(&Client, &[u8], Duration) -> Result<Answer, Failed>,
    ) -> Result<(), ApiError> {
        let many = format!("{verb} {} keys", items.len());
        let (what, discreetly) = match items.as_slice() {
            [] => return Ok(()),
            [(key, _)] => (format!("{verb} {key:?}"), format!("{verb} a key")),
            _ => (many.clone(), many),
        };
        let items = RefCell::new(items);
        let called = self.call(&what, &discreetly, |client, left| {
            let body = body(&items.borrow());
            let answer = send(client, &body, left)?;
            drop(body);
            let result = answer.envelope::<BulkResult>().and_then(|envelope| envelope.result).unwrap_or_default();
            let says_what_it_did = result.says_what_it_did();
            let mut items = items.borrow_mut();
            let asked = items.len();
            let left_out = result.unsuccessful_keys.unwrap_or_default();
            if !left_out.is_empty() {
                keep(&mut items, &left_out);
            }
            if !answer.is_success() {
                return Err(answer.failed());
            }
            answer.success::<BulkResult>()?;
            // Without a result it is unknown what was written. Both APIs send it (release notes
            // of Workers KV, 2024-11-14).
            if !says_what_it_did {
                return Err(Failed::strange(answer.status()));
            }
            if left_out.is_empty() && result.successful_key_count.is_none_or(|written| written >= asked as u64) {
                Ok(())
            } else {
                Err(Failed::left_out(&items.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>()))
            }
        });
        called.map_err(|error| ApiError { left_out: items.borrow().len(), ..error })
    }

    /// Writes a value that is too long for a bulk write ("Write key-value pair with optional
    /// metadata").
    fn put_alone(&self, item: &Item) -> Result<(), ApiError> {
        let query = item.expiration_ttl.map_or_else(String::new, |seconds| format!("?expiration_ttl={seconds}"));
        let path = self.path(&format!("values/{}{query}", segment(&item.key)));
        let form = item.metadata.as_ref().map(|metadata| Form::new(&item.value, metadata));
        let body = match &form {
            Some(form) => Body { content_type: &form.content_type, bytes: &form.bytes },
            None => Body { content_type: "application/octet-stream", bytes: &item.value },
        };
        self.call(&format!("write {:?}", item.key), "write a key", |client, left| {
            client.send(Request::Put(&path, body), left)?.success::<Value>().map(|_| ())
        })
    }
}

/// Returns a JSON array of the items.
fn body(items: &[(String, String)]) -> Vec<u8> {
    let length = items.iter().fold(2, |sum, (_, json)| sum + json.len() + 1);
    let mut body = Vec::with_capacity(length);
    for (_, json) in items {
        body.push(if body.is_empty() { b'[' } else { b',' });
        body.extend_from_slice(json.as_bytes());
    }
    body.push(b']');
    body
}

/// Keeps the items that the API did not take; keeps all of them if the API names only keys that
/// were not sent.
fn keep(items: &mut Vec<(String, String)>, left_out: &[String]) {
    let left_out: HashSet<&str> = left_out.iter().map(String::as_str).collect();
    if items.iter().any(|(key, _)| left_out.contains(key.as_str())) {
        items.retain(|(key, _)| left_out.contains(key.as_str()));
    }
}

/// A multipart form with a value and its metadata (RFC 7578).
struct Form {
    content_type: String,
    bytes: Vec<u8>,
}

impl Form {
    fn new(value: &[u8], metadata: &Value) -> Self {
        // 128 random bits: no value contains them.
        let boundary = format!("kv-edge-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        let mut bytes = format!(
            "--{boundary}\r\ncontent-disposition: form-data; name=\"metadata\"\r\n\r\n{metadata}\r\n\
             --{boundary}\r\ncontent-disposition: form-data; name=\"value\"; filename=\"value\"\r\n\
             content-type: application/octet-stream\r\n\r\n"
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

    fn items(keys: &[&str]) -> Vec<(String, String)> {
        keys.iter().map(|key| ((*key).to_owned(), format!("{key:?}"))).collect()
    }

    #[test]
    fn a_body_is_an_array() {
        for (keys, expected) in [(&["a"][..], r#"["a"]"#), (&["a", "b"], r#"["a","b"]"#)] {
            assert_eq!(body(&items(keys)), expected.as_bytes());
        }
    }

    #[test]
    fn only_what_was_left_out_is_sent_again() {
        for (left_out, expected) in [
            (&["b"][..], &["b"][..]),
            (&["c", "a"], &["a", "c"]),
            (&["b", "unknown"], &["b"]),
            // A response that names other keys is not reliable.
            (&["unknown"], &["a", "b", "c"]),
        ] {
            let mut sent = items(&["a", "b", "c"]);
            keep(&mut sent, &left_out.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>());
            assert_eq!(sent, items(expected), "{left_out:?}");
        }
    }

    #[test]
    fn a_bulk_result_is_read_as_far_as_it_goes() {
        for (json, expected) in [
            (r#"{"successful_key_count": 3, "unsuccessful_keys": []}"#, (Some(3), Some(vec![]))),
            (r#"{"successful_key_count": 0, "unsuccessful_keys": ["a"]}"#, (Some(0), Some(vec!["a".to_owned()]))),
            (r#"{"successful_key_count": 3}"#, (Some(3), None)),
            (r#"{"unsuccessful_keys": []}"#, (None, Some(vec![]))),
            (r#"{"unsuccessful_keys": null}"#, (None, None)),
            ("{}", (None, None)),
        ] {
            let result: BulkResult = serde_json::from_str(json).unwrap();
            assert_eq!(result.says_what_it_did(), expected != (None, None), "{json}");
            assert_eq!((result.successful_key_count, result.unsuccessful_keys), expected, "{json}");
        }
    }
}
