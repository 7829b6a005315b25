//! Whole numbers in the command line.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Returns a parser for clap that accepts the whole numbers of a range. Its error names the
/// range.
pub(crate) fn whole<T: FromStr + PartialOrd + Display>(
    range: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, String> + Clone
where
    RangeInclusive<T>: Clone,
{
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| format!("write a whole number from {} to {}", range.start(), range.end()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_whole_and_within_its_range() {
        for (text, expected) in [
            ("0", Some(0)),
            ("20", Some(20)),
            ("21", None),
            ("-1", None),
            ("1.5", None),
            ("x", None),
            ("", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(whole(0_u8..=20)(text).ok(), expected, "{text:?}");
        }
        assert_eq!(whole(0_u8..=20)("-1"), Err("write a whole number from 0 to 20".to_owned()));
    }
}
