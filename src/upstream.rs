//! Requests to other servers. Who may be asked is core's decision ([`kv_edge_core::origin`]).

use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::web_sys::{Request, RequestInit, RequestRedirect, Response};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = fetch, catch)]
    fn global_fetch(request: &Request) -> Result<js_sys::Promise, JsValue>;
}

/// Sends a request as it stands. The error is what the runtime threw.
pub(crate) async fn fetch(request: &Request) -> Result<Response, JsValue> {
    JsFuture::from(global_fetch(request)?).await.map(JsCast::unchecked_into)
}

/// Gets a URL without following a redirect.
pub(crate) async fn get(url: &str) -> Result<Response, JsValue> {
    let init = RequestInit::new();
    init.set_redirect(RequestRedirect::Manual);
    fetch(&Request::new_with_str_and_init(url, &init)?).await
}
