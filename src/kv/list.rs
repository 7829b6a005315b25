//! Lists of keys.

#[cfg(feature = "kv-api")]
use std::time::Duration;

#[cfg(feature = "kv-api")]
use kv_store::limits::Key;
use kv_store::store::StoreError;
use wasm_bindgen::prelude::*;

#[cfg(feature = "cache")]
use super::json;
use super::{KvNamespace, READ_DEADLINE, Store, await_call};
use crate::platform::deadline;
use crate::platform::meter::Metered;

#[cfg(feature = "kv-api")]
#[wasm_bindgen(module = "/src/platform/glue/kv_api.js")]
extern "C" {
    #[wasm_bindgen(js_name = listKeys)]
    fn list_keys(
        namespace: &KvNamespace,
        prefix: &str,
        limit: u32,
        cursor: Option<&str>,
        prefix_length: u32,
    ) -> js_sys::Promise;
    #[wasm_bindgen(js_name = keyNames)]
    fn key_names_of(namespace: &KvNamespace, prefix: &str, limit: u32, cursor: Option<&str>) -> js_sys::Promise;
    #[wasm_bindgen(js_name = expirationOf)]
    fn expiration_of(namespace: &KvNamespace, key: &str) -> js_sys::Promise;
}

#[cfg(feature = "cache")]
#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(method, catch)]
    fn list(this: &KvNamespace, options: &ListOptions) -> Result<js_sys::Promise, JsValue>;

    /// The options of `list` ("List keys").
    #[wasm_bindgen(extends = js_sys::Object)]
    type ListOptions;
    #[wasm_bindgen(method, setter)]
    fn set_prefix(this: &ListOptions, prefix: &str);
    #[wasm_bindgen(method, setter)]
    fn set_cursor(this: &ListOptions, cursor: &str);

    /// One page of the result of `list` ("List keys").
    type ListPage;
    #[wasm_bindgen(method, getter)]
    fn keys(this: &ListPage) -> js_sys::Array;
    #[wasm_bindgen(method, getter, js_name = list_complete)]
    fn is_complete(this: &ListPage) -> bool;
    #[wasm_bindgen(method, getter)]
    fn cursor(this: &ListPage) -> Option<String>;

    /// A key of a page.
    type ListedKey;
    #[wasm_bindgen(method, getter, js_name = metadata)]
    fn listed_metadata(this: &ListedKey) -> JsValue;
}

/// The metadata of keys.
#[cfg(feature = "cache")]
pub(crate) struct KeyMetadata {
    /// As JSON.
    pub(crate) metadata: Vec<String>,
    /// False if there are more keys.
    pub(crate) is_complete: bool,
}

/// How long the list that tells when a key expires may take: its value does not wait longer.
#[cfg(feature = "kv-api")]
const EXPIRATION_DEADLINE: Duration = Duration::from_secs(1);

/// A page of keys.
#[cfg(feature = "kv-api")]
pub(crate) struct KeyPage {
    /// An array of `{name, expiration?, metadata?}`.
    pub(crate) json: String,
    /// How many keys it has.
    pub(crate) count: usize,
    /// Where the next page begins; `None` on the last one.
    pub(crate) cursor: Option<String>,
}

#[cfg(feature = "kv-api")]
impl Store {
    /// Returns a page of at most `limit` keys with a prefix, from a cursor on. The first
    /// `prefix_length` characters of each key are left out.
    pub(crate) async fn key_page(
        &self,
        prefix: &str,
        limit: u32,
        cursor: Option<&str>,
        prefix_length: u32,
    ) -> Result<KeyPage, StoreError> {
        let list = list_keys(&self.namespace, prefix, limit, cursor, prefix_length);
        let page = await_call(self.counted(Metered::List, Ok(list)));
        let page = deadline::within(READ_DEADLINE, page).await;
        let page: js_sys::Array = page.unwrap_or_else(|| Err(StoreError::list_timeout()))?.unchecked_into();
        // A page has at most 1000 keys.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let count = page.get(1).as_f64().unwrap_or_default() as usize;
        Ok(KeyPage { json: page.get(0).as_string().unwrap_or_default(), count, cursor: page.get(2).as_string() })
    }

    /// Returns the names of at most `limit` keys with a prefix, from a cursor on, and where the
    /// next page begins.
    pub(crate) async fn key_names(
        &self,
        prefix: &str,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<(Vec<String>, Option<String>), StoreError> {
        let list = key_names_of(&self.namespace, prefix, limit, cursor);
        let page = await_call(self.counted(Metered::List, Ok(list)));
        let page = deadline::within(READ_DEADLINE, page).await;
        let page: js_sys::Array = page.unwrap_or_else(|| Err(StoreError::list_timeout()))?.unchecked_into();
        Ok((page.iter().skip(1).filter_map(|name| name.as_string()).collect(), page.get(0).as_string()))
    }

    /// Returns when a key expires, in seconds since the Unix epoch; `None` if it does not.
    pub(crate) async fn expiration_of(&self, key: &Key<'_>) -> Result<Option<u64>, StoreError> {
        let list = expiration_of(&self.namespace, key.as_str());
        let expiration = await_call(self.counted(Metered::List, Ok(list)));
        let expiration = deadline::within(EXPIRATION_DEADLINE, expiration).await;
        // Whole seconds since 1970.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let seconds = |number| number as u64;
        Ok(expiration.unwrap_or_else(|| Err(StoreError::list_timeout()))?.as_f64().map(seconds))
    }
}

#[cfg(feature = "cache")]
impl Store {
    /// Returns the metadata of all keys with a prefix, in up to `pages_max` pages of 1000 ("List
    /// keys": only `list_complete` ends a listing, and each page needs the prefix again).
    pub(crate) async fn listed_metadata(&self, prefix: &str, pages_max: u32) -> Result<KeyMetadata, StoreError> {
        let mut metadata = Vec::new();
        let options: ListOptions = js_sys::Object::new().unchecked_into();
        options.set_prefix(prefix);
        for _ in 0..pages_max {
            let list = self.counted(Metered::List, self.namespace.list(&options));
            let page = deadline::within(READ_DEADLINE, await_call(list));
            let page: ListPage = page.await.unwrap_or_else(|| Err(StoreError::list_timeout()))?.unchecked_into();
            for key in page.keys().iter() {
                metadata.extend(json(&key.unchecked_into::<ListedKey>().listed_metadata())?);
            }
            let cursor = page.cursor().filter(|_| !page.is_complete());
            let Some(cursor) = cursor else { return Ok(KeyMetadata { metadata, is_complete: true }) };
            options.set_cursor(&cursor);
        }
        Ok(KeyMetadata { metadata, is_complete: false })
    }
}
