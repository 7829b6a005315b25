//! The body of an evaluation request.

use serde_json::{Map, Value};

use super::{ErrorCode, EvaluationContext, OfrepError};
use crate::config::user_id::key;
use kv_store::record;

/// Parses the body of a request, single or bulk: `{"context": {"targetingKey": "…", …}}`.
///
/// An empty body is an empty context. If a member occurs twice, the last one counts, as in
/// `JSON.parse`. `prefix` is what precedes a user id in the key of a record (the var
/// `CONFIG_PREFIX`).
///
/// # Errors
/// [`ErrorCode::ParseError`] if the body is not a JSON object, and
/// [`ErrorCode::InvalidContext`] if the context is not an object or its targeting key cannot be
/// a user id.
///
/// # Examples
///
/// ```
/// use feature_flags::ofrep::{ErrorCode, parse_request};
///
/// let body = br#"{"context": {"targetingKey": "ann", "plan": "pro"}}"#;
/// let context = parse_request(body, "users/")?;
/// assert_eq!(context.targeting_key.as_deref(), Some("ann"));
/// assert_eq!(context.attributes["plan"], "pro");
///
/// let error = parse_request(br#"{"context": {"targetingKey": 7}}"#, "users/").unwrap_err();
/// assert_eq!(error.code, ErrorCode::InvalidContext);
/// # Ok::<(), feature_flags::ofrep::OfrepError>(())
/// ```
pub fn parse_request(body: &[u8], prefix: &str) -> Result<EvaluationContext, OfrepError> {
    if body.trim_ascii().is_empty() {
        return Ok(EvaluationContext::default());
    }
    let mut request: Map<String, Value> = record::parse(body).map_err(|broken| {
        OfrepError::of_request(ErrorCode::ParseError, format!("the body cannot be read: {broken}"))
    })?;
    request.remove("context").map_or_else(|| Ok(EvaluationContext::default()), |context| parse_context(context, prefix))
}

/// Parses an evaluation context, the member `context` of a request.
///
/// [`parse_request`] has an example.
///
/// # Errors
/// [`ErrorCode::InvalidContext`] if it is not an object or its targeting key cannot be a user id.
pub fn parse_context(context: Value, prefix: &str) -> Result<EvaluationContext, OfrepError> {
    let invalid = |details: &'static str| Err(OfrepError::of_request(ErrorCode::InvalidContext, details));
    let Value::Object(mut attributes) = context else { return invalid("the context must be an object") };
    let targeting_key = match attributes.remove("targetingKey") {
        None => None,
        // SDKs that have no targeting key send an empty one (OpenFeature specification,
        // "Evaluation Context").
        Some(Value::String(key)) if key.is_empty() => None,
        Some(Value::String(id)) => {
            key(prefix, id.as_str())?;
            Some(id)
        }
        Some(_) => return invalid("the targetingKey must be a string"),
    };
    Ok(EvaluationContext { targeting_key, attributes })
}
