//! What a request asks.

use serde_json::{Map, Value};

use super::{Context, ErrorCode, OfrepError};
use crate::limits::Key;
use crate::record;

/// Reads the body of a request, single or bulk: `{"context": {"targetingKey": "…", …}}`. An empty body is an empty context. Of members
/// that stand twice the last one counts, as for every reader of the platform.
///
/// # Errors
/// [`ErrorCode::ParseError`] where the body is no JSON object, [`ErrorCode::InvalidContext`] where the context is no object or its
/// targeting key no possible id of a user.
pub fn parse_request(body: &[u8]) -> Result<Context, OfrepError> {
    if body.trim_ascii().is_empty() {
        return Ok(Context::default());
    }
    let mut request: Map<String, Value> = record::parse(body)
        .map_err(|broken| OfrepError::new(ErrorCode::ParseError, format!("the body cannot be read: {broken}")))?;
    let invalid = |details| Err(OfrepError { code: ErrorCode::InvalidContext, details });
    let mut attributes = match request.remove("context") {
        None => Map::new(),
        Some(Value::Object(attributes)) => attributes,
        Some(_) => return invalid("the context must be an object".into()),
    };
    let targeting_key = match attributes.remove("targetingKey") {
        None => None,
        // OpenFeature specification, "Evaluation Context": SDKs that have none send an empty one.
        Some(Value::String(key)) if key.is_empty() => None,
        Some(Value::String(key)) => match Key::new(key.as_str()) {
            Ok(_) => Some(key),
            Err(error) => return invalid(format!("the targetingKey cannot be a user's id: {error}").into()),
        },
        Some(_) => return invalid("the targetingKey must be a string".into()),
    };
    Ok(Context { targeting_key, attributes })
}
