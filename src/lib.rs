//! The Worker: its events and exports.
//!
//! This package knows workerd; the crates in `crates/` know their subjects and nothing about
//! Workers. A request takes these steps:
//!
//! 1. `routes` names the job that responds to it.
//! 2. The job, in `jobs`, reads the few header fields that its decision needs and as little of
//!    KV as possible. What earlier requests left in memory is in `isolate`.
//! 3. A crate decides what to do.
//! 4. The job does it, and renders the response. An error becomes a response in one place,
//!    `http::error`.

// A build without any job has unused parts.
#![cfg_attr(
    not(any(
        feature = "assets",
        feature = "cache",
        feature = "flags",
        feature = "kv-api",
        feature = "storefronts",
        feature = "writes"
    )),
    allow(dead_code, unused_imports, unused_variables)
)]

mod http;
mod isolate;
mod jobs;
mod kv;
mod platform;
mod routes;

#[cfg(feature = "writes")]
pub use crate::jobs::key_writer::KeyWriter;
#[cfg(feature = "kv-api")]
pub use crate::jobs::kv_api::namespace_object::NamespaceObject;
#[cfg(feature = "metrics")]
pub use crate::jobs::metrics::store_object::MetricsStore;

use std::rc::Rc;

use http_semantics::request_target::RequestTarget;
use wasm_bindgen::{JsCast, intern};
use worker::{Context, Env, event, web_sys};

use crate::http::error::RequestError;
use crate::http::request_context::RequestContext;
use crate::platform::bindings::Vars;
use crate::routes::Route;

/// Strings that requests pass to JavaScript again and again. Decoding one costs more than looking
/// up an interned one.
const REPEATED: &[&str] = &[
    "accept-language",
    "cf-connecting-ip",
    #[cfg(feature = "cache")]
    "cache-status",
    #[cfg(feature = "storefronts")]
    tenant_router::response_edits::RESPONSE_FIELDS,
    #[cfg(feature = "assets")]
    static_assets::response::CONDITIONAL_FIELDS,
    "user_2",
    "disabled",
    "hello-world.json",
    "record",
    "value/0",
];

/// Runs once for each isolate.
#[event(start)]
fn start() {
    platform::executor::wake_by_promise();
    for text in REPEATED {
        intern(text);
    }
}

#[event(fetch)]
async fn fetch(request: web_sys::Request, env: Env, ctx: Context) -> worker::Result<web_sys::Response> {
    let head = http::request_context::head(&request);
    #[expect(clippy::expect_used, reason = "a request without its URL would get the index page")]
    let (method, url) = head.split_once(' ').expect("`head` of JavaScript writes a space");
    let target = RequestTarget::parse(url);
    let env = env.unchecked_into();
    let vars = Vars::of(&env);
    let route = Route::of(
        #[cfg(feature = "storefronts")]
        &vars.storefronts.hosts,
        &target,
    );
    let context = Rc::new(RequestContext::new(request, method.to_owned(), env, vars.clone(), ctx, route.name()));
    #[cfg(feature = "metrics")]
    let timer = jobs::metrics::RequestTimer::start(&context);
    let response = match handle(&context, &route, &target).await {
        Ok(response) => response,
        Err(failure) => failure.render(&route, context.method(), context.header("accept").as_deref(), context.log())?,
    };
    #[cfg(feature = "metrics")]
    timer.stop(&context, &response);
    Ok(response)
}

async fn handle(
    context: &Rc<RequestContext>,
    route: &Route<'_>,
    target: &RequestTarget<'_>,
) -> Result<web_sys::Response, RequestError> {
    route.check(context.method())?;
    match route {
        Route::Healthz => jobs::healthz::handle(context).await,
        #[cfg(feature = "metrics")]
        Route::Metrics => jobs::metrics::scrape(context).await,
        #[cfg(feature = "writes")]
        Route::GetStarted => jobs::get_started::handle(context).await,
        #[cfg(feature = "cache")]
        Route::Cache => jobs::cache::handle(context, target).await,
        #[cfg(feature = "cache")]
        Route::CachedPage => jobs::cache::page(context, target).await,
        #[cfg(feature = "cache")]
        Route::Purge => jobs::cache::purging::handle(context).await,
        #[cfg(feature = "flags")]
        Route::Config => jobs::config::handle(context, target).await,
        #[cfg(feature = "flags")]
        Route::Evaluate { flag } => jobs::ofrep::handle(context, *flag).await,
        #[cfg(feature = "kv-api")]
        Route::KvApi => jobs::kv_api::handle(context, target).await,
        #[cfg(feature = "console")]
        Route::Console { path } => jobs::console::page::handle(context, path).await,
        #[cfg(feature = "console")]
        Route::ConsoleApi { call } => jobs::console::api(context, call, target).await,
        #[cfg(feature = "storefronts")]
        Route::Storefront { host } => jobs::storefronts::handle(context, host, target).await,
        #[cfg(feature = "assets")]
        Route::HelloWorld => jobs::hello_world::handle(context, target).await,
        #[cfg(feature = "writes")]
        Route::Writes { key } => jobs::writes::handle(context, key, target).await,
        #[cfg(feature = "assets")]
        Route::Asset { path } => jobs::assets::handle(context, path, target).await,
        #[cfg(not(feature = "assets"))]
        Route::Asset { .. } => Err(routes::RouteNotFound.into()),
    }
}
