//! The bindings of `wrangler.toml`: those of each job in a module of its own.

#[cfg(feature = "assets")]
mod assets;
#[cfg(feature = "cache")]
mod cache;
#[cfg(feature = "console")]
mod console;
#[cfg(feature = "flags")]
mod flags;
#[cfg(feature = "kv-api")]
mod kv_api;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "storefronts")]
mod storefronts;
#[cfg(feature = "writes")]
mod writes;

use crate::kv::{KvNamespace, Store};
#[cfg(feature = "durable-objects")]
use crate::platform::durable_objects::{DurableObjectNamespace, DurableObjects};
use crate::platform::env::RuntimeEnv;
use crate::platform::meter::Meter;
use crate::platform::promise::Deadlines;

/// The bindings for one request or object, whose meter counts the calls made through them.
pub(crate) struct Bindings {
    env: RuntimeEnv,
    meter: Meter,
    deadlines: Deadlines,
}

impl Bindings {
    /// Returns the bindings for a request.
    pub(crate) fn of_request(env: RuntimeEnv, meter: Meter) -> Self {
        Self { env, meter, deadlines: Deadlines::of_request() }
    }

    /// Returns the bindings for a Durable Object.
    #[cfg(feature = "durable-objects")]
    pub(crate) fn of_object(env: RuntimeEnv, meter: Meter) -> Self {
        Self { env, meter, deadlines: Deadlines::of_object() }
    }

    /// Returns the meter that counts the calls.
    pub(crate) fn meter(&self) -> Meter {
        self.meter
    }

    /// Returns the deadlines of the request or object.
    #[cfg(any(feature = "forwarding", feature = "request-bodies"))]
    pub(crate) fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }

    fn store(&self, namespace: KvNamespace) -> Store {
        Store::new(namespace, self.meter, self.deadlines.clone())
    }

    #[cfg(feature = "durable-objects")]
    fn objects(&self, namespace: DurableObjectNamespace) -> DurableObjects {
        DurableObjects::new(namespace, self.meter)
    }
}
