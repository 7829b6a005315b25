//! The binding of the metrics.

use wasm_bindgen::prelude::*;

use super::Bindings;
use crate::platform::durable_objects::{DurableObjectNamespace, DurableObjects};
use crate::platform::env::RuntimeEnv;
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

    /// Returns `METRICS_STORE` without a meter, for handing counts over: if these calls were
    /// counted, each hand-over would be the reason for another one.
    pub(crate) fn uncounted_metrics_store(&self) -> DurableObjects {
        DurableObjects::new(self.env.metrics_store_objects(), Meter::OFF)
    }
}
