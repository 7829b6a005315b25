//! `POST /ofrep/v1/evaluate/flags/{key}` and `POST /ofrep/v1/evaluate/flags`: flags through the OpenFeature Remote Evaluation Protocol.

use std::borrow::Cow;
use std::rc::Rc;

use kv_edge_core::config::record::UserRecord;
use kv_edge_core::config::source::Source;
use kv_edge_core::flags::{Definitions, Flag, Subject};
use kv_edge_core::memory::{Held, Standing};
use kv_edge_core::ofrep::{self, Bulk, Context, ErrorCode, OfrepError};
use kv_edge_core::request_target::percent_decode;
use wasm_bindgen::JsValue;
use worker::web_sys::Response;

use crate::error::Failure;
use crate::incoming::{Incoming, NoBody};
use crate::kv::NotRead;
use crate::users::User;
use crate::{flags, response, users};

const ROUTE: &str = "/ofrep/v1/evaluate/flags";

/// The longest body, in bytes.
const CONTEXT_BYTES_MAX: u32 = 64 * 1024;

/// For so long a browser need not ask again whether it may ask, in seconds.
const PREFLIGHT_SECONDS: &str = "7200";

/// Answers with one flag, or with all.
pub(crate) async fn answer(incoming: &Incoming, flag: Option<&str>) -> Result<Response, Failure> {
    let admitted = admitted(incoming);
    if incoming.method() == "OPTIONS" {
        return preflight(&admitted);
    }
    let answered = match flag {
        Some(flag) => single(incoming, flag, &admitted).await,
        None => bulk(incoming, &admitted).await,
    };
    // A page that may read answers may read errors as well.
    answered
        .map_err(|failure| admitted.into_iter().fold(failure, |failure, (name, value)| failure.with_field(name, value)))
}

type Field = (&'static str, Cow<'static, str>);

/// What the answer tells the browser of a page of another site (Fetch Standard, "CORS protocol"); nothing where no other site may ask.
fn admitted(incoming: &Incoming) -> Vec<Field> {
    let settings = incoming.vars();
    let origins = &settings.ofrep_origins;
    if origins.is_empty() {
        return Vec::new();
    }
    let origin = incoming.header("origin").unwrap_or_default();
    let admitted = origins.admits(&origin).map(Cow::into_owned);
    let vary = (admitted.as_deref() != Some("*")).then_some(("vary", Cow::Borrowed("Origin")));
    let fields = admitted.into_iter().flat_map(|origin| {
        [
            ("access-control-allow-origin", Cow::Owned(origin)),
            ("access-control-expose-headers", Cow::Borrowed("ETag, Config-Source, Retry-After")),
        ]
    });
    fields.chain(vary).collect()
}

fn preflight(admitted: &[Field]) -> Result<Response, Failure> {
    let mut fields: Vec<_> = lent(admitted).collect();
    if admitted.iter().any(|(name, _)| *name == "access-control-allow-origin") {
        fields.extend([
            ("access-control-allow-methods", "POST"),
            // `Authorization` and `X-API-Key` are what the protocol's clients may send. Nothing here asks for them.
            ("access-control-allow-headers", "Content-Type, If-None-Match, Authorization, X-API-Key"),
            ("access-control-max-age", PREFLIGHT_SECONDS),
        ]);
    }
    fields.push(("allow", "POST, OPTIONS"));
    response::with_status(204, &JsValue::NULL, &fields).map_err(|thrown| Failure::internal(&thrown))
}

fn lent(fields: &[Field]) -> impl Iterator<Item = (&str, &str)> + Clone {
    fields.iter().map(|(name, value)| (*name, value.as_ref()))
}

async fn single(incoming: &Incoming, encoded: &str, admitted: &[Field]) -> Result<Response, Failure> {
    let flag = percent_decode(encoded)?;
    let of_flag = |error: OfrepError| Failure::of_ofrep(Some(&flag), &error);
    let context = context(incoming).await?.map_err(of_flag)?;
    let definitions = definitions(incoming, Some(&flag)).await?;
    let needs_user = definitions.value.get(&flag).is_some_and(Flag::needs_attributes);
    let user = if needs_user { user(incoming, &context).await.map_err(of_flag)? } else { None };
    let source = source(&definitions, user.as_ref()).map(|source| ("config-source", source));
    let json = ofrep::single(&flag, &definitions.value, &subject(&context, user.as_ref())).map_err(|error| {
        // That there is no such flag, too, may be due to a broken edit.
        source.into_iter().fold(of_flag(error), |failure, (name, source)| failure.with_field(name, source))
    })?;
    let fields = [("content-type", "application/json"), ("cache-control", "no-store")];
    response::ok(&JsValue::from_str(&json), &fields.into_iter().chain(source).chain(lent(admitted)).collect::<Vec<_>>())
}

async fn bulk(incoming: &Incoming, admitted: &[Field]) -> Result<Response, Failure> {
    let of_all = |error: OfrepError| Failure::of_ofrep(None, &error);
    let context = context(incoming).await?.map_err(of_all)?;
    let definitions = definitions(incoming, None).await?;
    let needs_user = definitions.value.needs_attributes();
    let user = if needs_user { user(incoming, &context).await.map_err(of_all)? } else { None };
    let Bulk { json, etag } = ofrep::bulk(&definitions.value, &subject(&context, user.as_ref()));
    let is_known = ofrep::is_not_modified(incoming.header("if-none-match").as_deref(), &etag);
    let source = source(&definitions, user.as_ref()).map(|source| ("config-source", source));
    // A compression on the way would weaken the tag: RFC 9110 §8.8.1.
    let fields = [("etag", etag.as_str()), ("cache-control", "private, no-cache, no-transform")];
    let fields: Vec<_> = fields.into_iter().chain(source).chain(lent(admitted)).collect();
    if is_known {
        return response::with_status(304, &JsValue::NULL, &fields).map_err(|thrown| Failure::internal(&thrown));
    }
    let content_type = [("content-type", "application/json")];
    let fields: Vec<_> = content_type.into_iter().chain(fields).collect();
    response::with_status(200, &JsValue::from_str(&json), &fields).map_err(|thrown| Failure::internal(&thrown))
}

/// What the client says of the user.
async fn context(incoming: &Incoming) -> Result<Result<Context, OfrepError>, Failure> {
    let body = incoming.body_text(CONTEXT_BYTES_MAX).await.map_err(|error| match error {
        NoBody::TooLong => Failure::context_too_long(CONTEXT_BYTES_MAX),
        NoBody::Broken => Failure::body_broken(),
    })?;
    Ok(ofrep::parse_request(body.as_bytes()))
}

async fn definitions(incoming: &Incoming, flag: Option<&str>) -> Result<Held<Rc<Definitions>>, Failure> {
    flags::definitions(incoming, ROUTE).await.map_err(|error| match error {
        NotRead::Store(error) => {
            let told = OfrepError::new(ErrorCode::General, "the flags cannot be read at the moment; please try again");
            Failure::no_flags(flag, &told, &error)
        }
        NotRead::Broken(fault) => {
            let told = OfrepError::new(ErrorCode::ParseError, "the definitions of the flags are broken");
            Failure::no_flags(flag, &told, &fault)
        }
    })
}

/// What is known of the user.
async fn user(incoming: &Incoming, context: &Context) -> Result<Option<User>, OfrepError> {
    let Some(id) = &context.targeting_key else { return Ok(None) };
    match users::find(incoming, id, ROUTE).await {
        Ok(user) => Ok(Some(user)),
        Err(error) => {
            let details = format!("the targetingKey cannot be a user's id: {error}");
            Err(OfrepError::new(ErrorCode::InvalidContext, details))
        }
    }
}

fn subject<'a>(context: &'a Context, user: Option<&'a User>) -> Subject<'a> {
    Subject {
        targeting_key: context.targeting_key.as_deref(),
        context: &context.attributes,
        record: user.and_then(User::record).map(UserRecord::members),
    }
}

/// The value of `Config-Source`: the worse of what the definitions and the user's record say.
fn source(definitions: &Held<Rc<Definitions>>, user: Option<&User>) -> Option<&'static str> {
    match definitions.standing {
        Standing::Current => user.and_then(|user| user.source.field()),
        standing => Source::of_record(standing).field(),
    }
}
