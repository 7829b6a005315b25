//! The place of a user on the scale on which a percentage is a border.

#[cfg(test)]
mod tests;

use super::murmur3;

/// All buckets: a thousandth of a percent each.
const COUNT: u32 = 100_000;

/// A bucket, or the border of a percentage, above which it does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Bucket(u32);

impl Bucket {
    /// The border of 100 %.
    pub(super) const ALL: Self = Self(COUNT);

    /// The border of 0 %.
    pub(super) const NONE: Self = Self(0);

    /// The bucket of a user for a flag. The flag's name has no `:`, so no two pairs have the same text.
    pub(super) fn of(flag: &str, targeting_key: &str) -> Self {
        Self::of_hash(murmur3::hash(0, &[flag.as_bytes(), b":", targeting_key.as_bytes()]))
    }

    /// Scales by multiplication: with a remainder, low buckets would get more hashes than high ones.
    fn of_hash(hash: u32) -> Self {
        Self(((u64::from(hash) * u64::from(COUNT)) >> 32) as u32)
    }

    /// The border of a percentage; `None` where it is none from 0 to 100 or has more than three decimals.
    pub(super) fn border(percentage: f64) -> Option<Self> {
        let thousandths = (percentage * 1000.0).round();
        // Division rounds to the number that the decimal text of so many thousandths is read as: so this is no guess.
        let is_exact = (thousandths / 1000.0).total_cmp(&percentage).is_eq();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is whole and from 0 to 100,000"
        )]
        let border = || Self(thousandths as u32);
        (is_exact && (0.0..=100.0).contains(&percentage)).then(border)
    }
}
