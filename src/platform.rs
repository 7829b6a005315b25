//! What binds the Worker to its runtime: bindings, clock, log, and each workaround for workerd or
//! wasm-bindgen.

pub(crate) mod bindings;
#[cfg(feature = "values")]
pub(crate) mod bytes;
pub(crate) mod clock;
pub(crate) mod deadline;
#[cfg(feature = "durable-objects")]
pub(crate) mod durable_objects;
pub(crate) mod env;
pub(crate) mod executor;
pub(crate) mod js_error;
pub(crate) mod log;
pub(crate) mod meter;
#[cfg(feature = "kv-api")]
pub(crate) mod own_worker;
pub(crate) mod vars;
