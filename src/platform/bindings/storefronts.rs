//! Bindings and vars of storefronts.

use tenant_router::storefront_address::Hosts;
use tenant_router::storefront_record::OriginPolicy;
use tenant_router::visitor::VisitorKey;
use wasm_bindgen::prelude::*;

use super::{Bindings, RuntimeEnv, vars};
use crate::kv::{KvNamespace, Store};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(method, getter, js_name = "ROUTING_CONFIG")]
    fn routing_config(this: &RuntimeEnv) -> KvNamespace;
}

impl Bindings {
    /// `ROUTING_CONFIG`: a record for each storefront.
    pub(crate) fn storefronts(&self) -> Store {
        self.store(self.env.routing_config())
    }
}

pub(crate) struct StorefrontsVars {
    /// `ROUTING_ORIGINS` and `ROUTING_INSECURE`.
    pub(crate) origins: OriginPolicy,
    /// `ROUTING_REFRESH`, in milliseconds.
    pub(crate) refresh_ms: u64,
    /// `TENANT_DOMAIN` and `PLATFORM_HOSTS`.
    pub(crate) hosts: Hosts,
    /// Signs the cookies of visitors. It is derived from the secret `VISITOR_SECRET`, or from
    /// `API_TOKEN` if that is not set; `None` if neither is.
    pub(crate) visitor_key: Option<VisitorKey>,
}

impl StorefrontsVars {
    pub(super) fn read(env: &RuntimeEnv, token: Option<&str>) -> Self {
        let visitor_secret = env.secret("VISITOR_SECRET");
        Self {
            origins: OriginPolicy::parse(&vars::ROUTING_ORIGINS.read(env), vars::ROUTING_INSECURE.read(env)),
            refresh_ms: vars::ROUTING_REFRESH.read_ms(env),
            hosts: Hosts::parse(&vars::TENANT_DOMAIN.read(env), &vars::PLATFORM_HOSTS.read(env)),
            visitor_key: visitor_secret.as_deref().or(token).map(VisitorKey::derive),
        }
    }
}
