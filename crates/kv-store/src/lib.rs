//! Workers KV: keys and limits, what a failure means, when to try again, and what is remembered.

#![forbid(unsafe_code)]

pub mod key_writer;
pub mod limits;
pub mod lru;
pub mod record;
pub mod record_cache;
pub mod retry;
pub mod schema;
pub mod store;
pub mod write_coalescer;
pub mod writes;
