//! The bindings, vars and secrets of `wrangler.toml`. Those that several jobs use are here,
//! those of one job in a module of its own.

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
#[cfg(any(
    feature = "assets",
    feature = "cache",
    feature = "flags",
    feature = "kv-api",
    feature = "metrics",
    feature = "storefronts"
))]
mod vars;
#[cfg(feature = "writes")]
mod writes;

#[cfg(feature = "kv-api")]
pub(crate) use kv_api::KvApiVars;
#[cfg(feature = "metrics")]
pub(crate) use metrics::MetricsVars;

use std::cell::OnceCell;
use std::rc::Rc;

#[cfg(any(feature = "cache", feature = "storefronts"))]
use http_semantics::upstream_timeout::UpstreamTimeout;
use wasm_bindgen::prelude::*;

use crate::kv::{KvNamespace, Store};
#[cfg(any(feature = "kv-api", feature = "metrics", feature = "writes"))]
use crate::platform::durable_objects::{DurableObjectNamespace, DurableObjects};
use crate::platform::meter::Meter;

#[wasm_bindgen]
extern "C" {
    /// The `env` object of the runtime. A missing binding is `undefined`; a call on it throws an
    /// exception, which becomes a KV error.
    pub(crate) type RuntimeEnv;

    #[wasm_bindgen(method, structural, indexing_getter)]
    fn var(this: &RuntimeEnv, name: &str) -> JsValue;
}

/// The bindings, for one route or object: what is called through them counts as its own.
pub(crate) struct Bindings {
    env: RuntimeEnv,
    meter: Meter,
}

impl Bindings {
    pub(crate) fn new(env: RuntimeEnv, meter: Meter) -> Self {
        Self { env, meter }
    }

    /// Returns what counts the calls.
    pub(crate) fn meter(&self) -> Meter {
        self.meter
    }

    fn store(&self, namespace: KvNamespace) -> Store {
        Store::new(namespace, self.meter)
    }

    #[cfg(any(feature = "kv-api", feature = "metrics", feature = "writes"))]
    fn objects(&self, namespace: DurableObjectNamespace) -> DurableObjects {
        DurableObjects::new(namespace, self.meter)
    }
}

impl RuntimeEnv {
    /// Returns a var as text; empty if it is not set. wrangler passes numbers and booleans of
    /// `wrangler.toml` as such.
    #[cfg(any(
        feature = "assets",
        feature = "cache",
        feature = "flags",
        feature = "kv-api",
        feature = "metrics",
        feature = "storefronts"
    ))]
    #[expect(clippy::expect_used, reason = "a number that is set must not look like a var that is not")]
    fn text(&self, name: &str) -> String {
        let var = self.var(name);
        var.as_string()
            .or_else(|| {
                let number = var.dyn_ref::<js_sys::Number>()?;
                Some(number.to_string_with_radix(10).expect("10 is a radix").into())
            })
            .or_else(|| var.as_bool().map(|flag| flag.to_string()))
            .unwrap_or_default()
    }

    /// Returns a secret; `None` if it is empty or not set.
    #[cfg(any(
        feature = "cache",
        feature = "flags",
        feature = "kv-api",
        feature = "metrics",
        feature = "storefronts",
        feature = "writes"
    ))]
    fn secret(&self, name: &str) -> Option<String> {
        self.var(name).as_string().filter(|secret| !secret.is_empty())
    }
}

/// The parsed vars and secrets. They are constant for the lifetime of an isolate.
pub(crate) struct Vars {
    #[cfg(feature = "assets")]
    pub(crate) assets: assets::AssetsVars,
    #[cfg(feature = "cache")]
    pub(crate) cache: cache::CacheVars,
    #[cfg(feature = "flags")]
    pub(crate) flags: flags::FlagsVars,
    #[cfg(feature = "kv-api")]
    pub(crate) kv_api: KvApiVars,
    #[cfg(feature = "metrics")]
    pub(crate) metrics: MetricsVars,
    #[cfg(feature = "storefronts")]
    pub(crate) storefronts: storefronts::StorefrontsVars,
    /// The secret `API_TOKEN`.
    #[cfg(any(
        feature = "cache",
        feature = "flags",
        feature = "kv-api",
        feature = "metrics",
        feature = "storefronts",
        feature = "writes"
    ))]
    pub(crate) token: Option<String>,
    /// The var `UPSTREAM_TIMEOUT_MS`.
    #[cfg(any(feature = "cache", feature = "storefronts"))]
    pub(crate) upstream_timeout: UpstreamTimeout,
}

thread_local!(static VARS: OnceCell<Rc<Vars>> = const { OnceCell::new() });

impl Vars {
    /// Returns the vars of this isolate, which the first call parses.
    pub(crate) fn of(env: &RuntimeEnv) -> Rc<Self> {
        VARS.with(|vars| Rc::clone(vars.get_or_init(|| Rc::new(Self::read(env)))))
    }

    /// Returns true if hosts name storefronts (`TENANT_DOMAIN`). The route of a request depends on
    /// it, so it is known before there is a response.
    pub(crate) fn hosts_name_storefronts() -> bool {
        #[cfg(feature = "storefronts")]
        return VARS.with(|vars| vars.get().is_some_and(|vars| vars.storefronts.hosts.name_storefronts()));
        #[cfg(not(feature = "storefronts"))]
        false
    }

    fn read(env: &RuntimeEnv) -> Self {
        #[cfg(any(
            feature = "cache",
            feature = "flags",
            feature = "kv-api",
            feature = "metrics",
            feature = "storefronts",
            feature = "writes"
        ))]
        let token = env.secret("API_TOKEN");
        Self {
            #[cfg(feature = "assets")]
            assets: assets::AssetsVars::read(env),
            #[cfg(feature = "cache")]
            cache: cache::CacheVars::read(env),
            #[cfg(feature = "flags")]
            flags: flags::FlagsVars::read(env),
            #[cfg(feature = "kv-api")]
            kv_api: KvApiVars::read(env, token.as_deref()),
            #[cfg(feature = "metrics")]
            metrics: MetricsVars::read(env),
            #[cfg(feature = "storefronts")]
            storefronts: storefronts::StorefrontsVars::read(env, token.as_deref()),
            #[cfg(any(
                feature = "cache",
                feature = "flags",
                feature = "kv-api",
                feature = "metrics",
                feature = "storefronts",
                feature = "writes"
            ))]
            token,
            #[cfg(any(feature = "cache", feature = "storefronts"))]
            upstream_timeout: UpstreamTimeout::from_milliseconds(vars::UPSTREAM_TIMEOUT_MS.read(env)),
        }
    }
}
