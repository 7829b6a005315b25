//! `* /cache/{absolute URL}`: the shared HTTP cache. `GET /cache?url={URL}` is the documented
//! view of it.

mod exchange;
pub(crate) mod page;
mod page_body;
pub(crate) mod purging;
mod response_store;

use std::rc::Rc;

use http_cache::cached_url::CachedUrl;
use http_cache::client_response::{self, BodyPart, ClientResponse, Diagnostics};
use http_cache::error::CacheError;
use http_cache::exchange::{Exchange, ExchangeResult, ResponseSource};
use http_semantics::fields::Fields;
use http_semantics::request_target::RequestTarget;
use kv_store::retry::Time;
use wasm_bindgen::JsValue;
use worker::web_sys::Response;

use self::exchange::{CacheResponse, ExchangeRunner};
use crate::http::error::RequestError;
use crate::http::forwarding;
use crate::http::request_context::RequestContext;
use crate::http::stream::part;
use crate::kv::envelope::EnvelopeBody;
use crate::platform::clock::Clock;
use crate::platform::js_error::message_of;

/// Responds as the upstream would, with a stored response if it may be used.
pub(crate) async fn handle(context: &Rc<RequestContext>, target: &RequestTarget<'_>) -> Result<Response, RequestError> {
    let url = CachedUrl::of_target(target, &context.vars().cache_upstreams)?;
    let runner = ExchangeRunner::new(context);
    let exchange = Exchange::new(context.method(), url, &runner.fields());
    let CacheResponse { result, passed_on, .. } = runner.run(exchange).await.map_err(|failure| failure.response)?;
    let ExchangeResult { source, cache_status, kv_ms, upstream_ms } = result;
    let diagnostics = Diagnostics { cache_status, kv_ms, upstream_ms };
    match (&source, passed_on) {
        (ResponseSource::Stored { hit, received, .. }, _) => {
            let (method, fields) = (context.method(), runner.fields());
            let response = client_response::from_stored(
                method,
                &fields,
                &hit.stored,
                received.as_ref(),
                &diagnostics,
                Clock.now_ms(),
            );
            let body = match (&response.part, &hit.body) {
                (BodyPart::Nothing, body) => {
                    response_store::discard(body);
                    JsValue::NULL
                }
                (BodyPart::Whole, EnvelopeBody::Bytes(bytes)) => bytes.into(),
                (BodyPart::Whole, EnvelopeBody::Stream(stream)) => stream.into(),
                (BodyPart::Bytes(range), EnvelopeBody::Bytes(bytes)) => {
                    #[expect(clippy::expect_used, reason = "another number would be another part of the body")]
                    let bytes_of = |bytes| u32::try_from(bytes).expect("a stored body has at most 25 MiB");
                    let (start, length) = (bytes_of(range.start), bytes_of(range.end - range.start));
                    js_sys::Uint8Array::new_with_byte_offset_and_length(bytes, start, length).into()
                }
                #[allow(clippy::cast_precision_loss)] // 25 MiB at most.
                (BodyPart::Bytes(range), EnvelopeBody::Stream(stream)) => {
                    part(stream, range.start as f64, (range.end - range.start) as f64).into()
                }
            };
            render(&response, &body)
        }
        (ResponseSource::Upstream { head, .. }, Some((received, body))) => {
            let mut response =
                client_response::from_upstream(context.method(), head.status, &head.fields, &diagnostics);
            if let Some(date) = head.fields.get("date").filter(|_| !head.has_date) {
                response.edits.set("date", date);
            }
            let body = if response.part == BodyPart::Nothing { JsValue::NULL } else { body };
            forwarding::pass_back(&received, &response.edits, &body)
                .inspect_err(|_| forwarding::discard(&received))
                .map_err(|thrown| CacheError::Upstream(message_of(&thrown)).into())
        }
        (ResponseSource::Upstream { .. }, None) => Err(RequestError::internal(&"no response to pass on".into())),
    }
}

fn render(response: &ClientResponse<'_>, body: &JsValue) -> Result<Response, RequestError> {
    // The runtime refuses what is not an HTTP response, such as a status of 999.
    forwarding::respond(response.status, &response.fields, &response.edits, body)
        .map_err(|thrown| CacheError::Upstream(message_of(&thrown)).into())
}
