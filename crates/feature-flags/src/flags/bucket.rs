//! Bucketing: where a user stands on the scale of a flag's percentages. The same user is always
//! in the same bucket of a flag, so a growing percentage only adds users.

#[cfg(test)]
mod tests;

use super::murmur3;

/// The number of buckets. Each is a thousandth of a percent.
const COUNT: u32 = 100_000;

/// A bucket, from 0 to 99,999, or the threshold of a percentage, which includes the buckets below
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Bucket(u32);

impl Bucket {
    /// The threshold of 100 %.
    pub(super) const ALL: Self = Self(COUNT);

    /// The threshold of 0 %.
    pub(super) const NONE: Self = Self(0);

    /// Returns the bucket of a user for a flag. The name of a flag contains no `:`, so no two
    /// pairs have the same text.
    pub(super) fn of(flag: &str, targeting_key: &str) -> Self {
        Self::of_hash(murmur3::hash(0, &[flag.as_bytes(), b":", targeting_key.as_bytes()]))
    }

    /// Scales by multiplication. A remainder would give low buckets more hashes than high ones.
    fn of_hash(hash: u32) -> Self {
        Self(((u64::from(hash) * u64::from(COUNT)) >> 32) as u32)
    }

    /// Returns the threshold of a percentage, or `None` if it is not from 0 to 100 or has more
    /// than three decimals.
    pub(super) fn threshold(percentage: f64) -> Option<Self> {
        let thousandths = (percentage * 1000.0).round();
        // The division rounds to the same `f64` that parsing the decimal text gives, so the two
        // are equal if there are at most three decimals.
        let is_exact = (thousandths / 1000.0).total_cmp(&percentage).is_eq();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is whole and from 0 to 100,000"
        )]
        let threshold = || Self(thousandths as u32);
        (is_exact && (0.0..=100.0).contains(&percentage)).then(threshold)
    }
}
