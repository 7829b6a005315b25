//! A condition of a targeting rule, such as `{"attribute": "plan", "in": ["pro", "team"]}`.

#[cfg(test)]
mod tests;

use std::cmp::Ordering;

use super::Subject;
use super::attribute::{Attribute, Scalar};
use super::id_set::IdSet;
use super::number::Number;
use super::semver::Version;

/// A test of one attribute, negated or not.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition {
    pub(super) attribute: Attribute,
    pub(super) operator: Operator,
    pub(super) is_negated: bool,
}

/// The operator of a condition, with its operand.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operator {
    /// `in`, and `eq` with one value.
    In(ScalarSet),
    /// `startsWith`: the attribute starts with one of these.
    StartsWith(Box<[Box<str>]>),
    /// `lt`, `lte`, `gt` and `gte`.
    Number(Comparison, Number),
    /// `semverEq`, `semverLt` and so on: compares by precedence.
    Version(Comparison, Version<'static>),
}

/// A relation between two values of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A set of scalars of any types.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ScalarSet {
    texts: IdSet,
    /// Sorted.
    numbers: Box<[Number]>,
    has_true: bool,
    has_false: bool,
    has_null: bool,
}

impl Condition {
    /// Returns true if the condition holds. Negated or not, it does not hold if the attribute is
    /// missing or the operator cannot compare it, because a rule must not match users about whom
    /// nothing is known.
    pub(super) fn holds(&self, subject: &Subject<'_>) -> bool {
        let result = self.attribute.value_for(subject).and_then(|attribute| self.operator.evaluate(attribute));
        result.is_some_and(|holds| holds != self.is_negated)
    }
}

impl Operator {
    /// Returns whether the attribute passes. `None` if the operator cannot compare it: it has
    /// another type than the operand, it is a text that is not a version, or the operand is an
    /// empty list.
    fn evaluate(&self, attribute: Scalar<'_>) -> Option<bool> {
        match (self, attribute) {
            (Self::In(values), attribute) => values.contains(attribute),
            (Self::StartsWith(starts), Scalar::Text(text)) if !starts.is_empty() => {
                Some(starts.iter().any(|start| text.starts_with(&**start)))
            }
            (Self::Number(comparison, than), Scalar::Number(number)) => Some(comparison.holds(number.cmp(than))),
            (Self::Version(comparison, than), Scalar::Text(text)) => {
                Version::parse(text).map(|version| comparison.holds(version.precedence(than)))
            }
            (Self::StartsWith(_) | Self::Number(..) | Self::Version(..), _) => None,
        }
    }

    /// Returns true if the operand is an empty list. Then the condition holds for nobody, negated
    /// or not.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::In(values) => *values == ScalarSet::default(),
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

impl ScalarSet {
    /// Returns whether the value is in the set, or `None` if the set has no value of its type.
    /// If `null` is in the set, every type is compared, so that "is not null" can be asked.
    fn contains(&self, value: Scalar<'_>) -> Option<bool> {
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

impl<'a> FromIterator<Scalar<'a>> for ScalarSet {
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
