//! `POST /console/api/flags/…`: definitions of flags, checked and tried out before they are saved.
//! Without a text, the stored ones are tried out.

use std::collections::BTreeMap;

use feature_flags::config::user_id::key;
use feature_flags::flags::{DEFINITIONS_BYTES_MAX, Definitions, DefinitionsCheck, Flag, KEY, Subject, UserAttributes};
use feature_flags::ofrep::{ErrorCode, EvaluationContext, parse_context};
use kv_store::limits::Key;
use kv_store::record::to_json;
use kv_store::record_cache::ReadFailure;
use kv_store::schema::Fault;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use worker::web_sys::Response;

use super::findings::{Findings, PlacedFinding};
use super::{ConsoleError, ConsoleRequest, json};
use crate::http::error::RequestError;
use crate::kv::flags::{LoadedFlags, flags};
use crate::kv::users;

/// The longest body, in bytes: definitions of 2 MiB, as a JSON string in which each quote takes
/// two bytes, beside a context and a record.
const BODY_BYTES_MAX: u32 = 5 * 1024 * 1024;

/// The longest evaluation context as JSON, in bytes: as long as that of a request to `/ofrep`.
const CONTEXT_BYTES_MAX: usize = 64 * 1024;

/// The most users of a sample.
const SAMPLE_MAX: usize = 1000;

/// The binding of the definitions and of users' records.
const BINDING: &str = "USER_CONFIGURATION";

pub(super) async fn handle(request: &ConsoleRequest<'_>) -> Result<Response, RequestError> {
    request.require_method("POST")?;
    request.check_read(BINDING, &[])?;
    match request.call {
        "check" => check(request).await,
        "evaluate" => evaluate(request).await,
        "sample" => sample(request).await,
        _ => Err(ConsoleError::UnknownCall.into()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DefinitionsCheckBody {
    definitions: String,
}

/// The result of a check.
#[derive(Serialize)]
struct CheckReply {
    /// The names of the flags, valid or not.
    flags: Vec<String>,
    #[serde(flatten)]
    findings: Findings,
}

async fn check(request: &ConsoleRequest<'_>) -> Result<Response, RequestError> {
    let DefinitionsCheckBody { definitions } = request.body(BODY_BYTES_MAX).await?;
    let mut flags = Vec::new();
    let findings = Findings::of_json(&definitions, DEFINITIONS_BYTES_MAX, |tree| {
        let DefinitionsCheck { names, faults, warnings, .. } = DefinitionsCheck::of(&definitions, tree);
        flags = names;
        let found = |faults: Vec<_>| faults.into_iter().map(PlacedFinding::from).collect();
        Findings { faults: found(faults), warnings: found(warnings) }
    });
    json(&CheckReply { flags, findings })
}

/// The definitions that a call tries out.
enum DefinitionsSource {
    Given(Definitions),
    Stored(LoadedFlags),
}

impl DefinitionsSource {
    /// Returns the definitions of this text, or the stored ones without a text.
    async fn of(request: &ConsoleRequest<'_>, text: Option<&str>) -> Result<Self, RequestError> {
        let invalid = |fault: Fault| ConsoleError::InvalidDefinitions(fault.to_string());
        if let Some(text) = text {
            return Ok(Self::Given(Definitions::parse_until_fault(text).map_err(invalid)?));
        }
        request.check_read(BINDING, &[KEY.as_str()])?;
        let stored = flags(request.context).await.map_err(|failure| match failure {
            ReadFailure::Store(error) => RequestError::from(error),
            ReadFailure::Broken(fault) => invalid(fault).into(),
        });
        Ok(Self::Stored(stored?))
    }

    fn get(&self) -> &Definitions {
        match self {
            Self::Given(definitions) => definitions,
            Self::Stored(loaded) => loaded.definitions(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EvaluateBody {
    definitions: Option<String>,
    #[serde(default)]
    context: Map<String, Value>,
    #[serde(default)]
    record: UserRecordSource,
}

/// The record of the user that flags are tried out for.
#[derive(Default, Deserialize)]
#[serde(from = "Option<Map<String, Value>>")]
enum UserRecordSource {
    /// The user has the record that is stored, if any: the member is not given.
    #[default]
    Stored,
    /// The user has no record: `null`.
    Absent,
    Given(Map<String, Value>),
}

impl From<Option<Map<String, Value>>> for UserRecordSource {
    fn from(member: Option<Map<String, Value>>) -> Self {
        member.map_or(Self::Absent, Self::Given)
    }
}

#[derive(Serialize)]
struct EvaluateReply<'d> {
    flags: BTreeMap<&'d str, FlagResult<'d>>,
}

/// What a flag gives the user, or why it gives nothing.
#[derive(Default, Serialize)]
struct FlagResult<'d> {
    value: Option<&'d RawValue>,
    variant: Option<&'d str>,
    reason: Option<&'static str>,
    /// The index of the rule that gives the variant.
    rule: Option<usize>,
    error: Option<&'static str>,
}

async fn evaluate(request: &ConsoleRequest<'_>) -> Result<Response, RequestError> {
    let EvaluateBody { definitions, context, record } = request.body(BODY_BYTES_MAX).await?;
    let context = evaluation_context(request, context)?;
    let definitions = DefinitionsSource::of(request, definitions.as_deref()).await?;
    let definitions = definitions.get();
    let user = match (&record, &context.targeting_key) {
        (UserRecordSource::Stored, Some(id)) if definitions.needs_attributes() => Some(stored_user(request, id).await?),
        _ => None,
    };
    let members = users::members(user.as_ref());
    let record = match &record {
        UserRecordSource::Given(given) => UserAttributes::Record(given),
        UserRecordSource::Absent => UserAttributes::NoRecord,
        UserRecordSource::Stored => users::attributes(user.as_ref(), &members),
    };
    let subject = Subject { targeting_key: context.targeting_key.as_deref(), context: &context.attributes, record };
    let flags = definitions.iter().map(|(name, flag)| Ok((name, result(name, flag, &subject)?)));
    json(&EvaluateReply { flags: flags.collect::<Result<_, RequestError>>()? })
}

fn result<'d>(name: &str, flag: &'d Flag, subject: &Subject<'_>) -> Result<FlagResult<'d>, RequestError> {
    let Ok(details) = flag.evaluate(name, subject) else {
        return Ok(FlagResult { error: Some(ErrorCode::TargetingKeyMissing.as_str()), ..FlagResult::default() });
    };
    let value = serde_json::from_str(details.value_json);
    Ok(FlagResult {
        value: Some(value.map_err(|error| RequestError::internal(&error.to_string().into()))?),
        variant: Some(details.variant),
        reason: Some(details.reason.as_str()),
        rule: details.rule,
        error: None,
    })
}

fn evaluation_context(
    request: &ConsoleRequest<'_>,
    context: Map<String, Value>,
) -> Result<EvaluationContext, ConsoleError> {
    let context = Value::Object(context);
    if to_json(&context).len() > CONTEXT_BYTES_MAX {
        let why = format!("the context is longer than {CONTEXT_BYTES_MAX} bytes");
        return Err(ConsoleError::InvalidBody(why));
    }
    let prefix = &request.context.vars().config_prefix;
    parse_context(context, prefix).map_err(|error| ConsoleError::InvalidBody(error.to_string()))
}

/// Returns the stored configuration of a user, if the caller may read it. Rules can tell a
/// record's members one by one, so a caller who tries out rules of their own gets to know all of
/// it.
async fn stored_user(request: &ConsoleRequest<'_>, id: &str) -> Result<users::UserConfig, RequestError> {
    let vars = request.context.vars();
    let user_key = key(&vars.config_prefix, id)?;
    let keys: Vec<&str> =
        [Some(&user_key), vars.config_snapshot.as_ref()].into_iter().flatten().map(Key::as_str).collect();
    request.check_read(BINDING, &keys)?;
    Ok(users::find(request.context, id).await?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserSampleBody {
    definitions: Option<String>,
    flag: String,
    #[serde(default)]
    context: Map<String, Value>,
    users: usize,
}

#[derive(Serialize)]
struct SampleReply<'d> {
    /// All variants of the flag, also those that nobody gets.
    variants: Vec<VariantShare<'d>>,
    /// The variant of each user, in the order of the users.
    users: Vec<&'d str>,
}

/// How many users of the sample get a variant.
#[derive(Serialize)]
struct VariantShare<'d> {
    variant: &'d str,
    users: usize,
}

async fn sample(request: &ConsoleRequest<'_>) -> Result<Response, RequestError> {
    let UserSampleBody { definitions, flag: name, context, users } = request.body(BODY_BYTES_MAX).await?;
    if !(1..=SAMPLE_MAX).contains(&users) {
        let why = format!("users must be a whole number from 1 to {SAMPLE_MAX}");
        return Err(ConsoleError::InvalidBody(why).into());
    }
    let context = evaluation_context(request, context)?;
    let definitions = DefinitionsSource::of(request, definitions.as_deref()).await?;
    let flag = definitions.get().get(&name).ok_or(ConsoleError::FlagNotFound)?;
    let users = flag.sample(&name, &context.attributes, users);
    let share = |variant| VariantShare { variant, users: users.iter().filter(|given| **given == variant).count() };
    json(&SampleReply { variants: flag.variants().map(share).collect(), users })
}
