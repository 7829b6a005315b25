//! What binds the Worker to its runtime: bindings, clock, log, and each workaround for workerd or
//! wasm-bindgen.

pub(crate) mod bindings;
#[cfg(any(feature = "kv-api", feature = "writes"))]
pub(crate) mod bytes;
pub(crate) mod clock;
pub(crate) mod deadline;
#[cfg(any(feature = "kv-api", feature = "metrics", feature = "writes"))]
pub(crate) mod durable_objects;
pub(crate) mod executor;
pub(crate) mod js_error;
pub(crate) mod log;
pub(crate) mod meter;
#[cfg(feature = "kv-api")]
pub(crate) mod own_worker;
