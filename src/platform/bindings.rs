//! One typed accessor for each binding, var and secret of `wrangler.toml`.

use std::cell::OnceCell;
use std::rc::Rc;

use feature_flags::config::user_id::{NotUserIdFrom, UserIdFrom};
use http_cache::credentials::CredentialFields;
use http_semantics::cors::AllowedOrigins;
use http_semantics::origin::AllowList;
use http_semantics::vars::{
    ASSETS_REFRESH_SECONDS, CONFIG_REFRESH_SECONDS, REFRESH_SECONDS, UpstreamTimeout, is_true, refresh_ms,
};
use kv_store::limits::Key;
use tenant_router::address::Hosts;
use tenant_router::record::OriginPolicy;
use tenant_router::visitor::VisitorKey;
use wasm_bindgen::prelude::*;

use crate::kv::key_writers::KeyWriters;
use crate::kv::{KvNamespace, Store};

#[wasm_bindgen]
extern "C" {
    /// The `env` object. A binding that is missing is `undefined`; using it is an exception, which
    /// the ports turn into their errors.
    pub(crate) type Bindings;

    #[wasm_bindgen(method, getter, js_name = "CACHE_KV")]
    fn cache_kv(this: &Bindings) -> KvNamespace;
    #[wasm_bindgen(method, getter, js_name = "USER_CONFIGURATION")]
    fn user_configuration(this: &Bindings) -> KvNamespace;
    #[wasm_bindgen(method, getter, js_name = "ROUTING_CONFIG")]
    fn routing_config(this: &Bindings) -> KvNamespace;
    #[wasm_bindgen(method, getter, js_name = "assets")]
    fn assets(this: &Bindings) -> KvNamespace;
    #[wasm_bindgen(method, getter, js_name = "WRITES")]
    fn writes(this: &Bindings) -> KvNamespace;
    #[wasm_bindgen(method, getter, js_name = "USERS_NOTIFICATION_CONFIG")]
    fn users_notification_config(this: &Bindings) -> KvNamespace;

    #[wasm_bindgen(method, getter, js_name = "KEY_WRITER")]
    fn key_writer(this: &Bindings) -> KeyWriters;

    #[wasm_bindgen(method, getter, js_name = "API_TOKEN")]
    fn api_token(this: &Bindings) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = "CACHE_UPSTREAMS")]
    fn cache_upstreams(this: &Bindings) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = "CACHE_CREDENTIALS")]
    fn cache_credentials(this: &Bindings) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = "CACHE_REFRESH")]
    fn cache_refresh(this: &Bindings) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = "ROUTING_ORIGINS")]
    fn routing_origins(this: &Bindings) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = "ROUTING_INSECURE")]
    fn routing_insecure(this: &Bindings) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = "ROUTING_REFRESH")]
    fn routing_refresh(this: &Bindings) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = "ASSETS_REFRESH")]
    fn assets_refresh(this: &Bindings) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = "USER_ID_FROM")]
    fn user_id_from(this: &Bindings) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = "CONFIG_REFRESH")]
    fn config_refresh(this: &Bindings) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = "CONFIG_PREFIX")]
    fn config_prefix(this: &Bindings) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = "CONFIG_SNAPSHOT")]
    fn config_snapshot(this: &Bindings) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = "OFREP_ORIGINS")]
    fn ofrep_origins(this: &Bindings) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = "TENANT_DOMAIN")]
    fn tenant_domain(this: &Bindings) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = "PLATFORM_HOSTS")]
    fn platform_hosts(this: &Bindings) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = "VISITOR_SECRET")]
    fn visitor_secret(this: &Bindings) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = "UPSTREAM_TIMEOUT_MS")]
    fn upstream_timeout_ms(this: &Bindings) -> JsValue;
}

impl Bindings {
    /// `CACHE_KV`: the answers and pages of `/cache`, and what was purged.
    pub(crate) fn pages(&self) -> Store {
        Store::new(self.cache_kv())
    }

    /// `USER_CONFIGURATION`: a record for each user, the definitions of flags, the snapshot.
    pub(crate) fn users(&self) -> Store {
        Store::new(self.user_configuration())
    }

    /// `ROUTING_CONFIG`: a record for each storefront.
    pub(crate) fn storefronts(&self) -> Store {
        Store::new(self.routing_config())
    }

    /// `assets`: the static files and translations.
    pub(crate) fn files(&self) -> Store {
        Store::new(self.assets())
    }

    /// `WRITES`: the keys of the concurrent-write example.
    pub(crate) fn hot_keys(&self) -> Store {
        Store::new(self.writes())
    }

    /// `KEY_WRITER`: a Durable Object for each key of `WRITES`.
    pub(crate) fn key_writers(&self) -> KeyWriters {
        self.key_writer()
    }

    /// `USERS_NOTIFICATION_CONFIG`: the namespace of the documented first steps.
    pub(crate) fn notifications(&self) -> Store {
        Store::new(self.users_notification_config())
    }
}

/// The vars and secrets, parsed. They do not change while an isolate lives.
pub(crate) struct Vars {
    /// `CACHE_UPSTREAMS`
    pub(crate) cache_upstreams: AllowList,
    /// `CACHE_CREDENTIALS`, and the fields that always carry credentials
    pub(crate) cache_credentials: CredentialFields,
    /// `CACHE_REFRESH`, in milliseconds
    pub(crate) cache_refresh_ms: u64,
    /// `ROUTING_ORIGINS` and `ROUTING_INSECURE`
    pub(crate) routing: OriginPolicy,
    /// `ROUTING_REFRESH`, in milliseconds
    pub(crate) routing_refresh_ms: u64,
    /// `ASSETS_REFRESH`, in milliseconds
    pub(crate) assets_refresh_ms: u64,
    /// `USER_ID_FROM`
    pub(crate) user_id_from: Result<UserIdFrom, NotUserIdFrom>,
    /// `CONFIG_REFRESH`, in milliseconds
    pub(crate) config_refresh_ms: u64,
    /// `CONFIG_PREFIX`
    pub(crate) config_prefix: String,
    /// `CONFIG_SNAPSHOT`; `None` where it is empty, or no key of Workers KV.
    pub(crate) config_snapshot: Option<Key<'static>>,
    /// `OFREP_ORIGINS`
    pub(crate) ofrep_origins: AllowedOrigins,
    /// `TENANT_DOMAIN` and `PLATFORM_HOSTS`
    pub(crate) hosts: Hosts,
    /// The secret `API_TOKEN`; `None` where it is not set or empty.
    pub(crate) token: Option<String>,
    /// Signs the cookies of visitors: out of the secret `VISITOR_SECRET`, or out of `API_TOKEN` where that is not set.
    pub(crate) visitor_key: Option<VisitorKey>,
    /// `UPSTREAM_TIMEOUT_MS`
    pub(crate) upstream_timeout: UpstreamTimeout,
}

impl Vars {
    pub(crate) fn of(env: &Bindings) -> Rc<Self> {
        thread_local!(static VARS: OnceCell<Rc<Vars>> = const { OnceCell::new() });
        VARS.with(|vars| Rc::clone(vars.get_or_init(|| Rc::new(Self::read(env)))))
    }

    fn read(env: &Bindings) -> Self {
        let secret = |value: JsValue| value.as_string().filter(|secret| !secret.is_empty());
        let token = secret(env.api_token());
        let visitor_secret = secret(env.visitor_secret());
        Self {
            cache_upstreams: AllowList::parse(&text(&env.cache_upstreams()), &[]),
            cache_credentials: CredentialFields::parse(&text(&env.cache_credentials())),
            cache_refresh_ms: refresh_ms(&text(&env.cache_refresh()), REFRESH_SECONDS),
            routing: OriginPolicy::parse(&text(&env.routing_origins()), is_true(&text(&env.routing_insecure()))),
            routing_refresh_ms: refresh_ms(&text(&env.routing_refresh()), REFRESH_SECONDS),
            assets_refresh_ms: refresh_ms(&text(&env.assets_refresh()), ASSETS_REFRESH_SECONDS),
            user_id_from: UserIdFrom::parse(&text(&env.user_id_from())),
            config_refresh_ms: refresh_ms(&text(&env.config_refresh()), CONFIG_REFRESH_SECONDS),
            config_prefix: text(&env.config_prefix()),
            config_snapshot: Key::new(text(&env.config_snapshot())).ok(),
            ofrep_origins: AllowedOrigins::parse(&text(&env.ofrep_origins())),
            hosts: Hosts::parse(&text(&env.tenant_domain()), &text(&env.platform_hosts())),
            visitor_key: visitor_secret.as_ref().or(token.as_ref()).map(|secret| VisitorKey::derive(secret)),
            token,
            upstream_timeout: UpstreamTimeout::parse(&text(&env.upstream_timeout_ms())),
        }
    }
}

/// A var as text; wrangler hands a number or a boolean over as such.
fn text(var: &JsValue) -> String {
    var.as_string()
        .or_else(|| var.dyn_ref::<js_sys::Number>()?.to_string_with_radix(10).ok().map(String::from))
        .or_else(|| var.as_bool().map(|switch| switch.to_string()))
        .unwrap_or_default()
}
