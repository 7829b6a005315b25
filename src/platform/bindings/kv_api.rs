//! The bindings of the KV REST API. The console uses its list of namespaces and its list of
//! revoked tokens, too.

use std::cell::OnceCell;
use std::rc::Rc;

use kv_api::namespace::{self, ApiNamespace};
use wasm_bindgen::prelude::*;

use super::Bindings;
use crate::kv::{KvNamespace, Store};
use crate::platform::durable_objects::{DurableObjectNamespace, DurableObjects};
use crate::platform::env::RuntimeEnv;
use crate::platform::vars::Vars;

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
    /// Returns what the API knows of the bindings.
    pub(crate) fn api(&self) -> Rc<ApiBindings> {
        API.with(|api| Rc::clone(api.get_or_init(|| Rc::new(ApiBindings::read(&self.env)))))
    }

    /// Returns the namespace of a KV binding.
    pub(crate) fn kv(&self, name: &str) -> Store {
        self.store(self.env.get(name).unchecked_into())
    }

    /// Returns `NAMESPACE_LIST`, whose one Durable Object lists the namespaces that clients
    /// create.
    pub(crate) fn namespace_list(&self) -> DurableObjects {
        self.objects(self.env.namespace_list_objects())
    }

    /// Writes a point to the Analytics Engine dataset `KV_API_ANALYTICS`: an index of up to 96
    /// bytes, three texts, and two numbers.
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
        write_point(&self.env.get(ANALYTICS), index, &blobs, status, milliseconds as f64)
    }

    /// Returns `USER_CONFIGURATION`, which has the list of revoked tokens.
    pub(crate) fn revocations(&self) -> Store {
        self.store(self.env.revocations_kv())
    }
}

/// The binding of the Analytics Engine dataset.
const ANALYTICS: &str = "KV_API_ANALYTICS";

/// What the API knows of the bindings. They are constant for the lifetime of an isolate.
pub(crate) struct ApiBindings {
    /// True if there is the binding `KV_API_ANALYTICS`.
    pub(crate) has_analytics: bool,
    /// All KV bindings, as namespaces.
    pub(crate) all: Vec<ApiNamespace>,
    /// The binding that `KV_API_NAMESPACES` names: the home of namespaces that clients create.
    /// `None` if they cannot create any.
    pub(crate) home: Option<String>,
}

thread_local!(static API: OnceCell<Rc<ApiBindings>> = const { OnceCell::new() });

impl ApiBindings {
    /// Returns the namespaces that are bindings, without the home of created ones: its keys belong
    /// to the namespaces that clients created.
    pub(crate) fn namespaces(&self) -> impl Iterator<Item = &ApiNamespace> {
        self.all.iter().filter(|namespace| Some(&namespace.title) != self.home.as_ref())
    }

    fn read(env: &RuntimeEnv) -> Self {
        let names: Vec<String> = namespace_names(env).lines().map(str::to_owned).collect();
        Self {
            has_analytics: env.get(ANALYTICS).is_object(),
            all: names.iter().map(|name| ApiNamespace::of_binding(name)).collect(),
            home: namespace::home(&Vars::of(env).kv_api_namespaces, &names),
        }
    }
}
