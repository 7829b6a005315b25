//! HTTP as kv-edge needs it, in plain functions: RFC 9110 and kin. Knows nothing of Workers, KV or the jobs.

#![forbid(unsafe_code)]

pub mod accept_encoding;
pub mod authorization;
pub mod cdn_loop;
pub mod conditional;
pub mod content_hash;
pub mod cookie;
pub mod cors;
pub mod error_response;
pub mod fields;
pub mod forwarding_fields;
pub mod http_date;
pub mod language;
pub mod origin;
pub mod problem;
pub mod range;
pub mod request_body;
pub mod request_target;
pub mod status;
pub mod upstream_timeout;
pub mod weight;
