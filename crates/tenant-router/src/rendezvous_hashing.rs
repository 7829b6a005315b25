//! Traffic splitting by weighted rendezvous hashing: which variant of a storefront a visitor
//! gets. It stores nothing for a visitor. More weight moves visitors only into that variant, less
//! weight only out of it, so no more move than the new weights demand.

use sha2::{Digest, Sha256};

/// Returns the indexes of the variants (name and weight) in the order of preference: the
/// visitor's variant, the one they would get without it, and so on. Variants of weight 0 are
/// left out.
///
/// The score of a variant is computed from a hash of tenant, visitor and name, and the lowest
/// score wins. It is exponentially distributed with the weight as its rate, so that over all
/// visitors a variant wins as often as its share of the weights. A score depends neither on the
/// order of the variants nor on other variants. Names should be unique; if two scores are
/// equal, the first one wins.
#[must_use]
pub(super) fn rank<'a>(tenant: &str, visitor: &str, variants: impl IntoIterator<Item = (&'a str, u32)>) -> Vec<usize> {
    let visitor = with_part(with_part(Sha256::new(), tenant), visitor);
    let weighed = variants.into_iter().enumerate().filter(|(_, (_, weight))| *weight > 0);
    let score = |(index, (name, weight)): (usize, (&str, u32))| {
        (index, -unit(with_part(visitor.clone(), name)).ln() / f64::from(weight))
    };
    let mut scores: Vec<(usize, f64)> = weighed.map(score).collect();
    // The sort is stable: of two equal scores, the first one wins.
    scores.sort_by(|(_, one), (_, other)| one.total_cmp(other));
    scores.into_iter().map(|(index, _)| index).collect()
}

/// Adds a part after its length, so that `a` and `bc` hash differently from `ab` and `c`.
fn with_part(hash: Sha256, part: &str) -> Sha256 {
    hash.chain_update((part.len() as u64).to_be_bytes()).chain_update(part)
}

/// Returns the first 64 bits of the hash as a number above 0 and up to 1, so that its logarithm is
/// finite.
fn unit(hash: Sha256) -> f64 {
    let [h0, h1, h2, h3, l0, l1, l2, l3, ..]: [u8; 32] = hash.finalize().into();
    let high = f64::from(u32::from_be_bytes([h0, h1, h2, h3]));
    let low = f64::from(u32::from_be_bytes([l0, l1, l2, l3]));
    (high + (low + 1.0) / 4_294_967_296.0) / 4_294_967_296.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn choose<'a>(tenant: &str, visitor: &str, variants: impl IntoIterator<Item = (&'a str, u32)>) -> Option<usize> {
        rank(tenant, visitor, variants).first().copied()
    }

    fn chosen(tenant: &str, visitor: u64, variants: &[(&'static str, u32)]) -> Option<&'static str> {
        choose(tenant, &format!("{visitor:016x}"), variants.iter().copied()).map(|index| variants[index].0)
    }

    #[test]
    fn a_hundred_thousand_visitors_are_split_within_one_percentage_point_of_the_weights() {
        const VISITORS: u32 = 100_000;
        let sets: [&[(&str, u32)]; 3] = [
            &[("blue", 90), ("green", 10)],
            &[("a", 1), ("b", 2), ("c", 7), ("off", 0)],
            &[("canary", 1), ("stable", 999_999)],
        ];
        for variants in sets {
            let mut counts = vec![0_u32; variants.len()];
            for visitor in 0..VISITORS {
                counts[choose("shop", &format!("{visitor:016x}"), variants.iter().copied()).unwrap()] += 1;
            }
            let total: u32 = variants.iter().map(|(_, weight)| weight).sum();
            for ((name, weight), count) in variants.iter().zip(counts) {
                let off = f64::from(count) / f64::from(VISITORS) - f64::from(*weight) / f64::from(total);
                assert!(off.abs() < 0.01, "{variants:?}: {name} is off by {off}");
                assert!(*weight > 0 || count == 0, "{name}");
            }
        }
    }

    #[test]
    fn weight_0_never_wins() {
        assert_eq!(choose("shop", "v", []), None);
        assert_eq!(choose("shop", "v", [("blue", 0), ("green", 0)]), None);
        assert_eq!(choose("shop", "v", [("blue", 0), ("green", 1), ("red", 0)]), Some(1));
    }

    #[test]
    fn of_equal_scores_the_first_wins() {
        assert_eq!(choose("shop", "v", [("blue", 0), ("blue", 5), ("blue", 5)]), Some(1));
    }

    #[test]
    fn a_new_version_of_kv_edge_moves_no_visitors() {
        let variants = [("blue", 50), ("green", 50)];
        let group: String = (0..16).map(|visitor| &chosen("shop", visitor, &variants).unwrap()[..1]).collect();
        assert_eq!(group, "ggggbbggbgbbggbg");
    }

    #[test]
    fn tenants_are_split_independently() {
        let variants = [("blue", 1), ("green", 1)];
        let same = (0..10_000).filter(|v| chosen("a", *v, &variants) == chosen("b", *v, &variants)).count();
        assert!((4800..5200).contains(&same), "{same}");
    }

    #[test]
    fn the_borders_between_tenant_visitor_and_name_count() {
        let of = |parts: [&str; 3]| unit(parts.into_iter().fold(Sha256::new(), with_part));
        for moved in [["a", "bc", "d"], ["ab", "", "cd"]] {
            assert!((of(["ab", "c", "d"]) - of(moved)).abs() > f64::EPSILON, "{moved:?}");
        }
    }

    const NAMES: [&str; 4] = ["a", "b", "c", "d"];

    fn named(weights: [u32; 4]) -> Vec<(&'static str, u32)> {
        NAMES.into_iter().zip(weights).collect()
    }

    proptest! {
        #[test]
        fn the_order_of_the_variants_does_not_matter(
            visitor in any::<u64>(), weights in prop::array::uniform4(0..1000_u32), turn in 0..4_usize
        ) {
            let before = named(weights);
            let mut after = before.clone();
            after.rotate_left(turn);
            after.swap(0, 1);
            prop_assert_eq!(chosen("shop", visitor, &before), chosen("shop", visitor, &after));
        }

        #[test]
        fn more_weight_moves_visitors_only_into_the_variant(
            visitor in any::<u64>(), weights in prop::array::uniform4(0..1000_u32), which in 0..4_usize, more in 0..1000_u32
        ) {
            let mut after = weights;
            after[which] += more;
            let (before, after) = (chosen("shop", visitor, &named(weights)), chosen("shop", visitor, &named(after)));
            prop_assert!(after == before || after == Some(NAMES[which]));
        }

        #[test]
        fn less_weight_moves_only_the_variants_own_visitors(
            visitor in any::<u64>(), weights in prop::array::uniform4(0..1000_u32), which in 0..4_usize, less in 0..1000_u32
        ) {
            let mut after = weights;
            after[which] = after[which].saturating_sub(less);
            let (before, after) = (chosen("shop", visitor, &named(weights)), chosen("shop", visitor, &named(after)));
            prop_assert!(after == before || before == Some(NAMES[which]));
        }

        #[test]
        fn any_strings_choose_a_variant_that_has_a_weight(tenant in ".*", visitor in ".*", name in ".*") {
            prop_assert_eq!(choose(&tenant, &visitor, [("x", 0), (name.as_str(), u32::MAX)]), Some(1));
        }
    }
}
