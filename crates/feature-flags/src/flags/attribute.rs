//! The attributes of a user that conditions test.

use serde_json::{Map, Value};

use super::number::Number;
use super::{Subject, UserAttributes};

/// The attribute that always means the targeting key, whatever a record or a client has under
/// this name.
const TARGETING_KEY: &str = "targetingKey";

/// The name of an attribute. With dots it is first the name of a member, then a path into objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attribute {
    name: Box<str>,
    is_path: bool,
}

/// A JSON value that a condition can test: not an object or an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalar<'a> {
    Text(&'a str),
    Number(Number),
    Boolean(bool),
    Null,
}

impl<'a> Scalar<'a> {
    /// Returns the value, or `None` if it is an object or an array.
    pub(super) fn of(value: &'a Value) -> Option<Self> {
        match value {
            Value::Null => Some(Self::Null),
            Value::Bool(boolean) => Some(Self::Boolean(*boolean)),
            Value::Number(number) => Number::of(number).map(Self::Number),
            Value::String(text) => Some(Self::Text(text)),
            Value::Array(_) | Value::Object(_) => None,
        }
    }
}

impl Attribute {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.into(), is_path: name.contains('.') }
    }

    /// Returns true for the targeting key, which needs no record.
    pub(super) fn is_targeting_key(&self) -> bool {
        &*self.name == TARGETING_KEY
    }

    /// Returns the value that the user has for this attribute, or `None` if they have none, if it
    /// is an object or an array, or if their record cannot be read.
    pub(super) fn value_for<'a>(&self, subject: &Subject<'a>) -> Option<Scalar<'a>> {
        if self.is_targeting_key() {
            return subject.key().map(Scalar::Text);
        }
        // A record that has the first member of a path decides about the whole path. Otherwise
        // a client could add members that the record does not have, or send the path as one
        // name.
        let lookup = match subject.record {
            UserAttributes::NoRecord => AttributeLookup::Missing,
            UserAttributes::Record(record) => self.find(record),
            UserAttributes::Unreadable => return None,
        };
        match lookup {
            AttributeLookup::Value(value) => Scalar::of(value),
            AttributeLookup::Partial => None,
            AttributeLookup::Missing => match self.find(subject.context) {
                AttributeLookup::Value(value) => Scalar::of(value),
                AttributeLookup::Partial | AttributeLookup::Missing => None,
            },
        }
    }

    fn find<'a>(&self, members: &'a Map<String, Value>) -> AttributeLookup<'a> {
        if let Some(value) = members.get(&*self.name) {
            return AttributeLookup::Value(value);
        }
        if !self.is_path {
            return AttributeLookup::Missing;
        }
        let mut names = self.name.split('.');
        let Some(first) = names.next().and_then(|name| members.get(name)) else { return AttributeLookup::Missing };
        names
            .try_fold(first, |value, name| value.as_object()?.get(name))
            .map_or(AttributeLookup::Partial, AttributeLookup::Value)
    }
}

enum AttributeLookup<'a> {
    Value(&'a Value),
    /// The first member of the path exists, and the rest does not.
    Partial,
    Missing,
}
