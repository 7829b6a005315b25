//! Bindings and vars of `/config` and `/ofrep`.

use feature_flags::config::user_id::{InvalidUserIdFrom, UserIdFrom};
use http_semantics::cors::CorsOrigins;
use kv_store::limits::Key;
use wasm_bindgen::prelude::*;

use super::{Bindings, RuntimeEnv, vars};
use crate::kv::{KvNamespace, Store};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(method, getter, js_name = "USER_CONFIGURATION")]
    fn user_configuration(this: &RuntimeEnv) -> KvNamespace;
}

impl Bindings {
    /// `USER_CONFIGURATION`: a record for each user, the definitions of flags, and the snapshot.
    pub(crate) fn users(&self) -> Store {
        self.store(self.env.user_configuration())
    }
}

pub(crate) struct FlagsVars {
    /// `USER_ID_FROM`.
    pub(crate) user_id_from: Result<UserIdFrom, InvalidUserIdFrom>,
    /// `CONFIG_REFRESH`, in milliseconds.
    pub(crate) refresh_ms: u64,
    /// `CONFIG_PREFIX`.
    pub(crate) prefix: String,
    /// `CONFIG_SNAPSHOT`; `None` if it is empty or no valid key of Workers KV.
    pub(crate) snapshot: Option<Key<'static>>,
    /// `OFREP_ORIGINS`.
    pub(crate) ofrep_origins: CorsOrigins,
}

impl FlagsVars {
    pub(super) fn read(env: &RuntimeEnv) -> Self {
        Self {
            user_id_from: UserIdFrom::parse(&vars::USER_ID_FROM.read(env)),
            refresh_ms: vars::CONFIG_REFRESH.read_ms(env),
            prefix: vars::CONFIG_PREFIX.read(env),
            snapshot: Key::new(vars::CONFIG_SNAPSHOT.read(env)).ok(),
            ofrep_origins: CorsOrigins::parse(&vars::OFREP_ORIGINS.read(env)),
        }
    }
}
