//! The bindings and vars of `/cache`.

use http_cache::credentials::CredentialFields;
use http_semantics::origin::OriginAllowList;
use wasm_bindgen::prelude::*;

use super::{Bindings, RuntimeEnv, vars};
use crate::kv::{KvNamespace, Store};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(method, getter, js_name = "CACHE_KV")]
    fn cache_kv(this: &RuntimeEnv) -> KvNamespace;
}

impl Bindings {
    /// Returns `CACHE_KV`, with the stored responses and views of `/cache`, and the purges.
    pub(crate) fn cache_store(&self) -> Store {
        self.store(self.env.cache_kv())
    }
}

pub(crate) struct CacheVars {
    /// `CACHE_UPSTREAMS`: the origins that may be fetched.
    pub(crate) upstreams: OriginAllowList,
    /// `CACHE_CREDENTIALS`, and the fields that always carry credentials.
    pub(crate) credentials: CredentialFields,
    /// `CACHE_REFRESH`, in milliseconds.
    pub(crate) refresh_ms: u64,
}

impl CacheVars {
    pub(super) fn read(env: &RuntimeEnv) -> Self {
        Self {
            upstreams: OriginAllowList::parse(&vars::CACHE_UPSTREAMS.read(env), &[]),
            credentials: CredentialFields::parse(&vars::CACHE_CREDENTIALS.read(env)),
            refresh_ms: vars::CACHE_REFRESH.read_ms(env),
        }
    }
}
