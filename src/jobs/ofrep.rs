//! `POST /ofrep/v1/evaluate/flags/{key}` and `POST /ofrep/v1/evaluate/flags`: feature flags
//! through the OpenFeature Remote Evaluation Protocol. Only the second, which evaluates all flags,
//! has an entity tag, and responds 304 to a client that has it.

use std::borrow::Cow;

use feature_flags::config::config_source::ConfigSource;
use feature_flags::flags::{Flag, Subject};
use feature_flags::ofrep::{self, BulkEvaluation, ErrorCode, EvaluationContext, OfrepError};
use http_semantics::request_body::RequestBodyError;
use http_semantics::request_target::percent_decode;
use kv_store::record_cache::{ReadFailure, RecordState};
use serde_json::{Map, Value};
use wasm_bindgen::JsValue;
use worker::web_sys::Response;

use crate::http::error::RequestError;
use crate::http::request_context::RequestContext;
use crate::http::response;
use crate::kv::flags::{self, LoadedFlags};
use crate::kv::users::{self, UserConfig};

/// The longest body of a request, in bytes.
const CONTEXT_BYTES_MAX: u32 = 64 * 1024;

/// The lifetime of a preflight response in a browser, in seconds.
const PREFLIGHT_SECONDS: &str = "7200";

/// Evaluates one flag, or all.
pub(crate) async fn handle(context: &RequestContext, flag: Option<&str>) -> Result<Response, RequestError> {
    let cors = cors(context);
    if context.method() == "OPTIONS" {
        return preflight(&cors);
    }
    let evaluated = match flag {
        Some(flag) => single(context, flag, &cors).await,
        None => bulk(context, &cors).await,
    };
    // A page that may read responses may read errors, too.
    evaluated
        .map_err(|failure| cors.into_iter().fold(failure, |failure, (name, value)| failure.with_field(name, value)))
}

type CorsField = (&'static str, Cow<'static, str>);

/// Returns the CORS fields of the response (Fetch Standard, "CORS protocol"); none if
/// `OFREP_ORIGINS` is empty.
fn cors(context: &RequestContext) -> Vec<CorsField> {
    let settings = context.vars();
    let origins = &settings.ofrep_origins;
    if origins.is_empty() {
        return Vec::new();
    }
    let origin = context.header("origin").unwrap_or_default();
    let cors = origins.admits(&origin).map(Cow::into_owned);
    let vary = (cors.as_deref() != Some("*")).then_some(("vary", Cow::Borrowed("Origin")));
    let fields = cors.into_iter().flat_map(|origin| {
        [
            ("access-control-allow-origin", Cow::Owned(origin)),
            ("access-control-expose-headers", Cow::Borrowed("ETag, Config-Source, Retry-After")),
        ]
    });
    fields.chain(vary).collect()
}

fn preflight(cors: &[CorsField]) -> Result<Response, RequestError> {
    let mut fields: Vec<_> = borrowed(cors).collect();
    if cors.iter().any(|(name, _)| *name == "access-control-allow-origin") {
        fields.extend([
            ("access-control-allow-methods", "POST"),
            // The protocol's clients may send `Authorization` and `X-API-Key`. kv-edge needs
            // neither.
            ("access-control-allow-headers", "Content-Type, If-None-Match, Authorization, X-API-Key"),
            ("access-control-max-age", PREFLIGHT_SECONDS),
        ]);
    }
    fields.extend([("allow", "POST, OPTIONS"), ("cache-control", "no-store")]);
    Ok(response::with_status(204, &JsValue::NULL, &fields)?)
}

fn borrowed(fields: &[CorsField]) -> impl Iterator<Item = (&str, &str)> + Clone {
    fields.iter().map(|(name, value)| (*name, value.as_ref()))
}

async fn single(context: &RequestContext, encoded: &str, cors: &[CorsField]) -> Result<Response, RequestError> {
    let flag = percent_decode(encoded).map_err(|error| {
        let error = OfrepError::of_request(ErrorCode::ParseError, error.to_string());
        ofrep_error(Some(encoded), &error)
    })?;
    let of_flag = |error: OfrepError| ofrep_error(Some(&flag), &error);
    let evaluation_context = evaluation_context(context).await.map_err(of_flag)?;
    let flags = definitions(context, Some(&flag)).await?;
    let needs_user = flags.definitions().get(&flag).is_some_and(Flag::needs_attributes);
    let user = if needs_user { user(context, &evaluation_context).await.map_err(of_flag)? } else { None };
    let source = source(&flags, user.as_ref()).map(|source| ("config-source", source));
    let members = users::members(user.as_ref());
    let json = ofrep::single(&flag, flags.definitions(), &subject(&evaluation_context, user.as_ref(), &members))
        .map_err(|error| {
            // A missing flag may be due to a broken edit, too.
            source.into_iter().fold(of_flag(error), |failure, (name, source)| failure.with_field(name, source))
        })?;
    let fields = [("content-type", "application/json"), ("cache-control", "no-store")];
    Ok(response::ok(
        &JsValue::from_str(&json),
        &fields.into_iter().chain(source).chain(borrowed(cors)).collect::<Vec<_>>(),
    )?)
}

async fn bulk(context: &RequestContext, cors: &[CorsField]) -> Result<Response, RequestError> {
    let of_all = |error: OfrepError| ofrep_error(None, &error);
    let evaluation_context = evaluation_context(context).await.map_err(of_all)?;
    let flags = definitions(context, None).await?;
    let needs_user = flags.definitions().needs_attributes();
    let user = if needs_user { user(context, &evaluation_context).await.map_err(of_all)? } else { None };
    let members = users::members(user.as_ref());
    let BulkEvaluation { json, etag } =
        ofrep::bulk(flags.definitions(), &subject(&evaluation_context, user.as_ref(), &members));
    let is_known = ofrep::is_not_modified(context.header("if-none-match").as_deref(), &etag);
    let source = source(&flags, user.as_ref()).map(|source| ("config-source", source));
    // A proxy that compresses the response would have to weaken the entity tag (RFC 9110
    // §8.8.1).
    let fields = [("etag", etag.as_str()), ("cache-control", "private, no-cache, no-transform")];
    let fields: Vec<_> = fields.into_iter().chain(source).chain(borrowed(cors)).collect();
    if is_known {
        return Ok(response::with_status(304, &JsValue::NULL, &fields)?);
    }
    let content_type = [("content-type", "application/json")];
    let fields: Vec<_> = content_type.into_iter().chain(fields).collect();
    Ok(response::with_status(200, &JsValue::from_str(&json), &fields)?)
}

/// Returns an error in the protocol's JSON: that of one flag, or of the bulk request.
fn ofrep_error(flag: Option<&str>, error: &OfrepError) -> RequestError {
    RequestError::of(error).with_json(ofrep::error_json(flag, error))
}

/// Parses the evaluation context in the request's body.
async fn evaluation_context(context: &RequestContext) -> Result<EvaluationContext, OfrepError> {
    let body = context.short_body(CONTEXT_BYTES_MAX).await.map_err(|error| match error {
        RequestBodyError::TooLong => OfrepError::too_long(CONTEXT_BYTES_MAX),
        RequestBodyError::TimedOut => OfrepError::too_late(),
        RequestBodyError::Incomplete => {
            OfrepError::of_request(ErrorCode::ParseError, "the body could not be read to its end")
        }
    })?;
    ofrep::parse_request(&body, &context.vars().config_prefix)
}

async fn definitions(context: &RequestContext, flag: Option<&str>) -> Result<LoadedFlags, RequestError> {
    flags::flags(context).await.map_err(|error| match error {
        ReadFailure::Store(error) => ofrep_error(flag, &OfrepError::no_definitions()).because(&error),
        ReadFailure::Broken(fault) => ofrep_error(flag, &OfrepError::broken_definitions()).because(&fault),
    })
}

/// Finds the user, or returns `None` if the context has no targeting key.
async fn user(
    context: &RequestContext,
    evaluation_context: &EvaluationContext,
) -> Result<Option<UserConfig>, OfrepError> {
    let Some(id) = &evaluation_context.targeting_key else { return Ok(None) };
    users::find(context, id).await.map(Some).map_err(Into::into)
}

fn subject<'a>(
    evaluation_context: &'a EvaluationContext,
    user: Option<&UserConfig>,
    members: &'a Map<String, Value>,
) -> Subject<'a> {
    Subject {
        targeting_key: evaluation_context.targeting_key.as_deref(),
        context: &evaluation_context.attributes,
        record: users::attributes(user, members),
    }
}

/// Returns the value of `Config-Source`: that of the definitions if they are not current,
/// otherwise that of the user's record.
fn source(flags: &LoadedFlags, user: Option<&UserConfig>) -> Option<&'static str> {
    match flags.record_state() {
        RecordState::Current => user.and_then(|user| user.source.field()),
        state => ConfigSource::of_record(state).field(),
    }
}
