//! Lists of keys, for the KV REST API and the console. Each is one call of KV, which is not tried
//! again.

use std::time::Duration;

use kv_store::limits::Key;
use kv_store::store_error::StoreError;
use wasm_bindgen::prelude::*;

use super::{KvNamespace, READ_DEADLINE, Store};
use crate::platform::meter::Metered;

#[wasm_bindgen(module = "/src/platform/glue/kv_api.js")]
extern "C" {
    #[wasm_bindgen(js_name = listKeys)]
    fn list_keys(
        namespace: &KvNamespace,
        prefix: &str,
        limit: u32,
        cursor: Option<&str>,
        prefix_length: usize,
    ) -> js_sys::Promise;
    #[wasm_bindgen(js_name = keyNames)]
    fn key_names_of(namespace: &KvNamespace, prefix: &str, limit: u32, cursor: Option<&str>) -> js_sys::Promise;
    #[wasm_bindgen(js_name = expirationOf)]
    fn expiration_of(namespace: &KvNamespace, key: &str) -> js_sys::Promise;
}

/// How long the list that tells when a key expires may take: the response with its value does not
/// wait longer.
const EXPIRATION_DEADLINE: Duration = Duration::from_secs(1);

/// A page of keys.
pub(crate) struct KeyPage {
    /// An array of `{name, expiration?, metadata?}`.
    pub(crate) json: String,
    /// How many keys it has.
    pub(crate) count: usize,
    /// Where the next page begins; `None` on the last one.
    pub(crate) cursor: Option<String>,
}

impl Store {
    /// Returns a page of at most `limit` keys with a prefix, from a cursor on. The first
    /// `prefix_length` characters of each key are left out; they must be ASCII.
    #[expect(clippy::expect_used, reason = "a page without its keys would look like an empty one")]
    pub(crate) async fn key_page(
        &self,
        prefix: &str,
        limit: u32,
        cursor: Option<&str>,
        prefix_length: usize,
    ) -> Result<KeyPage, StoreError> {
        let list = list_keys(&self.namespace, prefix, limit, cursor, prefix_length);
        let list = self.counted(Metered::List, Ok(list));
        let page = self.await_call_within(READ_DEADLINE, list, StoreError::list_timeout).await?;
        let page: js_sys::Array = page.unchecked_into();
        // A page has at most 1000 keys.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let count = page.get(1).as_f64().expect("the glue returns the length of an array") as usize;
        let json = page.get(0).as_string().expect("the glue returns the JSON of an array");
        Ok(KeyPage { json, count, cursor: page.get(2).as_string() })
    }

    /// Returns the names of at most `limit` keys with a prefix, from a cursor on, and where the
    /// next page begins; `None` on the last one.
    #[expect(clippy::expect_used, reason = "a key that is left out would stay undeleted, or not be seen as a lease")]
    pub(crate) async fn key_names(
        &self,
        prefix: &str,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<(Vec<String>, Option<String>), StoreError> {
        let list = key_names_of(&self.namespace, prefix, limit, cursor);
        let list = self.counted(Metered::List, Ok(list));
        let page = self.await_call_within(READ_DEADLINE, list, StoreError::list_timeout).await?;
        let page: js_sys::Array = page.unchecked_into();
        let names = page.iter().skip(1).map(|name| name.as_string().expect("the glue returns texts"));
        Ok((names.collect(), page.get(0).as_string()))
    }

    /// Returns when a key expires, in seconds since the Unix epoch; `None` if it does not, or KV
    /// does not list it.
    pub(crate) async fn expiration_of(&self, key: &Key<'_>) -> Result<Option<u64>, StoreError> {
        let list = expiration_of(&self.namespace, key.as_str());
        let list = self.counted(Metered::List, Ok(list));
        let expiration = self.await_call_within(EXPIRATION_DEADLINE, list, StoreError::list_timeout).await?;
        // Whole seconds since 1970.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let seconds = |number| number as u64;
        Ok(expiration.as_f64().map(seconds))
    }
}
