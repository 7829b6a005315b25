//! One room for each family of routes. A job reads what its decision needs, has a crate decide, and renders.

pub(crate) mod assets;
pub(crate) mod cache;
pub(crate) mod config;
pub(crate) mod get_started;
pub(crate) mod healthz;
pub(crate) mod hello_world;
pub(crate) mod key_writer;
pub(crate) mod ofrep;
pub(crate) mod storefronts;
pub(crate) mod writes;
