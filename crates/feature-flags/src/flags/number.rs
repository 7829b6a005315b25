//! JSON numbers, compared by value: `1` equals `1.0`, and `9007199254740993` does not equal
//! `9007199254740992`.

use std::cmp::Ordering;

/// The largest absolute value that is treated as an integer. No integer that `serde_json`
/// parses is as large.
const WHOLE_MAX: f64 = 1e30;

/// A finite number. JSON has neither infinities nor NaN (RFC 8259 §6).
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    Whole(i128),
    /// A number with a fraction, or one beyond [`WHOLE_MAX`].
    Real(f64),
}

impl Number {
    pub(super) fn of(number: &serde_json::Number) -> Option<Self> {
        if let Some(whole) = number.as_i64() {
            return Some(Self::Whole(i128::from(whole)));
        }
        if let Some(whole) = number.as_u64() {
            return Some(Self::Whole(i128::from(whole)));
        }
        number.as_f64().map(Self::of_real)
    }

    fn of_real(real: f64) -> Self {
        if real.fract().abs() > 0.0 || real.abs() > WHOLE_MAX {
            return Self::Real(real);
        }
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and below the largest i128")]
        Self::Whole(real as i128)
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        // The two orders agree. Rounding an integer to a double never moves it past a number
        // with a fraction, which is below 2^53, nor past one beyond `WHOLE_MAX`.
        #[expect(clippy::cast_precision_loss, reason = "see above")]
        let real = |whole: i128| whole as f64;
        match (*self, *other) {
            (Self::Whole(one), Self::Whole(other)) => one.cmp(&other),
            (Self::Whole(one), Self::Real(other)) => real(one).total_cmp(&other),
            (Self::Real(one), Self::Whole(other)) => one.total_cmp(&real(other)),
            (Self::Real(one), Self::Real(other)) => one.total_cmp(&other),
        }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Number {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn number(value: &serde_json::Value) -> Number {
        Number::of(value.as_number().unwrap()).unwrap()
    }

    #[test]
    fn numbers_are_ordered_by_value() {
        let ascending = [
            json!(-1e300),
            json!(i64::MIN),
            json!(-1.5),
            json!(-1),
            json!(0),
            json!(5e-324),
            json!(0.5),
            json!(1),
            json!(9_007_199_254_740_992_u64),
            json!(9_007_199_254_740_993_u64),
            json!(u64::MAX),
            json!(1.844_674_407_370_955_2e19),
            json!(1e29),
            json!(1e30),
            json!(1.1e30),
            json!(1e300),
        ];
        for (index, one) in ascending.iter().enumerate() {
            for (other_index, other) in ascending.iter().enumerate() {
                assert_eq!(number(one).cmp(&number(other)), index.cmp(&other_index), "{one} and {other}");
            }
        }
    }

    proptest! {
        #[test]
        fn the_order_is_one_of_integers_and_of_reals(whole in any::<i64>(), one in any::<f64>(), other in any::<f64>()) {
            prop_assume!(one.is_finite() && other.is_finite());
            prop_assert_eq!(Some(number(&json!(one)).cmp(&number(&json!(other)))), one.partial_cmp(&other));
            prop_assert_eq!(number(&json!(whole)).cmp(&number(&json!(i128::from(whole) + 1))), Ordering::Less);
        }
    }
}
