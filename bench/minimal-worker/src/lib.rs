//! A minimal Worker in Rust that sends the same responses to three requests of the benchmark as
//! `bench/baseline`: a value through the KV REST API, a page as JSON from KV, and a response that
//! is fetched, stored and passed on. Each step is one call of JavaScript. It takes fewer steps
//! than the baseline, as it neither parses URLs and JSON nor checks which origins are allowed. So
//! what it costs more than the baseline is about what Rust itself costs in a Worker.

use std::cell::OnceCell;
use std::rc::Rc;

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::web_sys::{Request, Response};
use worker::{Context, Env, event};

#[wasm_bindgen(module = "/glue.js")]
extern "C" {
    fn url(request: &Request) -> String;
    /// Returns the field, empty if there is none.
    fn authorization(request: &Request) -> String;
    /// Resolves to a value of this type, `null` if there is none.
    fn get(namespace: &CacheNamespace, key: &str, kind: &str) -> Promise;
    /// Resolves to `null`, or to a value with its metadata.
    #[wasm_bindgen(js_name = getStored)]
    fn get_stored(namespace: &CacheNamespace, key: &str) -> Promise;
    /// Stores a value with these header fields for a minute, after the response.
    #[wasm_bindgen(js_name = putInBackground)]
    fn put_in_background(ctx: &JsValue, namespace: &CacheNamespace, key: &str, value: &JsValue, fields: &str);
    fn fetch(url: &str) -> Promise;
    /// Returns the header fields: names and values on a line each.
    fn fields(response: &Response) -> String;
    /// Returns a 200 with these header fields.
    fn respond(body: &JsValue, fields: &str) -> Response;

    /// A value of KV with the header fields that its metadata has.
    type Stored;
    #[wasm_bindgen(method, getter)]
    fn value(this: &Stored) -> JsValue;
    #[wasm_bindgen(method, getter)]
    fn fields(this: &Stored) -> String;
}

#[wasm_bindgen]
extern "C" {
    /// Resolves to the page as JSON. It is in `entry.mjs`.
    #[wasm_bindgen(js_name = readPage)]
    fn read_page(response: &Response) -> Promise;

    type CacheNamespace;

    #[wasm_bindgen(extends = js_sys::Object)]
    type MinimalBindings;
    #[wasm_bindgen(method, getter, js_name = CACHE_KV)]
    fn cache_kv(this: &MinimalBindings) -> CacheNamespace;
    #[wasm_bindgen(method, getter, js_name = API_TOKEN)]
    fn api_token(this: &MinimalBindings) -> String;
}

/// What is read of the bindings once.
struct Setup {
    /// The only `Authorization` that is accepted.
    authorization: String,
    cache: CacheNamespace,
}

thread_local!(static SETUP: OnceCell<Rc<Setup>> = const { OnceCell::new() });

const JSON: &str = "content-type\napplication/json\n";
const BYTES: &str = "content-type\napplication/octet-stream\n";

#[event(fetch)]
async fn fetch_event(request: Request, env: Env, ctx: Context) -> worker::Result<Response> {
    let bindings: MinimalBindings = env.unchecked_into();
    let setup = SETUP.with(|setup| {
        Rc::clone(setup.get_or_init(|| {
            let authorization = format!("Bearer {}", bindings.api_token());
            Rc::new(Setup { authorization, cache: bindings.cache_kv() })
        }))
    });
    let url = url(&request);
    if let Some((_, page)) = url.split_once("/cache?url=") {
        return page_as_json(&setup.cache, page, &ctx).await;
    }
    if let Some((_, target)) = url.split_once("/cache/") {
        return cached(&setup.cache, target, &ctx).await;
    }
    match url.split_once("/values/") {
        Some((_, key)) if is_equal(&authorization(&request), &setup.authorization) => {
            let value = JsFuture::from(get(&setup.cache, key, "stream")).await?;
            Ok(respond(&value, BYTES))
        }
        _ => Err("no such route, or another token".into()),
    }
}

/// Compares in constant time.
fn is_equal(one: &str, other: &str) -> bool {
    let difference = one.bytes().zip(other.bytes()).fold(0, |difference, (a, b)| difference | (a ^ b));
    one.len() == other.len() && difference == 0
}

async fn page_as_json(cache: &CacheNamespace, encoded: &str, ctx: &Context) -> worker::Result<Response> {
    let url = String::from(js_sys::decode_uri_component(encoded)?);
    let key = ["page:", &url].concat();
    let stored = JsFuture::from(get(cache, &key, "text")).await?.as_string();
    let from_cache = stored.is_some();
    let page = if let Some(page) = stored {
        page
    } else {
        let response: Response = JsFuture::from(fetch(&url)).await?.unchecked_into();
        let page = JsFuture::from(read_page(&response)).await?;
        put_in_background(ctx.as_ref(), cache, &key, &page, "");
        page.as_string().unwrap_or_default()
    };
    let json = format!("{{\"data\":{page},\"fromCache\":{from_cache}}}");
    Ok(respond(&json.into(), JSON))
}

async fn cached(cache: &CacheNamespace, url: &str, ctx: &Context) -> worker::Result<Response> {
    let key = ["response:", url].concat();
    let stored = JsFuture::from(get_stored(cache, &key)).await?;
    if !stored.is_null() {
        let stored: Stored = stored.unchecked_into();
        return Ok(respond(&stored.value(), &stored.fields()));
    }
    let response: Response = JsFuture::from(fetch(url)).await?.unchecked_into();
    let body = JsFuture::from(response.array_buffer()?).await?;
    let fields = fields(&response);
    if response.ok() {
        put_in_background(ctx.as_ref(), cache, &key, &body, &fields);
    }
    Ok(respond(&body, &fields))
}
