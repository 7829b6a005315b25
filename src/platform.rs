//! What binds the Worker to its runtime: bindings, vars, clock, log, and workarounds for workerd
//! or wasm-bindgen. The README of this folder lists all that depends on one of their versions.

pub(crate) mod bindings;
#[cfg(feature = "values")]
pub(crate) mod bytes;
pub(crate) mod clock;
#[cfg(feature = "durable-objects")]
pub(crate) mod deadline;
#[cfg(feature = "durable-objects")]
pub(crate) mod durable_objects;
pub(crate) mod env;
pub(crate) mod executor;
pub(crate) mod js_error;
pub(crate) mod log;
pub(crate) mod meter;
pub(crate) mod promise;
#[cfg(feature = "kv-api")]
pub(crate) mod self_call;
pub(crate) mod vars;
