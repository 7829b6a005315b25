//! Workers KV from a client's point of view: its limits, its failures, retries, writes that are
//! not lost once they are acknowledged, and caches of what was read.
//!
//! The crate does no I/O. The Worker and the tool make the calls; this crate says which call to
//! make, what a failure means, and when to try again.
//!
//! # Concepts
//!
//! 1. A **key** has 1 to 512 bytes, a **value** at most 25 MiB, and the **metadata** beside it
//!    1024 bytes of JSON ([`limits`]).
//! 2. KV is **eventually consistent**. A write is visible at once where it was made, and
//!    elsewhere after up to 60 seconds. That is also true of a key that was absent when it was
//!    first read.
//! 3. KV accepts **one write a second to a key**, and responds 429 to more. [`store_error`]
//!    classifies such failures by the message of the runtime.
//! 4. A **retry** waits a random time up to a ceiling that doubles with each try, and stops at a
//!    deadline or when the budget of the isolate is used up ([`retry`]).
//! 5. **Coalescing** makes one write of several. Within one request [`write_coalescer`] does so.
//!    Across requests the key's Durable Object does: [`key_writer`] stores a value, acknowledges
//!    it, and puts it into KV at most once a second until KV has it.
//! 6. A **record** is a value that is parsed. A broken one is an error that names its place
//!    ([`record`], [`schema`]). [`json_tree`] also finds members that occur twice.
//! 7. Reading KV takes milliseconds, so an isolate has a **record cache** with background
//!    refresh, a last known good record, stale records during an outage, and a negative cache
//!    ([`record_cache`]). It counts its bytes with one **LRU** ([`lru`]).
//!
//! ```text
//!   POST /writes/a ──> write_coalescer ──> key_writer ── stores, acknowledges
//!                      (one request)       (Durable Object)
//!                                               │ alarm, at most one put a second
//!                                               v
//!                                          Workers KV ──> record_cache ──> requests
//! ```
//!
//! # Example
//!
//! ```
//! use kv_store::retry::{Backoff, Classify, GaveUp};
//! use kv_store::store_error::StoreError;
//!
//! let error = StoreError::from_message("KV PUT failed: 429 Too Many Requests");
//! assert!(error.is_rate_limited());
//!
//! // After the second failed try, with 10 seconds left until the deadline: at most 2 seconds.
//! let wait_ms = Backoff::PUT.next_wait_ms(error.class(), 2, 10_000, 0.5);
//! assert_eq!(wait_ms, Ok(1000));
//!
//! let error = StoreError::from_message("KV PUT failed: 413 Payload Too Large");
//! assert_eq!(Backoff::PUT.next_wait_ms(error.class(), 1, 10_000, 0.5), Err(GaveUp::Permanent));
//! ```

#![forbid(unsafe_code)]

pub mod json_tree;
pub mod key_writer;
pub mod limits;
pub mod lru;
pub mod record;
pub mod record_cache;
pub mod retry;
pub mod schema;
pub mod store_error;
pub mod write_coalescer;
pub mod writes;

// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
