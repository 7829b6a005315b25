//! What binds the Worker to its runtime: bindings, clock, log, and each workaround for workerd or
//! wasm-bindgen.

pub(crate) mod bindings;
pub(crate) mod clock;
pub(crate) mod deadline;
pub(crate) mod executor;
pub(crate) mod js_error;
pub(crate) mod log;
