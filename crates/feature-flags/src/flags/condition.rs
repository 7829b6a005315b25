//! One condition of a rule.

#[cfg(test)]
mod tests;

use std::cmp::Ordering;

use super::Subject;
use super::attribute::{Attribute, Scalar};
use super::ids::Ids;
use super::number::Number;
use super::semver::Version;

/// What an attribute must be.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition {
    pub(super) attribute: Attribute,
    pub(super) test: Test,
    pub(super) is_negated: bool,
}

/// What is asked of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    /// `in`, and `eq` with one value.
    In(Scalars),
    /// It starts with one of these.
    StartsWith(Box<[Box<str>]>),
    /// How it compares to a number.
    Number(Comparison, Number),
    /// How its precedence compares to that of a version.
    Version(Comparison, Version<'static>),
}

/// How a value is to stand to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Values of several types.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Scalars {
    texts: Ids,
    /// Sorted.
    numbers: Box<[Number]>,
    has_true: bool,
    has_false: bool,
    has_null: bool,
}

impl Condition {
    /// True where the condition holds. It does not where the attribute is missing or of another type, negated or not: a rule must not
    /// take those of whom nothing is known.
    pub(super) fn holds(&self, subject: &Subject<'_>) -> bool {
        let outcome = self.attribute.of(subject).and_then(|attribute| self.test.outcome(attribute));
        outcome.is_some_and(|holds| holds != self.is_negated)
    }
}

impl Test {
    /// `None` for an attribute of another type.
    fn outcome(&self, attribute: Scalar<'_>) -> Option<bool> {
        match (self, attribute) {
            (Self::In(values), attribute) => values.contain(attribute),
            (Self::StartsWith(starts), Scalar::Text(text)) => {
                Some(starts.iter().any(|start| text.starts_with(&**start)))
            }
            (Self::Number(comparison, than), Scalar::Number(number)) => Some(comparison.holds(number.cmp(than))),
            (Self::Version(comparison, than), Scalar::Text(text)) => {
                Version::parse(text).map(|version| comparison.holds(version.precedence(than)))
            }
            _ => None,
        }
    }

    /// True where no attribute passes, negated or not.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::In(values) => *values == Scalars::default(),
            Self::StartsWith(starts) => starts.is_empty(),
            Self::Number(..) | Self::Version(..) => false,
        }
    }
}

impl Comparison {
    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

impl Scalars {
    /// `None` where no value has the type of this one. With `null` among the values every type will do, so that "is not null" can be
    /// asked.
    fn contain(&self, value: Scalar<'_>) -> Option<bool> {
        let (is_of_type, is_in) = match value {
            Scalar::Text(text) => (!self.texts.is_empty(), self.texts.contains(text)),
            Scalar::Number(number) => (!self.numbers.is_empty(), self.numbers.binary_search(&number).is_ok()),
            Scalar::Boolean(true) => (self.has_false, self.has_true),
            Scalar::Boolean(false) => (self.has_true, self.has_false),
            Scalar::Null => (false, self.has_null),
        };
        (is_in || is_of_type || self.has_null).then_some(is_in)
    }
}

impl<'a> FromIterator<Scalar<'a>> for Scalars {
    fn from_iter<I: IntoIterator<Item = Scalar<'a>>>(values: I) -> Self {
        let (mut all, mut texts, mut numbers) = (Self::default(), Vec::new(), Vec::new());
        for value in values {
            match value {
                Scalar::Text(text) => texts.push(Box::from(text)),
                Scalar::Number(number) => numbers.push(number),
                Scalar::Boolean(true) => all.has_true = true,
                Scalar::Boolean(false) => all.has_false = true,
                Scalar::Null => all.has_null = true,
            }
        }
        numbers.sort_unstable();
        Self { texts: texts.into_iter().collect(), numbers: numbers.into(), ..all }
    }
}
