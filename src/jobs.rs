//! The jobs, one module for each family of routes, and `key_writer`, the Durable Object of
//! `/writes`. A job reads what its decision needs, lets its crate decide, and renders the
//! response.

#[cfg(feature = "assets")]
pub(crate) mod assets;
#[cfg(feature = "cache")]
pub(crate) mod cache;
#[cfg(feature = "flags")]
pub(crate) mod config;
#[cfg(feature = "console")]
// Parts of it are unused if none of the jobs that it shows is enabled.
#[cfg_attr(not(any(feature = "assets", feature = "cache", feature = "storefronts")), allow(dead_code))]
pub(crate) mod console;
#[cfg(feature = "writes")]
pub(crate) mod get_started;
pub(crate) mod healthz;
#[cfg(feature = "assets")]
pub(crate) mod hello_world;
#[cfg(feature = "writes")]
pub(crate) mod key_writer;
#[cfg(feature = "kv-api")]
pub(crate) mod kv_api;
#[cfg(feature = "metrics")]
pub(crate) mod metrics;
#[cfg(feature = "flags")]
pub(crate) mod ofrep;
#[cfg(feature = "storefronts")]
pub(crate) mod storefronts;
#[cfg(feature = "writes")]
pub(crate) mod writes;
