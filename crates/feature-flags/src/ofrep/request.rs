//! What a request asks.

use serde_json::{Map, Value};

use super::{Context, ErrorCode, OfrepError};
use crate::config::user_id::key;
use kv_store::record;

/// Reads the body of a request, single or bulk: `{"context": {"targetingKey": "…", …}}`. An empty body is an empty context. Of members
/// that stand twice the last one counts, as for every reader of the platform. `prefix` is what stands before an id in the key of a record.
///
/// # Errors
/// [`ErrorCode::ParseError`] where the body is no JSON object, [`ErrorCode::InvalidContext`] where the context is no object or its
/// targeting key no possible id of a user.
pub fn parse_request(body: &[u8], prefix: &str) -> Result<Context, OfrepError> {
    if body.trim_ascii().is_empty() {
        return Ok(Context::default());
    }
    let mut request: Map<String, Value> = record::parse(body).map_err(|broken| {
        OfrepError::of_request(ErrorCode::ParseError, format!("the body cannot be read: {broken}"))
    })?;
    let invalid = |details: &'static str| Err(OfrepError::of_request(ErrorCode::InvalidContext, details));
    let mut attributes = match request.remove("context") {
        None => Map::new(),
        Some(Value::Object(attributes)) => attributes,
        Some(_) => return invalid("the context must be an object"),
    };
    let targeting_key = match attributes.remove("targetingKey") {
        None => None,
        // OpenFeature specification, "Evaluation Context": SDKs that have none send an empty one.
        Some(Value::String(key)) if key.is_empty() => None,
        Some(Value::String(id)) => {
            key(prefix, id.as_str())?;
            Some(id)
        }
        Some(_) => return invalid("the targetingKey must be a string"),
    };
    Ok(Context { targeting_key, attributes })
}
