//! The Worker: a thin shell around the crates in `crates/`. It knows workerd and decides nothing.
//!
//! A request takes one way: `routes::Route::of` names the job, the job reads the few header fields its decision needs and
//! as little of KV as it can, core decides, the job renders. An error becomes a response in one place, `error.rs`.

mod http;
mod isolate;
mod jobs;
mod kv;
mod platform;
mod routes;

pub use crate::jobs::key_writer::KeyWriter;

use std::rc::Rc;

use http_semantics::request_target::RequestTarget;
use static_assets::answer::CONDITIONS;
use tenant_router::answer::LOOKED_FOR;
use wasm_bindgen::{JsCast, intern};
use worker::{Context, Env, event, web_sys};

use crate::http::error::Failure;
use crate::http::incoming::Incoming;
use crate::jobs::{assets, cache, config, get_started, healthz, hello_world, ofrep, storefronts, writes};
use crate::routes::Route;

/// Strings that requests pass to JavaScript again and again; decoding one costs more than the lookup that saves it.
const REPEATED: [&str; 9] = [
    "accept-language",
    "cf-connecting-ip",
    LOOKED_FOR,
    CONDITIONS,
    "user_2",
    "disabled",
    "hello-world.json",
    "record",
    "value/0",
];

/// Runs once an isolate.
#[event(start)]
fn start() {
    platform::wake_up::by_promise();
    for text in REPEATED {
        intern(text);
    }
}

#[event(fetch)]
async fn fetch(request: web_sys::Request, env: Env, context: Context) -> worker::Result<web_sys::Response> {
    let head = http::incoming::head(&request);
    let (method, url) = head.split_once(' ').unwrap_or((&head, ""));
    let target = RequestTarget::parse(url);
    let incoming = Rc::new(Incoming::new(request, method.to_owned(), env.unchecked_into(), context));
    let route = Route::of(&incoming.vars().storefronts.hosts, &target);
    incoming.log().set_route(route.name());
    match answer(&incoming, &route, &target).await {
        Ok(response) => Ok(response),
        Err(failure) => failure
            .render(&route, incoming.method(), incoming.header("accept").as_deref(), incoming.log())
            .map_err(Into::into),
    }
}

async fn answer(
    incoming: &Rc<Incoming>,
    route: &Route<'_>,
    target: &RequestTarget<'_>,
) -> Result<web_sys::Response, Failure> {
    route.check(incoming.method())?;
    match route {
        Route::Healthz => healthz::answer(incoming).await,
        Route::GetStarted => get_started::answer(incoming).await,
        Route::Cache => cache::answer(incoming, target).await,
        Route::CachedPage => cache::page(incoming, target).await,
        Route::Purge => cache::purging::answer(incoming).await,
        Route::Config => config::answer(incoming, target).await,
        Route::Evaluate { flag } => ofrep::answer(incoming, *flag).await,
        Route::Storefront { named } => storefronts::answer(incoming, named, target).await,
        Route::HelloWorld => hello_world::answer(incoming, target).await,
        Route::Writes { key } => writes::answer(incoming, key, target).await,
        Route::Asset => assets::answer(incoming, target).await,
    }
}
