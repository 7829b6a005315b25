//! The REST API of Workers KV as a protocol: what clients send, and what they expect back. The
//! crate knows no runtime and does no I/O.
//!
//! 1. A request becomes a [`call::Call`]: one variant for each endpoint, with its parameters read
//!    and checked.
//! 2. Its token becomes an [`access::Access`]: everything, or the scope that a signed
//!    [`token::AccessToken`] carries. It decides what the caller may see and change.
//! 3. The body is a value, or becomes a [`form::Form`] or a [`bulk`] batch, which is checked whole
//!    before anything is written.
//! 4. A result goes into an [`envelope`], and so does an [`error::KvApiError`] with Cloudflare's
//!    error code and message. Only the value of a single key is returned as it is.
//!
//! ```text
//!   method, path, query ──> Call ──┐
//!   credentials ──────────> Access ┼──> calls of KV ──> envelope::success
//!   body ─────────────────> Form, ─┘        │
//!                           BulkPut, …      └─ KvApiError ──> envelope::failure
//! ```
//!
//! # Example
//!
//! ```
//! use http_semantics::request_target::RequestTarget;
//! use kv_api::access::Access;
//! use kv_api::call::{Call, NamespaceCall};
//! use kv_api::namespace::ApiNamespace;
//! use kv_api::token::{AccessToken, TokenKey};
//!
//! let key = TokenKey::derive("a secret");
//! let token = AccessToken {
//!     name: "ci".into(),
//!     namespace: "assets".into(),
//!     prefix: "site/".into(),
//!     write: false,
//!     expires: 1_900_000_000,
//! };
//! let text = token.sign(&key);
//! let access = Access::Scoped(AccessToken::verify(&text, &key).unwrap());
//!
//! let path = "/client/v4/accounts/a/storage/kv/namespaces/assets/values/site%2Fa";
//! let url = format!("https://edge.example{path}");
//! let target = RequestTarget::parse(&url);
//! let Ok(Call::Namespace { namespace, call }) = Call::parse("GET", &target) else {
//!     unreachable!()
//! };
//! assert_eq!(call, NamespaceCall::GetValue("site/a".into()));
//! assert!(access.check(&ApiNamespace::of_binding(&namespace), &call).is_ok());
//! ```

#![forbid(unsafe_code)]

pub mod access;
pub mod bulk;
pub mod bulk_call;
pub mod call;
pub mod envelope;
pub mod error;
pub mod expiration;
pub mod form;
pub mod lookup_cache;
pub mod namespace;
pub mod namespace_directory;
pub mod namespace_keys;
pub mod split_batch;
pub mod token;

// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
