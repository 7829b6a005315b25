//! The metadata of all keys with a prefix.

use kv_store::store_error::StoreError;
use wasm_bindgen::prelude::*;

use super::{KvNamespace, READ_DEADLINE, Store, json};
use crate::platform::meter::Metered;

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
    #[wasm_bindgen(method, getter)]
    fn metadata(this: &ListedKey) -> JsValue;
}

/// The metadata of keys.
pub(crate) struct KeyMetadata {
    /// As JSON; `null` for a key without metadata.
    pub(crate) metadata: Vec<String>,
    /// False if there are more keys.
    pub(crate) is_complete: bool,
}

impl Store {
    /// Returns the metadata of all keys with a prefix, in up to `pages_max` pages of 1000 ("List
    /// keys": only `list_complete` ends a listing, and each page needs the prefix again). The
    /// first page that fails, or takes longer than [`READ_DEADLINE`], ends it with an error.
    pub(crate) async fn listed_metadata(&self, prefix: &str, pages_max: u32) -> Result<KeyMetadata, StoreError> {
        let mut metadata = Vec::new();
        let options: ListOptions = js_sys::Object::new().unchecked_into();
        options.set_prefix(prefix);
        for _ in 0..pages_max {
            let list = self.counted(Metered::List, self.namespace.list(&options));
            let page = self.await_call_within(READ_DEADLINE, list, StoreError::list_timeout).await?;
            let page: ListPage = page.unchecked_into();
            for key in page.keys().iter() {
                let of_key = json(&key.unchecked_into::<ListedKey>().metadata())?;
                metadata.push(of_key.unwrap_or_else(|| "null".to_owned()));
            }
            if page.is_complete() {
                return Ok(KeyMetadata { metadata, is_complete: true });
            }
            let no_cursor = || StoreError::unavailable("KV LIST returned no cursor");
            options.set_cursor(&page.cursor().ok_or_else(no_cursor)?);
        }
        Ok(KeyMetadata { metadata, is_complete: false })
    }
}
