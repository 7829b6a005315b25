//! Bindings and vars of the KV REST API.

use kv_api::namespace::{self, ApiNamespace, WritableBindings};
use kv_api::token::TokenKey;
use wasm_bindgen::prelude::*;

use super::{Bindings, RuntimeEnv, vars};
use crate::kv::{KvNamespace, Store};
use crate::platform::durable_objects::{DurableObjectNamespace, DurableObjects};

#[wasm_bindgen(module = "/src/platform/glue/kv_api.js")]
extern "C" {
    #[wasm_bindgen(js_name = namespaceNames)]
    fn namespace_names(env: &RuntimeEnv) -> String;
    #[wasm_bindgen(js_name = writePoint, catch)]
    fn write_point(
        analytics: &JsValue,
        index: &str,
        blobs: &js_sys::Array,
        status: u16,
        milliseconds: f64,
    ) -> Result<(), JsValue>;
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(method, getter, js_name = "USER_CONFIGURATION")]
    fn revocations_kv(this: &RuntimeEnv) -> KvNamespace;
    #[wasm_bindgen(method, getter, js_name = "NAMESPACE_LIST")]
    fn namespace_list_objects(this: &RuntimeEnv) -> DurableObjectNamespace;
}

impl Bindings {
    /// Returns the namespace of a KV binding.
    pub(crate) fn kv(&self, name: &str) -> Store {
        self.store(self.env.var(name).unchecked_into())
    }

    /// Returns `NAMESPACE_LIST`, whose one Durable Object lists the namespaces that clients
    /// create.
    pub(crate) fn namespace_list(&self) -> DurableObjects {
        self.objects(self.env.namespace_list_objects())
    }

    /// Writes a point to the Analytics Engine dataset `KV_API_ANALYTICS`: an index of up to 96
    /// bytes, and two numbers.
    pub(crate) fn write_analytics(
        &self,
        index: &str,
        blobs: [&str; 3],
        status: u16,
        milliseconds: u64,
    ) -> Result<(), JsValue> {
        let blobs = blobs.into_iter().map(JsValue::from_str).collect();
        // Exact for any duration.
        #[allow(clippy::cast_precision_loss)]
        write_point(&self.env.var(ANALYTICS), index, &blobs, status, milliseconds as f64)
    }

    /// Returns `USER_CONFIGURATION`, which has the list of revoked tokens.
    pub(crate) fn revocations(&self) -> Store {
        self.store(self.env.revocations_kv())
    }
}

/// The binding of the Analytics Engine dataset.
const ANALYTICS: &str = "KV_API_ANALYTICS";

pub(crate) struct KvApiVars {
    /// True if there is the binding `KV_API_ANALYTICS`.
    pub(crate) has_analytics: bool,
    /// `KV_API_WRITABLE`.
    pub(crate) writable: WritableBindings,
    /// All KV bindings, as namespaces.
    pub(crate) bindings: Vec<ApiNamespace>,
    /// The binding that `KV_API_NAMESPACES` names: the home of namespaces that clients create.
    /// `None` if they cannot create any.
    pub(crate) home: Option<String>,
    /// Signs tokens. It is derived from the secret `TOKEN_SECRET`, or from `API_TOKEN` if that is
    /// not set; `None` if neither is.
    pub(crate) token_key: Option<TokenKey>,
    /// How long the list of revoked tokens is used from memory: `CONFIG_REFRESH`, in milliseconds.
    pub(crate) refresh_ms: u64,
}

impl KvApiVars {
    /// Returns the namespaces that are bindings. The home of created ones is not among them: its
    /// keys belong to those.
    pub(crate) fn namespaces(&self) -> impl Iterator<Item = &ApiNamespace> {
        self.bindings.iter().filter(|namespace| Some(&namespace.title) != self.home.as_ref())
    }

    pub(super) fn read(env: &RuntimeEnv, token: Option<&str>) -> Self {
        let bindings: Vec<String> = namespace_names(env).lines().map(str::to_owned).collect();
        Self {
            has_analytics: env.var(ANALYTICS).is_object(),
            writable: WritableBindings::parse(&vars::KV_API_WRITABLE.read(env)),
            home: namespace::home(&vars::KV_API_NAMESPACES.read(env), &bindings),
            bindings: bindings.iter().map(|name| ApiNamespace::of_binding(name)).collect(),
            token_key: env.secret("TOKEN_SECRET").as_deref().or(token).map(TokenKey::derive),
            refresh_ms: vars::CONFIG_REFRESH.read_ms(env),
        }
    }
}
