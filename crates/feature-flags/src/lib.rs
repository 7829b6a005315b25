//! Feature flags by OpenFeature's remote evaluation protocol, and the configuration of users.

#![forbid(unsafe_code)]

pub mod config;
pub mod flags;
pub mod ofrep;
