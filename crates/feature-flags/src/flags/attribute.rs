//! What a condition looks at.

use serde_json::{Map, Value};

use super::number::Number;
use super::{Known, Subject};

/// The attribute that is the user's id, whatever a record or a context says under this name.
const TARGETING_KEY: &str = "targetingKey";

/// The name of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attribute {
    name: Box<str>,
    is_path: bool,
}

/// A value that conditions know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalar<'a> {
    Text(&'a str),
    Number(Number),
    Boolean(bool),
    Null,
}

impl<'a> Scalar<'a> {
    /// `None` for objects and arrays.
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

    /// True for what the subject knows without the user's record.
    pub(super) fn is_targeting_key(&self) -> bool {
        &*self.name == TARGETING_KEY
    }

    /// The attribute of a user; `None` where he has none, or it is an object or an array.
    pub(super) fn of<'a>(&self, subject: &Subject<'a>) -> Option<Scalar<'a>> {
        if self.is_targeting_key() {
            return subject.key().map(Scalar::Text);
        }
        // A record that has the first member of a path has the last word on all of it: else a client could add what is known not to
        // be there, or claim the path as one name.
        let known = match subject.known {
            Known::Nothing => Found::Nothing,
            Known::Record(record) => self.find(record),
            Known::Unreadable => return None,
        };
        match known {
            Found::Value(value) => Scalar::of(value),
            Found::Start => None,
            Found::Nothing => match self.find(subject.context) {
                Found::Value(value) => Scalar::of(value),
                Found::Start | Found::Nothing => None,
            },
        }
    }

    fn find<'a>(&self, members: &'a Map<String, Value>) -> Found<'a> {
        if let Some(value) = members.get(&*self.name) {
            return Found::Value(value);
        }
        if !self.is_path {
            return Found::Nothing;
        }
        let mut names = self.name.split('.');
        let Some(first) = names.next().and_then(|name| members.get(name)) else { return Found::Nothing };
        names.try_fold(first, |value, name| value.as_object()?.get(name)).map_or(Found::Start, Found::Value)
    }
}

enum Found<'a> {
    Value(&'a Value),
    /// The path's first member is there, and the rest is not.
    Start,
    Nothing,
}
