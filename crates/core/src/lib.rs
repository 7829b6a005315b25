//! Every decision that kv-edge takes, as plain functions.
//!
//! Nothing in here knows workerd: no `worker`, no `wasm-bindgen`, no clock, no I/O. A function takes plain values (`&str`,
//! `&[u8]`, a time, a random number) and gives back an enum or a struct that says what to answer. The shell (`src/` of the
//! workspace) renders it. So each rule is a native unit test, and `Cargo.toml` enforces the border.
//!
//! | module | decides |
//! |---|---|
//! | [`request_target`] | path and query of a request, percent-decoding |
//! | [`request_body`] | how long a body may take that is read whole |
//! | [`limits`] | what Workers KV takes as a key, a value, an expiry |
//! | [`store`] | what a failure of Workers KV means |
//! | [`vars`] | what the vars of `wrangler.toml` mean |
//! | [`weight`] | the `q` of a header field (RFC 9110 §12.4.2) |
//! | [`record`] | whether a JSON record out of KV is one |
//! | [`origin`] | which origins may be fetched |
//! | [`problem`] | the text and JSON form of an error (RFC 9457) |
//! | [`authorization`] | whether a bearer token is the right one |
//! | [`fields`] | which header fields belong to one connection, and what is changed on the way (RFC 9110 §7.6) |
//! | [`forwarding_fields`] | which fields only a proxy may send (RFC 7239 and kin) |
//! | [`cdn_loop`] | whether a request was here before (RFC 8586) |
//! | [`cookie`] | the values of a cookie (RFC 6265) |
//! | [`schema`] | what is wrong in a JSON record, and where |
//! | [`by_name`] | which value has a name |
//! | [`recent`] | which value was not used for the longest time |
//! | [`memory`] | how long a record out of KV is remembered |
//! | [`circuit`] | which paths and origins are not asked for a while |
//! | [`conditional`] | whether a precondition holds (RFC 9110 §13) |
//! | [`http_date`] | what a date in a field says (RFC 9110 §5.6.7) |
//! | [`status`] | what a status code says to caches (RFC 9110 §15) |
//! | [`range`] | which part of a representation is asked for (RFC 9110 §14) |
//! | [`retry`] | when to try again, and how long to wait |
//! | [`one_write`] | which of several writes of one request is made |
//! | [`key_writer`] | when the Durable Object of a key puts which value |
//! | [`virtual_time`] | nothing: the clock of the simulation and the tests |
//! | [`accept_encoding`] | which encoding a visitor gets (RFC 9110 §12.5.3) |
//! | [`language`] | which language a visitor gets (RFC 9110 §12.5.4, RFC 4647) |
//! | [`content_hash`] | which bytes are the same |
//! | [`flags`] | which variant of a flag somebody gets |
//! | [`ofrep`] | requests and answers of the OpenFeature Remote Evaluation Protocol |
//! | [`cors`] | which other sites' pages may ask |
//! | [`assets`] [`cache`] [`config`] [`tenants`] [`translations`] [`writes`] | one job each; they do not know each other |

#![forbid(unsafe_code)]

pub mod accept_encoding;
pub mod assets;
pub mod authorization;
pub mod by_name;
pub mod cache;
pub mod cdn_loop;
pub mod circuit;
pub mod conditional;
pub mod config;
pub mod content_hash;
pub mod cookie;
pub mod cors;
pub mod fields;
pub mod flags;
pub mod forwarding_fields;
pub mod http_date;
pub mod key_writer;
pub mod language;
pub mod limits;
pub mod memory;
pub mod ofrep;
pub mod one_write;
pub mod origin;
pub mod problem;
pub mod range;
pub mod recent;
pub mod record;
pub mod request_body;
pub mod request_target;
pub mod retry;
pub mod schema;
pub mod status;
pub mod store;
pub mod tenants;
pub mod translations;
pub mod vars;
pub mod virtual_time;
pub mod weight;
pub mod writes;
