//! The binding and the var of the metrics.

use wasm_bindgen::prelude::*;

use super::{Bindings, RuntimeEnv, vars};
use crate::platform::durable_objects::{DurableObjectNamespace, DurableObjects};
use crate::platform::meter::Meter;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(method, getter, js_name = "METRICS_STORE")]
    fn metrics_store_objects(this: &RuntimeEnv) -> DurableObjectNamespace;
}

impl Bindings {
    /// Returns `METRICS_STORE`, whose one Durable Object adds up what isolates count.
    pub(crate) fn metrics_store(&self) -> DurableObjects {
        self.objects(self.env.metrics_store_objects())
    }

    /// Returns the same for handing counts over, which is not counted: each hand-over would be the
    /// reason for another one.
    pub(crate) fn uncounted_metrics_store(&self) -> DurableObjects {
        DurableObjects::new(self.env.metrics_store_objects(), Meter::OFF)
    }
}

pub(crate) struct MetricsVars {
    /// True if `METRICS` is `on`.
    pub(crate) is_on: bool,
}

impl MetricsVars {
    pub(crate) fn read(env: &RuntimeEnv) -> Self {
        Self { is_on: vars::METRICS.read(env).trim().eq_ignore_ascii_case("on") }
    }
}
