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

// A build with neither of these features, such as `metrics` alone, has unused parts.
#![cfg_attr(not(any(feature = "memory", feature = "writes")), allow(dead_code, unused_imports, unused_variables))]

mod http;
mod isolate;
mod jobs;
mod kv;
#[cfg(feature = "metrics")]
mod metering;
mod platform;
mod routes;

#[cfg(feature = "writes")]
pub use crate::jobs::key_writer::KeyWriter;
#[cfg(feature = "kv-api")]
pub use crate::jobs::kv_api::namespace_list::NamespaceList;
#[cfg(feature = "metrics")]
pub use crate::jobs::metrics::store_object::MetricsStore;

use std::future::ready;
use std::pin::pin;
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;
use http_semantics::request_target::RequestTarget;
use wasm_bindgen::{JsCast, intern};
use worker::{Context, Env, event, web_sys};

use crate::http::error::RequestError;
use crate::http::request_context::RequestContext;
use crate::platform::vars::Vars;
use crate::routes::Route;

/// Strings that requests pass to JavaScript again and again. Decoding one costs more than looking
/// up an interned one.
const REPEATED: &[&str] = &[
    "GET",
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

/// Runs once for each instance of WebAssembly: for each isolate, and again after a trap.
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
        &vars.hosts,
        &target,
    );
    let context = Rc::new(RequestContext::new(request, method.to_owned(), env, vars.clone(), ctx, route.name()));
    let responding = pin!(respond(&context, &route, &target));
    #[cfg(feature = "metrics")]
    let responding = metering::counted(&context, responding);
    responding.await
}

async fn respond(
    context: &Rc<RequestContext>,
    route: &Route<'_>,
    target: &RequestTarget<'_>,
) -> worker::Result<web_sys::Response> {
    match handle(context, route, target).await {
        Ok(response) => Ok(response),
        Err(failure) => {
            Ok(failure.render(route, context.method(), context.header("accept").as_deref(), context.log())?)
        }
    }
}

/// Returns the response of the route's job. V8 compiles a function when it is first called.
/// Boxed, each job is a function of its own; otherwise the compiler makes one function of all
/// jobs, and the first response of an isolate waits until V8 has compiled it.
fn handle<'a>(
    context: &'a Rc<RequestContext>,
    route: &'a Route<'_>,
    target: &'a RequestTarget<'_>,
) -> LocalBoxFuture<'a, Result<web_sys::Response, RequestError>> {
    if let Err(not_allowed) = route.check(context.method()) {
        return Box::pin(ready(Err(not_allowed.into())));
    }
    match route {
        Route::Healthz => Box::pin(jobs::healthz::handle(context)),
        #[cfg(feature = "metrics")]
        Route::Metrics => Box::pin(jobs::metrics::scrape(context)),
        #[cfg(feature = "writes")]
        Route::GetStarted => Box::pin(jobs::get_started::handle(context)),
        #[cfg(feature = "cache")]
        Route::Cache => Box::pin(jobs::cache::handle(context, target)),
        #[cfg(feature = "cache")]
        Route::CachedPage => Box::pin(jobs::cache::page::handle(context, target)),
        #[cfg(feature = "cache")]
        Route::Purge => Box::pin(jobs::cache::purging::handle(context)),
        #[cfg(feature = "flags")]
        Route::Config => Box::pin(jobs::config::handle(context, target)),
        #[cfg(feature = "flags")]
        Route::Evaluate { flag } => Box::pin(jobs::ofrep::handle(context, *flag)),
        #[cfg(feature = "kv-api")]
        Route::KvApi => Box::pin(jobs::kv_api::handle(context, target)),
        #[cfg(feature = "console")]
        Route::Console { path } => Box::pin(jobs::console::page::handle(context, path)),
        #[cfg(feature = "console")]
        Route::ConsoleApi { call } => Box::pin(jobs::console::api(context, call, target)),
        #[cfg(feature = "storefronts")]
        Route::Storefront { host } => Box::pin(jobs::storefronts::handle(context, host, target)),
        #[cfg(feature = "assets")]
        Route::HelloWorld => Box::pin(jobs::hello_world::handle(context, target)),
        #[cfg(feature = "writes")]
        Route::Writes { key } => Box::pin(jobs::writes::handle(context, key, target)),
        #[cfg(feature = "assets")]
        Route::Asset { path } => Box::pin(jobs::assets::handle(context, path, target)),
        #[cfg(not(feature = "assets"))]
        Route::Asset { .. } => Box::pin(ready(Err(routes::RouteNotFound.into()))),
    }
}
