//! The metadata of a key, as the JSON text that it is.

use kv_store::record::{to_json, without_white_space};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The metadata of a key: JSON without white space, otherwise as it was read. A copy through
/// [`serde_json::Value`] would round numbers and sort the members of objects.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Box<RawValue>")]
pub(crate) struct MetadataJson(Box<RawValue>);

impl MetadataJson {
    /// Returns a type as metadata.
    pub(crate) fn of(metadata: &impl Serialize) -> Self {
        #[expect(clippy::expect_used, reason = "what serde_json writes is JSON")]
        Self(RawValue::from_string(to_json(metadata)).expect("to_json returns JSON"))
    }

    /// Parses a text.
    ///
    /// # Errors
    /// The text is not JSON.
    pub(crate) fn parse(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }

    /// Returns the JSON.
    pub(crate) fn as_str(&self) -> &str {
        self.0.get()
    }

    /// Parses the metadata as a type; `None` if it is not of that type.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(self.as_str()).ok()
    }
}

impl TryFrom<Box<RawValue>> for MetadataJson {
    type Error = serde_json::Error;

    fn try_from(json: Box<RawValue>) -> Result<Self, Self::Error> {
        RawValue::from_string(without_white_space(json.get())).map(Self)
    }
}

impl PartialEq for MetadataJson {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}
