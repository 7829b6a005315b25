//! The JSON of a response, concatenated from parts that are JSON already.

use serde_json::Value;

use super::{ErrorCode, OfrepError};
use crate::flags::{Definitions, Flag, ResolutionDetails, Subject, TargetingKeyMissing};
use http_semantics::conditional::{self, PreconditionResult, Validators};
use http_semantics::content_hash::hash;
use http_semantics::fields::HeaderSection;

/// The response to a bulk request: the schema `bulkEvaluationSuccess`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkEvaluation {
    /// The body.
    pub json: String,
    /// The strong entity tag of the body, in quotes (RFC 9110 §8.8.3). Equal bodies have equal
    /// tags.
    pub etag: String,
}

/// Evaluates one flag and returns the JSON of the schema `evaluationSuccess`.
///
/// # Errors
/// [`ErrorCode::FlagNotFound`] if there is no such flag, and [`ErrorCode::TargetingKeyMissing`]
/// if a percentage must be decided and the context has no targeting key.
///
/// # Examples
///
/// ```
/// use feature_flags::flags::{Definitions, Subject, UserAttributes};
/// use feature_flags::ofrep::{OfrepError, parse_request, single};
///
/// let json = r#"{"flags": {"new-checkout": {"default": "on"}}}"#;
/// let definitions = Definitions::parse(json).unwrap();
/// let context = parse_request(br#"{"context": {"targetingKey": "ann"}}"#, "")?;
/// let subject = Subject {
///     targeting_key: context.targeting_key.as_deref(),
///     context: &context.attributes,
///     record: UserAttributes::NoRecord,
/// };
/// let json = single("new-checkout", &definitions, &subject)?;
/// assert!(json.starts_with(r#"{"key":"new-checkout","value":true,"variant":"on""#));
/// assert_eq!(single("checkout", &definitions, &subject), Err(OfrepError::flag_not_found()));
/// # Ok::<(), OfrepError>(())
/// ```
pub fn single(flag: &str, definitions: &Definitions, subject: &Subject<'_>) -> Result<String, OfrepError> {
    let Some(found) = definitions.get(flag) else {
        return Err(OfrepError::flag_not_found());
    };
    let details = found.evaluate(flag, subject)?;
    let mut json = String::with_capacity(length(flag, &details));
    push_success(&mut json, flag, &details);
    Ok(json)
}

/// Evaluates all flags. One that cannot be evaluated is listed with its error, as the schema
/// `evaluationFailure`.
///
/// # Examples
///
/// ```
/// use feature_flags::flags::{Definitions, Subject, UserAttributes};
/// use feature_flags::ofrep::{bulk, is_not_modified};
/// use serde_json::{Map, Value};
///
/// let json = r#"{"flags": {"new-checkout": {"default": "on"}}}"#;
/// let definitions = Definitions::parse(json).unwrap();
/// let (context, record) = (Map::new(), UserAttributes::NoRecord);
/// let subject = Subject { targeting_key: None, context: &context, record };
/// let evaluation = bulk(&definitions, &subject);
/// let json: Value = serde_json::from_str(&evaluation.json)?;
/// assert_eq!(json["flags"][0]["value"], true);
/// // A client that polls sends the tag, and gets a 304 until a flag has another value.
/// assert!(is_not_modified(Some(&evaluation.etag), &evaluation.etag));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[must_use]
pub fn bulk(definitions: &Definitions, subject: &Subject<'_>) -> BulkEvaluation {
    let mut json = String::with_capacity(definitions.len() * 128);
    json.push_str("{\"flags\":[");
    for (index, (name, flag)) in definitions.iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        push(&mut json, name, flag, subject);
    }
    json.push_str("]}");
    let etag = format!("\"{}\"", hash(json.as_bytes()));
    BulkEvaluation { json, etag }
}

/// Returns the JSON of an error: the schemas `evaluationFailure` and `flagNotFound` for a flag,
/// and `bulkEvaluationFailure` without one.
///
/// # Examples
///
/// ```
/// use feature_flags::ofrep::{OfrepError, error_json};
/// use serde_json::{Value, json};
///
/// let error = OfrepError::flag_not_found();
/// let body: Value = serde_json::from_str(&error_json(Some("new-checkout"), &error))?;
/// let details = "there is no flag of this name";
/// let expected =
///     json!({"key": "new-checkout", "errorCode": "FLAG_NOT_FOUND", "errorDetails": details});
/// assert_eq!(body, expected);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[must_use]
pub fn error_json(flag: Option<&str>, error: &OfrepError) -> String {
    let mut json = String::from("{");
    if let Some(flag) = flag {
        json.push_str("\"key\":");
        push_text(&mut json, flag);
        json.push(',');
    }
    json.push_str("\"errorCode\":\"");
    json.push_str(error.code.as_str());
    json.push_str("\",\"errorDetails\":");
    push_text(&mut json, &error.details);
    json.push('}');
    json
}

/// Returns true if `If-None-Match` has the entity tag, so that the response is a 304. The
/// protocol applies the field to this POST as RFC 9110 §13.1.2 does to a GET.
///
/// [`bulk`] has an example.
#[must_use]
pub fn is_not_modified(if_none_match: Option<&str>, etag: &str) -> bool {
    let validators = Validators { etag: Some(etag), last_modified_ms: None, received_ms: u64::MAX };
    let fields: HeaderSection = if_none_match.into_iter().map(|field| ("if-none-match", field)).collect();
    conditional::evaluate("GET", &fields, &validators) == PreconditionResult::NotModified
}

impl From<TargetingKeyMissing> for OfrepError {
    fn from(missing: TargetingKeyMissing) -> Self {
        Self::of_request(ErrorCode::TargetingKeyMissing, missing.to_string())
    }
}

fn push(json: &mut String, name: &str, flag: &Flag, subject: &Subject<'_>) {
    match flag.evaluate(name, subject) {
        Ok(details) => push_success(json, name, &details),
        Err(missing) => json.push_str(&error_json(Some(name), &missing.into())),
    }
}

/// Appends the schema `evaluationSuccess`.
fn push_success(json: &mut String, flag: &str, details: &ResolutionDetails<'_>) {
    json.push_str("{\"key\":");
    push_text(json, flag);
    json.push_str(",\"value\":");
    json.push_str(details.value_json);
    json.push_str(",\"variant\":");
    push_text(json, details.variant);
    json.push_str(",\"reason\":\"");
    json.push_str(details.reason.as_str());
    json.push('"');
    if let Some(metadata) = details.metadata_json {
        json.push_str(",\"metadata\":");
        json.push_str(metadata);
    }
    json.push('}');
}

/// Returns about the length of the JSON, in bytes, so that the string need not grow.
fn length(flag: &str, details: &ResolutionDetails<'_>) -> usize {
    let parts = [flag, details.value_json, details.variant, details.metadata_json.unwrap_or_default()];
    80 + parts.iter().map(|part| part.len()).sum::<usize>()
}

/// Appends a JSON string (RFC 8259 §7). Names rarely need an escape, so most are copied as they
/// are.
fn push_text(json: &mut String, text: &str) {
    if text.bytes().any(|byte| matches!(byte, b'"' | b'\\' | ..b' ')) {
        json.push_str(&Value::from(text).to_string());
    } else {
        json.extend(["\"", text, "\""]);
    }
}
